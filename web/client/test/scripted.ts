import { afterEach } from "node:test";

import { Follower, type Peer, ScriptedHub } from "./hub.js";

// Hubs and streams of a test, which end with it.

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

export async function start(script: (peer: Peer, index: number) => void): Promise<ScriptedHub> {
  const hub = await ScriptedHub.start(script);
  cleanups.push(() => hub.stop());
  return hub;
}

export function follow(hub: ScriptedHub, options: ConstructorParameters<typeof Follower>[1] = {}): Follower {
  const follower = new Follower(hub, options);
  cleanups.push(() => follower.stream.close());
  return follower;
}

/** Replays up to `last` from the cursor, as a hub does that has lost nothing. */
export function replay(peer: Peer, last: number, epoch = "e1"): void {
  peer.connected(epoch, last);
  peer.outputs(Number(peer.after.split("-").at(-1)) + 1, last);
  peer.control("caught_up", { seq: last });
}
