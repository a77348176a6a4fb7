// The files of a session's working directory, and what has changed in them.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { answerable, assertAccessible, newSession, newStage, say, status, turnEnds } from "./page.mjs";

const stage = newStage();

test("a session's changes and files are shown, and @ completes their names", async () => {
  const { hub, context } = stage;
  const git = (...args) =>
    execFileSync("git", ["-C", hub.workspace, "-c", "user.name=a", "-c", "user.email=a@example.org", ...args]);
  const write = (name, text) => writeFileSync(join(hub.workspace, name), text);
  mkdirSync(join(hub.workspace, "src"));
  write("src/main.go", 'package main\n\nfunc main() {\n\tprintln("hello")\n}\n');
  write("notes.txt", "one\ntwo\nthree\n");
  write("picture.bin", Buffer.from([0, 1, 2, 255]));
  git("init", "-q", "-b", "main");
  git("add", "-A");
  git("commit", "-q", "-m", "first");
  write("notes.txt", "one\ntwo\nthree\nfour, before the session\n");

  const page = await context.newPage();
  await newSession(page, hub, { title: "files" });
  await say(page, "/write src/new.txt <b>a new file</b>");
  await answerable(page);
  await page.locator('[data-kind="allow_once"]').click();
  await turnEnds(page);
  write("src/main.go", 'package main\n\nfunc main() {\n\tprintln("changed")\n}\n');

  await page.getByTestId("files").click();
  const rows = page.getByTestId("changes").locator(".file-row");
  await rows.first().waitFor();
  assert.deepEqual(
    (await rows.allInnerTexts()).map((text) => text.replace(/\s+/g, " ").trim()),
    ["M modified src/main.go +1 −1", "A new, not in git src/new.txt +1 −0"],
  );
  await assertAccessible(page, "the changes");
  await shot(page, "changes");
  await rows.first().click();
  const diff = page.getByTestId("file-diff");
  await diff.waitFor();
  assert.deepEqual(await diff.locator('.diff-line[data-kind="added"] .diff-text').allInnerTexts(), [
    '\tprintln("changed")',
  ]);
  await assertAccessible(page, "a diff");
  await shot(page, "diff");
  await page.getByTestId("files-back").click();
  await rows.nth(1).click();
  await diff.getByText("<b>a new file</b>").waitFor(); // as text

  await page.getByTestId("tab-files").click();
  const entries = page.getByTestId("directory").locator(".file-row");
  await entries.filter({ hasText: "src/" }).click();
  await entries.filter({ hasText: "main.go" }).click();
  await page.getByTestId("file").getByText('println("changed")').waitFor();
  await shot(page, "file");
  await page.getByTestId("files-back").click();
  await entries.filter({ hasText: "new.txt" }).waitFor();
  await page.getByRole("button", { name: "All files" }).last().click();
  await entries.filter({ hasText: "picture.bin" }).click();
  await page.getByText("It is no text.").waitFor();
  await page.getByTestId("files-close").click();

  const box = page.getByTestId("message-box");
  await box.pressSequentially("look at @mai");
  const names = page.getByTestId("file-names");
  await names.getByText("src/main.go").waitFor();
  await assertAccessible(page, "the names of files");
  await shot(page, "names");
  await box.press("Enter");
  assert.equal(await box.inputValue(), "look at @src/main.go ");
  await names.waitFor({ state: "detached" });
  await box.press("Enter");
  await page.getByText("look at @src/main.go").first().waitFor();
  await turnEnds(page, 2);

  // A link that shows the conversation does not show the disk.
  const mint = async (scope) => {
    const sessionId = decodeURIComponent(new URL(page.url()).hash.split("/")[2]);
    const answer = await fetch(`${hub.url}/api/sessions/${sessionId}/token`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ scope }),
    });
    return `${hub.url}/#/view/${sessionId}/${(await answer.json()).token}`;
  };
  const reader = await (await context.browser().newContext()).newPage();
  await reader.goto(await mint("read"));
  await status(reader, "idle");
  assert.equal(await reader.getByTestId("files").count(), 0);
  await reader.goto(await mint("read files"));
  await reader.reload();
  await reader.getByTestId("files").click();
  await reader.getByTestId("changes").getByText("src/main.go").waitFor();
  await reader.context().close();

  rmSync(join(hub.workspace, ".git"), { recursive: true });
  await page.getByTestId("files").click();
  await page.getByText("is in no git repository").waitFor();
});

/** Pictures for people: light, dark, and a phone's. */
async function shot(page, name) {
  if (!process.env.SCREENSHOTS) return;
  const size = page.viewportSize();
  for (const [kind, colorScheme, width, height] of [
    ["light", "light", 1200, 800],
    ["dark", "dark", 1200, 800],
    ["phone", "light", 390, 780],
  ]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height });
    await page.screenshot({ path: join(process.env.SCREENSHOTS, `files-${name}-${kind}.png`) });
  }
  await page.emulateMedia({ colorScheme: null });
  await page.setViewportSize(size);
}
