// The example page in a browser without a screen: `page.mjs FOLDER URL CONTEXT`. Says something,
// types into the note, and prints what the page shows whenever that changes.
import { build } from 'esbuild'
import { JSDOM } from 'jsdom'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

const [folder, relay, context] = process.argv.slice(1)
const built = await build({
  entryPoints: [`${folder}/chat.js`], bundle: true, format: 'iife', write: false, nodePaths: ['node_modules']
})
const html = (await readFile(`${folder}/index.html`, 'utf8')).replace(/<script.*<\/script>/, '')
const asked = new URLSearchParams({ context, relay, user: 'Ada' })
const { window } = new JSDOM(html, {
  runScripts: 'outside-only', url: `http://127.0.0.1:8000/?${asked}`
})
// What every browser has and jsdom leaves out.
Object.assign(window, { TextEncoder, TextDecoder })
window.eval(built.outputFiles[0].text)
const $ = id => window.document.getElementById(id)
const event = name => new window.Event(name, { bubbles: true, cancelable: true })

$('text').value = 'Hi from a page 👍'
$('form').dispatchEvent(event('submit'))
// These two differ in their second half.
for (const typed of ['noted 🙂', 'noted 🙃']) {
  $('plan').value = typed
  $('plan').dispatchEvent(event('input'))
}
$('plan').setSelectionRange(5, 5)
let last = ''
while (true) {
  const shown = JSON.stringify({
    status: $('status').textContent,
    said: [...$('said').children].map(line => line.lastChild.textContent),
    here: $('here').textContent,
    plan: $('plan').value,
    cursor: $('plan').selectionStart
  })
  if (shown !== last) process.stdout.write(`${shown}\n`)
  last = shown
  await sleep(20)
}
