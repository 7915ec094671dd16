from __future__ import annotations

import subprocess
import sys
import textwrap
from collections import Counter
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from storage import Event, StoreUnavailableError, open_store
from storage.copying import copy_store, merge_store
from storage.embed import HashingEmbedder
from storage.testing import RunStoreContract, add_experiment, add_finished, chunk
from tests.storage.s3 import FAULTS, LoopbackS3


class TestObjectStore(RunStoreContract):
    """A store in a bucket keeps the contract."""

    @pytest.fixture
    def uri(self, s3_uri: str) -> str:
        return s3_uri


class TestObjectStoreWithFaults(RunStoreContract):
    """A store in a bucket keeps the contract while one request in twenty fails."""

    @pytest.fixture
    def uri(self, s3: LoopbackS3, s3_uri: str) -> str:
        s3.faults(0.05, kinds=tuple(kind for kind in FAULTS if kind != "stall"))  # that one only takes time
        return s3_uri


WRITER = """
    import sys
    from storage import CurveChunk, Event, open_store
    from storage.embed import HashingEmbedder
    store = open_store(sys.argv[1], embedder=HashingEmbedder())
    for i in range(8):
        run_id = f"{sys.argv[2]}-{i}"
        store.append([Event.new("run.created", "digits", run_id)])
        store.append_curves([CurveChunk(run_id, metric="loss", chunk=0, through=3, steps=[0, 1, 2], values=[i, 1, 2])])
        store.append([Event.new("run.noted", "digits", run_id, text=str(i))])
        store.append([Event.new("run.state", "digits", run_id, state="finished", values=[float(i)])])
        print(run_id, store.run(run_id).number, flush=True)
"""


def test_writers_lose_and_double_nothing_while_requests_fail(
    s3: LoopbackS3, s3_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_TIMEOUT", "1s")
    store = open_store(s3_uri, embedder=HashingEmbedder())
    add_experiment(store)
    s3.faults(0.05, stall_s=1.5, seed=5)
    command = [sys.executable, "-c", textwrap.dedent(WRITER), s3_uri]
    writers = [subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True) for n in range(3)]
    seen = dict(line.split() for writer in writers for line in writer.communicate()[0].splitlines())
    counts = s3.counts()
    s3.faults(0.0)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert all(counts[f"fault {kind}"] > 0 for kind in FAULTS if kind != "409")  # a conditional write is one in twenty
    runs = open_store(s3_uri, embedder=HashingEmbedder()).runs("digits")
    assert [run.number for run in runs] == list(range(24))
    assert seen == {run.id: str(run.number) for run in runs}
    assert all(run.notes == (run.id[2:],) and run.state == "finished" for run in runs)
    for run in runs:
        np.testing.assert_array_equal(run.curve("loss").values, [float(run.id[2:]), 1.0, 2.0])
    kinds = Counter(event.kind for event in store.events() if event.kind.startswith(("run.", "experiment.")))
    assert kinds == {"experiment.created": 1, "run.created": 24, "run.noted": 24, "run.state": 24}


def test_processes_may_open_a_store_that_is_not_there_yet_at_once(s3: LoopbackS3, s3_uri: str) -> None:
    code = "import sys; from storage import open_store; print(len(open_store(sys.argv[1]).runs()))"
    openers = [
        subprocess.Popen([sys.executable, "-c", code, s3_uri], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    assert [opener.communicate()[0] for opener in openers] == ["0\n"] * 3
    add_experiment(open_store(s3_uri))
    assert [experiment.name for experiment in open_store(s3_uri, create=False).experiments()] == ["digits"]


def test_a_store_whose_service_is_gone_for_a_while_goes_on_afterwards(s3: LoopbackS3, s3_uri: str) -> None:
    store = open_store(s3_uri, embedder=HashingEmbedder())
    add_experiment(store)
    s3.faults(1.0, kinds=("403",))
    with pytest.raises(StoreUnavailableError, match=r"cannot append to 'events' .* check AWS_ACCESS_KEY_ID"):
        add_finished(store, loss=1.0)
    s3.faults(0.0)
    run = add_finished(store, loss=1.0)
    assert [found.id for found in store.runs()] == [run.id]


def test_one_process_at_a_time_compacts_a_bucket(s3: LoopbackS3, s3_uri: str) -> None:
    store, other = (open_store(s3_uri, embedder=HashingEmbedder()) for _ in range(2))
    add_experiment(store)
    with store.lease("compact") as mine, other.lease("compact") as theirs:  # type: ignore[attr-defined]
        assert (mine, theirs) == (True, False)
    other.compact()


def test_logs_of_live_runs_stay_on_this_machine(s3: LoopbackS3, s3_uri: str, clean_environment: Path) -> None:
    folder = open_store(s3_uri).spool_folder()
    assert folder.is_relative_to(clean_environment)
    assert folder != open_store(s3_uri + "2").spool_folder()


def test_a_store_is_copied_to_a_bucket_and_back(s3: LoopbackS3, s3_uri: str, tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", embedder=HashingEmbedder())
    add_experiment(store)
    runs = [add_finished(store, loss=float(i), params={"lr": i}) for i in range(3)]
    store.append_curves([chunk(run.id, 1.0, float("nan"), 3.0) for run in runs])
    (tmp_path / "model").write_bytes(b"weights" * 1_000)
    sha256, size = store.put_artifact(tmp_path / "model")
    store.append([Event.new("run.artifact", "digits", runs[0].id, name="model", sha256=sha256, size=size)])
    store.search("digits")
    copy_store(str(tmp_path / "store"), s3_uri)
    remote = open_store(s3_uri, create=False, embedder=HashingEmbedder())
    assert (remote.runs(), remote.curves(), remote.events()) == (store.runs(), store.curves(), store.events())
    late = add_finished(remote, loss=0.5)
    remote.append_curves([chunk(late.id, 0.5)])
    copy_store(s3_uri, str(tmp_path / "back"))
    back = open_store(tmp_path / "back", create=False, embedder=HashingEmbedder())
    assert (back.runs(), back.curves(), back.events()) == (remote.runs(), remote.curves(), remote.events())
    assert [run.number for run in back.runs()] == [0, 1, 2, 3]
    assert back.verify().problems == ()
    with back.open_artifact(sha256) as file:
        assert file.read() == b"weights" * 1_000


def test_removal_for_good_and_verification_work_in_a_bucket(s3: LoopbackS3, s3_uri: str, tmp_path: Path) -> None:
    store = open_store(s3_uri, embedder=HashingEmbedder())
    add_experiment(store)
    first, second = (add_finished(store, loss=float(i)) for i in range(2))
    store.append_curves([chunk(first.id, 1.0), chunk(second.id, 2.0)])
    store.append([Event.new("run.deleted", "digits", first.id)])
    assert store.compact(grace=timedelta(0)).n_runs == 1
    other = open_store(tmp_path / "local", embedder=HashingEmbedder())
    add_experiment(other, "theirs")
    theirs = add_finished(other, "theirs", loss=7.0)
    other.append_curves([chunk(theirs.id, 7.0)])
    merge_store(store, other)
    again = open_store(s3_uri, create=False, embedder=HashingEmbedder())
    assert [(run.experiment, run.number) for run in again.runs()] == [("digits", 1), ("theirs", 0)]
    assert again.verify().problems == ()
