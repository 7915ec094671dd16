"""How soon the live monitor finds loud faults put into real, healthy training curves, and how often it errs on them.

    python evals/loud_faults.py [--runs 1000] [--out loud.json]

Curves are those of DeepOBS (healthy by cause: the learning rate) and AlgoPerf (the better half of each workload) under
$ADVISOR_EVAL_DATA or ../shared/data. Into the training and the validation loss of each, from a random point in the
middle 60 % on, one fault is put: values that are not finite, a spike of 1 to 3 nats (one point, or decaying over 2 % of
the run), a divergence (a rise over 2 % of the run to 1.5 to 4 times the first value, staying there). Step times are
made: 200 to 2,000 steps, log-normal noise of 2 to 10 %, every hundredth 20 times as long, slowed down 1.5 to 3 times,
and the false alarms on them are those of steps that were not slowed down. The monitor
gets every curve in 200 pieces; a fault counts as found where a warning or an error of its code comes within 5 % of the
run from where it began. Alarms are warnings and errors on the curves as they are. Not all are false: a run that ended
well may have held a loud fault on its way. Whoever defines a spike as a nat sees one where a loss rises by a nat from
one value to the next, a nat above its best so far; alarms on curves without that, and all values finite, are false.
Thresholds of the spike rule were chosen while looking at these curves.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from curve_tasks import ALGOPERF, interchange
from findings_deepobs import data_folder, labels, load

from advisor.findings import Monitor
from advisor.findings.roles import training_loss, validation_loss
from storage.records import Curve, Finding, Objective

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PIECES = 200
N_BOOTSTRAP = 2000
DELAY = 0.05
MIN_LENGTH = 40
"""Of 20 points, 5 % are one: shorter curves cannot show a delay."""
FIRST_SPIKE = 9
"""Index of the first value that the rule can call a spike."""
CODE = {"non-finite": "ADV101", "spike": "ADV103", "diverged": "ADV102", "slow": "ADV108"}
Curves = Mapping[str, np.ndarray]


def healthy() -> dict[str, list[tuple[str, Objective, Curves]]]:
    """Return the group and the two losses of each healthy run, by source."""
    out: dict[str, list[tuple[str, Objective, Curves]]] = {"deepobs": [], "algoperf": []}
    if data_folder().is_dir():
        runs, curves = load(data_folder())
        for name, mine in runs.items():
            label = labels(mine, curves, by="repeated")
            objective = Objective("test_loss", "minimize")
            out["deepobs"] += [
                (str(name), objective, losses(curves[r.id], objective)) for r in mine if label.get(r.id) == "healthy"
            ]
    folder = data_folder().parent / "algoperf"
    if folder.is_dir():
        for name, rows in sorted(interchange(folder).items()):
            objective = ALGOPERF[next(family for family in ALGOPERF if name.startswith(family))]
            sign = 1 if objective.direction == "minimize" else -1
            ends = [sign * own[objective.metric].last if objective.metric in own else np.nan for _, _, own in rows]
            middle = np.nanmedian(ends)
            out["algoperf"] += [
                (name, objective, losses(own, objective))
                for (_, _, own), end in zip(rows, ends, strict=True)
                if end <= middle
            ]
    return {
        source: [one for one in found if one[-1] and all(values.size >= MIN_LENGTH for values in one[-1].values())]
        for source, found in out.items()
    }


def losses(curves: Mapping[str, Curve], objective: Objective) -> Curves:
    names = (training_loss(curves, objective), validation_loss(curves, objective))
    return {name: curves[name].values for name in names if name is not None}


def watched(objective: Objective, curves: Curves, times: np.ndarray | None = None) -> list[tuple[float, Finding]]:
    """Return (share of the run, finding) of all that a live monitor says."""
    monitor = Monitor("run", "eval", objective, clock=lambda: NOW)
    out = []
    for k in range(PIECES):
        for metric, values in curves.items():
            low, high = values.size * k // PIECES, values.size * (k + 1) // PIECES
            if high > low:
                seconds = () if times is None else times[low:high]
                found = monitor.observe(metric, np.arange(low, high), values[low:high], seconds)
                out += [(high / values.size, finding) for finding in found]
    return out


def with_fault(kind: str, curves: Curves, share: float, rng: np.random.Generator) -> Curves:
    out = {}
    nats, form, factor = rng.uniform(1, 3), rng.random(), rng.uniform(1.5, 4)
    for metric, values in curves.items():
        broken, at = values.copy(), int(share * values.size)
        if kind == "non-finite":
            broken[at:] = np.nan
        elif kind == "spike":
            n = 1 if form < 0.5 else max(1, int(0.02 * values.size))
            broken[at : at + n] *= np.exp(nats * np.linspace(1, 0, n, endpoint=False))[: broken[at : at + n].size]
        elif kind == "diverged":
            rise = max(1, int(0.02 * values.size))
            top = factor * max(values[0], values[at])
            broken[at:] = top * np.exp(0.05 * rng.standard_normal(values.size - at))
            broken[at : at + rise] = np.geomspace(max(values[at], 1e-9), top, rise + 1)[1:][
                : broken[at : at + rise].size
            ]
        out[metric] = broken
    return out


def holds_loud_fault(curves: Curves) -> bool:
    """Return whether the curves as they are hold a value that is not finite, or a spike of at least a nat."""
    for values in curves.values():
        if not np.isfinite(values).all():
            return True
        if values.min() < 0:
            continue
        nats = np.log(np.maximum(values, 1e-9))
        rises, height = np.diff(nats), nats[1:] - np.minimum.accumulate(nats)[:-1]
        if ((rises >= 1) & (height >= 1))[FIRST_SPIKE - 1 :].any():
            return True
    return False


def seconds_of(n: int, rng: np.random.Generator, *, slow_from: int | None) -> np.ndarray:
    step = rng.uniform(0.1, 2.0) * np.exp(rng.uniform(0.02, 0.1) * rng.standard_normal(n))
    step[::100] *= 20
    if slow_from is not None:
        step[slow_from:] *= rng.uniform(1.5, 3.0)
    return np.cumsum(step)


def over_groups(hits: Sequence[bool], groups: Sequence[str]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a share, over whole groups of siblings."""
    by_group: dict[str, list[bool]] = {}
    for hit, group in zip(hits, groups, strict=True):
        by_group.setdefault(group, []).append(hit)
    counts = np.array([(sum(part), len(part)) for part in by_group.values()])
    rng = np.random.default_rng(0)
    drawn = counts[rng.integers(len(counts), size=(N_BOOTSTRAP, len(counts)))].sum(axis=1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return float(low), float(high)


def measure(chosen: Sequence[tuple[str, Objective, Curves]], rng: np.random.Generator) -> dict[str, Any]:
    """Return what the monitor says of runs as they are, and of the same runs with each fault."""
    alarms: Counter[str] = Counter()
    caught: dict[str, list[bool]] = {kind: [] for kind in CODE}
    delays: dict[str, list[float]] = {kind: [] for kind in CODE}
    loud, held, groups = [], [], [group for group, *_ in chosen]
    for _, objective, curves in chosen:
        n = int(rng.integers(200, 2000))
        steady = watched(objective, {"progress": np.arange(float(n))}, seconds_of(n, rng, slow_from=None))
        said = {f.code for _, f in watched(objective, curves) + steady if f.severity.rank > 0}
        alarms.update(said)
        loud.append(bool(said & set(CODE.values())))
        held.append(holds_loud_fault(curves))
        for kind, code in CODE.items():
            share = rng.uniform(0.2, 0.8)
            if kind == "slow":
                slowed = seconds_of(n, rng, slow_from=int(share * n))
                told = watched(objective, {"progress": np.arange(float(n))}, slowed)
            else:
                told = watched(objective, with_fault(kind, curves, share, rng))
            loudly = [when for when, f in told if f.code == code and f.severity.rank > 0]
            at = [when - share for when in loudly if when >= share - 1 / PIECES]
            caught[kind].append(bool(at) and min(at) <= DELAY + 1 / PIECES)
            delays[kind] += [min(at)] if at else []
    sound = [i for i, mine in enumerate(held) if not mine]
    false = [loud[i] for i in sound]
    out: dict[str, Any] = {
        "n": len(chosen),
        "alarms": {code: k / len(chosen) for code, k in sorted(alarms.items())},
        "alarmed": sum(loud),
        "holding a loud fault": sum(held),
        "false alarms": {"n": sum(false), "value": float(np.mean(false))},
    }
    out["false alarms"]["interval"] = over_groups(false, [groups[i] for i in sound])
    for kind in CODE:
        late = np.percentile(delays[kind] or [np.nan], [50, 95])
        out[kind] = {"recall": float(np.mean(caught[kind])), "interval": over_groups(caught[kind], groups)}
        out[kind] |= {"delay_p50": float(late[0]), "delay_p95": float(late[1])}
    return out


def show(source: str, found: Mapping[str, Any]) -> None:
    n, held, false = found["n"], found["holding a loud fault"], found["false alarms"]
    low, high = false["interval"]
    print(f"\n{source}: {n} healthy runs, {held} of them with a loud fault on their way")
    told_of = f"loud alarms in {found['alarmed']} ({found['alarmed'] / n:.1%})"
    print(f"   {told_of}, false ones in {false['n']} of the other {n - held}:", end="")
    print(f" {false['value']:.1%} [{low:.1%}, {high:.1%}]")
    print("   " + (", ".join(f"{code} {share:.1%}" for code, share in found["alarms"].items()) or "no alarms"))
    for kind in CODE:
        low, high = found[kind]["interval"]
        print(
            f"   {kind:12s} found within 5 % of the run: {found[kind]['recall']:.1%} [{low:.1%}, {high:.1%}]; "
            f"delay {found[kind]['delay_p50']:.1%}, 95th {found[kind]['delay_p95']:.1%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="of each source at most")
    parser.add_argument("--quick", action="store_true", help="30 of each")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    report: dict[str, Any] = {}
    for source, found in healthy().items():
        if not found:
            print(f"{source} skipped: its data is not there; set ADVISOR_EVAL_DATA to the folder that holds it")
            continue
        chosen = [found[i] for i in rng.permutation(len(found))[: 30 if given.quick else given.runs]]
        report[source] = measure(chosen, rng)
        show(source, report[source])
    if given.out:
        given.out.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
