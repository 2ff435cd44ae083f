// Blocks: a pool of KV-cache blocks over time: who reads which, what is shared, kept and evicted.

import { figures, fill, follow, frame, html, onWidth, player, range, svg } from "./widget.js";

const KINDS = ["begin", "grow", "keep", "release"];
const LEFT = 38, TOP = 4, AXIS = 34, MOST = 340, LEAST_ROW = 1.5, MOST_ROW = 18, LETTERS = 11; // pixels
const LARGE = [30, 22], SMALL = [23, 18], MANY = 96, SPACE = 3, STRIPE = 6, LISTED = 24;
const TINTS = ["prefill", "decode", "peer"], LOOKS = 2 * TINTS.length;

/** The rows of the record's spans that hold after an event. */
export function pool({ start, end }, event) {
  return [...start.keys()].filter((at) => start[at] <= event && event < end[at]);
}

/** How a request looks that began as the `order`-th: [tint, striped]. toolkit/viz/blocks_picture.py has the same rule. */
export function lookOf(order) {
  return [TINTS[order % TINTS.length], order % LOOKS >= TINTS.length];
}

/** What a pool's rows come to: blocks in use and shared, cached ones, and how many all readers would need alone. */
export function counts({ readers }, rows) {
  const read = rows.filter((at) => readers[at].length), shared = read.filter((at) => readers[at].length > 1);
  return { used: read.length, shared: shared.length, cached: rows.length - read.length, needed: read.reduce((sum, at) => sum + readers[at].length, 0) };
}

/** Spans of blocks side by side with the same readers at the same time: [[the first span, how many]]. */
export function together({ block, start, end, readers }) {
  const first = new Map(), groups = [];
  for (const at of [...block.keys()].sort((a, b) => block[a] - block[b])) {
    const same = `${start[at]} ${end[at]} ${readers[at]}`, group = first.get(`${block[at] - 1} ${same}`) ?? [at, 0];
    group[1] += 1;
    if (group[1] === 1) groups.push(group);
    first.set(`${block[at]} ${same}`, group);
  }
  return groups;
}

const within = (least, most, number) => Math.min(most, Math.max(least, number));
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
const counted = (number) => number.toLocaleString("en-US");

/** Call `draw` when the theme of the site, JupyterLab, VS Code or the system changes. */
function onTheme(draw) {
  const system = matchMedia("(prefers-color-scheme: dark)"), watcher = new MutationObserver(draw);
  for (const node of [document.documentElement, document.body]) watcher.observe(node, { attributeFilter: ["class", "data-theme", "data-jp-theme-light"] });
  system.addEventListener("change", draw);
  return () => { watcher.disconnect(); system.removeEventListener("change", draw); };
}

/** Size a canvas to sharp pixels and give its cleared context, in CSS units. */
function sheetOf(canvas, width, height) {
  const scale = window.devicePixelRatio || 1, pen = canvas.getContext("2d");
  const [wide, tall] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== wide || canvas.height !== tall) {
    Object.assign(canvas, { width: wide, height: tall });
    canvas.style.cssText = `width: ${width}px; height: ${height}px`;
  }
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

