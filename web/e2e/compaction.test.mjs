// What an agent said in many pieces becomes one event while a reader is away, who has a part of them: it is there once,
// whichever form of it came.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { WebSocket } from "ws";

import { connect, HubApi } from "../client/src/index.ts";
import { FaultyProxy } from "../client/test/proxy.ts";
import { startBrowser, startHub } from "./hub.mjs";
import { live, newContext, newSession, roomyHub, say, transcript, turnEnds } from "./page.mjs";

const count = 120;
const half = count / 2;

let hub;
let browser;
let folder;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "sessionhub-compaction-"));
  const providers = join(folder, "providers.yaml"); // JSON is YAML
  const agent = fileURLToPath(new URL("./agent.mjs", import.meta.url));
  await writeFile(providers, JSON.stringify({ scripted: { command: process.execPath, args: [agent] } }));
  hub = await startHub({ args: [...roomyHub, "--providers-file", providers, "--compact-after", "500ms"] });
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await hub?.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
});

/** A message that has the agent say one half of something, and the other half when `goOn` is called. */
let messages = 0;
function inHalves(kind) {
  const file = join(folder, `go-on-${++messages}`);
  return { text: `run ${kind} ${count} ${file}`, goOn: () => writeFile(file, "") };
}

let context;
let proxy;
let complaints;
beforeEach(async () => {
  complaints = [];
  context = await newContext(browser, complaints);
  proxy = await FaultyProxy.listen(hub.url);
});
afterEach(async () => {
  await context.close();
  await proxy.close();
  assert.deepEqual(
    complaints.filter((complaint) => !/Failed to load resource|WebSocket connection|ERR_/.test(complaint)),
    [],
  );
});

