// RadixTree: a tree of cached prefixes, step by step: found, split, put in, locked, evicted.

import { figures, fill, follow, frame, html, onWidth, percent, player, range, svg } from "./widget.js";

const EVENTS = ["match", "split", "insert", "evict", "lock", "unlock"];
const ROW = 31, BOX = 23, EDGE = 6, BETWEEN = 26, INDENT = 16, LEAST = 110, MOST = 420, ROOT = 40, LOCK = 15; // pixels
const LISTED = 24;

/** The rows of the record's nodes that are in the tree at a step; the one that the step evicts is too. */
export function alive({ start, end, evicted }, step) {
  return [...start.keys()].filter((at) => (start[at] <= step && step < end[at]) || (evicted[at] && end[at] === step));
}

/**
 * Where the nodes of a tree stand, parents before their children: leaves in rows, a parent in the
 * middle of its children. toolkit/viz/radix_tree_picture.py has the same rule.
 */
export function layout({ node, parent, order }, rows) {
  const children = new Map(), placed = [];
  for (const at of [...rows].sort((a, b) => order[a] - order[b])) {
    if (node[at]) children.set(parent[at], [...(children.get(parent[at]) ?? []), at]);
  }
  let leaves = 0;
  function place(at, depth) {
    const here = { at, depth, row: 0 };
    placed.push(here);
    const below = (children.get(node[at]) ?? []).map((child) => place(child, depth + 1));
    here.row = below.length ? (below[0] + below.at(-1)) / 2 : leaves++;
    return here.row;
  }
  place(rows.find((at) => node[at] === 0), 0);
  return placed;
}

/** The widths of columns that want so much, in so much room: no one gets more than it wants. */
export function shared(wants, room) {
  const widths = wants.map(() => 0);
  let left = room, open = [...wants.keys()];
  while (open.length) {
    const each = left / open.length, small = open.filter((at) => wants[at] <= each);
    for (const at of small.length ? small : open) {
      widths[at] = small.length ? wants[at] : each;
      left -= widths[at];
    }
    open = small.length ? open.filter((at) => wants[at] > each) : [];
  }
  return widths;
}

const within = (least, most, number) => Math.min(most, Math.max(least, number));
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
const counted = (number) => number.toLocaleString("en-US");

