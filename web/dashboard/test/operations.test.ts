import assert from "node:assert/strict";
import { test } from "node:test";

import type { Session, Stats } from "@sessionhub/client";
import { linePath, niceTop, Sampler } from "../src/operations.js";

function session(sessionId: string, lastSeq: number, fields: Partial<Session> = {}): Session {
  return {
    sessionId,
    lastSeq,
    userId: "u",
    spaceId: "",
    provider: "demo",
    workingDirectory: "/",
    title: "",
    status: "idle",
    createdAt: new Date(0).toISOString(),
    lastActivityAt: "",
    expiresAt: "",
    epoch: "e",
    connections: { websocket: 0, sse: 0 },
    pendingApprovals: 0,
    ...fields,
  };
}

/** Counts of three buckets: up to 50 µs, up to 1 ms, slower. */
function stats(fast = 0, slow = 0, slowest = 0, fields: Partial<Stats> = {}): Stats {
  const delivery = [{ upToMicros: 50, count: fast }, { upToMicros: 1000, count: slow }, { count: slowest }];
  return { node: "n", startedAt: "t", delivery, ...fields };
}

test("events are counted by how far the logs grew between two readings", () => {
  const sampler = new Sampler();
  assert.equal(
    sampler.sample(10_000, 1, [session("a", 100)], [], stats()).eventsPerSecond,
    0,
    "nothing is known of before",
  );
  const born = session("b", 6, { createdAt: new Date(11_000).toISOString() });
  assert.equal(sampler.sample(12_000, 1, [session("a", 120), born], [], stats()).eventsPerSecond, 13);
  assert.equal(
    sampler.sample(14_000, 1, [born], [], stats()).eventsPerSecond,
    0,
    "a session that went takes its count along",
  );
  const old = session("c", 5_000, { createdAt: new Date(1_000).toISOString() });
  assert.equal(
    sampler.sample(16_000, 1, [born, old], [], stats()).eventsPerSecond,
    0,
    "an old one that was not listed before is not new",
  );
});

test("sessions, connections, approvals and workers are summed up", () => {
  const sample = new Sampler().sample(
    0,
    7,
    [
      session("a", 1, { status: "running", connections: { websocket: 2, sse: 1 } }),
      session("b", 1, { status: "requires_action", connections: { websocket: 1, sse: 0 }, pendingApprovals: 2 }),
      session("c", 1),
    ],
    [{ name: "demo", available: true, workers: 3 }],
    stats(),
  );
  assert.equal(sample.websocket, 3);
  assert.equal(sample.sse, 1);
  assert.equal(sample.pendingApprovals, 2);
  assert.deepEqual(
    [sample.byStatus.running, sample.byStatus.requires_action, sample.byStatus.idle, sample.byStatus.failed],
    [1, 1, 1, 0],
  );
  assert.deepEqual(sample.workers, { demo: 3 });
});

test("the time of deliveries is that of the window between two readings of one process", () => {
  const sampler = new Sampler();
  const p99 = (now: Stats) => sampler.sample(0, 1, [], [], now).deliveryP99Ms;
  assert.equal(p99(stats(1000, 50)), NaN, "what was before the first reading is not told");
  assert.equal(p99(stats(1099, 51)), 0.05, "99 of 100 were fast");
  assert.equal(p99(stats(1197, 53)), 1, "98 of 100 were");
  assert.equal(p99(stats(1197, 53, 1)), 1, "slower than the last bound, which is all that is known");
  assert.equal(p99(stats(1197, 53, 1)), NaN, "nothing was delivered");
  assert.equal(p99(stats(1200, 53, 1, { node: "other" })), NaN, "another node answered");
  assert.equal(p99(stats(1300, 53, 1, { node: "other", startedAt: "later" })), NaN, "it was started again");
});

test("a line ends at the right edge, and its scale is a round number", () => {
  assert.equal(linePath([0, 5, 10], 3, 10, 100, 50), "M0.0,50.0L0.0,50.0L50.0,25.0L100.0,0.0");
  assert.equal(linePath([10], 3, 10, 100, 50), "M100.0,0.0L100.0,0.0");
  assert.equal(
    linePath([10, NaN, 10], 3, 10, 100, 50),
    "M0.0,0.0L0.0,0.0M100.0,0.0L100.0,0.0",
    "nothing is drawn where nothing is known",
  );
  assert.deepEqual([0, 1, 1.2, 3, 7, 11, 200, 0.3].map(niceTop), [1, 1, 2, 5, 10, 20, 200, 0.5]);
});
