// The dashboard on networks that misbehave, and on a hub that dies.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { FaultyProxy } from "../client/test/proxy.ts";
import { startBrowser, startHub } from "./hub.mjs";
import {
  answerable,
  answers,
  assertPieces,
  live,
  newContext,
  newSession,
  roomyHub,
  say,
  status,
  turnEnds,
} from "./page.mjs";

let hub;
let browser;
let context;
let proxy;
let complaints;

before(async () => {
  hub = await startHub({ args: roomyHub });
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await hub?.stop();
});
beforeEach(async () => {
  complaints = [];
  context = await newContext(browser, complaints);
  proxy = await FaultyProxy.listen(hub.url);
});
afterEach(async () => {
  await context.close();
  await proxy.close();
  // That a connection failed is what these tests are about.
  const rest = complaints.filter((complaint) => !/WebSocket|Failed to load resource|net::ERR/.test(complaint));
  assert.deepEqual(rest, [], "a page complained");
});

const liveOver = (page, transport, options) =>
  page.locator(`[data-testid="connection"][data-state="live"][data-transport="${transport}"]`).waitFor(options);

for (const fate of ["refuse", "swallow"]) {
  test(`behind a proxy that would ${fate} WebSockets the page is live over SSE within 5 s, and says so`, async () => {
    const page = await context.newPage();
    proxy.upgrade = fate;
    // Counted from the moment that the page asks for the stream, not from the browser's start.
    const asked = page.waitForEvent("websocket").then(() => Date.now());
    await newSession(page, hub, { url: proxy.url });
    await liveOver(page, "sse");
    const waited = Date.now() - (await asked);
    assert.ok(waited < 5_000, `${waited} ms`);
    assert.match(await page.getByTestId("connection").textContent(), /SSE/);
    await say(page, "/write over-sse.txt hi");
    await answerable(page);
    await page.locator('[data-testid="approval-option"][data-kind="allow_once"]').click();
    await turnEnds(page);
    // A reload knows, and does not try the socket first.
    const before = proxy.handshakes;
    await page.reload();
    await liveOver(page, "sse");
    assert.equal(proxy.handshakes, before);
  });
}

test("a proxy that kills WebSockets in mid-stream: the page goes on over SSE, and nothing is missing or repeated", async () => {
  const page = await context.newPage();
  proxy.fault = (webSocket) => (webSocket ? { cutAfterMs: 700 } : {});
  await newSession(page, hub, { url: proxy.url });
  await say(page, "/stream 300 20 50");
  await liveOver(page, "sse", { timeout: 30_000 });
  await turnEnds(page);
  assertPieces(await answers(page), 300);
});

test("offline and back in mid-stream, over SSE: the page says so, and catches up", async () => {
  const page = await context.newPage();
  proxy.upgrade = "refuse";
  await newSession(page, hub, { url: proxy.url });
  await say(page, "/stream 200 20 40");
  await page.getByTestId("answer").first().waitFor();
  await context.setOffline(true);
  proxy.down = true;
  proxy.cutAll();
  await page.locator('[data-testid="connection"][data-state="offline"]').waitFor();
  await say(page, "sent while offline");
  await page.getByTestId("outgoing").waitFor();
  proxy.down = false;
  await context.setOffline(false);
  await live(page);
  await turnEnds(page, 2);
  assert.equal(await page.getByTestId("outgoing").count(), 0);
  assert.equal(await page.getByTestId("user-message").count(), 2);
  assertPieces(await answers(page), 200);
});

test("a hub that is killed and started again: the page says so, comes back, and says what is gone", async () => {
  const mortal = await startHub({ args: roomyHub });
  const page = await context.newPage();
  await newSession(page, mortal, { title: "Mortal" });
  await say(page, "/stream 1000 20 50");
  await page.getByTestId("answer").first().waitFor();
  await mortal.kill();
  await page.locator('[data-testid="connection"][data-state="offline"]').waitFor();
  const again = await startHub({ args: roomyHub, listen: new URL(mortal.url).host });
  try {
    // The sessions of this hub were in its memory.
    await page.locator('[data-testid="connection"][data-state="closed"]').waitFor({ timeout: 30_000 });
    assert.match(await page.getByTestId("connection").textContent(), /gone|ended/i);
    assert.ok((await answers(page)).length > 0, "what was read stays to be read");
    await page
      .locator('[data-testid="session-row"]', { hasText: "Mortal" })
      .waitFor({ state: "detached", timeout: 30_000 });
    await newSession(page, again);
    await say(page, "hello again");
    await turnEnds(page);
  } finally {
    await context.close(); // first: a browser keeps connections in reserve, which would hold up the hub's end
    await again.stop();
  }
});

test("what the hub no longer has is marked where it is missing", async () => {
  const forgetful = await startHub({ args: [...roomyHub, "--log-max-events", "100"] });
  const page = await context.newPage();
  await newSession(page, forgetful);
  await say(page, "/stream 300 20");
  await turnEnds(page);
  const late = await context.newPage();
  await late.goto(page.url());
  await live(late);
  const gap = late.locator('[data-testid="gap"][data-reason="trimmed"]');
  await gap.waitFor();
  const missing = Number(await gap.getAttribute("data-to"));
  assert.match(await gap.textContent(), new RegExp(`Events 1 to ${missing} are not kept any more`));
  const pieces = [...(await answers(late)).matchAll(/(\d+) (?=\D)/g)].map(([, index]) => Number(index));
  assert.deepEqual(
    pieces,
    Array.from({ length: pieces.length }, (_, index) => 301 - pieces.length + index),
    "the rest is whole",
  );
  await context.close(); // first: a browser keeps connections in reserve, which would hold up the hub's end
  await forgetful.stop();
});

test("a hub that drains says when to come back, and the page waits for that", async () => {
  const draining = await startHub({ args: [...roomyHub, "--drain-timeout", "3s"] });
  const page = await context.newPage();
  await newSession(page, draining);
  const stopped = draining.stop();
  await page.locator('[data-testid="connection"][data-state="offline"]').waitFor();
  await context.close(); // a connection in reserve would hold up the hub's end
  await stopped;
});

test("two browsers on one session: one answers by key, the other sees it", async () => {
  const page = await context.newPage();
  await newSession(page, hub);
  const elsewhere = await newContext(browser, complaints);
  const other = await elsewhere.newPage();
  await other.goto(page.url());
  await live(other);
  await say(page, "/approve Paint the shed");
  await other.locator('[data-testid="approval"][data-state="pending"]').waitFor();
  await status(other, "requires_action");
  await other.getByTestId("transcript").focus();
  await answerable(other);
  await other.keyboard.press("1");
  await page.locator('[data-testid="approval"][data-state="selected"]').waitFor();
  assert.equal(await page.getByTestId("approval-option").count(), 0);
  await Promise.all([turnEnds(page), turnEnds(other)]);
  assert.equal(await answers(page), await answers(other));
  await elsewhere.close();
});
