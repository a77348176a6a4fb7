import type { Point } from "./question-sight.js";

let resting: Point | undefined;

/**
 * Follows the mouse from here on. It is called once, when the page is loaded: a
 * session page that opens below a mouse that rests has to know where it is.
 */
export function followPointer(): void {
  const options = { capture: true, passive: true };
  // A finger does not rest over the page: once it is lifted it is nowhere.
  const pointed = ({ pointerType, clientX: x, clientY: y }: PointerEvent) => {
    resting = pointerType === "touch" ? undefined : { x, y };
  };
  document.addEventListener("pointermove", pointed, options);
  document.addEventListener("pointerdown", pointed, options);
  // Not captured: what goes from under a mouse that rests is left, too, and the page is not.
  document.documentElement.addEventListener("pointerleave", () => (resting = undefined), { passive: true });
}

/** Where the mouse is, in CSS pixels of the layout viewport; undefined while it is not over the page. */
export function restingPointer(): Point | undefined {
  return resting;
}
