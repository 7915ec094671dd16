// The pictures of an experiment. One request brings what all of them are drawn from; each is a canvas of its own, but
// for the course, which uPlot draws because one zooms into it. Tables beside say the same, so a canvas is only named.
//
// Colours come from the style sheet and are read anew when the theme changes. What a run's value lacks is not drawn;
// what went wrong is drawn at the edge.

import { decades, ownLines, roomy, rounds, textOf } from "./ticks.js";

const RANKED = 0, PRUNED = 1, BREAKS = 2, OPEN = 5; // what became of a run; up to BREAKS it has a value
const WORDS = ["finished", "stopped early", "breaks a constraint", "diverged", "failed", "not over"];
const PAD = { left: 58, right: 14, top: 10, bottom: 26 };
const REDRAW_AT_MOST_EVERY = 2000; // ms, while runs come in

const WHOLE = Array.from({ length: 10 }, (_, d) => [1, 2, 5].map((n) => n * 10 ** d)).flat(); // there is no half a run

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const figure = (value) => value === null || value === undefined ? "–"
  : value !== 0 && (Math.abs(value) >= 1e7 || Math.abs(value) < 1e-4) ? value.toExponential(2).replace("e+", "e")
  : String(Number(value.toPrecision(4)));

// -- scales

/** A scale from values to shares of an axis: a line, a logarithm, or places of words. */
function scaleOf(values, { log = false, labels = [], whole = false } = {}) {
  if (labels.length) {
    const width = Math.max(labels.length - 1, 1);
    return { at: (v) => (v + 0.5) / (width + 1), ticks: labels.map((label, i) => [i, label]), labels };
  }
  const known = values.filter((v) => v !== null && (!log || v > 0));
  let low = Math.min(...known), high = Math.max(...known);
  if (!known.length) [low, high] = [0, 1];
  if (log) {
    let [a, b] = [Math.log10(low), Math.log10(high)];
    if (a === b) [a, b] = [a - 0.5, b + 0.5];
    const room = (b - a) * 0.04;
    [a, b] = [a - room, b + room];
    return { at: (v) => (Math.log10(v) - a) / (b - a), back: (share) => 10 ** (a + share * (b - a)), ticks: decades(10 ** a, 10 ** b).map((v) => [v, textOf(v)]), labels: [] };
  }
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const room = (high - low) * 0.04, a = low - room, b = high + room;
  return { at: (v) => (v - a) / (b - a), back: (share) => a + share * (b - a), ticks: withText(rounds(a, b, 5, whole)), labels: [] };
}

const withText = (values) => values.map((v) => [v, textOf(v, values.length < 2 ? null : Math.abs(values[1] - values[0]))]);

// -- a canvas with axes

/** Make an element's canvas as large and as sharp as its place, and return what draws on it. */
function surface(box, label) {
  let canvas = box.querySelector("canvas");
  if (!canvas) {
    canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    box.append(canvas);
  }
  canvas.setAttribute("aria-label", label);
  const { width, height } = box.getBoundingClientRect(), ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.clearRect(0, 0, width, height);
  pen.font = "11px system-ui, sans-serif";
  return { pen, width, height, canvas };
}

function axes({ pen, width, height }, x, y, names = {}) {
  const right = width - PAD.right, floor = height - PAD.bottom;
  pen.strokeStyle = colour("line");
  pen.fillStyle = colour("ink-soft");
  pen.lineWidth = 1;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const [value, label] of y.ticks) {
    const at = Math.round(placeY(y, value, height)) + 0.5;
    if (at < PAD.top - 4 || at > floor + 1) continue;
    pen.beginPath(); pen.moveTo(PAD.left, at); pen.lineTo(right, at); pen.stroke();
    pen.fillText(short(label, 9), PAD.left - 6, at);
  }
  pen.textAlign = "center";
  pen.textBaseline = "top";
  const room = (right - PAD.left) / Math.max(x.ticks.length, 1) / 6.2;
  for (const [value, label] of x.ticks) pen.fillText(short(label, Math.max(3, Math.floor(room))), placeX(x, value, width), floor + 6);
  pen.strokeStyle = colour("grid");
  pen.beginPath(); pen.moveTo(PAD.left, floor + 0.5); pen.lineTo(right, floor + 0.5); pen.stroke();
  if (names.y) { pen.textAlign = "left"; pen.textBaseline = "top"; pen.fillText(short(names.y, 40), PAD.left + 4, 0); }
}

