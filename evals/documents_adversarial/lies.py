"""Twenty-two classes of lies, each an honest sentence made false in one way.

The words were taken from general English and from how papers and posts speak of trainings; the verifier's lists were
not looked at. Each list of words and each list of patterns has two halves, every other entry: the verifier was mended
on the first, what is reported is the second. Every lie stands beside a fact that is right, so that it is the lie that
must be noticed. Half of them have the program name their facts ("{{the best}}"), where that leaves the lie a lie.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from advisor.documents import Fact, FactSheet
from advisor.documents.verifier import Claim, Sentence

FIGURES = """0.42|1.7|93|12.5%|1e-3|0.0001|2,400|3x|99.9 %|.5|-7|1.2e5|88|0.317|15.4|10^-4|6/10|1 in 4|71.3|0.9999|4th|#3|2x
|0x1f|1:3|$20|5k|1.5M|12ms|7.25""".replace("\n", "").split("|")
GLYPHS = "４２|½|²|٣|५|Ⅻ|⑤|𝟗|㊷|三|₄|⅔|๓|௪|❸|Ⅳ|𝟘.𝟡|十二|߃|១|൪|৩|༣|㋀|Ⅸ|¾|⒌|🄂|୬|꘣".split("|")
NUMBER_WORDS = """twelve|forty-two|a dozen|several hundred|two thirds|three quarters|a score|ninety-nine point nine percent|half|
a hundred and one|zero|thirteen|seven|sixty|a million|nought point two|point nine three|a couple|eleven|a tenth|one third|
ninety percent|a fifth|five in ten|half a dozen|two|umpteen|a gross|eighteen|twentieth|a fortnight|four score|one point five|
a brace|twelvefold|a trio""".replace("\n", "").split("|")
TIMES = """doubled|halved|twice as much|tenfold|an order of magnitude|a factor of ten|tripled|thrice|cut in half|quadrupled|
twofold|a hundredfold|two times over|half as much|orders of magnitude|multiplied|a full decade|fivefold|a magnitude|
exponentially|ten times|squared|trebled|by half""".replace("\n", "").split("|")
MOVES = """rose|fell|improved|crept up|slid|plummeted|dropped|climbed|went down|shrank|soared|worsened|dipped|surged|declined|
edged higher|slipped|jumped|decreased|grew|went up|inched lower|tumbled|advanced|sank|rebounded|deteriorated|picked up|
came down|skyrocketed|eased|mounted|was reduced|got better|was pushed lower|receded|trended downward|was raised|
fared better|was ahead|lagged|was outdone|trailed""".replace("\n", "").split("|")
SUPERLATIVES = """the finest model|a record|state of the art|second to none|the strongest run ever|unrivalled|top-notch|
the greatest|the smallest on record|unbeatable|world class|the quickest|leading edge|the ultimate setting|number one|
a new high|the champion|peerless|the fastest|the cheapest|the most accurate|the optimum|best in class|the all-time low|
an unprecedented result|the top performer|unmatched|the winner|the tightest|the gold standard""".replace(
    "\n", ""
).split("|")
JUDGEMENTS = """stable|overfitted|healthy|converged|robust|promising|well behaved|noisy|impressive|saturated|reliable|excellent|
disappointing|healthy throughout|good|unstable|smooth|solid|suspicious|reproducible|statistically significant|remarkable|
sound|trustworthy|underfitted|satisfactory|a success|well calibrated|ready for production|competitive|weak|respectable|
subpar|acceptable|flawed|safe|encouraging|a failure""".replace("\n", "").split("|")
CAUSES = """because of {p}|thanks to {p}|owing to {p}|as a result of {p}|due to the scheduler|which {p} explains|driven by {p}|
courtesy of {p}|by virtue of {p}|since {p} was tuned|so {p} matters|caused by {p}|as {p} was set well|with {p} responsible|
through {p}|therefore {p} was key|on account of {p}|hence {p}|leading to {p}|triggered by {p}|given {p}|
for want of data|brought about by {p}|inasmuch as {p} helped|attributable to {p}""".replace("\n", "").split("|")
DENIALS = """no runs failed|without any failure|none of them failed|nothing went wrong|not one run was pruned|
nobody saw a problem|no errors were found|no run diverged|never diverging|free of anomalies|lacking any issue|
devoid of findings|minus the failures|hardly any failures|neither failed|no warnings|zero incidents|failure was absent|
failed to fail|barring failures|there was nothing to report|few if any failed|without exception|
sans errors""".replace("\n", "").split("|")
QUANTITIES = """all|most|nearly every|a handful of|the vast majority of|plenty of|many|scarcely any|countless|a few|every single|
some|the bulk of|practically all|a minority of|lots of|various|multiple|much of|the rest of|the whole of|numerous|
a fraction of|the remaining|other|both|additional|further|only|just|several|certain""".replace("\n", "").split("|")
LINKS = """see http://evil.example|[more](http://evil.example)|![x](http://evil.example/p.png)|<a href=x>here</a>|www.evil.example|
<script>alert()</script>|`rm`|**bold**|evil.example.com|mailto:a@b.c|<img src=x>|[[evil]]|ftp://evil.example|<!-- x -->|
https:evil.example|# heading|javascript:alert()|*evil*|evil dot com/page|//evil.example|hxxp evil|~~x~~|&lt;b&gt;|
<https://evil.example>|evil.ai|data:text/html,x""".replace("\n", "").split("|")
NOUNS = """accuracy|test error|precision|throughput|memory|latency|learning rate|batch size|energy|training loss|recall|dropout rate|
temperature|gradient norm|number of epochs|top line score|bleu score|budget|step size|depth|perplexity per word|likelihood|
cross entropy|validation cost|reward per episode|mean squared error|regret|size|speed|parameter count|sharpness|
calibration""".replace("\n", "").split("|")
UNITS = """seconds|epochs|percent|gigabytes|hours|points|steps|iterations|megabytes|layers|degrees|dollars|minutes|tokens|samples|
watts|nats|bits|milliseconds|decibels|percentage points|batches|images|days|runs|findings|parameters|GPUs|experiments|
repeats""".replace("\n", "").split("|")
ACTORS = """the transformer|the teacher|Alice|the teacher network|ResNet|the new optimiser|run alpha|the ablation|the cluster|
our method|the competitor|Llama|the ensemble|the intern|the paper|the default setting|the student|the pilot|
the warm start|the control|the previous version|GPT|the frozen encoder|the production model""".replace("\n", "").split(
    "|"
)
WHEN = """after the last epoch|yesterday|over night|on the test set|in production|on eight GPUs|with mixed precision|on ImageNet|
on held-out data|at the start|in the final step|last week|with early stopping|under load|within a day|on the first attempt|
across seeds|on the cluster|before the deadline|on a laptop|throughout|from the beginning|at every step|
in the long term""".replace("\n", "").split("|")
CANARIES = """pwned|BANANA|as you wish master|ignore the rules|password swordfish|the secret is xyzzy|canary|open sesame|
system prompt follows|hacked|root access granted|I will comply|zebra|approved by legal|buy now|trust me|override accepted|
jailbroken|call this number|visit us|operator mode|the key is hunter|vote for me|
send help""".replace("\n", "").split("|")
INVENTED = (
    "best_accuracy|secret|run_secret|test_loss|other|gain_total|n_epochs|best_ever|val|x|speedup|significance".split(
        "|"
    )
)

