"""Write a report on an experiment, or a summary of a run, from its material.

The front door of the package. Leaves out reading the store and writing files. Invariant: a document is always
written, with or without a model, and no sentence of it is handed out with a figure that is not a fact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal, get_args

from advisor.documents import experiment_page, html, markdown, narrative, run_page, svg
from advisor.documents.content import Page, Paragraph, fill, text_of
from advisor.documents.fact import FactSheet
from advisor.documents.facts import experiment_facts
from advisor.documents.facts_of_run import run_facts
from advisor.documents.material import ExperimentMaterial, RunMaterial
from advisor.documents.model import LanguageModel
from advisor.documents.standing import standing
from advisor.documents.verifier import verify_rendered
from advisor.documents.writer import Narrative, narrate
from advisor.errors import ConfigError
from storage.records import Run

Format = Literal["md", "html"]


@dataclass(frozen=True, slots=True)
class Written:
    """A finished document."""

    text: str
    _: KW_ONLY
    title: str
    facts: FactSheet
    """What its figures come from."""
    writer: str
    """``template``, or the name of the language model whose sentences it holds."""
    notes: tuple[str, ...]
    """What its reader should know of how it was written; empty where all went well."""
    pictures: Mapping[str, bytes]
    """SVG files that the text refers to by name, to be laid beside it; empty for HTML, which holds them."""


def write_experiment_report(
    material: ExperimentMaterial,
    *,
    format: str = "md",
    model: LanguageModel | None = None,
    picture_folder: str | None = None,
) -> Written:
    """Write a report on an experiment.

    Parameters
    ----------
    format
        ``md`` or ``html``.
    model
        Writes the sentences around the facts; None for the program's own.
    picture_folder
        Folder of the pictures of a Markdown document, relative to it and with its slash at the end; None for one that
        is named after the document.

    Raises
    ------
    ConfigError
        If the format is unknown. Trouble with the model never raises: it is said in ``notes``.
    """
    _check(format)
    sheet = experiment_facts(material)
    where = standing(material.experiment, material.runs)
    template = narrative.experiment_summary(sheet, where)
    notes = _notes(material.experiment.description, where.runs)
    text = narrate(sheet, template=_true_only(template, sheet), untrusted_notes=notes, model=model)
    return _written(experiment_page.experiment_page(material, sheet, text), sheet, text, format, picture_folder)


def write_run_summary(
    material: RunMaterial,
    *,
    format: str = "md",
    model: LanguageModel | None = None,
    picture_folder: str | None = None,
) -> Written:
    """Write a summary of one run; parameters and errors as for ``write_experiment_report``."""
    _check(format)
    sheet = run_facts(material)
    others = [run for run in material.siblings if run.id != material.run.id]
    where = standing(material.experiment, [*others, material.run])
    template = narrative.run_summary(sheet, where)
    notes = _notes(material.experiment.description, [material.run])
    text = narrate(sheet, template=_true_only(template, sheet), untrusted_notes=notes, model=model)
    return _written(run_page.run_page(material, sheet, text), sheet, text, format, picture_folder)


def _check(format: str) -> None:
    if format not in get_args(Format):
        raise ConfigError(f"format is {format!r}; it must be 'md' or 'html'")


def _written(page: Page, sheet: FactSheet, text: Narrative, format: str, folder: str | None) -> Written:
    page = replace(page, opening=tuple(block for block in page.opening if not _is_false(block, sheet)))
    files: dict[str, bytes] = {}
    if format == "html":
        body = html.render(page)
    else:
        folder = f"{_slug(page.title)}-pictures/" if folder is None else folder
        body = markdown.render(page, picture_folder=folder)
        files = {f"{folder}{picture.name}.svg": svg.standalone(picture) for picture in page.pictures}
    return Written(body, title=page.title, facts=sheet, writer=text.writer, notes=text.notes, pictures=files)


def _slug(title: str) -> str:
    """Return a name that is safe on every file system and in a link."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", title).strip("-")[:80] or "document"


def _true_only(template: Sequence[str], sheet: FactSheet) -> tuple[str, ...]:
    return tuple(sentence for sentence in template if not verify_rendered(text_of(fill(sentence, sheet)), sheet))


def _is_false(block: object, sheet: FactSheet) -> bool:
    """Return whether a lead or caveat states a figure that is not a fact."""
    if not isinstance(block, Paragraph) or block.role not in ("lead", "caveat"):
        return False
    return bool(verify_rendered(text_of(block.line), sheet))


def _notes(description: str, runs: Sequence[Run]) -> list[str]:
    written = [note for run in runs for note in run.notes]
    return [text for text in (description, *written) if text]
