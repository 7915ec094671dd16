"""Which experiment another tool's run belongs to: the one of its name, unless that asks something else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from advisor.sources.batch import IMPORTED_OBJECTIVES
from advisor.sources.port import Found, SourceRun

if TYPE_CHECKING:
    from advisor.app import Advisor


class Questions:
    """Names of experiments during one import; two studies of one name that optimise different things stay apart."""

    def __init__(self, adv: Advisor) -> None:
        self._adv = adv
        self._names: dict[tuple[str, str], str] = {}
        self._asked: dict[str, list[tuple[str, str]]] = {}

    def name_of(self, run: SourceRun, found: Found) -> str:
        """Return the name of a run's experiment."""
        key = (found.path, run.experiment)
        if key not in self._names:
            name, wanted = run.experiment, list(run.about.objectives)
            if wanted and self._objectives_of(name) not in ([], wanted):
                name = f"{name} ({Path(found.path).stem or found.tool})"
            self._names[key] = name
            self._asked.setdefault(name, wanted)
        return self._names[key]

    def _objectives_of(self, name: str) -> list[tuple[str, str]]:
        """Return the objectives of an experiment, of the store or of this import; none where there is none."""
        record = self._adv.store.state().experiments.get(name)
        if record is None:
            return self._asked.get(name, [])
        said = record.user_attrs.get(IMPORTED_OBJECTIVES)
        if said is not None:  # what its tool said counts, whatever a person has made of it since
            return [(str(metric), str(direction)) for metric, direction in said]
        return [(str(each.metric), str(each.direction)) for each in record.objectives]
