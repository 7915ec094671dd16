from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from storage import RunState, open_store
from storage.embed import HashingEmbedder
from storage.records import Event
from storage.recovery import Recovered
from storage.spool import Spool, owner_header, read_header, read_spool
from storage.store import RunStore
from storage.testing import add_experiment

CHILD = """
    import sys, advisor
    adv = advisor.open(sys.argv[1], capture=False)
    exp = adv.experiment("killed", objective="loss")
    run = exp.start(params={"lr": 0.1}, seed=7)
    print(run.id, flush=True)
    i = 0
    while True:
        run.log({"loss": 1.0 / (i + 1), "grad": float("nan") if i == 3 else float(i)}, step=i)
        i += 1
        print(i, flush=True)
"""


def killed_after(uri: Path, n_calls: int) -> tuple[str, int]:
    """Let a process log, kill it after its n-th acknowledged call; return the run's id and the calls acknowledged."""
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(uri)], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert child.stdout is not None
    run_id = child.stdout.readline().strip()
    acknowledged = 0
    while acknowledged < n_calls:
        acknowledged = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    tail = [int(line) for line in child.stdout.read().split()]
    child.wait()
    child.stdout.close()
    return run_id, max([acknowledged, *tail])


def reopened(uri: Path) -> tuple[RunStore, tuple[Recovered, ...]]:
    store = open_store(uri, create=False, embedder=HashingEmbedder())
    return store, store.recovered


def test_a_run_killed_after_500_acknowledged_calls_has_them_all_and_is_crashed(tmp_path: Path) -> None:
    run_id, acknowledged = killed_after(tmp_path / "store", 500)
    store, recovered = reopened(tmp_path / "store")
    run = store.run(run_id)
    assert [item.run_id for item in recovered] == [run_id]
    assert run.state is RunState.CRASHED
    assert run.error is not None
    assert "without a word" in run.error
    loss = run.curve("loss")
    assert len(loss) >= acknowledged >= 500  # a call may have been written and not yet acknowledged
    np.testing.assert_array_equal(loss.steps, np.arange(len(loss)))
    np.testing.assert_array_equal(loss.values, 1.0 / (np.arange(len(loss)) + 1))
    assert math.isnan(run.curve("grad").values[3])
    assert run.objective == loss.values[-1]
    assert run.params == {"lr": 0.1}
    assert run.seed == 7


def test_recovery_happens_once(tmp_path: Path) -> None:
    run_id, _ = killed_after(tmp_path / "store", 20)
    first, _ = reopened(tmp_path / "store")
    again, recovered = reopened(tmp_path / "store")
    assert recovered == ()
    assert again.run(run_id) == first.run(run_id)
    assert not list((tmp_path / "store" / "spool").glob("*.spool"))


def test_a_torn_end_is_recovered_up_to_the_last_whole_record_and_the_rest_is_kept(tmp_path: Path) -> None:
    run_id, _ = killed_after(tmp_path / "store", 300)
    spool = tmp_path / "store" / "spool" / f"{run_id}.spool"
    with spool.open("rb+") as file:
        file.truncate(spool.stat().st_size - 5)
    store, (recovered,) = reopened(tmp_path / "store")
    assert recovered.damage is not None
    assert recovered.damage.n_bytes_lost > 0
    run = store.run(run_id)
    assert run.state is RunState.CRASHED
    assert len(run.curve("loss")) == recovered.n_calls >= 299
    assert str(run.error).endswith("could not be read")
    assert (spool.parent / "damaged" / spool.name).exists()
    assert reopened(tmp_path / "store")[1] == ()


