// How curves are drawn on one canvas: axes and selection are uPlot's, lines and marks are drawn here from each line's own
// points in the order in which they were logged, so that a step that was logged twice is drawn twice.
// Leaves out where the data come from and what stands around the canvas (charts.js).

import { ownLines, roomy, textOf as short } from "./ticks.js";

const PALETTE = 10;
const LOOK = {
  this: { colour: "--best", width: 2, dash: [] },
  sibling: { colour: "--second", width: 1.6, dash: [7, 3] },
  best: { colour: "--good", width: 1.6, dash: [2, 3] },
  other: { colour: "--other", width: 1.1, dash: [] },
};
const ORDER = ["other", "best", "sibling", "this"];
const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3]];
const WORDS = { NaN: "NaN", Infinity: "+inf", "-Infinity": "−inf" };

/** Return what a colour variable stands for now. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim() || "#888";
}

/** Return how a line looks: the colour tells the run, the dash its part; where no run is this one, each has a colour. */
export function look(line, place, alone) {
  if (line.role === "other" && alone) {
    const at = line.place ?? place;
    return { colour: `--c${at % PALETTE}`, width: 1.5, dash: DASHES[(Math.floor(at / PALETTE) + line.part) % DASHES.length] };
  }
  const own = LOOK[line.role] ?? LOOK.other;
  return line.part ? { ...own, width: own.width * 0.8, dash: DASHES[(DASHES.indexOf(own.dash) + 1 + line.part) % DASHES.length] } : own;
}

/** Return a figure with sensible digits. */
export function figure(value) {
  if (typeof value === "string") return WORDS[value] ?? value;
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(3).replace("e+", "e");
  return String(+value.toPrecision(size >= 1e3 ? 6 : 4));
}

/** Return a length of time in its two largest units. */
export function duration(seconds) {
  const s = Math.abs(seconds), sign = seconds < 0 ? "−" : "";
  if (s < 60) return `${sign}${+s.toPrecision(3)} s`;
  const parts = s < 3600 ? [[60, "min"], [1, "s"]] : s < 86400 ? [[3600, "h"], [60, "min"]] : [[86400, "d"], [3600, "h"]];
  const [[big, bigName], [small, smallName]] = parts;
  let whole = Math.floor(s / big), rest = Math.round((s % big) / small);
  if (rest * small >= big) { whole += 1; rest = 0; }
  return `${sign}${whole} ${bigName}${rest ? ` ${rest} ${smallName}` : ""}`;
}

/** Return a line's points for a view: x, finite y, what is not finite, what a log axis cannot show; and its smooth. */
export function points(line, view) {
  const xs = view.x === "time" ? line.times ?? [] : line.steps, ys = line.values;
  const out = { x: [], y: [], step: [], odd: [], hidden: 0 };
  for (let i = 0; i < xs.length; i++) {
    const x = xs[i], y = ys[i];
    if (x === null) continue;
    const finite = typeof y !== "string", shown = finite && (view.y !== "log" || y > 0);
    if (!finite) out.odd.push({ x, kind: y });
    else if (!shown) out.hidden += 1;
    out.x.push(x);
    out.step.push(line.steps[i]);
    out.y.push(shown ? y : null);
  }
  out.smooth = view.smooth ? smoothed(out.y, view.smooth) : null;
  return out;
}

/** Return an exponential moving average without the pull of its beginning (Kingma and Ba 2015, section 3). */
function smoothed(values, weight) {
  let mean = 0, norm = 0;
  return values.map((value) => {
    if (value === null) return null;
    mean = weight * mean + (1 - weight) * value;
    norm = weight * norm + (1 - weight);
    return mean / norm;
  });
}

/** Return the index of the point nearest to x, also where points go back. */
export function nearest(xs, x) {
  let best = -1, gap = Infinity;
  for (let i = 0; i < xs.length; i++) {
    const d = Math.abs(xs[i] - x);
    if (d <= gap) { gap = d; best = i; }
  }
  return best;
}

