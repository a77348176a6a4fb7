import { signal } from "@preact/signals";
import { restingPointer } from "./pointer.js";
import { QuestionSight, readMs, type Point, type QuestionParts } from "./question-sight.js";

/** Why an act did not answer. */
export type Refusal =
  /** The question, or this answer, is not in view, or has been for less than `readMs`. */
  | "unread"
  /** The answer moved under the pointer less than `readMs` ago. */
  | "moved"
  /** Another answer was given less than `readMs` ago: this may be its second press. */
  | "just_answered"
  /** A key that is held down repeats itself. */
  | "repeated";

/** An open question, as its card gives it to the guard. */
export interface Question extends QuestionParts {
  readonly id: string;
  /** The keys 1 to 9 do not answer it: they are for its fields. */
  readonly keyless?: boolean;
  /** Gives this answer. */
  answer(optionId: string): void;
  /** Tells the user why nothing happened. */
  refuse(why: Refusal): void;
}

interface Tracked {
  question: Question;
  sight: QuestionSight;
}

/** A press on an answer, judged when it began. */
interface Press {
  button: HTMLButtonElement;
  refusal: Refusal | undefined;
}

/**
 * AnswerGuard is the one way by which a question of an agent's is answered. It
 * takes a deliberate act only: on a question whose head and answers have been in
 * view, uncovered, for `readMs`; with a pointer, on an answer that lay under
 * it all that time; with a key, on the focused question; and no sooner than
 * `readMs` after the answer before. Every input ends here: mouse, touch, keys, and
 * what a screen reader activates.
 *
 * There is one for each open session page, and one for the inbox. `dispose` ends it.
 */
export class AnswerGuard {
  /** The question that the keys 1 to 9 answer now. */
  readonly keysFor = signal<string | undefined>(undefined);
  /** The open questions that are in view. */
  readonly inView = signal<readonly string[]>([]);

  readonly #waiting: () => number;
  readonly #questions = new Map<string, Tracked>();
  readonly #stopped = new AbortController();
  #frame = 0;
  #keysSince = 0;
  #answeredAt = -Infinity;
  #press: Press | undefined;
  #beforeSample: (() => void) | undefined;

