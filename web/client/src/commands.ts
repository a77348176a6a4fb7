import { HubError } from "./errors.js";
import type { Command, IdentifiedCommand, Reply } from "./transport.js";

/** More than this many unanswered commands are refused: nothing is queued without a bound. */
export const maxPendingCommands = 64;

interface Pending {
  command: IdentifiedCommand;
  /** How often it was handed to a connection. */
  sends: number;
  /** It is on the present connection, unanswered. */
  inFlight: boolean;
  resolve(data: Record<string, unknown>): void;
  reject(error: HubError): void;
}

/**
 * CommandQueue holds the commands that have no answer yet, in order, across
 * connections. What was unanswered when a connection broke is sent again on
 * the next, which is safe because the hub recognises a repeat: a message by
 * its `messageId`, an answer to an approval by its `interactionId`, a cancel by
 * the `messageId` of the turn. A cancel that names no turn is not repeated: by
 * then it could hit another one.
 */
export class CommandQueue {
  readonly #pending = new Map<string, Pending>();
  #send: ((command: IdentifiedCommand) => void) | undefined;
  #count = 0;

  /** Queues a command, and sends it at once where a connection is open. */
  add(command: Command): Promise<Record<string, unknown>> {
    if (this.#pending.size >= maxPendingCommands) {
      return Promise.reject(
        new HubError("too_many_pending", `${this.#pending.size} commands wait for an answer`),
      );
    }
    const id = `c${++this.#count}`;
    return new Promise((resolve, reject) => {
      const pending: Pending = {
        command: { ...command, id },
        sends: 0,
        inFlight: false,
        resolve,
        reject,
      };
      this.#pending.set(id, pending);
      this.#transmit(pending);
    });
  }

  /** A connection is ready: everything that is unanswered goes out on it, in order. */
  attach(send: (command: IdentifiedCommand) => void): void {
    this.#send = send;
    for (const pending of this.#pending.values()) this.#transmit(pending);
  }

  /** The connection is gone. */
  detach(): void {
    this.#send = undefined;
    for (const [id, pending] of this.#pending) {
      pending.inFlight = false;
      if (pending.sends > 0 && !repeatable(pending.command)) {
        this.#pending.delete(id);
        pending.reject(
          new HubError("connection_lost", "the connection broke before the hub answered"),
        );
      }
    }
  }

  answer(reply: Reply): void {
    const pending = this.#pending.get(reply.id);
    if (!pending) return;
    this.#pending.delete(reply.id);
    if (reply.type === "ack") {
      pending.resolve(reply.data ?? {});
      return;
    }
    const { code, detail, retryAfter, ...rest } = reply.error;
    const { command } = pending;
    if (code === "approval_resolved" && command.type === "approve" && pending.sends > 1) {
      // The first sending probably got through and only its answer was lost.
      // What became of the approval is in the fields either way.
      pending.resolve({ interactionId: command.data.interactionId, ...rest });
      return;
    }
    pending.reject(
      new HubError(code, detail ?? code, {
        fields: rest,
        ...(retryAfter === undefined ? {} : { retryAfterSeconds: retryAfter }),
      }),
    );
  }

  /** Gives up what is unanswered: all of it, or only what the present connection carries. */
  reject(which: "all" | "in_flight", error: HubError): void {
    for (const [id, pending] of this.#pending) {
      if (which === "in_flight" && !pending.inFlight) continue;
      this.#pending.delete(id);
      pending.reject(error);
    }
  }

  #transmit(pending: Pending): void {
    if (!this.#send) return;
    pending.sends++;
    pending.inFlight = true;
    this.#send(pending.command);
  }
}

function repeatable(command: Command): boolean {
  if (command.type === "cancel") return command.data.messageId !== undefined;
  // The next connection carries the new token itself.
  return command.type !== "auth";
}
