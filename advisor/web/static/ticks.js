// Where the lines of an axis lie and what stands at them, for ranges of any size: losses go from 1e-47 to 1e242. Pure.

const MOST = 8; // labels of a logarithm
const DECADES = [1, 2, 5, 10, 20, 25, 50, 100];

/** Return round values between two, about n of them, whatever power of ten they need. */
export function rounds(low, high, n = 5, whole = false) {
  const raw = high / n - low / n; // each by itself: the difference of the largest numbers is none
  if (!(raw > 0) || !Number.isFinite(raw)) return [low];
  const size = 10 ** Math.floor(Math.log10(raw)), nice = size * [1, 2, 5, 10].find((m) => m * size >= raw * (1 - 1e-9));
  const step = whole ? Math.max(1, Math.round(nice)) : nice, out = [];
  if (!Number.isFinite(step) || !step) return [low];
  for (let i = Math.ceil(low / step - 1e-9); i <= Math.floor(high / step + 1e-9) && out.length < 50; i++) out.push(Number((i * step).toPrecision(12)));
  return out;
}

/** Return powers of ten between two positive values, every k-th so that they are few; of few decades also 2 and 5. */
export function decades(low, high, most = MOST) {
  const a = Math.ceil(Math.max(Math.log10(low), -323) - 1e-9), b = Math.floor(Math.min(Math.log10(high), 308) + 1e-9), n = b - a + 1;
  if (n < 3) {
    const between = [a - 1, a, a + 1].flatMap((d) => [1, 2, 5].map((m) => Number(`${m}e${d}`))).filter((v) => v >= low && v <= high);
    return between.length > 1 ? between : rounds(low, high, 4);
  }
  const every = DECADES.find((k) => n / k <= most) ?? DECADES.at(-1), out = [];
  for (let d = Math.ceil(a / every) * every; d <= b; d += every) out.push(Number(`1e${d}`)); // 10 ** -5 is not 1e-5
  return out;
}

/** Return the text of a line: as many digits as the step between lines needs; without a step, three at most. */
export function textOf(value, step = null) {
  if (value === 0) return "0";
  const size = Math.abs(value), digits = step ? Math.max(0, Math.min(4, Math.floor(Math.log10(size) + 1e-9) - Math.floor(Math.log10(step) + 1e-9))) : 2;
  const brief = () => value.toExponential(digits).replace(/(\.\d*?)0+e/, "$1e").replace(".e", "e").replace("e+", "e");
  if (size >= 1e5 && (step === null || step >= 1000)) return size >= 1e9 ? brief() : size >= 1e6 ? `${+(value / 1e6).toPrecision(6)}M` : `${+(value / 1e3).toPrecision(6)}k`;
  if (size < 1e-3 && (step === null || step < 1e-4)) return brief();
  return step === null ? String(+value.toPrecision(3)) : String(+value.toFixed(Math.max(0, Math.min(10, 1 - Math.floor(Math.log10(step))))));
}

/** Return the part of a uPlot axis that says where its lines are: uPlot's own steps end at 1e16, and then it draws none.
    `space` is the least room between two lines of a linear axis, in pixels. */
export function ownLines(log, space = 30) {
  const at = (low, high, room) => (log ? decades(low, high) : rounds(low, high, Math.max(2, Math.floor(room / space))));
  const roomOf = (u) => Math.max(u.bbox.height / (window.devicePixelRatio || 1), u.height / 2);
  return {
    incrs: (_u, _axis, low, high) => [Math.max(5, high - low)], // one that always fits: `splits` does not look at it
    splits: (u, _axis, low, high) => at(low, high, roomOf(u)),
    filter: (_u, splits) => splits,
    values: (_u, splits) => splits.map((v) => textOf(v, log || splits.length < 2 ? null : Math.abs(splits[1] - splits[0]))),
  };
}

/** Return a range with some room around two values, never beyond the largest number. */
export function roomy(low, high, share = 0.06) {
  const room = (high / 2 - low / 2) * 2 * share;
  return [Math.max(low - room, -Number.MAX_VALUE), Math.min(high + room, Number.MAX_VALUE)];
}
