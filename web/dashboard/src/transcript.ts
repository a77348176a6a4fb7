import { batch, signal } from "@preact/signals";
import { noticeOf } from "./former-notices.js";
import { Told } from "./told.js";
import type {
  AgentUpdateData,
  CompleteData,
  ConfigOptionsData,
  GapData,
  NoticeData,
  PlanEntry,
  SessionEvent,
  SessionStatus,
  SteeredData,
  ToolCallData,
} from "@sessionhub/client";
import {
  maxUpdatesKept,
  type ApprovalItem,
  type CompleteItem,
  type ElicitationItem,
  type Entry,
  type GapItem,
  type Item,
  type MessageItem,
  type NoteItem,
  type OutputItem,
  type PlanItem,
  type QuestionItem,
  type ToolItem,
  type UpdatesItem,
} from "./item.js";
import { optionChanges } from "./options.js";
import { MessageQueue, type Waiting } from "./queue.js";

export * from "./item.js";

type Draft<T extends Item> = T extends Item ? Omit<T, "key" | "version" | "background"> : never;

/**
 * Transcript turns a session's events into the items that a page shows. It
 * knows nothing of the page: events are applied as they come, which is cheap,
 * and `flush`, called once in an animation frame, tells what changed.
 */
export class Transcript {
  readonly items: Item[] = [];
  /** Number of items that were flushed. */
  readonly length = signal(0);
  /** Grows when items were taken away, so that others may stand at their index. */
  readonly revision = signal(0);
  readonly status = signal<SessionStatus | undefined>(undefined);
  /** The open questions of both kinds, oldest first. */
  readonly pending = signal<readonly QuestionItem[]>([]);
  /** The message whose turn runs, if one does: what Stop would stop. */
  readonly activeMessageId = signal<string | undefined>(undefined);
  /** No turn runs, but the agent goes on: Stop would stop that. */
  readonly inBackground = signal(false);
  /** The messages that wait, the next one first. */
  readonly queue = signal<readonly Waiting[]>([]);
  /** The agent takes messages in while it works. */
  readonly steers = signal(false);

  /** The session is gone: nothing can be told of it any more. */
  deleted = false;

  /** What was told of the session itself. */
  readonly told = new Told();
  /** The agent's options, as they were last told. */
  readonly options = signal<ConfigOptionsData | undefined>(undefined);

  readonly #tools = new Map<string, ToolItem>();
  readonly #ownTools = new Map<string, ToolItem>();
  readonly #plans = new Map<string | undefined, PlanItem>();
  readonly #questions = new Map<string, QuestionItem>();
  readonly #dirty = new Set<Item>();
  readonly #queue = new MessageQueue();
  #queueShown = 0;
  #marks: GapData[];
  #lastSeq = 0;
  #shownSeq = 0;
  #shrunk = false;
  #status: SessionStatus | undefined;
  #active: string | undefined;
  #background = false;
  #options: ConfigOptionsData | undefined;
  #keys = 0;

  /** `marks`: gaps to be shown at their places, although this log has none there. */
  constructor(marks: readonly GapData[] = []) {
    this.#marks = [...marks].sort((a, b) => a.fromSeq - b.fromSeq);
  }

  /** The last event of what is shown: of the last flush. */
  get shownSeq(): number {
    return this.#shownSeq;
  }

