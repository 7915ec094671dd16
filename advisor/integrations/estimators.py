"""Parameters of estimators with ``get_params``: scikit-learn's own, and those of libraries that look like it.

Pure, and no framework is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from advisor.integrations.common import as_param, flat

NOT_PARAMS: Final = frozenset(
    {"callbacks", "n_jobs", "nthread", "num_threads", "silent", "thread_count", "verbose", "verbosity"}
)
"""What estimators take and what changes nothing in the model."""


def params_of(given: Any) -> dict[str, Any]:
    """Return what was given as parameters, flat: a mapping, or an estimator's own, without ``NOT_PARAMS``.

    An estimator's None means that its library chooses, and is left out. Of an estimator within an estimator the class
    and its parameters are kept (``svc`` and ``svc__C``); lists of steps are left out, since their parts are there.

    Examples
    --------
    >>> params_of({"eta": 0.3, "nthread": 4})
    {'eta': 0.3}
    """
    if given is None:
        return {}
    if not is_estimator(given):
        return {name: value for name, value in as_params(given).items() if name not in NOT_PARAMS}
    params = {"estimator": class_name(given)}
    for name, value in given.get_params().items():
        own = name.rpartition("__")[2]
        if value is not None and own not in NOT_PARAMS and not _holds_estimators(value):
            params[name] = class_name(value) if is_estimator(value) else as_param(value)
    return params


def as_params(given: Any) -> dict[str, Any]:
    """Return a mapping as parameters, flat; estimators in it by their class."""
    if not isinstance(given, Mapping):
        return flat(given)
    return flat({name: class_name(value) if is_estimator(value) else value for name, value in given.items()})


def is_estimator(value: Any) -> bool:
    """Return whether a value is an estimator, not its class."""
    return callable(getattr(value, "get_params", None)) and not isinstance(value, (type, Mapping))


def class_name(value: Any) -> str:
    """Return what an estimator is called."""
    return type(value).__name__


def _holds_estimators(value: Any) -> bool:
    """Return whether a value is a pipeline's steps or the like."""
    if not isinstance(value, (list, tuple)) or not value:
        return False
    return all(isinstance(item, (list, tuple)) and len(item) >= 2 and is_estimator(item[1]) for item in value)