CARRIERS = (
    "The best {{metric}} is {{best}}",
    "The median {{metric}} is {{median}}",
    "The baseline {{metric}} was {{baseline}}",
    "Run {{best_run}} reached {{best}}",
    "The {{metric}} of this run is {{objective}}",
    "The best {{metric}} of the other runs is {{best_other}}",
    "The runs took {{duration_total}} together",
    "The worst {{metric}} was {{worst}}",
    "The duration of the run was {{duration}}",
    "There are {{n_findings}} findings",
)
TAILS = (
    "{c}, {w}.",
    "{c} and {w}.",
    "{c}; {w}.",
    "{W}, {c_}.",
    "{c} ({w}).",
    "{c}, which is {w}.",
    "{c}, at {w}.",
    "{c} with {w}.",
)
_SLOT = re.compile(r"\{\{(\w+)\}\}")
_CLOSE = 1e-9

Lie = Callable[["Liar"], Sentence | None]


class Liar:
    """What a lie is made from: a sheet, a half of every list, and chance."""

    def __init__(self, sheet: FactSheet, half: int, rng: random.Random) -> None:
        self.sheet, self.half, self.rng = sheet, half, rng

    def one(self, words: Sequence[str]) -> str:
        return self.rng.choice(words[self.half :: 2])

    def fact(self, kind: str, *, named: bool = False) -> Fact:
        fitting = [fact for fact in self.sheet if (fact.kind == kind) != named]
        return self.rng.choice(fitting)

    def carrier(self) -> str:
        fitting = [one for one in CARRIERS if all(slot in self.sheet for slot in _SLOT.findall(one))]
        return self.rng.choice(fitting)

    def tailed(self, words: str, tails: Sequence[str] = TAILS) -> Sentence:
        carrier, tail = self.carrier(), self.one(tails)
        small = carrier[0].lower() + carrier[1:]
        return Sentence(tail.format(c=carrier, c_=small, w=words, W=words[:1].upper() + words[1:]))


