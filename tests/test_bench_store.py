"""The store's benchmark: what it says of its figures. ``make bench-store BENCH_ARGS=--quick`` tries its measuring."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "evals" / "store_rivals"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import modules of the benchmark by name, and forget them afterwards: their names are plain words."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(FOLDER)

    def load(name: str) -> ModuleType:
        return import_module(name)

    yield load
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(FOLDER)):
            del sys.modules[name]


def logged(n: int = 11, calls_s: float = 1.0, all_s: float = 2.0, found: int | None = None) -> dict[str, Any]:
    one = {"n_calls": n, "found": n if found is None else found, "calls_s": calls_s, "all_s": all_s}
    one |= {"p50_us": 5.0, "p99_us": 50.0, "max_us": 500.0, "bytes": 1400, "bytes_of_one_call": 1000}
    return {"rounds": [one]}


def row(report: ModuleType, raw: dict[str, Any], label: str) -> Any:
    return next(row for row in report.rows(raw, (), 100) if row.label == label)


def test_a_call_is_durable_at_its_return_only_where_no_kill_lost_anything(bench: Any) -> None:
    report = bench("report")
    raw = {
        "logging": {"advisor": logged(), "trackio": logged()},
        "kills": {
            "advisor": {"lost_at_most": 0, "found": 9, "acknowledged": 9},
            "trackio": {"lost_at_most": 4, "found": 5, "acknowledged": 9},
        },
    }
    assert row(report, raw, "calls/s durable").values == {"advisor": 11.0, "trackio": 5.5}
    assert row(report, raw, "points/s durable").values == {"advisor": 44.0, "trackio": 22.0}
    assert row(report, raw, "calls lost by a kill, at most").shown["trackio"] == "4 (5/9)"


def test_a_rate_says_when_not_all_calls_were_kept(bench: Any) -> None:
    raw = {"logging": {"trackio": logged(found=7)}}
    assert row(bench("report"), raw, "calls/s durable").shown == {"trackio": "5.5 (kept 7/11)"}


def test_bytes_a_point_leave_out_what_a_run_of_one_call_costs(bench: Any) -> None:
    raw = {"logging": {"advisor": logged()}}
    assert row(bench("report"), raw, "bytes/point after finish").values == {"advisor": 10.0}


def test_what_we_lose_is_listed_worst_first_and_a_missing_figure_of_ours_before_it(bench: Any) -> None:
    report = bench("report")
    found = [
        report.Row("fast", "more", {"advisor": 10.0, "trackio": 5.0, "bare": 100.0}, {}),
        report.Row("start", "less", {"advisor": 4.0, "trackio": 1.0, "aim": 2.0}, {}),
        report.Row("lost", "less", {"advisor": 1.0, "aim": 0.0}, {}),
        report.Row("list", "less", {"trackio": 1.0}, {"advisor": "over 90 s"}),
    ]
    assert report.lost(found) == [
        "list: no figure of ours (over 90 s)",
        "lost: aim 0, ours 1 (inf ×)",
        "start: trackio 1, ours 4 (4.0 ×)",
        "start: aim 2, ours 4 (2.0 ×)",
    ]


def test_a_tool_that_could_not_be_measured_keeps_its_column_and_its_reason(bench: Any) -> None:
    report = bench("report")
    raw = {"paced": {"advisor": {"p50_us": 1.0, "p99_us": 2.0, "max_us": 3.0}, "aim": {"error": "not installed: no"}}}
    text = report.table(report.rows(raw, (), 100), ["advisor", "aim"])
    assert text.count("not installed") == 3
    assert report.reasons(raw) == ["aim: not installed: no [paced]"]


def test_every_rival_is_pinned_and_has_a_module_with_all_its_parts(bench: Any) -> None:
    environments = bench("environments")
    for tool, requirement in environments.pinned().items():
        assert requirement.startswith(f"{tool}==")
        module = bench(f"tools.{tool}")
        parts = ["ENVIRONMENT", "STARTUP", "STARTUP_END", "NOT_OFFERED", "Live", "count"]
        parts += [] if "runs" in module.NOT_OFFERED else ["fill", "fill_curves", "Reader"]
        assert [part for part in parts if not hasattr(module, part)] == []


def test_the_reader_of_offline_files_gives_whole_records_and_stops_at_a_tear(bench: Any) -> None:
    wandb = bench("tools.wandb")
    bodies = [b"a" * 10, b"b" * 70_000, b"c" * 5]  # the second spans three blocks
    data = framed(bodies, wandb.BLOCK)
    assert list(wandb.records(data)) == bodies
    assert list(wandb.records(data[:-1])) == bodies[:2]


def framed(bodies: list[bytes], block: int) -> bytes:
    """Write records as LevelDB's log does: whole, or first, middle and last parts that never cross a block."""
    out = bytearray(b":W&B\x00\x00\x00")
    for body in bodies:
        start = 0
        while start < len(body) or not start:
            left = block - len(out) % block
            if left < 7:
                out += bytes(left)
                continue
            part = body[start : start + left - 7]
            ends = start + len(part) == len(body)
            kind = (1 if ends else 2) if not start else (4 if ends else 3)
            out += (0).to_bytes(4, "little") + len(part).to_bytes(2, "little") + bytes([kind]) + part
            start += len(part)
    return bytes(out)
