"""Rounds of a watcher: what fails is done again, and who trains leaves the telling to a watcher that lives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import advisor
from advisor.findings.alerting import Policy
from advisor.notify.desk import Desk
from advisor.watching import Watcher, heartbeat_file, leaves_to_watcher, picture_of
from storage.errors import StoreUnavailableError
from storage.records import CurveChunk, Event, Finding

NOW = datetime.now(UTC)


@pytest.fixture
def adv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[advisor.Advisor]:
    monkeypatch.setenv("ADVISOR_EMBEDDER", "hashing")
    with advisor.open(tmp_path / "store", capture=False, notify=()) as opened:
        objectives = [{"metric": "loss", "direction": "minimize"}]
        opened.store.append(
            [
                Event.new("experiment.created", "e", time=NOW, objectives=objectives),
                Event.new("run.created", "e", "r0", time=NOW, state="failed", error="no data", ended=NOW.isoformat()),
            ]
        )
        yield opened


def watcher(adv: advisor.Advisor, **options: Any) -> Watcher:
    desk = Desk(adv.store, [], policy=Policy(), clock=adv.clock)
    return Watcher(adv, desk, **options)


def codes_of(adv: advisor.Advisor) -> list[str]:
    return [finding.code for finding in adv.experiment("e").findings()]


def test_a_run_that_is_over_is_judged_once(adv: advisor.Advisor) -> None:
    made = watcher(adv, compare=False)
    assert [(seen.n_judged, seen.n_found) for seen in (made.look(), made.look())] == [(1, 1), (0, 0)]
    assert codes_of(adv) == ["ADV111"]


def test_a_round_that_failed_begins_anew(adv: advisor.Advisor, monkeypatch: pytest.MonkeyPatch) -> None:
    made = watcher(adv, compare=False)
    made.look()
    adv.store.append([Event.new("run.created", "e", "r1", time=NOW, state="failed", ended=NOW.isoformat())])

    def fail(*_: object, **__: object) -> None:
        raise StoreUnavailableError("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(type(adv.store), "append", fail)
        with pytest.raises(StoreUnavailableError):
            made.look()
    assert made.look().n_found == 1
    assert codes_of(adv) == ["ADV111", "ADV111"]


def test_a_stall_is_found_from_outside_and_gone_when_the_run_goes_on(adv: advisor.Advisor) -> None:
    began = NOW - timedelta(hours=1)
    adv.store.append([Event.new("run.created", "e", "r1", time=began, started=began.isoformat(), state="running")])
    times = [float(i) for i in range(30)]

    def log(first: int, at: list[float]) -> None:
        steps = list(range(first, first + len(at)))
        chunk = CurveChunk(
            "r1", metric="loss", chunk=first, through=first + len(at), steps=steps, values=[0.5] * len(at), times=at
        )
        adv.store.append_curves([chunk])

    log(0, times)
    made = watcher(adv, compare=False)
    made.look()
    assert [alert.lead.code for alert in made.look().alerts] == ["ADV111", "ADV107"]
    log(30, [(datetime.now(UTC) - began).total_seconds()])
    assert [alert.lead.code for alert in made.look().alerts] == ["ADV111"]


def test_who_trains_leaves_the_telling_to_a_watcher_that_lives(tmp_path: Path) -> None:
    uri = str(tmp_path)
    beat = {"time": NOW.isoformat(), "every_s": 30.0, "experiment": None, "channels": ["c"]}
    assert not leaves_to_watcher(uri, "c", now=NOW)
    heartbeat_file(uri).parent.mkdir(parents=True)
    heartbeat_file(uri).write_text(json.dumps(beat))
    assert leaves_to_watcher(uri, "c", now=NOW + timedelta(seconds=60))
    assert not leaves_to_watcher(uri, "c", now=NOW + timedelta(seconds=100))
    assert not leaves_to_watcher(uri, "other", now=NOW)
    heartbeat_file(uri).write_text(json.dumps(beat | {"experiment": "e"}))
    assert not leaves_to_watcher(uri, "c", now=NOW)
    heartbeat_file(uri).write_text('{"time": ')
    assert not leaves_to_watcher(uri, "c", now=NOW)


def test_the_curve_of_a_finding_is_drawn_as_a_png(adv: advisor.Advisor) -> None:
    values = [1.0, 0.5, float("nan"), 0.4]
    chunk = CurveChunk("r0", metric="loss", chunk=0, through=4, steps=range(4), values=values)
    adv.store.append_curves([chunk])
    [finding] = [f for f in _findings(adv) if f.metric == "loss"]
    picture = picture_of(adv.store, finding)
    assert picture is not None
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 60_000
    assert picture_of(adv.store, finding) == picture
    [other] = [f for f in _findings(adv) if f.metric is None]
    assert picture_of(adv.store, other) is None


def _findings(adv: advisor.Advisor) -> list[Finding]:
    watcher(adv, compare=False).look()
    return adv.experiment("e").findings()


def test_a_watcher_leaves_alone_what_only_a_comparison_with_siblings_shows(adv: advisor.Advisor) -> None:
    exp = adv.experiment("leak", objective="val_loss")
    for seed in range(12):
        with exp.start({"seed": seed}) as run:
            best = 0.001 if seed == 11 else 0.5 + 0.01 * seed
            for step in range(60):
                run.log({"val_loss": best + 0.8**step}, step=step)
    exp.check()
    (found,) = [finding for finding in exp.findings() if finding.code == "ADV113"]
    before = adv.store.state().version
    watcher(adv, compare=False).look()
    exp.check()
    assert [f.id for f in exp.findings() if f.code == "ADV113"] == [found.id]
    assert not [event for event in adv.store.journal(after=before) if event.body.get("finding_id") == found.id]