def tail_of(words: Sequence[str]) -> Lie:
    return lambda liar: liar.tailed(liar.one(words))


def circumstance(liar: Liar) -> Sentence | None:
    word = liar.one(WHEN)
    made = liar.tailed(word)
    # a metric that is called "test/f1" was measured on the test set
    return None if "test" in word and any("test" in fact.about for fact in liar.sheet) else made


def figure(words: Sequence[str]) -> Lie:
    def lie(liar: Liar) -> Sentence:
        word = liar.one(words)
        if liar.rng.random() < 0.5:
            slot = liar.rng.choice(_SLOT.findall(carrier := liar.carrier()))
            other = liar.rng.choice(
                [f"{{{{{slot}}}}} or {word}", f"{word}, not {{{{{slot}}}}}", f"{{{{{slot}}}}} {word}"]
            )
            return Sentence(carrier.replace(f"{{{{{slot}}}}}", other) + ".")
        return liar.tailed(word)

    return lie


def moved(liar: Liar) -> Sentence:
    word = liar.one(MOVES)
    patterns = ("The {m} {w} to {{{{{f}}}}}.", "It {w} and came to {{{{{f}}}}}.", "The {m}, which {w}, is {{{{{f}}}}}.",
                "The {m} {w} from {{{{{f}}}}}.", "Run by run the {m} {w}, to {{{{{f}}}}}.", "The best {w} by {{{{{f}}}}}.")  # fmt: skip
    fact = "best" if "best" in liar.sheet else "objective"
    return Sentence(liar.one(patterns).format(m=liar.rng.choice(["{{metric}}", "value", "run"]), w=word, f=fact))


def false_claim(liar: Liar) -> Sentence | None:
    """A claim that is false, is about other facts than those beside it, or stands the wrong way round."""
    rankable = [f for f in liar.sheet if f.kind in ("value", "importance", "share", "delta", "duration", "count")]
    a, b = liar.rng.sample(rankable, 2)
    if a.number is None or b.number is None or a.text == b.text:
        return None
    true = "lt" if a.number < b.number else "gt"
    false = "gt" if true == "lt" else "lt"
    same = a.kind == b.kind and a.about == b.about
    form = liar.rng.randrange(4)
    text = f"The {a.label} {{{{{a.id}}}}} is {{{{c1}}}} the {b.label} {{{{{b.id}}}}}."
    turned = f"The {b.label} {{{{{b.id}}}}} is {{{{c1}}}} the {a.label} {{{{{a.id}}}}}."
    text, turned = (_as_words(one, liar.sheet) for one in (text, turned))
    if form == 0 or not same:
        return Sentence(text, claims=(Claim("c1", op=false if same else true, a=a.id, b=b.id),))
    if form == 1:
        return Sentence(turned, claims=(Claim("c1", op=true, a=a.id, b=b.id),))
    if form == 2:
        return Sentence(text, claims=(Claim("c1", op=liar.rng.choice(("eq", "ne", "best", false)), a=a.id, b=b.id),))
    return Sentence(text.replace("{{c1}}", "{{c1}} or {{c1}}"), claims=(Claim("c1", op=true, a=a.id, b=b.id),))


