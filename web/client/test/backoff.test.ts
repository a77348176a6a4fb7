import assert from "node:assert/strict";
import { test } from "node:test";

import { makeBackoff } from "../src/backoff.js";

test("the bound doubles from half a second to 15 s and starts again after a reset", () => {
  const backoff = makeBackoff({ random: () => 1 });
  const waits = Array.from({ length: 8 }, () => backoff.next());
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
  backoff.reset();
  assert.equal(backoff.next(), 500);
});

test("the jitter is full: any wait between nothing and the bound, but never under the floor", () => {
  const draws = [0, 0.25, 0.5];
  const backoff = makeBackoff({ random: () => draws.shift() ?? 0 });
  assert.equal(backoff.next(), 0);
  assert.equal(backoff.next(), 250);
  assert.equal(backoff.next(), 1000);
  assert.equal(backoff.next(5000), 5000);
});

test("after very many attempts the bound still holds", () => {
  const backoff = makeBackoff({ random: () => 1 });
  for (let n = 0; n < 5000; n++) assert.ok(backoff.next() <= 15_000);
});
