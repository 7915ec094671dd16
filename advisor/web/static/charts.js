// Curves of runs: every `<div class="chart" data-curves="ADDRESS" data-metric="NAME">` becomes a chart.
//
// ADDRESS answers {"metrics": {NAME: [line…]}} (advisor/web/curves.py); `from`, `to`, `axis` and `points` are added to
// it, so that a closer look fetches the points of that stretch and no peak is lost. Several metrics in one chart:
// `data-metrics='["val_loss", "train_loss"]'`. `data-label` names the chart for those who do not see it,
// `data-height` is in pixels. All charts of a page share one view (axes, stretch, smoothing), kept in the address of the
// page; the tools stand in `[data-chart-tools]`, or before the first chart. All text from runs is set as text.
import { Canvas, colour, duration, figure, look, nearest } from "./chart-draw.js";

const SMOOTH = [["", "Off"], ["0.6", "Light"], ["0.9", "Medium"], ["0.97", "Strong"]];
const LIVE_EVERY = 1000;
const SHAPE_WORDS = { NaN: "× NaN", Infinity: "▲ +inf", "-Infinity": "▼ −inf" };

const charts = new Map();
const off = new Set();
const view = fromAddress();
let tools = null;

function fromAddress() {
  const given = new URLSearchParams(location.search);
  const number = (name) => (given.get(name) && Number.isFinite(+given.get(name)) ? +given.get(name) : null);
  const smooth = number("smooth");
  return {
    y: given.get("y") === "log" ? "log" : "linear",
    x: given.get("x") === "time" ? "time" : "step",
    from: number("from"), to: number("to"),
    smooth: smooth > 0 && smooth < 1 ? smooth : null,
  };
}

function toAddress() {
  const address = new URL(location.href);
  const kept = { y: view.y === "log" ? "log" : null, x: view.x === "time" ? "time" : null, from: view.from, to: view.to, smooth: view.smooth };
  for (const [name, value] of Object.entries(kept)) {
    if (value === null) address.searchParams.delete(name);
    else address.searchParams.set(name, String(value));
  }
  history.replaceState(history.state, "", address);
}

/** Return a new element: attributes, then children; text is text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Return where on the x axis something lies, in words. */
function placeOf(x) { return view.x === "time" ? duration(x) : figure(Math.round(x)); }

class Chart {
  constructor(element) {
    this.element = element;
    this.metrics = element.dataset.metrics ? JSON.parse(element.dataset.metrics) : [element.dataset.metric];
    this.label = element.dataset.label || this.metrics.join(" and ");
    this.lines = [];
    this.visible = false;
    this.stale = true;
    this.asked = 0;
    this.cursor = null;
    this.build();
    new ResizeObserver(() => this.canvas.resize()).observe(this.plot);
    new IntersectionObserver((seen) => this.seen(seen.some((one) => one.isIntersecting)), { rootMargin: "200px" }).observe(element);
  }

