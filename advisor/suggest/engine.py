"""The next point to try, from the runs of an experiment and from past experiments: numbers in, numbers out.

1. While few runs are over, a **portfolio** opens: the configuration, among the best of past experiments, that serves
   those best that are believed and not yet served (greedy, as in M. Feurer et al., "Auto-Sklearn 2.0", JMLR 2022).
   Each outcome shifts the belief (``Elsewhere.weights``), so the second choice already heeds the first result.
   The less is expected of the past, the fewer these are, and the more points are spread out.
2. Then a **Gaussian process** (``surface``) proposes the candidate with the largest expected improvement (D. R. Jones
   et al., 1998), times the probability that the run comes through (``survival``) and keeps its constraints
   (J. R. Gardner et al., "Bayesian optimization with inequality constraints", 2014), times what the user believes
   (C. Hvarfner et al., πBO, 2022), by the predicted cost (J. Snoek et al., 2012).
3. Without past experiments, the first points are **spread** out: each as far from the others as chance allows.

There are two such processes: one that starts from what the past says, and one that knows no past. Each is asked as
often as it deserves (``_choose``), and the second proposes what it would without any past: one that is unlike this
experiment costs no more than the proposals of the first.

Runs that go on count with what is expected of them (D. Ginsbourger et al., "Kriging is well-suited to parallelize
optimization", 2010), and those that went wrong with the worst where nothing comes through.
Nothing here knows of stores, experiments or words.

Invariant: equal arguments give equal proposals; what the model without a past proposes from runs that came through
does not depend on the past.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from advisor.suggest import surface
from advisor.suggest.elsewhere import TRUST, Elsewhere, Opening, normal_scores
from advisor.suggest.encoding import Encoder
from advisor.suggest.geometry import N_LONELY, loneliness
from advisor.suggest.kernel import Kernel
from advisor.suggest.survival import Survival

Array = NDArray[np.float64]
Taken = Callable[[Array], bool]
"""Whether a point, shape (d,), has been tried or suggested."""

N_OPENING: Final = 3
"""Points of the portfolio where the past is trusted most; from then on the model, which heeds it as well, does no
worse."""
LEAST_BELIEVED: Final = 0.02
"""Share of the belief in the most believed experiment, before any run, below which one lends no configuration."""
P_OPENING: Final = 1 / 3
"""Chance of coming through below which a past configuration opens nothing: two or three crashes right beside it."""
N_SPREAD: Final = 5
"""Points that are spread out where there is no past."""
N_RANDOM: Final = 500
"""Random candidates."""
N_LOCAL: Final = 700
"""Candidates near the best runs."""
N_TRIED: Final = 200
"""Candidates that were run elsewhere."""
N_REFINED: Final = 200
"""Candidates near the best candidates, in a second round."""
N_CENTERS: Final = 4
"""Best runs around which candidates are drawn."""
CARE: Final = 8.0
"""How much more the chance of a crash counts as crashes become the rule: it is raised to 1 plus 8 times their share.
Expected improvement by itself takes any risk for a promise that the crashes keep from being tested."""
MAX_FATES: Final = 200
"""Runs that came through, and that did not, which the chance of a crash is told from; the latest."""
MAX_BEST: Final = 50
"""Runs among which the best expected one is looked for."""
MAX_KERNELS: Final = 64
"""Covariances that are kept."""
MAX_OWN: Final = 200
"""Runs that the model holds: the best half, the latest quarter, and others evenly down the ranks."""
MIN_LEAD: Final = 4
"""Runs below which only their order counts."""
MAX_LEAD: Final = 4.0
"""A lead over the middle beyond four times that of the best tenth says nothing more: it may be an error."""
FAR_BEHIND: Final = 5.0
"""Beyond five times it behind the middle, an outcome counts by the logarithm of what is left."""
EVIDENCE: Final = 0.5
"""Weight of what the runs say about which model foretells better: they were chosen by these models, not at random."""
UNFORETOLD: Final = 0.3
"""Variance of what past experiments do not foretell, of normal scores that vary by 1."""
PRIOR_STRENGTH: Final = 5.0
"""How many runs a user's belief outweighs (the beta of πBO)."""
FLOOR: Final = 1e-12
ROUNDING: Final = 1e-9
"""What a whole number may lack in floating point."""


