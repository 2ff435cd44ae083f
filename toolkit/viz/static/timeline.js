// Timeline: a schedule, or two of the same requests, as lanes: who is computed when, and who waits.

import { figures, fill, follow, frame, html, onWidth, percent, player, range, sized, svg } from "./widget.js";

const VIEW = 100_000, NEAREST = 50; // parts of the window: all of it, and the least in view
const LEFT = 44, RIGHT = 10, TOP = 17, BARS = 66, AXIS = 36, CURVE = 150, MOST = 300; // pixels
const NARROW = 560;
const DOTS = { first: "M4 0A4 4 0 1 1 -4 0A4 4 0 1 1 4 0Z", last: "M0 -5L5 0L0 5L-5 0Z" };
const TINTS = ["prefill", "decode", "waiting", "evicted", "missed", "limit", "peer", "grid", "text", "muted", "page", "surface"];

/** What chrome_trace() gives in Python (toolkit/serving/batching), of what the widget holds. */
export function chromeTrace({ origin, requests, schedules }) {
  const names = [], events = [];
  schedules.forEach((one, at) => {
    const pid = at + 1, threads = new Set(), thread = (row) => threads.add(row) && requests[row] + 1;
    const add = (name, ph, tid, ts, rest) => events.push({ name, ph, ts: origin + ts, pid, tid, ...rest });
    const whole = (name, tid, start, end, args) => add(name, "X", tid, start, { dur: end - start, ...(args && { args }) });
    one.start.forEach((start, i) => {
      whole("iteration", 0, start, start + one.held[i], { iteration: one.first + i, prefill: one.prefill[i], decode: one.decode[i], padding: one.padding[i] });
      add("blocks in use", "C", 0, start, { args: { blocks: one.blocks_used[i] } });
    });
    one.chunk_iteration.forEach((i, chunk) => whole(one.chunk_decode[chunk] ? "decode" : "prefill", thread(one.chunk_request[chunk]),
      one.start[i], ends(one, i), { iteration: one.first + i, tokens: one.chunk_tokens[chunk] }));
    for (const [row, start, end] of spans(one, "wait")) whole("waiting", thread(row), start, end);
    one.lost_request.forEach((row, i) => add("pre-empted", "i", thread(row), one.lost_time[i], { s: "t" }));
    const called = (kind, tid, name) => names.push({ name: `${kind}_name`, ph: "M", pid, tid, args: { name } });
    called("process", 0, one.name);
    called("thread", 0, "iterations");
    for (const row of [...threads].sort((a, b) => a - b)) called("thread", requests[row] + 1, `request ${requests[row]}`);
  });
  return { traceEvents: [...names, ...events.sort((a, b) => a.ts - b.ts)], displayTimeUnit: "ms" };
}

/** Of a schedule, who waits, or whose row is empty: [row, start, end] each. */
const spans = (one, kind) => one[`${kind}_request`].map((row, i) => [row, one[`${kind}_start`][i], one[`${kind}_end`][i]]);

/** Microseconds in three digits and a unit that suits them; toolkit/viz/timeline_record.py has the same rule. */
export function lasting(time) {
  if (time === null) return "–";
  const [step, unit] = [[1e6, "s"], [1e3, "ms"]].find(([step]) => Number(time.toPrecision(3)) >= step) ?? [1, "µs"];
  return sized(time / step, unit);
}

