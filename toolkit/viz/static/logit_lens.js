// LogitLens: what a model would say next if it ended at each of its depths, after each token.

import { bytes, figures, fill, follow, frame, html, onWidth, percent, player, range, svg } from "./widget.js";

const ROW = 17, SMALL_ROW = 8, HEAD = 20, FOOT = 26, DEPTHS = 26; // pixels
const LEAST_CELL = 58, MOST_CELL = 110, LEAST_CURVES = 220, MOST_CURVES = 380, BETWEEN = 18;
const STRONGEST = 0.45, TICK = 400;

/** The first depth at which a token is the first choice, from its ranks by depth: -1 if it never is. */
export function firstChoice(ranks) {
  return ranks.indexOf(0);
}

/** The depth from which on it stays the first choice; the number of depths if it does not end so. */
export function settled(ranks) {
  let depth = ranks.length;
  while (depth > 0 && ranks[depth - 1] === 0) depth--;
  return depth;
}

const within = (least, most, number) => Math.min(most, Math.max(least, number));

function unpacked({ tokens, vocabulary, before, depths, k, top, probabilities, said, ranks }) {
  const as = (type, base64) => new type(bytes(base64).buffer);
  const lens = {
    tokens, vocabulary, before, depths, k, n: tokens.length, last: depths - 1,
    top: as(Int32Array, top), probabilities: as(Float32Array, probabilities), said: as(Float32Array, said), ranks: as(Int32Array, ranks),
  };
  lens.cell = (depth, token) => depth * lens.n + token;
  lens.column = (values, token) => Array.from({ length: depths }, (_, depth) => values[lens.cell(depth, token)]);
  lens.choice = (depth, token, of = 0) => lens.top[lens.cell(depth, token) * k + of];
  lens.chance = (depth, token, of = 0) => lens.probabilities[lens.cell(depth, token) * k + of];
  return lens;
}

