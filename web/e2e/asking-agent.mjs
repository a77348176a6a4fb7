// An ACP agent that asks at random, for the test of who may answer what. The
// prompt "ask <seed> <seconds>" makes it ask that long, a few questions at a
// time, of every size, with text in between; it takes some of them back. "one" makes it
// ask one small question; "bigdiff", "longdiff" and "bigtext" one for something large.
// "picture" makes a tool show one.
import { createInterface } from "node:readline";
import { randomNumbers } from "./random.mjs";

const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
const waiting = new Map();
const kinds = ["allow_once", "allow_always", "reject_once", "reject_always"];
const maxOpen = 4;
let asked = 0;
let cancelled = false;

function content(random) {
  const lines = (count) =>
    Array.from({ length: count }, (_, line) => `line ${line} of what this would do, ${random.int(1000)}`).join("\n");
  switch (random.int(4)) {
    case 0:
      return undefined;
    case 1:
      return [{ type: "content", content: { type: "text", text: lines(random.int(8) + 1) } }];
    case 2:
      return [{ type: "content", content: { type: "text", text: lines(random.int(200) + 1) } }];
    default: {
      const before = lines(random.int(40) + 2);
      return [{ type: "diff", path: "/src/shed.ts", oldText: before, newText: before.replace("line 1 ", "line one ") }];
    }
  }
}

function ask(sessionId, random) {
  const id = `ask-${++asked}`;
  const options = kinds
    .slice(0, random.int(3) + 2)
    .map((kind) => ({ optionId: `${kind}-${asked}`, name: kind.replace("_", " "), kind }));
  waiting.set(id, undefined);
  const title = `Question ${asked}${random.int(5) === 0 ? " with a title that is much longer than the others are".repeat(random.int(6)) : ""}`;
  send({
    id,
    method: "session/request_permission",
    params: {
      sessionId,
      toolCall: {
        toolCallId: id,
        title,
        kind: "execute",
        rawInput: { command: `paint ${asked}` },
        content: content(random),
      },
      options,
    },
  });
  if (random.int(6) === 0) {
    setTimeout(
      () => waiting.has(id) && send({ method: "$/cancel_request", params: { requestId: id } }),
      300 + random.int(2_000),
    );
  }
}

/** Asks one question, and waits for its answer. */
function askOne(sessionId, title, parts) {
  const id = `ask-${++asked}`;
  const options = [
    { optionId: "allow", name: "Allow", kind: "allow_once" },
    { optionId: "reject", name: "Reject", kind: "reject_once" },
  ];
  send({
    id,
    method: "session/request_permission",
    params: { sessionId, toolCall: { toolCallId: id, title, ...parts }, options },
  });
  return new Promise((resolve) => waiting.set(id, resolve));
}

/** What asks one question, by the prompt's word. */
const single = {
  one(sessionId) {
    return askOne(sessionId, "Paint the shed", { kind: "execute", rawInput: { command: "paint" } });
  },
  bigdiff(sessionId) {
    const oldText = Array.from(
      { length: 9_000 },
      (_, n) => `    "node_modules/pkg-${n}": { "version": "1.0.0", "integrity": "sha512-of-${n}" },`,
    ).join("\n");
    const newText = oldText.replace('pkg-8000": { "version": "1.0.0"', 'pkg-8000": { "version": "6.6.6-evil"');
    return askOne(sessionId, "Edit package-lock.json", {
      kind: "edit",
      content: [{ type: "diff", path: "/src/package-lock.json", oldText, newText }],
    });
  },
  longdiff(sessionId) {
    const lines = (word) => Array.from({ length: 80 }, (_, n) => `${word} line ${n}`).join("\n");
    return askOne(sessionId, `Rewrite the shed${", and paint it anew".repeat(40)}`, {
      kind: "edit",
      content: [{ type: "diff", path: "/src/shed.ts", oldText: lines("old"), newText: lines("new") }],
    });
  },
  bigtext(sessionId) {
    const text = `${Array.from({ length: 40_000 }, (_, n) => `echo line ${n} of a script that somebody should have read whole before`).join("\n")}\n# the last line`;
    return askOne(sessionId, "Run a script", {
      kind: "execute",
      content: [{ type: "content", content: { type: "text", text } }],
    });
  },
};

/** A tool that shows a picture. */
function picture(sessionId) {
  const data = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
  const content = [{ type: "content", content: { type: "image", mimeType: "image/png", data } }];
  const update = {
    sessionUpdate: "tool_call",
    toolCallId: "shot",
    title: "Look at it",
    kind: "read",
    status: "completed",
  };
  send({ method: "session/update", params: { sessionId, update: { ...update, content } } });
}

async function prompt(sessionId, text) {
  const [word, seed, seconds] = text.split(" ");
  if (word === "picture") picture(sessionId);
  if (single[word]) {
    await single[word](sessionId);
    return "end_turn";
  }
  if (word !== "ask") return "end_turn";
  const random = randomNumbers(Number(seed));
  const until = Date.now() + 1000 * Number(seconds);
  cancelled = false;
  while (Date.now() < until && !cancelled) {
    if (random.int(3) === 0) {
      const words = "Meanwhile the shed dries. ".repeat(random.int(12) + 1);
      send({
        method: "session/update",
        params: {
          sessionId,
          update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text: `${words}\n\n` } },
        },
      });
    } else if (waiting.size < maxOpen) ask(sessionId, random);
    await new Promise((resolve) => setTimeout(resolve, 50 + random.int(700)));
  }
  while (waiting.size > 0 && !cancelled) await new Promise((resolve) => setTimeout(resolve, 50));
  return cancelled ? "cancelled" : "end_turn";
}

createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, method, params } = JSON.parse(line);
  if (method === undefined) {
    waiting.get(id)?.();
    return waiting.delete(id);
  }
  switch (method) {
    case "initialize":
      return send({ id, result: { protocolVersion: 1, agentCapabilities: {}, authMethods: [] } });
    case "session/new":
      return send({ id, result: { sessionId: `asking-${process.pid}` } });
    case "session/prompt":
      return send({ id, result: { stopReason: await prompt(params.sessionId, params.prompt[0].text) } });
    case "session/cancel":
      cancelled = true;
      return waiting.clear();
    default:
      if (id !== undefined) send({ id, error: { code: -32601, message: `no ${method} here` } });
  }
});
