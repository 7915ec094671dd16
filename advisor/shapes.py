"""The JSON form of a run, the same on the command line, in the JSON API and for agents.

A contract with other programs: fields are added, never renamed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storage.records import Run


def run_json(run: Run) -> dict[str, Any]:
    """Return the JSON form of a run, as ``advisor runs`` and ``advisor tell`` print it."""
    return {
        "run_id": run.id,
        "experiment": run.experiment,
        "number": run.number,
        "state": str(run.state),
        "params": run.params,
        "metrics": run.metrics,
        "objective": run.objective,
        "seed": run.seed,
        "tags": run.tags,
        "notes": run.notes,
        "started": run.started,
        "ended": run.ended,
        "duration_s": run.duration_s,
        "error": run.error,
        "user_attrs": run.user_attrs,
    }
