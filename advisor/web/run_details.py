"""What a run's page shows of it, made ready: charts, parameters beside those of others, code, data, how to repeat it.

Pure: leaves out reading the store and markup. Invariant: what is long is cut, and says so; what looks secret is hidden
even where a run was recorded without our help.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from advisor.documents.charts import family
from advisor.documents.untrusted import block, one_line
from advisor.nested import flat
from advisor.redact import redact, scrub
from storage.records import Run

IN_ONE_CHART: Final = 4
"""Curves of one run in a chart: ``train``, ``val``, ``test`` and one more."""
MAX_CHARTS: Final = 40
MAX_SHOWN: Final = 300
"""Parameters, and settings of the environment."""
MAX_DIFF: Final = 60_000
"""Characters of a difference that are shown; it is kept up to 200 kB."""
MAX_ERROR: Final = 12_000
MAX_NOTE: Final = 20_000
MAX_NAMED: Final = 3
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart: a metric, and the run's own curves that belong to it."""

    metrics: tuple[str, ...]
    """The first is drawn beside other runs."""
    address: str
    """Where its curves are."""

    @property
    def title(self) -> str:
        """What it is called."""
        return " · ".join(one_line(metric, limit=60) for metric in self.metrics)


@dataclass(frozen=True, slots=True)
class Cell:
    """A parameter's value in one run."""

    value: Any
    _: KW_ONLY
    is_there: bool
    differs: bool
    """From that of the run that the page is about."""


@dataclass(frozen=True, slots=True)
class Row:
    """A parameter: its value here, and in the other runs."""

    name: str
    own: Cell
    others: tuple[Cell, ...]

    @property
    def differs(self) -> bool:
        """Whether it is another in one of the other runs."""
        return any(cell.differs for cell in self.others)


@dataclass(frozen=True, slots=True)
class Used:
    """Data that the run used."""

    name: str
    kind: str
    shape: str
    sha256: str
    where: str
    same: str
    """Which of the runs around it used the same."""


def run_address(run_id: str, part: str = "") -> str:
    """Return the address of a run's page, or of a part of it."""
    return f"/runs/{quote(run_id)}{'/' + part if part else ''}"


def charts(run_id: str, metrics: Iterable[str], *, first: str | None, beside: Sequence[str] = ()) -> list[Chart]:
    """Return the charts of a run: metrics of one family in one, that of the objective first.

    Parameters
    ----------
    first
        The objective's metric.
    beside
        What ``with`` of the curves' address says: the other runs to draw.
    """
    families: dict[str, list[str]] = {}
    for metric in sorted(metrics):
        families.setdefault(family(metric), []).append(metric)
    out = []
    for _, names in sorted(families.items(), key=lambda item: (first not in item[1], item[0])):
        ordered = sorted(names, key=lambda name: (name != first, name.lower().startswith("train"), name))
        groups = [ordered] if len(ordered) <= IN_ONE_CHART else [[name] for name in ordered]
        out += [_chart(run_id, group, beside) for group in groups]
    return out


def _chart(run_id: str, metrics: Sequence[str], beside: Sequence[str]) -> Chart:
    query = [("metric", metrics[0]), *(("own", name) for name in metrics[1:])]
    query += [("with", ",".join(beside))] if beside else []
    return Chart(tuple(metrics), f"{run_address(run_id, 'curves.json')}?{urlencode(query)}")


def parameters(run: Run, others: Sequence[Run]) -> list[Row]:
    """Return the parameters of a run beside those of others, in the run's order, then what only others have."""
    own = redact(run.params)
    beside = [redact(other.params) for other in others]
    names = dict.fromkeys([*own, *(name for each in beside for name in each)])
    rows = []
    for name in list(names)[:MAX_SHOWN]:
        mine = own.get(name, _ABSENT)
        cells = tuple(_cell(each.get(name, _ABSENT), mine) for each in beside)
        rows.append(Row(name, _cell(mine, mine), cells))
    return rows


def _cell(value: Any, mine: Any) -> Cell:
    there = value is not _ABSENT
    both_nan = isinstance(value, float) and isinstance(mine, float) and value != value and mine != mine
    return Cell(value if there else None, is_there=there, differs=not both_nan and bool(value != mine))


def environment(run: Run) -> list[tuple[str, Any]]:
    """Return what was captured of the machine and the program, one level, without the code's difference."""
    known = flat(redact({**run.environment, **({"from elsewhere": dict(run.meta)} if run.meta else {})}))
    out = [(name, _joined(name, value)) for name, value in known.items() if not _is_left_out(name, value)]
    return out[:MAX_SHOWN]


def attributes(run: Run) -> list[tuple[str, Any]]:
    """Return what an Optuna program, an import or a script keeps with the run, one level."""
    known = flat(redact(dict(run.user_attrs)))
    return [(name, _joined(name, value)) for name, value in known.items() if value is not None][:MAX_SHOWN]


def _is_left_out(name: str, value: Any) -> bool:
    return name in ("git.diff", "git.diff_truncated") or name.startswith("absent.") or value in (None, [], "")


