"""What is known of one curve after each of its points: its spikes, whether they passed, and where it diverged.

The same object follows a live run, batch by batch, and reads a whole curve at once, so a check at the end says what
the run was told while it trained. Work is constant a point, memory is bounded, and how the points are cut into
batches changes nothing. Leaves out words and severities (``rules``), and curves without a logarithm.

Invariant: what is said of a point depends on the points before it alone; a curve that has values without a
logarithm (negative ones, scores beyond 1) or values that are not finite is no longer followed.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from advisor.findings.medians import robust_sigma
from storage.records import Direction

Floats = NDArray[np.float64]

MIN_POINTS = 10
"""Fewer points are too short for any rule about shape: one in ten would be a tenth of the run."""
SPIKE_SIGMAS = 8.0
"""A jump of 8 robust sigmas of the jumps before it. On 1,218 healthy real trainings 20 sigmas caught 3 of 4 added
spikes of 1 nat, 8 catch 9 of 10 at the same false alarms, given the next two conditions."""
SPIKE_NATS = 0.8
"""A spike climbs 0.8 nats (2.2 times) above the best so far: one of a full nat is seen through the noise around it …"""
BATCH_SIGMAS = 20.0
"""In the losses of single training batches, which have heavy tails, a spike of less than 20 robust sigmas …"""
BATCH_POINTS = 10
"""… that is over within 10 values and does not reach the first value is information: a hard batch. On 1,080
healthy trainings, runs with a warning of a spike fell from 20 % to 3 %."""
SPIKE_JUMP_NATS = 0.5
"""… and at least half a nat of that between two neighbours."""
SPIKE_SMALL = 0.1
"""A peak below 10 % of the first value is information only: losses near zero are noisy on a log scale."""
GRADIENT_SPIKE_NATS = 3.912
"""Gradient norms are heavy-tailed: only a factor of 50 counts, log(50)."""
RECOVERED_SHARE = 0.5
"""A spike has passed once half of its jump (in nats) is undone."""
UNRECOVERED_SHARE = 0.05
"""A spike that has not passed after 5 % of the run so far is an error: the level itself has changed."""
DIVERGED_NATS = 0.25
"""An end this far above the start (28 %), noise added, is no noise: warm-up bumps and dropout stay below."""
DIVERGED_RETURN = 0.5
"""Half of the way back from the best value to the start counts as diverged …"""
DIVERGED_RETURN_NATS = 1.386
"""… where the end is also 4 times the best value: log(4)."""
DIVERGED_NOISES = 3.0
"""Above the start, this many robust sigmas of the jumps are added, so that a noisy flat curve does not diverge."""
SUSTAINED_POINTS = 2
"""A level counts after 2 points in a row …"""
SUSTAINED_SHARE = 0.02
"""… that are 2 % of the run so far: one unlucky point decides nothing, and 5 % of the run are not yet over."""
START_LIMIT = 3.0
"""The start is the first value, but at most 3 times the third largest of the first ``MIN_POINTS``: an untrained net's
loss may be anything (1e13 in a sound training), and beside that nothing later would count …"""
N_TRANSIENT = 2
"""… and so may that of the step after it."""
NOISE_POINTS = 512
"""The usual jump is the median of the last 512; what the run did long ago says little of its noise now."""
NOISE_GROWTH = 1.25
"""It is measured anew each time the curve has grown by a quarter."""
_FLOOR = 1e-3  # share of the first value below which differences no longer matter, as in ``features``
_NOISE_FLOOR = 1e-3  # nats


@dataclass(frozen=True, slots=True)
class Jump:
    """One spike."""

    at: int
    """Index of its first high point."""
    _: KW_ONLY
    step: int
    before: float
    """The value before it."""
    peak: float
    """The value at it."""
    nats: float
    sigmas: float
    base: float
    """Level before it, nats."""
    recovered_after: int | None = None
    """Points until half of it was undone; None while it is not."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring points of which something holds."""

    first: int
    """Index of its first point."""
    _: KW_ONLY
    step: int
    n: int
    """Points in it."""


