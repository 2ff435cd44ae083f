// Heads: query heads above the keys and values that they share, and the bytes of the cache.

import { animate, figures, fill, follow, frame, html, onWidth, range, significant, sized, svg } from "./widget.js";

const BYTES = 2; // of a number in bf16
const KINDS = ["MHA", "GQA", "MQA", "MLA"];
const GUTTER = 16, MOST_UNIT = 48, QUERY = 20, FAN = 62, CELL = 15, BOX = 2 * CELL + 2, NOTE = 18;
const ROW = 24, AXIS = 38, COLUMN = 12, TICK = 54, PHONE = 360;

/** Bytes that one token takes in the cache; toolkit/models/attention/cost.py has the same form. */
export function kvBytes({ layers, kv_heads, head_dim, latent, rope_dim }) {
  return BYTES * layers * (latent ? latent + rope_dim : 2 * kv_heads * head_dim);
}

export function kindOf({ heads, kv_heads, latent }) {
  if (latent) return "MLA";
  if (kv_heads === heads) return "MHA";
  return kv_heads === 1 ? "MQA" : "GQA";
}

export function divisors(number) {
  return Array.from({ length: number }, (_, at) => at + 1).filter((n) => number % n === 0);
}

/** The one of some numbers that is nearest by ratio, the first of those as near. */
export function nearest(numbers, wish) {
  const away = (number) => Math.abs(Math.log(number / Math.max(wish, 1)));
  return numbers.reduce((best, number) => (away(number) < away(best) ? number : best));
}

const counted = (number) => number.toLocaleString("en-US");
const unshared = (shape) => kvBytes({ ...shape, kv_heads: shape.heads, latent: 0 });

