// The JavaScript client in Node against the real binary, through a proxy that
// breaks things:
//
//   SESSIONHUB_BIN=path/to/sessionhub node --import tsx --test e2e/client.test.mjs
//
// FAULT_SEED repeats one run of the random faults.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { WebSocket } from "ws";

import { connect, HubApi } from "../client/src/index.ts";
import { FaultyProxy } from "../client/test/proxy.ts";
import { startHub } from "./hub.mjs";
import { roomyHub } from "./page.mjs";

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

async function proxied() {
  const proxy = await FaultyProxy.listen(hub.url);
  cleanups.push(() => proxy.close());
  return proxy;
}

/** A stream, on a new session unless `options` name one, with what it delivered. */
async function follow(baseUrl, options = {}) {
  const { sessionId, token } = options.sessionId
    ? options
    : await api.createSession({ provider: "demo", workingDirectory: hub.workspace });
  const followed = { sessionId, token, events: [], states: [], controls: [] };
  followed.stream = connect({
    baseUrl,
    sessionId,
    token,
    webSocket: WebSocket,
    ...options,
    onEvent: (event) => followed.events.push(event),
    onControl: (frame) => followed.controls.push(frame),
    onState: (state) => followed.states.push(state),
  });
  cleanups.push(() => followed.stream.close());
  return followed;
}

