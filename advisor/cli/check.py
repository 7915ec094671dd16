"""``advisor check``: what went wrong in runs, and what could not be judged.

Invariant: a run that could not be judged is never shown as healthy; the reasons are always said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from advisor.cli.output import Column, count, note, print_json, print_table, say
from advisor.cli.session import Session, command, find_run
from advisor.cli.shapes import short_ids

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.experiment import Experiment
    from advisor.findings import Checked, NotJudged
    from storage.records import Finding, Run


@dataclass(frozen=True, slots=True)
class Result:
    """What a check of some runs said."""

    runs: Sequence[Run]
    """The runs that were asked about."""
    findings: Sequence[Finding]
    """Those that are not resolved, gravest first."""
    scores: Sequence[Mapping[str, object]]
    """One for every run; score None for a run without a curve."""
    not_judged: Sequence[NotJudged]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "check", panel="Look")
    def check(
        session: Session,
        target: Annotated[
            str | None,
            typer.Argument(metavar="EXP|RUN", help="An experiment or a run. Default: all experiments."),
        ] = None,
        scores: Annotated[
            bool, typer.Option("--scores", help="Every run's anomaly score; higher is more anomalous.")
        ] = False,
        fail_on: Annotated[
            Literal["error", "warning", "info"] | None,
            typer.Option("--fail-on", help="Exit with 1 if an open finding is at least this severe."),
        ] = None,
        notify: Annotated[
            list[str] | None,
            typer.Option("--notify", metavar="URL", help="Where to send; repeated for several. Default: the setting."),
        ] = None,
        seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Seed of the isolation forests.")] = 0,
        head: Annotated[
            bool | None,
            typer.Option("--head/--no-head", help="Let the learned head have a say, or the isolation forests alone."),
        ] = None,
    ) -> int:
        """Look for trouble in runs; new findings are kept, and sent to the configured channels."""
        from advisor.findings.unjudged import reasons
        from storage.records import FindingState, Severity

        given: dict[str, Any] = {"notify": notify} if notify else {}
        with session.open(**given) as adv:
            result = _check(adv, target, seed=seed, head=head)
            if session.as_json:
                print_json(result.scores if scores else [finding.as_json() for finding in result.findings])
                for line in reasons(result.not_judged):
                    note(line)
            else:
                known = adv.store.runs()
                findings = short_ids(finding.id for run in known for finding in run.findings)
                _print(result, short_ids(run.id for run in known), findings, scores=scores)
        if fail_on is None:
            return 0
        still_open = [finding for finding in result.findings if finding.state is FindingState.OPEN]
        return int(any(finding.severity.rank >= Severity(fail_on).rank for finding in still_open))


def _check(adv: Advisor, target: str | None, *, seed: int, head: bool | None) -> Result:
    experiments, only = _targets(adv, target)
    runs: list[Run] = []
    findings: list[Finding] = []
    scores: list[Mapping[str, object]] = []
    not_judged: list[NotJudged] = []
    for experiment in experiments:
        checked = experiment.check(seed=seed, head=head)
        asked = [run for run in experiment.runs() if only is None or run.id == only]
        ids = {run.id for run in asked}
        runs += asked
        findings += [finding for finding in experiment.findings() if finding.run_id in ids]
        scores += _scores(asked, checked)
        not_judged += [each for each in checked.not_judged if each.run_id in ids]
    findings.sort(key=lambda finding: -finding.severity.rank)
    return Result(runs, findings, scores, not_judged)


def _targets(adv: Advisor, target: str | None) -> tuple[list[Experiment], str | None]:
    """Return the experiments to check, and the one run that was asked for."""
    from storage.errors import RunNotFoundError, did_you_mean

    if target is None:
        return adv.experiments(), None
    names = [record.name for record in adv.store.experiments()]
    if target in names:
        return [adv.experiment(target, create=False)], None
    try:
        run = find_run(adv, target)
    except RunNotFoundError as error:
        if "runs begin with" in str(error):  # the beginning of several ids: its message names them
            raise
        known = did_you_mean(target, names)
        raise RunNotFoundError(f"no experiment and no run {target!r} in this store; {known}") from error
    return [adv.experiment(run.experiment, create=False)], run.id


def _scores(runs: Sequence[Run], checked: Checked) -> list[Mapping[str, object]]:
    known = {score.run_id: score for score in checked.scores}
    return [
        {
            "run_id": run.id,
            "score": known[run.id].score if run.id in known else None,
            "p_value": known[run.id].p_value if run.id in known else None,
            "forest": known[run.id].forest if run.id in known else None,
            "head": known[run.id].head if run.id in known else None,
        }
        for run in runs
    ]


def _print(result: Result, ids: Mapping[str, str], finding_ids: Mapping[str, str], *, scores: bool) -> None:
    from storage.records import Severity

    numbers = {run.id: run.number for run in result.runs}
    several = len({run.experiment for run in result.runs}) > 1
    for severity in sorted(Severity, key=lambda each: -each.rank):
        found = [finding for finding in result.findings if finding.severity is severity]
        if found:
            judged = any(finding.verdict for finding in found)
            columns = [Column("id"), Column("code"), Column("#", right=True), Column("run")]
            columns += [
                *((Column("experiment"),) * several),
                Column("what", folds=True),
                Column("state", optional=True),
            ]
            columns += [Column("verdict", optional=True)] * judged
            rows = [
                [
                    *(finding_ids[f.id], f.code, numbers[f.run_id], ids[f.run_id]),
                    *((f.experiment,) * several),
                    *(_what(f), f.state),
                    *((f.verdict,) * judged),
                ]
                for f in found
            ]
            print_table(columns, rows, title=f"{severity}: {count(len(found), 'finding')}")
    if scores:
        columns = [Column("#", right=True), Column("run")]
        columns += [Column(name, right=True) for name in ("score", "p", "forest", "head")]
        ranked = sorted(result.scores, key=lambda s: -s["score"] if isinstance(s["score"], float) else 0.0)
        print_table(
            columns,
            [
                [
                    numbers[str(s["run_id"])],
                    ids[str(s["run_id"])],
                    *(s[key] for key in ("score", "p_value", "forest", "head")),
                ]
                for s in ranked
            ],
            title="anomaly scores, most anomalous first",
        )
    _print_rest(result)


def _what(finding: Finding) -> str:
    from advisor.findings.configuration import CONFIGURATION

    return f"{finding.title} (a bad configuration)" if finding.evidence.get(CONFIGURATION) is True else finding.title


def _print_rest(result: Result) -> None:
    """Say how many runs have no finding, and what of them was not judged."""
    from advisor.findings.unjudged import reasons

    if not result.runs:
        note("there are no runs to check")
        return
    n_found = len({finding.run_id for finding in result.findings})
    n_unsure = len({each.run_id for each in result.not_judged})
    say(
        f"{count(n_found, 'run')} of {len(result.runs)} with findings; "
        + (f"not everything could be judged in {count(n_unsure, 'run')}:" if n_unsure else "every check was applied")
    )
    for line in reasons(result.not_judged):
        say(line)
    n_false = sum(finding.verdict == "ok" for run in result.runs for finding in run.findings)
    if n_false:
        say(f"{count(n_false, 'finding')} judged to be no trouble {'is' if n_false == 1 else 'are'} not listed")
    if any(finding.verdict is None for finding in result.findings):
        note("say whether a finding is right: 'advisor verdict ID ok' for a false alarm, 'advisor verdict ID real'")
