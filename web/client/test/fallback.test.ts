import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import type { HubError, StreamItem } from "../src/index.js";
import { Follower, ScriptedHub, until, type Peer } from "./hub.js";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(script: (peer: Peer, index: number) => void): Promise<ScriptedHub> {
  const hub = await ScriptedHub.start(script);
  cleanups.push(() => hub.stop());
  return hub;
}

function follow(hub: ScriptedHub, options: ConstructorParameters<typeof Follower>[1] = {}): Follower {
  const follower = new Follower(hub, options);
  cleanups.push(() => follower.stream.close());
  return follower;
}

/** Replays up to `last` from the cursor, as a hub does that has lost nothing. */
function replay(peer: Peer, last: number): void {
  peer.connected("e1", last);
  peer.outputs(Number(peer.after.split("-").at(-1)) + 1, last);
  peer.control("caught_up", { seq: last });
}

const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index);
const kinds = (hub: ScriptedHub) => hub.peers.map((peer) => peer.kind);

/** A storage that shows what was kept. */
function storage() {
  const items = new Map<string, string>();
  return {
    items,
    getItem: (name: string) => items.get(name) ?? null,
    setItem: (name: string, value: string) => void items.set(name, value),
  };
}

test("a socket that is refused while the hub answers is replaced by SSE at once, and that is remembered", async () => {
  const hub = await start((peer) => replay(peer, 5));
  hub.refuseUpgrade = 403;
  const kept = storage();
  const follower = follow(hub, { storage: kept, backoff: { baseMs: 60_000, maxMs: 60_000, random: () => 1 } });
  await until("live", () => follower.stream.state.phase === "live");
  assert.deepEqual(follower.stream.state, { phase: "live", transport: "sse" });
  assert.equal(follower.stream.transport, "sse");
  assert.deepEqual(follower.seqs, range(1, 5));
  assert.equal(hub.peers[0]?.authorization, "Bearer t1");
  assert.equal(follower.phases().includes("offline"), false, "there was no wait before SSE");
  assert.equal(kept.items.size, 1);

  // The next stream of the page does not try the socket first.
  hub.refuseUpgrade = undefined;
  const second = follow(hub, { storage: kept });
  await until("live", () => second.stream.state.phase === "live");
  assert.deepEqual(kinds(hub), ["sse", "sse"]);
});

test("an SSE stream that ends of its age goes on at once, and nobody notices", async () => {
  const hub = await start((peer, index) => {
    replay(peer, 5 + index);
    if (index === 2) return;
    peer.control("draining", { reconnectAfterMs: 20, reason: "max_age" });
    peer.close(1001);
  });
  const follower = follow(hub, { transport: "sse", backoff: { baseMs: 60_000, maxMs: 60_000, random: () => 1 } });
  await until("the third stream", () => hub.peers.length === 3 && follower.seqs.length === 7);
  assert.deepEqual(follower.seqs, range(1, 7));
  assert.deepEqual(
    hub.peers.map((peer) => peer.after),
    ["0", "e1-5", "e1-6"],
  );
  assert.deepEqual(follower.phases(), ["replaying", "live"]);
});

test("what was remembered by the page before counts", async () => {
  const hub = await start((peer) => replay(peer, 1));
  const kept = storage();
  kept.setItem(`sessionhub.sse ${new URL(hub.baseUrl).host}`, JSON.stringify({ until: Date.now() + 60_000, times: 1 }));
  const follower = follow(hub, { storage: kept });
  await until("live", () => follower.stream.state.phase === "live");
  assert.deepEqual(kinds(hub), ["sse"]);
});

test("a socket that is taken and passes nothing is replaced by SSE", async () => {
  const hub = await start((peer) => replay(peer, 5));
  hub.swallowUpgrade = true;
  const follower = follow(hub, { connectTimeoutMs: 100 });
  await until("live", () => follower.stream.state.phase === "live");
  assert.deepEqual(follower.stream.state, { phase: "live", transport: "sse" });
});

