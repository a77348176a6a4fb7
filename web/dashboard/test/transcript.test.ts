import assert from "node:assert/strict";
import { test } from "node:test";
import type { EventData, SessionEvent } from "@sessionhub/client";

import { maxUpdatesKept, Transcript, type Item } from "../src/transcript.js";

function event<T extends keyof EventData>(seq: number, type: T, data: EventData[T], from?: number): SessionEvent {
  const range = from === undefined ? { seq } : { from, seq };
  return { ...range, type, time: "2026-01-01T00:00:00.000Z", data } as SessionEvent;
}

const output = (seq: number, text: string, from?: number, kind: "text" | "thought" = "text", messageId = "m1") =>
  event(seq, "output", { messageId, text, kind }, from);

function texts(transcript: Transcript): string[] {
  return transcript.items.map((item) => ("text" in item ? `${item.kind}: ${item.text}` : item.kind));
}

function only<K extends Item["kind"]>(transcript: Transcript, kind: K): Extract<Item, { kind: K }> {
  const found = transcript.items.filter((item) => item.kind === kind);
  assert.equal(found.length, 1);
  return found[0] as Extract<Item, { kind: K }>;
}

test("adjacent pieces of one kind are one item, and a thought in between makes a new one", () => {
  const transcript = new Transcript();
  transcript.apply(output(1, "a"));
  transcript.apply(output(2, "b"));
  transcript.apply(output(3, "hm", undefined, "thought"));
  transcript.apply(output(4, "c"));
  transcript.apply(output(5, "d", undefined, "text", "m2"));
  assert.deepEqual(texts(transcript), ["answer: ab", "thought: hm", "answer: c", "answer: d"]);
});

test("a compacted event replaces the pieces that it stands for", () => {
  const transcript = new Transcript();
  for (let seq = 1; seq <= 5; seq++) transcript.apply(output(seq, `${seq}`));
  transcript.apply(output(9, "3456789", 3));
  transcript.apply(output(10, "+"));
  assert.deepEqual(texts(transcript), ["answer: 123456789+"]);
});

test("a compacted event that replaces a whole item leaves no empty one behind", () => {
  const transcript = new Transcript();
  transcript.apply(event(1, "message", { messageId: "m1", content: "go", userId: "u" }));
  transcript.apply(output(2, "a"));
  transcript.apply(output(3, "b"));
  transcript.flush();
  transcript.apply(output(6, "abcde", 2));
  transcript.flush();
  assert.deepEqual(texts(transcript), ["message: go", "answer: abcde"]);
  assert.equal(transcript.length.value, 2);
  assert.equal(transcript.revision.value, 1);
});

test("a compacted piece can be replaced by a longer one, but what came before it stays", () => {
  const transcript = new Transcript();
  transcript.apply(output(4, "1234", 1));
  transcript.apply(output(8, "5678", 5));
  transcript.apply(output(12, "56789abc", 5));
  assert.deepEqual(texts(transcript), ["answer: 123456789abc"]);
});

test("tool calls are merged by id, and a field that is absent stays", () => {
  const transcript = new Transcript();
  transcript.apply(
    event(1, "tool_call", { messageId: "m1", toolCallId: "t", title: "Write", kind: "edit", status: "pending" }),
  );
  transcript.apply(event(2, "tool_call", { messageId: "m1", toolCallId: "t", status: "completed", output: "ok" }));
  assert.deepEqual(only(transcript, "tool").call, {
    messageId: "m1",
    toolCallId: "t",
    title: "Write",
    kind: "edit",
    status: "completed",
    output: "ok",
  });
});

test("a tool that was open when its turn ended counts as abandoned, another turn's does not", () => {
  const transcript = new Transcript();
  transcript.apply(event(1, "tool_call", { messageId: "m1", toolCallId: "open", status: "in_progress" }));
  transcript.apply(event(2, "tool_call", { messageId: "m1", toolCallId: "done", status: "completed" }));
  transcript.apply(event(3, "tool_call", { messageId: "m2", toolCallId: "other", status: "pending" }));
  transcript.apply(event(4, "complete", { messageId: "m1", stopReason: "cancelled" }));
  const abandoned = transcript.items.flatMap((item) => (item.kind === "tool" ? [item.abandoned] : []));
  assert.deepEqual(abandoned, [true, false, false]);
});

