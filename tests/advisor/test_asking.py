"""Suggestions on a real store: several askers, time that passes, and suggestions made again."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import advisor
from advisor.app import Advisor
from advisor.asking import PENDING_FOR_S
from advisor.errors import SpaceError
from advisor.experiment import Experiment
from advisor.suggest import Suggestion
from storage.errors import RecordError
from storage.records import Event, RunState

SMALL = {"n": advisor.Int(1, 3), "act": advisor.Choice("relu", "tanh")}
WIDE = {"lr": advisor.Float(1e-5, 1, log=True), "act": advisor.Choice("relu", "tanh")}


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVISOR_EMBEDDER", "hashing")
    monkeypatch.setenv("ADVISOR_CAPTURE", "no")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def adv(tmp_path: Path, clock: Clock) -> Advisor:
    opened = advisor.open(tmp_path / "store")
    return Advisor(opened.opening, opened.settings, clock=clock)


def made(adv: Advisor, space: dict[str, Any] | None = None, **options: Any) -> Experiment:
    return adv.experiment("digits", objective="loss", space=WIDE if space is None else space, **options)


def followed(exp: Experiment, suggestion: Suggestion, value: float | None = None, **more: Any) -> None:
    """Record a run of a suggestion."""
    params = dict(suggestion.params)
    value = abs(params.get("lr", params.get("n", 0)) - 0.01) if value is None else value
    exp.tell(params, value, suggestion_id=suggestion.id, **more)


def point(suggestion: Suggestion) -> tuple[Any, ...]:
    return tuple(suggestion.params.values())


class Interrupted:
    """A store that lets somebody else act just before the first commit of whoever uses it."""

    def __init__(self, store: Any, act: Any) -> None:
        self._store, self._act = store, act

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def append(self, events: list[Event]) -> Any:
        act, self._act = self._act, None
        if act is not None:
            act()
        return self._store.append(events)


def ask_while(exp: Experiment, act: Any, **wish: Any) -> list[Suggestion]:
    """Ask for suggestions; ``act`` happens between their making and their being kept."""
    from advisor.asking import Wish, ask

    store = Interrupted(exp._store, act)
    return ask(store, exp.name, Wish(**wish), now=exp._advisor.clock(), seed=7, keep=True)  # type: ignore[arg-type]


def test_two_askers_of_one_store_never_get_the_same_point(tmp_path: Path, adv: Advisor, clock: Clock) -> None:
    one = made(adv, SMALL)
    adv.store  # noqa: B018  # it is made before it is opened again
    second = advisor.open(tmp_path / "store")
    other = Advisor(second.opening, second.settings, clock=clock).experiment("digits")
    points = []
    for _ in range(3):
        points += [point(one.suggest(seed=1)[0]), point(other.suggest(seed=1)[0])]
    assert len(set(points)) == 6
    with pytest.raises(SpaceError, match="all 6 combinations of the space have been tried or suggested"):
        one.suggest()


def test_who_comes_second_with_a_point_takes_it_back_and_gets_another(adv: Advisor) -> None:
    exp = made(adv, SMALL, try_first={"n": 2, "act": "tanh"})
    first: list[Suggestion] = []
    (second,) = ask_while(exp, lambda: first.extend(exp.suggest(seed=7)))
    assert first[0].source == "first"
    assert point(first[0]) != point(second)
    closed = adv.store.state().closed_suggestions
    assert list(closed.values()) == ["another process had suggested the same point just before"]
    assert not {first[0].id, second.id} & set(closed)


@pytest.mark.parametrize("over", [True, False])
def test_a_point_that_somebody_suggested_and_started_in_between_is_taken_as_well(adv: Advisor, over: bool) -> None:
    exp = made(adv, SMALL, try_first={"n": 2, "act": "tanh"})
    started: list[Any] = []

    def act() -> None:
        run = exp.start(exp.suggest(seed=7)[0])
        started.append(tuple(run.params.values()))
        run.log({"loss": 1.0}, step=0)
        if over:
            run.finish()
        else:
            started.append(run)
            exp.runs()

    (second,) = ask_while(exp, act)
    assert point(second) != started[0]
    if not over:
        started[1].finish()


def test_of_several_suggestions_only_the_late_ones_are_replaced(adv: Advisor) -> None:
    exp = made(adv, SMALL, try_first=[{"n": 2, "act": "tanh"}, {"n": 3, "act": "relu"}])
    first: list[Suggestion] = []
    found = ask_while(exp, lambda: first.extend(exp.suggest(seed=3)), n=3)
    assert len(found) == 3
    assert len({*map(point, found), *map(point, first)}) == 4
    assert len(adv.store.state().closed_suggestions) == 1


def test_two_that_try_a_crashed_run_again_do_not_both_get_it(adv: Advisor) -> None:
    exp = made(adv)
    exp.tell({"lr": 0.25, "act": "tanh"}, state=RunState.CRASHED)
    first: list[Suggestion] = []
    (second,) = ask_while(exp, lambda: first.extend(exp.suggest(retry=True)), retry=True)
    assert [first[0].source, second.source == "retry"] == ["retry", False]


def test_a_crashed_runs_parameters_are_proposed_once_more_if_asked_for(adv: Advisor) -> None:
    exp = made(adv)
    crashed = {"lr": 0.25, "act": "tanh"}
    exp.tell(crashed, state=RunState.CRASHED)
    assert exp.suggest()[0].params != crashed
    (again,) = exp.suggest(retry=True)
    assert (again.params, again.source) == (crashed, "retry")
    assert "another try" in again.why
    followed(exp, again, None, state=RunState.FINISHED)
    assert exp.suggest(retry=True)[0].params != crashed


def test_a_suggestion_that_nobody_starts_expires_after_an_hour(adv: Advisor, clock: Clock) -> None:
    exp = made(adv, SMALL)
    before = {point(each) for each in exp.suggest(6)}
    clock.pass_by(PENDING_FOR_S - 1)
    with pytest.raises(SpaceError):
        exp.suggest()
    clock.pass_by(1)
    assert point(exp.suggest()[0]) in before


def test_a_started_suggestion_stays_taken_after_an_hour(adv: Advisor, clock: Clock) -> None:
    exp = made(adv, SMALL)
    found = exp.suggest(6)
    followed(exp, found[0])
    clock.pass_by(2 * PENDING_FOR_S)
    assert {point(each) for each in exp.suggest(5)} == {point(each) for each in found[1:]}


def test_what_is_not_kept_leaves_no_trace(adv: Advisor) -> None:
    exp = made(adv, SMALL)
    assert len({point(exp.suggest(keep=False, seed=1)[0]) for _ in range(2)}) == 1
    assert adv.store.state().suggestions == {}


def test_a_suggestion_is_made_again_after_more_runs_and_another_name(adv: Advisor, clock: Clock) -> None:
    exp = made(adv)
    kept = []
    for _ in range(8):
        clock.pass_by(60)
        suggestion = exp.suggest()[0]
        kept.append(suggestion)
        followed(exp, suggestion)
    kept += exp.suggest(3, fixed={"act": "relu"})
    kept += exp.suggest(2, sampler="tpe")
    exp.rename("numerals")
    clock.pass_by(7200)
    for suggestion in kept:
        again, same = exp.suggest_again(suggestion.id)
        assert same
        assert again.params == suggestion.params
        assert again.source == suggestion.source


def test_a_suggestion_learned_elsewhere_is_made_again_after_the_others_went_on(adv: Advisor, clock: Clock) -> None:
    past = adv.experiment("letters", objective="loss", space=WIDE)
    for i in range(10):
        clock.pass_by(60)
        past.tell({"lr": 10 ** -(i / 2.5), "act": ("relu", "tanh")[i % 2]}, abs(i - 5) + 0.1)
    exp = made(adv)
    kept = exp.suggest(3)
    assert kept[0].source == "portfolio"
    assert kept[0].learned_from[-1] in {run.id for run in past.runs()}
    for i in range(5):
        past.tell({"lr": 10 ** -(i / 2), "act": "relu"}, -float(i))
    past.rename("characters")
    for suggestion in kept:
        again, same = exp.suggest_again(suggestion.id)
        assert same
        assert [t.weight for t in again.teachers] == [t.weight for t in suggestion.teachers]


def test_a_replacement_is_made_again_too(adv: Advisor) -> None:
    exp = made(adv, SMALL, try_first={"n": 2, "act": "tanh"})
    found = ask_while(exp, lambda: exp.suggest(seed=7), n=3)
    for suggestion in found:
        assert exp.suggest_again(suggestion.id)[1]


def test_a_suggestion_that_there_is_not_is_said_in_one_sentence(adv: Advisor) -> None:
    exp = made(adv)
    with pytest.raises(RecordError, match="there is no suggestion 'nothing' that could be made again"):
        exp.suggest_again("nothing")


def test_the_same_seed_and_runs_give_the_same_parameters(adv: Advisor) -> None:
    exp = made(adv)
    for i in range(6):
        exp.tell({"lr": 10.0 ** -(i / 2), "act": "relu"}, float(abs(i - 2)))
    first, second = (exp.suggest(2, seed=11, keep=False) for _ in range(2))
    assert [each.params for each in first] == [each.params for each in second]


def _work(path: str, n: int) -> list[str]:
    """Ask for ``n`` suggestions, start each and finish it; return what went wrong."""
    exp = advisor.open(path).experiment("digits")
    for _ in range(n):
        with exp.start(exp.suggest()[0]) as run:
            run.log({"loss": abs(run.params["lr"] - 0.01)}, step=0)
    return []


def test_processes_that_ask_at_once_never_train_the_same_point(
    adv: Advisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    n_processes, n_each = 3, 5
    exp = made(adv)
    adv.store  # noqa: B018  # the store is made before others open it
    with multiprocessing.get_context("spawn").Pool(n_processes) as pool:
        pool.starmap_async(_work, [(str(tmp_path / "store"), n_each)] * n_processes).get(timeout=120)
    runs = exp.runs()
    assert sorted(run.number for run in runs) == list(range(n_processes * n_each))
    assert len({tuple(run.params.values()) for run in runs}) == n_processes * n_each
    assert {run.state for run in runs} == {RunState.FINISHED}
    assert len({run.suggestion_id for run in runs}) == n_processes * n_each


def test_a_space_that_runs_out_on_the_way_gives_what_there_was(adv: Advisor, caplog: pytest.LogCaptureFixture) -> None:
    exp = made(adv, {"n": advisor.Int(1, 2)})
    other: list[Suggestion] = []
    found = ask_while(exp, lambda: other.extend(exp.suggest(seed=7)), n=2)
    assert {point(one) for one in (*found, *other)} == {(1,), (2,)}
    assert len(found) == 1
    assert "1 of 2 suggestions can be made" in caplog.text


def test_who_is_overtaken_each_time_gets_no_point_that_another_one_has(
    adv: Advisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    import advisor.asking as asking
    from storage.errors import StoreUnavailableError

    monkeypatch.setattr(asking, "_overtaken", lambda state, name, made, now: {one.id for one in made})
    with pytest.raises(StoreUnavailableError, match="20 times in a row; ask again"):
        made(adv).suggest()
    assert len(adv.store.state().closed_suggestions) == asking.MAX_TRIES
