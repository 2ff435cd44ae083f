// Tiles: a recorded run of a kernel, step by step: which program moves which tile of which tensor.

import { figures, fill, follow, frame, html, onWidth, player, range, significant, sized, svg } from "./widget.js";

const KINDS = ["load", "store", "atomic", "dot"], LOAD = 0, DOT = 3;
const TALLEST = 230, TALL = 160, SHORTEST = 90, THIN = 14, LEAST = 24, BETWEEN = 12, HEAD = 36, LINE = 18, FLAT = 15, LOW = 60; // pixels
const SWATCH = 36, MOST_CELL = 40, LEAST_CELL = 4, MOST_MAP = 200, LISTED = 500;

/**
 * For the event at `at`, the loads whose tiles its program holds on chip, in the order of their
 * lines: each line holds the last tile of a tensor that it loaded. toolkit/viz/tiles.py has the same rule.
 */
export function held({ program, kind, tensor, line, box }, at) {
  const last = new Map();
  for (let event = at; event >= 0 && program[event] === program[at]; event--) {
    const by = `${line[event]} ${tensor[event]}`;
    if (kind[event] === LOAD && !last.has(by)) last.set(by, event);
  }
  return [...last.values()].filter((event) => box[event] >= 0).sort((a, b) => line[a] - line[b] || tensor[a] - tensor[b]);
}

/** A tile as an index expression, from start and stop of each dimension. */
export function tileName(name, shape, box) {
  const parts = shape.map((extent, axis) => {
    const [start, stop] = [box[2 * axis], box[2 * axis + 1]];
    return stop - start === 1 ? String(start) : stop - start === extent ? ":" : `${start}:${stop}`;
  });
  return parts.length ? `${name}[${parts.join(", ")}]` : name;
}

const within = (least, most, number) => Math.min(most, Math.max(least, number));
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
const counted = (number) => number.toLocaleString("en-US");

