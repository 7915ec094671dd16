"""Answer the items of reproducibility checklists from the store: yes, no, or not recorded, and where to look.

Items follow the NeurIPS paper checklist (https://neurips.cc/public/guides/PaperChecklist) and the ACL reproducibility
criteria (https://2021.aclweb.org/calls/reproducibility-checklist), shortened to what they ask. Leaves out rendering.
Invariant: "yes" is said only of what the records were looked through for and all of them have; "no" of what they have
and that does not hold; what only an author can know is "not recorded" and says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Final, Literal

from advisor.documents.facts import experiment_facts
from advisor.documents.material import ChecklistMaterial, ExperimentMaterial
from advisor.documents.provenance import Provenance, provenance
from advisor.documents.standing import Standing, standing, varied
from advisor.references import SEED_NAMES
from storage.records import Run

Answer = Literal["yes", "no", "not recorded"]
Source = Literal["NeurIPS", "ACL", "NeurIPS, ACL"]


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a checklist and its answer."""

    id: str
    _: KW_ONLY
    source: Source
    question: str
    answer: Answer
    why: str
    """What the answer rests on, with ``{{fact}}`` placeholders."""
    pointer: str
    """Where to look, or what would record it."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the items are answered from."""

    material: ExperimentMaterial
    where: Standing
    origins: Sequence[Provenance]
    facts: frozenset[str]

    @property
    def n(self) -> int:
        return len(self.material.runs)

    @property
    def name(self) -> str:
        return self.material.experiment.name


@dataclass(frozen=True, slots=True)
class _Found:
    answer: Answer
    why: str
    pointer: str


def checklist(material: ChecklistMaterial) -> tuple[Item, ...]:
    """Return all items with their answers, in the order of the lists."""
    of = material.of
    sheet = experiment_facts(of)
    known = _Known(
        of,
        where=standing(of.experiment, of.runs),
        origins=[provenance(run) for run in of.runs],
        facts=frozenset(fact.id for fact in sheet),
    )
    return tuple(_items(known))


def _items(known: _Known) -> Iterator[Item]:
    for item_id, source, question, answer in _QUESTIONS:
        found = answer(known)
        yield Item(item_id, source=source, question=question, answer=found.answer, why=found.why, pointer=found.pointer)


def _of_all(values: Sequence[object], what: str, pointer: str, record: str) -> _Found:
    """Return yes where all runs have something, no where some do, not recorded where none does."""
    n, having = len(values), sum(bool(value) for value in values)
    if n and having == n:
        return _Found("yes", f"{what} of every run.", pointer)
    if having:
        return _Found("no", f"{what} of some runs only; {n - having} of {n} lack it.", pointer)
    return _Found("not recorded", f"No run has {what[:1].lower()}{what[1:]}.", record)


def _author(pointer: str) -> Callable[[_Known], _Found]:
    """Return the answer to what only an author can know."""
    return lambda known: _Found("not recorded", "Only the authors can answer this.", pointer)


# -- answers


def _claims(known: _Known) -> _Found:
    if "best" not in known.facts:
        return _Found("not recorded", "No run can be ranked, so there is no figure to claim.", "Results")
    return _Found(
        "yes",
        "The best {{metric}} is {{best}} (run {{best_run}}), of {{n_ranked}} ranked runs; "
        "every figure here can be derived again.",
        "advisor verify FILE",
    )


def _limitations(known: _Known) -> _Found:
    missing = sum(fact.startswith("absent_") for fact in known.facts)
    why = "What was not recorded is listed." if missing else "Nothing that is looked for is missing."
    return _Found("yes", why, "the section 'What was not recorded' of the report")


def _reproducible(known: _Known) -> _Found:
    best = known.where.best
    if best is None:
        return _Found("not recorded", "There is no best run to reproduce.", "Results")
    origin = provenance(best)
    lacking = [
        word
        for word, value in (
            ("code version", origin.commit),
            ("command", origin.command),
            ("seed", _seed_of(best)),
            ("data fingerprint", origin.data),
            ("library versions", origin.python),
        )
        if not value
    ]
    if len(lacking) == 5:
        why = "Neither code, command, seed, data nor versions of the best run are known."
        return _Found("not recorded", why, "start runs with exp.start(), which captures them")
    if lacking:
        return _Found("no", "Of the best run {{best_run}} these are missing: " + ", ".join(lacking) + ".", _show(best))
    if origin.has_changes and not origin.diff:
        return _Found("no", "The best run's code had uncommitted changes that were not kept.", _show(best))
    why = "Code, command, seed, data and versions of the best run {{best_run}} are known."
    return _Found("yes", why, _show(best))


