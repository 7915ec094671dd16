"""Put a reproducibility checklist together: how much can be answered, then item by item, what is missing first.

Leaves out rendering and the store. Invariant: every item of the lists stands here, whatever its answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from advisor.documents import absences, cells, frame, numbers, parts
from advisor.documents.checklist import Answer, Item, checklist
from advisor.documents.content import Cell, Column, Page, Row, Section, Span, Table, Tile, Tone, fill
from advisor.documents.fact import Fact, FactSheet, counted, share_of
from advisor.documents.facts import experiment_facts
from advisor.documents.material import ChecklistMaterial
from advisor.documents.untrusted import one_line
from advisor.documents.writer import Narrative

_KEYS: Mapping[Answer, str] = {"yes": "n_yes", "no": "n_no", "not recorded": "n_unrecorded"}
_TONES: Mapping[Answer, Tone] = {"yes": "good", "no": "bad", "not recorded": "warn"}


def checklist_facts(material: ChecklistMaterial) -> FactSheet:
    """Return how many items have which answer, and the facts of the experiment that the answers rest on."""
    return FactSheet((*_counts(checklist(material)), *experiment_facts(material.of)))


def _counts(items: Sequence[Item]) -> Iterator[Fact]:
    yield counted("n_items", len(items), "number of items of the checklist", "items", "checklist")
    for answer, key in _KEYS.items():
        number = sum(item.answer == answer for item in items)
        yield counted(key, number, f"number of items answered {answer}", "items", "checklist")
    share = sum(item.answer != "not recorded" for item in items) / len(items)
    yield share_of("answered_share", share, "share of the items that could be answered", "checklist")


def checklist_page(material: ChecklistMaterial, sheet: FactSheet, text: Narrative) -> Page:
    """Return the content of a reproducibility checklist."""
    items = checklist(material)
    of = material.of
    sections = (
        _section("Not fulfilled", "no", [item for item in items if item.answer == "no"], sheet),
        _section("Not recorded", "not-recorded", [item for item in items if item.answer == "not recorded"], sheet),
        _section("Fulfilled", "yes", [item for item in items if item.answer == "yes"], sheet),
        parts.absences_section(absences.of_experiment(of)),
        parts.interpretation_section(text.interpretation, text.writer),
    )
    n = numbers.count(len(of.runs))
    return Page(
        one_line(of.experiment.name, limit=120) or "(no name)",
        kicker="Reproducibility checklist",
        subtitle=f"NeurIPS and ACL items, answered from the records of {n} {'run' if len(of.runs) == 1 else 'runs'}",
        opening=frame.opening(lead(sheet), caution(sheet), _tiles(sheet), of.experiment.description, sheet, text, ()),
        sections=tuple(section for section in sections if section is not None),
        footer=frame.footer(of, sheet, text),
    )


def lead(sheet: FactSheet) -> str:
    """Return the outcome of a checklist in one sentence."""
    return "Of {{n_items}} items {{n_yes}} are fulfilled, {{n_no}} are not, and {{n_unrecorded}} are not recorded."


def caution(sheet: FactSheet) -> str:
    """Return how the answers are to be read."""
    return "The answers say what the store holds of the runs; what a paper says is for its authors to compare with it."


def summary(sheet: FactSheet) -> tuple[str, ...]:
    """Return the paragraph below the lead."""
    return ("{{answered_share}} of the items could be answered from the records.",)


def _tiles(sheet: FactSheet) -> list[Tile]:
    names: tuple[tuple[Answer, str], ...] = (
        ("yes", "fulfilled"),
        ("no", "not fulfilled"),
        ("not recorded", "not recorded"),
    )
    return [
        Tile(word, value=sheet[_KEYS[answer]].text, detail=f"of {sheet['n_items'].text}", tone=_tone(answer, sheet))
        for answer, word in names
    ]


def _tone(answer: Answer, sheet: FactSheet) -> Tone:
    return "plain" if answer == "yes" or not sheet[_KEYS[answer]].value else _TONES[answer]


def _section(title: str, anchor: str, items: Sequence[Item], sheet: FactSheet) -> Section | None:
    if not items:
        return None
    rows = tuple(
        Row(
            (
                Cell((Span(item.answer, kind="strong", tone=_TONES[item.answer]),)),
                cells.of_text(item.question),
                Cell(fill(item.why, sheet)),
                cells.of_text(item.pointer),
                cells.of_text(item.source),
            )
        )
        for item in items
    )
    columns = (
        Column("Answer"),
        Column("Item"),
        Column("What the records say"),
        Column("Where, or how to record it"),
        Column("List"),
    )
    table = Table(f"Items whose answer is {items[0].answer}", columns=columns, rows=rows, stacks=True)
    return Section(title, anchor=anchor, blocks=(table,))
