// A phone's photo through the client's imageBlock, made in a real browser, to the
// real binary with its default limits:
//
//   SESSIONHUB_BIN=path/to/sessionhub node --import tsx --test e2e/image.test.mjs
//
// CHROMIUM names the browser.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "vite";

import { HubApi } from "../client/src/index.ts";
import { startBrowser, startHub } from "./hub.mjs";

let hub;
let browser;
let page;
before(async () => {
  const configFile = fileURLToPath(new URL("../client/vite.config.ts", import.meta.url));
  [hub, browser] = await Promise.all([startHub({}), startBrowser()]);
  const built = await build({ configFile, logLevel: "error", build: { write: false } });
  page = await browser.newPage();
  await page.evaluate(
    async (code) => {
      const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
      globalThis.client = await import(url);
      // Noise does not compress, so this is as heavy as a photo, and heavier.
      globalThis.photo = async (width, height, type) => {
        const canvas = new OffscreenCanvas(width, height);
        const context = canvas.getContext("2d");
        const pixels = context.createImageData(width, height);
        const numbers = new Uint32Array(pixels.data.buffer);
        let seed = 1;
        for (let i = 0; i < numbers.length; i++) {
          seed = (seed * 1664525 + 1013904223) >>> 0;
          numbers[i] = 0xff000000 | (seed >>> 8);
        }
        context.putImageData(pixels, 0, 0);
        return canvas.convertToBlob({ type, quality: 0.9 });
      };
    },
    built.flatMap(({ output }) => output).find(({ fileName }) => fileName === "image.js").code,
  );
});
after(async () => {
  await browser?.close();
  await hub?.stop();
});

const send = async (content) => {
  const api = new HubApi({ baseUrl: hub.url });
  const { sessionId } = await api.createSession({ provider: "demo", workingDirectory: hub.workspace });
  return api.sendMessage(sessionId, { content });
};

test("a phone's photo is scaled down to what a hub takes by default", async () => {
  const { size, block, sides } = await page.evaluate(async () => {
    const image = await globalThis.photo(4000, 3000, "image/jpeg");
    const block = await globalThis.client.imageBlock(image);
    const small = await createImageBitmap(await (await fetch(`data:${block.mimeType};base64,${block.data}`)).blob());
    return { size: image.size, block, sides: [small.width, small.height] };
  });
  assert.ok(size > 3_000_000, `the photo has ${size} bytes`);
  assert.equal(block.mimeType, "image/jpeg");
  assert.ok(
    block.data.length < 950_000 && sides[0] <= 1568 && Math.abs(sides[0] / sides[1] - 4 / 3) < 0.01,
    `${block.data.length} in base64, ${sides}`,
  );
  const { messageId } = await send([{ type: "text", text: "what is this?" }, block]);
  assert.ok(messageId);
});

test("a small picture stays as it is, under the type that its bytes have", async () => {
  const { block, bytes } = await page.evaluate(async () => {
    const image = await globalThis.photo(20, 10, "image/png");
    const bytes = new Uint8Array(await image.arrayBuffer());
    return { block: await globalThis.client.imageBlock(new Blob([bytes], { type: "image/jpeg" })), bytes: [...bytes] };
  });
  assert.equal(block.mimeType, "image/png");
  assert.deepEqual([...Buffer.from(block.data, "base64")], bytes);
  await send([block]);
  await assert.rejects(send([{ ...block, mimeType: "image/jpeg" }]), {
    code: "invalid_request",
    message: /image\/png and not image\/jpeg/,
  });
});

test("what is no picture is rejected", async () => {
  const why = await page.evaluate(() =>
    globalThis.client.imageBlock(new Blob(["<svg"], { type: "image/png" })).catch((error) => error.name),
  );
  assert.equal(why, "InvalidStateError");
});
