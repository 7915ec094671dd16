"""A run in words: the text that search reads, and apart from each other what encoders turn into vectors.

Configuration and what was written (notes, findings, errors) are encoded apart: on a trial set, MiniLM over the whole
text of runs reached nDCG .28 on paraphrases, over the note alone .40.

Left out: raw curves, identifiers, paths, seeds and times, which say nothing about what a run is like, and
environments, which are found by filters.

Invariant: the same run gives the same texts on every machine, so their hashes tell which vectors are still good.

Text encoders hardly see numbers, and digits beyond the second drown the rest. So a number is written with
two digits and followed by a word of its own, ``lr_1e-3``, that runs of the same first digit share. Measured on
3,000 made-up runs with hashed n-grams, 200 learning rates asked for, share of the ten best within 0.15 decades:
all digits .43, two digits .60, two digits and the word .90. Exact conditions are a filter's work all the same.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from storage.lexicon import CONCEPTS, PHRASES
from storage.records import Experiment, Finding, Run, RunState

MAX_PARAMS = 24
"""Parameters that are told; the default encoder reads about 250 word pieces."""
MAX_METRICS = 12
NOTE_HEAD = 400
"""Characters of the notes that come early, where every encoder reads them."""
NOTE_TAIL = 2_000
"""Characters of the notes at most, the rest at the end, where word search reads them."""
MAX_NAME = 120
"""Characters of a run's name, which its tool or a person gave it."""
MAX_WORD = 60
"""Characters of one name or value."""

SYNONYMS: Mapping[str, str] = {
    "acc": "accuracy",
    "arch": "architecture",
    "bs": "batch size",
    "cls": "class",
    "config": "configuration",
    "ds": "dataset",
    "eps": "epsilon",
    "hid": "hidden",
    "lr": "learning rate",
    "mom": "momentum",
    "num": "number of",
    "opt": "optimizer",
    "optim": "optimizer",
    "ppl": "perplexity",
    "reg": "regularization",
    "sched": "schedule",
    "val": "validation",
    "valid": "validation",
    "wd": "weight decay",
}
"""Short forms within names, and the words that they stand for."""

PEOPLE_SAY: tuple[tuple[str, str], ...] = (
    (r"not finite|\bnan\b|\binf(inite|inity)?\b", "ADV101"),
    (r"diverge", "ADV102"),
    (r"while .+ kept falling", "ADV106"),
    (r"out of memory|outofmemory|memoryerror|\boom\b", "out of memory"),
)
"""What an error or an unregistered finding says, and the concept of ``storage.lexicon`` that it is."""
MAX_PASSAGE = 400
"""Characters of one passage that is encoded: some 100 word pieces, about as much as one vector tells apart."""
MAX_PASSAGES = 60
"""Of one run; the rest is found by its words."""

_STATES: Mapping[RunState, str] = {
    RunState.WAITING: "waiting, not started",
    RunState.RUNNING: "running, still training",
    RunState.FINISHED: "finished",
    RunState.PRUNED: "pruned, stopped early",
    RunState.FAILED: "failed with an error",
    RunState.CRASHED: "crashed, its process was killed or died",
}
_SAID_OF_STATES: Mapping[RunState, tuple[str, ...]] = {
    RunState.FAILED: PHRASES["ADV111"],
    RunState.CRASHED: PHRASES["ADV110"],
    RunState.PRUNED: ("pruned", "stopped early because it was not promising"),
}
_BY_NAME: Mapping[str, tuple[str, ...]] = {concept.name: concept.says for concept in CONCEPTS}

_UNTOLD_NAME = re.compile(
    r"(?:^|[ ._/-])(?:seed|random state|path|dir|directory|folder|file|filename|uuid|id|timestamp|time|date|hash|url)$"
)
_UNTOLD_VALUE = re.compile(
    r"""^(?:(?:[a-z][a-z0-9+.-]*:/|~|\.{1,2})?/.*      # a path or an address
         | [a-z]:\\.*
         | [0-9a-f]{16,} | [0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}
         | \d{4}-\d\d-\d\d[ t]\d.*)$""",
    re.VERBOSE | re.IGNORECASE,
)


