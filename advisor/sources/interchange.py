"""The interchange folder (``runs.parquet``, ``curves.parquet``) → store and back, losslessly.

Importing twice adds nothing the second time: runs are known by their ids. Columns that this store does not know
by a field of its own become the run's attributes, and columns again when it is exported.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from advisor.errors import ImportFormatError, SourceError
from advisor.redact import environment_secrets, redact, scrub
from advisor.sources.port import Found, Listing, Options, Reader, Source
from storage import interchange
from storage.curves import assemble, summaries
from storage.records import Curve, CurveChunk, Event, Experiment, Run, RunState, valid_text

if TYPE_CHECKING:
    from advisor.app import Advisor

Progress = Callable[[int, int], None]

OWN: Final = "advisor"
"""The tool's name for folders in this format."""

EVENTS_AT_ONCE: Final = 5_000
POINTS_AT_ONCE: Final = 4_000_000
"""About 100 MB in memory, 20 MB on disk."""
COLUMNS: Final = frozenset({*interchange.RUN_COLUMNS, "tags", "notes", "started", "ended", "objective", "record"})
"""Columns of runs.parquet with a meaning here; whatever else a file has is kept as the run's attributes."""
STATES: Final[Mapping[str, RunState]] = {
    **{str(state): state for state in RunState},
    "completed": RunState.FINISHED,
    "complete": RunState.FINISHED,
    "success": RunState.FINISHED,
    "killed": RunState.CRASHED,
    "error": RunState.FAILED,
    "fail": RunState.FAILED,
    "stopped": RunState.PRUNED,
}
"""How other programs call the states; anything else is refused."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did."""

    path: str
    _: KW_ONLY
    n_runs: int
    """Runs added."""
    n_known: int
    """Runs that the store had already."""
    n_curves: int
    n_points: int
    experiments: Mapping[str, int]
    """Experiment → runs added."""
    notes: tuple[str, ...]
    """What was changed or left out on the way, in plain sentences."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote."""

    path: str
    _: KW_ONLY
    n_runs: int
    n_curves: int


def import_path(adv: Advisor, path: Path, *, progress: Progress | None = None) -> Imported:
    """Import a folder in the interchange format.

    Runs come before their curves: an interrupted import is completed by repeating it.

    Raises
    ------
    ImportFormatError, RecordError
        If the folder is not what it should be; nothing has been written then.
    """
    if not path.exists():
        raise ImportFormatError(
            f"there is nothing at {str(path)!r}; give a folder with runs.parquet and curves.parquet"
        )
    if not path.is_dir():
        raise ImportFormatError(f"{str(path)!r} is a file; give the folder with runs.parquet and curves.parquet")
    secrets = environment_secrets()
    rows = [_read_row(row, i, secrets) for i, row in enumerate(interchange.read_runs(path))]
    names, notes = _distinct(rows)
    chunks, orphans = _read_curves(path, names, progress)
    if orphans:
        notes.append(f"{orphans} curves belong to runs that runs.parquet does not name; they were left out")

    known = set(adv.store.state().runs)
    new = [row for row in rows if row["run_id"] not in known]
    curves = assemble(chunks)
    _create_experiments(adv, new)
    experiments = {record.name: record for record in adv.store.experiments()}
    events = [_created(adv, row, experiments[row["experiment"]], curves.get(row["run_id"], {})) for row in new]
    for start in range(0, len(events), EVENTS_AT_ONCE):
        adv.store.append(events[start : start + EVENTS_AT_ONCE])
    there = adv.store.curves([row["run_id"] for row in rows if row["run_id"] in known])
    wanted = [chunk for chunk in chunks if chunk.metric not in there.get(chunk.run_id, {})]
    done = 0
    for some in _portions(wanted):
        adv.store.append_curves(some)
        done += len(some)
        if progress is not None:
            progress(len(chunks) + done, 2 * len(chunks))
    return Imported(
        str(path),
        n_runs=len(new),
        n_known=len(rows) - len(new),
        n_curves=len(wanted),
        n_points=sum(len(chunk.steps) for chunk in wanted),
        experiments=dict(Counter(row["experiment"] for row in new)),
        notes=tuple(notes),
    )


