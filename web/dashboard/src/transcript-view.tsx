import { Component, type ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ItemView } from "./items.js";
import type { SessionModel } from "./session-model.js";
import type { Transcript } from "./transcript.js";

/**
 * Items to one chunk. A full chunk is not looked at again when the transcript
 * grows, and the browser does not lay out those that are out of sight
 * (content-visibility): so 20,000 items cost about as much as the last few.
 */
const chunkSize = 32;
const bottomPx = 48;

export function TranscriptView({ model, children }: { model: SessionModel; children?: ComponentChildren }) {
  const transcript = model.transcript.value;
  const length = transcript.length.value;
  const revision = transcript.revision.value;
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const [away, setAway] = useState(false);

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
    return () => {
      observer.disconnect();
      view.removeEventListener("scroll", onScroll);
    };
  }, []);

  const chunks = Math.ceil(length / chunkSize);
  return (
    <div class="transcript-frame">
      <div class="transcript" ref={scroller} tabIndex={0} role="log" aria-live="off" aria-label="Transcript" data-testid="transcript">
        <div class="column" ref={content}>
          {Array.from({ length: chunks }, (_, index) => (
            <Chunk
              key={index}
              transcript={transcript}
              model={model}
              begin={index * chunkSize}
              end={Math.min(length, (index + 1) * chunkSize)}
              revision={revision}
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

interface ChunkProps {
  transcript: Transcript;
  model: SessionModel;
  begin: number;
  end: number;
  revision: number;
}

class Chunk extends Component<ChunkProps> {
  override shouldComponentUpdate(next: ChunkProps): boolean {
    const now = this.props;
    return next.end !== now.end || next.revision !== now.revision || next.transcript !== now.transcript;
  }

  override render({ transcript, model, begin, end }: ChunkProps) {
    return (
      <div class="chunk">
        {transcript.items.slice(begin, end).map((item) => (
          <ItemView key={item.key} item={item} model={model} />
        ))}
      </div>
    );
  }
}
