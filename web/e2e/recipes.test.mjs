// The program in docs/BROWSER.md, run as it stands there.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { after, before, test } from "node:test";
import { build } from "vite";

import { startHub } from "./hub.mjs";

const web = fileURLToPath(new URL("..", import.meta.url));
let hub;
let folder;
let program;

before(async () => {
  const text = await readFile(join(web, "../docs/BROWSER.md"), "utf8");
  program = /^```js\n([^]*?)^```$/m.exec(text)[1];
  folder = await mkdtemp(join(tmpdir(), "sessionhub-recipes-"));
  hub = await startHub();
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
  assert.ok(program.trim().split("\n").filter(Boolean).length <= 11, "they are about ten");
  await writeFile(join(folder, "ten-lines.mjs"), program);
  const { stdout } = await promisify(execFile)(process.execPath, [join(folder, "ten-lines.mjs")], {
    env: { ...process.env, HUB_URL: hub.url },
    timeout: 30_000,
  });
  assert.match(stdout, /Good morning/);
});