def export_folder(adv: Advisor, folder: Path, *, experiment: str | None = None) -> Exported:
    """Write runs and their curves as an interchange folder; runs that still go on are written as they are.

    Raises
    ------
    ExperimentNotFoundError
        If there is no experiment of that name.
    """
    runs = adv.store.runs(experiment)
    curves = adv.store.curves([run.id for run in runs])
    records = {record.name: _experiment(record) for record in adv.store.experiments()}
    rows = [_row(run, records[run.experiment]) for run in runs]
    n_runs, n_curves = interchange.write_folder(folder, rows, curves)
    return Exported(str(folder), n_runs=n_runs, n_curves=n_curves)


# -- reading


def _read_row(row: Mapping[str, Any], i: int, secrets: Sequence[str]) -> dict[str, Any]:
    run_id, experiment = row["run_id"], row["experiment"]
    if not run_id or not experiment:
        raise ImportFormatError(f"row {i} of runs.parquet has no {'run_id' if not run_id else 'experiment'}")
    state = STATES.get(str(row["state"]).lower())
    if state is None:
        raise ImportFormatError(
            f"run {run_id!r} has the state {row['state']!r}; allowed are {', '.join(map(str, RunState))}"
        )
    seed = row["seed"]
    out: dict[str, Any] = {
        "run_id": str(run_id),
        "experiment": str(experiment),
        "state": state,
        "params": redact(_json_object(row["params"], "params", run_id), secrets=secrets),
        "seed": None if seed is None or seed == -1 else int(seed),
        "meta": redact(_json_object(row["meta"], "meta", run_id), secrets=secrets),
    }
    extra = {name: value for name, value in row.items() if name not in interchange.RUN_COLUMNS and value is not None}
    record = extra.pop("record", None)  # what an export of our own keeps beyond the format
    out["record"] = _json_object(record, "record", run_id) if record else {}
    for name in ("tags", "notes"):
        given = extra.pop(name, None)
        out[name] = [scrub(word) for word in ([given] if isinstance(given, str) else given or ()) if word is not None]
    for name in ("started", "ended"):
        out[name] = _iso(extra.pop(name, None))
    if isinstance(extra.get("objective"), (int, float)):
        out["values"] = [float(extra.pop("objective"))]
    out["user_attrs"] = redact({name: _plain(value) for name, value in extra.items()}, secrets=secrets)
    return out


def _distinct(rows: Sequence[dict[str, Any]]) -> tuple[dict[str, list[str]], list[str]]:
    """Give each row an id of its own: where a file names two runs alike, the later one gets ``~2``.

    Returns the ids by the name in the file, and notes.
    """
    names: dict[str, list[str]] = {}
    for row in rows:
        taken = names.setdefault(row["run_id"], [])
        taken.append(row["run_id"] if not taken else f"{row['run_id']}~{len(taken) + 1}")
        row["run_id"] = taken[-1]
    n_twice = sum(len(ids) > 1 for ids in names.values())
    if not n_twice:
        return names, []
    return names, [
        f"{n_twice} run ids occur more than once; later runs got '~2' behind the id, "
        "and curves were assigned in the file's order"
    ]


def _read_curves(
    path: Path, names: Mapping[str, Sequence[str]], progress: Progress | None
) -> tuple[list[CurveChunk], int]:
    total = interchange.count_curves(path)
    seen: Counter[tuple[str, str]] = Counter()
    chunks: list[CurveChunk] = []
    orphans = done = 0
    for batch in interchange.read_curves(path):
        for chunk in batch:
            ids = names.get(chunk.run_id)
            position = seen[chunk.run_id, chunk.metric]
            seen[chunk.run_id, chunk.metric] += 1
            if ids is None or position >= len(ids):
                orphans += 1
                continue
            chunks.append(replace(chunk, run_id=ids[position], through=len(chunk.steps)))
        done += len(batch)
        if progress is not None:
            progress(done, 2 * total)
    return chunks, orphans


def _portions(chunks: Sequence[CurveChunk]) -> Iterator[list[CurveChunk]]:
    """Yield pieces that are committed together: a run's stay together, so that nothing is left to merge."""
    some: list[CurveChunk] = []
    n_points = 0
    for chunk in chunks:
        if n_points >= POINTS_AT_ONCE and chunk.run_id != some[-1].run_id:
            yield some
            some, n_points = [], 0
        some.append(chunk)
        n_points += len(chunk.steps)
    if some:
        yield some


