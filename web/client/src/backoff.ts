export interface BackoffOptions {
  /** The first upper bound. Milliseconds. */
  baseMs?: number;
  /** No wait is longer. Milliseconds. */
  maxMs?: number;
  /** In [0, 1); for tests. */
  random?: () => number;
}

/**
 * Backoff gives the waits between attempts: exponential with full jitter. Each
 * is drawn from the whole range between zero and a bound that doubles, so that
 * clients which lost their server together do not come back together.
 */
export class Backoff {
  readonly #baseMs: number;
  readonly #maxMs: number;
  readonly #random: () => number;
  #attempt = 0;

  constructor(options: BackoffOptions = {}) {
    this.#baseMs = options.baseMs ?? 500;
    this.#maxMs = options.maxMs ?? 15_000;
    this.#random = options.random ?? Math.random;
  }

  /** The next wait, of at least `floorMs`. Milliseconds. */
  next(floorMs = 0): number {
    const bound = Math.min(this.#maxMs, this.#baseMs * 2 ** this.#attempt);
    this.#attempt = Math.min(this.#attempt + 1, 30); // 2 ** 30 is beyond any bound, and stays a number
    return Math.max(floorMs, Math.round(this.#random() * bound));
  }

  /** Called once a connection has proved stable. */
  reset(): void {
    this.#attempt = 0;
  }
}
