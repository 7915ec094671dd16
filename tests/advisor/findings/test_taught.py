"""What verdicts on some runs say of others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.findings.features import FEATURE_NAMES
from advisor.findings.forest import Population, isolate
from advisor.findings.learned import shipped
from advisor.findings.taught import MAX_VERDICTS, SAY, corrections

WHOLE = shipped().views[1.0]
NAN = float("nan")


def kinds(*which: int, n_features: int = 6) -> np.ndarray:
    """Return deviations that stick out in one figure each."""
    z = np.zeros((len(which), n_features))
    z[np.arange(len(which)), list(which)] = 6.0
    return z


def test_runs_that_deviate_alike_follow_a_verdict_and_others_do_not() -> None:
    told = corrections(np.zeros(5), kinds(0, 0, 1, 1, 2), np.array([0.0, NAN, 1.0, NAN, NAN]))
    assert told[1] < -0.5
    assert told[3] > 0.5
    assert abs(told[4]) < 0.1


def test_without_verdicts_nothing_is_corrected() -> None:
    assert not corrections(np.ones(3), kinds(0, 1, 2), np.full(3, NAN)).any()


def test_a_verdict_has_no_part_in_its_own_correction() -> None:
    z, odds = kinds(0, 0, 1), np.array([0.5, 0.0, -1.0])
    for own in (0.0, 1.0):
        told = corrections(odds, z, np.array([own, 0.0, 1.0]))
        assert told[0] == pytest.approx(corrections(odds, z, np.array([NAN, 0.0, 1.0]))[0])


def test_a_run_like_its_siblings_in_everything_is_not_moved() -> None:
    z = np.vstack([kinds(0, 1), np.zeros((1, 6))])
    assert corrections(np.zeros(3), z, np.array([0.0, 1.0, NAN]))[2] == 0.0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-12, 12), st.floats(-12, 12), st.floats(-20, 20)), min_size=2, max_size=12),
    st.lists(st.sampled_from([0.0, 1.0, NAN]), min_size=12, max_size=12),
)
def test_corrections_are_finite_whatever_deviates(rows: list[tuple[float, float, float]], said: list[float]) -> None:
    array = np.array(rows)
    told = corrections(array[:, 2], array[:, :2], np.array(said[: len(rows)]))
    assert np.isfinite(told).all()
    assert (np.abs(told) <= SAY**2 * MAX_VERDICTS).all()


def a_sweep(n: int = 60, seed: int = 0) -> Population:
    """Return sound runs of which three deviate in the same harmless way."""
    features = 0.2 * np.random.default_rng(seed).standard_normal((n, len(FEATURE_NAMES)))
    features[:, FEATURE_NAMES.index("validation_drop")] += 3.0
    for name in ("loss_roughness", "loss_jump", "validation_roughness"):
        features[:3, FEATURE_NAMES.index(name)] += 2.0
    return Population(features, params=[{}] * n, sound=np.ones(n, dtype=bool))


def test_a_false_alarm_makes_the_next_one_of_its_kind_less_surprising() -> None:
    plain = isolate(a_sweep(), WHOLE)
    verdicts = np.full(60, NAN)
    verdicts[:2] = 0.0
    told = isolate(replace(a_sweep(), verdicts=verdicts), WHOLE)
    assert plain.p_value is not None
    assert told.p_value is not None
    assert plain.p_value[2] <= 0.05 < told.p_value[2]
    assert told.score[2] < plain.score[2]
    np.testing.assert_array_equal(told.forest, plain.forest)


def test_a_real_one_makes_the_next_one_of_its_kind_stand_out() -> None:
    verdicts = np.full(60, NAN)
    verdicts[0] = 1.0
    population = a_sweep()
    population.sound[0] = False
    told = isolate(replace(population, verdicts=verdicts), WHOLE)
    assert (told.score[1:3] > isolate(population, WHOLE).score[1:3]).all()
