"""Tables of any program: CSV, JSON lines, Parquet; a file is one run, or many by a column or one a row.

What columns mean is stated or guessed, see ``advisor.sources.table_columns``. In a folder, only files are taken whose
name says that they are curves; any other table is read where it is given by its own name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from advisor.errors import SourceError
from advisor.sources import sidecars
from advisor.sources.port import Cursor, Entry, Found, Listing, Options, Piece, Reader, Source, SourceRun
from advisor.sources.reading import from_seconds, stamp_of
from advisor.sources.table_cells import is_number_column
from advisor.sources.table_columns import STATE_ROLES, Roles, roles_of
from advisor.sources.table_curves import constants, read_table, start_of, without_prefix
from advisor.sources.table_files import Chunk, Form, look
from advisor.sources.table_forms import EXPORT_CURVES, EXPORT_RUNS, curves_beside, is_export, known_roles
from advisor.sources.table_results import Results
from advisor.sources.values import seed_of
from storage.records import RunState

ENDINGS: Final = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".pq"})
KINDS: Final = {"jsonl": "JSON lines", "parquet": "Parquet"}
BY_ENDING: Final = {
    **dict.fromkeys((".jsonl", ".ndjson"), "JSON lines"),
    **dict.fromkeys((".parquet", ".pq"), "Parquet"),
    ".csv": "CSV",
    ".tsv": "TSV",
}
MAYBE: Final = frozenset({".json", ".txt", ".dat", ".log"})
"""Endings of files that may be tables, which their beginning decides."""
NAMES: Final = (
    "metrics.csv",
    "metrics.json",
    "metrics.jsonl",
    "scalars.json",
    "measurements.csv",
    "results.csv",
    "results.tsv",
    "progress.csv",
    "history.csv",
    "log.csv",
    "log.jsonl",
    "training_log.csv",
    "train_log.csv",
)
"""Files that are taken in a folder, if they are tables."""
PARTS: Final[Mapping[str, str]] = {"eval_measurements.csv": "measurements.csv"}
"""Tables whose rows another one holds as well."""


class TablesReader(Reader):
    """Knows tables by their beginning."""

    tool = "tables"
    title = "table"

    def find(self, at: Listing) -> Sequence[Found]:
        """Claim files whose names say that they are curves, if they are."""
        out = []
        if is_export(at.path, at.files):
            claims = frozenset({EXPORT_RUNS, EXPORT_CURVES})
            out.append(Found(self.tool, str(at.path / EXPORT_RUNS), what="CSV export of advisor", claims=claims))
        for name in NAMES:
            if name in at.files or (name == "scalars.json" and _log_of(at)):
                path = at.path / (name if name in at.files else str(_log_of(at)))
                if _is_table_of_runs(path):
                    beside = sidecars.names_in(at.files) | {part for part, of in PARTS.items() if of == name} & at.files
                    out.append(Found(self.tool, str(path), what=_form_of(path), claims=frozenset({path.name}) | beside))
        return out

    def find_file(self, path: Path) -> Found | None:
        """Return what any file is that is a table."""
        ending = path.suffix.lower()
        if ending in ENDINGS:
            return Found(self.tool, str(path), what=_form_of(path))
        if ending not in MAYBE:
            return None
        try:
            look(path)
        except SourceError:
            return None
        return Found(self.tool, str(path), what=_form_of(path))

    def open(self, found: Found, options: Options) -> Source:
        """Open a table."""
        return TableSource(Path(found.path), options)


class TableSource(Source):
    """Runs of one table."""

    def __init__(self, path: Path, options: Options) -> None:
        super().__init__()
        self._path, self._options = path, options
        self._has_said = False
        self._looked: tuple[str, Form, Chunk, Roles] | None = None
        self._results: tuple[str, Results] | None = None
        self._beside = curves_beside(path)
        """Where the curves of the table's runs are, if ``advisor export`` wrote both."""
        self._curves: tuple[str, Results] | None = None

    def entries(self) -> Iterator[Entry]:
        """Yield the table as one run, or its runs in the order in which they begin."""
        self.notes.clear()
        form, _, roles = self._look()
        if not roles.runs and not roles.is_row_a_run:
            stamp = f"{stamp_of(self._path)}/{sidecars.stamp_beside(self._path.parent)}"
            yield Entry(".", stamp=stamp, load=self._load_one)
            return
        results = self._read_results(form, roles)
        curves = self._read_curves()
        if curves is not None:
            yield from self._exported(results, curves)
            return
        if roles.is_row_a_run and results.labels() and not self._options.columns and not results.has_metrics():
            raise SourceError(f"has rows that would be runs without any metric; {STATE_ROLES}")
        self.notes += results.notes()
        labels = results.labels()
        if labels == [""]:  # a column of seeds that is empty
            yield Entry(".", stamp=results.stamp(""), load=partial(self._load_row, results, ""))
            return
        for label in labels:
            yield Entry(label, stamp=results.stamp(label), load=partial(self._load_row, results, label))

    def _exported(self, results: Results, curves: Results) -> Iterator[Entry]:
        """Yield the runs of an export, with their curves from the file beside."""
        labels, of_curves = results.labels(), set(curves.labels())
        lost = len(of_curves - set(labels))
        self.notes += [*results.notes(), *curves.notes()]
        if lost:
            runs = "1 run" if lost == 1 else f"{lost:,} runs"
            self.notes.append(f"the curves of {runs} that {EXPORT_RUNS} does not name were left out")
        for label in labels:
            source = curves if label in of_curves else None
            stamp = f"{results.stamp(label)}/{'-' if source is None else source.stamp(label)}"
            yield Entry(label, stamp=stamp, load=partial(self._load_row, results, label, source))

    def _read_curves(self) -> Results | None:
        if self._beside is None:
            return None
        stamp = stamp_of(self._beside)
        if self._curves is None or self._curves[0] != stamp:
            form, head = look(self._beside)
            self._curves = stamp, Results(self._beside, form, _roles_of(head, {}))
        return self._curves[1]

    def _look(self) -> tuple[Form, Chunk, Roles]:
        stamp = stamp_of(self._path)
        if self._looked is None or self._looked[0] != stamp:
            form, head = look(self._path)
            self._looked = stamp, form, head, _roles_of(head, self._options.columns)
        return self._looked[1:]

    def _read_results(self, form: Form, roles: Roles) -> Results:
        stamp = stamp_of(self._path)
        if self._results is None or self._results[0] != stamp:
            self._results = stamp, Results(self._path, form, roles)
        return self._results[1]

    def _told(self, run: SourceRun) -> SourceRun:
        """Say once what the columns were taken for, where that was guessed; return the run."""
        _, head, roles = self._look()
        if not (self._has_said or roles.is_export or roles.said):
            self._has_said = True
            params = [name for name in roles.names if without_prefix(name) in run.params]
            metrics = [
                name
                for name in roles.names
                if name not in params and roles.is_plain(name) and is_number_column(head.columns[name])
            ]
            said = roles.in_words(params, metrics)
            self.notes.append(f"{self._path.name}: {said}; --column NAME=ROLE says otherwise")
        return run

    def _load_one(self) -> SourceRun:
        _, head, roles = self._look()
        return self._told(run_of_table(self._path, head, roles, self._options))

    def _load_row(self, results: Results, label: str, curves: Results | None = None) -> SourceRun:
        row = results.row(label)
        has_ended = self._looked is not None and self._looked[3].is_row_a_run
        environment = {} if row.commit is None else {"git_commit": row.commit}
        key = f"{self._path.absolute()}#{label}" if label else str(self._path.absolute())
        is_export = self._beside is not None

        def read(_: Cursor | None) -> Piece:
            if is_export:
                return Piece({}) if curves is None else curves.piece(label, row.started_s)
            return results.piece(label, row.started_s)

        run = SourceRun(
            key=label if is_export else key,  # the id by which the store that was exported knew the run
            experiment=row.experiment or experiment_of(self._path, self._options),
            read=read,
            name=row.name,
            state=row.state or (RunState.FINISHED if has_ended else None),
            active=written(self._path),
            params=row.params,
            tags=row.tags,
            notes=row.notes,
            seed=seed_of(row.params) if row.seed is None else row.seed,
            started=from_seconds(row.started_s),
            ended=row.ended,
            error=row.error,
            meta=row.meta,
            environment=environment,
        )
        return self._told(run)


