"""The words that an opinion of a language model may be made of, and what is wrong with one that is not.

Opinion is not checked for truth, and shown as unverified; so that nothing that somebody wrote into a note can be
passed on through it (a code word, a name, a link), it is written with the words of a closed vocabulary: plain
English and the field's own. Pure. Invariant: an opinion without problems holds no figure, no placeholder, no
markup, and no word that is not in here.
"""

from __future__ import annotations

import re
from typing import Final

from advisor.documents.lexicon import is_number_word

MAX_OPINION: Final = 300
"""Characters of an opinion."""

_PLAIN: Final = """
a able about above according across act actual add additional adjust after again against ago agree aim alike all allow
almost along already also although always among an and another any anything apart appear apply approach are area argue
around arrive as aside ask aspect assume at attempt attention available avoid away aware back bad balance barely base
basic be bear because become before begin behave behavior behaviour behind being believe below benefit beside best
better between beyond big bit both bound break brief bring broad build but by call can candidate careful carry case
catch cause caution center central certain challenge chance change characteristic cheap check choice choose chose
chosen clear close closely cluster collect combine come common compare complete complex concern conclude condition
confident confirm confuse connect consider consist consistent constant continue contrast contribute control cost could
count couple course cover current cut damage date deal decide decision decrease deep define degree delay depend
describe deserve desire detail determine develop difference different difficult direct direction discover do does
doubt down drive drop due during each early ease easy edge effect effective effort either else encourage end enough
ensure entire equal especially establish estimate even evenly eventual ever every evidence exact examine example
except exist expand expect expensive experience explain explore extend extra extreme face fact fail failure fair fall
familiar far fast favor favour feature few field figure fill final find fine finish first fit fix flat focus follow
for force form forward found free frequent from full further future gain gap general gentle get give given go goal
good gradual great ground group grow guess guide had half hand happen hard has have he heavy help hence her here
hesitate high hint hold hope how however huge hurt i idea ideal identical identify if ignore imply important
impossible improve in inconclusive include increase indeed indicate influence information initial inside insight
instance instead intend interest interesting interpret into investigate involve is issue it its itself join judge just
keep kind know known lack large last late later lead learn least leave left less let level lie light like likely limit
line list little local long look lose lot low main maintain major make many mark match matter may maybe mean
meaningful measure medium mention merely middle might mild mind minor miss mix moderate modest moment more most mostly
move much must my narrow natural near necessary need negative neither never new next no none nor normal not note
nothing notice now number obvious occur odd of off offer often old on once one only onto open opinion opportunity
option or order ordinary other otherwise ought our out outcome over overall own part particular past path pattern pay
people per perhaps period pick picture place plain plan plausible play point poor position positive possible potential
practical precise prefer present presumably pretty prevent previous principle probable probably problem process
produce progress promise promising prompt proper prove provide purpose push put quality question quick quiet quite
range rare rather reach read ready real reason reasonable recent recommend record reduce refine reflect regard region
regular related relation relative reliable rely remain remark repeat replace report require rest restrict result
return reveal right rise risk risky rough round safe same sample save say scale second see seem seen select sense
sensible sensitive separate serious set settle several shape share sharp shift short should show side sign significant
similar simple simply since single situation size slight slow small smooth so solid some something sometimes somewhat
soon source space speak special specific speed spend spread stable stage stand start state stay steady steep step
still stop straightforward strange strategy strength strong stronger study subtle such sudden suffer sufficient
suggest suit suitable sum support sure surprise surprising suspect sweet spot take tell tempt tend term than that the
their them themselves then there therefore these they thing think this those though thought through thus tight time to
together too top total touch toward towards transfer treat trend trial tried trouble true trust try turn two type
typical under understand unclear uncertain unexpected unlikely until unusual up upon us use useful usual value vary
verify very view volatile wait want warrant was watch way we weak well were what when where whether which while who
whole whose why wide will wise with within without wonder word work worry worse worst worth worthwhile would yes yet
yield you your
"""
_FIELD: Final = """
accuracy activation adam adamw adaptive aggressive algorithm anneal anomaly architecture artifact attention
augmentation augment average backbone baseline batch beta bias bounded budget capacity checkpoint class classification
classifier clip clipping collapse compute configuration constraint converge convergence cosine crash curve data
dataset decay decoder default depth deviation dimension distribution divergence diverge dropout dynamics embedding
encoder epoch error evaluate evaluation experiment exponential factor finding finetune forecast generalise generalize
generalisation generalization gradient grid head hidden hyperparameter importance improvement inference initialisation
initialization instability iteration kernel label layer learner learning linear logarithmic log loss machine magnitude
median memory metric mini model momentum network neural noise noisy norm normalisation normalization objective optimal
optimise optimize optimiser optimizer optimum oscillate oscillation outlier overfit overfitting parameter performance
plateau precision predict prediction prior probe pruned prune pruning quartile random rate ratio recall regime
regression regularisation regularization regularise regularize reproduce reproducible residual resolution robust run
sampler sampling saturate saturation schedule scheduler score search seed sequence setting sgd simulation slope
softmax sparse spike split stability stagnate standard statistical stochastic suggestion sweep target task temperature
test threshold train training transformer trade tune tuner tuning underfit underfitting unstable uncertainty update
validation variance variation warmup weight width
"""
VOCABULARY: Final = frozenset(_PLAIN.split()) | frozenset(_FIELD.split())
"""Words in their plain form; their plain inflections count as well."""

_WORD: Final = re.compile(r"[a-z]+")
_ENDINGS: Final = (
    ("", ""), ("s", ""), ("es", ""), ("es", "e"), ("ies", "y"), ("ed", ""), ("ed", "e"), ("ied", "y"), ("d", ""),
    ("ing", ""), ("ing", "e"), ("er", ""), ("er", "e"), ("ier", "y"), ("r", ""), ("est", ""), ("est", "e"),
    ("iest", "y"), ("ly", ""), ("ly", "le"), ("ily", "y"), ("ally", "al"), ("t", ""), ("n", ""), ("en", ""),
)  # fmt: skip
_DOUBLED: Final = re.compile(r"([bdgmnprt])\1(?:ed|ing|er|est)$")


def is_plain_word(word: str) -> bool:
    """Return whether a lower-case word is one of the vocabulary, or a plain inflection of one.

    >>> [is_plain_word(word) for word in ("rates", "stopped", "easier", "likely", "zebra")]
    [True, True, True, True, False]
    """
    if (found := _DOUBLED.search(word)) and word[: found.start() + 1] in VOCABULARY:
        return True
    return any(
        word.endswith(ending) and word[: len(word) - len(ending)] + instead in VOCABULARY
        for ending, instead in _ENDINGS
    )


def word_problems(text: str) -> list[str]:
    """Return the words of an opinion that state a number, or are not in the vocabulary."""
    words = _WORD.findall(text.lower().replace("\u2019", "'").replace("n't", " not").replace("'s", " "))
    numbers = [f"number-word:{word}" for word in words if _states_a_number(word)]
    return numbers + [f"unknown-word:{word}" for word in words if not is_plain_word(word)]


_PLAIN_NUMBERS: Final = frozenset("one first second single both neither either once couple".split())
"""Words that state a number to a verifier of figures, and none in an opinion."""


def _states_a_number(word: str) -> bool:
    return is_number_word(word) and word not in _PLAIN_NUMBERS
