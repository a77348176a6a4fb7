// What of a question is in view, and since when. Everything is measured in CSS
// pixels of the layout viewport and in milliseconds as performance.now() counts.

/** How long a question must have been in view before an answer to it is taken. Milliseconds. */
export const readMs = 500;
/** After a longer break between two frames nobody knows what was in view meanwhile: no page is busy for that long, the machine slept. Milliseconds. */
const maxFrameGapMs = 5_000;
/** Rounding of positions is no movement. */
const tolerancePx = 1;
/** How far within its edges a part is looked at. */
const edgePx = 3;

/** The parts of a question's card. `head` and `answers` have to be in view; a long middle scrolls between them. */
export interface QuestionParts {
  readonly card: HTMLElement;
  readonly head: HTMLElement;
  readonly answers: HTMLElement;
}

export interface Point {
  x: number;
  y: number;
}

interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** Where an answer's button has been from `since` on. */
interface Place {
  since: number;
  box: Box;
}

/**
 * QuestionSight follows one question from frame to frame. `sample` is called in
 * each animation frame, and once more when somebody acts: what changed since
 * the last frame counts too.
 */
export class QuestionSight {
  /** Since when head and answers have been in view without a break. Undefined: they are not. */
  since: number | undefined;

  readonly #parts: QuestionParts;
  readonly #clips: Element[];
  readonly #places = new Map<HTMLButtonElement, Place[]>();
  #sampledAt = 0;

  constructor(parts: QuestionParts) {
    this.#parts = parts;
    this.#clips = clippingAncestors(parts.card);
  }

  /** The page was out of sight, or may have been: everything counts from anew. */
  reset(): void {
    this.since = undefined;
    this.#places.clear();
  }

  sample(): void {
    const now = performance.now();
    if (document.hidden || now - this.#sampledAt > maxFrameGapMs) this.reset();
    this.#sampledAt = now;
    if (document.hidden || !this.#inView()) {
      this.reset();
      return;
    }
    this.since ??= now;
    const answers = this.#parts.answers.getBoundingClientRect();
    for (const button of this.#parts.answers.querySelectorAll("button")) {
      // An answer that is not offered, or scrolled out of sight among many, is none.
      const box = button.getBoundingClientRect();
      if (button.disabled || !within(box, answers)) this.#places.delete(button);
      else this.#place(button, box, now);
    }
  }

  /** Whether this answer has been offered, in a question in view, from `begin` on. */
  offeredSince(button: HTMLButtonElement, begin: number): boolean {
    const places = this.#places.get(button);
    return this.since !== undefined && this.since <= begin && places !== undefined && places[0]!.since <= begin;
  }

  /** Whether this point has lain on this answer from `begin` on: neither moved under the pointer. */
  coveredSince(button: HTMLButtonElement, { x, y }: Point, begin: number): boolean {
    const places = this.#places.get(button) ?? [];
    return places.every(({ box }, index) => {
      const next = places[index + 1];
      if (next && next.since <= begin) return true;
      return (
        x >= box.left - tolerancePx &&
        x <= box.right + tolerancePx &&
        y >= box.top - tolerancePx &&
        y <= box.bottom + tolerancePx
      );
    });
  }

  #place(button: HTMLButtonElement, { left, top, right, bottom }: Box, now: number): void {
    let places = this.#places.get(button);
    if (!places) {
      places = [];
      this.#places.set(button, places);
    }
    const last = places.at(-1)?.box;
    if (!last || last.left !== left || last.top !== top || last.right !== right || last.bottom !== bottom) {
      places.push({ since: now, box: { left, top, right, bottom } });
    }
    while (places[1] && places[1].since < now - 2 * readMs) places.shift();
  }

  #inView(): boolean {
    const { head, answers } = this.#parts;
    const view = this.#view();
    const [above, below] = [head.getBoundingClientRect(), answers.getBoundingClientRect()];
    return within(above, view) && within(below, view) && this.#uncovered(above) && this.#uncovered(below);
  }

  /** What the scrolling boxes around the card, and a zoom by two fingers, leave to be seen. */
  #view(): Box {
    const zoom = window.visualViewport;
    const view: Box = zoom
      ? {
          left: zoom.offsetLeft,
          top: zoom.offsetTop,
          right: zoom.offsetLeft + zoom.width,
          bottom: zoom.offsetTop + zoom.height,
        }
      : { left: 0, top: 0, right: innerWidth, bottom: innerHeight };
    for (const clip of this.#clips) {
      const box = clip.getBoundingClientRect();
      view.left = Math.max(view.left, box.left);
      view.top = Math.max(view.top, box.top);
      view.right = Math.min(view.right, box.right);
      view.bottom = Math.min(view.bottom, box.bottom);
    }
    return view;
  }

  /** Whether nothing lies over this part: a notice, a menu, a dialog. It is looked at in points from edge to edge. */
  #uncovered({ left, top, right, bottom }: Box): boolean {
    for (const down of [0, 0.5, 1]) {
      for (const across of [0, 0.25, 0.5, 0.75, 1]) {
        const x = left + edgePx + across * (right - left - 2 * edgePx);
        const y = top + edgePx + down * (bottom - top - 2 * edgePx);
        if (!this.#parts.card.contains(document.elementFromPoint(x, y))) return false;
      }
    }
    return true;
  }
}

function within(part: Box, view: Box): boolean {
  return (
    part.right > part.left &&
    part.bottom > part.top &&
    part.left >= view.left - tolerancePx &&
    part.top >= view.top - tolerancePx &&
    part.right <= view.right + tolerancePx &&
    part.bottom <= view.bottom + tolerancePx
  );
}

function clippingAncestors(element: Element): Element[] {
  const found: Element[] = [];
  for (let above = element.parentElement; above && above !== document.body; above = above.parentElement) {
    const { overflowX, overflowY } = getComputedStyle(above);
    if (overflowX !== "visible" || overflowY !== "visible") found.push(above);
  }
  return found;
}
