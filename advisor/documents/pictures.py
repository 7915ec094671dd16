"""Draw curves, progress and parameters, as SVG for pages, PNG for messages: the only module that imports matplotlib.

Leaves out which runs are worth drawing (see ``charts``). Invariant: the same input gives the same bytes;
no global state of matplotlib is changed for longer than a drawing, pyplot is never imported,
and a value that is not finite is marked, never left out silently.
"""

from __future__ import annotations

import io
import math
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from advisor.documents import scales
from advisor.documents.content import Picture
from advisor.documents.scales import Scale
from advisor.documents.svg import BEST, FIXED, FLAG, GRID, INK, OTHER, SECOND, finished
from advisor.documents.untrusted import middle_cut, one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Role = Literal["best", "flagged", "other", "second"]

WIDTH_IN, HEIGHT_IN = 4.4, 3.0
"""Inches: two fit side by side on a page, and one is readable on a phone."""
MESSAGE_DPI = 102
"""Of a picture in a message: 450 pixels wide, what a chat shows without scaling."""
POINTS = 220
"""Points of a curve that are drawn: about one for two pixels."""
NOT_RANKED = "not ranked"
"""What stands at the foot of a picture of runs: no finite objective, or failed, crashed, pruned."""
NOT_FINITE = "not finite"
TITLE_CHARS = 54
"""Characters of a metric's name over its curve in a message."""
Y_CHARS = 21
"""Characters that fit beside a picture; a longer name loses its middle, the title has all of it."""
LEGEND_CHARS = 58
"""Characters that fit in one row of a legend."""

_COLOURS: Mapping[Role, str] = {"best": BEST, "flagged": FLAG, "other": OTHER, "second": SECOND}

_STYLE: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "advisor",
    "font.family": ["DejaVu Sans"],
    "font.size": 10.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "axes.unicode_minus": True,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "path.simplify": True,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
}
_DRAWING = threading.Lock()


@dataclass(frozen=True, slots=True, eq=False)
class CurveLine:
    """One curve to draw."""

    label: str
    """Shown in the legend for all roles but ``other``; untrusted."""
    _: KW_ONLY
    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    role: Role = "other"
    marks: tuple[int, ...] = ()
    """Steps at which something was found."""


@dataclass(frozen=True, slots=True)
class Dot:
    """One run in a picture of runs."""

    x: Any
    """Run number, or the value of a parameter."""
    _: KW_ONLY
    y: float | None
    """Objective; None or not finite where there is none."""
    role: Role = "other"


def draw_curves(
    name: str, lines: Sequence[CurveLine], *, metric: str, alt: str, title: str, caption: str = "", x: str = "step"
) -> Picture:
    """Draw one metric of several runs, the best in front, with a mark where a value is not finite."""
    shown = np.concatenate([line.values for line in lines]) if lines else np.empty(0)
    must = np.concatenate([line.values for line in lines if line.role in ("best", "second")] or [np.empty(0)])
    scale = scales.choose(shown, must_show=must)
    with _figure() as figure:
        axes = _axes(figure, x=x, y=metric)
        order: dict[Role, int] = {"other": 1, "flagged": 2, "second": 3, "best": 4}
        for line in sorted(lines, key=lambda line: order[line.role]):
            _curve(axes, line, scale, order[line.role])
        _apply(axes, scale)
        _edge_marks(axes, lines, scale)
        if lines and all(len(line.steps) < 2 for line in lines):
            axes.margins(x=0.2)
        _legend(axes, lines)
        svg = finished(figure, name, alt)
    return Picture(name, title=title, alt=alt, caption=caption, svg=svg)


def draw_progress(
    name: str,
    dots: Sequence[Dot],
    records: Sequence[tuple[int, float]],
    *,
    metric: str,
    alt: str,
    title: str,
    caption: str = "",
) -> Picture:
    """Draw every run's objective by its number, and the best so far as a line; runs without one stand at the foot."""
    finite = np.array([dot.y for dot in dots if _drawable(dot)], dtype=float)
    scale = scales.choose(finite, must_show=np.array([value for _, value in records]), focus=True)
    with _figure() as figure:
        axes = _axes(figure, x="run number", y=metric)
        _apply(axes, scale)
        _dots(axes, dots, scale)
        if records:
            end = max(dot.x for dot in dots)
            steps, values = [*(x for x, _ in records), end], [*(y for _, y in records), records[-1][1]]
            axes.plot(steps, values, drawstyle="steps-post", color=BEST, linewidth=2.2, zorder=4, label="best so far")
            axes.plot(records[-1][0], records[-1][1], "o", color=BEST, markersize=7, zorder=5)
        _missing_at_foot(axes, [float(dot.x) for dot in dots if not _drawable(dot)], NOT_RANKED)
        _integer_ticks(axes)
        _legend(axes, ())
        svg = finished(figure, name, alt)
    return Picture(name, title=title, alt=alt, caption=caption, svg=svg)


