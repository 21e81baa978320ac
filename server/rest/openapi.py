"""The API as an OpenAPI 3.1 document, made of the registry's structs."""

import inspect
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from protocol.dialect import content_schemas
from server import VERSION
from server.rest.registry import Command
from server.rest.shapes import UINT32_MAX, Answer

_QUERY: Final = (
    ("sdkappid", {"type": "integer"}, True),
    ("identifier", {"type": "string"}, True),
    ("usersig", {"type": "string"}, False),
    ("random", {"type": "integer", "minimum": 0, "maximum": UINT32_MAX}, False),
    ("contenttype", {"const": "json"}, False),
)
_SECURITY: Final = {
    "usersig": {
        "type": "apiKey",
        "in": "query",
        "name": "usersig",
        "description": "a UserSig of identifier, or a JWT of it where the server takes those",
    },
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "the same token in a header, where there is no usersig in the query",
    },
}
_REF: Final = "#/components/schemas/{name}"


def document(commands: Sequence[Command]) -> dict[str, Any]:
    """The document of these commands; every answer has status 200 and tells failure in its body.

    Source: OpenAPI Specification 3.1.0.
    """
    kinds = [Answer, *(kind for row in commands for kind in (row.request, row.answer))]
    unique = list(dict.fromkeys(kinds))
    schemas, components = msgspec.json.schema_components(unique, ref_template=_REF)
    of = dict(zip(unique, schemas, strict=True))
    for component in components.values():
        if "description" in component:
            # The lines of a docstring are those of our files.
            component["description"] = " ".join(component["description"].split())
    components["MessageElement"] = _element(components["MessageElement"])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Muster admin REST API",
            "version": VERSION,
            "description": "For the operator's programs; the dialect of the hosted original.",
        },
        "security": [{"usersig": []}, {"bearer": []}],
        "paths": {row.path: {"post": _operation(row, of)} for row in commands},
        "components": {
            "schemas": components,
            "securitySchemes": _SECURITY,
            "parameters": {
                name: {"name": name, "in": "query", "required": required, "schema": schema}
                for name, schema, required in _QUERY
            },
        },
    }


def _element(plain: dict[str, Any]) -> dict[str, Any]:
    """An element by its MsgType; a log has others, too, as tips."""
    known = {
        name: {"properties": {"MsgType": {"const": name}, "MsgContent": content}}
        for name, content in content_schemas().items()
    }
    other = {"properties": {"MsgType": {"not": {"enum": list(known)}}}}
    return {**plain, "oneOf": [*known.values(), other]}


def _operation(row: Command, of: dict[type, dict[str, Any]]) -> dict[str, Any]:
    description = inspect.getdoc(row.request) or ""
    return {
        "operationId": f"{row.service}.{row.name}",
        "tags": [row.service],
        "summary": description.split("\n")[0],
        "description": " ".join(f"{description}\n{row.differs}".split()),
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name, *_ in _QUERY],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": of[row.request], "example": dict(row.example)}
            },
        },
        "responses": {
            "200": {
                "description": "The answer, or the envelope alone with ActionStatus FAIL.",
                "content": {"application/json": {"schema": _either(of[row.answer], of[Answer])}},
            }
        },
    }


def _either(answer: dict[str, Any], envelope: dict[str, Any]) -> dict[str, Any]:
    return answer if answer == envelope else {"anyOf": [answer, envelope]}
