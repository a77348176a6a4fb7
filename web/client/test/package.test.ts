import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build, type Rolldown } from "vite";
import manifest from "../package.json" with { type: "json" };

test("the package is one module under 6 KB gzipped that depends on nothing", async () => {
  const configFile = fileURLToPath(new URL("../vite.config.ts", import.meta.url));
  const built = (await build({ configFile, logLevel: "error", build: { write: false } })) as Rolldown.RolldownOutput[];
  const files = built.flatMap(({ output }) => output);
  assert.deepEqual(files.map((file) => file.fileName), ["index.js"]);
  const [file] = files;
  assert.ok(file?.type === "chunk");
  assert.deepEqual([...file.imports, ...file.dynamicImports], []);
  assert.equal("dependencies" in manifest, false);
  const bytes = gzipSync(file.code, { level: 9 }).length;
  assert.ok(bytes < 6 * 1024, `${bytes} bytes gzipped`);
});
