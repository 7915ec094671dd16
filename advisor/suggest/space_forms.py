"""Other spellings of a search space: short forms, YAML files, Optuna's distributions.

Optuna's distributions are recognised by their names, so that describing a space does not import Optuna.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.errors import SpaceError
from advisor.suggest.dimensions import Choice, Dimension, Float, Int, is_whole
from storage.errors import did_you_mean

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_ALIASES = {"min": "low", "max": "high", "values": "choices", "q": "step"}
_KEYS = {"float": {"low", "high", "log", "step"}, "int": {"low", "high", "log", "step"}, "choice": {"choices"}}
_TYPES = {
    "float": "float",
    "real": "float",
    "int": "int",
    "integer": "int",
    "choice": "choice",
    "categorical": "choice",
}


def dimension_of(name: str, value: Any) -> Dimension:
    """Return the dimension that any accepted spelling describes.

    Raises
    ------
    SpaceError
        If it cannot be understood; the message begins with the parameter's name.
    """
    try:
        if isinstance(value, (Float, Int, Choice)):
            return value
        if type(value).__name__.endswith("Distribution"):
            return _from_distribution(value)
        if isinstance(value, (list, tuple)):
            return Choice(*value)
        if isinstance(value, Mapping):
            return _from_mapping(value)
    except SpaceError as exc:
        raise SpaceError(f"parameter {name!r}: {exc}") from exc
    raise SpaceError(
        f"parameter {name!r}: {value!r} is not a range; give Float(low, high), Int(low, high), Choice(a, b, …), "
        "a list of choices, or {low: …, high: …}"
    )


def read_yaml(path: Path) -> Mapping[str, Any]:
    """Return the mapping in a YAML file; one under a single top-level ``space:`` is accepted as well.

    Raises
    ------
    SpaceError
        If there is no such file, it is not YAML, or not a mapping.
    """
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise SpaceError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        first_line = " ".join(str(exc).split())
        raise SpaceError(f"{path} is not YAML: {first_line}") from exc
    if not isinstance(data, Mapping):
        raise SpaceError(f"{path} must map parameter names to ranges, for instance 'lr: {{low: 0.001, high: 1}}'")
    inner = data.get("space")
    if len(data) == 1 and isinstance(inner, Mapping) and not set(inner) <= {"low", "high", "log", "step", "type"}:
        return inner
    return data


def distribution_of(dimension: Dimension) -> BaseDistribution:
    """Return Optuna's form of a dimension."""
    from optuna import distributions

    if isinstance(dimension, Float):
        return distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)
    if isinstance(dimension, Int):
        return distributions.IntDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)
    return distributions.CategoricalDistribution(dimension.choices)


def _from_distribution(value: Any) -> Dimension:
    kind = type(value).__name__
    if kind == "FloatDistribution":
        return Float(value.low, value.high, log=value.log, step=value.step)
    if kind == "IntDistribution":
        return Int(value.low, value.high, log=value.log, step=value.step)
    if kind == "CategoricalDistribution":
        return Choice(*value.choices)
    raise SpaceError(f"{kind} is not known; use FloatDistribution, IntDistribution or CategoricalDistribution")


def _from_mapping(value: Mapping[str, Any]) -> Dimension:
    given = {_ALIASES.get(str(key), str(key)): item for key, item in value.items()}
    kind = _kind(given.pop("type", None), given)
    for key in given:
        if key not in _KEYS[kind]:
            raise SpaceError(f"unknown key {key!r} for type {kind}; {did_you_mean(key, _KEYS[kind])}")
    if kind == "choice":
        choices = given.get("choices")
        if not isinstance(choices, (list, tuple)):
            raise SpaceError("a choice needs a list of values, for instance {type: choice, choices: [sgd, adam]}")
        return Choice(*choices)
    for key in ("low", "high"):
        if key not in given:
            raise SpaceError(f"{key!r} is missing; give both low and high")
    log = given.get("log") or False
    if not isinstance(log, bool):
        raise SpaceError(f"log = {log!r} is neither true nor false")
    low, high, step = (_parsed(given.get(key)) for key in ("low", "high", "step"))
    if kind == "int":
        return Int(low, high, log=log, step=1 if step is None else step)
    return Float(low, high, log=log, step=step)


def _kind(given: object, keys: Mapping[str, Any]) -> str:
    """Return the type named, or the one that the bounds suggest: whole bounds make an integer."""
    if given is not None:
        if str(given).lower() not in _TYPES:
            raise SpaceError(f"unknown type {given!r}; {did_you_mean(str(given), ('float', 'int', 'choice'))}")
        return _TYPES[str(given).lower()]
    if "choices" in keys:
        return "choice"
    whole = all(is_whole(keys.get(key)) for key in ("low", "high")) and is_whole(keys.get("step") or 1)
    return "int" if whole else "float"


def _parsed(value: Any) -> Any:
    """Return a number that YAML took for text: it reads ``1e-5``, without a point, as a string."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
