"""How records show themselves in a notebook: runs, curves, findings, documents, what a search found.

Pure, and below the records, which it knows by their fields only; the pieces are in ``storage.markup``, pictures in
``storage.svg``. Leaves out text: every record has its own.

Invariant: what is shown does not grow with how much there is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from storage import svg
from storage.evidence import worded
from storage.figures import duration, figure, one_line
from storage.markup import (
    MOST_ROWS,
    MOST_TEXT,
    dot,
    frame,
    head,
    is_figure,
    moment,
    pairs,
    plural,
    soft,
    table,
    text,
    value,
)

if TYPE_CHECKING:
    from storage.hits import SearchResults
    from storage.records import Curve, Document, Finding, Run

MOST_PARAMS: Final = 8
MOST_METRICS: Final = 4
MOST_CURVES: Final = 24
"""Curves of one run that are drawn."""
MOST_POINTS: Final = 3_000_000
"""Points of a run's curves that are read to draw them: some 0.3 s."""
MOST_PAGE: Final = 2_000_000
"""Letters of a document that a cell may hold."""

# -- runs


def runs(found: Sequence[Run], *, n: int | None = None, metric: str | None = None, title: str = "") -> str:
    """Return runs as an output.

    Parameters
    ----------
    n
        How many there are in all; by default those given.
    metric
        The objective's; by default told from the runs.
    """
    n_all = len(found) if n is None else n
    return frame(head(title or f"<b>{plural(n_all, 'run')}</b>"), runs_table(found, n=n_all, metric=metric))


def runs_table(found: Sequence[Run], *, n: int, metric: str | None = None) -> str:
    """Return the first runs as a table: those columns in which they differ come first."""
    some = list(found[:MOST_ROWS])
    if not some:
        return ""
    columns = _run_columns(some, metric or _objective_of(some))
    right = [at for at, (_, _, is_figure) in enumerate(columns) if is_figure]
    rows = zip(*(cells for _, cells, _ in columns), strict=True)
    n_params = len({name for run in some for name in run.params})
    left_out = f"<p>{soft(f'{n_params - MOST_PARAMS} parameters more')}</p>" if n_params > MOST_PARAMS else ""
    return table([header for header, _, _ in columns], rows, numbers=right, n=n) + left_out


def _run_columns(some: Sequence[Run], metric: str | None) -> list[tuple[str, list[str], bool]]:
    """Return header, cells, and whether they are figures, of each column; those without content are left out."""
    params = _columns([run.params for run in some], MOST_PARAMS)
    metrics = [name for name in _columns([run.metrics for run in some], MOST_METRICS + 1) if name != metric]
    several = len({run.experiment for run in some}) > 1
    codes = [_codes(run.findings) or "–" for run in some]
    took = ["–" if run.duration_s is None else escape(duration(run.duration_s)) for run in some]
    columns = [("experiment", [text(run.experiment) for run in some], False)] if several else []
    columns.append(("#", [str(run.number) for run in some], True))
    columns.append(("state", [dot(str(run.state)) for run in some], False))
    columns.append((text(metric or "objective"), [value(run.objective) for run in some], True))
    for name in params:
        values = [run.params.get(name) for run in some]
        columns.append((text(name), [value(each) for each in values], all(map(is_figure, values))))
    columns += [(text(name), [value(run.metrics.get(name)) for run in some], True) for name in metrics[:MOST_METRICS]]
    return [*columns, ("took", took, True), ("findings", codes, False)]


def _objective_of(some: Sequence[Run]) -> str | None:
    """Return the metric whose last value, where it is a number, is the objective of each run that has one."""
    with_value = [run for run in some if run.objective is not None]
    names = with_value[0].metrics if with_value else ()
    for name in names:
        last = [(run.metrics.get(name, math.inf), run.objective) for run in with_value]
        if all(math.isnan(a) or a == b for a, b in last) and any(a == b for a, b in last):
            return name
    return None


def _columns(mappings: Sequence[Mapping[str, Any]], most: int) -> list[str]:
    """Return the names of a table's columns: at most so many, those with different values first, in their order."""
    names = list(dict.fromkeys(name for mapping in mappings for name in mapping))
    same = {name for name in names if len({repr(mapping.get(name))[:MOST_TEXT] for mapping in mappings}) == 1}
    kept = set(sorted(names, key=lambda name: name in same)[:most])
    return [name for name in names if name in kept]


def _codes(findings: Sequence[Finding]) -> str:
    left = list(dict.fromkeys(each.code for each in findings if each.state != "resolved"))
    return text(", ".join(left[:4])) if left else ""