function render({ model, el }) {
  const words = model.get("words");
  const ruler = html("canvas").getContext("2d");
  let width = 0, note = "";
  let unpackedOf = null, lens = null, cells = [], wide = 0, curvesWidth = 0, fits = new Map();

  const parts = frame(el, words, rows);
  const drawing = svg("svg", { role: "img" });
  const scroll = html("div", { class: "tk-grid", tabindex: 0, role: "group", "aria-label": words.grid, onkeydown: arrow }, drawing);
  const labels = svg("svg", { class: "tk-depths", "aria-hidden": "true" });
  const curves = svg("svg", { class: "tk-curves", "aria-hidden": "true" });
  const remark = html("p", { class: "tk-remark" });
  const key = html("p", { class: "tk-key" });
  const caption = html("p", { class: "tk-caption" });
  el.classList.add("tk-logit-lens");
  el.setAttribute("data-lm-suppress-shortcuts", "true"); // else JupyterLab takes keys
  parts.svg = drawing;
  parts.picture.append(remark, key, html("div", { class: "tk-lens" }, labels, scroll, curves), caption);
  key.append(...["share", "same", "picked"].map((name) => html("span", {},
    svg("svg", { width: name === "share" ? 62 : 22, height: 14, "aria-hidden": "true" }, ...sample(name)), words[`key_${name}`])));

  const button = (text, onclick, attributes) => html("button", { type: "button", onclick, ...attributes }, text);
  const guess = range(words.guess, { max: 1, oninput: (depth) => guess.show(depth, place(depth)) });
  const field = html("input", { type: "text", placeholder: words.typed, "aria-label": words.typed, onkeydown: enter });
  const form = html("div", { class: "tk-field" }, field, button(words.look, type));
  const scrub = range(words.depth, { max: 1, oninput: (depth) => move({ depth }) });
  const back = button(words.back, () => go(-1));
  const forward = button(words.forward, () => go(1));
  const { button: play, pause } = player(words, () => {
    if (now().depth === lens.last) move({ depth: 0 });
    return TICK;
  }, () => {
    move({ depth: now().depth + 1 }, true);
    return now().depth === lens.last;
  });
  const stepper = html("div", { class: "tk-steps" }, back, play, forward, scrub.node);

  // What the reader sets goes through the model, so that Python and links see it.

  function now() {
    const record = model.get("record");
    if (record !== unpackedOf) [unpackedOf, lens] = [record, unpacked(record)];
    return {
      token: within(0, lens.n - 1, model.get("token")), depth: within(0, lens.last, model.get("depth")),
      revealed: model.get("revealed"),
    };
  }

  function move(values, playing = false) {
    if (!playing) pause();
    put(values);
    const { token, depth } = now();
    put({ token, depth });
    note = "";
    update();
    model.save_changes();
  }

  function go(by) {
    move({ depth: now().depth + by });
  }

  function arrow(event) {
    const [across, up] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [0, 0];
    const { token, depth, revealed } = now();
    if (!revealed || (!across && !up)) return;
    event.preventDefault();
    move({ token: token + across, depth: depth + up });
  }

  function enter(event) {
    if (event.key === "Enter" && !event.isComposing) type(); // JupyterLab keeps forms from it
  }

  function type() {
    pause();
    if (!field.value || field.value === model.get("typed")) return;
    note = words.looking;
    remark.textContent = note;
    model.set("typed", field.value);
    model.save_changes();
  }

  function reveal(guessed) {
    const { token } = now(), first = firstChoice(lens.column(lens.ranks, token));
    put({ revealed: true, ...(guessed === null ? {} : { depth: guessed }) });
    note = guessed === null ? "" : fill(guessed === first ? words.guessed_right : words.guessed, {
      guess: place(guessed), answer: answer(token), first: place(first),
    });
    plot();
    update();
    model.save_changes();
    scrub.input.focus({ preventScroll: true });
  }

  const word = (index) => lens.vocabulary[index];
  const answer = (token) => word(lens.choice(lens.last, token));
  const place = (depth) => (depth ? fill(words.layer, { n: depth }) : words.embedding);
  const share = (depth, token) => percent(lens.chance(depth, token));

  // Picture: the cells are drawn for a record and a width, what follows the reader is marked on it.

  const height = () => HEAD + lens.depths * ROW + FOOT;
  const y = (depth, row = ROW) => HEAD + (lens.last - depth) * row;

  function sample(name) {
    if (name === "share") return [0, 0.25, 0.5, 0.75, 1].map((chance, at) => svg("g", { class: "tk-cell" }, swatch(chance, 12 * at + 1, 1, 12, 12)));
    return [svg("rect", { x: 2, y: 2, width: 18, height: 10, rx: 2, class: `tk-${name}` })];
  }

  function swatch(chance, x, top, wide, tall) {
    return svg("rect", { x, y: top, width: wide, height: tall, class: "tk-share", style: `fill-opacity: ${(STRONGEST * chance).toFixed(3)}` });
  }

  /** A text, cut short to what fits a cell. */
  function fitted(text) {
    if (fits.has(text)) return fits.get(text);
    const letters = [...text];
    let shown = text;
    for (let kept = letters.length - 1; kept > 0 && ruler.measureText(shown).width > wide - 8; kept--) shown = letters.slice(0, kept).join("") + "…";
    fits.set(text, shown);
    return shown;
  }

  function plot() {
    const { revealed, token: picked } = now();
    if (!width) return;
    const beside = width >= 560, room = width - DEPTHS - (beside ? LEAST_CURVES + BETWEEN : 0);
    const most = Math.floor(room / LEAST_CELL);
    // Where they don't all fit, half a cell at the edge shows that there are more.
    wide = Math.min(MOST_CELL, Math.floor((room - 2) / (lens.n > most ? most - 0.5 : lens.n)));
    const across = lens.n * wide + 2;
    curvesWidth = beside ? within(LEAST_CURVES, MOST_CURVES, width - DEPTHS - BETWEEN - across) : width;
    curves.classList.toggle("tk-beside", beside);
    ruler.font = `11px ${getComputedStyle(scroll).fontFamily}`;
    fits = new Map();
    const label = (text, at, top, attributes) => svg("text", { x: at, y: top, "text-anchor": "middle", ...attributes }, text);
    cells = Array.from({ length: lens.depths * lens.n }, (_, at) => {
      const depth = Math.floor(at / lens.n), token = at % lens.n, x = 1 + token * wide, top = y(depth);
      const marks = { "data-depth": depth, "data-token": token };
      if (!revealed && depth < lens.last) return svg("g", { class: "tk-cell tk-hidden", ...marks }, svg("rect", { x: x + 1, y: top + 1, width: wide - 2, height: ROW - 2 }));
      const same = revealed && lens.ranks[at] === 0;
      return svg("g", { class: `tk-cell ${same ? "tk-said" : ""}`, ...marks },
        swatch(lens.chance(depth, token), x, top, wide, ROW),
        ...(same ? [svg("rect", { x: x + 1.5, y: top + 1.5, width: wide - 3, height: ROW - 3, rx: 2, class: "tk-same" })] : []),
        label(fitted(word(lens.choice(depth, token))), x + wide / 2, top + 12.5));
    });
    const given = lens.tokens.map((text, token) => svg("g", { class: "tk-given", "data-token": token },
      svg("rect", { x: 2 + token * wide, y: y(-1) + 5, width: wide - 2, height: FOOT - 7, rx: 3 }), label(fitted(text), 1 + (token + 0.5) * wide, y(-1) + 18)));
    drawing.replaceChildren(...cells, ...given, svg("path", { class: "tk-cross" }), svg("rect", { class: "tk-picked", rx: 2 }));
    for (const [sheet, size] of [[drawing, across], [labels, DEPTHS]]) { sheet.setAttribute("width", size); sheet.setAttribute("height", height()); }
    labels.replaceChildren(...depthLabels(ROW, 1), label(words.layer_axis, 0, 13, { "text-anchor": "start" }));
    parts.refresh();
    mark();
    scroll.scrollLeft = (picked + 0.5) * wide - scroll.clientWidth / 2;
  }

  function depthLabels(row, every) {
    return Array.from({ length: lens.depths }, (_, depth) => depth).filter((depth) => depth % every === 0)
      .map((depth) => svg("text", { x: DEPTHS - 6, y: y(depth, row) + row / 2 + 4, "text-anchor": "end", "data-label": depth }, String(depth)));
  }

  function mark() {
    if (!width || !cells.length) return;
    const { token, depth, revealed } = now();
    const [cross, picked] = [drawing.querySelector(".tk-cross"), drawing.querySelector(".tk-picked")];
    const x = 1 + token * wide, right = lens.n * wide + 1, top = y(depth);
    cross.setAttribute("d", `M${x} ${HEAD}V${height() - 2}H${x + wide}V${HEAD}Z` + (revealed ? `M1 ${top}H${right}V${top + ROW}H1Z` : ""));
    const box = { x, y: top, width: wide, height: ROW };
    for (const [name, value] of Object.entries(box)) picked.setAttribute(name, value);
    for (const text of labels.querySelectorAll("[data-label]")) text.classList.toggle("tk-now", Number(text.dataset.label) === depth);
    if (x < scroll.scrollLeft || x + wide > scroll.scrollLeft + scroll.clientWidth) scroll.scrollLeft = x + wide / 2 - scroll.clientWidth / 2;
    plotCurves();
  }

  /** The final answer's probability and rank by depth, in the rows of the grid where there is room. */
  function plotCurves() {
    const { token, depth: here, revealed } = now();
    curves.style.display = revealed ? "" : "none";
    if (!revealed) return;
    const beside = curves.classList.contains("tk-beside"), row = beside ? ROW : SMALL_ROW, left = beside ? 6 : DEPTHS;
    const bottom = y(-1, row), panel = (curvesWidth - left - 34) / 2, other = left + panel + 24;
    const said = lens.column(lens.said, token), ranks = lens.column(lens.ranks, token), first = firstChoice(ranks);
    const most = Math.log10(1 + lens.ranks.reduce((a, b) => Math.max(a, b), 9));
    const byShare = (chance) => left + chance * panel, byRank = (rank) => other + (1 - Math.log10(1 + rank) / most) * panel;
    const middle = (depth) => y(depth, row) + row / 2;
    const text = (said, x, top, anchor = "middle") => svg("text", { x, y: top, "text-anchor": anchor }, said);
    const line = (x1, y1, x2, y2, kind) => svg("line", { x1, y1, x2, y2, class: `tk-${kind}` });
    const tick = (x, said) => [line(x, HEAD, x, bottom, "tick"), text(said, x, bottom + 15)];
    const curve = (at, kind) => [
      svg("path", { class: `tk-curve tk-${kind}`, d: at.map((x, depth) => `${depth ? "L" : "M"}${x.toFixed(1)} ${middle(depth)}`).join("") }),
      ...at.map((x, depth) => svg("circle", { cx: x.toFixed(1), cy: middle(depth), r: depth === here ? 4 : 2, class: depth === here ? "tk-dot tk-now" : "tk-dot" })),
      svg("circle", { cx: at[first].toFixed(1), cy: middle(first), r: 6.5, class: "tk-first" }),
    ];
    const powers = Array.from({ length: Math.floor(most) + 1 }, (_, power) => power).filter((power) => power % 2 === 0);
    curves.setAttribute("width", curvesWidth);
    curves.setAttribute("height", bottom + FOOT);
    curves.replaceChildren(
      ...(beside ? [] : depthLabels(row, 5)),
      ...[0, 0.5, 1].flatMap((chance) => tick(byShare(chance), chance < 1 ? String(100 * chance) : percent(chance))),
      ...powers.flatMap((power) => tick(byRank(10 ** power - 1), power > 3 ? `${10 ** (power - 3)}\u202fk` : String(10 ** power))),
      text(words.share_axis, left, 13, "start"), text(words.rank_axis, other, 13, "start"),
      line(left - 4, middle(here), other + panel + 4, middle(here), "here"),
      line(left - 4, middle(first), other + panel + 4, middle(first), "decided"),
      ...curve(said.map(byShare), "chance"), ...curve(ranks.map(byRank), "rank"),
      svg("text", { x: left + panel + 12, y: middle(first) + (first > lens.last / 2 ? 18 : -9), "text-anchor": "middle", class: "tk-decides" }, words.first_mark),
    );
  }

  // Readout.

  function readout({ token, depth }) {
    const ranks = lens.column(lens.ranks, token), first = firstChoice(ranks), from = settled(ranks), at = lens.cell(depth, token);
    const next = lens.tokens[token + 1];
    const body = Array.from({ length: lens.k }, (_, of) => {
      const chance = lens.chance(depth, token, of);
      return html("tr", {}, html("td", {}, word(lens.choice(depth, token, of))), html("td", {}, percent(chance)),
        html("td", {}, html("span", { style: `width: ${(100 * chance).toFixed(1)}%` })));
    });
    return [
      html("div", { class: "tk-next" }, html("p", {}, fill(words.says, { before: lens.before[token], depth: place(depth) })),
        html("table", { class: "tk-top" }, html("tbody", {}, ...body))),
      figures([
        [words.answer, answer(token), fill(next === undefined ? words.answer_of : words.goes_on, { share: share(lens.last, token), next })],
        [words.first, place(first), from > first ? fill(words.first_settled, { settled: place(from) }) : first < lens.last ? words.first_of : words.first_last],
        [words.chance, percent(lens.said[at]), fill(words.chance_of, { depth: place(depth) })],
        [words.rank, String(lens.ranks[at] + 1), words.rank_of],
      ]),
    ];
  }

  function summary({ token, depth, revealed }) {
    const ranks = lens.column(lens.ranks, token), first = firstChoice(ranks), from = settled(ranks);
    const values = { before: lens.before[token], answer: answer(token), share: share(lens.last, token), first: place(first) };
    if (!revealed) return fill(words.summary_waiting, values);
    const said = [fill(words.summary, values)];
    if (from > first) said.push(fill(words.summary_settled, { settled: place(from) }));
    if (depth < lens.last) {
      said.push(fill(words.summary_here, {
        depth: place(depth), says: word(lens.choice(depth, token)), share: share(depth, token), rank: ranks[depth] + 1,
      }));
    }
    return said.join(" ");
  }

  function rows() {
    const { revealed } = now();
    const depths = [...Array(lens.depths).keys()].filter((depth) => revealed || depth === lens.last);
    return [
      [words.column_token, words.depth, words.column_says, words.share_axis, words.column_answer, words.column_chance, words.column_rank],
      ...lens.tokens.flatMap((text, token) => depths.map((depth) => [
        text, place(depth), word(lens.choice(depth, token)), share(depth, token), answer(token),
        percent(lens.said[lens.cell(depth, token)]), String(lens.ranks[lens.cell(depth, token)] + 1)])),
    ];
  }

  // What follows what.

  function control({ token, depth, revealed }) {
    scrub.input.max = guess.input.max = lens.last;
    if (!revealed) {
      if (parts.controls.childElementCount) return;
      const middle = Math.round(lens.last / 2);
      guess.show(middle, place(middle));
      parts.controls.replaceChildren(
        html("p", { class: "tk-ask" }, fill(words.ask, { before: lens.before[token], answer: answer(token), share: share(lens.last, token) })),
        guess.node, button(words.reveal, () => reveal(Number(guess.input.value)), { class: "tk-main" }), button(words.skip, () => reveal(null)));
      return;
    }
    if (!stepper.isConnected) parts.controls.replaceChildren(...(model.get("live") ? [form] : []), stepper);
    scrub.show(depth, place(depth), `${place(depth)}: ${word(lens.choice(depth, token))}, ${share(depth, token)}`);
    back.disabled = depth === 0;
    forward.disabled = depth === lens.last;
  }

  function update() {
    const at = now();
    control(at);
    remark.textContent = note;
    parts.readout.replaceChildren(...(at.revealed ? readout(at) : []));
    parts.say([note, summary(at)].filter(Boolean).join(" "));
    mark();
  }

  function point(event) {
    const found = event.target.closest?.("[data-depth]");
    const over = found && now().revealed ? { depth: Number(found.dataset.depth), token: Number(found.dataset.token) } : null;
    const says = over ? lens.choice(over.depth, over.token) : -1;
    cells.forEach((cell, at) => cell.classList.toggle("tk-over", over !== null && lens.top[at * lens.k] === says));
    for (const text of labels.querySelectorAll("[data-label]")) text.classList.toggle("tk-over", Number(text.dataset.label) === over?.depth);
    caption.textContent = over ? fill(words.about, {
      depth: place(over.depth), token: lens.tokens[over.token], says: word(says), share: share(over.depth, over.token), answer: answer(over.token),
      chance: percent(lens.said[lens.cell(over.depth, over.token)]), rank: lens.ranks[lens.cell(over.depth, over.token)] + 1,
    }) : "";
  }
  drawing.addEventListener("pointerover", point);
  drawing.addEventListener("pointerleave", () => point({ target: drawing }));
  drawing.addEventListener("click", (event) => {
    const found = event.target.closest("[data-token]");
    if (!found || !now().revealed) return;
    move({ token: Number(found.dataset.token), depth: Number(found.dataset.depth ?? now().depth) });
  });

  function linked() {
    if (!model.get("revealed")) { put({ revealed: true }); plot(); }
    note = "";
    update();
    queueMicrotask(() => {
      const { token, depth } = now();
      put({ token, depth });
      model.save_changes();
    });
  }

  const listening = follow(model, {
    token: linked, depth: linked,
    revealed: () => { plot(); update(); },
    record: () => { note = ""; pause(); now(); plot(); update(); },
    refused: () => { note = model.get("refused") || note; update(); },
  });
  const { put } = listening;
  update();
  const end = onWidth(parts.picture, (to) => { width = to; plot(); });

  return () => {
    pause();
    end();
    listening.end();
  };
}

export default { render };
