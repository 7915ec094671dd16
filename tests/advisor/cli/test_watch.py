"""``watch``, ``ack``, ``mute``, ``unmute``: one round, what is told, and what people say to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from storage.embed import HashingEmbedder
from storage.records import CurveChunk, Event, utc_now
from storage.store import open_store


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A store of two runs that go on: one is calm, one has become NaN; and one that failed a minute ago."""
    path = tmp_path / "live"
    store = open_store(path, embedder=HashingEmbedder())
    now = utc_now()
    objectives = [{"metric": "loss", "direction": "minimize"}]
    events = [Event.new("experiment.created", "e", time=now, objectives=objectives)]
    started = (now - timedelta(seconds=30)).isoformat()
    live = ("calm0000", "nan00000")
    events += [Event.new("run.created", "e", run_id, time=now, state="running", started=started) for run_id in live]
    body = {"state": "failed", "error": "ValueError: no data", "ended": now.isoformat()}
    events.append(Event.new("run.created", "e", "failed00", time=now, **body))
    store.append(events)
    values = [1 / (1 + i) for i in range(30)]
    for run_id, tail in (("calm0000", values[25:]), ("nan00000", [float("nan")] * 5)):
        store.append_curves(
            [
                CurveChunk(
                    run_id,
                    metric="loss",
                    chunk=0,
                    through=30,
                    steps=range(30),
                    values=values[:25] + tail,
                    times=range(30),
                )
            ]
        )
    store.close()
    return path


def test_one_round_finds_what_is_wrong_in_runs_of_other_processes(program, live: Path) -> None:
    done = program("watch", live, "--once", "--json")
    assert done.code == 0
    seen = done.data
    assert [seen[key] for key in ("n_running", "n_judged", "n_found", "n_firing")] == [2, 3, 2, 2]
    assert [(alert["code"], alert["alert"]) for alert in seen["alerts"]] == [("ADV111", "firing"), ("ADV101", "firing")]


def test_words_of_a_round(program, live: Path) -> None:
    done = program("--store", live, "watch", "--once")
    assert "2 runs going on, 2 alerts firing" in done.out
    assert "failed with" not in done.err
    assert "firing" in done.out


def test_a_finding_is_acknowledged_by_the_beginning_of_its_id(program, live: Path) -> None:
    alerts = program("watch", live, "--once", "--json").data["alerts"]
    first = alerts[0]["finding_id"]
    done = program("--store", live, "ack", first[:8])
    assert done.out == "acknowledged: it failed: ValueError: no data\n"
    left = program("watch", live, "--once", "--json").data["alerts"]
    assert [alert["code"] for alert in left] == ["ADV101"]
    assert program("--store", live, "ack", "nan00000", "--for", "2h", "--json").data[0]["scope"] == "finding"
    assert program("watch", live, "--once", "--json").data["alerts"] == []
    shown = program("--store", live, "log", "e").out
    assert "ADV111 on run #2 acknowledged" in shown


def test_a_finding_is_acknowledged_by_its_run_and_code(program, live: Path) -> None:
    program("watch", live, "--once")
    assert program("--store", live, "ack", "e#2:ADV111").out == "acknowledged: it failed: ValueError: no data\n"
    assert "no finding 'ADV999'" in program("--store", live, "ack", "e#2:ADV999").err


def test_codes_runs_and_experiments_are_muted_and_unmuted(program, live: Path) -> None:
    assert program("--store", live, "mute").err == "nothing is muted\n"
    assert program("--store", live, "mute", "failed", "--for", "1d").out.startswith("muted until ")
    assert program("--store", live, "mute", "e#1", "--reason", "known").out == "muted: run nan00000\n"
    assert program("watch", live, "--once", "--json").data["alerts"] == []
    listed = program("--store", live, "mute", "--json").data
    assert [(mute["scope"], mute["target"]) for mute in listed] == [("code", "ADV111"), ("run", "nan00000")]
    assert program("--store", live, "unmute", "failed", "nan0").code == 0
    assert program("--store", live, "mute", "--json").data == []
    assert len(program("watch", live, "--once", "--json").data["alerts"]) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["watch", "nothing-like-it", "--once"], "no experiment 'nothing-like-it'"),
        (["watch", "./nowhere", "--once"], "named twice"),
        (["watch", "--once", "--every", "5"], "exclude each other"),
        (["watch", "--notify", "slack", "--once"], "an address of a channel must be"),
        (["watch", "--every", "0"], "--every"),
        (["ack", "ffffffff"], "no finding, message or run is called 'ffffffff'"),
        (["ack", "e"], "'e' is an experiment; 'advisor mute e'"),
        (["ack", "calm0000"], "has no open finding"),
        (["ack", "calm0000", "--for", "soon"], "--for 'soon' is no length of time"),
        (["mute", "spike", "--for", "0h"], "--for '0h' is no length of time"),
        (["mute", "spiky"], "no code, experiment or run is called 'spiky'"),
        (["unmute", "spike"], "nothing that is muted is called 'spike'"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(program, live: Path, arguments: list[str], said: str) -> None:
    assert said in program("--store", live, *arguments).error


def test_a_store_that_is_not_there_is_one_sentence(program) -> None:
    assert "no store at" in program("watch", "./nowhere", "--once").error


def test_quiet_hours_and_caps_are_settings(program, live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVISOR_NOTIFY_QUIET", "00:00-23:59")
    done = program("--store", live, "watch", "--once")
    assert done.code == 0
    assert "✖" not in done.err
    monkeypatch.setenv("ADVISOR_NOTIFY_QUIET", "at night")
    assert "part of the day like 22:00-07:00" in program("--store", live, "watch", "--once").error
    monkeypatch.setenv("ADVISOR_NOTIFY_QUIET", "")
    monkeypatch.setenv("ADVISOR_NOTIFY_PER_HOUR", "0")
    assert "at least 1" in program("--store", live, "watch", "--once").error


def test_a_watcher_goes_on_until_it_is_told_to_end_and_says_that_it_lives(live: Path) -> None:
    from advisor.watching import heartbeat_file

    command = [sys.executable, "-m", "advisor", "watch", str(live), "--every", "1", "--json"]
    environment = {**os.environ, "ADVISOR_EMBEDDER": "hashing"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True)
    assert process.stdout is not None
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    beat = json.loads(heartbeat_file(str(live)).read_text())
    process.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert time.monotonic() - begun < 20
    assert [line["n_running"] for line in lines] == [2, 2]
    assert (beat["pid"], beat["n_firing"]) == (process.pid, 2)
    assert "telling console" in said


def test_a_run_whose_process_died_is_found(program, tmp_path: Path) -> None:
    store = tmp_path / "store"
    code = f"""
import os, advisor
run = advisor.open({str(store)!r}, capture=False).experiment("killed", objective="loss").start(params={{}})
run.log({{"loss": 0.5}})
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    done = program("--store", store, "watch", "--once", "--json")
    assert [alert["code"] for alert in done.data["alerts"]] == ["ADV110"]
    assert "its process vanished without a word" in done.err
    again = program("--store", store, "watch", "--once")
    assert "its process vanished" not in again.err