def draw_parameter(
    name: str, dots: Sequence[Dot], *, parameter: str, metric: str, alt: str, title: str, caption: str = ""
) -> Picture:
    """Draw the objective against one parameter; choices are columns, numbers have a log axis where it fits."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    finite = [dot for dot in dots if _drawable(dot)]
    scale = scales.choose(
        np.array([dot.y for dot in finite], dtype=float),
        must_show=np.array([dot.y for dot in finite if dot.role == "best"], dtype=float),
        focus=True,
    )
    with _figure() as figure:
        axes = _axes(figure, x=parameter, y=metric)
        _apply(axes, scale)
        if all(
            isinstance(dot.x, (int, float)) and not isinstance(dot.x, bool) and math.isfinite(dot.x) for dot in dots
        ):
            placed = list(dots)
            xs = np.array([float(dot.x) for dot in dots])
            if scales.spans_decades(xs) and 1e-100 < xs.min() < xs.max() < 1e100:
                axes.set_xscale("log")
                subs = scales.log_subs(float(np.log10(xs.max()) - np.log10(xs.min())))
                axes.xaxis.set_major_locator(LogLocator(base=10, subs=subs, numticks=7))
                axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: scales.tick(value)))
                axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            placed = _columns(axes, dots)
        _dots(axes, placed, scale)
        _missing_at_foot(axes, [float(dot.x) for dot in placed if not _drawable(dot)], NOT_RANKED)
        _legend(axes, ())
        svg = finished(figure, name, alt)
    return Picture(name, title=title, alt=alt, caption=caption, svg=svg)


def curve_png(metric: str, steps: NDArray[np.int64], values: NDArray[np.float64], *, mark: int | None) -> bytes:
    """Draw one curve with the place at which something was found, small enough for a message: a PNG of some 25 kB.

    Every finite value is in the picture, since the odd one is what it is about, and so is every step.
    """
    from matplotlib.lines import Line2D

    line = CurveLine(metric, steps=steps, values=values, role="best", marks=() if mark is None else (mark,))
    scale = scales.whole(values)
    with _figure(FIXED) as figure:
        axes = _axes(figure, x="step", y="")
        figure.suptitle(middle_cut(metric, limit=TITLE_CHARS), x=0.02, ha="left", fontsize=10.0)
        _curve(axes, line, scale, 3)
        _apply(axes, scale)
        _edge_marks(axes, [line], scale)
        if mark is not None:
            axes.axvline(mark, color=FLAG, linewidth=0.8, alpha=0.6, zorder=1)
        if len(steps):
            low, high = float(steps.min()), float(steps.max())
            axes.set_xlim(low - 0.03 * (high - low or 1.0), high + 0.03 * (high - low or 1.0))
        _integer_ticks(axes, at_most=5)
        _legend_of_marks(axes, line)
        for drawn in figure.findobj(Line2D):
            drawn.set_color(FIXED.get(str(drawn.get_color()), drawn.get_color()))
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=MESSAGE_DPI, metadata={"Software": None})
    return content.getvalue()


def _legend_of_marks(axes: Axes, line: CurveLine) -> None:
    """Say below a curve what its marks are, with their figures."""
    from matplotlib.lines import Line2D

    found = [f"found at step {step}: {scales.tick(value)}" for step, value in _marked(line)]
    handles: list[Any] = [
        Line2D([], [], color=FLAG, marker="o", linestyle="none", markersize=5, label=label) for label in found
    ]
    for handle in axes.get_legend_handles_labels()[0]:
        if handle.get_label() == NOT_FINITE:
            bad = ~np.isfinite(line.values)
            handle.set_label(f"{NOT_FINITE} at step {line.steps[int(np.argmax(bad))]}")
        handles.append(handle)
    if handles:
        axes.figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), handletextpad=0.4)


@contextmanager
def _figure(colours: Mapping[str, str] = MappingProxyType({})) -> Iterator[Figure]:
    """Lend matplotlib our settings for one drawing, some stand-ins replaced; its own come back afterwards."""
    import matplotlib
    from matplotlib.figure import Figure

    with _DRAWING, matplotlib.rc_context(), warnings.catch_warnings():
        # text stays text in the SVG, and the reader's fonts have the letters that this machine's lack
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        settings: Any = matplotlib.rcParams  # typed by setting, which a style as a mapping cannot be
        settings.update(
            {name: colours.get(value, value) if isinstance(value, str) else value for name, value in _STYLE.items()}
        )
        yield Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")


def _axes(figure: Figure, *, x: str, y: str) -> Axes:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes = figure.add_subplot()
    axes.grid(True, axis="y")
    axes.set_axisbelow(True)
    for axis, text, limit in ((axes.xaxis, x, 40), (axes.yaxis, y, Y_CHARS)):
        axis.set_label_text(middle_cut(text, limit=limit))
        axis.set_tick_params(length=3)
    if x == "step":
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: scales.step_tick(value)))
    return axes


def _apply(axes: Axes, scale: Scale) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_ylim(scale.low, scale.high)  # before the scale, which would look at all values otherwise
    if scale.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(base=10, subs=scale.subs, numticks=8))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: scales.tick(value)))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _curve(axes: Axes, line: CurveLine, scale: Scale, zorder: int) -> None:
    colour = _COLOURS[line.role]
    steps, values = scales.thin(line.steps, line.values, POINTS)
    dense = len(steps) > POINTS // 2
    width, alpha = {"best": (2.2, 1.0), "second": (1.9, 1.0), "flagged": (1.0, 0.6), "other": (0.9, 0.4)}[line.role]
    if dense and line.role in ("best", "second"):
        width *= 0.7  # a thick line through this many points is a blot
    clipped = np.where(np.isfinite(values), np.clip(values, scale.low_draw, scale.high_draw), np.nan)
    alone = _alone(clipped)
    if alone.any():
        axes.plot(steps[alone], clipped[alone], "o", color=colour, alpha=alpha, markersize=4, zorder=zorder)
    axes.plot(steps, clipped, color=colour, linewidth=width, alpha=alpha, zorder=zorder, solid_joinstyle="round")
    for step, value in _marked(line):
        y = float(np.clip(value, scale.low, scale.high))
        axes.plot(step, y, "o", color=FLAG, markersize=4, zorder=6, clip_on=False)


def _alone(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which values are finite between two that are not: a line through them has no length."""
    finite = np.isfinite(values)
    beside = np.zeros_like(finite)
    beside[1:] |= finite[:-1]
    beside[:-1] |= finite[1:]
    return finite & ~beside


