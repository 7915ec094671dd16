"""Sheets of facts to write about: experiments and runs with every family of facts, drawn from a seed."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from advisor.documents import ExperimentMaterial, FactSheet, RunMaterial, experiment_facts
from advisor.documents.facts_of_run import run_facts
from storage.records import Curve, Experiment, Finding, Objective, Run, RunState, Severity

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
METRICS = (
    ("val_loss", "minimize"),
    ("accuracy", "maximize"),
    ("perplexity", "minimize"),
    ("mean_reward", "maximize"),
    ("test/f1", "maximize"),
    ("wer", "minimize"),
    ("valid_auc", "maximize"),
)
PARAMETERS = ("lr", "batch_size", "weight_decay", "dropout", "momentum", "warmup_steps", "hidden_size", "temperature")


def material(seed: int, **fields: Any) -> ExperimentMaterial:
    """Return an experiment of 8 to 14 runs: repeats, failures, findings, importances, a suggestion with a forecast."""
    rng = random.Random(seed)
    metric, direction = METRICS[seed % len(METRICS)]
    names = rng.sample(PARAMETERS, 3)
    runs = [_run(rng, number, metric, names) for number in range(rng.randint(8, 12))]
    again = [run for run in runs if run.objective is not None][1]
    value = again.objective or 0.0
    runs.append(_run(rng, len(runs), metric, names, params=again.params, value=value * 1.01))
    runs += [
        _run(rng, len(runs) + place, metric, names, state=state, value=math.nan)
        for place, state in enumerate((RunState.FAILED, RunState.PRUNED, RunState.CRASHED)[: rng.randint(1, 3)])
    ]
    shares = sorted((rng.uniform(0.02, 0.6) for _ in names), reverse=True)
    forecast = sorted(rng.uniform(0.1, 0.9) for _ in range(3))
    given: dict[str, Any] = {
        "runs": runs,
        "curves": {run.id: {metric: _curve(metric, run.objective)} for run in runs if run.objective is not None},
        "findings": [_finding(run, severity) for run, severity in zip(runs[1:4], Severity, strict=False)],
        "importances": dict(zip(names, shares, strict=True)),
        "suggestions": [
            {
                "params": {name: round(rng.uniform(0.001, 0.9), 4) for name in names},
                "learned_from": [run.id for run in runs[: rng.randint(4, 6)]],
                "forecast": dict(zip(("low", "mean", "high"), forecast, strict=True)),
            }
        ],
        "generated": START + timedelta(days=1),
        "version": "0.1.0",
        "store_uri": "experiments",
    }
    objective = Objective(metric, direction)  # type: ignore[arg-type]  # one of two literals
    experiment = Experiment("trial", number=0, objectives=(objective,), created=START)
    return ExperimentMaterial(experiment, **(given | fields))


def run_material(seed: int) -> RunMaterial:
    """Return one run of such an experiment."""
    whole = material(seed)
    finished = [run for run in whole.runs if run.state is RunState.FINISHED]
    own = finished[seed % len(finished)]
    return RunMaterial(
        own,
        experiment=whole.experiment,
        siblings=[run for run in whole.runs if run.id != own.id],
        curves=whole.curves,
        findings=whole.findings,
        generated=whole.generated,
        version=whole.version,
        store_uri=whole.store_uri,
    )


def sheets(seeds: range) -> list[FactSheet]:
    """Return two sheets a seed: the experiment's and a run's."""
    return [sheet for seed in seeds for sheet in (experiment_facts(material(seed)), run_facts(run_material(seed)))]


def _run(rng: random.Random, number: int, metric: str, names: list[str], **given: Any) -> Run:
    value = given.get("value", rng.uniform(0.1, 0.95))
    finite = not math.isnan(value)
    curve = _curve(metric, value if finite else 0.5)
    curves = {metric: curve, "train_loss": _curve("train_loss", rng.uniform(0.05, 0.4))} if finite else {}
    return Run(
        f"{rng.getrandbits(128):032x}",
        number=number,
        experiment="trial",
        state=given.get("state", RunState.FINISHED),
        params=given.get("params") or {name: round(rng.uniform(0.001, 0.9), 4) for name in names},
        values=(value,) if finite else (),
        metrics={name: one.last for name, one in curves.items()},
        summary={name: one.summary() for name, one in curves.items()},
        created=START,
        started=START + timedelta(minutes=number),
        ended=START + timedelta(minutes=number, seconds=rng.uniform(20, 900)),
        seed=rng.randint(1, 40),
    )


def _curve(metric: str, value: float | None) -> Curve:
    end = 0.5 if value is None else value
    return Curve.of(metric, range(4), (end * 3, end * 1.7, end * 1.2, end))


def _finding(run: Run, severity: Severity) -> Finding:
    return Finding(
        f"finding-{run.number}",
        run_id=run.id,
        experiment="trial",
        code="ADV102",
        title="it diverged",
        severity=severity,
        detector="rules",
        metric="train_loss",
        step=1,
    )
