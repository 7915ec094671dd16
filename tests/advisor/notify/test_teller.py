"""What a process tells in the background: each trouble once over all processes of a store, and nobody waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from advisor import silencing
from advisor.errors import NotificationError
from advisor.findings import codes
from advisor.findings.alerting import Policy, Quiet
from advisor.notify import Channel, Message
from advisor.notify.desk import Desk
from advisor.notify.teller import Teller
from storage.embed import HashingEmbedder
from storage.errors import StoreUnavailableError
from storage.events import finding_opened
from storage.records import Event, Finding, Severity
from storage.store import RunStore, open_store
from storage.testing import add_experiment

POLICY = Policy(group_wait_s=0.0)


class Phone:
    """A channel that rings, is out of order for some messages, or keeps whoever calls waiting."""

    takes_pictures = False

    def __init__(self, name: str = "phone", *, n_failures: int = 0) -> None:
        self.id, self.n_failures = name, n_failures
        self.rung: list[Message] = []
        self.free = threading.Event()
        self.free.set()

    def describe(self) -> str:
        return f"{self.id}://…"

    def send(self, message: Message) -> None:
        self.free.wait(20)
        if self.n_failures:
            self.n_failures -= 1
            raise NotificationError("out of order")
        self.rung.append(message)

    @property
    def told(self) -> list[tuple[str, list[str]]]:
        return [(message.fields["kind"], message.fields["run_ids"]) for message in self.rung]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    opened = open_store(tmp_path / "store", embedder=HashingEmbedder())
    for name in ("e", "f"):
        add_experiment(opened, name)
    runs = [("e", f"r{i}", "finished") for i in range(6)] + [("f", "other", "finished")]
    opened.append([Event.new("run.created", name, run_id, state=state) for name, run_id, state in runs])
    yield opened
    opened.close()


def find(store: RunStore, *runs: int, code: codes.Code = codes.NON_FINITE, **changes: Any) -> list[Finding]:
    evidence = {"n": 9, "n_nonfinite": 2, "before": 1.0, "peak": 9.0, "outcome": "and came back"}
    found = [
        replace(
            codes.finding(
                code,
                run_id=f"r{i}",
                experiment="e",
                time=datetime.now(UTC),
                evidence=evidence,
                metric="loss",
                step=7,
            ),
            **changes,
        )
        for i in runs
    ]
    store.append([finding_opened(finding) for finding in found])
    return found


def tell(store: RunStore, *channels: Channel, policy: Policy = POLICY, about: str = "e", **options: Any) -> Teller:
    """Return the teller of another process: nothing is shared but the store."""

    def desk(of: RunStore, to: Sequence[Channel], experiments: Collection[str]) -> Desk:
        return Desk(of, to, policy=policy, clock=lambda: datetime.now(UTC), experiments=experiments, actor="notify")

    teller = Teller(lambda: store, channels, desk=desk, **options)
    teller.start()
    teller.tell(about)
    return teller


def eventually(holds: Callable[[], Any], within_s: float = 20.0) -> bool:
    deadline = time.monotonic() + within_s
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(holds())


def test_what_is_found_is_told_at_once_and_by_one_process_only(store: RunStore) -> None:
    phone = Phone()
    first, second = tell(store, phone), tell(store, phone)
    find(store, 0)
    first.tell("e")
    second.tell("e")
    assert eventually(lambda: phone.told)
    assert (first.close(), second.close()) == (True, True)
    assert tell(store, phone).close()
    assert phone.told == [("firing", ["r0"])]


def test_a_process_and_a_watcher_of_the_same_store_share_one_account(store: RunStore) -> None:
    phone = Phone()
    watcher = Desk(store, [phone], policy=POLICY, clock=lambda: datetime.now(UTC))
    find(store, 0)
    watcher.look()
    watcher.deliver(phone)
    assert tell(store, phone).close()
    find(store, 1)
    assert tell(store, phone).close()
    watcher.look()
    watcher.deliver(phone)
    assert phone.told == [("firing", ["r0"]), ("firing", ["r1"])]


def test_a_process_speaks_of_the_experiments_that_it_works_on(store: RunStore) -> None:
    phone = Phone()
    find(store, 0)
    store.append([Event.new("experiment.renamed", "e", to="g")])
    about_f = tell(store, phone, about="f")
    assert about_f.drain()
    assert phone.told == []
    about_f.tell("e")  # as it was called when this process began
    assert about_f.close()
    assert phone.told == [("firing", ["r0"])]


def test_what_gets_graver_is_told_again(store: RunStore) -> None:
    phone = Phone()
    policy = replace(POLICY, group_window_s=0.0)
    find(store, 0, code=codes.SPIKE)
    assert tell(store, phone, policy=policy).close()
    find(store, 0, code=codes.SPIKE)
    assert tell(store, phone, policy=policy).close()
    find(store, 0, code=codes.SPIKE, severity=Severity.ERROR)
    assert tell(store, phone, policy=policy).close()
    assert [message.severity for message in phone.rung] == ["warning", "error"]


@pytest.mark.parametrize("about", ["e", "f"])
def test_what_a_dead_channel_did_not_take_is_sent_by_the_next_process_whatever_it_works_on(
    store: RunStore, about: str
) -> None:
    dead = Phone(n_failures=9)
    find(store, 0)
    assert not tell(store, dead).close()
    [waiting] = store.state().of_kind("alert.queued")
    phone = Phone()
    later = tell(store, phone, about=about)
    assert later.drain()
    assert later.close()
    assert [message.id for message in phone.rung] == [waiting.id]


def test_a_channel_that_failed_a_moment_ago_is_tried_once_more_at_the_end(store: RunStore) -> None:
    phone = Phone(n_failures=1)
    find(store, 0)
    teller = tell(store, phone)
    assert eventually(lambda: phone.n_failures == 0)
    assert teller.close()
    assert phone.told == [("firing", ["r0"])]


def test_nobody_waits_for_a_slow_channel_longer_than_it_says_and_nothing_is_lost(store: RunStore) -> None:
    slow, fast = Phone("slow"), Phone("fast")
    slow.free.clear()
    find(store, 0)
    teller = tell(store, slow, fast)
    assert eventually(lambda: fast.told)
    begun = time.monotonic()
    for _ in range(100):
        teller.tell("e")
    assert time.monotonic() - begun < 0.1
    assert teller.close(0.2) is False
    assert time.monotonic() - begun < 2.0
    slow.free.set()
    assert eventually(lambda: slow.told)
    assert tell(store, slow).close()
    assert len({message.id for message in slow.rung}) == 1


def test_runs_of_other_processes_with_the_same_trouble_share_a_message(store: RunStore) -> None:
    store.append([Event.new("run.created", "e", "busy", state="running")])
    phone, policy = Phone(), Policy()
    find(store, 0)
    assert tell(store, phone, policy=policy).close()
    assert phone.told == [("firing", ["r0"])], "who ends does not wait for a group: nobody may be there later"
    for i in (1, 2, 3):
        find(store, i)
        assert tell(store, phone, policy=policy).close()
    assert len(phone.told) == 1, "those who go on tell the rest together"
    store.append([Event.new("run.state", "e", "busy", state="finished")])
    assert tell(store, phone, policy=policy).close()
    assert phone.told[1:] == [("firing", ["r1", "r2", "r3"])]


def test_who_ends_leaves_a_group_to_a_watcher_that_lives(store: RunStore) -> None:
    store.append([Event.new("run.created", "e", "busy", state="running")])
    phone = Phone()
    find(store, 0)
    assert tell(store, phone, policy=Policy(), is_watched=lambda channel: channel == "phone").close()
    assert phone.told == []


def test_the_cap_of_a_channel_holds_over_all_processes(store: RunStore) -> None:
    phone, policy = Phone(), replace(POLICY, per_hour=3, group_window_s=0.0)
    tellers = []
    for i in range(6):
        find(store, i)
        tellers.append(tell(store, phone, policy=policy))
    closed = [teller.close() for teller in tellers]
    assert closed == [True] * 6
    assert 1 <= len(phone.told) <= 3
    assert sorted(run_id for _, runs in phone.told for run_id in runs) == [f"r{i}" for i in range(6)]


def test_what_is_known_or_unwanted_is_not_told(store: RunStore) -> None:
    phone, now = Phone(), datetime.now(UTC)
    [seen, _, muted, _] = find(store, 0, 1, 2, 3)
    silencing.acknowledge(store, [seen.id], now=now, until=None)
    silencing.mute(store, [muted.run_id], now=now, until=None)
    minute = 60 * now.hour + now.minute
    always = Quiet((minute - 60) % 1440, (minute + 60) % 1440, UTC)
    quiet = tell(store, phone, policy=replace(POLICY, quiet=always))
    assert quiet.close()
    assert phone.told == []
    assert tell(store, phone).close()
    assert phone.told == [("firing", ["r1", "r3"])]


def test_a_store_that_is_away_is_nobodys_trouble_here(caplog: pytest.LogCaptureFixture) -> None:
    def away() -> RunStore:
        raise StoreUnavailableError("the store is away")

    teller = Teller(away, [Phone()], desk=lambda *_: pytest.fail("there is no store"))
    teller.start()
    teller.tell("e")
    assert teller.close() is False
    assert teller.close() is True
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("notify-")]


def test_without_anything_to_speak_of_the_store_is_left_alone() -> None:
    teller = Teller(lambda: pytest.fail("asked for the store"), [Phone()], desk=lambda *_: pytest.fail("made a desk"))
    teller.start()
    assert teller.close()