test("a socket that keeps breaking is replaced by SSE, and nothing is missing or repeated", async () => {
  const hub = await start((peer, index) => {
    replay(peer, 4 * (index + 1));
    if (peer.kind === "websocket") setTimeout(() => peer.cut(), 5);
  });
  const follower = follow(hub);
  await until("live over SSE", () => follower.stream.state.phase === "live" && follower.stream.transport === "sse");
  assert.deepEqual(kinds(hub), ["websocket", "websocket", "websocket", "sse"]);
  assert.deepEqual(follower.seqs, range(1, 16));
  assert.deepEqual(
    hub.peers.map((peer) => peer.after),
    ["0", "e1-4", "e1-8", "e1-12"],
  );
});

test("the socket is tried again later, beside the stream that works, and takes over without a mark", async () => {
  const hub = await start((peer, index) => replay(peer, index === 0 ? 3 : 6));
  hub.refuseUpgrade = 403;
  const follower = follow(hub, { retryWebSocketMs: 150 });
  await until("live over SSE", () => follower.stream.state.phase === "live");
  hub.refuseUpgrade = undefined;
  await until("live over the socket", () => follower.stream.transport === "websocket" && follower.seqs.length === 6);
  assert.deepEqual(follower.seqs, range(1, 6));
  assert.deepEqual(follower.phases(), ["replaying", "live", "live"]);
  await until("SSE is closed", () => hub.peers[0]!.gone);
});

test("a socket that is still blocked costs the stream that works nothing, and is asked for less and less", async () => {
  const hub = await start((peer) => replay(peer, 3));
  hub.refuseUpgrade = 403;
  const kept = storage();
  const follower = follow(hub, { retryWebSocketMs: 40, storage: kept });
  const times = () => (JSON.parse([...kept.items.values()][0] ?? '{"times":0}') as { times: number }).times;
  await until("blocked three times", () => times() >= 3);
  assert.deepEqual(follower.phases(), ["replaying", "live"]);
  assert.equal(hub.peers.length, 1);
});

test("a hub that is down is not taken for a proxy that blocks", async () => {
  const hub = await start((peer) => replay(peer, 1));
  hub.refuseUpgrade = 503;
  hub.sessionStatus = 503;
  const follower = follow(hub);
  await until("two attempts", () => follower.phases().filter((phase) => phase === "offline").length >= 2);
  hub.refuseUpgrade = undefined;
  hub.sessionStatus = 200;
  await until("live", () => follower.stream.state.phase === "live");
  assert.deepEqual(kinds(hub), ["websocket"]);
});

test("a limit that refuses both is waited for as long as the hub says, and the socket is not blamed", async () => {
  const hub = await start((peer) => replay(peer, 1));
  hub.refuseUpgrade = 429;
  hub.refuseEvents = {
    status: 429,
    headers: { "retry-after": "1", "content-type": "application/problem+json" },
    body: `{"code":"connection_limit","detail":"too many"}`,
  };
  const follower = follow(hub);
  await until("offline", () => follower.stream.state.phase === "offline");
  const { state } = follower.stream;
  assert.ok(
    state.phase === "offline" && state.reason === "too many" && state.retryAt - Date.now() > 500,
    JSON.stringify(state),
  );
  hub.refuseUpgrade = undefined;
  hub.refuseEvents = undefined;
  await until("live", () => follower.stream.state.phase === "live");
  assert.deepEqual(kinds(hub), ["websocket"]);
});

test("where both are broken they take turns, and the socket wins once it works", async () => {
  const hub = await start((peer) => replay(peer, 1));
  hub.refuseUpgrade = 403;
  hub.refuseEvents = { status: 200, headers: { "content-type": "text/html" }, body: "<p>Sign in to the network</p>" };
  const follower = follow(hub);
  await until("attempts", () => follower.phases().filter((phase) => phase === "offline").length >= 3);
  hub.refuseUpgrade = undefined;
  await until("live", () => follower.stream.state.phase === "live");
  assert.deepEqual(kinds(hub), ["websocket"]);
});