  /** `waiting`: how many questions are open, drawn or not. */
  constructor(waiting: () => number) {
    this.#waiting = waiting;
    const options = { capture: true, passive: true, signal: this.#stopped.signal };
    document.addEventListener("pointerdown", (event) => this.#pressed(event), options);
    document.addEventListener("pointercancel", () => (this.#press = undefined), options);
    document.addEventListener("keydown", (event) => this.#key(event), { ...options, passive: false });
    document.addEventListener("visibilitychange", () => this.#reset(), options);
    document.addEventListener("resume", () => this.#reset(), options);
    window.addEventListener("pageshow", () => this.#reset(), options);
  }

  dispose(): void {
    this.#stopped.abort();
    cancelAnimationFrame(this.#frame);
    this.#questions.clear();
  }

  /** Follows an open question until the function that it returns is called. */
  follow(question: Question): () => void {
    this.#questions.set(question.id, { question, sight: new QuestionSight(question) });
    if (this.#frame === 0) this.#sample();
    return () => {
      if (this.#questions.get(question.id)?.question === question) this.#questions.delete(question.id);
    };
  }

  /** Called before each measurement, of a frame or of an act: whoever keeps questions in their places does it then. */
  onFrame(keep: (() => void) | undefined): void {
    this.#beforeSample = keep;
  }

  /** A click on an answer's button, by whatever made it. */
  click(event: MouseEvent, id: string, button: HTMLButtonElement): void {
    const pressed = this.#press?.button === button ? this.#press.refusal : undefined;
    this.#press = undefined;
    // What a screen reader activates has no press before it, and is judged by its click alone.
    const refusal = pressed ?? this.#judge(id, button, timeOf(event));
    const question = this.#questions.get(id)?.question;
    if (refusal) question?.refuse(refusal);
    else this.#take(question!, button);
  }

  /**
   * The open question that must not move now, whatever arrives: the one under
   * the pointer, or with the focus, or else the first that is in view.
   */
  held(): HTMLElement | undefined {
    const all = [...this.#questions.values()];
    const { x, y } = restingPointer() ?? { x: -1, y: -1 };
    const pointed = all.find(({ question: { card } }) => {
      const { left, top, right, bottom } = card.getBoundingClientRect();
      return (
        x >= left &&
        x < right &&
        y >= top &&
        y < bottom &&
        document.elementFromPoint(x, y)?.closest(".approval") === card
      );
    });
    const focused = all.find(
      ({ question, sight }) => sight.since !== undefined && question.card.contains(document.activeElement),
    );
    return (pointed ?? focused ?? all.find(({ sight }) => sight.since !== undefined))?.question.card;
  }

  /** Whether the mouse rests somewhere in this box. */
  pointsInto(element: Element): boolean {
    const pointer = restingPointer();
    if (!pointer) return false;
    const { left, top, right, bottom } = element.getBoundingClientRect();
    return pointer.x >= left && pointer.x < right && pointer.y >= top && pointer.y < bottom;
  }

  #take(question: Question, button: HTMLButtonElement): void {
    this.#answeredAt = performance.now();
    question.answer(button.dataset["optionId"]!);
  }

  /** Undefined: the act that began at `time` answers. */
  #judge(id: string, button: HTMLButtonElement, time: number, point?: Point): Refusal | undefined {
    const tracked = this.#questions.get(id);
    if (!tracked) return "unread";
    if (time - this.#answeredAt < readMs) return "just_answered";
    // What changed since the last frame is put in its place before it is painted; until then nobody sees it elsewhere.
    this.#beforeSample?.();
    tracked.sight.sample();
    if (!tracked.sight.offeredSince(button, time - readMs)) return "unread";
    if (point && !tracked.sight.coveredSince(button, point, time - readMs)) return "moved";
    return undefined;
  }

  #pressed(event: PointerEvent): void {
    const answer = this.#answerAt(event.target);
    this.#press = answer && {
      button: answer.button,
      refusal: this.#judge(answer.id, answer.button, timeOf(event), { x: event.clientX, y: event.clientY }),
    };
  }

  #key(event: KeyboardEvent): void {
    const answer = this.#answerAt(event.target);
    if (answer && (event.key === "Enter" || event.key === " ")) {
      // Enter clicks with each repetition, the space bar once it is let go.
      if (!event.repeat)
        this.#press = { button: answer.button, refusal: this.#judge(answer.id, answer.button, timeOf(event)) };
      else if (event.key === "Enter") this.#press = { button: answer.button, refusal: "repeated" };
      return;
    }
    this.#press = undefined;
    const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code)?.[1];
    if (!digit || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (!event.altKey && isTyping(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const target = this.#keyTarget();
    if (!target) return;
    const { question, focused } = target;
    const button = question.answers.querySelectorAll<HTMLButtonElement>("button[data-option-id]")[Number(digit) - 1];
    if (!button) return;
    event.preventDefault();
    const time = timeOf(event);
    let refusal = event.repeat ? "repeated" : this.#judge(question.id, button, time);
    // Without the focus it is the only one that waits; for a moment ago it may have been another.
    if (!focused && (this.keysFor.peek() !== question.id || time - this.#keysSince < readMs)) refusal ??= "unread";
    if (refusal) question.refuse(refusal);
    else this.#take(question, button);
  }

  /** The question that has the focus; where nothing has that could want the key, the only one that waits, if it is in view. */
  #keyTarget(): { question: Question; focused: boolean } | undefined {
    const active = document.activeElement;
    for (const { question } of this.#questions.values()) {
      if (question.card.contains(active)) return question.keyless ? undefined : { question, focused: true };
    }
    const idle = !active || active === document.body || active.matches(".transcript, .inbox-view, #message-box");
    const [only] = this.#questions.values();
    if (
      !idle ||
      !only ||
      only.question.keyless ||
      this.#waiting() !== 1 ||
      this.#questions.size !== 1 ||
      only.sight.since === undefined
    )
      return undefined;
    return { question: only.question, focused: false };
  }

  #answerAt(target: EventTarget | null): { id: string; button: HTMLButtonElement } | undefined {
    const button = target instanceof Element ? target.closest<HTMLButtonElement>("button[data-option-id]") : null;
    if (!button) return undefined;
    for (const { question } of this.#questions.values()) {
      if (question.answers.contains(button)) return { id: question.id, button };
    }
    return undefined;
  }

  #reset(): void {
    for (const { sight } of this.#questions.values()) sight.reset();
  }

  #sample(): void {
    this.#frame = this.#questions.size === 0 ? 0 : requestAnimationFrame(() => this.#sample());
    this.#beforeSample?.();
    const now = performance.now();
    const inView: string[] = [];
    for (const { question, sight } of this.#questions.values()) {
      sight.sample();
      if (sight.since !== undefined) inView.push(question.id);
      const ready = now - this.#answeredAt >= readMs;
      for (const button of question.answers.querySelectorAll<HTMLButtonElement>("button[data-option-id]")) {
        const offered = ready && sight.offeredSince(button, now - readMs);
        if (button.getAttribute("aria-disabled") !== String(!offered))
          button.setAttribute("aria-disabled", String(!offered));
      }
    }
    const shown = this.inView.peek();
    if (inView.length !== shown.length || inView.some((id, index) => id !== shown[index])) this.inView.value = inView;
    const keysFor = this.#keyTarget()?.question.id;
    if (keysFor !== this.keysFor.peek()) {
      this.keysFor.value = keysFor;
      this.#keysSince = now;
    }
  }
}

export function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("input, textarea, select, [contenteditable]");
}

/** When the event happened, which may be well before a busy page hears of it. */
function timeOf(event: Event): number {
  return Math.min(event.timeStamp, performance.now());
}
