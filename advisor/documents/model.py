"""The seam to a language model: one function that takes messages and returns text.

The only module that imports litellm, and only when a model is asked. Leaves out what is asked and whether the
answer is true (see ``writer`` and ``verifier``). Invariant: whatever goes wrong is a ``ModelUnavailableError``
within the deadline, and no message of it holds a key, an address with credentials or a prompt.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict, runtime_checkable
from urllib.parse import urlsplit

from advisor.documents.untrusted import one_line
from advisor.errors import MissingExtraError, ModelUnavailableError

MAX_ANSWER = 200_000
"""Characters of an answer that are looked at; a longer one is no answer."""
RETRY_WAIT_S = 0.3
"""Before the second attempt; doubled before each further one."""


class Message(TypedDict):
    """One message of a conversation."""

    role: str
    """``system``, ``user`` or ``assistant``."""
    content: str


@runtime_checkable
class LanguageModel(Protocol):
    """Something that continues a conversation."""

    @property
    def name(self) -> str:
        """What a document calls it."""

    def complete(self, messages: Sequence[Message], *, schema: Mapping[str, Any]) -> str:
        """Return the next message, asked to be JSON that fits ``schema``; callers check it themselves.

        Raises
        ------
        ModelUnavailableError
            If there is no usable answer.
        """


@dataclass(frozen=True, slots=True)
class LiteLLMModel:
    """A model that litellm can reach: any provider, or a local server through ``api_base``.

    Keys come from the provider's own environment variables only.
    """

    name: str
    """Provider and model as litellm spells them, for instance ``openai/gpt-4o-mini`` or ``ollama_chat/qwen3``."""
    api_base: str | None = None
    """Address of the server; None for the provider's own."""
    timeout_s: float = 60.0
    """Seconds for one call of ``complete``, all attempts together."""
    attempts: int = 3
    """How often an answer is asked for where the server fails or is busy; at least 1."""
    temperature: float = 0.0
    max_tokens: int = 2000

    def __post_init__(self) -> None:
        if self.timeout_s <= 0 or self.attempts < 1:
            raise ValueError(f"timeout_s is {self.timeout_s} and attempts is {self.attempts}; both must be positive")

    def complete(self, messages: Sequence[Message], *, schema: Mapping[str, Any]) -> str:
        """Return the model's next message.

        Raises
        ------
        MissingExtraError
            If litellm is not installed.
        ModelUnavailableError
            If the model cannot be reached, refuses, takes too long, or answers with nothing or far too much.
        """
        litellm = load_litellm()
        deadline = time.monotonic() + self.timeout_s
        wait = RETRY_WAIT_S
        for attempt in range(1, self.attempts + 1):
            try:
                text = self._once(litellm, messages, schema, deadline)
            except ModelUnavailableError:
                raise
            except _retryable(litellm) as error:
                trouble = _said(error)
            except _any_error(litellm) as error:
                raise self._unavailable(_said(error)) from None
            else:
                return self._checked(text)
            if attempt == self.attempts or time.monotonic() + wait >= deadline:
                raise self._unavailable(trouble)
            time.sleep(wait)
            wait *= 2
        raise self._unavailable("no attempt was made")

    def _once(
        self, litellm: Any, messages: Sequence[Message], schema: Mapping[str, Any], deadline: float
    ) -> str | None:
        left = max(deadline - time.monotonic(), 0.05)

        def call() -> Any:
            return litellm.completion(
                model=self.name,
                messages=[dict(message) for message in messages],
                api_base=self.api_base,
                api_key=_stand_in_key(self.name, self.api_base),
                timeout=left,
                max_retries=0,  # never num_retries: it needs tenacity and then loses the error's class
                temperature=self.temperature,
                max_tokens=self.max_tokens,
                drop_params=True,
                response_format={
                    "type": "json_schema",
                    "json_schema": {"name": "draft", "schema": dict(schema), "strict": True},
                },
            )

        response = _within(call, left)
        if response is _LATE:
            raise self._unavailable(f"no answer within {self.timeout_s:g} s")
        choices = getattr(response, "choices", None)
        return choices[0].message.content if choices else None

    def _checked(self, text: str | None) -> str:
        if not isinstance(text, str) or not text.strip():
            raise self._unavailable("an empty answer")
        if len(text) > MAX_ANSWER:
            raise self._unavailable("an answer that is far too long")
        return text

    def _unavailable(self, what: str) -> ModelUnavailableError:
        return ModelUnavailableError(
            f"the language model {one_line(self.name, limit=80)!r} at {_shown(self.api_base)} gave {what}"
        )


@dataclass
class ScriptedModel:
    """A model that gives prepared answers in turn: for tests and demonstrations without a network.

    An answer that is an exception is raised; when the answers are used up, the last one is repeated.
    """

    answers: Sequence[str | ModelUnavailableError]
    name: str = "scripted"
    asked: list[list[Message]] = field(default_factory=list)
    """The conversations it was given."""

    def complete(self, messages: Sequence[Message], *, schema: Mapping[str, Any]) -> str:
        """Return the next prepared answer."""
        self.asked.append(list(messages))
        if not self.answers:
            raise ModelUnavailableError("the scripted model has no answers; give it at least one")
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, ModelUnavailableError):
            raise answer
        return answer


_LATE = object()


def _within(call: Callable[[], Any], seconds: float) -> Any:
    """Return what the call returns, or ``_LATE``.

    A client's own timeout counts from byte to byte, so a server that drips would hold it forever;
    the thread is a daemon's and dies with the process.
    """
    result: list[Any] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            result.append(call())
        except BaseException as error:  # noqa: BLE001  # carried to the caller's thread and raised there
            failure.append(error)

    thread = threading.Thread(target=work, name="advisor-language-model", daemon=True)
    thread.start()
    thread.join(seconds + 0.25)
    if failure:
        raise failure[0]
    return result[0] if result else _LATE


def load_litellm() -> Any:
    """Import litellm without the download that its import would make.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    # without it the import fetches a price list from the internet
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    try:
        import litellm
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("a language model", "llm") from error
    litellm.suppress_debug_info = True
    return litellm


def _retryable(litellm: Any) -> tuple[type[BaseException], ...]:
    known = litellm.exceptions
    busy = (known.RateLimitError, known.ServiceUnavailableError, known.BadGatewayError)
    return (*busy, known.InternalServerError, known.APIConnectionError)


def _any_error(litellm: Any) -> tuple[type[BaseException], ...]:
    import openai  # litellm's own dependency, whose errors its own derive from

    # litellm lets plain errors of its parsers through where a server answers nonsense
    plain: tuple[type[BaseException], ...] = (ValueError, TypeError, KeyError, AttributeError, IndexError, OSError)
    return (openai.OpenAIError, litellm.exceptions.BudgetExceededError, *plain)


def _said(error: BaseException) -> str:
    status = getattr(error, "status_code", None)
    return f"{type(error).__name__} (HTTP {status})" if isinstance(status, int) else type(error).__name__


def _stand_in_key(name: str, api_base: str | None) -> str | None:
    """Return a key for a local server that wants none, where the user has set none."""
    needs = name.split("/", 1)[0] in ("openai", "custom_openai", "text-completion-openai") or "/" not in name
    return "not-needed" if api_base and needs and not os.environ.get("OPENAI_API_KEY") else None


def _shown(api_base: str | None) -> str:
    """Return an address without user, password and query."""
    if not api_base:
        return "its provider"
    parts = urlsplit(api_base)
    host = parts.hostname or "?"
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
