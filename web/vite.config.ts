import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

// A running hub to develop against: `npx vite` proxies the API to it.
const hub = process.env["SESSIONHUB_URL"] ?? "http://127.0.0.1:8080";

export default defineConfig({
  root: here("./dashboard"),
  // Relative, so that the dashboard also works behind a path prefix.
  base: "./",
  resolve: {
    alias: {
      "@sessionhub/client/files": here("./client/src/files.ts"),
      "@sessionhub/client/inbox": here("./client/src/inbox.ts"),
      "@sessionhub/client/form": here("./client/src/form.ts"),
      "@sessionhub/client/hub": here("./client/src/hub.ts"),
      "@sessionhub/client/image": here("./client/src/image.ts"),
      "@sessionhub/client": here("./client/src/index.ts"),
    },
  },
  build: {
    outDir: here("./dist"),
    emptyOutDir: true, // .keep comes back from public/
    target: "es2022",
    // The polyfill would be of no use to the browsers that es2022 leaves.
    modulePreload: { polyfill: false },
    // Everything is a file of its own: the page's policy allows no data: scripts.
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
  server: {
    host: "127.0.0.1",
    proxy: { "/api": { target: hub, ws: true, changeOrigin: true } },
  },
});
