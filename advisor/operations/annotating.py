"""Operations that write on runs: notes and tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta

from advisor.operations import bounds, find
from advisor.operations.operation import Answer, Asked, Operation, untrusted
from advisor.operations.told import N_NOTES, RunName

if TYPE_CHECKING:
    from advisor.app import Advisor
    from storage.records import Run


class NoteAsked(Asked, frozen=True, kw_only=True):
    """What to write on which run."""

    run: RunName
    text: Annotated[str, Meta(min_length=1, max_length=20_000, description="The note; it is searched.")]


class TagsAsked(Asked, frozen=True, kw_only=True):
    """Which tags a run is to have."""

    run: RunName
    tags: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=200)]],
        Meta(max_length=100, description="All of them: tags that the run has and that are not among these go."),
    ]


class AnnotatedTold(Answer, frozen=True, kw_only=True):
    """What is written on a run now."""

    run_id: str
    experiment: Annotated[str, untrusted("Name of its experiment.")]
    number: int
    tags: Annotated[list[str], untrusted("Words to find it by.")]
    notes: Annotated[list[str], untrusted(f"What people wrote of it, the last {N_NOTES}.")]
    n_notes: int


def add_note(adv: Advisor, asked: NoteAsked) -> AnnotatedTold:
    """Add a note to a run."""
    run = find.run(adv, asked.run)
    return _told(adv.experiment(run.experiment, create=False).note(run, asked.text))


def set_tags(adv: Advisor, asked: TagsAsked) -> AnnotatedTold:
    """Give a run these tags and no others."""
    from advisor.notes import clean

    run = find.run(adv, asked.run)
    experiment, wanted = adv.experiment(run.experiment, create=False), clean(asked.tags)
    run = experiment.tag(run, *wanted) if wanted else run
    gone = [tag for tag in run.tags if tag not in wanted]
    return _told(experiment.untag(run, *gone) if gone else run)


def _told(run: Run) -> AnnotatedTold:
    return AnnotatedTold(
        run_id=bounds.name(run.id),
        experiment=bounds.name(run.experiment),
        number=run.number,
        tags=bounds.names(run.tags),
        notes=[bounds.prose(note) for note in run.notes[-N_NOTES:]],
        n_notes=len(run.notes),
    )


ADD_NOTE: Final = Operation(
    "add_note",
    title="Add a note",
    about="Write a note on a run; it is found by searches. What looks like a secret is redacted.",
    asks=NoteAsked,
    answers=AnnotatedTold,
    does=add_note,
    method="POST",
    writes=True,
    repeatable=False,
    path="/runs/{run}/notes",
)

SET_TAGS: Final = Operation(
    "set_tags",
    title="Set tags",
    about="Give a run these tags and no others; tags that it has and that are not named go.",
    asks=TagsAsked,
    answers=AnnotatedTold,
    does=set_tags,
    method="POST",
    writes=True,
    path="/runs/{run}/tags",
)
