"""What people noted of real runs, and how they ask for it again: written by hand.

Each topic has a condition on a run's real curves and parameters (``conditions.py``), eight notes as colleagues would
write them onto runs that meet it, questions that repeat words of one note, the same questions misspelt, and
paraphrases to develop with. The held-out paraphrases are in ``held_out.py`` and were written from what strangers said
in public threads, not from these notes.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    _: KW_ONLY
    notes: tuple[str, ...]
    """Eight wordings."""
    same: tuple[tuple[str, int], ...]
    """Questions in the words of a note, and that note's place."""
    typos: tuple[tuple[str, int], ...]
    """The same, misspelt by hand."""
    paraphrases: tuple[str, ...]
    """For development only."""


TOPICS = (
    Topic(
        "nan",
        notes=(
            "Went to NaN, killed the rest of the sweep around this point.",
            "loss is nan from here on, probably fp16 overflow",
            "numbers overflowed, everything after that is garbage",
            "Inf in the train loss, then nothing but nans.",
            "not a single finite value in the last third of the curve",
            "blew up numerically; the softmax logits must be huge",
            "NaNs again!! same as last week, need a guard in the loss",
            "metric turned undefined, division by zero suspected in the normaliser",
        ),
        same=(("probably fp16 overflow", 1), ("softmax logits huge", 5), ("division by zero in the normaliser", 7)),
        typos=(("probaly fp16 overlfow", 1), ("sofmax logitz huge", 5), ("divison by zero in the normalizr", 7)),
        paraphrases=("the training ended in not-a-number values", "objective stopped being a real number"),
    ),
    Topic(
        "diverged",
        notes=(
            "diverged after a good start, ended far above where it began",
            "validation loss ran away and never came back",
            "Exploded. Went up by orders of magnitude.",
            "started fine, then the curve climbs without end",
            "worse at the end than at initialisation, useless",
            "training destabilised, loss heading for the moon",
            "unlearned everything it knew halfway through",
            "completely unstable, error keeps growing",
        ),
        same=(("ran away and never came back", 1), ("heading for the moon", 5), ("unlearned everything halfway", 6)),
        typos=(("ran awya and nevr came back", 1), ("headign for the mooon", 5), ("unlerned everyting halfway", 6)),
        paraphrases=("optimisation fell apart and the objective rose", "the error increased instead of shrinking"),
    ),
    Topic(
        "overfit",
        notes=(
            "overfits from the middle on, should have stopped early",
            "memorises the training set, held-out numbers get worse",
            "train keeps improving but validation turned upward",
            "classic gap opening up: needs more regularisation or augmentation",
            "best checkpoint is long before the end, afterwards it only fits noise",
            "generalisation got worse while the fit got better",
            "learned the examples by heart",
            "val curve is U-shaped, take the early checkpoint",
        ),
        same=(
            ("more regularisation or augmentation", 3),
            ("learned the examples by heart", 6),
            ("U-shaped val curve", 7),
        ),
        typos=(("more regularistion or augmentaton", 3), ("lerned the exmples by hart", 6), ("U-shapd val crve", 7)),
        paraphrases=("fits the data it saw but not new data", "performance on unseen samples deteriorates late"),
    ),
    Topic(
        "never learned",
        notes=(
            "did not learn a thing, flat line from step one",
            "stuck at chance level the whole time",
            "loss never moved, are the gradients even reaching the weights?",
            "dead from the start",
            "as good as random guessing until the end",
            "no progress at all, the curve is horizontal",
            "model outputs a constant, nothing is being optimised",
            "could as well not have trained, final equals initial",
        ),
        same=(("stuck at chance level", 1), ("gradients reaching the weights", 2), ("model outputs a constant", 6)),
        typos=(("stuk at chanse level", 1), ("gradeints reching the wieghts", 2), ("modle outputs a constnat", 6)),
        paraphrases=("the network failed to pick up anything", "performance remained where it was at initialization"),
    ),
    Topic(
        "plateau",
        notes=(
            "plateaued early, most of the budget was wasted",
            "no new best for ages, could be cut at a third",
            "saturated; the remaining epochs bought nothing",
            "levels off quickly and then just sits there",
            "stagnates after a fast first phase, lower the lr there",
            "converged soon, rest is idle",
            "hits a floor and does not get under it",
            "improvement dried up well before the deadline",
        ),
        same=(
            ("remaining epochs bought nothing", 2),
            ("hits a floor", 6),
            ("improvement dried up before the deadline", 7),
        ),
        typos=(
            ("remainig epocs bougth nothing", 2),
            ("hitts a flooor", 6),
            ("improvment dreid up befor the dedline", 7),
        ),
        paraphrases=("progress ceased although training continued", "got as low as it could and stayed there"),
    ),
    Topic(
        "spike",
        notes=(
            "one nasty spike in the validation loss, recovered afterwards",
            "sudden jump, looks like a bad batch",
            "there is a bump in the curve that I cannot explain",
            "loss shot up for a moment and settled again",
            "hiccup mid-run, fine otherwise",
            "a single peak sticks out of an otherwise smooth curve",
            "transient blow-up, maybe a corrupted shard",
            "short excursion upward then back on track",
        ),
        same=(("looks like a bad batch", 1), ("hiccup mid-run", 4), ("maybe a corrupted shard", 6)),
        typos=(("loks like a bad bacth", 1), ("hicup midd-run", 4), ("mabe a corupted shrad", 6)),
        paraphrases=("a temporary outlier in the loss that went away", "abrupt rise followed by recovery"),
    ),
    Topic(
        "oscillating",
        notes=(
            "bounces around all the time, batch is too small I guess",
            "very noisy curve, hard to say which epoch is best",
            "zigzags between good and bad from one eval to the next",
            "jittery validation, average a few checkpoints",
            "goes up and down like a saw tooth",
            "wobbles a lot, momentum too high?",
            "eval is all over the place",
            "erratic, no two consecutive evaluations agree",
        ),
        same=(("average a few checkpoints", 3), ("like a saw tooth", 4), ("eval all over the place", 6)),
        typos=(("averge a few chekpoints", 3), ("like a sawe toth", 4), ("evall all ovr the plase", 6)),
        paraphrases=("measurements swing back and forth", "high variance from one measurement to another"),
    ),
    Topic(
        "undertrained",
        notes=(
            "still improving when it was cut off, give it more steps",
            "budget too short, slope is clearly negative at the end",
            "not converged, extend the schedule",
            "would get better with longer training I am sure",
            "last value is the best one, so it was stopped too soon",
            "ran out of budget in mid-descent",
            "underfit: needs twice the epochs",
            "has not bottomed out, worth resuming from the checkpoint",
        ),
        same=(("extend the schedule", 2), ("mid-descent", 5), ("not bottomed out, worth resuming", 7)),
        typos=(("extned the shedule", 2), ("mid-desent", 5), ("not botomed out, wroth resumming", 7)),
        paraphrases=("we ended training prematurely while it was gaining", "more time would have helped"),
    ),
    Topic(
        "slow",
        notes=(
            "took forever, twice the wall clock of its siblings",
            "painfully slow on this box, check the data loader",
            "hours longer than the others for the same number of steps",
            "someone else was on the node, step time doubled",
            "throughput terrible, input pipeline is the bottleneck",
            "dragged on, the preconditioner costs too much time",
            "expensive: burned a whole day of GPU",
            "GPU was idle half the time waiting for the disk",
        ),
        same=(
            ("someone else was on the node", 3),
            ("input pipeline is the bottleneck", 4),
            ("waiting for the disk", 7),
        ),
        typos=(("somone else was on the noed", 3), ("inptu pipelin is the botleneck", 4), ("wating for the dsik", 7)),
        paraphrases=("duration far above average", "inefficient run that needed a lot of compute time"),
    ),
    Topic(
        "winner",
        notes=(
            "best one so far, use as the new baseline",
            "this is the config to ship",
            "beats everything else in the table",
            "great result, promote to the long schedule",
            "our record on this workload",
            "surprisingly strong, top of the leaderboard",
            "keep! clearly ahead of the rest",
            "wins by a clear margin, repeat with three seeds",
        ),
        same=(("the config to ship", 1), ("promote to the long schedule", 3), ("top of the leaderboard", 5)),
        typos=(("the confg to shpi", 1), ("promot to the logn schedul", 3), ("topp of the leadrboard", 5)),
        paraphrases=("the most successful setting we found", "outperformed all competitors"),
    ),
    Topic(
        "poor",
        notes=(
            "disappointing, way below what the paper promises",
            "final score is poor even though nothing looks broken",
            "mediocre, drop this setting",
            "far behind the baseline",
            "not competitive, bottom of the list",
            "bad result, do not try this region again",
            "weak: ten points under the reference",
            "accuracy is embarrassing, must be a wrong hyperparameter",
        ),
        same=(("way below what the paper promises", 0), ("do not try this region again", 5), ("bottom of the list", 4)),
        typos=(("way belwo what the papr promisses", 0), ("do not try this reigon agian", 5), ("botom of the lsit", 4)),
        paraphrases=("ended with an inferior score", "underperformed compared with others"),
    ),
    Topic(
        "lr too high",
        notes=(
            "learning rate way too hot",
            "step size too big, it jumps over the minimum",
            "lr should come down by a factor of ten",
            "too aggressive, reduce the learning rate",
            "overshoots; try a smaller lr",
            "this lr is beyond the edge of stability",
            "updates are far too large at this rate",
            "cranked the lr up to see where it breaks, it broke",
        ),
        same=(("jumps over the minimum", 1), ("edge of stability", 5), ("to see where it breaks", 7)),
        typos=(("jumsp over the minumum", 1), ("egde of stabilty", 5), ("to see wehre it braeks", 7)),
        paraphrases=("rate of learning should be decreased", "optimizer takes excessive steps"),
    ),
    Topic(
        "lr too low",
        notes=(
            "learning rate far too small, it crawls",
            "lr tiny, hardly any movement per epoch",
            "would need a hundred times the steps at this lr",
            "snail's pace; raise the step size",
            "too timid, bump the lr",
            "creeps downhill, nowhere near done at this rate",
            "conservative lr, inches forward",
            "way below the useful learning rates",
        ),
        same=(("snail's pace", 3), ("too timid", 4), ("creeps downhill", 5)),
        typos=(("snial's pase", 3), ("too timdi", 4), ("creps downhil", 5)),
        paraphrases=("steps so little that progress is negligible", "increase the rate, it hardly advances"),
    ),
    Topic(
        "gradients",
        notes=(
            "gradient norm through the roof, clip it",
            "grad norm grows by two orders during the run",
            "exploding gradients, add clipping",
            "norm of the gradient keeps climbing although the loss looks ok",
            "gradients get huge near the end",
            "backprop signal blows up in the late phase",
            "watch the grad norm here, it is out of control",
            "clipping threshold never engaged, norms are massive",
        ),
        same=(
            ("grows by two orders", 1),
            ("backprop signal in the late phase", 5),
            ("clipping threshold never engaged", 7),
        ),
        typos=(
            ("grwos by two odrers", 1),
            ("bakprop singal in the late fase", 5),
            ("cliping treshold never engagd", 7),
        ),
        paraphrases=("derivatives became enormous", "magnitude of the updates' slopes was excessive"),
    ),
    Topic(
        "test gap",
        notes=(
            "test is clearly worse than validation, suspicious",
            "does not transfer to the test split",
            "val looks great, test does not: selection bias?",
            "big difference between the two held-out sets",
            "test split behaves differently, distribution shift?",
            "numbers on test are a let-down after the validation score",
            "tuned to the validation set, the test set disagrees",
            "do not trust the validation figure here",
        ),
        same=(("selection bias", 2), ("distribution shift", 4), ("do not trust the validation figure", 7)),
        typos=(("selecton bais", 2), ("distributoin shfit", 4), ("do not trsut the validaton figrue", 7)),
        paraphrases=("final exam results fall short of the development results", "mismatch of evaluation splits"),
    ),
    Topic(
        "short",
        notes=(
            "ended after a few evaluations only, job was preempted",
            "cut short, cluster maintenance",
            "hardly any points, I stopped it by hand",
            "terminated prematurely by the time limit",
            "aborted early, wrong flag",
            "only a stub of a curve, machine was rebooted",
            "incomplete, quota exceeded",
            "someone pressed ctrl-c",
        ),
        same=(("cluster maintenance", 1), ("machine was rebooted", 5), ("pressed ctrl-c", 7)),
        typos=(("clutser maintenence", 1), ("machnie was rebotted", 5), ("presed ctlr-c", 7)),
        paraphrases=("job was interrupted long before completion", "has very little history recorded"),
    ),
    Topic(
        "regularised",
        notes=(
            "strong weight decay and label smoothing, underfits a bit",
            "heavy regularisation, costs accuracy on this one",
            "dropout plus decay is too much of a good thing",
            "decay so large that the weights shrink to nothing",
            "over-regularised, train loss stays high",
            "smoothing at this level washes out the signal",
            "penalty dominates the objective",
            "tried to tame it with decay, went overboard",
        ),
        same=(("too much of a good thing", 2), ("washes out the signal", 5), ("penalty dominates the objective", 6)),
        typos=(("too mcuh of a godo thing", 2), ("wahses out the singal", 5), ("penlaty domiantes the objectve", 6)),
        paraphrases=("constraints on the weights were excessive", "shrinkage held the model back"),
    ),
    Topic(
        "fast",
        notes=(
            "reaches the target in a fraction of the budget",
            "quickest to the goal of all optimizers tried",
            "super fast convergence, nice for sanity checks",
            "hits the threshold before anyone else",
            "most of the gain comes in the first tenth",
            "rapid descent right away, good for cheap sweeps",
            "gets there early, half price",
            "steep start, done by lunch",
        ),
        same=(("nice for sanity checks", 2), ("good for cheap sweeps", 5), ("done by lunch", 7)),
        typos=(("nise for santiy cheks", 2), ("good for chaep sweps", 5), ("done by lucnh", 7)),
        paraphrases=("speedy optimisation", "needs few iterations to arrive"),
    ),
    Topic(
        "seeds",
        notes=(
            "repeat with another seed, result differs noticeably",
            "same config as before, seed changed, not the same outcome",
            "lucky seed? the repeats are lower",
            "variance between the repeats is larger than the effect",
            "rerun for error bars",
            "non-deterministic: the twin of this run came out different",
            "third repetition, spread is a whole point",
            "cannot be told apart from its repeats",
        ),
        same=(("rerun for error bars", 4), ("lucky seed", 2), ("spread is a whole point", 6)),
        typos=(("reurn for eror bars", 4), ("lukcy sede", 2), ("spraed is a whoel point", 6)),
        paraphrases=("outcome depends on random initialisation", "replicates disagree with one another"),
    ),
    Topic(
        "warmup",
        notes=(
            "long warmup, the first tenth is spent ramping up",
            "ramp is too slow, shorten the warm-up phase",
            "warmup helps here, no instability at the beginning",
            "gentle start thanks to a longer ramp of the rate",
            "with that many warmup steps the early phase is wasted",
            "gradual increase of the lr pays off",
            "start-up phase stretched to test stability",
            "slow ramp as suggested in the meeting",
        ),
        same=(("spent ramping up", 0), ("as suggested in the meeting", 7), ("stretched to test stability", 6)),
        typos=(("spnet rampign up", 0), ("as sugested in the meting", 7), ("streched to test stabilty", 6)),
        paraphrases=("learning rate rises slowly at first", "extended initial phase of the schedule"),
    ),
)

CHATTER = (
    "rerun of yesterday's job", "requested by Anna for the review", "plots are in the shared folder",
    "same machine as the last batch", "part of the second sweep", "see ticket about the new storage",
    "started before the meeting", "ok", "looks normal", "nothing special", "for the appendix",
    "compare with the one from Tuesday", "config copied from the reference repository", "new docker image",
    "after the driver update", "to be discussed", "used in the talk", "do not delete yet", "baseline for the table",
    "jax version, pytorch twin is elsewhere",
)  # fmt: skip
"""Notes that say nothing of a topic."""
