"""Operations on figures: hold a text against the store, and look up facts by their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from msgspec import Meta

from advisor.documents.citations import Cited
from advisor.errors import AdvisorError
from advisor.operations import bounds
from advisor.operations.operation import Answer, Asked, FactTold, Operation, Told, untrusted
from advisor.operations.told import fact_told
from storage.errors import StorageError

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.documents.fact import Fact
    from advisor.documents.prose import Told as Prose

MOST_CHARS: Final = 200_000
MOST_FIGURES: Final = 500
MOST_IDS: Final = 100


class VerifyAsked(Asked, frozen=True, kw_only=True):
    """What to hold against the store."""

    text: Annotated[
        str,
        Meta(
            max_length=MOST_CHARS,
            description="A text about runs. {{fact id}} is replaced by the fact's text; a figure followed by [fact id] "
            "has to be that fact, at the precision written; any other figure is looked up by what the text calls it.",
            examples=[
                "The best run reached {{experiment/digits/best.objective}}, after 12 [experiment/digits/n_runs] runs."
            ],
        ),
    ]
    every_figure: Annotated[
        bool, Meta(description="Whether a figure of which the store cannot tell fails the text, too.")
    ] = False


class FigureTold(Told, frozen=True, kw_only=True):
    """One figure of the text."""

    line: int
    written: Annotated[str, untrusted("The figure as it is written.")]
    verdict: Annotated[
        Literal["supported", "contradicted", "unknown"],
        Meta(description="unknown: the text does not say what it is a figure of, or the store does not hold it."),
    ]
    fact_id: Annotated[str | None, Meta(description="The fact that it cites; null where it cites none.")]
    about: Annotated[str, untrusted("What it was taken for.")]
    expected: Annotated[str, untrusted("What the store says, where it contradicts.")]
    why: Annotated[str, untrusted("Why it is not supported.")]


class VerifiedTold(Answer, frozen=True, kw_only=True):
    """What became of the figures of a text."""

    ok: Annotated[bool, Meta(description="Whether nothing is wrong: publish the text only then.")]
    text: Annotated[str, untrusted("The text with the placeholders filled in.")]
    kind: Annotated[str, Meta(description="text; or the kind of document, where the text is one of ours.")]
    n_figures: int
    n_supported: int
    n_contradicted: int
    n_unknown: int
    failures: Annotated[list[FigureTold], Meta(description="What has to be mended.")]
    figures: Annotated[list[FigureTold], Meta(description=f"All figures, the first {MOST_FIGURES}; cited ones first.")]
    notes: list[str]


def verify_text(adv: Advisor, asked: VerifyAsked) -> VerifiedTold:
    """Fill in the placeholders of a text, and hold every figure in it against the store."""
    found = adv.verify(asked.text)
    told = [_figure(one) for one in found.told]
    wrong = [one for one in told if one.verdict == "contradicted" or (asked.every_figure and one.verdict == "unknown")]
    if found.kind != "text":  # one of our own documents, derived again
        wrong = [
            FigureTold(line=one.line, written=bounds.value(one.written), verdict="contradicted", fact_id=None, about="",
                       expected=bounds.value(one.expected), why=bounds.value(one.why))
            for one in found.failures
        ]  # fmt: skip
    return VerifiedTold(
        ok=found.ok and not wrong,
        text=found.filled or asked.text,
        kind=found.kind,
        n_figures=found.n_figures,
        n_supported=found.n("supported"),
        n_contradicted=found.n("contradicted"),
        n_unknown=found.n("unknown"),
        failures=wrong[:MOST_FIGURES],
        figures=told[:MOST_FIGURES],
        notes=[bounds.value(note) for note in found.notes],
    )


def _figure(one: Prose | Cited) -> FigureTold:
    return FigureTold(
        line=one.line,
        written=bounds.value(one.written),
        verdict=one.verdict,
        fact_id=bounds.value(one.fact_id) if isinstance(one, Cited) else None,
        about=bounds.value(one.about),
        expected=bounds.value(one.expected),
        why=bounds.value(one.why),
    )


VERIFY_TEXT: Final = Operation(
    "verify_text",
    title="Hold a text against the store",
    about="Check a text before it is published: fills in {{fact id}}, checks every figure that cites [fact id], and "
    "looks up every other one. Mend what fails and ask again until ok is true. Writes nothing.",
    asks=VerifyAsked,
    answers=VerifiedTold,
    does=verify_text,
    method="POST",
    path="/verify",
)


# -- facts


class FactsAsked(Asked, frozen=True, kw_only=True):
    """Which facts."""

    ids: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=1_000)]],
        Meta(
            min_length=1,
            max_length=MOST_IDS,
            description="Ids of facts: run/RUN/objective, run/RUN/metrics.NAME (also min, max, first, last_step, "
            "n_points), run/RUN/params.NAME, experiment/NAME/n_runs, experiment/NAME/best.objective, "
            "difference/RUN/RUN/objective (second less first), difference/RUN/RUN/share.objective, and all "
            "that answers list.",
        ),
    ]


class MissingTold(Told, frozen=True, kw_only=True):
    """An id that names no fact."""

    id: Annotated[str, untrusted("What was asked for.")]
    why: Annotated[str, untrusted("Why there is none.")]


class FactsTold(Answer, frozen=True, kw_only=True):
    """Facts, and ids that name none; the facts are where every answer has them."""

    missing: list[MissingTold]


def resolve_fact(adv: Advisor, fact_id: str) -> Fact:
    """Return the fact that an id names, as the store has it now; see ``advisor.reports.addressed``."""
    from advisor.reports.addressed import resolve_fact as looked_up

    return looked_up(adv, fact_id)


def get_facts(adv: Advisor, asked: FactsAsked) -> FactsTold:
    """Look up facts by their ids."""
    from advisor.reports.addressed import Resolver

    resolve, found, missing = Resolver(adv), list[FactTold](), list[MissingTold]()
    for fact_id in dict.fromkeys(asked.ids):
        try:
            found.append(fact_told(resolve(fact_id)))
        except (StorageError, AdvisorError) as error:
            missing.append(MissingTold(id=bounds.value(fact_id), why=bounds.value(str(error))))
    return FactsTold(missing=missing, facts=found)


GET_FACTS: Final = Operation(
    "get_facts",
    title="Look up facts",
    about="Look up figures of the store by their ids, also such as no answer has listed; differences of two runs, too.",
    asks=FactsAsked,
    answers=FactsTold,
    does=get_facts,
    path="/facts",
)
