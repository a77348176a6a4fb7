import type { ConfigOptionsData, GapData, MCPServer, OptionValue, Session, SessionEvent } from "./events.js";

// The bodies of requests and answers: docs/openapi.yaml has their schemas.

export interface NewSession {
  provider?: string;
  workingDirectory?: string;
  userId?: string;
  spaceId?: string;
  title?: string;
  metadata?: Record<string, unknown>;
  agentOptions?: { model?: string; mode?: string; config?: Record<string, OptionValue>; mcpServers?: MCPServer[] };
  /** Takes up this session of the agent: its history becomes the log's beginning. */
  agentSession?: string;
  /** That of the list with the `agentSession`. */
  workspace?: string;
  /** A git worktree of its own: see `SessionWorktree`. */
  worktree?: boolean | { base?: string; branch?: string };
}

/** A session that an agent keeps. */
export interface AgentSession {
  /** The agent's own id of it. */
  agentSession: string;
  workingDirectory: string;
  title?: string;
  updatedAt?: string;
  /** The user's session that has it already. */
  sessionId?: string;
}

export interface AgentSessions {
  workspace: string;
  sessions: AgentSession[];
  nextCursor?: string;
}

/** The options of a session's agent as they were last told, and what was chosen for its next start. */
export interface SessionOptions extends Pick<ConfigOptionsData, "configOptions" | "mode" | "asking" | "truncated"> {
  chosen?: Record<string, OptionValue>;
}

export interface CreatedSession {
  sessionId: string;
  token: string;
  expiresAt: string;
  session: Session;
  eventsUrl: string;
  websocketUrl: string;
  messagesUrl: string;
  approveUrl: string;
}

/** Which sessions to list. A page of a search (`query`) can be short, or empty, and have a `nextCursor`. */
export interface SessionQuery {
  limit?: number;
  cursor?: string | undefined;
  status?: string;
  userId?: string;
  /** Only those that are archived, or only the others. */
  archived?: boolean;
  /** In titles and first messages, and with `text` also in what was said. */
  query?: string | undefined;
  text?: boolean | undefined;
}

export interface SessionList {
  sessions: Session[];
  nextCursor?: string;
  /** Sessions whose logs a search did not read to the end. */
  unsearched?: string[];
}

/** A kind of agent. From `title` on it is what a worker says of it: a stranger's text. */
export interface Provider {
  name: string;
  available: boolean;
  workers: number;
  title?: string;
  description?: string;
  /** A data: or https: URI of a picture. */
  icon?: string;
  /** Whether the agent is logged in on its worker, as far as could be seen. */
  login?: "found" | "missing";
  capabilities?: {
    mode?: string;
    askingModes?: string[];
    allowedModes?: string[];
    /** The MCP servers that a session may bring; absent: none. */
    sessionMCP?: "none" | "http" | "any";
    /** Absent until an agent of the provider has started on its worker. */
    agent?: AgentAbilities;
  };
}

/** What an agent said it can do when it last started. An absent field is false. */
export interface AgentAbilities {
  images?: boolean;
  audio?: boolean;
  embeddedContext?: boolean;
  load?: boolean;
  resume?: boolean;
  list?: boolean;
  fork?: boolean;
  steering?: boolean;
  reasons?: boolean;
  mcpHttp?: boolean;
  mcpSse?: boolean;
}

/** `default` is the one to preselect. An earlier hub names none. */
export interface ProviderList {
  providers: Provider[];
  default?: string;
}

/** What a node has counted since `startedAt`. The last bucket has no bound. */
export interface Stats {
  node: string;
  startedAt: string;
  delivery: { upToMicros?: number; count: number }[];
}

export interface History {
  events: SessionEvent[];
  first: number;
  last: number;
  epoch: string;
  nextAfter?: string;
  gap?: GapData;
}

/** A file that was added to a session. */
export interface Attachment {
  attachmentId: string;
  name: string;
  mediaType: string;
  /** Bytes. */
  size: number;
  /** The path of its bytes at the hub. */
  uri: string;
}

export interface Token {
  token: string;
  expiresAt: string;
  /** Words separated by spaces: `read write approve`. */
  scope: string;
}

/** A browser that stays signed in. */
export interface SignIn {
  id: string;
  label: string;
  createdAt: string;
  /** To within a quarter of an hour. */
  lastUsedAt: string;
  /** Use renews it. */
  expiresAt: string;
  /** It is the one that asks. */
  current: boolean;
}

/** `required`: the hub asks for a credential at all. */
export interface SignInList {
  userId: string;
  required: boolean;
  signIns: SignIn[];
}

/** Signs one browser in, once. `url` is the dashboard's, with the ticket in its fragment. */
export interface SignInTicket {
  ticket: string;
  expiresAt: string;
  url: string;
}
