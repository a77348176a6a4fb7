// An agent asks people questions: a form to fill, or a page to open. The page shows
// what is asked, takes a deliberate answer only, and shows afterwards what it was.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";

import {
  answers,
  assertAccessible,
  newContext,
  newSession,
  newStage,
  roomyHub,
  say,
  status,
  turnEnds,
} from "./page.mjs";

const stage = newStage({ args: [...roomyHub, "--drain-timeout", "1s"] });

const card = (page) => page.locator('[data-testid="elicitation"][data-state="pending"]');
const field = (page, name) => card(page).locator(`[data-testid="form-field"][data-name="${name}"]`);
const button = (page, action) => card(page).locator(`[data-option-id="${action}"]`);
/** Waits until the guard takes an answer. */
const ready = (page) => card(page).locator('[data-option-id="accept"][aria-disabled="false"]').waitFor();
const sessionId = (page) => /#\/s\/([^?]+)/.exec(page.url())[1];

test("a form is filled, checked and sent, and its answer is shown afterwards", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub);
  await say(page, "/ask Tea or coffee?");
  await card(page).waitFor();
  await status(page, "requires_action");
  await assertAccessible(page, "a form");
  // Its defaults stand in the fields.
  assert.equal(await field(page, "cups").locator("input").inputValue(), "1");
  assert.equal(await field(page, "size").locator("input:checked").getAttribute("data-value"), "s");
  assert.equal(await field(page, "takeOut").locator("input:checked").getAttribute("data-value"), "true");
  await ready(page);
  await button(page, "accept").click();
  // What is needed is missing: nothing was sent, and the field says so.
  await field(page, "name").getByText("This is needed.").waitFor();
  await field(page, "name").getByRole("textbox").fill("Ada");
  await field(page, "cups").getByRole("textbox").fill("13");
  await field(page, "extras").getByLabel("Ice").check();
  await field(page, "extras").getByLabel("Milk").check();
  await field(page, "takeOut").getByLabel("No", { exact: true }).check();
  await ready(page);
  await button(page, "accept").click();
  await field(page, "cups").getByText("At most 12.").waitFor();
  await field(page, "cups").getByRole("textbox").fill("2");
  // What the page does not judge, the hub does: its word stands at the field.
  await field(page, "email").getByRole("textbox").fill("nobody");
  await ready(page);
  await button(page, "accept").click();
  await field(page, "email").getByText("It wants an email address.").waitFor();
  await assertAccessible(page, "a form with a problem");
  await field(page, "email").getByRole("textbox").fill("ada@example.org");
  await ready(page);
  await button(page, "accept").click();
  await turnEnds(page);
  assert.match(
    await answers(page),
    /You answered: \{"cups":2,"email":"ada@example.org","extras":\["milk","ice"\],"name":"Ada","size":"s","takeOut":false\}/,
  );
  const line = page.locator('[data-testid="elicitation"][data-state="accepted"]');
  assert.equal(
    (await line.innerText()).replace(/\s+/g, " ").trim(),
    "Answered Tea or coffee? · by local Cups: 2 Email: ada@example.org Extras: Milk, Ice Name: Ada Size: Small To take out: No Tip: No answer",
  );
  await assertAccessible(page, "an answered form");
  // Read again, it says the same.
  await page.reload();
  await line.getByText("ada@example.org").waitFor();
});

test("what just came, or was answered a moment ago, takes no answer", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub);
  await say(page, "/ask First?");
  await card(page).waitFor();
  // By a pointer, and as a screen reader does it.
  await page.evaluate(() => document.querySelector('[data-option-id="decline"]').click());
  await card(page).getByText("Not taken: this has only just come into view.").waitFor();
  assert.equal(await card(page).count(), 1);
  // No key answers it: digits are for its fields.
  await ready(page);
  await page.locator(".elicitation").focus();
  await page.keyboard.press("1");
  await page.keyboard.press("2");
  await field(page, "tip").getByRole("textbox").focus();
  await page.keyboard.press("1");
  await page.keyboard.press("Enter");
  assert.equal(await field(page, "tip").getByRole("textbox").inputValue(), "1");
  assert.equal(await card(page).count(), 1);
  await button(page, "decline").click();
  await turnEnds(page);
  assert.match(await answers(page), /You declined to answer\./);
});

