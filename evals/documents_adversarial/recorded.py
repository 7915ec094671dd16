"""Drafts that a large language model wrote to the instructions of this program: what of them is refused, what is lost.

The model got what ``advisor.documents.prompt`` says of sheets of ``sheets`` (60 drafts of an experiment or a run), and
for what was refused the complaint, twice at most, as the writer does it. It was one model, asked six times for ten
drafts each, and it knew of no refusal before all of its ten drafts were there. ``drafts/mended_on.json`` has first
answers to two earlier wordings of the instructions; the rules were mended on them, and on none of the others until
their figures had been taken.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import sheets

from advisor.documents import FactSheet
from advisor.documents.draft import parse
from advisor.documents.verifier import Sentence, problems

DRAFTS = Path(__file__).with_name("drafts")
NAMES = ("mended_on", "held_out")
N_BOOTSTRAP = 2_000


def recorded(half: int) -> dict[str, Any]:
    """Return how many sentences are refused at first, how many for good, and how many drafts lose any.

    The interval (95 %) is a bootstrap over drafts.
    """
    refused: Counter[str] = Counter()
    counts: list[tuple[int, int, int]] = []
    rows = json.loads((DRAFTS / f"{NAMES[half]}.json").read_text(encoding="utf-8"))
    for row in rows:
        sheet = sheets.sheets(range(row["sheet"], row["sheet"] + 1))[row["of"] == "run"]
        wrong = lost = 0
        for first, *repairs in row["sentences"]:
            found = problems(_read(first, sheet), sheet)
            if found:
                wrong += 1
                refused[f"{first['text']} {', '.join(found)}"] += 1
                lost += all(problems(_read(each, sheet), sheet) for each in repairs)
        counts.append((len(row["sentences"]), wrong, lost))
    each = np.array(counts)
    sampled = each[np.random.default_rng(0).integers(len(each), size=(N_BOOTSTRAP, len(each)))].sum(axis=1)
    return {
        "drafts": len(rows),
        "sentences": int(each[:, 0].sum()),
        "refused": int(each[:, 1].sum()),
        "refused_interval": np.quantile(sampled[:, 1] / sampled[:, 0], [0.025, 0.975]).tolist(),
        "lost": int(each[:, 2].sum()) if half else None,  # of the others no repair was kept
        "drafts_that_lost_a_sentence": int((each[:, 2] > 0).sum()) if half else None,
        "which": dict(refused.most_common()),
    }


def _read(row: dict[str, Any], sheet: FactSheet) -> Sentence:
    sentences, _ = parse(json.dumps({"sentences": [row]}), sheet)
    return sentences[0]
