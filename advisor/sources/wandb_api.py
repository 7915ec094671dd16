"""A project on a W&B server, read through the tool's own client (extra ``wandb``): ``wandb://entity/project``.

Only asked for by that address. The client logs in as it always does, with ``WANDB_API_KEY`` or ``~/.netrc``, and reads
``scan_history``, which has every row; ``history`` has some hundred of them, chosen at random. Each request has a
deadline. Only the parts of the client named in ``Api`` and ``ApiRun`` are used; they are what the tests stand in for.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Protocol

from advisor.errors import MissingExtraError, SourceError
from advisor.sources import reading
from advisor.sources.gathered import NAN, Gathered
from advisor.sources.port import Cursor, Entry, Options, Piece, Source, SourceRun
from advisor.sources.values import counted, seed_of
from advisor.sources.wandb_history import INTERNAL, leaves
from storage.records import RunState

STATES: Final[Mapping[str, RunState]] = {
    "running": RunState.RUNNING,
    "pending": RunState.WAITING,
    "finished": RunState.FINISHED,
    "failed": RunState.FAILED,
    "crashed": RunState.CRASHED,
    "killed": RunState.CRASHED,
    "preempting": RunState.RUNNING,
    "preempted": RunState.CRASHED,
}
"""The server's states. Killed by a person is no failure of the run; ``crashed`` is when it went silent."""
PAGE_ROWS: Final = 10_000
ERRORS: Final = (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError)
"""What the client and the libraries under it raise beside their own errors; those of ``requests`` are OSErrors."""


class ApiRun(Protocol):
    """What is used of ``wandb.apis.public.Run``."""

    id: str
    name: str
    state: str
    entity: str
    project: str
    created_at: str
    config: Mapping[str, Any]
    tags: list[str]
    url: str

    def scan_history(self, *, page_size: int = ..., min_step: int = ...) -> Iterable[Mapping[str, Any]]:
        """Yield every row from a step on."""


class Api(Protocol):
    """What is used of ``wandb.Api``."""

    def runs(self, path: str, *, order: str = ..., per_page: int = ...) -> Iterable[ApiRun]:
        """Yield the runs of a project."""

    def run(self, path: str) -> ApiRun:
        """Return one run."""


class ApiSource(Source):
    """The runs of a project, or one run, on a server.

    Parameters
    ----------
    address
        ``entity/project`` or ``entity/project/run``.
    options
        ``deadline_s`` is the time that one request may take.
    api
        A client; by default the installed one.
    """

    def __init__(self, address: str, options: Options, api: Api | None = None) -> None:
        super().__init__()
        parts = [part for part in address.split("/") if part]
        if not 2 <= len(parts) <= 3:
            raise SourceError(f"'wandb://{address}' names no project; give wandb://entity/project")
        self._path = parts
        self._api = api if api is not None else _client(options.deadline_s)

    def entries(self) -> Iterator[Entry]:
        """Yield the runs, oldest first; asks the server for its list, not for their history."""
        with answered():
            if len(self._path) == 3:
                runs: Iterable[ApiRun] = [self._api.run("/".join(self._path))]
            else:
                runs = list(self._api.runs("/".join(self._path), order="+created_at", per_page=200))
        for run in runs:
            stamp = json.dumps([run.state, _of(run, "heartbeatAt"), _of(run, "historyLineCount"), list(run.tags)])
            yield Entry(run.id, stamp=stamp, load=partial(_load, run))


def _client(deadline_s: float) -> Api:
    try:
        wandb = importlib.import_module("wandb")
    except ImportError as error:
        raise MissingExtraError.of("Reading a project from a W&B server", "wandb") from error
    with answered():
        api: Api = wandb.Api(timeout=max(int(deadline_s), 1))
    return api


@contextmanager
def answered() -> Iterator[None]:
    """Turn whatever the client raises into one sentence.

    Raises
    ------
    SourceError
    """
    try:
        yield
    except SourceError:
        raise
    except (_client_error(), *ERRORS) as error:
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise SourceError(f"the W&B server did not give what was asked for: {said}") from error


def _client_error() -> type[Exception]:
    """Return the base of the client's own errors, where it is loaded."""
    error = getattr(sys.modules.get("wandb.errors"), "Error", None)
    return error if isinstance(error, type) and issubclass(error, Exception) else SourceError


