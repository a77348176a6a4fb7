import { useEffect, useState } from "preact/hooks";
import type { Session } from "@sessionhub/client";
import { errorText, statusLabels } from "./format.js";
import { asUser } from "./hub.js";
import { pageTitle } from "./page-title.js";
import { linePath, niceTop, Sampler, statuses, type Sample } from "./operations.js";

const readMs = 2_000;
/** Five minutes. */
const samplesKept = 150;
/** A plot is wide enough for so many from the beginning. */
const samplesAtFirst = 15;
/** More sessions are not read each time: what is shown says so. */
const pagesRead = 5;

/** How the hub does, as far as this key may see, read again every 2 s while the page is seen. */
export function OperationsPage() {
  const [samples, setSamples] = useState<Sample[]>([]);
  const [partial, setPartial] = useState(false);
  const [problem, setProblem] = useState("");

  useEffect(() => {
    pageTitle.value = "Operations – sessionhub";
    const sampler = new Sampler();
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const read = async () => {
      if (!document.hidden) {
        try {
          const began = performance.now();
          const [providers, stats] = await asUser((hub) =>
            Promise.all([hub.providers({ signal: abort.signal }), hub.stats({ signal: abort.signal })]),
          );
          const answerMs = performance.now() - began;
          const { sessions, whole } = await readSessions(abort.signal);
          const sample = sampler.sample(Date.now(), answerMs, sessions, providers, stats);
          setSamples((before) => [...before, sample].slice(-samplesKept));
          setPartial(!whole);
          setProblem("");
        } catch (error) {
          if (!abort.signal.aborted) setProblem(errorText(error));
        }
      }
      if (!abort.signal.aborted) timer = setTimeout(read, readMs);
    };
    void read();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, []);

  const now = samples.at(-1);
  return (
    <div class="operations" role="region" aria-label="Operations" tabIndex={0}>
      <header>
        <a class="back" href="#/" aria-label="All sessions">
          ←
        </a>
        <h1>Operations</h1>
        <p class="muted">
          What this key may see of the hub, every 2 s. Delivery is that of one node
          {now ? (
            <>
              , <code>{now.node}</code>
            </>
          ) : (
            ""
          )}
          ; the rest of it is in <code>/metrics</code> on its admin address.
        </p>
      </header>
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      {now && (
        <>
          {partial && (
            <p class="muted">There are more sessions than are read here: only the newest {200 * pagesRead} count.</p>
          )}
          <div class="plots">
            <Plot
              title="Connections"
              samples={samples}
              lines={[
                ["WebSocket", (sample) => sample.websocket],
                ["SSE", (sample) => sample.sse],
              ]}
            />
            <Plot title="Events" unit="/s" samples={samples} lines={[["Events", (sample) => sample.eventsPerSecond]]} />
            <Plot
              title="Sessions at work"
              samples={samples}
              lines={[
                ["Working", (sample) => sample.byStatus.running + sample.byStatus.starting],
                ["Need somebody", (sample) => sample.byStatus.requires_action],
                ["Queued", (sample) => sample.byStatus.queued],
              ]}
            />
            <Plot
              title="Delivery, p99"
              unit=" ms"
              samples={samples}
              lines={[["At most", (sample) => sample.deliveryP99Ms]]}
            />
            <Plot
              title="Answer time of the API"
              unit=" ms"
              samples={samples}
              lines={[["Answer", (sample) => sample.answerMs]]}
            />
          </div>
          <div class="tables">
            <Table
              title="Sessions"
              rows={statuses.map((status) => [statusLabels[status], now.byStatus[status]])}
              testId="sessions-by-status"
            />
            <Table title="Workers" rows={Object.entries(now.workers)} testId="workers" />
            <Table
              title="Waiting"
              rows={[
                ["Questions", now.pendingApprovals],
                ["Queued sessions", now.byStatus.queued],
              ]}
              testId="waiting"
            />
          </div>
        </>
      )}
    </div>
  );
}

async function readSessions(signal: AbortSignal): Promise<{ sessions: Session[]; whole: boolean }> {
  const sessions: Session[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < pagesRead; page++) {
    const read = await asUser((hub) => hub.listSessions({ limit: 200, ...(cursor ? { cursor } : {}) }, { signal }));
    sessions.push(...read.sessions);
    cursor = read.nextCursor;
    if (!cursor) return { sessions, whole: true };
  }
  return { sessions, whole: false };
}

const width = 320;
const height = 96;

function Plot(props: {
  title: string;
  unit?: string;
  samples: readonly Sample[];
  lines: [string, (sample: Sample) => number][];
}) {
  const { title, unit = "", samples, lines } = props;
  const series = lines.map(([name, value]) => ({ name, values: samples.map(value) }));
  // Some room above, so that a line is not taken for the frame.
  const top = niceTop(
    1.1 * Math.max(0, ...series.flatMap(({ values }) => values.filter((value) => !Number.isNaN(value)))),
  );
  const shown = Math.max(samplesAtFirst, samples.length);
  const seconds = ((shown - 1) * readMs) / 1000;
  const said = series.map(({ name, values }) => `${name} ${shownNow(values.at(-1)!, unit)}`).join(", ");
  return (
    <figure class="plot" data-testid="plot" data-title={title}>
      <figcaption>
        <h2>{title}</h2>
        <span class="plot-now">
          {series.map(({ name, values }, index) => (
            <span key={name} class={`line-${index}`}>
              {lines.length > 1 && <span class="plot-name">{name} </span>}
              <strong>{shownNow(values.at(-1)!, unit)}</strong>
            </span>
          ))}
        </span>
      </figcaption>
      <div class="plot-box">
        <span class="plot-top muted" aria-hidden="true">
          {top}
          {unit}
        </span>
        <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={`${title}: ${said}`}>
          <path class="plot-grid" d={`M0 0.5H${width}M0 ${height / 2}H${width}M0 ${height - 0.5}H${width}`} />
          {series.map(({ name, values }, index) => (
            <path key={name} class={`plot-line line-${index}`} d={linePath(values, shown, top, width, height - 2)} />
          ))}
        </svg>
      </div>
      <p class="plot-scale muted" aria-hidden="true">
        <span>{seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`} ago</span>
        <span>now</span>
      </p>
    </figure>
  );
}

function shownNow(value: number, unit: string): string {
  return Number.isNaN(value) ? "none" : rounded(value) + unit;
}

function rounded(value: number): string {
  if (value < 1) return String(Number(value.toPrecision(2)));
  return value < 10 && value % 1 !== 0 ? value.toFixed(1) : String(Math.round(value));
}

function Table({
  title,
  rows,
  testId,
}: {
  title: string;
  rows: readonly (readonly [string, number])[];
  testId: string;
}) {
  return (
    <table data-testid={testId}>
      <caption>{title}</caption>
      <tbody>
        {rows.map(([name, count]) => (
          <tr key={name} data-name={name}>
            <th scope="row">{name}</th>
            <td>{count}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
