"""``advisor show``: everything that is known of one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.cli.output import (
    Column,
    count,
    duration,
    note,
    print_json,
    print_pairs,
    print_table,
    say,
    say_indented,
    shown,
)
from advisor.cli.session import Session, command, find_run
from advisor.nested import flat
from advisor.shapes import run_json
from storage.curves import is_of_machine, of_training
from storage.errors import CurveDamagedError

if TYPE_CHECKING:
    from storage.records import Curve, Objective, Run

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Id of a run, the beginning of its id, or EXPERIMENT#NUMBER.")
]
LEFT_OUT = ("git.diff", "libraries", "env", "absent")
"""Parts of the environment that are too long for a terminal, or say what is not there; --json has them."""
MAX_ATTRIBUTES = 40
"""Attributes that are shown; --json has all."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "show", panel="Look")
    def show(session: Session, run: RunArgument) -> None:
        """Show one run: parameters, curves, findings, where it came from."""
        with session.open() as adv:
            found = find_run(adv, run)
            if session.as_json:
                print_json(_as_json(found))
            else:
                _print(found, objectives=adv.store.experiment(found.experiment).objectives)


def _as_json(run: Run) -> dict[str, Any]:
    return run_json(run) | {
        "values": run.values,
        "created": run.created,
        "source": run.source,
        "suggestion_id": run.suggestion_id,
        "curves": {metric: curve.summary() for metric, curve in run.curves.items()},
        "findings": [finding.as_json() for finding in run.findings],
        "environment": run.environment,
        "data": run.data,
        "artifacts": run.artifacts,
        "name": run.name,
        "meta": run.meta,
    }


def _objectives(run: Run, objectives: Sequence[Objective]) -> dict[str, float | None]:
    """Return the value of each objective by its name."""
    if not objectives:
        return {"objective": run.objective}
    return {
        each.metric: run.values[place] if place < len(run.values) else None for place, each in enumerate(objectives)
    }


def _print(run: Run, *, objectives: Sequence[Objective]) -> None:
    say(f"run #{run.number} of {run.experiment}: {run.state}")
    about = {
        "name": run.name,
        "id": run.id,
        **_objectives(run, objectives),
        "seed": run.seed,
        "started": run.started,
        "duration": duration(run.duration_s),
        "source": run.source,
        "suggestion": run.suggestion_id,
        "tags": ", ".join(run.tags) or None,
    }
    print_pairs(None, {name: value for name, value in about.items() if value is not None})
    print_pairs("parameters", run.params)
    bounds = {name: f"{shown(value)}, {'kept' if value <= 0 else 'broken'}" for name, value in run.constraints.items()}
    print_pairs("constraints, kept up to 0", bounds)
    try:
        curves = run.curves
    except CurveDamagedError as error:
        note(f"{error}; the curves of this run are not shown")
        curves = {}
    if curves:
        columns = ("values", "first", "last", "min", "at step", "max", "at step", "not finite")
        rows = []
        for metric, curve in of_training(curves).items():
            figures = curve.summary()
            names = ("n", "first", "last", "min", "min_step", "max", "max_step", "n_nonfinite")
            rows.append([metric, *(figures[name] for name in names)])
        if rows:
            print_table([Column("curve"), *(Column(name, right=True) for name in columns)], rows)
        print_pairs("machine, mean", _machine(curves))
    if run.findings:
        say(count(len(run.findings), "finding"))
        for finding in run.findings:
            said = f", judged {finding.verdict}" if finding.verdict else ""
            say_indented(shown(f"{finding.severity} {finding.code} {finding.title} ({finding.state}{said})"))
            if isinstance(advice := finding.evidence.get("hint"), str):
                say_indented(shown(f"  {advice}"))
    for text in run.notes:
        say(f"note: {text}")
    print_pairs("environment", dict(_flat(run.environment)))
    print_pairs("from elsewhere", dict(_flat(run.meta)))
    _print_attributes(run)
    for entry in run.data:
        print_pairs("data", dict(_flat(entry)))
    for entry in run.artifacts:
        print_pairs("file", dict(_flat(entry)))
    if run.error:
        say("error")
        for line in run.error.splitlines():
            say_indented(_indented(line))


def _print_attributes(run: Run) -> None:
    """Print what an Optuna program, an import or a script keeps with the run."""
    known = {name: value for name, value in flat(run.user_attrs).items() if name != "name" or value != run.name}
    print_pairs("attributes", dict(list(known.items())[:MAX_ATTRIBUTES]))
    if len(known) > MAX_ATTRIBUTES:
        note(f"{count(len(known) - MAX_ATTRIBUTES, 'attribute')} more; --json has all")


def _machine(curves: Mapping[str, Curve]) -> dict[str, str]:
    """Return what the machine did meanwhile: means, and the largest values."""
    out = {}
    for metric, curve in curves.items():
        if is_of_machine(metric) and len(curve):
            figures = curve.summary()
            mean = curve.values.mean()
            out[metric.removeprefix("system/")] = f"{mean:.4g} (at most {figures['max']:.4g})"
    return out


def _indented(line: str) -> str:
    """Return a line of a traceback, made safe, with its indentation."""
    return " " * (len(line) - len(line.lstrip(" "))) + ("" if not line.strip() else shown(line))


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested mappings as dotted names, without what is too long or not there."""
    for key, value in mapping.items():
        name = f"{prefix}{key}"
        if name in LEFT_OUT or value is None or value == [] or value == {}:
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name, " ".join(value) if name == "command" and isinstance(value, list) else value