const short = (text, n) => text.length > n ? `${text.slice(0, n - 1)}…` : text;
const placeX = (scale, value, width) => PAD.left + scale.at(value) * (width - PAD.left - PAD.right);
const placeY = (scale, value, height) => height - PAD.bottom - scale.at(value) * (height - PAD.bottom - PAD.top);

function dot(pen, x, y, fate, strong) {
  pen.beginPath();
  if (fate > BREAKS) {
    pen.strokeStyle = colour("flag");
    pen.lineWidth = 1.2;
    pen.moveTo(x - 3, y - 3); pen.lineTo(x + 3, y + 3); pen.moveTo(x + 3, y - 3); pen.lineTo(x - 3, y + 3);
    pen.stroke();
    return;
  }
  pen.arc(x, y, strong ? 4.5 : 2.6, 0, 7);
  if (fate !== RANKED) { pen.strokeStyle = colour(fate === PRUNED ? "second" : "other"); pen.lineWidth = 1.2; pen.stroke(); return; }
  pen.globalAlpha = strong ? 1 : 0.5;
  pen.fillStyle = strong ? colour("flag") : colour("best");
  if (strong) pen.fillStyle = colour("good");
  pen.fill();
  pen.globalAlpha = 1;
}

/** Tell of the nearest point under the mouse, and open its run on a click. */
function follow(box, canvas, points, describe) {
  let tip = box.querySelector(".tip");
  if (!tip) { tip = document.createElement("div"); tip.className = "tip"; tip.hidden = true; tip.setAttribute("aria-hidden", "true"); box.append(tip); }
  const nearest = (event) => {
    const area = canvas.getBoundingClientRect(), x = event.clientX - area.left, y = event.clientY - area.top;
    let best = null, distance = 144;
    for (const point of points) {
      const d = (point.x - x) ** 2 + (point.y - y) ** 2;
      if (d < distance) [best, distance] = [point, d];
    }
    return best;
  };
  canvas.onpointermove = (event) => {
    const point = nearest(event);
    tip.hidden = !point;
    canvas.style.cursor = point ? "pointer" : "default";
    if (!point) return;
    tip.textContent = describe(point.i);
    tip.style.left = `${Math.min(point.x + 10, box.clientWidth - tip.offsetWidth - 4)}px`;
    tip.style.top = `${Math.max(point.y - 30, 0)}px`;
  };
  canvas.onpointerleave = () => { tip.hidden = true; };
  canvas.onclick = (event) => { const point = nearest(event); if (point) location.assign(`/runs/${encodeURIComponent(point.id)}`); };
}

// -- the course of the search

