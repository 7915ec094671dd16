"""Open findings put together by cause and sweep: "7 of 40 runs of digits diverged".

What is muted or acknowledged is left out, and so is what an earlier value that is not finite explains in the same run.
Pure: a book of alerts and some names in, groups out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import Any

from advisor.findings.alerting import inhibitor, may_be_pushed
from advisor.findings.alerts import Book, Mute, Seen, gravity, key_of
from advisor.findings.codes import CODES
from storage.records import Finding, FindingState, Run, Severity

Cause = tuple[str, str]
"""Experiment and code."""


@dataclass(frozen=True, slots=True)
class Member:
    """One finding of a group."""

    finding: Finding
    _: KW_ONLY
    run: Run
    since: datetime
    """Since when it has been open."""

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        return {**self.finding.as_json(), "number": self.run.number, "since": self.since}


@dataclass(frozen=True, slots=True)
class Group:
    """The same trouble in the runs of one experiment."""

    experiment: str
    _: KW_ONLY
    code: str
    severity: Severity
    """The gravest among them."""
    n_runs: int
    """Runs that have it."""
    n_of: int
    """Runs of the experiment."""
    n_findings: int
    n_mild: int
    """Runs whose findings of it would call nobody, such as those that a person ended."""
    since: datetime
    """When the first of them was found."""
    latest: datetime
    """When the last of them was found."""
    is_urgent: bool
    """Whether it may call somebody: no mild finding, nor one that a bad configuration explains."""
    members: tuple[Member, ...]
    """The newest of them, a run each, not all."""

    @property
    def slug(self) -> str:
        """The code in a word or two."""
        return CODES[self.code].slug if self.code in CODES else self.code

    @property
    def what_to_do(self) -> str:
        """What usually helps; empty where nobody knows."""
        return CODES[self.code].what_to_do if self.code in CODES else ""

    @property
    def title(self) -> str:
        """What is wrong in one line; the experiment is not named."""
        if self.n_runs == 1 and self.members:
            return self.members[0].finding.title
        mild = f" ({self.n_mild:,} of them mild)" if self.is_urgent and self.n_mild else ""
        return f"{self.n_runs:,} of {self.n_of:,} runs: {self.slug}{mild}"

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        return {
            "experiment": self.experiment,
            "code": self.code,
            "slug": self.slug,
            "severity": str(self.severity),
            "title": self.title,
            "n_runs": self.n_runs,
            "n_of": self.n_of,
            "n_findings": self.n_findings,
            "n_mild": self.n_mild,
            "since": self.since,
            "latest": self.latest,
            "urgent": self.is_urgent,
            "what_to_do": self.what_to_do,
            "findings": [member.as_json() for member in self.members],
        }


def causes(
    book: Book,
    *,
    home: Callable[[Finding], str | None],
    hidden: Collection[str] = (),
    mutes: Iterable[Mute] = (),
) -> dict[Cause, list[Seen]]:
    """Return what is open by its cause.

    Parameters
    ----------
    home
        Given a finding, returns the experiment that its run is in now; None where that is gone.
    hidden
        Ids of runs that are deleted.
    mutes
        Those that hold.
    """
    muted = {(str(mute.scope), mute.target) for mute in mutes}
    found: dict[Cause, list[Seen]] = {}
    for run_id, of_run in book.by_run.items():
        if run_id in hidden or ("run", run_id) in muted:
            continue
        for seen in _wanted(list(of_run.values())):
            experiment = home(seen.finding)
            about = {("finding", seen.finding.id), ("code", seen.finding.code), ("experiment", experiment)}
            if experiment is not None and not about & muted:
                found.setdefault((experiment, seen.finding.code), []).append(seen)
    return found


def grouped(
    found: Mapping[Cause, Sequence[Seen]],
    *,
    n_of: Mapping[str, int],
    runs_of: Callable[[Sequence[str]], Mapping[str, Run]],
    n_members: int,
) -> list[Group]:
    """Return the groups, what calls somebody first, then the gravest, then the newest.

    Parameters
    ----------
    n_of
        Number of runs by experiment.
    runs_of
        Given ids, returns the runs that there are.
    n_members
        How many of a group are named at most.
    """
    newest = {cause: _newest(several, n_members) for cause, several in found.items()}
    runs = runs_of([seen.finding.run_id for several in newest.values() for seen in several])
    groups = [_group(cause, several, newest[cause], runs, n_of.get(cause[0], 0)) for cause, several in found.items()]
    return sorted(groups, key=lambda group: _order(group, found[group.experiment, group.code]))


def _wanted(of_run: Sequence[Seen]) -> Iterator[Seen]:
    if not any(seen.state is FindingState.OPEN for seen in of_run):
        return
    first = inhibitor(of_run)
    for seen in of_run:
        if seen.state is FindingState.OPEN and first in (None, key_of(seen.finding)):
            yield seen


def _newest(several: Sequence[Seen], n: int) -> list[Seen]:
    by_run: dict[str, Seen] = {}
    for seen in sorted(several, key=lambda each: each.open_since, reverse=True):
        by_run.setdefault(seen.finding.run_id, seen)
        if len(by_run) == n:
            break
    return list(by_run.values())


def _group(cause: Cause, several: Sequence[Seen], newest: Sequence[Seen], runs: Mapping[str, Run], n_of: int) -> Group:
    affected = {seen.finding.run_id for seen in several}
    urgent = {seen.finding.run_id for seen in several if may_be_pushed(seen.finding, Severity.WARNING)}
    return Group(
        cause[0],
        code=cause[1],
        severity=max({seen.finding.severity for seen in several}, key=lambda severity: severity.rank),
        n_runs=len(affected),
        n_of=n_of,
        n_findings=len(several),
        n_mild=len(affected - urgent),
        since=min(seen.open_since for seen in several),
        latest=max(seen.open_since for seen in several),
        is_urgent=bool(urgent),
        members=tuple(
            Member(seen.finding, run=runs[seen.finding.run_id], since=seen.open_since)
            for seen in newest
            if seen.finding.run_id in runs
        ),
    )


def _order(group: Group, several: Sequence[Seen]) -> tuple[bool, int, float]:
    grave = max(gravity(severity, group.code) for severity in {seen.finding.severity for seen in several})
    return (not group.is_urgent, -grave, -group.latest.timestamp())
