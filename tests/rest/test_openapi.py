"""The document describes what there is, and what there is fits it."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from server.rest.commands import COMMANDS
from server.rest.shapes import wire_name
from tests.kit.office import Office

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
async def document(office: Office) -> dict[str, Any]:
    async with office.http.get(office.address + "/openapi.json") as response:
        assert response.status == 200
        found: dict[str, Any] = await response.json()
    return found


async def test_it_names_every_command_that_works(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {row.path for row in COMMANDS}
    operations = [path["post"] for path in document["paths"].values()]
    assert len({operation["operationId"] for operation in operations}) == len(COMMANDS)
    assert all(operation["summary"] for operation in operations)


async def test_it_says_how_to_prove_who_calls(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    assert [list(one) for one in document["security"]] == [["usersig"], ["bearer"]]
    assert (schemes["usersig"]["in"], schemes["usersig"]["name"]) == ("query", "usersig")
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")


async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    references = {piece.split('"')[0] for piece in text.split('"$ref": "')[1:]}
    assert len(references) > 50
    for reference in references:
        found: Any = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


async def test_names_are_those_of_the_original(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert {"Owner_Account", "GroupId", "FaceUrl", "MaxMemberCount"} <= set(
        schemas["CreateGroup"]["properties"]
    )
    assert "AppDefinedDataFilter_GroupMember" in schemas["GroupFilter"]["properties"]
    assert schemas["AddGroupMember"]["properties"]["MemberList"]["maxItems"] == 300
    assert wire_name("member_to_del__account") == "MemberToDel_Account"


async def test_what_it_says_has_no_line_ends_of_our_files(document: dict[str, Any]) -> None:
    said = [one.get("description", "") for one in document["components"]["schemas"].values()]
    assert sum(map(bool, said)) > 50
    assert all(text == " ".join(text.split()) for text in said)


async def test_it_has_the_version_of_the_project(document: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert document["info"]["version"] == project["version"]


async def test_it_says_what_each_element_holds(document: dict[str, Any]) -> None:
    kinds = document["components"]["schemas"]["MessageElement"]["oneOf"]
    by_type = {
        one["properties"]["MsgType"]["const"]: one["properties"]["MsgContent"]
        for one in kinds
        if "MsgContent" in one["properties"]
    }
    assert by_type["TIMTextElem"] == {
        "type": "object",
        "properties": {"Text": {"type": "string"}},
        "required": ["Text"],
    }
    picture = by_type["TIMImageElem"]
    assert picture["required"] == ["ImageFormat", "ImageInfoArray"]
    assert picture["properties"]["ImageInfoArray"]["items"]["required"][-1] == "URL"
    assert len(by_type) == 9
