// Rotations: the pairs of a head that RoPE turns, as dials: where each hand stands at a position,
// and the arc that training showed it.

import { animate, bytes, figures, fill, follow, frame, html, onWidth, percent, player, range, significant, svg } from "./widget.js";

const TURN = 2 * Math.PI, SLACK = 1e-9, CELL = 50, LABEL = 18, BETWEEN = 8;

/** Where a hand stands at a position, in radians, 0 to 2π. */
export const angle = (position, frequency) => (position * frequency) % TURN;

/** How far round training went, in radians from 0: 2π where all the way. */
export const arc = (trained, frequency) => Math.min(TURN, trained * frequency);

/** Whether an angle is past the end of an arc that isn't the whole circle, by more than rounding. */
export const outside = (angle, arc) => arc < TURN && angle > arc * (1 + SLACK);

/** The slider's positions: ever further apart, with every multiple of the trained length. */
export function stops({ trained, longest, factors }) {
  const found = new Set([0, trained, longest, ...factors.map((factor) => Math.round(factor * trained))]);
  for (let at = 1; at < longest; at *= 2 ** (1 / 8)) found.add(Math.round(at));
  return [...found].filter((at) => at <= longest).sort((a, b) => a - b);
}

const within = (least, most, number) => Math.min(most, Math.max(least, number));
const degrees = (radians) => significant((radians * 360) / TURN);
const grouped = (number) => number.toLocaleString("en");

/** A sector of a dial as a path, from one angle clockwise to another; 0 is at the top. */
function sector(radius, from, to) {
  if (to - from >= TURN) return `M0 ${-radius}A${radius} ${radius} 0 1 1 0 ${radius}A${radius} ${radius} 0 1 1 0 ${-radius}Z`;
  const on = (at) => `${(radius * Math.sin(at)).toFixed(2)} ${(-radius * Math.cos(at)).toFixed(2)}`;
  return `M0 0L${on(from)}A${radius} ${radius} 0 ${to - from > TURN / 2 ? 1 : 0} 1 ${on(to)}Z`;
}

const marks = { inside: "M3 0A3 3 0 1 1 -3 0A3 3 0 1 1 3 0Z", outside: "M0 -5L5 0L0 5L-5 0Z" };

/** A hand that points up, with the mark of where it is at its tip. */
const hand = (radius, look) => svg("g", { class: `tk-hand tk-${look}` },
  svg("path", { d: `M0 0V${-0.68 * radius}`, class: "tk-shaft" }),
  svg("path", { d: marks[look], transform: `translate(0 ${-0.68 * radius})` }));

