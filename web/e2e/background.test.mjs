// What the agent does outside of a turn, in a real browser against the real binary and its demo agent.
import assert from "node:assert/strict";
import { test } from "node:test";

import { answerable, assertAccessible, live, newSession, newStage, say, status, transcript } from "./page.mjs";

const stage = newStage();

const activity = (page, text) => page.locator(".activity", { hasText: text }).waitFor();
const background = (page, inside) => page.locator("[data-item][data-background]", { has: inside });

test("what goes on behind a turn is shown apart, and its question is answered", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub, { title: "Background" });
  await say(page, "/background 1");
  await page.getByTestId("complete").first().waitFor();
  await activity(page, "Working in the background");
  await status(page, "running");
  assert.equal(await page.getByTestId("message-box").getAttribute("placeholder"), "Write a message…");
  await background(page, page.locator('[data-testid="tool-call"][data-status="in_progress"]')).waitFor();
  assert.equal(await page.getByTestId("background-label").count(), 1);

  // A message that comes meanwhile runs, and does not answer the question.
  const question = background(page, page.locator('[data-testid="approval"][data-state="pending"]'));
  await question.waitFor();
  await activity(page, "Waiting for your answer");
  await say(page, "hello meanwhile");
  await page.getByTestId("complete").nth(1).waitFor();
  assert.equal(await question.count(), 1);
  await assertAccessible(page, "a question of the background");

  await answerable(page);
  await page.locator('[data-testid="approval-option"][data-option-id="allow_once"]').click();
  await page
    .locator('[data-testid="answer"]', { hasText: "The work in the background is done: allow_once." })
    .waitFor();
  await status(page, "idle");

  const seen = await transcript(page);
  const said = seen.findLast((item) => item.includes("The work in the background is done"));
  assert.match(said, /^In the background /, "what it says stands under a label of its own");
  assert.ok(
    !seen.some((item) => /^debug .*(tool_call|agent_message_chunk)/.test(item)),
    `nothing of it is debug: ${seen}`,
  );

  // Read again from the log, it is the same.
  await page.reload();
  await live(page);
  await page.locator('[data-testid="answer"]', { hasText: "is done: allow_once." }).waitFor();
  const withoutTimes = (items) => items.map((item) => item.replace(/\d+:\d+( [AP]M)?/g, ""));
  assert.deepEqual(withoutTimes(await transcript(page)), withoutTimes(seen));
});

test("Stop ends what goes on in the background", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub, { title: "Stop" });
  await say(page, "/background 3600");
  await background(page, page.locator('[data-testid="tool-call"][data-status="in_progress"]')).waitFor();
  await activity(page, "Working in the background");
  await page.getByTestId("stop").click();
  await background(page, page.locator('[data-testid="tool-call"][data-status="failed"]')).waitFor();
  await page.locator('[data-testid="answer"]', { hasText: "was stopped" }).waitFor();
  await status(page, "idle");
  assert.equal(await page.getByTestId("stop").count(), 0);
});
