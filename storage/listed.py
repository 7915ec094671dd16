"""A list that a notebook shows as a table. In everything else it is a list.

Leaves out how the table looks, see ``storage.notebook``. Invariant: a slice is shown like the whole; showing touches
the first rows only, however long the list is.
"""

from __future__ import annotations

from typing import Any, Final, Self, SupportsIndex, TypeVar, overload

Item = TypeVar("Item")

MOST_LINES: Final = 15
"""Items that are written out as text."""


class Listed(list[Item]):
    """Items of one kind; a subclass says with ``_repr_html_`` how a notebook shows them."""

    @overload
    def __getitem__(self, key: SupportsIndex, /) -> Item: ...
    @overload
    def __getitem__(self, key: slice, /) -> Self: ...
    def __getitem__(self, key: SupportsIndex | slice, /) -> Any:
        if isinstance(key, slice):
            part = type(self)(super().__getitem__(key))
            part.__dict__.update(self.__dict__)
            return part
        return super().__getitem__(key)

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """Write the first items, one a line, where IPython shows text."""
        if not self:
            printer.text("[]")
            return
        for at, item in enumerate(self[:MOST_LINES]):
            printer.text("[" if at == 0 else " ")
            printer.pretty(item)
            printer.text("]" if at == len(self) - 1 else ",\n")
        if len(self) > MOST_LINES:
            printer.text(f" … {len(self) - MOST_LINES:,} more]")