def _marked(line: CurveLine) -> list[tuple[int, float]]:
    """Return the points at which something was found; one that is not finite has a mark of its own."""
    places = [int(np.argmin(np.abs(line.steps - mark))) for mark in line.marks] if len(line.steps) else []
    return [(int(line.steps[at]), float(line.values[at])) for at in places if np.isfinite(line.values[at])]


def _edge_marks(axes: Axes, lines: Sequence[CurveLine], scale: Scale) -> None:
    """Mark where a curve stops being finite (×) and where it leaves the picture (▲ ▼)."""
    lost: list[tuple[float, float]] = []
    above: list[float] = []
    below: list[float] = []
    for line in lines:
        finite = np.isfinite(line.values)
        if not finite.all() and len(line.values):
            first = int(np.argmin(finite))
            before = line.values[:first][-1:] if first else np.array([scale.high])
            lost.append((float(line.steps[first]), float(np.clip(before[0], scale.low, scale.high))))
        for beyond, edge in ((line.values > scale.high, above), (line.values < scale.low, below)):
            outside = finite & beyond
            if outside.any():
                edge.append(float(line.steps[int(np.argmax(outside))]))
    style: dict[str, Any] = {"linestyle": "none", "color": FLAG, "zorder": 7, "clip_on": False}
    if lost:
        axes.plot(*zip(*lost, strict=True), marker="x", markersize=7, markeredgewidth=1.8, label=NOT_FINITE, **style)
    if above:
        axes.plot(above, [scale.high] * len(above), marker="^", markersize=5, label="off the scale", **style)
    if below:
        label = None if above else "off the scale"
        axes.plot(below, [scale.low] * len(below), marker="v", markersize=5, label=label, **style)