function render({ model, el }) {
  const words = model.get("words"), record = model.get("record");
  const { node, parent, tokens, locks, used, event, labels } = record;
  const steps = event.length, ruler = html("canvas").getContext("2d");
  const total = (kind, step = steps - 1) => sum(record.event_tokens.filter((_, at) => at <= step && event[at] === EVENTS.indexOf(kind)));
  const share = total("match") / (total("match") + total("insert"));
  let note = "", over = null, way = null, guess = 50, placed = [], drawn = null;

  const parts = frame(el, words, rows);
  const drawing = svg("svg", { role: "img" });
  const scroll = html("div", { class: "tk-scroll", tabindex: 0, role: "group", "aria-label": words.tree, onkeydown: arrow }, drawing);
  const remark = html("p", { class: "tk-remark" });
  const sentence = html("p", { class: "tk-now" });
  const about = html("p", { class: "tk-about" }), run = html("code");
  const through = html("p", { class: "tk-through" });
  const key = html("p", { class: "tk-key" }, ...["kept", "found", "new", "split", "locked", "gone"].map((name) => html("span", {},
    svg("svg", { width: 22, height: 16, "aria-hidden": "true" }, svg("g", { class: `tk-node tk-is-${name}` }, svg("rect", { x: 2, y: 2, width: 18, height: 12, rx: 3 }), ...(name === "locked" ? [padlock(7, 3)] : []))),
    words[`key_${name}`])));
  el.classList.add("tk-radix");
  el.setAttribute("data-lm-suppress-shortcuts", "true"); // else JupyterLab takes keys
  parts.svg = drawing;
  parts.picture.append(remark, sentence, scroll, key, html("div", { class: "tk-chosen" }, about, run, through));

  const button = (text, onclick, attributes) => html("button", { type: "button", onclick, ...attributes }, text);
  const scrub = range(words.step, { max: steps - 1, oninput: (step) => move({ step }) });
  const back = button(words.back, () => go(-1)), forward = button(words.forward, () => go(1));
  const { button: play, pause } = player(words, () => {
    if (now().step === steps - 1) move({ step: 0 });
    return within(120, 900, 20000 / steps);
  }, () => {
    move({ step: now().step + 1 }, true);
    return now().step === steps - 1;
  });
  const stepper = html("div", { class: "tk-steps" }, back, play, forward, scrub.node);

  // What the reader sets goes through the model, so that Python and links see it.

  function now() {
    const step = within(0, steps - 1, model.get("step")), live = alive(record, step), chosen = model.get("node");
    const gone = (at) => record.evicted[at] === 1 && record.end[at] === step;
    const of = (id) => live.find((at) => node[at] === id);
    return { step, live, kept: live.filter((at) => !gone(at)), gone, of, chosen, looked: of(over ?? chosen) ?? of(record.event_node[step]), shown: model.get("revealed") };
  }

  function move(values, playing = false) {
    if (!playing) pause();
    put(values);
    put(bent());
    note = "";
    over = way = null;
    update();
    model.save_changes();
  }

  const bent = () => ({ step: now().step, node: within(-1, node.reduce((a, b) => Math.max(a, b), 0), model.get("node")) });
  const go = (by) => move({ step: now().step + by });

  function arrow(pressed) {
    const along = { ArrowLeft: -1, ArrowRight: 1 }[pressed.key], among = { ArrowUp: -1, ArrowDown: 1 }[pressed.key], at = now();
    if (!at.shown || (!along && !among) || pressed.ctrlKey || pressed.metaKey || pressed.altKey) return;
    pressed.preventDefault();
    if (along) return go(along);
    const from = placed.findIndex((one) => one.at === at.looked);
    move({ node: node[placed[within(0, placed.length - 1, from + among)].at] });
  }

  function reveal(guessed) {
    put({ revealed: true });
    note = guessed === null ? "" : fill(words.guessed, { guess: percent(guessed / 100), share: percent(share), found: counted(total("match")), all: counted(total("match") + total("insert")) });
    update();
    model.save_changes();
    scrub.input.focus({ preventScroll: true });
  }

  // Words for what the record has in numbers.

  const tokenCount = (count) => (count === 1 ? words.one_token : fill(words.many_tokens, { tokens: counted(count) }));

  /** The rows of the nodes from the root's child to a node. */
  function path({ of }, id) {
    const found = [];
    for (let at = of(id); at !== undefined && node[at]; at = of(parent[at])) found.unshift(at);
    return found;
  }

  function told(at) {
    const { step } = at, kind = EVENTS[event[step]], id = record.event_node[step], request = record.event_request[step];
    const said = fill(words[kind === "match" && !record.event_tokens[step] ? "nothing" : kind], {
      tokens: tokenCount(record.event_tokens[step]), node: id, parent: record.event_parent[step],
      below: node[at.live.find((row) => node[row] && parent[row] === id)], way: tokenCount(sum(path(at, id).map((row) => tokens[row]))),
    });
    return request < 0 ? said : fill(words.on_behalf, { request, event: said });
  }

  function numbers(at) {
    const found = total("match", at.step), all = found + total("insert", at.step);
    return {
      step: at.step + 1, steps: counted(steps), event: told(at), nodes: counted(at.kept.length - 1), tokens: counted(sum(at.kept.map((row) => tokens[row]))),
      locked: counted(sum(at.kept.filter((row) => locks[row]).map((row) => tokens[row]))), found: counted(found), all: counted(all), share: percent(found / all),
      evicted: counted(total("evict", at.step)), leaves: counted(event.filter((of, row) => row <= at.step && of === EVENTS.indexOf("evict")).length),
    };
  }

  const requestsOf = (id, step) => record.visit_request.filter((_, at) => record.visit_node[at] === id && record.visit_step[at] <= step);

  // Controls and readout.

  function control(at) {
    if (at.shown) {
      if (!stepper.isConnected) parts.controls.replaceChildren(stepper);
      const said = fill(words.step_of, { step: counted(at.step + 1), steps: counted(steps) });
      scrub.show(at.step, said, `${said}: ${told(at)}`);
      back.disabled = at.step === 0;
      forward.disabled = at.step === steps - 1;
      return;
    }
    if (parts.controls.childElementCount) return;
    const slider = range(words.guess, { max: 100, oninput: (value) => { guess = value; slider.show(value, percent(value / 100)); } });
    slider.show(guess, percent(guess / 100));
    parts.controls.replaceChildren(html("p", { class: "tk-ask" }, fill(words.ask, { steps: counted(steps), all: counted(total("match") + total("insert")) })),
      slider.node, button(words.reveal, () => reveal(guess), { class: "tk-main" }), button(words.skip, () => reveal(null)));
  }

  function readout(at) {
    const said = numbers(at), show = (text) => (at.shown ? text : "?");
    parts.readout.replaceChildren(figures([
      [words.tokens, said.tokens, fill(words.tokens_of, said)], [words.locked, said.locked, words.locked_of],
      [words.found, show(said.found), show(fill(words.found_of, said))], [words.evicted, show(said.evicted), show(fill(words.evicted_of, said))],
    ]));
  }

  function look(at) {
    const row = at.looked, id = node[row], ids = id ? requestsOf(id, at.step) : [];
    about.textContent = !id ? words.about_root : fill(words.about, { node: id, parent: parent[row], tokens: tokenCount(tokens[row]), locks: locks[row], used: used[row] + 1 });
    run.textContent = id ? labels[record.label[row]] : "";
    const chips = ids.slice(0, LISTED).map((request) => button(String(request), () => move({ step: record.event_request.indexOf(request) }), {
      "aria-label": fill(words.go, { request }), onpointerenter: () => light(request), onfocus: () => light(request), onpointerleave: () => light(null), onblur: () => light(null), disabled: !at.shown,
    }));
    const more = ids.length > LISTED ? [fill(words.more, { count: counted(ids.length - LISTED) })] : [];
    through.replaceChildren(...(id ? [ids.length ? words.through : words.through_none, ...chips, ...more] : []));
    mark(at);
  }

  function light(request) {
    way = request;
    mark(now());
  }

  /** Outline the node that is looked at, and those that a request's text goes through. */
  function mark(at) {
    for (const group of drawing.querySelectorAll("[data-node]")) {
      const id = Number(group.dataset.node);
      group.classList.toggle("tk-looked", id === (over ?? at.chosen));
      group.classList.toggle("tk-way", way !== null && requestsOf(id, at.step).includes(way));
    }
  }

  // The picture.

  function padlock(x, y) {
    return svg("g", { transform: `translate(${x} ${y})`, class: "tk-lock" }, svg("path", { d: "M2 5V3a2 2 0 0 1 4 0v2" }), svg("rect", { y: 5, width: 8, height: 6, rx: 1 }));
  }

  function measured(text) {
    ruler.font = `12px ${getComputedStyle(run).fontFamily}`;
    return ruler.measureText(text).width;
  }

  function cut(text, room) {
    if (measured(text) <= room) return text;
    const letters = [...text];
    let kept = Math.min(letters.length - 1, Math.floor((letters.length * room) / measured(text)) + 1);
    while (kept > 0 && measured(`${letters.slice(0, kept).join("")}…`) > room) kept--;
    return kept ? `${letters.slice(0, kept).join("")}…` : "";
  }

  // In a box: a padlock and by how many, the node's number, its run, and how many tokens that has.
  const countOf = (row) => counted(tokens[row]), timesOf = (row) => (locks[row] > 1 ? `×${locks[row]}` : "");
  const front = (row) => EDGE + (locks[row] ? LOCK + measured(timesOf(row)) + (locks[row] > 1 ? 5 : 0) : 0) + measured(String(node[row])) + 2 * EDGE;
  const rear = (row) => 8 + measured(countOf(row)) + EDGE;
  const wanted = (row) => Math.min(MOST, front(row) + measured(labels[record.label[row]]) + rear(row) + 1);

  /** Each node's box: in columns by depth where there is room, else one below another and indented. */
  function boxes(width) {
    const levels = Math.max(...placed.map(({ depth }) => depth));
    const wants = Array.from({ length: levels }, (_, level) => Math.max(...placed.filter(({ depth }) => depth === level + 1).map(({ at }) => wanted(at))));
    const widths = shared(wants, width - ROOT - BETWEEN * levels);
    const outline = widths.some((wide, level) => wide < Math.min(LEAST, wants[level]));
    const left = widths.map((_, level) => ROOT + sum(widths.slice(0, level)) + BETWEEN * (level + 1));
    return placed.map(({ at, depth, row }, place) => {
      const x = depth === 0 ? 0 : outline ? Math.min(INDENT * depth, width - LEAST) : left[depth - 1];
      const room = depth === 0 ? ROOT : outline ? width - x : widths[depth - 1];
      return { at, x, y: ROW * (outline ? place : row) + (ROW - BOX) / 2, width: depth === 0 ? ROOT : Math.min(room, wanted(at)), outline };
    });
  }

  function lookOf(at) {
    const kind = EVENTS[event[at.step]], id = record.event_node[at.step];
    const on = new Set(path(at, id));
    return (row) => {
      if (at.gone(row)) return "gone";
      if (kind === "match" && on.has(row)) return "found";
      if (kind === "insert" && node[row] === id) return "new";
      if (kind === "split" && (node[row] === id || parent[row] === id) && node[row]) return "split";
      return "kept";
    };
  }

  function draw() {
    const at = now(), width = Math.floor(scroll.clientWidth) - 4;
    if (width < 1) return;
    placed = layout(record, at.live);
    const shapes = boxes(width), by = new Map(shapes.map((shape) => [node[shape.at], shape])), look = lookOf(at);
    drawing.setAttribute("width", width);
    drawing.setAttribute("height", Math.max(...shapes.map(({ y }) => y)) + BOX + (ROW - BOX) / 2);
    const lines = shapes.filter((shape) => node[shape.at]).map((shape) => {
      const above = by.get(parent[shape.at]), y = shape.y + BOX / 2, from = above.x + above.width, middle = shape.x - BETWEEN / 2;
      return shape.outline ? `M${above.x + INDENT / 2} ${above.y + BOX}V${y}H${shape.x}` : `M${from} ${above.y + BOX / 2}H${middle - 7}C${middle + 3} ${above.y + BOX / 2} ${middle - 3} ${y} ${middle + 7} ${y}H${shape.x}`;
    });
    drawing.replaceChildren(svg("path", { d: lines.join(""), class: "tk-edge" }), ...shapes.map((shape) => boxOf(shape, look(shape.at))));
    drawn = by;
    mark(at);
  }

  function boxOf({ at: row, x, y, width }, look) {
    const id = node[row], base = y + BOX / 2 + 4.2;
    const group = svg("g", { "data-node": id, class: `tk-node tk-is-${id ? look : "root"}${locks[row] && id ? " tk-is-locked" : ""}` }, svg("rect", { x, y, width, height: BOX, rx: 5 }));
    const text = (said, at, name, anchor = "start") => svg("text", { x: at, y: base, class: name, "text-anchor": anchor }, said);
    if (!id) group.append(text(words.root, x + EDGE, "tk-count"));
    else {
      const from = x + front(row), to = x + width - EDGE, room = to + EDGE - rear(row) - from;
      if (locks[row]) group.append(padlock(x + EDGE, y + 5.5), text(timesOf(row), x + EDGE + LOCK - 4, "tk-count"));
      group.append(text(String(id), from - 2 * EDGE, "tk-count", "end"), svg("path", { d: `M${from - EDGE} ${y}v${BOX}`, class: "tk-rule" }));
      const run = cut(labels[record.label[row]], room);
      if (room > 0) group.append(text(run, from, "tk-run"), text(countOf(row), to, "tk-count", "end"));
    }
    return group;
  }

  const idAt = ({ target }) => target.closest?.("[data-node]")?.dataset.node;
  drawing.addEventListener("pointerover", (pointer) => {
    const id = idAt(pointer);
    over = id === undefined ? null : Number(id);
    look(now());
  });
  drawing.addEventListener("pointerleave", () => { over = null; look(now()); });
  drawing.addEventListener("click", (pointer) => {
    const id = Number(idAt(pointer) ?? -1);
    if (now().shown) move({ node: id === model.get("node") ? -1 : id });
  });

  function rows() {
    const at = now(), head = ["node", "parent", "tokens", "locks", "used", "requests", "text"].map((name) => words[`column_${name}`]);
    const body = at.shown ? placed.filter((one) => node[one.at]).map(({ at: row }) => [
      String(node[row]), String(parent[row]), counted(tokens[row]), String(locks[row]), String(used[row] + 1), requestsOf(node[row], at.step).join(", "), labels[record.label[row]]]) : [];
    return [head, ...body];
  }

  // What follows what.

  function update() {
    const at = now();
    control(at);
    remark.textContent = note;
    sentence.textContent = told(at);
    draw();
    look(at);
    readout(at);
    parts.say([note, fill(at.shown ? words.summary : words.summary_waiting, numbers(at))].filter(Boolean).join(" "));
    parts.refresh();
    const shape = drawn?.get(node[at.looked]);
    if (shape && (shape.y < scroll.scrollTop || shape.y + BOX > scroll.scrollTop + scroll.clientHeight)) scroll.scrollTop = shape.y - scroll.clientHeight / 2;
  }

  function linked() {
    put({ revealed: true });
    note = "";
    update();
    queueMicrotask(() => {
      put(bent());
      model.save_changes();
    });
  }

  const listening = follow(model, { step: linked, node: linked, revealed: update });
  const { put } = listening;
  update();
  const end = onWidth(scroll, update);

  return () => {
    pause();
    end();
    listening.end();
  };
}

export default { render };
