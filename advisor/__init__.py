"""Ask what to try next, what went wrong, and what was learned.

>>> import advisor
>>> adv = advisor.open("experiments")                          # doctest: +SKIP
>>> exp = adv.experiment("digits-mlp", objective="val_loss")   # doctest: +SKIP

Names are loaded when they are used first, so that ``import advisor`` costs next to nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
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


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
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
