"""``advisor report``: an experiment, one of its runs, or a finding, written down."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from advisor.cli.output import note, status
from advisor.cli.session import Session, command, find_run
from advisor.cli.writing import (
    STDOUT,
    FormatOption,
    ModelOption,
    OutputOption,
    chosen_format,
    chosen_path,
    tell,
)

if TYPE_CHECKING:
    from advisor.app import Advisor
    from storage.records import Document


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "report", panel="Write")
    def report(
        session: Session,
        experiment: Annotated[
            str | None, typer.Argument(metavar="[EXP]", help="Name of an experiment; a finding needs none.")
        ] = None,
        run: Annotated[
            str | None, typer.Option("--run", metavar="RUN", help="About this run: id, its beginning, or number.")
        ] = None,
        finding: Annotated[
            str | None,
            typer.Option("--finding", metavar="FINDING", help="An incident note: id, its beginning, or RUN:CODE."),
        ] = None,
        kind: Annotated[
            Literal["report", "run-summary", "model-card", "checklist", "incident"] | None,
            typer.Option("--kind", help="Default: report, with --run run-summary, with --finding incident."),
        ] = None,
        format: FormatOption = None,
        output: OutputOption = None,
        llm: ModelOption = None,
    ) -> None:
        """Write a report with figures, pictures and findings; prints the path of what it wrote."""
        from advisor.documents.configured import Listener

        chosen: dict[str, Any] = {"format": chosen_format(format, output), "path": chosen_path(output), "llm": llm}
        with session.open() as adv, status("writing") as now:
            chosen["listener"] = Listener(note, now if sys.stderr.isatty() else None)
            document = _document(adv, experiment, run, finding, kind, chosen | {"write": output != STDOUT})
        tell(session, document, output)


def _document(
    adv: Advisor,
    experiment: str | None,
    run: str | None,
    finding: str | None,
    kind: str | None,
    chosen: dict[str, Any],
) -> Document:
    from advisor.errors import ConfigError
    from advisor.references import find_finding

    if finding is not None:
        if run is not None or kind not in (None, "incident"):
            raise ConfigError("--finding asks for an incident note; leave --run and --kind out")
        one = find_finding(adv.store, finding, within=experiment)
        return adv.experiment(one.experiment, create=False).incident(one, **chosen)
    if kind == "incident":
        raise ConfigError("an incident note is about a finding; name it with --finding, 'advisor check' lists them")
    if experiment is None:
        raise ConfigError("name an experiment, or a finding with --finding; 'advisor runs' lists experiments")
    exp = adv.experiment(experiment, create=False)
    if run is None:
        return exp.report(kind=kind or "report", **chosen)
    one_run = exp.run(int(run)) if run.isdecimal() and len(run) < 8 else exp.run(find_run(adv, run).id)
    return exp.summarize(one_run, kind=kind or "run-summary", **chosen)
