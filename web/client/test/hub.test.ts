import assert from "node:assert/strict";
import { test } from "node:test";

import type { Session } from "../src/index.js";
import { until } from "./hub.js";
import { HubFollower, SharedScript } from "./shared-hub.js";

const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index);
const kinds = (script: SharedScript) => script.peers.map(({ kind }) => kind);

for (const transport of ["websocket", "sse"] as const) {
  test(`${transport}: many sessions share one connection, each with its own log`, async () => {
    const script = await SharedScript.start();
    for (const [sessionId, last] of Object.entries({ a: 3, b: 5, c: 0 })) script.logs.set(sessionId, last);
    const follower = new HubFollower(script, { transport, token: "t1" });
    const { hub } = follower;
    const seqs = (sessionId: string) => follower.seqs(sessionId);
    const streams = ["a", "b", "c"].map((sessionId) => follower.follow(sessionId));
    await until("all live", () => streams.every(({ state }) => state.phase === "live"));
    script.append("c", 2);
    script.append("a");
    await until("the new events", () => seqs("c").length === 2 && seqs("a").length === 4);
    assert.deepEqual([seqs("a"), seqs("b"), seqs("c")], [range(1, 4), range(1, 5), range(1, 2)]);
    assert.equal(script.peers.length, 1);
    assert.equal("sessionId" in follower.events.get("a")![0]!, false, "an event is as in the session's own stream");
    assert.equal(script.peers[0]!.credential, transport === "sse" ? "Bearer t1" : "sessionhub.v1,bearer.t1");
    assert.equal(hub.stream("a"), streams[0]);
    assert.throws(() => hub.follow({ sessionId: "a" }), { code: "already_followed" });

    streams[0]!.close();
    await until("unsubscribed", () => !script.peers[0]!.has.has("a"));
    assert.equal(hub.stream("a"), undefined);
    assert.equal(script.peers[0]!.gone, false);
    hub.close();
    await until("closed", () => streams.every(({ state }) => state.phase === "closed"));
    await until("the connection is gone", () => script.peers[0]!.gone);
  });

  test(`${transport}: after a cut each session goes on from its own cursor`, async () => {
    const script = await SharedScript.start();
    script.logs.set("a", 10).set("b", 20);
    const follower = new HubFollower(script, { transport });
    const streams = [follower.follow("a"), follower.follow("b")];
    for (let round = 1; round <= 4; round++) {
      await until("live", () => script.peers.length === round && streams.every(({ state }) => state.phase === "live"));
      script.append("a", round);
      script.peers.at(-1)!.cut();
      script.append("b", 2 * round);
      await until("offline", () => streams.every(({ state }) => state.phase !== "live"));
    }
    await until("the last", () => follower.seqs("a").length === 20 && follower.seqs("b").length === 40);
    assert.deepEqual([follower.seqs("a"), follower.seqs("b")], [range(1, 20), range(1, 40)]);
    for (const peer of script.peers.slice(1)) assert.match(peer.subscribed.toSorted().join(), /^a e1-\d+,b e1-\d+$/);
  });

  test(`${transport}: a hole in one session resumes that session, and leaves the others and the connection alone`, async () => {
    const script = await SharedScript.start((peer) => {
      let first = true;
      const { onSubscribe } = peer;
      peer.onSubscribe = (sessionId, after) => {
        if (sessionId !== "a" || !first) return onSubscribe(sessionId, after);
        first = false;
        peer.connected("a", 6);
        peer.outputs("a", 1, 3);
        peer.outputs("a", 5, 6);
        return undefined;
      };
    });
    script.logs.set("a", 6).set("b", 4);
    const follower = new HubFollower(script, { transport });
    const streams = [follower.follow("a"), follower.follow("b")];
    await until("live", () => streams.every(({ state }) => state.phase === "live"));
    assert.deepEqual([follower.seqs("a"), follower.seqs("b")], [range(1, 6), range(1, 4)]);
    assert.deepEqual(script.peers[0]!.subscribed, ["a 0", "b 0", "a e1-3"]);
    assert.equal(script.peers.length, 1);
  });

  test(`${transport}: a repeat is dropped, a run that reaches back is delivered, and gaps and epochs are a session's own`, async () => {
    const script = await SharedScript.start((peer) => {
      peer.onSubscribe = (sessionId) => {
        peer.connected(sessionId, 9, "e2");
        peer.control("gap", { epoch: "e2", fromSeq: 1, toSeq: 2, reason: "trimmed" }, sessionId);
        peer.outputs(sessionId, 3, 4);
        peer.outputs(sessionId, 3, 4);
        peer.output(sessionId, 8, 2);
        peer.connected(sessionId, 9, "e2");
        peer.outputs(sessionId, 9, 9);
        peer.control("caught_up", { seq: 9 }, sessionId);
        return undefined;
      };
    });
    const follower = new HubFollower(script, { transport });
    const stream = follower.follow("a");
    await until("live", () => stream.state.phase === "live");
    assert.deepEqual(follower.seqs("a"), [3, 4, 8, 9]);
    assert.equal(stream.after, "e2-9");
    assert.deepEqual(
      follower.controls.get("a")!.map(({ type }) => type),
      ["connected", "gap", "connected", "caught_up"],
    );
  });

  test(`${transport}: what the hub ends or refuses is one session's end`, async () => {
    let refusals = 0;
    const script = await SharedScript.start((peer) => {
      const { onSubscribe } = peer;
      peer.onSubscribe = (sessionId, after) => {
        if (sessionId === "none") return { code: "not_found", detail: "there is none" };
        if (sessionId === "later" && refusals++ < 2) return { code: "unavailable", detail: "try again" };
        return onSubscribe(sessionId, after);
      };
    });
    script.logs.set("ends", 2).set("slow", 2).set("later", 1);
    const follower = new HubFollower(script, { transport });
    const [none, later, ends, slow] = ["none", "later", "ends", "slow"].map((id) => follower.follow(id));
    await until("live", () => [later, ends, slow].every((stream) => stream!.state.phase === "live"));
    assert.deepEqual(none!.state, { phase: "closed", reason: "not_found" });
    assert.equal(refusals, 3);
    const peer = script.peers[0]!;
    peer.control("unsubscribed", { code: 4410, reason: "the session has ended" }, "ends");
    peer.has.delete("slow");
    peer.control("unsubscribed", { code: 4408, reason: "slow" }, "slow");
    script.append("slow", 3);
    await until("it went on", () => follower.seqs("slow").length === 5);
    assert.deepEqual(ends!.state, { phase: "closed", reason: "session_ended" });
    assert.deepEqual(follower.seqs("slow"), range(1, 5));
    assert.equal(script.peers.length, 1);
  });

  test(`${transport}: 2,500 sessions are asked for in requests of 1,000`, async () => {
    const script = await SharedScript.start();
    const follower = new HubFollower(script, { transport });
    const streams = range(1, 2500).map((number) => follower.follow(`s${number}`));
    await until("live", () => streams.every(({ state }) => state.phase === "live"));
    assert.equal(script.peers[0]!.has.size, 2500);
    assert.equal(Math.max(...script.peers[0]!.sizes), 1000);
    assert.ok(script.peers[0]!.sizes.length <= 4, `${script.peers[0]!.sizes}`);
  });

  test(`${transport}: a connection that ends of its age goes on at once, and nobody notices`, async () => {
    const script = await SharedScript.start();
    script.logs.set("a", 2);
    const follower = new HubFollower(script, {
      transport,
      backoff: { baseMs: 60_000, maxMs: 60_000, random: () => 1 },
    });
    const stream = follower.follow("a");
    const states: string[] = [];
    await until("live", () => stream.state.phase === "live");
    void (async () => {
      for await (const _ of stream) states.push(stream.state.phase);
    })();
    script.peers[0]!.control("draining", { reconnectAfterMs: 10, reason: "max_age" });
    script.peers[0]!.close(1001);
    await until("the next", () => script.peers.length === 2 && script.peers[1]!.has.has("a"));
    script.append("a", 2);
    await until("more", () => follower.seqs("a").length === 4);
    assert.deepEqual(follower.seqs("a"), range(1, 4));
    assert.deepEqual(
      follower.states.map(({ phase }) => phase),
      ["replaying", "live"],
    );
    assert.deepEqual(states, ["live", "live"]);
  });

  test(`${transport}: a loop that falls behind pauses its session, and no other`, async () => {
    const script = await SharedScript.start();
    script.logs.set("a", 3000).set("b", 10);
    const follower = new HubFollower(script, { transport });
    const slow = follower.follow("a");
    const loop = slow[Symbol.asyncIterator]();
    const stream = follower.follow("b");
    await until("paused", () => slow.state.phase === "offline" && stream.state.phase === "live");
    await until("given up", () => !script.peers[0]!.has.has("a"));
    script.append("b", 5);
    await until("b goes on", () => follower.seqs("b").length === 15);
    for (let seq = 1; seq <= 3000; seq++) {
      const { value } = (await loop.next()) as { value: { seq: number } };
      assert.equal(value.seq, seq);
    }
    assert.equal(script.peers.length, 1);
  });

  test(`${transport}: the list is a snapshot and what follows, and after a break what is gone is swept`, async () => {
    const session = (sessionId: string, more: object = {}) =>
      ({ sessionId, lastSeq: 1, status: "idle", ...more }) as Session;
    const script = await SharedScript.start((peer, index) => {
      peer.onList = () => {
        const all = index === 0 ? [session("a"), session("b")] : [session("b", { pendingApprovals: 1 }), session("d")];
        for (const one of all) peer.control("listed", { change: "snapshot", session: one });
        peer.control("list_complete", { sessions: all.length });
      };
    });
    const follower = new HubFollower(script, { transport });
    const seen: string[] = [];
    const list = follower.hub.list({
      onListed: ({ sessionId }, change) => seen.push(`${change} ${sessionId}`),
      onUnlisted: ({ sessionId }) => seen.push(`gone ${sessionId}`),
      onComplete: () => seen.push("complete"),
    });
    await until("whole", () => list.complete);
    const [peer] = script.peers;
    peer!.control("listed", { change: "created", session: session("c") });
    peer!.control("listed", { change: "finished", session: session("a", { lastSeq: 2 }) });
    peer!.control("unlisted", { sessionId: "a" });
    await until("gone", () => !list.sessions.has("a"));
    peer!.cut();
    await until("whole again", () => seen.filter((one) => one === "complete").length === 2);
    assert.deepEqual(seen, [
      ...["snapshot a", "snapshot b", "complete", "created c", "finished a", "gone a"],
      ...["needs_you b", "created d", "gone c", "complete"],
    ]);
    assert.deepEqual([...list.sessions.keys()], ["b", "d"]);
    // One more in its place gets a snapshot of its own.
    list.close();
    const next = follower.hub.list();
    await until("whole", () => next.complete);
    assert.deepEqual([...next.sessions.keys()], ["b", "d"]);
    next.close();
    await until("given up", () => !script.peers[1]!.list);
  });
}

