"""Runs to other trackers, one format a module, written by us as those programs write them.

Each writes what its format can hold and says what it cannot: ``Exported.notes``. The store is only read. What the two
Parquet files keep, losslessly, is the business of ``advisor.sources.interchange``. docs/export.md tells each format.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from advisor.errors import ConfigError
from advisor.exporting.taken import Exported
from storage.errors import did_you_mean

if TYPE_CHECKING:
    from advisor.app import Advisor

__all__ = ["FORMATS", "Exported", "export"]

FORMATS: Final = {
    "parquet": "advisor.exporting.parquet",
    "csv": "advisor.exporting.csv_tables",
    "mlflow": "advisor.exporting.mlflow_folder",
    "wandb": "advisor.exporting.wandb_runs",
    "tensorboard": "advisor.exporting.tensorboard_events",
    "optuna": "advisor.exporting.optuna_study",
}
"""Formats, and the modules that write them."""


def export(adv: Advisor, to: str | Path, *, format: str = "parquet", experiment: str | None = None) -> Exported:
    """Write runs, their curves, and suggestions that nobody has started, in the format of another program.

    Runs that still go on are written as they are.

    Parameters
    ----------
    to
        A folder, made where there is none; for ``optuna`` also an address such as ``sqlite:///study.db``, or a journal
        file (``….log``).
    format
        One of ``FORMATS``.
    experiment
        Only this one; all where None.

    Raises
    ------
    ConfigError
        If the format is unknown, or ``to`` is no place for it.
    ExperimentNotFoundError
        If there is no such experiment.
    """
    if format not in FORMATS:
        raise ConfigError(f"unknown format {format!r}; {did_you_mean(format, FORMATS)}")
    if format != "optuna" and "://" in str(to):
        raise ConfigError(f"{str(to)!r} is an address; {format} is written to a folder")
    writer = import_module(FORMATS[format])
    done: Exported = writer.write(adv, str(to) if format == "optuna" else Path(to), experiment=experiment)
    return done
