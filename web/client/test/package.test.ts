import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build, type Rolldown } from "vite";
import manifest from "../package.json" with { type: "json" };

test("the package is one module under 6.5 KB gzipped, one for pictures under 1 KB, one for forms under 1.5 KB, one for many sessions under 4 KB and those for files and for the inbox under 0.5 KB, that depend on nothing else", async () => {
  const configFile = fileURLToPath(new URL("../vite.config.ts", import.meta.url));
  const built = (await build({ configFile, logLevel: "error", build: { write: false } })) as Rolldown.RolldownOutput[];
  const files = built.flatMap(({ output }) => output);
  const most: Record<string, number> = {
    "files.js": 512,
    "form.js": 1536,
    "hub.js": 4 * 1024,
    "image.js": 1024,
    "inbox.js": 512,
    "index.js": 6.5 * 1024,
  };
  assert.deepEqual(files.map((file) => file.fileName).sort(), Object.keys(most));
  assert.equal("dependencies" in manifest, false);
  for (const file of files) {
    assert.ok(file.type === "chunk");
    assert.deepEqual(
      [...new Set([...file.imports, ...file.dynamicImports])],
      file.fileName === "hub.js" ? ["index.js"] : [],
    );
    const bytes = gzipSync(file.code, { level: 9 }).length;
    assert.ok(bytes < most[file.fileName]!, `${file.fileName}: ${bytes} bytes gzipped`);
  }
});
