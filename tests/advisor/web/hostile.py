"""A store in which every text that a run can bring is hostile: what all pages must survive.

``fill_hostile`` writes it; ``assert_harmless`` looks at an open page: no script ran, nothing is wider than the window.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

import advisor
from advisor.findings import codes
from storage.events import finding_opened
from storage.records import Event

if TYPE_CHECKING:
    from playwright.sync_api import Page

SCRIPT: Final = "<script>window.__owned=1</script><img src=x onerror=window.__owned=1>"
QUOTES: Final = "\"'`><svg onload=window.__owned=1> &lt;b&gt; {{ 7*7 }} ${7*7} javascript:alert(1)"
RTL: Final = "\u202eevil\u202c \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u200b\ufeff"
TERMINAL: Final = "\x1b[31mred\x1b[0m\x1b]0;title\x07\r\nSet-Cookie: a=b\t"
PATHS: Final = "../../etc/passwd?a=b#c%2e%2e//x"
UNBROKEN: Final = "W" * 1_000_000
"""A megabyte without a place to break the line."""
TEXTS: Final = (SCRIPT, QUOTES, RTL, TERMINAL, PATHS, UNBROKEN)
NAME: Final = f"{QUOTES} {SCRIPT} {RTL} {PATHS}"
"""For names, which are in addresses too: long, not endless."""


def fill_hostile(path: Path) -> None:
    """Write the store: experiments, runs that ended well and badly, one that goes on, findings, notes, documents."""
    with advisor.open(path, capture=False, system_metrics="off") as adv:
        exp = adv.experiment(NAME, objective=f"loss {SCRIPT}", direction="minimize", description=UNBROKEN)
        adv.experiment(RTL, description=SCRIPT + TERMINAL)
        for i, text in enumerate(TEXTS):
            run = exp.start(params={f"{SCRIPT}{i}": text, "value": UNBROKEN, RTL: math.nan}, seed=i)
            run.tag(text[:10_000])
            run.note(text)
            for step in range(3):
                run.log({f"loss {SCRIPT}": math.nan if i == 1 else 1.0 / (step + 1), f"{QUOTES} {RTL}": -math.inf})
            if i % 2:
                run.fail(text)
            else:
                run.finish()
            said = codes.finding(
                codes.NON_FINITE,
                run_id=run.id,
                experiment=NAME,
                time=adv.clock(),
                metric=text[:100_000],
                step=2**62,
                evidence={"n_nonfinite": 1, "n": 1},
            )
            adv.store.append([finding_opened(said)])
        about = {"params": {SCRIPT: UNBROKEN, RTL: QUOTES}, "why": SCRIPT, "suggestion_id": QUOTES}
        document = {"document_id": PATHS, "kind": "report", "title": SCRIPT + UNBROKEN[:1000], "text": SCRIPT}
        mute = {"scope": "run", "target": SCRIPT, "until": None, "reason": UNBROKEN}
        adv.store.append(
            [
                Event.new("suggestion.made", NAME, time=adv.clock(), **about),
                Event.new("document.written", NAME, time=adv.clock(), format="md", **document),
                Event.new("alert.muted", NAME, time=adv.clock(), **mute),
            ]
        )


def assert_harmless(page: Page) -> None:
    """Fail if a script of a run ran, or the page is wider than its window."""
    assert page.evaluate("window.__owned") is None
    wider = """() => [...document.querySelectorAll('body *')]
        .filter((each) => each.getBoundingClientRect().right > document.documentElement.clientWidth + 1
            && !each.closest('.scroll, pre, .hidden, .menu:not([open])'))
        .slice(0, 3).map((each) => each.outerHTML.slice(0, 200))"""
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), page.evaluate(wider)
