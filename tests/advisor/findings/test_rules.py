from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from advisor.findings import rules
from advisor.findings.pace import Siblings
from advisor.findings.rules import failed, judge
from storage.records import Curve, Finding, RunState, Severity
from tests.advisor.findings.made import NOW, OBJECTIVE, a_curve, a_loss, a_run, healthy


def found(curves: Mapping[str, Curve], *, state: RunState = RunState.FINISHED) -> dict[str, Finding]:
    judgement = judge(a_run(state=state), curves, objective=OBJECTIVE, siblings=None, now=NOW)
    return {finding.code: finding for finding in judgement.findings}


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_run_raises_nothing(seed: int) -> None:
    assert found(healthy(seed)) == {}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_an_error_and_silences_the_rest(value: float) -> None:
    values = a_loss()
    values[40:] = value
    curves = dict(healthy()) | {"val_loss": a_curve("val_loss", values)}
    findings = found(curves)
    assert set(findings) == {"ADV101"}
    assert (findings["ADV101"].severity, findings["ADV101"].step) == (Severity.ERROR, 40)


def test_a_lone_nan_from_which_the_curve_recovered_is_a_warning() -> None:
    values = a_loss()
    values[7] = np.nan
    assert found({"val_loss": a_curve("val_loss", values)})["ADV101"].severity is Severity.WARNING


def test_a_loss_of_zero_beside_a_gradient_that_is_not_finite_is_a_hidden_nan() -> None:
    loss, grad = a_loss(), np.ones(60)
    loss[50:], grad[50:] = 0.0, np.nan
    curves = {"train_loss": a_curve("train_loss", loss), "grad_norm": a_curve("grad_norm", grad)}
    judged = judge(a_run(), curves, objective=None, siblings=None, now=NOW).findings
    assert {finding.metric for finding in judged if finding.code == "ADV101"} == {"train_loss", "grad_norm"}


def test_a_loss_above_its_start_has_diverged() -> None:
    values = np.concatenate([a_loss(30), np.linspace(0.3, 9.0, 30)])
    finding = found({"train_loss": a_curve("train_loss", values)})["ADV102"]
    assert finding.severity is Severity.ERROR
    assert finding.evidence["end"] > finding.evidence["start"] > finding.evidence["best"]


def test_one_large_jump_is_a_spike_at_its_step() -> None:
    values = a_loss(100)
    values[70] = 5.10  # a real training of 176 B parameters went from 2.20 to 5.10 in one step
    finding = found({"train_loss": a_curve("train_loss", values)})["ADV103"]
    assert (finding.step, finding.evidence["peak"]) == (70, 5.10)


def test_a_flat_curve_never_learned() -> None:
    values = 2.303 + 0.001 * np.random.default_rng(0).standard_normal(60)
    assert set(found({"train_loss": a_curve("train_loss", values)})) == {"ADV104"}


def test_a_curve_that_hardly_got_better_is_not_said_never_to_have_got_better() -> None:
    falls = found({"val_loss": a_curve("val_loss", np.linspace(70.44, 69.49, 60))})["ADV104"]
    assert falls.title == "val_loss hardly got better than at the start (70.44, at best 69.49)"
    rises = found({"val_loss": a_curve("val_loss", np.linspace(20.07, 20.2, 60))})["ADV104"]
    assert rises.title == "val_loss never got better than at the start (20.07, at best 20.07)"


def test_slow_learning_is_not_called_never_learned() -> None:
    assert "ADV104" not in found({"train_loss": a_curve("train_loss", np.linspace(2.303, 2.1, 60))})


def test_a_curve_that_stops_improving_is_information() -> None:
    values = np.concatenate([np.linspace(2.3, 0.5, 20), np.full(60, 0.5)])
    assert found({"train_loss": a_curve("train_loss", values)})["ADV105"].severity is Severity.INFO


