import assert from "node:assert/strict";
import { test } from "node:test";
import type { EventData, SessionEvent } from "@sessionhub/client";

import { contextText, costText, turnUsageText } from "../src/told.js";
import { Transcript } from "../src/transcript.js";

function event<T extends keyof EventData>(seq: number, type: T, data: EventData[T]): SessionEvent {
  return { seq, type, time: "2026-11-22T10:00:00.000Z", data } as unknown as SessionEvent;
}

test("what is told of the session has no place in the transcript, and tears no answer", () => {
  const transcript = new Transcript();
  const output = { messageId: "m", kind: "text" as const };
  transcript.apply(event(1, "output", { ...output, text: "one " }));
  transcript.apply(event(2, "usage", { used: 53_000, size: 200_000, cost: { amount: 0.42, currency: "USD" } }));
  transcript.apply(event(3, "session_info", { title: "Fix it", by: "anna" }));
  transcript.apply(event(4, "commands", { availableCommands: [{ name: "compact", description: "Compact" }] }));
  transcript.apply(event(5, "usage", { used: 60_000 }));
  transcript.apply(event(6, "output", { ...output, text: "two" }));
  const { told } = transcript;
  assert.equal(told.title.value, undefined); // nothing is shown before the flush
  transcript.flush();
  assert.deepEqual(
    transcript.items.map((item) => "text" in item && item.text),
    ["one two"],
  );
  assert.equal(told.title.value, "Fix it");
  assert.deepEqual(
    told.commands.value.map(({ name }) => name),
    ["compact"],
  );
  assert.equal(contextText(told.context.value), "30 % of context");
});

test("usage in words", () => {
  assert.equal(contextText({ used: undefined, size: 5 }), "");
  assert.match(contextText({ used: 1234, size: undefined }), /^1.?234 tokens of context$/);
  assert.equal(contextText({ used: 5, size: 0 }), "5 tokens of context");
  assert.equal(costText(undefined), "");
  assert.match(costText({ amount: 0.123456, currency: "USD" }), /^0.123 USD$/);
  // Money is not rounded away: three digits of a large sum are too few.
  assert.match(costText({ amount: 1234.567, currency: "USD" }), /^1.?234.57 USD$/);
  assert.match(costText({ amount: 0.00012, currency: "USD" }), /^0.00012 USD$/);
  assert.equal(turnUsageText(undefined, undefined), "");
  assert.equal(turnUsageText({ totalTokens: "many" }, undefined), "");
  assert.match(turnUsageText({ totalTokens: 1234 }, { amount: 2, currency: "EUR" }), /^1.?234 tokens, 2.00 EUR$/);
});
