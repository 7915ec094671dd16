"""Addresses of experiments, and what stands behind one. Any name can be addressed.

Slashes in a name stay slashes. A name that browsers would change on the way (``..``), or that is too long for an
address, is reached by the experiment's number: ``/experiments/:3``.

Invariant: ``found(known, path)`` of an experiment's address gives that experiment; where a name and a part of another
experiment's page have the same address, the name wins.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import quote, urlencode

from storage.records import Experiment

ROOT: Final = "/experiments/"
MAX_NAME: Final = 2_000
"""Bytes of a name, quoted, that an address still holds beside a filter."""


def address_of(record: Experiment, part: str = "", **query: object) -> str:
    """Return the address of an experiment's page, or of a part of it.

    Parameters
    ----------
    part
        For instance ``runs.csv``.
    query
        What is None or empty is left out.
    """
    path = quote(record.name, safe="/")
    if len(path) > MAX_NAME or any(piece in ("", ".", "..") for piece in record.name.split("/")):
        path = f":{record.number}"
    given = [(name, value) for name, value in query.items() if value not in (None, "", ())]
    return ROOT + path + (f"/{part}" if part else "") + (f"?{urlencode(given, doseq=True)}" if given else "")


def found(known: Mapping[str, Experiment], path: str, parts: Collection[str]) -> tuple[Experiment | None, str]:
    """Return the experiment that a path is about, and the part of its page that is asked for."""
    record = _record(known, path)
    if record is not None:
        return record, ""
    head, slash, tail = path.rpartition("/")
    return (_record(known, head), tail) if slash and tail in parts else (None, "")


def _record(known: Mapping[str, Experiment], name: str) -> Experiment | None:
    if name in known:
        return known[name]
    number = name[1:] if name.startswith(":") else ""
    if not number.isdecimal() or len(number) > 9:
        return None
    return next((record for record in known.values() if record.number == int(number)), None)