function render({ model, el }) {
  const words = model.get("words"), record = model.get("record");
  const { trained, longest, methods, factors } = record;
  const packed = new Float64Array(bytes(record.frequencies).buffer);
  const pairs = packed.length / (methods.length * factors.length);
  const frequenciesOf = (method, factor) => packed.subarray((method * factors.length + factor) * pairs).subarray(0, pairs);
  const reference = frequenciesOf(0, 0);
  const arcs = Array.from(reference, (frequency) => arc(trained, frequency));
  const places = stops(record);
  let width = 0, stop = () => {}, note = "", hovered = -1, guess = Math.round(pairs / 2);
  let hands = [], stands = null;

  const parts = frame(el, words, rows);
  const drawing = svg("svg", { role: "img" });
  const picture = html("div", { class: "tk-dials", tabindex: 0, role: "group", "aria-label": words.dials, onkeydown: arrow }, drawing);
  const remark = html("p", { class: "tk-remark" });
  const key = html("p", { class: "tk-key" }, ...["seen", "new", "inside", "outside", "step", "wavelength"].map(legend));
  const caption = html("p", { class: "tk-caption" });
  el.classList.add("tk-rotations");
  el.setAttribute("data-lm-suppress-shortcuts", "true"); // else JupyterLab takes keys
  parts.svg = drawing;
  parts.picture.append(remark, key, picture, caption);

  const button = (text, onclick, attributes) => html("button", { type: "button", onclick, ...attributes }, text);
  const scrub = range(words.position, { max: places.length - 1, oninput: (at) => move({ position: places[at] }) });
  const back = button(words.back, () => go(-1));
  const forward = button(words.forward, () => go(1));
  const { button: play, pause } = player(words, () => {
    if (now().position >= longest) move({ position: 0 });
    return within(80, 700, 15000 / places.length);
  }, () => {
    move({ position: places.find((place) => place > now().position) ?? longest }, true);
    return now().position >= longest;
  });
  const stepper = html("div", { class: "tk-steps" }, scrub.node, html("div", { class: "tk-buttons" }, back, play, forward));
  const choices = (name, texts, cells) => {
    const group = `tk-${Math.random().toString(36).slice(2)}`;
    return html("div", { class: `tk-${name}`, role: "radiogroup", "aria-label": words[name] }, ...texts.map((text, at) => html("label", { class: "tk-choice" },
      html("input", { type: "radio", name: group, onchange: () => move({ [name]: at }) }), html("span", { class: "tk-kind" }, text), ...cells())));
  };
  const bar = () => [html("span", { class: "tk-length" }, html("span")), html("span", { class: "tk-count" }), html("span", { class: "tk-fine" })];
  const method = choices("method", methods, bar);
  const factor = choices("factor", factors.map((by) => fill(words.factor_of, { factor: significant(by) })), () => []);
  const stretched = html("div", { class: "tk-stretch" }, html("span", {}, words.factor), factor);

  // What the reader sets goes through the model, so that Python and links see it.

  function now() {
    const method = within(0, methods.length - 1, model.get("method"));
    const factor = within(0, factors.length - 1, model.get("factor"));
    const position = model.get("revealed") ? within(0, longest, model.get("position")) : trained;
    return { method, factor, position, dial: within(-1, pairs - 1, model.get("dial")), ...view(method, factor, position) };
  }

  function view(method, factor, position) {
    const frequencies = frequenciesOf(method, factor);
    const angles = Array.from(frequencies, (frequency) => angle(position, frequency));
    const turned = Array.from(frequencies, (frequency) => position * frequency);
    const out = turned.map((at, dial) => outside(at, arcs[dial])); // a hand may be back in its arc
    return { frequencies, angles, turned, out, count: out.filter(Boolean).length };
  }

  function move(values, playing = false) {
    if (!playing) pause();
    put(values);
    note = "";
    update("position" in values ? 0 : 350);
    model.save_changes();
  }

  function go(by) {
    move({ position: within(0, longest, now().position + by) });
  }

  function arrow(event) {
    const along = { ArrowLeft: -1, ArrowRight: 1 }[event.key], among = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!along && !among) return;
    event.preventDefault();
    if (among) choose(within(0, pairs - 1, now().dial + among));
    else if (model.get("revealed")) go(along);
  }

  function choose(dial) {
    put({ dial });
    hovered = -1;
    point();
    parts.say(caption.textContent);
    model.save_changes();
  }

  function reveal(guessed) {
    put({ revealed: true });
    const { position, count } = now();
    note = guessed === null ? "" : fill(words.guessed, { guess: guessed, position: grouped(position), outside: count, pairs });
    update(900);
    model.save_changes();
    scrub.input.focus({ preventScroll: true });
  }

  // The picture.

  function legend(name) {
    const swatch = {
      seen: () => svg("path", { d: sector(12, 0, TURN / 4), class: "tk-arc" }),
      new: () => svg("path", { d: sector(12, 0, TURN / 4), class: "tk-new" }),
      inside: () => hand(15, "inside"), outside: () => hand(15, "outside"),
      step: () => svg("path", { d: sector(11, -0.5, 0.5), class: "tk-next" }),
    }[name];
    return html("span", {}, ...(swatch ? [svg("svg", { width: 20, height: 20, "aria-hidden": "true" }, svg("g", { transform: `translate(${name in { seen: 0, new: 0 } ? 4 : 10} 15)` }, swatch()))] : []), words[`key_${name}`]);
  }

  function plot({ angles, turned, out, frequencies }) {
    const lines = Math.ceil(pairs / Math.max(1, Math.floor(width / CELL))), columns = Math.ceil(pairs / lines);
    const cell = width / columns, radius = Math.min(cell / 2 - 4, 44), row = 2 * radius + LABEL + BETWEEN;
    hands = angles.map((_, dial) => svg("g", {}, ...(frequencies[dial] > 0.05 ? [svg("path", { d: sector(0.86 * radius, 0, frequencies[dial]), class: "tk-next" })] : []), hand(radius, outside(angles[dial], arcs[dial]) ? "outside" : "inside")));
    drawing.setAttribute("width", width);
    drawing.setAttribute("height", lines * row);
    drawing.replaceChildren(...hands.map((node, dial) => {
      const x = (dial % columns + 0.5) * cell, y = Math.floor(dial / columns) * row + radius + 3;
      return svg("g", { class: `tk-dial${out[dial] ? " tk-past" : ""}`, "data-dial": dial, transform: `translate(${x.toFixed(2)} ${y.toFixed(2)})` },
        svg("rect", { x: -cell / 2, y: -radius - 3, width: cell, height: row, class: "tk-target" }),
        svg("path", { d: sector(radius, 0, arcs[dial]), class: "tk-arc" }),
        ...(out[dial] ? [svg("path", { d: sector(radius, arcs[dial], Math.min(TURN, turned[dial])), class: "tk-new" })] : []),
        svg("circle", { r: radius, class: "tk-rim" }), node,
        svg("text", { y: radius + 14, "text-anchor": "middle", class: "tk-wavelength" }, significant(TURN / frequencies[dial])));
    }));
    point();
  }

  /** Swing the hands from where they stand to their angles, the short way round. */
  function swing({ angles }, milliseconds) {
    stop();
    const from = stands ?? angles, by = angles.map((to, dial) => ((to - from[dial] + 1.5 * TURN) % TURN) - TURN / 2);
    const turn = (share) => {
      stands = from.map((at, dial) => (share < 1 ? (at + by[dial] * share + TURN) % TURN : angles[dial]));
      hands.forEach((node, dial) => node.setAttribute("transform", `rotate(${((stands[dial] * 360) / TURN).toFixed(3)})`));
    };
    if (!milliseconds) turn(1);
    else { turn(0); stop = animate(turn, milliseconds); }
  }

  // Readout.

  const seen = (dial) => (arcs[dial] >= TURN ? words.seen_round : fill(words.seen_arc, { end: degrees(arcs[dial]) }));
  const turns = (dial) => significant((trained * reference[dial]) / TURN);

  function about(dial) {
    const { position, frequencies, angles, out } = now();
    return fill(words.about, {
      dial, wavelength: significant(TURN / frequencies[dial]), step: degrees(frequencies[dial]), turns: turns(dial), seen: seen(dial),
      position: grouped(position), angle: degrees(angles[dial]), verdict: outside(angles[dial], arcs[dial]) ? words.outside_arc : out[dial] ? words.back_in_arc : words.inside_arc,
    });
  }

  function readout({ position, frequencies, angles, count }) {
    const ratios = Array.from(frequencies.subarray(1), (frequency, dial) => frequencies[dial] / frequency);
    const bases = [...new Set([Math.min(...ratios), Math.max(...ratios)].map(significant))];
    const said = (text) => (model.get("revealed") ? text : "?");
    return figures([
      [words.outside, said(fill(words.outside_of, { count, pairs })), fill(words.outside_at, { position: grouped(position) })],
      [words.step, `${degrees(frequencies[0])}°`, fill(words.step_at, { share: percent(frequencies[0] / reference[0]) })],
      [words.slowest, `${degrees(angles[pairs - 1])}°`, fill(words.slowest_at, { seen: seen(pairs - 1) })],
      ...(pairs > 1 ? [[words.radix, bases.join("–"), words.radix_of]] : []),
    ]);
  }

  function summary({ method, factor, position, frequencies, count }) {
    if (!model.get("revealed")) return fill(words.summary_waiting, { position: grouped(position) });
    const setting = fill(method ? words.setting : words.setting_trained, { method: methods[method], factor: significant(factors[factor]) });
    return fill(words.summary, {
      setting, position: grouped(position), times: significant(position / trained), outside: count, pairs,
      step: degrees(frequencies[0]), share: percent(frequencies[0] / reference[0]),
    });
  }

  function rows() {
    const { frequencies, angles, out } = now();
    return [
      ["dial", "wavelength", "turns", "seen", "angle", "range"].map((name) => words[`column_${name}`]),
      ...angles.map((at, dial) => [String(dial), significant(TURN / frequencies[dial]), turns(dial), seen(dial), `${degrees(at)}°`, out[dial] ? words.no : words.yes]),
    ];
  }

  // Controls, shown as the state is.

  function control(at) {
    if (!model.get("revealed")) {
      if (parts.controls.childElementCount) return;
      const said = { trained: grouped(trained), pairs, position: grouped(within(0, longest, model.get("position"))) };
      const slider = range(words.guess, { max: pairs, oninput: (value) => slider.show(guess = value) });
      slider.show(guess);
      parts.controls.replaceChildren(html("p", { class: "tk-ask" }, fill(words.ask, said)), slider.node,
        button(words.reveal, () => reveal(guess), { class: "tk-main" }), button(words.skip, () => reveal(null)));
      return;
    }
    if (!method.isConnected) parts.controls.replaceChildren(stepper, method, stretched);
    const { position } = at;
    const nearest = places.reduce((best, place, index) => (Math.abs(place - position) < Math.abs(places[best] - position) ? index : best), 0);
    scrub.input.style.setProperty("--tk-trained", places.indexOf(trained) / (places.length - 1));
    scrub.show(nearest, fill(words.position_of, { position: grouped(position), times: significant(position / trained) }));
    back.disabled = position === 0;
    forward.disabled = position === longest;
    [...factor.querySelectorAll("input")].forEach((input, of) => { input.checked = of === at.factor; });
    [...method.children].forEach((label, of) => {
      const { count, frequencies } = view(of, at.factor, position);
      label.querySelector("input").checked = of === at.method;
      label.classList.toggle("tk-mine", of === at.method);
      label.querySelector(".tk-length > span").style.width = `${(100 * count) / pairs}%`;
      label.querySelector(".tk-count").textContent = fill(words.method_outside, { outside: count });
      label.querySelector(".tk-fine").textContent = fill(words.method_step, { share: percent(frequencies[0] / reference[0]) });
    });
  }

  // What follows what.

  function update(milliseconds = 0) {
    const at = now();
    control(at);
    remark.textContent = note;
    parts.readout.replaceChildren(readout(at));
    parts.say([note, summary(at)].filter(Boolean).join(" "));
    parts.refresh();
    if (!width) return;
    plot(at);
    swing(at, milliseconds);
  }

  function point() {
    const { dial } = now(), shown = hovered >= 0 ? hovered : dial;
    for (const node of drawing.children) node.classList.toggle("tk-over", Number(node.dataset.dial) === shown);
    caption.textContent = shown < 0 ? words.hint : about(shown);
  }

  function over(event) {
    const to = Number(event.target.closest?.("[data-dial]")?.dataset.dial ?? -1);
    if (to === hovered) return;
    hovered = to;
    point();
  }
  drawing.addEventListener("pointerover", over);
  drawing.addEventListener("pointerleave", () => over({ target: drawing }));
  drawing.addEventListener("click", () => { if (hovered >= 0) choose(hovered === now().dial ? -1 : hovered); });

  function linked() {
    if (!model.get("revealed")) put({ revealed: true });
    note = "";
    update();
    queueMicrotask(() => {
      const { position, method, factor, dial } = now();
      put({ position, method, factor, dial });
      model.save_changes();
    });
  }

  const listening = follow(model, {
    position: linked, method: linked, factor: linked, dial: linked, revealed: update,
  });
  const { put } = listening;
  update();
  const end = onWidth(picture, (to) => { width = to; const at = now(); plot(at); swing(at, 0); });

  return () => {
    pause();
    stop();
    end();
    listening.end();
  };
}

export default { render };
