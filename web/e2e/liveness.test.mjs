// What the page says of its connection is true within three seconds, many tabs
// share a browser's few connections, and every error has a way out.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { FaultyProxy } from "../client/test/proxy.ts";
import { startBrowser, startHub } from "./hub.mjs";
import { answerable, answers, live, newContext, newSession, roomyHub, say, status, turnEnds } from "./page.mjs";

let hub;
let browser;
let context;
let proxy;

before(async () => {
  [hub, browser] = await Promise.all([startHub({ args: roomyHub }), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await hub?.stop();
});
beforeEach(async () => {
  context = await newContext(browser, []);
  proxy = await FaultyProxy.listen(hub.url);
});
afterEach(async () => {
  await context.close();
  await proxy.close();
});

/** Notes when the page stopped to say that it is live, by the page's own clock. */
const watchLive = (page) =>
  page.evaluate(() => {
    const begin = performance.now();
    const shown = document.querySelector('[data-testid="connection"]');
    const look = () => {
      if (shown.dataset.state !== "live") window.notLiveAfter ??= performance.now() - begin;
    };
    look();
    new MutationObserver(look).observe(shown, { attributes: true });
  });
const notLiveAfter = (page) =>
  page
    .waitForFunction(() => window.notLiveAfter !== undefined && window.notLiveAfter)
    .then((handle) => handle.jsonValue());

for (const transport of ["websocket", "sse"]) {
  test(`a connection that died without a word is noticed, and an answer still arrives, over ${transport}`, async (t) => {
    if (transport === "sse") proxy.upgrade = "refuse";
    const page = await context.newPage();
    await newSession(page, hub, { url: proxy.url });
    await say(page, "/approve Paint the shed");
    await status(page, "requires_action");
    await answerable(page);
    await watchLive(page);
    proxy.freeze();
    await page.locator('[data-testid="approval-option"][data-kind="allow_once"]').click();
    t.diagnostic(`noticed after ${Math.round(await notLiveAfter(page))} ms`);
    // The browser may put a repeat on another connection that has died: it ends after 15 s.
    await page.getByTestId("complete").first().waitFor({ timeout: 120_000 });
    await turnEnds(page);
    await live(page);
    assert.match(await page.getByTestId("approval").textContent(), /Allowed once/);
  });
}

test("what the browser knows of the network, the page says at once", async () => {
  const page = await context.newPage();
  await newSession(page, hub);
  await page.evaluate(() => {
    addEventListener("offline", () => {
      const two = () =>
        requestAnimationFrame(
          () => (window.saidThen = document.querySelector('[data-testid="connection"]').dataset.state),
        );
      requestAnimationFrame(two);
    });
  });
  await context.setOffline(true);
  const said = await page.waitForFunction(() => window.saidThen);
  assert.notEqual(await said.jsonValue(), "live", "two frames after the browser said so");
  await context.setOffline(false);
  await live(page);
});

test("a machine that wakes from sleep reconnects at once", async () => {
  await context.addInitScript(() => {
    const now = Date.now;
    window.sleep = (ms) => (Date.now = () => now() + ms);
  });
  const page = await context.newPage();
  let sockets = 0;
  page.on("websocket", () => sockets++);
  await newSession(page, hub);
  const before = sockets;
  await watchLive(page);
  await page.evaluate(() => window.sleep(60_000));
  await notLiveAfter(page);
  await live(page);
  assert.equal(sockets, before + 1);
});

test("eight tabs without WebSockets all live, answer, and see what the others do", async () => {
  proxy.upgrade = "refuse";
  const first = await context.newPage();
  await newSession(first, hub, { url: proxy.url });
  const pages = [first];
  for (let n = 1; n < 8; n++) {
    const page = await context.newPage();
    await newSession(page, hub, { url: proxy.url, title: `Tab ${n}` });
    pages.push(page);
  }
  await Promise.all(
    pages.map(async (page, n) => {
      await say(page, `/approve Question ${n}`);
      await answerable(page);
      await page.locator('[data-testid="approval-option"][data-kind="allow_once"]').click();
      await turnEnds(page);
      await live(page);
    }),
  );
  // Two tabs on one session, both without a stream of their own perhaps.
  const last = pages.at(-1);
  await pages[0].goto(last.url());
  await live(pages[0]);
  await say(last, "hello to both");
  await turnEnds(last, 2);
  await turnEnds(pages[0], 2);
  assert.equal(await answers(pages[0]), await answers(last));
});

test("a tab out of sight gives its stream back, reads on all the same, and takes one again", async () => {
  proxy.upgrade = "refuse";
  const page = await context.newPage();
  await page.addInitScript(() => {
    Object.defineProperty(document, "hidden", { get: () => window.unseen === true });
    window.show = (seen) => {
      window.unseen = !seen;
      document.dispatchEvent(new Event("visibilitychange"));
    };
  });
  await newSession(page, hub, { url: proxy.url });
  const sessionId = decodeURIComponent(/#\/s\/([^/]+)/.exec(page.url())[1]);
  const streams = async (count) => {
    for (;;) {
      const { connections } = await (await fetch(`${hub.url}/api/sessions/${sessionId}`)).json();
      if (connections.sse === count) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  await streams(1);
  await page.evaluate(() => window.show(false));
  await streams(0);
  await fetch(`${hub.url}/api/sessions/${sessionId}/messages`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ content: "/approve While nobody looks" }),
  });
  await page.waitForFunction(() => document.title.startsWith("(1)"), undefined, { polling: 100 });
  await page.evaluate(() => window.show(true));
  await streams(1);
  await answerable(page);
  await page.locator('[data-testid="approval-option"][data-kind="allow_once"]').click();
  await turnEnds(page);
});

test("messages that come too fast for the hub arrive in order, each once", async () => {
  const slow = await startHub({ args: [...roomyHub.slice(0, -2), "--rate-messages", "2/s:2"] });
  const page = await context.newPage();
  await newSession(page, slow);
  const texts = Array.from({ length: 7 }, (_, n) => `message ${n}`);
  for (const text of texts) await say(page, text);
  await page.getByTestId("user-message").nth(6).waitFor();
  await page.waitForFunction(() => !document.querySelector('[data-testid="outgoing"]'));
  assert.deepEqual(
    await page.getByTestId("user-message").evaluateAll((all) => all.map((one) => one.lastChild.textContent)),
    texts,
  );
  await page.goto("about:blank");
  await slow.kill();
});

test("a turn that failed, and may be run again, has the button for it", async () => {
  const page = await context.newPage();
  await newSession(page, hub);
  await say(page, "/crash");
  const button = page.getByTestId("send-again");
  await button.waitFor();
  assert.match(await page.getByTestId("complete").textContent(), /can be sent again/);
  await button.click();
  await page.getByTestId("complete").nth(1).waitFor();
  assert.deepEqual(
    await page.getByTestId("user-message").evaluateAll((all) => all.map((one) => one.lastChild.textContent)),
    ["/crash", "/crash"],
  );
});

test("a session that the hub has lost is not shown at work, and leads to another like it", async () => {
  const mortal = await startHub({ args: roomyHub });
  const page = await context.newPage();
  await newSession(page, mortal, { title: "Mortal" });
  await say(page, "/approve Paint the shed");
  await status(page, "requires_action");
  await mortal.kill();
  const again = await startHub({ args: roomyHub, listen: new URL(mortal.url).host });
  await page.getByTestId("lost").waitFor({ timeout: 120_000 });
  assert.equal(await page.getByTestId("status").count(), 0);
  assert.doesNotMatch(await page.locator(".session").textContent(), /Working|Waiting for your answer|Needs you/);
  assert.equal(await page.locator("button[data-option-id]:not(:disabled)").count(), 0);
  await page.getByTestId("start-another").click();
  assert.equal(await page.getByTestId("title").inputValue(), "Mortal");
  await page.getByTestId("workdir").fill(again.workspace);
  await page.getByTestId("create").click();
  await live(page);
  await context.close();
  await again.kill();
});
