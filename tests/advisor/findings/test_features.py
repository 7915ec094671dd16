from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.findings.features import CHANNEL_OF, FEATURE_NAMES, feature_words, features
from advisor.findings.roles import primary, role_of
from storage.records import Curve, Objective
from tests.advisor.findings.made import OBJECTIVE, a_curve, healthy

LEVELS = ("start", "end", "score_best", "nonfinite")
SHAPE = [i for i, name in enumerate(FEATURE_NAMES) if not name.endswith(LEVELS) or "gap" in name]


def test_there_is_one_named_figure_in_words_for_each_feature() -> None:
    assert features(healthy(), objective=OBJECTIVE).shape == (len(FEATURE_NAMES),)
    assert len({feature_words(name) for name in FEATURE_NAMES}) == len(FEATURE_NAMES)


def test_shape_does_not_depend_on_the_scale_of_the_loss() -> None:
    plain = healthy()
    scaled = {name: a_curve(name, 1000 * curve.values) for name, curve in plain.items()}
    one, other = features(plain, objective=OBJECTIVE), features(scaled, objective=OBJECTIVE)
    np.testing.assert_allclose(one[SHAPE], other[SHAPE], rtol=1e-6)


def test_curves_too_short_have_no_shape() -> None:
    values = features(healthy(n=3), objective=OBJECTIVE)
    assert {name for name, value in zip(FEATURE_NAMES, values, strict=True) if not np.isnan(value)} <= {
        "loss_nonfinite"
    }


def test_a_curve_that_ends_in_nan_looks_worse_than_any_finite_one() -> None:
    sound = dict(healthy())
    values = sound["val_loss"].values.copy()
    values[30:] = np.nan
    broken = features(sound | {"val_loss": a_curve("val_loss", values)}, objective=OBJECTIVE)
    above_best = FEATURE_NAMES.index("validation_above_best")
    assert broken[above_best] > features(sound, objective=OBJECTIVE)[above_best] + 3
    assert broken[FEATURE_NAMES.index("validation_nonfinite")] == 0.5


def figure(curves: dict[str, Curve], name: str) -> float:
    return float(features(curves, objective=OBJECTIVE)[FEATURE_NAMES.index(name)])


def test_a_lasting_rise_is_told_from_a_spike_that_passes() -> None:
    rng = np.random.default_rng(0)
    calm = np.exp(-np.linspace(0, 2, 400) + 0.02 * rng.standard_normal(400))
    spike, shift = calm.copy(), calm.copy()
    spike[200:203] *= 8
    shift[200:] *= 2
    curves = {name: {"train_loss": a_curve("train_loss", y)} for name, y in (("spike", spike), ("shift", shift))}
    assert figure(curves["shift"], "loss_step_up") > 0.4 > 0.1 > figure(curves["spike"], "loss_step_up")
    assert figure(curves["spike"], "loss_draw_up") > 1.5 > figure(curves["shift"], "loss_draw_up")


def test_a_single_loss_is_the_channel_of_the_training_loss() -> None:
    values = features({"val_loss": a_curve("val_loss", np.linspace(1, 0.5, 50))}, objective=OBJECTIVE)
    known = {channel for channel, value in zip(CHANNEL_OF, values, strict=True) if not np.isnan(value)}
    assert known <= {"loss", "time"}
    assert "loss" in known


def test_slower_steps_and_larger_gradients_show_in_their_own_channels() -> None:
    n = 200
    values = np.exp(-np.linspace(0, 2, n))
    seconds = np.where(np.arange(n) < 100, 0.1, 0.3)
    curves = {
        "train_loss": Curve.of("train_loss", np.arange(n), values, np.cumsum(seconds)),
        "grad_norm": a_curve("grad_norm", np.where(np.arange(n) < 100, 1.0, 5.0)),
    }
    assert figure(curves, "time_trend") == pytest.approx(np.log(3), abs=0.01)
    assert figure(curves, "gradient_step_up") == pytest.approx(np.log(5), abs=0.01)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=80))
def test_any_values_at_all_give_figures_or_nan_without_a_warning(values: list[float]) -> None:
    curves = {"val_loss": a_curve("val_loss", values), "train_loss": a_curve("train_loss", values[::-1])}
    got = features(curves, objective=OBJECTIVE)
    assert not np.isinf(got).any()


@pytest.mark.parametrize(
    ("metric", "role", "split", "direction"),
    [
        ("val_loss", "loss", "validation", "minimize"),
        ("train/accuracy", "score", "train", "maximize"),
        ("valLoss", "loss", "validation", "minimize"),
        ("grad_norm", "grad", "unknown", None),
        ("step_time", "time", "unknown", None),
        ("lr", "other", "unknown", None),
    ],
)
def test_names_tell_roles(metric: str, role: str, split: str, direction: str | None) -> None:
    known = role_of(metric)
    assert (known.role, known.split, known.direction) == (role, split, direction)


def test_the_objective_overrides_the_guess() -> None:
    assert role_of("val_loss", Objective("val_loss", "maximize")).direction == "maximize"
    assert role_of("utility", Objective("utility", "maximize")).role == "score"


def test_validation_counts_before_test_and_the_plain_name_before_its_variants() -> None:
    names = ["test/loss", "validation/loss", "validation/loss_ema", "train/loss"]
    curves = {name: a_curve(name, [1.0, 0.5]) for name in names}
    assert primary(curves, None) == "validation/loss"
