// Agents that say much, and agents that mean harm.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";

import { startBrowser, startHub } from "./hub.mjs";
import { answerable, live, newContext, newSession, roomyHub, say, status, turnEnds } from "./page.mjs";

let hub;
let browser;
let folder;
const complaints = [];

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "sessionhub-agents-"));
  const providers = join(folder, "providers.yaml");
  const agent = fileURLToPath(new URL("./agent.mjs", import.meta.url));
  await writeFile(
    providers,
    `scripted:\n  command: ${JSON.stringify(process.execPath)}\n  args: [${JSON.stringify(agent)}]\n`,
  );
  hub = await startHub({ args: [...roomyHub, "--providers-file", providers] });
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await hub?.stop();
  await rm(folder, { recursive: true, force: true });
});

test("HTML and scripts in all that an agent can name are shown as text, and do nothing", async () => {
  const context = await newContext(browser, complaints);
  const page = await context.newPage();
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  await newSession(page, hub, { provider: "scripted", title: "<img src=x onerror=window.hit='title'>" });
  await say(page, "attack");
  const card = page.locator('[data-testid="approval"][data-state="pending"]');
  await card.waitFor();
  for (const summary of await page.getByTestId("transcript").locator("details > summary").all()) await summary.click();
  const inert = async () => {
    assert.equal(await page.evaluate(() => window.hit), undefined);
    const transcript = page.getByTestId("transcript");
    assert.equal(
      await transcript.locator("img, script, iframe, svg, [onerror], [onload], [href^='javascript:' i]").count(),
      0,
    );
    assert.equal(await page.locator(".sidebar img").count(), 0);
  };
  await inert();
  for (const testId of ["answer", "thought", "plan", "tool-call"]) {
    assert.match(await page.getByTestId(testId).first().textContent(), /<img src=x/, testId);
  }
  await page.getByTestId("search").click();
  await page.getByTestId("search-box").fill("<img");
  await page.waitForFunction(() => /^1 of/.test(document.querySelector('[data-testid="search-count"]').textContent));
  // The match comes into sight, and with the next frame the way back to the end, which would slip under a click.
  await page.waitForFunction(() => CSS.highlights.has("found"));
  await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
  await card.scrollIntoViewIfNeeded();
  await answerable(page);
  await card.locator('[data-kind="allow_once"]').click();
  await turnEnds(page);
  await inert();
  assert.deepEqual(
    asked.filter((url) => !url.startsWith(hub.url)),
    [],
    "nothing was loaded from elsewhere",
  );
  assert.deepEqual(complaints, []);
  await context.close();
});

// How long the page is busy without a break is measured by the browser (long tasks).
test("the notice of an approval out of sight moves nothing, and a long answer can be read", async () => {
  const context = await newContext(browser, complaints);
  const page = await context.newPage();
  await newSession(page, hub, { provider: "scripted" });
  await say(page, "attack");
  const card = page.locator('[data-testid="approval"][data-state="pending"]');
  const option = card.locator('[data-kind="allow_once"]');
  await option.waitFor();
  for (const summary of await page.getByTestId("transcript").locator("details > summary").all()) await summary.click();
  const fits = () =>
    option.evaluate(
      (button) => button.getBoundingClientRect().right <= button.closest("section").getBoundingClientRect().right,
    );
  assert.ok(await fits(), "the answer ends within its card");
  const transcript = page.getByTestId("transcript");
  const room = () => transcript.evaluate((view) => view.clientHeight);
  await card.scrollIntoViewIfNeeded();
  const notice = page.getByTestId("pending-notice");
  await notice.waitFor({ state: "detached" });
  const before = await room();
  await transcript.evaluate((view) => view.scrollTo(0, 0));
  await notice.waitFor();
  assert.equal(await room(), before, "its room is kept");
  await notice.getByRole("button").click();
  await notice.waitFor({ state: "detached" });
  assert.ok(await option.evaluate((button) => button === document.activeElement));
  await answerable(page);
  await option.press("Enter");
  await turnEnds(page);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("20,000 events, and then 200 a second, leave the page smooth", async (t) => {
  const context = await newContext(browser, complaints);
  await context.addInitScript(() => {
    window.longTasks = [];
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) window.longTasks.push(Math.round(entry.duration));
    }).observe({ entryTypes: ["longtask"] });
  });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  await newSession(page, hub, { provider: "scripted" });
  await say(page, "20000 0");
  await turnEnds(page);
  const measure = async (name) => {
    const tasks = (await page.evaluate(() => window.longTasks.splice(0))).sort((a, b) => b - a);
    const sum = tasks.reduce((total, ms) => total + ms, 0);
    t.diagnostic(
      `${name}: ${tasks.length} long tasks, ${sum} ms in all, the longest ${tasks.slice(0, 3).join(", ")} ms`,
    );
    return { longest: tasks[0] ?? 0, sum };
  };
  const first = await measure("20,000 events as fast as they come");
  // On a machine with nothing else to do, about 100 ms each. The bounds leave room for one that has.
  assert.ok(first.longest < 2_000, `the page hung for ${first.longest} ms while they came`);

  await page.reload();
  await live(page);
  await page.getByTestId("complete").waitFor();
  const replay = await measure("their replay");
  assert.ok(replay.longest < 2_000, `the page hung for ${replay.longest} ms while they were replayed`);
  // Most of the transcript is not in the page.
  const drawn = await page.locator("[data-item]").count();
  assert.ok(drawn < 1_000, `${drawn} items are drawn`);

  // CPU time of the page's main thread: what others take of the processor is not in it.
  const devtools = await context.newCDPSession(page);
  await devtools.send("Performance.enable");
  const cpu = async () =>
    (await devtools.send("Performance.getMetrics")).metrics.find(({ name }) => name === "ThreadTime").value;
  const began = await cpu();
  await say(page, "1000 200");
  await status(page, "running");
  await status(page, "idle");
  const seconds = (await cpu()) - began;
  const streaming = await measure(`1,000 events in 5 s on top, ${seconds.toFixed(2)} s of CPU`);
  assert.ok(streaming.longest < 1_000, `the page hung for ${streaming.longest} ms in mid-stream`);
  assert.ok(seconds < 2.5, `1,000 events in 5 s took ${seconds} s of the page's CPU`);

  // From end to end of it, and back: what comes into sight is drawn, and in order.
  const scroll = (top) =>
    page.getByTestId("transcript").evaluate((view, to) => view.scrollTo(0, to < 0 ? view.scrollHeight : to), top);
  await scroll(0);
  await page.getByText("Read part 0", { exact: true }).waitFor();
  await scroll(-1);
  await page.getByText("Part 999 is").waitFor();
  await page.getByTestId("search").click();
  await page.getByTestId("search-box").fill("Read part 10004");
  await page.getByText("Read part 10004", { exact: true }).waitFor();
  await measure("scrolling and searching");
  assert.deepEqual(complaints, []);
  await context.close();
});
