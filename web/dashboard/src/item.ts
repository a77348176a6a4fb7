import type { Signal } from "@preact/signals";
import type {
  AgentUpdateData,
  ApprovalResolvedData,
  CompleteData,
  ElicitationData,
  ElicitationResolvedData,
  GapData,
  MessageContent,
  PlanEntry,
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
  /** What the agent did outside of a turn. The first of adjacent ones says so. */
  background?: "first" | "more";
}

export interface MessageItem extends ItemBase {
  kind: "message";
  messageId: string;
  text: string;
  /** As it was sent: more than the text, where it has other blocks. */
  content: MessageContent;
  /** It waits, is held, or is on its way to the running turn; taken: that turn has it. */
  waits?: "queued" | "held" | "steering" | "taken" | undefined;
  edited?: boolean;
}

/** A run of adjacent pieces of one message and kind. */
export interface OutputItem extends ItemBase {
  kind: "answer" | "thought";
  messageId: string | undefined;
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
  messageId: string | undefined;
  entries: PlanEntry[];
}

export interface ApprovalItem extends ItemBase {
  kind: "approval";
  request: ToolApprovalData;
  resolved: ApprovalResolvedData | undefined;
}

export interface ElicitationItem extends ItemBase {
  kind: "elicitation";
  request: ElicitationData;
  resolved: ElicitationResolvedData | undefined;
  /** What was filled in so far: it outlives the card, which is drawn near the view only. */
  readonly draft: Map<string, Entry>;
}

/** What a user has put into a field: a text as it was typed, or the values that were chosen. */
export type Entry = string | readonly string[];

/** Something that the agent asks people. */
export type QuestionItem = ApprovalItem | ElicitationItem;

/** What is asked, in short. */
export function askedText(item: QuestionItem): string {
  return item.kind === "approval" ? item.request.title : item.request.message;
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
  | ElicitationItem
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
