import { computed, effect, signal, type ReadonlySignal } from "@preact/signals";
import type {
  AnswerAction,
  ApprovalContent,
  ApprovalResolvedData,
  ElicitationData,
  FormContent,
  HubApi,
  Session,
} from "@sessionhub/client";
import type { Inbox, InboxNeed } from "@sessionhub/client/inbox";
import { AnswerGuard } from "./answer-guard.js";
import type { Asker } from "./asker.js";
import { asUser } from "./hub.js";
import { inbox, refreshInbox } from "./inbox-feed.js";
import type { ApprovalItem, ElicitationItem, QuestionItem } from "./item.js";
import { retrying } from "./retrying.js";

/** How long an answer is repeated where the hub is busy or out of reach. Milliseconds. */
const answerRetryMs = 15_000;
/** How long an answered question stays, so that its outcome can be read. Milliseconds. */
const outcomeMs = 4_000;

/** The questions of one session, in the order in which they were asked. */
export interface Need {
  readonly sessionId: string;
  readonly asker: Asker;
  session: Session;
  since: string;
  questions: QuestionItem[];
}

/**
 * InboxModel holds the questions that the inbox shows. A question keeps its card, with
 * what was entered, while it waits. One that was answered, here or elsewhere, stays in its
 * place for a while. `dispose` ends it.
 */
export class InboxModel {
  readonly needs = signal<readonly Need[]>([]);
  readonly waiting = computed(() => this.needs.value.reduce((sum, need) => sum + open(need).length, 0));
  readonly answering = new AnswerGuard(() => this.waiting.peek());