@dataclass(frozen=True, slots=True, eq=False)
class Own:
    """The runs of the experiment that is advised, as arrays; higher outcomes are better."""

    points: Array
    """Shape (n, d): coordinates of the runs that are over and have an outcome, oldest first."""
    outcomes: Array
    """Shape (n,): finite."""
    _: KW_ONLY
    wrong: Array
    """Shape (w, d): runs that crashed, failed or diverged."""
    pending: Array
    """Shape (p, d): runs that go on, and suggestions that wait."""
    pruned: NDArray[np.bool_]
    """Shape (n,): stopped early; such an outcome counts as no better than the median."""
    costs: Array | None = None
    """Shape (n,): above 0, NaN where unknown; None where all cost the same."""
    violations: Array = field(default_factory=lambda: np.zeros((0, 0)))
    """Shape (n, c): by how much each constraint is broken, at most 0 where it is kept; NaN where unknown."""


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """One point, and the figures behind it."""

    point: Array
    """Shape (d,): coordinates."""
    _: KW_ONLY
    source: str
    """``portfolio``, ``gp`` or ``random-startup``."""
    p_ok: float
    """Probability in (0, 1] that the run comes through."""
    p_feasible: float | None = None
    """Probability that all constraints are kept; None where there are none, or nothing is known of one."""
    slope: float | None = None
    """How far the past is believed, in [0, 1.5]; None where none is used."""
    weights: Array = field(default_factory=lambda: np.zeros(0))
    """Share of belief in each past experiment, in the order of ``Elsewhere.tasks``."""
    opening: Opening | None = None
    """The past run that a point of the portfolio was."""


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """What does not change while several points are proposed."""

    encoder: Encoder
    own: Own
    elsewhere: Elsewhere
    _: KW_ONLY
    log_prior: Callable[[Array], Array] | None = None
    """A user's belief: logarithm of a density at coordinates (n, d), up to a constant."""


def propose(setting: Setting, *, taken: Taken, seed: int, n: int = 1) -> list[Proposal]:
    """Return up to ``n`` points, none of them taken; fewer only if the space seems to be exhausted."""
    own, out = setting.own, []
    rng = np.random.default_rng(seed)
    choosing = np.random.default_rng([seed, 1])  # so that which model is asked does not change what it draws
    model = _Model(setting)
    waiting = list(own.pending)
    for _ in range(n):
        mine = {tuple(point) for point in waiting[len(own.pending) :]}

        def is_taken(point: Array, mine: set[tuple[float, ...]] = mine) -> bool:
            return tuple(point) in mine or taken(point)

        found = model.next(np.array(waiting).reshape(-1, len(setting.encoder.names)), is_taken, rng, choosing)
        if found is None:
            break
        out.append(found)
        waiting.append(found.point)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    """A model, and the runs that it holds."""

    model: surface.Surface
    cold: bool
    columns: Array
    scores: Array
    """Of the runs, on the scale of the past: few runs that are all thought good differ less than ranks make believe."""
    said: Array
    evidence: float
    """Log density of each run given all others, summed, on the scale that it was fitted to."""
    constraints: tuple[surface.Surface, ...] = ()
    """A model of each constraint's violation."""


@dataclass(frozen=True, slots=True, eq=False)
class _Bound:
    """A model of one constraint's violation, and what it was fitted to."""

    model: surface.Surface
    columns: Array
    values: Array


