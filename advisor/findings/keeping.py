"""What a look at runs changes in what is known of them: findings that are new, said anew, back, or gone.

Shared by a check, which sees everything, and a watcher, which sees what rules see. Invariant: what somebody judged a
false alarm stays as it is, and what the one who looked could not have seen is not taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from advisor.findings.configuration import CONFIGURATION, still_blamed
from storage.events import finding_opened
from storage.records import Event, Finding, FindingState


def reconcile(
    known: Iterable[Finding],
    found: Sequence[Finding],
    *,
    actor: str,
    may_hold: Callable[[Finding], bool],
    says_more: Callable[[Finding, Finding], bool] = lambda _now, _was: True,
) -> tuple[list[Event], int]:
    """Return the events that make what is known what was found, and how many findings are new or came back.

    Parameters
    ----------
    known
        The findings of all runs that were looked at.
    actor
        Who looked.
    may_hold
        Whether a known finding that was not found may hold all the same: it cannot be seen in this way.
    says_more
        Whether the words of a finding (now) are worth writing down in the place of earlier ones (was).
    """
    before = {finding.id: finding for finding in known}
    found = [finding for finding in found if finding.id not in before or before[finding.id].verdict != "ok"]
    fresh = [finding for finding in found if finding.id not in before]
    again = [(finding, before[finding.id]) for finding in found if finding.id in before]
    reworded = [now for now, was in again if _differs(now, was) and says_more(now, was)]
    back = [was for _, was in again if was.state is FindingState.RESOLVED]
    holding = {finding.id for finding in found}
    gone = [
        was
        for was in before.values()
        if was.id not in holding and was.state is not FindingState.RESOLVED and not may_hold(was)
    ]
    events = [finding_opened(finding) for finding in fresh]
    events += [finding_opened(still_blamed(finding, before[finding.id])) for finding in reworded]
    events += [_becomes(finding, FindingState.OPEN, actor) for finding in back]
    events += [_becomes(finding, FindingState.RESOLVED, actor) for finding in gone]
    return events, len(fresh) + len(back)


def _differs(now: Finding, was: Finding) -> bool:
    """Return whether a finding says something else; who has not compared runs does not know whose fault it is."""
    blamed = now.evidence.get(CONFIGURATION)
    differs = blamed is not None and blamed != was.evidence.get(CONFIGURATION)
    return differs or (now.title, now.severity) != (was.title, was.severity)


def _becomes(finding: Finding, state: FindingState, actor: str) -> Event:
    about = (finding.experiment, finding.run_id)
    return Event.new("finding.state", *about, actor=actor, finding_id=finding.id, state=str(state))
