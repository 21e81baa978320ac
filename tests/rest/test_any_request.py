"""Whatever is asked, in its shape or nearly so: an answer in its shape, and never a failure."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.rest.commands import COMMANDS
from server.rest.registry import Command
from tests.kit.office import Office, office_of, rules
from tests.kit.struct_values import ANYTHING, values_of
from tests.rest.examples import EXAMPLE, G

ROOM = {"Type": "AVChatRoom", "GroupId": "MyRoom", "Name": "Room", "Owner_Account": "bob"}
USERS = ["leckie", "bob", "peter", "tommy"]


async def answers(bodies: list[tuple[Command, dict[str, Any]]]) -> list[int]:
    """The numbers of the answers; ``Office.call`` holds each against its shape."""
    with TemporaryDirectory() as directory:
        async with office_of(
            "memory", Path(directory), rules(limits={"REST_CALLS_PER_S": 0})
        ) as office:
            await office.ok("create_group", EXAMPLE["create_group"])
            await office.ok("create_group", ROOM)
            return [await _number(office, row, body) for row, body in bodies]


async def _number(office: Office, row: Command, body: dict[str, Any]) -> int:
    office.world.clock.advance(1000)
    return int((await office.call(row.name, body, row.service))["ErrorCode"])


@st.composite
def bodies(draw: st.DrawFn, row: Command) -> dict[str, Any]:
    """A request of the command; its group and its users are often some that there are."""
    body: dict[str, Any] = msgspec.to_builtins(draw(values_of(row.request)))
    for name in body:
        if name == "GroupId":
            body[name] = draw(st.sampled_from([G, "MyRoom", body[name]]))
        elif name.endswith("_Account") and isinstance(body[name], str):
            body[name] = draw(st.sampled_from([*USERS, body[name]]))
    if draw(st.integers(0, 4)) == 0 and body:
        body[draw(st.sampled_from(sorted(body)))] = draw(ANYTHING)
    return body


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
@given(data=st.data())
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_request_is_answered(row: Command, data: st.DataObject) -> None:
    drawn = [(row, data.draw(bodies(row))) for _ in range(6)]
    assert 10002 not in asyncio.run(answers(drawn))
