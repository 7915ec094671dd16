"""Is a run broken, or is its configuration merely a bad one? Its neighbours in parameter space tell.

A learning rate that is far too high diverges wherever a search tries it; that is the search's business and nobody need
get up for it. A run that fails where runs with nearly the same parameters are sound has another reason: data, code,
machine. Only codes that a configuration alone can bring about are judged (``Code.may_be_configuration``); a value that
is not finite never is, but counts as failing like one that diverged.

Parameters are compared as ``design`` says. Seeds and parameters that never vary say nothing. Leaves out when a run is
compared, and what is done about it (``check``, ``alerting``). Invariant: what neighbours do not decide stays undecided,
and is then told like any other trouble.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Final

import numpy as np

from advisor.findings import codes
from advisor.findings.codes import CODES
from advisor.findings.design import differences
from advisor.references import SEED_NAMES
from storage.records import Finding, FindingState, Run, RunState, Severity

N_NEAREST: Final = 5
"""Neighbours that are asked: few enough to be near in a sweep of some dozen runs."""
MIN_ALIKE: Final = 3
"""Of them, those that must agree. Faults that strike 1 run in 10 by chance are then taken for a configuration in 1 % of
cases, 1 run in 5 in 6 %."""
CONFIGURATION: Final = "bad_configuration"
"""Key of a finding's evidence: true where the configuration explains it, false where it does not, absent otherwise."""
BLAME: Final = (CONFIGURATION, "neighbours_alike", "neighbours")
"""Keys of the evidence that say what the neighbours decided."""

_BLOWN_UP: Final = frozenset({codes.DIVERGED.code, codes.NON_FINITE.code})
_ALIKE: Final[Mapping[str, frozenset[str]]] = {
    codes.DIVERGED.code: _BLOWN_UP,
    codes.NEVER_LEARNED.code: frozenset({codes.NEVER_LEARNED.code}),
}
"""Codes that count as the same failure; a code that is not listed is alike only to itself."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A run that is over, as a neighbour of others."""

    run_id: str
    _: KW_ONLY
    params: Mapping[str, Any]
    failed_by: frozenset[str]
    """Codes by which its training failed; empty where it is sound."""


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """What became of the runs nearest to one that failed."""

    n_alike: int
    """Neighbours that failed in the same way."""
    n_sound: int
    """Neighbours that are sound."""
    mostly_sound: bool
    """Whether at least as many runs of the experiment are sound as failed in this way, the run itself included: where
    nearly all fail, something else is wrong."""

    @property
    def is_configuration(self) -> bool | None:
        """True: a bad configuration. False: broken. None: not decided."""
        if self.n_alike >= MIN_ALIKE and self.mostly_sound:
            return True
        return False if self.n_sound >= MIN_ALIKE else None

    def evidence(self) -> dict[str, Any]:
        """Return it as a finding keeps it; empty where nothing is decided."""
        if self.is_configuration is None:
            return {}
        return dict(zip(BLAME, (self.is_configuration, self.n_alike, N_NEAREST), strict=True))


def peer_of(run: Run, findings: Iterable[Finding]) -> Peer | None:
    """Return a run as a neighbour; None where nothing follows from it.

    A run that goes on may still fail, and one that ended early without having failed by its curves (an exception, a
    kill, pruning) shows neither.
    """
    if not run.state.is_over:
        return None
    failed_by = frozenset(finding.code for finding in findings if _is_failure(finding))
    if not failed_by and run.state is not RunState.FINISHED:
        return None
    return Peer(run.id, params=run.params, failed_by=failed_by)


def peers_of(runs: Iterable[Run]) -> list[Peer]:
    """Return the neighbours among runs, by the findings that are kept with them."""
    found = (peer_of(run, (f for f in run.findings if f.state is not FindingState.RESOLVED)) for run in runs)
    return [peer for peer in found if peer is not None]


def explained(findings: Sequence[Finding], runs: Sequence[Run]) -> list[Finding]:
    """Return the findings of an experiment's runs, with what their neighbours say of them in the evidence.

    Parameters
    ----------
    findings
        All that was found in the runs just now; what somebody judged a false alarm is no failure.
    """
    by_run: dict[str, list[Finding]] = {}
    false_alarms = {finding.id for run in runs for finding in run.findings if finding.verdict == "ok"}
    for finding in findings:
        if finding.id not in false_alarms:
            by_run.setdefault(finding.run_id, []).append(finding)
    peers = (peer_of(run, by_run.get(run.id, ())) for run in runs)
    neighbours = Neighbours([peer for peer in peers if peer is not None])
    params = {run.id: run.params for run in runs}
    return [neighbours.explain(finding, params[finding.run_id]) for finding in findings]


def _is_failure(finding: Finding) -> bool:
    if finding.code == codes.NEVER_LEARNED.code:
        return True
    return finding.code in _BLOWN_UP and finding.severity is Severity.ERROR


def still_blamed(now: Finding, was: Finding) -> Finding:
    """Return a finding said anew, with what neighbours said of it where whoever says it has not asked them."""
    if CONFIGURATION in now.evidence or CONFIGURATION not in was.evidence:
        return now
    return replace(now, evidence={**now.evidence, **{key: was.evidence[key] for key in BLAME if key in was.evidence}})


class Neighbours:
    """The runs of one experiment that are over, to be asked of any run of it.

    Examples
    --------
    >>> lrs = (1e-4, 2e-4, 3e-4, 1e-3, 2e-3, 1.0, 2.0, 4.0, 8.0)
    >>> failed = {lr: frozenset({"ADV102"} if lr >= 1 else ()) for lr in lrs}
    >>> peers = [Peer(str(lr), params={"lr": lr}, failed_by=failed[lr]) for lr in lrs]
    >>> Neighbours(peers).around("new", {"lr": 3.0}, "ADV102").is_configuration
    True
    """

    def __init__(self, peers: Sequence[Peer]) -> None:
        self._peers = list(peers)
        names = sorted({name for peer in peers for name in peer.params if name.lower() not in SEED_NAMES})
        columns = {name: [peer.params.get(name) for peer in peers] for name in names}
        self._columns = {name: values for name, values in columns.items() if len({repr(v) for v in values}) > 1}

    def explain(self, finding: Finding, params: Mapping[str, Any]) -> Finding:
        """Return a finding of a run with these parameters, with what its neighbours say of it in the evidence."""
        if finding.code not in CODES or not CODES[finding.code].may_be_configuration:
            return finding
        seen = self.around(finding.run_id, params, finding.code)
        return finding if seen is None else replace(finding, evidence={**finding.evidence, **seen.evidence()})

    def around(self, run_id: str, params: Mapping[str, Any], code: str) -> Neighbourhood | None:
        """Return what became of the runs nearest to a run that failed by a code; None where that cannot be told.

        It cannot where fewer than ``N_NEAREST`` other runs are over, or no parameter varies.
        """
        others = np.array([peer.run_id != run_id for peer in self._peers], dtype=bool)
        if others.sum() < N_NEAREST or not self._columns:
            return None
        total = sum(differences(values, params.get(name)) for name, values in self._columns.items())
        distance = np.where(others, total, np.inf)
        nearest = np.argsort(distance, kind="stable")[:N_NEAREST]
        same = _ALIKE.get(code, frozenset({code}))
        alike = np.array([bool(peer.failed_by & same) for peer in self._peers]) & others
        sound = np.array([not peer.failed_by for peer in self._peers]) & others
        return Neighbourhood(
            int(alike[nearest].sum()), int(sound[nearest].sum()), mostly_sound=bool(sound.sum() >= alike.sum() + 1)
        )