/** Return the span of the points that are shown, of x and of y; y only of those that lie within the span of x. */
function spans(drawn, view) {
  let low = Infinity, high = -Infinity, bottom = Infinity, top = -Infinity;
  for (const { pts } of drawn) for (const x of pts.x) { if (x < low) low = x; if (x > high) high = x; }
  const from = view.from ?? low, to = view.to ?? high;
  for (const { pts } of drawn) {
    for (let i = 0; i < pts.x.length; i++) {
      const y = pts.y[i];
      if (y === null || pts.x[i] < from || pts.x[i] > to) continue;
      if (y < bottom) bottom = y;
      if (y > top) top = y;
    }
  }
  const known = Number.isFinite(from) && Number.isFinite(to);
  return { x: !known ? [0, 1] : from === to ? [from - 1, to + 1] : [from, to], y: bottom > top ? null : [bottom, top], whole: [low, high] };
}

/** One canvas. `onZoom(from, to)`, `onReset()` and `onCursor(x | null)` tell of what the reader does on it, `onDrawn()` that
    places on it mean what they will mean until the next drawing. */
export class Canvas {
  constructor(box, { height, onZoom, onReset, onCursor, onDrawn }) {
    this.box = box;
    this.height = height;
    this.calls = { onZoom, onReset, onCursor, onDrawn };
    this.drawn = [];
    this.uplot = null;
  }

  /** Draw lines as a view says; the canvas is made anew only where the kind of an axis changed. */
  draw(lines, view) {
    const alone = lines.every((line) => line.role !== "this");
    this.drawn = lines
      .map((line, place) => ({ line, look: look(line, place, alone), pts: points(line, view), marked: line.role === "this" || alone }))
      .filter(({ line }) => !line.hidden)
      .sort((a, b) => ORDER.indexOf(a.line.role) - ORDER.indexOf(b.line.role) || b.line.part - a.line.part);
    this.view = view;
    this.span = spans(this.drawn, view);
    this.log = view.y === "log" && this.span.y !== null;
    const kind = `${view.x} ${this.log}`;
    if (this.uplot && this.kind !== kind) { this.uplot.destroy(); this.uplot = null; }
    this.kind = kind;
    const data = [this.span.x, this.span.y ?? [null, null]];
    if (this.uplot) this.uplot.setData(data);
    else this.uplot = new uPlot(this.options(), data, this.box);
  }

  options() {
    const axis = { stroke: () => colour("--ink-soft"), font: "12px system-ui, sans-serif", grid: { stroke: () => colour("--line"), width: 1 }, ticks: { stroke: () => colour("--grid"), width: 1, size: 5 } };
    const time = this.view.x === "time";
    return {
      width: Math.max(this.box.clientWidth, 160),
      height: this.height,
      padding: [14, 14, 0, 0],
      legend: { show: false },
      select: { show: true },
      cursor: {
        y: false,
        points: { show: false },
        drag: { x: true, y: false, setScale: false },
        bind: { dblclick: () => () => { this.calls.onReset(); return null; } },
      },
      scales: {
        x: { time: false, range: () => this.span.x },
        y: { distr: this.log ? 3 : 1, range: () => this.yRange() },
      },
      series: [{}, { scale: "y", points: { show: false }, paths: () => null }],
      axes: [
        { ...axis, size: 34, space: 70, values: (_u, at, _i, _space, step) => at.map((v) => (time ? duration(v) : short(v, step))), ...(time ? { incrs: INCREMENTS } : { incrs: STEPS }) },
        { ...axis, ...ownLines(this.log), size: (_u, texts) => Math.max(44, 18 + 7 * Math.max(0, ...(texts ?? []).map((text) => (text ?? "").length))) },
      ],
      hooks: {
        ready: [(u) => this.listen(u)],
        draw: [(u) => { this.paint(u); this.calls.onDrawn(); }],
        setSelect: [(u) => this.selected(u)],
      },
    };
  }

