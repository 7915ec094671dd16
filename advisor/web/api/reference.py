"""The API for people: each operation with what it takes and a call to copy, from the OpenAPI document.

Leaves out the layout (``api.html.j2``). Invariant: what a command shows can be pasted into a shell; the token is named
by its variable and never shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote as quoted
from typing import Any
from urllib.parse import quote, urlencode

from advisor.strict_json import plain

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Taken:
    """One argument of an operation."""

    name: str
    where: str
    """``path``, ``query`` or ``body``."""
    kind: str
    required: bool
    default: str
    """As JSON; empty where there is none."""
    about: str


@dataclass(frozen=True, slots=True)
class Listed:
    """One operation."""

    name: str
    title: str
    about: str
    method: str
    path: str
    takes: Sequence[Taken]
    command: str
    """A call with curl."""


def listed(document: Json, *, address: str, examples: Mapping[str, Json]) -> dict[str, list[Listed]]:
    """Return the operations by what they are about, in their order.

    Parameters
    ----------
    address
        Where the API is: scheme, host and port.
    examples
        Arguments for calls, by the operation's name.
    """
    found: dict[str, list[Listed]] = {}
    root = document["servers"][0]["url"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            takes = list(_taken(operation))
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            one = Listed(
                operation["operationId"],
                title=operation["summary"],
                about=operation["description"],
                method=method.upper(),
                path=root + path,
                takes=takes,
                command=_command(
                    address + root + path,
                    operation,
                    body,
                    given=examples.get(operation["operationId"], {}),
                    needs_token="security" in document,
                ),
            )
            found.setdefault(operation["tags"][0], []).append(one)
    return found


def _taken(operation: Json) -> Iterator[Taken]:
    for each in operation["parameters"]:
        if "name" in each:
            yield _one(each["name"], each["in"], each["schema"], each["required"], each.get("description", ""))
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    for name, schema in body.get("properties", {}).items():
        yield _one(name, "body", schema, name in body.get("required", ()), schema.get("description", ""))


def _one(name: str, where: str, schema: Json, required: bool, about: str) -> Taken:
    default = "" if schema.get("default") is None else json.dumps(schema["default"])
    return Taken(name, where, _kind(schema), required, default, about)


def _kind(schema: Json) -> str:
    """Return what a value may be, in words."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(each) for each in schema["anyOf"]))
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    low, high = schema.get("minimum"), schema.get("maximum")
    bounds = f"{'' if low is None else low}…{'' if high is None else high}"
    return kind if low is high is None else f"{kind} {bounds}"


def _command(address: str, operation: Json, body: Json | None, *, given: Json, needs_token: bool) -> str:
    query: list[tuple[str, Any]] = []
    for each in operation["parameters"]:
        if "name" in each and (each["required"] or each["name"] in given):
            example = given.get(each["name"], _example(each["name"], each["schema"]))
            query += [(each["name"], example)] if each["in"] == "query" else []
            address = address.replace(f"{{{each['name']}}}", quote(str(example), safe=""))
    parts = ["curl"]
    if needs_token:
        parts.append('-H "Authorization: Bearer $ADVISOR_TOKEN"')
    if body is not None:
        needed = {name: _example(name, body["properties"][name]) for name in body.get("required", ())}
        told = needed | {name: value for name, value in given.items() if name in body["properties"]}
        parts += ["-H 'Content-Type: application/json'", "-d " + quoted(json.dumps(plain(told)))]
    parts.append(quoted(address + ("?" + urlencode(query, doseq=True) if query else "")))
    return " ".join(parts)


def _example(name: str, schema: Json) -> Any:
    """Return a value that fits a schema, to be replaced by whoever copies it."""
    if schema.get("examples"):
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "array":
        return [_example(name, schema.get("items", {}))] * max(1, schema.get("minItems", 1))
    if kind in ("integer", "number"):
        return schema.get("minimum", 1)
    return {"boolean": True, "object": {}}.get(str(kind), name.upper())
