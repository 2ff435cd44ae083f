// Roofline: kernels under the roofs of some cards, FLOP a second over FLOP a byte.

import { animate, figures, fill, follow, frame, html, onWidth, percent, range, significant, sized, svg } from "./widget.js";

const MARKS = [ // as toolkit/viz/roofline.py has them: o s D ^ v P X p
  "M6 0A6 6 0 1 1 -6 0A6 6 0 1 1 6 0Z", "M-5.5 -5.5H5.5V5.5H-5.5Z", "M0 -7.5L7.5 0L0 7.5L-7.5 0Z", "M0 -7L7 5.5H-7Z", "M0 7L7 -5.5H-7Z",
  "M-2.5 -7H2.5V-2.5H7V2.5H2.5V7H-2.5V2.5H-7V-2.5H-2.5Z", "M-3.5 -7L0 -3.5L3.5 -7L7 -3.5L3.5 0L7 3.5L3.5 7L0 3.5L-3.5 7L-7 3.5L-3.5 0L-7 -3.5Z",
  "M0 -7.5L7.1 -2.3L4.4 6.1H-4.4L-7.1 -2.3Z",
];
const SHARES = [0.05, 0.2, 0.5, 1]; // the choices of the guess: under each, and all of it
const LEFT = 56, RIGHT = 8, TOP = 24, BOTTOM = 44, LEAST = 340, MOST = 460, ROOM = 2.5, REACH = 9, ROW = 18, GHOST = 15;

/** FLOP a second that a kernel of some FLOP a byte can reach at best; toolkit/kernels/roofline.py has the same form. */
export function attainable(peak, bandwidth, intensity) {
  return Math.min(peak, intensity * bandwidth);
}

const log = Math.log10;
const rate = (number) => sized(number, "FLOP/s");
const clamp = (number, count) => Math.min(count - 1, Math.max(0, number));

