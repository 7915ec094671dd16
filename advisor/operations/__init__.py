"""What can be asked of the advisor and done with it from outside; the JSON API and agents' tools are made from it."""

from __future__ import annotations

from typing import Final

from advisor.operations.experiments import LIST_EXPERIMENTS
from advisor.operations.operation import Answer, Asked, Number, Operation, call, number

OPERATIONS: Final[tuple[Operation, ...]] = (LIST_EXPERIMENTS,)
"""All of them, in the order in which they are listed."""

__all__ = ["OPERATIONS", "Answer", "Asked", "Number", "Operation", "call", "number"]