test("where the WebSocket is refused, SSE takes its place at once, and it is tried again beside the stream", async () => {
  const script = await SharedScript.start();
  script.refuseUpgrade = 403;
  script.logs.set("a", 3);
  script.onPost = () => ({ status: 200, body: {} });
  const follower = new HubFollower(script, { retryWebSocketMs: 100 });
  const stream = follower.follow("a");
  await until("live", () => stream.state.phase === "live");
  assert.deepEqual(kinds(script), ["sse"]);
  assert.deepEqual(stream.state, { phase: "live", transport: "sse" });
  script.refuseUpgrade = undefined;
  await until("the socket", () => follower.hub.transport === "websocket" && script.peers[1]!.has.has("a"));
  script.append("a", 2);
  await until("more", () => follower.seqs("a").length === 5);
  await until("SSE is closed", () => script.peers[0]!.gone);
  assert.deepEqual(follower.seqs("a"), range(1, 5));
});

test("commands go by HTTP, with the connection's credential, and are sent again until they are answered", async () => {
  const script = await SharedScript.start();
  let attempts = 0;
  script.onPost = () => (++attempts === 1 ? { status: 502, body: {} } : { status: 202, body: { seq: 7 } });
  const follower = new HubFollower(script, { apiKey: "k1", transport: "sse", token: "t1" });
  const stream = follower.follow("a");
  assert.equal((await stream.sendMessage("hello", "m1")).seq, 7);
  assert.deepEqual(
    script.posts.map(({ route, credential }) => `${route} ${credential}`),
    ["sessions/a/messages Bearer t1", "sessions/a/messages Bearer t1"],
  );
  await stream.decide("i1", "allow_once");
  await stream.cancel("m1");
  assert.deepEqual(
    script.posts.slice(2).map(({ route }) => route),
    ["sessions/a/approve", "sessions/a/cancel"],
  );
});