test('transport "sse" never opens a socket, "websocket" never SSE', async () => {
  const hub = await start((peer) => replay(peer, 1));
  const sse = follow(hub, { transport: "sse" });
  await until("live", () => sse.stream.state.phase === "live");
  hub.refuseUpgrade = 403;
  const socket = follow(hub, { transport: "websocket" });
  await until("three attempts", () => socket.phases().filter((phase) => phase === "offline").length >= 3);
  assert.deepEqual(kinds(hub), ["sse"]);
});

test("SSE: frames in pieces, comments and long lines are read as what they are", async () => {
  const hub = await start((peer) => {
    peer.connected();
    peer.output(1, "ä".repeat(100_000));
    peer.output(2, "two lines\nin one");
    peer.control("caught_up", { seq: 2 });
  });
  const follower = follow(hub, { transport: "sse" });
  await until("live", () => follower.stream.state.phase === "live");
  assert.equal(follower.text, `${"ä".repeat(100_000)}two lines\nin one`);
});

for (const [status, reason] of [
  [404, "not_found"],
  [204, "session_ended"],
] as const) {
  test(`SSE: status ${status} stops the stream (${reason})`, async () => {
    const hub = await start(() => {});
    hub.refuseEvents = { status, body: "" };
    const follower = follow(hub, { transport: "sse" });
    await until("closed", () => follower.stream.state.phase === "closed");
    assert.deepEqual(follower.stream.state, { phase: "closed", reason });
  });
}

test("SSE: a stream that ends after closed is over, without another request", async () => {
  const hub = await start((peer) => {
    peer.connected();
    peer.send({ seq: 1, type: "closed", time: "", data: { reason: "deleted" } });
    peer.close(0);
  });
  const follower = follow(hub, { transport: "sse" });
  await until("closed", () => follower.stream.state.phase === "closed");
  assert.deepEqual(follower.stream.state, { phase: "closed", reason: "session_ended" });
  assert.equal(hub.peers.length, 1);
});

test("SSE: a spent token is replaced", async () => {
  const hub = await start((peer) => replay(peer, 1));
  hub.refuseEvents = { status: 401, body: "{}" };
  const follower = follow(hub, {
    transport: "sse",
    renewToken: async () => {
      hub.refuseEvents = undefined;
      return "t2";
    },
  });
  await until("live", () => follower.stream.state.phase === "live");
  assert.equal(hub.peers[0]?.authorization, "Bearer t2");
});

test("SSE: ahead of the token's end a stream with a new one takes over, and no event is lost or doubled", async () => {
  const hub = await start((peer, index) => {
    replay(peer, 2 * (index + 1));
    if (index === 0) peer.control("expiring", { expiresAt: "2026-01-01T00:01:00.000Z" });
  });
  const follower = follow(hub, { transport: "sse", renewToken: async () => "t2" });
  await until("four events", () => follower.seqs.length === 4);
  assert.deepEqual(
    hub.peers.map((peer) => peer.authorization),
    ["Bearer t1", "Bearer t2"],
  );
  assert.deepEqual(follower.seqs, range(1, 4));
  assert.deepEqual(follower.phases(), ["replaying", "live"]);
  await until("the old stream is closed", () => hub.peers[0]!.gone);
});

test("without a token one is asked for, and a refusal of that stops the stream", async () => {
  const hub = await start((peer) => replay(peer, 1));
  hub.onPost = () => ({ status: 201, body: { token: "made", expiresAt: "", scope: "read write approve" } });
  const follower = follow(hub, { token: undefined, apiKey: "k" });
  await until("live", () => follower.stream.state.phase === "live");
  assert.equal(hub.peers[0]?.protocols, "sessionhub.v1,bearer.made");
  assert.equal(hub.posts[0]?.route, "token");
  hub.onPost = () => ({ status: 401, body: { code: "unauthorized" } });
  const refused = follow(hub, { token: undefined });
  await until("closed", () => refused.stream.state.phase === "closed");
  assert.deepEqual(refused.stream.state, { phase: "closed", reason: "unauthorized" });
});

