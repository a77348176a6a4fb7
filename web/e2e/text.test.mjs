// What an agent writes is seen as what it is: docs/TEXT.md, in a real page.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { answerable, newSession, newStage, say, turnEnds } from "./page.mjs";

const stage = newStage();

const acts = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;
const shownOn = (page) => page.evaluate(() => `${document.title}\n${document.body.innerText}`);

test("a command that is written backwards, or hides a part of itself, is seen as what runs", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub);
  await say(page, "/run echo \u202egpj.exe\u200b g\u043e\u00a0\u001b[8mrm\u001b[0m \u05d0\u05d1 1 2");
  const card = page.locator('[data-testid="approval"][data-state="pending"]');
  await card.waitFor();
  const text = await card.innerText();
  assert.match(text, /echo U\+202Egpj\.exeU\+200B g\u043eU\+043EU\+00A0␛\[8mrm␛\[0m/);
  assert.deepEqual(
    [...new Set(await card.locator(".exact-mark").allInnerTexts())],
    ["U+202E", "U+200B", "U+043E", "U+00A0", "␛"],
  );
  assert.doesNotMatch(await shownOn(page), acts);
  // Letters from right to left turn nothing around, either.
  const exact = card.locator(".exact", { hasText: "1 2" }).first();
  assert.deepEqual(
    await exact.evaluate((element) => [getComputedStyle(element).unicodeBidi, getComputedStyle(element).direction]),
    ["isolate-override", "ltr"],
  );

  await answerable(page);
  await card.locator('[data-kind="reject_once"]').click();
  await turnEnds(page);
  assert.match(await page.getByTestId("approval").innerText(), /U\+202Egpj\.exe/);
  assert.doesNotMatch(await shownOn(page), acts);
});

test("escape codes are not shown, and what is hidden in a text is, also in what is taken along", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub);
  await say(page, "red \u001b[31mtext\u001b[0m \u202eend \u{e0041}");
  await turnEnds(page);
  assert.match(await page.getByTestId("answer").innerText(), /red text ⟨U\+202E⟩end ⟨U\+E0041⟩/);
  assert.doesNotMatch(await shownOn(page), acts);
  for (const [kind, want] of [
    ["export-markdown", "red text ⟨U+202E⟩end ⟨U+E0041⟩"],
    ["export-json", "red \\u001b[31mtext\\u001b[0m \\u202eend \\udb40\\udc41"],
  ]) {
    await page.getByTestId("more").click();
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByTestId(kind).click()]);
    const saved = await readFile(await download.path(), "utf8");
    assert.ok(saved.includes(want), `${kind}: ${saved}`);
    assert.doesNotMatch(saved, acts);
  }
});
