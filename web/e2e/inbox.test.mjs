// The home page: what waits for the user over all sessions, and the list of them.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { assertAccessible, newContext, newStage } from "./page.mjs";

const stage = newStage();

/** Asks the hub as a program does. */
async function call(method, path, body) {
  const answer = await fetch(stage.hub.url + path, {
    method,
    headers: { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.status === 204 ? undefined : answer.json();
}

async function create(title, text) {
  const { sessionId } = await call("POST", "/api/sessions", { title, workingDirectory: stage.hub.workspace });
  if (text) await call("POST", `/api/sessions/${sessionId}/messages`, { content: text });
  return sessionId;
}

async function until(what, holds) {
  for (let n = 0; n < 400; n++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(what);
}

const get = (sessionId) => call("GET", `/api/sessions/${sessionId}`);
const waits = (sessionId) =>
  until("it asks", async () => {
    const { pendingApprovals, pendingElicitations = 0 } = await get(sessionId);
    return pendingApprovals + pendingElicitations === 1;
  });
const finishes = (sessionId) =>
  until("it finishes", async () => {
    const { status, unread } = await get(sessionId);
    return status === "idle" && unread;
  });
async function clear() {
  for (;;) {
    const { sessions } = await call("GET", "/api/sessions?limit=100");
    if (sessions.length === 0) return;
    await call("POST", "/api/sessions/batch", { action: "delete", sessionIds: sessions.map((one) => one.sessionId) });
  }
}

// A turn that is left would hold the hub's end up.
afterEach(clear);

const need = (page, sessionId) => page.locator(`[data-testid="inbox-need"][data-session-id="${sessionId}"]`);
const allow = (page, sessionId) => need(page, sessionId).locator('button[data-kind="allow_once"]');
const row = (page, name) => page.getByTestId("session-row").filter({ hasText: name });
const titled = (page, text) =>
  page.waitForFunction((start) => document.title.startsWith(start), text, { polling: 100 });

/** Has the page note what it sets the badge to. */
const noteBadges = (context) =>
  context.addInitScript(() => {
    window.badges = [];
    navigator.setAppBadge = async (n) => void window.badges.push(n);
    navigator.clearAppBadge = async () => void window.badges.push(0);
  });

test("three of thirty sessions wait, and are answered in place from two windows", async () => {
  for (let n = 0; n < 27; n++) await create(`Rests ${n}`);
  const first = await create("First", "/approve one");
  await waits(first);
  const second = await create("Second", "/approve two");
  await waits(second);
  const third = await create("Third", "/ask What?");
  await waits(third);

  await noteBadges(stage.context);
  const other = await newContext(stage.browser, stage.complaints, { viewport: { width: 390, height: 844 } });
  const [here, there] = [await stage.context.newPage(), await other.newPage()];
  for (const page of [here, there]) {
    await page.goto(stage.hub.url);
    await need(page, third).waitFor();
    const shown = await page.getByTestId("inbox-need").evaluateAll((all) => all.map((one) => one.dataset.sessionId));
    assert.deepEqual(shown, [first, second, third], "the oldest question first");
    await titled(page, "(3) sessionhub");
  }
  assert.equal(await here.evaluate(() => window.badges.at(-1)), 3);
  await assertAccessible(here, "the inbox");
  await assertAccessible(there, "the inbox on a phone");

  // One window answers, and the other sees it. The others stay where they are.
  const place = async (page) => (await need(page, second).boundingBox()).y;
  const before = await place(here);
  await here.locator(`[data-session-id="${first}"] button[data-kind="allow_once"][aria-disabled="false"]`).click();
  await need(here, first).locator('[data-testid="approval"][data-good="true"]').waitFor();
  assert.equal(await place(here), before, "a question moved");
  await need(there, first).waitFor({ state: "detached" });
  await need(here, first).waitFor({ state: "detached" });
  assert.equal(await place(here), before, "a question moved when the one above it went");
  await titled(here, "(2)");
  await titled(there, "(2)");

  // The other one answers the second question; the first window had it open, too.
  await allow(there, second).scrollIntoViewIfNeeded();
  await there.locator(`[data-session-id="${second}"] button[data-kind="allow_once"][aria-disabled="false"]`).click();
  await need(there, second).locator('[data-testid="approval"][data-good="true"]').waitFor();
  await need(here, second).waitFor({ state: "detached" });

  // A form is filled in where it stands, while the inbox is read again and again.
  const form = need(here, third);
  await form.getByLabel("Name").fill("Ada");
  await here.waitForResponse((answer) => answer.url().endsWith("/api/inbox"));
  await here.waitForResponse((answer) => answer.url().endsWith("/api/inbox"));
  assert.equal(await form.getByLabel("Name").inputValue(), "Ada");
  await form.getByTestId("elicitation").evaluate((card) => card.scrollIntoView({ block: "end" }));
  await form.locator('button[data-option-id="accept"][aria-disabled="false"]').click();
  await form.locator('[data-state="accepted"]').waitFor();
  await titled(here, "sessionhub");
  await until("the badge is gone", () => here.evaluate(() => window.badges.at(-1) === 0));

  // All three have finished since, and nobody has looked.
  await here.getByTestId("inbox-finished").waitFor();
  await until("three have finished", async () => (await here.getByTestId("inbox-finished-row").count()) === 3);
  await other.close();
});

test("a question that has only just come into view takes no answer", async () => {
  const id = await create("Hasty", "/approve one");
  await waits(id);
  const page = await stage.context.newPage();
  await page.addInitScript(() => {
    new MutationObserver((_, observer) => {
      const button = document.querySelector('button[data-kind="allow_once"]');
      if (!button) return;
      observer.disconnect();
      // As fast as it can, but no longer than nobody could have read it.
      const until = performance.now() + 400;
      const press = () => {
        if (performance.now() > until) return;
        button.click();
        requestAnimationFrame(press);
      };
      press();
    }).observe(document, { subtree: true, childList: true });
  });
  await page.goto(stage.hub.url);
  await need(page, id).getByText("Not taken").waitFor();
  assert.equal((await get(id)).pendingApprovals, 1, "it was answered unseen");
  // The only one that waits takes its key, once it was seen.
  await page.locator('[data-testid="approval"][data-keys="true"] button[aria-disabled="false"]').first().waitFor();
  await page.waitForTimeout(600);
  await page.keyboard.press("1");
  await until("it is answered", async () => (await get(id)).pendingApprovals === 0);
});

test("what has finished is unread until its end was seen", async () => {
  const id = await create("Long", "/stream 200 200");
  await finishes(id);
  const page = await stage.context.newPage();
  await page.goto(stage.hub.url);
  const entry = page.getByTestId("inbox-finished-row").filter({ hasText: "Long" });
  await entry.waitFor();
  await row(page, "Long").getByTestId("row-unread").waitFor();
  await entry.getByRole("link").click();
  await until("it was read", async () => !(await get(id)).unread);
  await row(page, "Long").and(page.locator('[data-unread="false"]')).waitFor();

  // Somebody who reads further up has not seen what came below.
  await page.getByTestId("transcript").evaluate((view) => view.scrollTo(0, 0));
  await page.waitForTimeout(100);
  await call("POST", `/api/sessions/${id}/messages`, { content: "/stream 200 200" });
  await finishes(id);
  await page.waitForTimeout(1200);
  assert.equal((await get(id)).unread, true, "it was marked as read out of sight");
  await page.getByTestId("transcript").evaluate((view) => view.scrollTo(0, view.scrollHeight));
  await until("it was read", async () => !(await get(id)).unread);
});

test("the list is grouped, searched, archived, renamed and cleared", async () => {
  const old = await create("Old parser", "/stream 3 30");
  await finishes(old);
  await call("POST", `/api/sessions/${old}/seen`, { seq: 1_000 });
  await create("Docs");
  const asks = await create("Deploy", "/approve it");
  await waits(asks);
  await create("Works", "/slow 300");
  const pinned = await create("Pinned one");
  await call("PATCH", `/api/sessions/${pinned}`, { pinned: true });
  const page = await stage.context.newPage();
  await page.goto(stage.hub.url);
  const groups = () =>
    page
      .getByTestId("list-group")
      .evaluateAll((all) =>
        all.map((one) => [
          one.dataset.group,
          ...[...one.querySelectorAll(".row-name")].map((name) => name.textContent),
        ]),
      );
  const wanted = [
    ["Needs you", "Deploy"],
    ["Pinned", "Pinned one"],
    ["Working", "Works"],
    ["Earlier", "Docs", "Old parser"],
  ];
  await until("the groups", async () => JSON.stringify(await groups()) === JSON.stringify(wanted));

  // Search: titles, and on demand what was said.
  const search = page.getByTestId("list-search");
  await search.fill("PARSER");
  await until("one is found", async () => JSON.stringify(await groups()) === JSON.stringify([["", "Old parser"]]));
  await search.fill("xxxxxxxxxx");
  await page.getByText("Nothing was found").waitFor();
  await page.getByTestId("list-in-logs").check();
  await row(page, "Old parser").waitFor();
  await search.fill("");
  await row(page, "Docs").waitFor();

  // One row's menu.
  const act = async (name, testId) => {
    await row(page, name).hover();
    await page
      .locator(".list-row", { has: row(page, name) })
      .getByTestId("row-menu")
      .click();
    await page
      .locator(".list-row", { has: row(page, name) })
      .getByTestId(testId)
      .click();
  };
  await act("Docs", "row-rename");
  await page.getByTestId("rename-box").fill("Manual");
  await page.getByTestId("confirm-rename").click();
  await row(page, "Manual").waitFor();
  await act("Manual", "row-archive");
  await row(page, "Manual").waitFor({ state: "detached" });
  await page.getByTestId("list-archive").click();
  await row(page, "Manual").waitFor();
  assert.equal(await page.getByTestId("session-row").count(), 1);
  await act("Manual", "row-archive");
  await page.getByText("The archive is empty.").waitFor();
  await page.getByTestId("list-archive").click();
  await act("Manual", "row-duplicate");
  assert.equal(await page.getByTestId("title").inputValue(), "Manual");
  await page.goBack();

  // Many at once.
  await page.getByTestId("list-select").click();
  for (const name of ["Works", "Manual", "Old parser"]) await page.getByLabel(`Select ${name}`).check();
  await page.getByTestId("selection-delete").click();
  await page.getByText("Delete 3 sessions?").waitFor();
  await assertAccessible(page, "the list with a selection");
  await page.getByTestId("confirm-delete-many").click();
  await row(page, "Works").waitFor({ state: "detached" });
  await until("three are gone", async () => (await call("GET", "/api/sessions")).sessions.length === 2);
});