function progress(box, data, state) {
  state.chart?.destroy();
  box.replaceChildren();
  const log = state.log ?? data.log, maximize = data.maximize;
  const usable = (v) => v !== null && (!log || v > 0);
  const shown = data.numbers.map((_, i) => i).filter((i) => data.fates[i] !== OPEN);
  const best = new Map(data.steps);
  const xs = [...new Set([...shown.map((i) => data.numbers[i]), ...best.keys(), data.last])].sort((a, b) => a - b);
  const place = new Map(xs.map((x, i) => [x, i])), column = () => new Array(xs.length).fill(null);
  const [ranked, pruned, broken, wrong, line, above, below] = Array.from({ length: 7 }, column);
  const finite = shown.filter((i) => data.fates[i] <= BREAKS && usable(data.objective[i])).map((i) => data.objective[i]);
  const sorted = [...finite].sort((a, b) => a - b), edge = sorted.length ? sorted[maximize ? 0 : sorted.length - 1] : 1;
  for (const i of shown) {
    const at = place.get(data.numbers[i]), value = data.objective[i];
    if (data.fates[i] === RANKED && usable(value)) ranked[at] = value;
    else if (data.fates[i] === PRUNED && usable(value)) pruned[at] = value;
    else if (data.fates[i] === BREAKS && usable(value)) broken[at] = value;
    else wrong[at] = edge;
  }
  let now = null;
  xs.forEach((x, i) => {
    if (best.has(x)) now = best.get(x);
    if (now === null || !usable(now)) return;
    line[i] = now;
    if (data.sd) { above[i] = now + data.sd; below[i] = usable(now - data.sd) ? now - data.sd : now; }
  });
  const low = sorted[0] ?? 0, high = sorted.at(-1) ?? 1;
  const points = (name, size, fill) => ({ stroke: colour(name), paths: () => null, points: { show: true, size, fill: fill ? colour(name) : colour("card"), stroke: colour(name), width: 1 } });
  const stepped = uPlot.paths.stepped({ align: 1 });
  const grid = { stroke: colour("line"), width: 1 }, ink = colour("ink-soft");
  const value = (u, v) => figure(v);
  const options = {
    width: box.clientWidth, height: box.clientHeight || 300, cursor: { drag: { x: true, y: false } },
    scales: {
      x: { time: false, range: (_u, low, high) => (low === high ? [low - 1, high + 1] : [low, high]) },
      y: { distr: log ? 3 : 1, ...(!log && high - low > 1e12 ? { range: () => roomy(low, high) } : {}) },
    },
    axes: [
      { stroke: ink, grid, ticks: grid, label: "run", labelSize: 18, size: 36, labelFont: "12px system-ui, sans-serif", incrs: WHOLE, values: (u, splits) => splits.map((v) => Number.isInteger(v) ? String(v) : "") },
      { stroke: ink, grid, ticks: grid, size: 62, ...ownLines(log) },
    ],
    series: [
      { label: "run", value: (u, v) => v === null ? "–" : `#${v}` },
      { label: "finished", ...points("best", xs.length > 400 ? 4 : 6, true), value },
      { label: "stopped early", ...points("second", 6, false), value },
      { label: "breaks a constraint", ...points("other", 6, false), value },
      { label: "failed or diverged", paths: () => null, points: { show: false } },
      { label: "above", stroke: "transparent", paths: stepped, points: { show: false }, value },
      { label: "below", stroke: "transparent", paths: stepped, points: { show: false }, value },
      { label: "best so far", stroke: colour("good"), width: 2, paths: stepped, points: { show: false }, value },
    ],
    bands: data.sd ? [{ series: [5, 6], fill: `color-mix(in srgb, ${colour("good")} 18%, transparent)` }] : [],
    legend: { show: false },
    hooks: { draw: [(u) => crosses(u, xs, wrong)] },
  };
  const columns = [xs, ranked, pruned, broken, wrong, above, below, line];
  state.chart = new uPlot(options, columns, box);
  state.chart.root.setAttribute("role", "img");
  state.chart.root.setAttribute("aria-label", `${data.metric} of each run and the best so far by run number; the improvements are in the table below`);
  const able = finite.length && sorted[0] > 0; // above the picture: over it, it would hide the last run
  document.querySelector("[data-scale]")?.replaceChildren(...(able ? [switchOf(log, () => { state.log = !log; progress(box, data, state); })] : []));
}

/** Mark the runs that went wrong at the edge of the worse values. */
function crosses(chart, xs, wrong) {
  const { ctx, bbox } = chart, arm = 3.5 * devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = colour("flag");
  ctx.lineWidth = 1.3 * devicePixelRatio;
  ctx.globalAlpha = xs.length > 400 ? 0.5 : 1;
  xs.forEach((x, i) => {
    if (wrong[i] === null || x < chart.scales.x.min || x > chart.scales.x.max) return;
    const [a, b] = [chart.valToPos(x, "x", true), Math.min(Math.max(chart.valToPos(wrong[i], "y", true), bbox.top + arm), bbox.top + bbox.height - arm)];
    ctx.beginPath(); ctx.moveTo(a - arm, b - arm); ctx.lineTo(a + arm, b + arm); ctx.moveTo(a + arm, b - arm); ctx.lineTo(a - arm, b + arm); ctx.stroke();
  });
  ctx.restore();
}

function switchOf(log, flip) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "scale";
  button.setAttribute("aria-pressed", String(log));
  button.textContent = "Log scale";
  button.addEventListener("click", () => { flip(); document.querySelector("[data-scale] .scale")?.focus(); });
  return button;
}

// -- the objective against one parameter

