// The landing page's figure: real documents, their signatures, and the buckets their bands fall
// into. Everything shown is in the record computed while the page was built; nothing moves until
// the reader presses play, steps, or drags.

const NS = "http://www.w3.org/2000/svg";
const TOP = 28;
const WIDE = { row: 33, names: 46, bands: 146, band: 38, buckets: 392, chip: 40, width: 540 };
const PHONE = { row: 39, names: 32, bands: 144, band: 34, buckets: 352, chip: 34, width: 456 };
const SECONDS_A_STEP = 1.4;

function draw(parent, tag, attributes = {}, text = "") {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  parent.append(element);
  return element;
}

function control(parent, label, text, act) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-label", label);
  button.textContent = text;
  button.addEventListener("click", act);
  parent.append(button);
  return button;
}

const list = (names) => new Intl.ListFormat("en").format(names);

/** The groups of rows that share a bucket of `band`, each sorted, singles included. */
function groups(record, band) {
  const found = new Map();
  record.buckets.forEach((row, i) => found.set(row[band], [...(found.get(row[band]) ?? []), i]));
  return [...found.values()];
}

/** One sentence for what can be seen at `step`: 0 the signatures, then the bands, then the check. */
function says(record, step) {
  const { names, bands, rows, pairs, threshold } = record;
  const total = (names.length * (names.length - 1)) / 2;
  if (step === 0) {
    return `${names.length} licences, each boiled down to ${bands * rows} numbers: ` +
      `${bands} bands of ${rows} bars. Equal texts have equal bars.`;
  }
  if (step <= bands) {
    const shared = groups(record, step - 1).filter((group) => group.length > 1);
    const who = shared.map((group) => list(group.map((i) => names[i]))).join("; ");
    return `Band ${step} of ${bands}: ` + (who ? `same bars, same bucket: ${who}.` : "all differ.");
  }
  const same = pairs.filter((pair) => pair.jaccard >= threshold).length;
  return `${pairs.length} of ${total} pairs met in a bucket. Compared word by word, ${same} are ` +
    `at least ${threshold} similar: the first of each is kept.`;
}

