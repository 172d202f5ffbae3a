/**
 * Weft's messages and notes in a document of Yjs, for a page that talks to a relay by y-websocket.
 *
 * What `appendMessage` writes is read by every Weft store as a message like its own. `doc` is a
 * `Y.Doc` of yjs 13 or @y/y 14; nothing else is needed, and nothing is imported.
 *
 * @typedef {{type: 'text', text: string}
 *   | {type: 'refusal', text: string}
 *   | {type: 'call', id: string, name: string, args: string}
 *   | {type: 'result', id: string, out: string, call?: [string, number], error?: boolean,
 *      name?: string}
 *   | {type: 'file', mediaType: string, url: string, name?: string}
 *   | {type: 'data', name: string, json: string}} Part
 *   `args` is the arguments of a tool call as the provider wrote them, a JSON text. `call` of a
 *   result is the event id of the message that holds the call, and the index of the call in it; if
 *   nothing is said, the last call with this id of the provider that nothing has answered yet.
 * @typedef {{role: 'user' | 'assistant' | 'system' | 'developer' | 'tool', parts: Part[] | string,
 *   name?: string, author?: string}} Message
 *   `name` is for the model; `author`, which is `browser` if nothing is said, for people.
 * @typedef {{id: string, atMs: number, role: string, author: string, parts: Part[],
 *   name?: string}} Said
 */

const EVENT_BYTES_MAX = 8 * 1024 * 1024
const PARTS_MAX = 1024
const LOOK_BACK_MAX = 16384
const NOTE_NAME_BYTES_MAX = 128
const ROLES = ['user', 'assistant', 'system', 'developer', 'tool']
const EVENT_ID = /^[0-9a-f]{16}-[0-9a-f]{32}$/
// Line separators and controls: what no name may hold.
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/

/** Which fields a part of a type has, and how each is checked; a `?` may be left out. */
const PARTS = {
  text: { text: isText },
  refusal: { text: isText },
  call: { id: isText, name: isText, args: isText },
  result: { id: isText, out: isText, 'call?': isCall, 'error?': isFlag, 'name?': isText },
  file: { mediaType: isText, url: isText, 'name?': isText },
  data: { name: isText, json: isText }
}

/** What is wrong with what was given; nothing of it was written. */
export class WeftError extends Error {}

/**
 * Append a message. It is durable when the relay sends it back, which y-websocket does not tell;
 * until then it is in the document, and is sent again after a broken connection.
 *
 * @param {import('yjs').Doc} doc
 * @param {Message} message
 * @param {number} [nowMs] milliseconds since 1970
 * @returns {string} the id of its event
 * @throws {WeftError} if it is no message that Weft would read
 */
export function appendMessage (doc, message, nowMs = Date.now()) {
  const made = eventOf(message)
  const event = { ...made, parts: answering(eventMap(doc), made.parts), kind: 'message' }
  const json = canonical(event)
  const size = new TextEncoder().encode(json).length
  need(size <= EVENT_BYTES_MAX, `the message has ${size} bytes, ${EVENT_BYTES_MAX} are the most`)
  const map = eventMap(doc)
  const id = newId(map, nowMs)
  // A key is set once and never again: Weft takes the first.
  set(map, id, json)
  return id
}

/**
 * The messages, oldest first by the clocks of those who wrote them.
 *
 * Weft's own order looks at what each answer had seen, too, and leaves out what was revoked, hidden
 * or is on another branch. That is not known here: ask a Weft store where it matters, as for what a
 * model is sent.
 *
 * @param {import('yjs').Doc} doc
 * @returns {Said[]}
 */
export function history (doc) {
  /** @type {Said[]} */
  const said = []
  for (const [id, json] of entries(eventMap(doc))) {
    const event = EVENT_ID.test(id) && typeof json === 'string' ? parsed(json) : null
    // Any Yjs client may set anything there.
    const isRead = event?.kind === 'message' && ROLES.includes(event.role) &&
      typeof event.author === 'string' && Array.isArray(event.parts) &&
      event.parts.every(part => typeof part?.type === 'string')
    if (isRead && event.branch === undefined) {
      const { role, author, parts, name } = event
      said.push({ id, atMs: parseInt(id.slice(0, 12), 16), role, author, parts, name })
    }
  }
  return said.sort((a, b) => (a.id < b.id ? -1 : 1))
}

/**
 * Call `listener` whenever a message may have come.
 *
 * @param {import('yjs').Doc} doc
 * @param {() => void} listener
 * @returns {() => void} ends it
 */
export function onHistory (doc, listener) {
  const map = eventMap(doc)
  map.observe(listener)
  return () => map.unobserve(listener)
}

/**
 * A note that all edit together: bind it to an editor, or use it as it is.
 *
 * @param {import('yjs').Doc} doc
 * @param {string} name 1 to 128 bytes, no `/`
 * @returns {import('yjs').Text}
 */
export function note (doc, name) {
  isText(name, 'a note name')
  const size = new TextEncoder().encode(name).length
  need(size >= 1 && size <= NOTE_NAME_BYTES_MAX, `a note name has 1 to 128 bytes, not ${size}`)
  need(!name.includes('/') && !CONTROL.test(name), 'a note name has no slash and no controls')
  return doc.getText ? doc.getText(`note:${name}`) : doc.get(`note:${name}`)
}

