import assert from "node:assert/strict";
import { test } from "node:test";

import { until } from "./hub.js";
import { follow, replay, start } from "./scripted.js";

const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index);

test("events arrive in order and the state goes from connecting over replaying to live", async () => {
  const hub = await start((peer) => replay(peer, 5));
  const follower = follow(hub);
  await until("live", () => follower.stream.state.phase === "live");
  assert.deepEqual(follower.seqs, range(1, 5));
  assert.deepEqual(follower.phases(), ["replaying", "live"]);
  assert.equal(hub.peers[0]?.after, "0");
  assert.equal(hub.peers[0]?.protocols, "sessionhub.v1,bearer.t1");
  assert.equal(follower.stream.after, "e1-5");
});

test("a cut connection is resumed from the cursor and nothing is missing or repeated", async () => {
  const hub = await start((peer, index) => {
    replay(peer, 10 * (index + 1));
    if (index < 3) setTimeout(() => peer.cut(), 5);
  });
  const follower = follow(hub);
  await until("40 events", () => follower.events.length >= 40);
  assert.deepEqual(follower.seqs, range(1, 40));
  assert.deepEqual(
    hub.peers.map((peer) => peer.after),
    ["0", "e1-10", "e1-20", "e1-30"],
  );
});

test("an event that was seen is dropped", async () => {
  const hub = await start((peer) => {
    peer.connected();
    peer.outputs(1, 4);
    peer.outputs(2, 6);
    peer.control("caught_up", { seq: 6 });
  });
  const follower = follow(hub);
  await until("live", () => follower.stream.state.phase === "live");
  assert.deepEqual(follower.seqs, range(1, 6));
});

test("an event of a type that this client does not know is delivered in its place", async () => {
  const hub = await start((peer) => {
    peer.connected();
    peer.outputs(1, 2);
    peer.send({ seq: 3, type: "from_the_future", time: "2026-11-22T10:00:00.000Z", data: { odd: [1] } });
    peer.outputs(4, 5);
    peer.control("caught_up", { seq: 5 });
  });
  const follower = follow(hub);
  await until("live", () => follower.stream.state.phase === "live");
  assert.deepEqual(follower.seqs, range(1, 5));
  assert.equal(hub.peers.length, 1);
});

test("a hole is never delivered: the stream reconnects from before it", async () => {
  const hub = await start((peer, index) => {
    if (index === 0) {
      peer.connected();
      peer.outputs(1, 3);
      peer.outputs(5, 6);
    } else {
      replay(peer, 6);
    }
  });
  const follower = follow(hub);
  await until("live", () => follower.stream.state.phase === "live");
  assert.deepEqual(follower.seqs, range(1, 6));
  assert.deepEqual(
    hub.peers.map((peer) => peer.after),
    ["0", "e1-3"],
  );
});

test("caught_up beyond the last event is a hole, too", async () => {
  const hub = await start((peer, index) => {
    if (index > 0) return replay(peer, 4);
    peer.connected();
    peer.outputs(1, 3);
    peer.control("caught_up", { seq: 4 });
  });
  const follower = follow(hub);
  await until("live", () => follower.stream.state.phase === "live");
  assert.deepEqual(follower.seqs, range(1, 4));
  assert.equal(follower.controls.filter((frame) => frame.type === "caught_up").length, 1);
});

test("a compacted event that reaches back behind the cursor is delivered with its from", async () => {
  const hub = await start((peer, index) => {
    if (index === 0) {
      peer.connected();
      peer.outputs(1, 5);
      peer.control("caught_up", { seq: 5 });
      peer.cut();
      return;
    }
    peer.connected();
    peer.output(9, "all from 3 to 9", 3);
    peer.output(12, "10 to 12", 10);
    peer.outputs(13, 13);
    peer.control("caught_up", { seq: 13 });
  });
  const follower = follow(hub);
  await until("13", () => follower.stream.after === "e1-13");
  assert.deepEqual(
    follower.events.map((event) => [event.from, event.seq]),
    [
      [undefined, 1],
      [undefined, 2],
      [undefined, 3],
      [undefined, 4],
      [undefined, 5],
      [3, 9],
      [10, 12],
      [undefined, 13],
    ],
  );
});