function render({ model, el }) {
  const words = model.get("words");
  const record = model.get("record");
  const ruler = html("canvas").getContext("2d");
  const models = record.names.map((name, at) => ({
    name, layers: record.layers[at], heads: record.heads[at], kv_heads: record.kv_heads[at],
    head_dim: record.head_dim[at], latent: record.latent[at], rope_dim: record.rope_dim[at], source: record.sources[at],
  }));
  let width = 0, guess = 1, about = null, stop = () => {}, marked = NaN;
  let wish = {}; // what the reader last asked for, where the number of heads does not allow it

  const parts = frame(el, words, rows);
  const id = `tk-${Math.random().toString(36).slice(2)}`;
  const diagram = svg("svg", { role: "img" });
  const picture = html("div", { class: "tk-sharing", tabindex: 0, role: "group", "aria-label": words.picture, onkeydown: arrow }, diagram);
  const scale = svg("svg", { "aria-hidden": "true" });
  const remark = html("p", { class: "tk-remark" });
  const heading = html("p", { class: "tk-heading" });
  const caption = html("p", { class: "tk-caption" });
  const origin = html("p", { class: "tk-hint" });
  const key = html("p", { class: "tk-key" }, ...[...KINDS, "unshared"].map((kind) => html("span", {},
    svg("svg", { width: 14, height: 14, "aria-hidden": "true" }, mark(kind, 7, 7)), words[kind] ?? kind)));
  const scaled = html("div", { class: "tk-scale" }, key, scale);
  el.classList.add("tk-heads");
  el.setAttribute("data-lm-suppress-shortcuts", "true"); // else JupyterLab takes keys
  parts.svg = diagram;
  parts.picture.append(remark, heading, origin, picture, caption, scaled);

  const choice = html("select", { onchange: () => take(Number(choice.value)) },
    ...models.map(({ name }, at) => html("option", { value: at }, name)));
  const preset = html("label", { class: "tk-field" }, html("span", {}, words.preset), choice);
  const heads = range(words.heads, { max: record.heads_choices.length - 1, oninput: (at) => share({ heads: record.heads_choices[at] }) });
  const radios = KINDS.map((kind) => html("input", { type: "radio", name: id, value: kind, onchange: () => share({ kind }) }));
  const kinds = html("div", { class: "tk-kinds", role: "radiogroup", "aria-label": words.kind },
    html("span", { "aria-hidden": "true" }, words.kind),
    html("div", {}, ...radios.map((radio, at) => html("label", {}, radio, KINDS[at]))));
  const sharers = range(words.kv_heads, { max: 1, oninput: (at) => keep(divisors(now().heads)[at]) });
  const latents = range(words.latent, { max: record.latent_choices.length - 1, oninput: (at) => share({ latent: record.latent_choices[at] }) });
  const contexts = range(words.context, { max: record.contexts.length - 1, oninput: (at) => move({ context: record.contexts[at] }) });
  const dials = html("div", { class: "tk-dials" });

  // State: what the reader sets goes through the model, so that Python and links see it too.

  function now() {
    const at = Math.min(models.length - 1, Math.max(0, model.get("preset")));
    const heads = nearest(record.heads_choices, model.get("heads"));
    const latent = model.get("latent") > 0 ? nearest(record.latent_choices, model.get("latent")) : 0;
    const kv_heads = nearest(divisors(heads), model.get("kv_heads"));
    return { preset: at, context: nearest(record.contexts, model.get("context")), ...models[at], heads, kv_heads, latent };
  }

  const choices = ({ preset, heads, kv_heads, latent, context }) => ({ preset, heads, kv_heads, latent, context });

  function move(values) {
    put(values);
    update();
    model.save_changes();
  }

  /** Wishes as they are at the present choice; those that it says nothing of stay. */
  function wished() {
    const { preset, heads, kv_heads, latent } = now();
    const kind = kindOf({ heads, kv_heads, latent });
    wish = { kv_heads: 8, ...wish, kind, latent: latent || record.own_latent[preset] };
    if (kind === "GQA") wish.kv_heads = kv_heads;
  }

  const groups = (heads) => divisors(heads).slice(1, -1);

  function share(wanted) {
    Object.assign(wish, wanted);
    const { heads } = { ...now(), ...wanted };
    const { kind, latent } = wish;
    const own = kind === "GQA" ? nearest([...groups(heads), 1], wish.kv_heads) : kind === "MQA" ? 1 : heads;
    move({ heads, kv_heads: own, latent: kind === "MLA" ? latent : 0 });
  }

  function keep(kv_heads) {
    put({ kv_heads, latent: 0 });
    wished();
    move({});
  }

  function take(at) {
    const { heads, kv_heads, latent } = models[at];
    put({ preset: at, heads, kv_heads, latent });
    wished();
    move({});
  }

  function arrow(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || !model.get("revealed")) return;
    event.preventDefault();
    const { heads, kv_heads, latent } = now();
    const stops = divisors(heads).reverse(); // one more is the latent
    const to = (latent ? stops.length : stops.indexOf(kv_heads)) + by;
    if (to === stops.length) share({ kind: "MLA" });
    else if (to in stops) keep(stops[to]);
  }

  function reveal(guessed) {
    const at = now();
    put({ revealed: true });
    update();
    remark.textContent = guessed === null ? "" : fill(words.guessed, { ...numbers(at), guess: `${guessed}×` });
    parts.say([remark.textContent, fill(words.summary, numbers(at))].join(" ").trim());
    model.save_changes();
    heads.input.focus({ preventScroll: true });
  }

  // Words.

  function numbers(shape) {
    const { head_dim, layers, kv_heads, latent, rope_dim } = shape, { context } = now();
    const each = shape.heads / kv_heads, kind = kindOf(shape);
    const one = kvBytes(shape), all = one * context, most = unshared(shape);
    const said = {
      kind, name: shape.name, heads: shape.heads, kv_heads, each, latent: counted(latent), rope_dim, head_dim, layers, bytes: counted(one),
      context: counted(context), size: sized(all), most: sized(most * context), factor: significant(Math.max(most / one, one / most)),
      memory: sized(record.memory), count: counted(Math.floor(record.memory / all)),
    };
    said.sharing = fill(words[`sharing_${kind.toLowerCase()}`], said);
    said.compared = kind === "MHA" ? "" : fill(one < most ? words.less : words.more, said);
    return said;
  }

  function rows() {
    const shown = model.get("revealed");
    const said = numbers(now());
    const head = ["name", "kind", "layers", "heads", "kv_heads", "dim", "latent", "bytes", "size", "fits"];
    return [head.map((name) => fill(words[`column_${name}`], said)), ...[{ ...now(), name: words.choice }, ...models].map((shape) => {
      const of = numbers(shape);
      return [of.name, of.kind, of.layers, of.heads, shape.latent ? "–" : of.kv_heads, of.head_dim, shape.latent ? `${of.latent} + ${of.rope_dim}` : "–",
        ...[of.bytes, of.size, of.count].map((number) => (shown ? number : "?"))];
    })];
  }

  function tell() {
    const at = now(), said = numbers(at);
    if (about?.row >= 0) {
      caption.textContent = fill(words.about, numbers(models[about.row]));
    } else if (about?.head >= 0) {
      const size = at.latent ? 1 : at.heads / at.kv_heads, group = Math.floor(about.head / size);
      const name = at.latent ? "group_latent" : size === 1 ? "group_one" : "group";
      caption.textContent = fill(words[name], { ...said, first: group * size + 1, last: (group + 1) * size, group: group + 1 });
    } else {
      caption.textContent = model.get("revealed") ? fill(at.latent ? words.formula_latent : words.formula_heads, said) : "";
    }
  }

  // Controls and readout.

  function control(at) {
    const said = numbers(at);
    if (!model.get("revealed")) {
      if (parts.controls.childElementCount) return;
      const most = Math.max(at.heads, Math.ceil(unshared(at) / kvBytes(at)));
      const slider = range(words.guess, { min: 1, max: most, oninput: (value) => { guess = value; slider.show(value, `${value}×`); } });
      slider.show(guess, `${guess}×`);
      parts.controls.replaceChildren(
        html("p", { class: "tk-ask" }, fill(words.ask, { ...said, instead: fill(words[`instead_${said.kind.toLowerCase()}`] ?? "", said) })),
        slider.node, html("button", { type: "button", class: "tk-main", onclick: () => reveal(guess) }, words.reveal),
        html("button", { type: "button", onclick: () => reveal(null) }, words.skip));
      return;
    }
    const fourth = at.latent ? latents : sharers;
    if (!fourth.node.isConnected) dials.replaceChildren(preset, heads.node, kinds, fourth.node, contexts.node);
    if (!dials.isConnected) parts.controls.replaceChildren(dials);
    choice.value = at.preset;
    heads.show(record.heads_choices.indexOf(at.heads), String(at.heads));
    radios.forEach((radio) => {
      radio.checked = radio.value === said.kind;
      radio.disabled = radio.value === "GQA" && !groups(at.heads).length;
    });
    const every = divisors(at.heads);
    sharers.input.max = every.length - 1;
    sharers.show(every.indexOf(at.kv_heads), String(at.kv_heads), fill(words.kv_heads_spoken, said));
    latents.show(record.latent_choices.indexOf(at.latent), said.latent);
    contexts.show(record.contexts.indexOf(at.context), said.context);
  }

  function readout(at) {
    const said = numbers(at);
    const show = (text) => (model.get("revealed") ? text : "?");
    parts.readout.replaceChildren(figures([
      [words.per_token, show(sized(kvBytes(at))), model.get("revealed") ? fill(words.per_token_of, said) : ""],
      [words.per_context, show(said.size), fill(words.per_context_of, said)],
      [fill(words.fits, said), show(said.count), words.fits_of],
      [kvBytes(at) > unshared(at) ? words.larger : words.smaller, show(`${said.factor}×`), fill(words.smaller_of, said)],
    ]));
  }

  // The picture: heads to scale, and the models on their scale.

  function mark(kind, x, y) {
    const shapes = {
      MHA: "M-5 -5H5V5H-5Z", GQA: "M5.5 0A5.5 5.5 0 1 1 -5.5 0A5.5 5.5 0 1 1 5.5 0Z",
      MQA: "M0 -6L6 5H-6Z", MLA: "M0 -6.5L6.5 0L0 6.5L-6.5 0Z", unshared: "M-5 -5H5V5H-5Z",
    };
    return svg("path", { d: shapes[kind], transform: `translate(${x} ${y})`, class: `tk-mark tk-mark-${kind}` });
  }

  function plot(at) {
    const { heads, kv_heads, latent, rope_dim, head_dim } = at;
    const room = width - 2 * GUTTER;
    const cells = latent ? (latent + rope_dim) / (2 * head_dim) : kv_heads;
    const unit = Math.min(MOST_UNIT, room / Math.max(heads, cells));
    const side = unit * (unit > 8 ? 0.8 : 0.7);
    const middle = width / 2, top = QUERY + FAN;
    const x = (head) => middle + (head + 0.5 - heads / 2) * unit;
    const each = latent ? heads : heads / kv_heads;
    const end = (head) => x(Math.floor(head / each) * each + (each - 1) / 2);
    const rect = (left, y, wide, tall, name, head) => svg("rect", { x: left, y, width: wide, height: tall, rx: Math.min(3, wide / 4), class: `tk-${name}`, "data-head": head });
    const letter = (y, text, at) => svg("text", { x: at - 6, y, "text-anchor": "end", class: "tk-letter" }, text);
    const all = Array.from({ length: heads }, (_, head) => head);
    const boxes = [];
    if (latent) {
      const left = middle - (cells * unit) / 2, border = left + (latent / (2 * head_dim)) * unit, right = left + cells * unit;
      const inside = border > 100 && right < width - 110;
      boxes.push(
        svg("path", { d: `M${left} ${top - 4}H${right}`, class: "tk-joint" }),
        rect(left, top, border - left - 1, BOX, "kept"),
        svg("rect", { x: border, y: top, width: Math.max(2, right - border), height: BOX, class: "tk-rotated", fill: `url(#${id}-hatch)` }),
        svg("text", { x: inside ? border - 3 : 0, y: top + BOX + 14, "text-anchor": inside ? "end" : "start" }, fill(words.latent_box, { latent: counted(latent) })),
        svg("text", { x: inside ? border + 5 : width, y: top + BOX + 14, "text-anchor": inside ? "start" : "end" }, fill(words.rope_box, at)));
    } else {
      for (let head = 0; head < heads; head += each) {
        for (const y of [top, top + CELL + 2]) boxes.push(rect(end(head) - side / 2, y, side, CELL, "kept", head));
      }
      const first = end(0) - side / 2;
      boxes.push(letter(top + CELL - 3, "K", first), letter(top + BOX - 3, "V", first));
    }
    diagram.setAttribute("width", width);
    diagram.setAttribute("height", top + BOX + (latent ? NOTE : 2));
    diagram.replaceChildren(
      svg("defs", {}, svg("pattern", { id: `${id}-hatch`, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
        svg("rect", { width: 5, height: 5, class: "tk-hatch-fill" }), svg("line", { y2: 5, class: "tk-hatch-line" }))),
      letter(15, "Q", x(0) - side / 2),
      ...all.map((head) => svg("line", { x1: x(head), y1: QUERY, x2: end(head), y2: top - (latent ? 4 : 0), class: "tk-reads", "stroke-width": Math.min(1, unit / 8), "data-head": head })),
      ...all.map((head) => rect(x(head) - side / 2, 0, side, QUERY, "query", head)), ...boxes);
    light();
  }

  const log = Math.log10;

  function rule(at) {
    scaled.hidden = !model.get("revealed");
    if (scaled.hidden) return;
    const listed = [{ ...at, name: words.choice }, ...models];
    ruler.font = `600 13px ${getComputedStyle(el).fontFamily}`;
    const wide = (texts) => Math.ceil(Math.max(...texts.map((text) => ruler.measureText(text).width)));
    const sizes = listed.map((shape) => (width < PHONE ? "" : sized(kvBytes(shape))));
    const edge = wide(listed.map(({ name }) => name)) + (width < PHONE ? 0 : COLUMN + wide([...sizes, sized(888e3)]));
    const left = edge + COLUMN + 8, right = width - 12;
    const heads = Math.max(...record.heads_choices);
    const least = Math.min(...models.map((one) => Math.min(kvBytes({ ...one, kv_heads: 1, latent: 0 }), kvBytes({ ...one, latent: record.latent_choices[0] }))));
    const most = Math.max(...models.map((one) => unshared({ ...one, heads })));
    const x = (bytes) => left + ((log(bytes) - log(least)) / (log(most) - log(least))) * (right - left);
    const foot = ROW * listed.length;
    const ticks = Array.from({ length: 12 }, (_, power) => 10 ** power).filter((bytes) => bytes >= least && bytes <= most);
    const every = Math.ceil(TICK / (x(10 * least) - x(least))); // on a phone not each has room for its label
    const line = (x1, y1, x2, y2, name) => svg("line", { x1, y1, x2, y2, class: name });
    const chosen = marked;
    scale.setAttribute("width", width);
    scale.setAttribute("height", foot + AXIS);
    scale.replaceChildren(
      ...ticks.flatMap((bytes, at) => [line(x(bytes), 0, x(bytes), foot, "tk-grid"),
        svg("text", { x: x(bytes), y: foot + 15, "text-anchor": "middle", class: "tk-tick" }, at % every ? "" : sized(bytes))]),
      svg("text", { x: width, y: foot + 34, "text-anchor": "end", class: "tk-tick" }, words.scale),
      line(x(chosen), 0, x(chosen), foot, "tk-here"),
      ...listed.map((shape, row) => {
        const y = (row + 0.5) * ROW, bytes = row ? kvBytes(shape) : chosen, top = unshared(shape);
        const name = row ? (row - 1 === at.preset ? "tk-model tk-same" : "tk-model") : "tk-model tk-chosen";
        return svg("g", { class: name, ...(row ? { "data-row": row - 1 } : {}) },
          svg("rect", { y: y - ROW / 2, width, height: ROW, class: "tk-band" }),
          svg("text", { x: 0, y: y + 4 }, shape.name),
          svg("text", { x: edge, y: y + 4, "text-anchor": "end" }, sizes[row]),
          line(x(bytes), y, x(top), y, "tk-saved"), mark("unshared", x(top), y), mark(kindOf(shape), x(bytes), y));
      }));
  }

  // What follows what.

  function draw() {
    if (!width) return;
    plot(now());
    rule(now());
  }

  function update() {
    const at = now(), shown = model.get("revealed"), said = numbers(at);
    control(at);
    about = null;
    remark.textContent = "";
    const own = models[at.preset];
    const same = ["heads", "latent"].every((name) => at[name] === own[name]) && (at.latent || at.kv_heads === own.kv_heads);
    heading.textContent = shown ? `${said.sharing}.` : "";
    origin.textContent = !shown ? "" : fill(same ? words.same : words.changed, { ...own, published: numbers(own).sharing });
    readout(at);
    tell();
    parts.say(fill(shown ? words.summary : words.summary_waiting, said));
    parts.refresh();
    stop();
    const from = log(marked), to = log(kvBytes(at));
    marked = kvBytes(at);
    if (!width) return;
    plot(at);
    if (Number.isNaN(from) || from === to) rule(at);
    else stop = animate((share) => { marked = share === 1 ? kvBytes(at) : 10 ** (from + (to - from) * share); rule(at); });
  }

  function light() {
    const { heads, kv_heads, latent } = now();
    const each = latent ? 1 : heads / kv_heads;
    for (const node of diagram.querySelectorAll("[data-head]")) {
      const head = Number(node.dataset.head);
      node.classList.toggle("tk-over", about?.head >= 0 && Math.floor(head / each) === Math.floor(about.head / each));
    }
  }

  function point({ target }) {
    const over = target.closest?.("[data-head], [data-row]")?.dataset ?? {};
    about = over.head !== undefined ? { head: Number(over.head) } : over.row !== undefined ? { row: Number(over.row) } : null;
    light();
    tell();
  }
  for (const node of [diagram, scale]) {
    node.addEventListener("pointerover", point);
    node.addEventListener("pointerleave", () => point({ target: node }));
  }
  scale.addEventListener("click", ({ target }) => {
    const row = target.closest("[data-row]")?.dataset.row;
    if (row !== undefined) take(Number(row));
  });

  function linked() {
    if (!model.get("revealed")) put({ revealed: true });
    wished();
    update();
    queueMicrotask(() => { // only when all are there: a link sets them one after the other
      put(choices(now()));
      wished();
      model.save_changes();
    });
  }

  const listening = follow(model, {
    preset: linked, heads: linked, kv_heads: linked, latent: linked, context: linked, revealed: update,
  });
  const { put } = listening;
  wished();
  update();
  const end = onWidth(picture, (to) => { width = to; draw(); });

  return () => {
    stop();
    end();
    listening.end();
  };
}

export default { render };