function effect(box, data) {
  const axis = data.axes.find((each) => each.name === box.dataset.axis);
  if (!axis) return;
  const drawn = surface(box, `${data.metric} of each run by ${axis.name}; the table below groups the runs`);
  const x = scaleOf(axis.values, axis), ok = data.numbers.map((_, i) => i).filter((i) => data.fates[i] <= BREAKS && data.objective[i] !== null);
  const y = scaleOf(trimmed(ok.map((i) => data.objective[i]), data), { log: data.log });
  axes(drawn, x, y);
  const points = [], floor = data.maximize ? drawn.height - PAD.bottom - 4 : PAD.top + 4;
  const best = bestOf(data);
  for (const i of [...data.numbers.keys()].filter((i) => data.fates[i] !== OPEN && i !== best).concat(best ?? [])) {
    const v = axis.values[i];
    if (v === null || (axis.log && v <= 0)) continue;
    const jitter = axis.labels.length ? ((data.numbers[i] * 0.618) % 1 - 0.5) * 0.5 / axis.labels.length * (drawn.width - PAD.left - PAD.right) : 0;
    const at = { x: placeX(x, v, drawn.width) + jitter, i, id: data.ids[i] };
    const value = data.objective[i], wrong = data.fates[i] > BREAKS || value === null || (data.log && value <= 0);
    at.y = wrong ? floor : Math.min(Math.max(placeY(y, value, drawn.height), PAD.top), drawn.height - PAD.bottom);
    dot(drawn.pen, at.x, at.y, wrong ? Math.max(data.fates[i], BREAKS + 1) : data.fates[i], i === best);
    points.push(at);
  }
  follow(box, drawn.canvas, points, (i) => `#${data.numbers[i]} ${WORDS[data.fates[i]]} · ${axis.name} ${shownValue(axis, i)} · ${figure(data.objective[i])}`);
}

/** Leave out the worst few, which would press all others to the border; they are drawn at it. */
function trimmed(values, data) {
  const sorted = [...values].sort((a, b) => a - b), n = sorted.length;
  if (n < 20 || data.log) return sorted;
  const [low, middle, high] = [sorted[0], sorted[n >> 1], sorted[n - 1]];
  const far = 8 * (data.maximize ? high - middle : middle - low);
  return far ? sorted.filter((v) => data.maximize ? v >= middle - far : v <= middle + far) : sorted;
}

function bestOf(data) {
  let best = null;
  data.objective.forEach((v, i) => {
    if (data.fates[i] !== RANKED || v === null) return;
    if (best === null || (data.maximize ? v > data.objective[best] : v < data.objective[best])) best = i;
  });
  return best;
}

const shownValue = (axis, i) => axis.values[i] === null ? "–" : axis.labels.length ? axis.labels[axis.values[i]] : figure(axis.values[i]);

/** How good each run is among those drawn, from 0 to 1; null for those that do not rank. */
function standing(data) {
  const order = data.numbers.map((_, i) => i).filter((i) => data.fates[i] === RANKED && data.objective[i] !== null)
    .sort((a, b) => (data.maximize ? 1 : -1) * (data.objective[a] - data.objective[b]));
  const out = new Array(data.numbers.length).fill(null);
  order.forEach((i, at) => { out[i] = order.length > 1 ? at / (order.length - 1) : 1; });
  return out;
}

const mixed = (share) => `color-mix(in oklab, ${colour("best")} ${Math.round(share * 100)}%, ${colour("grid")})`;

// -- two parameters

function pair(box, data) {
  const [across, down] = [box.dataset.x, box.dataset.y].map((name) => data.axes.find((axis) => axis.name === name));
  if (!across || !down) return;
  const drawn = surface(box, `Runs by ${across.name} and ${down.name}, the better the stronger; the table beside gives medians`);
  const x = scaleOf(across.values, across), y = scaleOf(down.values, down), good = standing(data), points = [];
  axes(drawn, x, y, { y: down.name });
  const best = bestOf(data);
  const order = [...data.numbers.keys()].filter((i) => data.fates[i] !== OPEN).sort((a, b) => (good[a] ?? -1) - (good[b] ?? -1));
  const spread = (axis, i, size) => axis.labels.length ? ((data.numbers[i] * 0.618) % 1 - 0.5) * 0.5 / axis.labels.length * size : 0;
  for (const i of order) {
    const [a, b] = [across.values[i], down.values[i]];
    if (a === null || b === null || (across.log && a <= 0) || (down.log && b <= 0)) continue;
    const at = { x: placeX(x, a, drawn.width) + spread(across, i, drawn.width - 80), y: placeY(y, b, drawn.height) + spread(down, i, drawn.height - 40), i, id: data.ids[i] };
    points.push(at);
    if (good[i] === null) { dot(drawn.pen, at.x, at.y, Math.max(data.fates[i], 1)); continue; }
    drawn.pen.beginPath();
    drawn.pen.arc(at.x, at.y, i === best ? 5 : 3.2, 0, 7);
    drawn.pen.fillStyle = i === best ? colour("good") : mixed(good[i]);
    drawn.pen.fill();
  }
  follow(box, drawn.canvas, points, (i) => `#${data.numbers[i]} · ${shownValue(across, i)}, ${shownValue(down, i)} · ${figure(data.objective[i])}`);
}

