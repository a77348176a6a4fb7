// What an agent tells of its session, and what people call it.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAccessible, newSession, newStage, say, status, turnEnds } from "./page.mjs";

const stage = newStage();

const heading = (page, name) => page.getByRole("heading", { level: 1, name, exact: true }).waitFor();
const row = (page, name) => page.getByTestId("session-row").filter({ hasText: name }).waitFor();

async function fromMenu(page, item) {
  await page.getByTestId("more").click();
  await page.getByTestId(item).click();
}

test("a session is called by its first message, its agent or a person, at once in the header and the list", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub);
  await say(page, "find the bug\nin the login");
  await turnEnds(page);
  await heading(page, "find the bug");
  await row(page, "find the bug");
  await say(page, "/title Fix the login bug");
  await turnEnds(page, 2);
  await heading(page, "Fix the login bug");
  await row(page, "Fix the login bug");
  assert.match(await page.title(), /^Fix the login bug/);

  // Somebody else names it, and this page says so too.
  const other = await stage.context.newPage();
  await other.goto(page.url());
  await heading(other, "Fix the login bug");
  await fromMenu(other, "rename");
  await assertAccessible(other, "the rename dialog");
  assert.equal(await other.getByTestId("rename-box").inputValue(), "Fix the login bug");
  await other.getByTestId("rename-box").fill("Anna's session");
  await other.getByTestId("rename-box").press("Enter");
  await heading(other, "Anna's session");
  await heading(page, "Anna's session");
  await row(page, "Anna's session");
  await fromMenu(page, "rename");
  await page.getByTestId("rename-box").fill("");
  await page.getByTestId("confirm-rename").click();
  await heading(page, "Fix the login bug");
  await other.close();
});

test("the header says how full the context is and the cost, and each turn what it took", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub);
  await say(page, "hello");
  await turnEnds(page);
  assert.match(await page.getByTestId("turn-usage").textContent(), /· \d+ tokens$/);
  assert.equal(await page.getByTestId("context").count(), 0);
  await say(page, "/usage");
  await turnEnds(page, 2);
  assert.equal(await page.getByTestId("context").textContent(), "0 % of context");
  await page.getByTestId("cost").waitFor();
  assert.match(await page.getByTestId("cost").textContent(), /^0\.\d+ USD$/);
  assert.match(await page.getByTestId("turn-usage").nth(1).textContent(), /tokens, 0\.\d+ USD$/);
  await assertAccessible(page, "a session with usage");
});

test("the agent's commands are in the menu, and one of them begins the next message", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub);
  await say(page, "/commands");
  await turnEnds(page);
  await fromMenu(page, "commands");
  const list = page.getByTestId("agent-commands");
  await list.waitFor();
  assert.match(await list.textContent(), /\/title TEXTnames the session/);
  await assertAccessible(page, "the agent's commands");
  await list.getByRole("button", { name: "/title", exact: true }).click();
  await page.waitForFunction(() => {
    const box = document.querySelector('[data-testid="message-box"]');
    return box === document.activeElement && box.value === "/title ";
  });
  await page.keyboard.type("By a command");
  await page.keyboard.press("Enter");
  await heading(page, "By a command");
  await status(page, "idle");
});

test("what is for programs is hidden, unless everything is to be shown", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub);
  await say(page, "hello");
  await turnEnds(page);
  const updates = page.getByTestId("agent-update");
  assert.equal(await updates.count(), 0);
  assert.doesNotMatch(await page.getByTestId("transcript").innerText(), /debug|for programs|agent_started/);
  await fromMenu(page, "show-everything");
  await updates.first().waitFor();
  assert.match(await updates.first().innerText(), /agent_started/);
  await page.reload();
  await updates.first().waitFor();
  await fromMenu(page, "show-everything");
  await updates.first().waitFor({ state: "hidden" });
});
