// A session in a git worktree of its own: how it is begun, and what becomes of its work.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { answerable, assertAccessible, live, newStage, say, turnEnds } from "./page.mjs";

const stage = newStage();

test("work in a worktree is merged, and thrown away only by a second act", async () => {
  const { hub, context } = stage;
  const git = (...args) => execFileSync("git", ["-C", hub.workspace, ...args], { encoding: "utf8" });
  stage.allowed = /409 \(Conflict\)/;
  const page = await context.newPage();
  await page.goto(hub.url);
  await page.getByTestId("new-session").click();
  await page.getByTestId("provider").selectOption("demo");
  await page.getByTestId("workdir").fill(hub.workspace);
  await page.getByTestId("worktree-choice").check();
  const hint = page.getByTestId("worktree-hint");
  await hint.getByText("no working tree of a git repository").waitFor();

  git("init", "-q", "-b", "main");
  git("config", "user.name", "a");
  git("config", "user.email", "a@example.org");
  writeFileSync(join(hub.workspace, "notes.txt"), "one\n");
  git("add", "-A");
  git("commit", "-q", "-m", "first");
  await page.getByTestId("worktree-choice").uncheck();
  await page.getByTestId("worktree-choice").check();
  await hint.getByText("It begins at main").waitFor();
  await assertAccessible(page);
  await page.getByTestId("create").click();
  await live(page);
  const write = async (name, turn) => {
    await say(page, `/write ${name} work`);
    await answerable(page);
    await page.locator('[data-kind="allow_once"]').last().click();
    await turnEnds(page, turn);
  };
  await write("new.txt", 1);
  const merged = join(hub.workspace, "new.txt");
  assert.equal(existsSync(merged), false, "the agent worked in the user's files");

  await page.getByTestId("files").click();
  const state = page.getByTestId("worktree-state");
  await state.getByText("1 file is not committed").waitFor();
  await page.getByTestId("changes").locator(".file-row").getByText("new.txt").waitFor();
  await assertAccessible(page);
  await page.getByTestId("worktree-merge").click();
  await page.getByTestId("worktree-commit").click();
  await state.getByText("All of its work is merged").waitFor();
  assert.equal(existsSync(merged), true, "the merge has not reached the user's files");
  await page.getByTestId("files-close").click();

  await write("lost.txt", 2);
  await page.getByTestId("files").click();
  await page.getByTestId("worktree-discard").click();
  await page.getByText("1 file that is not committed would be lost for good").waitFor();
  await page.getByTestId("worktree-discard-confirm").click();
  await state.getByText("It was thrown away").waitFor();
  assert.equal(git("branch", "--list", "sessionhub/*").trim(), "", "its branch is still there");
  assert.equal(existsSync(join(hub.workspace, "lost.txt")), false);
});
