// A scripted ACP agent for tests: a program of its own, on nothing that the worker uses. It plays what real agents were
// reported to do. The first word of a prompt names the scenario, a method of `scenarios`; the rest is its argument.
//
// To add one: a method that sends what the agent would send, and returns when its turn is over. It may throw the error
// that answers the prompt. What a client can see of it is asserted in internal/contracttest.
//
// It keeps sessions from elsewhere: session/list names them as SCRIPTED_KEPT says, and what session/load replays is said by
// the id, a method of `histories`.
//
// SCRIPTED_LOG names a file that gets every line that the agent reads. SCRIPTED_AUTH makes it want a login.

import { spawn } from "node:child_process";
import fs from "node:fs";
import readline from "node:readline";

let sessionId = "";
let lastRequest = 999;
let cancelled = false;
const loginFile = `${process.env.SCRIPTED_LOG}.login`; // of a login in a terminal
let authenticated = fs.existsSync(loginFile);
const answers = new Map(); // by the id of our request

const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
const log = (line) => fs.appendFileSync(process.env.SCRIPTED_LOG ?? "/dev/null", `${line}\n`);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const update = (body) => send({ method: "session/update", params: { sessionId, update: body } });
const text = (said) => update({ sessionUpdate: "agent_message_chunk", content: { type: "text", text: said } });
const asText = (said) => [{ type: "content", content: { type: "text", text: said } }];

/** Asks the client. `id` is the next one if it has to be known before. */
function ask(method, params) {
  const id = ++lastRequest;
  send({ id, method, params });
  return new Promise((resolve) => answers.set(id, resolve));
}

const yesOrNo = [
  { optionId: "a", name: "Allow", kind: "allow_once" },
  { optionId: "r", name: "Reject", kind: "reject_once" },
];

function permission(toolCallId, title, call = { kind: "execute", rawInput: { command: title } }) {
  const toolCall = { toolCallId, title, status: "pending", ...call };
  return ask("session/request_permission", { sessionId, toolCall, options: yesOrNo });
}

