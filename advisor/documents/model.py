"""The seam to a language model: one function that takes messages and returns text.

The only module that imports litellm, and only when a model is asked. Leaves out what is asked and whether the
answer is true (see ``writer`` and ``verifier``), what was spent, and answers that are known already (see
``metered``). Invariant: whatever goes wrong is a ``ModelUnavailableError`` within the deadline, and no message
of it holds a key, an address with credentials, a prompt or an answer.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Final, Protocol, TypedDict, runtime_checkable
from urllib.parse import urlsplit

from advisor.documents.untrusted import one_line
from advisor.errors import MissingExtraError, ModelUnavailableError

MAX_ANSWER = 200_000
"""Characters of an answer that are looked at; a longer one is no answer."""
RETRY_WAIT_S = 0.3
"""Before the second attempt; doubled before each further one."""
TIMEOUT_S = 60.0
"""Seconds for all that one document asks of a model, where nothing else is configured."""
_LEAST_S = 0.05
_GRACE_S = 0.25
"""What a call may take beyond its deadline, so that the client's own timeout speaks first where it is the same."""
_PROGRESS_EVERY_S = 0.2


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

    @property
    def timeout_s(self) -> float:
        """Seconds for all that one document asks of it, every attempt and repair together."""

    def complete(
        self, messages: Sequence[Message], *, schema: Mapping[str, Any], timeout_s: float | None = None
    ) -> str:
        """Return the next message, asked to be JSON that fits ``schema``; callers check it themselves.

        Parameters
        ----------
        timeout_s
            Seconds that are left for this call; None for the model's own ``timeout_s``.

        Raises
        ------
        ModelUnavailableError
            If there is no usable answer.
        """


