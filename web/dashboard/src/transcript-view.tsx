import { Component, createRef, type ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ItemView } from "./items.js";
import type { SessionModel } from "./session-model.js";
import type { Transcript } from "./transcript.js";

/**
 * Items to one chunk. A full chunk is not looked at again when the transcript
 * grows, and one that is far out of sight is an empty box of its height: so
 * 20,000 items cost about as much as those around the view.
 */
export const chunkSize = 32;
const bottomPx = 48;
/** How far beyond the view a chunk is drawn. */
const marginPx = 1_500;
/** What an item that was never drawn is taken to need. */
const itemPx = 64;

export function TranscriptView({ model, children }: { model: SessionModel; children?: ComponentChildren }) {
  const transcript = model.transcript.value;
  const length = transcript.length.value;
  const revision = transcript.revision.value;
  const revealed = model.revealed.value;
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const [away, setAway] = useState(false);
  const [sight, setSight] = useState<Sight>();

  // The view stays at the end while it is there, whatever makes the content
  // grow: new items, text that is parsed later, a fold.
  useEffect(() => {
    const view = scroller.current!;
    let atEnd = true;
    let lastTop = 0;
    const toEnd = () => {
      view.scrollTop = view.scrollHeight;
      lastTop = view.scrollTop;
    };
    const onScroll = () => {
      const distance = view.scrollHeight - view.scrollTop - view.clientHeight;
      // Content that grew below also makes a distance; only going up leaves the end.
      if (distance < bottomPx) atEnd = true;
      else if (view.scrollTop < lastTop) atEnd = false;
      lastTop = view.scrollTop;
      setAway(!atEnd);
    };
    const observer = new ResizeObserver(() => {
      if (atEnd) toEnd();
    });
    observer.observe(content.current!);
    observer.observe(view);
    view.addEventListener("scroll", onScroll, { passive: true });
    const watched = new Sight(view);
    setSight(watched);
    return () => {
      observer.disconnect();
      watched.stop();
      view.removeEventListener("scroll", onScroll);
    };
  }, []);

  const chunks = Math.ceil(length / chunkSize);
  return (
    <div class="transcript-frame">
      <div class="transcript" ref={scroller} tabIndex={0} role="log" aria-live="off" aria-label="Transcript" data-testid="transcript">
        <div class="column" ref={content}>
          {sight &&
            Array.from({ length: chunks }, (_, index) => (
              <Chunk
                key={index}
                transcript={transcript}
                model={model}
                sight={sight}
                begin={index * chunkSize}
                end={Math.min(length, (index + 1) * chunkSize)}
                revision={revision}
                last={index >= chunks - 2}
                wanted={revealed !== undefined && Math.floor(revealed / chunkSize) === index}
              />
            ))}
          {children}
        </div>
      </div>
      {away && (
        <button
          type="button"
          class="button to-end"
          onClick={() => scroller.current?.scrollTo({ top: scroller.current.scrollHeight })}
        >
          To the end <span aria-hidden="true">↓</span>
        </button>
      )}
    </div>
  );
}

/** Tells chunks when they come near the view and when they leave it. `stop` ends it. */
class Sight {
  readonly #observer: IntersectionObserver;
  readonly #heard = new Map<Element, (near: boolean) => void>();

  constructor(view: HTMLElement) {
    this.#observer = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) this.#heard.get(target)?.(isIntersecting);
      },
      { root: view, rootMargin: `${marginPx}px 0px` },
    );
  }

  watch(element: Element, hear: (near: boolean) => void): void {
    this.#heard.set(element, hear);
    this.#observer.observe(element);
  }

  unwatch(element: Element): void {
    this.#heard.delete(element);
    this.#observer.unobserve(element);
  }

  stop(): void {
    this.#observer.disconnect();
    this.#heard.clear();
  }
}

interface ChunkProps {
  transcript: Transcript;
  model: SessionModel;
  sight: Sight;
  begin: number;
  end: number;
  revision: number;
  /** At the end, where the transcript grows: always drawn. */
  last: boolean;
  /** Somebody wants to see an item in it. */
  wanted: boolean;
}

class Chunk extends Component<ChunkProps, { near: boolean }> {
  override state = { near: false };
  readonly #box = createRef<HTMLDivElement>();
  #height: number | undefined;

  override componentDidMount(): void {
    this.props.sight.watch(this.#box.current!, (near) => {
      // Before it is emptied, it is measured: nothing moves by it.
      if (!near && this.#drawn()) this.#height = this.#box.current!.offsetHeight;
      if (near !== this.state.near) this.setState({ near });
    });
  }

  override componentWillUnmount(): void {
    this.props.sight.unwatch(this.#box.current!);
  }

  override shouldComponentUpdate(next: ChunkProps, { near }: { near: boolean }): boolean {
    const now = this.props;
    if (now.last && !next.last) this.#height = this.#box.current!.offsetHeight;
    return (
      near !== this.state.near ||
      next.end !== now.end ||
      next.revision !== now.revision ||
      next.transcript !== now.transcript ||
      next.last !== now.last ||
      next.wanted !== now.wanted
    );
  }

  #drawn(): boolean {
    return this.state.near || this.props.last || this.props.wanted;
  }

  override render({ transcript, model, begin, end }: ChunkProps) {
    if (!this.#drawn()) {
      // Set by script, which the content security policy allows, unlike an attribute in HTML.
      const height = `${this.#height ?? (end - begin) * itemPx}px`;
      return <div class="chunk" ref={this.#box} style={{ height }} />;
    }
    return (
      <div class="chunk" ref={this.#box} style={{ height: "" }}>
        {transcript.items.slice(begin, end).map((item) => (
          <ItemView key={item.key} item={item} model={model} />
        ))}
      </div>
    );
  }
}
