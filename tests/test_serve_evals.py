"""The measurements of the page: the store that they fill, and how a viewer finds what to load anew."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from storage import open_store
from storage.embed import HashingEmbedder


@pytest.fixture(autouse=True)
def evals_are_found(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(repository / "evals"), *sys.path])


def test_the_store_that_is_measured_holds_what_it_says_and_is_filled_once(tmp_path: Path) -> None:
    from serve_store import LONG, cached

    folder = tmp_path / "store"
    size = {"n_runs": 60, "n_long": 1, "n_points": 2_000}
    assert cached(folder, **size) is not None
    assert cached(folder, **size) is None
    store = open_store(folder, create=False, embedder=HashingEmbedder())
    assert store.count() == 61
    (run,) = store.runs(LONG)
    curve = run.curve("train_loss")
    assert len(curve) == 2_000
    assert math.isnan(curve.values[2_000 // 3])
    best = store.best("mlp")
    assert best is not None
    assert math.isfinite(best.values[0])


def test_a_folder_that_holds_something_else_is_not_filled(tmp_path: Path) -> None:
    from serve_store import cached

    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(SystemExit, match="name another folder"):
        cached(tmp_path, n_runs=1, n_long=0, n_points=1)
    assert (tmp_path / "thesis.txt").exists()


def test_a_viewer_loads_anew_what_a_change_concerns() -> None:
    from serve_viewers import Part, concerns, parts_of

    page = (
        '<section id="running" data-live="all" data-live-url="/"></section><p data-live="all">no address</p>'
        '<div id="head" data-live="experiment:a&amp;b" data-live-url="/experiments/a%26b?page=2&amp;sort=lr">x</div>'
    )
    running, head = parts_of(page)
    assert (running, head) == (
        Part("running", "all", "/"),
        Part("head", "experiment:a&b", "/experiments/a%26b?page=2&sort=lr"),
    )
    change = {"version": 3, "experiments": ["c"], "runs": ["7f"], "journal": False}
    assert concerns(running, change)
    assert not concerns(head, change)
    assert concerns(head, change | {"experiments": ["a&b"]})
    assert concerns(head, change | {"all": True})
    assert concerns(Part("x", "run:7f", "/"), change)
    assert not concerns(Part("x", "journal", "/"), change)


def test_the_ratio_of_rounds_is_taken_pair_by_pair() -> None:
    from serve_viewers import ratio

    rows = [
        {"kind": kind, "p50_us": value}
        for kind, value in [("nobody", 2.0), ("viewers", 3.0), ("viewers", 6.0), ("nobody", 4.0)]
    ]
    found = ratio(rows, "viewers", "p50_us")
    assert found == {"median": 1.5, "low": 1.5, "high": 1.5}
