// Buckets: which real pairs meet when MinHash signatures are cut into b bands of r rows.

import { animate, bytes, color, figures, fill, frame, html, onTheme, onWidth, percent, range, sheetOf, significant, superscript, svg } from "./widget.js";

const STRIP = 58, LABEL = 22, CURVE = 210, GAP_HEIGHT = 8, AXIS = 44, LEFT = 44, RIGHT = 10;
const CURVE_TOP = LABEL + STRIP + GAP_HEIGHT, CURVE_BOTTOM = CURVE_TOP + CURVE;
const LOWER = CURVE_BOTTOM + GAP_HEIGHT, FLOOR = LOWER + STRIP + LABEL, HEIGHT = FLOOR + AXIS;
const SIGNATURE = 92, STAMP = 14, BINS = 20, MOST_ROWS = 32, MOST_NAMED = 6;

/** The bands, from 0, in which all r positions of a pair's two signatures agree. */
export function sharedBands(agree, stride, pair, b, r) {
  const shared = [];
  for (let band = 0; band < b; band++) {
    let at = band * r;
    const end = at + r;
    while (at < end && agree[pair * stride + (at >> 3)] & (128 >> (at & 7))) at++;
    if (at === end) shared.push(band);
  }
  return shared;
}

/** The chance that a pair of Jaccard similarity s shares at least one band. */
export function chance(s, b, r) {
  return 1 - (1 - s ** r) ** b;
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

function render({ model, el }) {
  const words = model.get("words");
  const record = model.get("record");
  const { jaccard, stands_for: weight, documents, num_perm: numPerm, threshold } = record;
  const agree = bytes(record.agree);
  const stride = Math.ceil(numPerm / 8);
  const order = [...jaccard.keys()].sort((p, q) => jaccard[p] - jaccard[q] || p - q);
  const place = [];
  order.forEach((pair, at) => { place[pair] = at; });
  const typical = order.find((pair) => jaccard[pair] >= threshold) ?? order.at(-1) ?? -1;
  const limit = significant(threshold);
  const hatch = `tk-hatch-${Math.random().toString(36).slice(2)}`;

  let width = 0, hovered = -1, guess = 50, cutting = false, wish;
  let met = [], bands = [], totals = null, fates = {}, xs = [], raised = [], stamps = [], ring = "", stop = () => {};

  const parts = frame(el, words, rows);
  const drawing = svg("svg", { role: "img" });
  const canvas = html("canvas", { "aria-hidden": "true", class: "tk-marks" });
  const signature = svg("svg", { "aria-hidden": "true", class: "tk-signature" });
  const caption = html("p", { class: "tk-caption" });
  const remark = html("p", { class: "tk-remark" });
  const picture = html("div", { class: "tk-plot" }, drawing, canvas);
  const pair = range(words.pair, { max: Math.max(0, order.length - 1), oninput: (at) => choose(order[at]) });
  const bandsSlider = range(words.b, { min: 1, max: numPerm, oninput: (b) => cut({ b }) });
  const rowsSlider = range(words.r, { min: 1, max: Math.min(numPerm, Math.max(MOST_ROWS, model.get("r"))), oninput: (r) => cut({ r }) });
  parts.svg = drawing;
  parts.picture.append(remark, picture, caption, signature, pair.node);

  // State: what the reader sets goes through the model, so that Python and links see it too.

  function cut(asked) {
    wish = { ...wish, ...asked };
    const most = Math.floor(numPerm / (asked.b ?? asked.r));
    const b = asked.b ?? Math.min(wish.b, most), r = asked.r ?? Math.min(wish.r, most);
    put(b, r);
    recut(b < wish.b || r < wish.r ? fill(words.gave_way, { num_perm: numPerm, cut: cutInWords(b, r) }) : "");
    model.save_changes();
  }

  function put(b, r) {
    cutting = true;
    model.set("b", b);
    model.set("r", r);
    cutting = false;
  }

  function choose(which) {
    model.set("selected", which);
    model.save_changes();
  }

  function reveal(share) {
    cutting = true;
    model.set("revealed", true);
    cutting = false;
    recut(share === null ? "" : fill(words.guessed, { guess: percent(share), precision: percent(totals.precision) }));
    model.save_changes();
    bandsSlider.input.focus({ preventScroll: true });
  }

  function fate(p) {
    if (!model.get("revealed")) return "skipped";
    if (met[p]) return jaccard[p] >= threshold ? "found" : "wasted";
    return jaccard[p] >= threshold ? "missed" : "skipped";
  }

  const cutNow = () => {
    const b = Math.min(numPerm, Math.max(1, Math.round(model.get("b"))));
    return { b, r: Math.min(Math.floor(numPerm / b), Math.max(1, Math.round(model.get("r")))) };
  };
  const cutInWords = (b, r) => fill(words.cut, {
    bands: fill(b === 1 ? words.band : words.bands, { n: b }), rows: fill(r === 1 ? words.row : words.rows, { n: r }),
  });
  const shownPair = () => {
    const chosen = model.get("selected");
    return hovered >= 0 ? hovered : chosen >= 0 && chosen < jaccard.length ? chosen : typical;
  };

  function rows() {
    const { b, r } = cutNow();
    const head = [words.column_range, words.column_pairs, words.column_formula, words.column_measured];
    return [head, ...inBins().map((bin) => [
      `${(bin.bin / BINS).toFixed(2)}–${((bin.bin + 1) / BINS).toFixed(2)}`, pairs(bin.weight),
      percent(bin.expected(b, r)), model.get("revealed") ? percent(bin.met) : "?",
    ])];
  }

  function inBins() {
    const bins = Array.from({ length: BINS }, () => []);
    order.forEach((p) => bins[Math.min(BINS - 1, Math.floor(jaccard[p] * BINS))].push(p));
    const mean = (of, total, value) => of.reduce((sum, p) => sum + weight[p] * value(p), 0) / total;
    return bins.map((of, bin) => {
      const total = of.reduce((sum, p) => sum + weight[p], 0);
      return { bin, of, weight: total, s: mean(of, total, (p) => jaccard[p]), met: mean(of, total, (p) => (met[p] ? 1 : 0)),
        expected: (b, r) => mean(of, total, (p) => chance(jaccard[p], b, r)) };
    }).filter(({ of }) => of.length);
  }

  // Readout and controls.

  function control() {
    const { b, r } = cutNow();
    if (model.get("revealed")) {
      if (!bandsSlider.node.isConnected) parts.controls.replaceChildren(bandsSlider.node, rowsSlider.node);
      bandsSlider.show(b);
      rowsSlider.show(r);
      return;
    }
    if (parts.controls.childElementCount) return;
    const slider = range(words.guess, { max: 100, oninput: (share) => { guess = share; slider.show(share, percent(share / 100)); } });
    slider.show(guess, percent(guess / 100));
    parts.controls.replaceChildren(
      html("p", { class: "tk-ask" }, fill(words.ask, { num_perm: numPerm, cut: cutInWords(b, r), threshold: limit })), slider.node,
      html("button", { type: "button", class: "tk-main", onclick: () => reveal(guess / 100) }, words.reveal),
      html("button", { type: "button", onclick: () => reveal(null) }, words.skip),
    );
  }

  function readout(note) {
    const { b, r } = cutNow();
    const shown = model.get("revealed");
    const show = (text) => (shown ? text : "?");
    const said = {
      cut: cutInWords(b, r), threshold: limit, recall: percent(totals.recall), candidates: pairs(totals.candidates),
      precision: percent(totals.precision), detect: percent(chance(threshold, b, r)), total: significant(record.total_pairs),
    };
    remark.textContent = note;
    parts.readout.replaceChildren(figures([
      [words.recall, show(said.recall), fill(words.recall_of, said)],
      [words.precision, show(said.precision), fill(words.precision_of, said)],
      [words.candidates, show(said.candidates), fill(words.candidates_of, said)],
      [fill(words.detect, said), said.detect, `1 − (1 − ${limit}${superscript(r)})${superscript(b)}`],
    ]));
    parts.say([note, fill(shown ? words.summary : words.summary_waiting, said)].filter(Boolean).join(" "));
  }

  // The picture: axes, curve and counts in SVG, pairs on a canvas over it.

  const x = (s) => LEFT + s * (width - LEFT - RIGHT);
  const y = (share) => CURVE_BOTTOM - share * CURVE;
  const text = (px, py, words, attributes = {}) => svg("text", { x: px, y: py, ...attributes }, words);

  function plot() {
    const { b, r } = cutNow();
    const shown = model.get("revealed");
    const curve = (from, to) => Array.from({ length: 101 }, (_, k) => {
      const s = from + ((to - from) * k) / 100;
      return `${x(s).toFixed(1)} ${y(chance(s, b, r)).toFixed(1)}`;
    }).join("L");
    const count = (name) => (shown ? `${words[name]} ${pairs(totals[name])}` : "");
    const line = (x1, y1, x2, y2, name) => svg("line", { x1, y1, x2, y2, class: name });
    const label = (px, py, name, end) => svg("g", { transform: `translate(${px} ${py})`, class: "tk-count" },
      svg("path", { d: MARKS[name], class: `tk-mark-${name}`, transform: `translate(${end ? -6 : 6} -4.5)` }),
      text(end ? -16 : 16, 0, count(name), { "text-anchor": end ? "end" : "start" }));
    const t = x(threshold);

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
      text(x(0) + 8, y(1) + 20, words.share, { class: "tk-strong" }),
      line(x(0) + 8, y(1) + 35, x(0) + 28, y(1) + 35, "tk-curve"),
      text(x(0) + 34, y(1) + 39, `${words.formula} 1 − (1 − s${superscript(r)})${superscript(b)}`),
      line(x(0) + 8, y(1) + 54, x(0) + 28, y(1) + 54, "tk-limit"),
      text(x(0) + 34, y(1) + 58, fill(words.threshold, { threshold: limit })),
      ...(shown ? [svg("circle", { cx: x(0) + 18, cy: y(1) + 73, r: 4.5, class: "tk-dot" }), text(x(0) + 34, y(1) + 77, words.measured)] : []),
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
    const { b, r } = cutNow();
    const shown = model.get("revealed");
    const agrees = (at) => (agree[p * stride + (at >> 3)] & (128 >> (at & 7))) !== 0;
    const whole = shown ? new Set(bands[p]) : new Set();
    const agreeing = Array.from({ length: numPerm }, (_, at) => agrees(at)).filter(Boolean).length;
    const meet = fill([words.apart, words.meet, words.meet_often][Math.min(2, Math.ceil(whole.size / MOST_NAMED))],
      { bands: [...whole].map((band) => band + 1).join(", "), count: whole.size, b });
    const said = { i: documents[p][0], j: documents[p][1], jaccard: jaccard[p].toFixed(3), agreeing, num_perm: numPerm, stands_for: pairs(weight[p]) };
    caption.textContent = [fill(words.signature, said), shown ? meet : "", fill(words.stands_for, said)].filter(Boolean).join(" ");
    pair.show(place[p], jaccard[p].toFixed(2), caption.textContent);

    const rest = Math.ceil((numPerm - b * r) / r);
    const columns = b + rest;
    const between = width / columns > 8 ? 4 : width / columns > 4 ? 2 : 1;
    const step = Math.min(44, (width - 4) / columns);
    const tall = Math.min(14, (SIGNATURE - 10) / r);
    const cell = (at) => `M${(3 + Math.floor(at / r) * step).toFixed(2)} ${(5 + (at % r) * tall).toFixed(2)}h${(step - between).toFixed(2)}v${(tall - 1).toFixed(2)}h${(between - step).toFixed(2)}z`;
    const cells = (wanted) => Array.from({ length: numPerm }, (_, at) => (wanted(at) ? cell(at) : "")).join("");
    const used = (at) => at < b * r;
    signature.setAttribute("width", width);
    signature.setAttribute("height", SIGNATURE);
    signature.replaceChildren(
      svg("path", { d: cells((at) => used(at) && agrees(at)), class: "tk-agree" }),
      svg("path", { d: cells((at) => used(at) && !agrees(at)), class: "tk-differ" }),
      svg("path", { d: cells((at) => !used(at)), class: "tk-unused" }),
      ...[...whole].map((band) => svg("rect", { x: 1 + band * step, y: 2.5, width: step - between + 4, height: r * tall + 4, rx: 2, class: "tk-whole" })),
    );
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

  function recut(note = "") {
    const { b, r } = cutNow();
    bands = jaccard.map((_, p) => sharedBands(agree, stride, p, b, r));
    met = bands.map((shared) => shared.length > 0);
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
    if (cutting) return;
    if (!model.get("revealed")) {
      model.set("revealed", true);
      model.save_changes();
    }
    recut();
    queueMicrotask(settle); // only when both are there: a link sets b and r one after the other
  }

  function settle() {
    wish = cutNow();
    put(wish.b, wish.r);
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

  const follow = { "change:b": moved, "change:r": moved, "change:revealed": () => cutting || recut(), "change:selected": point };
  for (const [event, listener] of Object.entries(follow)) model.on(event, listener);
  wish = cutNow();
  recut();
  const ends = [onTheme(draw), onWidth(picture, (now) => { width = now; draw(); })];

  return () => {
    stop();
    ends.forEach((end) => end());
    for (const [event, listener] of Object.entries(follow)) model.off(event, listener);
  };
}

const MARKS = {
  found: "M3.5 0A3.5 3.5 0 1 1 -3.5 0A3.5 3.5 0 1 1 3.5 0Z",
  missed: "M0 -5L5 0L0 5L-5 0Z",
  wasted: "M0 -4.5L4.5 3.5L-4.5 3.5Z",
  skipped: "M2.5 0A2.5 2.5 0 1 1 -2.5 0A2.5 2.5 0 1 1 2.5 0Z",
};

export default { render };
