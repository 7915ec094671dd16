"""The operation that looks at all runs of an experiment for trouble and keeps what it finds.

Runs that train here are watched while they train; runs that were told or imported are judged by this only. Invariant:
what could not be judged is counted with its reason, so that no findings is never taken for soundness.
"""

from __future__ import annotations

from collections import Counter
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta

from advisor.documents.fact_paths import finding_facts
from advisor.errors import ConfigError
from advisor.operations import bounds, find
from advisor.operations.findings import FindingsAsked, ListedTold, fitting, gravest_first, listed
from advisor.operations.operation import Answer, Asked, Operation, untrusted
from advisor.operations.told import ExperimentName, facts_told

if TYPE_CHECKING:
    from advisor.app import Advisor

MOST_RUNS: Final = 5_000
"""Runs of which all curves are read while somebody waits."""
SHOWN: Final = 30
REASONS: Final = 20


class CheckAsked(Asked, frozen=True, kw_only=True):
    """Which experiment."""

    experiment: ExperimentName


class CheckedTold(Answer, frozen=True, kw_only=True):
    """What is wrong with an experiment's runs by now; it is kept."""

    n_runs: Annotated[int, Meta(description="Runs that were looked at.")]
    n_new: Annotated[int, Meta(description="Open findings that this check found, or that came back.")]
    n_gone: Annotated[int, Meta(description="Findings that were open and no longer hold: they are resolved.")]
    n_open: int
    findings: Annotated[
        list[ListedTold],
        Meta(description=f"Open findings, the new ones first, of these the gravest; at most {SHOWN}."),
    ]
    new_ids: Annotated[list[str], Meta(description="Ids of those that are new.")]
    not_judged: Annotated[
        dict[str, int], untrusted("Why something could not be judged → how often; that is not the same as sound.")
    ]


def check_experiment(adv: Advisor, asked: CheckAsked) -> CheckedTold:
    """Look at all runs of an experiment for trouble, keep what is found and say what is open."""
    experiment = find.experiment(adv, asked.experiment)
    n_runs = adv.store.count(experiment.name)
    if n_runs > MOST_RUNS:
        raise ConfigError(
            f"experiment {experiment.name!r:.80} has {n_runs:,} runs, and at most {MOST_RUNS:,} are checked while "
            f"somebody waits; run 'advisor check {quote(bounds.name(experiment.name))}'"
        )
    only = FindingsAsked(experiment=experiment.name)
    before = {one.finding.id for one in fitting(adv, only)[0]}
    checked = experiment.check()
    known, silent = fitting(adv, only)
    found = sorted(gravest_first(known), key=lambda one: one.finding.id in before)  # the new ones first
    new = [one.finding.id for one in found if one.finding.id not in before]
    return CheckedTold(
        n_runs=n_runs,
        n_new=len(new),
        n_gone=len(before - {one.finding.id for one in known}),
        n_open=len(found),
        findings=[listed(one, silent) for one in found[:SHOWN]],
        new_ids=new[:SHOWN],
        not_judged={
            bounds.value(reason): n
            for reason, n in Counter(each.reason for each in checked.not_judged).most_common(REASONS)
        },
        facts=facts_told(fact for one in found[:SHOWN] for fact in finding_facts(one.run, one.finding)),
    )


CHECK_EXPERIMENT: Final = Operation(
    "check_experiment",
    title="Check for trouble",
    about="Look at all runs of an experiment for trouble, one by one and among each other, and keep the findings: runs "
    "that were told are judged by this only. Do it every five runs or so, before list_findings. What is found is also "
    "sent to the channels that the store's owner has set.",
    asks=CheckAsked,
    answers=CheckedTold,
    does=check_experiment,
    method="POST",
    writes=True,
    path="/experiments/{experiment}/check",
)
