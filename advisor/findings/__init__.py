"""What went wrong or stands out in a run: rules, an isolation forest among siblings, a live monitor.

Importing this package loads nothing heavy; scikit-learn is loaded when ``check_experiment`` first
compares runs, and never by ``Monitor``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from advisor.findings.check import Checked as Checked
    from advisor.findings.check import RunScore as RunScore
    from advisor.findings.check import check_experiment as check_experiment
    from advisor.findings.codes import CODES as CODES
    from advisor.findings.monitor import Monitor as Monitor
    from advisor.findings.rules import NotJudged as NotJudged

__all__ = ["CODES", "Checked", "Monitor", "NotJudged", "RunScore", "check_experiment"]

_HOMES = {
    "CODES": "codes",
    "Checked": "check",
    "Monitor": "monitor",
    "NotJudged": "rules",
    "RunScore": "check",
    "check_experiment": "check",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