test("an API key gets a user's token for the WebSocket; where the hub makes none, the key goes over SSE", async () => {
  const script = await SharedScript.start();
  script.onPost = (route) =>
    route === "user/token" ? { status: 201, body: { token: "minted" } } : { status: 202, body: {} };
  const follower = new HubFollower(script, { apiKey: "k1", userId: "you & me" });
  await until("live", () => follower.hub.state.phase === "live");
  assert.equal(script.peers[0]!.credential, "sessionhub.v1,bearer.minted");
  assert.match(script.peers[0]!.url, /\?userId=you%20%26%20me$/);
  assert.deepEqual(script.posts[0], { route: "user/token", credential: "k1", data: { userId: "you & me" } });

  const earlier = await SharedScript.start();
  earlier.refuseUpgrade = 401;
  earlier.onPost = (route) => ({ status: route === "user/token" ? 404 : 200, body: {} });
  const second = new HubFollower(earlier, { apiKey: "k1" });
  await until("live", () => second.hub.state.phase === "live");
  assert.equal(earlier.peers[0]!.kind, "sse");
  assert.equal(earlier.peers[0]!.credential, "k1");
});

test("sessions do not wait out a pause that the connection has not waited out", async () => {
  const script = await SharedScript.start();
  script.logs.set("a", 1);
  const follower = new HubFollower(script, { backoff: { baseMs: 60_000, maxMs: 60_000, random: () => 1 } });
  const stream = follower.follow("a");
  await until("live", () => stream.state.phase === "live");
  script.peers[0]!.cut();
  await until("offline", () => stream.state.phase === "offline");
  assert.deepEqual(stream.state, follower.hub.state);
  follower.hub.reconnectNow();
  await until("live again", () => stream.state.phase === "live");

  // Who asks one of the sessions to come back means the connection.
  script.peers[1]!.cut();
  await until("offline", () => stream.state.phase === "offline");
  const later = follower.follow("b");
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(script.peers.length, 2, "one more session is no reason to hurry");
  stream.reconnectNow();
  await until("both live", () => stream.state.phase === "live" && later.state.phase === "live");
});