  /** Hear the mouse itself: uPlot's own cursor also moves when the axes do, and then nobody pointed anywhere. */
  listen(u) {
    u.over.addEventListener("mousemove", (event) => this.calls.onCursor(u.posToVal(event.clientX - u.over.getBoundingClientRect().left, "x")));
    u.over.addEventListener("mouseleave", () => this.calls.onCursor(null));
  }

  yRange() {
    if (this.span.y === null) return [0, 1];
    const [low, high] = this.span.y;
    if (this.log) return [low / 1.15, Math.min(high * 1.15, Number.MAX_VALUE)];
    return low === high ? [low - (Math.abs(low) || 1) * 0.1, high + (Math.abs(high) || 1) * 0.1] : high - low > 1e12 ? roomy(low, high) : uPlot.rangeNum(low, high, 0.06, true);
  }

  selected(u) {
    const { left, width } = u.select;
    if (width < 4) return;
    const [from, to] = [u.posToVal(left, "x"), u.posToVal(left + width, "x")];
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.calls.onZoom(from, to);
  }

  /** Show the cursor at an x, or none. */
  point(x) {
    if (!this.uplot) return;
    const left = x === null ? -10 : this.uplot.valToPos(x, "x");
    this.uplot.setCursor({ left: left < 0 || left > this.uplot.over.clientWidth ? -10 : left, top: 0 }, false, false);
  }

  redraw() { this.uplot?.redraw(false, true); }

  resize() {
    const width = Math.max(this.box.clientWidth, 160);
    if (this.uplot && width !== this.uplot.width) this.uplot.setSize({ width, height: this.height });
  }