def test_a_spool_without_a_readable_beginning_stops_nobody_from_opening(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_store(tmp_path / "store", embedder=HashingEmbedder())
    folder = tmp_path / "store" / "spool"
    folder.mkdir()
    (folder / "abc.spool").write_bytes(os.urandom(100))
    _, recovered = reopened(tmp_path / "store")
    assert recovered == ()
    assert "abc.spool" in caplog.text


def test_a_run_whose_log_lost_its_beginning_is_crashed_and_the_log_is_kept(tmp_path: Path) -> None:
    run_id, _ = killed_after(tmp_path / "store", 50)
    spool = tmp_path / "store" / "spool" / f"{run_id}.spool"
    content = bytearray(spool.read_bytes())
    content[3] ^= 0xFF
    spool.write_bytes(content)
    store, _ = reopened(tmp_path / "store")
    run = store.run(run_id)
    assert run.state is RunState.CRASHED
    assert "damaged" in str(run.error)
    assert (spool.parent / "damaged" / spool.name).exists()


def test_the_beginning_of_a_long_log_is_enough_to_tell_whose_it_is(tmp_path: Path) -> None:
    path = tmp_path / "run.spool"
    with Spool.create(path, owner_header()) as spool:
        for step in range(1000):
            spool.log(step, 0.0, {"loss": 1.0})
    whole = read_spool(path).header
    with path.open("rb+") as file:
        file.truncate(1000)
    assert read_header(path) == whole


def test_the_run_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    import advisor

    run = advisor.open(tmp_path / "store", capture=False).experiment("alive").start(params={})
    run.log({"loss": 1.0})
    assert run.number == 0  # it waits until the store has the run
    store, recovered = reopened(tmp_path / "store")
    assert recovered == ()
    assert store.run(run.id).state is RunState.RUNNING
    run.finish()
    assert store.run(run.id).state is RunState.FINISHED


def dead_owner() -> dict[str, object]:
    """Return the header of a process that has ended."""
    code = "import json; from storage.spool import owner_header; print(json.dumps(owner_header()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    header: dict[str, object] = json.loads(done.stdout)
    return header


def test_runs_that_died_before_the_store_was_made_are_brought_home_in_their_order(tmp_path: Path) -> None:
    owner, folder = dead_owner(), tmp_path / "store" / "spool"
    defined = Event.new("experiment.created", "toy", objectives=[{"metric": "loss", "direction": "maximize"}])
    for name, definitions in (("zz", [defined]), ("mm", []), ("aa", [])):  # by name, the last would come first
        created = Event.new("run.created", "toy", name, state="running", params={"lr": 0.1})
        header = owner | {"run_id": name, "experiment": "toy"}
        with Spool.create(folder / f"{name}.spool", header, events=[*definitions, created]) as spool:
            spool.log(0, 0.0, {"loss": 1.0})
    store, recovered = reopened(tmp_path / "store")
    assert len(recovered) == 3
    assert [run.id for run in store.runs("toy")] == ["zz", "mm", "aa"]
    assert store.experiment("toy").objectives[0].direction == "maximize"
    assert {run.state for run in store.runs("toy")} == {RunState.CRASHED}


def test_a_definition_in_an_old_log_does_not_undo_what_was_said_since(tmp_path: Path) -> None:
    owner, folder = dead_owner(), tmp_path / "store" / "spool"
    defined = Event.new("experiment.created", "toy", description="old")
    store = open_store(tmp_path / "store", embedder=HashingEmbedder())
    store.append([Event.new("experiment.created", "toy", description="new")])
    created = Event.new("run.created", "toy", "r", state="running")
    Spool.create(folder / "r.spool", owner | {"run_id": "r", "experiment": "toy"}, events=[defined, created]).close()
    store, _ = reopened(tmp_path / "store")
    assert store.experiment("toy").description == "new"


def test_a_flipped_bit_in_the_middle_costs_one_call_and_the_rest_is_delivered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_id, _ = killed_after(tmp_path / "store", 100)
    path = tmp_path / "store" / "spool" / f"{run_id}.spool"
    content = bytearray(path.read_bytes())
    at = content.index(b"loss", len(content) // 2)
    content[at] ^= 1
    path.write_bytes(content)
    store, (recovered,) = reopened(tmp_path / "store")
    assert recovered.damage is not None
    assert f"damaged at byte {recovered.damage.offset}" in caplog.text
    steps = store.run(run_id).curve("loss").steps
    assert len(steps) >= recovered.n_calls
    assert steps[-1] >= 99
    assert (path.parent / "damaged" / path.name).exists()


def test_a_log_without_its_beginning_still_gives_its_calls(tmp_path: Path) -> None:
    run_id, acknowledged = killed_after(tmp_path / "store", 60)
    path = tmp_path / "store" / "spool" / f"{run_id}.spool"
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    store, _ = reopened(tmp_path / "store")
    assert len(store.run(run_id).curve("loss")) >= acknowledged
    assert store.run(run_id).params == {"lr": 0.1}


def test_a_run_that_ended_on_a_full_disk_ends_as_it_wrote_into_its_reserve(tmp_path: Path) -> None:
    created = Event.new("run.created", "toy", "r", state="running")
    header = dead_owner() | {"run_id": "r", "experiment": "toy"}
    folder = tmp_path / "store" / "spool"
    with Spool.create(folder / "r.spool", header, events=[created], reserve=True) as spool:
        spool.log(0, 0.0, {"loss": 1.0})
        ending = {"id": "the-end", "time": created.time.isoformat(), "body": {"state": "finished", "values": None}}
        spool.write_reserve({"ending": ending, "not_kept": {"calls": 7, "first_step": 1, "last_step": 7}})
    store, _ = reopened(tmp_path / "store")
    run = store.run("r")
    assert run.state is RunState.FINISHED
    assert run.summary["loss"]["n"] == 1
    assert run.notes[0].startswith("7 log calls, of steps 1 to 7, were not kept")


def test_nothing_acknowledged_is_lost_at_random_kills(repository: Path) -> None:
    command = [sys.executable, "evals/sigkill.py", "--kills", "4", "--seed", "3", "--per-store", "4"]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kills, 0 with something wrong" in done.stdout


def test_a_run_that_was_deleted_or_renamed_while_it_went_on_is_brought_home_quietly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(tmp_path / "store", embedder=HashingEmbedder())
    add_experiment(store, "toy")
    for run_id in ("deleted", "kept"):
        created = Event.new("run.created", "toy", run_id, state="running")
        said = Event.new("experiment.created", "toy", objectives=[{"metric": "val_loss", "direction": "minimize"}])
        header = dead_owner() | {"run_id": run_id, "experiment": "toy"}
        with Spool.create(store.spool_folder() / f"{run_id}.spool", header, events=[said, created]) as spool:
            spool.log(0, 0.0, {"loss": 1.0})
        store.append([created])
    store.append([Event.new("run.deleted", "toy", "deleted"), Event.new("experiment.renamed", "toy", to="digits")])
    with caplog.at_level("WARNING"):
        again, _ = reopened(tmp_path / "store")
    assert caplog.text == ""
    assert [(run.id, run.experiment, run.state) for run in again.runs()] == [("kept", "digits", RunState.CRASHED)]
    again.append([Event.new("run.restored", "digits", "deleted")])
    assert again.run("deleted").state is RunState.CRASHED
    assert again.run("deleted").curve("loss").last == 1.0
    assert [experiment.name for experiment in again.experiments()] == ["digits"]
