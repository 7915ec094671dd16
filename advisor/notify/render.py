"""Turn findings into messages; pure, no I/O.

A message is bounded so that every channel takes it whole, and everything in it that came from a run (names, titles,
parameters) is made harmless first: it may have been written by anyone.

Invariant: a message holds no control character but the newlines between its own lines.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

from advisor.findings.alerting import Decision
from advisor.findings.codes import CODES
from advisor.findings.configuration import BLAME, CONFIGURATION
from storage.evidence import word_of, worded
from storage.records import Finding, Run, Severity

TITLE_LIMIT = 150
"""Characters of a title; subject lines and push notifications cut later than this."""
TEXT_LIMIT = 1_700
"""Characters of a text; with the title it stays below Discord's 2,000, the tightest of the common channels."""

BADLY_CONFIGURED = " (a bad configuration)"

_NAME_LIMIT = 60
_VALUE_LIMIT = 80
_MAX_EVIDENCE = 8
_MAX_PARAMS = 8
_MAX_RUNS = 12
_ID_DIGITS = 8
_MAX_FIELDS = 50  # findings in a message for programs; the rest are counted

_VALUES = ("end", "peak", "value", "seconds", "silent_s", "best")
"""Figures of the evidence that may be the value a finding is about, the first one there counts."""
_BASELINES = ("before", "start", "best", "reference_s", "rhythm_s", "usual")
"""And what it is compared with."""

_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_MENTION = re.compile(r"(?<!\w)@(?=\w)|<(?=[!@#&])")
_MARKS = {Severity.INFO: "ℹ", Severity.WARNING: "⚠", Severity.ERROR: "✖"}


@dataclass(frozen=True, slots=True)
class Message:
    """One notification, ready to be sent."""

    title: str
    """One line of at most ``TITLE_LIMIT`` characters."""
    _: KW_ONLY
    text: str
    """Lines of at most ``TEXT_LIMIT`` characters together; does not repeat the title."""
    severity: Severity
    fields: Mapping[str, Any]
    """The same for programs: JSON values, NaN and ±inf as "NaN", "Infinity", "-Infinity"."""
    id: str = ""
    """The same at every try, so that a receiver can drop repetitions; empty where nobody keeps count."""
    picture: bytes | None = None
    """The curve with the place marked, a PNG; sent where the channel takes attachments."""

    def as_json(self) -> dict[str, Any]:
        """Return what an outbox keeps: everything but the picture."""
        return {"title": self.title, "text": self.text, "severity": str(self.severity), "fields": dict(self.fields)}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any], *, id: str = "") -> Self:
        """Return the message that ``as_json`` gave."""
        return cls(
            str(kept["title"]),
            text=str(kept["text"]),
            severity=Severity(kept["severity"]),
            fields=dict(kept["fields"]),
            id=id,
        )


def render_decision(decision: Decision, *, n_runs: int) -> Message:
    """Return the message of a group of alerts, or of a digest.

    Parameters
    ----------
    decision
        What is to be told, see ``advisor.findings.alerting``.
    n_runs
        Runs of the experiment, for "7 of 40 runs".
    """
    if decision.kind == "digest":
        return _digest(decision)
    first = decision.alerts[0]
    runs = list({alert.run.id: alert.run for alert in decision.alerts}.values())
    finding, again = first.lead, "still: " if decision.kind == "repeat" else ""
    if len(runs) == 1 and not decision.n_before:
        title = f"{_run_name(first.run)}: {again}{finding.title}"
        head = [_where(finding), *_told(finding), *_blame(finding), *_evidence(finding), *_params(first.run)]
    else:
        more = " more" if decision.n_before else ""
        title = (
            f"{clean(first.run.experiment, _NAME_LIMIT)}: {again}{len(runs)}{more} of {n_runs} runs: "
            f"{_slug(finding.code)}"
        )
        total = [f"{decision.n_before + len(runs)} runs in all so far"] if decision.n_before else []
        # The gravest first, each run once.
        listed = {alert.run.id: alert for alert in reversed(decision.alerts)}.values()
        lines = [f"#{alert.run.number} {clean(alert.lead.title, TITLE_LIMIT)}" for alert in reversed(list(listed))]
        rest = [f"… and {len(lines) - _MAX_RUNS} more runs"] if len(lines) > _MAX_RUNS else []
        head = [f"{finding.code}, {finding.severity}", *total, *lines[:_MAX_RUNS], *rest, *_told(finding)]
    advice = [f"what to do: {CODES[finding.code].what_to_do}"] if finding.code in CODES else []
    return Message(
        clean(f"{_MARKS[finding.severity]} {title}", TITLE_LIMIT),
        text=_joined([*head, *advice, "", f"{_how_to_look(finding)}  |  advisor ack {decision.id[:_ID_DIGITS]}"]),
        severity=max((alert.lead.severity for alert in decision.alerts), key=lambda severity: severity.rank),
        fields=_decision_fields(decision) | {"n_runs_of_experiment": n_runs, "acknowledge": _ack(decision)},
    )


