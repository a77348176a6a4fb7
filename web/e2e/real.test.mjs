// Agents that people use, through the whole path: from a click to the agent's
// process, whose model alone is scripted (internal/testkit/fakemodel), and back.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { startBrowser, startHub } from "./hub.mjs";
import { startModel } from "./model.mjs";
import { answerable, answers, live, newContext, newSession, roomyHub, say, status, turnEnds } from "./page.mjs";

const agents = [
  {
    name: "codex",
    variable: "SESSIONHUB_TEST_CODEX_ACP",
    mode: "read-only",
    volatileInput: ["call_id", "turn_id", "started_at_ms", "reason"],
  },
  { name: "claude", variable: "SESSIONHUB_TEST_CLAUDE_ACP", mode: "default" },
];

let hub;
let browser;
let folder;
const models = [];

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "sessionhub-real-"));
  const providers = {};
  for (const { name, variable, ...provider } of agents) {
    const command = process.env[variable];
    assert.ok(command, `${variable} has to name the agent: make test-browser installs it and sets it`);
    const model = await startModel(name, folder);
    models.push(model);
    providers[name] = { command, env: model.env, ...provider };
  }
  const file = join(folder, "providers.yaml"); // JSON is YAML
  await writeFile(file, JSON.stringify(providers));
  [hub, browser] = await Promise.all([startHub({ args: [...roomyHub, "--providers-file", file] }), startBrowser()]);
});
after(async () => {
  await browser?.close();
  try {
    await hub?.stop();
  } finally {
    // A model that goes on would keep this program, and all that runs after it.
    for (const model of models) await model.stop();
    if (folder) await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
});

for (const { name } of agents) {
  test(`${name} streams, asks by a card that a click answers, and stops, in the dashboard`, async () => {
    const complaints = [];
    const context = await newContext(browser, complaints);
    const page = await context.newPage();
    page.setDefaultTimeout(60_000); // an agent's start on a busy machine
    await newSession(page, hub, { provider: name, title: `A day with ${name}` });

    await say(page, "say it streams word by word");
    await turnEnds(page);
    assert.match(await answers(page), /it streams word by word/);

    const card = page.locator('[data-testid="approval"][data-state="pending"]');
    const ask = async (message, kind, turn) => {
      await say(page, message);
      await card.waitFor();
      await status(page, "requires_action");
      const shown = await card.innerText();
      // A click that waits for a button which is not ready scrolls the page, and what was moved is not ready either.
      await answerable(page);
      await card.locator(`[data-kind="${kind}"]`).first().click();
      await turnEnds(page, turn);
      return shown;
    };
    // What is asked for can be judged by the card, and happens only when it is allowed.
    const file = join(hub.workspace, `${name}.txt`);
    assert.match(await ask(`shell echo refused >> ${name}.txt`, "reject_once", 2), /echo refused/);
    await assert.rejects(readFile(file), { code: "ENOENT" });
    assert.match(await ask(`shell echo allowed >> ${name}.txt`, "allow_once", 3), /echo allowed/);
    assert.equal(await readFile(file, "utf8"), "allowed\n");

    await say(page, "slow");
    await status(page, "running");
    await page.getByTestId("stop").click();
    await turnEnds(page, 4);
    assert.equal(await page.getByTestId("complete").last().getAttribute("data-stop-reason"), "cancelled");

    // The whole of it is there again, and the agent goes on.
    await page.reload();
    await live(page);
    assert.equal(await page.getByTestId("complete").count(), 4);
    await say(page, "say good bye");
    await turnEnds(page, 5);
    assert.match(await answers(page), /good bye/);
    assert.deepEqual(complaints, []);
    await context.close();
  });
}
