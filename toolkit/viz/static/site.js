// Brings a widget to life on a static page: its state from JSON, its module from this folder.

class PageModel {
  constructor(state) {
    this.state = state;
    this.listeners = new Map();
  }
  get(name) {
    return this.state[name];
  }
  set(name, value) {
    if (this.state[name] === value) return;
    this.state[name] = value;
    for (const event of [`change:${name}`, "change"]) {
      for (const listener of [...(this.listeners.get(event) ?? [])]) listener();
    }
  }
  on(event, listener) {
    this.listeners.set(event, [...(this.listeners.get(event) ?? []), listener]);
  }
  off(event, listener) {
    this.listeners.set(event, (this.listeners.get(event) ?? []).filter((one) => one !== listener));
  }
  save_changes() {}
}

/** `#ID.name=7&other=2` sets whole numbers of the widget ID, and follows them. */
function follow(id, names, model) {
  const first = Object.fromEntries(names.map((name) => [name, model.get(name)]));
  let writing;
  function read() {
    if (!location.hash.startsWith(`#${id}.`)) return false;
    for (const [name, text] of new URLSearchParams(location.hash.slice(id.length + 2))) {
      if (names.includes(name) && /^-?\d{1,9}$/.test(text)) model.set(name, Number(text));
    }
    return true;
  }
  function write() {
    const changed = names.filter((name) => model.get(name) !== first[name]);
    const state = changed.map((name) => `${name}=${model.get(name)}`).join("&");
    history.replaceState(null, "", state ? `#${id}.${state}` : `#${id}`);
  }
  const linked = read();
  window.addEventListener("hashchange", read);
  for (const name of names) {
    model.on(`change:${name}`, () => { clearTimeout(writing); writing = setTimeout(write, 200); });
  }
  return linked;
}

function styled(href) {
  const url = new URL(href, import.meta.url).href;
  if ([...document.styleSheets].some((sheet) => sheet.href === url)) return Promise.resolve();
  return new Promise((done) => {
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: url });
    link.onload = link.onerror = done;
    document.head.append(link);
  });
}

export async function mount(id, name) {
  const home = document.getElementById(id);
  const model = new PageModel(JSON.parse(home.querySelector("script[type='application/json']").textContent));
  const sheets = ["tokens.css", "widget.css", `${name}.css`].map((sheet) => styled(`./${sheet}`));
  const [widget] = await Promise.all([import(`./${name}.js`), ...sheets]);
  const el = document.createElement("div");
  home.append(el);
  home.classList.add("tk-alive");
  await widget.default.render({ model, el });
  if (follow(id, home.dataset.linked.split(" ").filter(Boolean), model)) home.scrollIntoView();
}
