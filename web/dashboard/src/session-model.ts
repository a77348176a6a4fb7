import { computed, signal } from "@preact/signals";
import {
  connect,
  HubError,
  uuid,
  type AnswerAction,
  type ApprovalContent,
  type ElicitationData,
  type Delivery,
  type FormContent,
  type GapData,
  type MessageContent,
  type OptionValue,
  type QueueChange,
  type Session,
  type SessionStream,
  type StreamState,
} from "@sessionhub/client";
import { AnswerGuard } from "./answer-guard.js";
import type { Asker } from "./asker.js";
import { fitted } from "./attachments.js";
import { filesOf, type SessionFiles } from "./files.js";
import { errorText, isOver, sessionName } from "./format.js";
import { api, asUser, baseUrl, forgetToken, freshToken, hasKey, sharedToken, tokenFor, transport } from "./hub.js";
import { pingOptions, watchSleep } from "./liveness.js";
import { followed, notifyApproval } from "./notify.js";
import { retrying, retryWait } from "./retrying.js";
import { thriftySse } from "./thrifty-sse.js";
import { askedText, plainText, Transcript } from "./transcript.js";

/** A message that is on its way, or was refused. */
export interface Outgoing {
  messageId: string;
  text: string;
  /** What is sent, where that is more than the text. */
  content: MessageContent;
  error: string | undefined;
  delivery?: Delivery | undefined;
  /** These are added to the session first. */
  files?: readonly File[] | undefined;
}

/**
 * SessionModel is one open session page: its stream, its transcript and what
 * the user sent. `dispose` ends it; nothing changes after that.
 */
export class SessionModel implements Asker {
  readonly sessionId: string;
  readonly session = signal<Session | undefined>(undefined);
  readonly transcript = signal(new Transcript());
  readonly connection = signal<StreamState>({ phase: "connecting" });
  readonly outgoing = signal<readonly Outgoing[]>([]);
  /** The index of an item that has to be drawn, wherever the view is. */
  readonly revealed = signal<number | undefined>(undefined);
  /** What the message box is to begin with; undefined once it does. */
  readonly draft = signal<string | undefined>(undefined);
  /** Why the page cannot show the session at all. */
  readonly problem = signal<string | undefined>(undefined);
  readonly transport = signal<SessionStream["transport"]>("websocket");
  /** A shared link shows a session, and can do nothing to it. */
  readonly readOnly: boolean;
  /** The files of the working directory; undefined if whoever looks may not read them. */
  readonly files: SessionFiles | undefined;
  /** Every answer to a question goes through it. */
  readonly answering = new AnswerGuard(() => this.transcript.peek().pending.peek().length);
  /** Nothing can be done to the session any more, whatever its last status says. */
  readonly over = computed(
    () => this.connection.value.phase === "closed" || isOver(this.transcript.value.status.value),
  );

