import type { ReadonlySignal } from "@preact/signals";
import type { AnswerAction, ApprovalContent, ElicitationData, FormContent } from "@sessionhub/client";
import type { AnswerGuard } from "./answer-guard.js";

/** What a question's card needs of the page that it is on: the page of its session, or the inbox. */
export interface Asker {
  /** Who looks may not answer. */
  readonly readOnly: boolean;
  /** Nothing can be answered any more. */
  readonly over: ReadonlySignal<boolean>;
  /** Every answer of the page goes through it. */
  readonly answering: AnswerGuard;
  /** How many questions of the page wait. While others do, an answered one keeps its place. */
  readonly waiting: ReadonlySignal<number>;
  /** The question's name on this page. Questions of two sessions may have one id. */
  nameOf(interactionId: string): string;
  approve(interactionId: string, optionId: string, reason?: string): Promise<void>;
  answer(interactionId: string, action: AnswerAction, content?: FormContent): Promise<void>;
  /** All of a private question. */
  elicitation(interactionId: string): Promise<ElicitationData>;
  /** All of a question that is shown in part. */
  approvalContent(interactionId: string): Promise<ApprovalContent>;
}