const scenarios = {
  async echo(_, blocks) {
    text(`blocks=${JSON.stringify(blocks).slice(0, 400)}`);
  },

  async cwd() {
    text(JSON.stringify({ cwd: process.cwd(), pwd: process.env.PWD }));
  },

  /** Asks a question with a form. */
  async elicit() {
    const db = {
      type: "string",
      title: "Database",
      oneOf: [
        { const: "pg", title: "Postgres" },
        { const: "my", title: "MySQL" },
      ],
    };
    const requestedSchema = { type: "object", properties: { db }, required: ["db"] };
    const answer = ask("elicitation/create", { sessionId, mode: "form", message: "Which database?", requestedSchema });
    text(`elicitation answer: ${JSON.stringify(await answer)}`);
  },

  /** Takes its question back by $/cancel_request, after so many ms. */
  async withdraw(ms) {
    const answer = permission("tw", "rm -rf build");
    await sleep(Number(ms) || 100);
    send({ method: "$/cancel_request", params: { requestId: lastRequest } });
    text(`permission answer after withdrawal: ${JSON.stringify(await answer)}`);
  },

  /** Asks so many questions, each `ms` after the one before. */
  async many(rest) {
    const [count, ms] = rest.split(" ").map(Number);
    const all = [];
    for (let i = 0; i < (count || 3); i++) {
      all.push(permission(`t${i}`, `cmd ${i}`));
      await sleep(ms || 0);
    }
    text(JSON.stringify(await Promise.all(all)));
  },

  async ask1() {
    text(`answer ${JSON.stringify(await permission("t1", "make deploy"))}`);
  },

  /** Prints what terminals obey, as test runners do. */
  async ansi() {
    const start = { sessionUpdate: "tool_call", toolCallId: "an", title: "npm test \u001b[32mok\u001b[0m", kind: "execute" };
    update({ ...start, status: "in_progress", rawInput: { command: "npm test" } });
    const said =
      "\u001b[32m✓ passed\u001b[0m \u001b[31m✗ failed\u001b[0m\r\nprogress 10%\rprogress 100%\r\n" +
      "\u001b]0;evil title\u0007\u001b]8;;http://evil.example\u0007link\u001b]8;;\u0007 \u001b[2J\u001b[H end";
    const end = { sessionUpdate: "tool_call_update", toolCallId: "an", status: "completed" };
    update({ ...end, rawOutput: said, content: asText(said) });
    text("text with \u001b[1;31mred\u001b[0m, title \u001b]0;pwned\u0007, clear \u001b[2J, c1 \u009b31m end, bidi \u202Eabc\u202C\n");
  },

  /** So many pieces, each so many ms after the one before. */
  async stream(rest) {
    const [count, ms] = rest.split(" ").map(Number);
    for (let i = 0; i < (count || 100) && !cancelled; i++) {
      text(`n${i}\n`);
      await sleep(ms || 0);
    }
  },

  /** A tool whose output has so many MiB. */
  async hugetool(rest) {
    const output = "y".repeat((Number(rest) || 8) << 20);
    const call = { sessionUpdate: "tool_call", toolCallId: "hg", title: "cat big", kind: "execute", status: "completed" };
    update({ ...call, content: asText(output), rawOutput: "z".repeat(1000) });
    text("after");
  },

  /** Leaves processes behind, as a development server is. */
  async orphan() {
    const quiet = { detached: true, stdio: "ignore" };
    const one = spawn("sh", ["-c", "exec sleep 3333"], quiet);
    const two = spawn("setsid", ["nohup", "sh", "-c", "(sleep 3334 &) ; sleep 3335"], quiet);
    one.unref();
    two.unref();
    text(`spawned ${one.pid} ${two.pid}`);
  },

  /** Tells everything about its session: its commands, usage, mode, options and title. */
  async commands() {
    const review = { name: "review", description: "Review changes", input: { hint: "what to review" } };
    const availableCommands = [{ name: "compact", description: "Compact the context" }, review];
    update({ sessionUpdate: "available_commands_update", availableCommands });
    update({ sessionUpdate: "usage_update", used: 53000, size: 200000, cost: { amount: 0.42, currency: "USD" } });
    update({ sessionUpdate: "current_mode_update", currentModeId: "plan" });
    const values = ["m1", "m2"].map((value) => ({ value, name: value.toUpperCase() }));
    const model = { id: "model", name: "Model", category: "model", type: "select", currentValue: "m1", options: values };
    update({ sessionUpdate: "config_option_update", configOptions: [model] });
    update({ sessionUpdate: "session_info_update", title: "Fix the login bug" });
    text("told");
  },

  /** Says that its session costs so much by now, in USD. */
  async cost(amount) {
    update({ sessionUpdate: "usage_update", used: 1, size: 200000, cost: { amount: Number(amount), currency: "USD" } });
    text("told");
  },

  /** A notice of its own, as it sends to clients that show them. */
  async notice(title) {
    update({ sessionUpdate: "notice", severity: "warning", title, description: "Compact it soon." });
    text("told");
  },

  /** Goes on in the background when the turn is over, and asks there. */
  async late() {
    text("turn text.");
    setTimeout(() => {
      text("BACKGROUND RESULT: tests pass");
      const call = { sessionUpdate: "tool_call", toolCallId: "bg1", title: "background task finished", kind: "execute" };
      update({ ...call, status: "completed", content: asText("bg output") });
    }, 500);
    setTimeout(async () => log(`late answer ${JSON.stringify(await permission("bgp", "git push (background)"))}`), 1000);
  },

  /** Asks in the background, and takes its question back. It says nothing more about the call. */
  async lateback() {
    setTimeout(async () => {
      const answer = permission("bgw", "git push (background)");
      await sleep(200);
      send({ method: "$/cancel_request", params: { requestId: lastRequest } });
      log(`late answer ${JSON.stringify(await answer)}`);
    }, 500);
  },

  /** Uses what the client has not announced. */
  async fs() {
    const file = await ask("fs/read_text_file", { sessionId, path: `${process.cwd()}/a.txt` });
    text(JSON.stringify([file, await ask("terminal/create", { sessionId, command: "ls" })]));
  },

  /** A change of one line in a file of 9,000. */
  async bigdiff() {
    const line = (i) => `    "node_modules/pkg-${i}": { "version": "1.0.0", "integrity": "sha-${i}" },`;
    const oldText = Array.from({ length: 9000 }, (_, i) => line(i)).join("\n");
    const newText = oldText.replace('pkg-8000": { "version": "1.0.0"', 'pkg-8000": { "version": "6.6.6-evil"');
    const content = [{ type: "diff", path: "/x/package-lock.json", oldText, newText }];
    text(JSON.stringify(await permission("bd", "Edit package-lock.json", { kind: "edit", content })));
  },

  /** An output of 30,000 lines, whose last one matters. */
  async biglog() {
    const lines = Array.from({ length: 30000 }, (_, i) => `log line ${i} of the build, with some text`);
    const said = `${lines.join("\n")}\nERROR: the build failed because of X`;
    const call = { sessionUpdate: "tool_call", toolCallId: "bl", title: "make", kind: "execute", status: "failed" };
    update({ ...call, content: asText(said) });
    text("see above");
  },

  async hang() {
    await new Promise(() => {});
  },

  /** Its model's vendor wants it to come back later. */
  async retry() {
    update({ sessionUpdate: "agent_thought_chunk", content: { type: "text", text: "rate limited" } });
    const limit = '{"type":"error","error":{"type":"rate_limit_error","message":"limit resets 3am"}}';
    throw { code: -32603, message: `API Error: 429 ${limit}` };
  },

  async auth() {
    throw { code: -32000, message: "Authentication required" };
  },
};

