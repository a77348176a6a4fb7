import type { Transport, TransportKind } from "./transport.js";

/** Where the memory of blocked hosts outlasts the page; `sessionStorage` and `localStorage` fit. */
export type ChoiceStorage = Pick<Storage, "getItem" | "setItem">;

export interface ChoiceOptions {
  /** Remembered under this name. */
  host: string;
  websocket: Transport | undefined;
  sse: Transport | undefined;
  storage?: ChoiceStorage | undefined;
  /** After how long a socket that was blocked is tried again; doubled each time it is still blocked, to 16 times as long. Milliseconds. */
  retryWebSocketMs?: number | undefined;
}

/**
 * Says over which transport to connect next. It begins with the WebSocket. When
 * that is blocked, or keeps breaking, it takes SSE, and once SSE has proved to
 * work where the socket did not, it remembers that for the host for a while.
 */
export interface TransportChoice {
  next(): Transport;
  /** The WebSocket, where SSE could take its place, and it that of SSE again. */
  better: Transport | undefined;
  /** In how long the socket is worth a try; 0 or less: now. Milliseconds. */
  retryIn(): number;
  connected(kind: TransportKind): void;
  /** The socket does not work from here. */
  blocked(): void;
  /**
   * A connection was cut, or never came to be. `lifeMs`: from its `connected`
   * on, if that came; `hubAnswers`: the hub does, by another way. True: try the
   * other transport, at once.
   */
  failed(kind: TransportKind, lifeMs: number | undefined, hubAnswers: boolean): boolean;
}

/** A connection that broke within this time says something about the way, and not only about the moment. */
const goodLifeMs = 60_000;
const breaksAllowed = 3;
const maxDoublings = 4;

interface Memory {
  until: number;
  times: number;
}

/** Shared by the streams of a page: what one learned about a host spares the others the wait. */
const memories = new Map<string, Memory>();
const unblocked: Memory = { until: 0, times: 0 };

export function transportChoice(options: ChoiceOptions): TransportChoice {
  const { websocket, sse, storage, retryWebSocketMs = 300_000 } = options;
  const name = `sessionhub.sse ${options.host}`;
  /** SSE has yet to show that the socket was to blame. */
  let suspect = false;
  /** Connections in a row that broke soon. */
  let breaks = 0;

  const recall = (): Memory => {
    let memory = memories.get(name);
    try {
      memory ??= JSON.parse(storage!.getItem(name)!) as Memory;
    } catch {
      // There is none, or the page may not have it.
    }
    return memory ?? unblocked;
  };
  const keep = (memory: Memory) => {
    memories.set(name, memory);
    try {
      storage?.setItem(name, JSON.stringify(memory));
    } catch {
      // It is remembered for this page, at least.
    }
  };
  const retryIn = () => recall().until - Date.now();
  const blocked = () => {
    const { times } = recall();
    keep({ until: Date.now() + retryWebSocketMs * 2 ** Math.min(times, maxDoublings), times: times + 1 });
  };

  return {
    better: sse && websocket,
    retryIn,
    blocked,
    next: () => (sse && (!websocket || suspect || retryIn() > 0) ? sse : websocket!),
    connected(kind) {
      if (suspect && kind === "sse") blocked();
      suspect = false;
    },
    failed(kind, lifeMs, hubAnswers) {
      const good = lifeMs! >= goodLifeMs;
      const often = !good && ++breaks >= breaksAllowed;
      if (good || often) breaks = 0;
      if (kind === "sse") {
        // If SSE is no better, the socket was not to blame.
        if (often || suspect) keep(unblocked);
        suspect = false;
      } else {
        if (good) keep(unblocked);
        suspect = !!sse && (often || (lifeMs === undefined && hubAnswers));
      }
      return suspect;
    },
  };
}
