import { signal } from "@preact/signals";
import {
  connect,
  HubError,
  uuid,
  type GapData,
  type Session,
  type SessionStream,
  type StreamState,
  type ToolApprovalData,
} from "@sessionhub/client";
import { errorText, sessionName } from "./format.js";
import { api, asUser, baseUrl, forgetToken, freshToken, hasKey, sharedToken, tokenFor, transport } from "./hub.js";
import { followed, notifyApproval } from "./notify.js";
import { Transcript } from "./transcript.js";

/** A message that is on its way, or was refused. */
export interface Outgoing {
  messageId: string;
  text: string;
  error: string | undefined;
}

/**
 * SessionModel is one open session page: its stream, its transcript and what
 * the user sent. `dispose` ends it; nothing changes after that.
 */
export class SessionModel {
  readonly sessionId: string;
  readonly session = signal<Session | undefined>(undefined);
  readonly transcript = signal(new Transcript());
  readonly connection = signal<StreamState>({ phase: "connecting" });
  readonly outgoing = signal<readonly Outgoing[]>([]);
  /** The index of an item that has to be drawn, wherever the view is. */
  readonly revealed = signal<number | undefined>(undefined);
  /** Why the page cannot show the session at all. */
  readonly problem = signal<string | undefined>(undefined);
  readonly transport = signal<SessionStream["transport"]>("websocket");
  /** A shared link shows a session, and can do nothing to it. */
  readonly readOnly: boolean;

  #stream: SessionStream | undefined;
  /** Something was applied that is not shown yet. */
  #arrived = false;
  /** A flush is on its way, or its frame is being drawn. */
  #flushing = false;
  /** How long the last frame took, from its flush to the end of its drawing. Milliseconds. */
  #frameCost = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #frame = 0;
  #marks: GapData[] = [];
  #disposed = false;
  /** The approvals that were notified of, or seen. */
  readonly #told = new Set<string>();

