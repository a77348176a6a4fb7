// The code in docs/BROWSER.md, run as it stands there.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { after, before, test } from "node:test";
import { build } from "vite";

import { HubApi } from "../client/src/index.ts";
import { FaultyProxy } from "../client/test/proxy.ts";
import { startBrowser, startHub } from "./hub.mjs";
import { assertPieces, roomyHub } from "./page.mjs";

const web = fileURLToPath(new URL("..", import.meta.url));
let hub;
let folder;
let recipes;

before(async () => {
  const text = await readFile(join(web, "../docs/BROWSER.md"), "utf8");
  recipes = [...text.matchAll(/^```(\w+)\n([^]*?)^```$/gm)].map(([, language, code]) => ({ language, code }));
  folder = await mkdtemp(join(tmpdir(), "sessionhub-recipes-"));
  hub = await startHub({ args: roomyHub });
});
after(async () => {
  await hub?.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
});

test("the ten lines print the answer and end, with the package as it is published", async () => {
  // The package is put where npm would put it.
  await build({ configFile: join(web, "client/vite.config.ts"), logLevel: "error", build: { outDir: join(folder, "package/dist") } });
  await writeFile(join(folder, "package/package.json"), await readFile(join(web, "client/package.json")));
  await mkdir(join(folder, "node_modules/@sessionhub"), { recursive: true });
  await symlink(join(folder, "package"), join(folder, "node_modules/@sessionhub/client"));
  const { code } = recipes.find(({ language }) => language === "js");
  assert.ok(code.trim().split("\n").filter(Boolean).length <= 11, "they are about ten");
  await writeFile(join(folder, "ten-lines.mjs"), code);
  const { stdout } = await promisify(execFile)(process.execPath, [join(folder, "ten-lines.mjs")], {
    env: { ...process.env, HUB_URL: hub.url },
    timeout: 30_000,
  });
  assert.match(stdout, /Good morning/);
});

test("the EventSource page shows what the agent says, and comes back after a cut by itself", async () => {
  const { code } = recipes.find(({ language }) => language === "html");
  const api = new HubApi({ baseUrl: hub.url });
  const { sessionId, token } = await api.createSession({ provider: "demo", workingDirectory: hub.workspace });
  const proxy = await FaultyProxy.listen(hub.url);
  const browser = await startBrowser();
  try {
    const page = await browser.newPage();
    // From the hub's own origin, as through one proxy.
    await page.route(`${proxy.url}/recipe.html`, (route) => route.fulfill({ contentType: "text/html", body: code }));
    await page.goto(`${proxy.url}/recipe.html#${sessionId}/${token}`);
    await api.sendMessage(sessionId, { content: "/stream 100 20 50" }, { token });
    const log = () => page.evaluate(() => document.getElementById("log").textContent);
    await page.waitForFunction(() => /\b10 /.test(document.getElementById("log").textContent));
    const connections = proxy.connections;
    proxy.cutAll();
    await page.waitForFunction(() => /\b100 /.test(document.getElementById("log").textContent));
    assert.ok(proxy.connections > connections, "it came by another connection");
    assertPieces(await log(), 100);
  } finally {
    await browser.close();
    await proxy.close();
  }
});