def describe(run: Run, experiment: Experiment, *, siblings_rank: Mapping[str, tuple[int, int]] | None = None) -> str:
    """Return what a run is like, in one line of ``key value`` parts divided by bars.

    The order is fixed: what encoders with a short window must see comes first.

    Parameters
    ----------
    run, experiment
        The run, and the experiment that it belongs to.
    siblings_rank
        For some metrics, the run's place among the experiment's runs: (rank from 1, number of runs).
        It is told as a band ("best", "top 10%", …), because a value says little without its siblings.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> experiment = Experiment("digits-mlp", number=0, created=datetime(2026, 1, 1, tzinfo=UTC))
    >>> run = Run("a1", number=0, experiment="digits-mlp", state=RunState.FINISHED, params={"lr": 0.00123},
    ...           created=experiment.created)
    >>> describe(run, experiment)
    'experiment digits mlp | status finished | learning rate 0.0012 lr_1e-3'
    """
    notes = _plain(" ; ".join(run.notes))
    parts = [
        f"experiment {words(experiment.name)}",
        _status(run),
        f"named {_plain(run.name)[:MAX_NAME]}" if run.name else "",
        *_findings(run.findings),
        f"error {_last_line(run.error)}" if run.error else "",
        _listed("tags", map(_plain, run.tags)),
        f"note {notes[:NOTE_HEAD]}" if notes else "",
        *_params(run.params),
        *_metrics(run, experiment, siblings_rank or {}),
        *_data(run.data),
        f"about {_plain(experiment.description)[:NOTE_HEAD]}" if experiment.description else "",
        f"more notes {notes[NOTE_HEAD:NOTE_TAIL]}" if len(notes) > NOTE_HEAD else "",
    ]
    return " | ".join(part for part in parts if part)


def configuration(run: Run, experiment: Experiment) -> str:
    """Return a run's configuration as it is encoded: names and words, no numbers.

    Encoders hardly see numbers, which filters find; without them a whole sweep shares a few texts, and vectors.

    >>> from datetime import UTC, datetime
    >>> experiment = Experiment("digits-mlp", number=0, created=datetime(2026, 1, 1, tzinfo=UTC))
    >>> run = Run("a1", number=0, experiment="digits-mlp", state=RunState.FINISHED, created=experiment.created,
    ...           params={"lr": 0.00123, "optimizer": "adam"})
    >>> configuration(run, experiment)
    'digits mlp, optimizer adam'
    """
    worded = {name: value for name, value in run.params.items() if isinstance(value, str)}
    about = _plain(experiment.description)[:NOTE_HEAD]
    parts = [words(experiment.name), *_params(worded), *_data(run.data), about]
    return ", ".join(part for part in parts if part)


def written(run: Run) -> list[str]:
    """Return what was written of a run, passage by passage, each as ``kind: text`` and encoded by itself.

    Notes in pieces of some sentences; findings, the state and errors by the phrases that people use for them; tags.

    >>> from datetime import UTC, datetime
    >>> written(Run("a1", number=0, experiment="e", state=RunState.FINISHED, created=datetime(2026, 1, 1, tzinfo=UTC),
    ...             notes=("Overfits. Badly.",), tags=("baseline",)))
    ['note: Overfits. Badly.', 'tag: baseline']
    """
    passages = [f"note: {piece}" for note in run.notes for piece in _pieces(_plain(note)[:NOTE_TAIL])]
    passages += [f"finding: {phrase}" for code in told_codes(run) for phrase in PHRASES.get(code, ())]
    untold = [finding.title for finding in run.findings if finding.verdict != "ok" and finding.code not in PHRASES]
    passages += [f"finding: {_plain(title)[:MAX_PASSAGE]}" for title in untold]
    if run.error:
        last = _plain(_last_of(run.error))[:200]
        passages += [f"error: {last}", *(f"error: {phrase}" for phrase in _people_say(last))]
    if any(not math.isfinite(value) for value in run.values):
        passages += [f"objective: {phrase}" for phrase in PHRASES["ADV101"]]
    if run.state in _SAID_OF_STATES:
        passages += [f"state: {phrase}" for phrase in _SAID_OF_STATES[run.state]]
    passages += [f"tag: {words(tag)}" for tag in run.tags if words(tag)]
    return list(dict.fromkeys(passages))[:MAX_PASSAGES]


