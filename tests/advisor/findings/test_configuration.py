"""A failure that the parameters explain is a bad configuration; one among sound neighbours is a broken run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from advisor.findings import check_experiment, codes
from advisor.findings.configuration import CONFIGURATION, Neighbours, Peer, explained, peer_of, peers_of
from advisor.findings.keeping import reconcile
from storage.records import Curve, Finding, Run, RunState, Severity
from tests.advisor.findings.made import EXPERIMENT, NOW, a_curve, a_loss, a_run

LRS = [10.0**e for e in (-4, -3.7, -3.4, -3.1, -2.8, -2.5, 0.0, 0.2, 0.4, 0.6)]


def found(run_id: str, code: codes.Code = codes.DIVERGED, **changes: Any) -> Finding:
    evidence = {"end": 9.0, "start": 2.0, "best": 1.0, "outcome": "at the end", "n": 9, "n_nonfinite": 1}
    made = codes.finding(code, run_id=run_id, experiment="made", time=NOW, evidence=evidence, metric="loss", step=3)
    return replace(made, **changes)


def peers(lrs: Sequence[Any], *, failed: Sequence[Any], code: str = "ADV102", **more: Any) -> list[Peer]:
    return [
        Peer(f"r{i}", params={"lr": lr, **more}, failed_by=frozenset({code} if lr in failed else ()))
        for i, lr in enumerate(lrs)
    ]


def verdict(lrs: Sequence[Any], *, failed: Sequence[Any], own: int, code: str = "ADV102") -> bool | None:
    around = Neighbours(peers(lrs, failed=failed)).around(f"r{own}", {"lr": lrs[own]}, code)
    assert around is not None
    return around.is_configuration


def test_a_rate_that_diverges_wherever_it_is_tried_is_a_bad_configuration() -> None:
    assert [verdict(LRS, failed=LRS[6:], own=own) for own in range(6, 10)] == [True] * 4


def test_a_run_that_fails_among_sound_neighbours_is_broken() -> None:
    assert verdict(LRS, failed=[LRS[2]], own=2) is False


def test_where_nearly_all_runs_fail_the_parameters_are_not_to_blame() -> None:
    assert [verdict(LRS, failed=LRS, own=own) for own in (0, 9)] == [None, None]
    assert verdict(LRS, failed=LRS[1:], own=9) is None


def test_neighbours_that_disagree_decide_nothing() -> None:
    around = Neighbours([*peers(LRS[:2], failed=[]), *peers(LRS[2:6], failed=LRS[2:6], code="ADV104")])
    seen = around.around("new", {"lr": 1e-3}, "ADV102")
    assert seen is not None
    assert (seen.n_alike, seen.is_configuration, seen.evidence()) == (0, None, {})


@pytest.mark.parametrize(
    ("code", "by", "same"),
    [("ADV102", "ADV101", True), ("ADV102", "ADV104", None), ("ADV104", "ADV104", True), ("ADV104", "ADV102", None)],
)
def test_a_value_that_is_not_finite_is_a_way_to_diverge_and_learning_nothing_is_another(
    code: str, by: str, same: bool | None
) -> None:
    around = Neighbours(peers(LRS, failed=LRS[6:], code=by)).around("new", {"lr": 2.0}, code)
    assert around is not None
    assert around.is_configuration is same


def test_too_few_runs_or_no_parameter_that_varies_say_nothing() -> None:
    assert Neighbours(peers(LRS[:5], failed=[])).around("r0", {"lr": LRS[0]}, "ADV102") is None
    assert Neighbours(peers([0.1] * 9, failed=[])).around("new", {"lr": 0.1}, "ADV102") is None
    seeds = [Peer(f"r{i}", params={"seed": i}, failed_by=frozenset()) for i in range(9)]
    assert Neighbours(seeds).around("new", {"seed": 3}, "ADV102") is None


def test_words_logarithms_and_what_is_missing_are_compared() -> None:
    optimizers = [{"opt": "sgd", "lr": lr} for lr in (1e-4, 1e-2, 1.0)] + [{"opt": "adam", "lr": 1e-3}] * 4
    made = [Peer(f"r{i}", params=p, failed_by=frozenset()) for i, p in enumerate(optimizers)]
    lost = [Peer(f"x{i}", params={"opt": "rms"}, failed_by=frozenset({"ADV102"})) for i in range(5)]
    near = Neighbours([*made, *lost])
    assert near.around("new", {"opt": "rms"}, "ADV102").n_alike == 5  # type: ignore[union-attr]
    assert near.around("new", {"opt": "adam", "lr": 2e-3}, "ADV102").n_sound == 5  # type: ignore[union-attr]
    odd = [Peer(str(i), params={"x": x}, failed_by=frozenset()) for i, x in enumerate([math.nan, math.inf, 10**400, 1])]
    some = Neighbours([*odd, *peers([1, 2, 3], failed=[])]).around("new", {"x": math.inf}, "ADV102")
    assert some is not None
    assert some.n_sound == 5


def test_only_runs_that_are_over_and_whose_curves_say_something_are_neighbours() -> None:
    states = {state: peer_of(a_run("r", state=state), []) for state in RunState}
    assert [state for state, peer in states.items() if peer is not None] == [RunState.FINISHED]
    failed = peer_of(a_run("r", state=RunState.FAILED), [found("r")])
    assert failed is not None
    assert failed.failed_by == {"ADV102"}
    mild = peer_of(a_run("r"), [found("r", severity=Severity.INFO)])
    assert mild is not None
    assert mild.failed_by == frozenset()


def test_a_false_alarm_is_no_failure() -> None:
    runs = [a_run(f"r{i}", lr=lr) for i, lr in enumerate(LRS)]
    findings = [found(f"r{i}") for i in range(6, 10)]
    assert [f.evidence[CONFIGURATION] for f in explained(findings, runs)] == [True] * 4
    wrong = [replace(run, findings=(found(run.id, verdict="ok"),)) if run.id != "r9" else run for run in runs]
    assert explained(findings, wrong)[-1].evidence[CONFIGURATION] is False
    assert peers_of([replace(runs[9], findings=(found("r9"),))])[0].failed_by == {"ADV102"}


def _sweep(broken: int | None = None) -> tuple[list[Run], dict[str, dict[str, Curve]]]:
    runs, curves = [], {}
    for i, lr in enumerate([*np.geomspace(1e-4, 1e-2, 16), 1.0, 2.0, 3.0, 4.0]):
        loss = a_loss(seed=i)
        if lr >= 1 or i == broken:
            loss = np.concatenate([loss[:30], loss[0] * np.geomspace(1, 30, 30)])
        runs.append(replace(a_run(f"r{i:02d}", lr=float(lr)), number=i))
        curves[f"r{i:02d}"] = {"val_loss": a_curve("val_loss", loss)}
    return runs, curves


def test_a_check_says_whether_the_configuration_or_something_else_is_to_blame() -> None:
    runs, curves = _sweep(broken=5)
    checked = check_experiment(EXPERIMENT, runs, curves, now=NOW)
    said = {f.run_id: f.evidence for f in checked.findings if f.code == "ADV102"}
    assert {run_id: evidence[CONFIGURATION] for run_id, evidence in said.items()} == {
        "r05": False,
        "r16": True,
        "r17": True,
        "r18": True,
        "r19": True,
    }
    assert (said["r19"]["neighbours_alike"], said["r19"]["neighbours"]) == (3, 5)


def test_what_neighbours_say_is_kept_anew_when_it_changes_and_outlives_who_did_not_ask_them() -> None:
    def kept(was: Finding, now: Finding) -> list[Any]:
        events, _ = reconcile([was], [now], actor="check", may_hold=lambda _: False)
        return [event.body["evidence"].get(CONFIGURATION) for event in events]

    plain, blamed = found("r"), found("r", evidence={CONFIGURATION: True})
    assert kept(plain, blamed) == [True]
    assert kept(blamed, found("r", evidence={CONFIGURATION: False})) == [False]
    assert kept(blamed, plain) == []
    assert kept(blamed, replace(plain, title="worse")) == [True]
