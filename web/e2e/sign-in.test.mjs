// Browsers that stay signed in, and a phone that comes by a ticket, on the built binary.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startBrowser, startHub } from "./hub.mjs";

const key = "e2e-key-that-is-long-enough-0123456789";
let browser;
before(async () => {
  browser = await startBrowser();
});
after(() => browser?.close());

test("a browser stays signed in, and lets a phone in by a code that works once", async () => {
  const hub = await startHub({ env: { SESSIONHUB_API_KEY: key } });
  const desktop = await browser.newContext();
  const phone = await browser.newContext({ viewport: { width: 390, height: 800 } });
  try {
    const page = await desktop.newPage();
    await page.goto(hub.url);
    await page.getByTestId("api-key").fill(key);
    await page.getByTestId("stay-signed-in").check();
    await page.getByTestId("sign-in").click();
    await page.getByTestId("new-session").click();
    await page.getByTestId("create").click();
    await page.locator('[data-testid="connection"][data-state="live"]').waitFor();
    assert.equal(await page.evaluate(() => Object.values(sessionStorage).join().includes("e2e-key")), false);
    assert.equal(await page.evaluate(() => document.cookie), "");

    // Another tab has nothing of this one but the cookie.
    const tab = await desktop.newPage();
    await tab.goto(hub.url);
    await tab.getByTestId("session-row").waitFor();

    await tab.getByTestId("account").click();
    await tab.getByTestId("open-on-phone").click();
    await tab.getByTestId("qr").waitFor();
    await tab.getByTestId("only-here").waitFor(); // the test's hub listens on loopback
    const link = await tab.getByTestId("phone-link").inputValue();
    assert.match(link, /#sign-in=/);

    const there = await phone.newPage();
    await there.goto(link);
    await there.getByTestId("session-row").waitFor();
    assert.doesNotMatch(there.url(), /sign-in/);
    await there.goBack().catch(() => undefined);
    assert.doesNotMatch(there.url(), /sign-in/);

    // Who opens the link again gets nothing, and who is signed in already is asked.
    const late = await (await browser.newContext()).newPage();
    await late.goto(link);
    await late.getByRole("alert").waitFor();
    await late.getByTestId("drop-ticket").click();
    await late.getByTestId("api-key").waitFor();
    await late.context().close();
    const asked = await desktop.newPage();
    await asked.goto(link);
    await asked.getByTestId("use-ticket").waitFor();
    await asked.getByTestId("drop-ticket").click();
    await asked.getByTestId("session-row").waitFor();

    // The desktop ends the phone's sign-in.
    await there.goto(hub.url);
    await there.getByTestId("session-row").click();
    await there.locator('[data-testid="connection"][data-state="live"]').waitFor();
    await page.getByTestId("account").click();
    await page.locator('[data-testid="sign-in-row"][data-current="false"]').getByTestId("end-sign-in").click();
    await there.getByTestId("api-key").waitFor();

    // And signs itself out, for all tabs.
    await page.keyboard.press("Escape");
    await page.getByTestId("sign-out").click();
    await page.getByTestId("api-key").waitFor();
    await tab.reload();
    await tab.getByTestId("api-key").waitFor();
  } finally {
    await desktop.close();
    await phone.close();
    await hub.stop();
  }
});

test("a hub in local mode has nothing to sign in to", async () => {
  const hub = await startHub();
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    const answered = page.waitForResponse((response) => response.url().endsWith("/api/sign-ins"));
    await page.goto(hub.url);
    await answered;
    await page.getByTestId("operations").waitFor();
    assert.equal(await page.getByTestId("account").count(), 0);
    assert.equal(await page.getByTestId("sign-out").count(), 0);
  } finally {
    await context.close();
    await hub.stop();
  }
});
