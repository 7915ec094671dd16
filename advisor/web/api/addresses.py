"""Which operation an address means, and what it names.

Addresses are read as they came, before anything is decoded: ``%2F`` belongs to a name, ``/`` divides. So an experiment
called ``vision/v2#a b`` is at ``/api/v1/experiments/vision%2Fv2%23a%20b``, and clients that are made from the OpenAPI
document write just that. What cannot be named so are ``.`` and ``..``, which clients take for steps on the way.

Invariant: of two operations whose addresses fit, the one with fewer holes is meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from advisor.operations import Operation
from advisor.web.problems import Refusal
from advisor.web.security import READ_ONLY

ROOT: Final = "/api/v1"
MAX_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Address:
    """The address of an operation, divided."""

    operation: Operation
    parts: tuple[str, ...]

    @classmethod
    def of(cls, operation: Operation) -> Address:
        """Return where an operation is."""
        return cls(operation, tuple(operation.path.strip("/").split("/")))

    @property
    def holes(self) -> tuple[str, ...]:
        """The names of what the address names."""
        return tuple(part[1:-1] for part in self.parts if part.startswith("{"))

    def named(self, given: tuple[str, ...]) -> dict[str, str] | None:
        """Return what a divided address names, None where it does not fit."""
        if len(given) != len(self.parts):
            return None
        found: dict[str, str] = {}
        for part, mine in zip(given, self.parts, strict=True):
            if mine.startswith("{") and part:
                found[mine[1:-1]] = part
            elif mine != part:
                return None
        return found


class Addresses:
    """The addresses of operations."""

    def __init__(self, operations: Iterable[Operation], *, withheld: Iterable[Operation] = ()) -> None:
        self._all = sorted(map(Address.of, operations), key=lambda each: len(each.holes))
        self._withheld = [Address.of(each) for each in withheld]

    def find(self, raw_path: bytes, method: str) -> tuple[Operation, Mapping[str, str]]:
        """Return the operation that is meant, and what its address names.

        Raises
        ------
        Refusal
            If there is none (404), none for the method (405), or what is meant is withheld (403).
        """
        given = _divided(raw_path)
        for each in self._withheld:
            if each.operation.method == method and each.named(given) is not None:
                raise Refusal(403, READ_ONLY)
        fitting = [(each.operation, named) for each in self._all if (named := each.named(given)) is not None]
        if not fitting:
            shown = raw_path.decode("latin-1")[:MAX_SHOWN]
            raise Refusal(404, f"there is nothing at {shown}; {ROOT.rpartition('/')[0]} lists what there is")
        for operation, named in fitting:
            if operation.method == ("GET" if method == "HEAD" else method):
                return operation, named
        allowed = sorted({each.method for each, _ in fitting} | {"HEAD" for each, _ in fitting if each.method == "GET"})
        why = f"{method[:20]} is not possible here, only {', '.join(allowed)}"
        raise Refusal(405, why, Allow=", ".join(allowed))


def _divided(raw_path: bytes) -> tuple[str, ...]:
    """Return the parts of an address below the root, each decoded.

    Raises
    ------
    Refusal
        If one is not UTF-8.
    """
    parts = raw_path.decode("latin-1").removeprefix(f"{ROOT}/").split("/")
    try:
        return tuple(unquote_to_bytes(part).decode("utf-8") for part in parts)
    except UnicodeDecodeError:
        raise Refusal(400, "the address is not UTF-8, percent-encoded") from None