def _dots(axes: Axes, dots: Sequence[Dot], scale: Scale) -> None:
    drawn = [dot for dot in dots if _drawable(dot)]
    alpha = 0.65 if len(drawn) < 150 else 0.4
    looks: tuple[tuple[Role, float, float, str], ...] = (
        ("other", 4.2, alpha, "run"),
        ("flagged", 5.0, 0.85, "flagged run"),
        ("best", 8.0, 1.0, "best run"),
    )
    for role, size, opacity, label in looks:
        chosen = [dot for dot in drawn if dot.role == role]
        if not chosen:
            continue
        ys = np.clip([float(dot.y or 0.0) for dot in chosen], scale.low, scale.high)
        axes.plot(
            [float(dot.x) for dot in chosen],
            ys,
            "o",
            color=_COLOURS[role],
            markersize=size,
            alpha=opacity,
            markeredgewidth=0,
            label=label,
            zorder=3 if role != "best" else 5,
            clip_on=False,
        )
    for beyond, edge, marker in ((True, scale.high, "^"), (False, scale.low, "v")):
        outside = (
            [float(dot.x) for dot in drawn if (dot.y or 0.0) > edge]
            if beyond
            else [float(dot.x) for dot in drawn if (dot.y or 0.0) < edge]
        )
        if outside:
            style: dict[str, Any] = {"linestyle": "none", "color": FLAG, "markersize": 5, "zorder": 6, "clip_on": False}
            label = f"off the scale ({len(outside)})"
            axes.plot(outside, [edge] * len(outside), marker=marker, label=label, **style)


def _missing_at_foot(axes: Axes, xs: Sequence[float], label: str) -> None:
    if xs:
        low = axes.get_ylim()[0]
        style: dict[str, Any] = {"marker": "x", "linestyle": "none", "color": FLAG, "markersize": 6, "clip_on": False}
        axes.plot(xs, [low] * len(xs), label=label, markeredgewidth=1.6, zorder=6, **style)


def _columns(axes: Axes, dots: Sequence[Dot]) -> list[Dot]:
    """Place the values of a choice in columns, most frequent first, dots of a column side by side."""
    counts: dict[str, int] = {}
    for dot in dots:
        counts[scales.choice(dot.x)] = counts.get(scales.choice(dot.x), 0) + 1
    names = sorted(counts, key=lambda name: (-counts[name], name))
    kept = names[: scales.MAX_COLUMNS]
    rest = "others" if len(names) > len(kept) else None
    places = {name: at for at, name in enumerate(kept)}
    seen: dict[int, int] = {}
    placed: list[Dot] = []
    for dot in dots:
        column = places.get(scales.choice(dot.x), len(kept))
        seen[column] = seen.get(column, 0) + 1
        placed.append(Dot(column + scales.spread(seen[column]), y=dot.y, role=dot.role))
    labels = [*kept, *([rest] if rest else [])]
    axes.set_xticks(range(len(labels)))
    turned = len(labels) > 5 or max(map(len, labels)) > 9
    axes.set_xticklabels(labels, rotation=30 if turned else 0, ha="right" if turned else "center")
    axes.set_xlim(-0.6, len(labels) - 0.4)
    return placed


def _legend(axes: Axes, lines: Sequence[CurveLine]) -> None:
    from matplotlib.lines import Line2D

    handles: list[Any] = []
    for role in ("best", "second", "flagged", "other"):
        same = [line for line in lines if line.role == role]
        if same:
            colour, width = _COLOURS[role], 2.2 if role in ("best", "second") else 1.2
            label = one_line(same[0].label, limit=32) if role in ("best", "second") else _ROLE_LABEL[role]
            handles.append(Line2D([], [], color=colour, linewidth=width, label=label))
    if any(_marked(line) for line in lines):
        handles.append(Line2D([], [], color=FLAG, marker="o", linestyle="none", markersize=5, label="found here"))
    handles.extend(axes.get_legend_handles_labels()[0])
    if not handles:
        return
    widest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(len(handles), LEGEND_CHARS // (widest + 4)))
    axes.figure.legend(
        handles=handles, loc="outside upper left", ncols=columns, handlelength=1.3, columnspacing=1.1, handletextpad=0.5
    )


_ROLE_LABEL: Mapping[str, str] = {"flagged": "flagged run", "other": "other runs"}


def _integer_ticks(axes: Axes, at_most: int = 8) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=at_most))


def _drawable(dot: Dot) -> bool:
    return dot.y is not None and math.isfinite(dot.y)
