"""JSON schemas of what operations ask and answer, in the form that agents' programs take.

MCP wants an object at the root, and several programs that hand tools to models know no references; so both are
written out. Pure. Invariant: what msgspec takes or gives fits the schema.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec

_BEFORE: Final = "#/$defs/"


@cache
def schema_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the schema of a struct, an object without references.

    >>> class Point(msgspec.Struct):
    ...     x: float
    >>> schema_of(Point)["properties"]
    {'x': {'type': 'number'}}
    """
    whole = msgspec.json.schema(struct)
    found = _written_out({"$ref": whole["$ref"]}, whole.get("$defs", {}), ())
    assert isinstance(found, dict)  # of a struct
    return found


def _written_out(node: Any, named: dict[str, Any], within: tuple[str, ...]) -> Any:
    """Return a part of a schema with what it refers to in place; what holds itself is any value from there on."""
    if isinstance(node, list):
        return [_written_out(each, named, within) for each in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    if isinstance(reference, str):
        name = reference.removeprefix(_BEFORE)
        rest = {key: value for key, value in node.items() if key != "$ref"}
        if name in within:
            return rest
        return _written_out(named[name], named, (*within, name)) | rest
    return {
        key: _written_out(value, named, within)
        for key, value in node.items()
        if not (key == "title" and isinstance(value, str))  # the name of a class of ours says nothing to an agent
    }