for (const transport of ["websocket", "sse"] as const) {
  test(`${transport}: a slow stream is connected again in its epoch, within a run, and stays the same stream`, async () => {
    const hub = await start((peer) => {
      peer.connected("e1", 4);
      peer.outputs(1, 4);
      peer.connected("e1", 9);
      peer.output(8, "all from 3 to 8", 3);
      peer.outputs(9, 9);
      peer.control("caught_up", { seq: 9 });
    });
    const follower = follow(hub, { transport });
    await until("live", () => follower.stream.state.phase === "live");
    assert.deepEqual(
      follower.events.map((event) => [event.from, event.seq]),
      [...range(1, 4).map((seq) => [undefined, seq]), [3, 8], [undefined, 9]],
    );
    assert.equal(follower.stream.after, "e1-9");
    assert.deepEqual(follower.phases(), ["replaying", "live"]);
    assert.equal(hub.peers.length, 1);
  });
}

test("a compacted event that leaves out something is a hole", async () => {
  const hub = await start((peer, index) => {
    if (index > 0) return replay(peer, 9);
    peer.connected();
    peer.outputs(1, 2);
    peer.output(9, "4 to 9", 4);
  });
  const follower = follow(hub);
  await until("live", () => follower.stream.state.phase === "live");
  assert.deepEqual(follower.seqs, range(1, 9));
});

test("a trimmed beginning is surfaced as a gap in its place and the stream goes on after it", async () => {
  const hub = await start((peer) => {
    peer.connected("e1", 12);
    peer.control("gap", { epoch: "e1", fromSeq: 1, toSeq: 10, reason: "trimmed" });
    peer.outputs(11, 12);
    peer.control("caught_up", { seq: 12 });
  });
  const follower = follow(hub);
  await until("live", () => follower.stream.state.phase === "live");
  assert.deepEqual(follower.seqs, [11, 12]);
  const gaps = follower.controls.filter((frame) => frame.type === "gap");
  assert.deepEqual(
    gaps.map((gap) => gap.data),
    [{ epoch: "e1", fromSeq: 1, toSeq: 10, reason: "trimmed" }],
  );
});

test("after a change of epoch the stream goes back to where the log goes on", async () => {
  const hub = await start((peer, index) => {
    if (index === 0) {
      replay(peer, 8);
      peer.cut();
      return;
    }
    peer.connected("e2", 7);
    peer.control("gap", { epoch: "e2", fromSeq: 6, toSeq: 8, reason: "epoch_changed" });
    peer.outputs(6, 7);
    peer.control("caught_up", { seq: 7 });
  });
  const follower = follow(hub);
  await until("live again", () => follower.stream.after === "e2-7");
  assert.deepEqual(follower.seqs, [...range(1, 8), 6, 7]);
});

// `connected` names the new epoch before the gap frame comes. Had the cursor
// taken it at once, this cut would have made the lost events invisible.
test("a cut between connected and gap does not hide the change of epoch", async () => {
  const hub = await start((peer, index) => {
    if (index === 0) replay(peer, 8);
    else peer.connected("e2", 20);
    if (index < 2) peer.cut();
  });
  const follower = follow(hub);
  await until("three connections", () => hub.peers.length === 3);
  assert.deepEqual(
    hub.peers.map((peer) => peer.after),
    ["0", "e1-8", "e1-8"],
  );
  follower.stream.close();
});

test("after=latest starts at the first event that comes", async () => {
  const hub = await start((peer, index) => {
    peer.connected("e1", 41);
    if (index === 0) {
      peer.control("caught_up", { seq: 41 });
      peer.outputs(42, 43);
      setTimeout(() => peer.cut(), 5);
    } else {
      peer.control("caught_up", { seq: 43 });
    }
  });
  const follower = follow(hub, { after: "latest" });
  await until("second connection", () => hub.peers.length === 2);
  assert.deepEqual(follower.seqs, [42, 43]);
  assert.deepEqual(
    hub.peers.map((peer) => peer.after),
    ["latest", "e1-43"],
  );
});

