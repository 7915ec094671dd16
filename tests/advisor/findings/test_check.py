from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import numpy as np

from advisor.findings import Checked, check_experiment, codes
from advisor.findings.calibration import benjamini_hochberg
from storage.records import Curve, Run, RunState
from tests.advisor.findings.made import EXPERIMENT, NOW, a_curve, a_loss, a_run, healthy

UNUSUAL_EVIDENCE = {"n_siblings": 11, "p": 0.04, "top": "x"}


def a_sweep(n: int = 40) -> tuple[list[Run], dict[str, Mapping[str, Curve]]]:
    runs = [a_run(f"r{i:03d}", lr=0.01 * 1.1**i) for i in range(n)]
    return runs, {run.id: healthy(i) for i, run in enumerate(runs)}


def with_strange(n: int = 40) -> tuple[list[Run], dict[str, Mapping[str, Curve]]]:
    runs, curves = a_sweep(n)
    wild = 0.8 + 1.5 * np.abs(np.sin(np.arange(60) / 3)) + np.linspace(0, -0.3, 60)
    curves["strange"] = {"train_loss": a_curve("train_loss", wild), "val_loss": a_curve("val_loss", wild[::-1])}
    values = a_loss()
    values[20:] = np.nan
    curves["broken"] = dict(healthy()) | {"val_loss": a_curve("val_loss", values)}
    return [*runs, a_run("strange", lr=0.02), a_run("broken", lr=0.03)], curves


def scores(checked: Checked) -> dict[str, float]:
    return {score.run_id: score.score for score in checked.scores}


def test_a_broken_run_ranks_first_and_a_strange_one_next() -> None:
    runs, curves = with_strange()
    got = scores(check_experiment(EXPERIMENT, runs, curves, now=NOW))
    assert sorted(got, key=got.__getitem__)[-2:] in (["strange", "broken"], ["broken", "strange"])
    assert got["broken"] > 1


def test_an_unusual_run_gets_a_finding_that_names_figures_and_siblings() -> None:
    runs, curves = a_sweep()
    bumpy = a_loss() * (1 + 0.4 * np.sin(np.arange(60)))
    curves["odd"] = {"train_loss": a_curve("train_loss", bumpy), "val_loss": a_curve("val_loss", bumpy)}
    checked = check_experiment(EXPERIMENT, [*runs, a_run("odd", lr=0.02)], curves, now=NOW)
    finding = next(f for f in checked.findings if f.run_id == "odd" and f.code == "ADV109")
    assert finding.detector == "isolation-forest"
    assert finding.p_value is not None
    assert finding.p_value <= 0.05
    assert finding.evidence["n_siblings"] >= 30
    assert "σ" in finding.title
    # 0.01 x 1.1**7 is next to 0.02, but r007 came out worse than half of the sweep.
    assert finding.evidence["nearest_sibling"] == "r006"
    assert isinstance(finding.evidence["hint"], str)
    assert 0 < finding.evidence["forest"] < 1


def test_a_false_alarm_in_one_run_quiets_the_next_of_its_kind() -> None:
    runs, curves = a_sweep()
    for name, place in (("one", 0), ("two", 1)):
        bumpy = a_loss(seed=place) * (1 + 0.3 * np.sin(np.arange(60)))
        curves[name] = {"train_loss": a_curve("train_loss", bumpy), "val_loss": a_curve("val_loss", bumpy)}
    both = [a_run("one", lr=0.02), a_run("two", lr=0.02)]
    before = check_experiment(EXPERIMENT, [*runs, *both], curves, now=NOW)
    finding = next(f for f in before.findings if f.run_id == "one" and f.code == "ADV109")
    for verdict, moves in (("ok", -1), ("real", 1)):
        judged = replace(both[0], findings=(replace(finding, verdict=verdict),))
        after = check_experiment(EXPERIMENT, [*runs, judged, both[1]], curves, now=NOW)
        assert np.sign(scores(after)["two"] - scores(before)["two"]) == moves


