"""A language model that says what it was told to say: for tests and demonstrations without a network.

Leaves out everything that a real one does. Invariant: it keeps every conversation that it was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from advisor.documents.model import TIMEOUT_S, Message
from advisor.errors import ModelUnavailableError


@dataclass
class ScriptedModel:
    """A model that gives prepared answers in turn.

    An answer that is an exception is raised; when the answers are used up, the last one is repeated.
    """

    answers: Sequence[str | ModelUnavailableError]
    name: str = "scripted"
    timeout_s: float = TIMEOUT_S
    asked: list[list[Message]] = field(default_factory=list)
    """The conversations it was given."""

    def complete(
        self, messages: Sequence[Message], *, schema: Mapping[str, Any], timeout_s: float | None = None
    ) -> str:
        """Return the next prepared answer."""
        self.asked.append(list(messages))
        if not self.answers:
            raise ModelUnavailableError("the scripted model has no answers; give it at least one")
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, ModelUnavailableError):
            raise answer
        return answer