  paint(u) {
    const { ctx, bbox } = u, ratio = uPlot.pxRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left - 4 * ratio, bbox.top - 1, bbox.width + 8 * ratio, bbox.height + 2); // a dot at the edge is whole
    ctx.clip();
    ctx.lineJoin = "round";
    for (const one of this.drawn) this.stroke(u, one, ratio);
    ctx.restore();
    const codes = [];
    for (const one of this.drawn) { this.oddities(u, one, ratio); if (one.marked) codes.push(...this.marks(u, one, ratio)); }
    this.label(u, codes, ratio);
  }

  stroke(u, { pts, look: own }, ratio) {
    const { ctx } = u;
    ctx.strokeStyle = ctx.fillStyle = colour(own.colour);
    ctx.setLineDash(own.dash.map((n) => n * ratio));
    ctx.lineWidth = own.width * ratio;
    ctx.globalAlpha = pts.smooth ? 0.3 : 1;
    this.path(u, pts.x, pts.y, ratio);
    ctx.globalAlpha = 1;
    if (pts.smooth) { ctx.lineWidth = (own.width + 0.4) * ratio; this.path(u, pts.x, pts.smooth, ratio); }
    ctx.setLineDash([]);
  }

  /** Stroke a line with gaps where there is no value; a point without neighbours is a dot. */
  path(u, xs, ys, ratio) {
    const { ctx } = u;
    ctx.beginPath();
    for (let i = 0, pen = false; i < xs.length; i++) {
      if (ys[i] === null) { pen = false; continue; }
      const x = u.valToPos(xs[i], "x", true), y = u.valToPos(ys[i], "y", true);
      if (pen) ctx.lineTo(x, y);
      else if (i + 1 >= xs.length || ys[i + 1] === null) { ctx.moveTo(x + 2 * ratio, y); ctx.arc(x, y, 2 * ratio, 0, 7); }
      else ctx.moveTo(x, y);
      pen = true;
    }
    ctx.stroke();
  }

  /** Mark what is not finite at the edge to which it belongs: NaN and −inf below, +inf above. */
  oddities(u, { pts, look: own, line }, ratio) {
    const { ctx, bbox } = u, size = 4 * ratio;
    ctx.strokeStyle = ctx.fillStyle = colour(line.role === "this" ? "--flag" : own.colour);
    ctx.lineWidth = 1.8 * ratio;
    for (const { x: at, kind } of pts.odd) {
      const x = u.valToPos(at, "x", true);
      if (x < bbox.left - 1 || x > bbox.left + bbox.width + 1) continue;
      const y = kind === "Infinity" ? bbox.top + size : bbox.top + bbox.height - size, up = kind === "Infinity" ? -1 : 1;
      ctx.beginPath();
      if (kind === "NaN") {
        ctx.moveTo(x - size, y - size); ctx.lineTo(x + size, y + size);
        ctx.moveTo(x - size, y + size); ctx.lineTo(x + size, y - size);
        ctx.stroke();
      } else {
        ctx.moveTo(x - size, y - up * size); ctx.lineTo(x + size, y - up * size); ctx.lineTo(x, y + up * size);
        ctx.closePath();
        ctx.fill();
      }
    }
  }

  /** Mark findings: a line at the step, a ring on the curve; return each code and its place. */
  marks(u, one, ratio) {
    const { ctx, bbox } = u, codes = [];
    for (const { x: at, y: value, mark } of this.placed(one)) {
      const x = u.valToPos(at, "x", true);
      if (x < bbox.left - 1 || x > bbox.left + bbox.width + 1) continue;
      ctx.strokeStyle = ctx.fillStyle = colour("--flag");
      ctx.lineWidth = ratio;
      ctx.setLineDash([4 * ratio, 4 * ratio]);
      ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
      ctx.setLineDash([]);
      if (value !== null) {
        ctx.lineWidth = 2 * ratio;
        ctx.beginPath(); ctx.arc(x, u.valToPos(value, "y", true), 4.5 * ratio, 0, 7);
        ctx.fillStyle = colour("--card"); ctx.fill(); ctx.stroke();
      }
      codes.push({ x, code: mark.code });
    }
    return codes;
  }

  /** Write the codes of all findings above the canvas; those that would lie over each other share one label. */
  label(u, codes, ratio) {
    const { ctx, bbox } = u, groups = [];
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    const words = ({ codes: own }) => (own.length > 3 ? `${own[0]} +${own.length - 1}` : own.map((code, i) => (i ? code.replace(/^ADV/, "") : code)).join(" "));
    const placed = (group) => {
      const width = ctx.measureText(words(group)).width, middle = (group.from + group.to) / 2;
      const centre = Math.min(Math.max(middle, bbox.left + width / 2), bbox.left + bbox.width - width / 2);
      return Object.assign(group, { centre, left: centre - width / 2, right: centre + width / 2 });
    };
    for (const { x, code } of codes.sort((a, b) => a.x - b.x)) {
      let group = placed({ codes: [code], from: x, to: x });
      while (groups.length && groups.at(-1).right + 6 * ratio > group.left) {
        const before = groups.pop();
        group = placed({ codes: [...new Set([...before.codes, ...group.codes])], from: before.from, to: group.to });
      }
      groups.push(group);
    }
    ctx.fillStyle = colour("--flag");
    ctx.textAlign = "center";
    ctx.textBaseline = "bottom";
    for (const group of groups) ctx.fillText(words(group), group.centre, bbox.top - ratio);
  }

  /** Return where the findings of a line lie: at their step, or at the time of the point nearest to it. */
  placed({ line, pts }) {
    return (line.marks ?? []).map((mark) => {
      const near = nearest(pts.step, mark.step), exact = pts.step[near] === mark.step;
      return { x: this.view.x === "time" ? pts.x[near] : mark.step, y: exact ? pts.y[near] : null, mark };
    }).filter(({ x }) => x !== undefined);
  }

  destroy() { this.uplot?.destroy(); this.uplot = null; }
}

const STEPS = [1, 2, 5].flatMap((n) => Array.from({ length: 15 }, (_, i) => n * 10 ** i)).sort((a, b) => a - b);
const INCREMENTS = [0.001, 0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 432000, 864000, 2592000];
