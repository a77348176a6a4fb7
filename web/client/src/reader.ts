import type { HubError } from "./errors.js";

/** The stream's end of a loop. */
export interface Reader<T> extends AsyncIterableIterator<T> {
  push(item: T): void;
  /** With an error, the loop throws it once it has got what is left. */
  end(error?: HubError): void;
}

/**
 * Hands the items of a stream to one `for await` loop. It holds `limit` of them:
 * when the loop falls that far behind, the stream is asked to pause, and to go on
 * once the loop has caught up. Nothing is lost by that, since the hub keeps the
 * log and the stream its cursor.
 */
export function makeReader<T>(limit: number, onPause: (paused: boolean) => void, onReturn: () => void): Reader<T> {
  const items: T[] = [];
  /** Those who wait for the next item; mostly one, but a loop may ask ahead. */
  const waiting: (() => void)[] = [];
  let paused = false;
  let over: { error: HubError | undefined } | undefined;

  const pause = (now: boolean) => {
    if (now === paused) return;
    paused = now;
    onPause(now);
  };
  const reader: Reader<T> = {
    push(item) {
      items.push(item);
      waiting.shift()?.();
      if (items.length >= limit) pause(true);
    },
    end(error) {
      over ??= { error };
      for (const wake of waiting.splice(0)) wake();
    },
    async next() {
      while (items.length === 0) {
        if (over?.error) throw over.error;
        if (over) return { done: true, value: undefined };
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
      const value = items.shift()!;
      if (items.length === 0) pause(false);
      return { done: false, value };
    },
    async return() {
      items.length = 0;
      pause(false);
      onReturn();
      reader.end();
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]: () => reader,
  };
  return reader;
}
