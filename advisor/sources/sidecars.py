"""What lies beside a file of curves: parameters as JSON or YAML, and descriptions of the machine.

Only files of known names in the same folder; what cannot be read is left out with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from advisor.errors import SourceError
from advisor.sources.reading import flat, read_json, read_yaml, stamp_of

STEMS: Final = ("hparams", "params", "args", "config")
"""Of files with parameters, most telling first: the first that has a parameter decides."""
ENDINGS: Final = (".json", ".yaml", ".yml")
NAMES: Final = tuple(f"{stem}{ending}" for stem in STEMS for ending in ENDINGS)
META: Final = ("meta_data_0.json",)
"""What the scoring of AlgoPerf writes of workload and machine."""
PARAMS_MAX_BYTES: Final = 2**20


@dataclass(slots=True)
class Beside:
    """What was found beside a file."""

    params: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def names_in(files: Iterable[str]) -> frozenset[str]:
    """Return which of some files would be read."""
    return frozenset(files) & {*NAMES, *META}


def read_beside(folder: Path, *, names: Iterable[str] = NAMES) -> Beside:
    """Return parameters and descriptions that lie in a folder.

    Parameters
    ----------
    names
        Files with parameters that count, the earlier the more.
    """
    beside = Beside()
    for name in names:
        content = _read(folder / name, beside.notes)
        beside.params = {**content, **beside.params}
    for name in META:
        beside.meta |= _read(folder / name, beside.notes)
    return beside


def stamp_beside(folder: Path, *, names: Iterable[str] = NAMES) -> str:
    """Return a text that changes when one of these files does."""
    return stamp_of(*(folder / name for name in (*names, *META)))


def _read(path: Path, notes: list[str]) -> Mapping[str, Any]:
    if path.is_symlink() or not path.is_file():
        return {}
    try:
        content = read_json(path, most=PARAMS_MAX_BYTES) if path.suffix == ".json" else read_yaml(path)
    except SourceError as error:
        notes.append(f"{path.name} {error}")
        return {}
    if not isinstance(content, dict):
        notes.append(f"{path.name} holds no parameters but a {type(content).__name__}")
        return {}
    return flat(content)
