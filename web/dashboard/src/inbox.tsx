import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Session } from "@sessionhub/client";
import type { InboxFinished, InboxWorking } from "@sessionhub/client/inbox";
import { Approval } from "./approval.js";
import { changeMany } from "./changes.js";
import { Elicitation } from "./elicitation.js";
import { ago, sessionName } from "./format.js";
import { inbox, inboxProblem } from "./inbox-feed.js";
import { InboxModel, type Need } from "./inbox-model.js";
import { sessionHref } from "./route.js";
import { StatusPill } from "./status-pill.js";
import { SteadyView } from "./steady-view.js";
import { line } from "./text.js";

/** How often what is told of time is drawn again. Milliseconds. */
const tickMs = 1_000;

/** What concerns the user now, over all sessions: questions with their answers, what has finished, what works. */
export function Inbox({ children, head }: { children?: ComponentChildren; head?: ComponentChildren }) {
  const [model, setModel] = useState<InboxModel>();
  useEffect(() => {
    const made = new InboxModel();
    setModel(made);
    return () => made.dispose();
  }, []);
  if (!model) return null;
  return (
    <InboxView model={model} head={head}>
      {children}
    </InboxView>
  );
}

function InboxView({
  model,
  head,
  children,
}: {
  model: InboxModel;
  head: ComponentChildren;
  children: ComponentChildren;
}) {
  const view = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const above = useRef<HTMLDivElement>(null);
  const below = useRef<HTMLDivElement>(null);
  const needs = model.needs.value;
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), tickMs);
    return () => clearInterval(timer);
  }, []);
  // A question in view stays where it is, whatever comes and goes around it.
  const steady = useRef<SteadyView>(undefined);
  useEffect(() => {
    const place = new SteadyView(
      view.current!,
      above.current!,
      below.current!,
      model.answering,
      () => undefined,
      false,
    );
    steady.current = place;
    model.answering.onFrame(() => place.keep());
    const onScroll = () => place.scrolled();
    const observer = new ResizeObserver(() => place.keep());
    observer.observe(content.current!);
    observer.observe(view.current!);
    view.current!.addEventListener("scroll", onScroll, { passive: true });
    const scrolled = view.current!;
    return () => {
      model.answering.onFrame(undefined);
      observer.disconnect();
      scrolled.removeEventListener("scroll", onScroll);
    };
  }, [model]);
  useEffect(() => steady.current?.keep(), [needs]);

  const read = inbox.value;
  const { finished = [], working = [] } = read ?? {};
  const waiting = model.waiting.value;
  const nothing = read && needs.length === 0 && finished.length === 0 && working.length === 0;
  return (
    <div class="inbox-frame">
      <div class="inbox-view" ref={view} tabIndex={-1} data-testid="inbox">
        {head}
        <div class="column inbox">
          <div ref={above} />
          <div ref={content} class="inbox-content">
            <h1 class="unseen">Inbox</h1>
            {inboxProblem.value && (
              <p class="problem" role="alert">
                {inboxProblem.value}
              </p>
            )}
            {nothing && (
              <p class="inbox-empty muted" data-testid="inbox-empty">
                <strong>Nothing waits for you.</strong>
                <span>Questions of your agents come here, and what they have finished.</span>
              </p>
            )}
            {needs.length > 0 && (
              <section aria-labelledby="inbox-needs" data-testid="inbox-needs">
                <h2 class="inbox-title" id="inbox-needs">
                  Needs you{" "}
                  <span class="badge" data-testid="inbox-count">
                    {waiting}
                  </span>
                </h2>
                {needs.map((need) => (
                  <NeedView key={need.sessionId} need={need} now={now} />
                ))}
              </section>
            )}
            {finished.length > 0 && <Finished all={finished} now={now} />}
            {working.length > 0 && (
              <section aria-labelledby="inbox-working" data-testid="inbox-working">
                <h2 class="inbox-title" id="inbox-working">
                  Working
                </h2>
                <ul class="inbox-rows">
                  {working.map((entry) => (
                    <WorkingRow key={entry.session.sessionId} entry={entry} now={now} />
                  ))}
                </ul>
              </section>
            )}
            {read?.truncated && <p class="muted hint">There may be more: only the newest sessions are looked at.</p>}
          </div>
          <div ref={below} />
        </div>
        {children}
      </div>
      <div class="unseen" role="status" aria-live="polite">
        {waiting > 0 ? `${waiting} ${waiting === 1 ? "question waits" : "questions wait"} for you` : ""}
      </div>
    </div>
  );
}

