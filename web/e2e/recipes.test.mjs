// The program in docs/BROWSER.md and the extension in docs/RECIPES.md, run as they stand there.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { build } from "vite";

import { startHub } from "./hub.mjs";

const web = fileURLToPath(new URL("..", import.meta.url));
let hub;
let folder;
let program;
let many;

before(async () => {
  const text = await readFile(join(web, "../docs/BROWSER.md"), "utf8");
  program = /^```js\n(.*?)^```$/ms.exec(text)[1];
  many = /^<!-- test: many -->\n```js\n(.*?)^```$/ms.exec(text)[1];
  folder = await mkdtemp(join(tmpdir(), "sessionhub-recipes-"));
  // The package is put where npm would put it.
  await build({
    configFile: join(web, "client/vite.config.ts"),
    logLevel: "error",
    build: { outDir: join(folder, "package/dist") },
  });
  hub = await startHub({
    env: { SESSIONHUB_ALLOWED_ORIGINS: `chrome-extension://${extensionId(join(folder, "extension"))}` },
  });
});
after(async () => {
  await hub?.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
});

test("the ten lines print the answer and end, with the package as it is published", async () => {
  await writeFile(join(folder, "package/package.json"), await readFile(join(web, "client/package.json")));
  await mkdir(join(folder, "node_modules/@sessionhub"), { recursive: true });
  await symlink(join(folder, "package"), join(folder, "node_modules/@sessionhub/client"));
  assert.ok(program.trim().split("\n").filter(Boolean).length <= 11, "they are about ten");
  await writeFile(join(folder, "ten-lines.mjs"), program);
  const { stdout } = await promisify(execFile)(process.execPath, [join(folder, "ten-lines.mjs")], {
    env: { ...process.env, HUB_URL: hub.url },
    timeout: 30_000,
  });
  assert.match(stdout, /Good morning/);
  await writeFile(join(folder, "many.mjs"), many);
  const { stdout: said } = await promisify(execFile)(process.execPath, [join(folder, "many.mjs")], {
    env: { ...process.env, HUB_URL: hub.url },
    timeout: 30_000,
  });
  assert.match(said, /^Ann heard: You said: Good morning, Ann$/m);
  assert.match(said, /^Ben heard: You said: Good morning, Ben$/m);
});

/** Chrome makes the id of an unpacked extension from its folder. */
function extensionId(path) {
  const digits = [...createHash("sha256").update(path).digest("hex").slice(0, 32)];
  return digits.map((digit) => String.fromCharCode(97 + Number.parseInt(digit, 16))).join("");
}

test("the shortest extension talks, asks, and is back where it was when its popup opens again", async () => {
  const recipes = await readFile(join(web, "../docs/RECIPES.md"), "utf8");
  const recipe = (name) => new RegExp(`^<!-- test: ${name} -->\n\`\`\`\\w+\n([^]*?)^\`\`\`$`, "m").exec(recipes)[1];
  const extension = join(folder, "extension");
  await mkdir(extension);
  await writeFile(join(extension, "manifest.json"), recipe("manifest"));
  await writeFile(join(extension, "popup.html"), recipe("popup"));
  const script = recipe("popupscript");
  assert.match(script, /"http:\/\/127\.0\.0\.1:8080"/);
  await writeFile(join(extension, "popup.js"), script.replace("http://127.0.0.1:8080", hub.url));
  await writeFile(join(extension, "client.js"), await readFile(join(folder, "package/dist/index.js")));

  const context = await chromium.launchPersistentContext(join(folder, "profile"), {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // Playwright's own headless mode is one that takes no extensions.
    headless: false,
    args: [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      `--disable-extensions-except=${extension}`,
      `--load-extension=${extension}`,
    ],
  });
  try {
    const open = async () => {
      const page = await context.newPage();
      page.setDefaultTimeout(20_000);
      page.on("pageerror", (error) => complaints.push(String(error)));
      await page.goto(`chrome-extension://${extensionId(extension)}/popup.html`);
      return page;
    };
    const complaints = [];
    const popup = await open();
    const log = popup.locator("#log");
    await popup.locator("#text").fill("/approve Paint the shed");
    await popup.locator("#text").press("Enter");
    await log.getByRole("button").first().click();
    await log.getByText("Approved: allow_once.").waitFor();
    assert.equal(await log.getByRole("button").count(), 0, "an answered question goes");
    const said = await log.textContent();
    await popup.close();

    const again = await open();
    await again.getByText("Approved: allow_once.").waitFor();
    assert.equal(await again.locator("#log").textContent(), said);
    assert.deepEqual(complaints, []);
  } finally {
    await context.close();
  }
});
