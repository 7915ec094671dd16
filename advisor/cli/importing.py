"""``advisor import``: runs that other tools recorded, into the store."""

from __future__ import annotations

import shlex
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from advisor.cli.given import pairs
from advisor.cli.output import Column, count, note, print_json, print_table, progress, say
from advisor.cli.session import Session, command

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.sources.detect import Detected
    from advisor.sources.importing import Importer, Synced

LEFT_OUT_SHOWN: Final = 20
ROLES: Final = ("step", "time", "run", "param", "metric", "ignore")


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "import", panel="Keep")
    def import_(
        session: Session,
        path: Annotated[
            str, typer.Argument(metavar="PATH", help="A folder, file or address of another tool's runs, or an export.")
        ],
        tools: Annotated[
            list[str] | None,
            typer.Option("--from", metavar="TOOL", help="Only this tool's data; repeated for several. Default: all."),
        ] = None,
        experiment: Annotated[
            str | None,
            typer.Option("--experiment", metavar="EXP", help="Where all runs go. Default: as the tool calls it."),
        ] = None,
        columns: Annotated[
            list[str] | None,
            typer.Option("--column", metavar="NAME=ROLE", help=f"What a table's column is: {', '.join(ROLES)}."),
        ] = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would come; nothing is written.")] = False,
    ) -> int:
        """Bring other tools' runs into the store; only what is new comes, so repeat it as often as you like."""
        from advisor.sources.importing import Importer
        from advisor.sources.port import Options

        options = Options(columns=roles(columns or ()))
        with (
            _opened(session, dry_run=dry_run) as adv,
            Importer(adv, path, tools=tools or (), experiment=experiment, options=options) as importer,
        ):
            found = importer.detected
            tell_found(path, found)
            done = importer.plan() if dry_run else _synced(importer)
            refuse_if_nothing(done)
            if session.as_json:
                print_json(_as_json(path, done, found))
            else:
                _show(adv, done, found, dry_run=dry_run)
                if experiment is not None and done.n_known:
                    note(f"runs that the store had stay where they are; advisor move RUN --to {experiment} moves one")
        return 0


@contextmanager
def _opened(session: Session, *, dry_run: bool) -> Iterator[Advisor]:
    """Open the store; to try an import, an empty one elsewhere where there is none."""
    from storage.errors import StoreNotFoundError

    with ExitStack() as stack:
        try:
            adv = session.open(create=not dry_run, lazily=True)
        except StoreNotFoundError:
            place = stack.enter_context(tempfile.TemporaryDirectory())
            adv = session.later(place, as_json=False).open(create=True, lazily=True)
        yield stack.enter_context(adv)


def _synced(importer: Importer) -> Synced:
    """Import, and say what an interruption leaves."""
    try:
        with progress("importing runs") as advance:
            return importer.sync(advance)
    except KeyboardInterrupt:
        note("interrupted; what has come is kept, and the same command brings the rest")
        raise


def roles(given: Sequence[str]) -> dict[str, str]:
    """Return the role of each column that was named.

    Raises
    ------
    ConfigError
        If a role is unknown.
    """
    from advisor.errors import ConfigError
    from storage.errors import did_you_mean

    out = dict(pairs(given, "--column"))
    for name, role in out.items():
        if role not in ROLES:
            raise ConfigError(f"--column {name}={role}: there is no such role; {did_you_mean(role, ROLES)}")
    return out


def tell_found(path: str, detected: Detected) -> None:
    """Say what was recognised, one line a tool and form; fail where nothing was."""
    from advisor.sources.detect import nothing_found
    from advisor.sources.registry import reader_of, readers

    if not detected.found:
        raise nothing_found(path, detected, readers())
    groups: dict[tuple[str, str], list[int | None]] = {}
    for found in detected.found:
        groups.setdefault((reader_of(found.tool).title, found.what), []).append(found.n_runs)
    for (title, what), sizes in groups.items():
        form = f" ({what})" if what else ""
        runs = f", {count(sum(n or 0 for n in sizes), 'run')}" if None not in sizes else ""
        places = "" if len(sizes) == 1 else f" in {len(sizes):,} places"
        note(f"found: {title}{form}{places}{runs}")
    for line in detected.refused:
        note(line)


def refuse_if_nothing(done: Synced) -> None:
    """Fail where everything that was found was left out.

    Raises
    ------
    ImportFormatError
    """
    from advisor.errors import ImportFormatError

    reasons = [f"{place}: {reason}" for tally in done.tallies for place, reason in tally.left_out.items()]
    if reasons and not done.n_added + done.n_known:
        more = f"; and {len(reasons) - 1:,} more were left out" if len(reasons) > 1 else ""
        raise ImportFormatError(f"nothing could be imported: {reasons[0]}{more}")