def test_a_validation_loss_that_rises_while_training_goes_on_is_overfitting_not_divergence() -> None:
    train = a_loss(60, rate=6, floor=0.001)
    val = np.concatenate([np.linspace(2.3, 0.4, 20), np.linspace(0.4, 3.5, 40)])
    findings = found({"train_loss": a_curve("train_loss", train), "val_loss": a_curve("val_loss", val)})
    assert set(findings) == {"ADV106"}
    assert findings["ADV106"].severity is Severity.WARNING
    assert "train_loss" in findings["ADV106"].title


def test_falling_accuracy_counts_as_worse() -> None:
    accuracy = np.concatenate([np.linspace(0.1, 0.95, 30), np.full(30, 0.1)])
    assert "ADV102" in found({"val_accuracy": a_curve("val_accuracy", accuracy)})


def test_a_metric_of_unknown_direction_is_checked_for_finite_values_only_and_that_is_said() -> None:
    rising = a_curve("temperature", np.linspace(1, 100, 60))
    judgement = judge(a_run(), {"temperature": rising}, objective=None, siblings=None, now=NOW)
    assert judgement.findings == ()
    assert any("direction" in entry.reason for entry in judgement.not_judged)


def test_a_short_curve_is_too_short_rather_than_healthy() -> None:
    judgement = judge(a_run(), healthy(n=5), objective=OBJECTIVE, siblings=None, now=NOW)
    assert judgement.findings == ()
    reasons = {entry.check: entry.reason for entry in judgement.not_judged}
    assert {"ADV102", "ADV103", "ADV104", "ADV105"} <= set(reasons)
    assert "too short" in reasons["ADV102"]


def test_a_running_run_that_went_silent_has_stalled() -> None:
    curves = {"train_loss": a_curve("train_loss", a_loss(60), seconds=1.0)}
    assert found(curves, state=RunState.RUNNING)["ADV107"].evidence["rhythm_s"] == pytest.approx(1.0)
    assert "ADV107" not in found(curves, state=RunState.FINISHED)


def test_a_running_run_within_its_own_rhythm_has_not_stalled() -> None:
    run = a_run(state=RunState.RUNNING)
    curves = {"train_loss": a_curve("train_loss", a_loss(60), seconds=10.0)}
    soon = NOW - timedelta(hours=1) + timedelta(seconds=700)
    assert judge(run, curves, objective=None, siblings=None, now=soon).findings == ()


def test_steps_that_became_slow_are_a_warning() -> None:
    pauses = np.concatenate([np.full(50, 1.0), np.full(50, 3.0)])
    curve = Curve.of("train_loss", np.arange(100), a_loss(100), np.cumsum(pauses))
    assert found({"train_loss": curve})["ADV108"].evidence["ratio"] == pytest.approx(3.0)


def test_few_quick_steps_are_not_said_to_have_kept_their_pace() -> None:
    values = a_loss(80)
    judgement = judge(a_run(), {"loss": a_curve("loss", values, seconds=0.001)}, objective=None, siblings=None, now=NOW)
    assert any(one.check == "ADV108" and "judged from 100 of them on" in one.reason for one in judgement.not_judged)


def test_a_run_much_slower_than_its_siblings_is_a_warning() -> None:
    curves = {"train_loss": a_curve("train_loss", a_loss(100), seconds=10.0)}
    judgement = judge(a_run(), curves, objective=None, siblings=Siblings(9, step_time_s=1.0), now=NOW)
    assert [finding.code for finding in judgement.findings] == ["ADV108"]


def test_a_crash_without_a_word_is_an_error() -> None:
    crash = found(healthy(), state=RunState.CRASHED)["ADV110"]
    assert crash.severity is Severity.ERROR
    assert crash.title.startswith("its process vanished without a word; ")


def test_a_crash_of_which_something_was_recorded_says_so() -> None:
    run = replace(a_run(state=RunState.CRASHED), error="MLflow recorded that it was killed", source="import")
    (crash,) = judge(run, healthy(), objective=None, siblings=None, now=NOW).findings
    assert crash.title.startswith("MLflow recorded that it was killed; ")