for (const transport of ["websocket", "sse"] as const) {
  test(`${transport}: a token that is about to expire is replaced, and no session notices`, async () => {
    const script = await SharedScript.start();
    script.logs.set("a", 2);
    const follower = new HubFollower(script, { transport, token: "t1", renewToken: async () => "t2" });
    const stream = follower.follow("a");
    await until("live", () => stream.state.phase === "live");
    script.peers[0]!.control("expiring", { expiresAt: "2026-01-01T00:00:00.000Z" });
    if (transport === "websocket") {
      await until("the new token", () => script.peers[0]!.auths.length === 1);
      assert.deepEqual(script.peers[0]!.auths, [{ token: "t2" }]);
    } else {
      await until("the next stream", () => script.peers[0]!.gone && script.peers[1]?.has.has("a") === true);
      assert.equal(script.peers[1]!.credential, "Bearer t2");
    }
    script.append("a", 2);
    await until("more", () => follower.seqs("a").length === 4);
    assert.deepEqual(follower.seqs("a"), range(1, 4));
    assert.deepEqual(
      follower.states.map(({ phase }) => phase),
      ["replaying", "live"],
    );
  });
}

test("a stream goes without the page's cookies, so that it has connections of its own, unless they are the credential", async () => {
  const script = await SharedScript.start();
  const seen: (string | undefined)[] = [];
  const spy: typeof fetch = (input, init) => {
    if (String(input).endsWith("/api/events")) seen.push(init?.credentials);
    return fetch(input, init);
  };
  for (const cookie of [false, true]) {
    const { hub } = new HubFollower(script, { transport: "sse", cookie, fetch: spy });
    await until("live", () => hub.state.phase === "live");
  }
  assert.deepEqual(seen, ["omit", "same-origin"]);
});

test("a token that is spent is replaced, and the sessions go on; without another one all ends", async () => {
  const script = await SharedScript.start();
  script.logs.set("a", 1);
  const tokens = ["t2"];
  const follower = new HubFollower(script, {
    token: "t1",
    transport: "websocket",
    renewToken: async () => tokens.shift(),
  });
  const stream = follower.follow("a");
  await until("live", () => stream.state.phase === "live");
  script.peers[0]!.close(4401);
  await until("live again", () => script.peers[1]?.has.has("a") === true);
  assert.equal(script.peers[1]!.credential, "sessionhub.v1,bearer.t2");
  script.peers[1]!.close(4401);
  await until("closed", () => stream.state.phase === "closed");
  assert.deepEqual(follower.hub.state, { phase: "closed", reason: "unauthorized" });
  assert.deepEqual(stream.state, { phase: "closed", reason: "unauthorized" });
});

test("a change that the hub cannot take now is sent again", async () => {
  const script = await SharedScript.start();
  script.logs.set("a", 1).set("b", 2);
  const follower = new HubFollower(script, { transport: "sse" });
  const first = follower.follow("a");
  await until("live", () => first.state.phase === "live");
  script.refuseChanges = 503;
  const second = follower.follow("b");
  await new Promise((resolve) => setTimeout(resolve, 50));
  script.refuseChanges = undefined;
  await until("live", () => second.state.phase === "live");
  assert.equal(script.peers.length, 1);
});

