import { Component, createRef, type ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ItemView } from "./items.js";
import type { SessionModel } from "./session-model.js";
import { SteadyView } from "./steady-view.js";
import type { Transcript } from "./transcript.js";

/**
 * Items to one chunk. A full chunk is not looked at again when the transcript
 * grows, and one that is far out of sight is an empty box of its height: so
 * 20,000 items cost about as much as those around the view.
 */
export const chunkSize = 32;
/** How far beyond the view a chunk is drawn. */
const marginPx = 1_500;
/** What an item that was never drawn is taken to need. */
const itemPx = 64;

/** `foot`: what is to be said about the transcript as a whole, beside the way to its end. */
export function TranscriptView({
  model,
  foot,
  children,
}: {
  model: SessionModel;
  foot: ComponentChildren;
  children?: ComponentChildren;
}) {
  const transcript = model.transcript.value;
  const length = transcript.length.value;
  const revision = transcript.revision.value;
  const revealed = model.revealed.value;
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const above = useRef<HTMLDivElement>(null);
  const below = useRef<HTMLDivElement>(null);
  const steady = useRef<SteadyView>(undefined);
  const [away, setAway] = useState(false);
  const [sight, setSight] = useState<Sight>();

  useEffect(() => {
    const view = scroller.current!;
    const place = new SteadyView(view, above.current!, below.current!, model.answering, setAway);
    steady.current = place;
    model.answering.onFrame(() => place.keep());
    const onScroll = () => place.scrolled();
    const observer = new ResizeObserver(() => place.keep());
    observer.observe(content.current!);
    observer.observe(view);
    view.addEventListener("scroll", onScroll, { passive: true });
    const watched = new Sight(view);
    setSight(watched);
    return () => {
      model.answering.onFrame(undefined);
      observer.disconnect();
      watched.stop();
      view.removeEventListener("scroll", onScroll);
    };
  }, [model]);
  const pending = transcript.pending.value;
  useEffect(() => steady.current?.keep(), [pending]);

  const chunks = Math.ceil(length / chunkSize);
  return (
    <>
      <div class="transcript-frame">
        <div
          class="transcript"
          ref={scroller}
          tabIndex={0}
          role="log"
          aria-live="off"
          aria-label="Transcript"
          data-testid="transcript"
        >
          <div class="column">
            <div ref={above} />
            <div ref={content}>
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
            <div ref={below} />
          </div>
        </div>
      </div>
      <div class="transcript-foot">
        {foot}
        {away && (
          <button
            type="button"
            class="quiet to-end"
            onClick={() => scroller.current?.scrollTo({ top: scroller.current.scrollHeight })}
          >
            To the end <span aria-hidden="true">↓</span>
          </button>
        )}
      </div>
    </>
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
