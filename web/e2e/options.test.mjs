// The options of a session's agent in a real browser, with the demo agent.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAccessible, live, newContext, newSession, newStage, say, turnEnds } from "./page.mjs";

const stage = newStage();

const open = async (page) => {
  await page.getByTestId("more").click();
  await page.getByTestId("options-open").click();
  await page.getByTestId("options").waitFor();
};

test("the mode and other options are set, and everybody sees that the agent does not ask", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub, { title: "Options" });
  await open(page);
  assert.match(await page.locator("dialog").textContent(), /tells its options when it has started/);
  await page.keyboard.press("Escape");
  await say(page, "hello");
  await turnEnds(page);
  assert.equal(await page.getByTestId("unasked").count(), 0);

  // Somebody else looks at the same session.
  const other = await stage.context.newPage();
  await other.goto(page.url());
  await live(other);

  await open(page);
  const mode = page.locator('[data-option="mode"]');
  assert.equal(await mode.inputValue(), "ask");
  assert.deepEqual(await mode.locator("option").allTextContents(), ["Ask", "Auto (does not ask)"]);
  await assertAccessible(page, "the options");
  await page.locator('[data-option="tone"]').selectOption("loud");
  // What makes it act unasked takes a second act, and can be left.
  await mode.selectOption("auto");
  await page.getByTestId("unasked-question").getByText("In Auto the agent acts without asking anybody.").waitFor();
  await assertAccessible(page, "the question before a mode that does not ask");
  await page.getByTestId("unasked-leave").click();
  assert.equal(await mode.inputValue(), "ask");
  assert.equal(await page.getByTestId("unasked").count(), 0);
  await mode.selectOption("auto");
  await page.getByTestId("unasked-confirm").click();
  await page.locator("dialog").getByText("The agent acts without asking anybody.", { exact: false }).waitFor();
  await page.locator("dialog").getByRole("button", { name: "Close" }).click();
  for (const each of [page, other]) {
    await each.getByTestId("unasked").waitFor();
    await each.getByText("Mode is Auto (does not ask), set by local.").waitFor();
    await each.locator('[data-testid="session-row"]', { hasText: "Options" }).getByTestId("row-unasked").waitFor();
  }
  await assertAccessible(page, "the warning");
  await say(page, "/run true");
  await turnEnds(page, 2);
  assert.equal(await page.getByTestId("approval").count(), 0);
  await say(page, "quiet");
  await turnEnds(page, 3);
  await page.getByText(/QUIET/).waitFor();

  // The agent goes back by itself.
  await say(page, "/option mode ask");
  await page.getByText("Mode is Ask, set by the agent.").waitFor();
  for (const each of [page, other]) {
    await each.getByTestId("unasked").waitFor({ state: "detached" });
    await each.getByTestId("row-unasked").waitFor({ state: "detached" });
  }
});

test("on a phone the menu and the options are in sight, also beside the warning", async () => {
  const phone = { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true };
  const context = await newContext(stage.browser, stage.complaints, phone);
  const page = await context.newPage();
  await newSession(page, stage.hub);
  await say(page, "/option mode auto");
  await turnEnds(page);
  await page.getByTestId("unasked").waitFor();
  const outside = (inner) =>
    inner.evaluateAll(
      (all) =>
        all.filter((each) => {
          const { left, right } = each.getBoundingClientRect();
          const around = each.closest("dialog")?.getBoundingClientRect() ?? { left: 0, right: innerWidth };
          return left < around.left || right > around.right;
        }).length,
    );
  await page.getByTestId("more").tap();
  assert.equal(await outside(page.locator(".menu-body, .menu-body button")), 0, "the menu is off the screen");
  await page.getByTestId("options-open").tap();
  const fields = page.locator("dialog select");
  await fields.first().waitFor();
  assert.equal(await outside(fields), 0, "a list is wider than its dialog");
  await page.locator("dialog").getByText("The agent acts without asking anybody.", { exact: false }).waitFor();
  await context.close();
});
