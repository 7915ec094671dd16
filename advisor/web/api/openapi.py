"""The API described as OpenAPI 3.1, made from the operations.

Invariant: the same operations give the same document. It holds nothing of the store, and no token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from advisor import __version__
from advisor.operations import Operation
from advisor.web.api.addresses import ROOT, Address
from advisor.web.api.arguments import JSON
from advisor.web.problems import MEDIA_TYPE

Json = dict[str, Any]

SCHEMAS: Final = "#/components/schemas/"
PROBLEM: Final[Json] = {
    "title": "Problem",
    "description": "Why a request was not answered (RFC 9457).",
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "One sentence: what was given, what is allowed, what to do."},
    },
    "required": ["title", "status", "detail"],
}
ABOUT: Final = """\
Everything that can be asked of this store of experiments and done with it. NaN and infinities are the strings "NaN",
"Infinity" and "-Infinity". Text in answers comes from runs and is untrusted. Errors are problems (RFC 9457). Answers to
GET have an ETag: send it as If-None-Match, and 304 says that nothing has changed. Lists take limit and offset, and link
to the pages beside them (RFC 8288)."""
REASONS: Final[Mapping[str, str]] = {
    "400": "What was sent cannot be read, or names what is not known.",
    "401": "The token is missing, or is another one.",
    "404": "There is no such experiment, run, finding or document.",
    "409": "What is stored is in no state for it.",
    "413": "The request is larger than 1 MiB.",
    "415": "The body is not announced as JSON.",
    "422": "A value is not what may be given here.",
    "503": "The store cannot be read now, or too much is asked for at once.",
}
ETAG: Final[Json] = {
    "description": "By it a client asks whether its answer still holds.",
    "schema": {"type": "string"},
}
LINK: Final[Json] = {
    "description": "The pages after and before this one: rel=next, rel=prev (RFC 8288).",
    "schema": {"type": "string"},
}
IF_NONE_MATCH: Final[Json] = {
    "name": "If-None-Match",
    "in": "header",
    "description": "ETag of an answer that the client has.",
    "schema": {"type": "string"},
}


def document_of(operations: Sequence[Operation], *, needs_token: bool) -> Json:
    """Return the document.

    Parameters
    ----------
    needs_token
        Whether requests have to bring the token.
    """
    kinds = [each.asks for each in operations] + [each.answers for each in operations]
    refs, components = msgspec.json.schema_components(kinds, ref_template=SCHEMAS + "{name}")
    names, answers = [_name(ref) for ref in refs[: len(operations)]], refs[len(operations) :]
    asks = [components[name] for name in names]  # written out where they are asked for
    components = {name: schema for name, schema in components.items() if name not in names}
    paths: dict[str, Json] = {}
    for operation, asked, answer in zip(operations, asks, answers, strict=True):
        described = _described(operation, asked, answer, needs_token=needs_token)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "experiment-advisor",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": ROOT}],
        "tags": [{"name": name} for name in dict.fromkeys(tag_of(each) for each in operations)],
        "paths": paths,
        "components": {
            "schemas": components | {"Problem": PROBLEM},
            "parameters": {"IfNoneMatch": IF_NONE_MATCH},
            "headers": {"ETag": ETAG, "Link": LINK},
        },
    }
    if needs_token:
        scheme = {"type": "http", "scheme": "bearer", "description": "The token that 'advisor serve' was given."}
        document["components"]["securitySchemes"] = {"token": scheme}
        document["security"] = [{"token": []}]
    return document


def tag_of(operation: Operation) -> str:
    """Return what an operation is about: the first part of its address."""
    return Address.of(operation).parts[0]


def _described(operation: Operation, asked: Json, answer: Json, *, needs_token: bool) -> Json:
    holes = Address.of(operation).holes
    properties, required = asked.get("properties", {}), asked.get("required", [])
    described: Json = {
        "operationId": operation.name,
        "summary": operation.title,
        "description": operation.about,
        "tags": [tag_of(operation)],
        "parameters": [_parameter(name, properties[name], "path", required=True) for name in holes],
        "responses": _responses(operation, answer, needs_token=needs_token),
    }
    rest = {name: _said(schema) for name, schema in properties.items() if name not in holes}
    if operation.method == "POST":
        body = asked | {"properties": rest, "required": [name for name in required if name not in holes]}
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": body}}}
    else:
        described["parameters"] += [
            _parameter(name, schema, "query", required=name in required) for name, schema in rest.items()
        ]
        described["parameters"].append({"$ref": "#/components/parameters/IfNoneMatch"})
    return described


def _parameter(name: str, schema: Json, where: str, *, required: bool) -> Json:
    schema = _without_null(schema)
    if where == "path" and schema.get("type") == "string":
        schema.setdefault("minLength", 1)
    about = schema.pop("description", None)
    parameter: Json = {"name": name, "in": where, "required": required, "schema": schema}
    return parameter | ({"description": about} if about else {})


def _said(schema: Json) -> Json:
    """Return a schema that says what it is about by itself, where only one of its alternatives did."""
    said = [each["description"] for each in schema.get("anyOf", ()) if "description" in each]
    return schema | {"description": said[0]} if said and "description" not in schema else schema


def _without_null(schema: Json) -> Json:
    """Return a schema as an address can hold it: what is null there is left out."""
    schema = dict(schema)
    options = [each for each in schema.pop("anyOf", []) if each != {"type": "null"}]
    if len(options) == 1:
        schema = options[0] | schema  # what is said of the argument counts, before what is said of its kind
    elif options:
        schema["anyOf"] = options
    if "default" in schema and schema["default"] is None:
        del schema["default"]
    return schema


def _responses(operation: Operation, answer: Json, *, needs_token: bool) -> Json:
    done: Json = {"description": "The answer.", "content": {JSON: {"schema": answer}}}
    responses: Json = {"200": done}
    left_out = set() if needs_token else {"401"}
    if operation.method == "GET":
        done["headers"] = {"ETag": {"$ref": "#/components/headers/ETag"}}
        if {"limit", "offset"} <= set(operation.asks.__struct_encode_fields__):
            done["headers"]["Link"] = {"$ref": "#/components/headers/Link"}
        responses["304"] = {"description": "The answer that the client has still holds."}
        left_out |= {"413", "415"}
    problem = {MEDIA_TYPE: {"schema": {"$ref": SCHEMAS + "Problem"}}}
    for status, why in REASONS.items():
        if status not in left_out:
            responses[status] = {"description": why, "content": problem}
    responses["default"] = {"description": "Anything else that keeps a request from its answer.", "content": problem}
    return responses


def _name(ref: Json) -> str:
    return re.sub(f"^{re.escape(SCHEMAS)}", "", ref["$ref"])
