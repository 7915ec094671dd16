"""From raw results to one table, and to the list of what we lose: pure functions."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

OURS, BARE = "advisor", "bare"
Raw = Mapping[str, Mapping[str, Any]]
"""Measure → tool → result; a result may be ``{"error": …}``."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    label: str
    better: Literal["more", "less"]
    values: Mapping[str, float]
    """By tool; missing where there is none."""
    shown: Mapping[str, str]
    """What stands in the table where a bare number does not say enough, or where there is none."""


def rows(raw: Raw, sizes: Sequence[int], n_curves: int) -> list[Row]:
    """Return the table."""
    out = []
    if "logging" in raw:
        out += _logging_rows(raw["logging"], raw.get("kills", {}))
    if "paced" in raw:
        for key in ("p50_us", "p99_us", "max_us"):
            out.append(_row(f"log() each 5 ms: {key[:3]}, µs", "less", raw["paced"], lambda r, key=key: r[key]))
    if "startup" in raw:
        for key, what in (("new_store_s", "new"), ("existing_store_s", "existing")):
            label = f"start-up added, {what} store, s"
            out.append(_row(label, "less", raw["startup"], lambda r, key=key: r[key]))
    for n in sizes:
        found = raw.get(f"runs {n}")
        if found is None:
            continue
        for task, what in (("top", "filter+sort+20 of"), ("listing", "list")):
            of_task = {tool: result.get(task, result) for tool, result in found.items()}
            for key, how in (("warm_s", "warm"), ("cold_s", "new process")):
                label = f"{what} {n:,} runs, {how}, s"
                out.append(_row(label, "less", of_task, lambda r, key=key: r[key]))
    if "curves" in raw:
        out.append(_curves_row(raw["curves"], n_curves))
    if "kills" in raw:
        out.append(_kill_row(raw["kills"]))
    return out


def _logging_rows(found: Mapping[str, Any], killed: Mapping[str, Any]) -> list[Row]:
    def durable_s(tool: str, one: Mapping[str, Any]) -> float:
        """Where kills lost nothing, a call is durable when it returns; elsewhere when the run is finished."""
        lossless = killed.get(tool, {}).get("lost_at_most") == 0
        return float(one["calls_s"] if lossless or tool == BARE else one["all_s"])

    def rate(result: Any, seconds: Any) -> float:
        return statistics.median(one["n_calls"] / seconds(one) for one in result["rounds"])

    def weigh(result: Any, suffix: str) -> float:
        return statistics.median(
            (one["bytes" + suffix] - one["bytes_of_one_call" + suffix]) / (4 * (one["n_calls"] - 1))
            for one in result["rounds"]
        )

    def latency(key: str) -> Any:
        return lambda r: statistics.median(one[key] for one in r["rounds"])

    by_tool = {tool: {**result, "tool": tool} for tool, result in found.items()}
    durable = _row(
        "calls/s durable", "more", by_tool, lambda r: rate(r, lambda one: durable_s(r["tool"], one)), counted=True
    )
    return [
        _row("log() calls/s, calls alone", "more", found, lambda r: rate(r, lambda one: one["calls_s"])),
        _row("log() calls/s, with finish", "more", found, lambda r: rate(r, lambda one: one["all_s"])),
        durable,
        Row(
            "points/s durable",
            "more",
            {tool: 4 * value for tool, value in durable.values.items()},
            {tool: text for tool, text in durable.shown.items() if tool not in durable.values},
        ),
        *(
            _row(f"log() in a loop: {key[:3]}, µs", "less", found, latency(key))
            for key in ("p50_us", "p99_us", "max_us")
        ),
        _row("bytes/point after finish", "less", found, lambda r: weigh(r, "")),
        _row("bytes/point compacted", "less", found, lambda r: weigh(r, "_compacted")),
        _row("KB of a run of one call", "less", found, lambda r: r["rounds"][0]["bytes_of_one_call"] / 1e3),
    ]


