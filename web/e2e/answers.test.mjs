// Nobody approves what they have not seen. Questions come, change and go at
// random, while clicks, taps and keys fall at random; an oracle in the page,
// which knows nothing of the dashboard's own rule, says which of them may answer
// and which have to. What has to is known by the frames of a page that is not busy:
// a refusal of it fails `make test-load`, and is only told by `make test`.
// ANSWERS_SEED repeats a run's choices, ANSWERS_SECONDS makes it longer.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";

import { installOracle } from "./answer-oracle.mjs";
import { startBrowser, startHub } from "./hub.mjs";
import { newContext, newSession, roomyHub, say } from "./page.mjs";
import { randomNumbers } from "./random.mjs";

const seconds = Number(process.env.ANSWERS_SECONDS ?? 12);
const seed = Number(process.env.ANSWERS_SEED ?? Math.floor(Math.random() * 2 ** 31));
/** A run has judged something once it saw so many acts taken, and so many not. */
const enough = 8;
const maxRounds = 6;
const judgesTime = Boolean(process.env.SESSIONHUB_TEST_LOAD);

let hub;
let browser;
let folder;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "sessionhub-answers-"));
  const providers = join(folder, "providers.yaml");
  const agent = fileURLToPath(new URL("./asking-agent.mjs", import.meta.url));
  await writeFile(
    providers,
    `asking:\n  command: ${JSON.stringify(process.execPath)}\n  args: [${JSON.stringify(agent)}]\n`,
  );
  hub = await startHub({
    args: [...roomyHub, "--providers-file", providers, "--approval-timeout", "8s", "--drain-timeout", "1s"],
  });
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await hub?.stop();
  await rm(folder, { recursive: true, force: true });
});

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** What a hand may do. Each falls where it falls: whether it may answer is the oracle's business. */
function hands(page, random, { width, height, touch, sessionId }) {
  const place = async (selector) => {
    const boxes = await page
      .locator(selector)
      .evaluateAll((all) =>
        all
          .map((one) => one.getBoundingClientRect())
          .map(({ x, y, width: w, height: h }) => ({ x: x + w / 2, y: y + h / 2 })),
      );
    const inside = boxes.filter(({ x, y }) => x > 0 && y > 0 && x < width && y < height);
    return inside.length > 0 ? random.of(inside) : undefined;
  };
  const option = () => place('[data-testid="approval"][data-state="pending"] button[data-option-id]');
  const press = async (at, clicks = 1) => {
    if (!at) return;
    if (touch) for (let n = 0; n < clicks; n++) await page.touchscreen.tap(at.x, at.y);
    else {
      await page.mouse.move(at.x, at.y);
      for (let n = 1; n <= clicks; n++) await page.mouse.click(at.x, at.y, { clickCount: n });
    }
  };
  const focus = () =>
    page.evaluate((n) => {
      const all = document.querySelectorAll('[data-testid="approval"][data-state="pending"]');
      all[n % all.length]?.focus({ preventScroll: true });
    }, random.int(4));
  const digit = () => String(random.int(4) + 1);
  const resolveElsewhere = async () => {
    const answer = await fetch(`${hub.url}/api/sessions/${sessionId}/approvals`);
    const { approvals } = await answer.json();
    if (approvals.length === 0) return;
    const { interactionId, options } = random.of(approvals);
    await fetch(`${hub.url}/api/sessions/${sessionId}/approve`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ interactionId, optionId: random.of(options).optionId }),
    });
  };
  const acts = {
    /** A person who reads first. */
    async deliberate() {
      const inView = () => page.evaluate(() => window.oracle.answersInView());
      let all = await inView();
      if (all.length === 0) {
        await press(await place('[data-testid="pending-notice"] button'));
        await pause(50);
        all = await inView();
      }
      const at = random.of(all);
      if (!at) return;
      if (!touch) await page.mouse.move(at.x, at.y);
      await pause(580 + random.int(300));
      if (random.int(2) === 0) await press(at);
      else {
        await focus();
        await pause(100);
        await page.keyboard.press(random.of(["1", "2", "Alt+1"]));
      }
    },
    click: async () => press(await option()),
    double: async () => press(await option(), 2),
    anywhere: () => press({ x: random.int(width), y: random.int(height) }),
    async rest() {
      if (touch) return;
      const at = await option();
      if (at) await page.mouse.move(at.x, at.y);
      await pause(300 + random.int(900));
      if (at) await page.mouse.click(at.x, at.y);
    },
    async keys() {
      if (random.int(2) === 0) await focus();
      await page.keyboard.press(digit());
      if (random.int(2) === 0) await page.keyboard.press(digit());
    },
    async held() {
      await focus();
      const key = random.of([digit(), "Enter"]);
      for (let n = 0; n < 6; n++) {
        await page.keyboard.down(key);
        await pause(120);
      }
      await page.keyboard.up(key);
    },
    async tab() {
      for (let n = random.int(4); n >= 0; n--) await page.keyboard.press("Tab");
      // Not on a link or a menu: this is about questions.
      const within = await page.evaluate(() => document.activeElement?.closest('[data-testid="approval"]') !== null);
      await page.keyboard.press(within ? random.of(["Enter", "Space", digit()]) : digit());
    },
    /** As a screen reader does it: without a pointer or a key. */
    activate: () =>
      page.evaluate((n) => {
        const all = document.querySelectorAll('[data-testid="approval"][data-state="pending"] button[data-option-id]');
        all[n % all.length]?.click();
      }, random.int(16)),
    async emptySpace() {
      const view = await page.getByTestId("transcript").boundingBox();
      await press({ x: view.x + 3, y: view.y + random.int(view.height) });
      await page.keyboard.press(digit());
    },
    async scroll() {
      await page.mouse.wheel(0, random.int(1_200) - 600);
      if (random.int(2) === 0) await press(await option());
    },
    async resize() {
      await page.setViewportSize({ width: width - random.int(120), height: height - random.int(260) });
      if (random.int(2) === 0) await press(await option());
      await page.setViewportSize({ width, height });
    },
    async menu() {
      await press(await place('[data-testid="more"], [data-testid="pending-notice"] button, .to-end'));
      await press(await option());
    },
    async typing() {
      await page.getByTestId("message-box").focus();
      await page.keyboard.type(random.of(["1", "12", "a\n"].slice(0, 2)));
      await page.keyboard.press(`Alt+${digit()}`);
      await page.getByTestId("message-box").fill("");
    },
    resolveElsewhere,
    async resolveThenClick() {
      const at = await option();
      if (at && !touch) await page.mouse.move(at.x, at.y);
      await pause(500);
      await Promise.all([resolveElsewhere(), pause(random.int(80)).then(() => press(at))]);
    },
    wait: () => pause(random.int(700)),
  };
  const names = [...Object.keys(acts), ...Array(6).fill("deliberate"), "click", "rest"];
  return () => acts[random.of(names)]();
}