def run(one: Run, curves: Mapping[str, Curve] | None = None) -> str:
    """Return a run as an output; ``curves`` are drawn where they are given."""
    took = "" if one.duration_s is None else f"took {escape(duration(one.duration_s))}"
    names = [f"<b>{text(one.experiment)} #{one.number}</b>", text(one.name) if one.name else "", dot(str(one.state))]
    names += [f"objective <b>{value(one.objective)}</b>" if one.objective is not None else "", took]
    names += [soft(moment(one.started)) if one.started else "", soft(f"<code>{escape(one.id[:12])}</code>")]
    said = (one.error or "").strip().splitlines()[-1:]
    error = f"<p>{dot('error')}: {text(said[0], limit=200)}</p>" if said else ""
    side = pairs(one.params, title="parameter") + _metrics(one, curves or {})
    notes = "".join(f"<p>{soft('note')} {text(note, limit=MOST_TEXT)}</p>" for note in one.notes[:5])
    tags = f"<p>{soft('tags')} {', '.join(text(tag) for tag in one.tags[:20])}</p>" if one.tags else ""
    return frame(head(*names), error, f'<div class="side">{side}</div>', findings_table(one.findings), notes, tags)


def _metrics(one: Run, curves: Mapping[str, Curve]) -> str:
    if not one.summary:
        return pairs(one.metrics, title="metric")
    rows = []
    for name, figures in list(one.summary.items())[:MOST_CURVES]:
        curve = curves.get(name)
        spark = "" if curve is None else svg.sparkline(curve.values, label=f"curve of {name}")
        lost = figures.get("n_nonfinite") or 0
        points = f"{figures.get('n') or 0:,}" + (f", {lost:,} not finite" if lost else "")
        rows.append((text(name), *(value(figures.get(key)) for key in ("last", "min", "max")), points, spark))
    return table(["metric", "last", "lowest", "highest", "points", ""], rows, numbers=[1, 2, 3, 4], n=len(one.summary))


def worth_drawing(one: Run) -> bool:
    """Return whether a run's curves are few enough to be read for a picture."""
    n_points = sum(int(figures.get("n") or 0) for figures in one.summary.values())
    return 0 < n_points <= MOST_POINTS


# -- curves


def curve(one: Curve) -> str:
    """Return a curve as an output: its figures, and a chart."""
    figures = one.summary()
    if not len(one):
        return frame(head(f"<b>{text(one.metric)}</b>", "no points yet"))
    said = [f"<b>{text(one.metric)}</b>", plural(len(one), "point"), f"last {value(figures['last'])}"]
    for key, word in _WORDS[1:]:
        if figures[key] is not None:
            where = f"at step {figures[key + '_step']:,}"
            said.append(f"{word} {value(figures[key])} {soft(where)}")
    bad, lost = np.flatnonzero(~np.isfinite(one.values)), ""
    if bad.size:
        first = f"the first, {figure(float(one.values[bad[0]]))}, at step {int(one.steps[bad[0]]):,}"
        lost = f'<p><span class="dot bad"></span>{plural(int(bad.size), "value")} not finite; {first}</p>'
    label = f"{one_line(one.metric)} by step: " + one_line(", ".join(plain_figures(one)))
    return frame(head(*said), lost, svg.chart(one.steps, one.values, label=label))


def curves(found: Mapping[str, Curve]) -> str:
    """Return several curves as an output: one row each."""
    rows = [
        (
            text(name),
            svg.sparkline(each.values, width=160, height=24, label=f"curve of {name}"),
            value(each.last if len(each) else None),
            f"{len(each):,}",
        )
        for name, each in list(found.items())[:MOST_CURVES]
    ]
    title = head(f"<b>{plural(len(found), 'curve')}</b>")
    return frame(title, table(["metric", "", "last", "points"], rows, numbers=[2, 3], n=len(found)) if rows else "")


def plain_figures(one: Curve) -> list[str]:
    """Return what a curve comes to, as words."""
    figures = one.summary()
    out = [plural(len(one), "point")]
    out += [f"{word} {figure(figures[key])}" for key, word in _WORDS if figures[key] is not None]
    return out + ([f"{figures['n_nonfinite']:,} not finite"] if figures["n_nonfinite"] else [])


_WORDS: Final = (("last", "last"), ("min", "lowest"), ("max", "highest"))


# -- findings, documents, searches


def findings_table(
    found: Sequence[Finding],
    *,
    n: int | None = None,
    runs_too: bool = False,
    numbers: Mapping[str, int] = MappingProxyType({}),
) -> str:
    """Return findings as a table, the first ones.

    Parameters
    ----------
    n
        How many there are in all; by default those given.
    numbers
        Run id → number; a run that is not in it is named by the beginning of its id.
    """
    if not found:
        return ""
    rows = [
        (
            text(each.code),
            dot(str(each.severity)),
            text(each.title, limit=100),
            *([text(each.experiment), _run_name(each.run_id, numbers)] if runs_too else []),
            escape(str(each.state)),
            "–" if each.step is None else f"{each.step:,}",
        )
        for each in found[:MOST_ROWS]
    ]
    headers = ["code", "severity", "finding", *(["experiment", "run"] if runs_too else []), "state", "from step"]
    return table(headers, rows, numbers=[len(headers) - 1], n=len(found) if n is None else n)


