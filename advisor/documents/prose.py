"""Find the figures of any text that names runs, and hold each against the store: a pull request, an answer of an agent.

A figure is called right or wrong only if the text says what it is a figure of (a metric, a parameter, a duration, a
count) and whose (a run, an experiment); every other one is unknown. Leaves out what the store says (``prose_values``).
Invariant: a figure is supported only if it equals what it is called at the precision at which it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

from advisor.documents import prose_words as words
from advisor.documents.prose_claims import Claim, claims_of
from advisor.documents.prose_figures import Reading, judged
from advisor.documents.prose_values import Known, Label, Place
from advisor.documents.prose_words import FIGURE
from advisor.documents.untrusted import one_line

if TYPE_CHECKING:
    from storage.records import Run
    from storage.store import RunStore

Verdict = Literal["supported", "contradicted", "unknown"]

MAX_FIGURES: Final = 2_000
MAX_SENTENCE: Final = 2_000
"""Characters that are read together; what was written by people is shorter."""
MAX_OTHERS: Final = 10
"""Runs and names of a sentence that a figure may be of, beside its own."""
_SKIPPED: Final = re.compile(
    r"https?://\S+|\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?|\b\d\d?:\d\d\b|\b(?:python|version|v|torch|numpy)\s?"
    r"\d[\w.]*|^\s*\d+[.)]\s|\b[0-9a-f]*[a-f][0-9a-f]*\d[0-9a-f]{5,}\b",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE: Final = re.compile(r"(?<=[.!?;])\s+(?=[A-Z#*`_(\[|])|\n")
_CLAUSE: Final = re.compile(r"[;()]|,\s|\b(?:and|while|whereas|but|against|versus|vs|than|where)\b")
_RUN_NUMBER: Final = re.compile(r"(?:\brun\s+#?|(?<![\w#])#)(\d{1,7})\b", re.IGNORECASE)
_HEX: Final = re.compile(r"\b[0-9a-f]{6,32}\b")
_IN_BRACKETS: Final = re.compile(r"\s*[(\[]\s*(?:run\s*)?")
_THAN: Final = re.compile(r"\b(?:than|over|against|versus|vs|with|to)\s*$")
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
            parts = (part for part in _SENTENCE.split(line) if part and part.strip())
            yield from ((number, piece) for part in parts for piece in _pieces(part))


def _pieces(sentence: str) -> Iterator[str]:
    """Yield a sentence, in pieces where it is so long that it is none."""
    while len(sentence) > MAX_SENTENCE:
        at = sentence.rfind(" ", MAX_SENTENCE // 2, MAX_SENTENCE)
        at = MAX_SENTENCE if at < 0 else at
        yield sentence[:at]
        sentence = sentence[at:]
    yield sentence


def _of_segment(known: Known, context: _Context, line: int, segment: str) -> Iterator[Told]:
    if segment.startswith("\0header"):
        context.header = _cells(segment.removeprefix("\0header"))
        return
    if _RULE.match(segment):
        return
    masked = _SKIPPED.sub(lambda match: " " * len(match[0]), segment)
    named = [Place(start, end, name) for name, start, end in known.experiments_in(masked)]
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
        yield from _of_sentence(known, context, line, segment, masked, runs, named)
    if runs:
        context.run = runs[-1].what


def _runs_in(
    known: Known, context: _Context, text: str, named: Sequence[Place], segment: str
) -> tuple[list[Place], str, list[Place]]:
    """Return the runs that a segment names, the segment without their names, and names of runs that there are not.

    A number alone is one of the experiment that is named right after it (``run #3 of digits``), or else last before it.
    The place of a run that there is not holds None: what is said of it is said of nobody else.
    """
    places: list[Place] = []
    missing: list[Place] = []
    mentions = list(named)
    for name, number, start, end in known.numbered_in(text):
        mentions.append(Place(start, end, name))
        run = known.run_by_number(name, number)
        (places if run else missing).append(Place(start, end, run or text[start:end]))
    taken = [(place.start, place.end) for place in (*places, *missing)]
    for match in _HEX.finditer(text):
        run = known.run_by_id(match[0])
        if run is not None and not _overlaps(match, taken):
            places.append(Place(match.start(), match.end(), run))
            taken.append((match.start(), match.end()))
            mentions.append(Place(match.start(), match.end(), run.experiment))
    mentions.sort(key=lambda place: place.start)
    for match in _RUN_NUMBER.finditer(text):
        if not _overlaps(match, taken):
            experiment = _experiment_at(match, mentions, segment) or context.experiment
            run = known.run_by_number(experiment, int(match[1]))
            if run is not None or experiment is not None:
                places.append(Place(match.start(), match.end(), run))
                taken.append((match.start(), match.end()))
    if mentions:
        context.experiment = mentions[-1].what
    for start, end in taken:
        text = text[:start] + " " * (end - start) + text[end:]
    return sorted(places, key=lambda place: place.start), text, missing


def _overlaps(match: re.Match[str], taken: Sequence[tuple[int, int]]) -> bool:
    return any(start < match.end() and match.start() < end for start, end in taken)


def _experiment_at(match: re.Match[str], mentions: Sequence[Place], segment: str) -> str | None:
    """Return the experiment that a run's number belongs to, None where the segment names none before it."""
    for place in mentions:
        if place.start >= match.end() and segment[match.end() : place.start].strip(" `*_\"'") in ("of", "in", "from"):
            return str(place.what)
    before = [place for place in mentions if place.end <= match.start()]
    return str(before[-1].what) if before else None


def _of_row(known: Known, context: _Context, line: int, row: str, runs: Sequence[Place]) -> Iterator[Told]:
    run = runs[0].what if runs else None
    for place, cell in enumerate(_cells(row)):
        header = context.header[place] if place < len(context.header) else ""
        found = known.labels_in(header, context.experiment)
        for match in FIGURE.finditer(cell):
            label = found[0][0] if found else None
            said = words.statistic(f"{header} 0", list(FIGURE.finditer(f"{header} 0"))[-1], [])
            reading = Reading(label, runs=(run,) if runs else (), text=header, said=said)
            yield _told(known, context, line, match[0].strip(), reading)


def _of_sentence(
    known: Known, context: _Context, line: int, segment: str, text: str, runs: Sequence[Place], named: Sequence[Place]
) -> Iterator[Told]:
    labels = [Place(start, end, label) for label, start, end in known.labels_in(text, context.experiment)]
    figures = _figures(text, labels)
    claims = claims_of(known, text, runs, named, labels)
    found = list[tuple[re.Match[str], Told]]()
    for match in figures:
        reading = _reading(known, context, match, text, labels, figures, runs, named)
        one = _told(known, context, line, match[0].strip(), reading)
        found.append((match, _claimed(one, match, reading, claims)))
    for match in words.in_words(text, [(place.start, place.end) for place in labels]):
        why = "numbers in words are not checked; write it in digits"
        found.append((match, Told(line, written=one_line(match[0], limit=80), verdict="unknown", why=why)))
    for claim in claims:
        if claim.outcome == "wrong" and not any(one.why == claim.why for _, one in found):
            written = one_line(segment[claim.run.start : claim.run.end], limit=80)
            found.append((_at(claim.run.start), Told(line, written=written, verdict="contradicted", about=claim.about,
                          expected=claim.expected, why=claim.why)))  # fmt: skip
    yield from (one for _, one in sorted(found, key=lambda each: each[0].start()))


def _at(start: int) -> re.Match[str]:
    found = re.match(rf".{{{start}}}", " " * start)
    assert found is not None
    return found


def _figures(text: str, labels: Sequence[Place]) -> list[re.Match[str]]:
    """Return the figures of a sentence in their order: numbers, and words for such as are not finite of a metric."""
    inside = [(place.start, place.end) for place in labels]
    found = [match for match in FIGURE.finditer(text) if not any(low <= match.start() < high for low, high in inside)]
    metrics = [place.end for place in labels if place.what.kind == "metric"]
    if metrics:
        found += words.not_finite_in(text, min(metrics))
    return sorted(found, key=lambda match: match.start())


def _reading(
    known: Known, context: _Context, match: re.Match[str], text: str, labels: Sequence[Place],
    figures: list[re.Match[str]], runs: Sequence[Place], named: Sequence[Place],
) -> Reading:  # fmt: skip
    """Return how a figure of a sentence is to be understood."""
    label = _label_of(match, labels, figures, text)
    near, sure = _runs_of(match, runs, text)
    listed = _listed(match, labels, figures, runs, text)
    if listed is not None:
        label, near, sure = listed
    label, certain = _with_unit(match, label, text)
    said = words.statistic(text, match, figures)
    spoken = context.run is not None and not named and not known.says_whole(text)
    if listed is None and near and _is_of_experiment(match, runs, named, text):
        near, spoken = [], False
    subject: Sequence[Run | None] = near or ([context.run] if spoken else [])
    at = match.start()
    return Reading(
        None if words.is_spread(text, at) else label,
        runs=tuple(subject),
        text=text,
        said=said,
        towards=words.towards(text, at),
        others=tuple({place.what.id: place.what for place in runs if place.what is not None}.values())[:MAX_OTHERS],
        labels=tuple(dict.fromkeys(place.what for place in labels))[:MAX_OTHERS],
        is_tight=sure and not _is_between(match, labels, figures),
        is_from_context=not near and bool(subject),
        is_sure=sure and certain,
        is_rough=words.is_rough(text, at),
        is_bound=words.is_bound(text, at),
        is_difference=words.is_difference(text, match),
        is_from=said != "range" and words.is_from(text, at),
    )


def _is_between(match: re.Match[str], labels: Sequence[Place], figures: Sequence[re.Match[str]]) -> bool:
    """Return whether another figure stands between a figure and the name before it."""
    before = [place.end for place in labels if place.end <= match.start() and not place.what.follows]
    return not before or any(before[-1] <= other.start() < match.start() for other in figures)


def _is_of_experiment(match: re.Match[str], runs: Sequence[Place], named: Sequence[Place], text: str) -> bool:
    """Return whether a figure's clause, up to it, names an experiment as a whole and no run."""
    low, high = words.clause_of(text, match.start(), match.end())
    beside = next((place for place in runs if place.start >= match.end()), None)
    if beside is not None and _IN_BRACKETS.fullmatch(text[match.end() : beside.start]):
        return False
    whole = any(low <= place.start < match.start() for place in named)
    return whole and not any(low <= place.start < high for place in runs)


def _with_unit(match: re.Match[str], label: Label | None, text: str) -> tuple[Label | None, bool]:
    """Return what a figure is called, with regard to the unit behind it, and whether that is certain."""
    end = match.end()
    unit_s = words.seconds_after(text, end)
    if unit_s is not None:
        is_one_of_two = bool(re.search(r"\d\s?[a-z]{1,7}\s*$", text[: match.start()]))
        is_one_of_two = is_one_of_two or bool(re.match(r"\s?[a-z]{1,7}\s+\d+\s?(?:ms|s|sec|min|h)\b", text[end:]))
        known = label is not None and label.kind == "duration"
        return Label("duration", text="duration", unit_s=unit_s), known and not is_one_of_two
    if words.is_of_steps(text, end):
        named = "" if label is None or label.kind != "parameter" else re.escape(label.name)
        is_named = bool(named and re.match(rf"\s*{named}\b", text[end:], re.IGNORECASE))
        return (label if is_named else Label("step", text="step", follows=True)), False
    if words.is_of_things(text, match) and (label is None or not label.follows):
        return None, False
    return label, True


def _listed(
    match: re.Match[str], labels: Sequence[Place], figures: list[re.Match[str]], runs: Sequence[Place], text: str
) -> tuple[Label | None, list[Run | None], bool] | None:
    """Return the label and run of a figure of two lists in the same order: ``#6 and #2 reached loss 1 and 2``."""
    respectively = bool(re.search(r"\b(?:respectively|in (?:this|that) order)\b", text, re.IGNORECASE))
    rows = [each for each in figures if not words.is_of_steps(text, each.end())]
    if match not in rows or not runs:
        return None
    place = rows.index(match)
    metrics = [each for each in labels if not each.what.follows]
    if len(runs) > 1 and len(rows) == len(runs) and len(metrics) == 1 and runs[-1].end <= rows[0].start():
        between = [text[a.end : b.start] for a, b in pairwise(runs)]
        if all(re.fullmatch(r"[\s,&`*]*(?:and)?[\s`*]*(?:run)?[\s`*]*", each) for each in between):
            return metrics[0].what, [runs[place].what], respectively
    if respectively and len(runs) == 1 and len(rows) == len(metrics) > 1 and metrics[-1].end <= rows[0].start():
        return metrics[place].what, [runs[0].what], True
    if respectively:
        return None if len(runs) == 1 else (_label_of(match, labels, figures, text), [runs[0].what], False)
    return None


def _claimed(one: Told, match: re.Match[str], reading: Reading, claims: Sequence[Claim]) -> Told:
    """Return what is told of a figure, with regard to what is claimed of its run."""
    if one.verdict != "supported" or reading.label is None or reading.label.kind != "metric":
        return one
    for claim in claims:
        if claim.start <= match.start() < claim.end and claim.outcome != "true":
            verdict: Verdict = "contradicted" if claim.outcome == "wrong" else "unknown"
            return replace(one, verdict=verdict, about=claim.about, expected=claim.expected, why=claim.why)
    return one


def _label_of(
    match: re.Match[str], labels: Sequence[Place], figures: Sequence[re.Match[str]], text: str
) -> Label | None:
    """Return what a figure is called: by the label after it if that is a count's noun, else by the one before it."""
    after = [place for place in labels if place.start >= match.end()]
    is_next = bool(after) and not text[match.end() : after[0].start].strip(" \t*_`")
    if is_next and (after[0].what.follows or words.is_of_steps(text, match.end())):
        return after[0].what  # type: ignore[no-any-return]  # places of labels hold labels
    before = [place for place in labels if place.end <= match.start() and not place.what.follows]
    if before:
        last = before[-1]
        between = text[last.end : match.start()]
        others = sum(last.end <= figure.start() < match.start() for figure in figures)
        if not re.search(r"[.!?]\s", between) and others < 3:
            return last.what  # type: ignore[no-any-return]  # as above
    if after and not _CLAUSE.search(text[match.end() : after[0].start]) and not after[0].what.follows:
        return after[0].what  # type: ignore[no-any-return]  # as above
    return None


def _runs_of(match: re.Match[str], runs: Sequence[Place], text: str) -> tuple[list[Run | None], bool]:
    """Return the runs that a figure may belong to, and whether that is sure.

    That of its clause, else the last one before it, else the next one.
    """
    if not runs:
        return [], True
    beside = next((place for place in runs if place.start >= match.end()), None)
    if beside is not None and _IN_BRACKETS.fullmatch(text[match.end() : beside.start]):
        return [beside.what], True
    low = max((found.end() for found in _CLAUSE.finditer(text, 0, match.start())), default=0)
    high = next((found.start() for found in _CLAUSE.finditer(text, match.end())), len(text))
    near = [place for place in runs if low <= place.start < high]
    if len(near) == 1:
        return [near[0].what], not _THAN.search(text[: near[0].start])
    before = [place.what for place in runs if place.end <= match.start()]
    return before[-1:] or [runs[0].what], not near


def _told(known: Known, context: _Context, line: int, written: str, reading: Reading) -> Told:
    found = judged(known, context.experiment, written, reading)
    return Told(line, written=written, verdict=found.verdict, about=found.about, expected=found.expected, why=found.why)


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]