// ---- inside ---------------------------------------------------------------------------------

// The root `events` is a Y.Map of yjs 13, a type with attributes of @y/y 14.
function eventMap (doc) { return doc.getMap ? doc.getMap('events') : doc.get('events') }
function entries (map) { return map.attrEntries ? map.attrEntries() : map.entries() }
function set (map, id, json) { return map.setAttr ? map.setAttr(id, json) : map.set(id, json) }

/**
 * 48 bits of time and 16 of a counter, then 16 bytes of chance: an id later than all that this
 * page knows, as Weft's clocks would have it, unless another clock is ahead by more than an hour.
 */
function newId (map, nowMs) {
  need(Number.isSafeInteger(nowMs) && nowMs >= 0 && nowMs < 2 ** 48, `${nowMs} is no time`)
  let last = ''
  const ahead = hex(nowMs + 3_600_000, 12)
  for (const [id] of entries(map)) {
    if (EVENT_ID.test(id) && id > last && id < ahead) last = id
  }
  const clock = last.slice(0, 16)
  const now = hex(nowMs, 12) + '0000'
  const next = clock < now ? now : hex(BigInt(`0x${clock}`) + 1n, 16)
  const chance = crypto.getRandomValues(new Uint8Array(16))
  return `${next}-${Array.from(chance, byte => hex(byte, 2)).join('')}`
}

/** The parts, with what each result answers, as a store finds it: providers use ids again. */
function answering (map, parts) {
  const taken = new Set()
  return parts.map(part => {
    if (part.type !== 'result' || part.call !== undefined) return part
    const call = openCall(map, part.id, taken)
    if (call === null) return part
    taken.add(String(call))
    return { ...part, call }
  })
}

function openCall (map, id, taken) {
  const answered = new Set(taken)
  const newest = [...entries(map)].filter(([key]) => EVENT_ID.test(key))
    .sort(([a], [b]) => (a < b ? 1 : -1)).slice(0, LOOK_BACK_MAX)
  for (const [key, json] of newest) {
    const said = typeof json === 'string' ? parsed(json) : null
    if (said?.kind !== 'message' || !Array.isArray(said.parts)) continue
    for (const [index, part] of said.parts.entries()) {
      if (part?.type === 'result' && part.call) answered.add(String(part.call))
      if (part?.type === 'call' && part.id === id && !answered.has(`${key},${index}`)) {
        return [key, index]
      }
    }
  }
  return null
}

function eventOf (message) {
  need(message !== null && typeof message === 'object', 'a message is an object')
  const { role, parts, name, author = 'browser', ...others } = message
  known(others, 'message')
  need(ROLES.includes(role), `role is one of ${ROLES.join(', ')}, not ${JSON.stringify(role)}`)
  isText(author, 'author')
  if (name !== undefined) isText(name, 'name')
  const some = typeof parts === 'string' ? [{ type: 'text', text: parts }] : parts
  need(Array.isArray(some) && some.length > 0, 'parts is a text, or an array with parts in it')
  need(some.length <= PARTS_MAX, `a message has ${PARTS_MAX} parts at most, not ${some.length}`)
  return { role, author, parts: some.map(part), ...(name !== undefined && { name }) }
}

function part (given, index) {
  const at = `parts[${index}]`
  const fields = Object.hasOwn(PARTS, given?.type) ? PARTS[given.type] : null
  need(fields, `${at}.type is one of ${Object.keys(PARTS).join(', ')}`)
  const made = { type: given.type }
  for (const [field, check] of Object.entries(fields)) {
    const name = field.replace('?', '')
    if (field.endsWith('?') && given[name] === undefined) continue
    check(given[name], `${at}.${name}`)
    made[name] = given[name]
  }
  known(Object.fromEntries(Object.entries(given).filter(([key]) => !(key in made))), at)
  // A flag that is not up is left out, as Weft writes it.
  if (made.error === false) delete made.error
  return made
}

function isText (value, at) {
  need(typeof value === 'string', `${at} is a text`)
  need(!/\p{Surrogate}/u.test(value), `${at} holds half of a character (a lone surrogate)`)
}
function isFlag (value, at) { need(typeof value === 'boolean', `${at} is true or false`) }
function isCall (value, at) {
  const [id, index] = Array.isArray(value) && value.length === 2 ? value : []
  const isSound = typeof id === 'string' && EVENT_ID.test(id) && Number.isSafeInteger(index)
  need(isSound && index >= 0, `${at} is [event id, index of the part]`)
}

function known (others, what) {
  const [first] = Object.entries(others).find(([, value]) => value !== undefined) ?? []
  need(first === undefined, `${what} has no field ${JSON.stringify(first)}`)
}
function need (holds, problem) { if (!holds) throw new WeftError(problem) }

/** JSON with one spelling: keys ascend. Its values are texts, flags and whole numbers only. */
function canonical (value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  const keys = Object.keys(value).sort()
  return `{${keys.map(key => `${JSON.stringify(key)}:${canonical(value[key])}`).join(',')}}`
}

function parsed (json) { try { return JSON.parse(json) } catch { return null } }
function hex (number, digits) { return number.toString(16).padStart(digits, '0') }