async function until(what, condition, ms = 20_000) {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const live = (followed, transport) =>
  until(`live ${transport ?? ""}`, () => {
    const { state } = followed.stream;
    return state.phase === "live" && (transport === undefined || state.transport === transport);
  });
const completes = (followed, count) =>
  until(`${count} complete`, () => followed.events.filter((event) => event.type === "complete").length >= count);

/** The log as the hub has it, by another way. */
async function history(sessionId) {
  const events = [];
  let after;
  do {
    const page = await api.history(sessionId, after === undefined ? {} : { after });
    events.push(...page.events);
    after = page.nextAfter;
  } while (after !== undefined);
  return events;
}

for (const transport of ["websocket", "sse"]) {
  test(`${transport}: a whole conversation is followed and steered`, async () => {
    const followed = await follow(hub.url, { transport });
    const { stream } = followed;
    const sent = await stream.sendMessage("hello", "m1");
    assert.equal(sent.duplicate, false);
    assert.deepEqual(await stream.sendMessage("hello", "m1"), { ...sent, duplicate: true });
    await assert.rejects(stream.sendMessage("something else", "m1"), { code: "idempotency_conflict" });
    await completes(followed, 1);

    await stream.sendMessage("/approve paint the shed");
    await until("the question", () => followed.events.some((event) => event.type === "tool_approval"));
    const { interactionId } = followed.events.find((event) => event.type === "tool_approval").data;
    await assert.rejects(stream.approve(interactionId, "no such option"), { code: "unknown_option" });
    await stream.decide(interactionId, "allow_once");
    await assert.rejects(stream.decide(interactionId, "reject_once"), { code: "approval_resolved" });
    await completes(followed, 2);

    await stream.sendMessage("/slow 60", "m3");
    await until("it runs", () =>
      followed.events.some((event) => event.data.messageId === "m3" && event.data.status === "running"),
    );
    await stream.cancel("m3");
    await completes(followed, 3);
    assert.equal(followed.events.findLast((event) => event.type === "complete").data.stopReason, "cancelled");
    assert.equal(stream.transport, transport);
    await until("idle", () => followed.events.at(-1).data.status === "idle");
    assert.deepEqual(followed.events, await history(followed.sessionId));

    await api.deleteSession(followed.sessionId);
    await until("closed", () => stream.state.phase === "closed");
    assert.deepEqual(stream.state, { phase: "closed", reason: "session_ended" });
    assert.equal(followed.events.at(-1).type, "closed");
  });
}

for (const fate of ["refuse", "strip", "swallow"]) {
  test(`a proxy that would ${fate} the upgrade: SSE is live within 5 s, and steers`, async () => {
    const proxy = await proxied();
    proxy.upgrade = fate;
    const began = Date.now();
    const followed = await follow(proxy.url);
    await live(followed, "sse");
    assert.ok(Date.now() - began < 5_000, `${Date.now() - began} ms`);
    await followed.stream.sendMessage("hello");
    await completes(followed, 1);
    assert.equal(proxy.handshakes, 1);
    // A second stream of the process knows.
    const second = await follow(proxy.url);
    await live(second, "sse");
    assert.equal(proxy.handshakes, 1);
  });
}

test("a proxy that kills each WebSocket soon: the stream goes on over SSE, and nothing is missing", async () => {
  const proxy = await proxied();
  proxy.fault = (webSocket) => (webSocket ? { cutAfterMs: 300 } : {});
  const followed = await follow(proxy.url, { backoff: { baseMs: 50, maxMs: 200 } });
  await followed.stream.sendMessage("/stream 500 20 200");
  await completes(followed, 1);
  assert.equal(followed.stream.transport, "sse");
  assert.equal(proxy.handshakes, 3);
  await until("idle", () => followed.events.at(-1).data.status === "idle");
  assert.deepEqual(followed.events, await history(followed.sessionId));
});

test("the network goes away in mid-stream and comes back", async () => {
  const proxy = await proxied();
  const followed = await follow(proxy.url, { backoff: { baseMs: 50, maxMs: 200 } });
  await live(followed, "websocket");
  await followed.stream.sendMessage("/stream 200 20 200");
  await until("some pieces", () => followed.events.length > 20);
  proxy.down = true;
  proxy.cutAll();
  await until("offline", () => followed.stream.state.phase === "offline");
  const late = followed.stream.sendMessage("sent while offline", "late");
  await until("two attempts", () => followed.states.filter((state) => state.phase === "offline").length >= 2);
  proxy.down = false;
  assert.equal((await late).messageId, "late");
  await completes(followed, 2);
  assert.equal(followed.stream.transport, "websocket", "a network that was away says nothing about sockets");
  await until("idle", () => followed.events.at(-1).data.status === "idle");
  assert.deepEqual(followed.events, await history(followed.sessionId));
});

for (const transport of ["websocket", "sse"]) {
  test(`${transport}: a token that is about to expire is replaced, and the stream never breaks`, async () => {
    const renewed = [];
    const { sessionId } = await api.createSession({ provider: "demo", workingDirectory: hub.workspace });
    // The hub says "expiring" a minute ahead, so that this one is asked to be replaced soon.
    const { token } = await api.mintToken(sessionId, { ttlSeconds: 61 });
    const followed = await follow(hub.url, {
      sessionId,
      token,
      transport,
      renewToken: async () => {
        const next = await api.mintToken(sessionId, { ttlSeconds: 600 });
        renewed.push(next.token);
        return next.token;
      },
    });
    await until("a new token", () => renewed.length === 1);
    const connections = transport === "sse" ? 2 : 1;
    const connected = () => followed.controls.filter((frame) => frame.type === "connected").length;
    await until("the new token's connection", () => connected() === connections);
    await followed.stream.sendMessage("hello");
    await completes(followed, 1);
    assert.deepEqual(
      followed.states.map((state) => state.phase),
      ["replaying", "live"],
    );
    assert.equal(connected(), connections);
  });
}

test("a read-only token reads, and writes nothing", async () => {
  const { sessionId } = await api.createSession({ provider: "demo", workingDirectory: hub.workspace });
  const { token } = await api.mintToken(sessionId, { scope: "read" });
  for (const transport of ["websocket", "sse"]) {
    const stream = connect({ baseUrl: hub.url, sessionId, token, transport, webSocket: WebSocket });
    cleanups.push(() => stream.close());
    await assert.rejects(stream.sendMessage("hello"), { code: "insufficient_scope" });
    await assert.rejects(stream.cancel(), { code: "insufficient_scope" });
  }
  assert.equal(
    (await history(sessionId)).some((event) => event.type === "message"),
    false,
  );
});

/** A generator of random numbers in [0, 1) that a seed repeats (xorshift32). */
function randomFrom(seed) {
  let state = seed | 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

const seeds = process.env.FAULT_SEED
  ? [Number(process.env.FAULT_SEED)]
  : Array.from({ length: 6 }, () => 1 + Math.floor(Math.random() * 2 ** 31));

for (const seed of seeds) {
  test(`random faults, FAULT_SEED=${seed}: every event once, in order, and every message once`, {
    timeout: 60_000,
  }, async () => {
    const random = randomFrom(seed);
    const between = (low, high) => low + Math.floor(random() * (high - low));
    const proxy = await proxied();
    let calm = false;
    proxy.fault = () => {
      if (calm) return {};
      const kind = random();
      return {
        cutAfterBytes: kind < 0.6 ? between(0, 30_000) : undefined,
        cutAfterMs: kind > 0.5 ? between(0, 400) : undefined,
        delayMs: random() < 0.3 ? between(1, 40) : undefined,
      };
    };
    const fates = ["pass", "pass", "refuse", "strip", "swallow"];
    const followed = await follow(proxy.url, {
      transport: ["auto", "auto", "sse", "websocket"][between(0, 4)],
      backoff: { baseMs: 10, maxMs: 60 },
      connectTimeoutMs: 300,
      retryWebSocketMs: 200,
      pingIntervalMs: 200,
      pingTimeoutMs: 400,
    });
    const looped = [];
    const loop = (async () => {
      for await (const item of followed.stream) looped.push(item);
    })();
    const sent = [];
    // As many turns as it takes to break something: how fast they are depends on the machine.
    for (let turn = 0; turn < 4 || (proxy.connections <= 5 && turn < 30); turn++) {
      sent.push(followed.stream.sendMessage(`/stream ${between(100, 600)} 30 ${between(300, 900)}`, `turn${turn}`));
      proxy.upgrade = fates[between(0, fates.length)];
      for (let step = 0; step < 3; step++) {
        await new Promise((resolve) => setTimeout(resolve, between(0, 150)));
        if (random() < 0.5) proxy.cutAll();
        if (random() < 0.2) proxy.down = !proxy.down;
      }
      proxy.down = false;
    }
    calm = true;
    proxy.upgrade = "pass";
    await Promise.all(sent);
    await completes(followed, sent.length);
    await until("idle", async () => (await api.getSession(followed.sessionId)).status === "idle");
    const log = await history(followed.sessionId);
    await until("all events", () => followed.events.length >= log.length);
    assert.deepEqual(followed.events, log);
    // Over HTTP one may overtake another, but each is there once.
    const messages = log.filter((event) => event.type === "message").map((event) => event.data.messageId);
    assert.deepEqual(messages.sort(), sent.map((_, turn) => `turn${turn}`).sort());
    assert.ok(proxy.connections > 5, `only ${proxy.connections} connections: nothing was broken`);
    followed.stream.close();
    await loop;
    assert.deepEqual(looped, log);
  });
}