  apply(event: SessionEvent): void {
    while (this.#marks[0] && this.#marks[0].fromSeq <= event.seq) {
      this.gap(this.#marks.shift()!, event.time);
    }
    const from = event.from ?? event.seq;
    if (from <= this.#lastSeq) this.#forgetOutput(from);
    this.#lastSeq = event.seq;

    this.#queue.apply(event);
    if (this.told.take(event)) return;
    const base = { seq: event.seq, time: event.time };
    switch (event.type) {
      case "status":
        this.#applyStatus(base, event.data.status, event.data.messageId, event.data.detail);
        break;
      case "message":
        this.#add<MessageItem>({
          ...base,
          kind: "message",
          messageId: event.data.messageId,
          text: plainText(event.data.content),
          content: event.data.content,
        });
        break;
      case "output": {
        const kind = event.data.kind === "thought" ? "thought" : "answer";
        this.#applyOutput(base, from, kind, event.data.messageId, event.data.text);
        break;
      }
      case "tool_call":
        this.#applyToolCall(base, event.data);
        break;
      case "plan":
        this.#applyPlan(base, event.data.messageId, event.data.entries);
        break;
      case "tool_approval": {
        const draft = { ...base, kind: "approval", request: event.data, resolved: undefined } as const;
        const item = this.#add<ApprovalItem>(draft, !event.data.messageId);
        this.#questions.set(event.data.interactionId, item);
        break;
      }
      case "elicitation": {
        const draft = new Map<string, Entry>();
        const item = { ...base, kind: "elicitation", request: event.data, resolved: undefined, draft } as const;
        const added = this.#add<ElicitationItem>(item, !event.data.messageId);
        this.#questions.set(event.data.interactionId, added);
        break;
      }
      case "approval_resolved":
      case "elicitation_resolved": {
        const item = this.#questions.get(event.data.interactionId);
        if (item) {
          item.resolved = event.data as never; // of the kind that was asked: one id names one question
          this.#questions.delete(event.data.interactionId);
          this.#dirty.add(item);
        }
        break;
      }
      case "notice":
        this.#applyNotice(base, event.data);
        break;
      case "agent_update":
        this.#applyUpdate(base, event.data);
        break;
      case "agent_started":
        this.#applyUpdate(base, { kind: event.type, raw: event.data });
        break;
      case "config_options":
        this.#options = event.data;
        for (const text of optionChanges(event.data)) {
          this.#add<NoteItem>({ ...base, kind: "note", text, bad: false });
        }
        break;
      case "message_edited": {
        const item = this.message(event.data.messageId);
        if (item) {
          Object.assign(item, { content: event.data.content, text: plainText(event.data.content), edited: true });
          this.#dirty.add(item);
        }
        break;
      }
      case "steered":
        this.#applySteered(base, event.data);
        break;
      case "complete":
        this.#applyComplete(base, event.data);
        break;
      case "closed":
        this.deleted = event.data.reason === "deleted";
        this.#settle();
        this.#add<NoteItem>({
          ...base,
          kind: "note",
          text: closedText[event.data.reason] ?? "This session has ended.",
          bad: event.data.reason === "failed",
        });
        break;
      // Anything else is of a newer hub, and has no place here yet.
    }
  }

  /** Marks a place where events are missing. */
  gap(gap: GapData, time: string): void {
    this.#settle();
    this.#lastSeq = Math.max(this.#lastSeq, gap.reason === "trimmed" ? gap.toSeq : gap.fromSeq - 1);
    this.#add<GapItem>({ seq: gap.fromSeq, time, kind: "gap", gap });
  }

  /** Shows what was applied since the last flush. */
  flush(): void {
    this.#shownSeq = this.#lastSeq;
    batch(() => {
      this.#showQueue();
      for (const item of this.#dirty) item.version.value++;
      this.#dirty.clear();
      if (this.#shrunk) this.revision.value++;
      this.#shrunk = false;
      this.told.flush();
      this.length.value = this.items.length;
      this.status.value = this.#status;
      this.activeMessageId.value = this.#active;
      this.inBackground.value = this.#background;
      this.options.value = this.#options;
      const pending = [...this.#questions.values()];
      const shown = this.pending.peek();
      if (pending.length !== shown.length || pending.some((item, index) => item !== shown[index])) {
        this.pending.value = pending;
      }
    });
  }

  /** Whether this message was accepted into the log. */
  has(messageId: string): boolean {
    return this.message(messageId) !== undefined;
  }

  message(messageId: string): MessageItem | undefined {
    return this.items.find((item): item is MessageItem => item.kind === "message" && item.messageId === messageId);
  }

  #applySteered(base: { seq: number; time: string }, data: SteeredData): void {
    const item = this.message(data.messageId);
    if (data.outcome === "injected") {
      if (!item) return;
      item.waits = "taken";
      this.#dirty.add(item);
    } else {
      const why = data.detail ? `: ${data.detail}` : "";
      this.#add<NoteItem>({
        ...base,
        kind: "note",
        text: `The agent did not take the message in${why}. It waits in front of the others.`,
        bad: false,
      });
    }
  }

  /** Marks the messages that wait. */
  #showQueue(): void {
    if (this.#queueShown === this.#queue.version) return;
    this.#queueShown = this.#queue.version;
    const before = this.queue.peek();
    const now = this.#queue.list();
    const states = new Map(now.map((each) => [each.messageId, stateOf(each)]));
    for (const id of new Set([...before.map((each) => each.messageId), ...states.keys()])) {
      const item = this.message(id);
      if (!item) continue;
      const waits = states.get(id) ?? (item.waits === "taken" ? "taken" : undefined);
      if (item.waits === waits) continue;
      item.waits = waits;
      this.#dirty.add(item);
    }
    this.queue.value = now;
    this.steers.value = this.#queue.steers;
  }

  #applyStatus(base: { seq: number; time: string }, status: SessionStatus, messageId?: string, detail?: string): void {
    this.#status = status;
    const busy = status === "running" || status === "requires_action" || status === "starting" || status === "queued";
    this.#active = busy && messageId ? messageId : undefined;
    this.#background = busy && !messageId;
    if (!busy) this.#leaveBackground();
    if (status === "failed") {
      this.#add<NoteItem>({
        ...base,
        kind: "note",
        text: detail ? `The session failed: ${detail}` : "The session failed.",
        bad: true,
      });
    } else if (status === "ended") {
      this.#add<NoteItem>({ ...base, kind: "note", text: "The session ended.", bad: false });
    } else if (detail) {
      this.#add<NoteItem>({ ...base, kind: "note", text: detail, bad: false });
    }
  }

  #applyOutput(
    base: { seq: number; time: string },
    from: number,
    kind: OutputItem["kind"],
    messageId: string | undefined,
    text: string,
  ): void {
    if (messageId) this.#active = messageId;
    let item = this.items.at(-1);
    if (item?.kind !== kind || item.messageId !== messageId || item.done) {
      const draft = { ...base, kind, messageId, text: "", done: false, starts: [], ends: [] };
      item = this.#add<OutputItem>(draft, !messageId);
    }
    item.text += text;
    item.starts.push(from);
    item.ends.push(item.text.length);
    this.#dirty.add(item);
  }

  #applyToolCall(base: { seq: number; time: string }, data: ToolCallData): void {
    const own = !data.messageId;
    const tools = own ? this.#ownTools : this.#tools;
    const known = tools.get(data.toolCallId);
    if (!known) {
      // One that a turn began goes on at the end, where it is seen.
      const { title, kind } = (own && this.#tools.get(data.toolCallId)?.call) || {};
      const call = { ...(title && { title }), ...(kind && { kind }), ...data };
      tools.set(data.toolCallId, this.#add<ToolItem>({ ...base, kind: "tool", call, abandoned: false }, own));
      return;
    }
    const given = Object.entries(data).filter(([, value]) => value !== undefined && value !== null);
    known.call = { ...known.call, ...Object.fromEntries(given) };
    known.abandoned = false;
    this.#dirty.add(known);
  }

  #applyPlan(base: { seq: number; time: string }, messageId: string | undefined, entries: PlanEntry[]): void {
    const known = this.#plans.get(messageId);
    if (known) {
      known.entries = entries;
      this.#dirty.add(known);
    } else {
      this.#plans.set(messageId, this.#add<PlanItem>({ ...base, kind: "plan", messageId, entries }, !messageId));
    }
  }

  #applyNotice(base: { seq: number; time: string }, { severity, title, description }: NoticeData): void {
    const text = [title, description].filter(Boolean).join(": ");
    this.#add<NoteItem>({ ...base, kind: "note", text, bad: severity === "error" });
  }

  #applyUpdate(base: { seq: number; time: string }, data: AgentUpdateData): void {
    const notice = noticeOf(data);
    if (notice) {
      this.#applyNotice(base, notice);
      return;
    }
    let item = this.items.at(-1);
    if (item?.kind !== "updates") {
      item = this.#add<UpdatesItem>({ ...base, kind: "updates", updates: [] });
    }
    item.updates.push(data);
    if (item.updates.length > maxUpdatesKept) item.updates.shift();
    this.#dirty.add(item);
  }

  #applyComplete(base: { seq: number; time: string }, data: CompleteData): void {
    this.#plans.delete(data.messageId);
    if (this.#active === data.messageId) this.#active = undefined;
    this.#abandon([...this.#tools.values()].filter(({ call }) => call.messageId === data.messageId));
    this.#settle();
    this.#add<CompleteItem>({ ...base, kind: "complete", data });
  }

  /** What is open in the background of a session that does nothing is of a lost worker. */
  #leaveBackground(): void {
    this.#plans.delete(undefined);
    this.#abandon(this.#ownTools.values());
    this.#ownTools.clear();
  }

  #abandon(tools: Iterable<ToolItem>): void {
    for (const tool of tools) {
      const { status } = tool.call;
      if (status === "completed" || status === "failed") continue;
      tool.abandoned = true;
      this.#dirty.add(tool);
    }
  }

  /** `background`: the agent does it outside of a turn. */
  #add<T extends Item>(draft: Draft<T>, background = false): T {
    const last = this.items.at(-1);
    if (draft.kind !== "answer" && draft.kind !== "thought") this.#settle();
    else if (last?.kind !== draft.kind) this.#settle();
    const item = { ...draft, key: `i${++this.#keys}`, version: signal(0) } as unknown as T;
    if (background) item.background = last?.background ? "more" : "first";
    this.items.push(item);
    return item;
  }

  /** The last item will not grow any more. */
  #settle(): void {
    const last = this.items.at(-1);
    if ((last?.kind === "answer" || last?.kind === "thought") && !last.done) {
      last.done = true;
      this.#dirty.add(last);
    }
  }

  /**
   * Takes back the pieces from `from` on: a compacted event replaces them. They
   * can only be the last of what is here. Tool calls need no taking back, since
   * merging one twice changes nothing.
   */
  #forgetOutput(from: number): void {
    while (true) {
      const item = this.items.at(-1);
      if ((item?.kind !== "answer" && item?.kind !== "thought") || (item.starts.at(-1) ?? 0) < from) return;
      const kept = item.starts.findIndex((start) => start >= from);
      item.starts.length = kept;
      item.ends.length = kept;
      item.text = item.text.slice(0, item.ends.at(-1) ?? 0);
      item.done = false;
      this.#dirty.add(item);
      if (kept > 0) return;
      this.items.pop();
      this.#dirty.delete(item);
      this.#shrunk = true;
    }
  }
}

function stateOf({ held, steering }: Waiting): MessageItem["waits"] {
  return steering ? "steering" : held ? "held" : "queued";
}

const closedText: Record<string, string> = {
  deleted: "This session was deleted.",
  expired: "This session has expired. It can be read for a day.",
  failed: "This session has failed. It can be read for a day.",
};

export function plainText(content: string | { text?: string }[]): string {
  if (typeof content === "string") return content;
  return content.flatMap((block) => block.text ?? []).join("\n");
}
