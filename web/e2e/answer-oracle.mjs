// The judge of the test of answers, run within the page before the page's own
// code. It uses nothing of the dashboard's but its markup: it observes which
// open questions are in view, hears every input before the dashboard does, sees
// every answer that goes out, and compares.

/** Runs in the page. */
export function installOracle() {
  const ruleMs = 500;
  /** Between "surely not yet" and "surely long enough" lies what a frame more or less decides. Milliseconds. */
  const blurMs = 50;
  const oracle = {
    taken: 0,
    due: 0,
    dueRefused: [],
    early: 0,
    moved: 0,
    second: 0,
    unfocused: 0,
    repeated: 0,
    bad: [],
  };
  window.oracle = oracle;

  /** The last inputs, for whoever has to find out why. */
  const trace = [];
  for (const name of ["pointerdown", "click", "keydown", "wheel", "resize", "scroll", "focusin", "visibilitychange"]) {
    window.addEventListener(
      name,
      (event) => {
        trace.push(
          `${Math.round(performance.now())} ${name} ${event.key ?? ""} ${event.target?.dataset?.testid ?? event.target?.className ?? ""} ${event.clientX ?? ""} ${event.clientY ?? ""}`,
        );
        if (trace.length > 25) trace.shift();
      },
      { capture: true },
    );
  }
  const traced = (problem) => `${problem}\n  ${trace.join("\n  ")}`;
  const report = (problem) => oracle.bad.push(traced(problem));

  const cards = () => [...document.querySelectorAll('[data-testid="approval"][data-state="pending"]')];
  const idOf = (card) => card.dataset.interactionId;
  // A very long title, and very many answers, scroll within their parts.
  const parts = (card) => [
    card.querySelector("h2").parentElement,
    card.querySelector('[role="group"][aria-label="Answers"]').parentElement,
  ];

  // Since when each part of each question is within what its scrolling boxes show.
  const seen = new Map();
  // And since when all of it: where a few pixels are cut off, the dashboard may say either.
  const whole = new Map();
  const [most, all] = [0.97, 0.998];
  const sights = new IntersectionObserver(
    (entries) => {
      for (const { target, intersectionRatio, time } of entries) {
        for (const [since, ratio] of [
          [seen, most],
          [whole, all],
        ]) {
          if (intersectionRatio < ratio) since.delete(target);
          else if (!since.has(target)) since.set(target, time);
        }
        if (intersectionRatio >= most && intersectionRatio < all) {
          trace.push(`${Math.round(time)} cut off: ${1 - intersectionRatio} of a part`);
        }
      }
    },
    { threshold: [most, all] },
  );
  const watched = new WeakSet();

  let frames = [];
  /** By id: for each recent frame where the card and its buttons were, and whether something lay over it. */
  const history = new Map();
  let pointer;
  let stirredAt = 0;
  /** When the window had its size changed last: what was painted about then cannot be told from here. */
  let resizedAt = -Infinity;
  window.addEventListener("resize", () => (resizedAt = performance.now()), { capture: true });
  let answeredAt = -Infinity;
  let alone;
  let aloneSince = 0;

  const gridFree = (card, element) => {
    const { left, top, right, bottom } = element.getBoundingClientRect();
    for (const x of [0, 0.5, 1]) {
      for (const y of [0, 0.5, 1]) {
        const hit = document.elementFromPoint(left + 4 + x * (right - left - 8), top + 4 + y * (bottom - top - 8));
        if (!hit || !card.contains(hit)) return false;
      }
    }
    return true;
  };
  // The page of the session, or the inbox, to which a hand may come by the way back.
  const viewOf = () => document.querySelector('[data-testid="transcript"], [data-testid="inbox"]');
  const clipOf = () => viewOf()?.getBoundingClientRect();
  let viewed;
  const has = (box, { x, y }, slack = 0) =>
    x >= box.left - slack && x < box.right + slack && y >= box.top - slack && y < box.bottom + slack;

  // After the frame was painted: what is laid out before that, and put right, nobody sees.
  const painted = new MessageChannel();
  const viewSize = () => `${innerWidth} ${innerHeight}`;
  const nextFrame = () => requestAnimationFrame(() => painted.port2.postMessage(viewSize()));
  painted.port1.onmessage = ({ data: paintedSize }) => {
    nextFrame();
    // The window was resized since: what is laid out now is not painted yet, and may be put right before it is.
    if (paintedSize !== viewSize()) {
      resizedAt = performance.now();
      return;
    }
    // Another page has another card for the same question.
    if (viewed !== viewOf()) {
      viewed = viewOf();
      history.clear();
      resizedAt = performance.now();
    }
    if (!viewed) return;
    const now = performance.now();
    frames.push(now);
    frames = frames.filter((time) => time > now - 2_000);
    const clip = clipOf();
    for (const card of cards()) {
      const id = idOf(card);
      for (const part of parts(card)) {
        if (!watched.has(part)) sights.observe(part);
        watched.add(part);
      }
      const box = card.getBoundingClientRect();
      const shown = box.bottom > clip.top && box.top < clip.bottom;
      const buttons = new Map(
        [...card.querySelectorAll("button[data-option-id]")].map((button) => [button, button.getBoundingClientRect()]),
      );
      const log = history.get(id) ?? [];
      const last = log.at(-1);
      // Whatever arrives, a question does not move under a pointer that rests.
      const rests = pointer && pointer.at < (last?.now ?? now) && stirredAt < (last?.now ?? now) - 400;
      const over = pointer && has(clip, pointer) && (has(box, pointer) || (last && has(last.box, pointer)));
      if (last?.shown && shown && rests && over && Math.abs(box.top - last.box.top) > 1.5) {
        oracle.moved++;
        report(
          `question ${id} moved from ${last.box.top} to ${box.top} under a pointer that rests at ${pointer.x} ${pointer.y}, at ${Math.round(now)}`,
        );
      }
      log.push({ now, box, shown, buttons, free: parts(card).every((part) => gridFree(card, part)) });
      history.set(
        id,
        log.filter(({ now: time }) => time > now - 3_000),
      );
    }
    const only = cards().length === 1 ? idOf(cards()[0]) : undefined;
    if (only !== alone) [alone, aloneSince] = [only, now];
  };
  nextFrame();
  /** Where the answers of the questions in view are. */
  oracle.answersInView = () =>
    cards()
      .filter((card) => parts(card).every((part) => seen.has(part)))
      .flatMap((card) => [...card.querySelectorAll("button[data-option-id]")])
      .map((button) => button.getBoundingClientRect())
      .map(({ x, y, width, height }) => ({ x: x + width / 2, y: y + height / 2 }));

  /** Whether an act on this answer at this time may, and whether it has to be taken. */
  const judge = (card, button, time, point, key = false) => {
    const sinceOf = (sights) => Math.max(...parts(card).map((part) => sights.get(part) ?? Infinity));
    const since = sinceOf(seen);
    const log = history.get(idOf(card)) ?? [];
    const gaps = [...frames, time].map((at, index, all) => at - (all[index - 1] ?? at));
    const blur = blurMs + Math.max(0, ...gaps);
    const surely = log.filter(({ now }) => now > time - ruleMs + blurMs);
    const maybe = log.filter(({ now }) => now > time - ruleMs - blur);
    const lay = (entry) => entry.buttons.has(button) && (!point || has(entry.buttons.get(button), point));
    const early = !(since <= time - ruleMs + blurMs) || surely.some(({ free }) => !free);
    const slipped = surely.some(
      (entry) => !(entry.buttons.has(button) && (!point || has(entry.buttons.get(button), point, 2))),
    );
    const second = time - answeredAt < ruleMs - blurMs;
    const must =
      sinceOf(whole) <= time - ruleMs - blur &&
      Math.max(0, ...gaps) < 900 &&
      maybe.length > 0 &&
      log[0].now <= time - ruleMs - blur &&
      resizedAt <= time - ruleMs - blur &&
      maybe.every((entry) => entry.free && lay(entry)) &&
      time - answeredAt > ruleMs + blur &&
      !button.disabled &&
      (!key || card.contains(document.activeElement));
    const why = `since ${parts(card).map((part) => Math.round(time - seen.get(part)))} ms, free ${surely.every(({ free }) => free)}, ${surely.length} frames`;
    return { card, button, time, early, slipped, second, must, why, may: !early && !slipped && !second };
  };

  const answerOf = (target) => {
    const button = target instanceof Element ? target.closest("button[data-option-id]") : null;
    const card = button?.closest('[data-testid="approval"][data-state="pending"]');
    return card ? [card, button] : undefined;
  };
  const timeOf = (event) => Math.min(event.timeStamp, performance.now());

  /** The press that a click belongs to, and the act that is under way in this task. */
  let press;
  let act;
  const begin = (judged) => {
    act = judged;
    const { card, button } = judged;
    setTimeout(() => {
      if (act === judged) act = undefined;
      if (judged.must && judged.sent) oracle.due++;
      if (judged.sent) return;
      if (judged.must)
        oracle.dueRefused.push(
          traced(
            `an act on ${idOf(card)} ${button.dataset.optionId} was not taken the first time at ${judged.time} (${judged.how}): ${card.querySelector("header").textContent}`,
          ),
        );
      else if (judged.early) oracle.early++;
      else if (judged.second) oracle.second++;
    });
  };

  const early = { capture: true };
  window.addEventListener(
    "pointerdown",
    (event) => {
      const answer = answerOf(event.target);
      press = answer && {
        ...judge(...answer, timeOf(event), { x: event.clientX, y: event.clientY }),
        how: event.pointerType,
      };
    },
    early,
  );
  const point = (event) => {
    if (event.pointerType === "touch") pointer = undefined;
    else if (pointer?.x !== event.clientX || pointer?.y !== event.clientY)
      pointer = { x: event.clientX, y: event.clientY, at: performance.now() };
  };
  window.addEventListener("pointermove", point, early);
  window.addEventListener("pointerdown", point, early);
  // What the user moves is moved on purpose; an answer is no such thing.
  const stirs = (event) =>
    event.type === "click"
      ? !answerOf(event.target)
      : event.type !== "keydown" || /Tab|Arrow|Page|Home|End/.test(event.key);
  for (const name of ["wheel", "resize", "touchmove", "keydown", "click"]) {
    const stir = (event) => {
      if (stirs(event)) stirredAt = performance.now();
    };
    window.addEventListener(name, stir, early);
  }

  window.addEventListener(
    "click",
    (event) => {
      const answer = answerOf(event.target);
      if (!answer) return;
      const now = judge(...answer, timeOf(event));
      const began = press?.button === answer[1] ? press : undefined;
      press = undefined;
      if (!began) return begin({ ...now, how: "click" });
      // Both when it began and when it ended.
      begin({
        ...began,
        may: began.may && now.may,
        must: began.must && now.must,
        early: began.early || now.early,
        second: began.second || now.second,
      });
    },
    early,
  );

  window.addEventListener(
    "keydown",
    (event) => {
      const answer = answerOf(event.target);
      if (answer && (event.key === "Enter" || event.key === " ")) {
        if (event.repeat && event.key === " ") return;
        press = { ...judge(...answer, timeOf(event)), how: event.key };
        if (event.repeat) Object.assign(press, { may: false, must: false, repeated: true });
        return;
      }
      const digit = /^Digit([1-9])$/.exec(event.code)?.[1];
      if (!digit || event.ctrlKey || event.shiftKey) return;
      const typing = document.activeElement.matches("input, textarea");
      const focused = document.activeElement.closest('[data-testid="approval"][data-state="pending"]');
      const card = focused ?? (cards().length === 1 ? cards()[0] : undefined);
      const button = card?.querySelectorAll("button[data-option-id]")[digit - 1];
      if (!button || (typing && !event.altKey)) {
        act = { may: false, how: "a key without a question" };
        setTimeout(() => {
          if (!act?.sent) oracle.unfocused++;
          act = undefined;
        });
        return;
      }
      const judged = { ...judge(card, button, timeOf(event), undefined, true), how: `key ${digit}` };
      if (event.repeat) {
        oracle.repeated++;
        Object.assign(judged, { may: false, must: false });
      }
      if (!focused && (alone !== idOf(card) || performance.now() - aloneSince < ruleMs - blurMs)) judged.may = false;
      begin(judged);
    },
    early,
  );

  // Every answer that goes out.
  const once = new Set();
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    const command = JSON.parse(data);
    if (command.type === "approve" && !once.has(command.data.interactionId)) {
      const { interactionId, optionId } = command.data;
      once.add(interactionId);
      answeredAt = performance.now();
      oracle.taken++;
      if (!act) report(`an answer to ${interactionId} that nobody gave`);
      else {
        if (!act.may)
          report(
            `${act.how} answered ${interactionId}: ${JSON.stringify({ ...act, card: undefined, button: undefined, taken: answeredAt })}`,
          );
        if (act.button && (idOf(act.card) !== interactionId || act.button.dataset.optionId !== optionId)) {
          report(`${act.how} on ${idOf(act.card)} answered ${interactionId} with ${optionId}`);
        }
        act.sent = true;
      }
    }
    return send.call(this, data);
  };
}
