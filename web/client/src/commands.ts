import { HubError } from "./errors.js";
import type { Command, IdentifiedCommand, Reply } from "./transport.js";

/** More than this many unanswered commands are refused: nothing is queued without a bound. */
const maxPending = 64;

/** How long to wait before a command is sent again on a connection that lives. Milliseconds. */
const resendMs = 1_000;

/** A command that can be refused with a code that ends in `_resolved`. */
type Answer = Command & { type: "approve" | "answer" };

interface Pending {
  command: IdentifiedCommand;
  /** How often it was handed to a connection. */
  sends: number;
  /** A connection has it, unanswered. */
  inFlight: boolean;
  resolve(data: Record<string, unknown>): void;
  reject(error: HubError): void;
}

export interface CommandQueue {
  /** Queues a command, and sends it at once where a connection is open. */
  add(command: Command): Promise<Record<string, unknown>>;
  /** A connection is ready: what is unanswered goes out on it, in order, but for what another still carries. */
  attach(send: (command: IdentifiedCommand) => void): void;
  /** The connection is gone. */
  detach(): void;
  answer(reply: Reply): void;
  /** Gives up what is unanswered: all of it, or only what the present connection carries. */
  reject(which: "all" | "in_flight", error: HubError): void;
}

/**
 * Holds the commands that have no answer yet, in order, across connections. What
 * was unanswered when a connection broke is sent again on the next, which is
 * safe because the hub recognises a repeat: a message by its `messageId`, an
 * answer to a question by its `interactionId`, a cancel by the `messageId` of
 * the turn. A cancel that names no turn is not repeated: by then it could hit
 * another one. Nor is a change of an option: it could undo somebody else's.
 * Neither is a change of the queue.
 */
export function makeCommandQueue(): CommandQueue {
  const all = new Map<string, Pending>();
  let send: ((command: IdentifiedCommand) => void) | undefined;
  let count = 0;

  const transmit = (pending: Pending) => {
    if (!send || pending.inFlight) return;
    pending.sends++;
    pending.inFlight = true;
    send(pending.command);
  };
  const giveUp = (pending: Pending, error: HubError) => {
    all.delete(pending.command.id);
    pending.reject(error);
  };
  const lost = (pending: Pending) => {
    pending.inFlight = false;
    const { type, data } = pending.command;
    // The next connection carries a new token itself.
    const once = type === "cancel" ? !data.messageId : type === "auth" || type === "queue" || type === "set_option";
    if (pending.sends && once) giveUp(pending, new HubError("connection_lost", "the connection was lost"));
  };

  return {
    async add(command) {
      if (all.size >= maxPending) throw new HubError("too_many_pending", `${all.size} commands wait`);
      const id = `c${++count}`;
      return new Promise((resolve, reject) => {
        const pending: Pending = { command: { ...command, id }, sends: 0, inFlight: false, resolve, reject };
        all.set(id, pending);
        transmit(pending);
      });
    },
    attach(by) {
      send = by;
      all.forEach(transmit);
    },
    detach() {
      send = undefined;
      all.forEach(lost);
    },
    answer(reply) {
      const pending = all.get(reply.id);
      if (!pending) return;
      if (reply.type === "ack") {
        all.delete(reply.id);
        return pending.resolve(reply.data ?? {});
      }
      const { code, detail, retryAfter: retryAfterSeconds, ...fields } = reply.error;
      const { command } = pending;
      if (code === "unreachable") {
        // Sent beside the stream, and nobody answered. The stream itself may be well.
        lost(pending);
        setTimeout(() => all.has(reply.id) && transmit(pending), resendMs * (0.5 + Math.random()));
      } else if (code.endsWith("_resolved") && pending.sends > 1) {
        // The first sending probably got through and only its answer was lost.
        // What became of the question is in the fields either way.
        all.delete(reply.id);
        pending.resolve({ interactionId: (command as Answer).data.interactionId, ...fields });
      } else {
        giveUp(pending, new HubError(code, detail ?? code, { fields, retryAfterSeconds }));
      }
    },
    reject(which, error) {
      for (const pending of all.values()) {
        if (which === "all" || pending.inFlight) giveUp(pending, error);
      }
    },
  };
}