// -- several objectives

function front(box) {
  const told = JSON.parse(document.getElementById(box.dataset.source).textContent);
  const [[first], [second]] = told.objectives;
  const drawn = surface(box, `${first} and ${second} of each run; the front is in the table below`);
  const x = scaleOf(told.points.map((p) => p[2])), y = scaleOf(told.points.map((p) => p[3]));
  axes(drawn, x, y, { y: second });
  const points = told.points.map(([id, number, a, b, on], i) => ({ id, number, a, b, on, i, x: placeX(x, a, drawn.width), y: placeY(y, b, drawn.height) }));
  for (const p of points.filter((p) => !p.on)) dot(drawn.pen, p.x, p.y, RANKED, false);
  const edge = points.filter((p) => p.on).sort((a, b) => a.x - b.x);
  drawn.pen.strokeStyle = colour("good");
  drawn.pen.lineWidth = 1.5;
  drawn.pen.beginPath();
  edge.forEach((p, i) => { if (i) { drawn.pen.lineTo(p.x, edge[i - 1].y); drawn.pen.lineTo(p.x, p.y); } else drawn.pen.moveTo(p.x, p.y); });
  drawn.pen.stroke();
  for (const p of edge) dot(drawn.pen, p.x, p.y, RANKED, true);
  follow(box, drawn.canvas, points, (i) => `#${points[i].number} · ${first} ${figure(points[i].a)} · ${second} ${figure(points[i].b)}`);
}

// -- all parameters: parallel coordinates

const PER_AXIS = 110; // px that an axis takes at least

function parallel(box, data, state) {
  const all = [...data.axes, { name: data.metric ?? "objective", values: data.objective, log: data.log, labels: [], isObjective: true }];
  box.style.minWidth = `${all.length * PER_AXIS}px`;
  state.ranges ??= new Map();
  const drawn = surface(box, `One line a run across ${all.length} axes; the best runs are in the table below`);
  const { pen, width, height } = drawn, top = 34, floor = height - 18;
  const scales = all.map((axis) => scaleOf(axis.values.filter((_, i) => data.fates[i] !== OPEN), axis));
  const xs = all.map((_, i) => 46 + i * (width - 92) / Math.max(all.length - 1, 1));
  const at = (k, v) => floor - scales[k].at(v) * (floor - top);
  const good = standing(data), inside = (i) => within(all, state.ranges, i);
  const order = [...data.numbers.keys()].filter((i) => data.fates[i] === RANKED).sort((a, b) => good[a] - good[b]);
  const sharp = order.length > 200 ? 7 : 1.5; // of very many lines only the best are to be seen one by one
  let n = 0;
  for (const i of order) {
    const kept = inside(i);
    n += kept;
    pen.beginPath();
    let drawing = false;
    all.forEach((axis, k) => {
      const v = axis.values[i];
      if (v === null || (axis.log && v <= 0)) { drawing = false; return; }
      drawing ? pen.lineTo(xs[k], at(k, v)) : pen.moveTo(xs[k], at(k, v));
      drawing = true;
    });
    pen.strokeStyle = kept ? mixed(good[i]) : colour("line");
    pen.globalAlpha = kept ? (order.length > 200 ? 0.06 : 0.25) + 0.7 * good[i] ** sharp : order.length > 200 ? 0.1 : 0.35;
    pen.lineWidth = kept && good[i] === 1 ? 2.5 : 1;
    pen.stroke();
  }
  pen.globalAlpha = 1;
  all.forEach((axis, k) => {
    pen.strokeStyle = colour("ink-soft");
    pen.lineWidth = 1;
    pen.beginPath(); pen.moveTo(xs[k], top); pen.lineTo(xs[k], floor); pen.stroke();
    pen.fillStyle = colour("ink");
    pen.textAlign = "center"; pen.textBaseline = "top";
    pen.fillText(short(axis.name, 16), xs[k], 4);
    pen.textAlign = "left"; pen.textBaseline = "middle";
    for (const [value, label] of scales[k].ticks) {
      const y = at(k, value);
      if (y < top - 2 || y > floor + 2) continue;
      const text = short(label, 10), size = pen.measureText(text).width;
      pen.globalAlpha = 0.75; pen.fillStyle = colour("card"); pen.fillRect(xs[k] + 4, y - 7, size + 2, 14);
      pen.globalAlpha = 1; pen.fillStyle = colour("ink-soft"); pen.fillText(text, xs[k] + 5, y);
    }
    const range = state.ranges.get(axis.name);
    if (range && !axis.labels.length) {
      const [a, b] = [range.high, range.low].map((v, j) => v === null ? (j ? floor : top) : Math.min(Math.max(at(k, v), top), floor));
      pen.fillStyle = colour("best"); pen.globalAlpha = 0.25; pen.fillRect(xs[k] - 7, a, 14, Math.max(b - a, 2)); pen.globalAlpha = 1;
    }
  });
  const root = box.closest("[data-plots]");
  const said = state.ranges.size ? `${n} of the ${order.length} finished runs that are drawn lie within.` : "";
  const status = root.querySelector("[data-kept]");
  if (status.textContent !== said) status.textContent = said;
  root.querySelector("[data-show-kept]").href = addressOf(root, all, state.ranges);
  brush(box, drawn.canvas, all, scales, xs, top, floor, state, () => parallel(box, data, state));
  ranges(root.querySelector("[data-ranges]"), all, state, () => parallel(box, data, state));
}

