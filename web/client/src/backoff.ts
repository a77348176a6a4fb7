export interface BackoffOptions {
  /** The first upper bound. Milliseconds. */
  baseMs?: number;
  /** No wait is longer. Milliseconds. */
  maxMs?: number;
  /** In [0, 1); for tests. */
  random?: () => number;
}

export interface Backoff {
  /** The next wait, of at least `floorMs`. Milliseconds. */
  next(floorMs?: number): number;
  /** Called once a connection has proved stable. */
  reset(): void;
}

/**
 * Gives the waits between attempts: exponential with full jitter. Each is drawn
 * from the whole range between zero and a bound that doubles, so that clients
 * which lost their server together do not come back together.
 */
export function makeBackoff({ baseMs = 500, maxMs = 15_000, random = Math.random }: BackoffOptions = {}): Backoff {
  let attempt = 0;
  return {
    next(floorMs = 0) {
      // Beyond 2 ** 1023 it is Infinity, and still a bound.
      const bound = Math.min(maxMs, baseMs * 2 ** attempt++);
      return Math.max(floorMs, Math.round(random() * bound));
    },
    reset() {
      attempt = 0;
    },
  };
}
