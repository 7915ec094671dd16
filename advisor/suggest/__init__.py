"""What to try next: search spaces, suggestions, forecasts, stopping advice, and Optuna on the store.

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from advisor.suggest.forecast import Forecast, forecast_run
    from advisor.suggest.importance import Importances, importances
    from advisor.suggest.infer import Inferred, infer_space
    from advisor.suggest.ledger import Ledger, account_for
    from advisor.suggest.pruning import StopAdvice, should_stop
    from advisor.suggest.search_advice import SearchAdvice, advise_search
    from advisor.suggest.space import Choice, Float, Int, Space
    from advisor.suggest.suggester import suggest
    from advisor.suggest.suggestion import Neighbour, Suggestion
    from advisor.suggest.surrogate import forecast_params

__all__ = [
    "Choice",
    "Float",
    "Forecast",
    "Importances",
    "Inferred",
    "Int",
    "Ledger",
    "Neighbour",
    "SearchAdvice",
    "Space",
    "StopAdvice",
    "Suggestion",
    "account_for",
    "advise_search",
    "forecast_params",
    "forecast_run",
    "importances",
    "infer_space",
    "should_stop",
    "suggest",
]

_HOME = {
    "Choice": "space",
    "Float": "space",
    "Forecast": "forecast",
    "Importances": "importance",
    "Inferred": "infer",
    "Int": "space",
    "Ledger": "ledger",
    "Neighbour": "suggestion",
    "SearchAdvice": "search_advice",
    "Space": "space",
    "StopAdvice": "pruning",
    "Suggestion": "suggestion",
    "account_for": "ledger",
    "advise_search": "search_advice",
    "forecast_params": "surrogate",
    "forecast_run": "forecast",
    "importances": "importance",
    "infer_space": "infer",
    "should_stop": "pruning",
    "suggest": "suggester",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
