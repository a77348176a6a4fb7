import type {
  NewSession,
  AgentSessions,
  SessionOptions,
  CreatedSession,
  SessionQuery,
  SessionList,
  Provider,
  ProviderList,
  Stats,
  History,
  Attachment,
  Token,
  SignIn,
  SignInList,
  SignInTicket,
} from "./bodies.js";
import type { ElicitationData } from "./elicitation.js";
import { HubError } from "./errors.js";
import type { ApprovalContent, Delivery, MessageContent, QueuedMessage, Session, ToolApprovalData } from "./events.js";
import { eventsOf, eventStream } from "./sse.js";
import type { ApproveData, Command } from "./transport.js";

export interface HubApiOptions {
  /** Where the hub lives, with or without a path: the routes are looked up at `<baseUrl>/api/`. */
  baseUrl: string | URL;
  /** Sent as `X-API-Key` where a call names no token. A hub in local mode needs none. */
  apiKey?: string | undefined;
  fetch?: typeof fetch;
}

/** A form of a session's transcript. `docs/openapi.yaml` has the schema of the second. */
export type TranscriptFormat = "markdown" | "json";

/** Who asks: a session's token. Without one, the API key or local mode must do. */
export interface CallOptions {
  token?: string | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * HubApi calls the hub's HTTP routes. It keeps no state between calls. Every
 * method rejects with a HubError, `unreachable` when no answer came, or with
 * the reason of its `signal`.
 */
export class HubApi {
  readonly #base: URL;
  readonly #apiKey: string | undefined;
  readonly #fetch: typeof fetch;

  constructor(options: HubApiOptions) {
    const base = new URL(options.baseUrl);
    if (!base.pathname.endsWith("/")) base.pathname += "/";
    base.search = base.hash = "";
    this.#base = base;
    this.#apiKey = options.apiKey;
    // Called as a plain function: a browser's fetch refuses another `this`.
    const call = options.fetch ?? fetch;
    this.#fetch = (input, init) => call(input, init);
  }

  /** `idempotencyKey`: a repeat with the same key gives the same session. */
  createSession(session: NewSession, options: CallOptions & { idempotencyKey?: string } = {}): Promise<CreatedSession> {
    const headers: Record<string, string> = {};
    if (options.idempotencyKey) headers["Idempotency-Key"] = options.idempotencyKey;
    return this.call("POST", "sessions", options, session, headers);
  }

  listSessions(query: SessionQuery = {}, options: CallOptions = {}): Promise<SessionList> {
    return this.call("GET", `sessions${search({ ...query })}`, options);
  }

  /** Sessions that an agent has from elsewhere. A worker starts the agent to ask it. */
  agentSessions(
    query: {
      provider?: string | undefined;
      workingDirectory?: string | undefined;
      workspace?: string | undefined;
      cursor?: string | undefined;
      limit?: number;
      userId?: string;
    } = {},
    options: CallOptions = {},
  ): Promise<AgentSessions> {
    return this.call("GET", `agent-sessions${search({ ...query })}`, options);
  }

  getSession(sessionId: string, options: CallOptions = {}): Promise<Session> {
    return this.call("GET", path(sessionId), options);
  }

  /** A session that goes another way from here. Needs an agent that can fork. */
  forkSession(sessionId: string, fork: { title?: string } = {}, options: CallOptions = {}): Promise<CreatedSession> {
    return this.call("POST", path(sessionId, "fork"), options, fork);
  }

  async deleteSession(sessionId: string, options: CallOptions = {}): Promise<void> {
    await this.call("DELETE", path(sessionId), options);
  }

  history(
    sessionId: string,
    query: { after?: string; limit?: number } = {},
    options: CallOptions = {},
  ): Promise<History> {
    return this.call("GET", `${path(sessionId, "history")}${search(query)}`, options);
  }

  /** The people's form of the session. Rejects where the hub broke it off in the middle. */
  transcript(sessionId: string, format: TranscriptFormat, options: CallOptions = {}): Promise<Blob> {
    return this.#blob(`${path(sessionId, "transcript")}${search({ format })}`, options);
  }

  /** Adds a file to the session, for a message's block. It has the name of a `File`, if none is given. A repeat adds another one. */
  addAttachment(
    sessionId: string,
    file: Blob & { name?: string },
    options: CallOptions & { name?: string } = {},
  ): Promise<Attachment> {
    const route = `${path(sessionId, "attachments")}${search({ name: options.name ?? file.name })}`;
    return this.call("POST", route, options, file);
  }

  attachment(sessionId: string, attachmentId: string, options: CallOptions = {}): Promise<Blob> {
    return this.#blob(path(sessionId, `attachments/${encodeURIComponent(attachmentId)}`), options);
  }

