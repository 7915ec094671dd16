"""Records in a notebook: markup that is whole, escaped and bounded, whatever the runs hold."""

from __future__ import annotations

import doctest
import importlib
import math
import pickle
import time
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import notebook, svg
from storage.hits import Reason, SearchHit, SearchResults
from storage.records import Curve, Curves, Document, Finding, FindingList, Run, RunList, RunState, Severity

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\"' onmouseover=x \u202e\x1b[31m</table></style>" + "A" * 10_000
VOID = {"br", "meta", "input"}


class Balanced(HTMLParser):
    """Reads markup and remembers what was opened, and every attribute."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def read(markup: str) -> Balanced:
    """Return what is in the markup, after holding it against what every output promises."""
    found = Balanced(markup)
    assert found.open == []
    assert "script" not in found.tags
    assert not {name for name in found.attributes if name.startswith("on")}
    assert len(markup) < 100_000
    return found


def a_run(i: int = 0, **fields: Any) -> Run:
    given: dict[str, Any] = {
        "number": i,
        "experiment": "digits",
        "state": RunState.FINISHED,
        "created": NOW,
        "started": NOW,
        "ended": NOW + timedelta(seconds=90 + i),
        "params": {"lr": 10.0**-i if i < 300 else 0.0, "optimizer": "adam"},
        "metrics": {"val_loss": 0.5, "train_loss": 0.25},
        "summary": {"val_loss": {"n": 3, "last": 0.5, "min": 0.5, "max": 1.0, "n_nonfinite": 0}},
        "values": (0.5,),
    }
    return Run(f"{i:032x}", **(given | fields))


def a_finding(**fields: Any) -> Finding:
    given: dict[str, Any] = {"run_id": "a" * 32, "experiment": "digits", "code": "ADV101", "title": "loss is NaN"}
    given |= {"severity": Severity.ERROR, "detector": "rules", "evidence": {"value": math.nan}, "step": 12}
    return Finding("f" * 32, **(given | fields))


@pytest.mark.parametrize("name", ["figures", "svg", "markup"])
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"storage.{name}"))
    assert result.attempted
    assert result.failed == 0


def test_a_list_of_runs_is_a_list_in_everything_and_a_table_in_a_notebook() -> None:
    runs = RunList([a_run(0), a_run(1), a_run(2)])
    assert runs == [a_run(0), a_run(1), a_run(2)]
    assert isinstance(runs[:2], RunList)
    assert isinstance(runs[1], Run)
    assert isinstance(pickle.loads(pickle.dumps(FindingList([]))), FindingList)
    words = read(runs._repr_html_()).words
    assert "3 runs" in words
    assert "val_loss" in words  # the objective's own name, as its values show
    assert "1 min 30 s" in words


def test_a_list_of_a_hundred_thousand_runs_shows_its_first_rows_at_once() -> None:
    runs = RunList([a_run(0)] * 100_000)
    began = time.perf_counter()
    words = read(runs._repr_html_()).words
    assert time.perf_counter() - began < 5  # all rows would take minutes
    assert "100,000 runs" in words
    assert "… and 99,985 more" in words


def test_what_differs_between_runs_gets_the_columns_and_the_rest_is_counted() -> None:
    runs = [a_run(i, params={**{f"same{k}": 1 for k in range(20)}, "lr": float(i)}) for i in range(3)]
    words = read(notebook.runs(runs)).words
    assert "lr" in words
    assert "13 parameters more" in words


@pytest.mark.parametrize("text", [HOSTILE, "", "\u2028\u200b", "שלום" * 100, "a/b#c?d&amp;"])
def test_no_text_of_a_run_becomes_markup(text: str) -> None:
    finding = a_finding(title=text, code=text, metric=text, evidence={text: text})
    run = a_run(
        experiment=text,
        params={text: text, "x": {"deep": [text]}},
        metrics={text: math.inf},
        summary={text: {"n": 1, "last": math.nan}},
        notes=(text,) * 9,
        tags=(text,) * 99,
        error=f"{text}\n{text}",
        meta={"name": text},
        findings=(finding,),
    )
    document = Document(
        "d", experiment=text, kind=text, title=text, format="json", text=text, facts_hash="", writer="", time=NOW
    )
    hit = SearchHit(run, score=0.5, text=text, reasons=(Reason(text, text, how="words", marks=((0, 3),)),))
    shown = [
        RunList([run, a_run(1)]),
        finding,
        FindingList([finding]),
        document,
        SearchResults([hit], words=text, where=text),
    ]
    curves = Curves({text: Curve.of(text, [0, 1], [1.0, math.nan])})
    for thing in (*shown, curves, curves[text], run):
        found = read(thing._repr_html_())
        assert found.tags <= TAGS
    read(notebook.run(run, curves))


TAGS = {
    "style", "div", "p", "b", "bdi", "span", "code", "table", "thead", "tbody", "tr", "th", "td", "svg", "path",
    "circle", "line", "text", "pre", "iframe", "details", "summary",
}  # fmt: skip


def test_what_is_not_finite_is_said_and_marked() -> None:
    curve = Curve.of("val_loss", range(6), [1.0, 0.5, math.nan, math.inf, 0.25, math.nan])
    words = read(curve._repr_html_()).words
    assert "3 values not finite; the first, NaN, at step 2" in words
    assert svg.FLAG in curve._repr_html_()
    assert "NaN" in read(a_run(values=(math.nan,))._repr_html_()).words


def test_a_warning_looks_otherwise_than_a_remark_and_the_evidence_is_in_words() -> None:
    warning, remark = (a_finding(severity=each) for each in (Severity.WARNING, Severity.INFO))
    assert '<span class="dot warn"></span>warning' in warning._repr_html_()
    assert "dot warn" not in remark._repr_html_()
    found = a_finding(evidence={"n_nonfinite": 9, "n": 20, "verb": "take", "recovered": False})
    words = read(found._repr_html_()).words
    assert "values that are not finite" in words
    assert "n_nonfinite" not in words
    assert "verb" not in words


def test_a_table_of_runs_says_what_was_found_in_each_and_where_nothing_was() -> None:
    words = read(RunList([a_run(0), a_run(1, findings=(a_finding(),))])._repr_html_()).words
    assert "findings" in words
    assert "ADV101" in words
    assert "findings" in read(RunList([a_run(0)])._repr_html_()).words


def test_curves_without_a_finite_value_or_without_a_value_are_shown_too() -> None:
    assert "no points yet" in read(Curve.of("x", [], [])._repr_html_()).words
    assert "2 values not finite" in read(Curve.of("x", [0, 1], [math.nan, -math.inf])._repr_html_()).words
    assert "1 point" in read(Curve.of("x", [7], [1e300])._repr_html_()).words
    assert "0 curves" in read(Curves()._repr_html_()).words


def test_a_long_curve_is_drawn_with_few_points_and_keeps_its_spikes() -> None:
    values = np.zeros(1_000_000)
    values[[123_456, 654_321]] = 1.0, -1.0
    assert len(Curve.of("x", np.arange(values.size), values)._repr_html_()) < 60_000


@given(st.lists(st.floats(), max_size=300), st.integers(-(2**60), 2**60))
def test_any_values_make_a_picture_that_is_whole(values: list[float], first: int) -> None:
    array = np.array(values, dtype=np.float64)
    steps = np.arange(first, first + len(values), dtype=np.int64)
    for picture in (svg.chart(steps, array, label='<&"'), svg.sparkline(array, label='<&"')):
        if picture:
            root = ElementTree.fromstring(picture)
            assert not [each for each in root.iter() if "nan" in str(each.attrib).lower().replace("advisor-accent", "")]


def test_a_document_of_html_stands_in_a_frame_without_rights() -> None:
    page = "<!doctype html><script>parent.alert(1)</script><p>report</p>"
    one = Document(
        "d", experiment="e", kind="report", title="t", format="html", text=page, facts_hash="", writer="", time=NOW
    )
    found = read(str(one._repr_html_()))
    assert {"sandbox", "srcdoc"} <= found.attributes
    assert one._repr_markdown_() is None


def test_a_document_of_markdown_stays_markdown_and_names_its_pictures() -> None:
    text = "# Report\n\n![Loss \\[a\\] by run](report-files/loss.svg)\n\n*best* 0.1"
    one = Document(
        "d", experiment="e", kind="report", title="t", format="md", text=text, facts_hash="", writer="", time=NOW
    )
    assert one._repr_markdown_() == "# Report\n\n*Picture: Loss \\[a\\] by run*\n\n*best* 0.1"
    assert one._repr_html_() is None


def test_a_run_whose_curves_are_very_long_is_shown_without_reading_them() -> None:
    def never(_run_id: str) -> Any:
        raise AssertionError("the curves were read")

    run = a_run(summary={"loss": {"n": 50_000_000, "last": 1.0}}, _load_curves=never)
    assert "50,000,000" in read(run._repr_html_()).words