LOCAL_AND_FREE: Final = frozenset({"ollama", "ollama_chat"})
"""Providers that litellm asks for a model's price, in a further request of a thread of its own; it is told instead."""
FREE: Final = {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, and what it took."""

    text: str
    _: KW_ONLY
    tokens_in: int | None = None
    """Tokens of the conversation as the server counts them; None where it does not say."""
    tokens_out: int | None = None
    cost_usd: float | None = None
    """US dollars by litellm's price list; None for a model that the list does not know."""


class LateError(ModelUnavailableError):
    """No answer in time: the server may have been paid for one."""


@dataclass(frozen=True)
class LiteLLMModel:
    """A model that litellm can reach: any provider, or a local server through ``api_base``.

    Keys come from the provider's own environment variables only.
    """

    name: str
    """Provider and model as litellm spells them, for instance ``openai/gpt-4o-mini`` or ``ollama_chat/qwen3``."""
    api_base: str | None = None
    """Address of the server; None for the provider's own."""
    timeout_s: float = TIMEOUT_S
    """Seconds for one call of ``complete``, all attempts and the loading of litellm together."""
    attempts: int = 3
    """How often an answer is asked for where the server fails or is busy; at least 1."""
    temperature: float = 0.0
    max_tokens: int = 2000
    progress: Callable[[str], None] | None = field(default=None, compare=False, repr=False)
    """Told in words how far the answer is, which is then streamed; None does not stream."""
    _no_streams: threading.Event = field(default_factory=threading.Event, init=False, compare=False, repr=False)
    """Set once the server was asked for a stream and sent none."""

    def __post_init__(self) -> None:
        if self.timeout_s <= 0 or self.attempts < 1:
            raise ValueError(f"timeout_s is {self.timeout_s} and attempts is {self.attempts}; both must be positive")

    def complete(
        self, messages: Sequence[Message], *, schema: Mapping[str, Any], timeout_s: float | None = None
    ) -> str:
        """Return the model's next message; errors as for ``ask``."""
        return self.ask(messages, schema=schema, timeout_s=timeout_s).text

    def ask(self, messages: Sequence[Message], *, schema: Mapping[str, Any], timeout_s: float | None = None) -> Answer:
        """Return the model's next message and what it took.

        Raises
        ------
        MissingExtraError
            If litellm is not installed.
        ModelUnavailableError
            If the model cannot be reached, refuses, takes too long, or answers with nothing, a part or far too much.
        """
        allowed = self.timeout_s if timeout_s is None else min(timeout_s, self.timeout_s)
        deadline = time.monotonic() + allowed
        wait = RETRY_WAIT_S
        for attempt in range(1, self.attempts + 1):
            try:
                return self._checked(self._once(messages, schema, deadline, allowed))
            except (ModelUnavailableError, MissingExtraError):
                raise
            except Exception as error:  # noqa: BLE001  # a library's edge: it lets errors of its parsers through
                if _is_one_of(error, _LATE):
                    raise self._late(allowed) from None
                trouble = _said(error)
                if not _is_one_of(error, _PASSING) or attempt == self.attempts or time.monotonic() + wait >= deadline:
                    raise self._unavailable(trouble) from None
            time.sleep(wait)
            wait *= 2
        raise self._unavailable("no attempt was made")

    def _once(
        self, messages: Sequence[Message], schema: Mapping[str, Any], deadline: float, allowed: float
    ) -> Answer | str:
        """Return an answer, or what is wrong with it."""
        given_up = threading.Event()
        left = max(deadline - time.monotonic(), _LEAST_S)
        try:
            return _within(lambda: self._call(load_litellm(), messages, schema, given_up), left)
        except TimeoutError:
            raise self._late(allowed) from None
        finally:
            given_up.set()

    def _call(
        self,
        litellm: Any,
        messages: Sequence[Message],
        schema: Mapping[str, Any],
        given_up: threading.Event,
    ) -> Answer | str:
        request = {
            "model": self.name,
            "messages": [dict(message) for message in messages],
            "api_base": self.api_base,
            "api_key": _stand_in_key(self.name, self.api_base),
            # always the same, or litellm makes a new client with sockets of its own for each call; the deadline is ours
            "timeout": self.timeout_s,
            "max_retries": 0,  # never num_retries: it needs tenacity and then loses the error's class
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "drop_params": True,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "draft", "schema": dict(schema), "strict": True},
            },
        }
        if self.name.split("/", 1)[0] in LOCAL_AND_FREE:
            provider = self.name.split("/", 1)[0]
            litellm.model_cost.setdefault(self.name, {"litellm_provider": provider, "mode": "chat"} | FREE)
            request |= FREE
        if self.progress is not None and not self._no_streams.is_set():
            streamed = self._streamed(litellm, request, given_up, self.progress)
            if streamed is not None:
                return streamed
            self._no_streams.set()  # a server may answer in one piece, which a reader of streams does not see
        response = litellm.completion(**request)
        choices = getattr(response, "choices", None)
        if not choices:
            return "an empty answer"
        return self._answer(
            litellm, choices[0].message.content, choices[0].finish_reason, getattr(response, "usage", None)
        )

    def _streamed(
        self, litellm: Any, request: Mapping[str, Any], given_up: threading.Event, progress: Callable[[str], None]
    ) -> Answer | str | None:
        """Return the answer read piece by piece; None where the server sent no piece."""
        pieces: list[str] = []
        n_chars, usage, ending, told = 0, None, None, time.monotonic()
        shown = one_line(self.name, limit=80)
        for chunk in litellm.completion(**request, stream=True, stream_options={"include_usage": True}):
            usage = getattr(chunk, "usage", None) or usage
            for choice in chunk.choices[:1]:
                pieces.append(choice.delta.content or "")
                n_chars += len(pieces[-1])
                ending = choice.finish_reason or ending
            if given_up.is_set() or n_chars > MAX_ANSWER:
                break
            if time.monotonic() - told > _PROGRESS_EVERY_S:
                told = time.monotonic()
                progress(f"{shown} is writing: {n_chars:,} characters")
        return self._answer(litellm, "".join(pieces), ending, usage) if n_chars else None

    def _answer(self, litellm: Any, text: str | None, ending: str | None, usage: Any) -> Answer | str:
        if ending == "length":
            return f"an answer that was cut off after {self.max_tokens} tokens"
        tokens_in, tokens_out = (_count(usage, f"{part}_tokens") for part in ("prompt", "completion"))
        return Answer(
            text or "",
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            cost_usd=_price(litellm, self.name, tokens_in, tokens_out),
        )

    def _checked(self, answer: Answer | str) -> Answer:
        if isinstance(answer, str):
            raise self._unavailable(answer)
        if not answer.text.strip():
            raise self._unavailable("an empty answer")
        if len(answer.text) > MAX_ANSWER:
            raise self._unavailable("an answer that is far too long")
        return answer

    def _unavailable(self, what: str) -> ModelUnavailableError:
        return ModelUnavailableError(self._sentence(what))

    def _late(self, allowed: float) -> LateError:
        return LateError(self._sentence(f"no answer within {allowed:.3g} s"))

    def _sentence(self, what: str) -> str:
        return f"the language model {one_line(self.name, limit=80)!r} at {_shown(self.api_base)} gave {what}"


