import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

// The extension as Chrome loads it: extension/dist.
export default defineConfig({
  root: here("."),
  base: "./",
  resolve: {
    alias: {
      "@sessionhub/client/files": here("../client/src/files.ts"),
      "@sessionhub/client/inbox": here("../client/src/inbox.ts"),
      "@sessionhub/client/form": here("../client/src/form.ts"),
      "@sessionhub/client/hub": here("../client/src/hub.ts"),
      "@sessionhub/client/image": here("../client/src/image.ts"),
      "@sessionhub/client": here("../client/src/index.ts"),
    },
  },
  build: {
    outDir: here("./dist"),
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    rolldownOptions: {
      input: { panel: here("./panel.html"), options: here("./options.html"), background: here("./src/background.ts") },
      // The manifest names the worker by its file.
      output: { entryFileNames: "[name].js" },
    },
  },
});