test("a page is shown whole, opens by the button alone, and learns nothing of the dashboard", async () => {
  const page = await stage.context.newPage();
  let opened;
  const stranger = createServer((request, response) => {
    opened ??= request.headers;
    response.end("<title>stranger</title>");
  });
  await new Promise((listening) => stranger.listen(0, "127.0.0.1", listening));
  try {
    const url = `http://127.0.0.1:${stranger.address().port}/login?state=a%20b`;
    await newSession(page, stage.hub);
    await say(page, `/page ${url}`);
    await card(page).waitFor();
    assert.equal(await page.getByTestId("elicitation-url").innerText(), url);
    assert.match(await page.getByTestId("elicitation-host").innerText(), /of 127\.0\.0\.1:\d+$/);
    assert.equal(await card(page).locator("a").count(), 0);
    await assertAccessible(page, "a page to open");
    await ready(page);
    const [tab] = await Promise.all([stage.context.waitForEvent("page"), button(page, "accept").click()]);
    await tab.waitForLoadState();
    assert.equal(tab.url(), url);
    assert.equal(await tab.evaluate(() => window.opener), null);
    assert.equal(opened.referer, undefined);
    await tab.close();
    await turnEnds(page);
    assert.match(await answers(page), /You opened the page\./);
    await page.locator('[data-testid="elicitation"][data-state="accepted"]').getByText("Page opened").waitFor();
  } finally {
    stranger.close();
  }
});

test("an answer given elsewhere is shown, and what was typed survives scrolling away", async () => {
  const page = await stage.context.newPage();
  await newSession(page, stage.hub, { title: "Questions" });
  await say(page, "/stream 400");
  await turnEnds(page);
  await say(page, "/ask Where?");
  await card(page).waitFor();
  await field(page, "name").getByRole("textbox").fill("Grace");
  assert.match(await page.getByTestId("pending-approvals").first().innerText(), /^1\s+pending questions$/);
  await page.getByTestId("transcript").evaluate((view) => (view.scrollTop = 0));
  await page.getByTestId("pending-notice").getByText("The agent waits for your answer.").waitFor();
  await page.getByTestId("pending-notice").getByRole("button").click();
  await ready(page);
  assert.equal(await field(page, "name").getByRole("textbox").inputValue(), "Grace");
  const path = `${stage.hub.url}/api/sessions/${sessionId(page)}`;
  const { elicitations } = await (await fetch(`${path}/elicitations`)).json();
  const answered = await fetch(`${path}/answer`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ interactionId: elicitations[0].interactionId, action: "cancel" }),
  });
  assert.equal(answered.status, 200);
  await turnEnds(page, 2);
  await page.getByText("Closed without an answer").waitFor();
  assert.match(await answers(page), /You gave no answer\./);
});

test("on a phone the form fits, and a finger answers it", async () => {
  const phone = { viewport: { width: 390, height: 700 }, hasTouch: true, isMobile: true };
  const context = await newContext(stage.browser, stage.complaints, phone);
  const page = await context.newPage();
  await newSession(page, stage.hub);
  await say(page, "/ask On the go?");
  await card(page).waitFor();
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
  assert.equal(wide, false, "the page scrolls sideways");
  await field(page, "name").getByRole("textbox").fill("Ada");
  await field(page, "size").getByText("Large").tap();
  await ready(page);
  await button(page, "accept").tap();
  await turnEnds(page);
  assert.match(await answers(page), /"size":"l"/);
  await context.close();
});