test("an approval is pending until it is resolved, and keeps its outcome", () => {
  const transcript = new Transcript();
  const request = {
    messageId: "m1",
    interactionId: "i1",
    toolCallId: "t",
    title: "Write",
    kind: "edit",
    input: {},
    options: [{ optionId: "y", name: "Yes", kind: "allow_once" }],
    expiresAt: "2026-01-01T01:00:00.000Z",
  };
  transcript.apply(event(1, "tool_approval", request));
  transcript.flush();
  assert.equal(transcript.pending.value.length, 1);
  const item = only(transcript, "approval");
  const before = item.version.value;
  transcript.apply(event(2, "approval_resolved", { interactionId: "i1", outcome: "selected", optionId: "y" }));
  assert.equal(item.version.value, before, "nothing is shown before the flush");
  transcript.flush();
  assert.equal(transcript.pending.value.length, 0);
  assert.equal(item.version.value, before + 1);
  assert.equal(item.resolved?.optionId, "y");
});

test("a plan replaces the last one of its turn; the next turn's is another", () => {
  const transcript = new Transcript();
  transcript.apply(event(1, "plan", { messageId: "m1", entries: [{ content: "a" }] }));
  transcript.apply(event(2, "plan", { messageId: "m1", entries: [{ content: "a" }, { content: "b" }] }));
  transcript.apply(event(3, "complete", { messageId: "m1", stopReason: "end_turn" }));
  transcript.apply(event(4, "plan", { messageId: "m2", entries: [{ content: "c" }] }));
  const plans = transcript.items.flatMap((item) => (item.kind === "plan" ? [item.entries.length] : []));
  assert.deepEqual(plans, [2, 1]);
});

test("the message that runs is known until its turn is over", () => {
  const transcript = new Transcript();
  const active = () => {
    transcript.flush();
    return transcript.activeMessageId.value;
  };
  transcript.apply(event(1, "status", { status: "idle" }));
  assert.equal(active(), undefined);
  transcript.apply(event(2, "message", { messageId: "m1", content: "go", userId: "u" }));
  transcript.apply(event(3, "status", { status: "running", messageId: "m1" }));
  assert.equal(active(), "m1");
  transcript.apply(event(4, "message", { messageId: "m2", content: "next", userId: "u" }));
  assert.equal(active(), "m1");
  transcript.apply(event(5, "complete", { messageId: "m1", stopReason: "end_turn" }));
  transcript.apply(output(6, "x", undefined, "text", "m2"));
  assert.equal(active(), "m2");
  transcript.apply(event(7, "complete", { messageId: "m2", stopReason: "end_turn" }));
  transcript.apply(event(8, "status", { status: "idle" }));
  assert.equal(active(), undefined);
});

test("a trimmed beginning is marked in its place", () => {
  const transcript = new Transcript();
  transcript.gap({ epoch: "e", fromSeq: 1, toSeq: 9, reason: "trimmed" }, "");
  transcript.apply(output(10, "a"));
  assert.deepEqual(texts(transcript), ["gap", "answer: a"]);
});

test("the mark of a lost end is put where the log went on, also in the middle of an answer", () => {
  const transcript = new Transcript([{ epoch: "e2", fromSeq: 3, toSeq: 8, reason: "epoch_changed" }]);
  for (let seq = 1; seq <= 4; seq++) transcript.apply(output(seq, `${seq}`));
  assert.deepEqual(texts(transcript), ["answer: 12", "gap", "answer: 34"]);
});

test("many unnamed updates in a row are one item that keeps the last", () => {
  const transcript = new Transcript();
  for (let seq = 1; seq <= maxUpdatesKept + 50; seq++)
    transcript.apply(event(seq, "agent_update", { kind: "usage", raw: seq }));
  const { updates } = only(transcript, "updates");
  assert.equal(updates.length, maxUpdatesKept);
  assert.equal(updates.at(-1)?.raw, maxUpdatesKept + 50);
});

test("what was ended with an agent is told as a notice", () => {
  const transcript = new Transcript();
  const message = "What the agent had started was ended with it: node (4211)";
  transcript.apply(
    event(1, "agent_update", {
      kind: "processes_ended",
      raw: { message, reason: "idle", processes: [{ pid: 4211, name: "node" }] },
    }),
  );
  assert.equal(only(transcript, "note").text, message);
});

test("a notice is a note of its own, and stands out when it is an error", () => {
  const transcript = new Transcript();
  const notice = { kind: "agent", severity: "error" as const, title: "Out of credit", description: "Top it up." };
  transcript.apply(event(1, "notice", notice));
  const note = only(transcript, "note");
  assert.deepEqual([note.text, note.bad], ["Out of credit: Top it up.", true]);
});

test("an event of a type that is not known changes nothing", () => {
  const transcript = new Transcript();
  transcript.apply({ seq: 1, type: "from_the_future", time: "", data: {} } as unknown as SessionEvent);
  transcript.flush();
  assert.equal(transcript.items.length, 0);
});

