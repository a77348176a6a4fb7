// What the browser tests do with the dashboard's pages.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { after, afterEach, before, beforeEach } from "node:test";

import { startBrowser, startHub } from "./hub.mjs";

/** Limits of a hub on which tests run one after the other: each needs an agent, and an idle one keeps its place. */
export const roomyHub = [
  "--log-max-events",
  "40000",
  "--log-max-bytes",
  "64MiB",
  "--worker-capacity",
  "32",
  "--rate-sessions",
  "1000/s:1000",
  "--rate-messages",
  "1000/s:1000",
];

/**
 * A browser context whose pages report what they complain about: errors, and
 * violations of the content security policy.
 */
export async function newContext(browser, complaints, options = {}) {
  const made = await browser.newContext({ viewport: { width: 1200, height: 800 }, ...options });
  made.setDefaultTimeout(15_000);
  await made.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      console.error(`CSP violation: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  made.on("page", (page) => {
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(String(error)));
  });
  return made;
}

/**
 * What the tests of one file share: a hub and a browser for all of them, and for each test a context and what its
 * pages complained about. A test fails on complaints that `allowed` does not match. To be called outside of tests;
 * the fields are set while a test runs.
 */
export function newStage({ args = roomyHub } = {}) {
  const stage = { hub: undefined, browser: undefined, context: undefined, complaints: [], allowed: undefined };
  before(async () => {
    [stage.hub, stage.browser] = await Promise.all([startHub({ args }), startBrowser()]);
  });
  after(async () => {
    await stage.browser?.close();
    await stage.hub?.stop();
  });
  beforeEach(async () => {
    stage.complaints = [];
    stage.allowed = undefined;
    stage.context = await newContext(stage.browser, stage.complaints);
  });
  afterEach(async () => {
    await stage.context.close();
    const rest = stage.complaints.filter((complaint) => !stage.allowed?.test(complaint));
    assert.deepEqual(rest, [], "a page complained");
  });
  return stage;
}

/** Makes a session by clicking, and waits until its stream is live. */
export async function newSession(page, hub, { title, provider = "demo", url = hub.url } = {}) {
  await page.goto(url);
  await page.getByTestId("new-session").click();
  await page.getByTestId("provider").selectOption(provider);
  await page.getByTestId("workdir").fill(hub.workspace);
  if (title) await page.getByTestId("title").fill(title);
  await page.getByTestId("create").click();
  await live(page);
}

export const live = (page) => page.locator('[data-testid="connection"][data-state="live"]').waitFor();

export const status = (page, name) => page.locator(`[data-testid="status"][data-status="${name}"]`).waitFor();

/** Waits until an answer would be taken: its question has been in view for long enough. */
export const answerable = (page) =>
  page.locator('[data-testid="approval-option"][aria-disabled="false"]').first().waitFor();

export async function say(page, text) {
  await page.getByTestId("message-box").fill(text);
  await page.getByTestId("message-box").press("Enter");
}

/** Waits for the nth turn's end. */
export async function turnEnds(page, count = 1) {
  await page
    .getByTestId("complete")
    .nth(count - 1)
    .waitFor();
  await status(page, "idle");
}

export async function answers(page) {
  return (await page.getByTestId("answer").allTextContents()).join("");
}

/** The transcript as people see it, from the beginning; what is folded is unfolded. */
export async function transcript(page) {
  await page.evaluate(() => {
    for (const fold of document.querySelectorAll("[data-testid=transcript] details:not([open])")) fold.open = true;
  });
  return page
    .locator('[data-testid="transcript"] [data-item]')
    .evaluateAll((items) => items.map((item) => item.innerText.replace(/\s+/g, " ").trim()));
}

/** Asserts that the pieces of the demo agent's stream are there, each once, in order. */
export function assertPieces(text, count) {
  const indices = [...text.matchAll(/(\d+) (?=\D)/g)].map(([, index]) => Number(index));
  const first = indices[0];
  assert.ok(first === 0 || first === 1, `the stream begins with ${text.slice(0, 80)}`);
  assert.deepEqual(
    indices,
    Array.from({ length: count }, (_, index) => first + index),
  );
}

let axe;

/** Asserts that axe finds nothing serious on the page as it is now. */
export async function assertAccessible(page, where) {
  axe ??= await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  // Evaluated by the debugger, which the page's policy does not bind.
  await page.evaluate(axe);
  const findings = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(
        ({ id, nodes }) =>
          `${id}: ${nodes.map((node) => `${node.html.slice(0, 160)} [${node.any[0]?.message ?? ""}]`).join(" | ")}`,
      );
  });
  assert.deepEqual(findings, [], `axe on ${where}`);
}
