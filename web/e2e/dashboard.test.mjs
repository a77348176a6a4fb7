// The dashboard in a real browser against the real binary and its demo agent:
//
//   SESSIONHUB_BIN=path/to/sessionhub node --test e2e/dashboard.test.mjs
//
// CHROMIUM names the browser, SCREENSHOTS a directory for pictures.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { startBrowser, startHub } from "./hub.mjs";
import {
  answerable,
  answers,
  assertPieces,
  live,
  newContext as openContext,
  newSession as openSession,
  roomyHub,
  say,
  status,
  turnEnds,
} from "./page.mjs";

const screenshots = process.env.SCREENSHOTS;
let hub;
let browser;
let context;
/** Everything that a page complained about: errors, and violations of the content security policy. */
let complaints;
/** A complaint that a test brings about on purpose. */
let allowed;

before(async () => {
  // The log keeps more than by default, so that a stream of 20,000 pieces can be read again.
  [hub, browser] = await Promise.all([startHub({ args: roomyHub }), startBrowser()]);
  if (screenshots) await mkdir(screenshots, { recursive: true });
});
after(async () => {
  await browser?.close();
  await hub?.stop();
});
beforeEach(async () => {
  complaints = [];
  allowed = undefined;
  context = await newContext();
});
afterEach(async () => {
  await context.close();
  const rest = complaints.filter((complaint) => !allowed?.test(complaint));
  assert.deepEqual(rest, [], "a page complained");
});

const newContext = (options) => openContext(browser, complaints, options);
const newSession = (page, options) => openSession(page, hub, options);

async function shot(page, name) {
  if (screenshots) await page.screenshot({ path: join(screenshots, `${name}.png`) });
}

test("a plain message is answered in a stream", async () => {
  const page = await context.newPage();
  await newSession(page, { title: "Plain" });
  await say(page, "Good morning, hub");
  await turnEnds(page);
  assert.equal(await page.getByTestId("user-message").textContent(), "You: Good morning, hub");
  assert.match(await answers(page), /Good morning, hub/);
  assert.equal(await page.getByTestId("message-box").inputValue(), "");
  await page.locator('[data-testid="session-row"][aria-current="page"]', { hasText: "Plain" }).waitFor();
});

test("the page reaches its own host over a WebSocket, and no other", async () => {
  allowed = /127\.0\.0\.2|Content Security Policy/;
  const page = await context.newPage();
  const own = page.waitForEvent("websocket").then((socket) => socket.waitForEvent("framereceived"));
  await newSession(page);
  assert.match(String((await own).payload), /"connected"/);
  const blocked = await page.evaluate(
    () =>
      new Promise((resolve) => {
        document.addEventListener("securitypolicyviolation", (event) => resolve(event.blockedURI), { once: true });
        try {
          new WebSocket("ws://127.0.0.2:9/");
        } catch {
          // Some browsers throw as well.
        }
      }),
  );
  assert.match(blocked, /127\.0\.0\.2/);
});

test("Shift+Enter makes a new line and Send sends", async () => {
  const page = await context.newPage();
  await newSession(page);
  const box = page.getByTestId("message-box");
  await box.fill("one");
  await box.press("Shift+Enter");
  await box.pressSequentially("two");
  await page.getByTestId("send").click();
  await turnEnds(page);
  assert.equal(await page.getByTestId("user-message").textContent(), "You: one\ntwo");
});

test("an approval shows the path, and a click on allow writes the file", async () => {
  const page = await context.newPage();
  await newSession(page);
  await say(page, "/write hello.txt hi");
  const card = page.locator('[data-testid="approval"][data-state="pending"]');
  await card.waitFor();
  assert.match(await card.textContent(), /hello\.txt/);
  await status(page, "requires_action");
  assert.equal(existsSync(join(hub.workspace, "hello.txt")), false);
  await shot(page, "approval");
  await answerable(page);
  await card.locator('[data-testid="approval-option"][data-kind="allow_once"]').click();
  await turnEnds(page);
  assert.equal((await readFile(join(hub.workspace, "hello.txt"), "utf8")).trim(), "hi");
  await page.locator('[data-testid="approval"][data-state="selected"]').waitFor();
  await page.locator('[data-testid="tool-call"][data-status="completed"]').waitFor();
});

test("a refusal writes nothing", async () => {
  const page = await context.newPage();
  await newSession(page);
  await say(page, "/write refused.txt hi");
  await answerable(page);
  await page.locator('[data-testid="approval-option"][data-kind="reject_once"]').click();
  await turnEnds(page);
  assert.equal(existsSync(join(hub.workspace, "refused.txt")), false);
  assert.match(await page.getByTestId("approval").textContent(), /Refused/);
});