class _Model:
    """What is fitted once for all points of a call."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.encoder, self.own, self.elsewhere = setting, setting.encoder, setting.own, setting.elsewhere
        own = self.own
        self.scores, self.leads = _scores(own, by_rank=True), _scores(own, by_rank=False)
        self.rows = _held(self.scores)
        self.columns = self.encoder.columns(own.points[self.rows])
        self.said = self.elsewhere.say(self.columns)
        self.path = self.elsewhere.weights(self.said, self.scores[self.rows])
        self.weights = self.path[-1]
        self.kernel = self.elsewhere.kernel if self.elsewhere else Kernel.default(self.encoder.n_columns)
        came, gone = self.encoder.columns(own.points[-MAX_FATES:]), self.encoder.columns(own.wrong[-MAX_FATES:])
        fates = np.concatenate([np.ones(len(came), dtype=bool), np.zeros(len(gone), dtype=bool)])
        self.survival = Survival(np.vstack([came, gone]), fates, self.kernel)
        self.care = 1.0 + CARE * _share_wrong(own)
        self._fitted: dict[tuple[bool, bool], _Fitted] = {}
        self._promising: NDArray[np.intp] | None = None

    def next(
        self, pending: Array, taken: Taken, rng: np.random.Generator, choosing: np.random.Generator
    ) -> Proposal | None:
        n_seen = len(self.own.points) + len(self.own.wrong) + len(pending)
        n_known = len(self.own.points)
        trust = float(self.elsewhere.belief.sum())
        n_opening = int(N_OPENING * trust / TRUST[1] + ROUNDING)  # a little trust opens nothing
        if self.elsewhere and (n_seen < n_opening or (n_known < 2 and trust >= 0.5)):
            found = self._open(pending, taken)
            if found is not None:
                return found
        if n_known < 2 or n_seen < round(N_OPENING * trust + N_SPREAD * (1.0 - trust)):
            return self._spread(pending, taken, rng)
        return self._improve(self._believing(self._choose(choosing), pending), pending, taken, rng)

    # -- before there is a model

    def _open(self, pending: Array, taken: Taken) -> Proposal | None:
        """Return the past configuration that serves those past experiments best that are not served yet."""
        elsewhere = self.elsewhere
        columns = self.encoder.columns(elsewhere.opening_points)
        said = elsewhere.say(columns)
        gaps = np.maximum(said.max(axis=1, keepdims=True, initial=-np.inf) - said, 0.0)
        served = np.full(len(elsewhere.tasks), np.inf)  # by runs that came to something, and those that may
        tried = np.vstack([self.columns, self.encoder.columns(pending)])
        if len(tried):
            there = said.max(axis=1, keepdims=True) - elsewhere.say(tried)
            served = np.maximum(there, 0.0).min(axis=1)
        left = self.weights @ np.minimum(served[:, None], gaps)
        p_ok = self.survival.probability(columns)
        left = left + (1.0 - p_ok) * self.weights.sum()  # a crash serves nobody
        believed = elsewhere.belief >= LEAST_BELIEVED * elsewhere.belief.max()
        for i in np.argsort(left, kind="stable"):
            if believed[elsewhere.opening[i].task] and p_ok[i] >= P_OPENING and not taken(elsewhere.opening_points[i]):
                return Proposal(
                    elsewhere.opening_points[i],
                    source="portfolio",
                    p_ok=float(p_ok[i]),
                    weights=self.weights,
                    opening=elsewhere.opening[i],
                )
        return None

    def _spread(self, pending: Array, taken: Taken, rng: np.random.Generator) -> Proposal | None:
        """Return the loneliest of some random points, preferring those likely to come through."""
        known = np.vstack([self.own.points, self.own.wrong, pending])
        points = [point for point in self.encoder.draw(rng, 8 * N_LONELY) if not taken(point)][:N_LONELY]
        if not points:
            return None
        drawn = np.array(points)
        p_ok = self.survival.probability(self.encoder.columns(drawn))
        gaps = loneliness(self.encoder.space, known, drawn)
        belief = 0.0 if self.setting.log_prior is None else self.setting.log_prior(drawn)
        best = int(np.argmax(np.log(np.maximum(gaps * p_ok, FLOOR)) + belief))
        return Proposal(drawn[best], source="random-startup", p_ok=float(p_ok[best]))

    # -- with a model

    def _improve(self, fitted: _Fitted, pending: Array, taken: Taken, rng: np.random.Generator) -> Proposal | None:
        best = self._best(fitted, pending)
        centers = self.own.points[np.argsort(-self.scores, kind="stable")[:N_CENTERS]]
        points = np.vstack([self.encoder.draw(rng, N_RANDOM), self.encoder.vary(rng, centers, N_LOCAL)])
        if not fitted.cold:
            points = np.vstack([points, self._tried_elsewhere()])
        value = self._value(fitted, points, best)
        near = self.encoder.vary(rng, points[np.argsort(-value, kind="stable")[:N_CENTERS]], N_REFINED)
        points = np.vstack([points, near])
        value = np.concatenate([value, self._value(fitted, near, best)])
        for i in np.argsort(-value, kind="stable"):
            if not taken(points[i]):
                return self._proposal(fitted, points[i])
        return None

    def _tried_elsewhere(self) -> Array:
        """Return the configurations of past experiments of which the past as a whole says most."""
        points = self.elsewhere.run_points
        if self._promising is None:
            said = self.weights @ self.elsewhere.run_said
            self._promising = np.argsort(-said, kind="stable")[:N_TRIED]
        return points[self._promising]

    def _choose(self, choosing: np.random.Generator) -> _Fitted:
        """Return the model with the past or the one without it, each as often as it deserves.

        How often is the probability of the model given the runs here: what is believed of the past before any run,
        times how well each model foretells the runs that it has not seen. They are compared on the same scores; the
        points of the one without a past come from scores of its own, which one without a past would have.
        """
        if not self.elsewhere:
            return self._surface(cold=True, by_rank=False)
        warm, rival = self._surface(cold=False, by_rank=True), self._surface(cold=True, by_rank=True)
        trust = float(self.elsewhere.belief.sum())
        odds = np.log(trust / (1.0 - trust)) + EVIDENCE * (warm.evidence - rival.evidence)
        is_warm = choosing.random() < 1.0 / (1.0 + np.exp(-np.clip(odds, -50, 50)))
        return warm if is_warm else self._surface(cold=True, by_rank=False)

    def _surface(self, *, cold: bool, by_rank: bool) -> _Fitted:
        """Return a model of the runs here, of their scores half by rank or of their leads alone."""
        key = (cold, by_rank)
        if key not in self._fitted:
            kernel = self._kernel_at(surface.milestone(len(self.scores)), cold=cold, by_rank=by_rank)
            scores = (self.scores if by_rank else self.leads)[self.rows]
            self._fitted[key] = self._fit(scores, self.columns, self.said, self.path, cold=cold, kernel=kernel)
        return self._fitted[key]

    def _kernel_at(self, until: int, *, cold: bool, by_rank: bool) -> Kernel:
        """Return the covariance as it was fitted when there were ``until`` runs."""
        own = self.own
        data = (own.points[:until], own.outcomes[:until], own.pruned[:until])
        key = (hashlib.blake2b(b"".join(part.tobytes() for part in data)).digest(), cold, by_rank)
        kernels = self.elsewhere.kernels
        if key not in kernels:
            then = Own(*data[:2], wrong=own.wrong, pending=own.pending, pruned=data[2])
            scores = _scores(then, by_rank=by_rank)
            rows = _held(scores)
            columns = self.encoder.columns(own.points[rows])
            said = self.elsewhere.say(columns)
            path = self.elsewhere.weights(said, scores[rows])
            if len(kernels) >= MAX_KERNELS:
                kernels.clear()
            kernels[key] = self._fit(scores[rows], columns, said, path, cold=cold, kernel=None).model.kernel
        return kernels[key]

    def _fit(
        self, scores: Array, columns: Array, said: Array, path: Array, *, cold: bool, kernel: Kernel | None
    ) -> _Fitted:
        believed, foretold, scale = np.zeros(scores.size), None, 1.0
        prior = Kernel.default(self.encoder.n_columns) if cold else self.kernel
        if not cold:
            believed = path[-1] @ said
            foretold = np.einsum("nt,tn->n", path[:-1], said)
            scale = min(1.0, float(np.sqrt(foretold.var() + UNFORETOLD)) / (float(scores.std()) or 1.0))
        scaled = scores * scale
        model = surface.fit(columns, scaled, believed, prior, cold=cold, foretold=foretold, kernel=kernel)
        evidence = model.evidence + scores.size * float(np.log(scale))
        return _Fitted(model, cold, columns, scaled, believed, evidence=evidence)

    def _believing(self, fitted: _Fitted, pending: Array) -> _Fitted:
        """Return the model as if the runs that go on had come out as expected, and those that went wrong badly.

        A run that went wrong counts as between what was expected of it and the worst, as far down as its place is
        unlikely to come through: a crash beside runs that came through says less than one of many. The lengths are
        not fitted to it, since the border of what runs is sharp.
        """
        wrong = self.own.wrong[-MAX_OWN:]
        fitted = replace(fitted, constraints=self._bounds(pending))
        if not len(pending) and not len(wrong):
            return fitted
        columns = self.encoder.columns(np.vstack([pending, wrong]))
        told = self._said(columns, fitted)
        mean, _ = fitted.model.predict(columns, told)
        p_ok = np.concatenate([np.ones(len(pending)), self.survival.probability(columns[len(pending) :])])
        mean = np.minimum(mean, p_ok * mean + (1.0 - p_ok) * fitted.scores.min())
        both, scores = np.vstack([fitted.columns, columns]), np.concatenate([fitted.scores, mean])
        said = np.concatenate([fitted.said, told])
        kernel = fitted.model.kernel
        return replace(fitted, model=surface.fit(both, scores, said, kernel, cold=fitted.cold, kernel=kernel))

    def _said(self, columns: Array, fitted: _Fitted) -> Array:
        return np.zeros(len(columns)) if fitted.cold else self.elsewhere.mean(columns, self.weights)

    def _best(self, fitted: _Fitted, pending: Array) -> float:
        """Return the score to improve on: what is expected of the best run that keeps all constraints.

        Not its own score: the best of many noisy ones was lucky, and nothing would seem to improve on it. What is
        expected of runs that go on counts as well; otherwise the next one would be sent after them.
        """
        violations = self.own.violations
        kept = np.ones(len(self.scores), dtype=bool) if violations.size == 0 else (violations <= 0).all(axis=1)
        if not kept.any():
            return float(fitted.scores.min())
        likely = np.flatnonzero(kept)[np.argsort(-self.scores[kept], kind="stable")[:MAX_BEST]]
        if violations.size and len(pending):  # of those that go on, those that probably keep them
            pending = pending[_p_feasible(fitted, self.encoder.columns(pending)) > 0.5]
        columns = self.encoder.columns(np.vstack([self.own.points[likely], pending]))
        mean, _ = fitted.model.predict(columns, self._said(columns, fitted))
        return float(mean.max())

    def _value(self, fitted: _Fitted, points: Array, best: float) -> Array:
        """Return the logarithm of what trying each point is worth."""
        columns = self.encoder.columns(points)
        mean, deviation = fitted.model.predict(columns, self._said(columns, fitted))
        value = np.log(deviation) + log_improvement((mean - best) / deviation)
        value = value + self.care * np.log(np.maximum(self.survival.probability(columns), FLOOR))
        if self.own.violations.size:
            value = value + np.log(np.maximum(_p_feasible(fitted, columns), FLOOR))
        if self._costs is not None:
            value = value - self._costs.predict(columns, np.zeros(len(columns)))[0]
        if self.setting.log_prior is not None:
            value = value + self.setting.log_prior(points) * PRIOR_STRENGTH / max(len(self.scores), 1)
        return np.asarray(value)

    def _bounds(self, pending: Array) -> tuple[surface.Surface, ...]:
        """Return the models of the constraints as if the runs that go on had come out as expected."""
        if not len(pending):
            return tuple(bound.model for bound in self._constraints)
        columns, nothing = self.encoder.columns(pending), np.zeros(len(pending))
        believed = []
        for bound in self._constraints:
            values = np.concatenate([bound.values, bound.model.predict(columns, nothing)[0]])
            both, kernel = np.vstack([bound.columns, columns]), bound.model.kernel
            believed.append(surface.fit(both, values, np.zeros(values.size), kernel, cold=True, kernel=kernel))
        return tuple(believed)

    @functools.cached_property
    def _constraints(self) -> list[_Bound]:
        """A Gaussian process of each constraint's violation, in units of its spread.

        Its covariance is fitted: a bound is often exact where the objective is noisy, and with the objective's noise
        the search would be sent beyond it again and again.
        """
        found = []
        for values in self.own.violations.T:
            known = np.flatnonzero(np.isfinite(values))[-MAX_OWN:]
            if known.size >= 2:
                columns = self.encoder.columns(self.own.points[known])
                scaled = values[known] / (float(values[known].std()) or 1.0)
                model = surface.fit(columns, scaled, np.zeros(known.size), self.kernel, cold=True)
                found.append(_Bound(model, columns, scaled))
        return found

    @property
    def _knows_all_constraints(self) -> bool:
        """Whether there are constraints, and a model of each."""
        return bool(self.own.violations.size) and len(self._constraints) == self.own.violations.shape[1]

    @functools.cached_property
    def _costs(self) -> surface.Surface | None:
        """A Gaussian process of the logarithm of the cost; None where too little is known of it."""
        costs = np.zeros(0) if self.own.costs is None else self.own.costs
        known = np.flatnonzero(np.isfinite(costs) & (costs > 0))[-MAX_OWN:]
        return self._plain(known, np.log(costs[known])) if known.size >= 2 else None

    def _plain(self, rows: NDArray[np.intp], values: Array) -> surface.Surface:
        """Return a Gaussian process of some figure of the runs, with the lengths of the past."""
        columns = self.encoder.columns(self.own.points[rows])
        return surface.fit(columns, values, np.zeros(rows.size), self.kernel, cold=True, kernel=self.kernel)

    def _proposal(self, fitted: _Fitted, point: Array) -> Proposal:
        columns = self.encoder.columns(point[None, :])
        return Proposal(
            point,
            source="gp",
            p_ok=float(self.survival.probability(columns)[0]),
            p_feasible=float(_p_feasible(fitted, columns)[0]) if self._knows_all_constraints else None,
            slope=None if fitted.cold else fitted.model.slope,
            weights=self.weights,
        )


def _p_feasible(fitted: _Fitted, columns: Array) -> Array:
    """Return the probability that all constraints are kept."""
    from scipy.special import ndtr

    out = np.ones(len(columns))
    for model in fitted.constraints:
        mean, deviation = model.predict(columns, np.zeros(len(columns)))
        out = out * ndtr(-mean / deviation)
    return out


def _scores(own: Own, *, by_rank: bool) -> Array:
    """Return the outcomes on a scale of mean 0 and deviation 1; a pruned run is no better than the middle.

    Ranks alone forget by how much the best runs lead, which a smooth objective needs to be refined; values alone
    do not speak the language of past experiments, which are known by their ranks. So the model that knows no past is
    given values alone, and the one that does half of each (``by_rank``).
    """
    outcomes = own.outcomes
    if own.pruned.any() and not own.pruned.all():  # measured early, they may look better than anything
        middle = float(np.median(outcomes[~own.pruned]))
        outcomes = np.where(own.pruned, np.minimum(outcomes, middle), outcomes)
    scores = lead(outcomes)
    if by_rank:
        scores = 0.5 * (scores + normal_scores(outcomes))
    return np.where(own.pruned, np.minimum(scores, 0.0), scores)


def log_improvement(gap: Array) -> Array:
    """Return log(phi(u) + u Phi(u)), the logarithm of the expected improvement in units of the deviation.

    Stable far below 0, where the expected improvement itself is 0 in floating point (S. Ament et al., "Unexpected
    improvements to expected improvement", NeurIPS 2023).
    """
    from scipy.special import erfcx, ndtr

    low = np.minimum(gap, -1.0)
    log_density = -0.5 * low * low - 0.5 * np.log(2 * np.pi)
    ratio = np.sqrt(np.pi / 2) * erfcx(-low / np.sqrt(2.0))  # Phi / phi
    far = log_density + np.log(np.maximum(1.0 + low * ratio, 1e-300))
    high = np.maximum(gap, -1.0)
    near = np.log(np.exp(-0.5 * high * high) / np.sqrt(2 * np.pi) + high * ndtr(high))
    return np.asarray(np.where(gap < -1.0, far, near))


def lead(outcomes: Array) -> Array:
    """Return outcomes, shape (n,), by how far they lead the middle one, with mean 0 and standard deviation 1.

    The unit is what the best tenth leads by; what lags far behind counts by its logarithm, so that one run that
    nearly diverged does not make all others equal. Normal scores where fewer than ``MIN_LEAD`` are known.
    """
    if outcomes.size < MIN_LEAD:
        return normal_scores(outcomes)
    middle, top = np.quantile(outcomes, [0.5, 0.9])
    gaps = outcomes - middle
    unit = float(top - middle) or float(gaps.std()) or 1.0
    gaps = np.minimum(gaps / unit, MAX_LEAD)
    gaps = np.where(gaps < -FAR_BEHIND, -FAR_BEHIND - np.log1p(np.maximum(-gaps - FAR_BEHIND, 0.0)), gaps)
    return np.asarray((gaps - gaps.mean()) / (float(gaps.std()) or 1.0))


def _share_wrong(own: Own) -> float:
    """Return the share of runs that went wrong, one that came through added."""
    n_wrong = len(own.wrong)
    return n_wrong / (n_wrong + len(own.points) + 1)


def _held(scores: Array) -> NDArray[np.intp]:
    """Return the rows that the model holds, ascending."""
    n = scores.size
    if n <= MAX_OWN:
        return np.arange(n)
    order = np.argsort(-scores, kind="stable")
    kept = set(order[: MAX_OWN // 2].tolist()) | set(range(n - MAX_OWN // 4, n))
    rest = [i for i in order.tolist() if i not in kept]
    places = np.linspace(0, len(rest) - 1, MAX_OWN - len(kept)).round().astype(int)
    return np.array(sorted(kept | {rest[i] for i in places}), dtype=np.intp)
