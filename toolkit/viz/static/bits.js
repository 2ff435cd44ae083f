// Bits: a row of real weights on the levels that few bits can store, and the words that hold their codes.

import { animate, figures, fill, follow, frame, html, onWidth, percent, range, significant, svg } from "./widget.js";

const METHODS = ["symmetric", "asymmetric", "nf4"], LAYOUTS = ["gptq", "awq", "marlin"], ORDER = [0, 2, 4, 6, 1, 3, 5, 7]; // as toolkit/viz/bits.py has them
const ROWS = 16, PACKED_BITS = 4, LEAST_BITS = 2, MOST_BITS = 8, HALF = 16;
const LEFT = 60, RIGHT = 6, TOP = 22, BOTTOM = 40, LEAST = 230, MOST = 330, STRIP = 76, BETWEEN = 12, EDGE = 1.4, FINE = 2.5;
const NIBBLE = 62, CELL = 24, LINE = 19, NUMBERS = 28, HEAD = 17, PHONE = 560;

/** The weight that a code stands for; toolkit/viz/bits.py has the same form. */
export function level({ scales, zeros, codebook, bits }, group, code) {
  return scales[group] * (codebook ? codebook[code] : code - (zeros ? zeros[group] : 2 ** (bits - 1)));
}

/** Output and input of the eight codes in the int32 that holds code (n, k), the low end first; toolkit/viz/bits.py has the same rule. */
export function word(layout, n, k) {
  const eight = (make) => Array.from({ length: 8 }, (_, at) => make(at));
  if (layout === "gptq") return eight((at) => [n, k - (k % 8) + at]);
  if (layout === "bitsandbytes") return eight((at) => [n, k - (k % 8) + (at ^ 1)]);
  if (layout === "awq") return eight((at) => [n - (n % 8) + ORDER[at], k]);
  const output = n - (n % 16) + (n % 8), first = k - (k % 16) + 2 * Math.floor((k % 8) / 2);
  return eight((at) => [output + 8 * (ORDER[at] >> 2), first + [0, 1, 8, 9][ORDER[at] & 3]]);
}

/** Where that int32 lies, as an index expression, for outputs under 16. */
export function address(layout, n, k) {
  const eighth = Math.floor(k / 8);
  if (layout === "gptq") return `qweight[${eighth}, ${n}]`;
  if (layout === "bitsandbytes") return `weight[${n}, ${4 * eighth}:${4 * eighth + 4}]`;
  if (layout === "awq") return `qweight[${k}, ${Math.floor(n / 8)}]`;
  return `qweight[${Math.floor(k / 16)}, ${16 * (n % 8) + 4 * Math.floor((k % 8) / 2)}]`;
}

const within = (least, most, number) => Math.min(most, Math.max(least, number));
const signed = (number) => significant(number).replace("-", "−");
const hex = (code) => code.toString(16).toUpperCase();