test("Stop ends a turn that runs", async () => {
  const page = await context.newPage();
  await newSession(page);
  await say(page, "/slow 60");
  await status(page, "running");
  await page.getByTestId("stop").click();
  await page.locator('[data-testid="complete"][data-stop-reason="cancelled"]').waitFor();
  await status(page, "idle");
  assert.equal(await page.getByTestId("stop").count(), 0);
});

test("Stop also works while an approval waits", async () => {
  const page = await context.newPage();
  await newSession(page);
  await say(page, "/approve something");
  await status(page, "requires_action");
  await page.getByTestId("stop").click();
  await page.locator('[data-testid="complete"][data-stop-reason="cancelled"]').waitFor();
  await page.locator('[data-testid="approval"][data-state="cancelled"]').waitFor();
  assert.equal(await page.getByTestId("approval-option").count(), 0);
});

test("a reload in mid-stream keeps the session, and nothing is missing or repeated", async () => {
  const page = await context.newPage();
  await newSession(page);
  await say(page, "/stream 300 20 60");
  await page.getByTestId("answer").first().waitFor();
  for (let n = 0; n < 2; n++) {
    await page.reload();
    await live(page);
    await page.getByTestId("answer").first().waitFor();
  }
  await status(page, "running");
  await turnEnds(page);
  assertPieces(await answers(page), 300);
});

test("a network that goes away in mid-stream is waited for, and nothing is missing or repeated", async () => {
  allowed = /ERR_INTERNET_DISCONNECTED|ERR_CONNECTION|WebSocket|Failed to load resource/;
  const page = await context.newPage();
  await newSession(page);
  // Chromium's offline mode leaves open WebSockets alone, so this one is cut by its own end.
  const sockets = [];
  await page.routeWebSocket(/\/ws\?/, (socket) => {
    const server = socket.connectToServer();
    sockets.push({ socket, server });
  });
  await page.reload();
  await live(page);
  await say(page, "/stream 300 20 60");
  await page.getByTestId("answer").first().waitFor();
  await sockets.at(-1).server.close();
  await sockets.at(-1).socket.close({ code: 4503, reason: "cut by the test" });
  await turnEnds(page);
  assertPieces(await answers(page), 300);
  assert.ok(sockets.length >= 2);
});

test("two pages on one session: one answers, and the other sees it resolved", async () => {
  const page = await context.newPage();
  await newSession(page);
  await say(page, "/approve Paint the shed");
  const other = await context.newPage();
  await other.goto(page.url());
  await live(other);
  const card = other.locator('[data-testid="approval"][data-state="pending"]');
  await card.waitFor();
  assert.match(await card.textContent(), /Paint the shed/);
  await answerable(page);
  await page.locator('[data-testid="approval-option"][data-kind="allow_once"]').click();
  await other.locator('[data-testid="approval"][data-state="selected"]').waitFor();
  await Promise.all([turnEnds(page), turnEnds(other)]);
  assert.equal(await other.getByTestId("approval-option").count(), 0);
  assert.equal(await answers(page), await answers(other));
});

test("HTML in an agent's text is shown and does nothing", async () => {
  const page = await context.newPage();
  await newSession(page);
  const attack = `<img src=x onerror="window.hit=1"><script>window.hit=2</script><a href="javascript:window.hit=3">a</a> [b](javascript:window.hit=4) ![c](http://127.0.0.1:9/track.png)`;
  await say(page, attack);
  await turnEnds(page);
  const transcript = page.getByTestId("transcript");
  assert.equal(await transcript.locator("img, script, iframe, [onerror], [style]").count(), 0);
  assert.equal(await transcript.locator('a[href^="javascript:" i]').count(), 0);
  for (const link of await transcript.locator("a[href]").all()) {
    assert.equal(await link.getAttribute("target"), "_blank");
    assert.match(await link.getAttribute("rel"), /noopener/);
  }
  assert.equal(await page.evaluate(() => window.hit), undefined);
  assert.match(await page.getByTestId("user-message").textContent(), /onerror/);
});

test("a failed turn says why", async () => {
  const page = await context.newPage();
  await newSession(page);
  await say(page, "/fail the printer is on fire");
  const error = page.locator('[data-testid="complete"][data-stop-reason="error"]');
  await error.waitFor();
  assert.match(await error.textContent(), /the printer is on fire/);
});

test("20,000 pieces arrive whole and the page stays usable", async () => {
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  await newSession(page);
  // How long the page was busy without a break, at worst.
  await page.evaluate(() => {
    window.longest = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration);
    }).observe({ entryTypes: ["longtask"] });
  });
  await say(page, "/stream 20000 20");
  await turnEnds(page, 1);
  const longest = await page.evaluate(() => window.longest);
  assert.ok(longest < 3_000, `the page hung for ${longest} ms`);
  await page.reload();
  await live(page);
  await turnEnds(page, 1);
  await page.waitForFunction(() =>
    /19999 (?=\D)/.test(document.querySelector('[data-testid="answer"]')?.textContent ?? ""),
  );
  assertPieces(await answers(page), 20_000);
});

