"""What a request asks with: the names in its address, then its query or its JSON body.

Checking values is the operation's own (``advisor.operations.call``). Invariant: nothing that was given is passed over;
what is not known is refused, with the closest that is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast
from urllib.parse import parse_qsl

import msgspec
from msgspec import inspect

from advisor.operations import Operation
from advisor.web.problems import Refusal
from storage.errors import did_you_mean

MAX_FIELDS: Final = 500
"""Of a query: a comparison of 100 runs has 100."""
JSON: Final = "application/json"
LISTS: Final = (inspect.ListType, inspect.SetType, inspect.FrozenSetType, inspect.VarTupleType, inspect.TupleType)


def fields_of(operation: Operation) -> dict[str, inspect.Field]:
    """Return what an operation is asked with, by name."""
    info = inspect.type_info(operation.asks)
    assert isinstance(info, inspect.StructType)
    return {field.encode_name: field for field in info.fields}


def takes_several(field: inspect.Field) -> bool:
    """Return whether a field takes several values."""
    return any(isinstance(each, LISTS) for each in _kinds(field.type))


def _takes_text(field: inspect.Field) -> bool:
    """Return whether any text is a value of a field, or of what it lists."""
    kinds = [getattr(each, "item_type", each) for each in _kinds(field.type)]
    return any(isinstance(one, inspect.StrType) for each in kinds for one in _kinds(each))


def of_query(operation: Operation, named: Mapping[str, str], query: bytes) -> dict[str, Any]:
    """Return the arguments of a request without a body.

    Raises
    ------
    Refusal
        If the query cannot be read, names what is not known, or names something twice.
    """
    known = {name: field for name, field in fields_of(operation).items() if name not in named}
    found: dict[str, Any] = dict(named)
    for name, value in _pairs(query):
        field = known.get(name)
        if field is None:
            raise Refusal(400, f"{operation.name} takes no {name[:100]!r}; {did_you_mean(name[:100], known)}")
        if value.lower() == "null" and not _takes_text(field):  # which would be read as if nothing had been given
            raise Refusal(422, f"{name} = 'null' is no value of it; leave {name} out to ask without it")
        if takes_several(field):
            found.setdefault(name, []).append(value)
        elif name in found:
            raise Refusal(400, f"{name!r} is given twice, and {operation.name} takes one")
        else:
            found[name] = value
    return found


def of_body(
    operation: Operation, named: Mapping[str, str], query: bytes, content_type: str, body: bytes
) -> dict[str, Any]:
    """Return the arguments of a request with a body.

    Parameters
    ----------
    content_type
        Must be that of JSON. It is what keeps forms of other sites out, which can send others only.

    Raises
    ------
    Refusal
        If it is not a JSON object, or says again what the address says.
    """
    kind, _, parameters = content_type.partition(";")
    if kind.strip().lower() != JSON or parameters.strip().lower() not in ("", "charset=utf-8", 'charset="utf-8"'):
        why = f"{operation.name} takes JSON: send it with 'Content-Type: {JSON}'"
        raise Refusal(415, why, **{"Accept-Post": JSON})
    for name, _ in _pairs(query):
        raise Refusal(400, f"{operation.name} takes {name[:100]!r} in its body if at all, not in the address")
    found = _decoded(body)
    for name in named:
        if name in found:
            raise Refusal(422, f"{name!r} is in the address already; leave it out of the body")
    whole = {name for name, field in fields_of(operation).items() if _is_whole(field)}
    return {name: _whole(value) if name in whole else value for name, value in found.items()} | dict(named)


def _decoded(body: bytes) -> dict[str, Any]:
    if not body.strip():  # nothing is said, which of what takes nothing is all
        return {}
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else _first_line(error)
        raise Refusal(400, f"the body is not JSON: {reason}") from None
    if not isinstance(found, dict):
        raise Refusal(422, f"the body must be a JSON object such as {{}}, not {_kind_of(found)}")
    return cast(dict[str, Any], found)


def _pairs(query: bytes) -> Iterator[tuple[str, str]]:
    try:
        yield from parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS, separator="&"
        )
    except UnicodeError:
        raise Refusal(400, "the query is not UTF-8, percent-encoded") from None
    except ValueError:
        raise Refusal(400, f"the query has more than {MAX_FIELDS} fields") from None


def _kinds(kind: inspect.Type) -> tuple[inspect.Type, ...]:
    """Return what a value may be, without what is said of it."""
    if isinstance(kind, inspect.Metadata):
        return _kinds(kind.type)
    if isinstance(kind, inspect.UnionType):
        return tuple(each for one in kind.types for each in _kinds(one))
    return (kind,)


def _is_whole(field: inspect.Field) -> bool:
    """Return whether a field takes whole numbers and no other."""
    kinds = _kinds(field.type)
    return any(isinstance(each, inspect.IntType) for each in kinds) and not any(
        isinstance(each, inspect.FloatType | inspect.AnyType) for each in kinds
    )


def _whole(value: Any) -> Any:
    """Return a number as a whole one where it is one: JSON has one kind of numbers, 3.0 is 3 there."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _kind_of(value: Any) -> str:
    kinds = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]