  async approvals(sessionId: string, options: CallOptions = {}): Promise<ToolApprovalData[]> {
    const body = await this.call<{ approvals: ToolApprovalData[] }>("GET", path(sessionId, "approvals"), options);
    return body.approvals;
  }

  /**
   * All of what a pending question asks. The hub refuses an answer that allows a
   * `truncated` question with `content_unread` until its user has read this.
   */
  approvalContent(sessionId: string, interactionId: string, options: CallOptions = {}): Promise<ApprovalContent> {
    return this.call("GET", path(sessionId, `approvals/${encodeURIComponent(interactionId)}/content`), options);
  }

  sendMessage(
    sessionId: string,
    message: { content: MessageContent; messageId?: string; delivery?: Delivery },
    options: CallOptions = {},
  ): Promise<{ messageId: string; seq: number; duplicate: boolean; delivery?: Delivery }> {
    return this.call("POST", path(sessionId, "messages"), options, message);
  }

  approve(
    sessionId: string,
    answer: ApproveData,
    options: CallOptions = {},
  ): Promise<{ interactionId: string; optionId: string; messageId?: string }> {
    return this.call("POST", path(sessionId, "approve"), options, answer);
  }

  /** The questions of the agent that wait for an answer, oldest first. */
  async elicitations(sessionId: string, options: CallOptions = {}): Promise<ElicitationData[]> {
    const route = path(sessionId, "elicitations");
    const body = await this.call<{ elicitations: ElicitationData[] }>("GET", route, options);
    return body.elicitations;
  }

  /**
   * A pending question of the agent, also the whole of a private one. It needs the scope
   * approve. Keep nothing of a private one.
   */
  async elicitation(sessionId: string, interactionId: string, options: CallOptions = {}): Promise<ElicitationData> {
    const route = path(sessionId, `elicitations/${encodeURIComponent(interactionId)}`);
    return this.call<ElicitationData>("GET", route, options);
  }

  async cancel(
    sessionId: string,
    turn: { messageId?: string; hold?: boolean } = {},
    options: CallOptions = {},
  ): Promise<void> {
    await this.call("POST", path(sessionId, "cancel"), options, turn);
  }

  /** The messages that no worker has received, the next one first. Those that are `held` are last. */
  async queue(sessionId: string, options: CallOptions = {}): Promise<QueuedMessage[]> {
    const body = await this.call<{ messages: QueuedMessage[] }>("GET", path(sessionId, "queue"), options);
    return body.messages;
  }

  options(sessionId: string, options: CallOptions = {}): Promise<SessionOptions> {
    return this.call("GET", path(sessionId, "options"), options);
  }

  mintToken(
    sessionId: string,
    request: { scope?: string; ttlSeconds?: number; revokeOthers?: boolean } = {},
    options: CallOptions = {},
  ): Promise<Token> {
    return this.call("POST", path(sessionId, "token"), options, request);
  }

  /** A token for all sessions of the user; a service key may name one. */
  mintUserToken(
    request: { userId?: string; scope?: string; ttlSeconds?: number; revokeOthers?: boolean } = {},
    options: CallOptions = {},
  ): Promise<Token & { userId: string }> {
    return this.call("POST", "user/token", options, request);
  }

  /** Signs this browser in, by a cookie that no script can read. A `ticket` needs no other credential. */
  signIn(
    request: { label?: string; ticket?: string; userId?: string } = {},
    options: CallOptions = {},
  ): Promise<{ userId: string; signIn: SignIn }> {
    return this.call("POST", "sign-in", options, request);
  }

  /** Signs a browser out: this one, unless an id is given. */
  async signOut(id?: string, options: CallOptions = {}): Promise<void> {
    await this.call("DELETE", id === undefined ? "sign-in" : `sign-ins/${encodeURIComponent(id)}`, options);
  }

  signIns(options: CallOptions = {}): Promise<SignInList> {
    return this.call("GET", "sign-ins", options);
  }

  /** For another browser, such as a phone's. */
  signInTicket(options: CallOptions = {}): Promise<SignInTicket> {
    return this.call("POST", "sign-in/ticket", options);
  }

  async providers(options: CallOptions = {}): Promise<Provider[]> {
    return (await this.providerList(options)).providers;
  }

  providerList(options: CallOptions = {}): Promise<ProviderList> {
    return this.call("GET", "providers", options);
  }

  stats(options: CallOptions = {}): Promise<Stats> {
    return this.call("GET", "stats", options);
  }

