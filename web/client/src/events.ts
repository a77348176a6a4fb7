// The frames of sessionhub's streams, as the server's protocol reference
// (docs/PROTOCOL.md) defines them. Servers may add fields and event types at
// any time: a reader ignores what it does not know.

import type { ElicitationData, ElicitationResolvedData } from "./elicitation.js";

/** What a session is doing. It is always that of the last `status` event. */
export type SessionStatus = "idle" | "queued" | "starting" | "running" | "requires_action" | "ended" | "failed";

export type StopReason = "end_turn" | "cancelled" | "refusal" | "max_tokens" | "max_turn_requests" | "error";

/** Which side an approval option is on, and for how long it holds. */
export type Decision = "allow_once" | "allow_always" | "reject_once" | "reject_always";

export interface TextBlock {
  type: "text";
  text: string;
}

/** A picture in base64 (ACP, "Content"); `imageBlock` makes one. */
export interface ImageBlock {
  type: "image";
  mimeType: string;
  data: string;
  text?: never;
}

/** A file that was added to the session (`HubApi.addAttachment`). A client sends the id; the hub adds the rest. */
export interface AttachmentBlock {
  type: "attachment";
  attachmentId: string;
  name?: string;
  mediaType?: string;
  /** Bytes. */
  size?: number;
  text?: never;
}

/** A user's message: plain text, or blocks of text, pictures and files. */
export type MessageContent = string | (TextBlock | ImageBlock | AttachmentBlock)[];

/**
 * A piece of what a tool shows. `content` wraps a block of text or another
 * ACP content block, `diff` is a change of one file, and other kinds may come. A
 * diff whose texts are too long for an event has `hunks` instead of them.
 */
export interface ToolContent {
  type: string;
  content?: unknown;
  path?: string;
  oldText?: string | null;
  newText?: string;
  hunks?: DiffHunk[];
  /** A part of it is missing; of a diff: changed lines. */
  truncated?: boolean;
  [field: string]: unknown;
}

/**
 * A piece of a unified diff. Lines count from 1; a hunk without lines of a text
 * names the line before it. Each line begins with a space, `-` or `+`, or is
 * `\ No newline at end of file`, about the line before it.
 */
export interface DiffHunk {
  oldStart: number;
  oldLines: number;
  newStart: number;
  newLines: number;
  lines: string[];
}

export interface ToolLocation {
  path: string;
  line?: number | null;
}

export interface StatusData {
  status: SessionStatus;
  /** The message that it is about. `running` and `requires_action` without one: the agent works in the background. */
  messageId?: string;
  detail?: string;
}

export interface MessageData {
  messageId: string;
  content: MessageContent;
  userId: string;
  /** Absent for a message that waits its turn. */
  delivery?: "steer" | "now";
  /** It is of the agent's history: it ran elsewhere. */
  replay?: true;
}

/** An agent is ready. There are more fields, for programs. */
export interface AgentStartedData {
  agentInfo?: { name?: string; title?: string; version?: string };
  history: "new" | "loaded" | "resumed";
  /** A running turn takes messages in. */
  steering: boolean;
  /** It takes the reason of an answer to its question. */
  reasons: boolean;
}

/** The messages that wait. A message that comes later stands behind `messageIds` and before `held`. */
export interface QueueData {
  messageIds: string[];
  /** These run after somebody has sent them. */
  held: string[];
}

/** A message that no worker has received. `steering`: it is on its way to the running turn. */
export interface QueuedMessage {
  messageId: string;
  content: MessageContent;
  userId: string;
  held?: boolean;
  steering?: boolean;
}

/** What a message that waits says from now on. */
export interface MessageEditedData {
  messageId: string;
  content: MessageContent;
  userId: string;
}

/** What became of a message that was sent to the turn of the message `into`. */
export interface SteeredData {
  messageId: string;
  into: string;
  /** `injected`: it completes with that turn. `queued`: it waits in front of the others. */
  outcome: "injected" | "queued";
  detail?: string;
}