def _load(run: ApiRun) -> SourceRun:
    with answered():
        return _loaded(run)


def _loaded(run: ApiRun) -> SourceRun:
    config = {name: value for name, value in dict(run.config).items() if name not in INTERNAL}
    params = reading.flat(config)
    state = STATES.get(str(run.state).lower())
    started, heartbeat = reading.from_iso(run.created_at), reading.from_iso(_of(run, "heartbeatAt"))
    is_over = state is not None and state.is_over
    return SourceRun(
        key="/".join((run.entity, run.project, run.id)),
        experiment=run.project,
        read=partial(_read, run, 0.0 if started is None else started.timestamp()),
        name=run.name or None,
        state=state,
        active=None if is_over else heartbeat,
        params=params,
        tags=tuple(map(str, run.tags)),
        notes=tuple(note for note in (_of(run, "notes"),) if isinstance(note, str) and note),
        seed=seed_of(params),
        started=started,
        ended=heartbeat if is_over else None,
        environment=_environment(run),
        meta=_meta(run),
        attributes=_summary(run),
    )


def _of(run: ApiRun, name: str) -> Any:
    """Return what the server says of a run that the client has no stable name for."""
    attributes = getattr(run, "_attrs", None)
    found = attributes.get(name) if isinstance(attributes, Mapping) else None
    return found if found is not None else getattr(run, name, None)


def _environment(run: ApiRun) -> dict[str, Any]:
    found: dict[str, Any] = {}
    commit = _of(run, "commit")
    if isinstance(commit, str) and commit:
        found["git_commit"] = commit
    host = _of(run, "host")
    if isinstance(host, str) and host:
        found["hostname"] = host
    return found


def _meta(run: ApiRun) -> dict[str, Any]:
    meta: dict[str, Any] = {"run_id": run.id, "entity": run.entity, "project": run.project, "url": run.url}
    for name, ours in (("group", "group"), ("jobType", "job_type"), ("sweepName", "sweep_id")):
        value = _of(run, name)
        if isinstance(value, str) and value:
            meta[ours] = value
    return meta


def _summary(run: ApiRun) -> dict[str, Any]:
    summary = getattr(run, "summary", None)
    content = getattr(summary, "_json_dict", summary)
    if not isinstance(content, Mapping):
        return {}
    kept = {name: value for name, value in content.items() if name not in INTERNAL}
    return reading.flat(
        {name: value for name, value in kept.items() if not (isinstance(value, Mapping) and "_type" in value)}
    )


def _read(run: ApiRun, started_s: float, cursor: Cursor | None) -> Piece:
    """Read all rows, or those after the last step that was read."""
    last = (cursor or {}).get("last")
    after = last if isinstance(last, int) and last >= 0 else None
    gathered, n_left_out, largest = Gathered(), 0, -1 if after is None else after
    with answered():
        for row in run.scan_history(page_size=PAGE_ROWS, min_step=0 if after is None else after + 1):
            step = reading.whole(row.get("_step"))
            if step is None or (after is not None and step <= after):
                continue
            largest = max(largest, step)
            stamp = reading.number(row.get("_timestamp"))
            time = stamp - started_s if stamp is not None and started_s else NAN
            n_left_out += _keep(row, step, time, gathered)
    notes = gathered.notes()
    if n_left_out:
        notes.append(
            counted(
                n_left_out,
                "value that is no number was left out",
                "values that are no numbers were left out",
            )
        )
    return Piece(gathered.curves(), is_whole=after is None, cursor={"last": largest}, notes=tuple(notes))


def _keep(row: Mapping[str, Any], step: int, time: float, gathered: Gathered) -> int:
    """Keep the numbers of a row; return how many values are none."""
    n_left_out = 0
    for name, value in row.items():
        if name in INTERNAL or value is None:
            continue
        for path, one in leaves(name, value, 0):
            found = reading.NON_FINITE.get(one.lower()) if isinstance(one, str) else None
            if found is None and isinstance(one, (bool, int, float)):
                found = reading.number(one)
            if found is None:
                n_left_out += one is not None
            else:
                gathered.add(path, step, found, time)
    return n_left_out
