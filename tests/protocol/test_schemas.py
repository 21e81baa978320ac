"""What ``list_methods`` says of the parameters is what the server takes: no more, no less."""

from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings

from protocol.limits import MAX_INTEGER
from protocol.methods import METHODS, Method

EVERY = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)

Schema = dict[str, Any]

ASSERTIONS = {
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "anyOf",
    "$ref",
    "minimum",
    "maximum",
    "discriminator",
}
REMARKS = {"title", "description", "default", "examples", "$defs", "$schema", "mapping"}
KINDS: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
}


def schema_of(method: Method) -> Schema:
    # As it travels, not as it is made.
    schema: Schema = msgspec.json.decode(msgspec.json.encode(method.describe().params))
    return schema


def is_valid(value: object, schema: Schema, root: Schema) -> bool:
    """A validator of the part of JSON Schema that is used here, which it insists on."""
    assert set(schema) <= ASSERTIONS | REMARKS, schema
    if "$ref" in schema:
        kind, _, name = schema["$ref"].rpartition("/")
        assert kind == "#/$defs", "a schema refers to nothing outside itself"
        return is_valid(value, root["$defs"][name], root)
    if "anyOf" in schema and not any(is_valid(value, one, root) for one in schema["anyOf"]):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "type" in schema:
        kinds = KINDS[schema["type"]]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            return False
    if isinstance(value, dict):
        return is_valid_map(value, schema, root)
    if isinstance(value, list):
        return all(is_valid(item, schema.get("items", {}), root) for item in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    return True


def is_valid_map(value: dict[str, object], schema: Schema, root: Schema) -> bool:
    known: dict[str, Schema | bool] = schema.get("properties", {})
    others: Schema | bool = schema.get("additionalProperties", {})
    if not set(schema.get("required", [])) <= set(value):
        return False
    for key, item in value.items():
        one = known.get(key, others)
        if not (is_valid(item, one, root) if isinstance(one, dict) else one):
            return False
    return True


@EVERY
def test_a_schema_holds_together(method: Method) -> None:
    schema = schema_of(method)
    assert schema["type"] == "object"
    assert set(schema.get("required", [])) <= set(schema["properties"])
    for example in schema["examples"]:
        assert is_valid(example, schema, schema)
        msgspec.convert(example, method.command)


@EVERY
def test_what_may_be_left_out_has_a_default_or_is_null(method: Method) -> None:
    schema = schema_of(method)
    for name, parameter in schema["properties"].items():
        if name not in schema.get("required", []):
            assert "default" in parameter


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([MAX_INTEGER, MAX_INTEGER + 1, 0.5, 91.0])
    | st.sampled_from(["", "g", "Work", "Public", "owner", "member", "Discard", "High", "text"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["user_id", "role", "type", "content", "text", "a"]), inner, max_size=3
        )
        | st.fixed_dictionaries({"type": st.just("text"), "content": inner})
        | st.fixed_dictionaries({"user_id": st.just("u")}, optional={"role": inner})
    ),
    max_leaves=4,
)


@EVERY
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_schema_and_the_server_take_the_same(method: Method, data: st.DataObject) -> None:
    schema = schema_of(method)
    params = dict(schema["examples"][0])
    names = [*schema["properties"], "unknown"]
    changed = st.dictionaries(st.sampled_from(names), VALUES, max_size=2)
    removed = st.sets(st.sampled_from(names), max_size=1)
    params.update(data.draw(changed))
    for name in data.draw(removed):
        params.pop(name, None)
    try:
        msgspec.convert(params, method.command)
    except msgspec.ValidationError:
        is_taken = False
    else:
        is_taken = True
    assert is_taken == is_valid(params, schema, schema)