test("a directory outside the workspace is refused in the form", async () => {
  allowed = /403/;
  const page = await context.newPage();
  await page.goto(hub.url);
  await page.getByTestId("new-session").click();
  await page.getByTestId("workdir").fill("/");
  await page.getByTestId("create").click();
  await page.getByRole("alert").waitFor();
  await page.getByTestId("create").isEnabled();
});

test("a session is deleted after a question, for every page that shows it", async () => {
  const page = await context.newPage();
  await newSession(page, { title: "Short-lived" });
  const other = await context.newPage();
  await other.goto(page.url());
  await live(other);
  await page.getByTestId("more").click();
  await page.getByTestId("delete").click();
  await page.getByTestId("confirm-delete").click();
  await page.locator('[data-testid="session-row"]', { hasText: "Short-lived" }).waitFor({ state: "detached" });
  await other.locator('[data-testid="connection"][data-state="closed"]').waitFor();
  assert.equal(await other.getByTestId("message-box").isDisabled(), true);
});

test("a hub with an API key asks for it, and takes only the right one", async () => {
  allowed = /401/;
  const key = "e2e-key-that-is-long-enough-0123456789";
  const guarded = await startHub({ env: { SESSIONHUB_API_KEY: key } });
  try {
    const page = await context.newPage();
    await page.goto(guarded.url);
    await page.getByTestId("api-key").fill("wrong");
    await page.getByTestId("sign-in").click();
    await page.getByRole("alert").waitFor();
    await page.getByTestId("api-key").fill(key);
    await page.getByTestId("sign-in").click();
    await page.getByTestId("new-session").click();
    await page.getByTestId("create").click();
    await live(page);
    await say(page, "hello");
    await turnEnds(page);
    await page.reload();
    await live(page);
    await turnEnds(page);
  } finally {
    await context.close(); // first, or the page complains that the hub is gone
    await guarded.stop();
  }
});

test("pictures: light, dark and on a phone", { skip: !screenshots && "SCREENSHOTS is not set" }, async () => {
  const page = await context.newPage();
  await newSession(page, { title: "Tidy up the parser" });
  let turn = 0;
  for (const text of ["Hello there", "/think about the shape of things", "/plan"]) {
    await say(page, text);
    await turnEnds(page, ++turn);
  }
  await say(page, "/write notes.txt first line");
  await answerable(page);
  await page.locator('[data-testid="approval-option"][data-kind="allow_once"]').click();
  await turnEnds(page, ++turn);
  await say(page, "/fail the model is out of reach");
  await turnEnds(page, ++turn);
  await say(page, "/write notes.txt another line");
  await status(page, "requires_action");
  for (const [name, options] of [
    ["light", {}],
    ["dark", { colorScheme: "dark" }],
    ["phone", { viewport: { width: 390, height: 780 }, deviceScaleFactor: 2, hasTouch: true }],
    [
      "phone-dark",
      { viewport: { width: 390, height: 780 }, deviceScaleFactor: 2, hasTouch: true, colorScheme: "dark" },
    ],
  ]) {
    const dressed = await newContext(options);
    const view = await dressed.newPage();
    await view.goto(page.url());
    await live(view);
    await shot(view, `session-${name}`);
    const scroll = (top) => view.getByTestId("transcript").evaluate((element, to) => element.scrollTo(0, to), top);
    await scroll(0);
    await view.getByTestId("tool-call").first().locator("summary").click({ force: true });
    await scroll(0);
    await shot(view, `session-top-${name}`);
    await view.getByTestId("search").click();
    await view.getByTestId("search-box").fill("line");
    await view.waitForFunction(() => CSS.highlights.has("found"));
    await view.getByTestId("more").click();
    await shot(view, `search-${name}`);
    await view.getByTestId("share").click();
    await view.getByTestId("make-link").click();
    const link = await view.getByTestId("share-link").inputValue();
    await shot(view, `share-${name}`);
    await view.goto(link);
    await live(view);
    await shot(view, `shared-${name}`);
    await view.goto(`${hub.url}/#/new`);
    await view.getByTestId("provider").locator("option").first().waitFor({ state: "attached" });
    await shot(view, `new-${name}`);
    await view.goto(`${hub.url}/#/`);
    await view.getByTestId("session-row").first().waitFor();
    await shot(view, `list-${name}`);
    await view.goto(`${hub.url}/#/operations`);
    await view.waitForFunction(() =>
      /(\d+\.\d,\S+ ){3}/.test(document.querySelector("polyline")?.getAttribute("points") ?? ""),
    );
    await shot(view, `operations-${name}`);
    await dressed.close();
  }
  await page.getByTestId("stop").click();
  await turnEnds(page, ++turn);
});
