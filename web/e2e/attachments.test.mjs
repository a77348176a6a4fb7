// Files go with a message: chosen, pasted and dropped, on a wide page and on a phone. They are shown in the transcript, also
// after a reload, and can be saved again.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";

import { startBrowser, startHub } from "./hub.mjs";
import { answers, assertAccessible, live, newContext, newSession, roomyHub, say, status, turnEnds } from "./page.mjs";

let hub;
let browser;

before(async () => {
  [hub, browser] = await Promise.all([
    startHub({ args: [...roomyHub, "--max-attachment-bytes", "1MiB", "--drain-timeout", "1s"] }),
    startBrowser(),
  ]);
});
after(async () => {
  await browser?.close();
  await hub?.stop();
});

const dot = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==",
  "base64",
);

/** Pastes or drops a text file, as a browser does it with one of the user's. */
const give = (page, kind, name) =>
  page.getByTestId("message-box").evaluate(
    (box, [kind, name]) => {
      const data = new DataTransfer();
      data.items.add(new File([`the text of ${name}`], name, { type: "text/plain" }));
      const init = { bubbles: true, cancelable: true };
      box.dispatchEvent(
        kind === "paste"
          ? new ClipboardEvent("paste", { ...init, clipboardData: data })
          : new DragEvent("drop", { ...init, dataTransfer: data }),
      );
    },
    [kind, name],
  );

for (const [form, options] of [
  ["a wide page", { viewport: { width: 1280, height: 800 } }],
  ["a phone", { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true }],
]) {
  test(`files go with a message, on ${form}`, async () => {
    const complaints = [];
    const context = await newContext(browser, complaints, options);
    const page = await context.newPage();
    await newSession(page, hub);
    await page.getByTestId("attach-file").setInputFiles([
      { name: "dot.png", mimeType: "image/png", buffer: dot },
      { name: "gone.txt", mimeType: "text/plain", buffer: Buffer.from("gone") },
    ]);
    await give(page, "paste", "pasted.txt");
    await give(page, "drop", "dropped.txt");
    const drafts = page.getByTestId("draft");
    assert.equal(await drafts.count(), 4);
    await page.getByRole("button", { name: "Remove gone.txt" }).click();
    assert.deepEqual(
      (await drafts.locator("span").first().allTextContents()).map((text) => text.trim()),
      ["dot.png 70 bytes"],
    );
    await assertAccessible(page);
    await say(page, "look at these");
    await turnEnds(page);
    assert.equal(await drafts.count(), 0);
    const said = await answers(page);
    for (const name of ["dot.png", "pasted.txt", "dropped.txt"]) assert.ok(said.includes(name), said);
    assert.ok(!said.includes("gone.txt"), said);

    for (const reloaded of [false, true]) {
      if (reloaded) {
        await page.reload();
        await live(page);
      }
      assert.equal(await page.getByTestId("user-message").getByTestId("attachment").count(), 3);
      const picture = page.getByTestId("attachment-picture");
      await picture.waitFor();
      assert.equal(await picture.evaluate((image) => image.decode().then(() => image.naturalWidth)), 1);
    }
    const saving = page.waitForEvent("download");
    await page.getByTestId("attachment-save").nth(1).click();
    const saved = await saving;
    assert.equal(saved.suggestedFilename(), "pasted.txt");
    assert.equal(await readFile(await saved.path(), "utf8"), "the text of pasted.txt");
    await assertAccessible(page);
    assert.deepEqual(complaints, []);
    await context.close();
  });
}

test("a file over the limit is refused, and what was written is not lost", async () => {
  const context = await newContext(browser, []);
  const page = await context.newPage();
  await newSession(page, hub);
  await page.getByTestId("attach-file").setInputFiles([
    { name: "small.txt", mimeType: "text/plain", buffer: Buffer.from("small") },
    { name: "big.bin", mimeType: "application/octet-stream", buffer: Buffer.alloc(2 << 20, 1) },
  ]);
  await say(page, "too much");
  const refused = page.locator('[data-testid="outgoing"][data-failed="true"]');
  await refused.waitFor();
  assert.match(await refused.textContent(), /too much.*--max-attachment-bytes/s);
  await refused.getByRole("button", { name: "Discard" }).click();
  await say(page, "without files");
  await turnEnds(page);
  await status(page, "idle");
  await context.close();
});
