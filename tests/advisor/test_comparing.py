"""Runs beside each other: what differs, what is the same, and who may be called the best."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import advisor
from advisor import comparing
from advisor.app import Advisor
from advisor.code_states import MAX_SHOWN_LINES, code_difference, code_states
from advisor.comparing import Comparison
from advisor.errors import ConfigError
from storage.errors import RunNotFoundError
from storage.records import Experiment, Objective, Run, RunState

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def run(number: int, *, experiment: str = "e", state: RunState = RunState.FINISHED, **given: Any) -> Run:
    return Run(f"{number:032x}", number=number, experiment=experiment, state=state, created=NOW, **given)


def compared(*runs: Run, base: int = 0, direction: str = "minimize") -> Comparison:
    names = dict.fromkeys(each.experiment for each in runs)
    objectives = (Objective("loss", direction),)  # type: ignore[arg-type]  # one of the two words
    experiments = {name: Experiment(name, number=0, objectives=objectives, created=NOW) for name in names}
    return Comparison(runs, base=runs[base], experiments=experiments)


def named(rows: list[comparing.Row]) -> list[str]:
    return [row.name for row in rows]


def test_parameters_that_differ_come_apart_from_those_that_are_the_same() -> None:
    found = compared(
        run(0, params={"lr": 0.1, "wd": 0, "opt": "sgd"}), run(1, params={"lr": 0.2, "wd": 0.0, "opt": "sgd"})
    )
    differing, same = comparing.parameters(found)
    assert named(differing) == ["lr"]
    assert named(same) == ["wd", "opt"]
    assert differing[0].cells[1].delta == pytest.approx(0.1)
    assert differing[0].cells[0].delta is None


def test_a_parameter_that_one_run_lacks_differs_even_from_none() -> None:
    differing, _ = comparing.parameters(compared(run(0, params={"wd": None}), run(1)))
    assert [cell.is_recorded for cell in differing[0].cells] == [True, False]


def test_one_is_not_the_text_one_and_huge_numbers_have_no_difference() -> None:
    differing, same = comparing.parameters(
        compared(run(0, params={"a": 1, "b": 10**400, "c": math.nan}), run(1, params={"a": "1", "b": 1, "c": math.nan}))
    )
    assert named(differing) == ["a", "b"]
    assert named(same) == ["c"]
    assert [cell.delta for row in differing for cell in row.cells] == [None] * 4


def summary(last: float, low: float, high: float) -> dict[str, Any]:
    return {"n": 9, "last": last, "min": low, "max": high, "min_step": 3, "max_step": 4, "last_step": 8}


def test_metrics_have_last_and_best_with_the_difference_to_the_baseline() -> None:
    found = compared(
        run(0, summary={"loss": summary(0.5, 0.4, 1.0), "acc": summary(0.8, 0.1, 0.9), "odd": summary(1, 0, 2)}),
        run(1, summary={"loss": summary(0.6, 0.2, 1.0)}),
    )
    rows = comparing.metrics(found)
    assert [(row.name, row.of) for row in rows] == [
        ("loss", "last"), ("loss", "best"), ("acc", "last"), ("acc", "best"), ("odd", "last"),
    ]  # fmt: skip
    worse, better = rows[0].cells[1], rows[1].cells[1]
    assert (worse.delta, worse.is_better) == (pytest.approx(0.1), False)
    assert (better.delta, better.is_better, better.step) == (pytest.approx(-0.2), True, 3)
    assert rows[3].cells[0].value == 0.9
    assert not rows[3].cells[1].is_recorded


def test_what_the_machine_did_is_no_result() -> None:
    assert comparing.metrics(compared(run(0, metrics={"system/cpu_percent": 3.0}))) == []


def test_a_run_that_diverged_is_never_the_best() -> None:
    found = compared(
        run(0, values=(math.nan,), metrics={"loss": math.nan}),
        run(1, values=(0.2,), metrics={"loss": math.inf}),
        run(2, values=(0.3,), metrics={"loss": 0.3}),
        run(3, values=(0.1,), metrics={"loss": 0.1}, state=RunState.FAILED),
    )
    assert found.best is not None
    assert found.best.number == 2
    row = comparing.outcome(found)
    assert row is not None
    assert [cell.delta for cell in row.cells] == [None] * 4


def test_nobody_is_the_best_of_different_objectives() -> None:
    runs = (run(0, values=(0.1,)), run(1, experiment="f", values=(0.2,)))
    record = Experiment("f", number=1, objectives=(Objective("acc", "maximize"),), created=NOW)
    found = Comparison(runs, base=runs[0], experiments={**compared(runs[0]).experiments, "f": record})
    assert found.objective is None
    assert found.best is None


def test_runs_of_one_state_of_the_code_are_together_that_of_the_baseline_first() -> None:
    git = {"commit": "a" * 40, "branch": "main", "dirty": True, "diff": "+x = 1\n same\n", "diff_truncated": False}
    other = {**git, "diff": "index 12..34\n@@ -1 +1 @@\n+x = 2\n same\n"}
    found = compared(
        run(0, environment={"git": git}), run(1, environment={"git": other}), run(2, environment={"git": git}), base=1
    )
    groups = code_states(found.runs, base=found.base)
    assert [[each.number for each in group.runs] for group in groups] == [[1], [0, 2]]
    lines, is_whole = code_difference(*groups)
    assert "-+x = 2" in lines
    assert "++x = 1" in lines
    assert is_whole


def test_the_difference_of_huge_changes_is_bounded() -> None:
    diffs = ["\n".join(f"+{i * step}" for i in range(30_000)) for step in (1, 3)]
    found = compared(
        *(run(i, environment={"git": {"commit": "c", "dirty": True, "diff": d}}) for i, d in enumerate(diffs))
    )
    lines, is_whole = code_difference(*code_states(found.runs, base=found.base))
    assert len(lines) == MAX_SHOWN_LINES
    assert not is_whole


def test_versions_that_differ_are_told_and_process_ids_are_not() -> None:
    known = {"command": ["python", "a.py"], "python": {"version": "3.12"}}
    known, other = ({**known, "libraries": {"numpy": "2.4", "torch": each}} for each in ("2.9", "2.13"))
    found = compared(run(0, environment={**known, "pid": 1}), run(1, environment={**other, "pid": 2}))
    differing, same = comparing.environment(found)
    assert named(differing) == ["libraries.torch"]
    assert named(same) == ["command", "libraries.numpy", "python.version"]


def test_data_is_the_same_by_its_fingerprint_wherever_it_lay() -> None:
    train = {"name": "train", "sha256": "ab", "path": "/a"}
    found = compared(
        run(0, data=(train, {"name": "test", "sha256": "1"})),
        run(1, data=({**train, "path": "/b"}, {"name": "test", "sha256": "2"})),
    )
    differing, same = comparing.data(found)
    assert (named(differing), named(same)) == (["test"], ["train"])


@pytest.fixture
def adv(tmp_path: Any) -> Any:
    with advisor.open(tmp_path / "store", capture=False, system_metrics="off") as opened:
        exp = opened.experiment("digits", objective="loss")
        for value in (0.3, 0.2):
            with exp.start(params={"lr": value}) as live:
                live.log({"loss": value})
        yield opened


def test_runs_are_found_as_people_call_them_each_once(adv: Advisor) -> None:
    first = adv.experiment("digits").run(0)
    found = comparing.compare(adv.store, ["digits#0", first.id, first.id[:10], "digits#1", "digts#1"], base="digits#1")
    assert [each.number for each in found.runs] == [0, 1]
    assert found.base.number == 1
    assert len(found.missing) == 1
    assert "digts" in found.missing[0]


def test_too_many_runs_are_refused_in_one_sentence(adv: Advisor) -> None:
    with pytest.raises(ConfigError, match="101 runs are too many to compare at once; choose 100 at most"):
        comparing.compare(adv.store, [f"digits#{i}" for i in range(101)])


def test_where_no_run_is_found_that_is_said(adv: Advisor) -> None:
    with pytest.raises(RunNotFoundError, match="digts"):
        comparing.compare(adv.store, ["digts#0"])


def test_a_run_that_ended_in_no_number_is_that_and_no_better_and_no_worse(tmp_path: Path) -> None:
    with advisor.open(tmp_path / "store", capture=False) as adv:
        exp = adv.experiment("odd", objective="loss", direction="minimize")
        for values in ([0.5], [0.4, math.nan], [0.3]):
            with exp.start(params={}) as run:
                for step, value in enumerate(values):
                    run.log({"loss": value}, step=step)
        row = comparing.outcome(comparing.compare(adv.store, ["odd#0", "odd#1", "odd#2"]))
        against = comparing.outcome(comparing.compare(adv.store, ["odd#1", "odd#2"]))
    assert row is not None
    assert against is not None
    assert math.isnan(row.cells[1].value)
    assert (row.cells[1].last_finite, row.cells[1].delta) == (0.4, None)
    assert row.cells[2].delta == pytest.approx(-0.2)
    assert against.cells[1].delta is None
