"""A document by the name of its kind and of what it is about, as a form or a program asks for it.

Leaves out the writing. Invariant: a language model is asked only where the asker says so, and only the configured one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from advisor.errors import ConfigError
from advisor.references import find_run
from storage.errors import did_you_mean
from storage.records import Document

if TYPE_CHECKING:
    from advisor.app import Advisor

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "report": ("experiment",),
    "checklist": ("experiment",),
    "model-card": ("experiment",),
    "run-summary": ("run",),
    "incident": ("finding",),
    "comparison": ("a", "b"),
    "digest": (),
}
"""Kinds of documents that can be asked for, and what has to be named for each. A model card is of the experiment's best
run, or of ``run`` where that is named; a digest of all experiments, or of ``experiment``, over ``since``."""


def commission(
    adv: Advisor, kind: str, about: Mapping[str, str], *, format: str = "md", model: bool = False
) -> Document:
    """Write a document and keep it.

    Parameters
    ----------
    kind
        One of ``KINDS``.
    about
        ``experiment``, ``run``, ``finding``, ``a``, ``b``, ``since``, as the kind needs them; others are passed over.
    model
        Whether the configured language model may write the sentences.

    Raises
    ------
    ConfigError
        If there is no such kind, or what it is about is not named.
    StorageError
        If what it is about is not in the store.
    """
    if kind not in KINDS:
        raise ConfigError(f"there is no document of kind {kind!r:.60}; {did_you_mean(kind, KINDS)}")
    given = {name: text.strip() for name, text in about.items() if text.strip()}
    needed = KINDS[kind] if not (kind == "model-card" and "run" in given) else ("run",)
    absent = [name for name in needed if name not in given]
    if absent:
        raise ConfigError(f"a document of kind {kind!r} needs {' and '.join(map(repr, absent))}; nothing was given")
    asked = adv if model else without_model(adv)
    if kind == "comparison":
        return asked.compare(given["a"], given["b"], format=format)
    if kind == "digest":
        return asked.digest(given.get("experiment"), since=given.get("since", "7d"), format=format)
    if kind == "incident":
        return _incident(asked, given["finding"], format)
    if "run" in needed:
        run = find_run(adv.store, given["run"])
        return asked.experiment(run.experiment, create=False).summarize(run, kind=kind, format=format)
    return asked.experiment(given["experiment"], create=False).report(kind=kind, format=format)


def without_model(adv: Advisor) -> Advisor:
    """Return the same advisor without a language model; it shares the store, and is not closed by itself."""
    return type(adv)(adv.opening, replace(adv.settings, llm=None), clock=adv.clock)


def _incident(adv: Advisor, reference: str, format: str) -> Document:
    from advisor.references import find_finding

    finding = find_finding(adv.store, reference)
    return adv.experiment(finding.experiment, create=False).incident(finding, format=format)
