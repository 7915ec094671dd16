"""The words that the verifier knows: neutral ones, and numbers in words, judgements, causes, and what facts are called.

Leaves out the rules themselves. Invariant: every set holds lower-case words without apostrophes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

NUMBER_WORDS = frozenset(
    """zero nil nought one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred hundreds
    thousand thousands million millions billion billions trillion dozen dozens couple pair trio handful single
    once twice thrice half halves halved halving third thirds quarter quarters fifth tenth tenths hundredth
    thousandth double doubled doubles doubling triple tripled triples tripling quadruple quadrupled quintuple
    fold percent percentage percents pct permille magnitude magnitudes first second fourth sixth seventh eighth
    ninth both neither either ii iii iv vi vii viii ix xi xii""".split()
)
"""Words that state a number; figures come from facts only."""

_NUMBER_STEMS = re.compile(
    r"^(twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|billion)"
    r"|(fold|teen|illion|tuple|tupled)$"
)

_JUDGEMENT_WORDS = frozenset(
    """better worse best worst top lag win won lead leads led leading leader ahead behind beat beaten more most
    less least fewer fewest higher highest lower lowest above below beyond under max min peak record gain grew
    grow rise rising rose risen fall fell drop drops dropped climb soar jump loses lost lose sped speed speeds
    slow slower slows same equal equals match close closer near far good bad great poor weak strong safe fast
    faster quick quickly cheap large larger big bigger huge tiny high low small smaller ideal wrong valid
    invalid sota luck lucky chance noise noisy random issue issues issuing recommend should must ought because
    due cause causes caused causing thanks hence thus therefore reason reasons owing result results resulted
    effect effects drove driven drives all every each none any many few several always never often rarely
    usually mostly only solely entire whole total some plenty not no nor without cannot cant isnt wasnt arent
    werent doesnt didnt hasnt havent wont lack lacks lacked absent missing except unless about around circa
    nearly almost roughly lately so ever yet world art""".split()
)
"""Words that judge, compare, explain, deny, or count without a figure."""

_JUDGEMENT_STEMS = tuple(
    """improv superior inferior outperform underperform surpass exceed dominat greater longer longest shorter
    shortest slowest fastest smallest biggest largest greatest maxim minim increas decreas declin reduc shrink
    shrank plung surg degrad deteriorat worsen boost accelerat similar identical compar differ alike signific
    converg diverg stable stabil unstab instab robust overfit underfit generali healthy reliab reproducib optim
    excellen strongly weakly success solv promis impress dramatic substantial slight considerabl notab remarkab
    marginal clear obvious certain definit conclus prove proof verif confirm demonstrat breakthrough perfect
    correct efficien effectiv expensiv smooth steady steadil consistent anomal normal abnormal outlier suspicio
    danger problem trouble plateau stall saturat consequen explain influenc impact driving attribut depend
    correlat enabl allow responsib majorit minorit numerous various multiple superb amazing stellar outstanding
    fantastic terrific wonderful awful terribl horribl disappoint brilliant unmatch unparallel unbeat unpreceden
    hardly barely scarcely approximat exactly precise likely probabl""".split()
)
"""Beginnings of such words."""

METRIC_NOUNS = frozenset(
    """loss accuracy acc error auc auroc perplexity ppl reward return bleu rouge precision recall specificity
    sensitivity mse rmse mae mape nll elbo iou dice score kappa regret entropy likelihood""".split()
)
"""Words that name a metric; a sentence may use them only beside a fact that is about it."""

SPLIT_WORDS = frozenset({"train", "val", "test", "dev", "eval", "holdout"})

SYNONYMS: Mapping[str, str] = {
    "training": "train",
    "validation": "val",
    "valid": "val",
    "testing": "test",
    "evaluation": "eval",
    "accuracy": "acc",
    "losses": "loss",
    "errors": "error",
    "average": "mean",
    "averaged": "mean",
    "failures": "failed",
    "failure": "failed",
    "crashes": "crashed",
    "completed": "finished",
    "finishes": "finished",
    "findings": "finding",
    "warnings": "warning",
    "repetitions": "repeats",
    "repeated": "repeats",
    "took": "duration",
    "lasted": "duration",
    "time": "duration",
    "improved": "improvement",
    "improvements": "improvement",
    "ranked": "rank",
    "ranks": "rank",
    "suggested": "suggestion",
    "suggestions": "suggestion",
    "forecasts": "forecast",
    "predicted": "forecast",
    "important": "importance",
    "matters": "importance",
    "mattered": "importance",
    "quartiles": "quartile",
    "parameters": "parameter",
    "hyperparameter": "parameter",
    "hyperparameters": "parameter",
    "seeds": "seed",
    "count": "number",
    "combined": "together",
    "altogether": "together",
    "runtime": "duration",
    "take": "duration",
    "takes": "duration",
    "repetition": "repeats",
    "repeat": "repeats",
    "suggests": "suggestion",
    "proposed": "suggestion",
    "proposal": "suggestion",
    "prediction": "forecast",
    "predicts": "forecast",
    "expected": "forecast",
    "configurations": "configuration",
    "experiments": "experiment",
    "learnt": "learned",
}
"""Words that mean the same, by the one that labels use."""

ASPECT_WORDS = frozenset(
    """best worst median mean baseline runner finished failed crashed pruned running waiting finding warning noise
    repeats duration improvement gain gap rank suggestion forecast importance quartile parameter lowest highest
    last lower upper seed""".split()
)
"""Words that say which figure it is; allowed only where the fact's label has them, whatever else they mean."""


