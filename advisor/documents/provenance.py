"""What is known about how a run came to be: code, command, versions, machine, data.

Reads what tracking captured and what an import brought along; leaves out everything that it would
have to guess. Invariant: an answer is None or empty where nothing was recorded, never a default.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advisor.documents import numbers
from advisor.documents.untrusted import one_line
from storage.records import Run

_MAX_PACKAGES = 8


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a run came to be, as far as it was recorded; all text is untrusted."""

    command: str | None
    commit: str | None
    branch: str | None
    has_changes: bool | None
    """Whether the code differed from the commit; None where it was not recorded."""
    diff: str
    """The difference as it was kept, maybe cut; empty where there is none."""
    python: str | None
    host: str | None
    packages: tuple[str, ...]
    """``name version``, a few."""
    hardware: tuple[str, ...]
    data: tuple[str, ...]
    """One line a data set: name, shape, fingerprint."""


def provenance(run: Run) -> Provenance:
    """Return what was recorded about how the run came to be (see ``advisor.tracking.capture``)."""
    known = run.environment
    git, python = known.get("git"), known.get("python")
    code: Mapping[str, Any] = git if isinstance(git, Mapping) else {}
    return Provenance(
        command=_command(known.get("command")),
        commit=_text(code.get("commit")),
        branch=_text(code.get("branch")),
        has_changes=bool(code["dirty"] or code.get("diff")) if code.get("dirty") is not None else None,
        diff=str(code.get("diff") or ""),
        python=_text(python.get("version") if isinstance(python, Mapping) else python),
        host=_text(known.get("host")),
        packages=_packages(known.get("libraries")),
        hardware=_hardware(known),
        data=tuple(data_line(item) for item in run.data),
    )


def _text(value: Any) -> str | None:
    return one_line(str(value), limit=120) if value else None


def _command(value: Any) -> str | None:
    if isinstance(value, (list, tuple)):
        value = shlex.join(str(part) for part in value)
    return one_line(str(value), limit=600) if value else None


def _packages(value: Any) -> tuple[str, ...]:
    if not isinstance(value, Mapping):
        return ()
    return tuple(one_line(f"{name} {version}", limit=60) for name, version in list(value.items())[:_MAX_PACKAGES])


def _hardware(known: Mapping[str, Any]) -> tuple[str, ...]:
    gpus = known.get("gpus")
    listed = gpus if isinstance(gpus, Sequence) and not isinstance(gpus, str) else ()
    parts = [str(gpu.get("name", "GPU")) if isinstance(gpu, Mapping) else str(gpu) for gpu in listed]
    if isinstance(known.get("cpu_count"), int):
        parts.append(f"{known['cpu_count']} CPUs")
    if isinstance(known.get("memory_bytes"), int):
        parts.append(f"{numbers.size(known['memory_bytes'])} of memory")
    machine = known.get("platform")
    if isinstance(machine, Mapping):
        parts.append(" ".join(str(machine[key]) for key in ("system", "machine") if machine.get(key)))
    return tuple(one_line(part, limit=80) for part in parts if part)


def data_line(item: Mapping[str, Any]) -> str:
    """Return a data set in one line: name, shape, fingerprint."""
    fingerprint = next((item[key] for key in ("fingerprint", "sha256", "hash", "digest") if item.get(key)), None)
    parts = [str(item.get("name", "data"))]
    if item.get("shape"):
        parts.append("shape " + " × ".join(str(side) for side in item["shape"]))
    if fingerprint:
        parts.append(f"fingerprint {str(fingerprint)[:16]}")
    return one_line(", ".join(parts), limit=160)
