"""Figures as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from figures import ask_ms, checkpoints, chosen, difference, groups, regret, runs_needed, targets
from methods import METHODS, SAID
from play import Result

OURS = "transfer"


def text(results: Sequence[Result]) -> str:
    """Return all tables, one below the other."""
    lines: list[str] = []
    for benchmark in sorted({one.benchmark for one in results}, reverse=True):
        lines += _benchmark(results, benchmark)
    lines += ["", "Targets"]
    lines += [f"  {'holds ' if t.holds else 'MISSED'}  {t.aim}: {t.found}" for t in targets(results)]
    return "\n".join(lines)


def content(results: Sequence[Result]) -> dict[str, Any]:
    """Return the same figures, and each search, as JSON values."""
    rows = [row for benchmark in sorted({one.benchmark for one in results}) for row in _rows(results, benchmark)]
    return {
        "methods": {name: SAID[name] for name in METHODS},
        "rows": rows,
        "targets": [asdict(target) for target in targets(results)],
        "searches": [_rounded(asdict(one)) for one in results],
    }


def _rounded(one: dict[str, Any]) -> dict[str, Any]:
    return one | {"regret": [round(v, 5) for v in one["regret"]], "ask_s": [round(v, 4) for v in one["ask_s"]]}


def _methods(results: Sequence[Result], benchmark: str) -> list[str]:
    present = {one.method for one in results if one.benchmark == benchmark}
    return [name for name in METHODS if name in present]


def _rows(results: Sequence[Result], benchmark: str) -> Iterator[dict[str, Any]]:
    for group in (None, *groups(results, benchmark)):
        for method in _methods(results, benchmark):
            of_method = chosen(results, benchmark, method, group)
            ours = chosen(results, benchmark, OURS, group)
            for at in checkpoints(of_method):
                row = {"benchmark": benchmark, "group": group, "method": method, "after": at}
                row |= {"regret": asdict(regret(of_method, at)), "n_searches": len(of_method)}
                if method != OURS and ours and at in checkpoints(ours):
                    row["ours_minus_it"] = asdict(difference(ours, of_method, at))
                yield row


def _benchmark(results: Sequence[Result], benchmark: str) -> list[str]:
    methods = _methods(results, benchmark)
    everything = {method: chosen(results, benchmark, method) for method in methods}
    at_most = max((at for mine in everything.values() for at in checkpoints(mine)), default=0)
    columns = [at for at in checkpoints(max(everything.values(), key=_budget)) if at <= at_most]
    lines = ["", f"{benchmark}: mean regret of the best so far after n runs [95 % interval over tasks]"]
    lines.append(_line("", [str(at) for at in columns], "searches"))
    for method, mine in everything.items():
        cells = []
        for at in columns:
            known = at in checkpoints(mine)
            m = regret(mine, at) if known else None
            cells.append(f"{m.mean:.3f} [{m.low:.2f}, {m.high:.2f}]" if m else "–")
        lines.append(_line(method, cells, str(len(mine))))
    lines += _differences(everything, columns)
    for group in groups(results, benchmark):
        lines += ["", f"{benchmark}, {group}: mean regret"]
        lines.append(_line("", [str(at) for at in columns], "searches"))
        for method in methods:
            mine = chosen(results, benchmark, method, group)
            cells = [f"{regret(mine, at).mean:.3f}" if at in checkpoints(mine) else "–" for at in columns]
            lines.append(_line(method, cells, str(len(mine))))
    return lines + _needed(everything) + _asking(everything)


def _differences(everything: Mapping[str, Sequence[Result]], columns: Sequence[int]) -> list[str]:
    if OURS not in everything:
        return []
    lines = ["", "ours with the past less the other, on the same tasks and seeds; below 0, ours is better"]
    for method, mine in everything.items():
        if method == OURS:
            continue
        cells = []
        for at in columns:
            if at in checkpoints(mine) and at in checkpoints(everything[OURS]):
                gap = difference(everything[OURS], mine, at)
                cells.append(f"{gap.mean:+.3f} [{gap.low:+.2f}, {gap.high:+.2f}]")
            else:
                cells.append("–")
        lines.append(_line(method, cells, ""))
    return lines


def _needed(everything: Mapping[str, Sequence[Result]]) -> list[str]:
    tpe = everything.get("tpe")
    if not tpe:
        return []
    last = checkpoints(tpe)[-1]
    goal = regret(tpe, last).mean
    found = {method: runs_needed(mine, goal) for method, mine in everything.items()}
    said = ", ".join(f"{method} {'never' if n is None else n}" for method, n in found.items())
    return ["", f"runs until the mean regret is TPE's after {last}, {goal:.3f}: {said}"]


def _asking(everything: Mapping[str, Sequence[Result]]) -> list[str]:
    said = ", ".join("{} {:.0f}/{:.0f}/{:.0f}".format(method, *ask_ms(mine)) for method, mine in everything.items())
    return [f"ask, ms, median/95th percentile/largest: {said}"]


def _budget(mine: Sequence[Result]) -> int:
    return min(len(one.regret) for one in mine)


def _line(first: str, cells: Sequence[str], last: str) -> str:
    return f"{first:<10}" + "".join(f"{cell:>22}" for cell in cells) + f"{last:>10}"