def _code(known: _Known) -> _Found:
    found = _of_all(
        [one.commit for one in known.origins], "The git commit", "advisor show RUN", "start runs inside a git checkout"
    )
    changed = sum(bool(one.has_changes) for one in known.origins)
    if found.answer == "yes" and changed:
        return _Found("no", f"{changed} of {known.n} runs had uncommitted changes beside their commit.", found.pointer)
    return found


def _data(known: _Known) -> _Found:
    return _of_all(
        [one.data for one in known.origins], "A fingerprint of the data", "advisor show RUN", "run.use_data(name, data)"
    )


def _setting(known: _Known) -> _Found:
    return _of_all(
        [run.params for run in known.material.runs], "Hyperparameters", "advisor runs EXP", "exp.start(params={…})"
    )


def _significance(known: _Known) -> _Found:
    if not known.where.ranked:
        return _Found("not recorded", "No run can be ranked.", "Results")
    if known.where.repeats_agree:
        why = "Repeats of a configuration agree to the last digit, so there is no spread to report."
        return _Found("no", why, "repeat the leading configurations with other seeds")
    if "noise" not in known.facts:
        why = "No configuration was run more than once, so there is no spread to report."
        return _Found("no", why, "repeat the leading configurations with other seeds")
    tail = (
        " The best one was run {{n_best_repeats}} times, with a mean of {{best_mean}}."
        if "n_best_repeats" in known.facts
        else " The best one was run once."
    )
    were = "configuration was" if len(known.where.near_repeats) == 1 else "configurations were"
    why = f"{{{{n_repeated}}}} {were} repeated; their standard deviation is {{{{noise}}}}."
    return _Found("yes" if "n_best_repeats" in known.facts else "no", why + tail, "the caution below the headline")


def _compute(known: _Known) -> _Found:
    found = _of_all(
        [one.hardware for one in known.origins], "The hardware", "advisor show RUN", "exp.start() captures the hardware"
    )
    if "duration_total" not in known.facts:
        return _Found(
            "no" if found.answer == "yes" else found.answer, found.why + " No times are known.", found.pointer
        )
    return _Found(found.answer, found.why + " All runs together took {{duration_total}}.", found.pointer)


def _runtime(known: _Known) -> _Found:
    if "duration_median" not in known.facts:
        return _Found("not recorded", "When runs started and ended is not known.", "exp.start() and run.finish()")
    return _Found("yes", "The median run took {{duration_median}}.", "advisor runs EXP")


def _n_parameters(known: _Known) -> _Found:
    named = [
        run
        for run in known.material.runs
        if any(key.lower() in ("n_params", "num_params", "n_parameters", "num_parameters") for key in _all_keys(run))
    ]
    if named and len(named) == known.n:
        return _Found("yes", "Every run says the number of parameters of its model.", "advisor show RUN")
    return _Found(
        "not recorded", "No parameter is called n_params or num_parameters.", "log it: params={'n_params': …}"
    )


def _validation(known: _Known) -> _Found:
    if "best" in known.facts:
        why = "The objective {{metric}} of {{n_ranked}} runs is known; median {{median}}."
        return _Found("yes", why, "Results")
    return _Found("not recorded", "No run has a finite value of an objective.", "advisor experiment EXP --objective …")


def _metrics_explained(known: _Known) -> _Found:
    objective = known.material.experiment.objective
    if objective is None:
        return _Found("not recorded", "No objective is set.", "advisor experiment EXP --objective METRIC")
    if not known.material.experiment.description:
        why = f"The objective and its direction ({objective.direction}) are set, but what it measures is not described."
        return _Found("no", why, "advisor experiment EXP --description …")
    return _Found("yes", f"The objective is set ({objective.direction}), and the experiment described.", "the headline")


def _test_metric(known: _Known) -> _Found:
    if "absent_test_metric" in known.facts or "absent_curves" in known.facts:
        return _Found("not recorded", "No metric on test data was logged.", "run.log({'test_…': …})")
    return _Found("yes", "A metric on test data was logged.", "advisor show RUN")


def _bounds(known: _Known) -> _Found:
    if known.material.experiment.space:
        n = len(known.material.experiment.space)
        return _Found("yes", f"A search space of {n} parameters is declared.", "advisor experiment EXP")
    if known.material.space:
        return _Found("no", "No search space is declared; one was inferred from the runs.", "advisor experiment EXP")
    return _Found("not recorded", "No search space is declared.", "advisor experiment EXP --space space.yaml")


def _best_configuration(known: _Known) -> _Found:
    best = known.where.best
    if best is None:
        return _Found("not recorded", "No run can be ranked.", "Results")
    if not best.params:
        return _Found("not recorded", "The best run {{best_run}} has no parameters.", "exp.start(params={…})")
    return _Found("yes", f"All {len(best.params)} parameters of the best run {{{{best_run}}}} are kept.", _show(best))


