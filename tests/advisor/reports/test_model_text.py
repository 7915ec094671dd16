"""Documents with sentences of a language model are derived again: the same words, today's figures."""

from __future__ import annotations

import json

from advisor.app import Advisor
from advisor.documents import Origin, ScriptedModel
from advisor.reports.keep import keep
from advisor.reports.write import written_now


def test_sentences_of_a_model_are_filled_in_anew(adv: Advisor) -> None:
    answer = {
        "sentences": [
            {
                "text": "The best {{metric}} is {{best}}, {{c1}} the median {{median}}.",
                "claims": [{"id": "c1", "op": "lt", "a": "best", "b": "median"}],
            }
        ],
        "interpretation": ["The learning rate may matter."],
    }
    subject = Origin("report", experiment="digits", format="md")
    written = written_now(adv, subject, model=ScriptedModel([json.dumps(answer)]))
    assert written.writer != "template"
    assert "lower (better) than the median" in written.text
    assert written.origin.paragraph.count("{{") == 3
    document = keep(adv, written, path=None, write=True)
    assert adv.verify(document.text).ok
    best = written.facts["best"].text
    wrong = adv.verify(document.text.replace(best, best[:-1] + str((int(best[-1]) + 1) % 10)))
    assert best in {one.expected for one in wrong.failures}