const sessionOf = (page) => decodeURIComponent(/#\/s\/([^/]+)/.exec(page.url())[1]);

async function history(sessionId) {
  const events = [];
  for (let after = "0"; after !== undefined; ) {
    const page = await (await fetch(`${hub.url}/api/sessions/${sessionId}/history?after=${after}`)).json();
    events.push(...page.events);
    after = page.nextAfter;
  }
  return events;
}

/** Waits until all that the nth turn said is one event. */
async function compacted(sessionId, turn) {
  for (const end = Date.now() + 30_000; ; ) {
    const events = await history(sessionId);
    const ends = events.filter(({ type }) => type === "complete");
    if (ends.length === turn) {
      const said = events.filter(
        ({ type, data }) => data.messageId === ends[turn - 1].data.messageId && ["output", "tool_call"].includes(type),
      );
      if (said.length === 1 && said[0].seq - said[0].from === count - 1) return said[0];
    }
    assert.ok(Date.now() < end, `turn ${turn} is not compacted: ${JSON.stringify(events.slice(-3))}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const numbers = Array.from({ length: count }, (_, n) => n + 1);
const kinds = {
  text: { testId: "answer", whole: numbers.join(" "), pieces: (text) => text.trim().split(/\s+/).length },
  thought: {
    testId: "thought",
    whole: `Thought ${numbers.join(" ")}`,
    pieces: (text) => text.trim().split(/\s+/).length - 1,
  },
  tool: { testId: "tool-call", pieces: (text) => Number(/reached\s+(\d+)/.exec(text)?.[1]) },
};

for (const transport of ["websocket", "sse"]) {
  test(`a connection that is cut in the middle of a run, over ${transport}: the run is shown once`, async () => {
    if (transport === "sse") proxy.upgrade = "refuse";
    const page = await context.newPage();
    await newSession(page, hub, { url: proxy.url, provider: "scripted" });
    const sessionId = sessionOf(page);
    let turn = 0;
    // The last one comes behind others that are compacted already.
    for (const [kind, { testId, whole, pieces }] of [...Object.entries(kinds), ["text", kinds.text]]) {
      turn++;
      const items = page.getByTestId(testId);
      const before = await items.count();
      const { text: message, goOn } = inHalves(kind);
      await say(page, message);
      const item = items.nth(before);
      await item.waitFor();
      const text = async () => {
        await transcript(page); // unfolds it
        return (await item.innerText()).replace(/\s+/g, " ").trim();
      };
      while (pieces(await text()) !== half) await new Promise((resolve) => setTimeout(resolve, 20));
      proxy.down = true;
      proxy.cutAll();
      await page.locator('[data-testid="connection"]:not([data-state="live"])').waitFor();
      await goOn();
      await compacted(sessionId, turn);
      proxy.down = false;
      // As a person does who does not want to wait.
      // In one task: the page may come back by itself meanwhile, and then the button is gone.
      await page.getByRole("button", { name: "Retry now" }).evaluateAll((all) => {
        for (const retry of all) retry.click();
      });
      await live(page);
      await turnEnds(page, turn);
      assert.equal(await page.getByTestId("connection").getAttribute("data-transport"), transport);
      assert.equal(await items.count(), before + 1, "one item");
      assert.equal(pieces(await text()), count);
      if (whole) assert.equal(await text(), whole);
      else assert.match(await text(), /Count in run \d+/);
    }
    const other = await context.newPage();
    await other.goto(page.url());
    await live(other);
    await turnEnds(other, turn);
    // Times of day stand only where they are the same.
    assert.deepEqual(await transcript(other), await transcript(page));
  });
}

test("a page out of sight, which reads page by page, shows a run once", async () => {
  proxy.upgrade = "refuse";
  const page = await context.newPage();
  await page.addInitScript(() => {
    Object.defineProperty(document, "hidden", { get: () => window.unseen === true });
    window.show = (seen) => {
      window.unseen = !seen;
      document.dispatchEvent(new Event("visibilitychange"));
    };
  });
  const within = [];
  page.on("response", async (response) => {
    const asked = /history\?.*after=[^&]*?-(\d+)/.exec(response.url());
    if (!asked) return;
    const { events } = await response.json();
    if (events[0]?.from <= Number(asked[1])) within.push(events[0]);
  });
  await newSession(page, hub, { url: proxy.url, provider: "scripted" });
  await page.evaluate(() => window.show(false));
  for (let turn = 1; within.length === 0; turn++) {
    assert.ok(turn < 8, "it never stood within a run");
    const { text, goOn } = inHalves("text");
    await say(page, text);
    // The next page comes five seconds behind this one, when the run is compacted.
    const answer = page.getByTestId("answer").nth(turn - 1);
    await answer.filter({ hasText: new RegExp(`\\b${half}\\s*$`) }).waitFor();
    await goOn();
    await compacted(sessionOf(page), turn);
    await turnEnds(page, turn);
    assert.equal((await answer.innerText()).trim(), numbers.join(" "));
  }
});

for (const transport of ["websocket", "sse"]) {
  test(`the client's own ${transport} stream: an event with a from takes the place of its pieces`, async (t) => {
    const api = new HubApi({ baseUrl: hub.url });
    const made = await api.createSession({ provider: "scripted", workingDirectory: hub.workspace });
    const events = [];
    const stream = connect({
      ...made,
      baseUrl: proxy.url,
      transport,
      webSocket: WebSocket,
      backoff: { baseMs: 50, maxMs: 200 },
      onEvent: (event) => events.push(event),
    });
    t.after(() => stream.close());
    const until = async (what, condition) => {
      for (const end = Date.now() + 30_000; !condition(); ) {
        assert.ok(Date.now() < end, `waited in vain for: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    };
    const { text, goOn } = inHalves("text");
    await stream.sendMessage(text);
    await until("a half", () => events.filter(({ type }) => type === "output").length === half);
    proxy.down = true;
    proxy.cutAll();
    await goOn();
    const run = await compacted(made.sessionId, 1);
    const seen = events.at(-1).seq;
    assert.ok(run.from <= seen && seen < run.seq, `cut at ${seen}, within ${run.from} to ${run.seq}`);
    proxy.down = false;
    await until("idle again", () => events.at(-1).type === "status" && events.at(-1).data.status === "idle");
    const log = [];
    for (const event of events) {
      while (log.length > 0 && log.at(-1).seq >= (event.from ?? event.seq)) log.pop();
      log.push(event);
    }
    assert.deepEqual(log, await history(made.sessionId));
    assert.equal(run.data.text.trim(), numbers.join(" "));
  });
}