NEUTRAL = frozenset(
    """a an the this it its they them their that which there s is was are were be been being has had have having
    of in on at by for from to with over among after across during as within out up than between and while but whereas
    run runs experiment value values figure figures
    reached reaches reach achieved achieves obtained came come comes stand stands holds lies lie gave gives recorded
    reported reports found seen contains includes include covers concern concerns set sets setting settings used uses
    ended belongs
    also now currently then so_far""".split()
)
"""Words that name no quantity and may stand beside any fact; every other word must be licensed by one."""

RELATED: Mapping[str, tuple[str, ...]] = {
    "lr": ("learning", "rate"),
    "wd": ("weight", "decay"),
    "bs": ("batch", "size"),
    "gain": ("improvement",),
    "since": ("ago", "stood"),
    "learned": ("based",),
    "best": ("configuration",),
    "baseline": ("configuration",),
}
"""Words that a word of a label stands for as well, besides its synonyms."""

COUNTED: Mapping[str, str] = {
    "run": "runs",
    "runs": "runs",
    "finding": "findings",
    "findings": "findings",
    "warning": "findings",
    "warnings": "findings",
    "errors": "findings",
    "configuration": "configurations",
    "configurations": "configurations",
    "times": "times",
    "point": "points",
    "points": "points",
    "step": "steps",
    "steps": "steps",
    "repeat": "repeats",
    "repeats": "repeats",
    "repetition": "repeats",
    "repetitions": "repeats",
    "parameter": "parameters",
    "parameters": "parameters",
    "experiments": "experiments",
    "values": "values",
}
"""Nouns that a count may be of, by the unit they stand for."""

MARKS = frozenset("best worst median mean baseline runner last lowest highest".split())
"""Words that tell the values of a metric from each other."""

STATES = frozenset("finished failed crashed pruned running waiting".split())

COPULAS = frozenset({"is", "was", "are", "were", "be", "been", "being"})


def canonical(word: str) -> str:
    """Return the word that labels use for this one.

    >>> canonical("validation"), canonical("lr")
    ('val', 'lr')
    """
    return SYNONYMS.get(word, word)


def is_number_word(word: str) -> bool:
    """Return whether a lower-case word states a number.

    >>> is_number_word("ninetyfive"), is_number_word("tenfold"), is_number_word("often")
    (True, True, False)
    """
    return word in NUMBER_WORDS or bool(_NUMBER_STEMS.search(word))


def is_judgement(word: str) -> bool:
    """Return whether a lower-case word judges, compares, explains or counts without a figure.

    >>> is_judgement("outperformed"), is_judgement("significantly"), is_judgement("reached")
    (True, True, False)
    """
    return word in _JUDGEMENT_WORDS or word.startswith(_JUDGEMENT_STEMS)
