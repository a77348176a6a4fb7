import { HubError } from "@sessionhub/client";

/** Unless the hub names a time. Milliseconds. */
const waitMs = 1_000;
/** Refusals that say "later". A limit on sessions is none: it asks for something to be done. */
const later = new Set(["rate_limited", "queue_full", "unavailable", "internal", "unreachable", "connection_lost"]);

/** In how long a refused call is worth a repeat; undefined: a repeat would be refused as well. Milliseconds. */
export function retryWait(error: unknown): number | undefined {
  if (!(error instanceof HubError)) return undefined;
  if (!later.has(error.code) && !(error.status! >= 500)) return undefined;
  // A time named by the hub is kept; the rest come back spread out.
  return error.retryAfterSeconds === undefined ? waitMs * (0.5 + Math.random()) : 1_000 * error.retryAfterSeconds;
}

/**
 * Makes a call that is safe to repeat until the hub takes it, refuses it for
 * good, or has said "later" for `forMs`. Rejects with the last refusal.
 */
export async function retrying<T>(call: () => Promise<T>, forMs: number): Promise<T> {
  const until = Date.now() + forMs;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      const wait = retryWait(error);
      if (wait === undefined || Date.now() + wait > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}