/** Where in ascending numbers the last is that is at most `value`, or -1. */
export function lastAt(numbers, value) {
  let low = 0, high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

const within = (least, most, number) => Math.min(most, Math.max(least, number));
const ends = (one, i) => one.start[i] + one.span[i];
const counted = (number) => number.toLocaleString("en-US");

/** Round numbers within a span, at most so many: [their distance, [them]]. */
function rounds(from, to, most) {
  const rough = (to - from) / Math.max(1, most), ten = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((by) => by * ten >= rough) * ten, first = Math.ceil(from / step);
  return [step, Array.from({ length: Math.max(0, Math.floor(to / step) - first + 1) }, (_, at) => (first + at) * step)];
}

/** `draw` when a theme changes. */
function onTheme(draw) {
  const system = matchMedia("(prefers-color-scheme: dark)"), watcher = new MutationObserver(draw);
  for (const node of [document.documentElement, document.body]) watcher.observe(node, { attributes: true });
  system.addEventListener("change", draw);
  return () => { watcher.disconnect(); system.removeEventListener("change", draw); };
}

/** A canvas of sharp pixels: its cleared context, in CSS units. */
function sheetOf(canvas, width, height) {
  const scale = window.devicePixelRatio, pen = canvas.getContext("2d");
  Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
  canvas.style.cssText = `width: ${width}px; height: ${height}px`;
  pen.scale(scale, scale);
  pen.textBaseline = "middle";
  return pen;
}

const label = (text, x, y, anchor) => svg("text", { x, y, "text-anchor": anchor, class: "tk-tick" }, text);
const line = (x1, y1, x2, y2, look) => svg("line", { x1, y1, x2, y2, class: look });

function extend(drawing, width, height) {
  drawing.setAttribute("width", width);
  drawing.setAttribute("height", height);
}

function render({ model, el }) {
  const words = model.get("words"), record = model.get("record");
  const { origin, span, requests, schedules, guess, step_schedule: stepOf, step_iteration: stepAt, most_tokens: mostTokens } = record;
  const rows = requests.length, steps = stepOf.length, last = schedules.length - 1, several = last > 0;
  const lane = within(7, 22, Math.floor(MOST / rows));
  let width = 0, note = "", over = null, tint = {}, font = "", drag = null;

  const parts = frame(el, words, table);
  const panels = schedules.map((one, at) => {
    const lanes = html("canvas", at ? { "aria-hidden": "true" } : { role: "img" }), bars = html("canvas", { "aria-hidden": "true" });
    const now = html("span", { class: "tk-now" });
    const scroll = html("div", { class: "tk-scroll", tabindex: 0, role: "group", "aria-label": several ? `${one.name}: ${words.lanes}` : words.lanes, onkeydown: press }, lanes);
    const node = html("div", { class: "tk-panel" }, html("p", { class: "tk-place" }, ...(several ? [html("strong", {}, one.name), " "] : []), now), scroll, bars);
    for (const [canvas, rowed] of [[lanes, true], [bars, false]]) listen(canvas, at, rowed);
    return { lanes, bars, now, scroll, node };
  });
  const axis = svg("svg", { "aria-hidden": "true", class: "tk-axis" });
  const about = html("p", { class: "tk-about" });
  const remark = html("p", { class: "tk-remark" });
  const probe = html("span", { hidden: true });
  const only = { lost: (one) => one.lost_time.length, padding: (one) => one.padding.some(Boolean), budget: (one) => one.budget };
  const key = html("p", { class: "tk-key" }, ...["waiting", "prefill", "decode", "stalled", "lost", "padding", "budget"]
    .filter((name) => !only[name] || schedules.some(only[name])).map((name) => html("span", {}, html("span", { class: `tk-swatch tk-is-${name}` }), words[`key_${name}`])));
  const run = html("div", { class: "tk-lanes" }, ...panels.map(({ node }) => node), axis);
  const curves = ["ttft", "gap"].map((name) => ({ name, drawing: svg("svg", { "aria-hidden": "true" }), said: html("p", { class: "tk-fine" }) }));
  const latencies = html("div", { class: "tk-curves" }, ...curves.map(({ name, drawing, said }) =>
    html("div", {}, html("p", { class: "tk-place" }, words[`${name}_curve`]), drawing, said)));
  el.classList.add("tk-timeline");
  el.setAttribute("data-lm-suppress-shortcuts", "true"); // else JupyterLab takes keys
  parts.svg = panels[0].lanes;
  parts.picture.append(probe, remark, key, run, about, latencies);

  const button = (text, onclick, attributes) => html("button", { type: "button", onclick, ...attributes }, text);
  const scrub = range(several ? words.step_both : words.step, { max: steps - 1, oninput: (step) => move({ step }) });
  const chooser = range(words.request, { max: Math.max(0, rows - 1), oninput: (row) => move({ request: requests[row] }) });
  const back = button(words.back, () => go(-1)), forward = button(words.forward, () => go(1));
  const { button: play, pause } = player(words, () => {
    if (now().step === steps - 1) move({ step: 0 });
    return within(60, 700, 15000 / steps);
  }, () => {
    move({ step: now().step + 1 }, true);
    return now().step === steps - 1;
  });
  const stepper = html("div", { class: "tk-steps" }, back, play, forward, scrub.node);
  const closer = button("+", () => zoom(0.5), { "aria-label": words.zoom_in }), wider = button("−", () => zoom(2), { "aria-label": words.zoom_out });
  const all = button(words.zoom_all, () => move(framed(0, VIEW)));
  const inView = html("output");
  const zoomer = html("div", { class: "tk-zoom", role: "group", "aria-label": words.zoom }, words.zoom, wider, closer, all, inView);
  const save = button(words.save, download);

  // What the reader sets goes through the model, so that Python and links see it.

  function now() {
    const step = within(0, steps - 1, model.get("step")), row = Math.max(0, lastAt(requests, model.get("request")));
    let [from, to] = [within(0, VIEW, model.get("view_start")), within(0, VIEW, model.get("view_end"))];
    if (to - from < NEAREST) [from, to] = [0, VIEW];
    const time = schedules[stepOf[step]].start[stepAt[step]], scale = span / VIEW;
    return { step, row, time, from, to, start: from * scale, end: to * scale, shown: model.get("revealed") };
  }

  function move(values, playing = false) {
    if (!playing) pause();
    put(values);
    settle();
    const { time, from, to, start, end } = now();
    if ("step" in values && (time < start || time > end)) put(framed((VIEW * time) / span - (to - from) / 4, to - from));
    note = "";
    over = null;
    update();
    model.save_changes();
  }

  function settle() {
    const { step, row, from, to } = now();
    put({ step, request: requests[row], view_start: from, view_end: to });
  }

  function framed(from, wide) {
    const view_start = within(0, VIEW - wide, Math.round(from));
    return { view_start, view_end: view_start + wide };
  }

  const go = (by) => move({ step: now().step + by });

  /** Show `by` times as much; what is at `time` stays where it is. */
  function zoom(by, time = now().time) {
    const { from, to } = now(), wide = within(NEAREST, VIEW, Math.round((to - from) * by));
    const fixed = within(from, to, (VIEW * time) / span);
    move(framed(fixed - ((fixed - from) / (to - from)) * wide, wide));
  }

  function press(event) {
    const act = {
      ArrowLeft: () => go(-1), ArrowRight: () => go(1), ArrowUp: () => choose(-1), ArrowDown: () => choose(1),
      "+": () => zoom(0.5), "-": () => zoom(2), 0: () => move(framed(0, VIEW)),
    }[event.key];
    if (!act || !now().shown || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  }

  function choose(by) {
    move({ request: requests[within(0, rows - 1, now().row + by)] });
    for (const { scroll } of panels) {
      const y = TOP + now().row * lane;
      if (y < scroll.scrollTop + TOP || y + lane > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = y - scroll.clientHeight / 2;
    }
  }

  function reveal(guessed) {
    put({ revealed: true });
    note = guessed === null ? "" : fill(guessed === guess.gap ? words.guessed_right : words.guessed, { guess: lasting(guessed), gap: lasting(guess.gap) });
    update();
    model.save_changes();
    scrub.input.focus({ preventScroll: true });
  }

  function download() {
    const url = URL.createObjectURL(new Blob([JSON.stringify(chromeTrace(record))], { type: "application/json" }));
    html("a", { href: url, download: "timeline.json" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  // The record in words.

  const clock = (time) => (Math.floor((origin + time + 500) / 1000) / 1000).toLocaleString("en-US", { minimumFractionDigits: 3 });
  const nameOf = (one) => (several ? one.name : words.the_schedule);
  const under = (one, text) => (several ? fill(words.under, { name: one.name, text }) : text);
  const veilOf = (at) => (now().shown || at < last ? Infinity : schedules[last].first_token[guess.row]);

  /** The iteration of a schedule that is under way at a time, or -1. */
  function iterationAt(one, time) {
    const at = lastAt(one.start, time);
    return at >= 0 && ends(one, at) > time ? at : -1;
  }

  function told(one, at) {
    if (at < 0) return words.idle;
    return fill(one.padding[at] ? words.now_padding : words.now, {
      iteration: one.first + at, prefill: counted(one.prefill[at]), decode: counted(one.decode[at]), padding: counted(one.padding[at]),
      duration: lasting(one.span[at]), used: counted(one.blocks_used[at]), blocks: counted(one.blocks),
    });
  }

  const fared = (one, row) => fill(words.fared, { ttft: lasting(one.ttft[row]), gap: lasting(one.gap[row]), end_to_end: lasting(one.end_to_end[row]) });

  function summary({ time, row, shown }) {
    const request = requests[row];
    if (!shown) return fill(words.summary_waiting, { request });
    const said = fill(words.summary, { time: clock(time), now: schedules.map((one) => under(one, told(one, iterationAt(one, time)))).join(" "), request });
    return [said, ...schedules.map((one) => under(one, fared(one, row)))].join(" ");
  }

  /** What a request does under a schedule at a time; it loses its blocks at about that time. */
  function doing(one, row, time, about) {
    const tell = (name, start, end = start, more) => fill(words[`about_${name}`], { request: requests[row], start: clock(start), end: clock(end), duration: lasting(end - start), ...more });
    const lost = one.lost_time.find((lost, i) => one.lost_request[i] === row && Math.abs(lost - time) < about);
    if (lost >= 0) return tell("lost", lost);
    const chunk = one.chunk_iteration.findIndex((i, chunk) => one.chunk_request[chunk] === row && one.start[i] <= time && time < ends(one, i)), i = one.chunk_iteration[chunk];
    if (chunk >= 0) return tell(one.chunk_decode[chunk] ? "decode" : "prefill", one.start[i], ends(one, i), { iteration: one.first + i, tokens: counted(one.chunk_tokens[chunk]) });
    for (const kind of ["wait", "empty"]) {
      const found = spans(one, kind).find(([of, start, end]) => of === row && start <= time && time < end);
      if (found) return tell(kind, found[1], found[2]);
    }
    return tell(record.arrival[row] <= time && time < (one.last_token[row] ?? Infinity) ? "stalled" : "away", time);
  }

  // Controls and readout.

  function control(at) {
    if (!at.shown) {
      if (parts.controls.childElementCount) return;
      const said = { request: requests[guess.row], name: schedules[last].name, other: schedules[0].name, gap: lasting(schedules[0].gap[guess.row]) };
      parts.controls.replaceChildren(html("p", { class: "tk-ask" }, fill(several ? words.ask_two : words.ask, said)),
        ...guess.choices.map((one) => button(lasting(one), () => reveal(one), { class: "tk-main" })), button(words.skip, () => reveal(null)));
      return;
    }
    if (!stepper.isConnected) parts.controls.replaceChildren(stepper, ...(rows > 1 ? [chooser.node] : []), zoomer, save);
    const one = schedules[stepOf[at.step]], from = several ? 1 : one.first;
    scrub.show(at.step, fill(words.step_of, { step: counted(at.step + from), steps: counted(steps + from - 1) }), under(one, told(one, stepAt[at.step])));
    chooser.show(at.row, String(requests[at.row]));
    back.disabled = at.step === 0;
    forward.disabled = at.step === steps - 1;
    closer.disabled = at.to - at.from <= NEAREST;
    wider.disabled = all.disabled = at.to - at.from >= VIEW;
    inView.textContent = lasting(Math.round(at.end - at.start));
  }

  function readout({ row, shown }) {
    parts.readout.replaceChildren(
      html("p", {}, fill(words.about_request, { request: requests[row], time: clock(record.arrival[row]), prompt: counted(record.prompt_tokens[row]), tokens: counted(schedules[0].tokens[row]) })),
      figures(["ttft", "gap", "end_to_end"].flatMap((name) => schedules.map((one, at) => {
        const hidden = !shown && at === last, met = name === "end_to_end" && !hidden && one.met;
        return [words[name], hidden ? "?" : lasting(one[name][row]), met ? fill(met[row] ? words.met : words.missed, { name: nameOf(one) }) : nameOf(one)];
      }))));
  }

  function table() {
    const head = ["request", "schedule", "arrival", "prompt", "tokens", "ttft", "gap", "end_to_end", "preemptions"].map((name) => words[`column_${name}`]);
    const seconds = (time) => (time === null ? "–" : (time / 1e6).toFixed(6));
    const body = now().shown ? requests.flatMap((request, row) => schedules.map((one) => [
      String(request), one.name, seconds(origin + record.arrival[row]), counted(record.prompt_tokens[row]), counted(one.tokens[row]),
      seconds(one.ttft[row]), seconds(one.gap[row]), seconds(one.end_to_end[row]), String(one.preemptions[row])])) : [];
    return [head, ...body];
  }

  // The picture.

  function paint() {
    tint = Object.fromEntries(TINTS.map((name) => {
      probe.style.color = `var(--tk-${name})`;
      return [name, getComputedStyle(probe).color];
    }));
    font = getComputedStyle(el).fontFamily;
  }

  /** A bar in the middle of a lane: kinds differ in height too. */
  function box(share, x, middle, wide) {
    const high = Math.max(2, (lane - 2) * share);
    return [x, middle - high / 2, Math.max(0.6, wide), high];
  }

  /** Fill boxes, all but padding's, and outline them: those up to `narrow` only above and below. */
  function ink(pen, boxes, kind, narrow) {
    Object.assign(pen, { fillStyle: tint[kind], strokeStyle: kind === "padding" ? tint.missed : tint.peer, lineWidth: 1 });
    if (kind !== "padding") for (const box of boxes) pen.fillRect(...box);
    if (narrow >= 0) for (const [x, y, wide, high] of boxes) {
      if (wide > narrow) pen.strokeRect(x, y, wide, high);
      else for (const edge of [y, y + high]) pen.strokeRect(x, edge, wide, 0);
    }
  }

  function triangle(pen, x, y) {
    const path = new Path2D(`M${x - 5} ${y - 4.5}h10l-5 9z`);
    Object.assign(pen, { fillStyle: tint.evicted, strokeStyle: tint.text, lineWidth: 1 });
    pen.fill(path);
    pen.stroke(path);
  }

  /** Times as pixels in the present view. */
  function mapping({ start, end }) {
    const wide = width - LEFT - RIGHT;
    const x = (time) => LEFT + ((time - start) / (end - start)) * wide;
    const [step, times] = rounds((origin + start) / 1e6, (origin + end) / 1e6, wide / 76), digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const ticks = times.map((time) => [x(time * 1e6 - origin), time.toFixed(digits)]);
    return { x, right: LEFT + wide, time: (px) => start + ((px - LEFT) / wide) * (end - start), ticks };
  }

  /** Under the marks: the present iteration, and the lines of the axis. */
  function ground(pen, one, at, { x, right, ticks }, top, bottom) {
    const i = over?.iteration >= 0 && schedules[over.at] === one ? over.iteration : at.shown ? iterationAt(one, at.time) : -1;
    pen.save();
    pen.beginPath();
    pen.rect(LEFT, 0, right - LEFT, bottom);
    pen.clip();
    pen.fillStyle = tint.grid;
    for (const [tick] of ticks) pen.fillRect(tick, top, 1, bottom - top);
    pen.globalAlpha = 0.45;
    if (i >= 0) pen.fillRect(x(one.start[i]), top, x(ends(one, i)) - x(one.start[i]), bottom - top);
    pen.globalAlpha = 1;
  }

  /** Over them: what is hidden before the guess, and the present time. */
  function cover(pen, of, at, { x, right }, top, bottom) {
    const veil = Math.max(LEFT, x(veilOf(of)));
    if (veil < right) {
      pen.fillStyle = tint.surface;
      pen.fillRect(veil, top, right - veil, bottom - top);
      Object.assign(pen, { fillStyle: tint.text, font: `600 13px ${font}`, textAlign: "center" });
      pen.fillText(words.hidden, (veil + right) / 2, (top + bottom) / 2, right - veil);
    }
    if (at.shown) {
      pen.fillStyle = tint.limit;
      pen.fillRect(x(at.time) - 0.75, top, 1.5, bottom - top);
    }
    pen.restore();
  }

  function gutter(pen, text, y, strong = false, align = "right") {
    Object.assign(pen, { fillStyle: strong ? tint.text : tint.muted, font: `${strong ? 650 : 400} 11px ${font}`, textAlign: align });
    pen.fillText(text, align === "right" ? LEFT - 6 : 1, y);
  }

  function drawLanes(of, at, map) {
    const one = schedules[of], { x, right } = map, bottom = TOP + rows * lane + 2, veil = veilOf(of);
    const pen = sheetOf(panels[of].lanes, width, bottom), middle = (row) => TOP + (row + 0.5) * lane;
    pen.fillStyle = tint.surface;
    pen.fillRect(0, TOP + at.row * lane, right, lane);
    ground(pen, one, at, map, TOP, bottom);
    pen.fillStyle = tint.muted;
    record.arrival.forEach((time, row) => pen.fillRect(x(time), Math.floor(middle(row)), x(one.last_token[row] ?? span) - x(time), 1));
    const boxes = [[], []], labels = [], long = (kind, share) => spans(one, kind).map(([row, start, end]) => box(share, x(start), middle(row), x(end) - x(start)));
    ink(pen, long("wait", 0.4), "waiting", 0);
    ink(pen, long("empty", 0.64), "padding", 0);
    one.chunk_iteration.forEach((i, chunk) => {
      const start = x(one.start[i]), end = x(ends(one, i));
      if (end < LEFT || start > right || one.start[i] >= veil) return;
      const decode = one.chunk_decode[chunk], row = one.chunk_request[chunk], gap = end - start > 5 ? 1 : 0;
      boxes[decode].push(box(decode ? 0.64 : 1, start + gap / 2, middle(row), end - gap - start));
      if (!decode && end - start > 14 && lane >= 11) labels.push([chunk, start, end, row]);
    });
    ink(pen, boxes[0], "prefill");
    ink(pen, boxes[1], "decode", lane > 9 ? 8 : undefined);
    Object.assign(pen, { fillStyle: tint.page, font: `600 ${Math.min(11, lane - 3)}px ${font}`, textAlign: "center" });
    for (const [chunk, start, end, row] of labels) {
      const text = String(one.chunk_tokens[chunk]), from = Math.max(LEFT, start), to = Math.min(right, end);
      if (pen.measureText(text).width < to - from - 3) pen.fillText(text, (from + to) / 2, middle(row) + 0.5);
    }
    one.lost_request.forEach((row, i) => triangle(pen, x(one.lost_time[i]), middle(row)));
    if (over?.row >= 0) {
      Object.assign(pen, { strokeStyle: tint.limit, lineWidth: 1 });
      pen.strokeRect(LEFT + 0.5, TOP + over.row * lane, right - LEFT - 1, lane);
    }
    cover(pen, of, at, map, TOP, bottom);
    const every = Math.ceil(13 / lane);
    gutter(pen, words.request, 7, false, "left");
    requests.forEach((id, row) => {
      if (row === at.row) gutter(pen, `▸ ${id}`, middle(row), true);
      else if (row % every === 0 && Math.abs(row - at.row) >= every) gutter(pen, String(id), middle(row));
    });
  }

  function drawBars(of, at, map) {
    const one = schedules[of], { x, right } = map, bottom = BARS - 3, y = (tokens) => bottom - (tokens / mostTokens) * (bottom - TOP - 6);
    const pen = sheetOf(panels[of].bars, width, BARS), boxes = { prefill: [], decode: [], padding: [] }, veil = veilOf(of);
    ground(pen, one, at, map, TOP - 4, bottom);
    one.start.forEach((time, i) => {
      const start = x(time), end = x(time + one.held[i]);
      if (end < LEFT || start > right || time >= veil) return;
      let low = 0;
      for (const kind in boxes) {
        const tokens = one[kind][i], gap = end - start > 4 ? 1 : 0;
        if (tokens) boxes[kind].push([start + gap / 2, y(low + tokens), Math.max(0.6, end - start - gap), y(low) - y(low + tokens)]);
        low += tokens;
      }
    });
    for (const kind in boxes) ink(pen, boxes[kind], kind, kind === "padding" ? 0 : undefined);
    cover(pen, of, at, map, TOP - 4, bottom);
    pen.fillStyle = tint.peer;
    pen.fillRect(LEFT, bottom, right - LEFT, 1);
    gutter(pen, words.tokens, 7, false, "left");
    gutter(pen, counted(mostTokens), y(mostTokens) + 3);
    gutter(pen, "0", bottom - 3);
    if (!one.budget) return;
    Object.assign(pen, { strokeStyle: tint.limit, lineWidth: 1.5 });
    pen.setLineDash([5, 4]);
    pen.stroke(new Path2D(`M${LEFT} ${y(one.budget)}H${right}`));
    pen.setLineDash([]);
  }

  function drawAxis({ right, ticks }) {
    extend(axis, width, AXIS);
    axis.replaceChildren(line(LEFT, 0.5, right, 0.5, "tk-grid"),
      ...ticks.map(([at, text]) => label(text, at, 14, at < LEFT + 14 ? "start" : at > right - 14 ? "end" : "middle")),
      label(words.time, right, 30, "end"));
  }

  // The two curves: which share took at most so long, on a logarithmic axis.

  function drawCurve({ name, drawing, said }, { row, shown }) {
    const wide = drawing.parentNode.clientWidth, marked = over?.row ?? row, target = record[`target_${name}`];
    const seen = schedules.flatMap((one, at) => (one[`${name}_curve`].length && (shown || at < last)
      ? [{ one, curve: one[`${name}_curve`].map((time) => Math.max(1, time)), time: one[name][marked], look: at === last ? "last" : "first" }] : []));
    extend(drawing, wide, CURVE);
    said.replaceChildren(...seen.map(({ one, curve, look }) => html("span", {},
      svg("svg", { width: 26, height: 12, "aria-hidden": "true" }, svg("path", { d: "M0 6H26", class: `tk-curve tk-of-${look}` }), dot(look, 13, 6)),
      fill(words.curve_summary, { name: nameOf(one), p50: lasting(curve[50]), p99: lasting(curve[99]) }))));
    if (!seen.length) return drawing.replaceChildren(label(shown ? "–" : words.hidden, 0, CURVE / 2));
    const ends = seen.flatMap(({ curve }) => [curve[0], curve[100]]).concat(target ?? []);
    const low = Math.log10(Math.min(...ends)) - 0.05, high = Math.log10(Math.max(...ends)) + 0.05;
    const left = 46, right = wide - 8, bottom = CURVE - 23, top = 18;
    const x = (time) => left + ((Math.log10(time) - low) / (high - low)) * (right - left), y = (part) => bottom - (part / 100) * (bottom - top);
    let free = 0;
    const ticks = Array.from({ length: 30 }, (_, at) => [1, 2, 5][at % 3] * 10 ** Math.floor(at / 3)).filter((time) => {
      const at = x(time), fits = at >= Math.max(left, free) && at <= right && (high - low < 1.6 || String(time)[0] === "1");
      if (fits) free = at + 56;
      return fits;
    });
    drawing.replaceChildren(
      ...[0, 50, 100].flatMap((part) => [line(left, y(part), right, y(part), "tk-grid"), label(percent(part / 100), left - 4, y(part) + 4, "end")]),
      ...ticks.flatMap((time) => [line(x(time), top, x(time), bottom, "tk-grid"), label(lasting(time), within(left + 14, right - 20, x(time)), bottom + 18, "middle")]),
      ...(target ? [line(x(target), top, x(target), bottom, "tk-limit"), label(words.target, within(left + 18, right - 18, x(target)), 11, "middle")] : []),
      ...seen.map(({ curve, look }) => svg("path", { d: `M${curve.map((time, part) => `${x(time).toFixed(1)} ${y(part).toFixed(1)}`).join("L")}`, class: `tk-curve tk-of-${look}` })),
      ...seen.filter(({ time }) => time !== null).map(({ curve, time, look }) => dot(look, x(within(curve[0], curve[100], time)), y(Math.max(0, lastAt(curve, time))))));
  }

  const dot = (look, x, y) => svg("path", { d: DOTS[look], transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, class: `tk-dot tk-of-${look}` });

  // What is under the pointer.

  function listen(canvas, at, rowed) {
    const place = ({ offsetX: px, offsetY: y }) => {
      const map = mapping(now()), row = Math.floor((y - TOP) / lane), time = map.time(px);
      if (px < (rowed ? 0 : LEFT) || px > map.right || time >= veilOf(at) || (rowed && (row < 0 || row >= rows))) return null;
      const iteration = iterationAt(schedules[at], time);
      return rowed ? { at, row, time, about: map.time(px + 6) - time } : iteration < 0 ? null : { at, iteration };
    };
    const on = (name, listener) => canvas.addEventListener(name, listener, { passive: false });
    on("pointermove", (event) => {
      if (drag && event.buttons) return pan(event);
      over = place(event);
      draw();
    });
    on("pointerleave", () => { over = null; draw(); });
    on("pointerdown", ({ clientX }) => { drag = { x: clientX, ...now() }; });
    on("click", (event) => {
      const found = drag?.moved ? null : place(event);
      drag = null;
      if (!found || !now().shown) return;
      if (rowed) move({ request: requests[found.row] });
      else move({ step: stepOf.findIndex((of, step) => of === at && stepAt[step] === found.iteration) });
    });
    on("wheel", (event) => {
      if (!event.ctrlKey || !now().shown) return;
      event.preventDefault();
      zoom(event.deltaY > 0 ? 1.25 : 0.8, mapping(now()).time(event.offsetX));
    });
  }

  function pan({ clientX }) {
    const by = drag.x - clientX, { from, to, shown } = drag, wide = to - from;
    if (!shown || (!drag.moved && Math.abs(by) < 4)) return;
    drag.moved = true;
    move(framed(from + (by / (width - LEFT - RIGHT)) * wide, wide));
  }

  // What follows what.

  function update() {
    const at = now();
    control(at);
    remark.textContent = note;
    panels.forEach((panel, of) => { panel.now.textContent = at.shown ? told(schedules[of], iterationAt(schedules[of], at.time)) : ""; });
    readout(at);
    parts.say([note, summary(at)].filter(Boolean).join(" "));
    parts.refresh();
    draw();
  }

  let queued = 0;

  function draw() {
    queued ||= requestAnimationFrame(() => { queued = 0; redraw(); });
  }

  function redraw() {
    if (!width) return;
    const at = now(), map = mapping(at);
    schedules.forEach((_, of) => { drawLanes(of, at, map); drawBars(of, at, map); });
    drawAxis(map);
    for (const curve of curves) drawCurve(curve, at);
    const one = over && schedules[over.at];
    about.textContent = !over ? words.hint : under(one, over.row === undefined ? told(one, over.iteration) : doing(one, over.row, over.time, over.about));
  }

  function linked() {
    if (!model.get("revealed")) put({ revealed: true });
    note = "";
    update();
    queueMicrotask(() => { settle(); model.save_changes(); });
  }

  const { put, end: unfollow } = follow(model, { step: linked, request: linked, view_start: linked, view_end: linked, revealed: update });
  paint();
  update();
  const watched = [onTheme(() => { paint(); draw(); }), onWidth(run, (to) => { width = to; run.parentNode.classList.toggle("tk-narrow", to < NARROW); redraw(); })];

  return () => {
    pause();
    cancelAnimationFrame(queued);
    for (const end of watched) end();
    unfollow();
  };
}

export default { render };
