"""What a tracker's name stands for that this program does not do: it says so once, and the training goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Self

log = logging.getLogger("advisor.compat")

_said: set[str] = set()


def say_once(key: str, message: str) -> None:
    """Log a warning, the first time in this process that it is asked for under this key."""
    if key not in _said:
        _said.add(key)
        log.warning("%s", message)


def forget_said() -> None:
    """Say everything again; for programs that run one script after another."""
    _said.clear()


class Unsupported:
    """Stands for what is not kept: any attribute, call and item is another one of these, and nothing happens.

    False, empty, and without a text of its own, so that ``if table:`` and loops over it pass by. Names that begin with
    two underscores are refused, since libraries use them to find out what an object can do.

    Examples
    --------
    >>> table = Unsupported("wandb.Table")
    >>> table.add_data(1, 2).anything["x"], len(table), bool(table)
    (<Unsupported wandb.Table>, 0, False)
    """

    def __init__(self, name: str) -> None:
        self.__dict__["_unsupported"] = name

    def __getattr__(self, name: str) -> Self:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __setattr__(self, name: str, value: object) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> Self:  # noqa: D102  # the class describes it
        return self

    def __getitem__(self, key: object) -> Self:
        return self

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __repr__(self) -> str:
        return f"<Unsupported {self.__dict__['_unsupported']}>"


class NotKept(Unsupported):
    """A name of a tracker that says so once, as soon as it is used, and swallows the rest."""

    def __init__(self, name: str, hint: str = "") -> None:
        super().__init__(name)
        self.__dict__["_hint"] = hint

    def _say(self) -> Unsupported:
        name, hint = self.__dict__["_unsupported"], self.__dict__["_hint"]
        say_once(name, f"{name} is not supported and does nothing{f'; {hint}' if hint else ''}")
        return Unsupported(name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return NotKept(f"{self.__dict__['_unsupported']}.{name}", self.__dict__["_hint"])

    def __call__(self, *args: Any, **_: Any) -> Any:  # noqa: D102  # the class describes it
        said = self._say()
        # A decorator without arguments must leave the function that it decorates.
        return args[0] if len(args) == 1 and callable(args[0]) and not isinstance(args[0], type) else said

    def __getitem__(self, key: object) -> Any:
        return self._say()

    def __enter__(self) -> Any:
        return self._say()

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, Unsupported) and repr(instance) == repr(Unsupported(self.__dict__["_unsupported"]))

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        self._say()
        return (_Base,)


class _Base(Unsupported):
    """What a class inherits from that is derived from something unsupported."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__(type(self).__name__)
