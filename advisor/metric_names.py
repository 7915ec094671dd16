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
