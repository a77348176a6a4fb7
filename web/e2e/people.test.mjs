// What people do with the dashboard beyond talking: answer by key, look for
// something, take it along, show it to somebody, hear that they are needed.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import {
  answerable,
  assertAccessible,
  live,
  newContext,
  newSession,
  newStage,
  say,
  status,
  turnEnds,
} from "./page.mjs";

const stage = newStage();

test("keys answer an approval, but not what is being typed, unless with Alt", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub);
  await say(page, "/write by-key.txt hi");
  const option = page.locator('[data-testid="approval-option"][data-kind="allow_once"]');
  await option.waitFor();
  await answerable(page);
  const key = (await option.getAttribute("aria-keyshortcuts")).split(" ")[0];
  await page.getByTestId("message-box").pressSequentially(key);
  assert.equal(await page.getByTestId("message-box").inputValue(), key);
  assert.equal(await page.locator('[data-testid="approval"][data-state="pending"]').count(), 1);
  await page.getByTestId("transcript").focus();
  await answerable(page);
  await page.keyboard.press(key);
  await turnEnds(page);
  assert.equal((await readFile(join(stage.hub.workspace, "by-key.txt"), "utf8")).trim(), "hi");

  await say(page, "/write by-alt.txt hi");
  const refusal = page.locator('[data-testid="approval-option"][data-kind="reject_once"]');
  await refusal.waitFor();
  await answerable(page);
  const alt = (await refusal.getAttribute("aria-keyshortcuts")).split(" ")[1];
  await page.getByTestId("message-box").focus();
  await answerable(page);
  await page.keyboard.press(alt);
  await turnEnds(page, 2);
  assert.equal(existsSync(join(stage.hub.workspace, "by-alt.txt")), false);
});

test("the arrow up brings back what was sent, and down the draft", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub);
  for (const [index, text] of ["first", "second"].entries()) {
    await say(page, text);
    await turnEnds(page, index + 1);
  }
  const box = page.getByTestId("message-box");
  await box.fill("draft");
  const seen = [];
  for (const key of ["ArrowUp", "ArrowUp", "ArrowUp", "ArrowDown", "ArrowDown"]) {
    await box.press(key);
    seen.push(await box.inputValue());
  }
  // At the oldest there is nothing further up; with the cursor at the end, each way goes on.
  assert.deepEqual(seen, ["second", "first", "first", "second", "draft"]);
  await box.fill("two\nlines");
  await box.press("ArrowUp");
  assert.equal(await box.inputValue(), "two\nlines", "there the key moves in the text");
});

test("the search finds text in what is folded, and walks through it", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub);
  await say(page, "/think the needle is in a haystack");
  await turnEnds(page);
  await say(page, "where is the Needle?");
  await turnEnds(page, 2);
  await page.getByTestId("transcript").focus();
  await page.keyboard.press("/");
  const box = page.getByTestId("search-box");
  await box.fill("needle");
  const count = page.getByTestId("search-count");
  await page.waitForFunction(() =>
    /^1 of [2-9]/.test(document.querySelector('[data-testid="search-count"]').textContent),
  );
  const total = Number((await count.textContent()).split(" ").at(-1));
  // The highlight follows, and opens the fold in which a match is.
  await page.waitForFunction(() =>
    [...(CSS.highlights.get("found") ?? [])].some((range) => /needle/i.test(range.toString())),
  );
  for (let step = 2; step <= total; step++) {
    await box.press("Enter");
    await page.waitForFunction(
      (text) => document.querySelector('[data-testid="search-count"]').textContent === text,
      `${step} of ${total}`,
    );
  }
  // However fast one goes through them, a fold on the way is open.
  await page.locator('[data-testid="thought"][open]').waitFor();
  await page.waitForFunction(() =>
    [...(CSS.highlights.get("found") ?? [])].some(
      (range) => range.startContainer.isConnected && /needle/i.test(range.toString()),
    ),
  );
  await box.fill("not to be found");
  await page.waitForFunction(
    () => document.querySelector('[data-testid="search-count"]').textContent === "Nothing found",
  );
  await box.press("Escape");
  assert.equal(await box.count(), 0);
});