  readonly #visibility = () => {
    // A frame that was asked for in sight does not come out of it.
    if (!document.hidden || this.#frame === 0) return;
    cancelAnimationFrame(this.#frame);
    this.#flush();
  };

  constructor(sessionId: string, options: { readOnly?: boolean } = {}) {
    this.sessionId = sessionId;
    document.addEventListener("visibilitychange", this.#visibility);
    this.readOnly = options.readOnly ?? false;
    void this.#start();
  }

  dispose(): void {
    this.#disposed = true;
    this.#follow(false);
    document.removeEventListener("visibilitychange", this.#visibility);
    clearTimeout(this.#timer);
    cancelAnimationFrame(this.#frame);
    this.#stream?.close();
  }

  async send(text: string): Promise<void> {
    await this.#transmit({ messageId: uuid(), text, error: undefined });
  }

  /** Sends a refused message again, with the same id: if it did get through, it is not doubled. */
  async sendAgain(outgoing: Outgoing): Promise<void> {
    await this.#transmit({ ...outgoing, error: undefined });
  }

  /** What was sent to this session, oldest first; one that was sent twice in a row is there once. */
  sentTexts(): string[] {
    const texts = this.transcript.peek().items.flatMap((item) => (item.kind === "message" ? [item.text] : []));
    return texts.filter((text, index) => text !== texts[index - 1]);
  }

  discard(messageId: string): void {
    this.outgoing.value = this.outgoing.value.filter((each) => each.messageId !== messageId);
  }

  /** Rejects with a HubError where the answer was not taken. */
  async approve(interactionId: string, optionId: string): Promise<void> {
    await this.#need().approve(interactionId, optionId);
  }

  /** Stops the turn that runs. */
  async stop(): Promise<void> {
    await this.#need().cancel(this.transcript.peek().activeMessageId.peek());
  }

  async delete(): Promise<void> {
    const byToken = hasKey() ? {} : { token: await tokenFor(this.sessionId) };
    await asUser((hub) => hub.deleteSession(this.sessionId, byToken));
    forgetToken(this.sessionId);
  }

  retryNow(): void {
    this.#stream?.reconnectNow();
  }

  /** Tries again to open the session after `problem`. */
  restart(): void {
    this.problem.value = undefined;
    void this.#start();
  }

  #need(): SessionStream {
    if (!this.#stream) throw new HubError("stream_closed", "the session is not open");
    return this.#stream;
  }

  async #transmit(outgoing: Outgoing): Promise<void> {
    const others = this.outgoing.value.filter((each) => each.messageId !== outgoing.messageId);
    this.outgoing.value = [...others, outgoing];
    try {
      const answer = await this.#need().sendMessage(outgoing.text, outgoing.messageId);
      // Its event takes it off the list; a repeat's event may have come long ago.
      if (answer.duplicate && this.transcript.peek().has(outgoing.messageId)) this.discard(outgoing.messageId);
    } catch (error) {
      this.outgoing.value = this.outgoing.value.map((each) =>
        each.messageId === outgoing.messageId ? { ...each, error: errorText(error) } : each,
      );
    }
  }

  /** The token at hand, or a new one. */
  async token(): Promise<string> {
    if (!this.readOnly) return tokenFor(this.sessionId);
    const token = sharedToken(this.sessionId);
    if (token === undefined) throw new HubError("unauthorized", "This link is not whole: ask for it again.");
    return token;
  }

  async #start(): Promise<void> {
    let token: string;
    try {
      token = await this.token();
    } catch (error) {
      if (!this.#disposed) this.problem.value = notFound(error) ? gone : errorText(error);
      return;
    }
    if (this.#disposed) return;
    this.#open(token);
    void this.refreshInfo();
  }

  /** Reads the session's own fields again; the stream has everything else. */
  async refreshInfo(): Promise<void> {
    try {
      const token = await this.token();
      const session = await api.peek().getSession(this.sessionId, { token });
      if (!this.#disposed) this.session.value = session;
    } catch {
      // The header then shows the session's id; the stream reports what is wrong.
    }
  }

  #open(token: string): void {
    const transcript = new Transcript(this.#marks);
    this.transcript.value = transcript;
    const stream = connect({
      baseUrl,
      sessionId: this.sessionId,
      token,
      transport,
      storage: sessionStorage,
      onEvent: (event) => {
        transcript.apply(event);
        if (event.type === "message") this.discard(event.data.messageId);
        if (event.type === "tool_approval" && stream.state.phase === "live") this.#tell([event.data]);
        this.#schedule();
      },
      onControl: (frame) => {
        if (frame.type !== "gap") return;
        if (frame.data.reason === "epoch_changed") this.#reread(frame.data);
        else transcript.gap(frame.data, frame.time);
        this.#schedule();
      },
      onState: (state) => {
        // Who says that the page is live has to show what came before.
        if (state.phase === "live") {
          transcript.flush();
          this.#tell(transcript.pending.peek().map(({ request }) => request));
        }
        this.#follow(state.phase === "live");
        if (this.#stream === stream) {
          this.connection.value = state;
          this.transport.value = stream.transport;
        }
        if (state.phase === "closed" && state.reason === "not_found" && transcript.items.length === 0) {
          this.problem.value = gone;
        }
        if (state.phase === "closed" && state.reason === "unauthorized" && this.readOnly && transcript.items.length === 0) {
          this.problem.value = "This link opens nothing any more. It may have expired, or been withdrawn.";
        }
      },
      // A refusal ends the stream; without an answer it asks again.
      renewToken: async () => (this.readOnly ? undefined : freshToken(this.sessionId)),
    });
    this.#stream = stream;
    this.transport.value = stream.transport;
    this.connection.value = stream.state;
  }

  /** Notifies of approvals that were not told yet: as they come, and after a break of those that came meanwhile. */
  #tell(requests: readonly ToolApprovalData[]): void {
    if (this.readOnly) return;
    const session = this.session.peek();
    for (const { interactionId, title } of requests) {
      if (this.#told.has(interactionId)) continue;
      this.#told.add(interactionId);
      notifyApproval(this.sessionId, session ? sessionName(session) : "A session", title);
    }
  }

  #follow(live: boolean): void {
    if (live && !this.readOnly && !this.#disposed) followed.add(this.sessionId);
    else followed.delete(this.sessionId);
  }

  /**
   * The log lost its end and went on with other events. What it kept is the
   * same, but taking single events back out of a transcript is not worth its
   * code for something this rare: the log is read again from the start.
   */
  #reread(gap: GapData): void {
    this.#marks = [...this.#marks, gap];
    const stream = this.#stream;
    queueMicrotask(() => {
      if (this.#disposed || this.#stream !== stream) return;
      stream?.close();
      void this.#start();
    });
  }

  /**
   * Shows what came in with the next frame; less often where frames are dear,
   * so that most of the time is left for reading events and for the user. While
   * old events pour in nobody reads along, and a few frames a second must do.
   */
  #schedule(): void {
    this.#arrived = true;
    if (this.#flushing) return;
    this.#flushing = true;
    const replaying = this.connection.peek().phase === "replaying";
    const pause = Math.max(replaying ? replayFlushMs : 0, Math.min(maxFlushPauseMs, 3 * this.#frameCost));
    if (pause < 16) this.#requestFlush();
    else this.#timer = setTimeout(() => this.#requestFlush(), pause);
  }

  #requestFlush(): void {
    // A page out of sight is given no frames, but its title has to say that somebody is needed.
    if (document.hidden) this.#flush();
    else this.#frame = requestAnimationFrame(() => this.#flush());
  }

  #flush(): void {
    if (this.#disposed) return;
    this.#frame = 0;
    const begin = performance.now();
    this.#arrived = false;
    this.transcript.peek().flush();
    // Comes after the frame's drawing, layout and painting.
    this.#timer = setTimeout(() => {
      this.#frameCost = performance.now() - begin;
      this.#flushing = false;
      if (this.#arrived) this.#schedule();
    });
  }
}

const replayFlushMs = 200;
const maxFlushPauseMs = 500;
const gone = "There is no such session, or no longer.";

function notFound(error: unknown): boolean {
  return error instanceof HubError && error.status === 404;
}
