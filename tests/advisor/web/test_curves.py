"""Curves as the charts ask for them: stretches that keep peaks, words for what is not finite, bounds on everything."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import advisor
from advisor.app import Advisor
from advisor.errors import ConfigError
from advisor.web.curves import MAX_POINTS, Decoded, Kept, Window
from storage.records import Curve, CurveChunk


def curve(values: Any, steps: Any = None, times: Any = None) -> Curve:
    steps = np.arange(len(values)) if steps is None else steps
    return Curve.of("loss", steps, values, times)


def drawn(made: Decoded, window: Window) -> list[float]:
    at, _ = made.shown(window, window.points)
    return [float(value) for value in made.values[at]]


def test_a_spike_of_one_point_survives_at_every_zoom() -> None:
    values = np.zeros(100_000)
    values[33_333] = 50.0
    made = Decoded.of(curve(values))
    for low, high in ((None, None), (20_000, 40_000), (33_300, 33_400), (33_333, 33_333)):
        assert 50.0 in drawn(made, Window("step", low=low, high=high, points=200))


def test_a_stretch_is_cut_out_before_points_are_chosen() -> None:
    made = Decoded.of(curve(np.arange(100_000.0)))
    assert drawn(made, Window("step", low=500, high=520, points=200)) == [float(i) for i in range(499, 522)]


def test_the_line_goes_on_to_the_next_point_on_either_side_of_a_stretch() -> None:
    made = Decoded.of(curve([1.0, 2.0, 3.0], steps=[0, 100, 200]))
    assert drawn(made, Window("step", low=40, high=60)) == [1.0, 2.0]


def test_steps_that_go_back_are_looked_at_point_by_point() -> None:
    made = Decoded.of(curve([1.0, 2.0, 3.0, 4.0, 5.0], steps=[0, 1, 2, 1, 2]))
    assert drawn(made, Window("step", low=1, high=1)) == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_points_without_a_time_have_no_place_on_the_axis_of_time() -> None:
    made = Decoded.of(curve([1.0, 2.0, 3.0], times=[0.0, math.nan, 2.0]))
    assert drawn(made, Window("time")) == [1.0, 3.0]
    assert drawn(Decoded.of(curve([1.0, 2.0])), Window("time")) == []


def test_regular_steps_take_no_room() -> None:
    regular = Decoded.of(curve(np.zeros(1000), steps=np.arange(5, 10_005, 10)))
    assert isinstance(regular.steps, range)
    assert regular.axis("step").tolist() == list(range(5, 10_005, 10))
    irregular = Decoded.of(curve([0.0, 0.0, 0.0], steps=[0, 1, 3]))
    assert irregular.axis("step").tolist() == [0, 1, 3]


@pytest.mark.parametrize(
    "given",
    [{"axis": "epoch"}, {"from": "x"}, {"from": "nan"}, {"to": "inf"}, {"from": "2", "to": "1"}, {"points": "many"}],
)
def test_a_question_that_makes_no_sense_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        Window.asked(given)


def test_points_are_bounded_whatever_is_asked() -> None:
    assert Window.asked({"points": "1e9"}).points == MAX_POINTS
    assert Window.asked({"points": "-1"}).points == 8


def test_what_is_kept_is_bounded_and_the_least_used_goes_first() -> None:
    kept = Kept(n_bytes=250)
    for name in ("a", "b", "a", "c"):
        kept.get(name, lambda name=name: name, lambda _: 100)  # type: ignore[misc]  # bound at once
    made: list[str] = []
    for name in ("a", "c", "b"):
        kept.get(name, lambda name=name: made.append(name) or name, lambda _: 100)  # type: ignore[misc]
    assert made == ["b"]
    assert kept.n_bytes <= 250


def test_what_is_larger_than_all_the_room_is_given_and_not_kept() -> None:
    kept = Kept(n_bytes=10)
    assert kept.get("a", lambda: "value", lambda _: 100) == "value"
    assert kept.n_bytes == 0


def test_many_that_ask_at_once_cost_one_reading() -> None:
    kept, made, go = Kept(), [], threading.Event()

    def make() -> str:
        made.append(1)
        go.wait(5)
        return "value"

    threads = [threading.Thread(target=kept.get, args=("key", make, lambda _: 1)) for _ in range(8)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    assert len(made) == 1


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Advisor]:
    """Return an advisor over a run whose curve has everything in it that is not finite; nobody writes to it."""
    adv = advisor.open(tmp_path_factory.mktemp("curves") / "odd", capture=False, system_metrics="off")
    exp = adv.experiment("odd", objective="loss", direction="minimize")
    for lr in (0.1, 0.2):
        with exp.start(params={"lr": lr}) as run:
            for step, value in enumerate([3.0, math.nan, math.inf, -math.inf, 1.0]):
                run.log({"loss": value if lr == 0.1 else 2.0}, step=step)
    yield adv
    adv.close()


def test_what_is_not_finite_is_a_word_and_is_counted(odd: Advisor, client_over: Callable[[Advisor], Any]) -> None:
    run, other = (odd.experiment("odd").run(number) for number in (0, 1))
    answer = client_over(odd).get(f"/runs/{run.id}/curves.json?metrics=loss&with=other:{other.id}")
    this, beside = answer.json()["metrics"]["loss"]
    assert this["values"] == [3.0, "NaN", "Infinity", "-Infinity", 1.0]
    assert this["nonfinite"]["-Infinity"] == {"n": 1, "first": 3}
    assert this["figures"]["n_nonfinite"] == 3
    assert (this["role"], beside["role"]) == ("this", "other")
    assert len(this["times"]) == 5


def test_a_run_that_goes_on_is_read_anew_when_it_has_logged(
    tmp_path: Path, client_over: Callable[[Advisor], Any]
) -> None:
    with advisor.open(tmp_path / "live", capture=False) as adv:
        run = adv.experiment("e", objective="loss").tell({"lr": 1}, 0.5)
        client = client_over(adv)
        for first in (0, 3):
            steps = [first, first + 1, first + 2]
            piece = CurveChunk(run.id, metric="loss", chunk=first, through=first + 3, steps=steps, values=[1.0] * 3)
            adv.store.append_curves([piece])
            line = client.get(f"/runs/{run.id}/curves.json?metric=loss").json()["metrics"]["loss"][0]
            assert len(line["steps"]) == first + 3


def test_runs_are_compared_in_the_order_in_which_they_are_asked(
    odd: Advisor, client_over: Callable[[Advisor], Any]
) -> None:
    first, second = (odd.experiment("odd").run(number) for number in (0, 1))
    lines = (
        client_over(odd).get(f"/compare/curves.json?runs={second.id},{first.id}&metrics=loss").json()["metrics"]["loss"]
    )
    assert [(line["number"], line["place"]) for line in lines] == [(1, 0), (0, 1)]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/runs/nobody/curves.json?metric=loss", 404),
        ("/compare/curves.json?metrics=loss", 422),
        ("/compare/curves.json?metrics=loss&runs=nobody", 404),
        ("/compare/curves.json?metrics=loss&runs=" + ",".join(map(str, range(101))), 422),
    ],
)
def test_what_cannot_be_answered_is_said_as_json(
    odd: Advisor, client_over: Callable[[Advisor], Any], path: str, status: int
) -> None:
    answer = client_over(odd).get(path)
    assert answer.status_code == status
    assert answer.json()["detail"]


@pytest.fixture
def client_over() -> Callable[[Advisor], Any]:
    """Return what makes a client without a browser over an advisor."""
    from starlette.testclient import TestClient

    from advisor.web import Options, create_app

    return lambda adv: TestClient(create_app(adv, Options()), base_url="http://127.0.0.1:8517")
