"""Documents as they are shipped, with each of their digits changed, one at a time: does ``advisor verify`` see it?

The documents are of real trainings (scikit-learn, its digits): every kind, in every format. Each digit is changed once,
by one to nine. A document whose text does not fit its seal is told at once; so for some digits the seal is mended as
well, by somebody who knows how, and the line must be told by deriving the document again from the store.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import advisor
from advisor.app import Advisor
from advisor.documents.compared import differences
from advisor.documents.origin import MARK, is_intact, origin_of, sealed
from advisor.reports.verify import derive_again
from storage.records import Document

RATES = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)
FORMATS = ("md", "html", "json")
FORGED = 60
"""Digits of a document whose seal is mended."""


def mutations(folder: Path, *, formats: tuple[str, ...] = FORMATS) -> list[dict[str, Any]]:
    """Return for each kind and format of document how many digits were changed and which changes nobody saw."""
    with advisor.open(folder / "store", reports=folder / "reports", capture=False, system_metrics="off") as adv:
        for name in ("digits", "digits, averaged"):
            train(adv, name)
        return [looked(adv, kind, format, write) for kind, write in writers(adv) for format in formats]


def train(adv: Advisor, name: str) -> None:
    """Train linear classifiers at several rates, the last with what is not finite in its curve."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import SGDClassifier
    from sklearn.metrics import log_loss

    x, y = load_digits(return_X_y=True)
    exp = adv.experiment(name, objective="val_loss", direction="minimize", description="Handwritten digits")
    for seed, rate in enumerate(RATES):
        model = SGDClassifier(
            loss="log_loss", learning_rate="constant", eta0=rate, average="averaged" in name, random_state=seed
        )
        run = exp.start(params={"lr": rate}, seed=seed)
        for epoch in range(6):
            model.partial_fit(x[:1200] / 16, y[:1200], classes=np.arange(10))
            loss = float(log_loss(y[1200:], model.predict_proba(x[1200:] / 16)))
            run.log({"val_loss": math.nan if rate == RATES[-1] and epoch == 3 else loss}, step=epoch)
        run.finish()
    exp.suggest(1, seed=0)


def writers(adv: Advisor) -> Iterator[tuple[str, Callable[..., Document]]]:
    """Yield each kind of document with what writes it."""
    exp = adv.experiment("digits", create=False)
    finding = exp.findings(include_resolved=True)[0]
    yield "report", exp.report
    yield "run-summary", lambda **given: exp.summarize(2, **given)
    yield "incident", lambda **given: exp.incident(finding.id, **given)
    yield "run-comparison", lambda **given: adv.compare("digits#1", "digits#0", **given)
    yield "experiment-comparison", lambda **given: adv.compare("digits", "digits, averaged", **given)
    yield "digest", lambda **given: adv.digest(since="7d", **given)
    yield "model-card", lambda **given: exp.report(kind="model-card", **given)
    yield "checklist", lambda **given: exp.report(kind="checklist", **given)


def looked(adv: Advisor, kind: str, format: str, write: Callable[..., Document]) -> dict[str, Any]:
    """Write one document and change its digits."""
    text = Path(str(write(format=format).path)).read_text(encoding="utf-8")
    origin = origin_of(text)
    assert origin is not None
    derived = derive_again(adv, origin)
    places = [match.start() for match in re.finditer(r"\d", text)]
    block = text.index(MARK) if format != "json" else 0
    unseen = [at for at in places if is_intact(changed(text, at)) or changed(text, at) == derived]
    forged = [at for at in places if at < block]
    forged = forged[:: max(1, len(forged) // FORGED)]
    missed = []
    for at in forged:
        wrong = changed(text, at)
        again = sealed(wrong[: wrong.index(f"<!-- {MARK}")], origin)
        line = text[:at].count("\n") + 1
        if not is_intact(again) or line not in {each.line for each in differences(again, derived)}:
            missed.append(at)
    return {
        "kind": kind,
        "format": format,
        "derived_again_alike": derived == text,
        "digits": len(places),
        "unseen": len(unseen),
        "forged": len(forged),
        "forged_unseen": len(missed),
        "which": [text[max(at - 30, 0) : at + 30] for at in (*unseen, *missed)[:20]],
    }


def changed(text: str, at: int) -> str:
    """Return a text with one digit changed, by one to nine."""
    return f"{text[:at]}{(int(text[at]) + 1 + at % 9) % 10}{text[at + 1 :]}"
