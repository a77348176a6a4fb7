// The messages that wait, in the dashboard: what can be done to them, what Stop
// does, and how a turn is steered.
import assert from "node:assert/strict";
import { test } from "node:test";

import { answerable, assertAccessible, live, newSession, newStage, say, status } from "./page.mjs";

const stage = newStage();

/** Waits until the list says this, the next message first; a star marks what is held. */
async function waits(page, ...texts) {
  await page.waitForFunction((wanted) => {
    const list = [...document.querySelectorAll("[data-testid=queued]")].map(
      (each) => (each.dataset.held === "true" ? "*" : "") + each.querySelector(".queued-text, textarea")?.textContent,
    );
    return JSON.stringify(list) === wanted;
  }, JSON.stringify(texts));
}

const answered = (page, text) => page.getByTestId("answer").filter({ hasText: text }).first().waitFor();

test("messages that wait are edited, moved, taken back and sent now, in sight of every page", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub);
  await say(page, "/slow 100");
  await answered(page, "Working");
  for (const text of ["one", "two", "three"]) await say(page, text);
  await waits(page, "one", "two", "three");
  await assertAccessible(page, "the queue");
  const other = await stage.context.newPage();
  await other.goto(page.url());
  await live(other);
  await waits(other, "one", "two", "three");

  await page.getByTestId("queued-down").nth(0).click();
  await waits(other, "two", "one", "three");
  await other.getByTestId("queued-up").nth(2).click();
  await waits(page, "two", "three", "one");

  await page.getByTestId("queued-edit").nth(1).click();
  const box = page.getByTestId("queued-text");
  assert.equal(await box.inputValue(), "three");
  await box.fill("three, better");
  await page.getByTestId("queued-save").click();
  await waits(other, "two", "three, better", "one");
  await other.getByTestId("message-state").filter({ hasText: "queued, edited" }).waitFor();

  await page.getByTestId("queued-remove").nth(0).click();
  await waits(other, "three, better", "one");
  await page.getByTestId("queued-send-now").nth(1).click();
  await answered(page, "You said: one");
  await answered(page, "You said: three, better");
  await status(page, "idle");
  await waits(other);
});

test("Stop holds what waits, and asks whether to send or to discard it", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub);
  await say(page, "/slow 100");
  await answered(page, "Working");
  for (const text of ["one", "two"]) await say(page, text);
  await waits(page, "one", "two");
  await page.getByTestId("stop").click();
  await page.getByTestId("hold-banner").waitFor();
  await status(page, "idle");
  await waits(page, "*one", "*two");
  await assertAccessible(page, "held messages");
  assert.match(await page.getByTestId("hold-banner").textContent(), /2 messages are held/);

  // What is said now is not held, and runs.
  await say(page, "meanwhile");
  await answered(page, "You said: meanwhile");
  await status(page, "idle");
  await waits(page, "*one", "*two");

  await page.getByTestId("queue-release").click();
  await answered(page, "You said: one");
  await answered(page, "You said: two");
  await waits(page);

  await say(page, "/slow 100");
  await page.getByTestId("answer").filter({ hasText: "Working" }).nth(1).waitFor();
  await say(page, "three");
  await waits(page, "three");
  await page.getByTestId("stop").click();
  await waits(page, "*three");
  await page.getByTestId("queue-discard").click();
  await waits(page);
  await status(page, "idle");
});

test("a turn is steered, and the message says so", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub);
  await say(page, "/slow 100");
  await answered(page, "Working");
  await page.getByTestId("message-box").fill("to the left");
  assert.equal(await page.getByTestId("steer").textContent(), "Steer");
  await page.getByTestId("steer").click();
  await answered(page, "You steered me: to the left");
  await page.getByTestId("message-state").filter({ hasText: "taken in by the running turn" }).waitFor();
  await waits(page);
  await page.getByTestId("stop").click();
  await status(page, "idle");
  await page.getByTestId("steer").waitFor({ state: "detached" });
});

test("a refusal with a reason tells the agent why, with the next message", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub);
  await say(page, "/approve the plan");
  const reason = page.getByTestId("approval-reason");
  await reason.waitFor();
  await answerable(page);
  await reason.fill("1 not like this"); // a digit that is typed answers nothing
  await assertAccessible(page, "a question with a reason");
  await page.locator('[data-testid="approval-option"][data-kind="reject_once"]').click();
  await answered(page, "You said: 1 not like this");
  await status(page, "idle");
});

test("keys alone work the queue: the focus never falls back to the page's beginning", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub);
  await say(page, "/slow 100");
  await answered(page, "Working");
  for (const text of ["one", "two", "three"]) await say(page, text);
  await waits(page, "one", "two", "three");
  await page.getByText("3 messages wait for their turn.").waitFor();
  const focus = (name) =>
    page.waitForFunction((wanted) => {
      const { ariaLabel, className } = document.activeElement;
      return (ariaLabel ?? className) === wanted;
    }, name);

  await page.getByTestId("queued-edit").nth(1).press("Enter");
  await focus("Text of the waiting message");
  await page.keyboard.press("Escape");
  await focus("Edit: two");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Control+a");
  await page.keyboard.type("zwei");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await waits(page, "one", "zwei", "three");
  await focus("Edit: zwei");
  // At the top it goes no further, and keeps the focus all the same.
  await page.getByTestId("queued-up").nth(1).press("Enter");
  await waits(page, "zwei", "one", "three");
  await focus("Move up: zwei");
  await page.getByTestId("queued-remove").nth(0).press("Enter");
  await waits(page, "one", "three");
  await focus("Edit: one");
  await page.getByTestId("queued-remove").nth(1).press("Enter");
  await waits(page, "one");
  await focus("Edit: one");
  await page.getByTestId("stop").click();
  await page.getByTestId("queue-discard").press("Enter");
  await waits(page);
  await page.waitForFunction(() => document.activeElement.classList.contains("transcript"));
  await status(page, "idle");
});
