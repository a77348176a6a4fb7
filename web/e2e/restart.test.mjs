// A hub as `make run` starts it, with its sessions on disk, is killed in the middle of a turn and started again:
// the page that is open comes back by itself, whole, and the conversation goes on.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { startBrowser, startHub } from "./hub.mjs";
import { startModel } from "./model.mjs";
import { answerable, live, newContext, newSession, roomyHub, say, status, transcript, turnEnds } from "./page.mjs";

/** What the agents do at these words. `remembers`: it tells its model what was said before. */
const agents = {
  demo: { text: "/stream 40 20 0", thought: "/think first", asks: "/write kept.txt hi", long: "/stream 3000 20 50" },
  codex: {
    text: "say the word is periwinkle",
    thought: "think first",
    asks: "shell echo hi >> kept.txt",
    long: "slow",
    remembers: "the word is periwinkle",
  },
};

let browser;
let folder;
let model;
let providers;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "sessionhub-restart-"));
  const command = process.env.SESSIONHUB_TEST_CODEX_ACP;
  assert.ok(command, "SESSIONHUB_TEST_CODEX_ACP has to name the agent: make test-browser installs it and sets it");
  model = await startModel("codex", folder);
  providers = join(folder, "providers.yaml"); // JSON is YAML
  const codex = { command, env: model.env, mode: "read-only", volatileInput: ["call_id", "turn_id", "started_at_ms"] };
  await writeFile(providers, JSON.stringify({ codex }));
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await model?.stop();
  if (folder) await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

let start;
let hub;
let context;
let complaints;
beforeEach(async () => {
  const data = await mkdtemp(join(folder, "data-"));
  const workspace = await mkdtemp(join(folder, "workspace-"));
  start = (listen) =>
    startHub({ listen, workspace, args: [...roomyHub, "--providers-file", providers, "--data-dir", data] });
  hub = await start();
  complaints = [];
  context = await newContext(browser, complaints);
});
afterEach(async () => {
  await context.close();
  await hub.stop();
});

for (const [name, agent] of Object.entries(agents)) {
  test(`${name}: after kill -9 the page comes back with everything, and the conversation goes on`, async () => {
    const page = await context.newPage();
    page.setDefaultTimeout(60_000); // an agent's start on a busy machine
    await newSession(page, hub, { provider: name, title: `Kept with ${name}` });
    await page.evaluate(() => (window.neverReloaded = true));

    await say(page, agent.text);
    await turnEnds(page, 1);
    await say(page, agent.thought);
    await turnEnds(page, 2);
    await say(page, agent.asks);
    await status(page, "requires_action");
    await answerable(page);
    await page.locator('[data-testid="approval-option"][data-kind="allow_always"]').first().click();
    await turnEnds(page, 3);
    const approvals = page.getByTestId("approval");
    await say(page, agent.asks);
    await turnEnds(page, 4);
    assert.match(await approvals.nth(1).innerText(), /by your rule/);
    const seen = await transcript(page);

    const said = page.getByTestId("answer");
    const before = await said.count();
    await say(page, agent.long);
    await said.nth(before).waitFor();
    await hub.kill();
    await page.locator('[data-testid="connection"]:not([data-state="live"])').waitFor();
    const cut = await said.nth(before).innerText();
    assert.deepEqual((await transcript(page)).slice(0, seen.length), seen, "what was there stays in view");

    hub = await start(new URL(hub.url).host);
    await live(page);
    await turnEnds(page, 5);
    assert.ok(await page.evaluate(() => window.neverReloaded), "it came back by itself");
    const lost = page.getByTestId("complete").nth(4);
    assert.equal(await lost.getAttribute("data-stop-reason"), "error");
    assert.match(await lost.innerText(), /cut off in the middle of its turn/);
    assert.match(await lost.innerText(), /can be sent again/);
    const now = await transcript(page);
    assert.deepEqual(now.slice(0, seen.length), seen);
    const answer = await said.nth(before).innerText();
    assert.ok(answer.startsWith(cut), `what was cut is whole: ${cut} | ${answer}`);
    assert.match(await page.locator(".session h1").innerText(), new RegExp(`Kept with ${name}`));
    await page.locator('[data-testid="session-row"][aria-current="page"]', { hasText: `Kept with ${name}` }).waitFor();

    // The rule still holds, and the agent knows what was before.
    await say(page, agent.asks);
    await turnEnds(page, 6);
    assert.equal(await approvals.count(), 3);
    assert.match(await approvals.nth(2).innerText(), /by your rule/);
    if (agent.remembers) {
      await say(page, "say what was the word");
      await turnEnds(page, 7);
      const asked = (await model.requests())
        .map((body) => JSON.stringify(body))
        .filter((body) => body.includes("what was the word"));
      assert.ok(
        asked.length > 0 && asked.every((body) => body.includes(agent.remembers)),
        "the model is told what was said before",
      );
    }

    // A page that is opened anew shows the same.
    const other = await context.newPage();
    other.setDefaultTimeout(60_000);
    await other.goto(hub.url);
    await other.locator('[data-testid="session-row"]', { hasText: `Kept with ${name}` }).click();
    await live(other);
    await turnEnds(other, agent.remembers ? 7 : 6);
    assert.deepEqual(await transcript(other), await transcript(page));
    assert.deepEqual(
      complaints.filter((complaint) => !/Failed to load resource|WebSocket connection|ERR_/.test(complaint)),
      [],
    );
  });
}