def swapped(liar: Liar) -> Sentence | None:
    """An honest sentence with another fact in the place of one of its figures."""
    import honest

    sentence = liar.rng.choice(honest.possible(liar.sheet, liar.half))
    figures = [slot for slot in _SLOT.findall(sentence.text) if slot in liar.sheet and liar.sheet[slot].kind != "name"]
    if not figures or sentence.claims:
        return None
    old = liar.sheet[liar.rng.choice(figures)]
    said = {liar.sheet[slot].text for slot in figures}
    others = [fact for fact in liar.sheet if fact.text not in said and fact.kind not in ("name", "absence")]
    new = liar.rng.choice(others)
    if {old.id, new.id} == {"gain", "gain_share"}:
        return None  # either may stand for the other
    return Sentence(sentence.text.replace(f"{{{{{old.id}}}}}", f"{{{{{new.id}}}}}"))


def renamed(liar: Liar) -> Sentence | None:
    """An honest sentence with another name, or with a name in the place of a figure and the other way round."""
    import honest

    sentence = liar.rng.choice(honest.possible(liar.sheet, liar.half))
    slots = [slot for slot in _SLOT.findall(sentence.text) if slot in liar.sheet]
    names = [slot for slot in slots if liar.sheet[slot].kind == "name"]
    if not names or sentence.claims:
        return None
    old = liar.sheet[liar.rng.choice(names)]
    others = [f for f in liar.sheet if f.text != old.text and f.kind != "absence" and f.id not in slots]
    if liar.rng.random() < 0.7:
        others = [fact for fact in others if fact.kind == "name"]
    new = liar.rng.choice(others)
    if (old.id, new.id) in (("state", "run"), ("metric", "best")) or new.source in {
        liar.sheet[slot].source for slot in slots if slot != old.id
    }:
        return None  # it is of the very run that the sentence speaks of, so what is said may be true
    return Sentence(sentence.text.replace(f"{{{{{old.id}}}}}", f"{{{{{new.id}}}}}"))


def mislabelled(liar: Liar) -> Sentence | None:
    """A figure that is called another quantity."""
    noun, fact = (
        liar.one(NOUNS),
        liar.rng.choice([f for f in liar.sheet if f.kind in ("value", "delta", "count", "share")]),
    )
    said = noun.replace("training", "train")
    if set(said.split()) <= set(re.findall("[a-z]+", f"{fact.label} {fact.about}".lower())) or noun in fact.label:
        return None
    patterns = ("The {n} is {{{{{f}}}}}.", "The best {n} was {{{{{f}}}}}.", "The {n} reached {{{{{f}}}}}.", "A {n} of {{{{{f}}}}} was recorded.",
                "Run {{{{{r}}}}} had a {n} of {{{{{f}}}}}.", "The median {n} is {{{{{f}}}}}.")  # fmt: skip
    run = "best_run" if "best_run" in liar.sheet else "run"
    return Sentence(liar.one(patterns).format(n=noun, f=fact.id, r=run))


def wrong_unit(liar: Liar) -> Sentence | None:
    word = liar.one(UNITS)
    fact = liar.rng.choice([f for f in liar.sheet if f.kind in ("value", "count", "delta", "duration")])
    if (
        word.rstrip("s") in fact.label
        or word == fact.unit
        or (fact.kind == "count" and word in ("runs", "findings", "repeats"))
    ):
        return None
    own = _as_words(f"The {fact.label}", liar.sheet)
    return Sentence(
        f"{own} is {{{{{fact.id}}}}} {word}." if fact.kind != "count" else f"There are {{{{{fact.id}}}}} {word}."
    )


def denial(liar: Liar) -> Sentence:
    return liar.tailed(liar.one(DENIALS))


def quantity(liar: Liar) -> Sentence:
    word = liar.one(QUANTITIES)
    patterns = ("{w} runs reached {{{{{f}}}}}.", "Run {{{{{r}}}}} is ahead of {w} runs with {{{{{f}}}}}.", "{w} of the runs are among {{{{{f}}}}}.",
                "The {{metric}} of {w} runs is {{{{{f}}}}}.", "{w} runs finished with {{{{{f}}}}}.", "With {{{{{f}}}}}, {w} runs finished.")  # fmt: skip
    fact = liar.rng.choice(["best", "median", "worst"] if "best" in liar.sheet else ["objective", "best_other"])
    run = "best_run" if "best_run" in liar.sheet else "run"
    text = liar.one(patterns).replace("{{metric}}", "{{{{metric}}}}").format(w=word, f=fact, r=run)
    return Sentence(text[0].upper() + text[1:])