/** What session/load replays, by the first part of the id; the others are its arguments. It may throw the error to answer. */
const histories = {
  /** So many turns of so many pieces each, with a tool and a plan in the first. */
  async kept(turns, pieces) {
    for (let t = 1; t <= (Number(turns) || 1); t++) {
      const user = { sessionUpdate: "user_message_chunk" };
      update({ ...user, content: { type: "text", text: `question ` } });
      update({ ...user, content: { type: "text", text: `${t}` } });
      if (t === 1) {
        const call = { sessionUpdate: "tool_call", toolCallId: "k1", title: "make", kind: "execute" };
        update({ ...call, status: "completed", rawInput: { command: "make" }, content: asText("built") });
        const entries = [{ content: "build it", priority: "high", status: "completed" }];
        update({ sessionUpdate: "plan", entries });
        update({ sessionUpdate: "usage_update", used: 7, size: 100, cost: { amount: 5, currency: "USD" } });
      }
      for (let i = 0; i < (Number(pieces) || 1); i++) {
        text(`answer ${t}.${i} `);
        if (i % 100 === 99) await new Promise((resolve) => setImmediate(resolve));
      }
    }
  },

  /** As gemini does, it goes on behind its answer. */
  async late() {
    setTimeout(() => histories.kept(2, 2), 50);
  },

  async refuses() {
    throw { code: -32602, message: "no such session" };
  },

  async hangs() {
    await new Promise(() => {});
  },

  async dies() {
    await histories.kept(2, 2);
    await sleep(200);
    process.exit(3);
  },

  /** It replays a piece in each so many ms. */
  async slow(ms) {
    update({ sessionUpdate: "user_message_chunk", content: { type: "text", text: "slow question" } });
    for (let i = 0; i < 1000; i++) {
      text(`s${i} `);
      await sleep(Number(ms) || 50);
    }
  },

  /** What no hub should take as it is. */
  async hostile() {
    const user = (content) => update({ sessionUpdate: "user_message_chunk", content });
    user({ type: "text", text: "x".repeat(3 << 20) });
    text("one");
    user({ type: "image", mimeType: "image/png", data: Buffer.from("no picture").toString("base64") });
    text("two");
    user({ type: "text", text: "   " });
    user(null);
    user({ type: "resource", resource: { uri: "file:///etc/passwd", text: "root" } });
    text("three");
    permission("hp", "rm -rf /");
    const call = { sessionUpdate: "tool_call", toolCallId: "open", title: "never ends", kind: "execute" };
    update({ ...call, status: "in_progress" });
    send({ method: "session/update", params: { sessionId: "another", update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text: "not mine" } } } });
  },
};

/** A page of the sessions that are kept. SCRIPTED_KEPT is a mode, their count, and how many make a page, with colons. */
async function list(params) {
  const [mode, count, pageSize] = (process.env.SCRIPTED_KEPT ?? "none:0:0").split(":");
  if (mode === "hang") await new Promise(() => {});
  if (mode === "die") process.exit(4);
  const size = Number(pageSize) || Number(count);
  const from = Number(params.cursor ?? 0);
  const sessions = [];
  for (let i = from; i < Math.min(from + size, Number(count)); i++) {
    const cwd = i % 3 === 2 ? "/etc" : process.cwd();
    const title = i === 0 ? `\u001b]0;evil\u0007 two\nlines ${"t".repeat(5000)}` : `kept ${i}`;
    sessions.push({ sessionId: `kept-${i}`, cwd, title, updatedAt: i === 1 ? "no time" : "2026-11-01T10:00:00Z" });
  }
  if (from === 0 && mode === "odd") sessions.push(null, {}, { sessionId: "", cwd: "/" }, { sessionId: "a\nb", cwd: process.cwd() });
  return from + size < Number(count) ? { sessions, nextCursor: String(from + size) } : { sessions };
}

const login = { id: "login", name: "Log in with the terminal", type: "terminal", args: ["--login"] };
const browser = { id: "browser", name: "Use your subscription", description: "In a browser, by a code." };
const initialized = {
  protocolVersion: 1,
  agentCapabilities: {
    loadSession: true,
    promptCapabilities: { image: true, embeddedContext: true },
    sessionCapabilities: { list: {}, resume: {}, fork: {} },
    mcpCapabilities: { http: true, sse: true },
  },
  agentInfo: { name: "scripted", version: "1" },
  authMethods: [login],
  _meta: { steering: { supported: true } },
};

