"""Training comes first: whatever becomes of the store and the disk, the loop goes on and nothing is lost in silence."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import advisor
from advisor.tracking import delivery
from advisor.tracking import run as live
from advisor.tracking.ahead import WriteAhead
from storage.errors import SpoolError, StorageError
from storage.records import RunState
from storage.spool import read_spool


@contextmanager
def unreachable(store: Path, table: str = "curves") -> Iterator[None]:
    """Take a table's list of versions away: the database cannot open it."""
    versions = store / f"{table}.lance" / "_versions"
    versions.rename(store.parent / "away")
    try:
        yield
    finally:
        (store.parent / "away").rename(versions)


def made(store: Path) -> None:
    """Make a store with a space, and its catalog."""
    with advisor.open(store, capture=False) as adv:
        adv.experiment("toy", objective="loss", space={"lr": advisor.Float(0.1, 1)})


def until(condition: object, *, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.02)
    assert condition()  # type: ignore[operator]


def test_a_run_starts_logs_and_is_delivered_later_where_the_store_cannot_be_opened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made(tmp_path / "store")
    with unreachable(tmp_path / "store", "migrations"), caplog.at_level(logging.WARNING):
        adv = advisor.open(tmp_path / "store", capture=False)
        run = adv.experiment("toy").start(params={"lr": 0.5})
        for step in range(100):
            run.log({"loss": 1.0 / (step + 1)}, step=step)
        run.note("all is well")
        run.tag("brave")
        run.use_data("train", np.arange(3.0))
        assert run.should_stop() is False
        assert "toy" in repr(run)
        with pytest.raises(StorageError):
            run.number  # noqa: B018
        until(lambda: run._delivery.trouble)
    run.finish()
    read = adv.experiment("toy").run(0)
    assert (read.state, read.notes, read.tags) == (RunState.FINISHED, ("all is well",), ("brave",))
    assert len(read.curve("loss")) == 100
    told = [record for record in caplog.records if "is tried again" in record.message]
    assert 1 <= len(told) <= delivery.WARNINGS_AT_MOST
    assert run.number == 0


def test_a_file_that_the_store_does_not_take_is_delivered_later(tmp_path: Path) -> None:
    made(tmp_path / "store")
    (tmp_path / "model.bin").write_bytes(b"weights")
    adv = advisor.open(tmp_path / "store", capture=False)
    run = adv.experiment("toy").start(params={"lr": 0.5})
    adv.store  # noqa: B018  # it is open
    (tmp_path / "store" / "artifacts").write_text("in the way")  # a file where a folder belongs
    sha256 = run.save(tmp_path / "model.bin")
    run.log({"loss": 1.0})
    until(lambda: run._delivery.trouble)
    (tmp_path / "store" / "artifacts").unlink()
    run.finish()
    assert adv.experiment("toy").run(0).artifacts[0]["sha256"] == sha256
    with adv.store.open_artifact(sha256) as file:
        assert file.read() == b"weights"
    assert not (tmp_path / "store" / "spool" / "files" / run.id).exists()


def test_with_strict_the_stores_trouble_is_raised(tmp_path: Path) -> None:
    made(tmp_path / "store")
    with unreachable(tmp_path / "store", "migrations"):
        adv = advisor.open(tmp_path / "store", capture=False, strict=True)
        with pytest.raises(StorageError):
            adv.experiment("toy").start(params={"lr": 0.5})
    run = adv.experiment("toy").start(params={"lr": 0.5})
    with unreachable(tmp_path / "store"):
        run.log({"loss": 1.0})
        until(lambda: run._delivery.trouble)
        with pytest.raises(StorageError):
            run.log({"loss": 1.0})
        with pytest.raises(StorageError):
            run.note("too late")
    run.finish()
    assert len(adv.experiment("toy").runs()) == 1


def test_a_log_whose_folder_is_deleted_in_mid_run_is_written_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    adv = advisor.open(tmp_path / "store", capture=False)
    run = adv.experiment("toy", objective="loss").start(params={})
    run.log({"loss": 1.0})
    shutil.rmtree(tmp_path / "store" / "spool")
    run.log({"loss": 2.0})
    spool = tmp_path / "store" / "spool" / f"{run.id}.spool"
    until(lambda: "written anew" in caplog.text)
    assert [step for step, _, _ in read_spool(spool).points] == [0, 1]
    run.finish()
    assert len(adv.experiment("toy").run(0).curve("loss")) == 2


