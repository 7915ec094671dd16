"""Schemas of what operations ask and answer."""

from __future__ import annotations

import json

import jsonschema
import msgspec
import pytest

from advisor.mcp.schemas import schema_of
from advisor.operations import OPERATIONS, Operation


class Leaf(msgspec.Struct):
    value: float | None


class Branch(msgspec.Struct):
    leaves: list[Leaf]
    first: Leaf
    within: Branch | None = None


def test_references_are_written_out() -> None:
    found = schema_of(Branch)
    assert found["type"] == "object"
    assert found["properties"]["leaves"]["items"]["properties"]["value"]["anyOf"]
    assert found["properties"]["first"]["properties"]["value"]


def test_what_holds_itself_ends_as_any_value() -> None:
    assert "$ref" not in json.dumps(schema_of(Branch))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_schemas_of_operations_are_objects_that_other_programs_understand(operation: Operation) -> None:
    for struct in (operation.asks, operation.answers):
        found = schema_of(struct)
        jsonschema.Draft202012Validator.check_schema(found)
        assert found["type"] == "object"
        assert "$ref" not in json.dumps(found)
    assert schema_of(operation.asks)["additionalProperties"] is False
