// Segmentation: the pieces of a vocabulary that stand in a text, and the way through them that
// a tokenizer takes, or that is drawn.

import { animate, bytes, figures, fill, follow, frame, html, onWidth, percent, player, range, significant, superscript, svg } from "./widget.js";

const CELL = 15, MOST_CELL = 30, ROW = 15, PATH = 25, DRAWN = 21, CHARACTER = 21, HEX = 16, BETWEEN = 12;
const SEED = 1, MANY = 100, FIRST_ALPHA = 20, MOST_CUTS = 4;

/** Viterbi: the best score of a way to each node, and the edge that wins there; of equals the longest. */
export function viterbi({ starts, ends, scores }, n) {
  const best = new Float64Array(n + 1).fill(-Infinity), winner = new Int32Array(n + 1).fill(-1);
  best[0] = 0;
  for (let edge = 0; edge < ends.length; edge++) { // in order of their ends: best[start] is final
    const total = best[starts[edge]] + scores[edge];
    if (total > best[ends[edge]]) [best[ends[edge]], winner[ends[edge]]] = [total, edge];
  }
  return { best, winner };
}

/** The edges that won, followed back from a node to the first. */
export function followed({ starts }, winner, end) {
  const path = [];
  for (let e = end; e > 0 && winner[e] >= 0; e = starts[path[0]]) path.unshift(winner[e]);
  return path;
}

/** The logarithm of Z(e) = sum over edges that end at e of Z(s) p^alpha, for each node e. */
export function logSums({ starts, ends, scores }, n, alpha) {
  const z = new Float64Array(n + 1).fill(-Infinity);
  z[0] = 0;
  for (let edge = 0; edge < ends.length; edge++) {
    const e = ends[edge], term = z[starts[edge]] + alpha * scores[edge];
    const high = Math.max(z[e], term), low = Math.min(z[e], term);
    if (high > -Infinity) z[e] = high + Math.log1p(Math.exp(low - high));
  }
  return z;
}

/** A random path: from the end back, an edge with its share Z(s) p^alpha / Z(e). */
export function drawn({ starts, ends, scores }, z, alpha, random) {
  const path = [];
  for (let e = z.length - 1, edge = ends.length - 1; e > 0; e = starts[path[0]]) {
    while (ends[edge] > e) edge--;
    let left = random(), pick = edge;
    for (; ends[edge] === e && left >= 0; edge--) {
      const share = Math.exp(z[starts[edge]] + alpha * scores[edge] - z[e]);
      if (share > 0) [left, pick] = [left - share, edge];
    }
    path.unshift(pick);
  }
  return path;
}

const single = ({ starts, ends }, edge) => ends[edge] - starts[edge] === 1;

/** The pieces, as edges, after the first merges of a list: bytes at first. */
export function merged(lattice, step) {
  const { starts, ends, merges } = lattice;
  let pieces = [...ends.keys()].filter((edge) => single(lattice, edge));
  for (const edge of merges.slice(0, step)) {
    pieces = [...pieces.filter((one) => ends[one] <= starts[edge]), edge, ...pieces.filter((one) => starts[one] >= ends[edge])];
  }
  return pieces;
}