def told_codes(run: Run) -> list[str]:
    """Return the codes of a run's findings, each once, no false alarms."""
    return sorted({finding.code for finding in run.findings if finding.verdict != "ok"})


def _pieces(note: str) -> list[str]:
    """Cut a note between sentences where it is long."""
    pieces: list[str] = []
    for sentence in re.split(r"(?<=[.!?;]) ", note):
        if pieces and len(pieces[-1]) + len(sentence) < MAX_PASSAGE // 2:
            pieces[-1] += f" {sentence}"
        else:
            pieces += [sentence[at : at + MAX_PASSAGE] for at in range(0, len(sentence), MAX_PASSAGE)]
    return pieces


def words(name: str) -> str:
    """Return a name as words: snake, camel and dotted case split, short forms spelled out.

    >>> words("optimizer.baseLR"), words("val_acc"), words("resnet18")
    ('optimizer base learning rate', 'validation accuracy', 'resnet18')
    """
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[\s_./:\\-]+", " ", name[: 4 * MAX_WORD])
    return _plain(" ".join(SYNONYMS.get(word.lower(), word.lower()) for word in split.split()))[: 2 * MAX_WORD]


def number(value: float) -> str:
    """Return a number with two digits, or the word for what is not finite.

    >>> number(0.0012345), number(64), number(float("nan")), number(float("-inf"))
    ('0.0012', '64', 'nan', 'minus infinity')
    """
    if isinstance(value, int) and abs(value) < 1_000_000:
        return str(value)
    value = _as_float(value)
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "infinity" if value > 0 else "minus infinity"
    return f"{value:.2g}"


def bucket(name: str, value: float) -> str:
    """Return the word that numbers of the same first digit share; small whole numbers have their own.

    >>> bucket("lr", 0.0031), bucket("batch_size", 64), bucket("n", 51_234)
    ('lr_3e-3', 'batch_size_64', 'n_5e4')
    """
    short = re.sub(r"\W+", "_", name.rsplit(".", 1)[-1].lower())[:MAX_WORD]
    value = _as_float(value)
    if not math.isfinite(value):
        return ""
    if value.is_integer() and abs(value) < 10_000:
        return f"{short}_{int(value)}"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{short}_{mantissa}e{int(exponent)}"


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond 1e308
        return math.inf if value > 0 else -math.inf


