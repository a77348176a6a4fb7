import assert from "node:assert/strict";
import { test } from "node:test";

import type { HubError } from "../src/index.js";
import { follow, replay, start } from "./scripted.js";

test("a message without an answer is sent again with the same messageId after a reconnect", async () => {
  const hub = await start((peer, index) => {
    replay(peer, 1);
    peer.onCommand = (command) => {
      if (index === 0)
        peer.cut(); // received, perhaps stored, never answered
      else peer.ack(command.id, { messageId: command.data["messageId"], seq: 7, duplicate: true });
    };
  });
  const follower = follow(hub);
  const answer = await follower.stream.sendMessage("hello");
  assert.equal(answer.seq, 7);
  assert.equal(answer.duplicate, true);
  const [first, second] = hub.peers.map((peer) => peer.commands);
  assert.deepEqual(first, second);
  assert.match(String(first?.[0]?.data["messageId"]), /^[0-9a-f-]{36}$/);
});

test("commands given while there is no connection go out in order once there is one", async () => {
  const hub = await start((peer) => {
    replay(peer, 1);
    peer.onCommand = (command) => peer.ack(command.id, {});
  });
  const follower = follow(hub);
  await Promise.all([follower.stream.sendMessage("one"), follower.stream.sendMessage("two"), follower.stream.cancel()]);
  assert.deepEqual(
    hub.peers[0]?.commands.map((command) => [command.type, command.data["content"]]),
    [
      ["message", "one"],
      ["message", "two"],
      ["cancel", undefined],
    ],
  );
});

test("an approval that was resolved by the first sending counts as done when it is repeated", async () => {
  const hub = await start((peer, index) => {
    replay(peer, 1);
    peer.onCommand = (command) => {
      if (index === 0) peer.cut();
      else
        peer.refuse(command.id, {
          code: "approval_resolved",
          detail: "too late",
          outcome: "selected",
          optionId: "allow",
        });
    };
  });
  const follower = follow(hub);
  const answer = await follower.stream.approve("i1", "allow");
  assert.deepEqual(answer, { interactionId: "i1", outcome: "selected", optionId: "allow" });
});

test("an approval that somebody else resolved is an error when it was sent once", async () => {
  const hub = await start((peer) => {
    replay(peer, 1);
    peer.onCommand = (command) => {
      peer.refuse(command.id, { code: "approval_resolved", outcome: "selected", optionId: "reject" });
    };
  });
  const follower = follow(hub);
  await assert.rejects(follower.stream.approve("i1", "allow"), (error: HubError) => {
    assert.equal(error.code, "approval_resolved");
    assert.equal(error.fields["optionId"], "reject");
    return true;
  });
});

test("a cancel that names no turn is not repeated on the next connection", async () => {
  const hub = await start((peer, index) => {
    replay(peer, 1);
    peer.onCommand = (command) => {
      if (index === 0) peer.cut();
      else peer.ack(command.id, {});
    };
  });
  const follower = follow(hub);
  await assert.rejects(follower.stream.cancel(), { code: "connection_lost" });
  await follower.stream.sendMessage("next");
  assert.deepEqual(
    hub.peers[1]?.commands.map((command) => command.type),
    ["message"],
  );
});

test("more than 64 unanswered commands are refused", async () => {
  const hub = await start((peer) => replay(peer, 1));
  const follower = follow(hub);
  const outcomes: Promise<string>[] = [];
  for (let n = 0; n < 65; n++) {
    outcomes.push(
      follower.stream.sendMessage(`${n}`).then(
        () => "sent",
        (error: HubError) => error.code,
      ),
    );
  }
  assert.equal(await outcomes[64], "too_many_pending");
  follower.stream.close();
  assert.deepEqual(new Set(await Promise.all(outcomes)), new Set(["stream_closed", "too_many_pending"]));
});

test("a change of an option is not sent again: it could undo somebody else's", async () => {
  const hub = await start((peer, index) => {
    replay(peer, 1);
    peer.onCommand = (command) => {
      if (index === 0) peer.cut();
      else peer.ack(command.id, {});
    };
  });
  const follower = follow(hub);
  await assert.rejects(follower.stream.command({ type: "set_option", data: { configId: "mode", value: "auto" } }), {
    code: "connection_lost",
  });
  await follower.stream.command({ type: "set_option", data: { configId: "fast", value: true } });
  assert.deepEqual(
    hub.peers.map((peer) => peer.commands.map(({ type, data }) => [type, data])),
    [[["set_option", { configId: "mode", value: "auto" }]], [["set_option", { configId: "fast", value: true }]]],
  );
});

test("a change of the queue is not sent again: somebody could have changed it since", async () => {
  const sent: unknown[] = [];
  const hub = await start((peer, index) => {
    replay(peer, 1);
    peer.onCommand = (command) => {
      sent.push([command.type, command.data]);
      if (index === 0 && command.type === "queue" && command.data["action"] === "release") peer.cut();
      else peer.ack(command.id, { messages: [{ messageId: "m2", content: "x", userId: "u", held: true }] });
    };
  });
  const { stream } = follow(hub);
  assert.deepEqual(await stream.command({ type: "queue", data: { action: "order", messageIds: ["m2"] } }), {
    messages: [{ messageId: "m2", content: "x", userId: "u", held: true }],
  });
  await stream.command({ type: "cancel", data: { messageId: "m1", hold: true } });
  await stream.sendMessage("left", "s1", "steer");
  await assert.rejects(
    stream.command({ type: "queue", data: { action: "release" } }),
    (error: HubError) => error.code === "connection_lost",
  );
  assert.deepEqual(sent, [
    ["queue", { action: "order", messageIds: ["m2"] }],
    ["cancel", { messageId: "m1", hold: true }],
    ["message", { content: "left", messageId: "s1", delivery: "steer" }],
    ["queue", { action: "release" }],
  ]);
});

test("an answer to a question goes out with its content, and its refusal names the field", async () => {
  const hub = await start((peer) => {
    replay(peer, 1);
    peer.onCommand = (command) => {
      if (command.data["action"] === "decline") peer.ack(command.id, { interactionId: "q1", action: "decline" });
      else peer.refuse(command.id, { code: "invalid_answer", detail: "why", field: "copies" });
    };
  });
  const follower = follow(hub);
  await assert.rejects(follower.stream.answer("q1", "accept", { copies: 0 }), (error: HubError) => {
    assert.equal(error.code, "invalid_answer");
    assert.equal(error.fields["field"], "copies");
    return true;
  });
  assert.deepEqual(await follower.stream.answer("q1", "decline"), { interactionId: "q1", action: "decline" });
  assert.deepEqual(
    hub.peers[0]?.commands.map(({ type, data }) => [type, data]),
    [
      ["answer", { interactionId: "q1", action: "accept", content: { copies: 0 } }],
      ["answer", { interactionId: "q1", action: "decline" }],
    ],
  );
});

test("an answer that was taken by the first sending counts as done when it is repeated", async () => {
  const hub = await start((peer, index) => {
    replay(peer, 1);
    peer.onCommand = (command) => {
      if (index === 0) peer.cut();
      else peer.refuse(command.id, { code: "elicitation_resolved", detail: "too late", outcome: "accepted" });
    };
  });
  const follower = follow(hub);
  assert.deepEqual(await follower.stream.answer("q1", "accept", {}), { interactionId: "q1", outcome: "accepted" });
});