def test_calls_beyond_the_memory_bound_are_read_back_from_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "WAITING_BYTES_AT_MOST", 20_000)
    monkeypatch.setattr(delivery, "CALLS_AT_ONCE", 700)
    monkeypatch.setattr(live, "RAW_CALLS_AT_MOST", 200)
    made(tmp_path / "store")
    adv = advisor.open(tmp_path / "store", capture=False)
    with unreachable(tmp_path / "store", "migrations"):
        run = adv.experiment("toy").start(params={"lr": 0.5})
        for step in range(5000):
            run.log({"loss": float(step), "other": -float(step)}, step=step)
        run._delivery.take_soon().wait(10)
        assert run._delivery._n_bytes <= 20_000
    run.finish()
    assert run.n_not_kept == 0
    read = adv.experiment("toy").run(0)
    np.testing.assert_array_equal(read.curve("loss").steps, np.arange(5000))
    np.testing.assert_array_equal(read.curve("other").values, -np.arange(5000.0))
    assert read.summary["loss"]["n"] == 5000


LIMITED = """
    import errno, json, logging, os, resource, sys
    import advisor
    from advisor.tracking import delivery, run as live
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    delivery.WAITING_BYTES_AT_MOST, live.RAW_CALLS_AT_MOST = int(sys.argv[3]), 100
    adv = advisor.open(sys.argv[1], capture=False)
    exp = adv.experiment("toy", objective="loss")
    run = exp.start(params={})
    run.number
    versions = os.path.join(sys.argv[1], "curves.lance", "_versions")
    log = os.stat(os.path.join(sys.argv[1], "spool", run.id + ".spool"))
    full, write = log.st_size + 1000, os.write
    def limited(fd, content):
        there = os.fstat(fd)
        if there.st_ino == log.st_ino and there.st_size + len(content) > full:
            raise OSError(errno.EFBIG, "File too large")
        return write(fd, content)
    if sys.argv[2] == "store too":
        os.rename(versions, versions + "-away")
    if sys.argv[2] == "log only":
        os.write = limited
    else:  # this holds for the files of the store as well
        resource.setrlimit(resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
    for step in range(1000):
        run.log({"loss": float(step)}, step=step)
    run._delivery.take_soon().wait(10)
    os.write = write
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    if sys.argv[2] == "store too":
        os.rename(versions + "-away", versions)
    run.finish()
    read = exp.run(0)
    print(json.dumps([run.n_not_kept, read.curve("loss").steps.tolist(), read.notes, read.state]))
"""


@pytest.mark.parametrize(
    ("trouble", "memory"),
    [
        ("log only", 10**6),
        ("all files", 10**6),
        ("store too", 10**6),
        ("store too", 6_000),
    ],
)
def test_what_the_log_cannot_take_is_delivered_from_memory_or_counted(
    tmp_path: Path, trouble: str, memory: int
) -> None:
    pytest.importorskip("resource")
    command = [sys.executable, "-c", textwrap.dedent(LIMITED), str(tmp_path / "store"), trouble, str(memory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    n_not_kept, steps, notes, state = json.loads(done.stdout)
    assert state == "finished"
    assert done.stderr.count("in memory only until the store has it") == 1
    assert len(set(steps)) == len(steps) == 1000 - n_not_kept
    if memory > 10_000:
        assert (n_not_kept, notes) == (0, [])
    else:
        lost = sorted(set(range(1000)) - set(steps))
        assert n_not_kept > 0
        assert notes == [
            f"{n_not_kept} log calls, of steps {lost[0]} to {lost[-1]}, were not kept: "
            "neither the write-ahead log nor the store took them"
        ]


@pytest.mark.parametrize("fsync", ["always", "interval"])
def test_power_cuts_are_asked_for_and_never_in_log_but_with_always(tmp_path: Path, fsync: str) -> None:
    adv = advisor.open(tmp_path / "store", capture=False, fsync=fsync)
    with adv.experiment("toy", objective="loss").start(params={}) as run:
        run.log({"loss": 1.0})
        assert ("advisor-sync" in {thread.name for thread in threading.enumerate()}) == (fsync == "interval")
    assert len(adv.experiment("toy").run(0).curve("loss")) == 1


def test_a_log_that_cannot_be_made_is_made_later_or_raises_with_strict(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("in the way")
    path = tmp_path / "spool" / "r.spool"
    with pytest.raises(SpoolError):
        WriteAhead(path, {}, [], fsync="never", strict=True)
    ahead = WriteAhead(path, {"run_id": "r"}, [], fsync="never", strict=False)
    ahead.call(0, b"lost")
    assert ahead.lacking(0, 10) == [(0, 1)]
    os.unlink(tmp_path / "spool")
    ahead.mend()
    assert read_spool(path).header == {"run_id": "r"}
    ahead.forget_before(1)
    assert ahead.lacking(0, 10) == []
    ahead.discard()
    assert not path.exists()
