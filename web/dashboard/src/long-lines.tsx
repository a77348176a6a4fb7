import { Component, type ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

/** Lines that are laid out together, or left out of the layout together. */
const groupLines = 100;
/** Groups that are made at once, and each time that the end comes near. */
const stepGroups = 10;
/** How near the end of what was made has to be. Pixels. */
const nearPx = 1_500;
/** A longer line is laid out in pieces of this size. Characters. */
const maxLine = 4_000;

/**
 * Shows however many lines in a box that scrolls, without holding up the page:
 * lines are made as the view comes near them, and those out of sight are not
 * laid out. `line` draws the line at an index; a new function draws all anew.
 */
export function LongLines({
  count,
  class: name,
  line,
}: {
  count: number;
  class: string;
  line: (index: number) => ComponentChildren;
}) {
  const groups = Math.ceil(count / groupLines);
  const [made, setMade] = useState(stepGroups);
  const end = useRef<HTMLDivElement>(null);
  const more = made < groups;
  useEffect(() => {
    if (!more) return;
    const observer = new IntersectionObserver(
      (entries) => entries.at(-1)!.isIntersecting && setMade((now) => now + stepGroups),
      { root: scrollerOf(end.current!), rootMargin: `${nearPx}px 0px` },
    );
    observer.observe(end.current!);
    return () => observer.disconnect();
  }, [more, made]);
  return (
    <>
      {Array.from({ length: Math.min(made, groups) }, (_, group) => (
        <Lines
          key={group}
          class={count > groupLines ? `${name} lines-group` : name}
          begin={group * groupLines}
          end={Math.min(count, (group + 1) * groupLines)}
          line={line}
        />
      ))}
      {more && (
        <div ref={end} class="lines-rest muted">
          {`${(count - made * groupLines).toLocaleString()} more lines: scroll on`}
        </div>
      )}
    </>
  );
}

interface LinesProps {
  class: string;
  begin: number;
  end: number;
  line: (index: number) => ComponentChildren;
}

/** A group. It is drawn once, however many come after it, unless what it shows is another. */
class Lines extends Component<LinesProps> {
  override shouldComponentUpdate(next: LinesProps): boolean {
    return next.line !== this.props.line || next.end !== this.props.end;
  }

  override render({ class: name, begin, end, line }: LinesProps) {
    return <div class={name}>{Array.from({ length: end - begin }, (_, index) => line(begin + index))}</div>;
  }
}

/** The lines of a text; one of endless length in pieces that a browser can lay out. */
export function toDrawnLines(text: string): string[] {
  const lines = text.split("\n");
  if (!lines.some((line) => line.length > maxLine)) return lines;
  return lines.flatMap((line) => line.match(/.{1,4000}/gsu) ?? [""]);
}

function scrollerOf(element: HTMLElement): HTMLElement | null {
  for (let above = element.parentElement; above; above = above.parentElement) {
    if (/auto|scroll/.test(getComputedStyle(above).overflowY)) return above;
  }
  return null;
}