test("the transcript is exported as Markdown and as JSON", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub, { title: "Export: me/now" });
  await say(page, "/write exported.txt ```");
  await answerable(page);
  await page.locator('[data-testid="approval-option"][data-kind="allow_once"]').click();
  await turnEnds(page);
  const download = async (testId) => {
    await page.getByTestId("more").click();
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByTestId(testId).click()]);
    return { name: file.suggestedFilename(), text: await readFile(await file.path(), "utf8") };
  };
  const markdown = await download("export-markdown");
  assert.equal(markdown.name, "Export-me-now.md");
  assert.match(markdown.text, /^# Export: me\/now\n/);
  assert.match(markdown.text, /\/write exported\.txt/);
  assert.match(markdown.text, /### Decision: .*exported\.txt/);
  assert.match(markdown.text, /Outcome: \*\*Allow once\*\* \(allow_once\), by local,/);
  const json = JSON.parse((await download("export-json")).text);
  assert.equal(json.session.title, "Export: me/now");
  assert.deepEqual(
    json.entries.map((entry) => entry.type),
    ["message", "decision", "tool", "answer", "completion"],
  );
});

test("a shared link shows the session live, changes nothing, and hides its token", async () => {
  stage.allowed = /403/;
  const page = await stage.context.newPage();
  await newSession(page, stage.hub, { title: "Shared" });
  await page.getByTestId("more").click();
  await page.getByTestId("share").click();
  await page.getByTestId("make-link").click();
  const link = await page.getByTestId("share-link").inputValue();
  await page.keyboard.press("Escape");
  assert.equal(new URL(link).search, "", "no token in the query");

  const guests = await newContext(stage.browser, stage.complaints);
  const guest = await guests.newPage();
  const requests = [];
  guest.on("request", (request) => requests.push(request.url()));
  await guest.goto(link);
  await live(guest);
  const token = /[^/]+$/.exec(new URL(link).hash)[0];
  assert.equal(guest.url().includes(token), false, "the token left the address bar");
  assert.equal(
    requests.some((url) => url.includes(token)),
    false,
    "the token is in no address",
  );
  for (const name of ["message-box", "delete", "share", "new-session", "session-row"]) {
    assert.equal(await guest.getByTestId(name).count(), 0, name);
  }

  await say(page, "/approve Paint the shed");
  const card = guest.locator('[data-testid="approval"][data-state="pending"]');
  await card.waitFor();
  for (const option of await card.getByTestId("approval-option").all()) assert.equal(await option.isDisabled(), true);
  await guest.getByTestId("transcript").focus();
  await guest.keyboard.press("1");

  // What the page does not offer, the hub refuses.
  const sessionId = decodeURIComponent(/view\/([^/]+)/.exec(guest.url())[1]);
  for (const [route, body] of [
    ["messages", { content: "hi" }],
    ["approve", { interactionId: await card.getAttribute("data-interaction-id"), decision: "allow_once" }],
    ["cancel", {}],
    ["token", { scope: "read write" }],
  ]) {
    const refused = await guest.evaluate(
      async ([url, bearer, data]) => {
        const answer = await fetch(url, {
          method: "POST",
          headers: { authorization: `Bearer ${bearer}`, "content-type": "application/json" },
          body: JSON.stringify(data),
        });
        return [answer.status, (await answer.json()).code];
      },
      [`${stage.hub.url}/api/sessions/${sessionId}/${route}`, token, body],
    );
    assert.deepEqual(refused, [403, "insufficient_scope"], route);
  }
  assert.equal(await guest.locator('[data-testid="approval"][data-state="pending"]').count(), 1);
  await guest.reload();
  await live(guest);
  await answerable(page);
  await page.locator('[data-testid="approval-option"][data-kind="allow_once"]').click();
  await guest.locator('[data-testid="approval"][data-state="selected"]').waitFor();
  await turnEnds(page);
  await turnEnds(guest);
  await guests.close();
});

