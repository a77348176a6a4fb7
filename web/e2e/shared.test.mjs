// Many sessions on one connection: the JavaScript client in Node against the real binary, through a proxy that breaks
// things. FAULT_SEED repeats one run of the random faults.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { WebSocket } from "ws";

import { connectHub } from "../client/src/hub.ts";
import { HubApi } from "../client/src/index.ts";
import { FaultyProxy } from "../client/test/proxy.ts";
import { startHub } from "./hub.mjs";
import { roomyHub } from "./page.mjs";
import { randomNumbers } from "./random.mjs";

let hub;
let api;
before(async () => {
  hub = await startHub({ args: roomyHub });
  api = new HubApi({ baseUrl: hub.url });
});
after(() => hub?.stop());

const cleanups = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function proxied(target = hub.url) {
  const proxy = await FaultyProxy.listen(target);
  cleanups.push(() => proxy.close());
  return proxy;
}

/** A connection that follows `count` new sessions, with what it delivered of each. */
async function followMany(baseUrl, count, options = {}, made = { api, workspace: hub.workspace }) {
  const states = [];
  const shared = connectHub({ baseUrl, webSocket: WebSocket, ...options, onState: (state) => states.push(state) });
  cleanups.push(() => shared.close());
  const sessions = [];
  for (let index = 0; index < count; index++) {
    const { sessionId } = await made.api.createSession({ provider: "demo", workingDirectory: made.workspace });
    const session = { sessionId, events: [], looped: [], gaps: 0 };
    session.stream = shared.follow({
      sessionId,
      backoff: options.backoff,
      onEvent: (event) => session.events.push(event),
      onControl: (frame) => (session.gaps += frame.type === "gap" ? 1 : 0),
    });
    session.loop = (async () => {
      for await (const item of session.stream) session.looped.push(item);
    })();
    sessions.push(session);
  }
  return { hub: shared, sessions, states };
}