def load_litellm() -> Any:
    """Import litellm without the downloads that it would make by itself.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    # each of these would fetch a file from the internet: prices at import, the others when they are first needed
    for name in ("MODEL_COST_MAP", "ANTHROPIC_BETA_HEADERS", "BLOG_POSTS"):
        os.environ[f"LITELLM_LOCAL_{name}"] = "True"
    try:
        import litellm
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("a language model", "llm") from error
    litellm.suppress_debug_info = True
    litellm.disable_hf_tokenizer_download = True  # where a server counts no tokens, it would look for a tokenizer
    return litellm


def _within(call: Callable[[], Answer | str], seconds: float) -> Answer | str:
    """Return what the call returns.

    A client's own timeout counts from byte to byte, so a server that drips would hold it forever;
    the thread is a daemon's and dies with the process.

    Raises
    ------
    TimeoutError
        If it takes longer; whatever the call raises, otherwise.
    """
    result: list[Answer | str] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            result.append(call())
        except BaseException as error:  # noqa: BLE001  # carried to the caller's thread and raised there
            failure.append(error)

    thread = threading.Thread(target=work, name="advisor-language-model", daemon=True)
    thread.start()
    thread.join(seconds + _GRACE_S)
    if failure:
        raise failure[0]
    if not result:
        raise TimeoutError
    return result[0]


_PASSING = frozenset(
    {"RateLimitError", "ServiceUnavailableError", "BadGatewayError", "InternalServerError", "APIConnectionError"}
)
"""Errors of litellm after which it is worth to ask again; told by name, so that litellm need not be loaded."""


_LATE = frozenset({"Timeout", "APITimeoutError", "TimeoutException"})


def _is_one_of(error: Exception, names: frozenset[str]) -> bool:
    return any(kind.__name__ in names for kind in type(error).__mro__)


def _said(error: BaseException) -> str:
    if type(error).__name__ == "AuthenticationError":
        return "no access: set the key in the provider's own environment variable, for instance OPENAI_API_KEY"
    status = getattr(error, "status_code", None)
    return f"{type(error).__name__} (HTTP {status})" if isinstance(status, int) else type(error).__name__


def _count(usage: Any, name: str) -> int | None:
    number = getattr(usage, name, None)
    return number if isinstance(number, int) and number > 0 else None  # litellm says 0 for what it was not told


def _price(litellm: Any, name: str, tokens_in: int | None, tokens_out: int | None) -> float | None:
    if tokens_in is None or tokens_out is None:
        return None
    try:
        prices = litellm.cost_per_token(model=name, prompt_tokens=tokens_in, completion_tokens=tokens_out)
    except Exception:  # noqa: BLE001  # a library's edge: plain errors for models that it has no price of
        return None
    return float(sum(prices))


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