function render({ model, el }) {
  const words = model.get("words");
  const record = model.get("record");
  const ruler = html("canvas").getContext("2d");
  const id = `tk-${Math.random().toString(36).slice(2)}`;
  const cards = record.cards.map((name, at) => ({ at, name, peak: record.peaks[at], bandwidth: record.bandwidths[at], source: record.sources[at], ridge: record.peaks[at] / record.bandwidths[at] }));
  const made = (name, at, { flops, bytes, seconds, measured }, row) => ({
    at, name, flops: flops[row], bytes: bytes[row], intensity: flops[row] / bytes[row],
    achieved: seconds[row] && flops[row] / seconds[row], on: measured[row],
  });
  const points = record.points.map((name, at) => made(name, at, record, at));
  const { batches, fixed, columns } = record.sweep ?? { batches: [], fixed: points.length, columns: [] };
  const swept = columns.map((column) => record.points.slice(fixed).map((name, row) => made(name, fixed + row, column, row)));
  const extent = [...points, ...swept.flat()].map((one) => ({ ...one })); // the axes stay while the batch grows
  const inOrder = [...points].sort((one, other) => one.intensity - other.intensity || one.at - other.at);
  let width = 0, about = null, stop = () => {};
  let roof = null; // the dashed one, which moves from card to card

  const parts = frame(el, words, rows);
  const remark = html("p", { class: "tk-remark" });
  const heading = html("p", { class: "tk-heading" });
  const caption = html("p", { class: "tk-caption" });
  const plot = svg("svg", { role: "img" });
  const picture = html("div", { class: "tk-plot", tabindex: 0, role: "group", "aria-label": words.picture, onkeydown: arrow }, plot);
  el.classList.add("tk-roofline");
  el.setAttribute("data-lm-suppress-shortcuts", "true"); // else JupyterLab takes keys
  parts.svg = plot;
  const sample = (...nodes) => svg("svg", { width: 26, height: 16, viewBox: "-13 -8 26 16", "aria-hidden": "true" }, ...nodes);
  const key = html("p", { class: "tk-key" },
    html("span", {}, sample(svg("line", { x1: -12, x2: 12, class: "tk-roof" })), words.key_roof), html("span", {}, sample(svg("line", { x1: -12, x2: 12, class: "tk-thin" })), words.key_others),
    html("span", {}, sample(svg("path", { d: MARKS[0], class: "tk-mark" })), words.key_ran), html("span", {}, sample(svg("path", { d: MARKS[0], class: "tk-mark tk-open" })), words.key_best),
    ...(swept.length ? [html("span", {}, sample(svg("circle", { r: 2, class: "tk-swept" })), words.key_swept)] : []));
  parts.picture.append(remark, heading, key, picture, caption);

  const choice = html("select", { onchange: () => move({ card: Number(choice.value) }) },
    ...cards.map(({ name }, at) => html("option", { value: at }, name)));
  const field = html("label", { class: "tk-field" }, html("span", {}, words.card), choice);
  const radios = inOrder.map(({ at }) => html("input", { type: "radio", name: id, value: at, onchange: () => move({ point: at }) }));
  const keys = inOrder.map(() => svg("svg", { width: 18, height: 18, viewBox: "-9 -9 18 18", "aria-hidden": "true" }));
  const kernels = html("div", { class: "tk-kernels", role: "radiogroup", "aria-label": words.point },
    ...inOrder.map(({ name }, row) => html("label", {}, radios[row], keys[row], name)));

  const grow = range(words.batch, { max: Math.max(0, batches.length - 1), oninput: (step) => move({ batch: batches[step] }) });

  // State: what the reader sets goes through the model, so that Python and links see it too.

  const card = () => cards[clamp(model.get("card"), cards.length)];
  const point = () => points[clamp(model.get("point"), points.length)];
  const step = () => Math.max(0, batches.findLastIndex((batch) => batch <= model.get("batch")));
  const ran = (one) => one.on === card().at;

  function move(values) {
    put(values);
    update();
    model.save_changes();
  }

  function arrow(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!by || !model.get("revealed")) return;
    event.preventDefault();
    if (event.key === "ArrowUp" || event.key === "ArrowDown") move({ card: clamp(card().at + by, cards.length) });
    else move({ point: inOrder[clamp(inOrder.indexOf(point()) + by, points.length)].at });
  }

  function reveal(guess) {
    put({ revealed: true });
    update();
    remark.textContent = guess === null ? "" : fill(words.guessed, { ...numbers(point()), guess });
    parts.say([remark.textContent, fill(words.summary, numbers(point()))].join(" ").trim());
    model.save_changes();
    radios.find((radio) => radio.checked).focus({ preventScroll: true });
  }

  // Words.

  function numbers(one) {
    const { name, peak, bandwidth, ridge, source } = card();
    const best = attainable(peak, bandwidth, one.intensity), limit = one.intensity < ridge ? "memory" : "compute";
    const said = {
      name: one.at < fixed ? one.name : fill(words.swept, { name: one.name, batch: batches[step()] }), card: name, limit, bound: words[limit], intensity: significant(one.intensity), flops: sized(one.flops, "FLOP"), bytes: sized(one.bytes, "B"),
      best: rate(best), share: percent(best / peak), peak: rate(peak), bandwidth: sized(bandwidth, "B/s"), ridge: significant(ridge), source, measured: "",
    };
    if (!ran(one)) return said;
    const above = one.achieved > best;
    Object.assign(said, { above, achieved: rate(one.achieved), part: percent(one.achieved / best) });
    return { ...said, measured: fill(above ? words.ran_above : words.ran, said) };
  }

  function rows() {
    const shown = model.get("revealed");
    const head = ["name", "flops", "bytes", "intensity", "bound", "best", "share", "ran"];
    return [head.map((name) => words[`column_${name}`]), ...inOrder.map((one) => {
      const said = numbers(one);
      const found = [said.bound, said.best, said.share, said.achieved ?? "–"];
      return [said.name, said.flops, said.bytes, said.intensity, ...found.map((text) => (shown ? text : "?"))];
    })];
  }

  function tell() {
    if (about?.point !== undefined) {
      const said = numbers(points[about.point]);
      caption.textContent = fill(words.about_point, { ...said, limit: words[`limit_${said.limit}`] });
      return;
    }
    const { name, peak, bandwidth, ridge, source } = about ? cards[about.card] : card();
    caption.textContent = fill(words.about_card, { card: name, peak: rate(peak), bandwidth: sized(bandwidth, "B/s"), ridge: significant(ridge), source });
  }

  function control() {
    const said = numbers(point());
    if (!model.get("revealed")) {
      if (parts.controls.childElementCount) return;
      const button = (text, onclick, more = {}) => html("button", { type: "button", onclick, ...more }, text);
      parts.controls.replaceChildren(html("p", { class: "tk-ask" }, fill(words.ask, said)),
        ...[...SHARES, 2].map((_, at) => button(words[`share_${at}`], () => reveal(words[`share_${at}`]), { class: "tk-main" })),
        button(words.skip, () => reveal(null)));
      return;
    }
    if (!field.isConnected) parts.controls.replaceChildren(field, ...(swept.length ? [grow.node] : []), kernels);
    if (swept.length) grow.show(step(), String(batches[step()]));
    choice.value = card().at;
    radios.forEach((radio, row) => {
      radio.checked = inOrder[row] === point();
      keys[row].replaceChildren(mark(inOrder[row], 0, 0));
    });
  }

  function readout() {
    const said = numbers(point());
    const show = (value) => (model.get("revealed") ? value : "?");
    const of = !said.achieved ? words.ran_not : fill(said.above ? words.ran_above_of : words.ran_of, said);
    parts.readout.replaceChildren(figures([
      [words.have, said.intensity, fill(words.have_of, said)],
      [words.best, show(said.best), model.get("revealed") ? fill(words.best_of, said) : ""],
      [words.ran_here, show(said.achieved ?? "–"), model.get("revealed") ? of : ""],
    ]));
  }

  // The picture.

  function mark(one, x, y, open = !ran(one)) {
    return svg("path", { d: MARKS[one.at], transform: `translate(${x} ${y})`, class: open ? "tk-mark tk-open" : "tk-mark" });
  }

  /** The first of some places, left end and base line, where a label of some width meets nothing: its box, now taken too. */
  function place(places, wide, taken, must) {
    const boxes = places.map(([left, base]) => [left, base - 13, left + wide, base + 4]).filter(([left, top, right]) => left >= LEFT && right <= width - RIGHT && top >= 0);
    const free = boxes.find((box) => taken.every((other) => box[2] < other[0] || other[2] < box[0] || box[3] < other[1] || other[3] < box[1]));
    const box = free ?? (must ? boxes[0] : undefined);
    if (box) taken.push(box);
    return box;
  }

  /** Places around a mark, the nearest first: right, left, and in rows below and above. */
  function around([x, y], wide) {
    const rows = [1, -1, 2, -2, 3, -3].map((row) => y + 5 + row * (ROW + 1));
    const sides = [x - wide / 2, x + REACH, x - REACH - wide];
    return [[x + REACH + 3, y + 5], [x - REACH - 3 - wide, y + 5], ...rows.flatMap((base) => sides.map((left) => [left, base]))];
  }

  function draw() {
    if (!width) return;
    const shown = model.get("revealed"), now = point();
    const tall = Math.round(Math.min(MOST, Math.max(LEAST, 0.52 * width)));
    const floor = tall - BOTTOM, right = width - RIGHT;
    const own = extent.map((one) => one.intensity), ridges = cards.map(({ ridge }) => ridge);
    const least = Math.min(...own.map((value) => value / ROOM), ...ridges.map((value) => value / ROOM ** 2));
    const most = Math.max(...own.map((value) => value * ROOM), ...ridges.map((value) => value * ROOM ** 2));
    const speeds = extent.flatMap((one) => [...cards.map(({ peak, bandwidth }) => attainable(peak, bandwidth, one.intensity)), ...(one.achieved ? [one.achieved] : [])]);
    const low = Math.min(...speeds) / ROOM, high = Math.max(...speeds, ...cards.map(({ peak }) => peak)) * ROOM ** 0.5;
    const x = (intensity) => LEFT + ((log(intensity) - log(least)) / (log(most) - log(least))) * (right - LEFT);
    const y = (speed) => floor - ((log(speed) - log(low)) / (log(high) - log(low))) * (floor - TOP);
    const line = (x1, y1, x2, y2, name) => svg("line", { x1, y1, x2, y2, class: name });
    const write = (left, base, text, name, anchor = "start") => svg("text", { x: left, y: base, class: name, "text-anchor": anchor }, text);
    const outline = ({ peak, bandwidth }) => `M${x(least)} ${y(least * bandwidth)}L${x(peak / bandwidth)} ${y(peak)}H${right}`;
    const decades = (from, to) => Array.from({ length: 40 }, (_, power) => 10 ** (power - 10)).filter((value) => value >= from && value <= to);
    const ticks = decades(low, high), every = Math.ceil(24 / (y(1) - y(10)));
    const bend = x(roof.peak / roof.bandwidth);
    const measure = (text, { size = 13, weight = 600 } = {}) => {
      ruler.font = `${weight} ${size}px ${getComputedStyle(el).fontFamily}`;
      return Math.ceil(ruler.measureText(text).width);
    };

    const at = (one, open = !ran(one)) => [x(one.intensity), y(open ? attainable(roof.peak, roof.bandwidth, one.intensity) : one.achieved)];
    const guide = at(now, true);
    const taken = [[0, floor + 1, width, tall]];
    const zones = [["memory", LEFT, bend], ["compute", bend, right]].flatMap(([name, from, to]) => {
      const wide = measure(words[name]), left = (from + to - wide) / 2;
      if (wide + 12 > to - from) return [];
      taken.push([left, floor - 22, left + wide, floor]);
      return write(left, floor - 8, words[name], "tk-zone");
    });
    const all = shown ? [now, ...points.filter((one) => one !== now)] : [];
    taken.push(...all.map((one) => at(one)).map(([left, top]) => [left - REACH, top - REACH, left + REACH, top + REACH]));

    // Names of cards above the flat parts, of kernels beside their marks; what finds no room is left to hover and table.
    const names = [];
    for (const one of [card(), ...cards.filter((other) => other !== card())]) {
      const same = names.find(([first]) => first.peak === one.peak);
      if (same) same.push(one);
      else names.push([one]);
    }
    const label = ([first, ...others], must = false) => {
      const text = first === card() ? `${first.name} ${rate(first.peak)}` : first.name;
      const rest = others.map((other) => `${other.name} · `).join("");
      const wide = measure(rest + text, { size: 12 }), base = y(first === card() ? roof.peak : first.peak);
      const lefts = [0, 0.25, 0.5, 0.75].map((share) => right - 4 - wide - share * Math.max(0, right - x(first.ridge) - wide));
      const bases = must ? [base - 6, base + ROW] : [base - 6]; // below, it could be the name of the next roof
      const box = place(bases.flatMap((at) => lefts.map((left) => [left, at])), wide, taken, must);
      if (!box) return rest ? label([first], must) : [];
      return [svg("text", { x: box[2], y: box[1] + 13, "text-anchor": "end", class: "tk-roof-name" }, rest, svg("tspan", { class: first === card() ? "tk-own" : "tk-other" }, text))];
    };
    const mine = label(names[0], true);
    const marks = all.map((one) => {
      const group = svg("g", { class: one === now ? "tk-point tk-now" : "tk-point", "data-point": one.at }, svg("circle", { cx: at(one)[0], cy: at(one)[1], r: 14, class: "tk-target" }));
      if (one === now && ran(one)) {
        group.append(line(...at(one), ...guide, "tk-lost"));
        if (Math.abs(at(one)[1] - guide[1]) > GHOST) group.append(mark(one, ...guide, true));
      }
      group.append(mark(one, ...at(one)));
      const wide = measure(one.name, { weight: one === now ? 600 : 400 }), box = place(around(at(one), wide), wide, taken, one === now);
      if (box) group.append(write(box[0], box[1] + 13, one.name, "tk-name"));
      return group;
    }).reverse(); // the chosen one on top
    const others = names.slice(1).flatMap((some) => label(some));

    plot.setAttribute("width", width);
    plot.setAttribute("height", tall);
    plot.replaceChildren(
      svg("defs", {}, svg("clipPath", { id: `${id}-clip` }, svg("rect", { x: LEFT, y: TOP - 10, width: right - LEFT, height: floor - TOP + 10 }))),
      svg("g", { "clip-path": `url(#${id}-clip)` },
        svg("path", { d: `M${x(least)} ${y(least * roof.bandwidth)}L${bend} ${y(roof.peak)}V${2 * tall}H${x(least)}Z`, class: "tk-slope" }),
        svg("rect", { x: bend, y: y(roof.peak), width: Math.max(0, right - bend), height: tall, class: "tk-flat" })),
      ...decades(least, most).flatMap((value) => [line(x(value), TOP, x(value), floor, "tk-grid"), write(x(value), floor + 16, significant(value), "tk-tick", "middle")]),
      ...ticks.flatMap((value, row) => [line(LEFT, y(value), right, y(value), "tk-grid"), write(LEFT - 6, y(value) + 4, row % every ? "" : sized(value, ""), "tk-tick", "end")]),
      write(0, 13, words.speed, "tk-tick"), write(right, floor + 36, words.intensity, "tk-tick", "end"),
      svg("g", { "clip-path": `url(#${id}-clip)` },
        ...cards.filter((one) => one !== card()).map((one) => svg("g", { class: "tk-card", "data-card": one.at }, svg("path", { d: outline(one), class: "tk-target" }), svg("path", { d: outline(one), class: "tk-thin" }))),
        line(bend, y(roof.peak), bend, floor, "tk-ridge"), line(...guide, guide[0], floor, "tk-guide"),
        svg("path", { d: outline(roof), class: "tk-roof" })),
      ...(shown ? swept.flat().map((one) => svg("circle", { cx: at(one)[0], cy: at(one)[1], r: 2, class: "tk-swept" })) : []),
      ...zones, ...others, ...mine, ...marks);
  }

  // What follows what.

  function update() {
    for (const one of swept[step()] ?? []) Object.assign(points[one.at], one);
    const said = numbers(point()), shown = model.get("revealed");
    about = null;
    remark.textContent = "";
    control();
    heading.textContent = shown ? fill(words[`heading_${said.limit}`], said) : "";
    readout();
    tell();
    parts.say(fill(shown ? words.summary : words.summary_waiting, said));
    parts.refresh();
    stop();
    const { peak, bandwidth } = card(), from = roof ?? { peak, bandwidth };
    if (from.peak === peak && from.bandwidth === bandwidth) roof = { peak, bandwidth };
    else {
      stop = animate((share) => {
        const between = (name, to) => (share === 1 ? to : from[name] ** (1 - share) * to ** share);
        roof = { peak: between("peak", peak), bandwidth: between("bandwidth", bandwidth) };
        draw();
      });
    }
    draw();
  }

  function over({ target }) {
    const { point: at, card: which } = target.closest?.("[data-point], [data-card]")?.dataset ?? {};
    about = at !== undefined ? { point: Number(at) } : which !== undefined ? { card: Number(which) } : null;
    for (const node of plot.querySelectorAll("[data-point], [data-card]")) node.classList.toggle("tk-over", node.contains(target));
    tell();
  }
  plot.addEventListener("pointerover", over);
  plot.addEventListener("pointerleave", () => over({ target: plot }));
  plot.addEventListener("click", () => {
    if (!about || !model.get("revealed")) return;
    move(about);
  });

  function linked() {
    put({ revealed: true });
    update();
    queueMicrotask(() => { // only when all are there: a link sets them one after the other
      put({ card: card().at, point: point().at, ...(swept.length && { batch: batches[step()] }) });
      model.save_changes();
    });
  }

  const listening = follow(model, { card: linked, point: linked, ...(swept.length && { batch: linked }), revealed: update });
  const { put } = listening;
  update();
  const end = onWidth(picture, (to) => { width = to; draw(); });

  return () => {
    stop();
    end();
    listening.end();
  };
}

export default { render };
