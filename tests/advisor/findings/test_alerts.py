"""What is told, when, and how often: decided from the journal and the clock, and from nothing else."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.findings import codes
from advisor.findings.alerting import Alert, AlertState, Decision, Policy, Quiet, decide, open_alerts
from advisor.findings.alerts import Book, DeliveryState
from storage.events import finding_opened
from storage.records import Event, Finding, Run, RunState, Severity

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
CHANNEL = "c0ffee"


def finding(run_id: str = "r0", code: codes.Code = codes.SPIKE, metric: str | None = "loss", **changes: Any) -> Finding:
    made = Finding(
        codes.finding_id(run_id, code.code, metric),
        run_id=run_id,
        experiment="e",
        code=code.code,
        title=f"{code.slug} of {metric}",
        severity=code.severity,
        detector="rules",
        metric=metric,
        time=BEGIN,
    )
    return replace(made, **changes)


class World:
    """A journal, runs and a clock; what is decided is written down as a watcher would."""

    def __init__(self, n_runs: int = 1, *, experiment: str = "e", **policy: Any) -> None:
        self.now = BEGIN
        self.events: list[Event] = []
        self.policy = Policy(**policy)
        self.runs = {
            f"r{i}": Run(
                f"r{i}",
                number=i,
                ordinal=i,
                experiment=experiment,
                state=RunState.RUNNING,
                created=BEGIN,
                started=BEGIN,
            )
            for i in range(n_runs)
        }

    def after(self, seconds: float) -> World:
        self.now += timedelta(seconds=seconds)
        return self

    def found(self, *findings: Finding) -> World:
        self.events += [finding_opened(replace(each, time=self.now)) for each in findings]
        return self

    def state(self, which: Finding, state: str) -> World:
        body = {"finding_id": which.id, "state": state}
        self.events.append(Event.new("finding.state", "e", which.run_id, time=self.now, **body))
        return self

    def say(self, kind: str, /, **body: Any) -> World:
        self.events.append(Event.new(kind, "e", "", time=self.now, **body))
        return self

    def ended(self, run_id: str, state: RunState = RunState.FINISHED) -> World:
        self.runs[run_id] = replace(self.runs[run_id], state=state, ended=self.now)
        return self

    @property
    def book(self) -> Book:
        """Folded anew at each call: a restart at every moment."""
        book = Book()
        book.fold(self.events)
        return book

    def look(self, *, deliver: bool = True, channel: str = CHANNEL, **options: Any) -> list[Decision]:
        running = Counter(run.experiment for run in self.runs.values() if run.state is RunState.RUNNING)
        decided = decide(self.book, channel, self.runs, n_running=running, now=self.now, policy=self.policy, **options)
        for one in decided:
            body = {"channel": channel, "kind": one.kind, "alerts": one.entries(), "message": {}}
            body |= {} if one.kind == "digest" else {"code": one.alerts[0].lead.code}
            event = Event.new("alert.queued", one.alerts[0].run.experiment, time=self.now, **body)
            self.events.append(replace(event, id=one.id))
            if deliver:
                self.say("alert.delivery", message_id=one.id, channel=channel, state="sent")
        return decided

    def told(self, seconds: float, *, step_s: float = 30.0) -> list[Decision]:
        """Look again and again for some time."""
        said = []
        for _ in range(round(seconds / step_s)):
            said += self.after(step_s).look()
        return said


def shape(decided: Sequence[Decision]) -> list[tuple[str, list[str]]]:
    return [(one.kind, [alert.run.id for alert in one.alerts]) for one in decided]


def test_what_shows_for_a_minute_fires_and_is_told_once() -> None:
    world = World().found(finding())
    assert world.look() == []
    [alert] = open_alerts(world.book, world.runs, now=world.now, policy=world.policy)
    assert alert.state is AlertState.PENDING
    assert world.after(59).look() == []
    assert shape(world.after(1).look()) == [("firing", ["r0"])]
    assert world.told(1500) == []


@pytest.mark.parametrize("code", [codes.NON_FINITE, codes.STALLED, codes.CRASHED, codes.FAILED])
def test_what_needs_no_second_look_fires_at_once(code: codes.Code) -> None:
    assert shape(World().found(finding(code=code)).look()) == [("firing", ["r0"])]


def test_the_curve_of_a_run_that_is_over_needs_no_second_look() -> None:
    assert len(World().found(finding()).ended("r0").look()) == 1


def test_what_goes_before_it_is_believed_is_never_told() -> None:
    spike = finding()
    world = World().found(spike).after(30).state(spike, "resolved")
    assert world.told(600) == []
    world.state(spike, "open")
    assert world.after(30).look() == []  # it is seen for 30 s, not for 660
    assert len(world.told(60)) == 1


def test_what_flutters_is_one_trouble_and_what_comes_back_waits_half_an_hour() -> None:
    spike = finding()
    world = World().found(spike)
    assert len(world.told(90)) == 1
    for _ in range(5):
        world.state(spike, "resolved").after(60).state(spike, "open")
        assert world.told(60) == []
    world.state(spike, "resolved").after(300).state(spike, "open")
    assert world.told(90) == []
    world.after(1800)
    assert shape(world.look()) == [("firing", ["r0"])]


def test_one_run_detector_and_curve_have_one_alert_that_is_told_again_when_it_gets_graver() -> None:
    world = World().found(finding())
    assert len(world.told(90)) == 1
    world.found(finding(code=codes.NEVER_LEARNED))
    assert world.told(300) == []
    world.found(finding(code=codes.DIVERGED))
    [said] = world.told(300)
    assert [alert.lead.code for alert in said.alerts] == [codes.DIVERGED.code]


def test_runs_with_the_same_trouble_share_a_message() -> None:
    world = World(40)
    world.found(*(finding(f"r{i}", codes.NON_FINITE) for i in range(4)))
    assert world.look() == []  # others may follow
    world.after(20).found(*(finding(f"r{i}", codes.NON_FINITE) for i in range(4, 7)))
    assert shape(world.after(10).look()) == [("firing", [f"r{i}" for i in range(7)])]
    world.found(finding("r7", codes.NON_FINITE))
    assert world.told(270) == []
    [more] = world.told(60)
    assert (shape([more]), more.n_before) == ([("firing", ["r7"])], 7)


def test_experiments_and_codes_are_told_apart() -> None:
    world = World(3)
    world.runs["r2"] = replace(world.runs["r2"], experiment="f")
    world.found(
        finding("r0", codes.STALLED, None), finding("r1", codes.FAILED, None), finding("r2", codes.STALLED, None)
    )
    assert len(world.told(60)) == 3


def test_a_nan_mutes_the_rest_of_its_run() -> None:
    world = World(2).found(finding("r0", codes.NON_FINITE), finding("r0", codes.DIVERGED, "acc"), finding("r1"))
    world.found(finding("r0", codes.NON_FINITE, "val_loss"), finding("r0", codes.CRASHED, None))
    said = world.told(600)
    assert sorted((one.alerts[0].lead.code, len(one.alerts)) for one in said) == [("ADV101", 1), ("ADV103", 1)]


def test_a_passing_overflow_of_mixed_precision_mutes_nothing() -> None:
    world = World().found(finding("r0", codes.NON_FINITE, "grad_norm", severity=Severity.INFO), finding("r0"))
    assert [one.alerts[0].lead.code for one in world.told(120)] == ["ADV103"]


def test_it_is_said_again_after_half_an_hour_then_after_twice_as_long_and_five_times_a_day() -> None:
    world = World().found(finding())
    begun = world.now
    times = []
    for _ in range(24 * 60):
        for one in world.after(60).look():
            times.append((world.now - begun).total_seconds() / 60)
            assert one.kind == ("firing" if len(times) == 1 else "repeat")
    assert times == [1, 31, 91, 211, 451]


def test_what_is_over_is_not_said_again() -> None:
    world = World().found(finding(code=codes.CRASHED, metric=None)).ended("r0", RunState.CRASHED)
    assert len(world.told(86_400, step_s=600)) == 1


def test_a_run_is_named_in_five_messages_a_day_and_the_rest_is_in_a_digest() -> None:
    world = World(per_hour=100)
    for i in range(9):
        world.found(finding("r0", codes.SPIKE, f"m{i}")).after(400)
        world.look()
    kinds = Counter(message.kind for message in world.book.line(CHANNEL).messages.values())
    assert kinds["firing"] + kinds["repeat"] == 5
    [digest] = [one for one in world.told(3600) if one.kind == "digest"] or [
        message for message in world.book.line(CHANNEL).messages.values() if message.kind == "digest"
    ]
    assert digest is not None


def test_no_hour_has_more_messages_than_the_cap_and_a_digest_holds_the_rest() -> None:
    world = World(60, per_hour=4)
    for i in range(60):
        world.runs[f"r{i}"] = replace(world.runs[f"r{i}"], experiment=f"e{i}")
    world.found(*(finding(f"r{i}", codes.NON_FINITE) for i in range(60)))
    said = world.told(3600)
    assert [one.kind for one in said] == ["firing", "firing", "firing", "digest"]
    assert sorted(alert.run.id for one in said for alert in one.alerts) == sorted(world.runs)


def test_mild_findings_and_bad_configurations_are_in_a_daily_digest_only() -> None:
    world = World().found(
        finding(code=codes.STOPPED_LEARNING), finding(metric="acc", evidence={"bad_configuration": True})
    )
    world.policy = replace(world.policy, min_severity=Severity.INFO)
    assert world.told(86_000, step_s=500) == []
    [digest] = world.told(1000, step_s=500)
    assert shape([digest]) == [("digest", ["r0", "r0"])]
    assert world.told(3 * 86_400, step_s=3600) == []


def test_acknowledged_is_told_no_more_until_it_comes_back() -> None:
    spike = finding()
    world = World().found(spike).state(spike, "acknowledged")
    assert world.told(86_400, step_s=600) == []
    world.state(spike, "resolved").after(3600).state(spike, "open")
    assert len(world.told(120)) == 1


@pytest.mark.parametrize(
    ("scope", "target"), [("run", "r0"), ("experiment", "e"), ("code", "ADV103"), ("finding", finding().id)]
)
def test_muted_is_not_told_while_the_mute_holds(scope: str, target: str) -> None:
    world = World()
    world.say("alert.muted", scope=scope, target=target, until=(world.now + timedelta(hours=2)).isoformat())
    world.found(finding())
    assert world.told(7000, step_s=500) == []
    assert len(world.told(1000, step_s=500)) == 1
    other = World().say("alert.muted", scope=scope, target=target).found(finding())
    assert other.told(86_400, step_s=3600) == []
    other.say("alert.unmuted", scope=scope, target=target)
    assert len(other.told(60)) == 1


def test_in_quiet_hours_nothing_is_said_and_after_them_all_of_it() -> None:
    world = World(2, quiet=Quiet.parse("11:00-13:00", UTC))
    world.found(finding("r0", codes.NON_FINITE))
    assert world.told(3500, step_s=100) == []
    world.found(finding("r1", codes.NON_FINITE))
    assert shape(world.told(200, step_s=100)) == [("firing", ["r0", "r1"])]


@pytest.mark.parametrize(("hour", "quiet"), [(21, False), (22, True), (3, True), (7, False)])
def test_quiet_hours_may_go_past_midnight(hour: int, quiet: bool) -> None:
    assert Quiet.parse("22:00-07:00", UTC).holds(datetime(2026, 1, 1, hour, tzinfo=UTC)) is quiet


@pytest.mark.parametrize("text", ["", "22-7", "25:00-07:00", "07:00-07:00", "22:00"])
def test_quiet_hours_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quiet hours"):
        Quiet.parse(text)


def test_trouble_of_runs_that_ended_long_ago_is_one_digest() -> None:
    world = World(30).after(-3 * 86_400)
    for run_id in world.runs:
        world.ended(run_id, RunState.CRASHED)
    world.after(3 * 86_400).found(*(finding(run_id, codes.CRASHED, None) for run_id in world.runs))
    [said] = world.told(3600)
    assert (said.kind, len(said.alerts)) == ("digest", 30)


def test_runs_that_were_imported_or_deleted_are_not_spoken_of() -> None:
    world = World(2).found(finding("r0", codes.NON_FINITE), finding("r1", codes.NON_FINITE))
    over = world.runs["r0"].created
    world.runs["r0"] = replace(world.runs["r0"], source="import", state=RunState.FINISHED, ended=over)
    del world.runs["r1"]
    assert world.told(86_400, step_s=3600) == []


def test_a_channel_that_is_down_gets_few_messages_that_hold_all_when_it_is_back() -> None:
    world = World(100, per_hour=100)
    for i in range(100):
        world.found(finding(f"r{i}", codes.NON_FINITE)).after(600)
        world.look(deliver=False)
    line = world.book.line(CHANNEL)
    assert len(line.waiting()) == world.policy.waiting_at_most
    for message in line.waiting():
        world.say("alert.delivery", message_id=message.id, channel=CHANNEL, state="sent")
    world.told(1200)
    named = Counter(
        run_id for m in world.book.line(CHANNEL).messages.values() for run_id in m.run_ids if m.kind == "firing"
    )
    assert named == Counter(world.runs.keys())


def test_each_channel_has_its_own_account() -> None:
    world = World().found(finding(code=codes.NON_FINITE))
    assert len(world.look()) == len(world.look(channel="other")) == 1
    assert world.look() == world.look(channel="other") == []


def test_what_was_sent_without_a_message_of_the_outbox_counts_as_told() -> None:
    nan = finding(code=codes.NON_FINITE)
    world = World().found(nan)
    world.events.append(Event.new("finding.notified", "e", "r0", time=BEGIN, finding_id=nan.id, channel=CHANNEL))
    assert world.told(1500) == []


def test_who_ends_waits_for_no_group_but_leaves_later_ones_to_those_who_go_on() -> None:
    world = World(4).found(finding("r0", codes.NON_FINITE))
    assert world.look() == []
    assert shape(world.look(leaving=True)) == [("firing", ["r0"])]
    world.found(finding("r1", codes.NON_FINITE))
    assert world.look(leaving=True) == []
    for i in range(4):
        world.ended(f"r{i}")
    assert world.look() == []
    assert shape(world.look(leaving=True)) == [("firing", ["r1"])]


def test_what_a_configuration_is_to_blame_for_is_asked_of_news_only_and_is_in_a_daily_digest() -> None:
    world = World().found(finding(code=codes.DIVERGED)).after(60)
    asked = []

    def blame(alert: Alert) -> bool:
        asked.append(alert.key)
        return True

    assert world.look(is_configuration=blame) == []
    assert len(asked) == 1
    assert shape(world.after(86_400).look(is_configuration=blame)) == [("digest", ["r0"])]
    world.after(60).look(is_configuration=blame)
    assert len(asked) == 2


def test_of_two_watchers_that_decide_at_once_one_counts() -> None:
    world = World(2).found(finding("r0", codes.NON_FINITE))
    other = World(2)
    other.events = list(world.events)
    other.found(finding("r1", codes.NON_FINITE))
    world.after(30).look(deliver=False)
    other.after(30).look(deliver=False)
    world.events += other.events[1:]  # the other's, a moment later
    [message] = world.book.line(CHANNEL).messages.values()
    assert message.run_ids == {"r0"}
    said = world.told(360)
    assert shape(said) == [("firing", ["r1"])]


def test_the_same_decision_has_the_same_id() -> None:
    world = World().found(finding(code=codes.NON_FINITE))
    twin = World()
    twin.events = list(world.events)
    assert world.look()[0].id == twin.look()[0].id


def test_whether_a_message_arrived_is_doubtful_where_its_sender_died_or_nobody_answered() -> None:
    world = World().found(finding(code=codes.NON_FINITE))
    [said] = world.look(deliver=False)

    def message() -> Any:
        return world.book.line(CHANNEL).messages[said.id]

    world.say("alert.delivery", message_id=said.id, channel=CHANNEL, state="sending")
    assert (message().state, message().doubtful, message().is_open) == (DeliveryState.SENDING, False, True)
    world.say("alert.delivery", message_id=said.id, channel=CHANNEL, state="failed", why="HTTP 500")
    assert message().doubtful is False
    world.say("alert.delivery", message_id=said.id, channel=CHANNEL, state="sending")
    world.say("alert.delivery", message_id=said.id, channel=CHANNEL, state="sending")
    assert message().doubtful is True
    assert message().n_tries == 3


def test_pauses_grow_and_a_message_that_is_refused_for_good_makes_room() -> None:
    world = World().found(finding(code=codes.NON_FINITE))
    [said] = world.look(deliver=False)
    pauses = []
    for _ in range(10):
        world.say("alert.delivery", message_id=said.id, channel=CHANNEL, state="failed")
        pauses.append((world.book.line(CHANNEL).not_before - world.now).total_seconds())  # type: ignore[operator]
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300, 300]
    for _ in range(3):
        assert world.book.line(CHANNEL).waiting()
        world.say("alert.delivery", message_id=said.id, channel=CHANNEL, state="refused")
    assert world.book.line(CHANNEL).waiting() == []
    assert world.book.line(CHANNEL).messages[said.id].state is DeliveryState.DROPPED


def test_an_event_that_makes_no_sense_changes_nothing() -> None:
    world = World().say("alert.queued", channel="c", kind="firing", alerts=[{}], message={}).say("alert.delivery")
    world.say("alert.muted", scope="weather", target="rain").say("finding.state", finding_id="x", state="open")
    world.found(finding(code=codes.NON_FINITE))
    assert len(world.look()) == 1


deeds = st.lists(
    st.tuples(
        st.sampled_from(["found", "resolved", "open", "acknowledged", "end"]),
        st.integers(0, 5),
        st.sampled_from([codes.SPIKE, codes.DIVERGED, codes.NON_FINITE, codes.STALLED, codes.UNUSUAL]),
        st.sampled_from([1, 30, 90, 400, 2000, 9000]),
    ),
    max_size=40,
)


@given(deeds, st.integers(1, 5))
def test_whatever_happens_caps_hold_and_nothing_is_told_twice(what: list[Any], per_hour: int) -> None:
    world = World(6, per_hour=per_hour)
    for deed, i, code, seconds in what:
        each = finding(f"r{i}", code)
        if deed == "found":
            world.found(each)
        elif deed == "end":
            world.ended(each.run_id)
        else:
            world.state(each, deed)
        world.look()
        world.after(seconds)
    messages = list(world.book.line(CHANNEL).messages.values())
    for message in messages:
        within = [m for m in messages if 0 <= (m.time - message.time).total_seconds() < 3600]
        assert len(within) <= per_hour
        day = [m for m in messages if 0 <= (m.time - message.time).total_seconds() < 86_400 and m.kind != "digest"]
        named = Counter(run_id for m in day for run_id in m.run_ids)
        assert all(n <= world.policy.per_run_a_day for n in named.values())
    first = Counter(
        (alert["finding_id"], alert["episode"], alert["gravity"])
        for m in messages
        if m.kind != "repeat"
        for alert in m.alerts
    )
    assert all(n == 1 for n in first.values())


def test_the_page_states_the_constants_of_the_code(repository: Path) -> None:
    from advisor.findings import alerting, alerts
    from advisor.notify import channels, teller

    page = (repository / "docs" / "notifications.md").read_text(encoding="utf-8")
    stated = re.findall(r"`([A-Z_]+)` = ([\d.]+)", page)
    assert len(stated) >= 9
    modules = (alerting, alerts, channels, teller)
    for name, value in stated:
        [found] = {getattr(module, name) for module in modules if hasattr(module, name)}
        assert float(value) == found, name


def test_what_was_judged_a_false_alarm_stays_gone_until_it_is_judged_real() -> None:
    seen = finding()

    def event(kind: str, **body: Any) -> Event:
        return Event.new(kind, seen.experiment, seen.run_id, time=BEGIN, finding_id=seen.id, **body)

    book = Book()
    book.fold([finding_opened(seen), event("finding.judged", verdict="ok"), event("finding.state", state="open")])
    assert str(book.findings[seen.id].state) == "resolved"
    book.fold([event("finding.judged", verdict="real")])
    assert str(book.findings[seen.id].state) == "open"
