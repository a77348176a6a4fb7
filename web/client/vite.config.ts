import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

// The package as it is published: a module without dependencies, and one for
// pictures, one for forms, one for files and one for the inbox beside it. Its types are made beside it by tsc.
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
      },
      formats: ["es"],
    },
    // Left to itself, library mode keeps the white space.
    rolldownOptions: { output: { minify: true, comments: { annotation: false } } },
  },
});