/** Random numbers in [0, 1), the same for a seed everywhere: mulberry32. */
export function mulberry32(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const MARKS = { " ": "␣", "\n": "↵", "\t": "⇥" };
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const hex = (some) => [...some].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");

/** The characters of some bytes: [[start, end, character]], with null for a byte that is none. */
export function characters(text) {
  const found = [];
  for (let at = 0; at < text.length;) {
    const lead = text[at];
    const size = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    let character = null;
    try { character = decoder.decode(text.slice(at, at + size)); } catch { /* shown as hex */ }
    if (character !== null && !MARKS[character] && /[\x00-\x1f\x7f]/.test(character)) character = null;
    const end = character === null ? at + 1 : Math.min(text.length, at + size);
    found.push([at, end, character === null ? null : MARKS[character] ?? character]);
    at = end;
  }
  return found;
}

/** A piece as it is shown; toolkit/viz/segmentation.py has the same rules. */
export function spelled(piece) {
  let said = "", raw = [];
  const flush = () => { if (raw.length) said += `<${hex(raw)}>`; raw = []; };
  for (const [at, , character] of characters(piece)) {
    if (character === null) raw.push(piece[at]);
    else { flush(); said += character; }
  }
  flush();
  return said;
}

const within = (least, most, number) => Math.min(most, Math.max(least, number));
const nats = (score) => score.toFixed(2).replace("-", "−");

/** A count, given by its logarithm. */
function large(log) {
  if (log < Math.log(999999.5)) return significant(Math.round(Math.exp(log)));
  const [digits, power] = Math.exp(log).toExponential(1).split("e+");
  return `${digits} · 10${superscript(power)}`;
}

function unpacked({ text, starts, ends, ids, scores, best, merges }, kind) {
  const as = (type, base64) => new type(bytes(base64).buffer);
  const lattice = {
    kind, merging: kind === "BPE", text: bytes(text), starts: as(Int16Array, starts), ends: as(Int16Array, ends),
    ids: as(Int32Array, ids), scores: as(Float64Array, scores), best: as(Int32Array, best), merges: as(Int32Array, merges),
  };
  const n = lattice.text.length;
  const one = [...lattice.ends.keys()].filter((edge) => single(lattice, edge));
  const found = viterbi(lattice, n);
  return Object.assign(lattice, {
    n, said: [], single: new Map(one.map((edge) => [lattice.starts[edge], edge])), characters: characters(lattice.text),
    steps: lattice.merging ? lattice.merges.length : n + lattice.best.length,
    ways: logSums(lattice, n, 0)[n], totals: found.best, winner: found.winner,
  });
}

/** Where to break the text so that lines fit and few pieces are cut, above all of the best ways. */
function broken(lattices, { n, characters: parts }, most) {
  const cost = new Float64Array(n + 1);
  for (const { starts, ends, best } of lattices) {
    const chosen = new Set(best);
    for (let edge = 0; edge < ends.length; edge++) {
      for (let at = starts[edge] + 1; at < ends[edge]; at++) cost[at] += chosen.has(edge) ? 100 : 1;
    }
  }
  const lines = [];
  for (let from = 0; from < n; from = lines.at(-1)[1]) {
    const places = parts.map(([, end]) => end).filter((end) => end > from && end <= from + most);
    let to = n - from <= most ? n : places.at(-1);
    if (to < n) for (const at of places) if (at > from + 0.6 * most && cost[at] <= cost[to]) to = at;
    lines.push([from, to]);
  }
  return lines;
}

/** Each edge of more than a byte in the lowest row of its line where it is free: [[edge, row]]. */
function stacked({ starts, ends }, [from, to]) {
  const touching = [...ends.keys()].filter((e) => ends[e] - starts[e] > 1 && ends[e] > from && starts[e] < to);
  touching.sort((a, b) => starts[a] - starts[b] || ends[b] - ends[a]);
  const free = [];
  return touching.map((edge) => {
    let row = free.findIndex((until) => until <= starts[edge]);
    if (row < 0) row = free.length;
    free[row] = ends[edge];
    return [edge, row];
  });
}

function render({ model, el }) {
  const words = model.get("words");
  const ruler = html("canvas").getContext("2d");
  let width = 0, stop = () => {}, note = "", about = -1, shownCut = null;
  let unpackedOf = null, cache = [], tally = null, layout = null, family = "";

  const parts = frame(el, words, rows);
  const drawing = svg("svg", { role: "img" });
  const picture = html("div", { class: "tk-lattice", tabindex: 0, role: "group", "aria-label": words.lattice, onkeydown: arrow }, drawing);
  const remark = html("p", { class: "tk-remark" });
  const key = html("p", { class: "tk-key" });
  const caption = html("p", { class: "tk-caption" });
  el.classList.add("tk-segmentation");
  el.setAttribute("data-lm-suppress-shortcuts", "true"); // else JupyterLab takes keys
  parts.svg = drawing;
  parts.picture.append(remark, key, picture, caption);

  const choice = html("select", { onchange: () => move({ sentence: Number(choice.value), step: -1 }) });
  const sentence = html("label", { class: "tk-field" }, html("span", {}, words.sentence), choice);
  const field = html("input", { type: "text", placeholder: words.typed, "aria-label": words.typed, onkeydown: enter });
  const bars = html("div", { class: "tk-bars", role: "radiogroup", "aria-label": words.tokenizer });
  const group = `tk-${Math.random().toString(36).slice(2)}`;
  const button = (text, onclick, attributes) => html("button", { type: "button", onclick, ...attributes }, text);
  const form = html("div", { class: "tk-field" }, field, button(words.cut, type));
  const scrub = range(words.step, { max: 1, oninput: (step) => move({ step, alpha: -1 }) });
  const back = button(words.back, () => go(-1));
  const forward = button(words.forward, () => go(1));
  const { button: play, pause: hold } = player(words, () => {
    if (now().done) move({ step: 0, alpha: -1 });
    return within(120, 700, 15000 / now().lattice.steps);
  }, () => {
    move({ step: now().step + 1, alpha: -1 }, true);
    return now().done;
  });
  const stepper = html("div", { class: "tk-steps" }, back, play, forward, scrub.node);
  const alpha = range(words.alpha, { max: 101, oninput: (value) => move({ alpha: value > 100 ? -1 : value, step: -1 }) });
  const draws = [button(words.draw, () => drawMore(1)), button(words.draw_many, () => drawMore(MANY))];
  const reason = html("p", { class: "tk-hint", id: `${group}-why` });
  alpha.input.setAttribute("aria-describedby", reason.id);
  const sampler = html("div", { class: "tk-sampler" }, alpha.node, ...draws, reason);

  // What the reader sets goes through the model, so that Python and links see it.

  function now() {
    const record = model.get("record");
    if (record !== unpackedOf) [unpackedOf, cache, layout, tally] = [record, [], null, null];
    const { kinds, sentences } = record;
    const at = within(0, sentences.length - 1, model.get("sentence"));
    const of = within(0, kinds.length - 1, model.get("tokenizer"));
    const lattice = latticeOf(at, of);
    const step = model.get("step"), percents = model.get("alpha");
    const done = step < 0 || step >= lattice.steps;
    return {
      kinds, sentence: at, tokenizer: of, lattice, done, step: done ? lattice.steps : step,
      alpha: lattice.merging || !done || percents < 0 ? -1 : Math.min(100, percents),
    };
  }

  function latticeOf(at, of) {
    const { kinds, sentences } = unpackedOf;
    return cache[at * kinds.length + of] ??= unpacked(sentences[at][of], kinds[of]);
  }

  const counted = ({ kinds, sentence }) => kinds.map((_, of) => latticeOf(sentence, of).best.length);

  function move(values, playing = false) {
    if (!playing) pause();
    put(values);
    const { sentence, step, done } = now();
    put({ sentence, step: done ? -1 : step });
    [note, about] = ["", -1];
    update();
    model.save_changes();
  }

  function go(by) {
    move({ step: Math.max(0, now().step + by), alpha: -1 });
  }

  function arrow(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || !model.get("revealed")) return;
    event.preventDefault();
    go(by);
  }

  function pause() {
    stop();
    hold();
  }

  function enter(event) {
    if (event.key === "Enter" && !event.isComposing) type(); // JupyterLab keeps forms from it
  }

  function type() {
    pause();
    if (field.value && field.value === model.get("typed") && !model.get("refused")) move({ sentence: Infinity, step: -1 });
    if (!field.value || field.value === model.get("typed")) return;
    note = words.cutting;
    remark.textContent = note;
    model.set("typed", field.value);
    model.save_changes();
  }

  function reveal(guess) {
    const counts = counted(now()), tokens = Math.min(...counts);
    const kinds = now().kinds.filter((_, of) => counts[of] === tokens).join(" & ");
    put({ revealed: true });
    note = guess === null ? "" : fill(words.guessed, { guess, tokens, kinds });
    update();
    model.save_changes();
    bars.querySelector(":checked")?.focus({ preventScroll: true });
  }

  // The tally of cuts: it starts anew when the lattice or alpha changes.

  function drawMore(count) {
    shownCut = null;
    if (now().alpha < 0) { move({ alpha: FIRST_ALPHA, step: -1 }); return; }
    pause();
    const from = tally.total;
    stop = animate((share) => {
      while (tally.total < from + Math.max(1, Math.floor(share * count))) one();
      update();
    }, count > 1 ? 1200 : 0);
  }

  function begin({ lattice, alpha }) {
    const z = logSums(lattice, lattice.n, alpha / 100);
    tally = { lattice, alpha, z, random: mulberry32(SEED), cuts: new Map(), total: 0, pieces: 0, used: new Float64Array(lattice.ends.length) };
    for (let at = 0; at < MANY; at++) one();
  }

  function one() {
    const { lattice, alpha, z, random, cuts, used } = tally;
    const path = drawn(lattice, z, alpha / 100, random);
    const id = path.join();
    const cut = cuts.get(id) ?? { path, count: 0, log: (alpha / 100) * logP(lattice, path) - z[lattice.n] };
    cut.count++;
    cuts.set(id, cut);
    for (const edge of path) used[edge]++;
    tally.total++;
    tally.pieces += path.length;
    tally.last = path;
  }

  function piece({ text, starts, ends, said }, edge) {
    return said[edge] ??= spelled(text.slice(starts[edge], ends[edge]));
  }
  const joined = (lattice, path) => path.map((edge) => piece(lattice, edge)).join(" | ");
  const scored = (lattice, edge) => (!lattice.merging ? nats(lattice.scores[edge]) : single(lattice, edge) ? "" : String(-lattice.scores[edge]));
  const logP = ({ scores }, path) => path.reduce((sum, edge) => sum + scores[edge], 0);

  /** The row of bars, as [edge, look]; the looks of edges; the node reached. */
  function view({ lattice, step, done, alpha }) {
    const { starts, ends, best, merging, n } = lattice;
    const looks = new Map();
    if (done) {
      best.forEach((edge) => looks.set(edge, "chosen"));
      return { row: [...best].map((edge) => [edge, "chosen"]), looks, path: alpha >= 0 ? shownCut ?? tally.last : null };
    }
    if (merging) {
      lattice.merges.slice(0, step).forEach((edge, at) => looks.set(edge, at === step - 1 ? "joined" : "merged"));
      return { row: merged(lattice, step).map((edge) => [edge, looks.get(edge) ?? "other"]), looks };
    }
    const reached = Math.min(step, n);
    const path = followed(lattice, lattice.winner, reached);
    const traced = step > n ? path.slice(n - step) : [];
    for (let edge = 0; edge < ends.length; edge++) {
      if (ends[edge] > reached) looks.set(edge, "future");
      else if (step <= n && ends[edge] === reached) looks.set(edge, "candidate");
    }
    for (let e = 1; e <= reached; e++) looks.set(lattice.winner[e], e === step ? "winner" : "kept");
    traced.forEach((edge) => looks.set(edge, "chosen"));
    return { row: path.map((edge) => [edge, traced.includes(edge) ? "chosen" : "kept"]), looks, node: step <= n ? reached : starts[traced[0]] };
  }

  // The picture.

  const lengths = {};
  function length(text, font) {
    ruler.font = font;
    return lengths[font + text] ??= ruler.measureText(text).width;
  }

  function place(at) {
    const { lattice, sentence, kinds } = at;
    if (layout?.lattice === lattice && layout.width === width) return layout;
    const alike = kinds.map((_, of) => latticeOf(sentence, of)).filter(({ text }) => String(text) === String(lattice.text));
    const lines = broken(alike, lattice, Math.max(6, Math.floor((width - 2) / CELL)));
    const longest = Math.max(...lines.map(([from, to]) => to - from));
    const cell = Math.min(MOST_CELL, (width - 2) / longest);
    layout = { lattice, width, cell, lines: lines.map((line) => ({ line, stack: stacked(lattice, line) })) };
    return layout;
  }

  function plot(at) {
    const { lattice, alpha, done, step } = at;
    const { starts, ends, n } = lattice;
    const { cell, lines } = place(at);
    const { row, looks, node, path } = view(at);
    family ||= getComputedStyle(el).fontFamily;
    let top = 2;
    drawing.replaceChildren(...lines.map(({ line: [from, to], stack }) => {
      const ways = Math.max(0, ...stack.map(([, r]) => r + 1)) * ROW + 4;
      const cells = ways + PATH + (path ? DRAWN : 0), height = cells + CHARACTER + HEX;
      const x = (byte) => 1 + (byte - from) * cell;
      // Each line's sheet cuts off what goes on in another, and leaves it open there.
      const sheet = svg("svg", { y: top, width: x(to) + 1, height });
      top += height + BETWEEN;

      function bar(edge, look, y, tall, size, share = 0) {
        const start = starts[edge], end = ends[edge];
        if (end <= from || start >= to) return;
        const box = { x: x(start) + 1, y, width: (end - start) * cell - 2, height: tall, rx: 3 };
        const part = svg("g", { class: `tk-piece tk-${look}`, "data-edge": edge }, svg("rect", box));
        if (share) part.append(svg("rect", { ...box, class: "tk-share", style: `opacity: ${(0.1 + 0.32 * share).toFixed(3)}` }));
        const left = Math.max(start, from), right = Math.min(end, to);
        const whole = piece(lattice, edge), digits = hex(lattice.text.slice(start, end)), raw = whole === `<${digits}>`;
        const label = raw ? digits.replaceAll(" ", "") : whole;
        const font = raw ? "10px monospace" : `${size}px ${family}`;
        if (length(label, font) <= (right - left) * cell - 2.5) {
          part.append(svg("text", { x: x((left + right) / 2), y: y + tall / 2 + size * 0.36, "text-anchor": "middle", style: `font-size: ${raw ? 10 : size}px`, class: raw && "tk-mono" }, label));
        }
        sheet.append(part);
      }

      for (const [edge, r] of stack) {
        const share = alpha >= 0 ? tally.used[edge] / tally.total : 0;
        bar(edge, looks.get(edge) ?? "other", ways - 3 - (r + 1) * ROW, ROW - 2, 11, share);
      }
      if (node > from ? node <= to : node === from && (from === 0 || step > n)) {
        sheet.append(svg("line", { x1: x(node), x2: x(node), y1: 0, y2: height, class: "tk-node" }));
      }
      for (const [edge, look] of row) bar(edge, look, ways + 1, PATH - 4, 13);
      for (const edge of path ?? []) bar(edge, "drawn", ways + PATH, DRAWN - 4, 12);
      for (const [start, end, character] of lattice.characters.filter(([at]) => at >= from && at < to)) {
        const unread = !done && step <= n && end > node;
        sheet.append(svg("text", { x: x((start + end) / 2), y: cells + 16, "text-anchor": "middle", class: unread ? "tk-letter tk-unread" : "tk-letter" }, character ?? ""));
        if (end - start > 1) sheet.append(svg("path", { d: `M${x(start) + 3} ${cells + CHARACTER}H${x(end) - 3}`, class: "tk-spans" }));
        for (let byte = start; byte < end; byte++) {
          sheet.append(svg("text", { x: x(byte + 0.5), y: cells + CHARACTER + 11, "text-anchor": "middle", class: "tk-byte", "data-edge": lattice.single.get(byte) ?? -1 }, hex([lattice.text[byte]])));
        }
      }
      return sheet;
    }));
    drawing.setAttribute("width", width);
    drawing.setAttribute("height", top - BETWEEN + 2);
  }

  function legend(at) {
    const { lattice, done, alpha, step } = at;
    const looks = done ? (alpha >= 0 ? ["chosen", "drawn"] : ["chosen"])
      : lattice.merging ? ["merged", "joined"] : step > lattice.n ? ["kept", "chosen"] : ["kept", "candidate"];
    key.replaceChildren(...[...looks, "other"].map((look) => html("span", {},
      svg("svg", { width: 22, height: 14, "aria-hidden": "true" }, svg("g", { class: `tk-piece tk-${look}` }, svg("rect", { x: 1.5, y: 1.5, width: 19, height: 11, rx: 3 }))), words[`key_${look}`])));
  }

  // Readout.

  function stepText({ lattice, step }) {
    const { n, starts, ends, merging } = lattice;
    if (merging) {
      if (step === 0) return words.start_merging;
      const edge = lattice.merges[step - 1];
      const [left, right] = merged(lattice, step - 1).filter((one) => starts[one] >= starts[edge] && ends[one] <= ends[edge]).map((one) => piece(lattice, one));
      return fill(words.joined, { step, steps: lattice.steps, left, right, piece: piece(lattice, edge), place: scored(lattice, edge) });
    }
    if (step === 0) return words.start;
    if (step > n) {
      const edge = followed(lattice, lattice.winner, n).at(n - step);
      return fill(words.traced, { piece: piece(lattice, edge), end: ends[edge] });
    }
    const found = endingAt(lattice, step);
    if (!found.length) return fill(words.unreached, { end: step });
    return fill(found.length === 1 ? words.reached_one : words.reached, {
      end: step, count: found.length, piece: piece(lattice, lattice.winner[step]), total: nats(lattice.totals[step]),
    });
  }

  const endingAt = ({ starts, ends, totals }, node) => [...ends.keys()].filter((edge) => ends[edge] === node && totals[starts[edge]] > -Infinity);

  function readout(at) {
    const { lattice, done, alpha, step } = at;
    const { n, best, scores, merging } = lattice;
    if (alpha >= 0) return sampled(at);
    if (!done) {
      const found = merging || step > n || step === 0 ? [] : endingAt(lattice, step);
      const sum = (edge) => lattice.totals[lattice.starts[edge]] + scores[edge];
      found.sort((a, b) => sum(b) - sum(a) || a - b); // of equals the longest
      const head = [words.piece, words.before, words.log_p, words.total, ""];
      const body = found.map((edge, at) => [
        piece(lattice, edge), nats(lattice.totals[lattice.starts[edge]]), nats(scores[edge]), nats(sum(edge)), at ? "" : `✓ ${words.wins}`]);
      const row = (cells, tag, attributes) => html("tr", {}, ...cells.map((cell) => html(tag, attributes, cell)));
      const table = html("table", { class: "tk-ending" }, html("thead", {}, row(head, "th", { scope: "col" })), html("tbody", {}, ...body.map((cells) => row(cells, "td"))));
      return [html("p", { class: "tk-now" }, stepText(at)), ...(body.length ? [table] : [])];
    }
    const third = merging ? [words.merges, String(lattice.merges.length), words.merges_of]
      : [words.score, nats(logP(lattice, best)), words.score_of];
    return [figures([
      [words.tokens_label, String(best.length), fill(words.tokens_of, { bytes: n })],
      [words.ratio_label, significant(n / best.length), words.ratio_of], third,
      [words.ways, large(lattice.ways), fill(words.ways_of, { edges: lattice.ends.length })],
    ])];
  }

  function sampled({ lattice, alpha }) {
    const { cuts, total, pieces, z } = tally;
    const all = [...cuts.values()].sort((a, b) => b.count - a.count || b.log - a.log);
    const best = cuts.get([...lattice.best].join())?.count ?? 0;
    const exact = Math.exp((alpha / 100) * logP(lattice, lattice.best) - z[lattice.n]);
    const shown = shownCut ?? tally.last;
    const shares = all.slice(0, MOST_CUTS).map((cut) => html("li", {},
      button(joined(lattice, cut.path), () => show(cut.path), { class: "tk-cut", "aria-pressed": String(cut.path.join() === shown.join()) }),
      html("span", {}, fill(words.drawn_as, { count: cut.count, draws: total, share: percent(cut.count / total), exact: percent(Math.exp(cut.log)) }))));
    return [figures([
      [words.draws, String(total), fill(words.draws_of, { alpha: alpha / 100 })],
      [words.distinct, String(all.length), words.distinct_of],
      [words.best_drawn, percent(best / total), fill(words.best_drawn_of, { exact: percent(exact) })],
      [words.mean_tokens, significant(pieces / total), fill(words.mean_tokens_of, { tokens: lattice.best.length })],
    ]), html("ol", { class: "tk-tally" }, ...shares),
    html("p", { class: "tk-hint" }, all.length > MOST_CUTS ? fill(words.more_cuts, { count: all.length - MOST_CUTS }) : "")];
  }

  function summary(at) {
    const { lattice, kinds, tokenizer, alpha } = at, { n, best } = lattice;
    const said = [fill(words.summary, { kind: lattice.kind, bytes: n, tokens: best.length, ratio: significant(n / best.length), pieces: joined(lattice, [...best]) })];
    if (alpha >= 0) {
      said.push(fill(words.summary_drawn, { alpha: alpha / 100, draws: tally.total, distinct: tally.cuts.size, pieces: joined(lattice, shownCut ?? tally.last) }));
    } else if (model.get("revealed")) {
      counted(at).forEach((tokens, of) => { if (of !== tokenizer) said.push(fill(words.summary_other, { kind: kinds[of], tokens })); });
    }
    return said.join(" ");
  }

  function show(path) {
    shownCut = path;
    update();
    parts.readout.querySelector("[aria-pressed='true']")?.focus();
  }

  function rows() {
    const { lattice } = now();
    const chosen = new Set(lattice.best);
    return [
      [words.column_start, words.column_end, words.piece, words.column_id, lattice.merging ? words.column_place : words.log_p, words.column_chosen],
      ...[...lattice.ends.keys()].map((edge) => [lattice.starts[edge], lattice.ends[edge], piece(lattice, edge), lattice.ids[edge], scored(lattice, edge), chosen.has(edge) ? words.yes : ""].map(String)),
    ];
  }

  // Controls, shown as the state is.

  function chart(at) {
    const { kinds, sentence, tokenizer } = at;
    const counts = counted(at), most = Math.max(...counts), fewest = Math.min(...counts);
    if (bars.childElementCount !== kinds.length) {
      bars.replaceChildren(...kinds.map((kind, of) => html("label", { class: "tk-bar" },
        html("input", { type: "radio", name: group, value: of, onchange: () => move({ tokenizer: of }) }),
        html("span", { class: "tk-kind" }, kind), html("span", { class: "tk-length" }, html("span")), html("span", { class: "tk-count" }))));
    }
    [...bars.children].forEach((label, of) => {
      const tokens = counts[of], ratio = latticeOf(sentence, of).n / tokens;
      label.querySelector("input").checked = of === tokenizer;
      label.classList.toggle("tk-mine", of === tokenizer);
      label.querySelector(".tk-length > span").style.width = `${(100 * tokens) / most}%`;
      label.querySelector(".tk-count").replaceChildren(
        html("strong", {}, fill(tokens === 1 ? words.token : words.tokens, { tokens })), ` · ${fill(words.ratio, { ratio: significant(ratio) })}`,
        ...(tokens === fewest && kinds.length > 1 ? [html("em", {}, words.fewest)] : []));
    });
  }

  function control(at) {
    const { kinds, lattice, sentence: which, step, done, alpha: share } = at;
    if (!model.get("revealed")) {
      if (parts.controls.childElementCount) return;
      parts.controls.replaceChildren(
        html("p", { class: "tk-ask" }, fill(words.ask, { kind: lattice.kind, tokens: lattice.best.length })),
        ...kinds.map((kind) => button(kind, () => reveal(kind), { class: "tk-main" })), button(words.skip, () => reveal(null)));
      return;
    }
    if (!bars.isConnected) {
      parts.controls.replaceChildren(html("div", { class: "tk-text" }, sentence, model.get("live") ? form : html("p", { class: "tk-hint" }, words.elsewhere)), bars, stepper, sampler);
    }
    const { sentences } = model.get("record");
    if (choice.sentences !== sentences) {
      choice.sentences = sentences;
      choice.replaceChildren(...sentences.map((_, of) => html("option", { value: of }, new TextDecoder().decode(latticeOf(of, 0).text))));
    }
    choice.value = which;
    chart(at);
    scrub.input.max = lattice.steps;
    scrub.show(step, fill(words.step_of, { step, steps: lattice.steps }), done ? words.key_chosen : stepText(at));
    back.disabled = step === 0;
    forward.disabled = done;
    for (const one of [alpha.input, ...draws]) one.disabled = lattice.merging;
    reason.textContent = lattice.merging ? words.no_alpha : "";
    alpha.show(share < 0 ? 101 : share, share < 0 ? words.best : String(share / 100));
  }

  // What follows what.

  function update() {
    const at = now();
    if (tally?.lattice !== at.lattice || tally.alpha !== at.alpha) { stop(); shownCut = tally = null; if (at.alpha >= 0) begin(at); }
    control(at);
    legend(at);
    remark.textContent = note;
    parts.readout.replaceChildren(...readout(at));
    parts.say([note, at.done ? summary(at) : stepText(at)].filter(Boolean).join(" "));
    parts.refresh();
    if (width) plot(at);
    tell();
  }

  function tell() {
    const { lattice, alpha } = now();
    if (!(about in lattice.ends)) { caption.textContent = ""; return; }
    const { starts, ends, ids, merging } = lattice;
    const score = fill(merging ? (single(lattice, about) ? words.about_byte : words.about_place) : words.about_score, { score: scored(lattice, about) });
    caption.textContent = [
      fill(words.about, { piece: piece(lattice, about), start: starts[about], end: ends[about], id: ids[about], score }),
      ...(alpha >= 0 ? [fill(words.about_drawn, { share: percent(tally.used[about] / tally.total) })] : []),
    ].join(" ");
  }

  function point(event) {
    const over = event.target.closest?.("[data-edge]");
    about = Number(over?.dataset.edge ?? -1);
    for (const mark of drawing.querySelectorAll("[data-edge]")) mark.classList.toggle("tk-over", Number(mark.dataset.edge) === about);
    tell();
  }
  drawing.addEventListener("pointerover", point);
  drawing.addEventListener("pointerleave", () => point({ target: drawing }));

  function linked() {
    if (!model.get("revealed")) put({ revealed: true });
    about = -1;
    update();
    queueMicrotask(() => {
      const { sentence, tokenizer, step, done, alpha, lattice } = now();
      put({ sentence, tokenizer, step: done ? -1 : step, ...(lattice.merging ? {} : { alpha }) });
      model.save_changes();
    });
  }

  const listening = follow(model, {
    sentence: linked, tokenizer: linked, step: linked, alpha: linked, revealed: update,
    record: () => { note = ""; pause(); update(); },
    refused: () => { note = model.get("refused") || note; update(); },
  });
  const { put } = listening;
  update();
  const end = onWidth(picture, (to) => { width = to; plot(now()); });

  return () => {
    pause();
    end();
    listening.end();
  };
}

export default { render };
