import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

// The package as it is published: one module without dependencies. Its types
// are made beside it by tsc.
export default defineConfig({
  root: here("."),
  build: {
    outDir: here("./dist"),
    target: "es2022",
    lib: { entry: here("./src/index.ts"), formats: ["es"], fileName: "index" },
    // Left to itself, library mode keeps the white space.
    rolldownOptions: { output: { minify: true } },
  },
});
