import assert from "node:assert/strict";
import { test } from "node:test";
import type { EventData, SessionEvent } from "@sessionhub/client";

import { moved, withText } from "../src/queue.js";
import { Transcript } from "../src/transcript.js";

/** A log that is applied event by event. */
function log() {
  const transcript = new Transcript();
  let seq = 0;
  return {
    transcript,
    add<T extends keyof EventData>(type: T, data: EventData[T]) {
      transcript.apply({ seq: ++seq, type, time: "2026-01-01T00:00:00.000Z", data } as SessionEvent);
    },
    say(messageId: string, delivery?: "steer" | "now") {
      this.add("message", { messageId, content: messageId, userId: "u", ...(delivery ? { delivery } : {}) });
    },
    /** The queue in short: a star marks what is held, an arrow what is on its way. */
    queue(): string {
      transcript.flush();
      return transcript.queue.value
        .map((each) => `${each.steering ? ">" : each.held ? "*" : ""}${each.messageId}`)
        .join(" ");
    },
    state(messageId: string) {
      transcript.flush();
      return transcript.message(messageId)?.waits;
    },
  };
}

test("the queue follows from the log alone", () => {
  const bound = log();
  bound.say("m1");
  bound.add("status", { status: "starting", messageId: "m1" });
  bound.say("m2");
  bound.say("m3");
  assert.equal(bound.queue(), "m2 m3");
  assert.equal(bound.state("m2"), "queued");
  bound.add("queue", { messageIds: ["m3", "m2"], held: [] });
  assert.equal(bound.queue(), "m3 m2");
  bound.add("message_edited", { messageId: "m2", content: "better", userId: "u2" });
  assert.equal(bound.transcript.message("m2")?.text, "better");
  bound.add("queue", { messageIds: [], held: ["m3", "m2"] });
  assert.equal(bound.queue(), "*m3 *m2");
  assert.equal(bound.state("m3"), "held");
  bound.say("m4"); // stands before what is held
  assert.equal(bound.queue(), "m4 *m3 *m2");
  bound.add("complete", { messageId: "m3", stopReason: "cancelled" });
  bound.add("complete", { messageId: "m1", stopReason: "cancelled" });
  bound.add("status", { status: "running", messageId: "m4" });
  assert.equal(bound.queue(), "*m2");
  assert.equal(bound.state("m4"), undefined);
  bound.add("status", { status: "queued", messageId: "m4" }); // the worker had not begun it
  assert.equal(bound.queue(), "m4 *m2");
});

test("a message for the running turn is on its way until the turn has taken it in, or has not", () => {
  const bound = log();
  bound.say("m1");
  bound.add("status", { status: "running", messageId: "m1" });
  bound.add("agent_started", { history: "new", steering: true, reasons: false });
  bound.say("m2");
  for (const id of ["s1", "s2", "s3"]) bound.say(id, "steer");
  bound.add("queue", { messageIds: ["s1", "s2", "s3", "m2"], held: [] });
  assert.equal(bound.queue(), ">s1 >s2 >s3 m2");
  assert.equal(bound.transcript.steers.value, true);
  bound.add("steered", { messageId: "s1", into: "m1", outcome: "injected" });
  bound.add("steered", { messageId: "s2", into: "m1", outcome: "queued", detail: "not now" });
  assert.equal(bound.queue(), "s2 >s3 m2");
  assert.equal(bound.state("s1"), "taken");
  bound.add("complete", { messageId: "m2", stopReason: "cancelled" }); // taken back: the turn goes on
  assert.equal(bound.queue(), "s2 >s3");
  bound.add("complete", { messageId: "m1", stopReason: "end_turn" });
  bound.add("complete", { messageId: "s1", stopReason: "end_turn" });
  assert.equal(bound.queue(), "s2 s3");
  const notes = bound.transcript.items.flatMap((item) => (item.kind === "note" ? [item.text] : []));
  assert.deepEqual(notes, ["The agent did not take the message in: not now. It waits in front of the others."]);
});

test("an edit keeps the pictures, and a move stays among its kind", () => {
  const picture = { type: "image" as const, mimeType: "image/png", data: "AA==" };
  assert.equal(withText("a", "b"), "b");
  assert.deepEqual(withText([{ type: "text", text: "a" }, picture], "b"), [{ type: "text", text: "b" }, picture]);
  assert.deepEqual(withText([picture], " "), [picture]);
  const each = (messageId: string, held = false, steering = false) => ({ messageId, content: "", held, steering });
  const list = [each("s", false, true), each("a"), each("b"), each("c", true), each("d", true)];
  assert.deepEqual(moved(list, "b", -1), ["b", "a"]);
  assert.deepEqual(moved(list, "b", 1), ["a", "b"]);
  assert.deepEqual(moved(list, "c", 1), ["d", "c"]);
});
