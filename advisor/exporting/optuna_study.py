"""Experiments as Optuna studies, into any storage of Optuna's: a journal file, or a database by its address.

By Optuna's own ``create_trial`` and ``add_trial``, see ``advisor.suggest.study_out``. To work on the runs with Optuna
no export is needed: ``advisor.optuna.AdvisorStorage`` shows a store as studies.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from advisor.exporting.taken import Exported, Tally, open_suggestions, records, runs_of

if TYPE_CHECKING:
    from advisor.app import Advisor

JOURNAL: Final = "optuna-journal.log"


def write(adv: Advisor, to: str, *, experiment: str | None) -> Exported:
    """Write one study an experiment; trials that a study has from an earlier export are not added again.

    Parameters
    ----------
    to
        A folder, which gets a journal file; a journal file (``….log``); or an address as ``sqlite:///study.db``.

    Raises
    ------
    ConfigError
        If there is no such storage, or it holds a study of that name with other directions.
    """
    from advisor.suggest.study_out import open_storage, write_study

    where = to
    if "://" not in to:
        path = Path(to) if to.endswith(".log") else Path(to) / JOURNAL
        path.parent.mkdir(parents=True, exist_ok=True)
        where = str(path)
    tally = Tally()
    with open_storage(where) as storage:
        for record in records(adv, experiment):
            runs = list(runs_of(adv, record))
            for _, curves in runs:
                tally.saw(curves)
            waiting = open_suggestions(adv, record, [run for run, _ in runs])
            told = write_study(storage, adv.store, record, [run for run, _ in runs], waiting)
            tally.n_suggestions += told.n_waiting
            for sentence, n in told.left_out.items():
                tally.left_out[sentence] += n
            main = {objective.metric for objective in record.objectives[:1]}
            others = sum(metric not in main for _, curves in runs for metric in curves)
            tally.left_out["{n} curves beside the first objective's have no place in a trial and were left out"] += (
                others
            )
            tally.left_out["files that runs saved were not copied: {n} files"] += sum(len(r.artifacts) for r, _ in runs)
    return tally.exported(where)
