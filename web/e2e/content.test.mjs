// What is allowed can be read before, however large it is: in numbered hunks,
// or whole after it was opened, and then without holding up the page.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";

import { startBrowser, startHub } from "./hub.mjs";
import { answerable, assertAccessible, newContext, newSession, roomyHub, say, turnEnds } from "./page.mjs";

let hub;
let browser;
let folder;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "sessionhub-content-"));
  const providers = join(folder, "providers.yaml");
  const agent = fileURLToPath(new URL("./asking-agent.mjs", import.meta.url));
  await writeFile(
    providers,
    `asking:\n  command: ${JSON.stringify(process.execPath)}\n  args: [${JSON.stringify(agent)}]\n`,
  );
  hub = await startHub({ args: [...roomyHub, "--providers-file", providers, "--drain-timeout", "1s"] });
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await hub?.stop();
  await rm(folder, { recursive: true, force: true });
});

for (const [form, options] of [
  ["a wide page", { viewport: { width: 1280, height: 800 } }],
  ["a phone", { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true }],
]) {
  test(`one line changed in 9,000 is shown with its number, on ${form}`, async () => {
    const complaints = [];
    const context = await newContext(browser, complaints, options);
    const page = await context.newPage();
    await newSession(page, hub, { provider: "asking" });
    await say(page, "bigdiff");
    await answerable(page);
    const removed = page.locator('.approval .diff-line[data-kind="removed"]');
    assert.equal(await removed.count(), 1);
    assert.match(await removed.textContent(), /^8001.*pkg-8000/);
    assert.match(await page.locator('.approval .diff-line[data-kind="added"]').textContent(), /^8001.*6\.6\.6-evil/);
    await page.locator('[data-testid="approval-option"][data-kind="allow_once"]').click();
    await turnEnds(page);
    assert.deepEqual(complaints, []);
    await context.close();
  });

  test(`a picture of a tool is drawn, on ${form}`, async () => {
    const complaints = [];
    const context = await newContext(browser, complaints, options);
    const page = await context.newPage();
    await newSession(page, hub, { provider: "asking" });
    await say(page, "picture");
    await turnEnds(page);
    await page.getByTestId("tool-call").locator("summary").click();
    const shown = page.getByTestId("tool-picture");
    assert.equal(await shown.evaluate((image) => image.decode().then(() => image.naturalWidth)), 1);
    assert.deepEqual(complaints, []);
    await context.close();
  });

  test(`all of a change that is higher than the view can be read, on ${form}`, async () => {
    const complaints = [];
    const context = await newContext(browser, complaints, options);
    const page = await context.newPage();
    await newSession(page, hub, { provider: "asking" });
    await say(page, "longdiff");
    await answerable(page);
    for (const [part, end] of [
      [".approval-head", "h2"],
      [".approval-body", ".diff-line"],
    ]) {
      const seen = await page.locator(part).evaluate(async (box, ends) => {
        const last = [...box.querySelectorAll(ends)].at(-1);
        for (let frame = 0; frame < 10; frame++) {
          box.scrollTop = box.scrollHeight; // lines that come near are laid out, and may be higher than was thought
          await new Promise(requestAnimationFrame);
        }
        const { left, bottom } = last.getBoundingClientRect();
        return last.contains(document.elementFromPoint(left + 60, bottom - 4));
      }, end);
      assert.ok(seen, `the end of ${part} comes into view`);
    }
    await assertAccessible(page, `a long question on ${form}`);
    await page.locator('[data-testid="approval-option"][data-kind="allow_once"]').click();
    await turnEnds(page);
    assert.deepEqual(complaints, []);
    await context.close();
  });

  test(`a script of 3 MB is allowed only once it was opened, and can be read to its end, on ${form}`, async (t) => {
    const complaints = [];
    const context = await newContext(browser, complaints, options);
    await context.addInitScript(() => {
      window.longest = 0;
      const note = (list) =>
        (window.longest = Math.max(window.longest, ...list.getEntries().map(({ duration }) => duration)));
      new PerformanceObserver(note).observe({ entryTypes: ["longtask"] });
    });
    const page = await context.newPage();
    await newSession(page, hub, { provider: "asking" });
    await say(page, "bigtext");
    const allow = page.locator('[data-testid="approval-option"][data-kind="allow_once"]');
    await answerable(page);
    assert.equal(await allow.isDisabled(), true);
    const boxBefore = await allow.boundingBox();
    await page.keyboard.press("1");
    await page.getByTestId("open-whole").click();
    await page.locator('[data-testid="whole-content"][data-missing="false"]').waitFor();
    await page.locator('[data-testid="approval-option"][data-kind="allow_once"][aria-disabled="false"]').waitFor();
    assert.equal((await allow.boundingBox()).x, boxBefore.x);
    // The last line is made as the view comes near it.
    const last = page.locator(".approval-body").getByText("the last line");
    for (let n = 0; n < 200 && (await last.count()) === 0; n++) {
      await page.locator(".approval-body").evaluate((body) => {
        body.scrollTop = body.scrollHeight;
        return new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
      });
    }
    await last.waitFor({ state: "attached" });
    t.diagnostic(
      `opening and reading it kept the page busy for ${await page.evaluate(() => window.longest)} ms at a time`,
    );
    const { head, answers, view } = await page.evaluate(() => ({
      head: document.querySelector(".approval-head").getBoundingClientRect().top,
      answers: document.querySelector(".approval-answers").getBoundingClientRect().bottom,
      view: document.querySelector(".transcript").getBoundingClientRect(),
    }));
    assert.ok(head >= view.top && answers <= view.bottom, "head and answers stay in view");
    await allow.click();
    await turnEnds(page);
    assert.deepEqual(complaints, []);
    await context.close();
  });
}
