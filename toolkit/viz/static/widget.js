// The parts that all widgets share. In a notebook this file is put in front of the widget's own.

const SVG = "http://www.w3.org/2000/svg";
const GAP = "\u202f";

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

export function html(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

/** "{b} bands" with b = 9 gives "9 bands". */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

const three = (number) => String(Number(number.toPrecision(3)));

/** Three significant digits, with the SI step; toolkit/viz/text.py has the same rules. */
export function significant(number) {
  for (const [step, unit] of [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Number(three(number)) >= step) return three(number / step) + GAP + unit;
  }
  return three(number);
}

/** The same with a unit: "328 kB". */
export function sized(number, unit = "B") {
  const text = significant(number);
  return (text.includes(GAP) ? text : text + GAP) + unit;
}

/** A share as a percentage that says 0 or 100 only where that is exact. */
export function percent(share) {
  if (Number.isNaN(share)) return "–";
  if (share > 0 && share < 0.001) return `<${GAP}0.1${GAP}%`;
  if (share > 0.999 && share < 1) return `>${GAP}99.9${GAP}%`;
  return three(100 * share) + GAP + "%";
}

export function superscript(number) {
  return [...String(number)].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("");
}

export function bytes(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/**
 * The frame of a widget: title, what to try, controls, picture, readout, and folded below it what
 * one sees and the same data as a table. `rows` gives the table when it is opened, its head first.
 */
export function frame(el, words, rows) {
  const part = (name) => html("div", { class: `tk-${name}` });
  const parts = { controls: part("controls"), picture: part("drawing"), readout: part("readout") };
  const aloud = html("p", { class: "tk-aloud", role: "status", "aria-live": "polite" });
  const sheet = html("div", { class: "tk-sheet", tabindex: 0, role: "region", "aria-label": words.table });
  const table = html("details", { class: "tk-table", ontoggle: refresh }, html("summary", {}, words.table), sheet);

  function refresh() {
    if (!table.open) return;
    const cells = (tag, row) => row.map((cell) => html(tag, tag === "th" ? { scope: "col" } : {}, cell));
    const [head, ...body] = rows();
    sheet.replaceChildren(html("table", {}, html("thead", {}, html("tr", {}, ...cells("th", head))),
      html("tbody", {}, ...body.map((row) => html("tr", {}, ...cells("td", row))))));
  }

  let saying;
  function say(text) {
    parts.svg?.setAttribute("aria-label", text);
    clearTimeout(saying);
    saying = setTimeout(() => { aloud.textContent = text; }, 400);
  }

  el.classList.add("tk", "tk-widget");
  el.setAttribute("role", "group");
  el.setAttribute("aria-label", words.title);
  el.replaceChildren(
    html("p", { class: "tk-title" }, words.title), html("p", { class: "tk-try" }, words.try),
    parts.controls, parts.picture, parts.readout, aloud,
    html("details", {}, html("summary", {}, words.see), html("p", {}, words.see_text)), table,
  );
  return Object.assign(parts, { say, refresh });
}

/** A named slider with its value beside it: {node, show(value, text)}. */
export function range(label, { min = 0, max, oninput }) {
  const input = html("input", { type: "range", min, max, step: 1, oninput: () => oninput(Number(input.value)) });
  const output = html("output");
  const node = html("label", { class: "tk-range" }, html("span", {}, label), input, output);
  function show(value, text = String(value), spoken = text) {
    input.value = value;
    output.textContent = text;
    input.setAttribute("aria-valuetext", spoken);
  }
  return { node, input, show };
}

/** Big numbers with a label and what they are of: [[label, value, of], ...]. */
export function figures(rows) {
  const part = (name, text) => html("div", { class: `tk-${name}` }, text); // themes restyle dl, dt and dd
  return html("div", { class: "tk-figures" }, ...rows.map(([label, value, of]) =>
    html("div", {}, part("label", label), part("value", value), part("of", of))));
}

/** Call `draw(width)` when an element's width changes, at first too. */
export function onWidth(node, draw) {
  let width = 0;
  const watcher = new ResizeObserver(([entry]) => {
    const now = Math.floor(entry.contentRect.width);
    if (now && now !== width) draw(width = now);
  });
  watcher.observe(node);
  return () => watcher.disconnect();
}

/** Run `step(done)` with done from 0 to 1, eased; straight to 1 for readers who want no motion. */
export function animate(step, milliseconds = 350) {
  let frame, start;
  function tick(now) {
    start ??= now;
    const share = Math.min(1, (now - start) / milliseconds);
    step(1 - (1 - share) ** 3);
    if (share < 1) frame = requestAnimationFrame(tick);
  }
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) step(1);
  else frame = requestAnimationFrame(tick);
  return () => cancelAnimationFrame(frame);
}

/**
 * What the reader sets goes through the model, so that Python and links see it too: `put` sets
 * traits, and `listeners`, by trait, hear only what others set, until `end`.
 */
export function follow(model, listeners) {
  let putting = false;
  const heard = Object.entries(listeners).map(([name, listener]) => [`change:${name}`, () => putting || listener()]);
  for (const [event, listener] of heard) model.on(event, listener);
  return {
    put(values) {
      putting = true;
      for (const [name, value] of Object.entries(values)) model.set(name, value);
      putting = false;
    },
    end() {
      for (const [event, listener] of heard) model.off(event, listener);
    },
  };
}

/**
 * A button that plays and pauses: `begin` says how many milliseconds a step takes, and `step` makes
 * one and says whether it was the last.
 */
export function player(words, begin, step) {
  let timer = 0;
  const button = html("button", { type: "button", onclick: () => (timer ? pause() : start()) }, words.play);

  function start() {
    const milliseconds = begin();
    button.textContent = words.pause;
    timer = setInterval(() => { if (step()) pause(); }, milliseconds);
  }

  function pause() {
    clearInterval(timer);
    timer = 0;
    button.textContent = words.play;
  }

  return { button, pause };
}