function picture(stage, record, at) {
  const { names, bands, rows, values, pairs, threshold } = record;
  const height = TOP + at.row * names.length + 6;
  const middle = (row) => TOP + at.row * row + at.row / 2;
  stage.replaceChildren();
  const svg = draw(stage, "svg", { viewBox: `0 0 ${at.width} ${height}`, role: "img" });
  for (let k = 0; k < bands; k++) {
    draw(svg, "text", { x: at.bands + at.band * k + 16, y: 18, class: "axis", "data-band": k }, k + 1);
  }
  const heading = draw(svg, "text", { x: at.buckets, y: 18, class: "heading" });
  draw(svg, "text", { x: at.names, y: 18, class: "heading" }, "licence");

  const arcs = pairs.map(({ i, j, jaccard }) => {
    const [a, b] = [middle(i), middle(j)];
    const bend = at.names - 38 - 4 * (j - i);
    const path = `M ${at.names - 8} ${a} C ${bend} ${a}, ${bend} ${b}, ${at.names - 8} ${b}`;
    return draw(svg, "path", { d: path, class: jaccard >= threshold ? "arc same" : "arc other" });
  });
  const slots = names.map((_, i) =>
    draw(svg, "rect", { x: at.buckets - 4, y: middle(i) - 15, width: at.chip, height: 30, rx: 5, class: "slot" }));
  const labels = [], verdicts = [], chips = [];
  names.forEach((name, i) => {
    labels.push(draw(svg, "text", { x: at.names, y: middle(i) + 5, class: "name" }, name));
    const copy = pairs.find((pair) => pair.j === i && pair.jaccard >= threshold);
    const near = pairs.find((pair) => pair.j === i && pair.jaccard < threshold);
    labels[i].classList.toggle("copy", Boolean(copy));
    const said = copy ? ["near-copy of", `${names[copy.i]}: ${copy.jaccard.toFixed(2)}`]
      : near ? ["kept:", `${near.jaccard.toFixed(2)} to ${names[near.i]}`] : ["kept"];
    const lines = at === PHONE ? said : [said.join(" ")];
    const verdict = draw(svg, "g", { class: "verdict" });
    lines.forEach((line, k) => {
      draw(verdict, "text", { x: at.buckets, y: middle(i) + 5 + 17 * (k - (lines.length - 1) / 2) }, line);
    });
    verdicts.push(verdict);
    chips.push(Array.from({ length: bands }, (_, k) => {
      const chip = draw(svg, "g", { class: "chip" });
      draw(chip, "rect", { width: 32, height: 24, rx: 4 });
      for (let r = 0; r < rows; r++) {
        const size = 3 + (values[i][k * rows + r] / 255) * 16;
        draw(chip, "rect", { x: 5 + r * (23 / rows), y: 21 - size, width: 23 / rows - 2, height: size, class: "bar" });
      }
      return chip;
    }));
  });

  return (step) => {
    const checked = step > bands;
    heading.textContent = checked ? "exact check" : "buckets";
    const met = new Set();
    for (let k = 0; k < bands; k++) {
      svg.querySelector(`[data-band="${k}"]`).classList.toggle("now", k === step - 1);
      for (const group of groups(record, k)) {
        group.forEach((i, place) => {
          const falls = k === step - 1;
          const [x, y] = falls ? [at.buckets + at.chip * place, middle(group[0])] : [at.bands + at.band * k, middle(i)];
          chips[i][k].style.transform = `translate(${x}px, ${y - 12}px)`;
          chips[i][k].classList.toggle("shared", k < step && group.length > 1);
          chips[i][k].classList.toggle("later", k >= step && step > 0);
          if (k < step) group.slice(0, place).forEach((earlier) => met.add(`${earlier},${i}`));
        });
      }
    }
    const now = step > 0 && !checked ? groups(record, step - 1) : [];
    slots.forEach((slot, i) => {
      const group = now.find((each) => each[0] === i);
      slot.style.opacity = group || step === 0 ? 1 : 0;
      slot.setAttribute("width", at.chip * (group?.length ?? 1));
      slot.classList.toggle("shared", (group?.length ?? 0) > 1);
    });
    arcs.forEach((arc, n) => {
      arc.style.opacity = met.has(`${pairs[n].i},${pairs[n].j}`) ? 1 : 0;
    });
    verdicts.forEach((verdict) => (verdict.style.opacity = checked ? 1 : 0));
    svg.classList.toggle("checked", checked);
    svg.setAttribute("aria-label", says(record, step));
  };
}

/** Bring `figure` to life; it holds the record as JSON. */
export function start(figure) {
  const record = JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
  const stage = figure.querySelector(".stage");
  const last = record.bands + 1;
  const phone = matchMedia("(max-width: 575px)"); // as in course.css
  const fit = () => picture(stage, record, phone.matches ? PHONE : WIDE);
  let show = fit();
  phone.addEventListener("change", () => { show = fit(); show(step); });
  const bar = document.createElement("div");
  bar.className = "controls";
  const readout = document.createElement("p");
  readout.className = "readout";
  readout.setAttribute("aria-live", "polite");
  let step = 0, timer = null;

  function go(to) {
    step = Math.max(0, Math.min(last, to));
    scrub.value = step;
    scrub.setAttribute("aria-valuetext", says(record, step));
    readout.textContent = says(record, step);
    show(step);
    if (step === last) pause();
  }
  function pause() {
    clearInterval(timer);
    timer = null;
    play.textContent = step === last ? "↻ Again" : "▶ Play";
    play.setAttribute("aria-label", step === last ? "Play again" : "Play");
  }
  function toggle() {
    if (timer) return pause();
    go(step === last ? 0 : step + 1);
    timer = setInterval(() => go(step + 1), 1000 * SECONDS_A_STEP);
    play.textContent = "❚❚ Pause";
    play.setAttribute("aria-label", "Pause");
  }
  const stop = (to) => () => { clearInterval(timer); timer = null; go(to()); pause(); };

  const play = control(bar, "Play", "▶ Play", toggle);
  play.className = "play";
  control(bar, "Step back", "‹", stop(() => step - 1));
  const scrub = document.createElement("input");
  Object.assign(scrub, { type: "range", min: 0, max: last, value: 0 });
  scrub.setAttribute("aria-label", "Step");
  scrub.addEventListener("input", () => stop(() => Number(scrub.value))());
  bar.append(scrub);
  control(bar, "Step forward", "›", stop(() => step + 1));
  figure.querySelector(".stage").after(bar, readout);
  go(0);
  figure.classList.add("alive");
}
