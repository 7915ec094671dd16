"""What to try next: suggestions that wait for an answer, runs that wait for a machine, forms that change both."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request

from advisor.errors import ConfigError
from advisor.web.forms import Fields
from advisor.web.web import Web
from storage.errors import RecordError
from storage.records import Experiment, Run

if TYPE_CHECKING:
    from advisor.experiment import Experiment as Handle

SHOWN: Final = 20
"""Suggestions that are shown, the newest."""
QUEUED_SHOWN: Final = 50
ASKED_AT_MOST: Final = 20
"""Suggestions that one click asks for."""
ASK_UP_TO: Final = 10_000
"""Runs of an experiment for which a page makes suggestions; it needs all of them in memory."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One suggestion that nobody has answered."""

    id: str
    _: KW_ONLY
    body: Mapping[str, Any]
    made: datetime
    expired: bool
    nearest: tuple[tuple[str, int | None, Mapping[str, Any]], ...]
    """Id and number of each near run, and what was kept of it."""
    command: str
    """Queues it, on the command line."""
    python: str
    """Trains it, in Python."""


@dataclass(frozen=True, slots=True)
class Next:
    """What the suggestions tab shows."""

    suggestions: tuple[Waiting, ...]
    n_suggestions: int
    queued: tuple[Run, ...]
    optimize: str
    """Takes up what waits, on the command line."""
    can_ask: bool
    """Whether a page may ask: not of so many runs."""


def next_of(web: Web, record: Experiment) -> Next:
    """Return what waits in an experiment."""
    exp = web.adv.experiment(record.name, create=False)
    found = exp.unanswered()
    queued = exp.waiting(limit=QUEUED_SHOWN)
    return Next(
        tuple(_waiting(web, record, body) for body in found[:SHOWN]),
        n_suggestions=len(found),
        queued=tuple(queued),
        optimize=optimize_command(web, record, n=max(len(queued), 1)),
        can_ask=web.adv.store.count(record.name) <= ASK_UP_TO,
    )


def _waiting(web: Web, record: Experiment, body: Mapping[str, Any]) -> Waiting:
    near = body.get("nearest") or ()
    entries = web.adv.store.state().entries([each["run_id"] for each in near])
    numbers = {entry.run.id: entry.run.number for entry in entries if not entry.hidden}
    suggestion_id = str(body["suggestion_id"])
    return Waiting(
        suggestion_id,
        body=body,
        made=body["time"],
        expired=bool(body["expired"]),
        nearest=tuple((each["run_id"], numbers.get(each["run_id"]), each) for each in near),
        command=web.shell.command(f"suggest {shlex.quote(record.name)} --accept {suggestion_id}"),
        python=_start(web, record, dict(body["params"])),
    )


def _start(web: Web, record: Experiment, params: Mapping[str, Any]) -> str:
    return f"import advisor\nrun = {web.shell.opened}.experiment({record.name!r}).start(params={params!r})"


def optimize_command(web: Web, record: Experiment, *, n: int) -> str:
    """Return a command that trains the next runs, with the parameters of the space where one is declared."""
    names = [name for name in record.space or () if name.isidentifier()]
    given = "".join(f" --{name} {{{name}}}" for name in names)
    return web.shell.command(f"optimize {shlex.quote(record.name)} -n {n} -- python train.py{given}")


# -- what the forms do; each returns what was done, in a sentence


def ask(web: Web, record: Experiment, form: Fields) -> str:
    """Make suggestions.

    Raises
    ------
    ConfigError, SpaceError, NotEnoughRunsError
        If the form or the experiment is not fit for it.
    """
    n = _whole(form.get("n") or "1", "how many")
    seed = None if not form.get("seed") else _whole(form["seed"], "the seed")
    if not 1 <= n <= ASKED_AT_MOST:
        raise ConfigError(f"{n} suggestions were asked for; from 1 to {ASKED_AT_MOST} are made at once")
    if web.adv.store.count(record.name) > ASK_UP_TO:
        command = web.shell.command(f"suggest {shlex.quote(record.name)} -n {n}")
        raise ConfigError(f"more than {ASK_UP_TO:,} runs are too many to learn from within a page; use: {command}")
    made = web.adv.experiment(record.name, create=False).suggest(n, seed=seed)
    return "One suggestion more." if len(made) == 1 else f"{len(made)} suggestions more."


def accept(exp: Handle, suggestion_id: str) -> str:
    """Queue a suggestion."""
    run = exp.accept(suggestion_id)
    return f"Accepted: run #{run.number} waits to be started."


def reject(exp: Handle, suggestion_id: str) -> str:
    """Close a suggestion."""
    exp.reject(suggestion_id)
    return "Rejected; its point is free again."


def withdraw(web: Web, run: Run) -> str:
    """Take a run that still waits out of the queue.

    Raises
    ------
    RecordError
        If somebody has started it.
    """
    if str(run.state) != "waiting":
        raise RecordError(f"run #{run.number} does not wait any more: it is {run.state}")
    web.adv.delete(run.id)
    restore = web.shell.command(f"restore {run.id[:12]}")
    return f"Run #{run.number} is out of the queue; {restore!r} brings it back."


def owner_of(web: Web, suggestion_id: str) -> Experiment:
    """Return the experiment that a suggestion is for.

    Raises
    ------
    RecordError
        If there is no such suggestion.
    """
    body = web.adv.store.state().suggestions.get(suggestion_id)
    if body is None:
        raise RecordError(f"there is no suggestion {suggestion_id[:80]!r}")
    return web.adv.store.experiment(body["experiment"])


def is_partial(request: Request) -> bool:
    """Return whether htmx asks, rather than a form without a script."""
    return request.headers.get("hx-request") == "true"


def _whole(given: Any, what: str) -> int:
    text = str(given).strip()
    if not text.isdecimal() or len(text) > 12:
        raise ConfigError(f"{what} is {text[:40]!r}; give a whole number")
    return int(text)