def test_without_the_head_the_forests_decide_alone() -> None:
    runs, curves = with_strange()
    alone = check_experiment(EXPERIMENT, runs, curves, now=NOW, head=False)
    both = check_experiment(EXPERIMENT, runs, curves, now=NOW)
    assert all(entry.head is None for entry in alone.scores)
    assert {e.run_id: e.forest for e in alone.scores} == {e.run_id: e.forest for e in both.scores}
    assert all(entry.score % 1.0 == entry.forest for entry in alone.scores if entry.run_id != "broken")


def test_a_run_whose_trouble_a_person_confirmed_defines_nothing() -> None:
    runs, curves = a_sweep(12)
    found = codes.finding(codes.UNUSUAL, run_id="r003", experiment="toy", time=NOW, evidence=UNUSUAL_EVIDENCE)
    judged = [replace(run, findings=(replace(found, verdict="real"),)) if run.id == "r003" else run for run in runs]
    one, other = (
        next(
            int(entry.reason.split()[0])
            for entry in check_experiment(EXPERIMENT, given, curves, now=NOW).not_judged
            if entry.check == "ADV109" and entry.run_id == "r000"
        )
        for given in (runs, judged)
    )
    assert other == one - 1


def test_the_same_runs_give_the_same_result_ids_included() -> None:
    runs, curves = with_strange()
    one = check_experiment(EXPERIMENT, runs, curves, now=NOW)
    other = check_experiment(EXPERIMENT, runs, curves, now=NOW)
    assert repr(one) == repr(other)  # as text, because the evidence holds a NaN
    later = check_experiment(EXPERIMENT, runs, curves, now=NOW + timedelta(days=1))
    assert [finding.id for finding in later.findings] == [finding.id for finding in one.findings]


def test_few_siblings_are_said_and_every_run_still_has_a_score() -> None:
    runs, curves = a_sweep(5)
    checked = check_experiment(EXPERIMENT, runs, curves, now=NOW)
    assert [score.run_id for score in checked.scores] == [run.id for run in runs]
    assert all(score.p_value is None for score in checked.scores)
    told = [entry for entry in checked.not_judged if entry.check == "ADV109"]
    assert len(told) == 5
    assert "too few siblings" in told[0].reason


def test_p_values_of_a_healthy_sweep_are_valid_and_warnings_rare() -> None:
    runs, curves = a_sweep(60)
    checked = check_experiment(EXPERIMENT, runs, curves, now=NOW)
    p_values = np.array([score.p_value for score in checked.scores], dtype=float)
    assert ((p_values > 0) & (p_values <= 1)).all()
    assert (p_values <= 0.1).mean() <= 0.15
    assert not [finding for finding in checked.findings if finding.severity.rank > 0]


def test_a_half_finished_run_is_compared_with_beginnings() -> None:
    runs, curves = a_sweep()
    half = {name: Curve.of(name, c.steps[:31], c.values[:31]) for name, c in curves[runs[7].id].items()}
    shorter = [replace(run, state=RunState.PRUNED) if run is runs[7] else run for run in runs]
    checked = check_experiment(EXPERIMENT, shorter, {**curves, runs[7].id: half}, now=NOW)
    mine = next(score for score in checked.scores if score.run_id == runs[7].id)
    assert mine.p_value is not None
    assert mine.p_value > 0.05


def test_a_run_without_curves_has_no_score_and_the_reason_is_said() -> None:
    runs, curves = a_sweep(12)
    checked = check_experiment(EXPERIMENT, [*runs, a_run("bare")], curves, now=NOW)
    assert "bare" not in scores(checked)
    assert any(entry.run_id == "bare" and entry.reason == "no curves" for entry in checked.not_judged)


def test_an_experiment_without_runs_or_objective_can_be_checked() -> None:
    nothing = check_experiment(replace(EXPERIMENT, objectives=()), [], {}, now=NOW)
    assert (nothing.findings, nothing.scores, nothing.not_judged) == ((), (), ())