/** Where a message goes: behind what waits, to the running turn, or next, and the running turn is stopped. */
export type Delivery = "queue" | "steer" | "now";

/** A change of the messages that no worker has received. */
export type QueueChange =
  | { action: "edit"; messageId: string; content: MessageContent }
  | { action: "remove" | "send_now"; messageId: string }
  | { action: "order"; messageIds: string[] }
  | { action: "hold" | "release" | "discard" };

export interface QueuedMessage {
  messageId: string;
  content: MessageContent;
  userId: string;
  held?: boolean;
  /** It is on its way to the running turn, and cannot be changed now. */
  steering?: boolean;
}

export interface OutputData {
  /** Absent: the agent has said it in the background, outside of a turn. */
  messageId?: string;
  /** To be appended to what came before for the same message and kind. */
  text: string;
  kind: "text" | "thought";
}

/** Merged by `toolCallId`: a field that is absent keeps its last value. */
export interface ToolCallData {
  /** Absent: it runs in the background. */
  messageId?: string;
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
  /** Absent: it is of the background. */
  messageId?: string;
  entries: PlanEntry[];
}

export interface ApprovalOption {
  optionId: string;
  name: string;
  /** A {@link Decision}, unless the agent invents one. */
  kind: string;
}

export interface ToolApprovalData {
  /** Absent: the agent asks in the background. */
  messageId?: string;
  interactionId: string;
  toolCallId: string;
  title: string;
  kind: string;
  input: unknown;
  content?: ToolContent[];
  options: ApprovalOption[];
  expiresAt: string;
  /** Some of what is asked is not in here: `approvalContent()` has all of it. */
  truncated?: boolean;
  /** Then the length of that in bytes. */
  fullBytes?: number;
}

/** All of what a pending question asks. */
export interface ApprovalContent {
  interactionId: string;
  toolCallId: string;
  title: string;
  kind: string;
  input: unknown;
  content: ToolContent[];
  options: ApprovalOption[];
  fullBytes: number;
}

export interface ApprovalResolvedData {
  interactionId: string;
  outcome: "selected" | "cancelled" | "expired";
  optionId?: string;
  kind?: string;
  /** The user who answered, `rule` for an earlier "always", or `limit`: too large to be shown. */
  by?: string;
  detail?: string;
}

export interface AgentUpdateData {
  kind: string;
  raw: unknown;
}

/** Something that people should know, and no part of an answer. */
export interface NoticeData {
  /** `history_lost`, `processes_ended`, `agent_exited`, `agent` and others. */
  kind: string;
  severity: "info" | "warning" | "error";
  /** One line that stands alone. */
  title: string;
  description?: string;
  data?: unknown;
}

/** The commands that the agent takes in a message, in place of those before. */
export interface CommandsData {
  availableCommands: AgentCommand[];
  /** Some are left out, or a text is cut. */
  truncated?: boolean;
}

/** A message gives it as `/name`, with what it wants behind. */
export interface AgentCommand {
  name: string;
  description: string;
  input?: { hint: string };
}

export interface Cost {
  amount: number;
  /** Of ISO 4217, or the name of another unit. */
  currency: string;
}

/** How full the agent's context is, in tokens, and what its process has cost. What is absent is not known. */
export interface UsageData {
  messageId?: string;
  used?: number;
  size?: number;
  cost?: Cost;
}

/** Tokens of a turn, as most agents count them. */
export interface Tokens {
  inputTokens?: number;
  outputTokens?: number;
  cachedReadTokens?: number;
  cachedWriteTokens?: number;
  thoughtTokens?: number;
  totalTokens?: number;
}

/** What a session has used: its tokens and cost are sums over all turns. */
export interface SessionUsage extends Required<Tokens> {
  used?: number;
  size?: number;
  cost?: Cost;
}

/** The session has another title. Without `by`, its agent has named it. */
export interface SessionInfoData {
  title: string;
  by?: string;
}

/** The value of an option: the id of one that it offers, or whether a boolean is on. */
export type OptionValue = string | boolean;

