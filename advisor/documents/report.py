"""Write a document from its material: facts, running text, page, and the file that holds them.

The front door of the package. Leaves out reading the store and writing files. Invariant: a document is always
written, with or without a model, and no sentence of it is handed out with a figure that is not a fact.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal, get_args

from advisor.documents import html, json_form, markdown, svg
from advisor.documents.content import Line, Page, Paragraph, fill, text_of
from advisor.documents.fact import FactSheet
from advisor.documents.kinds import Kind, kind_of
from advisor.documents.material import ExperimentMaterial, Material, RunMaterial
from advisor.documents.model import LanguageModel
from advisor.documents.origin import Origin, sealed, sealed_json
from advisor.documents.verifier import verify_rendered
from advisor.documents.writer import TEMPLATE, Narrative, narrate
from advisor.errors import ConfigError

Format = Literal["md", "html", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True, slots=True)
class Written:
    """A finished document."""

    text: str
    _: KW_ONLY
    kind: str
    title: str
    facts: FactSheet
    """What its figures come from."""
    writer: str
    """``template``, or the name of the language model whose sentences it holds."""
    notes: tuple[str, ...]
    """What its reader should know of how it was written; empty where all went well."""
    pictures: Mapping[str, bytes]
    """SVG files that the text refers to by name, to be laid beside it; empty for HTML, which holds them, and JSON."""
    plain: str
    """The same as Markdown without its origin, whatever the format: what is searched and kept."""
    page: Page
    """The same before it is Markdown or HTML."""
    origin: Origin
    """What the file says of where it comes from."""


def write_document(
    material: Material,
    *,
    format: str = "md",
    model: LanguageModel | None = None,
    picture_folder: str | None = None,
    origin: Origin | None = None,
    replay: bool = False,
) -> Written:
    """Write the document that a material is for.

    Parameters
    ----------
    format
        ``md``, ``html`` or ``json``.
    model
        Writes the sentences around the facts; None for the program's own.
    picture_folder
        Folder of the pictures of a Markdown document, relative to it and with its slash at the end; None for one that
        is named after the document.
    origin
        What is known of where the material comes from; what the document itself tells is filled in.
    replay
        Whether the running text is that of ``origin``, filled in anew, instead of one that is written now.

    Raises
    ------
    ConfigError
        If the format is unknown. Trouble with the model never raises: it is said in ``notes``.
    """
    if format not in FORMATS:
        raise ConfigError(f"format is {format!r}; it must be {' or '.join(map(repr, FORMATS))}")
    kind = kind_of(material)
    sheet = kind.facts(material)
    if replay and origin is not None and origin.writer != TEMPLATE:
        text = _replayed(origin, sheet)
    else:
        template = _true_only(kind.sentences(material, sheet), sheet)
        text = narrate(sheet, template=template, untrusted_notes=kind.notes(material), model=model)
        if replay and origin is not None and origin.notes:
            text = replace(text, notes=origin.notes)
    page = kind.page(material, sheet, text)
    page = replace(page, opening=tuple(block for block in page.opening if not _is_false(block, sheet)))
    return _finished(page, sheet, text, format, picture_folder, _origin(material, kind, sheet, text, format, origin))


def write_experiment_report(
    material: ExperimentMaterial,
    *,
    format: str = "md",
    model: LanguageModel | None = None,
    picture_folder: str | None = None,
) -> Written:
    """Write a report on an experiment; see ``write_document``."""
    return write_document(material, format=format, model=model, picture_folder=picture_folder)


def write_run_summary(
    material: RunMaterial,
    *,
    format: str = "md",
    model: LanguageModel | None = None,
    picture_folder: str | None = None,
) -> Written:
    """Write a summary of one run; see ``write_document``."""
    return write_document(material, format=format, model=model, picture_folder=picture_folder)


def _origin(
    material: Material, kind: Kind, sheet: FactSheet, text: Narrative, format: str, given: Origin | None
) -> Origin:
    dated = kind.dated(material)
    by_model = text.writer != TEMPLATE
    return replace(
        given or Origin(kind.name),
        kind=kind.name,
        format=format,
        generated=dated.generated.isoformat(),
        store=dated.store_uri,
        advisor=dated.version,
        facts=sheet.hash,
        writer=text.writer,
        notes=text.notes,
        paragraph=_unfilled(text.paragraph) if by_model else "",
        opinions=text.interpretation if by_model else (),
    )


def _unfilled(line: Line) -> str:
    """Return a line with placeholders where its facts stand."""
    return "".join(span.text if span.fact is None else f"{{{{{span.fact.id}}}}}" for span in line)


def _replayed(origin: Origin, sheet: FactSheet) -> Narrative:
    """Return a model's running text with today's facts; a placeholder without a fact is left as it is."""
    try:
        paragraph = fill(origin.paragraph, sheet)
    except KeyError:
        paragraph = ()
    return Narrative(paragraph, interpretation=origin.opinions, writer=origin.writer, notes=origin.notes)


def _finished(
    page: Page, sheet: FactSheet, text: Narrative, format: str, folder: str | None, origin: Origin
) -> Written:
    folder = f"{_folder_name(page, origin)}-pictures/" if folder is None else folder
    plain = markdown.render(page, picture_folder=folder)
    files: dict[str, bytes] = {}
    if format == "html":
        body = sealed(html.render(page), origin)
    elif format == "json":
        body = sealed_json(json_form.content(page, sheet), origin)
    else:
        files = {f"{folder}{picture.name}.svg": svg.standalone(picture) for picture in page.pictures}
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        origin = replace(origin, pictures=hashes)
        body = sealed(plain, origin)
    return Written(
        body,
        kind=origin.kind,
        title=page.title,
        facts=sheet,
        writer=text.writer,
        notes=text.notes,
        pictures=files,
        plain=plain,
        page=page,
        origin=origin,
    )


def _folder_name(page: Page, origin: Origin) -> str:
    """Return a name that differs between experiments, also where the title is only about runs."""
    title, experiment = _slug(page.title), _slug(origin.experiment)
    return title if not origin.experiment or experiment in title else f"{experiment}-{title}"


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