  #names = 0;
  readonly #answered = new Map<QuestionItem, number>();
  readonly #stop = effect(() => {
    const read = inbox.value;
    if (read) this.#take(read);
  });
  readonly #tidying = setInterval(() => this.#tidy(), 1_000);

  dispose(): void {
    this.#stop();
    clearInterval(this.#tidying);
    this.answering.dispose();
  }

  #take(read: Inbox): void {
    const before = this.needs.peek();
    const known = new Map(before.map((need) => [need.sessionId, need]));
    // Those that are shown keep their order: a new one never moves them.
    const next = before.map((need) => ({ ...need }));
    for (const need of next) {
      const now = read.needsYou.find(({ session }) => session.sessionId === need.sessionId);
      if (now) this.#merge(need, now);
      else for (const item of open(need)) this.#gone(item);
    }
    for (const each of read.needsYou) {
      const { sessionId } = each.session;
      if (known.has(sessionId)) continue;
      const need: Need = {
        sessionId,
        asker: new SessionAsker(sessionId, this),
        session: each.session,
        since: each.since,
        questions: [],
      };
      this.#merge(need, each);
      next.push(need);
    }
    this.needs.value = next.filter(({ questions }) => questions.length > 0);
  }

  #merge(need: Need, { session, since, approvals, elicitations }: InboxNeed): void {
    need.session = session;
    need.since = since;
    const asked = new Set([...approvals, ...elicitations].map(({ interactionId }) => interactionId));
    for (const item of open(need)) if (!asked.has(item.request.interactionId)) this.#gone(item);
    const shown = new Set(need.questions.map(({ request }) => request.interactionId));
    const base = () => ({
      key: `inbox-${++this.#names}`,
      seq: 0,
      time: since,
      version: signal(0),
      resolved: undefined,
    });
    const fresh: QuestionItem[] = [
      ...approvals.map((request): ApprovalItem => ({ ...base(), kind: "approval", request })),
      ...elicitations.map(
        (request): ElicitationItem => ({ ...base(), kind: "elicitation", request, draft: new Map() }),
      ),
    ].filter(({ request }) => !shown.has(request.interactionId));
    need.questions = [...need.questions, ...fresh];
  }

  /** A question that waits no more, though nobody answered it here. */
  #gone(item: QuestionItem): void {
    const { interactionId } = item.request;
    if (item.kind === "approval") this.resolved(item, { interactionId, outcome: "selected", by: "somebody else" });
    else this.resolved(item, { interactionId, outcome: "accepted", by: "somebody else" });
  }

  /** A question was answered. */
  resolved(item: QuestionItem, outcome: NonNullable<QuestionItem["resolved"]>): void {
    if (item.resolved) return;
    item.resolved = outcome as never; // of the item's own kind: who calls has the item
    item.version.value++;
    this.#answered.set(item, performance.now());
    this.needs.value = [...this.needs.peek()];
  }

  /** Takes away what was answered a while ago, unless somebody is at it. */
  #tidy(): void {
    const now = performance.now();
    const over = (item: QuestionItem) => now - (this.#answered.get(item) ?? now) > outcomeMs;
    if (![...this.#answered.keys()].some(over)) return;
    for (const item of this.#answered.keys()) if (over(item)) this.#answered.delete(item);
    const stays = (item: QuestionItem) => !item.resolved || this.#answered.has(item);
    this.needs.value = this.needs
      .peek()
      .map((need) => ({ ...need, questions: need.questions.filter(stays) }))
      .filter(({ questions }) => questions.length > 0);
  }
}

function open({ questions }: Need): QuestionItem[] {
  return questions.filter(({ resolved }) => !resolved);
}

const never = signal(false);

/** Answers questions of one session from the inbox. */
class SessionAsker implements Asker {
  readonly readOnly = false;
  readonly over: ReadonlySignal<boolean> = never;
  readonly answering: AnswerGuard;
  readonly waiting: ReadonlySignal<number>;
  readonly #sessionId: string;
  readonly #model: InboxModel;

  constructor(sessionId: string, model: InboxModel) {
    this.#sessionId = sessionId;
    this.#model = model;
    this.answering = model.answering;
    this.waiting = model.waiting;
  }

  nameOf(interactionId: string): string {
    return `${this.#sessionId} ${interactionId}`;
  }

  async approve(interactionId: string, optionId: string, reason?: string): Promise<void> {
    const why = reason ? { reason, reasonAsMessage: true } : {};
    await this.#send((hub) => hub.approve(this.#sessionId, { interactionId, optionId, ...why }));
    const item = this.#find(interactionId);
    if (item?.kind !== "approval") return;
    const kind = item.request.options.find((option) => option.optionId === optionId)?.kind;
    this.#model.resolved(item, { interactionId, outcome: "selected", optionId, kind } as ApprovalResolvedData);
  }

  async answer(interactionId: string, action: AnswerAction, content?: FormContent): Promise<void> {
    const outcome = { accept: "accepted", decline: "declined", cancel: "cancelled" } as const;
    await this.#send((hub) =>
      hub.command(this.#sessionId, { type: "answer", data: { interactionId, action, content } }),
    );
    const item = this.#find(interactionId);
    if (item?.kind !== "elicitation") return;
    const given = item.request.private ? undefined : content;
    this.#model.resolved(item, {
      interactionId,
      outcome: outcome[action],
      by: "you",
      ...(given && { content: given }),
    });
  }

  elicitation(interactionId: string): Promise<ElicitationData> {
    return asUser((hub) => hub.elicitation(this.#sessionId, interactionId));
  }

  approvalContent(interactionId: string): Promise<ApprovalContent> {
    return asUser((hub) => hub.approvalContent(this.#sessionId, interactionId));
  }

  async #send(call: (hub: HubApi) => Promise<unknown>): Promise<void> {
    try {
      await retrying(() => asUser(call), answerRetryMs);
    } finally {
      refreshInbox(); // also where somebody else was faster
    }
  }

  #find(interactionId: string): QuestionItem | undefined {
    const need = this.#model.needs.peek().find(({ sessionId }) => sessionId === this.#sessionId);
    return need?.questions.find(({ request }) => request.interactionId === interactionId);
  }
}