function within(all, ranges, i) {
  for (const axis of all) {
    const range = ranges.get(axis.name), v = axis.values[i];
    if (!range) continue;
    if (v === null) return false;
    if (axis.labels.length ? !range.labels.has(axis.labels[v]) : (range.low !== null && v < range.low) || (range.high !== null && v > range.high)) return false;
  }
  return true;
}

/** The address of the table with the ranges as a filter, on top of the one that is there. */
function addressOf(root, all, ranges) {
  const before = new URL(root.dataset.plots, location.href).searchParams.get("where");
  const clauses = before ? [`(${before})`] : [];
  const text = (value) => `'${value.replaceAll("'", "''")}'`;
  for (const axis of all) {
    const range = ranges.get(axis.name);
    if (!range) continue;
    const name = axis.isObjective ? "objective" : `params.${/^[A-Za-z_]\w*$/.test(axis.name) ? axis.name : `\`${axis.name.replaceAll("`", "``")}\``}`;
    if (axis.labels.length) clauses.push(`${name} in (${[...range.labels].map(text).join(", ")})`);
    if (range.low !== null && range.low !== undefined) clauses.push(`${name} >= ${range.low}`);
    if (range.high !== null && range.high !== undefined) clauses.push(`${name} <= ${range.high}`);
  }
  return `${root.dataset.home}?${new URLSearchParams({ tab: "runs", ...(clauses.length ? { where: clauses.join(" and ") } : {}) })}`;
}

/** Drag along an axis to set its range; a click on it lets go of it. */
function brush(box, canvas, all, scales, xs, top, floor, state, redraw) {
  let from = null;
  const find = (event) => {
    const area = canvas.getBoundingClientRect(), x = event.clientX - area.left;
    const k = xs.findIndex((each) => Math.abs(each - x) < 14);
    return k < 0 || all[k].labels.length ? null : { k, share: Math.min(Math.max((floor - (event.clientY - area.top)) / (floor - top), 0), 1) };
  };
  canvas.onpointerdown = (event) => { from = find(event); if (from) { canvas.setPointerCapture(event.pointerId); event.preventDefault(); } };
  canvas.onpointermove = (event) => { canvas.style.cursor = from || find(event) ? "ns-resize" : "default"; };
  canvas.onpointerup = (event) => {
    if (!from) return;
    const area = canvas.getBoundingClientRect(), share = Math.min(Math.max((floor - (event.clientY - area.top)) / (floor - top), 0), 1);
    const scale = scales[from.k], name = all[from.k].name;
    if (Math.abs(share - from.share) < 0.02) state.ranges.delete(name);
    else state.ranges.set(name, { low: rounded(scale.back(Math.min(share, from.share))), high: rounded(scale.back(Math.max(share, from.share))) });
    from = null;
    state.filled = false;
    redraw();
  };
}