def _digest(decision: Decision) -> Message:
    groups: dict[tuple[str, str], list[Finding]] = {}
    for alert in decision.alerts:
        groups.setdefault((alert.run.experiment, alert.lead.code), []).append(alert.lead)
    lines = [
        f"{_MARKS[found[0].severity]} {clean(experiment, _NAME_LIMIT)}: "
        f"{len({f.run_id for f in found})} × {_slug(code)}, "
        f"for instance run {found[0].run_id[:8]}: {clean(found[0].title, _VALUE_LIMIT)}"
        f"{BADLY_CONFIGURED if found[0].evidence.get(CONFIGURATION) is True else ''}"
        for (experiment, code), found in groups.items()
    ]
    rest = [f"… and {len(lines) - _MAX_RUNS} more kinds of trouble"] if len(lines) > _MAX_RUNS else []
    gone = [f"gone since the last digest: {len(decision.resolved)} findings"] if decision.resolved else []
    severity = max((alert.lead.severity for alert in decision.alerts), key=lambda each: each.rank)
    n_runs = len({alert.run.id for alert in decision.alerts})
    n_experiments = len({experiment for experiment, _ in groups})
    where = f"{n_experiments} experiments" if n_experiments > 1 else clean(next(iter(groups))[0], _NAME_LIMIT)
    ack = f"advisor check  |  advisor ack {decision.id[:_ID_DIGITS]}"
    return Message(
        clean(f"{_MARKS[severity]} digest of {where}: {len(decision.alerts)} findings in {n_runs} runs", TITLE_LIMIT),
        text=_joined([*lines[:_MAX_RUNS], *rest, *gone, "", ack]),
        severity=severity,
        fields=_decision_fields(decision) | {"n_resolved": len(decision.resolved), "acknowledge": _ack(decision)},
    )


def _ack(decision: Decision) -> str:
    return f"advisor ack {decision.id[:_ID_DIGITS]}"


def _decision_fields(decision: Decision) -> dict[str, Any]:
    first = decision.alerts[0]
    runs = list(dict.fromkeys(alert.run.id for alert in decision.alerts))
    groups = Counter((alert.run.experiment, alert.lead.code) for alert in decision.alerts)
    fields: dict[str, Any] = {
        "kind": decision.kind,
        "groups": [
            {"experiment": clean(experiment, _NAME_LIMIT), "code": code, "n": n}
            for (experiment, code), n in groups.most_common(2 * _MAX_FIELDS)
        ],
        "experiment": clean(first.run.experiment, _NAME_LIMIT),
        "run_id": first.run.id,
        "run_ids": runs[: 10 * _MAX_FIELDS],
        "n_runs": len(runs),
        "n_findings": len(decision.alerts),
        "findings": [_fields(alert.lead) for alert in decision.alerts[:_MAX_FIELDS]],
    }
    return fields | (_run_fields(first.run) if len(runs) == 1 else {})


def _told(finding: Finding) -> list[str]:
    """Return the line that says the value, the step, what it is compared with, and how sure that is."""
    value = next((finding.evidence[name] for name in _VALUES if name in finding.evidence), None)
    names = (name for name in _BASELINES if name in finding.evidence and finding.evidence[name] is not value)
    baseline = next((f"({word_of(name)}) {_shown(finding.evidence[name])}" for name in names), None)
    parts = [f"value {_shown(value)}"] if value is not None else []
    parts += [f"at step {finding.step}"] if finding.step is not None else []
    parts += [f"baseline {baseline}"] if baseline else []
    sure = f"p = {finding.p_value:.2g}" if finding.p_value is not None else "a rule, no chance in it"
    return [", ".join([*parts, f"confidence: {sure}"])]


