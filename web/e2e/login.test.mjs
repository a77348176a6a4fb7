// An agent wants a login: the page shows how, the page to open and the code, and takes what the
// person types. Nothing of it is in the log.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { startBrowser, startHub } from "./hub.mjs";
import { answers, assertAccessible, newContext, newSession, roomyHub, say, status, turnEnds } from "./page.mjs";

const agent = fileURLToPath(new URL("../../internal/testkit/scripted/agent.mjs", import.meta.url));
let folder;
let hub;
let browser;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "sessionhub-login-"));
  const providers = join(folder, "providers.yaml");
  const scripted = {
    command: process.execPath,
    args: [agent],
    mode: "default",
    env: { SCRIPTED_AUTH: "1", SCRIPTED_LOG: join(folder, "agent.log") },
  };
  await writeFile(providers, JSON.stringify({ scripted }));
  hub = await startHub({ args: [...roomyHub, "--providers-file", providers, "--default-provider", "scripted"] });
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await hub?.stop();
  await rm(folder, { recursive: true, force: true });
});

const card = (page) => page.locator('[data-testid="elicitation"][data-state="pending"]');
const send = async (page) => {
  await card(page).locator('[data-option-id="accept"][aria-disabled="false"]').waitFor();
  await card(page).locator('[data-option-id="accept"]').click();
};

test("a person logs the agent in, in its own terminal", async () => {
  const complaints = [];
  const context = await newContext(browser, complaints);
  const page = await context.newPage();
  await newSession(page, hub, { provider: "scripted" });
  await say(page, "echo at last");
  await card(page).getByText("The agent needs a login before it can work.").waitFor();
  await status(page, "requires_action");
  await assertAccessible(page, "a login");
  await card(page).getByText("Log in with the terminal").click();
  await send(page);
  await card(page).getByText("Open this page: https://login.example.org/s3cr3t-page").waitFor();
  await card(page).getByRole("textbox").fill("s3cr3t-answer");
  await send(page);
  await turnEnds(page);
  assert.match(await answers(page), /at last/);
  // What was asked and answered is not there any more, nor after a reload.
  await page.reload();
  await page.getByText("at last").first().waitFor();
  assert.doesNotMatch(await page.locator("body").innerText(), /s3cr3t/);
  await context.close();
  assert.deepEqual(complaints, []);
});
