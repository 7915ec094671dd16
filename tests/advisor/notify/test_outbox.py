"""Each finding reaches each channel once, whatever the channel does, and nobody waits for it."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from advisor.errors import NotificationError
from advisor.notify import Message, Notifier, open_channel
from advisor.notify.outbox import Patience
from storage.records import Finding, FindingState, Severity

QUICK = Patience(first_retry_s=0.02, max_retry_s=0.05, max_tries=6)
CANARY = "s3cret-canary"


def finding(n: int = 0, **changes: Any) -> Finding:
    base = Finding(
        f"f{n}",
        run_id=f"run{n}",
        experiment="e",
        code="ADV101",
        title=f"trouble {n}",
        severity=Severity.ERROR,
        detector="rules",
    )
    return replace(base, **changes)


class Journal:
    """What the store remembers of notifications, as several processes would share it."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    def notifier(self, *channels: Any, **options: Any) -> Notifier:
        options = {"patience": QUICK} | options
        return Notifier(channels, already_sent=self.has, record_sent=self.add, **options)

    def has(self, finding_id: str, channel_id: str) -> bool:
        return (finding_id, channel_id) in self.sent

    def add(self, finding: Finding, channel_id: str) -> None:
        self.sent.append((finding.id, channel_id))


@pytest.fixture
def journal() -> Journal:
    return Journal()


class Broken:
    """A channel that raises what it is told to."""

    id = "broken"

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.n_tries = 0

    def describe(self) -> str:
        return "broken://…"

    def send(self, message: Message) -> None:
        self.n_tries += 1
        raise self.error


def titles(receiver: Any) -> list[str]:
    return [body["title"].rpartition(": ")[2] for body in receiver.accepted]


def test_a_finding_is_sent_once_and_recorded(receiver: Any, journal: Journal) -> None:
    channel = open_channel(receiver.url)
    notifier = journal.notifier(channel, channel)
    notifier.notify([finding(1)])
    notifier.notify([finding(1)])
    assert notifier.drain(10)
    notifier.notify([finding(1), finding(2)])
    assert notifier.close(10)
    assert titles(receiver) == ["trouble 1", "trouble 2"]
    assert journal.sent == [("f1", channel.id), ("f2", channel.id)]


def test_what_another_process_has_sent_is_not_repeated(receiver: Any, journal: Journal) -> None:
    for _ in range(2):
        notifier = journal.notifier(open_channel(receiver.url))
        notifier.notify([finding(1)])
        assert notifier.close(10)
    assert titles(receiver) == ["trouble 1"]