function render({ model, el }) {
  const words = model.get("words"), record = model.get("record");
  const { blocks, block, start, end, readers, kind, request, lost_event: lostEvent, lost_block: lostBlock } = record;
  const steps = kind.length, orders = new Map([...new Set(request)].map((id, at) => [id, at]));
  const row = within(LEAST_ROW, MOST_ROW, MOST / blocks), tall = row * blocks;
  const id = `tk-${Math.random().toString(36).slice(2)}`;
  const spansOf = Array.from({ length: blocks }, () => []);
  block.forEach((of, at) => spansOf[of].push(at));
  const alike = together(record), [cell, high] = blocks > MANY ? SMALL : LARGE;
  let note = "", over = null, lit = null, width = 0, tint = {}, still = null;

  const parts = frame(el, words, rows);
  const map = html("canvas", { role: "img" }), cursor = svg("svg", { "aria-hidden": "true", class: "tk-cursor" }), axis = svg("svg", { "aria-hidden": "true", class: "tk-axis" });
  const plot = html("div", { class: "tk-map", tabindex: 0, role: "group", "aria-label": words.map, onkeydown: press }, map, cursor, axis);
  const grid = svg("svg", { "aria-hidden": "true" });
  const pooled = html("p", { class: "tk-place" });
  const remark = html("p", { class: "tk-remark" }), sentence = html("p", { class: "tk-now" });
  const about = html("p", { class: "tk-about" }), through = html("p", { class: "tk-through" });
  const probe = html("span", { hidden: true });
  const key = html("p", { class: "tk-key" }, ...["one", "shared", "cached", "free", "lost"].map((name) => html("span", {}, sample(name), words[`key_${name}`])));
  el.classList.add("tk-blocks");
  el.setAttribute("data-lm-suppress-shortcuts", "true"); // else JupyterLab takes keys
  parts.svg = map;
  parts.picture.append(
    svg("svg", { width: 0, height: 0, "aria-hidden": "true", class: "tk-patterns" }, svg("defs", {}, ...["cached", ...TINTS].map(pattern))),
    probe, remark, sentence, plot, key, pooled, html("div", { class: "tk-pool" }, grid), html("div", { class: "tk-chosen" }, about, through));

  const button = (text, onclick, attributes) => html("button", { type: "button", onclick, ...attributes }, text);
  const scrub = range(words.step, { max: steps - 1, oninput: (step) => move({ step }) });
  const back = button(words.back, () => go(-1)), forward = button(words.forward, () => go(1));
  const { button: play, pause } = player(words, () => {
    if (now().step === steps - 1) move({ step: 0 });
    return within(60, 700, 20000 / steps);
  }, () => {
    move({ step: now().step + 1 }, true);
    return now().step === steps - 1;
  });
  const stepper = html("div", { class: "tk-steps" }, back, play, forward, scrub.node);

  // What the reader sets goes through the model, so that Python and links see it.

  function now() {
    const step = within(0, steps - 1, model.get("step")), chosen = within(-1, blocks - 1, model.get("block")), live = pool(record, step);
    return { step, chosen, live, shown: model.get("revealed"), ...counts(record, live) };
  }

  function move(values, playing = false) {
    if (!playing) pause();
    put(values);
    const { step, chosen } = now();
    put({ step, block: chosen });
    note = "";
    over = lit = null;
    update();
    model.save_changes();
  }

  const go = (by) => move({ step: now().step + by });

  function press(event) {
    const along = { ArrowLeft: -1, ArrowRight: 1 }[event.key], among = { ArrowUp: -1, ArrowDown: 1 }[event.key], at = now();
    if (!at.shown || (!along && !among) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (along) go(along);
    else move({ block: within(0, blocks - 1, at.chosen + among) });
  }

  function reveal(guessed) {
    put({ revealed: true });
    const { needed } = record, { used } = counts(record, pool(record, record.guess));
    note = guessed === null ? "" : fill(guessed === needed ? words.guessed_right : words.guessed, { guess: guessed, needed, saved: needed - used });
    update();
    model.save_changes();
    scrub.input.focus({ preventScroll: true });
  }

  // Words for what the record has in numbers.

  function told(step) {
    const said = fill(words[KINDS[kind[step]]], { request: request[step], blocks: record.changed[step], tokens: counted(record.found[step]) });
    const evicted = lostEvent.filter((at) => at === step).length;
    return evicted ? `${said} ${fill(words.lost, { evicted })}` : said;
  }

  function numbers(at) {
    return {
      ...at, step: counted(at.step + 1), steps: counted(steps), event: told(at.step), all: blocks, free: blocks - at.live.length, saved: at.needed - at.used,
      found: counted(sum(record.found.slice(0, at.step + 1))), evicted: lostEvent.filter((event) => event <= at.step).length,
      requests: new Set(request.slice(0, at.step + 1)).size,
    };
  }

  /** The span of a block after an event, or none. */
  const spanAt = (of, event) => spansOf[of].find((at) => start[at] <= event && event < end[at]);

  function describe(of, event, shown) {
    const at = spanAt(of, event);
    if (at === undefined) return fill(words.about_free, { block: of });
    const said = { block: of, count: shown ? readers[at].length : "?", tokens: record.tokens[at], size: record.block_size, end: end[at] };
    return fill(readers[at].length ? words.about_read : words.about_cached, said);
  }

  // Controls and readout.

  function control(at) {
    if (!at.shown) {
      if (parts.controls.childElementCount) return;
      const asked = { event: record.guess + 1, used: counts(record, pool(record, record.guess)).used };
      parts.controls.replaceChildren(html("p", { class: "tk-ask" }, fill(words.ask, asked)),
        ...record.choices.map((one) => button(String(one), () => reveal(one), { class: "tk-main" })), button(words.skip, () => reveal(null)));
      return;
    }
    if (!stepper.isConnected) parts.controls.replaceChildren(stepper);
    const said = fill(words.step_of, { step: counted(at.step + 1), steps: counted(steps) });
    scrub.show(at.step, said, `${said}: ${told(at.step)}`);
    back.disabled = at.step === 0;
    forward.disabled = at.step === steps - 1;
  }

  function readout(at) {
    const said = numbers(at), show = (text) => (at.shown ? String(text) : "?");
    parts.readout.replaceChildren(figures([
      [words.used, String(at.used), fill(words.used_of, said)], [words.shared, show(at.shared), show(fill(words.shared_of, said))],
      [words.cached, String(at.cached), words.cached_of], [words.free, String(said.free), fill(words.free_of, said)],
      [words.found, show(said.found), fill(words.found_of, said)],
    ]));
  }

  /** The block that is looked at, and when: under the pointer, chosen, or one that the event's request has now. */
  function looked(at) {
    const reads = (span) => readers[span].includes(request[at.step]);
    const mine = at.live.find((span) => start[span] === at.step && reads(span)) ?? at.live.find(reads);
    return over ?? { block: at.chosen >= 0 ? at.chosen : mine === undefined ? 0 : block[mine], event: at.step };
  }

  function look() {
    const at = now(), { block: of, event } = looked(at), span = spanAt(of, event);
    const by = at.shown && span !== undefined ? readers[span] : [];
    about.textContent = describe(of, event, at.shown);
    const chips = by.slice(0, LISTED).map((one) => button(String(one), () => move({ step: request.indexOf(one) }), {
      "aria-label": fill(words.go, { request: one }), onpointerenter: () => light(one), onfocus: () => light(one), onpointerleave: () => light(null), onblur: () => light(null),
    }));
    const more = by.length > LISTED ? [fill(words.more, { count: by.length - LISTED })] : [];
    through.replaceChildren(...(by.length ? [words.readers, ...chips, ...more] : []));
    mark(at, of);
  }

  function light(one) {
    lit = one;
    const at = now();
    mark(at, looked(at).block);
  }

  /** Outline the present event, the block that is looked at, and those of a request. */
  function mark(at, of) {
    const x = (event) => LEFT + (event / steps) * (width - LEFT), wide = Math.max(2, (width - LEFT) / steps), shown = over !== null || at.chosen >= 0;
    cursor.replaceChildren(
      ...(lit === null ? [] : at.live.filter((span) => readers[span].includes(lit)).map((span) => svg("rect", { x: x(start[span]), y: TOP + block[span] * row, width: x(end[span]) - x(start[span]), height: row, class: "tk-way" }))),
      ...(shown ? [svg("rect", { x: LEFT, y: TOP + of * row, width: width - LEFT, height: row, class: "tk-row" })] : []),
      svg("rect", { x: x(at.step), y: TOP - 2, width: wide, height: tall + 4, class: "tk-event" }));
    for (const shape of grid.querySelectorAll("[data-block]")) {
      const mine = Number(shape.dataset.block), span = spanAt(mine, at.step);
      shape.classList.toggle("tk-looked", shown && mine === of);
      shape.classList.toggle("tk-way", lit !== null && span !== undefined && readers[span].includes(lit));
    }
  }

  // The picture: all events on a canvas, the pool at one of them in SVG.

  function pattern(name) {
    return svg("pattern", { id: `${id}-${name}`, width: STRIPE, height: STRIPE, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      svg("rect", { width: STRIPE, height: STRIPE, class: `tk-ground-${name}` }), svg("line", { y2: STRIPE, class: `tk-hatch-${name}` }));
  }

  /** The class and the pattern of a block with such readers. */
  function dress(by) {
    if (by.length !== 1) return by.length ? ["shared"] : ["cached", "cached"];
    const [name, striped] = lookOf(orders.get(by[0]) ?? 0);
    return striped ? [`one tk-of-${name}`, name] : [`one tk-of-${name}`];
  }

  function box(name, stripes, x, y, wide, high) {
    return svg("rect", { x, y, width: wide, height: high, rx: 3, class: `tk-block tk-is-${name}`, ...(stripes ? { style: `fill: url(#${id}-${stripes})` } : {}) });
  }

  function sample(name) {
    const [look, stripes] = { one: ["one tk-of-prefill"], shared: ["shared"], cached: ["cached", "cached"], free: ["free"], lost: ["lost"] }[name];
    return svg("svg", { width: 22, height: 16, "aria-hidden": "true" }, ...(name === "lost" ? ["tk-edge", "tk-cross"].map((of) => svg("path", { d: "M6 3L16 13M16 3L6 13", class: of })) : [box(look, stripes, 2, 2, 18, 12)]));
  }

  function stripes(ground, line) {
    const tile = html("canvas", { width: STRIPE, height: STRIPE }), pen = tile.getContext("2d");
    Object.assign(pen, { fillStyle: ground, strokeStyle: line, lineWidth: 1.8 });
    pen.fillRect(0, 0, STRIPE, STRIPE);
    pen.stroke(new Path2D("M-1 1L1 -1M0 6L6 0M5 7L7 5"));
    return pen.createPattern(tile, "repeat");
  }

  function paint() {
    const computed = (value) => { probe.style.color = value; return getComputedStyle(probe).color; };
    const plain = (name) => computed(`var(--tk-${name})`), soft = (name) => computed(`color-mix(in srgb, var(--tk-${name}) 55%, var(--tk-page))`);
    tint = Object.fromEntries(["hit", "evicted", "limit", "peer", "page", "text"].map((name) => [name, plain(name)]));
    tint.free = computed("color-mix(in srgb, var(--tk-waiting) 45%, var(--tk-page))");
    tint.one = Object.fromEntries(TINTS.map((name) => [name, soft(name)]));
    tint.striped = Object.fromEntries(TINTS.map((name) => [name, stripes(soft(name), tint.page)]));
    tint.cached = stripes(tint.page, tint.hit);
    tint.font = getComputedStyle(el).fontFamily;
    still = null;
  }

  /** The map once: marks on it are drawn over it. */
  function chart({ shown }) {
    const made = `${width} ${shown}`;
    if (still === made) return;
    still = made;
    const pen = sheetOf(map, width, TOP + tall + 2), x = (event) => LEFT + (event / steps) * (width - LEFT), gap = row > 4 ? 1 : 0;
    pen.fillStyle = tint.free;
    pen.fillRect(LEFT, TOP, width - LEFT, tall);
    pen.font = `${LETTERS}px ${tint.font}`;
    pen.textBaseline = "middle";
    block.forEach((of, at) => {
      const by = readers[at], left = x(start[at]), wide = Math.max(1, x(end[at]) - left - (x(1) - LEFT > 3 ? 1 : 0)), y = TOP + of * row, high = row - gap;
      const [name, striped] = by.length === 1 ? lookOf(orders.get(by[0]) ?? 0) : [];
      pen.fillStyle = by.length > 1 ? tint.hit : by.length ? tint[striped ? "striped" : "one"][name] : tint.cached;
      pen.fillRect(left, y, wide, high);
      if (row > 4) {
        Object.assign(pen, { strokeStyle: by.length ? tint.peer : tint.hit, lineWidth: 0.6 });
        pen.strokeRect(left + 0.3, y + 0.3, wide - 0.6, high - 0.6);
      }
    });
    const size = within(2, 4, row / 2), lost = new Set(lostEvent.map((event, at) => `${event} ${lostBlock[at]}`));
    for (const [color, thick] of [[tint.limit, 4], [tint.evicted, 2]]) {
      Object.assign(pen, { strokeStyle: color, lineWidth: thick, lineCap: "round" });
      const crosses = new Path2D(lostEvent.map((event, at) => {
        const [cx, cy] = [(x(event) + x(event + 1)) / 2, TOP + (lostBlock[at] + 0.5) * row];
        return `M${cx - size} ${cy - size}l${2 * size} ${2 * size}M${cx + size} ${cy - size}l${-2 * size} ${2 * size}`;
      }).join(""));
      pen.stroke(crosses);
    }
    Object.assign(pen, { fillStyle: tint.text, strokeStyle: tint.page, lineWidth: 2.5, lineJoin: "round" });
    for (const [at, many] of alike) {
      const by = readers[at], tops = row > LETTERS ? 1 : many, y = TOP + (block[at] + tops / 2) * row + 0.5;
      const left = (lost.has(`${start[at]} ${block[at]}`) ? (x(start[at]) + x(start[at] + 1)) / 2 + size + 1 : x(start[at])) + 3;
      const said = by.length > 1 ? (shown ? `×${by.length}` : "") : by.length ? String(by[0]) : "";
      if (many * row < LETTERS + 1 || !said || left + pen.measureText(said).width + 3 > x(end[at])) continue;
      pen.strokeText(said, left, y);
      pen.fillText(said, left, y);
    }
    ticks(x);
  }

  function ticks(x) {
    const every = (count, most) => [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000].find((one) => count / one <= most);
    const text = (said, left, y, anchor) => svg("text", { x: left, y, "text-anchor": anchor, class: "tk-tick" }, said);
    const [by, down] = [every(steps, (width - LEFT) / 50), every(blocks, tall / 16)];
    for (const [node, high] of [[cursor, TOP + tall + 2], [axis, TOP + tall + AXIS]]) {
      node.setAttribute("width", width);
      node.setAttribute("height", high);
    }
    axis.replaceChildren(
      ...Array.from({ length: Math.ceil(blocks / down) }, (_, at) => text(at * down, LEFT - 5, TOP + (at * down + 0.5) * row + 4, "end")),
      ...Array.from({ length: Math.floor(steps / by) + 1 }, (_, at) => (at ? at * by : 1)).filter((event, at, all) => event <= steps && (at !== 0 || all[1] !== 1))
        .map((event) => text(event, Math.min((x(event - 1) + x(event)) / 2, width - 12), TOP + tall + 14, "middle")),
      text(words.map_events, width, TOP + tall + 29, "end"), text(words.map_blocks, 0, TOP + tall + 29, "start"));
  }

  /** The pool at the present event, a cell a block. */
  function fillGrid(at) {
    const columns = Math.max(1, Math.floor((width + SPACE) / (cell + SPACE))), by = new Map(at.live.map((span) => [block[span], span]));
    pooled.textContent = fill(words.pool, { event: counted(at.step + 1) });
    grid.setAttribute("width", width);
    grid.setAttribute("height", Math.ceil(blocks / columns) * (high + SPACE));
    grid.replaceChildren(...Array.from({ length: blocks }, (_, of) => {
      const span = by.get(of), who = span === undefined ? null : readers[span];
      const [look, stripes] = who ? dress(who) : ["free"], x = 1 + (of % columns) * (cell + SPACE), y = 1 + Math.floor(of / columns) * (high + SPACE);
      const said = !who?.length ? "" : who.length > 1 ? `×${at.shown ? who.length : "?"}` : String(who[0]);
      return svg("g", { "data-block": of }, box(look, stripes, x, y, cell - 2, high - 2), svg("text", { x: x + cell / 2 - 1, y: y + high / 2 + 3, "text-anchor": "middle", class: blocks > MANY ? "tk-who tk-small" : "tk-who" }, said));
    }));
  }

  function point(to) {
    if (to?.block === over?.block && to?.event === over?.event) return;
    over = to;
    look();
  }

  /** The block and the event under a pointer on the map. */
  function under({ clientX, clientY }) {
    const { left, top } = map.getBoundingClientRect();
    return {
      block: within(0, blocks - 1, Math.floor((clientY - top - TOP) / row)),
      event: within(0, steps - 1, Math.floor(((clientX - left - LEFT) / (width - LEFT)) * steps)),
    };
  }
  const cellOf = ({ target }) => target.closest?.("[data-block]")?.dataset.block;
  plot.addEventListener("pointermove", (pointer) => point(under(pointer)));
  plot.addEventListener("pointerleave", () => point(null));
  plot.addEventListener("click", (pointer) => {
    const { block: of, event } = under(pointer);
    if (now().shown) move({ step: event, block: of });
  });
  grid.addEventListener("pointerover", (pointer) => {
    const of = cellOf(pointer);
    point(of === undefined ? null : { block: Number(of), event: now().step });
  });
  grid.addEventListener("pointerleave", () => point(null));
  grid.addEventListener("click", (pointer) => {
    const of = Number(cellOf(pointer) ?? -1);
    if (now().shown) move({ block: of === model.get("block") ? -1 : of });
  });

  function rows() {
    const at = now(), head = ["block", "state", "count", "readers", "tokens"].map((name) => words[`column_${name}`]);
    const body = Array.from({ length: at.shown ? blocks : 0 }, (_, of) => {
      const span = spanAt(of, at.step), by = span === undefined ? [] : readers[span];
      const state = span === undefined ? "free" : ["cached", "read", "shared"][Math.min(2, by.length)];
      return [String(of), words[`state_${state}`], String(by.length), by.join(", "), span === undefined ? "0" : String(record.tokens[span])];
    });
    return [head, ...body];
  }

  // What follows what.

  function update() {
    const at = now();
    control(at);
    remark.textContent = note;
    sentence.textContent = told(at.step);
    readout(at);
    parts.say([note, fill(at.shown ? words.summary : words.summary_waiting, numbers(at))].filter(Boolean).join(" "));
    parts.refresh();
    if (!width) return;
    chart(at);
    fillGrid(at);
    look();
  }

  function linked() {
    put({ revealed: true });
    note = "";
    update();
    queueMicrotask(() => {
      const { step, chosen } = now();
      put({ step, block: chosen });
      model.save_changes();
    });
  }

  function themed() {
    paint();
    update();
  }

  const listening = follow(model, { step: linked, block: linked, revealed: update });
  const { put } = listening;
  paint();
  update();
  const quiet = onTheme(themed);
  const rest = onWidth(plot, (to) => { width = to; update(); });

  return () => {
    pause();
    quiet();
    rest();
    listening.end();
  };
}

export default { render };
