"""Tools: the operations of the advisor as agents call them.

Leaves out what they do. Invariants: an answer fits the schema that its tool publishes; what goes wrong is told in one
sentence, as an answer that says it is an error, so that a model can mend what it asked; a traceback goes to the log.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from mcp_types import CallToolResult, TextContent, Tool, ToolAnnotations

from advisor.errors import AdvisorError, ConfigError
from advisor.mcp.schemas import schema_of
from advisor.mcp.text import MARKED, fitted
from advisor.operations import OPERATIONS, Operation, call
from storage.errors import StorageError

if TYPE_CHECKING:
    from advisor.app import Advisor

log = logging.getLogger(__name__)

MAX_BYTES: Final = 400_000
"""Of a structured answer; a model reads a tenth of that."""
CUTS: Final = (50_000, 5_000, 500, 100)
"""Characters that each text of an answer is cut to, one after the other, until the answer is short enough."""
NAMED: Final = "untrusted"
"""The field of an answer that names the fields whose text came with runs; in the text form the marks say it."""
FACTS: Final = "facts"
"""The field of an answer that has its figures once more, with ids to cite them by; in the text form it comes last."""
REPLACES: Final = frozenset({"set_tags", "define_experiment"})
"""What puts something in the place of something else; all else that writes only adds, and the journal keeps all."""
FACTS_SHOWN: Final = 40
"""Facts in a text, the most important ones; the structured answer has the rest."""
BROKEN: Final = "something is broken in the advisor itself, not in what you asked; its log, on stderr, has the details"


def offered(*, read_only: bool) -> tuple[Operation, ...]:
    """Return the operations that there is a tool for."""
    return tuple(each for each in OPERATIONS if not (read_only and each.writes))


def tool_of(operation: Operation) -> Tool:
    """Return an operation as an agent's program lists it."""
    return Tool(
        name=operation.name,
        title=operation.title,
        description=operation.about,
        input_schema=schema_of(operation.asks),
        output_schema=schema_of(operation.answers),
        annotations=ToolAnnotations(
            title=operation.title,
            read_only_hint=not operation.writes,
            destructive_hint=operation.name in REPLACES,
            idempotent_hint=operation.repeatable,
            open_world_hint=False,
        ),
    )


def use(operation: Operation, adv: Advisor, arguments: Mapping[str, Any]) -> CallToolResult:
    """Do what a tool is called for; nothing is raised."""
    try:
        answer = bounded(call(operation, adv, arguments))
        text = _text(operation, answer)
    except (AdvisorError, StorageError) as error:
        return refused(" ".join(str(error).split()))
    except OSError as error:
        log.warning("the tool %s failed", operation.name, exc_info=True)
        return refused(f"{error.filename or 'the store'}: {error.strerror or error}")
    except Exception:  # the edge to another process
        log.exception("the tool %s failed", operation.name)
        return refused(BROKEN)
    return CallToolResult(content=[TextContent(text=text)], structured_content=answer)


def _text(operation: Operation, answer: Mapping[str, Any]) -> str:
    """Return an answer as text to read."""
    own = {name: value for name, value in answer.items() if name not in (NAMED, FACTS)}
    told = dict(sorted(own.items(), key=lambda each: isinstance(each[1], list | dict)))  # totals before rows
    facts = answer.get(FACTS) or []
    if facts:
        told[FACTS] = facts[:FACTS_SHOWN]
    text = fitted(told, schema_of(operation.answers), goes_on="offset" in operation.asks.__struct_encode_fields__)
    if len(facts) > FACTS_SHOWN:
        text += f"\n  … {len(facts) - FACTS_SHOWN} more are in the structured answer; get_facts looks them up by id"
    return f"{MARKED}\n{text}" if answer.get(NAMED) else text


def refused(why: str) -> CallToolResult:
    """Return the answer that nothing was done, and why."""
    return CallToolResult(content=[TextContent(text=why)], is_error=True)


def bounded(answer: dict[str, Any], *, most: int = MAX_BYTES, cuts: Sequence[int] = CUTS) -> dict[str, Any]:
    """Return an answer that is short enough, long texts in it cut where that is needed.

    Raises
    ------
    ConfigError
        If it is too long all the same.
    """
    found: Any = answer
    for limit in (None, *cuts):
        found = answer if limit is None else _shortened(answer, limit)
        n_bytes = len(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))
        if n_bytes <= most:
            assert isinstance(found, dict)  # as was given
            return found
    raise ConfigError(
        f"the answer has {n_bytes:,} bytes, and at most {most:,} are sent; ask for less, as with a smaller limit"
    )


def _shortened(value: Any, limit: int) -> Any:
    """Return a value in which no text is much longer than ``limit``."""
    if isinstance(value, str) and len(value) > limit:
        return f"{value[:limit]}… ({len(value) - limit:,} more characters)"
    if isinstance(value, Mapping):
        return {_shortened(key, limit): _shortened(inner, limit) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shortened(each, limit) for each in value]
    return value
