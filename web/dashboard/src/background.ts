import { HubError, type HubApi } from "@sessionhub/client";
import { asUser } from "./hub.js";

// What the page asks the hub by itself, again and again, goes one after the other. Over
// HTTP/1.1 a browser has six connections to a hub: these calls share one, so that an answer
// of the user's finds another, also where the network has died without a word.

/** So long a call may take before the next one has its turn. Milliseconds. */
const patienceMs = 10_000;

let before: Promise<unknown> = Promise.resolve();

/** Makes a call as the page's user when those before it are done. Rejects as `unreachable` where no answer comes in time. */
export function inBackground<T>(call: (hub: HubApi, signal: AbortSignal) => Promise<T>): Promise<T> {
  const made = before.then(async () => {
    const signal = AbortSignal.timeout(patienceMs);
    try {
      return await asUser((hub) => call(hub, signal));
    } catch (error) {
      throw signal.aborted ? new HubError("unreachable", "no answer from the hub") : error;
    }
  });
  before = made.catch(() => undefined);
  return made;
}