for (const [code, reason] of [
  [4404, "not_found"],
  [4410, "session_ended"],
] as const) {
  test(`close code ${code} stops the stream (${reason})`, async () => {
    const hub = await start((peer) => {
      replay(peer, 2);
      peer.close(code);
    });
    const follower = follow(hub);
    await until("closed", () => follower.stream.state.phase === "closed");
    assert.deepEqual(follower.stream.state, { phase: "closed", reason });
    await assert.rejects(follower.stream.sendMessage("x"), { code: "stream_closed" });
    assert.equal(hub.peers.length, 1);
  });
}

for (const code of [1001, 4408, 4503, 1011]) {
  test(`close code ${code} resumes`, async () => {
    const hub = await start((peer, index) => {
      replay(peer, index + 1);
      if (index === 0) peer.close(code, "because");
    });
    const follower = follow(hub);
    await until("second connection live", () => follower.seqs.length === 2);
    assert.equal(hub.peers[1]?.after, "e1-1");
    assert.ok(follower.states.some((state) => state.phase === "offline" && state.reason === "because"));
  });
}

test("close code 4401 asks for a new token and resumes with it", async () => {
  const hub = await start((peer, index) => {
    replay(peer, index + 1);
    if (index === 0) peer.close(4401);
  });
  const follower = follow(hub, { renewToken: async () => "t2" });
  await until("second connection live", () => follower.seqs.length === 2);
  assert.equal(hub.peers[1]?.protocols, "sessionhub.v1,bearer.t2");
});

test("close code 4401 without a new token stops the stream", async () => {
  const hub = await start((peer) => peer.close(4401));
  const follower = follow(hub, { renewToken: async () => undefined });
  await until("closed", () => follower.stream.state.phase === "closed");
  assert.deepEqual(follower.stream.state, { phase: "closed", reason: "unauthorized" });
});

test("close code 4400 gives up the commands it was about and resumes without them", async () => {
  const hub = await start((peer, index) => {
    replay(peer, 1);
    peer.onCommand = (command) => {
      if (index === 0) peer.close(4400, "no valid command");
      else peer.ack(command.id, {});
    };
  });
  const follower = follow(hub);
  await assert.rejects(follower.stream.sendMessage("bad"), { code: "invalid_request", message: "no valid command" });
  await follower.stream.sendMessage("good");
  assert.deepEqual(
    hub.peers[1]?.commands.map((command) => command.data["content"]),
    ["good"],
  );
});

test("close code 4429 waits for seconds, not milliseconds", async () => {
  const hub = await start((peer) => {
    replay(peer, 1);
    peer.close(4429);
  });
  const follower = follow(hub);
  await until("offline", () => follower.stream.state.phase === "offline");
  const state = follower.stream.state;
  assert.ok(state.phase === "offline" && state.retryAt - Date.now() > 4_000);
});

test("draining says when to come back, and it is kept to", async () => {
  const hub = await start((peer, index) => {
    replay(peer, 1);
    if (index > 0) return;
    peer.control("draining", { reconnectAfterMs: 300 });
    peer.close(1001);
  });
  const follower = follow(hub);
  await until("offline", () => follower.stream.state.phase === "offline");
  const { state } = follower.stream;
  const offlineAt = Date.now();
  assert.ok(
    state.phase === "offline" && state.retryAt - offlineAt <= 300,
    "the hub spreads its clients: nothing is added",
  );
  await until("second connection", () => hub.peers.length === 2);
  const waited = Date.now() - offlineAt;
  assert.ok(waited >= 250, `came back after ${waited} ms`);
});

