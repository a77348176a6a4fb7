import assert from "node:assert/strict";
import { test } from "node:test";
import { browserName, userOf } from "../src/sign-in-ticket.js";

test("a ticket says whom it signs in", () => {
  assert.equal(userOf("YW5u.SECRET"), "ann");
  assert.equal(userOf(`${Buffer.from("Jürgen 漢").toString("base64url")}.x`), "Jürgen 漢");
  for (const bad of ["", "!.x", "_w.x"]) assert.equal(userOf(bad), "");
});

test("a browser has a name for people", () => {
  assert.equal(
    browserName("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    "Firefox on Linux",
  );
  assert.equal(
    browserName(
      "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36",
    ),
    "Chrome on Android",
  );
  assert.equal(browserName(""), "A browser");
});
