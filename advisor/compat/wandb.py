"""What ``import advisor as wandb`` finds beside ``init``, ``log`` and ``finish``: names of W&B's package.

``config`` and ``summary`` refer to the current run at each use; before there is one, they say so. What this program
does not do is named in ``NOT_KEPT`` and says so once, when it is used first.
"""

from __future__ import annotations

import logging
from enum import Enum
from typing import Any, Final

from advisor.compat import current
from advisor.compat.unsupported import NotKept, Unsupported
from advisor.compat.wandb_config import CURRENT
from advisor.compat.wandb_files import Artifact as Artifact
from advisor.compat.wandb_run import WandbRun
from advisor.compat.wandb_summary import Summary
from advisor.errors import AdvisorError
from advisor.tracking.run import LiveRun

log = logging.getLogger(__name__)

_SWEEP = "'advisor optimize EXP -n N -- python train.py' runs suggestions"
_MEDIA = "numbers, text and files are kept; save a file with run.save"
NOT_KEPT: Final = {
    **dict.fromkeys(("Image", "Table", "JoinedTable", "EvalTable", "Histogram", "Video", "Audio", "Html"), _MEDIA),
    **dict.fromkeys(("Object3D", "Molecule", "Plotly", "Graph", "Classes", "box3d", "plot", "plot_table"), _MEDIA),
    **dict.fromkeys(("sweep", "agent", "controller"), _SWEEP),
    **dict.fromkeys(("Api", "Settings", "sklearn", "xgboost", "lightgbm", "keras", "catboost", "integration"), ""),
    **dict.fromkeys(("tensorboard", "visualize", "require", "attach", "helper", "ArtifactTTL"), ""),
}
"""Names that do nothing, and what to use instead."""
METHODS: Final = (
    "watch unwatch use_artifact log_artifact log_model use_model link_model log_code define_metric alert save restore "
    "mark_preempting pin_config_keys"
).split()
"""Functions that are the current run's methods of that name."""
Run = WandbRun
QUIET: Final = {"Settings": "wandb.Settings"}
"""What scripts write down and nobody reads: nothing is said."""
NAMES: Final = (
    *("AlertLevel", "Artifact", "Run", "join", "login", "run", "setup", "summary", "teardown", "termlog", "termwarn"),
    *METHODS,
    *NOT_KEPT,
)
"""Everything here that ``advisor`` resolves; ``config`` is resolved by its package itself."""


class AlertLevel(Enum):
    """How urgent an alert is."""

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


def login(*_: Any, **__: Any) -> bool:
    """Return True: there is nothing to log in to, and no key is read or kept."""
    return True


def setup(*_: Any, **__: Any) -> Unsupported:
    """Do nothing: there is no service to start."""
    return Unsupported("wandb.setup")


def teardown(*_: Any, **__: Any) -> None:
    """End the current run, where one goes on."""
    run = current.going_on()
    if run is not None:
        run.finish()


join = teardown


def termlog(text: str = "", **_: Any) -> None:
    """Log a line."""
    log.info("%s", text)


def termwarn(text: str = "", **_: Any) -> None:
    """Log a line as a warning."""
    log.warning("%s", text)


def summary_of(run: LiveRun) -> Summary:
    """Return the summary of a run; one that was started in our own shape gets one at its first use."""
    known = run.__dict__.get("summary")
    if known is None:
        known = run.__dict__["summary"] = Summary(run)
    assert isinstance(known, Summary)
    return known


def _needed(what: str) -> LiveRun:
    run = current.get()
    if run is None:
        raise AdvisorError(f"{what} belongs to a run, and there is none; call init(…) first")
    return run


def __getattr__(name: str) -> Any:
    if name == "run":
        return current.going_on()
    if name == "config":
        return CURRENT
    if name == "summary":
        return summary_of(_needed("summary"))
    if name in METHODS:
        run = _needed(f"{name}()")
        return getattr(run, name, NotKept(f"wandb.{name}", "start the run as wandb.init does: init(project=…)"))
    if name in QUIET:
        return Unsupported(QUIET[name])
    if name in NOT_KEPT:
        return NotKept(f"wandb.{name}", NOT_KEPT[name])
    raise AttributeError(f"module 'advisor.compat.wandb' has no attribute {name!r}")