function NeedView({ need, now }: { need: Need; now: number }) {
  return (
    <article class="inbox-need" data-testid="inbox-need" data-session-id={need.sessionId}>
      <header class="inbox-of">
        <SessionLink session={need.session} />
        <Facts session={need.session} />
        <time class="muted" dateTime={need.since}>
          {elapsed(need.since, now)}
        </time>
      </header>
      {need.questions.map((item) =>
        item.kind === "approval" ? (
          <Approval key={item.key} item={item} model={need.asker} />
        ) : (
          <Elicitation key={item.key} item={item} model={need.asker} />
        ),
      )}
    </article>
  );
}

function Finished({ all, now }: { all: InboxFinished[]; now: number }) {
  const [problem, setProblem] = useState("");
  const ids = all.map(({ session }) => session.sessionId);
  return (
    <section aria-labelledby="inbox-finished" data-testid="inbox-finished">
      <h2 class="inbox-title" id="inbox-finished">
        Finished
        <button
          type="button"
          class="quiet"
          onClick={() => void changeMany("seen", ids).then(setProblem)}
          data-testid="all-seen"
        >
          Mark all as read
        </button>
      </h2>
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      <ul class="inbox-rows">
        {all.map(({ session, finishedAt, stopReason, lastText }) => (
          <li key={session.sessionId} class="inbox-row" data-testid="inbox-finished-row">
            <span class="inbox-of">
              <SessionLink session={session} />
              {session.status === "failed" || stopReason === "error" ? (
                <span class="pill" data-status="failed">
                  <span class="dot" aria-hidden="true" />
                  Failed
                </span>
              ) : (
                stopReason === "cancelled" && <span class="pill">Stopped</span>
              )}
              <Facts session={session} />
              <time class="muted" dateTime={finishedAt} title={finishedAt}>
                {ago(finishedAt, now)}
              </time>
            </span>
            {lastText && <span class="inbox-text muted">{line(lastText)}</span>}
          </li>
        ))}
      </ul>
    </section>
  );
}

function WorkingRow({ entry: { session, since, lastText }, now }: { entry: InboxWorking; now: number }) {
  return (
    <li class="inbox-row" data-testid="inbox-working-row">
      <span class="inbox-of">
        <SessionLink session={session} />
        <StatusPill status={session.status} />
        <Facts session={session} />
        <time class="muted" dateTime={since}>
          {elapsed(since, now)}
        </time>
      </span>
      {lastText && <span class="inbox-text muted">{line(lastText)}</span>}
    </li>
  );
}

function SessionLink({ session }: { session: Session }) {
  return (
    <a class="inbox-name" href={sessionHref(session.sessionId)}>
      {sessionName(session)}
    </a>
  );
}

function Facts({ session }: { session: Session }) {
  return (
    <span class="muted inbox-facts" title={line(session.workingDirectory)}>
      <bdi>
        {line(session.provider)} · {line(session.workingDirectory)}
      </bdi>
    </span>
  );
}

/** How long it has been, to the second: `4:05`, `1:02:30`. */
function elapsed(since: string, now: number): string {
  const seconds = Math.max(0, Math.floor((now - Date.parse(since)) / 1000)) || 0;
  const two = (n: number) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}
