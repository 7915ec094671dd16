"""Other spellings of a search space: short forms, YAML files, Optuna's distributions, sentences about a change.

Optuna's distributions are recognised by their names, so that describing a space does not import Optuna.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.errors import SpaceError
from advisor.suggest.dimensions import UNSET, Choice, Dimension, Float, Int, is_whole, plain
from storage.errors import did_you_mean

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

    from advisor.suggest.space import Space

_ALIASES = {"min": "low", "max": "high", "values": "choices", "q": "step"}
_RANGE_KEYS = {"low", "high", "log", "step", "when", "default"}
_KEYS = {"float": _RANGE_KEYS, "int": _RANGE_KEYS, "choice": {"choices", "when", "default"}}
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
    if len(data) == 1 and isinstance(inner, Mapping) and not set(inner) <= {*_RANGE_KEYS, "type"}:
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


def suggested(trial: optuna.Trial, name: str, dimension: Dimension) -> Any:
    """Return the value that an Optuna trial proposes for a parameter, as a plain Python value."""
    if isinstance(dimension, Float):
        found: Any = trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log, step=dimension.step)
    elif isinstance(dimension, Int):
        found = trial.suggest_int(name, dimension.low, dimension.high, log=dimension.log, step=dimension.step)
    else:
        found = trial.suggest_categorical(name, dimension.choices)
    return plain(dimension, found)


def changes(before: Space, after: Space) -> list[str]:
    """Return a sentence for each way in which ``after`` differs from ``before``, in the order of the parameters."""
    out: list[str] = []
    for name, old in before.items():
        if name not in after:
            out.append(f"{name} was removed")
        else:
            out += [f"{name} {what}" for what in _changes(old, after[name])]
    for name, new in after.items():
        if name not in before:
            default = "" if new.default is UNSET else f"; runs without it count as {new.default!r}"
            out.append(f"{name} was added: {new.span}{_where(new)}{default}")
    return out


def _changes(old: Dimension, new: Dimension) -> list[str]:
    if isinstance(old, Choice) and isinstance(new, Choice):
        out = [f"gained {choice!r}" for choice in new.choices if old.index(choice) is None]
        out += [f"lost {choice!r}" for choice in old.choices if new.index(choice) is None]
    elif isinstance(old, Choice) or isinstance(new, Choice) or type(old) is not type(new):
        out = [f"changed from {_noun(old)} {old.span} to {_noun(new)} {new.span}"]
    elif old.span == new.span and (old.low, old.high) == (new.low, new.high):
        out = []
    else:
        inner, outer = (old.low <= new.low and new.high <= old.high), (new.low <= old.low and old.high <= new.high)
        how = "changed" if inner == outer else "narrowed" if inner else "widened"
        same_scale = (old.log, old.step) == (new.log, new.step)
        first, last = (_bounds(old), _bounds(new)) if same_scale else (old.span, new.span)
        out = [f"{how} from {first} to {last}"]
    if old.when != new.when:
        out.append(f"has a meaning now {_where(new).removeprefix(', ') or 'everywhere'}")
    if old.default != new.default and new.default is not UNSET:
        out.append(f"counts as {new.default!r} in runs without it")
    return out


def _bounds(dimension: Float | Int) -> str:
    return f"[{dimension.low:g}, {dimension.high:g}]"


def _noun(dimension: Dimension) -> str:
    return (
        "a choice of" if isinstance(dimension, Choice) else "whole numbers" if isinstance(dimension, Int) else "numbers"
    )


def _where(dimension: Dimension) -> str:
    return f", only where {' and '.join(map(str, dimension.when))}" if dimension.when else ""


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
        return Choice(*choices, when=given.get("when"), default=given.get("default", UNSET))
    for key in ("low", "high"):
        if key not in given:
            raise SpaceError(f"{key!r} is missing; give both low and high")
    log = given.get("log") or False
    if not isinstance(log, bool):
        raise SpaceError(f"log = {log!r} is neither true nor false")
    low, high, step = (_parsed(given.get(key)) for key in ("low", "high", "step"))
    when, default = given.get("when"), _parsed(given.get("default", UNSET))
    if kind == "int":
        return Int(low, high, log=log, step=1 if step is None else step, when=when, default=default)
    return Float(low, high, log=log, step=step, when=when, default=default)


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