  build() {
    const id = `chart-${charts.size}`;
    this.plot = make("div", { class: "chart-plot", tabindex: "0", role: "application", "aria-roledescription": "chart", "aria-label": this.label, "aria-describedby": `${id}-help` });
    this.help = make("p", { class: "hidden", id: `${id}-help` }, "Left and right move the cursor from point to point, M to the next finding. Plus and minus zoom, Shift with left and right moves the stretch, 0 shows all. A table of the figures follows.");
    this.tip = make("div", { class: "chart-tip", hidden: true });
    this.at = make("p", { class: "chart-at", "aria-hidden": "true" });
    this.spoken = make("p", { class: "hidden", role: "status" });
    this.legend = make("ul", { class: "chart-legend", "aria-label": `Curves of ${this.label}` });
    this.note = make("div", { class: "chart-note" });
    this.marked = make("ul", { class: "chart-marks", "aria-label": `Findings in ${this.label}` });
    this.table = make("tbody");
    const head = make("tr", {}, ...["Curve", "First", "Last", "Lowest", "Highest", "Points", "Not finite"].map((word, i) => make("th", { scope: "col", class: i ? "right" : null }, word)));
    const scroll = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Figures of ${this.label}` },
      make("table", {}, make("caption", { class: "hidden" }, `Figures of ${this.label}`), make("thead", {}, head), this.table));
    this.element.replaceChildren(this.plot, this.tip, this.help, this.at, this.legend, this.note, this.marked,
      make("details", { class: "chart-data" }, make("summary", {}, "Figures as a table"), scroll), this.spoken);
    this.canvas = new Canvas(this.plot, {
      height: +this.element.dataset.height || 240,
      onZoom: (from, to) => zoomTo(from, to),
      onReset: () => zoomTo(null, null),
      onCursor: (x) => pointAll(x, this),
      onDrawn: () => { if (this.cursor !== null) this.read(this.cursor); },
    });
    this.plot.addEventListener("keydown", (event) => this.key(event));
    this.plot.addEventListener("blur", () => pointAll(null, this));
  }

  seen(now) {
    this.visible = now;
    if (now && this.stale) this.load();
  }

  /** Fetch what the view asks for; what was drawn stays until the answer is here. */
  async load() {
    if (!this.visible) { this.stale = true; return; }
    this.stale = false;
    const turn = ++this.asked;
    const address = new URL(this.element.dataset.curves, location.href);
    address.searchParams.set("axis", view.x);
    address.searchParams.set("points", String(Math.max(200, Math.min(2000, Math.round(this.plot.clientWidth * 1.5)))));
    for (const name of ["from", "to"]) if (view[name] !== null) address.searchParams.set(name, String(view[name]));
    try {
      const answer = await fetch(address, { headers: { accept: "application/json" } });
      const found = await answer.json();
      if (turn !== this.asked) return; // a later question is under way
      if (!answer.ok) throw new Error(found.detail);
      this.take(found);
    } catch (error) {
      if (turn !== this.asked) return;
      this.stale = true; // the next change tries again
      this.note.textContent = `The curves could not be loaded: ${error.message}`;
      this.element.dataset.state = "failed";
    }
  }

  take(found) {
    this.lines = this.metrics.flatMap((metric, part) => (found.metrics[metric] ?? []).map((line) => ({
      ...line, metric, part, key: this.metrics.length > 1 ? `${line.run_id}/${metric}` : line.run_id,
      words: this.metrics.length > 1 ? (line.role === "this" ? `${metric}, this run` : `${metric} of ${line.label}`) : line.label,
    })));
    this.render();
  }

  render() {
    for (const line of this.lines) line.hidden = off.has(line.key);
    const empty = !this.lines.length;
    this.element.dataset.state = empty ? "empty" : "drawn";
    this.plot.hidden = empty;
    if (empty) { this.note.textContent = "No points have been logged yet."; return; }
    this.canvas.draw(this.lines, view);
    this.legends();
    this.notes();
    this.figures();
    this.describe();
  }

  legends() {
    const alone = this.lines.every((line) => line.role !== "this");
    const rows = this.lines.map((line, place) => {
      const own = look(line, place, alone);
      const box = make("input", { type: "checkbox" });
      box.checked = !line.hidden;
      box.addEventListener("change", () => { if (box.checked) off.delete(line.key); else off.add(line.key); for (const each of charts.values()) if (each.lines.length) each.render(); });
      const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
      swatch.style.borderTopColor = `var(${own.colour})`;
      swatch.style.borderTopStyle = own.dash.length ? (own.dash[0] < 4 ? "dotted" : "dashed") : "solid";
      line.output = make("output", { class: "chart-value" }, figure(line.figures.last));
      return make("li", {}, make("label", {}, box, swatch, make("bdi", {}, line.words)), line.output);
    });
    const kept = this.legend.contains(document.activeElement) ? [...this.legend.querySelectorAll("input")].indexOf(document.activeElement) : -1;
    this.legend.replaceChildren(...rows);
    if (kept >= 0) this.legend.querySelectorAll("input")[kept]?.focus();
  }

  /** Say what the picture leaves out, and what in it is not finite. */
  notes() {
    const drawn = this.canvas.drawn, said = [];
    const hidden = drawn.reduce((n, one) => n + one.pts.hidden, 0);
    if (view.y === "log" && !this.canvas.log) said.push("Nothing here is above 0, so the axis is not logarithmic.");
    else if (hidden) said.push(`${hidden.toLocaleString("en")} ${hidden === 1 ? "point is" : "points are"} 0 or below and cannot be shown on a logarithmic axis.`);
    const timeless = view.x === "time" ? drawn.filter(({ line }) => !line.times) : [];
    if (timeless.length) said.push(`When its points were logged is not known of ${timeless.map(({ line }) => line.words).join(", ")}.`);
    for (const { line } of drawn) {
      const odd = Object.entries(line.nonfinite ?? {}).filter(([, one]) => one.n);
      if (odd.length) said.push(`${line.words}: ${odd.map(([kind, one]) => `${SHAPE_WORDS[kind]} at ${one.n.toLocaleString("en")} ${one.n === 1 ? "point" : "points"}, first at step ${one.first.toLocaleString("en")}`).join("; ")}.`);
    }
    const chosen = drawn.filter(({ line }) => line.n_within > line.steps.length);
    if (chosen.length) {
      const n = Math.max(...chosen.map(({ line }) => line.n_within)), shown = Math.max(...chosen.map(({ line }) => line.steps.length));
      said.push(`${shown.toLocaleString("en")} of ${n.toLocaleString("en")} points are drawn, peaks among them; zoom in to see more.`);
    }
    if (view.smooth) said.push("Smoothed over the points drawn; the points themselves are pale.");
    this.note.replaceChildren(...said.map((text) => make("p", {}, text)));
    const marks = drawn.filter((one) => one.marked).flatMap(({ line }) => (line.marks ?? []).map((mark) => ({ ...mark, line })));
    this.marked.replaceChildren(...marks.map((mark) => make("li", {}, make("code", {}, mark.code), ` at step ${mark.step.toLocaleString("en")}: `, make("bdi", {}, mark.title), this.lines.length > 1 && this.canvas.drawn.filter((one) => one.marked).length > 1 ? ` (${mark.line.words})` : "")));
    this.marked.hidden = !marks.length;
  }

  figures() {
    this.table.replaceChildren(...this.lines.map((line) => {
      const f = line.figures, at = (value, step) => (step === null || step === undefined ? figure(value) : `${figure(value)} at ${step.toLocaleString("en")}`);
      const cells = [figure(f.first), at(f.last, f.last_step), at(f.min, f.min_step), at(f.max, f.max_step), f.n.toLocaleString("en"), f.n_nonfinite.toLocaleString("en")];
      return make("tr", {}, make("th", { scope: "row" }, make("bdi", {}, line.words)), ...cells.map((cell) => make("td", { class: "right" }, cell)));
    }));
  }

  /** Tell in words what is drawn: to screen readers, and in `data-…` to whoever watches the page. */
  describe() {
    const { drawn, span } = this.canvas, data = this.element.dataset;
    const top = this.lines.find((line) => line.role === "this") ?? this.lines[0], f = top.figures;
    const said = `${this.label}: ${drawn.length} ${drawn.length === 1 ? "curve" : "curves"}, ${view.x === "time" ? "from" : "steps"} ${placeOf(span.x[0])} to ${placeOf(span.x[1])}. ${top.words} went from ${figure(f.first)} to ${figure(f.last)}, lowest ${figure(f.min)}, highest ${figure(f.max)}.`;
    this.plot.setAttribute("aria-label", said);
    for (const canvas of this.plot.querySelectorAll("canvas")) { canvas.setAttribute("role", "img"); canvas.setAttribute("aria-label", said); }
    data.drawn = String(drawn.length);
    data.points = String(drawn.reduce((n, one) => n + one.pts.x.length, 0));
    data.marks = String(drawn.filter((one) => one.marked).reduce((n, one) => n + (one.line.marks ?? []).length, 0));
    data.odd = String(drawn.reduce((n, one) => n + one.pts.odd.length, 0));
    data.span = span.x.join(" ");
    data.high = span.y === null ? "" : String(span.y[1]);
    data.axes = `${view.x} ${this.canvas.log ? "log" : "linear"}`;
    data.last = String(top.figures.last_step);
    data.ink = colour("--ink-soft");
  }

  /** Write the values at an x into the legend, and the finding that lies there beside the cursor. */
  read(x) {
    this.cursor = x;
    this.canvas.point(x);
    for (const { line, pts } of this.canvas.drawn) {
      if (!line.output) continue;
      const at = x === null ? -1 : nearest(pts.x, x);
      line.output.textContent = x === null ? figure(line.figures.last) : at < 0 ? "–" : figure(this.valueAt(line, pts, at));
    }
    const main = this.main();
    const at = x === null || !main ? -1 : nearest(main.pts.x, x);
    this.at.textContent = at < 0 ? "" : `${view.x === "time" ? "" : "step "}${placeOf(main.pts.x[at])}`;
    this.showMark(x);
    return at;
  }

  valueAt(line, pts, at) {
    const xs = view.x === "time" ? line.times : line.steps, i = xs.indexOf(pts.x[at]);
    return pts.y[at] === null ? line.values[i] : pts.y[at];
  }

  main() { return this.canvas.drawn.at(-1); }

  showMark(x) {
    const u = this.canvas.uplot;
    const near = x === null || !u ? [] : this.canvas.drawn.filter((one) => one.marked).flatMap((one) => this.canvas.placed(one)).filter((one) => Math.abs(u.valToPos(one.x, "x") - u.valToPos(x, "x")) < 9);
    this.tip.hidden = !near.length;
    if (!near.length) return;
    this.tip.replaceChildren(...near.slice(0, 3).map(({ mark }) => make("p", {}, make("strong", {}, mark.code), ` step ${mark.step.toLocaleString("en")}: `, make("bdi", {}, mark.title))));
    const left = u.over.offsetLeft + u.valToPos(near[0].x, "x"), room = this.element.clientWidth;
    this.tip.style.maxWidth = `${Math.min(280, room - 20)}px`;
    this.tip.style.left = "0";
    const width = this.tip.offsetWidth, behind = left + 14 + width <= room;
    this.tip.style.left = `${behind ? left + 14 : Math.max(4, left - width - 14)}px`; // beside the peak, not over it
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const does = {
      ArrowRight: () => (event.shiftKey ? pan(0.5) : this.step(1)), ArrowLeft: () => (event.shiftKey ? pan(-0.5) : this.step(-1)),
      Home: () => this.go(0), End: () => this.go(Infinity), "+": () => zoomBy(0.5), "=": () => zoomBy(0.5), "-": () => zoomBy(2),
      0: () => zoomTo(null, null), m: () => this.nextMark(), M: () => this.nextMark(), Escape: () => pointAll(null, this),
    }[event.key];
    if (!does || !this.canvas.drawn.length) return;
    event.preventDefault();
    event.stopPropagation();
    does();
  }

  step(by) {
    const xs = this.main().pts.x, at = this.cursor === null ? -1 : nearest(xs, this.cursor);
    this.go(at < 0 ? (by > 0 ? 0 : Infinity) : at + by);
  }

  go(at) {
    const xs = this.main().pts.x, [low, high] = this.canvas.span.x;
    let i = Math.max(0, Math.min(at, xs.length - 1));
    while (i < xs.length - 1 && xs[i] < low) i++;
    while (i > 0 && xs[i] > high) i--;
    this.speak(xs[i]);
  }

  nextMark() {
    const all = this.canvas.drawn.filter((one) => one.marked).flatMap((one) => this.canvas.placed(one)).sort((a, b) => a.x - b.x);
    const next = all.find(({ x }) => this.cursor === null || x > this.cursor) ?? all[0];
    if (next) this.speak(next.x);
  }

  speak(x) {
    pointAll(x, this);
    const values = this.canvas.drawn.slice().reverse().slice(0, 4).map(({ line }) => `${line.words} ${line.output?.textContent ?? ""}`);
    const marks = this.tip.hidden ? "" : ` Finding ${this.tip.textContent}`;
    this.spoken.textContent = `${this.at.textContent}: ${values.join(", ")}.${marks}`;
  }
}

/** Show the cursor at the same x in all charts. */
function pointAll(x, from) {
  for (const each of charts.values()) if (each.canvas.uplot && (each.visible || each === from)) each.read(x);
}

/** Return the stretch that is looked at, as far as it is known. */
function stretch() {
  const spans = [...charts.values()].filter((each) => each.canvas.uplot).map((each) => each.canvas.span);
  const whole = [Math.min(...spans.map((one) => one.whole[0])), Math.max(...spans.map((one) => one.whole[1]))];
  return spans.length ? [view.from ?? whole[0], view.to ?? whole[1]] : null;
}

function zoomTo(from, to) {
  view.from = from === null ? null : +from.toPrecision(8);
  view.to = to === null ? null : +to.toPrecision(8);
  changed({ fetches: true });
}

function zoomBy(factor) {
  const now = stretch();
  if (!now) return;
  const pointed = [...charts.values()].map((each) => each.cursor).find((x) => x !== null);
  const middle = pointed ?? (now[0] + now[1]) / 2, half = ((now[1] - now[0]) * factor) / 2;
  if (half <= 0 || half > 1e15) return;
  zoomTo(middle - half, middle + half);
}

function pan(share) {
  const now = stretch();
  if (now) zoomTo(now[0] + (now[1] - now[0]) * share, now[1] + (now[1] - now[0]) * share);
}

function changed({ fetches }) {
  toAddress();
  tools?.write();
  for (const each of charts.values()) {
    if (each.lines.length) each.render();
    if (fetches) { each.stale = true; each.load(); }
  }
}

/** The tools above the charts. */
function makeTools(first) {
  const place = document.querySelector("[data-chart-tools]") ?? first.parentElement.insertBefore(make("div"), first);
  place.classList.add("tools", "chart-tools");
  place.setAttribute("role", "toolbar");
  place.setAttribute("aria-label", "Charts");
  const button = (text, name, does) => {
    const made = make("button", { type: "button", "aria-label": name, title: name }, text);
    made.addEventListener("click", does);
    return made;
  };
  const choice = (name, options, does) => {
    const made = make("select", {}, ...options.map(([value, word]) => make("option", { value }, word)));
    made.addEventListener("change", () => does(made.value));
    return [make("label", { class: "inline" }, `${name} `, made), made];
  };
  const [yLabel, y] = choice("Values", [["linear", "linear"], ["log", "logarithmic"]], (value) => { view.y = value; changed({ fetches: false }); });
  const [xLabel, x] = choice("Over", [["step", "steps"], ["time", "time"]], (value) => { Object.assign(view, { x: value, from: null, to: null }); changed({ fetches: true }); });
  const [sLabel, smooth] = choice("Smooth", SMOOTH, (value) => { view.smooth = value ? +value : null; changed({ fetches: false }); });
  const said = make("span", { class: "soft", role: "status" });
  const group = make("span", { class: "chart-zoom", role: "group", "aria-label": "Zoom" },
    button("−", "Zoom out", () => zoomBy(2)), button("+", "Zoom in", () => zoomBy(0.5)),
    button("←", "Move left", () => pan(-0.5)), button("→", "Move right", () => pan(0.5)), button("All", "Show all", () => zoomTo(null, null)));
  place.replaceChildren(yLabel, xLabel, sLabel, group, said);
  return {
    write() {
      [y.value, x.value] = [view.y, view.x];
      const known = SMOOTH.find(([value]) => +value === (view.smooth ?? 0));
      if (!known && view.smooth) smooth.append(make("option", { value: String(view.smooth) }, String(view.smooth)));
      smooth.value = known ? known[0] : String(view.smooth);
      said.textContent = view.from === null && view.to === null ? "" : `${view.x === "time" ? "" : "steps "}${view.from === null ? "start" : placeOf(view.from)} to ${view.to === null ? "end" : placeOf(view.to)}`;
    },
  };
}

/** Make charts of all elements below a root that are none yet; forget those that went. */
function find(root) {
  for (const [element, chart] of charts) if (!element.isConnected) { chart.canvas.destroy(); charts.delete(element); }
  for (const element of root.querySelectorAll(".chart[data-curves]")) {
    if (charts.has(element)) continue;
    tools ??= makeTools(element);
    charts.set(element, new Chart(element));
  }
  tools?.write();
}

let waiting = null, lastLive = 0;
const changedRuns = new Set(), changedExperiments = new Set();
let everything = false;

function concerns(chart) {
  if (changedRuns.has(chart.element.dataset.run)) return true;
  return chart.lines.some((line) => changedRuns.has(line.run_id) || (line.live && (everything || changedExperiments.has(line.experiment))));
}

/** Draw what was logged since: charts of runs that changed fetch anew, at most once a second. */
function live(detail) {
  for (const id of detail?.runs ?? []) changedRuns.add(id);
  for (const name of detail?.experiments ?? []) changedExperiments.add(name);
  everything ||= Boolean(detail?.all);
  waiting ??= setTimeout(() => {
    waiting = null;
    lastLive = Date.now();
    for (const each of charts.values()) {
      if (concerns(each)) { each.stale = true; each.load(); }
    }
    changedRuns.clear();
    changedExperiments.clear();
    everything = false;
  }, Math.max(0, LIVE_EVERY - (Date.now() - lastLive)));
}

document.addEventListener("advisor:changed", (event) => live(event.detail));
document.addEventListener("advisor:theme", () => repaint());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => repaint());
document.body.addEventListener("htmx:afterSettle", (event) => find(event.detail.target?.parentElement ?? document));
addEventListener("popstate", () => { Object.assign(view, fromAddress()); tools?.write(); for (const each of charts.values()) { each.stale = true; each.load(); } });

function repaint() {
  for (const each of charts.values()) { each.canvas.redraw(); each.element.dataset.ink = colour("--ink-soft"); }
}

if (window.uPlot) find(document);
else addEventListener("DOMContentLoaded", () => find(document));
