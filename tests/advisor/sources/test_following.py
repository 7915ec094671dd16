"""A folder that another tool writes to is watched like our own runs."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import advisor
from advisor.app import Advisor
from advisor.config import resolve
from advisor.findings import codes
from advisor.notify.desk import Desk, policy_of
from advisor.sources import following, registry
from advisor.sources.following import Follower
from advisor.watching import Watcher
from storage.records import RunState
from tests.advisor.sources.toy import ToyReader, write_toy


@pytest.fixture
def adv(tmp_path: Path) -> Iterator[Advisor]:
    with advisor.open(tmp_path / "store", notify=()) as adv:
        yield adv


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> ToyReader:
    reader = ToyReader()
    monkeypatch.setattr(registry, "readers", lambda: (reader,))
    monkeypatch.setattr(following, "DETECT_EVERY_S", 0.0)
    monkeypatch.setattr(following, "SHARE", 1.0)  # never a rest, however busy the machine is
    return reader


def codes_of(adv: Advisor) -> list[str]:
    return [f.code for run in adv.store.runs("toys") for f in run.findings]


def test_a_run_that_breaks_is_found_at_the_next_look(adv: Advisor, tmp_path: Path) -> None:
    folder = tmp_path / "toys"
    good = [2.0 - 0.01 * i for i in range(60)]
    write_toy(folder, "run", curves={"train_loss": good}, state=None)
    with Follower(adv, str(folder)) as follower:
        follower._detect_every_s = 0.0
        watcher = Watcher(adv, Desk(adv.store, [], policy=policy_of(resolve()), clock=adv.clock), feed=follower)
        watcher.look()
        assert codes_of(adv) == []
        write_toy(folder, "run", curves={"train_loss": [*good, math.nan]}, state=None)
        seen = watcher.look()
        assert codes_of(adv) == [codes.NON_FINITE.code]
        assert [str(alert.state) for alert in seen.alerts] == ["firing"]
        watcher.look()
        assert codes_of(adv) == [codes.NON_FINITE.code]


def test_old_runs_are_no_news(adv: Advisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_toy(tmp_path / "toys", "old", curves={"train_loss": [1.0, math.nan]}, state="finished")
    os.utime(path, (1e9, 1e9))
    with Follower(adv, str(tmp_path / "toys")) as follower:
        assert follower() == frozenset()
        write_toy(tmp_path / "toys", "new", curves={"train_loss": [1.0]}, state="running")
        follower._detect_every_s = 0.0
        (run_id,) = follower()
    assert adv.store.run(run_id).source == "followed"


def test_silence_is_no_stall_where_the_end_is_not_recorded(
    adv: Advisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_toy(tmp_path / "toys", "run", curves={"train_loss": [2.0, 1.9, 1.8]}, state=None)
    with Follower(adv, str(tmp_path / "toys")) as follower:
        watcher = Watcher(adv, Desk(adv.store, [], policy=policy_of(resolve()), clock=adv.clock), feed=follower)
        watcher.look()
        now = adv.clock()
        monkeypatch.setattr(adv, "clock", lambda: now + timedelta(hours=1))
        watcher.look()
    (run,) = adv.store.runs("toys")
    assert (run.state, codes_of(adv)) == (RunState.FINISHED, [])


def test_a_folder_that_goes_away_and_comes_back_is_survived(adv: Advisor, tmp_path: Path) -> None:
    told: list[str] = []
    folder = tmp_path / "toys"
    write_toy(folder, "run", curves={"train_loss": [2.0]}, state="running")
    with Follower(adv, str(folder), tell=told.append) as follower:
        follower._detect_every_s = 0.0
        follower()
        shutil.rmtree(folder)
        for _ in range(3):
            assert follower() == frozenset()
        write_toy(folder, "run", curves={"train_loss": [2.0, 1.0]}, state="running")
        assert len(follower()) == 1
    assert adv.store.runs("toys")[0].curve("train_loss").values.tolist() == [2.0, 1.0]
    assert len(told) == 1


def test_runs_whose_folder_is_gone_end(adv: Advisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_toy(tmp_path / "all" / "a", "run", curves={"train_loss": [2.0]}, state=None)
    write_toy(tmp_path / "all" / "b", "run", curves={"train_loss": [3.0]}, state="finished")
    with Follower(adv, str(tmp_path / "all")) as follower:
        follower._detect_every_s = 0.0
        follower()
        shutil.rmtree(tmp_path / "all" / "a")
        now = adv.clock()
        monkeypatch.setattr(adv, "clock", lambda: now + timedelta(hours=1))
        follower._detect_every_s = 0.0
        follower()
    assert {run.state for run in adv.store.runs("toys")} == {RunState.FINISHED}


def test_a_half_written_file_is_read_when_it_is_whole(adv: Advisor, tmp_path: Path) -> None:
    told: list[str] = []
    path = write_toy(tmp_path / "toys", "run", curves={"train_loss": [2.0]}, state="running")
    whole = path.read_text()
    path.write_text(whole[:10])
    with Follower(adv, str(path.parent), tell=told.append) as follower:
        follower()
        path.write_text(whole)
        assert len(follower()) == 1
    assert len(told) == 1
