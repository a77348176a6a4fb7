import { batch, signal, type Signal } from "@preact/signals";
import type {
  AgentUpdateData,
  ApprovalResolvedData,
  CompleteData,
  GapData,
  PlanEntry,
  SessionEvent,
  SessionStatus,
  ToolApprovalData,
  ToolCallData,
} from "@sessionhub/client";

interface ItemBase {
  /** Unique within a transcript and stable. */
  readonly key: string;
  readonly seq: number;
  readonly time: string;
  /** Grows when the item changed and was flushed: what shows the item subscribes to it. */
  readonly version: Signal<number>;
}

export interface MessageItem extends ItemBase {
  kind: "message";
  messageId: string;
  text: string;
}

/** A run of adjacent pieces of one message and kind. */
export interface OutputItem extends ItemBase {
  kind: "answer" | "thought";
  messageId: string;
  text: string;
  /** The turn is over, or something else came after: no more pieces will. */
  done: boolean;
  /** Where each piece begins in the log, and where it ends in the text: so that a compacted event can replace some. */
  starts: number[];
  ends: number[];
}

export interface ToolItem extends ItemBase {
  kind: "tool";
  call: ToolCallData;
  /** The turn ended before the tool did. */
  abandoned: boolean;
}

export interface PlanItem extends ItemBase {
  kind: "plan";
  messageId: string;
  entries: PlanEntry[];
}

export interface ApprovalItem extends ItemBase {
  kind: "approval";
  request: ToolApprovalData;
  resolved: ApprovalResolvedData | undefined;
}

export interface CompleteItem extends ItemBase {
  kind: "complete";
  data: CompleteData;
}

export interface NoteItem extends ItemBase {
  kind: "note";
  text: string;
  bad: boolean;
}

export interface GapItem extends ItemBase {
  kind: "gap";
  gap: GapData;
}

/** Adjacent updates that the hub has no name for. */
export interface UpdatesItem extends ItemBase {
  kind: "updates";
  updates: AgentUpdateData[];
}

export type Item =
  | MessageItem
  | OutputItem
  | ToolItem
  | PlanItem
  | ApprovalItem
  | CompleteItem
  | NoteItem
  | GapItem
  | UpdatesItem;

/**
 * Subscribes the component that calls it to the item's changes. Items are
 * changed in place, so every component that shows one has to: that its parent
 * was drawn again does not reach it, since the item is still the same object.
 */
export function watch<T extends Item>(item: T): T {
  item.version.value; // to read a signal is to subscribe
  return item;
}

/** More updates than this in a row are counted, but only the last are kept. */
export const maxUpdatesKept = 200;

