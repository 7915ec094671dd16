"""Pictures are the same every time, show what is not finite, and keep spikes."""

from __future__ import annotations

import io
import math
import re
import sys
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.documents import scales, svg
from advisor.documents.pictures import CurveLine, Dot, curve_png, draw_curves, draw_parameter, draw_progress

SPACE = "{http://www.w3.org/2000/svg}"


def line(*values: float, role: Any = "other", label: str = "run", marks: tuple[int, ...] = ()) -> CurveLine:
    return CurveLine(label, steps=np.arange(len(values)), values=np.array(values, dtype=float), role=role, marks=marks)


def texts(picture: Any) -> list[str]:
    root = ET.fromstring(svg.standalone(picture))
    return ["".join(node.itertext()) for node in root.iter(f"{SPACE}text")]


def draw(*lines: CurveLine, **given: Any) -> Any:
    return draw_curves("curves", lines, **({"metric": "loss", "alt": "loss of runs", "title": "loss"} | given))


def test_the_same_input_gives_the_same_bytes() -> None:
    lines = (line(3, 2, 1, role="best"), line(4, 3, math.nan, role="flagged"), line(5, 5, 5))
    assert svg.standalone(draw(*lines)) == svg.standalone(draw(*lines))


def test_drawing_leaves_matplotlib_as_it_was_and_needs_no_pyplot() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams.items())
    had = "matplotlib.pyplot" in sys.modules  # another test's framework may have loaded it
    draw(line(3, 2, 1))
    assert dict(matplotlib.rcParams.items()) == before
    assert had or "matplotlib.pyplot" not in sys.modules


def test_a_value_that_is_not_finite_is_marked_and_named() -> None:
    assert "not finite" in texts(draw(line(3, 2, math.nan)))
    assert "not finite" in texts(draw(line(math.nan, math.nan)))
    assert "not finite" not in texts(draw(line(3, 2, 1)))


def test_a_curve_that_leaves_the_picture_is_marked() -> None:
    calm = [line(*(1 + 0.01 * k for k in range(50))) for _ in range(20)]
    assert "off the scale" in texts(draw(*calm, line(*([1.0] * 49), -1e6)))


@pytest.mark.parametrize("label", ["$x^{2$", "<script>alert(1)</script>", "a & b", "日本", "\x00\x1b[31m", "]]>", "--"])
def test_names_are_text_and_nothing_else(label: str) -> None:
    picture = draw(line(3, 2, 1, role="best", label=label), metric=label, alt=label, title=label)
    root = ET.fromstring(svg.standalone(picture))
    assert not [node for node in root.iter() if "script" in node.tag]
    if "x^" in label:
        assert texts(picture).count(label) == 2


def test_ids_do_not_collide_on_one_page_and_every_reference_leads_somewhere() -> None:
    pictures = [
        draw_curves(name, [line(3, 2, 1)], metric="loss", alt="a", title="t") for name in ("curves", "progress")
    ]
    page = "".join(svg.inline(picture) for picture in pictures)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    used = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', page)
    assert {one or other for one, other in used} <= set(ids)


def test_colours_are_the_pages_inline_and_fixed_in_a_file() -> None:
    picture = draw(line(3, 2, 1, role="best"))
    assert "var(--best," in svg.inline(picture)
    assert svg.inline(picture).startswith("<svg")
    assert b"var(" not in svg.standalone(picture)
    assert not re.search(rb"#01020\d", svg.standalone(picture))


def test_a_picture_says_what_it_shows_to_who_cannot_see_it() -> None:
    root = ET.fromstring(svg.standalone(draw(line(3, 2, 1), alt='loss of "all" runs')))
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == 'loss of "all" runs'


@pytest.mark.parametrize("values", [[], [1.0], [0.0, 0.0], [-1.0, 1.0], [math.inf], [1e-300, 1e300], [1e308, -1e308]])
def test_odd_curves_are_drawn_without_a_warning(values: list[float]) -> None:
    curves = draw(line(*values, role="best"), line(*values, role="flagged", marks=(0,)))
    progress = draw_progress(
        "p", [Dot(n, y=value) for n, value in enumerate(values or [math.nan])], [], metric="m", alt="a", title="t"
    )
    assert all(svg.standalone(picture).startswith(b"<?xml") for picture in (curves, progress))


def test_nothing_to_draw_is_still_a_picture() -> None:
    assert svg.standalone(draw()).startswith(b"<?xml")