def test_a_failed_run_is_an_error_with_the_exceptions_last_line() -> None:
    run = replace(a_run(state=RunState.FAILED), error="Traceback …\n  line 3\nRuntimeError: CUDA out of memory\n")
    judgement = judge(run, healthy(), objective=None, siblings=None, now=NOW)
    (finding,) = judgement.findings
    assert (finding.code, finding.title) == ("ADV111", "it failed: RuntimeError: CUDA out of memory")


def test_a_curve_of_a_million_points_is_judged_in_bounded_memory() -> None:
    y = np.concatenate([np.linspace(3.0, 1.0, 100_000), np.full(900_000, 1.0)])
    symptom = rules.stopped_learning({"val_loss": Curve.of("val_loss", np.arange(y.size), y)}, "val_loss", None)
    assert symptom is not None
    assert symptom.step == pytest.approx(100_000, rel=0.02)


def test_a_spike_says_whether_it_recovered_and_one_that_did_not_is_an_error() -> None:
    values = a_loss(200)
    values[120:124] *= 4
    passed = found({"train_loss": a_curve("train_loss", values)})["ADV103"]
    assert (passed.severity, passed.evidence["recovered_after"]) == (Severity.WARNING, 4)
    assert "recovered within 4 values" in passed.title
    values = a_loss(200, floor=0.4)
    values[120:] *= 2.5
    stays = found({"train_loss": a_curve("train_loss", values)})["ADV103"]
    assert stays.severity is Severity.ERROR
    assert "has not recovered" in stays.title


@pytest.mark.parametrize("values", [np.arange(20.0), np.arange(40.0) / 3, 2.0 ** np.arange(20) - 1])
def test_a_steady_rise_of_a_gradient_norm_from_zero_is_no_spike(values: np.ndarray) -> None:
    assert "ADV103" not in found({"layer0/grad/norm": a_curve("layer0/grad/norm", values)})


@pytest.mark.parametrize("first", [0.0, 1.0])
def test_a_gradient_norm_after_one_of_exactly_zero_is_no_spike_and_a_large_one_is(first: float) -> None:
    values = 1 + 0.01 * np.random.default_rng(0).standard_normal(60)
    values[0], values[30] = first, 0.0
    assert "ADV103" not in found({"grad_norm": a_curve("grad_norm", values)})
    values[40] = 500.0
    assert found({"grad_norm": a_curve("grad_norm", values)})["ADV103"].step == 40


def test_a_reward_that_falls_at_the_beginning_is_no_spike_and_later_it_is() -> None:
    rewards = -1 + 0.01 * np.random.default_rng(0).standard_normal(60)
    early, late = rewards.copy(), rewards.copy()
    early[1], late[40] = -30, -30
    assert "ADV103" not in found({"episode_reward": a_curve("episode_reward", early)})
    assert "ADV103" in found({"episode_reward": a_curve("episode_reward", late)})


def test_a_spike_near_zero_is_information() -> None:
    values = a_loss(200, rate=12, floor=0.001)
    values[180] *= 5
    assert found({"train_loss": a_curve("train_loss", values)})["ADV103"].severity is Severity.INFO


def test_a_change_near_zero_that_stays_is_a_warning_where_it_counts_and_information_in_training() -> None:
    values = a_loss(200, rate=12, floor=0.001)
    values[160:] *= 5
    spikes = {name: found({name: a_curve(name, values)})["ADV103"] for name in ("train_loss", "val_loss")}
    assert {name: spike.severity for name, spike in spikes.items()} == {
        "train_loss": Severity.INFO,
        "val_loss": Severity.WARNING,
    }
    assert "has not recovered" in spikes["train_loss"].title