  /**
   * Opens a session's SSE stream after the cursor. Undefined: the session has
   * ended, and the cursor is at its end (204). `signal` also ends the reading.
   */
  async openEvents(
    sessionId: string,
    after: string,
    options: CallOptions = {},
  ): Promise<ReadableStream<Uint8Array> | undefined> {
    const route = `${path(sessionId, "events")}${search({ after })}`;
    return eventsOf(await this.send("GET", route, options, undefined, { Accept: eventStream }));
  }

  /**
   * Sends what a WebSocket would carry as a command, such as an `answer`, by its HTTP
   * route. `rename` resolves with the session; its empty title takes the name away. It
   * pins and archives, too.
   * `set_option` sets an option of the agent: at once if it runs, else at its next start.
   */
  command(sessionId: string, { type, data }: Command, options: CallOptions = {}): Promise<Record<string, unknown>> {
    const leaf = { message: "messages", set_option: "options", rename: "" }[type as string] ?? type;
    return this.call(leaf === "options" || !leaf ? "PATCH" : "POST", path(sessionId, leaf), options, data);
  }

  /** The URL of a session's WebSocket, or of that for many sessions. */
  websocketUrl(sessionId?: string): string {
    const url = new URL(`api/${sessionId ? path(sessionId, "ws") : "ws"}`, this.#base);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return url.href;
  }

  /** Reads what is below a session, such as its files: see the module `files`. */
  read(
    sessionId: string,
    leaf: string,
    query: Record<string, string | number | undefined>,
    options: CallOptions = {},
  ): Promise<Response> {
    return this.send("GET", `${path(sessionId, leaf)}${search(query)}`, options);
  }

  /** Calls a route below `/api/` that has no method here. Resolves with the answer's JSON; undefined where there is none. */
  async call<T>(
    method: string,
    route: string,
    options: CallOptions,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<T> {
    const answer = await this.send(method, route, options, body, headers);
    try {
      return answer.status === 204 ? (undefined as T) : ((await answer.json()) as T);
    } catch (cause) {
      throw noAnswer(options, cause);
    }
  }

  async #blob(route: string, options: CallOptions): Promise<Blob> {
    const answer = await this.send("GET", route, options);
    try {
      return await answer.blob();
    } catch (cause) {
      throw noAnswer(options, cause);
    }
  }

  /** Sends a request to any route below `api/`. Resolves with what the hub did not refuse. */
  async send(
    method: string,
    route: string,
    options: CallOptions,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    if (options.token) headers["Authorization"] = `Bearer ${options.token}`;
    else if (this.#apiKey) headers["X-API-Key"] = this.#apiKey;
    const file = body instanceof Blob;
    if (file) headers["Content-Type"] = body.type || "application/octet-stream";
    else if (body !== undefined) headers["Content-Type"] = "application/json";
    let answer: Response;
    try {
      answer = await this.#fetch(new URL(`api/${route}`, this.#base), {
        method,
        headers,
        body: body === undefined ? null : file ? body : JSON.stringify(body),
        cache: "no-store",
        // Over HTTP/1.1 a browser has six connections to a host, and six more for requests without credentials. Streams
        // have those to themselves: however many there are, everything else finds a connection. No cookie decides
        // anything: what a request may do is said by its header.
        credentials: headers["Accept"] ? "omit" : "same-origin",
        signal: options.signal ?? null,
      });
    } catch (cause) {
      throw noAnswer(options, cause);
    }
    if (answer.ok) return answer;
    throw await refusal(answer);
  }
}

function noAnswer({ signal }: CallOptions, cause: unknown): unknown {
  return signal?.aborted ? signal.reason : new HubError("unreachable", "no answer from the hub", { cause });
}

async function refusal(answer: Response): Promise<HubError> {
  let problem: Record<string, unknown> = {};
  try {
    problem = (await answer.json()) as Record<string, unknown>;
  } catch {
    // A proxy's page, perhaps; the status says enough.
  }
  const { status, headers } = answer;
  return new HubError(
    String(problem["code"] ?? `http_${status}`),
    String(problem["detail"] ?? problem["title"] ?? `HTTP ${status}`),
    {
      status,
      fields: problem,
      // Number(null) is 0, which says as little.
      retryAfterSeconds: Number(headers.get("Retry-After")) || undefined,
    },
  );
}

function path(sessionId: string, leaf?: string): string {
  return `sessions/${encodeURIComponent(sessionId)}${leaf ? `/${leaf}` : ""}`;
}

function search(query: Record<string, string | number | boolean | undefined>): string {
  const given = JSON.parse(JSON.stringify(query)) as Record<string, string>; // without what is undefined
  const parameters = new URLSearchParams(given);
  return parameters.size > 0 ? `?${parameters}` : "";
}
