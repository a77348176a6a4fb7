// The first minutes: an agent in PATH and a key in the environment, and nothing written.
import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, delimiter, join } from "node:path";
import { after, before, test } from "node:test";

import { startBrowser, startHub } from "./hub.mjs";
import { startModel } from "./model.mjs";
import { answerable, answers, assertAccessible, live, newContext, say, status, turnEnds } from "./page.mjs";

let browser;
let folder;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "sessionhub-start-"));
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  if (folder) await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

/** A hub with its defaults, with the programs in front of its PATH. */
async function startDefaultHub(programs, env = {}) {
  const bin = await mkdtemp(join(folder, "bin-"));
  for (const program of programs) await symlink(program, join(bin, basename(program)));
  return startHub({
    env: { SESSIONHUB_DISCOVER_AGENTS: "auto", PATH: bin + delimiter + process.env.PATH, ...env },
  });
}

test("codex in PATH and a key: the page offers it first, it asks, and a click answers it", async (t) => {
  const command = process.env.SESSIONHUB_TEST_CODEX_ACP;
  assert.ok(command, "SESSIONHUB_TEST_CODEX_ACP has to name codex-acp: make test-browser installs it and sets it");
  const model = await startModel("codex", folder);
  // Codex's own provider at another address: it wants a key of OpenAI's.
  const config = join(model.env.CODEX_HOME, "config.toml");
  const [, address] = /^base_url = (.*)$/m.exec(await readFile(config, "utf8"));
  await writeFile(
    config,
    `model = "gpt-5.2"\nopenai_base_url = ${address}\ncheck_for_update_on_startup = false\n[analytics]\nenabled = false\n`,
  );
  const began = performance.now();
  const seconds = () => ((performance.now() - began) / 1000).toFixed(1);
  const { CODEX_HOME, HOME, NO_PROXY } = model.env;
  const hub = await startDefaultHub([command], {
    CODEX_HOME,
    HOME,
    NO_PROXY,
    OPENAI_API_KEY: "sk-of-a-test",
    CODEX_API_KEY: "",
  });
  try {
    const complaints = [];
    const context = await newContext(browser, complaints);
    const page = await context.newPage();
    page.setDefaultTimeout(60_000); // an agent's start on a busy machine
    const asked = [];
    page.on("request", (request) => asked.push(request.url()));
    await page.goto(hub.url);
    await page.getByTestId("new-session").click();
    const about = page.getByTestId("agent-about");
    await about.getByText("OpenAI's coding agent.").waitFor();
    assert.equal(await page.getByTestId("provider").inputValue(), "codex");
    assert.ok(await about.locator("img").evaluate((img) => img.decode().then(() => img.naturalWidth > 0)));
    assert.equal(await page.getByTestId("add-agent").count(), 0);
    await assertAccessible(page, "the form of a new session");
    await page.getByTestId("create").click();
    await live(page);
    await say(page, "say it is here");
    await turnEnds(page);
    assert.match(await answers(page), /it is here/);
    t.diagnostic(`from the hub's start to the first answer: ${seconds()} s`);
    await say(page, "shell echo allowed >> first.txt");
    const card = page.locator('[data-testid="approval"][data-state="pending"]');
    await card.waitFor();
    await status(page, "requires_action");
    await answerable(page);
    await card.locator('[data-kind="allow_once"]').first().click();
    await turnEnds(page, 2);
    assert.equal(await readFile(join(hub.workspace, "first.txt"), "utf8"), "allowed\n");
    t.diagnostic(`and to the end of a turn that asked: ${seconds()} s`);
    assert.deepEqual(
      asked.filter((url) => !url.startsWith(hub.url) && !url.startsWith("data:")),
      [],
      "nothing was loaded from elsewhere",
    );
    assert.deepEqual(complaints, []);
    await context.close();
  } finally {
    await hub.stop();
    await model.stop();
  }
});

test("an agent without a login is marked, and is not preferred to one that may have it", async () => {
  const bin = join(folder, "programs");
  await mkdir(bin);
  for (const name of ["gemini", "qwen"]) {
    await writeFile(join(bin, name), "#!/bin/sh\nexit 1\n");
    await chmod(join(bin, name), 0o755);
  }
  const hub = await startDefaultHub([join(bin, "gemini"), join(bin, "qwen")], {
    HOME: folder,
    GEMINI_API_KEY: "",
    GOOGLE_API_KEY: "",
    GOOGLE_GENAI_USE_VERTEXAI: "",
    OPENAI_API_KEY: "",
    DASHSCOPE_API_KEY: "a-key",
  });
  try {
    const context = await newContext(browser, []);
    const page = await context.newPage();
    await page.goto(hub.url);
    await page.getByTestId("new-session").click();
    const provider = page.getByTestId("provider");
    await page.getByTestId("agent-about").waitFor();
    assert.equal(await provider.inputValue(), "qwen");
    assert.match(await provider.innerText(), /Gemini CLI \(gemini\), not logged in/);
    await provider.selectOption("gemini");
    await page.getByTestId("agent-about").getByText("No login was seen on its machine.").waitFor();
    await context.close();
  } finally {
    await hub.stop();
  }
});

test("with the demo agent alone, the page says how to add another", async () => {
  const hub = await startHub();
  try {
    const context = await newContext(browser, []);
    const page = await context.newPage();
    await page.goto(hub.url);
    await page.getByTestId("new-session").click();
    await page.getByTestId("add-agent").getByText("sessionhub agents").waitFor();
    assert.equal(await page.getByTestId("provider").inputValue(), "demo");
    await assertAccessible(page, "the form with the demo agent alone");
    await context.close();
  } finally {
    await hub.stop();
  }
});