class Sustained:
    """Follows a condition and knows when it has held for long enough to count, and when it has ended.

    Parameters
    ----------
    points, share
        In how many points in a row, and in which share of all points so far, it must hold.
    """

    def __init__(self, points: int = SUSTAINED_POINTS, share: float = SUSTAINED_SHARE) -> None:
        self._points, self._share = points, share
        self.now: Stretch | None = None
        """The stretch that goes on, where it is long enough to count."""
        self.last: Stretch | None = None
        """The last one that was long enough and has ended."""
        self._first, self._first_step, self._n = 0, 0, 0

    def extend(self, holds: NDArray[np.bool_], steps: NDArray[np.int64], n_before: int) -> None:
        """Take whether it holds at further points, of which ``n_before`` came earlier."""
        size = holds.size
        if not size or (not self._n and not holds.any()):
            return
        edges = np.flatnonzero(np.diff(holds)) + 1
        for low, high in zip([0, *edges.tolist()], [*edges.tolist(), size], strict=True):
            if not holds[low]:
                self._end()
                continue
            if not self._n:
                self._first, self._first_step = n_before + low, int(steps[low])
            # Long enough at the first of its points at which it was so: a later, longer run needs more.
            counts = np.arange(self._n + 1, self._n + 1 + high - low)
            long = self.now is not None or bool((counts >= self._needed(n_before + 1 + np.arange(low, high))).any())
            self._n += high - low
            if long:
                self.now = Stretch(self._first, step=self._first_step, n=self._n)

    def _needed(self, n: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many points in a row count as sustained after ``n`` points."""
        points: NDArray[np.int64] = np.maximum(self._points, np.ceil(self._share * n)).astype(np.int64)
        return points

    def _end(self) -> None:
        if self.now is not None:
            self.last, self.now = self.now, None
        self._n = 0


class Trail:
    """Follows one curve.

    Parameters
    ----------
    direction
        Which way is better.
    min_nats
        How high a spike is at least.
    """

    def __init__(self, direction: Direction, *, min_nats: float = SPIKE_NATS) -> None:
        self._direction = direction
        self.min_nats = min_nats
        self.n = 0
        """Points looked at: none until there are ``MIN_POINTS``, then all."""
        self.followed = True
        """Whether all values so far have a logarithm."""
        self.spikes = 0
        """How many there were, those within another one included."""
        self.largest: Jump | None = None
        self.open: Jump | None = None
        """The last spike, while it has not passed."""
        self.diverged = Sustained()
        self.noise = math.inf
        """Robust sigma of the jumps, nats; infinite while too few are known."""
        self._scale = 0.0
        self._held: list[tuple[NDArray[np.int64], Floats]] = []
        self._start = self._best = self._last = 0.0
        self._last_value = 0.0
        self._jumps: Floats = np.empty(0)
        self._measure_at = MIN_POINTS

    @property
    def overdue(self) -> bool:
        """Whether the last spike should have passed by now and has not."""
        return self.open is not None and self.n - self.open.at > max(SUSTAINED_POINTS, UNRECOVERED_SHARE * self.n)

    @property
    def state(self) -> tuple[object, ...]:
        """Something that changes when there is something new to say."""
        recovered = None if self.largest is None else self.largest.recovered_after is None
        return (self.open is not None, self.overdue, recovered, self.diverged.now is None, self.diverged.last)

    def extend(self, steps: NDArray[np.int64], values: Floats) -> None:
        """Take further points, shape (T,) each."""
        if not self.followed or not values.size:
            self.n += values.size
            return
        if not self.n:  # where the curve starts is known once its first points are
            self._held.append((steps, values))
            if sum(part.size for _, part in self._held) < MIN_POINTS:
                return
            steps, values = (np.concatenate(parts) for parts in zip(*self._held, strict=True))
            self._held = []
        way = values if self._direction == "minimize" else 1.0 - values
        first = way[:MIN_POINTS]
        if not self.n and np.isfinite(first).all() and first.min() >= 0:
            self._scale = start_of(first)
        bad = _first(~(np.isfinite(way) & (way >= 0) & (self._scale > 0)))
        if bad is not None:
            if self.n or bad >= MIN_POINTS:
                self.extend(steps[:bad], values[:bad])
            else:
                self.n = bad
            self.followed = False
            self.n += values.size - bad
            return
        y, n = np.log(np.maximum(way, 0.0) + max(_FLOOR * self._scale, 1e-150)), self.n
        if not n:
            self._start = min(float(y[0]), math.log(self._scale * (1.0 + _FLOOR)))
            self._best = self._last = float(y[0])
            self._last_value = float(values[0])
        jumps = np.diff(y, prepend=self._last)
        best = np.minimum.accumulate(np.concatenate(([self._best], y)))
        noise = self._noises(jumps, n)
        counted = n + 1 + np.arange(y.size) >= MIN_POINTS
        hit = (jumps > SPIKE_SIGMAS * noise) & (y - best[:-1] > self.min_nats)
        hit &= (jumps > (SPIKE_JUMP_NATS if self.min_nats == SPIKE_NATS else self.min_nats / 2)) & counted
        if self.min_nats == GRADIENT_SPIKE_NATS:  # a norm of 0 says that there was no gradient, not how large one is
            hit &= np.concatenate(([self._last_value], values[:-1])) != 0
        self._spikes(hit, steps, values, y, jumps, noise)
        low, start = best[1:], self._start
        above = y - start > DIVERGED_NATS + DIVERGED_NOISES * np.where(np.isfinite(noise), noise, 0.0)
        back = (y - low > DIVERGED_RETURN_NATS) & (y - low > DIVERGED_RETURN * (start - low))
        self.diverged.extend((above | back) & counted, steps, n)
        self.n += y.size
        self._best, self._last, self._last_value = float(best[-1]), float(y[-1]), float(values[-1])

    def _noises(self, jumps: Floats, n: int) -> Floats:
        """Return the usual size of a jump as it was known before each point."""
        noise = np.empty(jumps.size)
        done = 0
        # Of the very first point there is no jump.
        known = np.concatenate((self._jumps, jumps if n else jumps[1:]))
        lead = self._jumps.size - (0 if n else 1)  # place in ``known`` of the jump to point i is lead + i
        while self._measure_at <= n + jumps.size:
            upto = self._measure_at - n  # points of this batch that are measured
            noise[done : max(upto, 0)] = self.noise
            done = max(upto, 0)
            past = known[max(0, lead + upto - NOISE_POINTS) : lead + upto]
            self.noise = robust_sigma(past) + _NOISE_FLOOR
            self._measure_at = max(self._measure_at + 1, int(self._measure_at * NOISE_GROWTH))
        noise[done:] = self.noise
        self._jumps = known[-NOISE_POINTS:]
        return noise

    def _spikes(
        self, hit: NDArray[np.bool_], steps: NDArray[np.int64], values: Floats, y: Floats, jumps: Floats, noise: Floats
    ) -> None:
        at = 0
        self.spikes += int(hit.sum())
        while at < y.size:
            if self.open is not None:
                passed = _first(y[at:] <= self.open.base + (1 - RECOVERED_SHARE) * self.open.nats)
                if passed is None:
                    return
                at += passed
                done = replace(self.open, recovered_after=self.n + at - self.open.at)
                if self.largest is self.open:
                    self.largest = done
                self.open = None
            following = _first(hit[at:])
            if following is None:
                return
            at += following
            before = self._last_value if at == 0 else float(values[at - 1])
            spike = Jump(
                self.n + at,
                step=int(steps[at]),
                before=before,
                peak=float(values[at]),
                nats=float(jumps[at]),
                sigmas=float(jumps[at] / noise[at]),
                base=float(y[at] - jumps[at]),
            )
            self.open = spike
            if self.largest is None or spike.nats > self.largest.nats:
                self.largest = spike
            at += 1

    def below_start(self, spike: Jump) -> bool:
        """Return whether a spike's peak is no worse than the first value."""
        return (spike.peak if self._direction == "minimize" else 1.0 - spike.peak) <= self._scale

    def is_small(self, spike: Jump) -> bool:
        """Return whether a spike's peak is little beside the first value."""
        peak = spike.peak if self._direction == "minimize" else 1.0 - spike.peak
        return peak < SPIKE_SMALL * self._scale


def start_of(values: Floats) -> float:
    """Return the value that later ones are measured against: the first, unless those after it are far below.

    Parameters
    ----------
    values
        Shape (n,), n >= 1, at least 0, lower is better; those after the first ``MIN_POINTS`` do not count.

    Examples
    --------
    >>> start_of(np.array([2.3, 1.9, 1.7])), start_of(np.array([1e9, 7.0, 6.0, 5.0]))
    (2.3, 18.0)
    """
    early = np.sort(values[:MIN_POINTS])[::-1]
    first, usual = float(values[0]), float(early[min(N_TRANSIENT, early.size - 1)])
    return min(first, START_LIMIT * usual) if usual > 0 else first


def _first(where: NDArray[np.bool_]) -> int | None:
    """Return the first place where it is true, at a cost of that place."""
    low, size = 0, 64
    while low < where.size:
        part = where[low : low + size]
        if part.any():
            return low + int(np.argmax(part))
        low, size = low + size, size * 4
    return None