def _as_json(path: str, done: Synced, found: Detected) -> dict[str, Any]:
    return {
        "path": path,
        "n_runs": done.n_added,
        "n_known": done.n_known,
        "n_curves": done.n_curves,
        "n_points": done.n_points,
        "experiments": dict(done.experiments),
        "notes": [line for tally in done.tallies for line in tally.notes] + list(found.refused),
        "sources": [asdict(tally) for tally in done.tallies],
    }


def _show(adv: Advisor, done: Synced, found: Detected, *, dry_run: bool) -> None:
    from advisor.sources.registry import reader_of

    columns = [Column("tool"), Column("where", folds=True)]
    columns += [Column(name, right=True) for name in ("added", "grown", "unchanged", "left out", "values")]
    several = sorted(done.tallies, key=lambda tally: -(tally.n_added + tally.n_grown))
    rows: list[list[Any]] = [
        [reader_of(t.tool).title, t.path, t.n_added, t.n_grown, t.n_same, len(t.left_out), f"{t.n_points:,}"]
        for t in several[:LEFT_OUT_SHOWN]
    ]
    print_table(columns, rows)
    if len(several) > LEFT_OUT_SHOWN:
        note(f"and {len(several) - LEFT_OUT_SHOWN:,} more places")
    if done.experiments:
        records = {} if dry_run else {record.name: record for record in adv.store.experiments()}
        objectives = {name: ", ".join(each.metric for each in record.objectives) for name, record in records.items()}
        of_experiments = [Column("experiment"), Column("runs added", right=True)]
        of_experiments += [] if dry_run else [Column("objective")]
        some = list(done.experiments.items())[:LEFT_OUT_SHOWN]
        rest = [[] if dry_run else [objectives.get(name) or None] for name, _ in some]
        print_table(of_experiments, [[name, n, *more] for (name, n), more in zip(some, rest, strict=True)])
    for line in _reasons(done):
        note(line)
    for name, folders in done.mixed.items():
        note(
            f"{name!r} holds runs of {folders:,} folders; where these are different questions, "
            "import each with --experiment NAME"
        )
    would = "would be " if dry_run else ""
    known = f"; {count(done.n_known, 'run')} the store had already" if done.n_known else ""
    what = count(done.n_added, "run")
    if not dry_run:
        what += f", {count(done.n_curves, 'curve')} and {count(done.n_points, 'value')}"
    say(f"{what} {would}imported{known}")
    _say_what_goes_on(done)
    if done.experiments and not dry_run:
        _say_what_next(adv, done)


def _say_what_goes_on(done: Synced) -> None:
    """Say which runs count as running, and why."""
    n, again = done.n_just_written, "import again later to see the end"
    if n:
        counts, was = ("counts", "its file was") if n == 1 else ("count", "their files were")
        note(
            f"{count(n, 'run')} {counts} as running: {was} written to just now and cannot say that it is over; {again}"
        )
    if done.n_going_on > n:
        note(f"{count(done.n_going_on - n, 'run')} may still go on; {again}")


def _reasons(done: Synced) -> list[str]:
    """Return what was left out or changed, the same reason once with how often."""
    lines = []
    by_reason: dict[str, list[str]] = {}
    for tally in done.tallies:
        for place, reason in tally.left_out.items():
            by_reason.setdefault(reason, []).append(place)
    said = Counter(line for tally in done.tallies for line in dict.fromkeys(tally.notes))
    lines += [line if n == 1 else f"{line} ({n:,} times)" for line, n in said.items()]
    for reason, places in by_reason.items():
        more = f" and {len(places) - 1:,} more" if len(places) > 1 else ""
        lines.insert(0, f"left out: {places[0]}{more}: {reason}")
    if len(lines) > LEFT_OUT_SHOWN:
        rest = len(lines) - LEFT_OUT_SHOWN
        lines = [*lines[:LEFT_OUT_SHOWN], f"and {rest:,} more notes, all of them with --json"]
    return lines


def _say_what_next(adv: Advisor, done: Synced) -> None:
    """Say how to set the objective of an experiment that has none, with the metric that it is likely to be."""
    from advisor.sources.likely import likely_objective

    records = {record.name: record for record in adv.store.experiments()}
    bare = [name for name in done.experiments if name in records and not records[name].objectives]
    if bare:
        metric, direction = likely_objective(adv.store.runs(bare[0], limit=20)) or ("METRIC", "minimize")
        more = f" (and of {len(bare) - 1:,} more experiments likewise)" if len(bare) > 1 else ""
        how = f"--objective {shlex.quote(metric)} --direction {direction}"
        note(f"say what it is about: advisor experiment {shlex.quote(bare[0])} {how}{more}")
    elif done.experiments:
        name = shlex.quote(next(iter(done.experiments)))
        note(f"next: advisor check {name}, advisor suggest {name}, advisor report {name}")