  readonly waiting = computed(() => this.transcript.value.pending.value.length);
  readonly told = computed(() => this.transcript.value.told);
  /** What the session is called, or "" as long as nothing says it. */
  readonly title = computed(() => this.told.value.title.value ?? this.session.value?.title ?? "");

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
  /** Messages are being sent, one after the other. */
  #sending = false;
  #reading: Promise<unknown> = Promise.resolve();
  readonly #unwatch = watchSleep(() => this.#stream);
  /** The questions that were notified of, or seen. */
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
    this.files = filesOf(sessionId, this.readOnly);
    void this.#start();
  }

  dispose(): void {
    this.#disposed = true;
    this.#follow(false);
    this.answering.dispose();
    this.#unwatch();
    document.removeEventListener("visibilitychange", this.#visibility);
    clearTimeout(this.#timer);
    cancelAnimationFrame(this.#frame);
    this.#stream?.close();
  }

  send(content: MessageContent, delivery?: Delivery, files: readonly File[] = []): void {
    const outgoing = { messageId: uuid(), text: plainText(content), content, error: undefined, delivery, files };
    this.outgoing.value = [...this.outgoing.value, outgoing];
    void this.#transmit();
  }

  /**
   * Sends a refused message again, with the same id: if it did get through, it
   * is not doubled. Those behind it, which waited for it, go out after it.
   */
  sendAgain({ messageId }: Outgoing): void {
    const from = this.outgoing.value.findIndex((each) => each.messageId === messageId);
    this.outgoing.value = this.outgoing.value.map((each, index) =>
      index >= from ? { ...each, error: undefined } : each,
    );
    void this.#transmit();
  }

  /** Sends the message of a turn that failed once more. It is another message: the hub knows the first as done. */
  resend(messageId: string): void {
    const item = this.transcript.peek().message(messageId);
    if (item) this.send(item.content);
  }

  /** What was sent to this session, oldest first; one that was sent twice in a row is there once. */
  sentTexts(): string[] {
    const texts = this.transcript.peek().items.flatMap((item) => (item.kind === "message" ? [item.text] : []));
    return texts.filter((text, index) => text !== texts[index - 1]);
  }

  discard(messageId: string): void {
    this.outgoing.value = this.outgoing.value.filter((each) => each.messageId !== messageId);
  }

  nameOf(interactionId: string): string {
    return interactionId;
  }

  /** Rejects with a HubError where the answer was not taken. A reason that the agent cannot take is the next message. */
  async approve(interactionId: string, optionId: string, reason?: string): Promise<void> {
    const why = reason ? { reason, reasonAsMessage: true } : {};
    await retrying(
      () => this.#need().command({ type: "approve", data: { interactionId, optionId, ...why } }),
      commandRetryMs,
    );
  }

  /** Answers a question of the agent. Rejects with a HubError where the answer was not taken. */
  async answer(interactionId: string, action: AnswerAction, content?: FormContent): Promise<void> {
    await retrying(() => this.#need().answer(interactionId, action, content), commandRetryMs);
  }

  /** The whole of what a question would allow. */
  async approvalContent(interactionId: string): Promise<ApprovalContent> {
    return api.peek().approvalContent(this.sessionId, interactionId, { token: await this.token() });
  }

  /** The whole of a private question of the agent's. */
  async elicitation(interactionId: string): Promise<ElicitationData> {
    return api.peek().elicitation(this.sessionId, interactionId, { token: await this.token() });
  }

  /** Stops the turn that runs, and holds what waits. */
  async stop(): Promise<void> {
    const messageId = this.transcript.peek().activeMessageId.peek();
    await retrying(
      () => this.#need().command({ type: "cancel", data: { messageId, hold: true } }),
      messageId === undefined ? 0 : commandRetryMs,
    );
  }

  /** Changes the messages that wait. Rejects with a HubError where that was refused. */
  async changeQueue(change: QueueChange): Promise<void> {
    await this.#need().command({ type: "queue", data: change });
  }

  /** Names the session; "" takes the name away. */
  async rename(title: string): Promise<void> {
    await retrying(() => this.#need().command({ type: "rename", data: { title } }), formRetryMs);
  }

  /** Sets an option of the agent. The log says what became of it. */
  async setOption(id: string, value: OptionValue): Promise<void> {
    await retrying(() => this.#need().command({ type: "set_option", data: { configId: id, value } }), 0);
  }

  async delete(): Promise<void> {
    const byToken = hasKey() ? {} : { token: await tokenFor(this.sessionId) };
    await retrying(() => asUser((hub) => hub.deleteSession(this.sessionId, byToken)), formRetryMs);
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

  /**
   * Sends what waits, oldest first and one at a time: a message that the hub
   * takes only later keeps its place before those behind it.
   */
  async #transmit(): Promise<void> {
    // Before the stream there is nothing to send on; opening it comes back here.
    if (this.#sending || !this.#stream) return;
    this.#sending = true;
    const sent = new Set<string>();
    for (;;) {
      const next = this.outgoing.peek().find(({ messageId, error }) => error === undefined && !sent.has(messageId));
      if (!next || this.#disposed) break;
      const { messageId, delivery } = next;
      sent.add(messageId);
      try {
        const content = await this.#upload(next);
        const answer = await retrying(() => this.#need().sendMessage(content, messageId, delivery), messageRetryMs);
        // Its event takes it off the list; a repeat's event may have come long ago.
        if (answer.duplicate && this.transcript.peek().has(messageId)) this.discard(messageId);
      } catch (error) {
        sent.delete(messageId);
        // One that could go out later holds those behind it back; one that never can does not.
        const held = retryWait(error) !== undefined || this.over.peek();
        const from = this.outgoing.peek().findIndex((each) => each.messageId === messageId);
        this.outgoing.value = this.outgoing
          .peek()
          .map((each, index) =>
            each.messageId === messageId || (held && index > from && !sent.has(each.messageId))
              ? { ...each, error: errorText(error) }
              : each,
          );
      }
    }
    this.#sending = false;
  }

  /** Adds the files of a message to the session. Resolves with the whole content; a file that was added stays so when a later one fails. */
  async #upload({ messageId }: Outgoing): Promise<MessageContent> {
    for (;;) {
      const { content, files = [] } = this.outgoing.peek().find((each) => each.messageId === messageId)!;
      const [file, ...rest] = files;
      if (!file) return content;
      const token = await this.token();
      const added = await api.peek().addAttachment(this.sessionId, await fitted(file), { token });
      const blocks =
        typeof content === "string" ? (content ? [{ type: "text" as const, text: content }] : []) : content;
      const change = { content: [...blocks, { type: "attachment" as const, ...added }], files: rest };
      this.outgoing.value = this.outgoing
        .peek()
        .map((each) => (each.messageId === messageId ? { ...each, ...change } : each));
    }
  }

  /** The bytes of a file of the session. One is read at a time: the hub gives a user only so many at once. */
  attachment(attachmentId: string, signal?: AbortSignal): Promise<Blob> {
    const read = async () => {
      signal?.throwIfAborted();
      return api.peek().attachment(this.sessionId, attachmentId, { token: await this.token(), signal });
    };
    const reading = this.#reading.then(read, read);
    this.#reading = reading;
    return reading;
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
      sse: thriftySse,
      ...pingOptions(),
      storage: sessionStorage,
      onEvent: (event) => {
        transcript.apply(event);
        if (event.type === "message") {
          this.discard(event.data.messageId);
          // The first message names a session that nobody else has named.
          if (stream.state.phase === "live" && this.title.peek() === "") void this.refreshInfo();
        }
        if (stream.state.phase === "live") {
          // The sums are the hub's.
          if (event.type === "complete") void this.refreshInfo();
          if (event.type === "tool_approval") this.#tell(event.data.interactionId, event.data.title);
          if (event.type === "elicitation") this.#tell(event.data.interactionId, event.data.message);
        }
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
          for (const item of transcript.pending.peek()) this.#tell(item.request.interactionId, askedText(item));
        }
        this.#follow(state.phase === "live");
        if (this.#stream === stream) {
          this.connection.value = state;
          this.transport.value = stream.transport;
        }
        if (state.phase === "closed" && state.reason === "not_found" && transcript.items.length === 0) {
          this.problem.value = gone;
        }
        if (
          state.phase === "closed" &&
          state.reason === "unauthorized" &&
          this.readOnly &&
          transcript.items.length === 0
        ) {
          this.problem.value = "This link opens nothing any more. It may have expired, or been withdrawn.";
        }
      },
      // A refusal ends the stream; without an answer it asks again.
      renewToken: async () => (this.readOnly ? undefined : freshToken(this.sessionId)),
    });
    this.#stream = stream;
    this.transport.value = stream.transport;
    this.connection.value = stream.state;
    void this.#transmit();
  }

  /** Notifies of a question that was not told yet: as it comes, and after a break of one that came meanwhile. */
  #tell(interactionId: string, asked: string): void {
    if (this.readOnly || this.#told.has(interactionId)) return;
    const session = this.session.peek();
    this.#told.add(interactionId);
    notifyApproval(this.sessionId, session ? sessionName(session) : "A session", asked);
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

/** A command is repeated for this long while the hub says "later"; a message, which waits in sight, for longer. Milliseconds. */
const commandRetryMs = 15_000;
const messageRetryMs = 120_000;
const formRetryMs = 5_000;
const replayFlushMs = 200;
const maxFlushPauseMs = 500;
const gone = "There is no such session, or no longer.";

function notFound(error: unknown): boolean {
  return error instanceof HubError && error.status === 404;
}
