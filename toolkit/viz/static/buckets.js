// Buckets: which real pairs become candidates, when MinHash signatures are cut into b bands of r
// rows, or when at most k bits of SimHash fingerprints may differ.

import { animate, bytes, figures, fill, follow, frame, html, onWidth, percent, range, significant, superscript, svg } from "./widget.js";

const STRIP = 58, LABEL = 22, CURVE = 210, GAP_HEIGHT = 8, AXIS = 44, LEFT = 44, RIGHT = 10;
const CURVE_TOP = LABEL + STRIP + GAP_HEIGHT, CURVE_BOTTOM = CURVE_TOP + CURVE;
const LOWER = CURVE_BOTTOM + GAP_HEIGHT, FLOOR = LOWER + STRIP + LABEL, HEIGHT = FLOOR + AXIS;
const SIGNATURE = 92, STAMP = 14, BINS = 20, BIT = 30, BREAK = 9, KEY = 190, MOST_ROWS = 32, MOST_NAMED = 6;

/** The colour of a token as it is now, for a canvas. */
function color(el, name) {
  const probe = html("span", { style: `color: var(--tk-${name})`, hidden: true });
  el.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** Size a canvas to sharp pixels and give its cleared context, in CSS units. */
function sheetOf(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.style.cssText = `width: ${width}px; height: ${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return context;
}

/** Call `draw` when the theme of the site, JupyterLab, VS Code or the system changes. */
function onTheme(draw) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const watcher = new MutationObserver(draw);
  for (const node of [document.documentElement, document.body]) {
    watcher.observe(node, { attributeFilter: ["class", "data-theme", "data-jp-theme-light"] });
  }
  system.addEventListener("change", draw);
  return () => { watcher.disconnect(); system.removeEventListener("change", draw); };
}

/** Whether a pair's two signatures, or fingerprints, have the same at a position. */
const same = (agree, stride, pair, at) => (agree[pair * stride + (at >> 3)] & (128 >> (at & 7))) !== 0;

/** The bands, from 0, in which all r positions of a pair's two signatures agree. */
export function sharedBands(agree, stride, pair, b, r) {
  const shared = [];
  for (let band = 0; band < b; band++) {
    let at = band * r;
    const end = at + r;
    while (at < end && same(agree, stride, pair, at)) at++;
    if (at === end) shared.push(band);
  }
  return shared;
}

/** The chance that a pair of Jaccard similarity s shares at least one band. */
export function chance(s, b, r) {
  return 1 - (1 - s ** r) ** b;
}

/** The positions, from 0, at which a pair's two fingerprints differ. */
export function differing(agree, stride, pair, positions) {
  return Array.from({ length: positions }, (_, at) => at).filter((at) => !same(agree, stride, pair, at));
}

/** The chance that one bit differs between two sets of one size and Jaccard similarity s. */
export function flip(s) {
  return Math.acos((2 * s) / (1 + s)) / Math.PI;
}

/** The chance that at most k bits differ; each term of the sum comes from the one before. */
export function chanceWithin(s, k, bits) {
  const p = flip(s);
  let term = (1 - p) ** bits, sum = term;
  for (let d = 1; d <= k; d++) sum += term *= ((bits - d + 1) / d) * (p / (1 - p));
  return sum;
}

/** A count of pairs, estimated: whole below a thousand. */
const pairs = (count) => significant(Math.round(count));

/** What a cut finds, as sums over the sample, each pair standing for many of the corpus. */
export function outcome(jaccard, weight, met, threshold, total) {
  const sums = { found: 0, missed: 0, wasted: 0 };
  jaccard.forEach((s, pair) => {
    if (s >= threshold) sums[met[pair] ? "found" : "missed"] += weight[pair];
    else if (met[pair]) sums.wasted += weight[pair];
  });
  const { found, missed, wasted } = sums;
  const skipped = total - found - missed - wasted;
  return { ...sums, skipped, candidates: found + wasted, recall: found / (found + missed), precision: found / (found + wasted) };
}

const between = (least, most, number) => Math.min(most, Math.max(least, Math.round(number)));
const cells = (boxes) => boxes.map(([x, y, width, height]) =>
  `M${x.toFixed(2)} ${y.toFixed(2)}h${width.toFixed(2)}v${height.toFixed(2)}h${(-width).toFixed(2)}z`).join("");
const gap = (step) => (step > 8 ? 4 : step > 4 ? 2 : 1);

// Each method says: which traits a setting has and how large they may be, what of a pair counts,
// whether that makes it a candidate, how likely that is, and how one pair looks.

function bands({ positions }, agree, stride, words) {
  const inWords = ({ b, r }) => fill(words.setting, {
    bands: fill(b === 1 ? words.band : words.bands, { n: b }), rows: fill(r === 1 ? words.row : words.rows, { n: r }),
  });
  return {
    least: 1,
    most: { b: positions, r: Math.min(positions, MOST_ROWS) },
    inWords,
    /** The nearest cut that fits: `first` keeps its number, and the other gives way. */
    fit(wish, first = "b") {
      const other = first === "b" ? "r" : "b";
      const kept = between(1, positions, wish[first]);
      return { [first]: kept, [other]: between(1, Math.floor(positions / kept), wish[other]) };
    },
    counted: (pair, { b, r }) => sharedBands(agree, stride, pair, b, r),
    passes: (shared) => shared.length > 0,
    chance: (s, { b, r }) => chance(s, b, r),
    formula: ({ b, r }, s) => `1 − (1 − ${s ? significant(s) : "s"}${superscript(r)})${superscript(b)}`,
    verdict: (shared, { b }) => fill([words.apart, words.meet, words.meet_often][Math.min(2, Math.ceil(shared.length / MOST_NAMED))],
      { bands: shared.map((band) => band + 1).join(", "), count: shared.length, b }),
    /** The signature, a column a band; the bands that agree in every row are framed. */
    draw(agrees, shared, { b, r }, width, revealed) {
      const columns = Math.ceil((positions - b * r) / r) + b;
      const space = gap(width / columns);
      const step = Math.min(44, (width - 4) / columns);
      const tall = Math.min(14, (SIGNATURE - 10) / r);
      const some = (wanted) => cells(Array.from({ length: positions }, (_, at) => at).filter(wanted)
        .map((at) => [3 + Math.floor(at / r) * step, 5 + (at % r) * tall, step - space, tall - 1]));
      const used = (at) => at < b * r;
      return [
        svg("path", { d: some((at) => used(at) && agrees(at)), class: "tk-agree" }),
        svg("path", { d: some((at) => used(at) && !agrees(at)), class: "tk-differ" }),
        svg("path", { d: some((at) => !used(at)), class: "tk-unused" }),
        ...(revealed ? shared : []).map((band) => svg("rect", { x: 1 + band * step, y: 2.5, width: step - space + 4, height: r * tall + 4, rx: 2, class: "tk-whole" })),
      ];
    },
  };
}

function radius({ positions }, agree, stride, words) {
  const most = Math.floor(positions / 2);
  return {
    least: 0,
    most: { k: most },
    inWords: ({ k }) => fill(words.setting, { k, positions }),
    fit: ({ k }) => ({ k: between(0, most, k) }),
    counted: (pair) => differing(agree, stride, pair, positions),
    passes: (bits, { k }) => bits.length <= k,
    chance: (s, { k }) => chanceWithin(s, k, positions),
    formula: ({ k }, s) => `P(d ≤ ${k})${s ? `, p = ${significant(flip(s))}` : ""}`,
    verdict: (bits, { k }) => fill(bits.length <= k ? words.meet : words.apart, { k }),
    /** The fingerprint, a cell a bit; under it those that differ, side by side against k. */
    draw(agrees, bits, { k }, width, revealed) {
      const step = Math.min(44, (width - 4 - BREAK) / positions);
      const lower = SIGNATURE - BIT - 3;
      const boxes = (from, to, left, top, tall = BIT) => Array.from({ length: Math.max(0, to - from) }, (_, at) =>
        [left + (from + at) * step, top, step - gap(step), tall]);
      const path = (name, some) => svg("path", { d: cells(some), class: `tk-${name}` });
      const fingerprint = [
        path("agree", boxes(0, positions, 3, 3 + BIT / 4, BIT / 2).filter((_, at) => agrees(at))),
        path("apart", boxes(0, positions, 3, 3).filter((_, at) => !agrees(at))),
      ];
      if (!revealed) return fingerprint;
      const within = Math.min(k, bits.length);
      const end = 3 + k * step + (BREAK - gap(step)) / 2;
      return [...fingerprint,
        path("apart", [...boxes(0, within, 3, lower), ...boxes(k, bits.length, 3 + BREAK, lower)]),
        path("differ", boxes(within, k, 3, lower)),
        svg("line", { x1: end, y1: lower - 20, x2: end, y2: SIGNATURE, class: "tk-limit" }),
        svg("text", { x: end + 5, y: lower - 8 }, `k = ${k}`),
      ];
    },
  };
}

function render({ model, el }) {
  const words = model.get("words");
  const record = model.get("record");
  const { jaccard, stands_for: weight, documents, positions, threshold } = record;
  const agree = bytes(record.agree);
  const stride = Math.ceil(positions / 8);
  const method = { minhash: bands, simhash: radius }[record.method](record, agree, stride, words);
  const names = Object.keys(method.most);
  const order = [...jaccard.keys()].sort((p, q) => jaccard[p] - jaccard[q] || p - q);
  const place = [];
  order.forEach((pair, at) => { place[pair] = at; });
  const typical = order.find((pair) => jaccard[pair] >= threshold) ?? order.at(-1) ?? -1;
  const limit = significant(threshold);
  const hatch = `tk-hatch-${Math.random().toString(36).slice(2)}`;

  let width = 0, hovered = -1, guess = 50, wish;
  let counted = [], met = [], totals = null, fates = {}, xs = [], raised = [], stamps = [], ring = "", stop = () => {};

  const parts = frame(el, words, rows);
  const drawing = svg("svg", { role: "img" });
  const canvas = html("canvas", { "aria-hidden": "true", class: "tk-marks" });
  const signature = svg("svg", { "aria-hidden": "true", class: "tk-signature" });
  const caption = html("p", { class: "tk-caption" });
  const remark = html("p", { class: "tk-remark" });
  const picture = html("div", { class: "tk-plot" }, drawing, canvas);
  const pair = range(words.pair, { max: Math.max(0, order.length - 1), oninput: (at) => choose(order[at]) });
  const sliders = names.map((name) => range(words[name], {
    min: method.least, max: Math.max(method.most[name], model.get(name)), oninput: (value) => move(name, value),
  }));
  parts.svg = drawing;
  parts.picture.append(remark, picture, caption, signature, pair.node);

  // State: what the reader sets goes through the model, so that Python and links see it too.

  function move(name, value) {
    wish = { ...wish, [name]: value };
    const setting = method.fit(wish, name);
    put(setting);
    const gave = names.some((other) => setting[other] < wish[other]);
    reset(gave ? fill(words.gave_way, { positions, setting: method.inWords(setting) }) : "");
    model.save_changes();
  }

  function choose(which) {
    model.set("selected", which);
    model.save_changes();
  }

  function reveal(share) {
    put({ revealed: true });
    reset(share === null ? "" : fill(words.guessed, { guess: percent(share), precision: percent(totals.precision) }));
    model.save_changes();
    sliders[0].input.focus({ preventScroll: true });
  }

  function fate(p) {
    if (!model.get("revealed")) return "skipped";
    if (met[p]) return jaccard[p] >= threshold ? "found" : "wasted";
    return jaccard[p] >= threshold ? "missed" : "skipped";
  }

  const now = () => method.fit(Object.fromEntries(names.map((name) => [name, model.get(name)])));
  const shownPair = () => {
    const chosen = model.get("selected");
    return hovered >= 0 ? hovered : chosen >= 0 && chosen < jaccard.length ? chosen : typical;
  };

  function rows() {
    const setting = now();
    const head = [words.column_range, words.column_pairs, words.column_formula, words.column_measured];
    return [head, ...inBins().map((bin) => [
      `${(bin.bin / BINS).toFixed(2)}–${((bin.bin + 1) / BINS).toFixed(2)}`, pairs(bin.weight),
      percent(bin.expected(setting)), model.get("revealed") ? percent(bin.met) : "?",
    ])];
  }

  function inBins() {
    const bins = Array.from({ length: BINS }, () => []);
    order.forEach((p) => bins[Math.min(BINS - 1, Math.floor(jaccard[p] * BINS))].push(p));
    const mean = (of, total, value) => of.reduce((sum, p) => sum + weight[p] * value(p), 0) / total;
    return bins.map((of, bin) => {
      const total = of.reduce((sum, p) => sum + weight[p], 0);
      return { bin, of, weight: total, s: mean(of, total, (p) => jaccard[p]), met: mean(of, total, (p) => (met[p] ? 1 : 0)),
        expected: (setting) => mean(of, total, (p) => method.chance(jaccard[p], setting)) };
    }).filter(({ of }) => of.length);
  }

  // Readout and controls.

  function control() {
    const setting = now();
    if (model.get("revealed")) {
      if (!sliders[0].node.isConnected) parts.controls.replaceChildren(...sliders.map(({ node }) => node));
      sliders.forEach((slider, at) => slider.show(setting[names[at]]));
      return;
    }
    if (parts.controls.childElementCount) return;
    const slider = range(words.guess, { max: 100, oninput: (share) => { guess = share; slider.show(share, percent(share / 100)); } });
    slider.show(guess, percent(guess / 100));
    parts.controls.replaceChildren(
      html("p", { class: "tk-ask" }, fill(words.ask, { positions, setting: method.inWords(setting), threshold: limit })), slider.node,
      html("button", { type: "button", class: "tk-main", onclick: () => reveal(guess / 100) }, words.reveal),
      html("button", { type: "button", onclick: () => reveal(null) }, words.skip),
    );
  }

  function readout(note) {
    const setting = now();
    const shown = model.get("revealed");
    const show = (text) => (shown ? text : "?");
    const said = {
      setting: method.inWords(setting), threshold: limit, recall: percent(totals.recall), candidates: pairs(totals.candidates),
      precision: percent(totals.precision), detect: percent(method.chance(threshold, setting)), total: significant(record.total_pairs),
    };
    remark.textContent = note;
    parts.readout.replaceChildren(figures([
      [words.recall, show(said.recall), fill(words.recall_of, said)],
      [words.precision, show(said.precision), fill(words.precision_of, said)],
      [words.candidates, show(said.candidates), fill(words.candidates_of, said)],
      [fill(words.detect, said), said.detect, method.formula(setting, threshold)],
    ]));
    parts.say([note, fill(shown ? words.summary : words.summary_waiting, said)].filter(Boolean).join(" "));
  }

  // The picture: axes, curve and counts in SVG, pairs on a canvas over it.

  const x = (s) => LEFT + s * (width - LEFT - RIGHT);
  const y = (share) => CURVE_BOTTOM - share * CURVE;
  const text = (px, py, words, attributes = {}) => svg("text", { x: px, y: py, ...attributes }, words);

  function plot() {
    const setting = now();
    const shown = model.get("revealed");
    const curve = (from, to) => Array.from({ length: 101 }, (_, k) => {
      const s = from + ((to - from) * k) / 100;
      return `${x(s).toFixed(1)} ${y(method.chance(s, setting)).toFixed(1)}`;
    }).join("L");
    const count = (name) => (shown ? `${words[name]} ${pairs(totals[name])}` : "");
    const line = (x1, y1, x2, y2, name) => svg("line", { x1, y1, x2, y2, class: name });
    const label = (px, py, name, end) => svg("g", { transform: `translate(${px} ${py})`, class: "tk-count" },
      svg("path", { d: MARKS[name], class: `tk-mark-${name}`, transform: `translate(${end ? -6 : 6} -4.5)` }),
      text(end ? -16 : 16, 0, count(name), { "text-anchor": end ? "end" : "start" }));
    const t = x(threshold);
    const high = method.chance(0.5, setting) > 0.5; // then the curve runs where the key would be
    const key = { x: high ? x(1) - KEY : x(0) + 8, y: high ? y(0) - 85 : y(1) };

    drawing.setAttribute("width", width);
    drawing.setAttribute("height", HEIGHT);
    drawing.replaceChildren(
      svg("defs", {}, svg("pattern", { id: hatch, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
        svg("rect", { width: 6, height: 6, class: "tk-hatch-fill" }), svg("line", { y2: 6, class: "tk-hatch-line" }))),
      svg("rect", { x: x(0), y: 0, width: x(1) - x(0), height: LABEL + STRIP, class: "tk-strip" }),
      svg("rect", { x: x(0), y: LOWER, width: x(1) - x(0), height: STRIP + LABEL, class: "tk-strip" }),
      ...[0, 0.5, 1].flatMap((share) => [line(x(0), y(share), x(1), y(share), "tk-grid"),
        text(LEFT - 6, y(share) + 4, percent(share).replace(/\s?%/, "%"), { "text-anchor": "end", class: "tk-tick" })]),
      svg("path", { d: `M${x(0)} ${y(0)}L${curve(0, threshold)}L${t} ${y(0)}Z`, fill: `url(#${hatch})` }),
      svg("path", { d: `M${t} ${y(1)}L${curve(threshold, 1)}L${x(1)} ${y(1)}Z`, fill: `url(#${hatch})` }),
      line(t, LABEL, t, FLOOR - LABEL, "tk-limit"),
      svg("path", { d: `M${curve(0, 1)}`, class: "tk-curve" }),
      ...(shown ? inBins().map((bin) => svg("circle", { cx: x(bin.s), cy: y(bin.met), r: 4.5, class: "tk-dot" })) : []),
      ...[0, 0.2, 0.4, 0.6, 0.8, 1].map((s) => text(x(s), FLOOR + 17, String(s), { "text-anchor": s === 1 ? "end" : "middle", class: "tk-tick" })),
      text(x(0.5), FLOOR + 36, words.similarity, { "text-anchor": "middle" }),
      text(key.x, key.y + 20, words.share, { class: "tk-strong" }),
      line(key.x, key.y + 35, key.x + 20, key.y + 35, "tk-curve"),
      text(key.x + 26, key.y + 39, `${words.formula} ${method.formula(setting)}`),
      line(key.x, key.y + 54, key.x + 20, key.y + 54, "tk-limit"),
      text(key.x + 26, key.y + 58, fill(words.threshold, { threshold: limit })),
      ...(shown ? [svg("circle", { cx: key.x + 10, cy: key.y + 73, r: 4.5, class: "tk-dot" }), text(key.x + 26, key.y + 77, words.measured)] : []),
      ...(shown
        ? [label(x(0) + 6, 16, "wasted"), label(x(1) - 4, 16, "found", true),
          label(x(0) + 6, FLOOR - 7, "skipped"), label(x(1) - 4, FLOOR - 7, "missed", true)]
        : [text(x(0) + 8, FLOOR - 7, words.waiting)]),
    );
  }

  const spread = (at) => 6 + ((at * 0.618034) % 1) * (STRIP - 12);
  const height = (p) => {
    const within = spread(place[p]);
    return LOWER + within + raised[p] * (LABEL - LOWER);
  };
  function ink() {
    const paint = Object.fromEntries(["hit", "missed", "waiting", "peer", "limit"].map((name) => [name, color(el, name)]));
    const look = { skipped: [paint.waiting, paint.peer], found: [paint.hit, paint.hit], wasted: ["transparent", paint.missed], missed: [paint.missed, paint.missed] };
    ring = paint.limit;
    stamps = Object.entries(look).map(([name, [inside, edge]]) => {
      const stamp = html("canvas");
      const pen = sheetOf(stamp, STAMP, STAMP);
      const shape = new Path2D(MARKS[name]);
      pen.translate(STAMP / 2, STAMP / 2);
      [pen.fillStyle, pen.strokeStyle, pen.lineWidth] = [inside, edge, 1.2];
      pen.fill(shape);
      pen.stroke(shape);
      return [name, stamp];
    });
  }

  function marks() {
    const pen = sheetOf(canvas, width, HEIGHT);
    const scale = canvas.width / width;
    const sharp = (at) => Math.round((at - STAMP / 2) * scale) / scale;
    for (const [name, stamp] of stamps) {
      for (const p of fates[name]) pen.drawImage(stamp, sharp(xs[p]), sharp(height(p)), STAMP, STAMP);
    }
    const p = shownPair();
    if (p < 0) return;
    [pen.strokeStyle, pen.lineWidth] = [ring, 2];
    pen.beginPath();
    pen.arc(xs[p], height(p), 8, 0, 7);
    pen.stroke();
  }

  function pairView() {
    const p = shownPair();
    if (p < 0) return;
    const setting = now();
    const shown = model.get("revealed");
    const agrees = (at) => same(agree, stride, p, at);
    const apart = differing(agree, stride, p, positions).length;
    const said = {
      i: documents[p][0], j: documents[p][1], jaccard: jaccard[p].toFixed(3), positions,
      differing: apart, agreeing: positions - apart, stands_for: pairs(weight[p]),
    };
    const verdict = shown ? method.verdict(counted[p], setting) : "";
    caption.textContent = [fill(words.one_pair, said), verdict, fill(words.stands_for, said)].filter(Boolean).join(" ");
    pair.show(place[p], jaccard[p].toFixed(2), caption.textContent);

    signature.setAttribute("width", width);
    signature.setAttribute("height", SIGNATURE);
    signature.replaceChildren(...method.draw(agrees, counted[p], setting, width, shown));
  }

  // What follows what.

  function draw() {
    if (!width) return;
    xs = jaccard.map(x);
    ink();
    plot();
    marks();
    pairView();
  }

  function reset(note = "") {
    const setting = now();
    counted = jaccard.map((_, p) => method.counted(p, setting));
    met = counted.map((of) => method.passes(of, setting));
    totals = outcome(jaccard, weight, met, threshold, record.total_pairs);
    fates = { found: [], missed: [], wasted: [], skipped: [] };
    for (const p of order) fates[fate(p)].push(p);
    const from = raised.length ? [...raised] : jaccard.map(() => 0);
    const to = met.map((is) => (is && model.get("revealed") ? 1 : 0));
    control();
    readout(note);
    parts.refresh();
    stop();
    if (!width) { raised = to; return; }
    raised = from;
    plot();
    pairView();
    stop = animate((share) => { raised = from.map((a, p) => a + (to[p] - a) * share); marks(); });
  }

  function moved() {
    if (!model.get("revealed")) put({ revealed: true });
    reset();
    queueMicrotask(settle); // only when both are there: a link sets b and r one after the other
  }

  function settle() {
    wish = now();
    put(wish);
    model.save_changes();
  }

  function point() {
    if (width) { marks(); pairView(); }
  }

  function nearest({ offsetX, offsetY }) {
    let best = -1, least = 14 ** 2;
    for (const p of order) {
      const away = (xs[p] - offsetX) ** 2 + (height(p) - offsetY) ** 2;
      if (away < least) [best, least] = [p, away];
    }
    return best;
  }

  function hover(which) {
    if (which === hovered) return;
    hovered = which;
    canvas.style.cursor = which >= 0 ? "pointer" : "";
    point();
  }
  canvas.addEventListener("pointermove", (event) => hover(nearest(event)));
  canvas.addEventListener("pointerleave", () => hover(-1));
  canvas.addEventListener("click", (event) => choose(nearest(event)));

  const moves = Object.fromEntries(names.map((name) => [name, moved]));
  const listening = follow(model, { ...moves, revealed: () => reset(), selected: point });
  const { put } = listening;
  wish = now();
  reset();
  const ends = [onTheme(draw), onWidth(picture, (now) => { width = now; draw(); })];

  return () => {
    stop();
    ends.forEach((end) => end());
    listening.end();
  };
}

const MARKS = {
  found: "M3.5 0A3.5 3.5 0 1 1 -3.5 0A3.5 3.5 0 1 1 3.5 0Z",
  missed: "M0 -5L5 0L0 5L-5 0Z",
  wasted: "M0 -4.5L4.5 3.5L-4.5 3.5Z",
  skipped: "M2.5 0A2.5 2.5 0 1 1 -2.5 0A2.5 2.5 0 1 1 2.5 0Z",
};

export default { render };
