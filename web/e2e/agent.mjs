// An ACP agent for the browser tests. "<events> <per second>" makes it say much,
// in many kinds, at a steady rate; 0 per second is as fast as it can. "attack"
// makes it put HTML and scripts wherever an agent has a word. "run <kind> <events>
// <file>" makes it say one thing in many pieces, text, thought or tool: the second half when the file is there.
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";

const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
const cancelled = new Set();
let sessions = 0;
let runs = 0;

/** The nth update: prose, tool calls that begin and end, thoughts. Each kind of item is its own. */
function update(n) {
  const toolCallId = `call-${n - (n % 4)}`;
  switch (n % 4) {
    case 0:
      return {
        sessionUpdate: "tool_call",
        toolCallId,
        title: `Read part ${n}`,
        kind: "read",
        status: "in_progress",
        rawInput: { path: `src/part-${n}.ts` },
      };
    case 1:
      return { sessionUpdate: "tool_call_update", toolCallId, status: "completed", rawOutput: { lines: n } };
    case 2:
      return { sessionUpdate: "agent_thought_chunk", content: { type: "text", text: `Thinking about part ${n}.` } };
    default:
      return {
        sessionUpdate: "agent_message_chunk",
        content: { type: "text", text: `Part ${n} is **fine**, see \`src/part-${n}.ts\`.\n\n` },
      };
  }
}

/** The nth of `count` pieces of one thing. */
function piece(kind, n, count, run) {
  if (kind === "tool") {
    const sessionUpdate = n === 1 ? "tool_call" : "tool_call_update";
    const status = n === count ? "completed" : "in_progress";
    const first = n === 1 ? { title: `Count in run ${run}`, kind: "other", rawInput: { to: count } } : {};
    return { sessionUpdate, toolCallId: `run-${run}`, status, rawOutput: { reached: n }, ...first };
  }
  const sessionUpdate = kind === "thought" ? "agent_thought_chunk" : "agent_message_chunk";
  return { sessionUpdate, content: { type: "text", text: `${n} ` } };
}

async function say(sessionId, kind, count, file) {
  const run = ++runs;
  for (let n = 1; n <= Number(count); n++) {
    while (n > Number(count) / 2 && !existsSync(file)) await new Promise((resolve) => setTimeout(resolve, 20));
    send({ method: "session/update", params: { sessionId, update: piece(kind, n, Number(count), run) } });
  }
  return "end_turn";
}

const html = `<img src=x onerror="window.hit='image'"><script>window.hit='script'</script><svg onload="window.hit='svg'">`;
const link = "javascript:window.hit='link'";
let asked = 0;

async function attack(sessionId) {
  const updates = [
    {
      sessionUpdate: "agent_message_chunk",
      content: {
        type: "text",
        text: `${html}\n\n[click](${link}) <a href="${link}">here</a> ![x](http://127.0.0.1:9/seen.png)\n\n`,
      },
    },
    { sessionUpdate: "agent_thought_chunk", content: { type: "text", text: html } },
    { sessionUpdate: "plan", entries: [{ content: html, priority: html, status: html }] },
    {
      sessionUpdate: "tool_call",
      toolCallId: html,
      title: html,
      kind: "edit",
      status: "completed",
      locations: [{ path: `/tmp/${html}` }],
      rawInput: { [html]: html },
      rawOutput: html,
      content: [
        { type: "diff", path: `/tmp/${html}`, oldText: html, newText: `${html}!` },
        { type: "content", content: { type: "text", text: html } },
        { type: "content", content: { type: "resource_link", uri: link, name: html } },
      ],
    },
    { sessionUpdate: html, [html]: html },
  ];
  for (const update of updates) send({ method: "session/update", params: { sessionId, update } });
  const id = `ask-${++asked}`;
  const answered = new Promise((resolve) => answers.set(id, resolve));
  send({
    id,
    method: "session/request_permission",
    params: {
      sessionId,
      toolCall: { toolCallId: "asks", title: html, kind: "edit", rawInput: { path: html } },
      options: [
        { optionId: html, name: html, kind: "allow_once" },
        { optionId: "no", name: "No", kind: "reject_once" },
      ],
    },
  });
  await answered;
  return "end_turn";
}

const answers = new Map();

async function prompt(sessionId, text) {
  if (text === "attack") return attack(sessionId);
  if (text.startsWith("run ")) return say(sessionId, ...text.split(" ").slice(1));
  const [count, perSecond] = text.split(" ").map(Number);
  cancelled.delete(sessionId);
  const began = Date.now();
  for (let n = 0; n < count; n++) {
    if (cancelled.has(sessionId)) return "cancelled";
    send({ method: "session/update", params: { sessionId, update: update(n) } });
    const due = perSecond > 0 ? began + (1000 * n) / perSecond : 0;
    // Now and then others get their turn, and a full pipe its time.
    if (due > Date.now()) await new Promise((resolve) => setTimeout(resolve, due - Date.now()));
    else if (n % 200 === 0) await new Promise((resolve) => setImmediate(resolve));
    if (process.stdout.writableNeedDrain) await new Promise((resolve) => process.stdout.once("drain", resolve));
  }
  return "end_turn";
}

createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, method, params } = JSON.parse(line);
  if (method === undefined) return answers.get(id)?.();
  switch (method) {
    case "initialize":
      return send({ id, result: { protocolVersion: 1, agentCapabilities: {}, authMethods: [] } });
    case "session/new":
      return send({ id, result: { sessionId: `burst-${++sessions}` } });
    case "session/prompt":
      return send({ id, result: { stopReason: await prompt(params.sessionId, params.prompt[0].text) } });
    case "session/cancel":
      return cancelled.add(params.sessionId);
    default:
      if (id !== undefined) send({ id, error: { code: -32601, message: `no ${method} here` } });
  }
});
