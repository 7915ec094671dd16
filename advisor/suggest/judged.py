"""How often findings were right by the verdicts of people, and whether a detector keeps to the rate it promises.

Pure. People judge what was flagged, hardly ever what was not. So the share of false alarms among judged findings is
known; how often sound runs are flagged is known only if runs without findings are taken as sound, and is called so.

Invariant: a finding that nobody judged is neither a false alarm nor real: rates say what they would be either way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import Any, Final

from advisor.suggest.intervals import Share
from storage.records import Finding, FindingState, Run, Severity

MIN_VERDICTS: Final = 10
"""Verdicts below which nothing is said of a code: of 9 the 95 % interval spans half of all shares."""
LEVEL_KEY: Final = "threshold_p"
"""Where a statistical detector writes into its evidence which share of sound runs it lets itself flag."""
DISCOVERIES_KEY: Final = "threshold_false_discovery_rate"
"""Where it writes which share of its warnings it lets be false."""


@dataclass(frozen=True, slots=True)
class FlagRate:
    """How often a detector flagged sound runs, beside the level that it works at.

    Sound is what finished, could be compared, and has no other trouble; of the flagged ones what was judged ``ok``, of
    the others all, by assumption. Runs that ended after the detector's last finding may not have been checked since,
    and are left out.
    """

    level: float
    """Share of sound runs that the detector lets itself flag in one check, in (0, 1)."""
    _: KW_ONLY
    judged: Share
    """Flagged and judged ``ok``, of these and the runs that were not flagged."""
    n_real: int
    """Flagged runs that were not sound."""
    n_not_judged: int
    """Flagged runs that nobody judged: they may be sound or not."""

    @property
    def at_most(self) -> Share:
        """The same if all that were not judged are false alarms."""
        return Share(self.judged.n_hits + self.n_not_judged, n=self.judged.n + self.n_not_judged)

    @property
    def n_assumed(self) -> int:
        """Runs that are taken as sound because they were not flagged."""
        return self.judged.n - self.judged.n_hits

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval, whatever those that were not judged are."""
        return self.judged.interval[0], self.at_most.interval[1]

    @property
    def sign(self) -> int:
        """-1 or 1 where the whole interval lies below or above the level, otherwise 0."""
        low, high = self.interval
        return (low > self.level) - (high < self.level)

    @property
    def can_tell(self) -> bool:
        """Whether there are so many runs that a false alarm is to be expected, and verdicts on half of the flagged."""
        return self.judged.n * self.level >= 1 and self.n_not_judged <= self.judged.n_hits + self.n_real

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        low, high = self.interval
        return {
            "level": self.level,
            "judged": self.judged.as_json(),
            "at_most": self.at_most.as_json(),
            "low": low,
            "high": high,
            "n_real": self.n_real,
            "n_not_judged": self.n_not_judged,
            "n_sound_by_assumption": self.n_assumed,
            "can_tell": self.can_tell,
        }


@dataclass(frozen=True, slots=True)
class Discoveries:
    """How many warnings of a detector were false, beside the false discovery rate that it works at."""

    level: float
    """Share of warnings that the detector lets be false, in (0, 1)."""
    _: KW_ONLY
    false_alarms: Share
    """Warnings judged ``ok``, of the judged ones."""

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        return {"level": self.level, "false_alarms": self.false_alarms.as_json()}


@dataclass(frozen=True, slots=True)
class Judged:
    """What people said of the findings of one code by one detector."""

    code: str
    _: KW_ONLY
    detector: str
    n_raised: int
    false_alarms: Share
    """Judged ``ok``, of those that were judged at all."""
    rate: FlagRate | None
    """None for rules, which promise none."""
    discoveries: Discoveries | None

    @property
    def can_tell(self) -> bool:
        """Whether there are enough verdicts to say how often these findings are right."""
        return self.false_alarms.n >= MIN_VERDICTS

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        return {
            "code": self.code,
            "detector": self.detector,
            "n_raised": self.n_raised,
            "n_judged": self.false_alarms.n,
            "n_ok": self.false_alarms.n_hits,
            "n_real": self.false_alarms.n - self.false_alarms.n_hits,
            "false_alarms": self.false_alarms.as_json(),
            "can_tell": self.can_tell,
            "rate": None if self.rate is None else self.rate.as_json(),
            "discoveries": None if self.discoveries is None else self.discoveries.as_json(),
        }


def by_code(runs: Sequence[Run], compared: Mapping[str, datetime]) -> tuple[Judged, ...]:
    """Return what became of findings, by code and detector, the most frequent first.

    Parameters
    ----------
    compared
        Runs that finished and that detectors could compare with their siblings, and when each was known to have ended.
    """
    groups: dict[tuple[str, str], list[Finding]] = {}
    for run in runs:
        for finding in run.findings:
            groups.setdefault((finding.code, finding.detector), []).append(finding)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(
        Judged(
            code,
            detector=detector,
            n_raised=len(found),
            false_alarms=_false_alarms(found),
            rate=_rate(found, runs, compared),
            discoveries=_discoveries(found),
        )
        for (code, detector), found in ordered
    )


def _false_alarms(findings: Sequence[Finding]) -> Share:
    verdicts = [finding.verdict for finding in findings if finding.verdict is not None]
    return Share(verdicts.count("ok"), n=len(verdicts))


def _level(findings: Sequence[Finding], key: str) -> float | None:
    """Return the level that all of some findings were raised at; None where there is none, or several."""
    levels = {finding.evidence.get(key) for finding in findings}
    level = levels.pop() if len(levels) == 1 else None
    return float(level) if isinstance(level, int | float) and 0 < level < 1 and math.isfinite(level) else None


def _discoveries(findings: Sequence[Finding]) -> Discoveries | None:
    warnings = [finding for finding in findings if finding.severity.rank >= Severity.WARNING.rank]
    level = _level(warnings, DISCOVERIES_KEY) if warnings else None
    return None if level is None else Discoveries(level, false_alarms=_false_alarms(warnings))


def _rate(findings: Sequence[Finding], runs: Sequence[Run], compared: Mapping[str, datetime]) -> FlagRate | None:
    level = _level(findings, LEVEL_KEY)
    times = [finding.time for finding in findings if finding.time is not None]
    if level is None or not times:
        return None
    ours = {finding.id for finding in findings}
    # What a later check took back, and nobody judged, is not flagged any more.
    flagged = {f.run_id: f for f in findings if f.verdict is not None or f.state is not FindingState.RESOLVED}
    n_ok = n_real = n_not_judged = n_assumed = 0
    for run in runs:
        if run.id not in compared or compared[run.id] > max(times) or _has_other_trouble(run, ours):
            continue
        finding = flagged.get(run.id)
        n_assumed += finding is None
        n_ok += finding is not None and finding.verdict == "ok"
        n_real += finding is not None and finding.verdict == "real"
        n_not_judged += finding is not None and finding.verdict is None
    return FlagRate(level, judged=Share(n_ok, n=n_ok + n_assumed), n_real=n_real, n_not_judged=n_not_judged)


def _has_other_trouble(run: Run, ours: set[str]) -> bool:
    """Return whether other findings speak against calling a run sound: real ones, or grave ones that still stand."""
    return any(
        finding.verdict == "real"
        or (
            finding.verdict is None
            and finding.state is not FindingState.RESOLVED
            and finding.severity.rank >= Severity.WARNING.rank
        )
        for finding in run.findings
        if finding.id not in ours
    )
