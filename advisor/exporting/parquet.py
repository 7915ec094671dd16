"""Runs as the two Parquet files of the interchange format, which lose nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from advisor.exporting.taken import Exported

if TYPE_CHECKING:
    from advisor.app import Advisor


def write(adv: Advisor, folder: Path, *, experiment: str | None) -> Exported:
    """Write ``runs.parquet`` and ``curves.parquet``, replacing those of an earlier export."""
    from advisor.sources.interchange import export_folder

    done = export_folder(adv, folder, experiment=experiment)
    return Exported(done.path, n_runs=done.n_runs, n_curves=done.n_curves)