def _joined(name: str, value: Any) -> Any:
    if name == "command" and isinstance(value, (list, tuple)):
        return shlex.join(str(part) for part in value)
    if isinstance(value, (list, tuple)) and not any(isinstance(each, Mapping) for each in value):
        return ", ".join(str(each) for each in value)
    return value


def difference(run: Run) -> tuple[list[tuple[str, str]], bool]:
    """Return the lines by which the code differed from its commit, each with what it is, and whether some are missing.

    What a line is: ``add``, ``del``, ``hunk``, ``file``, or nothing.
    """
    git = run.environment.get("git")
    whole = str(git.get("diff") or "") if isinstance(git, Mapping) else ""
    is_cut = isinstance(git, Mapping) and bool(git.get("diff_truncated"))
    shown = scrub(block(whole, limit=MAX_DIFF))
    return [(_kind(line), line) for line in shown.split("\n")] if shown else [], is_cut or len(whole) > MAX_DIFF


def _kind(line: str) -> str:
    if line.startswith(("diff ", "index ", "+++ ", "--- ", "new file", "deleted file", "rename ", "similarity ")):
        return "file"
    return {"+": "add", "-": "del", "@": "hunk"}.get(line[:1], "")


def code(run: Run) -> list[tuple[str, Any]]:
    """Return what is known of the code: commit, branch, where it is kept, files that git did not know."""
    git = run.environment.get("git")
    if not isinstance(git, Mapping):
        return []
    known = redact(git)
    names = (("commit", "Commit"), ("branch", "Branch"), ("remote", "Repository"), ("root", "Folder"))
    out: list[tuple[str, Any]] = [(word, known[name]) for name, word in names if known.get(name)]
    if known.get("dirty") is not None:
        out.append(("Changes", "uncommitted changes" if known["dirty"] else "none: as committed"))
    if known.get("n_untracked"):
        named = ", ".join(str(each) for each in list(known.get("untracked") or ())[:10])
        out.append(("Files unknown to git", f"{known['n_untracked']}: {named}"))
    return out


def data(run: Run, around: Sequence[Run]) -> list[Used]:
    """Return the data that a run used, and which of the runs around it used the same."""
    by_hash: dict[str, list[Run]] = {}
    for other in around:
        for each in {_hash(item) for item in other.data if _hash(item)}:
            by_hash.setdefault(each, []).append(other)
    by_name = {str(item.get("name")) for other in around for item in other.data}
    out = []
    for item in run.data:
        found = _hash(item)
        known = str(item.get("name")) in by_name
        same = _same(by_hash.get(found, []), len(around)) if found else ""
        out.append(
            Used(
                str(item.get("name", "data")),
                kind=str(item.get("type", "")),
                shape=" × ".join(str(side) for side in item.get("shape") or ()),
                sha256=found,
                where=scrub(str(item.get("path") or "")),
                same=same or ("other data of that name in the runs around it" if known else ""),
            )
        )
    return out


def _hash(item: Mapping[str, Any]) -> str:
    return str(next((item[key] for key in ("sha256", "fingerprint", "hash", "digest") if item.get(key)), ""))


def _same(runs: Sequence[Run], n_around: int) -> str:
    if not runs:
        return ""
    if len(runs) == n_around and n_around > MAX_NAMED:
        return f"the same as all {n_around} runs around it"
    named = ", ".join(f"#{run.number}" for run in runs[:MAX_NAMED])
    more = f" and {len(runs) - MAX_NAMED} more" if len(runs) > MAX_NAMED else ""
    return f"the same as {named}{more}"


def commands(run: Run, store_uri: str) -> list[tuple[str, str]]:
    """Return what to type to run it again and to look at it elsewhere, each with what it does; text is untrusted."""
    from advisor.documents.provenance import provenance

    known = provenance(run)
    store = shlex.quote(one_line(store_uri, limit=300))
    out = []
    if known.command:
        checkout = f"git checkout {shlex.quote(known.commit)}\n" if known.commit else ""
        out.append(("Start it again", scrub(checkout + known.command)))
    show = f"advisor --store {store} show {shlex.quote(run.id)}"
    return [*out, ("All that is recorded, on the command line", show)]


def error(run: Run) -> tuple[str, bool]:
    """Return the end of what was kept of the error, and whether its beginning is missing."""
    whole = run.error or ""
    return scrub(block(whole[-MAX_ERROR:], limit=MAX_ERROR)), len(whole) > MAX_ERROR


def short(run: Run) -> str:
    """Return what a run is called in a command: the beginning of its id, or all of one that is not made by us."""
    is_ours = len(run.id) == 32 and all(char in "0123456789abcdef" for char in run.id)
    return run.id[:8] if is_ours else shlex.quote(one_line(run.id, limit=200))


def line(text: str) -> str:
    """Return a name where no markup can stand: in a title or a label."""
    return one_line(text, limit=80)


def note(text: str) -> str:
    """Return a note as it is shown."""
    return scrub(block(text, limit=MAX_NOTE))
