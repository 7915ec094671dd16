"""What is written down is sent once, whatever dies in between, and no address is written down."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from advisor.errors import NotificationError
from advisor.findings import codes
from advisor.findings.alerting import Policy
from advisor.notify import Message, open_channel
from advisor.notify.desk import DOUBT, Desk
from storage.embed import HashingEmbedder
from storage.events import finding_opened
from storage.records import Event
from storage.store import RunStore, open_store
from storage.testing import add_experiment

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> datetime:
        return self.now

    def after(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Killed(BaseException):
    """SIGKILL, as far as Python code can tell."""


class Fragile:
    """A channel that does what it is told to, one deed a message."""

    id = "fragile"
    takes_pictures = True

    def __init__(self, *deeds: Any) -> None:
        self.deeds = list(deeds)
        self.arrived: list[Message] = []

    def describe(self) -> str:
        return "fragile://…"

    def send(self, message: Message) -> None:
        deed = self.deeds.pop(0) if self.deeds else None
        if isinstance(deed, NotificationError):
            raise deed
        if deed == "killed before":
            raise Killed
        self.arrived.append(message)
        if deed == "killed after":
            raise Killed


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    opened = open_store(tmp_path / "store", embedder=HashingEmbedder())
    add_experiment(opened, "e")
    opened.append([Event.new("run.created", "e", f"r{i}", time=BEGIN, params={"lr": 0.1}) for i in range(8)])
    yield opened
    opened.close()


def nan(store: RunStore, *runs: int, now: datetime = BEGIN) -> None:
    evidence = {"n": 9, "n_nonfinite": 2, "value": float("nan"), "before": 0.5}
    store.append(
        [
            finding_opened(
                codes.finding(
                    codes.NON_FINITE, run_id=f"r{i}", experiment="e", time=now, evidence=evidence, metric="loss", step=7
                )
            )
            for i in runs
        ]
    )


def desk(store: RunStore, clock: Clock, *channels: Any, **options: Any) -> Desk:
    return Desk(store, channels, policy=Policy(group_wait_s=0.0), clock=clock, **options)


def test_a_group_is_told_with_value_step_baseline_confidence_and_how_to_acknowledge(
    store: RunStore, clock: Clock
) -> None:
    channel = Fragile()
    nan(store, 0, 1, 2)
    made = desk(store, clock, channel)
    made.look()
    assert made.deliver(channel) == 1
    [message] = channel.arrived
    assert message.title == "✖ e: 3 of 8 runs: non-finite"
    assert "value nan, at step 7, baseline (value before) 0.5, confidence: a rule, no chance in it" in message.text
    assert f"advisor ack {message.id[:8]}" in message.text
    assert message.fields["run_ids"] == ["r0", "r1", "r2"]
    json.dumps(message.fields, allow_nan=False)


def test_another_process_repeats_nothing(store: RunStore, clock: Clock) -> None:
    channel = Fragile()
    nan(store, 0)
    for _ in range(3):
        made = desk(store, clock, channel)
        made.look()
        made.deliver(channel)
        clock.after(60)
    assert len(channel.arrived) == 1
    assert store.state().notified == {(codes.finding_id("r0", "ADV101", "loss"), "fragile")}


@pytest.mark.parametrize(("deed", "n_arrived"), [("killed before", 1), ("killed after", 2)])
def test_who_dies_while_sending_is_succeeded_under_the_same_id(
    store: RunStore, clock: Clock, deed: str, n_arrived: int
) -> None:
    channel = Fragile(deed)
    nan(store, 0)
    first = desk(store, clock, channel)
    first.look()
    with pytest.raises(Killed):
        first.deliver(channel)
    second = desk(store, clock, channel)
    second.look()
    assert second.deliver(channel) == 1
    assert len(channel.arrived) == n_arrived
    assert len({message.id for message in channel.arrived}) == 1
    assert channel.arrived[-1].text.startswith(DOUBT)


def test_a_channel_that_is_down_for_a_day_loses_nothing_and_sends_nothing_twice(store: RunStore, clock: Clock) -> None:
    channel = Fragile(*[NotificationError("down")] * 40)
    for i in range(8):
        nan(store, i, now=clock.now)
        for _ in range(5):
            made = desk(store, clock, channel)  # a new process each time
            made.look()
            made.deliver(channel)
            clock.after(2160)
    for _ in range(10):
        made = desk(store, clock, channel)
        made.look()
        made.deliver(channel)
        clock.after(600)
    told = [
        run_id
        for message in channel.arrived
        if message.fields["kind"] == "firing"
        for run_id in message.fields["run_ids"]
    ]
    assert sorted(told) == [f"r{i}" for i in range(8)]
    assert len({message.id for message in channel.arrived}) == len(channel.arrived)


def test_a_channel_is_left_alone_for_a_while_after_a_failure(store: RunStore, clock: Clock) -> None:
    channel = Fragile(NotificationError("down"))
    nan(store, 0)
    made = desk(store, clock, channel)
    made.look()
    assert made.deliver(channel) == 0
    clock.after(4)
    assert desk(store, clock, channel).deliver(channel) == 0
    clock.after(2)
    assert desk(store, clock, channel).deliver(channel) == 1


def test_one_channel_that_fails_does_not_keep_another_from_its_messages(store: RunStore, clock: Clock) -> None:
    broken, good = Fragile(NotificationError("down")), Fragile()
    good.id = "good"
    nan(store, 0)
    made = desk(store, clock, broken, good)
    made.look()
    assert (made.deliver(broken), made.deliver(good), made.n_waiting()) == (0, 1, 1)


def test_addresses_and_secrets_are_never_written_down(
    store: RunStore, clock: Clock, receiver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses = [500, 200]
    channel = open_channel(f"{receiver.url}?token=s3cret-canary#s3cret-canary")
    nan(store, 0)
    made = desk(store, clock, channel)
    made.look()
    made.deliver(channel)
    clock.after(10)
    assert made.deliver(channel) == 1
    everything = json.dumps([dict(event.body) for event in store.events()], default=str) + caplog.text
    assert "s3cret-canary" not in everything
    assert channel.id in everything


def test_tries_of_a_message_have_one_key_and_are_signed(store: RunStore, clock: Clock, receiver: Any) -> None:
    receiver.statuses = [500, 200]
    channel = open_channel(f"{receiver.url}#p%40ss")
    nan(store, 0)
    made = desk(store, clock, channel)
    made.look()
    made.deliver(channel)
    clock.after(10)
    made.deliver(channel)
    [(path, first, body), (_, second, _)] = receiver.requests
    assert "#" not in path
    assert first["Idempotency-Key"] == second["Idempotency-Key"] == body["id"]
    signed = f"{first['X-Advisor-Timestamp']}.".encode() + json.dumps(body).encode()
    assert first["X-Advisor-Signature"] == "sha256=" + hmac.new(b"p@ss", signed, hashlib.sha256).hexdigest()


def test_a_picture_goes_where_it_is_taken_and_its_failure_keeps_no_message_back(store: RunStore, clock: Clock) -> None:
    def fail(_: object) -> bytes:
        raise OSError("no font")

    channel, other = Fragile(), Fragile()
    other.id = "other"
    nan(store, 0)
    for one, picture in ((channel, lambda _: b"png"), (other, fail)):
        made = desk(store, clock, one, picture=picture)
        made.look()
        made.deliver(one)
    assert [message.picture for message in (*channel.arrived, *other.arrived)] == [b"png", None]


def test_a_failure_that_the_parameters_explain_is_not_pushed_and_one_among_sound_runs_is(
    store: RunStore, clock: Clock
) -> None:
    evidence = {"end": 9.0, "start": 2.0, "best": 1.0, "outcome": "at the end"}
    lrs = {f"x{i}": 10.0**-4 * 1.5**i for i in range(8)} | {f"y{i}": 1.0 + i for i in range(5)}
    lost = ["x3", *(run_id for run_id in lrs if run_id.startswith("y"))]
    add_experiment(store, "sweep")
    about: dict[str, Any] = {"experiment": "sweep", "time": BEGIN, "evidence": evidence, "metric": "loss"}
    store.append(
        [
            *(
                Event.new("run.created", "sweep", r, time=BEGIN, params={"lr": lr}, state="finished")
                for r, lr in lrs.items()
            ),
            *(finding_opened(codes.finding(codes.DIVERGED, run_id=run_id, **about)) for run_id in lost),
        ]
    )
    channel = Fragile()
    made = desk(store, clock, channel)
    for seconds in (60, 90_000):
        clock.after(seconds)
        made.look()
        made.deliver(channel)
    told = [(message.fields["kind"], sorted(message.fields["run_ids"])) for message in channel.arrived]
    assert told == [("firing", ["x3"]), ("digest", [f"y{i}" for i in range(5)])]


def test_the_worst_trouble_in_the_world_still_fits_into_a_message(store: RunStore, clock: Clock) -> None:
    store.append([Event.new("run.created", "e", f"x{i}", time=BEGIN) for i in range(300)])
    long = {"n": 9, "n_nonfinite": 2, "error": "\x1b[31m@everyone " * 500}
    store.append(
        [
            finding_opened(codes.finding(codes.FAILED, run_id=f"x{i}", experiment="e", time=BEGIN, evidence=long))
            for i in range(300)
        ]
    )
    channel = Fragile()
    made = desk(store, clock, channel)
    made.look()
    made.deliver(channel)
    [message] = channel.arrived
    assert (len(message.title) <= 150, len(message.text) <= 1_700) == (True, True)
    assert (message.fields["n_runs"], len(message.fields["findings"])) == (300, 50)
    assert "\x1b" not in message.text + json.dumps(dict(message.fields))
