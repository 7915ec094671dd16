from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.lance import Database
from storage.lease import LEASES, TABLE, TIDY_EVERY, FileLeases, Held, TableLeases, fold
from tests.storage.s3 import LoopbackS3


class Clock:
    """Seconds since 1970 as a test says."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["table in a folder", "table in a bucket"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "table in a folder":  # the rows are the same wherever the table is
        return str(tmp_path / "store")
    return str(request.getfixturevalue("s3_uri"))


def leases_of(uri: str, clock: Clock, *, expires_after_s: float = 45.0) -> TableLeases:
    return TableLeases(Database(uri, create=True), clock=clock, expires_after_s=expires_after_s)


# -- who holds it


def test_a_lease_is_held_by_one_until_it_is_given_back(uri: str) -> None:
    clock = Clock()
    first, second = leases_of(uri, clock), leases_of(uri, clock)
    assert first.take("compact", "a")
    assert not second.take("compact", "b")
    assert second.take("index", "b")
    first.release("compact", "a")
    assert second.take("compact", "b")
    assert not first.take("compact", "a")


def test_a_holder_that_speaks_keeps_its_lease(uri: str) -> None:
    clock = Clock()
    first, second = leases_of(uri, clock), leases_of(uri, clock)
    assert first.take("compact", "a")
    for _ in range(5):
        clock.now += 30
        assert first.renew("compact", "a")
        assert not second.take("compact", "b")


def test_a_silent_holder_is_succeeded_after_the_expiry_and_not_before(uri: str) -> None:
    clock = Clock()
    first, second = leases_of(uri, clock), leases_of(uri, clock)
    assert first.take("compact", "a")
    clock.now += 44
    assert not second.take("compact", "b")
    clock.now += 2
    assert second.take("compact", "b")
    assert not first.renew("compact", "a")
    first.release("compact", "a")  # what it says now counts for nothing
    assert second.renew("compact", "b")


def test_a_clock_far_ahead_blocks_nobody(uri: str) -> None:
    ahead, right = Clock(), Clock()
    ahead.now += 86_400
    assert leases_of(uri, ahead).take("compact", "a")
    assert leases_of(uri, right).take("compact", "b")


def test_of_takers_at_once_exactly_one_gets_it(uri: str) -> None:
    clock = Clock()
    takers = [leases_of(uri, clock) for _ in range(4)]
    for round_ in range(3):
        got: list[str] = []
        start = threading.Barrier(len(takers))

        def work(number: int, got: list[str] = got, start: threading.Barrier = start, round_: int = round_) -> None:
            nonce = f"{round_}-{number}"
            start.wait()
            if takers[number].take("compact", nonce):
                got.append(nonce)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(len(takers))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 1
        clock.now += 60  # the winner stays silent, and all try to succeed it


def test_who_waits_gets_it_when_it_is_given_back(uri: str) -> None:
    clock = Clock()
    first, second = leases_of(uri, clock), leases_of(uri, clock)
    assert first.take("compact", "a")
    giving_back = threading.Timer(0.3, first.release, ("compact", "a"))
    giving_back.start()
    with second.hold("compact", wait_s=10.0) as mine:
        assert mine
    giving_back.join()
    with second.hold("compact") as mine:
        assert mine


def test_a_holder_that_works_for_long_says_so_by_itself(s3_uri: str) -> None:
    mine, other = (TableLeases(Database(s3_uri, create=True), expires_after_s=0.6) for _ in range(2))
    with mine.hold("compact") as held:
        assert held
        until = time.monotonic() + 2.0
        while time.monotonic() < until:
            assert not other.take("compact", "b")
            time.sleep(0.1)
    assert other.take("compact", "b")


def test_the_table_stays_small_and_a_living_holder_survives_the_tidying(s3_uri: str) -> None:
    clock = Clock()
    leases = leases_of(s3_uri, clock)
    assert leases.take("index", "long")
    for n in range(TIDY_EVERY + 4):
        clock.now += 40
        assert leases.renew("index", "long")
        assert leases.take("compact", str(n))
        leases.release("compact", str(n))
    database = Database(s3_uri, create=False)
    assert database.n_fragments("leases") < TIDY_EVERY
    assert not leases_of(s3_uri, clock).take("index", "fresh")


# -- the fold


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for n in range(draw(st.integers(0, 14))):
        rows.append(
            {
                "name": draw(st.sampled_from("xy")),
                "nonce": draw(st.sampled_from("abc")),
                "kind": draw(st.sampled_from(["taken", "renewed", "released"])),
                "id": f"id{n}",
                "over": draw(st.sampled_from(["", *[row["id"] for row in rows[-4:]]])),
                "time": float(n),
            }
        )
    return rows


@given(histories(), st.integers(0, 14))
def test_reading_in_two_parts_is_reading_at_once(rows: list[dict[str, Any]], cut: int) -> None:
    assert fold(fold({}, rows[:cut]), rows[cut:]) == fold({}, rows)


@given(histories())
def test_a_row_that_landed_twice_counts_once(rows: list[dict[str, Any]]) -> None:
    assert fold({}, [row for row in rows for _ in range(2)]) == fold({}, rows)


@given(histories())
def test_a_lease_changes_hands_only_when_given_back_or_succeeded_by_name(rows: list[dict[str, Any]]) -> None:
    holders: dict[str, Held] = {}
    for row in rows:
        after = fold(holders, [row])
        before, now = holders.get(row["name"]), after.get(row["name"])
        if before is not None and (now is None or now.nonce != before.nonce):
            assert (now is None and row["kind"] == "released" and row["nonce"] == before.nonce) or (
                row["kind"] == "taken" and row["over"] == before.last_id
            )
        holders = after


# -- processes

HOLDER = """
    import sys, time
    from storage.lance import Database
    from storage.lease import TableLeases
    with TableLeases(Database(sys.argv[1], create=True), expires_after_s=float(sys.argv[2])).hold("compact") as mine:
        print(mine, flush=True)
        time.sleep(60)
