"""What a question asks beside its objectives and its space: constraints, first points, what is fixed, what runs cost.

Kept with the experiment as JSON (``Experiment.problem``); here it is a checked value. Pure.

Invariant: ``Problem.of(problem.to_json()) == problem``, and a problem that exists makes sense by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self


@dataclass(frozen=True, slots=True)
class Constraint:
    """A bound that a run's last value of a metric has to keep."""

    metric: str
    op: Literal["<=", ">="]
    bound: float

    def violation(self, value: float) -> float:
        """Return by how much a value breaks the bound: above 0 where it does, NaN for NaN."""
        return value - self.bound if self.op == "<=" else self.bound - value


@dataclass(frozen=True, slots=True)
class Prior:
    """Where a user believes that the best value of a numeric parameter lies."""

    center: float
    """In the parameter's unit."""
    spread: float = 0.2
    """Standard deviation of the belief, as a share of the parameter's range on its scale."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What else is said of a question; the empty one says nothing."""

    constraints: tuple[Constraint, ...] = ()
    try_first: tuple[Mapping[str, Any], ...] = ()
    """Points to suggest before anything else, in this order; parameters left out are chosen by the sampler."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that are not varied for now."""
    renamed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Own parameter → what it is called in other experiments."""
    priors: Mapping[str, Prior] = field(default_factory=dict)
    cost: str | None = None
    """What a run costs: ``duration`` (seconds), or the name of a metric; None where all cost the same."""
    repeats: int = 1
    """How often each point is to be run, with different seeds, where the objective is noisy."""

    @classmethod
    def of(cls, data: Mapping[str, Any] | None) -> Self:
        """Return the problem that ``to_json`` wrote."""
        data = data or {}
        return cls(
            constraints=tuple(Constraint(c["metric"], c["op"], float(c["bound"])) for c in data.get("constraints", ())),
            try_first=tuple(dict(point) for point in data.get("try_first", ())),
            fixed=dict(data.get("fixed", {})),
            renamed={name: tuple(others) for name, others in data.get("renamed", {}).items()},
            priors={name: Prior(**prior) for name, prior in data.get("priors", {}).items()},
            cost=data.get("cost"),
            repeats=int(data.get("repeats", 1)),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the form that the store keeps; what says nothing is left out."""
        out: dict[str, Any] = {
            "constraints": [{"metric": c.metric, "op": c.op, "bound": c.bound} for c in self.constraints],
            "try_first": [dict(point) for point in self.try_first],
            "fixed": dict(self.fixed),
            "renamed": {name: list(others) for name, others in self.renamed.items()},
            "priors": {name: {"center": p.center, "spread": p.spread} for name, p in self.priors.items()},
            "cost": self.cost,
        }
        kept = {name: value for name, value in out.items() if value}
        return kept | ({"repeats": self.repeats} if self.repeats != 1 else {})
