// Tabs of a browser, as far as a relay can tell: documents of Yjs behind the real providers. One
// JSON object a line in, one a line out, named by its id. Run as the text of `node --eval` in the
// folder where the packages are installed, so that they are found there.
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import WebSocket from 'ws'

const [family, helper] = process.argv.slice(1)
const isNew = family === '@y/y'
const Y = await import(isNew ? '@y/y' : 'yjs')
const { WebsocketProvider } = await import(isNew ? '@y/websocket' : 'y-websocket')
const weft = await import(helper)
const tabs = new Map()

// Yjs 14 has one type for all that Yjs 13 has a class for.
const text = (doc, note) => isNew ? doc.get(`note:${note}`) : doc.getText(`note:${note}`)
const events = doc => isNew ? doc.get('events') : doc.getMap('events')

class Tab {
  constructor({ url, room, share = false, connect = true, token, protocols = [], backoff = 300 }) {
    this.doc = new Y.Doc()
    this.said = { status: [], closed: null, updates: 0 }
    this.echoes = []
    this.provider = new WebsocketProvider(url, room, this.doc, {
      WebSocketPolyfill: WebSocket,
      disableBc: !share,
      maxBackoffTime: backoff,
      params: token ? { token } : {},
      protocols,
      connect
    })
    this.doc.on('update', (_, origin) => { if (origin === this.provider) this.said.updates++ })
    this.provider.on('status', ({ status }) => this.said.status.push(status))
    this.provider.on('connection-close', event => { if (event) this.said.closed = event.code })
  }

  look({ note, key, client }) {
    const { doc, provider, said } = this
    const of = note === undefined ? undefined : text(doc, note).toString()
    return {
      ...said,
      id: doc.clientID,
      synced: provider.synced,
      connected: provider.wsconnected,
      shouldConnect: provider.shouldConnect,
      text: of !== undefined && of.length > 4000 ? undefined : of,
      letters: of?.length,
      key: key && (isNew ? events(doc).getAttr(key) : events(doc).get(key)),
      keys: isNew ? [...events(doc).attrKeys()] : [...events(doc).keys()],
      pending: Boolean(doc.store.pendingStructs || doc.store.pendingDs),
      state: client === undefined ? undefined : provider.awareness.getStates().get(client) ?? null,
      here: [...provider.awareness.getStates().keys()].sort((a, b) => a - b)
    }
  }

  insert({ note, at, insert, times = 1, pieces = 1 }) {
    for (let piece = 0; piece < pieces; piece++) {
      text(this.doc, note).insert(at < 0 ? text(this.doc, note).length : at, insert.repeat(times))
    }
  }

  remove({ note, at, size }) { text(this.doc, note).delete(at, size) }

  set({ key, value }) {
    if (isNew) events(this.doc).setAttr(key, value)
    else events(this.doc).set(key, value)
  }

  // As if a neighbour that is gone now had told of it.
  apply({ update }) { Y.applyUpdate(this.doc, Buffer.from(update, 'hex'), 'neighbour') }

  show({ state }) { this.provider.awareness.setLocalState(state) }
  connect() { this.provider.connect() }
  disconnect() { this.provider.disconnect() }
  append({ message }) { return weft.appendMessage(this.doc, message) }
  history() { return weft.history(this.doc) }
  note({ note }) { return weft.note(this.doc, note).toString() }

  close() {
    this.provider.destroy()
    this.doc.destroy()
  }
}

// `until` asks `look` again and again, and answers as soon as all of `is` is so.
async function until(tab, { is, within_s: within, ...rest }) {
  const end = Date.now() + within * 1000
  while (true) {
    const found = tab.look(rest)
    if (Object.entries(is).every(([k, v]) => JSON.stringify(found[k]) === JSON.stringify(v))) {
      return found
    }
    if (Date.now() > end) throw new Error(`not in ${within} s: ${JSON.stringify({ is, found })}`)
    await sleep(10)
  }
}

async function answer({ do: what, tab: name, ...rest }) {
  if (what === 'open') {
    tabs.set(name, new Tab(rest))
    return null
  }
  const tab = tabs.get(name)
  return what === 'until' ? await until(tab, rest) : tab[what](rest)
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, ...asked } = JSON.parse(line)
  const say = told => process.stdout.write(JSON.stringify({ id, ...told }) + '\n')
  answer(asked).then(
    value => say({ value: value ?? null }),
    error => say({ error: String(error?.message ?? error) })
  )
}
process.exit(0)