test("what is done outside of a turn stands apart, under one label", () => {
  const transcript = new Transcript();
  transcript.apply(event(1, "message", { messageId: "m1", content: "go", userId: "u" }));
  transcript.apply(output(2, "answer"));
  transcript.apply(
    event(3, "tool_call", { messageId: "m1", toolCallId: "t", title: "Test", kind: "execute", status: "in_progress" }),
  );
  transcript.apply(event(4, "complete", { messageId: "m1", stopReason: "end_turn" }));
  transcript.apply(event(5, "status", { status: "running" }));
  transcript.apply(event(6, "output", { text: "on ", kind: "text" }));
  transcript.apply(event(7, "output", { text: "its own", kind: "text" }));
  transcript.apply(event(8, "tool_call", { toolCallId: "t", status: "completed" }));
  transcript.apply(event(9, "plan", { entries: [{ content: "a" }] }));
  transcript.apply(event(10, "plan", { entries: [{ content: "b" }] }));
  transcript.apply(output(11, "the turn's", undefined, "text", "m2"));
  transcript.apply(event(12, "output", { text: "again", kind: "text" }));
  const seen = transcript.items.map((item) => `${item.kind} ${item.background ?? "-"}`);
  assert.deepEqual(seen, [
    "message -",
    "answer -",
    "tool -",
    "complete -",
    "answer first",
    "tool more",
    "plan more",
    "answer -",
    "answer first",
  ]);
  const [before, after] = transcript.items.filter((item) => item.kind === "tool");
  assert.equal(before!.abandoned, true);
  assert.deepEqual(after!.call, { toolCallId: "t", title: "Test", kind: "execute", status: "completed" });
  assert.equal(texts(transcript)[4], "answer: on its own");
  // A lost worker leaves its tools as they are.
  transcript.apply(event(13, "tool_call", { toolCallId: "lost", title: "Watch", status: "in_progress" }));
  transcript.apply(event(14, "status", { status: "idle" }));
  assert.deepEqual(
    transcript.items.filter((item) => item.kind === "tool").map((item) => item.abandoned),
    [true, false, true],
  );
});

test("a status without a message is of the background, and Stop names no message", () => {
  const transcript = new Transcript();
  const after = (seq: number, data: EventData["status"]) => {
    transcript.apply(event(seq, "status", data));
    transcript.flush();
    return [transcript.inBackground.value, transcript.activeMessageId.value];
  };
  assert.deepEqual(after(1, { status: "running", messageId: "m1" }), [false, "m1"]);
  transcript.apply(event(2, "output", { text: "beside it", kind: "text" }));
  transcript.flush();
  assert.equal(transcript.activeMessageId.value, "m1");
  assert.deepEqual(after(3, { status: "running" }), [true, undefined]);
  assert.deepEqual(after(4, { status: "requires_action" }), [true, undefined]);
  assert.deepEqual(after(5, { status: "requires_action", messageId: "m2" }), [false, "m2"]);
  assert.deepEqual(after(6, { status: "idle" }), [false, undefined]);
});

test("a compacted event of the background replaces its pieces", () => {
  const transcript = new Transcript();
  transcript.apply(output(1, "answer"));
  transcript.apply(event(2, "output", { text: "a", kind: "text" }));
  transcript.apply(event(3, "output", { text: "b", kind: "text" }));
  transcript.apply(event(5, "output", { text: "abcd", kind: "text" }, 2));
  assert.deepEqual(texts(transcript), ["answer: answer", "answer: abcd"]);
  assert.equal(transcript.items[1]!.background, "first");
});

test("the options are the last that were told, and what changed is a note", () => {
  const transcript = new Transcript();
  const mode = { id: "mode", name: "Mode", type: "select" as const, currentValue: "auto" };
  const list = { configOptions: [mode], mode: "auto", asking: false };
  transcript.apply(event(1, "config_options", list));
  assert.equal(transcript.items.length, 0);
  transcript.apply(event(2, "config_options", { ...list, changed: ["mode", "gone"], by: "ann" }));
  transcript.flush();
  assert.equal(only(transcript, "note").text, "Mode is auto, set by ann.");
  assert.equal(transcript.options.value?.asking, false);

  // Later readers see that it acted unasked from here on.
  const offers = [{ value: "auto", name: "Auto", asks: false }];
  transcript.apply(
    event(3, "config_options", {
      ...list,
      configOptions: [{ ...mode, options: offers }],
      changed: ["mode"],
      by: "agent",
    }),
  );
  transcript.flush();
  const last = transcript.items.at(-1);
  assert.equal(last?.kind === "note" && last.text, "Mode is Auto (does not ask), set by the agent.");
});