def run_of_table(
    path: Path, head: Chunk, roles: Roles, options: Options, *, names: Sequence[str] = sidecars.NAMES
) -> SourceRun:
    """Return the run that a table is, with the parameters in it and beside it."""
    beside = sidecars.read_beside(path.parent, names=names)
    params = {**beside.params, **constants(head, roles)}
    started_s = start_of(head, roles)
    return SourceRun(
        key=str(path.absolute()),
        experiment=experiment_of(path, options),
        read=partial(_read, path, roles, started_s, tuple(beside.notes)),
        name=name_of(path, options),
        state=None,
        active=written(path),
        params=params,
        seed=seed_of(params),
        started=from_seconds(started_s),
        meta=beside.meta,
    )


def _read(path: Path, roles: Roles, started_s: float | None, notes: tuple[str, ...], cursor: Cursor | None) -> Piece:
    piece = read_table(path, roles, started_s, cursor)
    return replace(piece, notes=(*notes, *piece.notes))


def experiment_of(path: Path, options: Options) -> str:
    """Return the name of an experiment, made from the folder or file that was given."""
    root = options.root
    if root is None or root == path:
        return path.stem or "table"
    return root.name or "table"


def name_of(path: Path, options: Options) -> str:
    """Return the name of a run that is a file: its path below the folder given, without a last part that all have."""
    root = options.root
    is_common = path.name in NAMES
    try:
        below = path.relative_to(root if root is not None and root != path else path.parent)
    except ValueError:
        below = Path(path.name)
    shown = below.parent if is_common else below.with_suffix("")
    name = shown.as_posix().encode(errors="replace").decode()
    return (path.parent.name if is_common else path.stem) if name in (".", "") else name


def written(path: Path) -> datetime | None:
    """Return when a file was written last."""
    try:
        return from_seconds(path.stat().st_mtime)
    except OSError:
        return None


def _form_of(path: Path) -> str:
    """Return what a table is called by how it is written; by its name, where it cannot be read."""
    ending = path.suffix.lower()
    try:
        form = look(path)[0]
    except SourceError:
        return BY_ENDING.get(ending, "text")
    if form.kind != "csv":
        return KINDS[form.kind]
    if curves_beside(path) is not None:
        return "CSV export of advisor"
    if len(form.names) < 2:
        return "text"
    return "TSV" if form.delimiter == "\t" else "CSV"


def _roles_of(head: Chunk, stated: Mapping[str, str]) -> Roles:
    return known_roles(head, stated) or roles_of(head, stated)


def _is_table_of_runs(path: Path) -> bool:
    """Return whether a table's meaning can be told."""
    try:
        _, head = look(path)
        _roles_of(head, {})
    except SourceError:
        return False
    return head.n_rows > 0


def _log_of(at: Listing) -> str | None:
    """Return the log of MMDetection 2, which is named after the time."""
    return next((name for name in sorted(at.files) if name.endswith(".log.json")), None)