function opened() {
  const modes = ["default", "plan", "bypass"].map((id) => ({ id, name: id }));
  const models = ["m1", "m2"].map((modelId) => ({ modelId, name: modelId.toUpperCase() }));
  const values = ["low", "high"].map((value) => ({ value, name: value }));
  const effort = { id: "effort", name: "Effort", category: "thought_level", type: "select", currentValue: "low", options: values };
  return {
    sessionId,
    modes: { currentModeId: "default", availableModes: modes },
    models: { currentModelId: "m1", availableModels: models },
    configOptions: [effort],
  };
}

/** Reports whether a fork was kept. As with claude-agent-acp, that is from its first turn on. */
const keeps = (fork) => fs.existsSync(`${process.env.SCRIPTED_LOG}.${fork}`);

async function prompt(id, blocks) {
  cancelled = false;
  if (sessionId.startsWith("forked-")) fs.writeFileSync(`${process.env.SCRIPTED_LOG}.${sessionId}`, "");
  const said = blocks.find((block) => block.type === "text")?.text ?? "echo";
  const [word, ...rest] = said.split(" ");
  try {
    await (scenarios[word] ?? scenarios.echo)(rest.join(" "), blocks);
    send({ id, result: { stopReason: cancelled ? "cancelled" : "end_turn" } });
  } catch (error) {
    send({ id, error: error.code ? error : { code: -32603, message: String(error) } });
  }
}

/** Opens a session that the agent keeps, and answers behind its replay. */
async function load(id, params) {
  const [name, ...rest] = params.sessionId.split("-");
  sessionId = params.sessionId;
  try {
    await histories[name]?.(...rest);
    send({ id, result: opened() });
  } catch (error) {
    send({ id, error: error.code ? error : { code: -32603, message: String(error) } });
  }
}

// A login in a browser shows a page and a code, and then wants the page's own code.
async function authenticate(id, methodId) {
  if (methodId === "browser") {
    const page = { mode: "url", elicitationId: "login", message: "Type the code ABCD-1234", url: "https://login.example.org/s3cr3t-page" };
    const schema = { type: "object", properties: { code: { type: "string" } }, required: ["code"] };
    const shown = await ask("elicitation/create", { requestId: id, ...page });
    const code = await ask("elicitation/create", { requestId: id, mode: "form", message: "The page's s3cr3t code?", requestedSchema: schema });
    if (shown.action !== "accept" || code.content?.code !== "s3cr3t-answer") {
      send({ id, error: { code: -32000, message: "Login was not completed" } });
      return;
    }
  }
  authenticated = true;
  send({ id, result: {} });
}

// Its login in a terminal: a page, and the code that the page shows.
function logIn() {
  console.log(`Is it a terminal? ${process.stdin.isTTY === true}`);
  console.log("Go to https://login.example.org/s3cr3t-page, and paste the code that it shows.");
  readline.createInterface({ input: process.stdin }).once("line", (line) => {
    const good = line.trim() === "s3cr3t-answer";
    if (good) fs.writeFileSync(loginFile, "");
    process.exit(good ? 0 : 1);
  });
}

function handle({ id, method, params, result, error }) {
  switch (method) {
    case undefined:
      answers.get(id)?.(result ?? { error });
      answers.delete(id);
      return;
    case "initialize":
      if (process.env.SCRIPTED_AUTH) initialized.authMethods = [login, browser];
      send({ id, result: initialized });
      return;
    case "session/fork":
      sessionId = `forked-${crypto.randomUUID()}`;
      send({ id, result: opened() });
      return;
    case "session/new":
    case "session/load":
    case "session/resume":
      if (process.env.SCRIPTED_AUTH && !authenticated) {
        send({ id, error: { code: -32000, message: "Authentication required" } });
        return;
      }
      if (method === "session/load") {
        load(id, params);
        return;
      }
      if (params.sessionId?.startsWith("forked-") && !keeps(params.sessionId)) {
        send({ id, error: { code: -32002, message: "Resource not found" } });
        return;
      }
      sessionId = params.sessionId ?? `scripted-${crypto.randomUUID()}`;
      send({ id, result: opened() });
      return;
    case "session/list":
      list(params).then((listed) => send({ id, result: listed }));
      return;
    case "authenticate":
      authenticate(id, params.methodId);
      return;
    case "session/cancel":
      cancelled = true;
      return;
    case "session/prompt":
      prompt(id, params.prompt);
      return;
  }
  if (id !== undefined) send({ id, result: {} });
}

const serve = () => readline.createInterface({ input: process.stdin }).on("line", (line) => {
  log(`< ${line.slice(0, 600)}`);
  handle(JSON.parse(line));
});

if (process.argv.includes("--login")) logIn();
else serve();