test("a page out of sight notifies of an approval, once somebody allowed it", async () => {
  await stage.context.grantPermissions(["notifications"], { origin: stage.hub.url });
  await stage.context.addInitScript(() => {
    window.notified = [];
    window.Notification = class {
      static permission = "granted";
      constructor(title, options) {
        window.notified.push({ title, ...options });
      }
    };
    // A page out of sight gets no frames either.
    Object.defineProperty(document, "hidden", { get: () => window.unseen === true });
    const frame = window.requestAnimationFrame.bind(window);
    window.requestAnimationFrame = (call) => (window.unseen ? 0 : frame(call));
  });
  const page = await stage.context.newPage();
  await newSession(page, stage.hub, { title: "Shed" });
  await say(page, "/approve Paint the shed");
  await status(page, "requires_action");
  assert.deepEqual(await page.evaluate(() => window.notified), [], "who looks needs no notification");
  await page.getByTestId("stop").click();
  await turnEnds(page);
  await page.evaluate(() => (window.unseen = true));
  await say(page, "/approve Paint it twice");
  await page.waitForFunction(() => window.notified.length === 1, undefined, { polling: 100 });
  const [{ title, body }] = await page.evaluate(() => window.notified);
  assert.match(title, /Shed needs you/);
  assert.match(body, /Paint it twice/);
  await page.waitForFunction(() => document.title.startsWith("(1)"), undefined, { polling: 100 });
  // The list has learned of it too, and does not say it again in worse words.
  await page.waitForFunction(() => document.querySelector('[data-testid="pending-approvals"]'), undefined, {
    polling: 100,
  });
  assert.equal(await page.evaluate(() => window.notified.length), 1);
  await page.evaluate(() => (window.unseen = false));
  await page.getByTestId("stop").click();
});

test("the operations page shows connections by transport, events, sessions by status and workers, live", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub);
  const other = await stage.context.newPage();
  await other.goto(stage.hub.url);
  await other.getByTestId("operations").click();
  const plot = (title) => other.locator(`[data-testid="plot"][data-title="${title}"] svg`);
  const shows = async (title, wanted) => {
    const deadline = Date.now() + 15_000;
    let label;
    do label = await plot(title).getAttribute("aria-label");
    while (
      !wanted.test(label) &&
      Date.now() < deadline &&
      (await new Promise((resolve) => setTimeout(resolve, 100, true)))
    );
    assert.match(label, wanted);
  };
  await shows("Connections", /WebSocket [1-9]/);
  await say(page, "/stream 5000 20 80");
  await shows("Events", /Events ([1-9]\d)/);
  await shows("Sessions at work", /Working 1/);
  await shows("Delivery, p99", /At most [\d.]+ ms/);
  assert.equal(await other.getByTestId("workers").locator('[data-name="demo"] td').textContent(), "1");
  await page.getByTestId("stop").click();
  await turnEnds(page);
});

test("axe finds nothing serious on any page, light or dark, wide or narrow", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub, { title: "Everything at once" });
  let turn = 0;
  for (const text of ["# Hello\n\n`code`", "/think about it", "/plan", "/fail the printer is on fire"]) {
    await say(page, text);
    await turnEnds(page, ++turn);
  }
  await say(page, "/write axe.txt hi");
  await status(page, "requires_action");
  for (const [name, options] of [
    ["light", {}],
    ["dark", { colorScheme: "dark" }],
    ["phone", { viewport: { width: 390, height: 780 }, hasTouch: true }],
  ]) {
    const dressed = await newContext(stage.browser, stage.complaints, options);
    const view = await dressed.newPage();
    await view.goto(page.url());
    await live(view);
    for (const summary of await view.locator("details.fold > summary").all()) await summary.click();
    await view.getByTestId("search").click();
    await view.getByTestId("search-box").fill("hello");
    await view.getByTestId("more").click();
    // On a phone the list is a page of its own; elsewhere it is beside the session.
    await assertAccessible(view, `a session with search and menu, ${name}`);
    await view.getByTestId("share").click();
    await view.getByTestId("make-link").click();
    await view.getByTestId("share-link").waitFor();
    await assertAccessible(view, `the share dialog, ${name}`);
    await view.keyboard.press("Escape");
    await view.goto(`${stage.hub.url}/#/new`);
    await view.getByTestId("provider").locator("option").first().waitFor({ state: "attached" });
    await assertAccessible(view, `a new session, ${name}`);
    await view.goto(`${stage.hub.url}/#/operations`);
    await view.getByTestId("plot").first().waitFor();
    await assertAccessible(view, `operations, ${name}`);
    if (name === "phone") {
      await view.goto(`${stage.hub.url}/#/`);
      await view.getByTestId("session-row").first().waitFor();
      await assertAccessible(view, `the list, ${name}`);
    }
    await dressed.close();
  }
  await page.getByTestId("stop").click();
});
