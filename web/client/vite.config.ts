import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

// The package as it is published: a module without dependencies, and beside it one for pictures, one for forms, one for
// files, one for the inbox and one for many sessions. Its types are made beside it by tsc.
export default defineConfig({
  root: here("."),
  build: {
    outDir: here("./dist"),
    target: "es2022",
    lib: {
      entry: {
        index: here("./src/index.ts"),
        image: here("./src/image.ts"),
        form: here("./src/form.ts"),
        files: here("./src/files.ts"),
        inbox: here("./src/inbox.ts"),
        hub: here("./src/hub.ts"),
      },
      formats: ["es"],
    },
    // Left to itself, library mode keeps the white space.
    // What both need is in the first module: the second one imports it from there.
    rolldownOptions: {
      preserveEntrySignatures: "allow-extension",
      output: { minify: true, comments: { annotation: false } },
    },
  },
});
