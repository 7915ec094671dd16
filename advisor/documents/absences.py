"""What was not recorded, and what a reader cannot conclude because of it.

Pure; leaves out what is there. Invariant: an absence is only claimed of something that the records
were looked through for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING

from advisor.documents.provenance import Provenance, provenance
from advisor.documents.standing import standing
from advisor.documents.untrusted import one_line
from advisor.references import SEED_NAMES
from storage.records import Experiment, Run

if TYPE_CHECKING:
    from advisor.documents.material import ExperimentComparison, ExperimentMaterial, RunComparison
    from advisor.documents.standing import Standing

_TEST_METRIC = re.compile(r"(^|[^a-z])(test|holdout|hold_out|eval|ood)([^a-z]|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Absence:
    """Something that is not in the store."""

    id: str
    _: KW_ONLY
    what: str
    """The thing, in a word or two."""
    text: str
    """One phrase that says what is missing."""
    so: str
    """What cannot be told because of it, one sentence; may be empty."""
    source: str
    """The field of the record that is empty."""


def of_experiment(material: ExperimentMaterial) -> tuple[Absence, ...]:
    """Return what an experiment lacks, the gravest first."""
    experiment, runs = material.experiment, material.runs
    found = list(_of_question(experiment))
    unseeded = sum(not _has_seed(run) for run in runs)
    if unseeded:
        found.append(
            Absence(
                "seed",
                what="seed",
                text=f"the seed of {_of_all(unseeded, len(runs))}",
                so="Such a run cannot be repeated exactly.",
                source="runs.seed",
            )
        )
    where = standing(experiment, runs)
    if where.ranked and not where.near_repeats:
        found.append(
            Absence(
                "repeats",
                what="repeated runs",
                text="repeated runs of a configuration near the best",
                so="How much of a difference is noise cannot be told.",
                source="runs.params",
            )
        )
    metrics = {name for run in runs for name in (*run.metrics, *run.summary)}
    found.extend(_of_metrics(metrics, experiment))
    if runs:
        found.extend(_of_origin([provenance(run) for run in runs]))
    if not experiment.description:
        found.append(
            Absence(
                "description",
                what="description",
                text="a description of the experiment",
                so="Why it was run is not written down.",
                source="experiment.description",
            )
        )
    return tuple(found)


def of_run(run: Run, experiment: Experiment) -> tuple[Absence, ...]:
    """Return what a run lacks, the gravest first."""
    found = list(_of_question(experiment))
    if experiment.objective is not None and run.objective is None:
        found.append(
            Absence(
                "objective_value",
                what="value of the objective",
                text="a value of the objective",
                so="It cannot be ranked.",
                source="run.values",
            )
        )
    if not _has_seed(run):
        found.append(
            Absence("seed", what="seed", text="the seed", so="It cannot be repeated exactly.", source="run.seed")
        )
    found.extend(_of_metrics({*run.metrics, *run.summary}, experiment))
    found.extend(_of_origin([provenance(run)]))
    if run.duration_s is None:
        found.append(Absence("duration", what="duration", text="when it started and ended", so="", source="run.ended"))
    if not run.notes:
        found.append(
            Absence(
                "notes",
                what="notes",
                text="notes",
                so="Why it was tried is not written down.",
                source="run.notes",
            )
        )
    return tuple(found)


def of_run_pair(material: RunComparison, where: Standing) -> tuple[Absence, ...]:
    """Return what a comparison of two runs lacks, the gravest first."""
    found = list(_of_question(material.experiment))
    runs = (material.a, material.b)
    if where.objective is not None:
        found.extend(_of_values(runs, where, is_across=material.is_across))
    unseeded = sum(not _has_seed(run) for run in runs)
    if unseeded:
        text = "the seed of both runs" if unseeded == 2 else "the seed of one of the runs"
        found.append(
            Absence("seed", what="seed", text=text, so="Such a run cannot be repeated exactly.", source="runs.seed")
        )
    found.extend(_of_metrics({name for run in runs for name in run.summary}, material.experiment))
    found.extend(_of_origin([provenance(run) for run in runs]))
    return tuple(found)


def of_experiment_pair(material: ExperimentComparison) -> tuple[Absence, ...]:
    """Return what a comparison of two experiments lacks, the gravest first."""
    found: list[Absence] = []
    sides = [standing(material.a, material.runs_a), standing(material.b, material.runs_b)]
    for key, where, record in zip(("a", "b"), sides, (material.a, material.b), strict=True):
        shown = one_line(record.name, limit=60)
        found.extend(
            replace(item, id=f"{item.id}_{key}", text=f"{item.text} for {shown}") for item in _of_question(record)
        )
        if where.ranked and not where.near_repeats:
            so = "How much of a difference is noise cannot be told."
            text = f"repeated runs near the best of {shown}"
            found.append(Absence(f"repeats_{key}", what="repeated runs", text=text, so=so, source="runs.params"))
    for key, runs, record in (("a", material.runs_a, material.a), ("b", material.runs_b, material.b)):
        known = [one for one in map(provenance, runs) if one.data]
        if runs and len(known) < len(runs):
            text = f"a fingerprint of the data of {_of_all(len(runs) - len(known), len(runs))} of {record.name}"
            so = "Whether both experiments saw the same data is unknown."
            text = one_line(text, limit=160)
            found.append(Absence(f"data_{key}", what="data fingerprint", text=text, so=so, source="runs.data"))
    return tuple(found)


def _of_values(runs: Sequence[Run], where: Standing, *, is_across: bool) -> Iterator[Absence]:
    lacking = sum(run.objective is None for run in runs)
    if lacking:
        text = "a value of the objective of " + ("both runs" if lacking == 2 else "one of the runs")
        so = "Which one is better cannot be told."
        yield Absence("objective_value", what="value of the objective", text=text, so=so, source="run.values")
    if where.noise is None and not is_across:
        so = "How much of a difference is noise cannot be told."
        differing = " that differ" if where.repeats_agree else ""
        text = f"repeated runs of a configuration near the best{differing}"
        yield Absence("repeats", what="repeated runs", text=text, so=so, source="runs.params")


def _of_question(experiment: Experiment) -> Iterator[Absence]:
    if experiment.objective is None:
        yield Absence(
            "objective",
            what="objective",
            text="an objective: no objective is set",
            so="Runs cannot be ranked; set one with advisor experiment NAME --objective METRIC --direction minimize.",
            source="experiment.objectives",
        )


def _of_metrics(metrics: set[str], experiment: Experiment) -> Iterator[Absence]:
    if not metrics:
        yield Absence(
            "curves", what="curves", text="any metric", so="Nothing can be said about training.", source="curves"
        )
    elif not any(_TEST_METRIC.search(name) for name in metrics):
        chosen_on = experiment.objective
        so = "The objective was used to choose among the runs, so its best value is likely too good."
        yield Absence(
            "test_metric",
            what="test metric",
            text="a metric on test data",
            so=so if chosen_on else "",
            source="curves",
        )


def _of_origin(origins: list[Provenance]) -> Iterator[Absence]:
    n = len(origins)
    checks = (
        ("commit", "code version", "the git commit", [origin.commit for origin in origins], "environment"),
        ("command", "command line", "the command line", [origin.command for origin in origins], "environment"),
        ("data", "data fingerprint", "a fingerprint of the data", [origin.data for origin in origins], "data"),
        (
            "versions",
            "library versions",
            "Python and library versions",
            [origin.python for origin in origins],
            "environment",
        ),
        ("hardware", "hardware", "the hardware", [origin.hardware for origin in origins], "environment"),
    )
    consequence = {
        "commit": "The code that ran is unknown.",
        "data": "Whether runs saw the same data is unknown.",
    }
    for key, what, text, values, source in checks:
        lacking = sum(not value for value in values)
        if lacking:
            phrase = text if n == 1 else f"{text} of {_of_all(lacking, n)}"
            yield Absence(key, what=what, text=phrase, so=consequence.get(key, ""), source=f"runs.{source}")


def _of_all(some: int, n: int) -> str:
    everything = {1: "the only run", 2: "both runs"}.get(n, f"all {n:,} runs")
    return everything if some == n else f"{some:,} of {n:,} runs"


def _has_seed(run: Run) -> bool:
    return run.seed is not None or any(name.lower() in SEED_NAMES for name in run.params)