function render({ model, el }) {
  const words = model.get("words"), record = model.get("record");
  const { names, shapes, programs, boxes, program, kind, tensor, box, line, flops } = record;
  const events = kind.length, lines = record.source.split("\n");
  const starts = programs.map((_, at) => program.indexOf(at));
  const lengths = programs.map((_, at) => (starts[at + 1] ?? events) - starts[at]);
  const total = { bytes: sum(record.bytes), flops: sum(flops) };
  const slotsOf = (one) => [...new Set(kind.flatMap((of, at) => (of === LOAD && program[at] === one && tensor[at] >= 0 ? [`${line[at]} ${tensor[at]}`] : [])))]
    .map((by) => by.split(" ").map(Number)).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const dims = shapes.map((shape, at) => [1, 1, ...shape.slice(record.leading[at])].slice(-2));
  /** Columns and rows of the tile of an access. */
  const sides = (event) => {
    const [top, bottom, left, right] = [0, 1, 0, 1, ...boxes[box[event]].slice(2 * record.leading[tensor[event]])].slice(-4);
    return [right - left, bottom - top];
  };
  const longest = Math.max(1, ...kind.flatMap((of, at) => (of === LOAD && tensor[at] >= 0 && box[at] >= 0 ? sides(at) : [])));
  const ruler = html("canvas").getContext("2d");
  const id = `tk-${Math.random().toString(36).slice(2)}`;
  let note = "", map = null, drawn = null;

  const parts = frame(el, words, rows);
  const memory = svg("svg", { role: "img" });
  const hbm = html("div", { class: "tk-hbm", tabindex: 0, role: "group", "aria-label": words.memory, onkeydown: arrow },
    html("p", { class: "tk-place" }, words.hbm), memory,
    ...(record.untouched.length ? [html("p", { class: "tk-fine" }, fill(words.untouched, { tensors: record.untouched.join(", ") }))] : []));
  const chip = html("div", { class: "tk-chip" });
  const visits = svg("svg", { "aria-hidden": "true" });
  const choice = html("select", { onchange: () => move({ tensor: Number(choice.value) }) },
    ...names.map((name, at) => html("option", { value: at }, name)));
  const grid = html("div", { class: "tk-scroll", tabindex: 0, role: "group", "aria-label": words.map, onkeydown: arrow }, visits);
  const about = html("p", { class: "tk-about" });
  const mapped = html("div", { class: "tk-visits" }, html("label", { class: "tk-place" }, html("span", {}, words.map_of), choice), grid, about);
  const remark = html("p", { class: "tk-remark" });
  const sentence = html("p", { class: "tk-now" });
  const code = html("p", { class: "tk-line" });
  const key = html("p", { class: "tk-key" }, ...["load", "held", "store", "loaded", "stored", "skipped"].map((name) => html("span", {},
    svg("svg", { width: 18, height: 14, "aria-hidden": "true" }, mark(name, 1, 1, 16, 12)), words[`key_${name}`])));
  const picture = html("div", { class: "tk-run" }, hbm, chip, mapped);
  const problems = html("div", { class: "tk-problems" });
  el.classList.add("tk-tiles");
  el.setAttribute("data-lm-suppress-shortcuts", "true"); // else JupyterLab takes keys
  parts.svg = memory;
  parts.picture.append(
    svg("svg", { width: 0, height: 0, "aria-hidden": "true", class: "tk-patterns" }, svg("defs", {}, ...["held", "store", "skipped"].map(pattern))),
    remark, sentence, code, picture, key, problems);

  const button = (text, onclick, attributes) => html("button", { type: "button", onclick, ...attributes }, text);
  const scrub = range(words.step, { max: events - 1, oninput: (step) => move({ step }) });
  const back = button(words.back, () => go(-1));
  const forward = button(words.forward, () => go(1));
  const { button: play, pause } = player(words, () => {
    if (now().step === events - 1) move({ step: 0 });
    return within(60, 700, 15000 / events);
  }, () => {
    move({ step: now().step + 1 }, true);
    return now().step === events - 1;
  });
  const stepper = html("div", { class: "tk-steps" }, back, play, forward, scrub.node);
  const chooser = range(words.program, { max: programs.length - 1, oninput: (at) => move({ step: starts[at] }) });

  // What the reader sets goes through the model, so that Python and links see it.

  function now() {
    const step = within(0, events - 1, model.get("step")), at = program[step];
    return { step, at, inside: step - starts[at], of: lengths[at], tensor: within(0, Math.max(0, names.length - 1), model.get("tensor")), shown: model.get("revealed") };
  }

  function move(values, playing = false) {
    if (!playing) pause();
    put(values);
    const { step, tensor } = now();
    put({ step, tensor });
    note = "";
    update();
    model.save_changes();
  }

  function go(by) {
    move({ step: now().step + by });
  }

  function arrow(event) {
    const along = { ArrowLeft: -1, ArrowRight: 1 }[event.key], among = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const { at, shown } = now();
    if (!shown || (!along && !among)) return;
    event.preventDefault();
    if (along) go(along);
    else move({ step: starts[within(0, programs.length - 1, at + among)] });
  }

  function reveal(guessed) {
    put({ revealed: true });
    const said = { ...asked(), guess: times(guessed ?? 0) };
    note = guessed === null ? "" : fill(guessed === record.times ? words.guessed_right : words.guessed, said);
    update();
    model.save_changes();
    scrub.input.focus({ preventScroll: true });
  }

  // Words for what the record has in numbers.

  const listed = (numbers) => `(${numbers.join(", ")})`;
  const times = (count) => (count === 1 ? words.once : fill(words.times, { times: significant(count) }));
  const tileOf = (event) => (box[event] < 0 ? fill(words.nothing, { tensor: names[tensor[event]] ?? words.nowhere })
    : tensor[event] < 0 ? words.nowhere : tileName(names[tensor[event]], shapes[tensor[event]], boxes[box[event]]));

  function does(event) {
    const block = boxes[box[event]]?.join(" × ");
    return fill(words[`does_${KINDS[kind[event]]}`], { tile: tileOf(event), bytes: sized(record.bytes[event]), block, flops: sized(flops[event], "FLOP") });
  }

  const sizeOf = (of) => record.sizes[of] * (shapes[of] ?? []).reduce((a, b) => a * b, 1);

  function asked() {
    const size = sizeOf(record.guess);
    return { tensor: names[record.guess], size: sized(size), programs: counted(programs.length), times: times(record.times), loaded: sized(record.times * size) };
  }

  function numbers({ step, at, inside, of }) {
    const on = held(record, step);
    return {
      ...asked(), program: listed(programs[at]), step: inside + 1, steps: of, all: counted(step + 1), events: counted(events), does: does(step),
      held: on.map(tileOf).join(", ") || words.nothing_held, size: sized(sum(on.map((event) => record.bytes[event]))),
      moved: sized(sum(record.bytes.slice(0, step + 1))), bytes: sized(total.bytes),
      computed: sized(sum(flops.slice(0, step + 1)), "FLOP"), flops: sized(total.flops, "FLOP"),
    };
  }

  // Controls and readout.

  function control(at) {
    if (!at.shown) {
      if (parts.controls.childElementCount) return;
      parts.controls.replaceChildren(html("p", { class: "tk-ask" }, fill(words.ask, asked())),
        ...record.choices.map((guess) => button(times(guess), () => reveal(guess), { class: "tk-main" })), button(words.skip, () => reveal(null)));
      return;
    }
    if (!stepper.isConnected) parts.controls.replaceChildren(stepper, ...(programs.length > 1 ? [chooser.node] : []));
    const said = fill(words.step_of, { step: counted(at.step + 1), events: counted(events) });
    scrub.show(at.step, said, `${said}: ${does(at.step)}`);
    chooser.show(at.at, listed(programs[at.at]));
    choice.value = at.tensor;
    back.disabled = at.step === 0;
    forward.disabled = at.step === events - 1;
  }

  function readout(at) {
    const said = numbers(at), moved = sum(record.bytes.slice(0, at.step + 1)), done = sum(flops.slice(0, at.step + 1));
    const show = (text) => (at.shown ? text : "?");
    const ratio = (operations, size) => (size ? significant(operations / size) : "–");
    const whole = ratio(total.flops + record.vector_flops, total.bytes);
    const plain = { flops: significant(total.flops), vector: significant(record.vector_flops) };
    parts.readout.replaceChildren(figures([
      [words.program, said.program, fill(words.program_of, { place: at.at + 1, programs: programs.length, grid: record.grid.join(" × ") })],
      [words.step, fill(words.step_of, { step: said.step, events: said.steps }), words.step_in],
      [words.bytes, said.moved, show(fill(words.bytes_of, said))],
      total.flops ? [words.flops, significant(done), show(fill(record.vector_flops ? words.flops_and : words.flops_of, plain))]
        : [words.flops_all, plain.vector, words.flops_vector],
      [words.intensity, total.flops ? ratio(done, moved) : show(whole), total.flops ? show(fill(words.intensity_of, { whole })) : words.intensity_whole],
    ]));
  }

  /** Problems below the picture: each leads to the access that it is of. */
  const leads = record.problem_text.map((text, of) => button("", () => {
    put({ revealed: true });
    move({ step: record.problem_step[of], ...(record.problem_tensor[of] < 0 ? {} : { tensor: record.problem_tensor[of] }) });
  }, { disabled: record.problem_step[of] < 0 }));
  leads.forEach((lead, of) => lead.append(html("strong", {}, faultOf(of)), ` ${record.problem_text[of]}`));
  if (leads.length) problems.append(html("p", { class: "tk-place" }, words.problems), html("ul", {}, ...leads.map((lead) => html("li", {}, lead))));

  function faultOf(of) {
    return fill(words.fault, { kind: words[`fault_${record.problem_kind[of].replaceAll(" ", "_")}`] });
  }

  // The picture.

  function pattern(name) {
    const skew = { held: "rotate(45)", skipped: "rotate(-45)", store: "rotate(90)" }[name];
    return svg("pattern", { id: `${id}-${name}`, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: skew },
      svg("rect", { width: 5, height: 5, class: `tk-ground-${name}` }), svg("line", { y2: 5, class: `tk-hatch-${name}` }));
  }

  const families = {};

  function measure(size, mono = false) {
    families[mono] ??= getComputedStyle(mono ? code.lastChild : el).fontFamily;
    const font = `${size} ${families[mono]}`;
    return (text) => { ruler.font = font; return ruler.measureText(text).width; };
  }

  /** A tile in the look of its state. */
  function mark(name, x, y, width, height) {
    const look = { held: "held", store: "store", atomic: "store", skipped: "skipped" }[name];
    return svg("rect", { x, y, width, height, class: `tk-mark tk-is-${name}`, ...(look ? { fill: `url(#${id}-${look})` } : {}) });
  }

  /** The leading dimensions shown of a tensor: those of the program's last access to it, or of its next. */
  function sliceOf(of, { step, at }) {
    const mine = (event) => tensor[event] === of && box[event] >= 0;
    let found = step;
    while (found >= starts[at] && !mine(found)) found--;
    if (found < starts[at]) for (found = step; found < events && !mine(found);) found++;
    if (found >= events) found = tensor.findIndex((_, event) => mine(event));
    return Array.from({ length: record.leading[of] }, (_, axis) => boxes[box[found]]?.[2 * axis] ?? 0);
  }

  const inSlice = (bounds, slice) => slice.every((index, axis) => bounds[2 * axis] <= index && index < bounds[2 * axis + 1]);

  /** Where each tensor stands: side by side where there is room, else in rows. */
  function places(width, heads) {
    const standing = (at) => (dims[at][0] === 1 && dims.some(([rows]) => rows > 1 && rows === dims[at][1]));
    const turned = dims.map((dim, at) => (standing(at) ? [dim[1], dim[0]] : dim));
    const wide = turned.map(([, columns]) => columns), tall = turned.map(([rows]) => rows);
    const side = (count, by) => Math.max(count * by, count === 1 ? THIN : Math.min(LEAST, 6 * count));
    const most = Math.max(...tall);
    const across = (by) => sum(wide.map((columns, at) => Math.max(side(columns, by), heads[at]))) + BETWEEN * (wide.length - 1);
    let fit = TALLEST / most;
    while (across(fit) > width && fit * most > SHORTEST) fit *= 0.97;
    if (across(fit) > width) fit = Math.min(TALL / most, width / Math.max(...wide));
    let x = 0, y = 0, row = 0;
    const placed = turned.map(([rows, columns], at) => {
      const w = Math.min(width, side(columns, fit)), h = side(rows, fit), taken = Math.max(w, heads[at]);
      if (x && x + taken > width) { x = 0; y += row + BETWEEN; row = 0; }
      const place = { x, y: y + HEAD, w, h, turned: standing(at) };
      x += taken + BETWEEN;
      row = Math.max(row, HEAD + h + (h < LOW || record.problem_text.length ? LINE : 4));
      return place;
    });
    return { placed, height: y + row };
  }

  /** The rectangle of a tile, in pixels from the corner of its tensor. */
  function area(of, bounds, { w, h, turned }) {
    const [rows, columns] = dims[of];
    const [top, bottom, left, right] = [0, 1, 0, 1, ...bounds.slice(2 * record.leading[of])].slice(-4);
    const flat = [(left / columns) * w, (top / rows) * h, ((right - left) / columns) * w, ((bottom - top) / rows) * h];
    return turned ? [0, (left / columns) * h, w, ((right - left) / columns) * h] : flat;
  }

  const outline = ([x, y, w, h]) => `M${x.toFixed(2)} ${y.toFixed(2)}h${w.toFixed(2)}v${h.toFixed(2)}h${(-w).toFixed(2)}z`;

  function plot(at) {
    const width = memory.parentNode.clientWidth - 2 * THIN;
    if (width <= 0) return;
    const { step } = at, on = new Set(held(record, step));
    const slices = names.map((_, of) => sliceOf(of, at));
    const titles = names.map((name, of) => (slices[of].length ? `${name}[${slices[of].join(", ")}]` : name));
    const sizes = dims.map(([rows, columns]) => (rows > 1 ? `${rows} × ${columns}` : String(columns)));
    const wide = measure("600 12px", true), narrow = measure("12px"), bold = measure("600 12px");
    const wrong = names.map((_, of) => record.problem_kind.flatMap((_, one) => (record.problem_tensor[one] === of && record.problem_element[one].length ? [one] : [])));
    const heads = titles.map((title, of) => Math.ceil(Math.max(wide(title), narrow(sizes[of]), ...wrong[of].slice(0, 1).map((one) => bold(faultOf(one))))));
    const { placed, height } = places(width, heads);
    drawn = placed;
    memory.setAttribute("width", width);
    memory.setAttribute("height", height);
    memory.replaceChildren(...names.map((_, of) => {
      const place = placed[of], { x, y, w, h } = place;
      const seen = { loaded: new Set(), stored: new Set() };
      for (let event = 0; event <= step; event++) {
        if (tensor[event] === of && box[event] >= 0 && inSlice(boxes[box[event]], slices[of])) seen[kind[event] === LOAD ? "loaded" : "stored"].add(box[event]);
      }
      const inside = (event) => tensor[event] === of && box[event] >= 0;
      const rect = (event, name) => mark(name, ...area(of, boxes[box[event]], place));
      const path = (name) => svg("path", { d: [...seen[name]].map((one) => outline(area(of, boxes[one], place))).join(""), class: `tk-${name}` });
      const crosses = wrong[of].filter((one) => inSlice(record.problem_element[one].flatMap((index) => [index, index + 1]), slices[of]));
      return svg("g", { transform: `translate(${x.toFixed(2)} ${y})`, "data-tensor": of },
        svg("text", { y: -22, class: "tk-name" }, titles[of]), svg("text", { y: -7, class: "tk-shape" }, sizes[of]),
        svg("rect", { width: w, height: h, class: "tk-empty" }), path("loaded"), path("stored"),
        ...[...on].filter((event) => inside(event) && event !== step).map((event) => rect(event, "held")),
        ...(inside(step) ? [rect(step, KINDS[kind[step]]), label(area(of, boxes[box[step]], place), words[`mark_${KINDS[kind[step]]}`], place, width)] : []),
        svg("rect", { width: w, height: h, class: "tk-frame" }),
        ...crosses.map((one) => cross(of, record.problem_element[one], place)),
        ...wrong[of].slice(0, 1).map((one) => svg("text", { y: h + 14, class: "tk-fault" }, faultOf(one))));
    }));
  }

  /** On its tile, or where that is too small beside it, or under the tensor. */
  function label([x, y, w, h], text, place, width) {
    const long = measure("600 12px")(text), middle = y + h / 2 + 4;
    const word = (at, y, anchor) => svg("text", { x: at, y, "text-anchor": anchor, class: "tk-deed" }, text);
    if (h >= FLAT && w >= long) return word(x + w / 2, middle, "middle");
    if (place.x + x + w + 5 + long <= width + THIN - 2) return word(x + w + 5, middle, "start");
    if (place.x + x - 5 - long >= 0) return word(x - 5, middle, "end");
    return word(within(long / 2 - place.x, width - place.x - long / 2, x + w / 2), place.h + 13, "middle");
  }

  function cross(of, element, place) {
    const bounds = element.flatMap((index, axis) => { const to = within(0, shapes[of][axis] - 1, index); return [to, to + 1]; });
    const [x, y, w, h] = area(of, bounds, place);
    return svg("path", { d: "M-5 -5L5 5M-5 5L5 -5", transform: `translate(${(x + w / 2).toFixed(1)} ${(y + h / 2).toFixed(1)})`, class: "tk-cross" });
  }

  /** What is on chip: a place for each line that loads, and the dot. */
  function fillChip({ step, at }) {
    const on = held(record, step), dot = kind[step] === DOT;
    const place = ([from, of]) => {
      const event = on.find((one) => line[one] === from && tensor[one] === of);
      const loading = event === step;
      const [wide, tall] = event === undefined ? [30, 18] : sides(event).map((side) => Math.max(6, (SWATCH * side) / longest));
      return html("li", { class: event === undefined ? "tk-slot tk-free" : loading ? "tk-slot tk-coming" : "tk-slot" },
        svg("svg", { width: SWATCH + 2, height: SWATCH + 2, "aria-hidden": "true" },
          mark(event === undefined ? "free" : loading ? "load" : "held", (SWATCH + 2 - wide) / 2, (SWATCH + 2 - tall) / 2, wide, tall)),
        html("span", {}, html("code", {}, event === undefined ? names[of] : tileOf(event)),
          html("span", { class: "tk-fine" }, event === undefined ? fill(words.free, { line: from }) : fill(words.slot, { bytes: sized(record.bytes[event]), line: from }))));
    };
    chip.replaceChildren(
      html("p", { class: "tk-place" }, html("span", {}, words.chip), html("span", { class: "tk-held" }, sized(sum(on.map((event) => record.bytes[event]))))),
      html("ul", {}, ...slotsOf(at).map(place)),
      ...(total.flops ? [html("p", { class: dot ? "tk-dot tk-busy" : "tk-dot" }, html("code", {}, "tl.dot"),
        html("span", {}, dot ? boxes[box[step]].join(" × ") : words.idle))] : []));
  }

  function listing({ step }) {
    const text = lines[line[step] - record.first_line]?.trim();
    code.replaceChildren(html("span", { class: "tk-number" }, fill(words.line, { line: line[step] })), html("code", {}, text ?? words.elsewhere));
  }

  // The map of programs and tiles, of one tensor in the slice that the present program is in.

  const charts = new Map();

  /** Who touches what of a tensor in a slice: programs as rows, tiles as columns, and the first access of each cell. */
  function chartOf(of, slice) {
    const name = `${of} ${slice}`;
    if (charts.has(name)) return charts.get(name);
    const first = new Map(), shown = new Set(), visitors = new Set();
    tensor.forEach((one, event) => {
      if (one !== of || box[event] < 0 || !inSlice(boxes[box[event]], slice)) return;
      const cell = `${program[event]} ${box[event]}`;
      if (!first.has(cell)) first.set(cell, event);
      shown.add(box[event]);
      visitors.add(program[event]);
    });
    const columns = [...shown].sort((a, b) => {
      const axis = boxes[a].findIndex((number, place) => number !== boxes[b][place]);
      return boxes[a][axis] - boxes[b][axis];
    });
    const lines = programs.map((_, one) => one).filter((one) => !slice.length || visitors.has(one));
    const wide = record.grid.flatMap((extent, axis) => (extent > 1 ? [axis] : []));
    const free = shapes[of].map((_, axis) => axis).slice(slice.length).filter((axis) => columns.some((tile) => boxes[tile][2 * axis] !== boxes[columns[0]][2 * axis]));
    const found = {
      of, first, columns, lines, column: new Map(columns.map((tile, at) => [tile, at])), row: new Map(lines.map((one, at) => [one, at])),
      rowNames: lines.map((one) => wide.map((axis) => programs[one][axis]).join(", ") || "0"),
      columnNames: columns.map((tile) => free.map((axis) => boxes[tile][2 * axis]).join(", ")),
    };
    charts.set(name, found);
    return found;
  }

  function chart(at) {
    mapped.hidden = !at.shown || !names.length;
    const width = grid.clientWidth;
    if (mapped.hidden || width <= 0) { map = null; return; }
    const found = chartOf(at.tensor, sliceOf(at.tensor, at)), { first, columns, lines, rowNames, columnNames } = found;
    const tick = measure("11px"), wide = (texts) => Math.ceil(Math.max(0, ...texts.map(tick)));
    const left = wide(rowNames) + 22, top = 36;
    const w = within(LEAST_CELL, MOST_CELL, (width - left - 4) / Math.max(1, columns.length)), h = within(LEAST_CELL, MOST_CELL, MOST_MAP / lines.length);
    const across = columns.length * w, down = lines.length * h;
    const everyRow = Math.ceil(14 / h), everyColumn = Math.ceil((wide(columnNames) + 4) / w);
    const cells = { done: "", wrote: "", ahead: "" };
    for (const [cell, event] of first) {
      const [one, tile] = cell.split(" ").map(Number);
      cells[event > at.step ? "ahead" : kind[event] === LOAD ? "done" : "wrote"] += outline([left + found.column.get(tile) * w, top + found.row.get(one) * h, w, h]);
    }
    const row = found.row.get(at.at) ?? -1, column = tensor[at.step] === at.tensor ? found.column.get(box[at.step]) ?? -1 : -1;
    map = { ...found, left, top, w, h };
    visits.setAttribute("width", Math.ceil(Math.max(left + across + 2, left + tick(words.map_starts))));
    visits.setAttribute("height", Math.ceil(top + Math.max(down, tick(words.program) + 4) + 2));
    const text = (said, x, y, anchor) => svg("text", { x, y, "text-anchor": anchor, class: "tk-tick" }, said);
    visits.replaceChildren(
      text(words.map_starts, left, 12, "start"), svg("text", { transform: `translate(11 ${top}) rotate(-90)`, "text-anchor": "end", class: "tk-tick" }, words.program),
      ...rowNames.map((name, one) => (one % everyRow ? "" : text(name, left - 5, top + (one + 0.5) * h + 4, "end"))),
      ...columnNames.map((name, one) => (one % everyColumn || !name || left + one * w + tick(name) > Math.max(width, left + across) ? "" : text(name, left + one * w, top - 6, "start"))),
      svg("rect", { x: left, y: top, width: across, height: down, class: "tk-skipped", fill: `url(#${id}-skipped)` }),
      ...Object.entries(cells).map(([name, d]) => svg("path", { d, class: `tk-${name}` })),
      ...(row < 0 ? [] : [svg("rect", { x: left - 1, y: top + row * h - 0.5, width: across + 1, height: h + 1, class: "tk-row" })]),
      ...(row < 0 || column < 0 ? [] : [mark(KINDS[kind[at.step]], left + column * w, top + row * h, w, h)]));
    const y = top + row * h;
    if (row >= 0 && (y < grid.scrollTop || y + h > grid.scrollTop + grid.clientHeight)) grid.scrollTop = y - grid.clientHeight / 2;
    about.textContent = told({ row, column: column < 0 ? null : column });
  }

  /** The cell under a pointer as a row and a column, or null. */
  function cellAt({ clientX, clientY }) {
    if (!map) return null;
    const { left: x, top: y } = visits.getBoundingClientRect();
    const column = Math.floor((clientX - x - map.left) / map.w), row = Math.floor((clientY - y - map.top) / map.h);
    return column in map.columns && row in map.lines ? { row, column } : null;
  }

  function told({ row, column }) {
    if (column === null || row < 0) return fill(words.map_try, { tensor: names[map.of] });
    const one = map.lines[row], event = map.first.get(`${one} ${map.columns[column]}`);
    const said = { program: listed(programs[one]), tile: tileName(names[map.of], shapes[map.of], boxes[map.columns[column]]) };
    return event === undefined ? fill(words.cell_skipped, said) : fill(words.cell, { ...said, step: event - starts[one] + 1, does: does(event) });
  }

  /** Outline a tile of the map's tensor among the tensors, or none. */
  function light(tile) {
    memory.querySelector(".tk-over")?.remove();
    if (tile === undefined) return;
    const [x, y, width, height] = area(map.of, boxes[tile], drawn[map.of]);
    memory.querySelector(`[data-tensor="${map.of}"]`).append(svg("rect", { x, y, width, height, class: "tk-over" }));
  }

  visits.addEventListener("pointermove", (event) => {
    const cell = cellAt(event);
    light(cell ? map.columns[cell.column] : undefined);
    if (cell) about.textContent = told(cell);
  });
  visits.addEventListener("pointerleave", () => { light(); chart(now()); });
  memory.addEventListener("pointerover", ({ target }) => {
    const of = target.closest("[data-tensor]")?.dataset.tensor;
    if (of === undefined) return chart(now());
    const moved = (reads) => sum(record.bytes.filter((_, event) => event <= now().step && tensor[event] === Number(of) && (kind[event] === LOAD) === reads));
    about.textContent = fill(words.about, { tensor: names[of], shape: shapes[of].join(" × "), read: sized(moved(true)), written: sized(moved(false)), size: sized(sizeOf(of)) });
  });
  memory.addEventListener("pointerleave", () => chart(now()));
  memory.addEventListener("click", ({ target }) => {
    const of = target.closest("[data-tensor]")?.dataset.tensor;
    if (of !== undefined && now().shown) move({ tensor: Number(of) });
  });
  visits.addEventListener("click", (event) => {
    const cell = cellAt(event);
    if (!cell) return;
    const one = map.lines[cell.row];
    move({ step: map.first.get(`${one} ${map.columns[cell.column]}`) ?? starts[one] });
  });

  function rows() {
    const head = ["program", "step", "kind", "tile", "bytes", "flops", "line"].map((name) => words[`column_${name}`]);
    const body = kind.slice(0, now().shown ? LISTED : 0).map((of, event) => [
      listed(programs[program[event]]), String(event - starts[program[event]] + 1), words[`kind_${KINDS[of]}`],
      of === DOT ? boxes[box[event]].join(" × ") : tileOf(event), counted(record.bytes[event]), counted(flops[event]), String(line[event]),
    ]);
    const more = events > LISTED ? [[fill(words.first_of, { listed: LISTED, events: counted(events) }), "", "", "", "", "", ""]] : [];
    return [head, ...body, ...more];
  }

  // What follows what.

  function update() {
    const at = now(), said = numbers(at), count = record.problem_text.length;
    const faults = record.problem_step.flatMap((step, of) => (step === at.step ? [faultOf(of)] : []));
    control(at);
    remark.textContent = note;
    sentence.replaceChildren(svg("svg", { width: 18, height: 14, "aria-hidden": "true" }, mark(KINDS[kind[at.step]], 1, 1, 16, 12)),
      html("span", {}, fill(words.now, said), ...[...new Set(faults)].flatMap((fault) => [" ", html("strong", { class: "tk-badge" }, fault)])));
    listing(at);
    readout(at);
    leads.forEach((lead, of) => lead.setAttribute("aria-current", record.problem_step[of] === at.step));
    parts.say([note, at.shown ? fill(words.summary, said) : fill(words.summary_waiting, said), count && at.shown ? fill(words.summary_problems, { count }) : ""].filter(Boolean).join(" "));
    parts.refresh();
    draw();
  }

  function draw() {
    const at = now();
    picture.classList.toggle("tk-waiting", !at.shown);
    plot(at);
    fillChip(at);
    chart(at);
  }

  function linked() {
    if (!model.get("revealed")) put({ revealed: true });
    note = "";
    update();
    queueMicrotask(() => {
      const { step, tensor } = now();
      put({ step, tensor });
      model.save_changes();
    });
  }

  const listening = follow(model, { step: linked, tensor: linked, revealed: update });
  const { put } = listening;
  update();
  const end = onWidth(picture, draw);

  return () => {
    pause();
    end();
    listening.end();
  };
}

export default { render };
