// The frames of sessionhub's streams, as the server's protocol reference
// (docs/PROTOCOL.md) defines them. Servers may add fields and event types at
// any time: a reader ignores what it does not know.

/** What a session is doing. It is always that of the last `status` event. */
export type SessionStatus =
  | "idle"
  | "queued"
  | "starting"
  | "running"
  | "requires_action"
  | "ended"
  | "failed";

export type StopReason =
  | "end_turn"
  | "cancelled"
  | "refusal"
  | "max_tokens"
  | "max_turn_requests"
  | "error";

/** Which side an approval option is on, and for how long it holds. */
export type Decision = "allow_once" | "allow_always" | "reject_once" | "reject_always";

export interface TextBlock {
  type: "text";
  text: string;
}

/** A user's message: plain text, or blocks of text. */
export type MessageContent = string | TextBlock[];

/**
 * A piece of what a tool shows. `content` wraps a block of text or another
 * ACP content block, `diff` is a change of one file, and other kinds may come.
 */
export interface ToolContent {
  type: string;
  content?: unknown;
  path?: string;
  oldText?: string | null;
  newText?: string;
  [field: string]: unknown;
}

export interface ToolLocation {
  path: string;
  line?: number | null;
}

export interface StatusData {
  status: SessionStatus;
  messageId?: string;
  detail?: string;
}

export interface MessageData {
  messageId: string;
  content: MessageContent;
  userId: string;
}

export interface OutputData {
  messageId: string;
  /** To be appended to what came before for the same message and kind. */
  text: string;
  kind: "text" | "thought";
}

/** Merged by `toolCallId`: a field that is absent keeps its last value. */
export interface ToolCallData {
  messageId: string;
  toolCallId: string;
  title?: string;
  kind?: string;
  status?: string;
  input?: unknown;
  output?: unknown;
  content?: ToolContent[];
  locations?: ToolLocation[];
}

export interface PlanEntry {
  content: string;
  priority?: string;
  status?: string;
}

export interface PlanData {
  messageId: string;
  entries: PlanEntry[];
}

export interface ApprovalOption {
  optionId: string;
  name: string;
  /** A {@link Decision}, unless the agent invents one. */
  kind: string;
}

export interface ToolApprovalData {
  messageId: string;
  interactionId: string;
  toolCallId: string;
  title: string;
  kind: string;
  input: unknown;
  content?: ToolContent[];
  options: ApprovalOption[];
  expiresAt: string;
}

export interface ApprovalResolvedData {
  interactionId: string;
  outcome: "selected" | "cancelled" | "expired";
  optionId?: string;
  kind?: string;
  by?: string;
}

export interface AgentUpdateData {
  kind: string;
  raw: unknown;
}

export interface CompleteData {
  messageId: string;
  stopReason: StopReason;
  error?: { code: string; message: string; retryable?: boolean };
  usage?: unknown;
}

export interface ClosedData {
  reason: "deleted" | "expired" | "failed";
}

export interface EventData {
  status: StatusData;
  message: MessageData;
  output: OutputData;
  tool_call: ToolCallData;
  plan: PlanData;
  tool_approval: ToolApprovalData;
  approval_resolved: ApprovalResolvedData;
  agent_update: AgentUpdateData;
  complete: CompleteData;
  closed: ClosedData;
}

export interface LoggedEvent<T extends keyof EventData> {
  /**
   * Set on a compacted event, which stands for everything from `from` to
   * `seq`. When `from` is not behind the last event that was seen, this event
   * replaces what was seen from `from` on.
   */
  from?: number;
  /** Position in the session's log: from 1, growing by exactly 1. */
  seq: number;
  type: T;
  /** RFC 3339 with milliseconds, by the store's clock. */
  time: string;
  data: EventData[T];
}

/** One event of a session's log. Types that this client does not know are delivered too. */
export type SessionEvent = { [T in keyof EventData]: LoggedEvent<T> }[keyof EventData];

export interface ConnectedData {
  sessionId: string;
  epoch: string;
  firstSeq: number;
  lastSeq: number;
  status: SessionStatus;
  node: string;
  heartbeatSeconds: number;
}

/** Events `fromSeq` to `toSeq`, both included, that the log no longer has. */
export interface GapData {
  epoch: string;
  fromSeq: number;
  toSeq: number;
  /**
   * `trimmed`: they were dropped from the log's beginning, and it goes on
   * after `toSeq`. `epoch_changed`: what was seen of them is void, and the log
   * goes on at `fromSeq` with other events.
   */
  reason: "trimmed" | "epoch_changed";
}

export interface ControlData {
  connected: ConnectedData;
  caught_up: { seq: number };
  gap: GapData;
  expiring: { expiresAt: string };
  draining: { reconnectAfterMs: number };
}

/** A frame about the stream itself. It has no `seq` and is in no log. */
export type ControlFrame = {
  [T in keyof ControlData]: { type: T; time: string; data: ControlData[T] };
}[keyof ControlData];

/** The body of a session, as the HTTP API returns it. */
export interface Session {
  sessionId: string;
  userId: string;
  spaceId: string;
  provider: string;
  workingDirectory: string;
  title: string;
  metadata?: Record<string, unknown>;
  agentOptions?: { model?: string; mode?: string };
  status: SessionStatus;
  createdAt: string;
  lastActivityAt: string;
  expiresAt: string;
  lastSeq: number;
  epoch: string;
  connections: { websocket: number; sse: number };
  pendingApprovals: number;
}
