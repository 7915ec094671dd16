"""Ray Tune: folders of experiments and trials, ``~/ray_results``, read without Ray. No pickle is opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from advisor.sources.folders import is_plain, look
from advisor.sources.port import Found, Listing, Options, Reader, Source
from advisor.sources.ray_results import ITERATION, PROGRESS, RESULT
from advisor.sources.ray_trials import PARAMS, STATE, TrialsSource, is_trial

EXPERIMENT: Final = "experiment"
TRIAL: Final = "trial"


class RayReader(Reader):
    """Reads what Ray Tune kept."""

    tool = "ray"
    title = "Ray Tune"

    def find(self, at: Listing) -> Sequence[Found]:
        """Return an experiment, told by its state file, or a trial, told by its results."""
        if any(STATE.fullmatch(name) for name in at.files):
            return [Found(self.tool, str(at.path), what=EXPERIMENT)]
        if {RESULT, PARAMS} <= at.files or {PARAMS, PROGRESS, "params.pkl"} <= at.files:
            return [Found(self.tool, str(at.path), what=TRIAL)] if _has_results(at.path) else []
        return []

    def find_file(self, path: Path) -> Found | None:
        """Return the experiment or the trial that a file of it stands for."""
        if STATE.fullmatch(path.name) and is_plain(path):
            return Found(self.tool, str(path.parent), what=EXPERIMENT)
        if path.name == RESULT and is_trial(path.parent) and _has_results(path.parent):
            return Found(self.tool, str(path.parent), what=TRIAL)
        return None

    def open(self, found: Found, options: Options) -> Source:
        """Open what was found."""
        del options
        return TrialsSource(Path(found.path))


def _has_results(folder: Path) -> bool:
    """Return whether a trial's results begin as Ray writes them, or there are none yet."""
    seen = look(str(folder / RESULT))
    if seen is None:
        return not (folder / RESULT).exists()
    head = seen[0].lstrip()
    return not head or (head.startswith(b"{") and any(word in head for word in (ITERATION.encode(), b"trial_id")))
