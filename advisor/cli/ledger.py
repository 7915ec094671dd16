"""``advisor ledger``: how good the advice was, and whether to go on searching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from advisor.cli.output import Column, print_json, print_table, say
from advisor.cli.session import Session, command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from advisor.suggest.intervals import Share
    from advisor.suggest.judged import Judged
    from advisor.suggest.ledger import ForecastRecord, Ledger, Suggested

N_TPE_SEEDS = 40
"""How often TPE is replayed on a grid by default: some seconds; with 20 its mean strayed from the exact one."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "ledger", panel="Ask")
    def ledger(
        session: Session,
        experiment: Annotated[str, typer.Argument(metavar="EXP", help="Name of an experiment.")],
        tpe_seeds: Annotated[
            int,
            typer.Option(
                "--tpe-seeds",
                min=0,
                max=1000,
                metavar="N",
                help="Replays of TPE on a grid that was run whole; 0: none.",
            ),
        ] = N_TPE_SEEDS,
        worth: Annotated[
            float | None,
            typer.Option(
                "--worth", min=0.0, metavar="X", help="Gain an hour of training that makes going on worth it."
            ),
        ] = None,
    ) -> None:
        """Account for suggestions, forecasts, stops and findings, and say whether to go on searching."""
        with session.open() as adv:
            exp = adv.experiment(experiment, create=False)
            kept = exp.ledger(n_tpe_seeds=tpe_seeds)
            advice = exp.stop_advice(worth=worth)
        if session.as_json:
            print_json(kept.as_json() | {"stop_advice": advice.as_json()})
            return
        _print(kept)
        say(f"Search: {advice.reason}.")


def _print(kept: Ledger) -> None:
    from advisor.suggest.ledger_words import in_words

    if kept.suggested.n_made:
        _print_suggested(kept.by_source)
    if kept.forecasts:
        _print_forecasts(kept.forecasts)
    if kept.verdicts:
        _print_verdicts(kept.verdicts)
    for line in in_words(kept):
        say(line)


def _print_suggested(by_source: Sequence[Suggested]) -> None:
    columns = [
        Column("source"),
        *(Column(name, right=True) for name in ("made", "started", "finished", "failed")),
        *(Column(name, right=True, optional=True) for name in ("stopped", "interrupted", "expired", "taken back")),
        Column("new best", right=True),
        Column("95 % interval", optional=True),
        Column("by chance", right=True, optional=True),
    ]
    rows = [
        [
            each.source,
            *(each.n_made, each.n_started, each.n_finished, each.n_failed),
            *(each.n_stopped, each.n_interrupted, each.n_expired, each.n_taken_back),
            *_share(each.gains.improved),
            None if each.gains.by_chance is None else f"{each.gains.by_chance:.0%}",
        ]
        for each in by_source
    ]
    print_table(columns, rows, title="suggestions, by where their parameters came from")


def _print_forecasts(forecasts: Sequence[ForecastRecord]) -> None:
    columns = [Column("forecasts of"), Column("made", right=True), Column("ended", right=True)]
    columns += [Column("in the 80 %", right=True), Column("95 % interval", optional=True)]
    columns += [Column("error", right=True), Column("error of the median", right=True)]
    rows = [
        [each.about, each.n_made, each.covered.n, *_share(each.covered), each.error, each.error_of_median]
        for each in forecasts
    ]
    print_table(columns, rows, title="forecasts, and what then happened")


def _print_verdicts(verdicts: Sequence[Judged]) -> None:
    columns = [Column("findings"), Column("by"), *(Column(name, right=True) for name in ("raised", "judged", "real"))]
    columns += [Column("false alarms", right=True), Column("share", right=True), Column("95 % interval", optional=True)]
    rows = []
    for each in verdicts:
        false = each.false_alarms
        rows.append(
            [each.code, each.detector, each.n_raised, false.n, false.n - false.n_hits, false.n_hits, *_share(false)]
        )
    print_table(columns, rows, title="findings, and the verdicts on them")


def _share(share: Share) -> tuple[str | None, str | None]:
    if share.value is None:
        return None, None
    low, high = share.interval
    return f"{share.value:.0%}", f"{low:.0%} to {high:.0%}"