def _run_name(run_id: str, numbers: Mapping[str, int]) -> str:
    known = numbers.get(run_id)
    return f"<code>{escape(run_id[:8])}</code>" if known is None else f'<span title="{escape(run_id)}">#{known}</span>'


def findings(found: Sequence[Finding], *, numbers: Mapping[str, int] = MappingProxyType({})) -> str:
    """Return findings as an output."""
    title = head(f"<b>{plural(len(found), 'finding')}</b>")
    return frame(title, findings_table(found, runs_too=True, numbers=numbers))


def finding(one: Finding) -> str:
    """Return a finding as an output, with what it rests on."""
    said = [f"<b>{text(one.code)}</b>", dot(str(one.severity)), text(one.title, limit=160), escape(str(one.state))]
    where: dict[str, Any] = {
        "experiment": one.experiment,
        "run": one.run_id[:12],
        "curve": one.metric,
        "from step": one.step,
    }
    where |= {"p-value": one.p_value, "score": one.score, "verdict": one.verdict, "by": one.detector}
    known = {key: each for key, each in where.items() if each is not None}
    side = pairs(known, title="") + pairs(dict(worded(one.evidence)), title="evidence")
    return frame(head(*said), f'<div class="side">{side}</div>')


def search_results(found: SearchResults) -> str:
    """Return what a search found as an output, each run with the reason why."""
    asked = " ".join(part for part in (found.words, found.where or "") if part)
    said = [f"<b>{plural(len(found), 'run')}</b>", f"for {text(asked)}" if asked else ""]
    rows = [
        (
            f"{text(hit.run.experiment)} #{hit.run.number}",
            dot(str(hit.run.state)),
            value(hit.run.objective),
            figure(hit.score, digits=2),
            " · ".join(_reason(reason.kind, reason.text, reason.marks) for reason in hit.reasons[:2]),
        )
        for hit in found[:MOST_ROWS]
    ]
    shown = table(["run", "state", "objective", "score", "why"], rows, numbers=[2, 3], n=len(found)) if rows else ""
    documents = "".join(
        f"<p>{soft(escape(each.kind))} {text(each.title, limit=100)}</p>" for each in found.documents[:5]
    )
    return frame(head(*said), shown, documents)


def _reason(kind: str, said: str, marks: Sequence[tuple[int, int]]) -> str:
    """Return one reason, the words that were asked for in bold."""
    parts, at = [], 0
    for start, end in marks:
        if start >= at and end <= MOST_TEXT:
            parts += [escape(_flat(said[at:start])), f"<b>{escape(_flat(said[start:end]))}</b>"]
            at = end
    parts.append(escape(_flat(said[at : max(at, 120)])) + ("…" if len(said) > max(at, 120) else ""))
    return f"{soft(escape(kind))} <bdi>{''.join(parts)}</bdi>"


def _flat(part: str) -> str:
    """Return a piece of a text on one line, blanks at its ends kept."""
    line = one_line(part, limit=MOST_TEXT)
    return (" " if part[:1].isspace() else "") + line + (" " if line and part[-1:].isspace() else "")


_PICTURE: Final = re.compile(r"!\[((?:[^\]\\]|\\.)*)\]\([^)]*\)")


def markdown(one: Document) -> str:
    """Return a document that is Markdown; a notebook lies elsewhere than its pictures, which are named instead."""
    whole = one.text if len(one.text) <= MOST_PAGE else one.text[:MOST_PAGE] + "\n\n…"
    return _PICTURE.sub(lambda match: f"*Picture: {match[1]}*", whole)


def document(one: Document) -> str:
    """Return a document as an output: an HTML page in a frame without rights, any other form as it was written."""
    said = head(
        f"<b>{text(one.title, limit=120)}</b>",
        escape(one.kind),
        "not kept" if one.path is None else f"version {one.version}",
        text(one.path, limit=80) if one.path else "",
    )
    notes = "".join(f"<p>{soft(text(note, limit=MOST_TEXT))}</p>" for note in one.notes[:5])
    if one.format == "html" and len(one.text) <= MOST_PAGE:
        page = f'<iframe sandbox="" title="{escape(one_line(one.title))}" width="100%" height="640" frameborder="0"'
        page += f' srcdoc="{escape(one.text)}"></iframe>'
        return frame(said, notes, page)
    cut = one.text[:MOST_PAGE]
    more = f"<p>{soft(f'{len(one.text) - len(cut):,} letters more')}</p>" if len(cut) < len(one.text) else ""
    return frame(said, notes, f'<pre style="white-space:pre-wrap">{escape(cut)}</pre>{more}')