function render({ model, el }) {
  const words = model.get("words"), record = model.get("record");
  const { weights, groups } = record;
  const most = Math.max(...weights.map(Math.abs));
  const ruler = html("canvas").getContext("2d");
  const id = `tk-${Math.random().toString(36).slice(2)}`;
  const usual = record.stored[`symmetric ${PACKED_BITS} ${groups.at(-1)}`].largest; // the scale of errors, so that they can be compared
  let width = 0, guess = 50, about = null, stop = () => {}, drawn = "", settled = null;

  const parts = frame(el, words, rows);
  const remark = html("p", { class: "tk-remark" });
  const caption = html("p", { class: "tk-caption" });
  const plot = svg("svg", { role: "img" });
  const picture = html("div", { class: "tk-weights", tabindex: 0, role: "group", "aria-label": words.picture, onkeydown: arrow }, plot);
  const sample = (...nodes) => svg("svg", { width: 18, height: 16, viewBox: "-9 -8 18 16", "aria-hidden": "true" }, ...nodes);
  const key = html("p", { class: "tk-key" }, ...[
    ["weight", svg("circle", { r: 3.5, class: "tk-dot" })], ["level", svg("line", { x1: -9, x2: 9, class: "tk-level" })],
    ["off", svg("line", { y1: -7, y2: 7, class: "tk-error" })],
  ].map(([name, node]) => html("span", {}, sample(node), words[`key_${name}`])));
  const place = html("p", { class: "tk-place" });
  const rule = html("p", { class: "tk-rule" });
  const nibbles = svg("svg", { "aria-hidden": "true" }, ...Array.from({ length: 8 }, () => // they stay, so that the pointer stays on one
    svg("g", { class: "tk-nibble" }, svg("rect"), ...["tk-tick", "tk-code", "tk-tick", "tk-tick"].map((name) => svg("text", { class: name, "text-anchor": "middle" })))));
  const map = svg("svg", { "aria-hidden": "true" });
  const told = html("p", { class: "tk-caption" });
  const layouts = LAYOUTS.map((_, at) => html("input", { type: "radio", name: `${id}-layout`, value: at, onchange: () => move({ packing: at }) }));
  const choices = radiogroup("layout", layouts, LAYOUTS.map((name) => words[name]));
  const other = html("p", { class: "tk-other" });
  const shelf = html("div", {}, place, rule, nibbles, map, told);
  const memory = html("div", { class: "tk-memory" }, choices, other, shelf);
  el.classList.add("tk-bits");
  el.setAttribute("data-lm-suppress-shortcuts", "true"); // else JupyterLab takes keys
  parts.svg = plot;
  parts.picture.append(remark, ...(record.source ? [html("p", { class: "tk-from" }, fill(words.from, record))] : []), key, picture, caption);
  parts.readout.after(memory);

  const method = html("select", { onchange: () => move({ method: Number(method.value) }) }, ...METHODS.map((name, at) => html("option", { value: at }, words[name])));
  const field = html("label", { class: "tk-field" }, html("span", {}, words.method), method);
  const depth = range(words.bits, { min: LEAST_BITS, max: MOST_BITS, oninput: (bits) => move({ bits }) });
  const sizes = groups.map((size) => html("input", { type: "radio", name: `${id}-group`, value: size, onchange: () => move({ group: size }) }));
  const sharing = radiogroup("group", sizes, groups);
  const dials = html("div", { class: "tk-dials" }, field, depth.node, sharing);

  function radiogroup(name, radios, labels) {
    return html("div", { class: "tk-radios", role: "radiogroup", "aria-label": words[name] },
      html("span", { "aria-hidden": "true" }, words[name]), html("div", {}, ...radios.map((radio, at) => html("label", {}, radio, String(labels[at])))));
  }

  // State: what the reader sets goes through the model, so that Python and links see it too.

  /** The present choice, what it stores of the row, and the layout that it can lie in. */
  function now() {
    const at = within(0, METHODS.length - 1, model.get("method")), name = METHODS[at];
    const wished = within(LEAST_BITS, MOST_BITS, model.get("bits")), bits = name === "nf4" ? PACKED_BITS : wished;
    const group = groups.findLast((size) => size <= model.get("group")) ?? groups[0];
    const layout = within(0, LAYOUTS.length - 1, model.get("packing"));
    const packing = name === "nf4" ? "bitsandbytes" : name === "asymmetric" && LAYOUTS[layout] === "marlin" ? "gptq" : LAYOUTS[layout];
    const { bits: each, ...stored } = record.stored[`${name} ${bits} ${group}`];
    return {
      method: at, name, wished, bits, group, layout, packing, each, ...stored,
      codebook: name === "nf4" && record.codebook, value: within(0, weights.length - 1, model.get("value")),
    };
  }

  function move(values) {
    put(values);
    update();
    model.save_changes();
  }

  function arrow(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const at = now();
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") move({ value: within(0, weights.length - 1, at.value + by) });
    else if (model.get("revealed") && at.name !== "nf4") move({ bits: within(LEAST_BITS, MOST_BITS, at.bits + by) });
  }

  function reveal(guessed) {
    const coarse = now(), group = groups[0];
    put({ revealed: true, group });
    update();
    const fine = now();
    const left = { guess: percent(guessed / 100), left: percent(fine.error / coarse.error), fine: percent(fine.error), coarse: percent(coarse.error), more: String(fine.each - coarse.each) };
    remark.textContent = fill(words[guessed === null ? "skipped" : "guessed"], left);
    parts.say(`${remark.textContent} ${summary(fine)}`);
    model.save_changes();
    method.focus({ preventScroll: true });
  }

  // Words.

  function numbers(at) {
    return {
      count: weights.length, method: words[at.name], bits: at.bits, group: at.group, each: String(at.each), levels: 2 ** at.bits, groups: weights.length / at.group,
      error: percent(at.error), largest: significant(at.largest), part: percent(at.largest / most), largest_at: at.largest_at, smaller: significant(HALF / at.each), source: record.source,
      codes: `${at.bits}`, shared: String(Number((at.each - at.bits).toFixed(5))), fine: groups[0],
    };
  }

  function summary(at) {
    const said = numbers(at);
    return fill(words.summary, { ...said, largest: said.part });
  }

  function numbersOf(at, k) {
    const code = at.codes[k], stands = level(at, Math.floor(k / at.group), code);
    return { k, weight: signed(weights[k]), code, hex: hex(code), stands: signed(stands), off: significant(Math.abs(weights[k] - stands)) };
  }

  function rows() {
    const at = now();
    return [["k", "weight", "code", "stands", "off"].map((name) => words[`column_${name}`]),
      ...weights.map((_, k) => ["k", "weight", "code", "stands", "off"].map((name) => String(numbersOf(at, k)[name])))];
  }

  function control(at) {
    const said = numbers(at);
    if (!model.get("revealed")) {
      if (parts.controls.childElementCount) return;
      const slider = range(words.guess, { min: 1, max: 100, oninput: (value) => { guess = value; slider.show(value, percent(value / 100)); } });
      slider.show(guess, percent(guess / 100));
      parts.controls.replaceChildren(html("p", { class: "tk-ask" }, fill(words.ask, said)), slider.node,
        html("button", { type: "button", class: "tk-main", onclick: () => reveal(guess) }, words.reveal),
        html("button", { type: "button", onclick: () => reveal(null) }, words.skip));
      return;
    }
    if (!dials.isConnected) parts.controls.replaceChildren(dials);
    method.value = at.method;
    depth.show(at.bits, String(at.bits), fill(words.bits_spoken, said));
    depth.input.disabled = at.name === "nf4";
    sizes.forEach((radio) => { radio.checked = Number(radio.value) === at.group; });
  }

  function readout(at) {
    const said = numbers(at);
    parts.readout.replaceChildren(figures([
      [words.each, said.each, fill(words[`each_${at.name}`], said)],
      [words.smaller, `${said.smaller}×`, words.smaller_of],
      [words.error, said.error, words.error_of],
      [words.largest, said.largest, fill(words.largest_of, said)],
    ]));
  }

  // The weights on their levels.

  const scale = {};

  function measure(text) {
    ruler.font = `12px ${getComputedStyle(el).fontFamily}`;
    return ruler.measureText(text).width;
  }

  function draw(at, share = 1) {
    if (!width) return;
    const floor = Math.round(within(LEAST, MOST, 0.38 * width)), foot = floor + BETWEEN + STRIP, right = width - RIGHT;
    const edge = EDGE * most, off = Math.max(usual, at.largest);
    const power = 10 ** Math.floor(Math.log10(most)), unit = power * (most / power > 4 ? 2 : most / power > 2 ? 1 : 0.5);
    const ticks = Array.from({ length: 21 }, (_, row) => (row - 10) * unit).filter((value) => Math.abs(value) <= edge);
    const left = Math.max(LEFT, 8 + Math.ceil(Math.max(...[...ticks, -off].map((value) => measure(signed(value))))));
    const step = (right - left) / weights.length;
    const x = (k) => left + (k + 0.5) * step, y = (value) => TOP + ((edge - value) / (2 * edge)) * (floor - TOP);
    const line = (x1, y1, x2, y2, name) => svg("line", { x1, y1, x2, y2, class: name });
    const write = (at, base, text, name, anchor = "middle") => svg("text", { x: at, y: base, class: name, "text-anchor": anchor }, text);
    const ends = Array.from({ length: weights.length / at.group }, (_, group) => [left + group * at.group * step, left + (group + 1) * at.group * step]);
    const levels = ends.map(([from, to], group) => {
      const all = Array.from({ length: 2 ** at.bits }, (_, code) => y(level(at, group, code))).filter((height) => height >= TOP && height <= floor);
      if ((all[0] - all.at(-1)) / all.length < FINE) return svg("rect", { x: from + 2, y: all.at(-1), width: to - from - 4, height: all[0] - all.at(-1), class: "tk-dense" });
      return svg("path", { d: all.map((height) => `M${from + 2} ${height}H${to - 2}`).join(""), class: "tk-level" });
    });
    const spellings = [(value) => fill(words.scale, { scale: significant(value) }), significant, (value) => String(Number(value.toPrecision(2))), () => ""];
    const spelled = spellings.find((spell) => at.scales.every((value) => measure(spell(value)) < ends[0][1] - ends[0][0] - 6)); // a phone has little room
    const bar = Math.max(1.5, step * 0.6);
    const every = weights.length / (width < PHONE ? 4 : 8);
    Object.assign(scale, { x, y, left, step, foot });
    const middle = foot - STRIP / 2, reach = (value) => (value / off) * (STRIP / 2);
    const stood = weights.map((weight, k) => level(at, Math.floor(k / at.group), at.codes[k]));
    plot.setAttribute("width", width);
    plot.setAttribute("height", foot + BOTTOM);
    plot.replaceChildren(
      svg("g", { class: "tk-focus" }), line(left, middle, right, middle, "tk-level"),
      ...[off, -off].map((value) => write(left - 6, middle - reach(value) + 4, signed(value), "tk-tick", "end")), write(left - 6, middle + 4, words.errors, "tk-tick", "end"),
      ...ticks.map((value) => write(left - 6, y(value) + 4, value ? signed(value) : "0", "tk-tick", "end")),
      ...levels, ...ends.slice(1).map(([from]) => line(from, TOP - 14, from, foot, "tk-border")),
      ...ends.map(([from, to], group) => write((from + to) / 2, TOP - 7, spelled(at.scales[group]), "tk-tick")),
      ...weights.map((weight, k) => line(x(k), y(weight), x(k), y(weight + (stood[k] - weight) * share), "tk-error")),
      ...weights.map((weight, k) => svg("rect", { x: x(k) - bar / 2, y: middle - Math.max(0, reach((stood[k] - weight) * share)), width: bar, height: Math.abs(reach((stood[k] - weight) * share)), class: "tk-off" })),
      ...weights.map((weight, k) => svg("circle", { cx: x(k), cy: y(weight), r: within(1.6, 3, step / 2.6), class: "tk-dot" })),
      ...Array.from({ length: Math.ceil(weights.length / every) }, (_, row) => row * every).map((k) => write(x(k), foot + 16, k, "tk-tick")),
      write(right, foot + 33, words.inputs, "tk-tick", "end"), svg("g", { class: "tk-focus" }));
    light(at);
  }

  // Memory: the word and the map of codes.

  const cell = (at) => about ?? [0, at.value];
  const same = ([n, k], [row, column]) => n === row && k === column;
  const codeOf = (at, [n, k]) => at.rows[n * weights.length + k];

  function pack(at) {
    const packed = at.bits === PACKED_BITS;
    layouts.forEach((radio) => {
      radio.checked = LAYOUTS[radio.value] === at.packing;
      radio.disabled = !packed || at.name === "nf4" || (at.name === "asymmetric" && LAYOUTS[radio.value] === "marlin");
    });
    other.textContent = !packed ? words.unpacked : at.name === "nf4" ? words.only_bitsandbytes : at.name === "asymmetric" ? words.no_marlin : "";
    shelf.hidden = !packed;
    drawn = "";
    rule.textContent = words[`rule_${at.packing}`];
    look(at);
  }

  /** What is looked at, everywhere. */
  function look(at) {
    if (!width) return;
    if (at.bits === PACKED_BITS) show(at);
    light(at);
  }

  /** The word of the cell looked at, and the part of the map that holds it. */
  function show(at) {
    const [n, k] = cell(at), held = word(at.packing, n, k);
    const columns = width < PHONE ? ROWS : 2 * ROWS, from = k - (k % columns);
    const digits = held.map((one) => codeOf(at, one)).reverse().join("");
    place.replaceChildren(html("span", {}, words[at.packing]), html("code", {}, `${address(at.packing, n, k)} = 0x${digits}`));
    const side = Math.min(NIBBLE, (width - 4) / 8), line = side < 44 ? 13 : 14;
    nibbles.setAttribute("width", 8 * side + 4);
    nibbles.setAttribute("height", HEAD + 34 + 2 * line + 6);
    held.forEach(([row, column], nibble) => {
      const group = nibbles.children[nibble], [box, ...texts] = group.children, left = 2 + (7 - nibble) * side;
      group.dataset.cell = `${row} ${column}`;
      group.classList.toggle("tk-mine", row === 0);
      for (const [name, value] of Object.entries({ x: left, y: HEAD, width: side, height: 34 })) box.setAttribute(name, value);
      const says = [[HEAD - 5, nibble], [HEAD + 23, codeOf(at, [row, column])], [HEAD + 35 + line, fill(words.output, { n: row })], [HEAD + 35 + 2 * line, fill(words.input, { k: column })]];
      texts.forEach((text, which) => {
        text.setAttribute("x", left + side / 2);
        text.setAttribute("y", says[which][0]);
        text.textContent = says[which][1];
      });
    });
    if (drawn !== `${width} ${from}`) chart(at, columns, from);
    drawn = `${width} ${from}`;
    const inside = new Set(held.map(String));
    for (const node of map.querySelectorAll("[data-cell]")) node.classList.toggle("tk-held", inside.has(node.dataset.cell.replace(" ", ",")));
  }

  function chart(at, columns, from) {
    const wide = Math.min(CELL, (width - NUMBERS - 2) / columns), tall = Math.min(LINE, Math.max(15, wide));
    const write = (left, base, text, name, anchor = "middle") => svg("text", { x: left, y: base, "text-anchor": anchor, class: name }, text);
    const cells = [];
    for (let n = 0; n < ROWS; n++) {
      for (let k = from; k < from + columns; k++) {
        const left = NUMBERS + (k - from) * wide, top = HEAD + n * tall;
        cells.push(svg("g", { class: n ? "tk-cell" : "tk-cell tk-mine", "data-cell": `${n} ${k}` },
          svg("rect", { x: left, y: top, width: wide - 1, height: tall - 1 }), write(left + (wide - 1) / 2, top + tall / 2 + 4, codeOf(at, [n, k]), "tk-small")));
      }
    }
    const every = wide < 20 ? 4 : 2;
    map.setAttribute("width", NUMBERS + columns * wide + 2);
    map.setAttribute("height", HEAD + ROWS * tall + 2);
    map.replaceChildren(
      ...Array.from({ length: columns / every }, (_, row) => write(NUMBERS + (row * every + 0.5) * wide, HEAD - 5, from + row * every, "tk-tick")),
      ...Array.from({ length: ROWS / 2 }, (_, row) => write(NUMBERS - 6, HEAD + 2 * row * tall + tall / 2 + 4, 2 * row, "tk-tick", "end")),
      write(0, HEAD - 5, "n, k", "tk-tick", "start"), ...cells);
  }

  function light(at) {
    const looked = cell(at);
    const [behind, before] = plot.querySelectorAll(".tk-focus");
    if (!behind) return;
    const { x, y, step, foot } = scale;
    const lit = at.bits === PACKED_BITS ? word(at.packing, ...looked).filter(([n]) => n === 0).map(([, k]) => k) : [looked[1]];
    const band = (k, name) => svg("rect", { x: x(k) - Math.max(step, 4) / 2, y: TOP, width: Math.max(step, 4), height: foot - TOP, class: name });
    behind.replaceChildren(...lit.map((k) => band(k, "tk-share")));
    before.replaceChildren(...(looked[0] ? [] : [band(looked[1], "tk-over"), svg("circle", { cx: x(looked[1]), cy: y(weights[looked[1]]), r: 4.5, class: "tk-dot" })]));
    for (const node of memory.querySelectorAll("[data-cell]")) node.classList.toggle("tk-over", same(node.dataset.cell.split(" ").map(Number), looked));
    caption.textContent = looked[0] ? words.another : fill(words.about, numbersOf(at, looked[1]));
    if (at.bits === PACKED_BITS) {
      const nibble = word(at.packing, ...looked).findIndex((one) => same(one, looked));
      told.textContent = fill(words.cell, { n: looked[0], k: looked[1], hex: codeOf(at, looked), nibble, low: 4 * nibble, high: 4 * nibble + 3 });
    }
  }

  // What follows what.

  function update() {
    const at = now();
    about = null;
    remark.textContent = "";
    control(at);
    readout(at);
    parts.say(summary(at));
    parts.refresh();
    stop();
    pack(at);
    const before = settled;
    settled = `${at.method} ${at.bits} ${at.group}`;
    if (before === settled || before === null || !width) draw(at);
    else stop = animate((share) => draw(at, share));
  }

  function point(to) {
    if (String(to) === String(about)) return;
    about = to;
    look(now());
  }
  const nearest = ({ clientX }) => within(0, weights.length - 1, Math.floor((clientX - plot.getBoundingClientRect().left - scale.left) / scale.step));
  plot.addEventListener("pointermove", (event) => point([0, nearest(event)]));
  plot.addEventListener("click", (event) => move({ value: nearest(event) }));
  const cellAt = ({ target }) => target.closest?.("[data-cell]")?.dataset.cell.split(" ").map(Number);
  for (const node of [nibbles, map]) {
    node.addEventListener("pointermove", (event) => { const to = cellAt(event); if (to) point(to); });
    node.addEventListener("click", (event) => { const to = cellAt(event); if (to?.[0] === 0) move({ value: to[1] }); });
  }
  for (const node of [plot, nibbles, map]) node.addEventListener("pointerleave", () => point(null));

  function linked() {
    put({ revealed: true });
    update();
    queueMicrotask(() => { // only when all are there: a link sets them one after the other
      const { method, wished, group, layout, value } = now();
      put({ method, bits: wished, group, packing: layout, value });
      model.save_changes();
    });
  }

  const listening = follow(model, { method: linked, bits: linked, group: linked, packing: linked, value: linked, revealed: update });
  const { put } = listening;
  update();
  const end = onWidth(picture, (to) => { width = to; drawn = ""; look(now()); draw(now()); });

  return () => {
    stop();
    end();
    listening.end();
  };
}

export default { render };
