"""Templates, and how values are written in them: figures, durations, times, names from runs.

Invariant: everything is escaped unless a template's author wrote it, and a text from a run is bounded before it is
shown.
"""

from __future__ import annotations

import hashlib
import math
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final

import jinja2
import numpy as np
from markupsafe import Markup, escape

from advisor.documents import numbers
from advisor.documents.untrusted import one_line
from storage.svg import sparkline

MAX_NAME: Final = 80
"""Letters of a name from a run that are shown; the whole of it is in the tooltip, up to ``MAX_TITLE``."""
MAX_TITLE: Final = 400
STATIC: Final = files("advisor.web") / "static"


def environment() -> jinja2.Environment:
    """Return the environment of all templates of the page."""
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("advisor.web", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"figure": figure, "duration": duration, "time": time, "name": name, "count": numbers.count}
    env.filters |= {"share": numbers.percent, "size": numbers.size, "value": value}
    env.filters |= {"quoted": quoted, "pythonic": repr, "spark": spark}
    env.globals |= {"asset": asset}
    return env


def figure(number: float | int | None) -> str:
    """Return a figure with sensible digits; NaN and ±inf in words, a dash where there is none."""
    if number is None:
        return "–"
    return numbers.figure(float(number))


def duration(seconds: float | None) -> str:
    """Return a length of time in its two largest units."""
    return "–" if seconds is None or not math.isfinite(seconds) else numbers.duration(seconds)


def time(moment: datetime | None) -> Markup:
    """Return a moment; the browser writes it in the reader's zone, and without a script it is UTC."""
    if moment is None:
        return Markup("–")
    return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(), f"{moment:%Y-%m-%d %H:%M} UTC")


def name(text: object, limit: int = MAX_NAME) -> Markup:
    """Return a text from a run as a name: one line, bounded, apart from the direction of the text around it."""
    whole = one_line(str(text), limit=MAX_TITLE)
    shown = one_line(str(text), limit=limit)
    if shown == whole:
        return Markup("<bdi>{}</bdi>").format(shown)
    return Markup('<bdi title="{}">{}</bdi>').format(whole, shown)


def value(any_value: object, limit: int = MAX_NAME) -> Markup:
    """Return the value of a parameter or of a field: figures as figures, anything else as a name."""
    if any_value is None:
        return Markup("–")
    if isinstance(any_value, bool) or not isinstance(any_value, (int, float)):
        return name(any_value, limit)
    return escape(numbers.parameter(any_value))


def spark(values: Sequence[float], label: str = "") -> Markup:
    """Return a curve as a small line; values that are not finite are marked."""
    return Markup(sparkline(np.array(values, dtype=np.float64), width=128, height=24, label=label))  # escaped there


def quoted(text: object) -> str:
    """Return a text from a run as one word of a shell command."""
    return shlex.quote(one_line(str(text), limit=MAX_TITLE))


@cache
def asset(path: str) -> str:
    """Return the address of a file of ours, which changes with its content, so that browsers may keep it for good."""
    content = (STATIC / path).read_bytes()
    return f"/static/{path}?v={hashlib.sha256(content).hexdigest()[:12]}"


def shared(*, read_only: bool, store: str, version: str) -> Mapping[str, Any]:
    """Return what every template may use."""
    return {"read_only": read_only, "store_uri": one_line(store, limit=MAX_TITLE), "version": version}
