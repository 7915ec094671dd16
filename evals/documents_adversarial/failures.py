"""A model that fails in every way, spoken to in each of three dialects: is there a document, in time, that says so?"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import sheets
from loopback import Loopback, serving

from advisor.documents import LiteLLMModel, experiment_facts
from advisor.documents.writer import narrate

DIALECTS = {"openai": "openai/tiny", "ollama": "ollama_chat/tiny", "anthropic": "anthropic/claude-sonnet-4-5"}


def _say(text: str) -> Callable[[Loopback], None]:
    return lambda server: setattr(server, "say", lambda request: text)


def _set(**fields: object) -> Callable[[Loopback], None]:
    def change(server: Loopback) -> None:
        for name, value in fields.items():
            setattr(server, name, value)

    return change


MODES: Mapping[str, Callable[[Loopback], None] | None] = {
    "unreachable": None,
    "slow": _set(delay_s=1.7),
    "hanging": _set(delay_s=60.0),
    "dripping": _set(drip_s=0.2),
    "500": _set(status=500),
    "503": _set(status=503),
    "429": _set(status=429),
    "401": _set(status=401),
    "empty body": _set(raw=b""),
    "empty answer": _say(""),
    "cut off by the server": _set(ending="length"),
    "connection closed half-way": _set(cut_at=60),
    "10 MB": _say("x" * 10_000_000),
    "not UTF-8": _set(raw=b"\xff\xfe{\x00" * 200),
    "not JSON": _set(raw=b"<html>Bad gateway</html>"),
    "other JSON": _set(raw=b'{"choices": 7, "message": [], "content": {}}'),
    "prose": _say("I think therefore I am."),
    "half of a draft": _say('{"sentences": [{"text": "The best is {{be'),
    "another form": _say('{"summary": "all is well"}'),
}


@dataclass(frozen=True)
class Failure:
    """How one failing model was borne."""

    mode: str
    dialect: str
    seconds: float
    written: bool
    said: bool
    """Whether the reader is told."""


def failures(timeout_s: float, dialects: tuple[str, ...] = tuple(DIALECTS)) -> Iterator[Failure]:
    """Try every mode in every dialect."""
    os.environ.setdefault("ANTHROPIC_API_KEY", "not-a-key")
    sheet = experiment_facts(sheets.material(3))
    template = ("The best {{metric}} is {{best}}.",)
    own = narrate(sheet, template=template)
    for mode, change in MODES.items():
        for dialect in dialects:
            with serving() as server:
                if change is not None:
                    change(server)
                base = server.url if dialect == "openai" else server.root
                base = base if change is not None else "http://127.0.0.1:9/v1"
                began = time.monotonic()
                told = narrate(
                    sheet, template=template, model=LiteLLMModel(DIALECTS[dialect], api_base=base, timeout_s=timeout_s)
                )
                seconds = time.monotonic() - began
            yield Failure(mode, dialect, seconds, written=told.paragraph == own.paragraph, said=bool(told.notes))