def _create_experiments(adv: Advisor, rows: Sequence[Mapping[str, Any]]) -> None:
    there = {experiment.name for experiment in adv.store.experiments()}
    events = []
    for row in rows:
        if row["experiment"] not in there:
            there.add(row["experiment"])
            body = row["record"].get("experiment") or {}
            events.append(Event.new("experiment.created", row["experiment"], actor="import", **body))
    adv.store.append(events)


def _created(adv: Advisor, row: Mapping[str, Any], record: Experiment, curves: Mapping[str, Curve]) -> Event:
    body = {name: row[name] for name in ("state", "params", "seed", "tags", "notes", "meta")}
    body |= {"started": row["started"], "ended": row["ended"], "source": "import"}
    body |= {name: value for name, value in row["record"].items() if name in KEPT}
    body["user_attrs"] = {**row["user_attrs"], **body.get("user_attrs", {})}
    if "values" in row and "values" not in body:
        body["values"] = row["values"]
    body["summary"] = summaries(curves, reduce=record.reduce)
    return Event.new("run.created", row["experiment"], row["run_id"], time=adv.clock(), actor="import", **body)


KEPT: Final = ("values", "error", "suggestion_id", "distributions", "user_attrs", "system_attrs", "reports", "source")
"""Fields of a run that the format has no column for; they travel in the column ``record``."""


# -- writing


def _experiment(record: Experiment) -> dict[str, Any]:
    """Return what a run's experiment asks, so that an import elsewhere asks the same."""
    return {
        "objectives": [{"metric": o.metric, "direction": o.direction} for o in record.objectives],
        "reduce": record.reduce,
        "space": None if record.space is None else {name: dict(dim) for name, dim in record.space.items()},
        "description": record.description,
        "problem": dict(record.problem),
        "user_attrs": dict(record.user_attrs),
        "system_attrs": dict(record.system_attrs),
    }


def _row(run: Run, experiment: Mapping[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = {
        name: getattr(run, name) for name in KEPT if name not in ("values", "source") and getattr(run, name)
    }
    record = {name: dict(value) if isinstance(value, Mapping) else value for name, value in record.items()}
    return {
        "run_id": run.id,
        "experiment": run.experiment,
        "state": str(run.state),
        "params": json.dumps(dict(run.params)),
        "seed": -1 if run.seed is None else run.seed,
        "meta": json.dumps(dict(run.meta)),
        "tags": [valid_text(tag) for tag in run.tags],
        "notes": [valid_text(note) for note in run.notes],
        "started": run.started.isoformat() if run.started else None,
        "ended": run.ended.isoformat() if run.ended else None,
        "objective": run.objective,
        "record": json.dumps({**record, "experiment": experiment}),
    } | {name: value for name, value in run.user_attrs.items() if name not in COLUMNS and _is_scalar(value)}


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


# -- values


def _json_object(text: Any, column: str, run_id: str) -> dict[str, Any]:
    if text is None or text == "":
        return {}
    try:
        value = json.loads(text)
    except (TypeError, ValueError) as error:
        raise ImportFormatError(f"{column} of run {run_id!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ImportFormatError(f"{column} of run {run_id!r} is a {type(value).__name__}; it must be a JSON object")
    return value


def _iso(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, (int, float)):
        return datetime.fromtimestamp(value, UTC).isoformat() if math.isfinite(value) else None
    try:
        return datetime.fromisoformat(str(value)).isoformat()
    except ValueError as error:
        raise ImportFormatError(f"{value!r} is not a time; give ISO 8601 or seconds since 1970") from error


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str, list, dict)) else str(value)


class InterchangeReader(Reader):
    """Recognises folders in this format; they hold more than the port can say, and are read by ``import_path``."""

    tool = OWN
    title = "experiment-advisor's Parquet export"

    def find(self, at: Listing) -> Sequence[Found]:
        """Return the two files, where both are there."""
        names = frozenset({interchange.RUNS_FILE, interchange.CURVES_FILE})
        if not names <= at.files:
            return ()
        return [Found(self.tool, str(at.path), what="two Parquet files", claims=names)]

    def open(self, found: Found, options: Options) -> Source:
        """Refuse: see the class."""
        raise SourceError("is read by advisor.sources.import_path")
