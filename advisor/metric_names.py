"""The words that names of metrics are made of, and what they commonly mean: losses, scores, times.

Pure. What follows from the words is told elsewhere: a metric's role (``findings.roles``), the values it can take
(``suggest.attainable``).
"""

from __future__ import annotations

import re
from typing import Final

LOSSES: Final = frozenset(
    """loss nll xent ce bce entropy perplexity ppl bpc bpb error err mse rmse mae mape wer cer fid regret logloss
    brier""".split()
)
"""Lower is better."""
SCORES: Final = frozenset(
    """acc accuracy f1 auc auroc auprc precision recall sensitivity specificity bleu rouge map ndcg r2 iou miou dice
    psnr ssim reward return mrr top1 top5""".split()
)
"""Higher is better."""
TIMES: Final = frozenset("time duration seconds elapsed latency".split())
"""How long something takes."""


def words_of(metric: str) -> frozenset[str]:
    """Return the words of a metric's name, in lower case.

    >>> sorted(words_of("val/topKAccuracy_1"))
    ['1', 'kaccuracy', 'top', 'val']
    """
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", metric)
    return frozenset(word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word)


def misspelt(given: str, known: str) -> bool:
    """Return whether a name is most likely another one, typed wrongly.

    That is: in other case, or with one letter missing, too many, or swapped with the next. One letter in place of
    another is no sign, nor is a digit, nor a common word for another metric: runs may well log both.

    >>> misspelt("val_ac", "val_acc"), misspelt("durration", "duration"), misspelt("vla_acc", "val_acc")
    (True, True, True)
    >>> misspelt("val_auc", "val_acc"), misspelt("loss2", "loss"), misspelt("val_mse", "val_rmse")
    (False, False, False)
    """
    a, b = given.casefold(), known.casefold()
    if a == b:
        return given != known
    if not words_of(given) - words_of(known) - LOSSES - SCORES - TIMES:
        return False
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    if len(a) == len(b):
        return (a[at + 1], a[at], a[at + 2 :]) == (*b[at : at + 2], b[at + 2 :]) if at + 1 < len(a) else False
    if abs(len(a) - len(b)) != 1:
        return False
    longer, shorter = (a, b) if len(a) > len(b) else (b, a)
    return longer[at].isalpha() and longer[at + 1 :] == shorter[at:]