/** One value that an option offers. */
export interface ConfigValue {
  value: string;
  name: string;
  description?: string;
  group?: string;
  /** Of a mode: whether the agent asks in it before it acts. */
  asks?: boolean;
  /** False: the worker's providers file does not allow it by name. */
  allowed?: boolean;
}

/** A setting of the agent. Every agent's mode and model may be named `mode` and `model`. */
export interface ConfigOption {
  id: string;
  name: string;
  description?: string;
  /** `mode`, `model`, `model_config`, `thought_level`, or any other. */
  category?: string;
  type: "select" | "boolean";
  currentValue: OptionValue;
  options?: ConfigValue[];
}

/** All options of the session's agent. It replaces the last list. */
/**
 * An MCP server that a session brings. One of stdio, which is the default, has command, args
 * and env; others have url and headers. A session that exists shows names alone.
 */
export interface MCPServer {
  name: string;
  type?: "http" | "sse" | "stdio";
  url?: string;
  headers?: { name: string; value?: string }[];
  command?: string;
  args?: string[];
  env?: { name: string; value?: string }[];
}

export interface ConfigOptionsData {
  configOptions: ConfigOption[];
  /** The agent's present mode, and whether it asks in it before it acts. */
  mode?: string;
  asking?: boolean;
  /** The options whose values were changed or confirmed. */
  changed?: string[];
  /** Who changed them: a user, or `agent`. */
  by?: string;
  truncated?: boolean;
}

export interface CompleteData {
  messageId: string;
  stopReason: StopReason;
  error?: { code: string; message: string; retryable?: boolean };
  /** As the agent tells it; most often {@link Tokens}. */
  usage?: unknown;
  /** What the turn has cost. */
  cost?: Cost;
}

export interface ClosedData {
  reason: "deleted" | "expired" | "failed";
}

export interface EventData {
  elicitation: ElicitationData;
  elicitation_resolved: ElicitationResolvedData;
  status: StatusData;
  message: MessageData;
  output: OutputData;
  tool_call: ToolCallData;
  plan: PlanData;
  tool_approval: ToolApprovalData;
  approval_resolved: ApprovalResolvedData;
  agent_update: AgentUpdateData;
  notice: NoticeData;
  commands: CommandsData;
  usage: UsageData;
  session_info: SessionInfoData;
  config_options: ConfigOptionsData;
  agent_started: AgentStartedData;
  queue: QueueData;
  message_edited: MessageEditedData;
  steered: SteeredData;
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
  /** Without a reason the node stops; `max_age`: an SSE stream ends of its age, and nothing is wrong. */
  draining: { reconnectAfterMs: number; reason?: string };
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
  agentOptions?: { model?: string; mode?: string; config?: Record<string, OptionValue>; mcpServers?: MCPServer[] };
  status: SessionStatus;
  createdAt: string;
  lastActivityAt: string;
  expiresAt: string;
  lastSeq: number;
  epoch: string;
  connections: { websocket: number; sse: number };
  pendingApprovals: number;
  /** Absent while nothing is known. */
  usage?: SessionUsage;
  /** The agent's mode as it was last told; absent until an agent with modes has started. */
  mode?: string;
  /** Whether the agent asks in that mode before it acts. Show people when it is false. */
  asking?: boolean;
  /** Open questions of the agent, beside approvals; absent: none. */
  pendingElicitations?: number;
  /** The user's marks for lists. Absent: no. */
  pinned?: boolean;
  archived?: boolean;
  /** It has asked something, or its work has ended, since the user read it last. Absent: no. */
  unread?: boolean;
  worktree?: SessionWorktree;
}

/** The git worktree in which a session's agent works, as it was last told. */
export interface SessionWorktree {
  branch: string;
  /** The branch that it is merged into; absent: none. */
  base?: string;
  /** That it began with. */
  commit: string;
  /** Where the agent works, once that is known. */
  directory?: string;
  state: "active" | "merged" | "kept" | "discarded";
}