test("SSE: commands go by HTTP, and what nobody answered is sent again with the same id", async () => {
  const hub = await start((peer) => replay(peer, 1));
  let cuts = 1;
  hub.onPost = (_, data) =>
    cuts-- > 0 ? undefined : { status: 202, body: { messageId: data["messageId"], seq: 7, duplicate: true } };
  const follower = follow(hub, { transport: "sse" });
  const answer = await follower.stream.sendMessage("hello", "m1");
  assert.deepEqual(answer, { messageId: "m1", seq: 7, duplicate: true });
  assert.deepEqual(
    hub.posts,
    Array(2).fill({ route: "messages", authorization: "Bearer t1", data: { content: "hello", messageId: "m1" } }),
  );
  assert.equal(hub.peers.length, 1, "the stream itself was well");
});

test("SSE: a refusal of the hub's is an error, a proxy's page is no answer", async () => {
  const hub = await start((peer) => replay(peer, 1));
  const answers: { status: number; body: object }[] = [
    { status: 502, body: [] },
    { status: 409, body: { code: "approval_resolved", detail: "too late", outcome: "selected", optionId: "deny" } },
  ];
  hub.onPost = () => answers.shift();
  const follower = follow(hub, { transport: "sse" });
  // Sent twice, so the first may have got through: its outcome is the answer.
  assert.deepEqual((await follower.stream.approve("i1", "allow"))["optionId"], "deny");
  answers.push({ status: 403, body: { code: "insufficient_scope", detail: "read only" } });
  await assert.rejects(follower.stream.sendMessage("x"), (error: HubError) => error.code === "insufficient_scope");
});

test("a for await loop gets every event and the gaps, in order, and ends with the session", async () => {
  const hub = await start((peer) => {
    peer.connected("e1", 12);
    peer.control("gap", { epoch: "e1", fromSeq: 1, toSeq: 10, reason: "trimmed" });
    peer.outputs(11, 12);
    peer.close(4410);
  });
  const follower = follow(hub);
  const items: StreamItem[] = [];
  for await (const item of follower.stream) items.push(item);
  assert.deepEqual(
    items.map((item) => ("seq" in item ? item.seq : item.type)),
    ["gap", 11, 12],
  );
});

test("a loop that falls behind makes the stream pause, and loses nothing", async () => {
  const hub = await start((peer) => {
    const begin = Number(peer.after.split("-").at(-1)) + 1;
    peer.connected("e1", 5_000);
    peer.outputs(begin, 5_000);
    peer.control("caught_up", { seq: 5_000 });
  });
  const follower = follow(hub, { transport: "sse" });
  const seqs: number[] = [];
  const loop = follower.stream[Symbol.asyncIterator]();
  // Nobody reads, until the stream has stopped for it.
  await until("the stream pauses", () =>
    follower.states.some((state) => state.phase === "offline" && state.reason === "the reader is behind"),
  );
  assert.ok(follower.events.length < 5_000, `${follower.events.length} events were read for a loop that takes none`);
  for await (const item of loop) {
    if (!("seq" in item)) continue;
    seqs.push(item.seq);
    if (item.seq === 5_000) break;
  }
  assert.deepEqual(seqs, range(1, 5_000));
  assert.deepEqual(follower.seqs, range(1, 5_000));
});

test("a loop over a session that cannot be read throws why", async () => {
  const hub = await start((peer) => peer.close(4404));
  const follower = follow(hub);
  await assert.rejects(follower.stream[Symbol.asyncIterator]().next(), { code: "not_found" });
});

test("a signal closes the stream, also one that was aborted before", async () => {
  const hub = await start((peer) => replay(peer, 1));
  const abort = new AbortController();
  const follower = follow(hub, { signal: abort.signal });
  await until("live", () => follower.stream.state.phase === "live");
  abort.abort();
  assert.deepEqual(follower.stream.state, { phase: "closed", reason: "closed" });
  const late = follow(hub, { signal: abort.signal });
  await until("closed", () => late.stream.state.phase === "closed");
  assert.equal(hub.peers.length, 1);
});
