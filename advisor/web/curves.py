"""Curves as the charts ask for them: of some runs, a stretch of them, few enough points to draw.

Leaves out drawing (``static/charts.js``) and which runs are worth drawing. Invariants: a stretch is cut out before
points are chosen, so that looking closer shows more; every point sent is one that was logged; of one curve at most
``MAX_POINTS`` are sent, whatever is asked; what is kept in memory has a limit in bytes.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from advisor.documents.untrusted import one_line
from advisor.errors import ConfigError
from advisor.strict_json import plain, word
from storage.records import Curve, FindingState, Run
from storage.thinning import FEWEST, chosen

if TYPE_CHECKING:
    from storage.store import RunStore

Axis = Literal["step", "time"]
Role = Literal["this", "sibling", "best", "other"]
Positions = NDArray[np.intp]

MAX_POINTS: Final = 2_000
"""Points of one curve on the wire; a wide screen has as many pixels."""
MAX_METRICS: Final = 40
MAX_LINES: Final = 200
"""Curves in one answer: 100 runs with two metrics each."""
MAX_SENT: Final = 60_000
"""Points in one answer: about 2 MB of JSON, a fifth of it compressed."""
SHORT: Final = 20_000
"""Points up to which a curve is read together with those of other runs: 100 of them are 48 MB."""
MAX_MARKS: Final = 100
CACHE_BYTES: Final = 256 << 20
"""Ten curves of a million points, whose steps are regular, are 160 MB."""
MAX_LABEL: Final = 80

ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class Window:
    """What of a curve is looked at."""

    axis: Axis = "step"
    """What ``low`` and ``high`` are: steps, or seconds since the run's start."""
    _: KW_ONLY
    low: float | None = None
    high: float | None = None
    points: int = 1_000
    """Most points of one curve."""

    @classmethod
    def asked(cls, given: Mapping[str, str]) -> Window:
        """Read ``axis``, ``from``, ``to`` and ``points`` of a query.

        Raises
        ------
        ConfigError
            If one of them is not what it should be.
        """
        axis = given.get("axis") or "step"
        if axis not in ("step", "time"):
            raise ConfigError(f"axis = {axis!r:.40} is not known; it is 'step' or 'time'")
        low, high = _number(given, "from"), _number(given, "to")
        if low is not None and high is not None and low > high:
            raise ConfigError(f"from = {low:g} lies behind to = {high:g}; give them the other way round")
        points = _number(given, "points")
        n = 1_000 if points is None else int(min(max(points, FEWEST), MAX_POINTS))
        return cls(cast(Axis, axis), low=low, high=high, points=n)