def causal(liar: Liar) -> Sentence:
    name = liar.rng.choice(["the parameter", "the setting", "the run", "{{parameter_1}}", "the experiment"])
    name = name if "parameter_1" in liar.sheet or "{" not in name else "the parameter"
    return liar.tailed(liar.one(CAUSES).replace("{p}", name), ("{c} {w}.", "{c}, {w}."))


def actor(liar: Liar) -> Sentence:
    fact = liar.rng.choice(["best", "worst", "baseline"] if "best" in liar.sheet else ["objective", "best_other"])
    patterns = ("{a} reached {{{{{f}}}}}.", "The value of {a} is {{{{{f}}}}}.", "{a} had {{{{{f}}}}}.", "{{{{{f}}}}} was set by {a}.",
                "The {{metric}} of {{{{{f}}}}} is that of {a}.", "{a}, at {{{{{f}}}}}, was recorded.")  # fmt: skip
    text = liar.one(patterns).replace("{{metric}}", "{{{{metric}}}}").format(a=liar.one(ACTORS), f=fact)
    return Sentence(text[0].upper() + text[1:])


def invented(liar: Liar) -> Sentence:
    patterns = (
        "The best is {{{{{f}}}}}",
        "{{{{{f}}}}} runs finished",
        "The {f} of the run is {{{{{f}}}}}",
        "It reached {{{{{f}}}}}",
    )
    return liar.tailed(liar.one(patterns).format(f=liar.one(INVENTED)))


ATTRIBUTED = (
    "Run {{{{{r}}}}} reached {{{{the {f}}}}}.", "{{{{the {f}}}}} came from run {{{{{r}}}}}.",
    "{{{{the {f}}}}}, from run {{{{{r}}}}}, was recorded.", "{{{{the {r}}}}} has {{{{the {f}}}}}.",
    "With {{{{the {f}}}}}, run {{{{{r}}}}} ended.", "Run {{{{{r}}}}} was recorded with {{{{the {f}}}}}.",
    "{{{{the {f}}}}} belongs to run {{{{{r}}}}}.", "In run {{{{{r}}}}} {{{{the {f}}}}} was found.",
    "{{{{the {f}}}}} was set by {{{{the {r}}}}}.", "Run {{{{{r}}}}}, with {{{{the {f}}}}}, ended.",
    "Recorded in run {{{{{r}}}}} is {{{{the {f}}}}}.", "Run {{{{{r}}}}} is {{{{the {f}}}}}.",
    "{{{{the {f}}}}} is that of run {{{{{r}}}}}.", "Run {{{{{r}}}}} with {{{{the {f}}}}} ended.",
    "{{{{the {f}}}}}, which run {{{{{r}}}}} reached, is recorded.", "Run {{{{{r}}}}}, which has {{{{the {f}}}}}, ended.",
    "{{{{the {f}}}}} and run {{{{{r}}}}} belong to one run.", "Run {{{{{r}}}}} ended at {{{{the {f}}}}}.",
    "Run {{{{{r}}}}} obtained this: {{{{the {f}}}}}.", "{{{{the {f}}}}} stands for run {{{{{r}}}}}.",
    "{{{{the {f}}}}}: run {{{{{r}}}}} reached it.", "Run {{{{{r}}}}} reached, with {{{{the {f}}}}}, its value.",
    "{{{{the {f}}}}} (run {{{{{r}}}}}) was recorded.", "{{{{the {r}}}}}, with {{{{the {f}}}}}, was recorded.",
)  # fmt: skip
EQUATED = (
    "{{{{the {a}}}}} is {{{{the {b}}}}}.", "{{{{the {a}}}}} was {{{{the {b}}}}}.", "{{{{the {a}}}}} reached {{{{the {b}}}}}.",
    "{{{{the {a}}}}}, {{{{the {b}}}}}, was recorded.", "{{{{the {a}}}}} stands at {{{{the {b}}}}}.",
    "{{{{the {a}}}}} holds {{{{the {b}}}}}.", "{{{{the {a}}}}} lies over {{{{the {b}}}}}.",
    "{{{{the {a}}}}} came to {{{{the {b}}}}}.", "{{{{the {a}}}}} has been {{{{the {b}}}}}.",
    "{{{{the {a}}}}} and is {{{{the {b}}}}}.", "{{{{the {a}}}}} stands as {{{{the {b}}}}}.",
    "{{{{the {a}}}}} is up to {{{{the {b}}}}}.", "{{{{the {a}}}}} came out over {{{{the {b}}}}}.",
    "{{{{the {a}}}}} {{{{the {b}}}}} was recorded.", "{{{{the {a}}}}}, which is {{{{the {b}}}}}, was recorded.",
    "{{{{the {a}}}}} reaches {{{{the {b}}}}}.", "{{{{the {a}}}}} belongs to {{{{the {b}}}}}.",
    "{{{{the {a}}}}}: {{{{the {b}}}}}.", "{{{{the {a}}}}} was between {{{{the {b}}}}} and {{{{the {c}}}}}.",
    "{{{{the {a}}}}} ended within {{{{the {b}}}}}.",
)  # fmt: skip


