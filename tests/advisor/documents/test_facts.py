"""Facts are computed once, named, ordered and hashed; what is missing is a fact as well."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from advisor.documents import Fact, FactSheet, experiment_facts, run_facts
from storage.records import FindingState, Objective, RunState, Severity


def test_the_outcome_of_an_experiment_is_derived_from_its_runs(make: Any) -> None:
    sheet = experiment_facts(make.material())
    values = {fact.id: fact.value for fact in sheet}
    assert values["best"] == 0.31
    assert sheet["best_run"].text == "#2"
    assert values["baseline"] == 0.9
    assert values["gain"] == pytest.approx(0.59)
    assert sheet["gain_share"].text == "65.6%"
    assert values["median"] == pytest.approx(0.45)
    assert values["worst"] == 0.9
    assert values["runner_up"] == 0.35
    assert values["gap"] == pytest.approx(0.04)
    assert values["n_runs"] == values["n_finished"] == values["n_ranked"] == 6
    assert values["n_since_best"] == 3
    assert values["n_records"] == 2
    assert values["duration_total"] == 180


def test_every_state_is_counted(make: Any) -> None:
    runs = [make.run(0, 0.5), *(make.run(n + 1, None, state=state) for n, state in enumerate(RunState))]
    sheet = experiment_facts(make.material([*runs, make.run(9, math.nan)]))
    assert [sheet[f"n_{state}"].value for state in RunState] == [1, 1, 3, 1, 1, 1]
    assert sheet["n_unranked"].value == 2


def test_findings_are_counted_by_severity_without_resolved_ones(make: Any) -> None:
    run = make.run(0, 0.5)
    findings = [
        make.finding(run),
        make.finding(run, severity=Severity.WARNING, metric="a"),
        make.finding(run, severity=Severity.WARNING, state=FindingState.RESOLVED),
    ]
    sheet = experiment_facts(make.material([run], findings=findings))
    assert [sheet[key].value for key in ("n_findings", "n_flagged", "n_error", "n_warning")] == [2, 1, 1, 1]
    assert "n_info" not in sheet


def test_importances_and_the_suggestion_are_facts(make: Any) -> None:
    suggestion = {
        "params": {"lr": 0.01},
        "why": "near the best",
        "learned_from": ["x"],
        "forecast": {"mean": 0.3, "low": 0.2, "high": 0.4},
    }
    sheet = experiment_facts(make.material(importances={"optimizer": 0.2, "lr": 0.8}, suggestions=[suggestion]))
    assert (sheet["parameter_1"].text, sheet["importance_1"].text) == ("lr", "80%")
    assert (sheet["next_1"].value, sheet["n_learned_from"].value) == (0.01, 1)
    assert [sheet[f"forecast_{key}"].value for key in ("mean", "low", "high")] == [0.3, 0.2, 0.4]


def test_what_is_missing_is_said(make: Any) -> None:
    runs = [make.run(0, 0.5, seed=None)]
    sheet = experiment_facts(make.material(runs, experiment=make.experiment(objectives=())))
    texts = {fact.id: fact.text for fact in sheet.absent()}
    assert "no objective is set" in texts["absent_objective"]
    assert texts["absent_seed"] == "the seed of the only run"
    assert {
        "absent_test_metric",
        "absent_commit",
        "absent_data",
        "absent_command",
        "absent_description",
    } <= texts.keys()
    assert "best" not in sheet


def test_what_was_recorded_is_not_missed(make: Any) -> None:
    environment = {
        "command": ["python", "train.py"],
        "git": {"commit": "abc", "dirty": False},
        "python": {"version": "3.11"},
        "cpu_count": 2,
    }
    summary = {"test_loss": {"n": 3, "last": 0.5}}
    data = ({"name": "train", "sha256": "ff", "shape": [3, 2]},)
    run = make.run(0, 0.5, environment=environment, summary=summary, data=data, notes=("why",))
    experiment = make.experiment(description="digits")
    missing = {fact.id for fact in experiment_facts(make.material([run], experiment=experiment)).absent()}
    assert missing == {"absent_repeats"}
    assert not run_facts(make.run_material(run, [], experiment=experiment)).absent()


def test_a_run_is_put_beside_its_siblings(make: Any) -> None:
    siblings = [make.run(n, value) for n, value in enumerate((0.9, 0.5, 0.3))]
    sheet = run_facts(make.run_material(make.run(3, 0.4), siblings))
    assert (sheet["rank"].value, sheet["n_ranked"].value) == (2, 4)
    assert (sheet["best_other"].value, sheet["best_other_run"].text) == (0.3, "#2")
    assert sheet["median_other"].value == 0.5
    assert sheet["baseline"].value == 0.9
    assert sheet["duration"].text == "30 s"
    assert sheet["last_step"].value == 2


def test_a_failed_run_has_no_rank(make: Any) -> None:
    sheet = run_facts(make.run_material(make.run(1, 0.1, state=RunState.FAILED), [make.run(0, 0.5)]))
    assert sheet["objective"].value == 0.1
    assert "rank" not in sheet


def test_the_hash_depends_on_content_only(make: Any) -> None:
    runs = [make.run(n, value) for n, value in enumerate((0.9, 0.5, 0.31))]
    first = experiment_facts(make.material(runs))
    assert experiment_facts(make.material(list(reversed(runs)))).hash == first.hash
    assert experiment_facts(make.material([*runs[:2], make.run(2, 0.32)])).hash != first.hash


def test_the_canonical_form_is_strict_json(make: Any) -> None:
    sheet = run_facts(make.run_material(make.run(0, math.nan, params={"lr": math.inf}), []))
    rows = {row["id"]: row for row in json.loads(sheet.canonical)}
    assert rows["objective"]["value"] == "NaN"
    assert rows["set_1"]["value"] == "Infinity"


def test_a_gain_over_a_baseline_of_another_sign_has_no_share(make: Any) -> None:
    runs = [make.run(0, 0.5), make.run(1, -0.5)]
    sheet = experiment_facts(make.material(runs))
    assert sheet["gain"].value == 1.0
    assert "gain_share" not in sheet


def test_two_facts_cannot_share_an_id() -> None:
    fact = Fact("a", value=1, label="a", text="1", kind="count", source="")
    with pytest.raises(ValueError, match="unique"):
        FactSheet((fact, fact))


def test_directions_are_kept_where_one_value_is_better(make: Any) -> None:
    sheet = experiment_facts(make.material(experiment=make.experiment(objectives=(Objective("val_loss", "maximize"),))))
    assert sheet["best"].direction == "maximize"
    assert sheet["n_runs"].direction is None