type Draft<T extends Item> = T extends Item ? Omit<T, "key" | "version"> : never;

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
  readonly pending = signal<readonly ApprovalItem[]>([]);
  /** The message whose turn runs, if one does: what Stop would stop. */
  readonly activeMessageId = signal<string | undefined>(undefined);

  readonly #tools = new Map<string, ToolItem>();
  readonly #plans = new Map<string, PlanItem>();
  readonly #approvals = new Map<string, ApprovalItem>();
  readonly #dirty = new Set<Item>();
  #marks: GapData[];
  #lastSeq = 0;
  #shrunk = false;
  #status: SessionStatus | undefined;
  #active: string | undefined;
  #keys = 0;

  /** `marks`: gaps to be shown at their places, although this log has none there. */
  constructor(marks: readonly GapData[] = []) {
    this.#marks = [...marks].sort((a, b) => a.fromSeq - b.fromSeq);
  }

  apply(event: SessionEvent): void {
    while (this.#marks[0] && this.#marks[0].fromSeq <= event.seq) {
      this.gap(this.#marks.shift()!, event.time);
    }
    const from = event.from ?? event.seq;
    if (from <= this.#lastSeq) this.#forgetOutput(from);
    this.#lastSeq = event.seq;

    const base = { seq: event.seq, time: event.time };
    switch (event.type) {
      case "status":
        this.#applyStatus(base, event.data.status, event.data.messageId, event.data.detail);
        break;
      case "message":
        this.#add<MessageItem>({ ...base, kind: "message", messageId: event.data.messageId, text: plainText(event.data.content) });
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
        const item = this.#add<ApprovalItem>({ ...base, kind: "approval", request: event.data, resolved: undefined });
        this.#approvals.set(event.data.interactionId, item);
        break;
      }
      case "approval_resolved": {
        const item = this.#approvals.get(event.data.interactionId);
        if (item) {
          item.resolved = event.data;
          this.#approvals.delete(event.data.interactionId);
          this.#dirty.add(item);
        }
        break;
      }
      case "agent_update":
        this.#applyUpdate(base, event.data);
        break;
      case "complete":
        this.#applyComplete(base, event.data);
        break;
      case "closed":
        this.#settle();
        this.#add<NoteItem>({ ...base, kind: "note", text: closedText[event.data.reason] ?? "This session has ended.", bad: event.data.reason === "failed" });
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
    batch(() => {
      for (const item of this.#dirty) item.version.value++;
      this.#dirty.clear();
      if (this.#shrunk) this.revision.value++;
      this.#shrunk = false;
      this.length.value = this.items.length;
      this.status.value = this.#status;
      this.activeMessageId.value = this.#active;
      const pending = [...this.#approvals.values()];
      const shown = this.pending.peek();
      if (pending.length !== shown.length || pending.some((item, index) => item !== shown[index])) {
        this.pending.value = pending;
      }
    });
  }

  /** Whether this message was accepted into the log. */
  has(messageId: string): boolean {
    return this.items.some((item) => item.kind === "message" && item.messageId === messageId);
  }

  #applyStatus(base: { seq: number; time: string }, status: SessionStatus, messageId?: string, detail?: string): void {
    this.#status = status;
    if (status === "running" || status === "requires_action" || status === "starting" || status === "queued") {
      this.#active = messageId ?? this.#active;
    } else {
      this.#active = undefined;
    }
    if (status === "failed") {
      this.#add<NoteItem>({ ...base, kind: "note", text: detail ? `The session failed: ${detail}` : "The session failed.", bad: true });
    } else if (status === "ended") {
      this.#add<NoteItem>({ ...base, kind: "note", text: "The session ended.", bad: false });
    } else if (detail) {
      this.#add<NoteItem>({ ...base, kind: "note", text: detail, bad: false });
    }
  }

  #applyOutput(base: { seq: number; time: string }, from: number, kind: OutputItem["kind"], messageId: string, text: string): void {
    this.#active = messageId;
    let item = this.items.at(-1);
    if (item?.kind !== kind || item.messageId !== messageId || item.done) {
      item = this.#add<OutputItem>({ ...base, kind, messageId, text: "", done: false, starts: [], ends: [] });
    }
    item.text += text;
    item.starts.push(from);
    item.ends.push(item.text.length);
    this.#dirty.add(item);
  }

  #applyToolCall(base: { seq: number; time: string }, data: ToolCallData): void {
    const known = this.#tools.get(data.toolCallId);
    if (!known) {
      this.#tools.set(data.toolCallId, this.#add<ToolItem>({ ...base, kind: "tool", call: data, abandoned: false }));
      return;
    }
    const given = Object.entries(data).filter(([, value]) => value !== undefined && value !== null);
    known.call = { ...known.call, ...Object.fromEntries(given) };
    known.abandoned = false;
    this.#dirty.add(known);
  }

  #applyPlan(base: { seq: number; time: string }, messageId: string, entries: PlanEntry[]): void {
    const known = this.#plans.get(messageId);
    if (known) {
      known.entries = entries;
      this.#dirty.add(known);
    } else {
      this.#plans.set(messageId, this.#add<PlanItem>({ ...base, kind: "plan", messageId, entries }));
    }
  }

  #applyUpdate(base: { seq: number; time: string }, data: AgentUpdateData): void {
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
    for (const tool of this.#tools.values()) {
      const status = tool.call.status;
      if (tool.call.messageId === data.messageId && status !== "completed" && status !== "failed") {
        tool.abandoned = true;
        this.#dirty.add(tool);
      }
    }
    this.#settle();
    this.#add<CompleteItem>({ ...base, kind: "complete", data });
  }

  #add<T extends Item>(draft: Draft<T>): T {
    if (draft.kind !== "answer" && draft.kind !== "thought") this.#settle();
    else if (this.items.at(-1)?.kind !== draft.kind) this.#settle();
    const item = { ...draft, key: `i${++this.#keys}`, version: signal(0) } as unknown as T;
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

const closedText: Record<string, string> = {
  deleted: "This session was deleted.",
  expired: "This session has expired. It can be read for a day.",
  failed: "This session has failed. It can be read for a day.",
};

function plainText(content: string | { text?: string }[]): string {
  if (typeof content === "string") return content;
  return content.map((block) => block.text ?? "").join("\n");
}
