"""What is worked out of a run once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from advisor.suggest.geometry import coordinates
from advisor.suggest.remembered import remembered
from advisor.suggest.space import Float, Space
from storage.records import Experiment, Objective, Run, RunState

SPACE = Space.of({"lr": Float(1e-4, 1, log=True), "dropout": Float(0, 0.5)})
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RECORD = Experiment("digits", number=0, objectives=(Objective("loss"),), created=NOW)


def run(number: int, lr: float, state: RunState = RunState.FINISHED) -> Run:
    return Run(
        f"remembered-{number}",
        number=number,
        experiment="digits",
        state=state,
        params={"lr": lr, "dropout": 0.1},
        values=(lr,),
        created=NOW,
    )


def test_a_run_is_placed_once_and_anew_when_its_record_changes() -> None:
    known = remembered(RECORD, SPACE)
    runs = [run(0, 0.1), run(1, 0.01), run(2, 5.0)]
    first = known.places(RECORD, runs)
    assert [place.run for place in first] == runs
    assert [place.params is None for place in first] == [False, False, True]  # the last lies far outside
    assert np.array_equal(first[0].coordinates, coordinates(SPACE, [runs[0].params])[0])

    changed = replace(runs[1], state=RunState.FAILED)
    later = known.places(RECORD, [run(3, 0.2), runs[2], changed, runs[0]])
    assert [place.run.number for place in later] == [3, 2, 1, 0]
    assert later[1] is first[2]
    assert later[3] is first[0]
    assert later[2].wrong
    assert not first[1].wrong
