"""Ask what to try next, what went wrong, and what was learned.

>>> import advisor
>>> adv = advisor.open("experiments")                          # doctest: +SKIP
>>> exp = adv.experiment("digits-mlp", objective="val_loss")   # doctest: +SKIP

Names are loaded when they are used first, so that ``import advisor`` costs next to nothing. ``from advisor import *``
brings those of ``__all__``; ``import advisor as wandb`` finds also the names of W&B's package that its scripts use, see
``advisor.compat.wandb``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from advisor.app import Advisor, open
    from advisor.errors import AdvisorError
    from advisor.experiment import Experiment
    from advisor.fluent import finish, init, log
    from advisor.suggest.space import Choice, Float, Int
    from advisor.suggest.suggestion import Suggestion
    from advisor.tracking.run import LiveRun
    from storage.errors import StorageError
    from storage.records import Curve, Finding, Run, RunState

__version__ = "0.1.0"

__all__ = [
    "Advisor",
    "AdvisorError",
    "Choice",
    "Curve",
    "Experiment",
    "Finding",
    "Float",
    "Int",
    "LiveRun",
    "Run",
    "RunState",
    "StorageError",
    "Suggestion",
    "finish",
    "init",
    "log",
    "open",
]

_HOMES = {
    "Advisor": "advisor.app",
    "AdvisorError": "advisor.errors",
    "Choice": "advisor.suggest.space",
    "Curve": "storage.records",
    "Experiment": "advisor.experiment",
    "Finding": "storage.records",
    "Float": "advisor.suggest.space",
    "Int": "advisor.suggest.space",
    "LiveRun": "advisor.tracking.run",
    "Run": "storage.records",
    "RunState": "storage.records",
    "StorageError": "storage.errors",
    "Suggestion": "advisor.suggest.suggestion",
    "finish": "advisor.fluent",
    "init": "advisor.fluent",
    "log": "advisor.fluent",
    "open": "advisor.app",
}

_WANDB = frozenset(
    """
    AlertLevel Artifact join login run setup summary teardown termlog termwarn
    watch unwatch use_artifact log_artifact log_model use_model link_model log_code define_metric alert save restore
    mark_preempting pin_config_keys
    Image Table JoinedTable EvalTable Histogram Video Audio Html Object3D Molecule Plotly Graph Classes box3d plot
    plot_table sweep agent controller Api Settings sklearn xgboost lightgbm keras catboost integration tensorboard
    visualize require attach helper ArtifactTTL
    """.split()
)
"""Names of W&B's package, see ``advisor.compat.wandb``; its ``Run`` is there, ``advisor.Run`` is our own."""


class _Package(ModuleType):
    """The package; ``advisor.config`` is the current run's parameters, as in W&B, and the settings' module too.

    Importing a submodule sets it as its package's attribute, which would hide the parameters.
    """

    @property
    def config(self) -> Any:
        return import_module("advisor.compat.wandb_config").CURRENT

    @config.setter
    def config(self, value: object) -> None:
        if not isinstance(value, ModuleType):
            self.config.replace_all(value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _WANDB:
        return getattr(import_module("advisor.compat.wandb"), name)
    raise AttributeError(f"module 'advisor' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _check_sibling() -> None:
    """``storage`` is a common word: make sure that the one that Python finds is ours."""
    spec = find_spec("storage")
    ours = Path(__file__).resolve().parent.parent / "storage" / "__init__.py"
    if spec is None or spec.origin is None:  # a folder of data called storage is no package: pass it by
        ours_spec = spec_from_file_location("storage", ours, submodule_search_locations=[str(ours.parent)])
        if ours_spec is None or ours_spec.loader is None or not ours.exists():
            raise ImportError(f"the package 'storage' that belongs to 'advisor' is missing: {ours}")
        module = module_from_spec(ours_spec)
        sys.modules["storage"] = module
        ours_spec.loader.exec_module(module)
    elif Path(spec.origin).resolve() != ours:
        raise ImportError(
            f"the package 'storage' that belongs to 'advisor' is hidden by {spec.origin}; "
            "rename that file or folder, or start Python from another folder"
        )


_check_sibling()