test("a hub that has no such connection ends it as not found", async () => {
  const script = await SharedScript.start();
  script.refuseEvents = { status: 404 };
  const follower = new HubFollower(script, { transport: "sse" });
  const stream = follower.follow("a");
  await until("closed", () => follower.hub.state.phase === "closed");
  assert.deepEqual(follower.hub.state, { phase: "closed", reason: "not_found" });
  assert.deepEqual(stream.state, { phase: "closed", reason: "not_found" });
  assert.throws(() => follower.hub.follow({ sessionId: "b" }), { code: "stream_closed" });
});

/** A document that can be out of sight, for as long as the test runs. */
function withPage<T>(
  run: (page: { hidden: boolean } & EventTarget, show: (hidden: boolean) => void) => Promise<T>,
): Promise<T> {
  const page = Object.assign(new EventTarget(), { hidden: false });
  const scope = globalThis as { document?: unknown };
  scope.document = page;
  const show = (hidden: boolean) => {
    page.hidden = hidden;
    page.dispatchEvent(new Event("visibilitychange"));
  };
  return run(page, show).finally(() => delete scope.document);
}

for (const transport of ["websocket", "sse"] as const) {
  test(`${transport}: a page out of sight gives its connection back, and goes on when it is seen`, () =>
    withPage(async (_, show) => {
      const script = await SharedScript.start();
      script.logs.set("a", 3);
      let busy = true;
      const follower = new HubFollower(script, { transport, hiddenMs: 30, keepHidden: () => busy });
      const stream = follower.follow("a");
      await until("live", () => stream.state.phase === "live");
      show(true);
      show(false);
      await new Promise((resolve) => setTimeout(resolve, 60));
      assert.equal(script.peers[0]!.gone, false, "it was seen again in time");
      show(true);
      await new Promise((resolve) => setTimeout(resolve, 100));
      assert.equal(script.peers[0]!.gone, false, "it has something to tell");
      busy = false;
      await until("given back", () => script.peers[0]!.gone);
      script.append("a", 4);
      await new Promise((resolve) => setTimeout(resolve, 60));
      assert.equal(script.peers.length, 1, "nobody comes back while it is hidden");
      show(false);
      await until("all of it", () => follower.seqs("a").length === 7);
      assert.deepEqual(follower.seqs("a"), range(1, 7));
    }));
}

test("a page that gets no place for a stream reads what has come, again and again, and takes a place that is free", () =>
  withPage(async () => {
    const script = await SharedScript.start((peer) => {
      peer.onList = () => {
        for (const sessionId of ["a", "b"]) peer.control("listed", { change: "snapshot", session: { sessionId } });
        // The poll waits for it.
        setTimeout(() => peer.control("list_complete", { sessions: 2 }), 20);
      };
    });
    script.logs.set("a", 3).set("b", 1);
    const scope = Object.getOwnPropertyDescriptor(globalThis, "navigator");
    let free = false;
    const locks = {
      request: async (_name: string, _options: object, held: (lock: object | null) => unknown) =>
        held(free ? {} : null),
    };
    Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });
    try {
      const follower = new HubFollower(script, { transport: "sse" });
      const stream = follower.follow("a");
      let completes = 0;
      const list = follower.hub.list({ onComplete: () => completes++ });
      await until("live", () => stream.state.phase === "live");
      await until("closed", () => script.peers[0]!.gone);
      assert.equal(completes, 1);
      assert.equal(list.sessions.size, 2);
      script.append("a", 2);
      // One that is followed later does not wait for the next time.
      const second = follower.follow("b");
      await until("both", () => second.state.phase === "live" && follower.seqs("a").length === 5);
      script.append("a", 1);
      await until("the next poll", () => follower.seqs("a").length === 6);
      assert.deepEqual(follower.seqs("a"), range(1, 6));
      assert.ok(follower.states.every(({ phase }) => phase !== "offline"));
      free = true;
      // A poll is over by then.
      let since = Date.now();
      let newest = script.peers.length;
      await until("a stream that stays", () => {
        if (script.peers.length > newest || script.peers.at(-1)!.gone) since = Date.now();
        newest = script.peers.length;
        return Date.now() - since > 1_200;
      });
      script.append("b", 2);
      await until("b", () => follower.seqs("b").length === 3);
      follower.hub.close();
    } finally {
      if (scope) Object.defineProperty(globalThis, "navigator", scope);
      else delete (globalThis as { navigator?: unknown }).navigator;
    }
  }));
