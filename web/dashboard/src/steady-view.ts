import type { AnswerGuard } from "./answer-guard.js";

/** So near to its end the view counts as at the end. Pixels. */
const bottomPx = 48;
/** What is left above a question that the view stops at. Pixels. */
const marginPx = 8;

/**
 * SteadyView decides where the transcript is scrolled to when its content or its
 * own box changes. While an open question is in view, that question stays on the
 * very spot of the screen: what comes and goes around it is made up for by
 * scrolling, and by empty room at either end where scrolling is not enough.
 * Otherwise the view follows the end, if that is where it was.
 */
export class SteadyView {
  readonly #view: HTMLElement;
  readonly #above: HTMLElement;
  readonly #below: HTMLElement;
  readonly #guard: AnswerGuard;
  readonly #onAway: (away: boolean) => void;
  readonly #follows: boolean;
  #atEnd: boolean;
  #lastTop = 0;
  #held: { card: HTMLElement; top: number } | undefined;
  /** Questions that were painted once: what is new may still be brought into view. */
  readonly #painted = new WeakSet<Element>();

  /**
   * `above`, `below`: empty elements before and behind the content, whose
   * heights are set here. `onAway` hears whether there is more below than is
   * shown, and the view does not follow it. Without `follows` it never goes to the
   * end by itself.
   */
  constructor(
    view: HTMLElement,
    above: HTMLElement,
    below: HTMLElement,
    guard: AnswerGuard,
    onAway: (away: boolean) => void,
    follows = true,
  ) {
    this.#follows = follows;
    this.#atEnd = follows;
    this.#view = view;
    this.#above = above;
    this.#below = below;
    this.#guard = guard;
    this.#onAway = onAway;
  }

  /** To be called when something may have changed its size, before it is painted. */
  keep(): void {
    this.#adoptScroll();
    const held = this.#held;
    // The question that was held is put back first: only then is it known what lies under the pointer.
    if (held?.card.isConnected) this.#shift(held.card, held.card.getBoundingClientRect().top - held.top);
    const card = this.#guard.held();
    if (!card) {
      this.#held = undefined;
      // A question that was seen in part does not move under a pointer that rests, either.
      if (
        !this.#guard.pointsInto(this.#view) ||
        !this.#open().some((one) => this.#painted.has(one) && overlaps(one, this.#view))
      ) {
        this.#release();
        if (this.#atEnd) this.#toEnd();
      }
    } else if (card !== held?.card) {
      this.#held = { card, top: card.getBoundingClientRect().top };
      // The browser's own anchoring would work against this one.
      this.#view.style.overflowAnchor = "none";
    }
    this.#settled();
  }

  /** The view was scrolled, by its user or from here. */
  scrolled(): void {
    // Content that grew below also makes a distance; only going up leaves the end.
    if (this.#distance() < bottomPx) this.#atEnd = this.#follows;
    else if (this.#view.scrollTop < this.#lastTop) this.#atEnd = false;
    this.#adoptScroll();
    this.#settled();
  }

  /** What was scrolled since is wanted, unless content that shrank left no other place. */
  #adoptScroll(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.#view;
    const clamped = scrollTop < this.#lastTop && scrollTop + clientHeight >= scrollHeight - 1;
    if (this.#held && !clamped) this.#held.top -= scrollTop - this.#lastTop;
    this.#lastTop = scrollTop;
  }

  #settled(): void {
    for (const card of this.#open()) {
      if (overlaps(card, this.#view)) this.#painted.add(card);
    }
    this.#lastTop = this.#view.scrollTop;
    this.#onAway(!this.#atEnd || (this.#held !== undefined && this.#distance() >= bottomPx));
  }

  #open(): Element[] {
    return [...this.#view.querySelectorAll('.approval[data-state="pending"]')];
  }

  #distance(): number {
    const { scrollHeight, scrollTop, clientHeight } = this.#view;
    return scrollHeight - scrollTop - clientHeight - this.#below.offsetHeight;
  }

  #shift(card: HTMLElement, moved: number): void {
    if (Math.abs(moved) < 0.5) return;
    const wanted = card.getBoundingClientRect().top - moved;
    this.#view.scrollTop += moved;
    const rest = card.getBoundingClientRect().top - wanted;
    if (rest <= -0.5) this.#above.style.height = `${this.#above.offsetHeight - rest}px`;
    if (rest >= 0.5) {
      this.#below.style.height = `${this.#below.offsetHeight + rest}px`;
      this.#view.scrollTop += rest;
    }
  }

  #release(): void {
    this.#view.style.overflowAnchor = "";
    if (this.#below.offsetHeight > 0) this.#below.style.height = "";
    const room = this.#above.offsetHeight;
    if (room === 0) return;
    this.#above.style.height = "";
    this.#view.scrollTop -= room;
  }

  /** To the end, or to the first open question, if that would be passed. */
  #toEnd(): void {
    const view = this.#view;
    const first = this.#open()[0];
    const end = view.scrollHeight - view.clientHeight;
    const top = first
      ? view.scrollTop + first.getBoundingClientRect().top - view.getBoundingClientRect().top - marginPx
      : end;
    view.scrollTop = Math.min(end, Math.max(0, top));
  }
}

function overlaps(element: Element, view: Element): boolean {
  const [inner, outer] = [element.getBoundingClientRect(), view.getBoundingClientRect()];
  return inner.bottom > outer.top && inner.top < outer.bottom;
}