def _slug(code: str) -> str:
    return CODES[code].slug if code in CODES else code


def clean(text: str, limit: int) -> str:
    r"""Return one line that a terminal and a chat show as it is.

    Terminal sequences, control, formatting and bidirectional characters are dropped, line breaks become blanks,
    mentions (``@everyone``, ``<!channel>``) are broken up, and what exceeds ``limit`` characters is cut with ``…``.

    Examples
    --------
    >>> clean("\x1b[31mred\x1b[0m\nalert @everyone", 40)
    'red alert ＠everyone'
    """
    text = _ESCAPE_SEQUENCE.sub("", text[: 20 * limit])
    kept = (" " if char.isspace() else char for char in text)
    line = "".join(char for char in kept if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    line = _MENTION.sub(lambda match: "＠" if match.group() == "@" else "‹", " ".join(line.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


# -- lines for people


def _run_name(run: Run) -> str:
    return f"{clean(run.experiment, _NAME_LIMIT)} run {run.number}"


def _where(finding: Finding) -> str:
    parts = [f"{finding.code}, {finding.severity}"]
    if finding.metric:
        parts.append(f"metric {clean(finding.metric, _NAME_LIMIT)}")
    if finding.step is not None:
        parts.append(f"from step {finding.step}")
    if finding.p_value is not None:
        parts.append(f"p = {finding.p_value:.2g} among sibling runs")
    return ", ".join(parts)


def _blame(finding: Finding) -> list[str]:
    """Return the line that says how runs with nearly the same parameters fared, where that was found out."""
    n_alike, n = finding.evidence.get("neighbours_alike"), finding.evidence.get("neighbours")
    if not isinstance(n_alike, int) or not isinstance(n, int):
        return []
    sound = "so something else than its parameters is to blame"
    blamed = "a bad configuration" if finding.evidence.get(CONFIGURATION) is True else sound
    return [f"{n_alike} of the {n} runs with the nearest parameters failed like it: {blamed}"]


def _evidence(finding: Finding) -> list[str]:
    items = worded({name: value for name, value in finding.evidence.items() if name not in BLAME})
    lines = [f"{clean(name, _NAME_LIMIT)}: {_shown(value)}" for name, value in items[:_MAX_EVIDENCE]]
    return [*lines, f"… and {len(items) - _MAX_EVIDENCE} more figures"] if len(items) > _MAX_EVIDENCE else lines


def _params(run: Run) -> list[str]:
    if not run.params:
        return []
    items = list(run.params.items())
    shown = ", ".join(f"{clean(str(name), _NAME_LIMIT)}={_shown(value)}" for name, value in items[:_MAX_PARAMS])
    return [f"parameters: {shown}" + (f" … ({len(items)} in all)" if len(items) > _MAX_PARAMS else "")]


def _how_to_look(finding: Finding) -> str:
    return f"advisor show {clean(finding.run_id, _NAME_LIMIT)}"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        more = f", … ({len(value)} in all)" if len(value) > 5 else ""
        return clean("[" + ", ".join(_shown(item) for item in value[:5]) + more + "]", _VALUE_LIMIT)
    return clean(str(value), _VALUE_LIMIT)


def _joined(lines: Sequence[str]) -> str:
    """Join lines within the limit; the last line, which says where to look, always stays."""
    *body, last = lines
    text = "\n".join(body)
    room = TEXT_LIMIT - len(last) - 1
    if len(text) > room:
        text = text[: room - 2] + "…\n"
    return f"{text}\n{last}"


# -- fields for programs


def _fields(finding: Finding) -> dict[str, Any]:
    fields: dict[str, Any] = _plain(finding.as_json())
    return fields


def _run_fields(run: Run) -> dict[str, Any]:
    fields: dict[str, Any] = {"experiment": clean(run.experiment, _NAME_LIMIT), "run_id": run.id}
    return fields | {"run_number": run.number, "params": _plain(dict(list(run.params.items())[:50]))}


def _plain(value: Any) -> Any:
    """Return strict, bounded JSON: no NaN, no control characters, nothing endless."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {clean(str(key), _NAME_LIMIT): _plain(inner) for key, inner in list(value.items())[:100]}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value[:100]]
    return clean(str(value), 500)