async function until(what, condition, ms = 30_000) {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const allLive = (sessions) => until("all live", () => sessions.every(({ stream }) => stream.state.phase === "live"));
const completes = (sessions, count) =>
  until(`${count} complete in each`, () =>
    sessions.every(({ events }) => events.filter(({ type }) => type === "complete").length >= count),
  );

/** The log as the hub has it, by another way. */
async function history(sessionId, from = api) {
  const events = [];
  let after;
  do {
    const page = await from.history(sessionId, after === undefined ? {} : { after });
    events.push(...page.events);
    after = page.nextAfter;
  } while (after !== undefined);
  return events;
}

/** Asserts that each session was delivered as the hub has it: every event once, in order. */
async function assertWhole(sessions, from = api) {
  for (const { sessionId, events, gaps } of sessions) {
    await until("idle", async () => (await from.getSession(sessionId)).status === "idle");
    const log = await history(sessionId, from);
    await until("all events", () => events.length >= log.length);
    assert.deepEqual(events, log);
    assert.equal(gaps, 0);
  }
}

for (const transport of ["websocket", "sse"]) {
  test(`${transport}: sessions on one connection are followed and steered, and their ends are their own`, async () => {
    const { hub: shared, sessions } = await followMany(hub.url, 4, { transport });
    await allLive(sessions);
    const [first, second] = sessions;
    const sent = await first.stream.sendMessage("hello", "m1");
    assert.deepEqual(await first.stream.sendMessage("hello", "m1"), { ...sent, duplicate: true });
    await Promise.all(sessions.slice(1).map(({ stream }, index) => stream.sendMessage(`/stream ${50 * index} 20 200`)));
    await second.stream.sendMessage("/approve paint the shed");
    await until("the question", () => second.events.some(({ type }) => type === "tool_approval"));
    const { interactionId } = second.events.find(({ type }) => type === "tool_approval").data;
    await assert.rejects(second.stream.approve(interactionId, "no such option"), { code: "unknown_option" });
    await second.stream.decide(interactionId, "allow_once");
    await completes(sessions, 1);
    await completes([second], 2);
    await assertWhole(sessions);
    const missing = shared.follow({ sessionId: "none" });
    await until("not found", () => missing.state.reason === "not_found");
    await api.deleteSession(first.sessionId);
    await until("closed", () => first.stream.state.phase === "closed");
    assert.deepEqual(first.stream.state, { phase: "closed", reason: "session_ended" });
    assert.equal(first.events.at(-1).type, "closed");
    assert.deepEqual(shared.state, { phase: "live", transport });
  });
}

for (const fate of ["refuse", "strip", "swallow"]) {
  test(`a proxy that would ${fate} the upgrade: all sessions are live over SSE within 5 s, and steered`, async () => {
    const proxy = await proxied();
    proxy.upgrade = fate;
    const began = Date.now();
    const { hub: shared, sessions } = await followMany(proxy.url, 3);
    await allLive(sessions);
    assert.ok(Date.now() - began < 5_000, `${Date.now() - began} ms`);
    assert.equal(shared.transport, "sse");
    await Promise.all(sessions.map(({ stream }) => stream.sendMessage("hello")));
    await completes(sessions, 1);
    assert.equal(proxy.handshakes, 1);
  });
}

const seeds = process.env.FAULT_SEED
  ? [Number(process.env.FAULT_SEED)]
  : Array.from({ length: 4 }, () => 1 + Math.floor(Math.random() * 2 ** 31));

for (const seed of seeds) {
  test(`random faults, FAULT_SEED=${seed}: of every session every event once, in order, and every message once`, {
    timeout: 120_000,
  }, async () => {
    const { int, of } = randomNumbers(seed);
    const proxy = await proxied();
    let calm = false;
    proxy.fault = () => {
      if (calm) return {};
      return {
        cutAfterBytes: int(2) ? int(60_000) : undefined,
        cutAfterMs: int(2) ? int(500) : undefined,
        delayMs: int(3) ? undefined : 1 + int(40),
      };
    };
    const { sessions } = await followMany(proxy.url, 5, {
      transport: of(["auto", "auto", "sse", "websocket"]),
      backoff: { baseMs: 10, maxMs: 60 },
      connectTimeoutMs: 300,
      retryWebSocketMs: 200,
      pingIntervalMs: 200,
      pingTimeoutMs: 400,
    });
    const sent = [];
    let turns = 0;
    for (; turns < 4 || (proxy.connections <= 10 && turns < 30); turns++) {
      for (const { stream } of sessions)
        sent.push(stream.sendMessage(`/stream ${100 + int(300)} 30 ${200 + int(500)}`, `turn${turns}`));
      proxy.upgrade = of(["pass", "pass", "refuse", "strip", "swallow"]);
      for (let step = 0; step < 3; step++) {
        await new Promise((resolve) => setTimeout(resolve, int(150)));
        if (int(2)) proxy.cutAll();
        if (!int(5)) proxy.down = !proxy.down;
      }
      proxy.down = false;
    }
    calm = true;
    proxy.upgrade = "pass";
    await Promise.all(sent);
    await completes(sessions, turns);
    await assertWhole(sessions);
    for (const { events } of sessions) {
      const messages = events.filter(({ type }) => type === "message").map(({ data }) => data.messageId);
      assert.deepEqual(messages.sort(), Array.from({ length: turns }, (_, turn) => `turn${turn}`).sort());
    }
    assert.ok(proxy.connections > 10, `only ${proxy.connections} connections: nothing was broken`);
    for (const { stream } of sessions) stream.close();
    await Promise.all(sessions.map(({ loop }) => loop));
    for (const { looped, events } of sessions) assert.deepEqual(looped, events);
  });
}

/** A Valkey of its own. */
async function startValkey() {
  const program = process.env.SESSIONHUB_TEST_VALKEY;
  const dir = await mkdtemp(join(tmpdir(), "sessionhub-valkey-"));
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  const port = await new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
  const child = spawn(program, ["--bind", "127.0.0.1", "--port", String(port), "--dir", dir, "--save", ""]);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  cleanups.push(() => {
    child.kill("SIGKILL");
    return ended;
  });
  let output = "";
  child.stdout.on("data", (bytes) => (output += bytes));
  await until("Valkey", () => output.includes("Ready to accept connections"));
  return `redis://127.0.0.1:${port}`;
}

for (const transport of ["websocket", "sse"]) {
  test(`${transport}: two nodes over Valkey, and one is killed: all sessions resume on the other`, {
    skip: process.env.SESSIONHUB_TEST_VALKEY ? false : "SESSIONHUB_TEST_VALKEY names no valkey-server",
    timeout: 120_000,
  }, async () => {
    const valkey = await startValkey();
    const args = [...roomyHub, "--valkey-url", valkey];
    const env = { SESSIONHUB_TOKEN_SECRET: "a secret of thirty-two bytes or so" };
    const works = await startHub({ args, env });
    cleanups.push(() => works.stop());
    const dies = await startHub({ args: [...args, "--worker", "none"], env, workspace: works.workspace });
    let killed = false;
    cleanups.push(() => killed || dies.stop());
    const proxy = await proxied(dies.url);
    const other = new HubApi({ baseUrl: works.url });
    const { sessions } = await followMany(
      proxy.url,
      12,
      { transport, backoff: { baseMs: 50, maxMs: 200 } },
      { api: other, workspace: works.workspace },
    );
    await allLive(sessions);
    await Promise.all(sessions.map(({ stream }) => stream.sendMessage("/stream 150 20 200", "m1")));
    await until("some of each", () => sessions.every(({ events }) => events.length > 20));
    killed = true;
    await dies.kill();
    proxy.retarget(works.url);
    await completes(sessions, 1);
    await Promise.all(sessions.map(({ stream }) => stream.sendMessage("and now?", "m2")));
    await completes(sessions, 2);
    await assertWhole(sessions, other);
  });
}