def test_each_channel_gets_it(receiver: Any, journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    notifier = journal.notifier(open_channel(receiver.url), open_channel("console"))
    notifier.notify([finding(1)])
    assert notifier.close(10)
    assert titles(receiver) == ["trouble 1"]
    assert "trouble 1" in capsys.readouterr().err
    assert len(journal.sent) == 2


def test_findings_of_one_run_share_a_message(receiver: Any, journal: Journal) -> None:
    notifier = journal.notifier(open_channel(receiver.url))
    notifier.notify([finding(1), finding(1, id="g", metric="acc", title="other"), finding(2)])
    assert notifier.close(10)
    assert [len(body["findings"]) for body in receiver.accepted] == [2, 1]
    assert {finding_id for finding_id, _ in journal.sent} == {"f1", "g", "f2"}


def test_mild_and_settled_findings_are_not_sent(receiver: Any, journal: Journal) -> None:
    notifier = journal.notifier(open_channel(receiver.url), min_severity="error")
    notifier.notify(
        [
            finding(1, severity=Severity.WARNING),
            finding(2, state=FindingState.ACKNOWLEDGED),
            finding(3, state=FindingState.RESOLVED),
            finding(4),
        ]
    )
    assert notifier.close(10)
    assert titles(receiver) == ["trouble 4"]


def test_a_channel_that_fails_twice_and_then_accepts_gets_each_message_once(
    receiver: Any, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    receiver.statuses = [500, 503, 200]
    notifier = journal.notifier(open_channel(receiver.url))
    notifier.notify([finding(1), finding(2)])
    assert notifier.close(10)
    assert titles(receiver) == ["trouble 1", "trouble 2"]
    assert len(receiver.requests) == 4
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "HTTP status 500; tried again in the background" in caplog.text
    assert "works again" in caplog.text
    assert CANARY not in caplog.text


def test_the_caller_never_waits_for_a_channel(receiver: Any, journal: Journal) -> None:
    receiver.may_answer.clear()
    notifier = journal.notifier(open_channel(receiver.url))
    start = time.perf_counter()
    for n in range(100):
        notifier.notify([finding(n)])
    assert time.perf_counter() - start < 1
    assert notifier.drain(0.05) is False
    receiver.may_answer.set()
    assert notifier.close(20)
    assert len(receiver.accepted) == 100


def test_a_broken_channel_does_not_hold_up_another(
    receiver: Any, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Broken(NotificationError("out of order"))
    notifier = journal.notifier(broken, open_channel(receiver.url), patience=Patience(first_retry_s=30))
    notifier.notify([finding(1)])
    deadline = time.monotonic() + 10
    while not receiver.accepted and time.monotonic() < deadline:
        time.sleep(0.01)
    assert titles(receiver) == ["trouble 1"]
    assert notifier.close(0.1) is False
    assert broken.n_tries >= 1


def test_after_the_last_try_it_is_given_up_unmarked_and_tried_anew_when_seen_again(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Broken(NotificationError("out of order"))
    notifier = journal.notifier(broken)
    notifier.notify([finding(1)])
    assert notifier.drain(10)
    assert broken.n_tries == QUICK.max_tries
    assert journal.sent == []
    notifier.notify([finding(1)])
    assert notifier.close(10)
    assert broken.n_tries == 2 * QUICK.max_tries
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_a_final_refusal_is_not_tried_again(receiver: Any, journal: Journal) -> None:
    receiver.statuses = [404, 200]
    notifier = journal.notifier(open_channel(receiver.url))
    notifier.notify([finding(1), finding(2)])
    assert notifier.close(10)
    assert titles(receiver) == ["trouble 2"]
    assert [finding_id for finding_id, _ in journal.sent] == ["f2"]


def test_an_error_that_nobody_expected_stays_in_the_background(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Broken(ZeroDivisionError(CANARY))
    notifier = journal.notifier(broken)
    notifier.notify([finding(1)])
    assert notifier.close(10)
    assert "broken://… failed: ZeroDivisionError" in caplog.text
    assert CANARY not in caplog.text


def test_leaving_hurries_what_waits_for_another_try(receiver: Any, journal: Journal) -> None:
    receiver.statuses = [500, 200]
    notifier = journal.notifier(open_channel(receiver.url), patience=Patience(first_retry_s=60))
    notifier.notify([finding(1)])
    deadline = time.monotonic() + 10
    while not receiver.requests and time.monotonic() < deadline:
        time.sleep(0.01)
    assert notifier.close(10)
    assert titles(receiver) == ["trouble 1"]


def test_a_receiver_that_asks_for_a_pause_gets_it_even_in_a_hurry(receiver: Any, journal: Journal) -> None:
    receiver.statuses, receiver.headers = [429, 200], {"Retry-After": "0.4"}
    notifier = journal.notifier(open_channel(receiver.url))
    start = time.monotonic()
    notifier.notify([finding(1)])
    assert notifier.close(10)
    assert time.monotonic() - start >= 0.4
    assert titles(receiver) == ["trouble 1"]


def test_a_journal_that_cannot_be_asked_or_told_does_not_keep_a_message_back(
    receiver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError("the store is away")

    notifier = Notifier([open_channel(receiver.url)], already_sent=fail, record_sent=fail, patience=QUICK)
    notifier.notify([finding(1)])
    notifier.notify([finding(1)])
    assert notifier.close(10)
    assert titles(receiver) == ["trouble 1"]
    assert "could not be recorded" in caplog.text


def test_no_thread_runs_before_something_is_sent_nor_after_closing(receiver: Any, journal: Journal) -> None:
    before = threading.active_count()
    notifier = journal.notifier(open_channel(receiver.url))
    assert threading.active_count() == before
    notifier.notify([finding(1)])
    assert notifier.close(10)
    assert notifier.close(10)
    notifier.notify([finding(2)])
    assert titles(receiver) == ["trouble 1"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("notify-")]
