"""scikit-learn: a fitted search as runs, and trainings that go step by step.

``log_search(GridSearchCV(…).fit(X, y), "digits")`` records a run for each candidate; ``fit_steps(estimator, X, y,
n_steps=20)`` trains with ``partial_fit`` or ``warm_start`` and logs the scores after each step.

A search tells nothing while it works, so its runs appear when it is over. Imports scikit-learn only where a scorer has
to be made. Invariant: each number in ``cv_results_`` is in its candidate's run, NaN included.
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from advisor.errors import ConfigError
from advisor.integrations.common import begin, framework
from advisor.integrations.estimators import as_params, class_name, params_of
from advisor.integrations.recorded import Recorded, experiment_for, record_runs
from storage.records import Curve, Run, RunState

if TYPE_CHECKING:
    from advisor.experiment import Experiment
    from advisor.tracking.run import LiveRun

Steps = Generator[int, None, None]

NOT_FIGURES: Final = ("params", "param_", "iter", "n_resources")
"""Beginnings of the columns of ``cv_results_`` that say which candidate it is, not how it did."""


def log_search(
    search: Any,
    experiment: str | Experiment | None = None,
    *,
    store: str | Path | None = None,
    tags: Sequence[str] = (),
    **settings: Any,
) -> list[Run]:
    """Record a fitted search: a run for each candidate, whose parameters are those that were searched.

    The columns of ``cv_results_`` become curves of one point each: mean, spread and every split of the scores, ranks,
    times. A search by successive halving has a point for each number of resources that a candidate got, and those that
    it dropped are pruned. A candidate with a fit or a score that failed (NaN) is a failed run. What was recorded before
    is not recorded again.

    Parameters
    ----------
    search
        A fitted ``GridSearchCV``, ``RandomizedSearchCV``, ``HalvingGridSearchCV`` or the like.
    experiment
        Name of the experiment, or one; by default named after the estimator. Where it has no objective, that becomes
        the mean test score by which the search chose, to be maximised.
    store
        Address of the store; by default as for ``advisor.open``.
    tags
        Words to find the runs by.

    Returns
    -------
    list of Run
        Those that were recorded now, in the order of the candidates.

    Raises
    ------
    ConfigError
        If the search is not fitted, or the experiment's objective is to be minimised.
    """
    results = getattr(search, "cv_results_", None)
    if results is None:
        raise ConfigError(f"{class_name(search)} has no cv_results_; fit it first: log_search(search.fit(X, y), …)")
    made = experiment_for(
        experiment or class_name(search.estimator),
        objectives=[(_objective(search), "maximize")],
        store=store,
        settings=settings,
    )
    about = _about(search)
    candidates = list(_candidates(search, results))
    last = max((rows[-1][1] for _, rows in candidates), default=0)
    recorded = [
        _recorded(results, params, [row for row, _ in rows], about, tags, dropped=rows[-1][1] < last)
        for params, rows in candidates
    ]
    return record_runs(made, recorded)


def fit_steps(
    estimator: Any,
    x: Any,
    y: Any = None,
    *,
    n_steps: int,
    validation: tuple[Any, Any] | None = None,
    scoring: Any = None,
    grow: str | None = None,
    classes: Any = None,
    experiment: str | Experiment | None = None,
    params: Mapping[str, Any] | None = None,
    prune: bool = False,
    **how: Any,
) -> LiveRun:
    """Train an estimator step by step, and log its scores after each step.

    With ``partial_fit``, a step is one pass over the data. Without it, the estimator grows, each step as much as the
    others, until it is as large as it says itself: a forest by its ``n_estimators``, histogram-based boosting by its
    ``max_iter``; ``warm_start`` is on meanwhile.

    Parameters
    ----------
    estimator
        Trained in place.
    x, y
        What to train on; shapes (n, …) and (n,).
    n_steps
        How many steps, at least 1.
    validation
        A pair of the same shapes to score on as well.
    scoring
        As in ``sklearn.model_selection.cross_validate``; the estimator's own ``score`` by default.
    grow
        The parameter that grows, where it is another one.
    classes
        Of a classifier with ``partial_fit``; those in ``y`` by default.
    experiment, params, how
        As in ``advisor.integrations.common.begin``; ``params`` are those of the estimator by default.
    prune
        Whether to stop when ``run.should_stop()`` advises it; the run ends as pruned then.

    Returns
    -------
    LiveRun
        The run, with ``train/score`` and ``validation/score``, or the names in ``scoring``, as curves.

    Raises
    ------
    ConfigError
        If the estimator cannot be trained in steps.

    Examples
    --------
    >>> from sklearn.linear_model import SGDClassifier  # doctest: +SKIP
    >>> run = fit_steps(SGDClassifier(), X, y, n_steps=20, validation=(X_val, y_val), experiment="digits")
    ... # doctest: +SKIP
    """
    if n_steps < 1:
        raise ConfigError(f"n_steps={n_steps!r}; a training has at least 1 step")
    step_by_step = _steps(estimator, x, y, n_steps=n_steps, grow=grow, classes=classes)
    score = _scores(estimator, scoring)
    session = begin(experiment, params=params_of(estimator) if params is None else params, **how)
    try:
        for step in step_by_step:
            scores = {f"train/{name}": value for name, value in score(x, y).items()}
            if validation is not None:
                scores |= {f"validation/{name}": value for name, value in score(*validation).items()}
            if isinstance(getattr(estimator, "loss_", None), float):
                scores["train/loss"] = estimator.loss_
            session.log(scores, step=step)
            if session.should_stop(advice=prune):
                break
    except BaseException as error:
        session.fail(error)
        raise
    finally:
        step_by_step.close()
    session.finish()
    return session.run


# -- searches


def _objective(search: Any) -> str:
    """Return the column by which the search chose its best candidate."""
    refit = search.refit
    if getattr(search, "multimetric_", False):
        return f"mean_test_{refit if isinstance(refit, str) else next(iter(search.scorer_))}"
    return "mean_test_score"


def _about(search: Any) -> dict[str, Any]:
    """Return what holds for all candidates."""
    fixed = params_of(search.estimator)
    return {
        "search": class_name(search),
        "estimator": fixed.pop("estimator", class_name(search.estimator)),
        "estimator_params": fixed,
        "n_splits": getattr(search, "n_splits_", None),
    }


def _candidates(search: Any, results: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], list[tuple[int, int]]]]:
    """Yield each candidate with its rows, each with the iteration of the search; outside of halving there is one."""
    rounds = [int(each) for each in results.get("iter", np.zeros(len(results["params"])))]
    resource = getattr(search, "resource", None)
    rows: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for row, (params, each) in enumerate(zip(results["params"], rounds, strict=True)):
        # A candidate that was drawn twice is two: the first of a round goes on with the first of the round before.
        key = repr(sorted((name, repr(value)) for name, value in params.items() if name != resource))
        copy = 0
        while any(seen == each for _, seen in rows.get((key, copy), ())):
            copy += 1
        rows.setdefault((key, copy), []).append((row, each))
    for of_candidate in rows.values():
        yield results["params"][of_candidate[-1][0]], of_candidate


def _recorded(
    results: Mapping[str, Any],
    params: Mapping[str, Any],
    rows: Sequence[int],
    about: Mapping[str, Any],
    tags: Sequence[str],
    *,
    dropped: bool,
) -> Recorded:
    steps = [int(results["n_resources"][row]) if "n_resources" in results else 0 for row in rows]
    figures = {
        name: [float(column[row]) for row in rows]
        for name, column in results.items()
        if not name.startswith(NOT_FIGURES)
    }
    tests = {name: values[-1] for name, values in figures.items() if name.startswith("split") and "_test_" in name}
    n_failed = sum(math.isnan(value) for value in tests.values())
    state = RunState.FAILED if n_failed else RunState.PRUNED if dropped else RunState.FINISHED
    body: dict[str, Any] = {"state": str(state), "params": as_params(params), "tags": list(tags), "source": "import"}
    body |= {"meta": dict(about), "started": None, "ended": None}  # a search tells how long, not when
    if n_failed:
        body["error"] = f"{n_failed} of {len(tests)} fits or scores failed and gave no number"
    # The measured times make each fit another one; the same fit recorded twice has the same name.
    name = hashlib.sha256(repr((sorted(body["params"].items(), key=str), figures, rows[0])).encode()).hexdigest()[:32]
    return Recorded(name, body=body, curves={key: Curve.of(key, steps, values) for key, values in figures.items()})


# -- steps


def _steps(estimator: Any, x: Any, y: Any, *, n_steps: int, grow: str | None, classes: Any) -> Steps:
    """Return what trains one step each time it is asked for the next, and yields the step's number."""
    if grow is None and callable(getattr(estimator, "partial_fit", None)):
        return _partial_fits(estimator, x, y, n_steps, classes)
    own = estimator.get_params()
    if grow is None:
        is_histogram = class_name(estimator).startswith("HistGradientBoosting")
        grow = "n_estimators" if "n_estimators" in own else "max_iter" if is_histogram else None
    if grow is None or grow not in own or "warm_start" not in own:
        raise ConfigError(
            f"{class_name(estimator)} cannot be trained in steps: it has no partial_fit, and no warm_start with "
            f"{grow or 'n_estimators'}; say which parameter grows with grow='…', or train it as a whole"
        )
    return _growths(estimator, x, y, n_steps, grow)