test("reconnectNow ends a wait", async () => {
  const hub = await start((peer, index) => {
    replay(peer, 1);
    if (index === 0) peer.close(4429);
  });
  const follower = follow(hub);
  await until("offline", () => follower.stream.state.phase === "offline");
  follower.stream.reconnectNow();
  await until("live", () => follower.stream.state.phase === "live" && hub.peers.length === 2);
});

test("expiring makes the stream send a new token on the open connection", async () => {
  const hub = await start((peer) => {
    replay(peer, 1);
    peer.onCommand = (command) => peer.ack(command.id, {});
    peer.control("expiring", { expiresAt: "2026-01-01T00:01:00.000Z" });
  });
  follow(hub, { renewToken: async () => "t2" });
  await until("auth", () => hub.peers[0]?.commands.length === 1);
  assert.deepEqual(hub.peers[0]?.commands[0]?.data, { token: "t2" });
  assert.equal(hub.peers.length, 1);
});

test("an idle connection is pinged and kept", async () => {
  const hub = await start((peer) => replay(peer, 1));
  follow(hub, { pingIntervalMs: 10, pingTimeoutMs: 2_000 });
  await until("five pings", () => (hub.peers[0]?.pings ?? 0) >= 5);
  assert.equal(hub.peers.length, 1);
});

test("a connection on which nothing comes back is given up and resumed", async () => {
  const hub = await start((peer, index) => {
    replay(peer, 1);
    peer.mute = index === 0;
  });
  const follower = follow(hub, { pingIntervalMs: 20, pingTimeoutMs: 40 });
  await until("second connection", () => hub.peers.length === 2);
  assert.equal(hub.peers[1]?.after, "e1-1");
  await until("live", () => follower.stream.state.phase === "live");
});

test("a refused handshake of a session that is gone stops the stream", async () => {
  const hub = await start(() => {});
  hub.refuseUpgrade = 404;
  hub.sessionStatus = 404;
  const follower = follow(hub);
  await until("closed", () => follower.stream.state.phase === "closed");
  assert.deepEqual(follower.stream.state, { phase: "closed", reason: "not_found" });
});

test("a refused handshake for a spent token renews it", async () => {
  const hub = await start((peer) => replay(peer, 1));
  hub.refuseUpgrade = 401;
  hub.sessionStatus = 401;
  const follower = follow(hub, {
    renewToken: async () => {
      hub.refuseUpgrade = undefined;
      return "t2";
    },
  });
  await until("live", () => follower.stream.state.phase === "live");
  assert.equal(hub.peers[0]?.protocols, "sessionhub.v1,bearer.t2");
});

test("a handshake that is refused for a while is retried until it is taken", async () => {
  const hub = await start((peer) => replay(peer, 1));
  hub.refuseUpgrade = 503;
  const follower = follow(hub, { transport: "websocket" });
  await until("two attempts", () => follower.phases().filter((phase) => phase === "offline").length >= 2);
  hub.refuseUpgrade = undefined;
  await until("live", () => follower.stream.state.phase === "live");
});

test("an event of an unknown type is delivered and counts", async () => {
  const hub = await start((peer) => {
    peer.connected();
    peer.send({ seq: 1, type: "from_the_future", time: "", data: { a: 1 } });
    peer.control("control_from_the_future", {});
    peer.outputs(2, 2);
    peer.control("caught_up", { seq: 2 });
  });
  const follower = follow(hub);
  await until("live", () => follower.stream.state.phase === "live");
  assert.deepEqual(
    follower.events.map((event) => event.type as string),
    ["from_the_future", "output"],
  );
});

test("close ends the connection and nothing is delivered after it", async () => {
  const hub = await start((peer) => replay(peer, 3));
  const follower = follow(hub);
  await until("live", () => follower.stream.state.phase === "live");
  follower.stream.close();
  follower.stream.close();
  hub.peers[0]?.outputs(4, 5);
  await until("the hub sees the close", () => hub.peers[0]?.gone === true);
  assert.deepEqual(follower.seqs, range(1, 3));
  assert.equal(hub.peers.length, 1);
});