def _n_trials(known: _Known) -> _Found:
    if not known.n:
        return _Found("not recorded", "There are no runs.", "advisor runs EXP")
    return _Found("yes", "{{n_runs}} runs, of which {{n_finished}} finished.", "advisor runs EXP")


def _method(known: _Known) -> _Found:
    runs = known.material.runs
    suggested = sum(run.suggestion_id is not None for run in runs)
    optuna = sum(run.source == "optuna" for run in runs)
    if runs and suggested + optuna == len(runs):
        return _Found(
            "yes", "All runs followed suggestions, each kept with its reasons and seed.", "advisor ledger EXP"
        )
    if suggested + optuna:
        why = f"{suggested + optuna} of {len(runs)} runs followed suggestions; how the others were chosen is not known."
        return _Found("no", why, "advisor ledger EXP")
    moving = len(varied(runs))
    why = (
        f"How the values of {moving} varying parameters were chosen is not known." if moving else "Nothing was varied."
    )
    return _Found("not recorded", why, "advisor suggest, or exp.optimize()")


def _expected(known: _Known) -> _Found:
    if "quartile_low" not in known.facts:
        return _Found("not recorded", "Too few runs can be ranked to tell how they spread.", "Results")
    why = "Over {{n_ranked}} runs: median {{median}}, middle half {{quartile_low}} to {{quartile_high}}."
    return _Found("yes", why, "Results")


def _seeds(known: _Known) -> _Found:
    seeds = [_seed_of(run) for run in known.material.runs]
    return _of_all(seeds, "The seed", "advisor show RUN", "exp.start(seed=…)")


def _splits(known: _Known) -> _Found:
    sets = {str(item.get("name")) for run in known.material.runs for item in run.data}
    if len(sets) >= 2:
        return _Found("yes", f"{len(sets)} data sets are named and fingerprinted.", "advisor show RUN")
    why = "One data set is named, so the split is not known." if sets else "No data set is named."
    return _Found("no" if sets else "not recorded", why, "run.use_data('train', X); run.use_data('val', V)")


def _seed_of(run: Run) -> str:
    if run.seed is not None:
        return str(run.seed)
    named = {key: value for key, value in run.params.items() if key.lower() in SEED_NAMES}
    return json.dumps(named, sort_keys=True, default=str) if named else ""


def _all_keys(run: Run) -> set[str]:
    return {*run.params, *run.user_attrs, *run.meta}


def _show(run: Run) -> str:
    return f"advisor show {run.id}"


_QUESTIONS: Final[tuple[tuple[str, Source, str, Callable[[_Known], _Found]], ...]] = (
    ("claims", "NeurIPS", "Do the main claims reflect the results?", _claims),
    ("limitations", "NeurIPS", "Are limitations discussed?", _limitations),
    ("theory", "NeurIPS", "Do theoretical results come with assumptions and proofs?", _author("not about runs")),
    ("reproducibility", "NeurIPS", "Is all information given that is needed to reproduce the result?", _reproducible),
    ("code", "NeurIPS, ACL", "Is the version of the code known, and complete?", _code),
    ("data", "NeurIPS, ACL", "Is the data identified?", _data),
    ("splits", "ACL", "Are the splits of the data identified?", _splits),
    ("setting", "NeurIPS", "Are all training details given (hyperparameters, optimizer)?", _setting),
    ("seeds", "NeurIPS, ACL", "Are the seeds given?", _seeds),
    ("significance", "NeurIPS", "Are error bars or the like given for the main result?", _significance),
    ("compute", "NeurIPS, ACL", "Is the computing infrastructure described?", _compute),
    ("runtime", "ACL", "Is the average run time given?", _runtime),
    ("n_parameters", "ACL", "Is the number of parameters of each model given?", _n_parameters),
    ("validation", "ACL", "Is the validation performance behind the result given?", _validation),
    ("test", "ACL", "Is there a result on test data that took no part in the choice?", _test_metric),
    ("metrics", "ACL", "Are the metrics explained?", _metrics_explained),
    ("bounds", "ACL", "Are bounds for each hyperparameter given?", _bounds),
    ("best_configuration", "ACL", "Is the configuration of the best model given?", _best_configuration),
    ("n_trials", "ACL", "Is the exact number of search trials given?", _n_trials),
    ("method", "ACL", "Is the method of choosing hyperparameters given?", _method),
    ("expected", "ACL", "Are mean or spread of the results over the trials given?", _expected),
    ("ethics", "NeurIPS", "Does the work conform with the code of ethics?", _author("the paper")),
    ("impact", "NeurIPS", "Are broader impacts discussed?", _author("the paper")),
    ("licences", "NeurIPS", "Are licences of used assets named?", _author("the paper")),
    ("subjects", "NeurIPS", "Were human subjects involved, and approved?", _author("the paper")),
    ("language_models", "NeurIPS", "Is the use of language models declared?", _author("the paper")),
)
