"""``wandb.summary``: the last value of everything logged, and what a program says of a run beyond its curves.

What is said is an attribute of the run at once. A number under a name that was never logged is at the end a metric too,
one point at the last step, so that runs can be ordered by it and it can be an objective. One under the name of a curve
stays an attribute: a curve holds what was logged, and nothing else. Scripts that set a value at every step would fill
the journal, so a name that was written less than ``AGAIN_AFTER_S`` ago waits, at the latest for the run's end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from advisor.nested import flat
from advisor.tracking.values import plain

if TYPE_CHECKING:
    from advisor.tracking.run import LiveRun


AGAIN_AFTER_S: Final = 10.0
"""How long a value that changes again waits to be written."""


class Summary(MutableMapping[str, Any]):
    """What stands for a run, by attribute and by item.

    Parameters
    ----------
    run
        The run; None keeps everything in memory.
    clock
        Seconds that only count up.
    """

    def __init__(self, run: LiveRun | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock: Callable[[], float]
        self._written: dict[str, float]
        self._waiting: dict[str, Any]
        self.__dict__.update(_clock=clock, _written={}, _waiting={})
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
        self._waiting.update(told)
        now = self._clock()
        self._write([name for name in self._waiting if now - self._written.get(name, -AGAIN_AFTER_S) >= AGAIN_AFTER_S])

    def write_rest(self) -> None:
        """Write what waits."""
        self._write(list(self._waiting))

    def _write(self, names: list[str]) -> None:
        due = {name: self._waiting.pop(name) for name in names}
        self._written.update(dict.fromkeys(due, self._clock()))
        if self._run is not None and due:
            self._run.set_attributes(due)

    def _all(self) -> dict[str, Any]:
        return {**self._logged, **self._said}

    def __getitem__(self, name: str) -> Any:
        return self._all()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._say({name: value})

    def __delitem__(self, name: str) -> None:
        del self._said[name]
        self._waiting.pop(name, None)

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
