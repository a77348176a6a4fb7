// The extension, built and loaded into a real Chromium for real, against the
// real binary with an API key.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { build } from "vite";

import { startHub } from "./hub.mjs";
import { answerable, answers, assertAccessible, assertPieces, live, roomyHub, say, status, turnEnds } from "./page.mjs";

const web = fileURLToPath(new URL("..", import.meta.url));
const folder = join(web, "extension/dist");
/** Chrome makes the id of an unpacked extension from its folder. */
const id = [...createHash("sha256").update(folder).digest("hex").slice(0, 32)]
  .map((digit) => String.fromCharCode(97 + Number.parseInt(digit, 16)))
  .join("");
const origin = `chrome-extension://${id}`;
const apiKey = "extension-key-that-is-long-enough-0123456789";

let hub;
let site;
let context;
let profile;
const complaints = [];

before(async () => {
  await build({ configFile: join(web, "extension/vite.config.ts"), logLevel: "error" });
  site = createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end("<title>Shed news</title><p>The shed is red.</p><p id=b>It should be blue.</p>");
  });
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
  hub = await startHub({ args: roomyHub, env: { SESSIONHUB_API_KEY: apiKey, SESSIONHUB_ALLOWED_ORIGINS: origin } });
  profile = await mkdtemp(join(tmpdir(), "sessionhub-extension-"));
  context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // Playwright's own headless mode is one that takes no extensions.
    headless: false,
    args: [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      `--disable-extensions-except=${folder}`,
      `--load-extension=${folder}`,
    ],
    viewport: { width: 420, height: 800 },
  });
  context.setDefaultTimeout(15_000);
  context.on("page", (page) => {
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(String(error)));
  });
});
after(async () => {
  await context?.close();
  site?.close(); // before what may fail: it would keep this program from ending
  await hub?.stop();
  if (profile) await rm(profile, { recursive: true, force: true });
});

const worker = async () => context.serviceWorkers()[0] ?? context.waitForEvent("serviceworker");

/** Puts the service worker to sleep, as Chrome does after half a minute. */
async function sleep(page) {
  const session = await context.newCDPSession(page);
  await session.send("ServiceWorker.enable");
  await session.send("ServiceWorker.stopAllWorkers");
  await session.detach();
}

async function until(what, condition) {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test("the extension is set up, follows and steers a session over SSE, and sends pages", async () => {
  const page = await context.newPage();
  await page.goto(`${origin}/options.html`);
  assert.match(
    await page.locator("code").first().textContent(),
    new RegExp(id),
    "the options name the origin that has to be allowed",
  );
  await page.getByTestId("hub-url").fill(hub.url);
  await assertAccessible(page, "the options");
  await page.getByTestId("hub-key").fill("wrong");
  await page.getByTestId("save").click();
  await page.getByRole("alert").waitFor();
  assert.match(await page.getByTestId("saying").textContent(), /does not know this key/);
  await page.getByTestId("hub-key").fill(apiKey);
  await page.getByTestId("save").click();
  await page.getByRole("status").waitFor();
  complaints.splice(0); // the 401 above

  const sockets = [];
  page.on("websocket", (socket) => sockets.push(socket.url()));
  await page.goto(`${origin}/panel.html`);
  await page.getByTestId("new-session").click();
  await page.getByTestId("provider").selectOption("demo");
  await page.getByTestId("workdir").fill(hub.workspace);
  await page.getByTestId("title").fill("From the panel");
  await page.getByTestId("create").click();
  await live(page);
  assert.equal(await page.getByTestId("connection").getAttribute("data-transport"), "sse");

  await say(page, "/approve Paint the shed");
  await answerable(page);
  await page.locator('[data-testid="approval-option"][data-kind="allow_once"]').click();
  await turnEnds(page);

  // The panel's stream does not hang on the service worker.
  await say(page, "/stream 200 20 100");
  await page.getByTestId("answer").nth(1).waitFor();
  await sleep(page);
  await turnEnds(page, 2);
  assertPieces((await answers(page)).replace(/^.*?(?=1 )/s, ""), 200);

  const read = await context.newPage();
  await read.goto(`http://127.0.0.1:${site.address().port}/`);
  await read.evaluate(() => getSelection().selectAllChildren(document.getElementById("b")));
  await page.getByTestId("send-selection").click();
  await turnEnds(page, 3);
  const selection = await page.getByTestId("user-message").nth(2).textContent();
  assert.match(selection, /Shed news/);
  assert.match(selection, /> It should be blue\./);
  assert.doesNotMatch(selection, /The shed is red/);
  await page.getByTestId("send-page").click();
  await turnEnds(page, 4);
  assert.match(
    await page.getByTestId("user-message").nth(3).textContent(),
    /> The shed is red\..*> It should be blue\./s,
  );
  assert.deepEqual(sockets, [], "no WebSocket was opened");
  assert.deepEqual(complaints, []);
  if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, "extension-panel.png") });
  await read.close();
  await page.close();
});

test("what comes while the service worker sleeps is seen when it wakes, once", async () => {
  const page = await context.newPage();
  await page.goto(`${origin}/panel.html`);
  await live(page);
  const badge = async () => (await worker()).evaluate(() => chrome.action.getBadgeText({}));
  const shown = async () => (await worker()).evaluate(async () => Object.keys(await chrome.notifications.getAll()));
  await until("an empty badge", async () => (await badge()) === "");

  await say(page, "/approve Paint the fence");
  await status(page, "requires_action");
  await until("the badge", async () => (await badge()) === "1");
  await until("a notification", async () => (await shown()).length === 1);
  await answerable(page);
  await page.locator('[data-testid="approval-option"][data-kind="allow_once"]').click();
  await until("an empty badge", async () => (await badge()) === "");
  await until("no notification", async () => (await shown()).length === 0);
  await turnEnds(page, 5);

  const born = async () => (await worker()).evaluate(() => performance.timeOrigin);
  const before = await born();
  await sleep(page);
  await say(page, "/approve Paint the gate");
  await status(page, "requires_action");
  // Any event of the browser's wakes it; here a message, elsewhere the alarm.
  await page.evaluate(() => chrome.runtime.sendMessage({ type: "wake" }).catch(() => undefined));
  await until("the badge", async () => (await badge()) === "1");
  await until("a notification", async () => (await shown()).length === 1);
  assert.notEqual(await born(), before, "it is another worker, that was started since");
  await answerable(page);
  await page.locator('[data-testid="approval-option"][data-kind="reject_once"]').click();
  await turnEnds(page, 6);
  await until("an empty badge", async () => (await badge()) === "");
  assert.deepEqual(complaints, []);
  await page.close();
});
