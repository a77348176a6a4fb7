import type { AnswerAction, FormContent } from "./elicitation.js";
import type { Decision, Delivery, MessageContent, OptionValue, QueueChange } from "./events.js";

/** What a client can ask of a session. */
export type Command =
  | { type: "message"; data: { content: MessageContent; messageId: string; delivery?: Delivery | undefined } }
  | { type: "approve"; data: ApproveData }
  | { type: "answer"; data: AnswerData }
  | { type: "cancel"; data: { messageId?: string | undefined; hold?: boolean | undefined } }
  | { type: "rename"; data: { title?: string; pinned?: boolean; archived?: boolean } }
  | { type: "set_option"; data: { configId: string; value: OptionValue } }
  | { type: "queue"; data: QueueChange }
  | { type: "auth"; data: { token: string } };

export type ApproveData =
  | ({ interactionId: string; optionId: string } & Reason)
  | ({ interactionId: string; decision: Decision } & Reason);

export interface Reason {
  reason?: string | undefined;
  /** Makes the reason the next message if the agent takes no reasons. */
  reasonAsMessage?: boolean | undefined;
}

export interface AnswerData {
  interactionId: string;
  action: AnswerAction;
  /** With `accept` of a form: a value for each field that was filled. */
  content?: FormContent | undefined;
}

export type IdentifiedCommand = Command & { id: string };

/** The answer to one command, matched by the `id` that the client chose. */
export type Reply =
  | { type: "ack"; id: string; data: Record<string, unknown> | undefined }
  | { type: "error"; id: string; error: ReplyError };

/** A refusal, by one of the API's error codes; `unreachable` where no answer of the hub's came. */
export interface ReplyError {
  code: string;
  detail?: string;
  /** Seconds. */
  retryAfter?: number | undefined;
  [field: string]: unknown;
}

/** Everything but a reply that a stream can carry. */
export interface StreamFrame {
  /** On a connection for many sessions: whose frame it is. */
  sessionId?: string;
  type: string;
  seq?: number;
  from?: number;
  time?: string;
  data?: unknown;
}

/** Why a connection is over. */
export interface ConnectionEnd {
  /** The WebSocket close code, or the one that says the same; 1006 when the connection was cut or never came to be. */
  code: number;
  reason: string;
  /** The hub named a time before which to come back is of no use. Seconds. */
  retryAfterSeconds?: number | undefined;
  /** Whoever ends it comes back then, and wants no jitter. Milliseconds. */
  waitMs?: number;
}

/** What a connection tells its owner. */
export interface ConnectionHandlers {
  onFrame(frame: StreamFrame): void;
  /** May come after the end, where a command travels beside the stream. */
  onReply(reply: Reply): void;
  /** Called once; no frame comes after it. */
  onEnd(end: ConnectionEnd): void;
}

/** One connection to one session's stream. */
export interface Connection {
  /** Sends a command. Only valid after the stream's `connected` frame; its reply comes by `onReply`. */
  send(command: IdentifiedCommand): void;
  /** Finds out soon whether the connection still lives: the machine slept, or its network changed. */
  check(): void;
  /** Ends the connection. `onEnd` is not called for it. May be called twice. */
  close(): void;
}

export type TransportKind = "websocket" | "sse";

/**
 * A way to reach a session's stream. It connects once and never retries: the
 * SessionStream decides when to open the next connection, and from where.
 */
export interface Transport {
  readonly kind: TransportKind;
  /** Opens a connection that reads on after the cursor, with this credential. */
  open(after: string, token: string, handlers: ConnectionHandlers): Connection;
}
