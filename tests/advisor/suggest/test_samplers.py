"""Which sampler proposes."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from advisor.errors import ConfigError
from advisor.optuna import TransferSampler
from advisor.suggest.samplers import MAX_PARAMETERS, N_STARTUP, choose_sampler
from advisor.suggest.space import Float, Space
from tests.advisor.suggest.helpers import SPACE

LARGE = Space.of({f"x{i}": Float(0, 1) for i in range(MAX_PARAMETERS + 1)})


@pytest.mark.parametrize("asked", [None, "auto", "AUTO"])
@pytest.mark.parametrize(
    ("space", "n_finished", "n_objectives", "name"),
    [
        (SPACE, 0, 1, "TransferSampler"),
        (SPACE, 500, 1, "TransferSampler"),
        (SPACE, N_STARTUP - 1, 2, "SpreadSampler"),
        (SPACE, N_STARTUP, 2, "TPESampler"),
        (LARGE, N_STARTUP - 1, 1, "SpreadSampler"),
        (LARGE, N_STARTUP, 1, "TPESampler"),
    ],
)
def test_the_rule(asked: Any, space: Space, n_finished: int, n_objectives: int, name: str) -> None:
    chosen = choose_sampler(space, n_finished, seed=0, name_or_object=asked, n_objectives=n_objectives)
    assert chosen.name == name
    assert chosen.is_own == (name == "TransferSampler")


@pytest.mark.parametrize("name", ["transfer", "TransferSampler", "transfer_sampler"])
def test_the_own_sampler_can_be_asked_for_even_for_many_parameters(name: str) -> None:
    assert choose_sampler(LARGE, 50, seed=0, name_or_object=name).is_own


@pytest.mark.parametrize(
    ("name", "source"),
    [("tpe", "tpe"), ("TPESampler", "tpe"), ("random", "random"), ("qmc", "qmc"), ("NSGAIISampler", "nsgaii")],
)
def test_samplers_of_optuna_can_be_asked_for_by_name(name: str, source: str) -> None:
    chosen = choose_sampler(SPACE, 50, seed=0, name_or_object=name)
    assert chosen.source == source
    assert chosen.why == f"{chosen.name} was asked for"


def test_an_object_is_used_as_it_is() -> None:
    sampler = optuna.samplers.RandomSampler(seed=1)
    assert choose_sampler(SPACE, 0, seed=0, name_or_object=sampler).sampler is sampler


@pytest.mark.parametrize(
    ("name", "n_objectives", "message"),
    [
        ("tpee", 1, "unknown sampler 'tpee'; did you mean 'tpe'"),
        ("transferr", 1, "unknown sampler 'transferr'; did you mean 'transfer'"),
        ("grid", 1, "sampler 'grid' needs arguments of its own; pass it as an object"),
        ("transfer", 2, "TransferSampler takes one objective, the experiment has 2; leave sampler out"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_sentence(name: str, n_objectives: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_sampler(SPACE, 0, seed=0, name_or_object=name, n_objectives=n_objectives)
    assert message in str(caught.value)


def test_one_past_study_is_as_good_as_a_list_of_one() -> None:
    past = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    past.optimize(lambda trial: (trial.suggest_float("x", -1, 1) - 0.5) ** 2, n_trials=12)
    points = []
    for studies in (past, [past]):
        study = optuna.create_study(sampler=TransferSampler(studies=studies, seed=1))
        study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=3)
        points.append([trial.params for trial in study.trials])
    assert points[0] == points[1]


@pytest.mark.parametrize("studies", ["bc", ["bc"], 3, None])
def test_what_is_no_study_is_refused_before_the_first_trial(studies: Any) -> None:
    with pytest.raises(ConfigError, match=r"studies holds .* give Optuna studies"):
        TransferSampler(studies=studies)
