"""How many bytes a store takes for a point, on real curves, beside the Parquet files that they came from.

Imports ``deepobs/`` and ``algoperf/`` under $ADVISOR_EVAL_DATA or ../shared/data (skipped where absent), and
tracks one run of 20,000 log calls of four metrics, whose times are kept too; builds the index that filters use,
compacts, and reads every curve back to compare it bit for bit. Counted is every file in the store's folder.
"Compacted" still holds the versions of before, which compaction lets go of after a week; "cleaned" is without them,
as the store is a week later. Vectors for search by meaning are not computed: they cost 1.5 kB a run.

    python evals/bytes_per_point.py [--out PATH]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

import advisor
from advisor.sources import import_path
from storage import Curve, interchange
from storage.curves import assemble
from storage.lance import Database

SETS = ("deepobs", "algoperf")
N_CALLS = 20_000
TARGET = 10.0
"""Bytes a point of the whole store, cleaned."""

Curves = Mapping[str, Mapping[str, Curve]]


def data_folder() -> Path:
    return Path(os.environ.get("ADVISOR_EVAL_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))


def imported(source: Path) -> Callable[[advisor.Advisor], Curves | None]:
    def fill(adv: advisor.Advisor) -> Curves | None:
        notes = import_path(adv, source).notes
        if notes:
            return None  # ids that occur twice were changed, so the file's own are no longer what to expect
        return assemble(chunk for batch in interchange.read_curves(source) for chunk in batch)

    return fill


def tracked(adv: advisor.Advisor) -> Curves | None:
    rng = np.random.default_rng(0)
    losses = (np.exp(-np.arange(N_CALLS) / 5000) + rng.normal(0, 0.05, N_CALLS)).astype(np.float32)
    with adv.experiment("tracked", objective="loss").start(params={"lr": 0.1}) as run:
        for step, loss in enumerate(losses):
            value = float(loss)
            run.log({"loss": value, "accuracy": round(1 - value / 2, 4), "norm": value * 3.7, "lr": 1e-3}, step=step)
    return None


def bytes_of(store: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for path in store.rglob("*"):
        if path.is_file():
            part = path.relative_to(store).parts[0].removesuffix(".lance")
            sizes[part] = sizes.get(part, 0) + path.stat().st_size
    return sizes


def same(found: Curves, expected: Curves) -> bool:
    return found.keys() == expected.keys() and all(
        curves.keys() == expected[run_id].keys()
        and all(
            curve.values.tobytes() == expected[run_id][metric].values.tobytes() and curve == expected[run_id][metric]
            for metric, curve in curves.items()
        )
        for run_id, curves in found.items()
    )


def measured(fill: Callable[[advisor.Advisor], Curves | None], folder: Path) -> dict[str, Any]:
    with advisor.open(folder, capture=False) as adv:
        began = time.perf_counter()
        expected = fill(adv)
        filled = time.perf_counter()
        before = adv.store.curves()
        adv.store.runs(where="state = 'finished'")
        compacting = time.perf_counter()
        adv.store.compact()
        compacted = time.perf_counter()
        after = adv.store.curves()
        read = time.perf_counter()
        n_points = adv.store.info().n_points
    row: dict[str, Any] = {
        "n_points": n_points,
        "fill_s": round(filled - began, 2),
        "compact_s": round(compacted - compacting, 2),
        "read_all_s": round(read - compacted, 2),
        "lossless": same(after, before) and (expected is None or same(after, expected)),
        "compacted": bytes_of(folder),
    }
    database = Database(folder, create=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # nobody else uses this store
        for name in database.names():
            database.optimize(name, keep=timedelta(0))
    return row | {"cleaned": bytes_of(folder)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        report["tracked"] = measured(tracked, Path(folder) / "tracked")
        for name in SETS:
            source = data_folder() / name
            if not (source / interchange.CURVES_FILE).is_file():
                print(f"skipped: there is no {source}; set ADVISOR_EVAL_DATA to the folder that holds {name}/")
                continue
            report[name] = measured(imported(source), Path(folder) / name)
            report[name]["parquet"] = sum(path.stat().st_size for path in source.glob("*.parquet"))
    show(report)
    if given.out:
        given.out.write_text(json.dumps(report, indent=1), encoding="utf-8")
    return 0 if all(row["lossless"] for row in report.values()) else 1


def show(report: Mapping[str, Any]) -> None:
    print(f"{'bytes a point':12}{'points':>11}{'curves':>8}{'events':>8}{'index':>8}{'store':>8}", end="")
    print(f"{'compacted':>11}{'Parquet':>9}{'lossless':>10}{'fill s':>8}{'compact s':>11}{'read s':>8}")
    for name, row in report.items():
        n, cleaned = row["n_points"], row["cleaned"]
        whole = sum(cleaned.values()) / n
        parts = [cleaned.get(part, 0) / n for part in ("curves", "events", "runs")]
        cells = "".join(f"{value:8.2f}" for value in (*parts, whole))
        parquet = f"{row['parquet'] / n:9.2f}" if "parquet" in row else f"{'':9}"
        print(f"{name:12}{n:11,}{cells}{sum(row['compacted'].values()) / n:11.2f}{parquet}", end="")
        print(f"{'yes' if row['lossless'] else 'NO':>10}", end="")
        print(f"{row['fill_s']:8.1f}{row['compact_s']:11.1f}{row['read_all_s']:8.1f}")
        if whole > TARGET:
            print(f"missed: {name} takes {whole:.1f} bytes a point, {TARGET:.0f} were wanted")


if __name__ == "__main__":
    raise SystemExit(main())