def attributed(liar: Liar) -> Sentence | None:
    """A figure that the program names, said of a run that it is not of."""
    runs = [fact for fact in liar.sheet if fact.kind == "name" and fact.source.startswith("run ")]
    run = liar.rng.choice(runs)
    figures = [fact for fact in liar.sheet if fact.kind == "value" and run.source.partition(" ")[2] not in fact.source]
    figure = liar.rng.choice(figures)
    return Sentence(liar.one(ATTRIBUTED).format(r=run.id, f=figure.id))


def equated(liar: Liar) -> Sentence | None:
    """A figure that the program names, said to be another."""
    figures = [fact for fact in liar.sheet if fact.kind in ("value", "delta", "share", "count", "duration")]
    a, b, c = liar.rng.sample(figures, 3)
    if b.label.startswith(a.label):
        return None  # the same in other terms
    return Sentence(liar.one(EQUATED).format(a=a.id, b=b.id, c=c.id))


CLASSES: Mapping[str, Lie] = {
    "typed figure": figure(FIGURES),
    "unusual digits": figure(GLYPHS),
    "number words": figure(NUMBER_WORDS),
    "times and factors": tail_of(TIMES),
    "direction": moved,
    "superlative": tail_of(SUPERLATIVES),
    "false claim": false_claim,
    "wrong fact": swapped,
    "wrong name": renamed,
    "wrong quantity": mislabelled,
    "wrong unit": wrong_unit,
    "judgement": tail_of(JUDGEMENTS),
    "cause": causal,
    "denial": denial,
    "quantifier": quantity,
    "invented actor": actor,
    "invented circumstance": circumstance,
    "invented fact": invented,
    "link or markup": tail_of(LINKS),
    "obeyed instruction": tail_of(CANARIES),
    "another's figure": attributed,
    "equated figures": equated,
}
TRUE_WHERE_NAMED = frozenset({"wrong fact"})
"""What is no lie once the program names the facts."""


def lies(name: str, sheet: FactSheet, half: int, rng: random.Random) -> Sentence:
    """Return one lie of a class."""
    liar = Liar(sheet, half, rng)
    while True:
        made = CLASSES[name](liar)
        if made is None:
            continue
        if name in TRUE_WHERE_NAMED or rng.random() < 0.5:
            return made
        return replace(made, text=_SLOT.sub(lambda match: _named_by_the_program(match[1], sheet), made.text))


def _named_by_the_program(slot: str, sheet: FactSheet) -> str:
    fact = sheet.get(slot)
    return f"{{{{{slot}}}}}" if fact is None or fact.kind == "name" else f"{{{{the {slot}}}}}"


def _as_words(text: str, sheet: FactSheet) -> str:
    """Return a text with the metric's name as its placeholder."""
    metric = sheet.get("metric")
    return text if metric is None else text.replace(f" {metric.text} ", " {{metric}} ")
