"""Operations on findings across all experiments: list, acknowledge, judge, mute.

The list folds alerts (``Advisor.alerts``) and reads no runs but those of the findings that fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal

from msgspec import Meta

from advisor.documents.fact_paths import finding_facts
from advisor.errors import ConfigError
from advisor.operations import bounds, find
from advisor.operations.diagnosing import NOT_KEPT, hint_of, in_words, seen_now
from advisor.operations.operation import Answer, Asked, Operation, Told, untrusted
from advisor.operations.told import ExperimentName, FindingTold, RunName, Severity, facts_told, finding_told
from advisor.redact import scrub
from advisor.times import until
from storage.errors import did_you_mean
from storage.records import FindingState, Run
from storage.records import Severity as Grade

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.findings.alerts import Mute
    from advisor.silencing import Silenced
    from storage.records import Finding

MOST: Final = 100
LOOKED_AT: Final = 20
"""Newest runs that are looked at for what nobody has kept."""
WithState = Literal["open", "acknowledged", "resolved", "unresolved", "all"]
Reference = Annotated[
    str,
    Meta(min_length=1, max_length=2_000_000, description="A finding's id or its beginning, RUN:CODE, or a run."),
]
Length = Annotated[
    Annotated[str, Meta(max_length=20)] | None,
    Meta(description="Only for a while: 90s, 30m, 2h, 1d or 1w; null: for good.", examples=["2h"]),
]


class FindingsAsked(Asked, frozen=True, kw_only=True):
    """Which findings."""

    experiment: Annotated[ExperimentName | None, Meta(description="Only of its runs; all where null.")] = None
    run: Annotated[RunName | None, Meta(description="Only of this run.")] = None
    severity: Annotated[Severity | None, Meta(description="Only at least this severe.")] = None
    code: Annotated[
        Annotated[str, Meta(max_length=100)] | None,
        Meta(description="Only of this kind: a code or its word.", examples=["ADV103", "spike"]),
    ] = None
    state: Annotated[WithState, Meta(description="unresolved: open or acknowledged.")] = "open"
    limit: Annotated[
        int, Meta(ge=1, le=MOST, description="How many at most, the gravest first, of these the newest.")
    ] = 20
    offset: Annotated[int, Meta(ge=0, le=10**9, description="How many are left out before the first.")] = 0


class ListedTold(Told, frozen=True, kw_only=True):
    """One finding in a list."""

    finding: FindingTold
    run_number: Annotated[int, Meta(description="Position of the run in its experiment.")]
    kind: Annotated[str, Meta(description="The kind of trouble in a word or two.", examples=["spike"])]
    evidence_in_words: Annotated[list[str], untrusted("The figures it rests on, one a line.")]
    hint: Annotated[str | None, Meta(description="What to look at first; null where nothing is known.")]
    what_to_do: str
    is_muted: Annotated[bool, Meta(description="Whether nobody is told of it at present.")]


class FindingsTold(Answer, frozen=True, kw_only=True):
    """Findings, and how many fit in all."""

    findings: list[ListedTold]
    n_fitting: Annotated[int, Meta(description="Findings that fit, those that are not in this answer included.")]
    n_by_severity: dict[str, int]
    n_by_code: dict[str, int]
    offset: int
    n_not_kept: Annotated[
        int,
        Meta(
            description=f"Troubles that the newest {LOOKED_AT} runs asked about show now and that are not kept, so not "
            "listed: check_experiment keeps them."
        ),
    ]
    note: Annotated[str, Meta(description="What to do about those; empty where there are none.")]


@dataclass(frozen=True, slots=True)
class Known:
    """A finding as it is by now, with its run."""

    finding: Finding
    state: FindingState
    run: Run
    since: datetime


def list_findings(adv: Advisor, asked: FindingsAsked) -> FindingsTold:
    """List findings, the gravest first."""
    from advisor.findings import CODES

    known, silent = fitting(adv, asked)
    known = gravest_first(known)
    n_not_kept = _n_not_kept(adv, asked)
    page = known[asked.offset : asked.offset + asked.limit]
    return FindingsTold(
        findings=[listed(one, silent) for one in page],
        n_fitting=len(known),
        n_by_severity=_counted([str(one.finding.severity) for one in known]),
        n_by_code=_counted([one.finding.code for one in known if one.finding.code in CODES]),
        offset=asked.offset,
        n_not_kept=n_not_kept,
        note=f"{n_not_kept} {NOT_KEPT}" if n_not_kept else "",
        facts=facts_told(fact for one in page for fact in finding_facts(one.run, one.finding)),
    )


def gravest_first(known: Sequence[Known]) -> list[Known]:
    """Return findings in the order in which they are listed: the gravest first, of these the newest."""
    return sorted(known, key=lambda one: (one.finding.severity.rank, one.since.timestamp()), reverse=True)


def _n_not_kept(adv: Advisor, asked: FindingsAsked) -> int:
    """Return how many troubles the newest runs show that are not kept."""
    if asked.run is not None:
        runs = [find.run(adv, asked.run)]
    else:
        name = None if asked.experiment is None else find.experiment(adv, asked.experiment).name
        runs = adv.store.runs(name, order_by="created", descending=True, limit=LOOKED_AT)
    return sum(len(seen_now(adv, run)) for run in runs)


def fitting(adv: Advisor, asked: FindingsAsked) -> tuple[list[Known], list[Mute]]:
    """Return the findings that fit, of runs that are there, and what is muted; only these runs are read."""
    only_run = None if asked.run is None else find.run(adv, asked.run).id
    only = None if asked.experiment is None else find.experiment(adv, asked.experiment).name
    least = Grade(asked.severity or "info").rank
    code, states = _code(asked.code), _states(asked.state)
    with adv.alerts.reading() as book:
        seen = [
            (one.finding, one.state, one.since)
            for one in (book.findings if only_run is None else book.by_run.get(only_run, {})).values()
            if one.state in states and one.finding.severity.rank >= least and code in (None, one.finding.code)
        ]
        silent = book.active_mutes(adv.clock())
    ids = list(dict.fromkeys(finding.run_id for finding, _, _ in seen))
    runs = {entry.run.id: entry.run for entry in adv.store.state().entries(ids) if not entry.hidden}
    known = [
        Known(finding, state, runs[finding.run_id], since)
        for finding, state, since in seen
        if finding.run_id in runs and only in (None, runs[finding.run_id].experiment)
    ]
    return known, silent


def _states(word: WithState) -> frozenset[FindingState]:
    if word == "all":
        return frozenset(FindingState)
    if word == "unresolved":
        return frozenset({FindingState.OPEN, FindingState.ACKNOWLEDGED})
    return frozenset({FindingState(word)})


def _code(word: str | None) -> str | None:
    from advisor.findings import CODES

    if word is None:
        return None
    found = next((code.code for code in CODES.values() if word.upper() == code.code or word.lower() == code.slug), None)
    if found is None:
        names = [*CODES, *(code.slug for code in CODES.values())]
        raise ConfigError(f"there is no code {word!r:.80}; {did_you_mean(word, names, show=4)}")
    return found


def listed(one: Known, silent: Sequence[Mute]) -> ListedTold:
    """Return a finding as a list has it."""
    from advisor.findings import CODES

    finding, code = one.finding, CODES.get(one.finding.code)
    muted = {
        ("finding", finding.id),
        ("run", finding.run_id),
        ("experiment", one.run.experiment),
        ("code", finding.code),
    }
    return ListedTold(
        finding=finding_told(finding, experiment=one.run.experiment, state=one.state),
        run_number=one.run.number,
        kind="" if code is None else code.slug,
        evidence_in_words=in_words(finding),
        hint=hint_of(finding),
        what_to_do="" if code is None else code.what_to_do,
        is_muted=any((mute.scope, mute.target) in muted for mute in silent),
    )


def _counted(words: Sequence[str]) -> dict[str, int]:
    return {word: words.count(word) for word in dict.fromkeys(words)}


LIST_FINDINGS: Final = Operation(
    "list_findings",
    title="List findings",
    about="List what went wrong in runs, across experiments: open findings by default, the gravest first. "
    "What was never checked is not listed: check_experiment, 'advisor check' and watchers find more.",
    asks=FindingsAsked,
    answers=FindingsTold,
    does=list_findings,
    path="/findings",
)


# -- what people say to them


class AcknowledgeAsked(Asked, frozen=True, kw_only=True, rename={"for_": "for"}):
    """What somebody has seen."""

    findings: Annotated[
        list[Reference], Meta(min_length=1, max_length=100, description="Findings; a run stands for its open ones.")
    ]
    for_: Length = None


class SilencedTold(Told, frozen=True, kw_only=True):
    """What was acknowledged or muted."""

    scope: Literal["finding", "run", "experiment", "code"]
    target: Annotated[str, untrusted("Id of the finding or run, name of the experiment, or the code.")]
    until: Annotated[datetime | None, Meta(description="Null: for good.")]
    words: Annotated[str, untrusted("What it is, for people.")]


class ManySilencedTold(Answer, frozen=True, kw_only=True):
    """What was done."""

    done: list[SilencedTold]


def acknowledge(adv: Advisor, asked: AcknowledgeAsked) -> ManySilencedTold:
    """Say that somebody has seen findings: nothing more is sent of them until they are gone and come back."""
    from advisor.silencing import acknowledge as seen

    now = adv.clock()
    return _done(seen(adv.store, asked.findings, now=now, until=until(asked.for_, now, "for")))


def _done(found: Sequence[Silenced]) -> ManySilencedTold:
    return ManySilencedTold(
        done=[
            SilencedTold(
                scope=one.scope, target=bounds.name(one.target), until=one.until, words=bounds.value(one.words)
            )
            for one in found
        ]
    )


ACKNOWLEDGE: Final = Operation(
    "acknowledge",
    title="Acknowledge findings",
    about="Say that somebody has seen findings, until they are gone or for a while. It does not say whether they are "
    "right: judge_finding does.",
    asks=AcknowledgeAsked,
    answers=ManySilencedTold,
    does=acknowledge,
    method="POST",
    writes=True,
    path="/findings/acknowledge",
)


class JudgeAsked(Asked, frozen=True, kw_only=True):
    """What to say of a finding."""

    finding: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=2_000,
            description="Its id, the beginning of its id, or RUN:CODE.",
            examples=["digits#3:ADV103"],
        ),
    ]
    verdict: Annotated[
        Literal["ok", "real"], Meta(description="ok: the run was sound, a false alarm; real: there was trouble.")
    ]
    note: Annotated[Annotated[str, Meta(max_length=20_000)] | None, Meta(description="Why, for the history.")] = None


class JudgedTold(Answer, frozen=True, kw_only=True):
    """The finding, as it is now."""

    finding: FindingTold


def judge_finding(adv: Advisor, asked: JudgeAsked) -> JudgedTold:
    """Say whether a finding was right; the ledger counts it, and the last word holds."""
    from advisor import silencing

    found = find.finding(adv, asked.finding)
    silencing.judge(adv.store, [found], asked.verdict, note=asked.note or "", now=adv.clock())
    run = adv.store.run(found.run_id)
    judged = next(each for each in run.findings if each.id == found.id)
    return JudgedTold(finding=finding_told(judged), facts=facts_told(finding_facts(run, judged)))


JUDGE_FINDING: Final = Operation(
    "judge_finding",
    title="Judge a finding",
    about="Say whether a finding is right: ok for a false alarm, which is resolved for good, real for real trouble. "
    "Only where somebody has looked into it: our track record rests on it.",
    asks=JudgeAsked,
    answers=JudgedTold,
    does=judge_finding,
    method="POST",
    writes=True,
    path="/findings/verdict",
)


class MuteAsked(Asked, frozen=True, kw_only=True, rename={"for_": "for"}):
    """What nobody wants to hear of."""

    what: Annotated[
        list[Reference],
        Meta(min_length=1, max_length=100, description="Codes (ADV103 or spike), experiments and runs."),
    ]
    for_: Length = None
    reason: Annotated[str, Meta(max_length=2_000, description="Why, for others.")] = ""


def mute(adv: Advisor, asked: MuteAsked) -> ManySilencedTold:
    """Send nothing about codes, experiments or runs."""
    from advisor.silencing import mute as muted

    now = adv.clock()
    ends = until(asked.for_, now, "for")
    return _done(muted(adv.store, asked.what, now=now, until=ends, reason=scrub(asked.reason)))


MUTE: Final = Operation(
    "mute",
    title="Mute",
    about="Send nothing about codes, experiments or runs, for good or for a while; findings are still listed.",
    asks=MuteAsked,
    answers=ManySilencedTold,
    does=mute,
    method="POST",
    writes=True,
    path="/mutes",
)


class UnmuteAsked(Asked, frozen=True, kw_only=True):
    """What to hear of again."""

    what: Annotated[
        list[Reference],
        Meta(min_length=1, max_length=100, description="What is muted: codes, experiments, runs, findings."),
    ]


def unmute(adv: Advisor, asked: UnmuteAsked) -> ManySilencedTold:
    """End mutes."""
    from advisor.silencing import unmute as unmuted

    return _done(unmuted(adv.store, asked.what, now=adv.clock()))


UNMUTE: Final = Operation(
    "unmute",
    title="End a mute",
    about="Hear of codes, experiments, runs or findings again.",
    asks=UnmuteAsked,
    answers=ManySilencedTold,
    does=unmute,
    method="POST",
    writes=True,
    repeatable=False,
    path="/mutes/end",
)


class MutesAsked(Asked, frozen=True, kw_only=True):
    """Nothing is asked."""


class MuteTold(Told, frozen=True, kw_only=True):
    """One mute that holds."""

    scope: Literal["finding", "run", "experiment", "code"]
    target: Annotated[str, untrusted("Id of the finding or run, name of the experiment, or the code.")]
    until: Annotated[datetime | None, Meta(description="Null: for good.")]
    reason: Annotated[str, untrusted("Why.")]


class MutesTold(Answer, frozen=True, kw_only=True):
    """The mutes that hold."""

    mutes: list[MuteTold]


def list_mutes(adv: Advisor, asked: MutesAsked) -> MutesTold:
    """List what is muted."""
    with adv.alerts.reading() as book:
        found = book.active_mutes(adv.clock())
    told = [
        MuteTold(scope=one.scope, target=bounds.name(one.target), until=one.until, reason=bounds.prose(one.reason))
        for one in found[:1_000]
    ]
    return MutesTold(mutes=told)


LIST_MUTES: Final = Operation(
    "list_mutes",
    title="List mutes",
    about="List what nobody is told of at present, until when, and why.",
    asks=MutesAsked,
    answers=MutesTold,
    does=list_mutes,
    path="/mutes",
)
