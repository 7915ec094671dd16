from __future__ import annotations

import numpy as np
import pytest

from advisor.suggest.beyond import AHEAD, BEHIND, OTHER_WORD, Bounds, Departure
from storage.records import Run
from tests.advisor.suggest.helpers import run

LASTS = np.array([0.1, 0.5, 0.5, 0.9])
WORDS = ["adam", "adam", "sgd", "adam"]


def _runs(**more: list[object]) -> list[Run]:
    given = {"optimizer": WORDS, **more}
    return [run(i, {name: values[i] for name, values in given.items()}, 1.0) for i in range(4)]


@pytest.mark.parametrize(("last", "expected"), [(0.05, -1), (0.1, 0), (0.5, 0), (0.9, 0), (0.95, 1)])
def test_a_value_is_beyond_where_no_other_is_as_far(last: float, expected: int) -> None:
    assert Bounds.of(_runs(), LASTS).departure({}, last).by_value == expected


def test_a_finished_run_is_compared_with_the_others_alone() -> None:
    runs = _runs()
    bounds = Bounds.of(runs, LASTS)
    found = [
        bounds.departure(one.params, last, is_one_of_them=True) for one, last in zip(runs, LASTS.tolist(), strict=True)
    ]
    assert [one.by_value for one in found] == [-1, 0, 0, 1]
    assert [one.words for one in found] == [(), (), ("optimizer=sgd",), ()]


def test_words_that_no_run_had_are_named_and_numbers_seeds_and_free_text_are_not() -> None:
    runs = _runs(lr=[0.1, 0.2, 0.3, 0.4], seed=["a", "a", "b", "c"], name=["w", "x", "y", "z"])
    bounds = Bounds.of(runs, LASTS)
    new = {"optimizer": "lion", "lr": 7.0, "seed": "d", "name": "v", "unheard_of": "yes"}
    assert bounds.departure(new, 0.5).words == ("optimizer=lion",)
    assert bounds.departure({"optimizer": "sgd"}, 0.5).words == ()


def test_each_kind_of_departure_widens_and_is_told() -> None:
    assert Departure(0, ()).spread == 1.0
    assert Departure(0, ()).told() == ""
    assert [Departure(side, ()).spread for side in (-1, 1)] == [BEHIND, AHEAD]
    both = Departure(-1, ("a=1", "b=2", "c=3", "d=4"))
    assert both.spread == BEHIND * OTHER_WORD
    assert both.told() == "it was worse than all of them by then and none of them had a=1, b=2, c=3 and 1 more"
    assert Departure(1, ()).told() == "it was better than all of them by then"


def test_a_sentence_does_not_repeat_texts_of_any_length() -> None:
    told = Bounds.of(_runs(), LASTS).departure({"optimizer": "x" * 5_000}, 0.5).told()
    assert told.startswith("none of them had optimizer=xxx")
    assert len(told) < 120