const rounded = (value) => Number(value.toPrecision(4));

/** The same by keyboard: two fields an axis, or a box for each word. */
function ranges(place, all, state, redraw) {
  if (state.filled && place.childElementCount) return;
  state.filled = true;
  const set = (axis, change) => {
    const range = { low: null, high: null, labels: new Set(axis.labels), ...state.ranges.get(axis.name) };
    change(range);
    const free = range.low === null && range.high === null && range.labels.size === axis.labels.length;
    free ? state.ranges.delete(axis.name) : state.ranges.set(axis.name, axis.labels.length ? range : { low: range.low, high: range.high });
    redraw();
  };
  place.replaceChildren(...all.map((axis) => {
    const group = document.createElement("fieldset"), legend = document.createElement("legend");
    legend.textContent = axis.name;
    group.append(legend);
    const range = state.ranges.get(axis.name);
    if (axis.labels.length) {
      for (const word of axis.labels) group.append(labelled("checkbox", word, (input) => { input.checked = !range || range.labels.has(word); }, (input) => set(axis, (r) => input.checked ? r.labels.add(word) : r.labels.delete(word))));
    } else {
      for (const [end, label] of [["low", "from"], ["high", "to"]]) {
        group.append(labelled("number", label, (input) => { input.step = "any"; input.value = range?.[end] ?? ""; }, (input) => set(axis, (r) => { r[end] = input.value === "" ? null : Number(input.value); })));
      }
    }
    return group;
  }));
}

function labelled(type, text, fill, changed) {
  const label = document.createElement("label"), input = document.createElement("input");
  label.className = "inline";
  input.type = type;
  fill(input);
  input.addEventListener("change", () => changed(input));
  label.append(...(type === "checkbox" ? [input, text] : [text, input]));
  return label;
}

// -- what is drawn when

const DRAW = { progress, effect, pair, front, parallel };
const states = new WeakMap(); // of an element: what a person chose in it
const known = new Map(); // of an address: a promise of what it gave

const load = (address) => {
  if (!known.has(address)) {
    known.set(address, fetch(address, { headers: { accept: "application/json" } }).then((answer) => {
      if (!answer.ok) throw new Error(`the advisor answered ${answer.status}`);
      return answer.json();
    }));
    known.get(address).catch(() => known.delete(address));
  }
  return known.get(address);
};

async function draw(root) {
  try {
    const data = await load(root.dataset.plots);
    for (const box of root.querySelectorAll("[data-plot]")) {
      if (!DRAW[box.dataset.plot] || !box.clientWidth) continue;
      if (!states.has(box)) states.set(box, {});
      DRAW[box.dataset.plot](box, data, states.get(box));
    }
    root.dataset.drawn = String(data.n_runs);
  } catch (error) {
    const detail = `The pictures cannot be drawn: ${error.message}`;
    document.body.dispatchEvent(new CustomEvent("advisor:tell", { detail }));
  }
}

const drawAll = () => { for (const root of document.querySelectorAll("[data-plots]")) draw(root); };

let last = 0, soon = null;
document.addEventListener("advisor:changed", (event) => {
  const roots = [...document.querySelectorAll("[data-plots]")].filter((root) => event.detail?.all || event.detail?.experiments?.includes(root.dataset.experiment));
  if (!roots.length || soon) return;
  soon = setTimeout(() => {
    [soon, last] = [null, Date.now()];
    known.clear();
    roots.forEach(draw);
  }, Math.max(0, REDRAW_AT_MOST_EVERY - (Date.now() - last)));
});
document.addEventListener("advisor:theme", drawAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
document.addEventListener("htmx:afterSettle", drawAll);
let width = innerWidth, resized = null;
addEventListener("resize", () => {
  if (innerWidth === width) return; // a phone's bars come and go
  width = innerWidth;
  clearTimeout(resized);
  resized = setTimeout(drawAll, 150);
});
drawAll();