def _curves_row(found: Mapping[str, Any], n: int) -> Row:
    row = _row(f"read {n} long curves, s", "less", found, lambda r: r["for_all_s"])
    part = {
        tool: f"{figure(row.values[tool])} (of {r['n_curves']})"
        for tool, r in found.items()
        if tool in row.values and r["n_curves"] < n
    }
    return Row(row.label, row.better, row.values, {**row.shown, **part})


def _kill_row(found: Mapping[str, Any]) -> Row:
    row = _row("calls lost by a kill, at most", "less", found, lambda r: r["lost_at_most"])
    shown = {
        tool: f"{r['lost_at_most']} ({r['found']}/{r['acknowledged']})" for tool, r in found.items() if "error" not in r
    }
    return Row(row.label, row.better, row.values, {**row.shown, **shown})


def _row(
    label: str, better: Literal["more", "less"], found: Mapping[str, Any], value: Any, counted: bool = False
) -> Row:
    values, shown = {}, {}
    for tool, result in found.items():
        if "error" in result:
            shown[tool] = _short(result["error"])
            continue
        try:
            values[tool] = float(value(result))
        except KeyError:
            continue
        if counted and any(one["found"] != one["n_calls"] for one in result["rounds"]):
            n_found, n = (sum(one[key] for one in result["rounds"]) for key in ("found", "n_calls"))
            shown[tool] = f"{figure(values[tool])} (kept {n_found}/{n})"
    return Row(label, better, values, shown)


def _short(error: str) -> str:
    return error.split(":")[0][:24]


def figure(value: float) -> str:
    """Return three digits that count."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(found: Sequence[Row], tools: Sequence[str]) -> str:
    """Return the table as text; the best of each line, the bare record aside, carries a star."""
    cells = [["", *tools]]
    for row in found:
        best = _best(row)
        line = [row.label]
        for tool in tools:
            text = row.shown.get(tool) or (figure(row.values[tool]) if tool in row.values else "–")
            line.append(text + (" *" if tool == best else "  "))
        cells.append(line)
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    lines = [
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in cells
    ]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(line.rstrip() for line in lines)


def _best(row: Row) -> str | None:
    values = {tool: value for tool, value in row.values.items() if tool != BARE}
    if len(values) < 2:
        return None
    ordered = sorted(values, key=lambda tool: values[tool], reverse=row.better == "more")
    return ordered[0] if values[ordered[0]] != values[ordered[1]] else None


def lost(found: Sequence[Row]) -> list[str]:
    """Return, worst first, each line in which a rival does better than we do, or in which we have no figure."""
    out: list[tuple[bool, float, str]] = []
    for row in found:
        rivals = {tool: value for tool, value in row.values.items() if tool not in (OURS, BARE)}
        if OURS not in row.values:
            if rivals:
                out.append((True, 0.0, f"{row.label}: no figure of ours ({row.shown.get(OURS, 'not measured')})"))
            continue
        ours = row.values[OURS]
        for tool, value in rivals.items():
            ahead = value > ours if row.better == "more" else value < ours
            if not ahead:
                continue
            worse, good = sorted((abs(ours), abs(value)))
            ratio = good / worse if worse else float("inf")
            out.append((False, ratio, f"{row.label}: {tool} {figure(value)}, ours {figure(ours)} ({ratio:.1f} ×)"))
    return [text for _, _, text in sorted(out, key=lambda one: one[:2], reverse=True)]


def reasons(raw: Raw) -> list[str]:
    """Return why cells are empty, each reason once."""
    found: dict[str, list[str]] = {}
    for measure, by_tool in raw.items():
        for tool, result in by_tool.items():
            for part, one in (("", result), *((k, v) for k, v in result.items() if isinstance(v, Mapping))):
                if "error" in one:
                    found.setdefault(f"{tool}: {one['error']}", []).append(f"{measure} {part}".strip())
    return [f"{reason} [{', '.join(where)}]" for reason, where in found.items()]
