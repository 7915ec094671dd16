"""What needs a person: causes by sweep, runs that fell silent, what waits; current, whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import advisor
from advisor.app import Advisor
from advisor.silencing import acknowledge, judge, mute, read_book, reopen, unmute
from advisor.triage import Overview, Triage
from storage.embed import HashingEmbedder
from storage.records import CurveChunk, Event, FindingState
from storage.store import open_store
from storage.testing import add_experiment, add_run

PARAMS = {"lr": 0.1}


@pytest.fixture
def adv(tmp_path: Path) -> Iterator[Advisor]:
    """Open an empty store."""
    with advisor.open(tmp_path / "store", capture=False, system_metrics="off") as opened:
        yield opened


def fail(adv: Advisor, name: str = "sweep", n: int = 1, error: str = "boom") -> list[str]:
    """Have runs of an experiment fail; return their ids."""
    runs = [adv.experiment(name, objective="loss").start(params=PARAMS, seed=i) for i in range(n)]
    for run in runs:
        run.fail(error)
    return [run.id for run in runs]


def look(adv: Advisor, overview: Overview | None = None) -> Triage:
    """Return what needs a person now."""
    return (overview or Overview(adv.store)).look(adv.clock())


def test_the_same_trouble_of_a_sweep_is_one_group_the_newest_run_first(adv: Advisor) -> None:
    ids = fail(adv, n=3)
    adv.experiment("sweep").start(params=PARAMS).finish()
    fail(adv, "another")
    sweep, other = sorted(look(adv).urgent, key=lambda group: -group.n_runs)
    assert (sweep.title, sweep.experiment, sweep.slug) == ("3 of 4 runs: failed", "sweep", "failed")
    assert [member.run.id for member in sweep.members] == ids[::-1]
    assert other.title == "it failed: boom"
    assert sweep.as_json()["n_runs"] == 3


def test_an_overview_that_lives_sees_what_other_processes_write(adv: Advisor) -> None:
    overview = Overview(adv.store)
    assert look(adv, overview).is_calm
    fail(adv)
    assert len(look(adv, overview).urgent) == 1
    with advisor.open(adv.opening.uri, capture=False) as other:
        fail(other, n=2)
    assert look(adv, overview).urgent[0].n_runs == 3


def test_what_was_acknowledged_muted_or_judged_goes_and_comes_back(adv: Advisor) -> None:
    (run_id,) = fail(adv)
    overview, now = Overview(adv.store), adv.clock()
    acknowledge(adv.store, [run_id], now=now, until=None)
    there = look(adv, overview)
    assert there.is_calm
    assert [run.id for _, run, _ in there.acknowledged] == [run_id]
    reopen(adv.store, [run_id], now=now)
    assert not look(adv, overview).is_calm
    for what in ("ADV111", "sweep", run_id):
        mute(adv.store, [what], now=now, until=None, reason="known")
        there = look(adv, overview)
        assert there.is_calm
        assert [(each.n_findings, each.mute.reason) for each in there.muted] == [(1, "known")]
        unmute(adv.store, [there.muted[0].mute.target], now=now)
    seen = list(read_book(adv.store).findings.values())
    judge(adv.store, [each.finding for each in seen], "ok", now=now)
    assert look(adv, overview).is_calm
    assert adv.store.run(run_id).findings[0].state is FindingState.RESOLVED


def test_what_is_deleted_renamed_or_moved_is_told_as_it_is_now(adv: Advisor) -> None:
    ids = fail(adv, n=3)
    adv.experiment("elsewhere", objective="loss")
    overview = Overview(adv.store)
    look(adv, overview)
    adv.delete(ids[0])
    adv.experiment("sweep").rename("better name")
    adv.move(ids[1], "elsewhere")
    groups = {group.experiment: [m.run.id for m in group.members] for group in look(adv, overview).groups}
    assert groups == {"better name": [ids[2]], "elsewhere": [ids[1]]}


def test_mild_findings_call_for_nobody(adv: Advisor) -> None:
    run = adv.experiment("sweep", objective="loss").start(params=PARAMS)
    for step in range(200):
        run.log({"loss": max(1.0 - step / 20, 0.1)}, step=step)
    run.finish()
    adv.experiment("sweep").check()
    there = look(adv)
    assert there.is_calm
    assert [group.slug for group in there.mild] == ["stopped-learning"]


def test_a_run_that_goes_on_is_told_with_its_last_value_and_its_silence(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", embedder=HashingEmbedder())
    add_experiment(store)
    run = add_run(store)
    started = store.run(run.id).started
    assert started is not None
    times = [float(i) for i in range(60)]
    values = [1.0 / (1 + i) for i in range(59)] + [float("nan")]
    store.append_curves(
        [CurveChunk(run.id, metric="val_loss", chunk=0, through=60, steps=list(range(60)), values=values, times=times)]
    )
    overview = Overview(store)
    (pulse,) = overview.look(started + timedelta(seconds=61)).running
    assert (pulse.step, pulse.n_calls, pulse.is_silent) == (59, 60, False)
    assert pulse.value is not None
    assert pulse.value != pulse.value
    assert pulse.best == pytest.approx(1 / 59)
    assert 8 <= len(pulse.values) <= 40
    (silent,) = overview.look(started + timedelta(hours=1)).silent
    assert silent.rhythm_s == pytest.approx(1.0)
    assert silent.silent_s == pytest.approx(3600 - 59)


def test_suggestions_wait_until_they_are_started_or_given_up(adv: Advisor) -> None:
    exp = adv.experiment("sweep", objective="loss", space={"lr": advisor.Float(0.1, 1)})
    overview = Overview(adv.store)
    first, second = exp.suggest(2, seed=1)
    assert [each.id for each in look(adv, overview).suggestions] == [second.id, first.id]
    exp.start(first).finish()
    there = look(adv, overview)
    assert [(each.id, each.experiment, dict(each.params)) for each in there.suggestions] == [
        (second.id, "sweep", dict(second.params))
    ]
    assert not overview.look(adv.clock() + timedelta(hours=2)).suggestions


def test_documents_are_told_the_newest_first_for_a_week(adv: Advisor) -> None:
    fail(adv)
    overview = Overview(adv.store)
    body = {"kind": "report", "title": "A report", "format": "md"}
    adv.store.append([Event.new("document.written", "sweep", time=adv.clock(), document_id="a", **body)])
    look(adv, overview)
    adv.store.append([Event.new("document.written", "sweep", time=adv.clock(), document_id="b", **body)])
    assert [each.id for each in look(adv, overview).documents] == ["b", "a"]
    assert not overview.look(adv.clock() + timedelta(days=8)).documents
    assert look(adv, overview).as_json()["documents"][0]["document_id"] == "b"
