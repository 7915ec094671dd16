"""``advisor search``: runs by what they are like, in words, or by the run that they are like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.cli.output import Column, count, note, one_line, print_json, print_table, progress
from advisor.cli.session import Session, command, find_run
from advisor.cli.shapes import short_ids

if TYPE_CHECKING:
    from storage.hits import Reason, SearchHit, SearchResults

MOST_FACETS = 5
"""Values of one facet that the table shows."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "search", panel="Look")
    def search(
        session: Session,
        text: Annotated[
            str,
            typer.Argument(
                metavar="[TEXT]", help="Words, and conditions among them: 'overfits params.lr<1e-3 state:failed'."
            ),
        ] = "",
        like: Annotated[
            str | None, typer.Option("--like", metavar="RUN", help="Runs like this one: parameters, curves, text.")
        ] = None,
        where: Annotated[
            str | None, typer.Option("--where", metavar="FILTER", help="Only among these; see 'advisor runs --where'.")
        ] = None,
        limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="Most runs.")] = 10,
        facets: Annotated[
            bool, typer.Option("--facets", help="With --json: an object with hits, documents and counts.")
        ] = False,
    ) -> None:
        """Find runs by words and by meaning, misspelt words too; numbers are found by conditions."""
        if bool(text.strip()) == (like is not None):
            raise typer.BadParameter("give TEXT to search for, or --like RUN, one of the two")
        with session.open() as adv:
            with progress("reading runs") as advance:
                if like is not None:
                    found = adv.similar(find_run(adv, like).id, where=where, limit=limit)
                else:
                    found = adv.search(text, where=where, limit=limit, progress=advance)
            if session.as_json:
                print_json(_as_object(found) if facets else [_as_json(hit) for hit in found])
                return
            if not found:
                note("no run fits")
            else:
                _print(found, short_ids(adv.store.state().all_ids()))
            for document in found.documents:
                note(f"document: {one_line(document.title, limit=80)}, {document.path or document.document_id}")


def _as_json(hit: SearchHit) -> dict[str, Any]:
    """Return the public JSON form of a hit; the first four keys are a contract."""
    return {
        "run_id": hit.run.id,
        "experiment": hit.run.experiment,
        "score": hit.score,
        "text": hit.text,
        "reasons": [reason.as_json() for reason in hit.reasons],
    }


def _as_object(found: SearchResults) -> dict[str, Any]:
    return {
        "hits": [_as_json(hit) for hit in found],
        "documents": [document.as_json() for document in found.documents],
        "n_fitting": found.n_fitting,
        "facets": {name: dict(counts) for name, counts in found.facets.items()},
        "words": found.words,
        "where": found.where,
    }


def _print(found: SearchResults, ids: Mapping[str, str]) -> None:
    columns = [Column("run"), Column("experiment"), Column("score", right=True), Column("why", folds=True)]
    print_table(columns, [[ids[h.run.id], h.run.experiment, round(h.score, 3), _why(h)] for h in found])
    note(f"{count(found.n_fitting, 'run')} at least half as good as the best")
    for name, counts in found.facets.items():
        shown = [f"{value} {n}" for value, n in list(counts.items())[:MOST_FACETS]]
        more = len(counts) - len(shown)
        if shown:
            note(f"{name}: {', '.join(shown)}{f' and {more} more' if more > 0 else ''}")


def _why(hit: SearchHit) -> str:
    """Return the reasons in words, what was asked for between marks; the whole text where there are none."""
    return "; ".join(map(_told, hit.reasons)) or hit.text


def _told(reason: Reason) -> str:
    text = reason.text
    for start, end in reversed(reason.marks):
        text = f"{text[:start]}»{text[start:end]}«{text[end:]}"
    near = " (near in meaning)" if reason.how == "meaning" and reason.kind != "finding" else ""
    return f"{reason.kind}: {text}{near}"