def test_a_majority_of_broken_runs_does_not_make_the_sound_ones_look_strange() -> None:
    runs, curves = a_sweep(20)
    for i in range(30):
        run = a_run(f"bad{i}", lr=10.0)
        flat = 2.3 + 0.001 * np.random.default_rng(i).standard_normal(60)
        runs.append(run)
        curves[run.id] = {"train_loss": a_curve("train_loss", flat), "val_loss": a_curve("val_loss", flat)}
    got = scores(check_experiment(EXPERIMENT, runs, curves, now=NOW))
    assert max(s for name, s in got.items() if name.startswith("r")) < min(
        s for name, s in got.items() if name.startswith("bad")
    )


def test_hyperparameters_are_taken_out_from_a_hundred_runs_on() -> None:
    runs, curves = a_sweep(120)
    bumpy = a_loss() * (1 + 0.4 * np.sin(np.arange(60)))
    curves["odd"] = {"train_loss": a_curve("train_loss", bumpy), "val_loss": a_curve("val_loss", bumpy)}
    checked = check_experiment(EXPERIMENT, [*runs, a_run("odd", lr=0.02)], curves, now=NOW)
    finding = next(f for f in checked.findings if f.run_id == "odd" and f.code == "ADV109")
    assert finding.evidence["hyperparameters_regressed_out"] is True


def test_benjamini_hochberg_rejects_as_in_the_textbook() -> None:
    p_values = np.array([0.01, 0.02, 0.03, 0.5, np.nan])
    assert benjamini_hochberg(p_values, 0.05).tolist() == [True, True, True, False, False]
    assert not benjamini_hochberg(np.array([0.04, 0.5, 0.6, 0.9]), 0.05).any()


def resumed(curves: Mapping[str, Curve], first: int) -> dict[str, Curve]:
    return {name: Curve.of(name, c.steps + first, c.values) for name, c in curves.items()}


def test_resumed_runs_are_compared_although_their_steps_start_late() -> None:
    runs, curves = a_sweep(12)
    late = {run.id: resumed(curves[run.id], 900) for run in runs[1:]}
    long = {"train_loss": a_curve("train_loss", a_loss(500)), "val_loss": a_curve("val_loss", a_loss(500, floor=0.2))}
    checked = check_experiment(EXPERIMENT, runs, {**late, runs[0].id: long}, now=NOW)
    assert [score.run_id for score in checked.scores] == [run.id for run in runs]
    assert all(score.p_value is not None for score in checked.scores)


def test_where_the_steps_start_changes_nothing() -> None:
    runs, curves = with_strange()
    shifted = {run_id: resumed(each, 1000 * i) for i, (run_id, each) in enumerate(curves.items())}
    one = check_experiment(EXPERIMENT, runs, curves, now=NOW)
    other = check_experiment(EXPERIMENT, runs, shifted, now=NOW)
    assert one.scores == other.scores


def test_beginnings_too_are_counted_from_a_runs_own_first_step() -> None:
    runs, curves = a_sweep(30)
    half = resumed({name: Curve.of(name, c.steps[:31], c.values[:31]) for name, c in curves[runs[7].id].items()}, 500)
    pruned = [replace(run, state=RunState.PRUNED) if run is runs[7] else run for run in runs]
    checked = check_experiment(EXPERIMENT, pruned, {**curves, runs[7].id: half}, now=NOW)
    mine = next(score for score in checked.scores if score.run_id == runs[7].id)
    assert mine.p_value is not None
    assert mine.p_value > 0.05


def test_a_whole_number_beyond_the_largest_float_is_just_a_large_parameter() -> None:
    runs, curves = a_sweep(105)
    huge = [2**2000, -(2**2000), 1e300]
    odd = [replace(run, params={"n": huge[i] if i < len(huge) else i}) for i, run in enumerate(runs)]
    checked = check_experiment(EXPERIMENT, odd, curves, now=NOW)
    assert all(score.p_value is not None for score in checked.scores)
