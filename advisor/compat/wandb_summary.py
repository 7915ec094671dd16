"""``wandb.summary``: the last value of everything logged, and what a program says of a run beyond its curves.

What is said is an attribute of the run at once. A number under a name that was never logged is at the end a metric too,
one point at the last step, so that runs can be ordered by it and it can be an objective. One under the name of a curve
stays an attribute: a curve holds what was logged, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from advisor.tracking.values import plain

if TYPE_CHECKING:
    from advisor.tracking.run import LiveRun


class Summary(MutableMapping[str, Any]):
    """What stands for a run, by attribute and by item.

    Parameters
    ----------
    run
        The run; None keeps everything in memory.
    """

    def __init__(self, run: LiveRun | None) -> None:
        self._run: LiveRun | None
        self._logged: dict[str, float]
        self._said: dict[str, Any]
        self.__dict__["_run"] = run
        self.__dict__["_logged"] = {}
        self.__dict__["_said"] = {}

    def saw(self, values: Mapping[str, Any]) -> None:
        """Take in what was logged: from now on it is what its names stand for, unless the program says otherwise."""
        self._logged.update(values)

    def points(self) -> dict[str, float]:
        """Return the numbers that were said and are no curve's."""
        return {
            name: float(value)
            for name, value in self._said.items()
            if name not in self._logged and isinstance(value, (int, float)) and not isinstance(value, bool)
        }

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Say several values; nested ones get names with points."""
        self._say(dict(*args, **kwargs))

    def _say(self, values: Mapping[str, Any]) -> None:
        told = flat(plain(values))
        self._said.update(told)
        if self._run is not None:
            self._run.set_attributes(told)

    def _all(self) -> dict[str, Any]:
        return {**self._logged, **self._said}

    def __getitem__(self, name: str) -> Any:
        return self._all()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._say({name: value})

    def __delitem__(self, name: str) -> None:
        del self._said[name]

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the summary has no {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return repr(self._all())


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, names joined by points, as W&B shows them.

    >>> flat({"a": 1, "b": {"c": 2, "d": {"e": 3}}})
    {'a': 1, 'b.c': 2, 'b.d.e': 3}
    """
    out: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            out |= flat(value, f"{prefix}{name}.")
        else:
            out[f"{prefix}{name}"] = value
    return out
