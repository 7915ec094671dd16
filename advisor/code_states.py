"""States of the code that runs are of: which runs share one, and how two differ, from what was kept with the runs.

Leaves out what lies between two commits: no repository is asked. Invariant: runs are of one state only if the commit
and the uncommitted changes are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from difflib import unified_diff
from typing import Any, Final

from storage.records import Run

MAX_DIFF_LINES: Final = 1_500
"""Lines of an uncommitted change that are compared; aligning more takes seconds."""
MAX_SHOWN_LINES: Final = 400
"""Lines of the difference between two changes that are returned."""


@dataclass(frozen=True, slots=True)
class Code:
    """A state of the code, and the runs that were of it."""

    commit: str | None
    _: KW_ONLY
    branch: str | None
    has_changes: bool | None
    """Whether the code differed from the commit; None where that was not recorded."""
    diff: str
    """How, as it was kept; empty where it did not, or where it was not kept."""
    is_whole: bool
    """Whether ``diff`` is all of it."""
    runs: tuple[Run, ...]

    @property
    def is_recorded(self) -> bool:
        """Whether anything is known of it."""
        return self.commit is not None


def code_states(runs: Sequence[Run], *, base: Run) -> list[Code]:
    """Return the states of the code that some runs are of, that of the baseline first."""
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in (base, *(run for run in runs if run.id != base.id)):
        groups.setdefault(_code_key(run), []).append(run)
    return [_code(runs) for runs in groups.values()]


def code_difference(a: Code, b: Code) -> tuple[list[str], bool]:
    """Return in what the uncommitted changes of two states differ, as a unified diff, and whether that is all of it.

    Pure text: nothing is asked of a repository, so what lies between two commits is not told.
    """
    before, after = _changed_lines(a.diff), _changed_lines(b.diff)
    is_whole = a.is_whole and b.is_whole and max(len(before), len(after)) <= MAX_DIFF_LINES
    lines = list(unified_diff(before[:MAX_DIFF_LINES], after[:MAX_DIFF_LINES], lineterm="", n=2))[2:]
    return lines[:MAX_SHOWN_LINES], is_whole and len(lines) <= MAX_SHOWN_LINES


def _git(run: Run) -> Mapping[str, Any]:
    known = run.environment.get("git")
    return known if isinstance(known, Mapping) else {}


def _code_key(run: Run) -> tuple[Any, ...]:
    known = _git(run)
    return (str(known.get("commit") or ""), bool(known.get("dirty")), str(known.get("diff") or ""))


def _code(runs: Sequence[Run]) -> Code:
    known = _git(runs[0])
    dirty = known.get("dirty")
    return Code(
        str(known["commit"]) if known.get("commit") else None,
        branch=str(known["branch"]) if known.get("branch") else None,
        has_changes=None if dirty is None else bool(dirty or known.get("diff")),
        diff=str(known.get("diff") or ""),
        is_whole=not known.get("diff_truncated"),
        runs=tuple(runs),
    )


def _changed_lines(diff: str) -> list[str]:
    """Return a diff's lines without what only names places: hashes of blobs, numbers of lines."""
    return [line for line in diff.splitlines() if not line.startswith(("index ", "@@ "))]
