// A session that an agent has from elsewhere is taken up, and one is forked.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";

import { startBrowser, startHub } from "./hub.mjs";
import { assertAccessible, newContext, roomyHub, say, status } from "./page.mjs";

const agent = fileURLToPath(new URL("../../internal/testkit/scripted/agent.mjs", import.meta.url));
let home;
let hub;
let browser;
let context;
let complaints;

before(async () => {
  home = await mkdtemp(join(tmpdir(), "sessionhub-takeup-"));
  const env = { SCRIPTED_KEPT: "some:2:0", SCRIPTED_LOG: join(home, "agent.log") };
  const providers = join(home, "providers.yaml");
  await writeFile(providers, JSON.stringify({ scripted: { command: process.execPath, args: [agent], env } }));
  [hub, browser] = await Promise.all([
    startHub({ args: [...roomyHub, "--providers-file", providers, "--default-provider", "scripted"] }),
    startBrowser(),
  ]);
});
after(async () => {
  await browser?.close();
  await hub?.stop();
  await rm(home, { recursive: true, force: true });
});
beforeEach(async () => {
  complaints = [];
  context = await newContext(browser, complaints);
});
afterEach(async () => {
  await context.close();
  assert.deepEqual(complaints, [], "a page complained");
});

const shows = (page, text) => page.getByText(text).first().waitFor();

test("a session of the agent is chosen in the form, and its history is there before a message", async () => {
  const page = await context.newPage();
  await page.goto(`${hub.url}/#/new`);
  await page.getByTestId("provider").selectOption("scripted");
  await page.getByTestId("take-up").click();
  await page.getByTestId("take-up-choice").nth(1).check();
  await assertAccessible(page, "the form with the agent's sessions");
  await page.getByTestId("create").click();
  await shows(page, "question 1");
  await shows(page, "answer 1.0");
  assert.equal(await page.getByTestId("queue").count(), 0, "nothing of the history waits");
  await say(page, "echo");
  await shows(page, "blocks=");
  await status(page, "idle");

  // It goes another way from here.
  const original = page.url();
  await page.getByTestId("more").click();
  await page.getByTestId("fork").click();
  await page.waitForURL((url) => url.href !== original);
  await shows(page, "answer 1.0");
  await shows(page, "blocks=");
});
