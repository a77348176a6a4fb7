// Many tabs of one browser where WebSockets are blocked, over HTTP/1.1: a browser has six connections to a host for all
// of them.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "vite";

import { HubApi } from "../client/src/index.ts";
import { FaultyProxy } from "../client/test/proxy.ts";
import { startBrowser, startHub } from "./hub.mjs";
import { newContext, roomyHub } from "./page.mjs";

const tabs = 8;
/** As many hold a stream; see shared-link.ts. */
const streams = 4;

let hub;
let browser;
let api;
let modules;
before(async () => {
  [hub, browser] = await Promise.all([startHub({ args: roomyHub }), startBrowser()]);
  api = new HubApi({ baseUrl: hub.url });
  const configFile = fileURLToPath(new URL("../client/vite.config.ts", import.meta.url));
  const built = await build({ configFile, logLevel: "error", build: { write: false } });
  modules = new Map(built.flatMap(({ output }) => output).map(({ fileName, code }) => [fileName, code]));
});
after(async () => {
  await browser?.close();
  await hub?.stop();
});

let context;
let proxy;
beforeEach(async () => {
  context = await newContext(browser, []);
  proxy = await FaultyProxy.listen(hub.url);
  proxy.upgrade = "refuse";
});
afterEach(async () => {
  await context.close();
  await proxy.close();
});

/** A tab that follows a session of its own by the built client, as an application would. */
async function openTab() {
  const { sessionId } = await api.createSession({ provider: "demo", workingDirectory: hub.workspace });
  const page = await context.newPage();
  const tab = { page, sessionId, opened: 0 };
  page.on("request", (request) => (tab.opened += new URL(request.url()).pathname === "/api/events" ? 1 : 0));
  // The page is the hub's own: a browser lets no page that comes from nowhere open a WebSocket to this machine.
  await page.route("**/tab/*", (route) => {
    const code = modules.get(new URL(route.request().url()).pathname.slice("/tab/".length));
    return route.fulfill({ contentType: "text/javascript", body: code });
  });
  await page.goto(`${proxy.url}/`);
  await page.evaluate(async (id) => {
    const { connectHub } = await import("/tab/hub.js");
    const seen = { seqs: [], turns: 0 };
    const shared = connectHub({
      baseUrl: location.origin,
      hiddenMs: 200,
    });
    const stream = shared.follow({
      sessionId: id,
      onEvent: (event) => {
        seen.seqs.push(event.seq);
        if (event.type === "complete") seen.turns++;
      },
    });
    Object.assign(globalThis, { shared, stream, seen });
  }, sessionId);
  return tab;
}

const isLive = ({ page }) => page.waitForFunction(() => globalThis.stream.state.phase === "live");
const turns = ({ page }, count) => page.waitForFunction((least) => globalThis.seen.turns >= least, count);
const say = ({ page }, text) => page.evaluate((content) => globalThis.stream.sendMessage(content).then(() => {}), text);
/** Every event once, in order, up to the end of the log. */
async function assertWhole({ page, sessionId }) {
  await page.waitForFunction((last) => globalThis.seen.seqs.length >= last, (await api.getSession(sessionId)).lastSeq);
  const seqs = await page.evaluate(() => globalThis.seen.seqs);
  assert.deepEqual(
    seqs,
    seqs.map((_, index) => index + 1),
  );
}
/** How many tabs have a place for a stream. */
const held = ([{ page }]) => page.evaluate(async () => (await navigator.locks.query()).held.length);
async function until(what, condition) {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
const show = ({ page }, hidden) =>
  page.evaluate((now) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => now });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);

test("eight tabs where WebSockets are blocked are all live, and all answer", async () => {
  const all = [];
  for (let index = 0; index < tabs; index++) all.push(await openTab());
  await Promise.all(all.map(isLive));
  for (const round of [1, 2]) {
    await Promise.all(all.map((tab) => say(tab, `hello ${round}`)));
    await Promise.all(all.map((tab) => turns(tab, round)));
  }
  await Promise.all(all.map(assertWhole));
  for (const { page } of all) {
    assert.equal(await page.evaluate(() => globalThis.shared.transport), "sse");
  }
  assert.equal(await held(all), streams);
  const holders = all.filter(({ opened }) => opened === 1);
  assert.ok(holders.length > 1, `${all.map(({ opened }) => opened)} streams were opened`);

  // A tab out of sight gives its stream back, and one that has none takes it.
  await show(holders[0], true);
  await holders[0].page.waitForFunction(() => globalThis.shared.state.phase === "offline");
  await until("another tab takes the place", async () => (await held(all)) === streams);
  await api.sendMessage(holders[0].sessionId, { content: "while nobody looked" });
  await show(holders[0], false);
  await turns(holders[0], 3);
  await assertWhole(holders[0]);

  // A tab that is closed leaves its place to others, too.
  await holders[1].page.close();
  const rest = all.filter((tab) => tab !== holders[1]);
  await Promise.all(rest.map((tab) => say(tab, "still there?")));
  await Promise.all(rest.map((tab) => turns(tab, 3)));
  await Promise.all(rest.map(assertWhole));
});

test("a tab over a WebSocket gives it back while it is out of sight, and has missed nothing when it is seen", async () => {
  proxy.upgrade = "pass";
  const sockets = [];
  context.on("page", (page) => page.on("websocket", (socket) => sockets.push(socket)));
  const tab = await openTab();
  await isLive(tab);
  assert.equal(await tab.page.evaluate(() => globalThis.shared.transport), "websocket");
  await say(tab, "hello");
  await turns(tab, 1);
  await show(tab, true);
  await until("the socket is closed", () => sockets[0].isClosed());
  await api.sendMessage(tab.sessionId, { content: "while nobody looked" });
  await until("the turn is over", async () => (await api.getSession(tab.sessionId)).status === "idle");
  assert.equal(await tab.page.evaluate(() => globalThis.seen.turns), 1);
  assert.equal(sockets.length, 1);
  await show(tab, false);
  await turns(tab, 2);
  await assertWhole(tab);
  assert.equal(sockets.length, 2);
});