def _plain(text: str) -> str:
    """One line without control characters; a bar would look like the end of a part."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).replace("|", "/").split())


def _last_line(error: str) -> str:
    last = _plain(_last_of(error))[:200]
    return ", ".join([last, *_people_say(last)])


def _last_of(error: str) -> str:
    lines = [line for line in error.splitlines() if line.strip()]
    return lines[-1] if lines else "unknown"


def _people_say(text: str) -> list[str]:
    meant = [concept for pattern, concept in PEOPLE_SAY if re.search(pattern, text, re.IGNORECASE)]
    return [phrase for concept in meant for phrase in PHRASES.get(concept) or _BY_NAME[concept]]


_LISTS: tuple[str, ...] = tuple(
    sorted({f", {', '.join(says)}" for says in (*PHRASES.values(), *_BY_NAME.values())}, key=len, reverse=True)
)


def without_phrases(text: str) -> str:
    """Return a finding, a state or an error as it was written, without the phrases that it is to be found by as well.

    >>> without_phrases("val_loss diverged, " + ", ".join(PHRASES["ADV102"]))
    'val_loss diverged'
    """
    while said := next((each for each in _LISTS if text.endswith(each)), ""):
        text = text[: -len(said)]
    return text


def _listed(key: str, items: Iterable[str]) -> str:
    told = [item[:MAX_WORD] for item in items if item]
    return f"{key} {', '.join(told)}" if told else ""


def _status(run: Run) -> str:
    broken = [value for value in run.values if not math.isfinite(value)]
    said = ", ".join(PHRASES["ADV101"])
    not_finite = f", its objective is {number(broken[0])}, {said}" if broken else ""
    return f"status {_STATES[run.state]}{not_finite}"


def _findings(findings: Iterable[Finding]) -> list[str]:
    """Tell each kind of trouble once, in the program's words and in those that people use; no false alarms."""
    told: dict[str, str] = {}
    for finding in findings:
        if finding.verdict == "ok":
            continue
        text = re.sub(r"\d+\.\d+", lambda found: number(float(found.group())), _plain(finding.title))
        said = PHRASES.get(finding.code) or _people_say(finding.title)
        told.setdefault(finding.code, ", ".join([text[:200], *said]))
    return [f"finding {text}" for _, text in sorted(told.items())]


def _params(params: Mapping[str, Any]) -> list[str]:
    told: list[str] = []
    for name in sorted(params):
        spoken, value = words(name), params[name]
        if _UNTOLD_NAME.search(spoken) or value is None:
            continue
        if isinstance(value, bool):
            text = "yes" if value else "no"
        elif isinstance(value, int | float):
            text = f"{number(value)} {bucket(name, value)}".strip()
        elif isinstance(value, str) and _UNTOLD_VALUE.match(value):
            continue
        else:
            text = _plain(value if isinstance(value, str) else json.dumps(value, default=str))[:MAX_WORD]
        told.append(f"{spoken} {text}")
    more = len(told) - MAX_PARAMS
    return told[:MAX_PARAMS] + ([f"and {more} more parameters"] if more > 0 else [])


def _metrics(run: Run, experiment: Experiment, ranks: Mapping[str, tuple[int, int]]) -> list[str]:
    first = [objective.metric for objective in experiment.objectives if objective.metric in run.metrics]
    names = list(dict.fromkeys([*first, *sorted(run.metrics)]))[:MAX_METRICS]
    return [
        " ".join(filter(None, [words(name), number(run.metrics[name]), band(*ranks[name]) if name in ranks else ""]))
        for name in names
    ]


def band(rank: int, n: int) -> str:
    """Return where a rank lies among ``n`` runs, in words; empty where four runs or fewer say too little.

    >>> band(1, 20), band(2, 20), band(5, 20), band(10, 20), band(20, 20), band(1, 2)
    ('best of the experiment', 'top 10%', 'top quarter', '', 'bottom quarter', '')
    """
    if n < 5:
        return ""
    if rank == 1:
        return "best of the experiment"
    share = rank / n
    return "top 10%" if share <= 0.1 else "top quarter" if share <= 0.25 else "bottom quarter" if share > 0.75 else ""


def _data(prints: Iterable[Mapping[str, Any]]) -> list[str]:
    told = []
    for data in prints:
        shape = data.get("shape")
        sizes = [int(n) for n in shape] if isinstance(shape, list | tuple) and shape else []
        size = f"{' x '.join(map(str, sizes))} {_size_word(sizes[0])}" if sizes else ""
        told.append(" ".join(filter(None, ["data", words(str(data.get("name", ""))), size])))
    return told


def _size_word(n_rows: int) -> str:
    if n_rows < 1_000:
        return "rows, tiny data, few examples"
    if n_rows < 10_000:
        return "rows, small data"
    return "rows, large data" if n_rows >= 1_000_000 else "rows"