def test_beside_the_loss_of_an_untrained_net_a_later_spike_still_counts() -> None:
    values = np.concatenate(([5e11], a_loss(200)))
    values[120] *= 8
    for name in ("train_loss", "val_loss"):
        spike = found({name: a_curve(name, values)})["ADV103"]
        assert (spike.step, spike.severity) == (120, Severity.WARNING)


def test_a_divergence_that_passed_is_information() -> None:
    values = a_loss(200)
    values[100:115] = 4.0
    assert found({"train_loss": a_curve("train_loss", values)})["ADV102"].severity is Severity.INFO


def test_a_validation_loss_that_goes_up_and_down_oscillates() -> None:
    values = 1.0 + 0.6 * (-1.0) ** np.arange(60)
    values[:3] = [2.3, 1.9, 1.5]
    assert found({"val_loss": a_curve("val_loss", values)})["ADV112"].severity is Severity.INFO


@pytest.mark.parametrize(("factor", "code"), [(100.0, "ADV114"), (1e-9, "ADV115")])
def test_gradients_that_stay_far_from_where_they_were_are_told(factor: float, code: str) -> None:
    norms = np.geomspace(1.0, factor, 100)
    assert code in found(dict(healthy()) | {"grad_norm": a_curve("grad_norm", norms)})
    assert code not in found(dict(healthy()) | {"grad_norm": a_curve("grad_norm", np.geomspace(1.0, 0.01, 100))})


@pytest.mark.parametrize(("value", "codes"), [(0.001, {"ADV113"}), (0.08, set())])
def test_far_better_than_all_siblings_is_too_good_and_merely_best_is_not(value: float, codes: set[str]) -> None:
    values = tuple(np.linspace(0.1, 0.5, 12))
    curves = {"val_loss": a_curve("val_loss", np.linspace(1.0, value, 15))}
    curves["val_loss"] = a_curve("val_loss", np.concatenate([np.geomspace(2.0, value, 12), np.full(3, value)]))
    siblings = Siblings(12, values=values)
    judgement = judge(a_run(), curves, objective=OBJECTIVE, siblings=siblings, now=NOW)
    assert {f.code for f in judgement.findings} & {"ADV113"} == codes


@pytest.mark.parametrize(
    ("curves", "n_siblings", "reason"),
    [
        ({}, 0, "no curves"),
        ({"other": a_curve("other", np.ones(9))}, 12, "no curve of val_loss, its objective"),
        (
            {"val_loss": a_curve("val_loss", np.ones(9))},
            7,
            "fewer than 8 finished siblings with a curve of val_loss, its objective",
        ),
    ],
)
def test_why_nothing_is_said_of_too_good(curves: dict[str, Curve], n_siblings: int, reason: str) -> None:
    siblings = Siblings(20, values=tuple(np.linspace(0.1, 0.5, n_siblings)))
    judgement = judge(a_run(), curves, objective=OBJECTIVE, siblings=siblings, now=NOW)
    assert [each.reason for each in judgement.not_judged if each.check == "ADV113"] == [reason]


def test_a_metric_that_states_the_time_of_a_step_is_heard() -> None:
    for metric, early, late in (("step_time", 0.2, 0.4), ("throughput", 100.0, 50.0)):
        curve = a_curve(metric, np.concatenate([np.full(60, early), np.full(60, late)]))
        assert found({metric: curve})["ADV108"].evidence["ratio"] == pytest.approx(2.0)


def test_a_run_that_a_person_ended_is_no_error() -> None:
    trace = 'Traceback (most recent call last):\n  File "train.py", line 3\n'
    assert failed(f"{trace}KeyboardInterrupt").severity is Severity.INFO
    assert failed(f"{trace}ValueError: KeyboardInterrupt").severity is None
    ended = failed("interrupted: Ctrl-C\nepoch 3, loss 0.2")
    assert ended.severity is Severity.INFO
    assert ended.evidence["error"] == "interrupted: Ctrl-C"
    assert failed("the training was\ninterrupted: no space left").severity is None
