"""Texts that mean something elsewhere: to SQL, to a terminal, to a log. Here they are texts."""

import ast
import logging
import re
from pathlib import Path
from typing import Final

import pytest

from protocol.codec import JSON, MSGPACK
from tests.kit.byte_peer import BytePeer, handshake_bytes, hello_of, node_of
from tests.kit.devices import World
from tests.kit.fakes import until_idle

ROOT: Final = Path(__file__).parents[2]

TEXTS: Final = [
    "'; DROP TABLE entries; --",
    '" OR ""="',
    "%",
    "_",
    "a%b_c",
    "\\",
    "* NEAR(x y)",
    "${jndi:x}",
    "{0.__class__}",
    "%s%n",
    "?1 :name @x $y",
    "NULL",
    "../../etc/passwd",
    "<script>alert(1)</script>",
]


@pytest.mark.parametrize("text", TEXTS)
async def test_texts_are_stored_as_they_are(world: World, text: str) -> None:
    """As group ID, user ID, name, key and content; and they are found by themselves alone."""
    user, other = text[:32], f"{text[:31]}x"
    alice = await world.online(user)
    for group_id in (text, f"{text}x", "plain"):
        await alice.call(
            "create_group",
            type="Public",
            name=text,
            group_id=group_id,
            invite_join_option="FreeAccess",
        )
    body = [{"type": "text", "content": {"text": text}}]
    await alice.call("send_message", group_id=text, body=body, custom_data=text)
    await alice.call("set_attributes", group_id=text, attributes={text: text})
    invited = await alice.call("invite_members", group_id=text, user_ids=[other])
    assert invited["members"][0]["user_id"] == other
    (found,) = (await alice.call("get_groups", group_ids=[text]))["groups"]
    assert (found["group"]["group_id"], found["group"]["name"]) == (text, text)
    assert found["group"]["owner_id"] == user
    members = (await alice.call("get_members", group_id=text, user_ids=[user, "%"]))["members"]
    assert [member["user_id"] for member in members] == [user]
    attributes = await alice.call("get_attributes", group_id=text)
    assert attributes["attributes"] == {text: text}
    history = (await alice.call("list_messages", group_id=text))["events"]
    said = [event["data"] for event in history if event["kind"] == "message"]
    assert said == [{"body": body, "custom_data": text}]
    joined = (await alice.call("list_joined_groups"))["groups"]
    assert [group["group_id"] for group in joined] == [text, f"{text}x", "plain"]
    await alice.call("disband_group", group_id=text)
    joined = (await alice.call("list_joined_groups"))["groups"]
    assert [group["group_id"] for group in joined] == [f"{text}x", "plain"]


SQL: Final = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|WHERE|VALUES|FROM)\b")


def test_no_statement_is_made_of_values() -> None:
    """Statements that are put together are constants of their modules; what varies is a parameter.

    The functions named here are called when their module is imported, or put in only names of
    tables and columns that are constants too.
    """
    made = set()
    for path in sorted((ROOT / "server" / "storage").glob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for part in ast.walk(function):
                    if isinstance(part, ast.JoinedStr) and SQL.search(ast.unparse(part)):
                        made.add(f"{path.stem}.{function.name}")
    assert made == MADE_AT_IMPORT


MADE_AT_IMPORT: Final = {"application_queries._concerning", "audit._look"}


async def test_nothing_that_peers_send_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither whole nor in part, whatever it is; with the level at which servers run."""
    caplog.set_level(logging.INFO)
    mark = "MARK\n2026-01-01 CRITICAL forged \x1b[31m"
    async with node_of() as node:
        for codec in (JSON, MSGPACK):
            peer = BytePeer(node, codec)
            await peer.welcomed("eve", platform=mark, client=mark, cursor=mark)
            request = {"type": "request", "id": "r", "method": mark, "params": {mark: mark}}
            peer.send(peer.message_bytes(request))
            create = request | {"method": "create_group"}
            peer.send(peer.message_bytes(create | {"params": {"type": mark, "name": mark}}))
            await until_idle()
            peer.send(peer.message_bytes({"type": mark}))
            assert peer.take_end()[1] == 4400
            for field in ("user_id", "user_sig", "device_id"):
                stranger = BytePeer(node, codec)
                stranger.send(handshake_bytes(codec)[:-2] + b"Cookie: MARK\r\n\r\n")
                stranger.take_head()
                stranger.send(stranger.message_bytes(hello_of("eve") | {field: mark}))
                assert stranger.take_end()[1] in (4400, 4401)
            lost = BytePeer(node, codec)
            lost.send(b"GET /MARK?MARK HTTP/1.1\r\nHost: MARK\r\nMARK\r\n\r\n")
        await until_idle()
    assert "MARK" not in caplog.text
