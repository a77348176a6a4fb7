// A worker for sessionhub: it says each message back, word by word. WORKERS.md tells what the frames mean.
//   SESSIONHUB_WORKER_KEY=... node --experimental-websocket docs/worker.mjs ws://127.0.0.1:8080
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'

const sessions = new Map() // by id
const headers = { authorization: `Bearer ${process.env.SESSIONHUB_WORKER_KEY}` }
let link // the open one, or null
const send = (type, data) => link?.send(JSON.stringify({ type, data }))

// Events are numbered from 1 in each assignment, and kept until the hub has stored them.
function publish(s, type, data) {
  s.kept.push({ sessionId: s.id, assignment: s.assignment, n: ++s.n, type, data })
  send('event', s.kept.at(-1))
}

async function run(s, seq, { messageId, content }) {
  const turn = (s.turn = { messageId, cancelled: false })
  const text = typeof content === 'string' ? content : content.map((block) => block.text ?? '').join(' ')
  for (const word of text.split(/(?<= )/)) {
    if (turn.cancelled) break
    if (sessions.get(s.id) !== s) return // it was revoked: not another word
    publish(s, 'output', { messageId, text: word, kind: 'text' })
    await sleep(50)
  }
  publish(s, 'complete', { messageId, stopReason: turn.cancelled ? 'cancelled' : 'end_turn' })
  s.finished = seq // if this done is lost with the link, the next hello says so
  send('done', { sessionId: s.id, assignment: s.assignment, message: seq })
}

function onCommand(c, s) {
  const { sessionId, assignment } = c
  if (s?.assignment !== assignment) return send('release', { sessionId, assignment, reason: 'not run here', retry: true })
  if (c.type === 'message' && c.seq > s.taken) run(s, (s.taken = c.seq), c.data) // what is known is a repeat
  if (c.type === 'cancel' && s.turn?.messageId === c.data.messageId) s.turn.cancelled = true
  if (c.type === 'close' && sessions.delete(sessionId)) send('release', { sessionId, assignment, reason: 'closed', retry: true })
}

function onFrame(ws, { type, data }) {
  const s = sessions.get(data.sessionId)
  if (type === 'welcome') { // everything that is kept goes out again, in order
    link = ws
    for (const { kept } of sessions.values()) kept.forEach((event) => send('event', event))
  } else if (type === 'ping') send('pong', {})
  else if (type === 'assign') sessions.set(data.sessionId, { id: data.sessionId, assignment: data.assignment, n: 0, kept: [], finished: data.message, taken: data.message })
  else if (type === 'command') onCommand(data, s)
  else if (type === 'ack' && s?.assignment === data.assignment) s.kept = s.kept.filter((event) => event.n > data.n)
  else if (type === 'revoke' && s?.assignment === data.assignment) sessions.delete(s.id) // its turn stops, and publishes no more
  else if (type === 'error') console.error('the hub says', data.code, data.detail)
}

function connect() {
  const ws = new WebSocket(`${process.argv[2]}/worker/link`, { protocols: ['sessionhub.worker.v1'], headers })
  const running = () => [...sessions.values()].map((s) => ({ sessionId: s.id, assignment: s.assignment, message: s.finished, event: s.n }))
  let watch
  const over = () => { // closed, or silent for longer than three heartbeats
    clearTimeout(watch)
    ws.onclose = ws.onmessage = link = null
    ws.close()
    setTimeout(connect, 500)
  }
  const alive = () => { clearTimeout(watch); watch = setTimeout(over, 20_000) }
  alive()
  ws.onopen = () => ws.send(JSON.stringify({ type: 'hello', data: { worker: `js-${process.pid}`, version: '1', workspace: hostname(), capacity: 8, providers: ['echo'], sessions: running() } }))
  ws.onmessage = (message) => { alive(); onFrame(ws, JSON.parse(message.data)) }
  ws.onerror = (error) => console.error('no link:', error.message)
  ws.onclose = over
}
connect()