@pytest.mark.parametrize(
    "xs",
    [
        [0.001, 0.01, 0.1, 1.0],
        ["adam", "sgd", None, True],
        [1, 2, 3, math.nan],
        [f"choice {n}" for n in range(30)],
        [[1], {"a": 2}, "$", "<b>"],
    ],
)
def test_parameters_of_every_kind_are_drawn(xs: list[Any]) -> None:
    dots = [Dot(x, y=math.nan if n == 1 else float(n), role="best" if n == 0 else "other") for n, x in enumerate(xs)]
    shown = texts(draw_parameter("p", dots, parameter="lr", metric="loss", alt="a", title="t"))
    assert {"lr", "loss", "best run", "not ranked"} <= set(shown)
    if len(xs) == 30:
        assert "others" in shown


def test_figures_on_an_axis_keep_their_digits() -> None:
    dots = [Dot(x, y=y) for x, y in ((0.0001, 0.0012), (0.001, 0.0345), (0.01, 0.9))]
    shown = texts(draw_parameter("p", dots, parameter="lr", metric="loss", alt="a", title="t"))
    assert {"0.0001", "0.001", "0.01"} <= set(shown)
    assert "0.00" not in shown


def test_positive_values_over_decades_get_a_log_scale() -> None:
    assert scales.choose(np.array([1e-3, 1e-2, 0.1, 1.0]), must_show=np.empty(0)).log
    assert not scales.choose(np.array([0.0, 1e-2, 0.1, 1.0]), must_show=np.empty(0)).log
    assert not scales.choose(np.array([0.5, 0.6, 0.7]), must_show=np.empty(0)).log


def test_exploded_runs_do_not_press_the_others_into_a_line() -> None:
    values = np.array([87.0, 88.0, 90.0, 100.0, 300.0, 87.5, 99.0, 91.0, 1e30, 1e36])
    scale = scales.choose(values, must_show=np.array([87.0]))
    assert scale.log
    assert scale.low < 87.0
    assert scale.high < 1e6


@given(
    st.lists(st.floats(width=32), min_size=1, max_size=400),
    st.integers(4, 60),
)
def test_thinning_keeps_ends_extremes_and_gaps(values: list[float], points: int) -> None:
    array = np.array(values, dtype=float)
    steps, kept = scales.thin(np.arange(array.size), array, points)
    assert kept.size <= max(array.size if array.size <= points else 3 * (points // 2) + 2, 1)
    assert (steps[0], steps[-1]) == (0, array.size - 1)
    assert np.array_equal(kept, array[steps], equal_nan=True)
    finite = array[np.isfinite(array)]
    if finite.size:
        drawn = kept[np.isfinite(kept)]
        assert (drawn.min(), drawn.max()) == (finite.min(), finite.max())
    assert np.isfinite(kept).all() == np.isfinite(array).all()


@given(st.lists(st.floats(width=32), min_size=1, max_size=60))
def test_a_whole_scale_holds_every_finite_value(values: list[float]) -> None:
    array = np.array(values, dtype=float)
    scale = scales.whole(array)
    finite = array[np.isfinite(array)]
    assert scale.low < scale.high
    if finite.size:
        assert scale.low <= finite.min() * (1 + 1e-9 * np.sign(-finite.min()))
        assert finite.max() * (1 - 1e-9 * np.sign(finite.max())) <= scale.high


def test_a_picture_of_a_message_shows_the_odd_value_in_colours_of_its_own() -> None:
    from PIL import Image

    values = np.exp(-np.arange(60) / 10) + 0.1
    values[40] = 50.0
    png = curve_png("a/very/long/name/" * 9 + "loss", np.arange(60) * 50, values, mark=2000)
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    red, blue = pixels[..., 0] - pixels[..., 2] > 120, pixels[..., 2] - pixels[..., 0] > 120
    assert red.sum() > 30
    assert blue.sum() > 300
    top = int(np.flatnonzero(blue.any(axis=1)).min())
    assert 20 < top < 60, "the peak is below the name and not cut"
    assert pixels.min() > 9, "no stand-in of a colour is left"


@pytest.mark.parametrize(
    "values", [[], [1.0], [math.nan], [1.0, math.inf], [0.0, 0.0, 0.0], [1e300, -1e300, 1.0], [math.nan, 2.0, math.nan]]
)
def test_odd_curves_become_pictures_of_messages_without_a_warning(values: list[float]) -> None:
    steps = np.arange(len(values))
    for mark in (None, 0, 7):
        png = curve_png("$loss_{x}$", steps, np.array(values, dtype=float), mark=mark)
        assert png.startswith(b"\x89PNG")
        assert len(png) < 60_000
