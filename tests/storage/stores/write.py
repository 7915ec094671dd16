"""Write a small store with whatever version of ``storage`` is imported: ``python write.py FOLDER``.

Each folder ``schema<N>.zip`` beside this file was written so by the last version of that schema. A new schema begins
with one more such file, written before the change.
"""

from __future__ import annotations

import math
import sys
from datetime import UTC, datetime, timedelta

from storage import Event, open_store
from storage.embed import HashingEmbedder
from storage.records import CurveChunk

START = datetime(2026, 1, 1, tzinfo=UTC)


def main(folder: str) -> None:
    store = open_store(folder, embedder=HashingEmbedder())
    n = 0

    def tell(kind: str, run_id: str = "", **body: object) -> None:
        nonlocal n
        n += 1
        store.append(
            [Event(f"event-{n}", kind=kind, experiment="digits", run_id=run_id, time=START + timedelta(n), body=body)]
        )

    objectives = [{"metric": "loss", "direction": "minimize"}]
    tell("experiment.created", objectives=objectives, description="MLP on the UCI digits", space=None)
    for i in range(3):
        run_id = f"run{i}"
        params = {"lr": 10.0**-i, "big": 2**80, "nested": {"a": [1, None]}, "nan": math.nan, "torn": "\ud800"}
        tell("run.created", run_id, params=params, seed=i, tags=["old"])
        for first in (0, 3):
            values = [2.0 - first, math.nan if first else 1.5, 1.0 / 3]
            store.append_curves(
                [
                    CurveChunk(
                        run_id,
                        metric="loss",
                        chunk=first,
                        through=first + 3,
                        steps=[first, first + 1, first + 2],
                        values=values,
                        times=[float(first), first + 0.5, first + 1.0],
                    )
                ]
            )
        tell("run.noted", run_id, text="größer 😀")
        finding = {"finding_id": f"f{i}", "code": "ADV102", "title": "diverged", "severity": "error"}
        tell("finding.opened", run_id, detector="rules", **finding)
        tell("run.state", run_id, state=["finished", "failed", "pruned"][i], values=[0.1 * (i + 1)])
    tell("suggestion.made", suggestion_id="s1", params={"lr": 0.5})
    store.reindex()


if __name__ == "__main__":
    main(sys.argv[1])