@dataclass(frozen=True, slots=True)
class Beside:
    """A run whose curves are drawn, and what it is to the reader."""

    run: Run
    _: KW_ONLY
    role: Role = "other"
    label: str = ""
    """What the legend calls it; by default its number and name."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """A curve in memory: regular steps take no room."""

    metric: str
    _: KW_ONLY
    steps: NDArray[np.int64] | range
    values: NDArray[np.float64]
    times: NDArray[np.float64] | None
    """None where no time is known."""
    figures: Mapping[str, Any]
    """See ``Curve.summary``."""
    nonfinite: Mapping[str, Mapping[str, int]]
    """By the word for it, how many values are not finite, and the step of the first."""

    @classmethod
    def of(cls, curve: Curve) -> Decoded:
        """Take a curve in, without what can be computed again."""
        known = np.isfinite(curve.times).any() if len(curve) else False
        times = curve.times if known else None
        steps, figures, odd = _regular(curve.steps), curve.summary(), _nonfinite(curve)
        return cls(curve.metric, steps=steps, values=curve.values, times=times, figures=figures, nonfinite=odd)

    @property
    def n_bytes(self) -> int:
        """What it takes of memory."""
        steps = 0 if isinstance(self.steps, range) else self.steps.nbytes
        return 1_000 + steps + self.values.nbytes + (0 if self.times is None else self.times.nbytes)

    def axis(self, which: Axis) -> NDArray[Any]:
        """Return where its points lie on an axis; NaN where that is not known."""
        if which == "step":
            return np.arange(self.steps.start, self.steps.stop, self.steps.step) if self._regular else self.steps  # type: ignore[union-attr,return-value]  # _regular tells
        return np.full(self.values.size, np.nan) if self.times is None else self.times

    @property
    def _regular(self) -> bool:
        return isinstance(self.steps, range)

    @cached_property
    def _rises(self) -> Mapping[Axis, bool]:
        """Whether points lie in their order on an axis, so that a stretch is found without looking at all."""
        rising: dict[Axis, bool] = {}
        for axis in ("step", "time"):
            at = self.axis(axis)
            rising[axis] = self._regular if axis == "step" and self._regular else bool((at[1:] >= at[:-1]).all())
        return rising

    def within(self, window: Window) -> Positions:
        """Return the positions of the points in a stretch, and of one on either side, to which the line goes."""
        at = self.axis(window.axis)
        low = -math.inf if window.low is None else window.low
        high = math.inf if window.high is None else window.high
        if self._rises[window.axis]:
            first = max(int(np.searchsorted(at, low, "left")) - 1, 0)
            last = min(int(np.searchsorted(at, high, "right")) + 1, at.size)
            return np.arange(first, last)
        inside = (at >= low) & (at <= high)
        near = inside.copy()
        near[:-1] |= inside[1:]
        near[1:] |= inside[:-1]
        return np.flatnonzero(near & np.isfinite(at))

    def shown(self, window: Window, points: int) -> tuple[Positions, int]:
        """Return the positions to draw, and of how many they were chosen."""
        positions = self.within(window)
        return positions[chosen(self.values[positions], points)], int(positions.size)


class Kept:
    """Values in memory, the least recently used ones forgotten; may be used from many threads.

    Whoever asks for a value that another thread is working out waits for it: 50 viewers cost one read.
    """

    def __init__(self, n_bytes: int = CACHE_BYTES) -> None:
        self._limit = n_bytes
        self._values: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
        self._n_bytes = 0
        self._lock = threading.Lock()
        self._working: dict[Any, threading.Lock] = {}

    @property
    def n_bytes(self) -> int:
        """What the values take of memory."""
        return self._n_bytes

    def get(self, key: Any, make: Callable[[], ValueT], size: Callable[[ValueT], int]) -> ValueT:
        """Return what was made for a key; make it where it is not there."""
        found = self._find(key)
        if found is not None:
            return cast(ValueT, found[0])
        with self._lock:
            mine = self._working.setdefault(key, threading.Lock())
        try:
            with mine:
                found = self._find(key)
                if found is None:
                    value = make()
                    self.put(key, value, size(value))
                    return value
                return cast(ValueT, found[0])
        finally:
            with self._lock:
                self._working.pop(key, None)

    def holds(self, key: Any) -> bool:
        """Return whether there is a value of a key."""
        return self._find(key) is not None

    def _find(self, key: Any) -> tuple[Any, int] | None:
        with self._lock:
            found = self._values.get(key)
            if found is not None:
                self._values.move_to_end(key)
            return found

    def put(self, key: Any, value: Any, n_bytes: int) -> None:
        """Keep a value, unless it alone is more than there is room for."""
        with self._lock:
            if n_bytes > self._limit or key in self._values:
                return
            self._values[key] = (value, n_bytes)
            self._n_bytes += n_bytes
            while self._n_bytes > self._limit:
                _, (_, freed) = self._values.popitem(last=False)
                self._n_bytes -= freed


@dataclass(frozen=True)
class Curves:
    """The curves of a store, read once and kept for a while."""

    store: RunStore
    kept: Kept = field(default_factory=Kept)

    def of(self, run: Run, metric: str, stamp: tuple[Any, ...] | None = None) -> Decoded | None:
        """Return one curve as it is now, None where the run has none of that name.

        Parameters
        ----------
        stamp
            What ``stamp`` returned just now; asked for where None.

        Raises
        ------
        CurveDamagedError
            If a piece of it is not what was written.
        """
        key = (*(stamp or self.stamp(run)), metric)
        return self.kept.get(key, lambda: self._read(run, metric), lambda made: made.n_bytes if made else 200)

    def names(self, run: Run) -> tuple[str, ...]:
        """Return the names of all curves of a run; whoever asks for one of them next finds it read."""
        stamp = self.stamp(run)

        def read() -> tuple[str, ...]:
            found = {metric: Decoded.of(curve) for metric, curve in self.store.curves([run.id]).get(run.id, {}).items()}
            for metric, curve in found.items():
                self.kept.put((*stamp, metric), curve, curve.n_bytes)
            return tuple(found)

        return self.kept.get(("names", *stamp), read, lambda names: 200 + sum(map(len, names)))

    def stamp(self, run: Run) -> tuple[Any, ...]:
        """Return what changes when a run's curves may have changed."""
        # What is over says how many points it has; asking the store of 100 runs what has reached it takes a second.
        n = sum(each.get("n") or 0 for each in run.summary.values()) if run.state.is_over else 0
        return (run.id, str(run.state), n or self.store.delivered(run.id), len(run.reports))

    def payload(
        self, beside: Sequence[Beside], metrics: Sequence[str], window: Window, *, own: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Return what ``charts.js`` draws, as plain JSON.

        Parameters
        ----------
        beside
            The runs, the one drawn on top first.
        metrics
            Names of curves; those that no run has have no lines.
        own
            Metrics of which only the first run's curve is wanted.

        Raises
        ------
        ConfigError
            If more is asked than one answer holds.
        """
        if len(metrics) > MAX_METRICS or len(metrics) * len(beside) > MAX_LINES:
            raise ConfigError(
                f"{len(metrics)} metrics of {len(beside)} runs are too much for one answer; "
                f"ask for at most {MAX_METRICS} metrics and {MAX_LINES} curves"
            )
        alone = set(own)
        numbered = list(enumerate(beside))
        pairs = [(m, one) for m in dict.fromkeys(metrics) for one in (numbered[:1] if m in alone else numbered)]
        points = max(min(window.points, MAX_SENT // max(len(pairs), 1)), FEWEST)
        out: dict[str, list[dict[str, Any]]] = {metric: [] for metric in dict.fromkeys(metrics)}
        stamps = {one.run.id: self.stamp(one.run) for one in beside}
        self._read_together([(metric, one.run) for metric, (_, one) in pairs], stamps)
        for metric, (place, one) in pairs:
            stamp = stamps[one.run.id]
            curve = self.of(one.run, metric, stamp)
            if curve is not None and curve.values.size:
                key = ("shown", *stamp, metric, window, points)
                shown = self.kept.get(key, partial(curve.shown, window, points), lambda made: 300 + made[0].nbytes)
                out[metric].append({"place": place} | _line(one, curve, *shown))
        return {"axis": window.axis, "from": window.low, "to": window.high, "metrics": out}

    def _read_together(self, pairs: Iterable[tuple[str, Run]], stamps: Mapping[str, tuple[Any, ...]]) -> None:
        """Read short curves of several runs in one scan of the store; long or damaged ones are read one by one."""
        wanted = [
            (metric, run)
            for metric, run in pairs
            if (run.summary.get(metric, {}).get("n") or 0) <= SHORT and not self.kept.holds((*stamps[run.id], metric))
        ]
        if len(wanted) < 2:
            return
        metrics = sorted({metric for metric, _ in wanted})
        found = self.store.curves(sorted({run.id for _, run in wanted}), metrics=metrics)
        for metric, run in wanted:
            curve = found.get(run.id, {}).get(metric)
            if curve is None and metric in run.summary:
                continue  # whoever reads it alone is told what is wrong with it
            made = None if curve is None else Decoded.of(curve)
            self.kept.put((*stamps[run.id], metric), made, 200 if made is None else made.n_bytes)

    def _read(self, run: Run, metric: str) -> Decoded | None:
        found = self.store.curves([run.id], metrics=[metric]).get(run.id, {}).get(metric)
        return None if found is None else Decoded.of(found)


def _line(one: Beside, curve: Decoded, at: Positions, n_within: int) -> dict[str, Any]:
    run = one.run
    times = None if curve.times is None else [_rounded(time) for time in curve.times[at].tolist()]
    return {
        "label": one.label or run_label(run),
        "run_id": run.id,
        "number": run.number,
        "experiment": one_line(run.experiment, limit=MAX_LABEL),
        "role": one.role,
        "live": not run.state.is_over,
        "steps": curve.axis("step")[at].tolist(),
        "times": times,
        "values": [value if math.isfinite(value) else word(value) for value in curve.values[at].tolist()],
        "n_within": n_within,
        "figures": plain(dict(curve.figures)),
        "nonfinite": curve.nonfinite,
        "marks": marks(run, curve.metric),
    }


def marks(run: Run, metric: str) -> list[dict[str, Any]]:
    """Return where findings of a run show in a curve, those that are resolved left out."""
    found = [
        finding
        for finding in run.findings
        if finding.metric == metric and finding.step is not None and finding.state is not FindingState.RESOLVED
    ]
    return [
        {
            "step": finding.step,
            "code": finding.code,
            "title": one_line(finding.title, limit=300),
            "severity": str(finding.severity),
        }
        for finding in sorted(found, key=lambda finding: (finding.step or 0, finding.code))[:MAX_MARKS]
    ]


def run_label(run: Run) -> str:
    """Return what a legend calls a run: its number, and its name where it has one."""
    name = f" {one_line(run.name, limit=40)}" if run.name else ""
    return f"#{run.number}{name}"


def _number(given: Mapping[str, str], name: str) -> float | None:
    text = given.get(name)
    if text is None or text == "":
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{name} = {text!r:.40} is not a number")
    return value


def _regular(steps: NDArray[np.int64]) -> NDArray[np.int64] | range:
    """Return steps as a range where they are one."""
    if steps.size < 2:
        return steps
    stride = int(steps[1]) - int(steps[0])
    if stride <= 0 or not (np.diff(steps) == stride).all():
        return steps
    return range(int(steps[0]), int(steps[-1]) + 1, stride)


def _nonfinite(curve: Curve) -> dict[str, dict[str, int]]:
    kinds = {"NaN": np.isnan(curve.values), "Infinity": curve.values == np.inf, "-Infinity": curve.values == -np.inf}
    return {
        kind: {"n": int(true.sum()), "first": int(curve.steps[int(true.argmax())])}
        for kind, true in kinds.items()
        if true.any()
    }


def _rounded(time: float) -> float | None:
    return round(time, 3) if math.isfinite(time) else None