def _partial_fits(estimator: Any, x: Any, y: Any, n_steps: int, classes: Any) -> Steps:
    takes_classes = "classes" in inspect.signature(estimator.partial_fit).parameters
    first = {"classes": np.unique(y) if classes is None else classes} if takes_classes else {}
    for step in range(n_steps):
        estimator.partial_fit(x, y, **(first if step == 0 else {}))
        yield step


def _growths(estimator: Any, x: Any, y: Any, n_steps: int, name: str) -> Steps:
    before = estimator.get_params()
    sizes = sorted({math.ceil(before[name] * (i + 1) / n_steps) for i in range(n_steps)})
    try:
        for size in sizes:
            estimator.set_params(warm_start=True, **{name: size})
            estimator.fit(x, y)
            yield size
    finally:
        estimator.set_params(warm_start=before["warm_start"], **{name: before[name]})


def _scores(estimator: Any, scoring: Any) -> Callable[[Any, Any], dict[str, float]]:
    """Return what scores the estimator on some data, by name."""
    scorer = framework("sklearn", "sklearn.metrics", pip="scikit-learn").check_scoring(estimator, scoring)
    name = scoring if isinstance(scoring, str) else "score"

    def scored(x: Any, y: Any) -> dict[str, float]:
        given = scorer(estimator, x, y)
        return {str(key): float(value) for key, value in (given if isinstance(given, dict) else {name: given}).items()}

    return scored
