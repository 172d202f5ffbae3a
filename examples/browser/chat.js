/**
 * A chat page: /?context=acme/chat-42&relay=ws://127.0.0.1:8765&user=Ada#token
 *
 * The token stands behind the #, where servers and logs do not see it.
 */
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'

import { appendMessage, history, note, onHistory } from './weft-events.js'

const asked = new URLSearchParams(location.search)
const context = asked.get('context') ?? 'acme/chat-42'
const user = asked.get('user') ?? 'somebody'
const relay = asked.get('relay') ?? 'ws://127.0.0.1:8765'
const $ = id => document.getElementById(id)

const doc = new Y.Doc()
$('name').textContent = context

function showStatus (status) { $('status').textContent = status }
addEventListener('error', ({ error, message }) => { showStatus(error?.message ?? message) })

function shown (part) {
  if (part.type === 'text' || part.type === 'refusal') return part.text
  if (part.type === 'call') return `→ ${part.name}(${part.args})`
  if (part.type === 'result') return `← ${typeof part.out === 'string' ? part.out : '…'}`
  return `[${part.type}]`
}

function showHistory () {
  $('said').replaceChildren(...history(doc).map(said => {
    const line = document.createElement('li')
    const author = document.createElement('div')
    author.className = 'author'
    author.textContent = `${said.name ?? said.author}, ${new Date(said.atMs).toLocaleTimeString()}`
    line.append(author, said.parts.map(shown).join('\n'))
    return line
  }))
}
onHistory(doc, showHistory)

$('form').addEventListener('submit', event => {
  event.preventDefault()
  if ($('text').value === '') return
  appendMessage(doc, { role: 'user', parts: $('text').value, author: user })
  $('text').value = ''
})

// An editor has a binding for Y.Text; this is what a bare textarea needs.
const plan = note(doc, 'plan')
plan.observe(event => {
  const box = $('plan')
  if (box.value === plan.toString()) return
  let at = 0
  for (const { retain = 0, insert = '', delete: gone = 0 } of event.delta) {
    at += retain
    // The cursor stays where it is in the words.
    box.setRangeText(insert, at, at + gone, 'preserve')
    at += insert.length
  }
  if (box.value !== plan.toString()) box.value = plan.toString()
})
$('plan').addEventListener('input', () => {
  const [now, before] = [$('plan').value, plan.toString()]
  let start = 0
  while (start < Math.min(now.length, before.length) && now[start] === before[start]) start++
  let end = 0
  while (end < Math.min(now.length, before.length) - start &&
    now.at(-1 - end) === before.at(-1 - end)) end++
  // Of a character of two halves, such as an emoji, both are replaced: half of one is lost.
  if (start > 0 && /[\ud800-\udbff]/.test(now[start - 1])) start--
  if (end > 0 && /[\udc00-\udfff]/.test(now.at(-end))) end--
  doc.transact(() => {
    plan.delete(start, before.length - start - end)
    plan.insert(start, now.slice(start, now.length - end))
  })
})

// The provider puts the name into the address as it is: a ? in it would end it there.
const room = context.split('/').map(encodeURIComponent).join('/')
const provider = new WebsocketProvider(`${relay}/yjs`, room, doc, { connect: false })

// It is connecting as long as nothing else is said, and again every few seconds.
provider.on('status', ({ status }) => { if (status !== 'connecting') showStatus(status) })
provider.on('connection-error', () => {
  // A browser tells a page no more than that it failed.
  const here = location.origin
  showStatus(`no connection to ${relay}: nothing is there, or it takes no page of ${here}`)
})
provider.on('closed', ({ code, reason }) => {
  showStatus(`refused, and nothing more is saved: ${reason} (${code})`)
})

provider.awareness.on('change', () => {
  const names = [...provider.awareness.getStates().values()].map(state => state.name)
  $('here').textContent = `here: ${names.filter(Boolean).join(', ')}`
})

function connect () {
  const token = location.hash.slice(1)
  provider.disconnect()
  provider.protocols = token ? [`yauth-${token}`] : []
  // Newer than the word of leaving that went out with disconnect.
  provider.awareness.setLocalStateField('name', user)
  showStatus('connecting')
  provider.connect()
}
// Another token does not load the page again, so nothing that is not saved is lost.
addEventListener('hashchange', connect)
connect()