test("an answer is taken that falls between a change around its question and the next frame", async () => {
  const complaints = [];
  const context = await newContext(browser, complaints, { viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  await newSession(page, hub, { provider: "asking" });
  await say(page, "one");
  const open = page.locator('[data-testid="approval"][data-state="pending"]');
  const answer = open.locator('button[data-option-id][aria-disabled="false"]').first();
  await answer.waitFor();
  // One task: no frame lies between what comes above the question and the act.
  const id = await answer.evaluate((button) => {
    const card = button.closest('[data-testid="approval"]');
    const room = document.createElement("div");
    room.style.height = "2000px";
    card.closest('[data-testid="transcript"] .column').firstElementChild.after(room);
    button.click();
    return card.dataset.interactionId;
  });
  await page.locator(`[data-interaction-id="${id}"][data-state="selected"]`).waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

for (const [form, options] of [
  ["with mouse and keys", { viewport: { width: 1280, height: 800 } }],
  ["on a phone", { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true }],
]) {
  test(`an answer goes only to a question that was in view, ${form}`, async (t) => {
    const complaints = [];
    const context = await newContext(browser, complaints, options);
    await context.addInitScript(installOracle);
    const page = await context.newPage();
    await newSession(page, hub, { provider: "asking" });
    const sessionId = decodeURIComponent(/#\/s\/([^/]+)/.exec(page.url())[1]);
    const act = hands(page, randomNumbers(seed), { ...options.viewport, touch: options.hasTouch, sessionId });
    let found;
    for (let round = 0; round < maxRounds; round++) {
      // Who sends a message wants to see the end: what moves then is moved on purpose.
      if (!options.hasTouch) await page.mouse.move(1, 1);
      await say(page, `ask ${seed + round} ${seconds}`);
      for (const end = Date.now() + 1000 * seconds; Date.now() < end; ) {
        await act();
        // Some click led elsewhere: to another page, or into a dialog.
        await page.keyboard.press("Escape");
        if (!page.url().includes(sessionId)) await page.goBack();
        const bad = await page.evaluate(() => window.oracle.bad);
        assert.equal(bad.join("\n"), "", `ANSWERS_SEED=${seed}`);
      }
      found = await page.evaluate(() => ({ ...window.oracle, answersInView: undefined }));
      if (found.due >= enough && found.early >= enough) break;
      await page.getByTestId("message-box").waitFor();
    }
    t.diagnostic(
      `ANSWERS_SEED=${seed} ${form}: ${found.taken} answers taken, ${found.due} of them had to be; not taken: ${found.early} not read for 500 ms, ` +
        `${found.second} right after another, ${found.repeated} repetitions of a held key, ${found.unfocused} keys without a question`,
    );
    const refused = found.dueRefused.join("\n");
    if (judgesTime) assert.equal(refused, "", `ANSWERS_SEED=${seed}`);
    else if (refused) t.diagnostic(refused);
    assert.ok(found.due >= enough && found.early >= enough, "the run judged too little to say anything");
    assert.deepEqual(
      complaints.filter((complaint) => !/Failed to load resource/.test(complaint)),
      [],
    );
    await context.close();
  });
}
