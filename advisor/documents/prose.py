"""Find the figures of any text that names runs, and hold each against the store: a pull request, an answer of an agent.

A figure is called right or wrong only if the text says what it is a figure of (a metric, a parameter, a duration, a
count) and whose (a run, an experiment); every other one is unknown. Leaves out what the store says (``prose_values``).
Invariant: a figure is supported only if it equals what it is called at the precision at which it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from advisor.documents.prose_values import Known, Label, Value, fits, read_figure
from advisor.documents.untrusted import one_line

if TYPE_CHECKING:
    from storage.records import Run
    from storage.store import RunStore

Verdict = Literal["supported", "contradicted", "unknown"]

MAX_FIGURES: Final = 2_000
_FIGURE: Final = re.compile(
    r"(?<![\w.#/-])[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?:\s?%)?(?![\w-]|\.\d|:\d)", re.IGNORECASE
)
_SKIPPED: Final = re.compile(
    r"https?://\S+|\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?|\b\d\d?:\d\d\b|\b(?:python|version|v|torch|numpy)\s?"
    r"\d[\w.]*|^\s*\d+[.)]\s|\b[0-9a-f]*[a-f][0-9a-f]*\d[0-9a-f]{5,}\b",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE: Final = re.compile(r"(?<=[.!?;])\s+(?=[A-Z#*`_(\[|])|\n")
_CLAUSE: Final = re.compile(r"[;()]|,\s|\b(?:and|while|whereas|but|against|versus|vs|than|where)\b")
_RUN_NUMBER: Final = re.compile(r"(?:\brun\s+#?|(?<![\w#])#)(\d{1,7})\b", re.IGNORECASE)
_HEX: Final = re.compile(r"\b[0-9a-f]{6,32}\b")
_RULE: Final = re.compile(r"^\s*\|?\s*:?-{2,}:?\s*(\|\s*:?-{2,}:?\s*)*\|?\s*$")


@dataclass(frozen=True, slots=True)
class Told:
    """One figure of a text, and what the store says of it."""

    line: int
    _: KW_ONLY
    written: str
    verdict: Verdict
    about: str = ""
    """What it was taken for: ``last val_loss of digits#3``."""
    expected: str = ""
    """What the store says where it contradicts."""
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the public form."""
        return {
            "line": self.line,
            "written": self.written,
            "verdict": self.verdict,
            "about": self.about,
            "expected": self.expected,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class _Place:
    """A name in a segment, from ``start`` to ``end``."""

    start: int
    end: int
    what: Any


@dataclass(slots=True)
class _Context:
    """What the text spoke of last."""

    experiment: str | None = None
    run: Run | None = None
    header: list[str] = field(default_factory=list)


def told_of(store: RunStore, text: str) -> tuple[Told, ...]:
    """Return each figure of a text with its verdict, in order."""
    known = Known(store)
    context = _Context(experiment=known.only_experiment)
    found: list[Told] = []
    for line, segment in _segments(text):
        if not segment.strip():
            context.run = None  # a new paragraph
            context.header = []
            continue
        found.extend(_of_segment(known, context, line, segment))
        if len(found) >= MAX_FIGURES:
            break
    return tuple(found[:MAX_FIGURES])


def _segments(text: str) -> Iterator[tuple[int, str]]:
    """Yield sentences, or rows of tables, with the number of their line."""
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        if "|" in line and line.strip().startswith("|"):
            is_header = number < len(lines) and bool(_RULE.match(lines[number]))
            yield number, ("\0header" if is_header else "") + line
        elif not line.strip():
            yield number, ""
        else:
            yield from ((number, part) for part in _SENTENCE.split(line) if part and part.strip())


def _of_segment(known: Known, context: _Context, line: int, segment: str) -> Iterator[Told]:
    if segment.startswith("\0header"):
        context.header = _cells(segment.removeprefix("\0header"))
        return
    if _RULE.match(segment):
        return
    masked = _SKIPPED.sub(lambda match: " " * len(match[0]), segment)
    named = [_Place(start, end, name) for name, start, end in known.experiments_in(masked)]
    for place in named:
        masked = masked[: place.start] + " " * (place.end - place.start) + masked[place.end :]
    runs, masked, missing = _runs_in(known, context, masked, named, segment)
    for place in missing:
        yield Told(
            line,
            written=one_line(place.what),
            verdict="contradicted",
            why=f"there is no such run in {context.experiment}",
        )
    if segment.lstrip().startswith("|") and context.header:
        yield from _of_row(known, context, line, masked, runs)
    else:
        yield from _of_sentence(known, context, line, masked, runs)
    if runs:
        context.run = runs[-1].what


def _runs_in(
    known: Known, context: _Context, text: str, named: Sequence[_Place], segment: str
) -> tuple[list[_Place], str, list[_Place]]:
    """Return the runs that a segment names, the segment without their names, and names of runs that there are not.

    A number alone is one of the experiment that is named right after it (``run #3 of digits``), or else last before it.
    The place of a run that there is not holds None: what is said of it is said of nobody else.
    """
    places: list[_Place] = []
    missing: list[_Place] = []
    mentions = list(named)
    for name, number, start, end in known.numbered_in(text):
        mentions.append(_Place(start, end, name))
        run = known.run_by_number(name, number)
        (places if run else missing).append(_Place(start, end, run or text[start:end]))
    taken = [(place.start, place.end) for place in (*places, *missing)]
    for match in _HEX.finditer(text):
        run = known.run_by_id(match[0])
        if run is not None and not _overlaps(match, taken):
            places.append(_Place(match.start(), match.end(), run))
            taken.append((match.start(), match.end()))
            mentions.append(_Place(match.start(), match.end(), run.experiment))
    mentions.sort(key=lambda place: place.start)
    for match in _RUN_NUMBER.finditer(text):
        if not _overlaps(match, taken):
            experiment = _experiment_at(match, mentions, segment) or context.experiment
            run = known.run_by_number(experiment, int(match[1]))
            if run is not None or experiment is not None:
                places.append(_Place(match.start(), match.end(), run))
                taken.append((match.start(), match.end()))
    if mentions:
        context.experiment = mentions[-1].what
    for start, end in taken:
        text = text[:start] + " " * (end - start) + text[end:]
    return sorted(places, key=lambda place: place.start), text, missing


def _overlaps(match: re.Match[str], taken: Sequence[tuple[int, int]]) -> bool:
    return any(start < match.end() and match.start() < end for start, end in taken)


def _experiment_at(match: re.Match[str], mentions: Sequence[_Place], segment: str) -> str | None:
    """Return the experiment that a run's number belongs to, None where the segment names none before it."""
    for place in mentions:
        if place.start >= match.end() and segment[match.end() : place.start].strip(" `*_\"'") in ("of", "in", "from"):
            return str(place.what)
    before = [place for place in mentions if place.end <= match.start()]
    return str(before[-1].what) if before else None


def _of_row(known: Known, context: _Context, line: int, row: str, runs: Sequence[_Place]) -> Iterator[Told]:
    run = runs[0].what if runs else None
    for place, cell in enumerate(_cells(row)):
        header = context.header[place] if place < len(context.header) else ""
        found = known.labels_in(header, context.experiment)
        for match in _FIGURE.finditer(cell):
            label = found[0][0] if found else None
            yield _judged(known, context, line, match[0].strip(), label, [run] if run else [], header)


def _of_sentence(known: Known, context: _Context, line: int, text: str, runs: Sequence[_Place]) -> Iterator[Told]:
    labels = [_Place(start, end, label) for label, start, end in known.labels_in(text, context.experiment)]
    inside = [(place.start, place.end) for place in labels]
    figures = [
        match for match in _FIGURE.finditer(text) if not any(start <= match.start() < end for start, end in inside)
    ]
    for match in figures:
        label = _label_of(match, labels, figures, text)
        near = _runs_of(match, runs, text)
        subject = near or ([context.run] if context.run is not None and not known.says_whole(text) else [])
        yield _judged(known, context, line, match[0].strip(), label, subject, text)


def _label_of(
    match: re.Match[str], labels: Sequence[_Place], figures: Sequence[re.Match[str]], text: str
) -> Label | None:
    """Return what a figure is called: by the label after it if that is a count's noun, else by the one before it."""
    after = [place for place in labels if place.start >= match.end()]
    if after and not text[match.end() : after[0].start].strip(" \t*_`") and after[0].what.follows:
        return after[0].what  # type: ignore[no-any-return]  # places of labels hold labels
    before = [place for place in labels if place.end <= match.start() and not place.what.follows]
    if before:
        last = before[-1]
        between = text[last.end : match.start()]
        others = sum(last.end <= figure.start() < match.start() for figure in figures)
        if not re.search(r"[;.!?]\s", between) and others < 3:
            return last.what  # type: ignore[no-any-return]  # as above
    if after and not _CLAUSE.search(text[match.end() : after[0].start]) and not after[0].what.follows:
        return after[0].what  # type: ignore[no-any-return]  # as above
    return None


def _runs_of(match: re.Match[str], runs: Sequence[_Place], text: str) -> list[Run]:
    """Return the runs that a figure may belong to: that of its clause, the last one before it, else the next one."""
    if not runs:
        return []
    low = max((found.end() for found in _CLAUSE.finditer(text, 0, match.start())), default=0)
    high = next((found.start() for found in _CLAUSE.finditer(text, match.end())), len(text))
    near = [place.what for place in runs if low <= place.start < high]
    if len(near) == 1:
        return near
    before = [place.what for place in runs if place.end <= match.start()]
    return before[-1:] or [runs[0].what]


def _judged(
    known: Known,
    context: _Context,
    line: int,
    written: str,
    label: Label | None,
    runs: Sequence[Run | None],
    text: str,
) -> Told:
    if label is None:
        return Told(line, written=written, verdict="unknown", why="the text does not say what it is a figure of")
    if runs and all(run is None for run in runs):
        return Told(line, written=written, verdict="unknown", about=label.text, why="there is no such run")
    values: list[Value] = []
    for run in runs:
        if run is not None:
            values.extend(known.of_run(run, label, text))
    whole = not values and context.experiment is not None
    if whole and context.experiment is not None:
        values = known.of_experiment(context.experiment, label, text)
    if not values:
        why = "nothing in the store is called so" if (runs or context.experiment) else "no run or experiment is named"
        return Told(line, written=written, verdict="unknown", about=label.text, why=why)
    figure = read_figure(written)
    fitting = [value for value in values if figure is not None and fits(figure, value)]
    if fitting:
        return Told(line, written=written, verdict="supported", about=fitting[0].about)
    sure = [value for value in values if value.certain]
    if not sure:
        why = "it is none of the figures that could be meant"
        return Told(line, written=written, verdict="unknown", about=values[0].about, why=why)
    expected = " or ".join(dict.fromkeys(value.text for value in sure[:4]))
    why = f"the store says {expected} for {sure[0].about}"
    return Told(
        line, written=written, verdict="contradicted", about=sure[0].about, expected=expected, why=one_line(why)
    )


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]