"""


def test_a_holder_killed_in_the_middle_blocks_nobody_for_longer_than_the_expiry(s3: LoopbackS3, s3_uri: str) -> None:
    Database(s3_uri, create=True)
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), s3_uri, "1.0"]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    mine = TableLeases(Database(s3_uri, create=False), expires_after_s=1.0)
    time.sleep(1.3)  # longer than the expiry: it lives, and says so
    assert not mine.take("compact", "me")
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    died = time.monotonic()
    with mine.hold("compact", wait_s=10.0) as got:
        assert got
    assert time.monotonic() - died < 4.0


WORKER = """
    import sys, time
    from storage.lance import Database
    from storage.lease import TableLeases
    leases = TableLeases(Database(sys.argv[1], create=True))
    done = 0
    while done < 4:
        with leases.hold("index", wait_s=20.0) as mine:
            if mine:
                began = time.monotonic()
                time.sleep(0.02)
                print(began, time.monotonic(), flush=True)
                done += 1
"""


def test_processes_never_hold_a_lease_at_once_though_requests_fail(s3: LoopbackS3, s3_uri: str) -> None:
    Database(s3_uri, create=True)
    s3.faults(0.05, kinds=("500", "503", "reset", "lost", "409"), seed=3)
    command = [sys.executable, "-c", textwrap.dedent(WORKER), s3_uri]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    held = [tuple(map(float, line.split())) for worker in workers for line in worker.communicate()[0].splitlines()]
    assert [worker.returncode for worker in workers] == [0, 0]
    held.sort()
    assert len(held) == 8
    assert all(ended <= began for (_, ended), (began, _) in itertools.pairwise(held))


def test_a_file_lease_is_free_when_its_holder_is_gone(tmp_path: Path) -> None:
    code = "import sys, time; from pathlib import Path; from storage.lease import FileLeases\n"
    code += "with FileLeases(Path(sys.argv[1])).hold('x') as mine: print(mine, flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    with FileLeases(tmp_path).hold("x") as mine:
        assert not mine
    holder.kill()
    holder.communicate()
    with FileLeases(tmp_path).hold("x", wait_s=1.0) as mine:
        assert mine


def test_a_table_that_is_listed_before_it_can_be_opened_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(str(tmp_path / "store"), create=True)
    Database(database.uri, create=False).create(TABLE, LEASES, stable_row_ids=True)
    connection = database._connection  # what LanceDB says while another process is just creating the table
    create_table, said = connection.create_table, []

    def not_yet(name: str, **options: object) -> object:
        if len(said) < 2:
            said.append(name)
            raise ValueError(f"Table '{name}' was not found")
        return create_table(name, **options)

    monkeypatch.setattr(connection, "create_table", not_yet)
    assert TableLeases(database).take("compact", "a")
    assert said == [TABLE, TABLE]
