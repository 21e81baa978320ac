"""A database in which everything has happened that the server can do, made by its own executor."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from protocol.messages import text_body
from server.domain.jobs import SendControlled
from server.domain.model import Actor
from server.storage.sqlite import open_sqlite
from tests.kit.devices import ADMIN, EPOCH, SHARD, Device, World, body, world_on

USERS: Final = ("ann", "bob", "cat", "dan", "eve")

ADMIN_ACTOR: Final = Actor(ADMIN, is_app_admin=True)

Command = tuple[str, str, Mapping[str, Any]]


def _named(*user_ids: str) -> list[dict[str, str]]:
    return [{"user_id": user_id} for user_id in user_ids]


def _created(group_id: str, kind: str, *members: str, **fields: str) -> dict[str, Any]:
    given = {"type": kind, "name": group_id, "group_id": group_id, **fields}
    return {**given, "members": _named(*members)} if members else given


BEFORE: Final[tuple[Command, ...]] = (
    ("ann", "create_group", _created("gone", "Work", "bob")),
    ("ann", "create_group", _created("w", "Work", "bob", "cat")),
    ("ann", "create_group", _created("short", "Public", "bob")),
    ("bob", "send_message", {"group_id": "gone", "body": body("x")}),
    ("ann", "transfer_group", {"group_id": "gone", "new_owner_id": "bob"}),
    ("ann", "disband_group", {"group_id": "short"}),
)
"""What is let go of, with ``short``, afterwards."""

AFTER: Final[tuple[Command, ...]] = (
    ("ann", "create_group", _created("p", "Public", apply_join_option="NeedPermission")),
    ("ann", "create_group", _created("m", "Meeting", apply_join_option="FreeAccess")),
    ("ann", "create_group", _created("a", "AVChatRoom", apply_join_option="FreeAccess")),
    ("ann", "create_group", _created("@TGS#_c", "Community", "bob", "dan")),
    ("bob", "join_group", {"group_id": "p", "message": "let me in"}),
    ("cat", "join_group", {"group_id": "p"}),
    ("dan", "join_group", {"group_id": "p"}),
    ("bob", "join_group", {"group_id": "m"}),
    ("cat", "join_group", {"group_id": "m"}),
    ("bob", "join_group", {"group_id": "a"}),
    ("bob", "send_message", {"group_id": "a", "body": body("not stored")}),
    *(("bob", "send_message", {"group_id": "w", "body": body(str(n))}) for n in range(4)),
    ("ann", "recall_message", {"group_id": "w", "seq": 3}),
    ("cat", "mark_read", {"group_id": "w", "seq": 2}),
    ("cat", "update_member", {"group_id": "w", "user_id": "cat", "receive_option": "Discard"}),
    ("ann", "send_message", {"group_id": "w", "body": body("now"), "online_only": True}),
    ("cat", "quit_group", {"group_id": "w"}),
    ("ann", "invite_members", {"group_id": "w", "user_ids": ["cat", "eve"]}),
    ("ann", "remove_members", {"group_id": "w", "user_ids": ["eve"]}),
    ("cat", "send_message", {"group_id": "w", "body": body("again")}),
    ("ann", "set_attributes", {"group_id": "w", "attributes": {"topic": "sails"}}),
    ("ann", "add_counters", {"group_id": "w", "deltas": {"likes": 3}}),
    ("ann", "update_group", {"group_id": "w", "notification": "at nine"}),
    ("ann", "update_member", {"group_id": "m", "user_id": "bob", "role": "admin"}),
    ("ann", "update_member", {"group_id": "m", "user_id": "cat", "mute_s": 600}),
    ("cat", "quit_group", {"group_id": "m"}),
    ("ann", "transfer_group", {"group_id": "m", "new_owner_id": "bob"}),
    ("ann", "create_group", _created("d", "Public", "dan")),
    ("ann", "disband_group", {"group_id": "d"}),
    ("ann", "quit_group", {"group_id": "w"}),
)


async def make_busy(directory: Path) -> None:
    """Two runs; of the first the oldest entries are trimmed, and a group is purged."""
    store = await open_sqlite(directory, epoch=EPOCH)
    async with world_on(store) as world:
        devices = {user_id: await world.online(user_id) for user_id in USERS}
        await _play(devices, BEFORE)
        floor = (await store.heads(SHARD)).position
        await _play(devices, AFTER)
        await _decide(devices, world)
        assert await store.trim(SHARD, 1 << 50, floor) == floor
        assert await store.purge(1 << 50, 1) == 1
    await store.close()
    store = await open_sqlite(directory, epoch="later")
    async with world_on(store) as world:
        bob = await world.online("bob")
        await bob.say("w", "after a restart")
        for n in range(2):
            command = SendControlled(group_id="p", body=text_body(str(n)), no_unread=True)
            world.executor.submit(command, ADMIN_ACTOR, None, b"", lambda _result, _refused: None)
        await world.settle()
        await bob.call("mark_read", group_id="p", seq=3)
    await store.close()


async def _play(devices: Mapping[str, Device], commands: tuple[Command, ...]) -> None:
    for user_id, method, params in commands:
        device = devices[user_id]
        device.world.clock.advance(1)
        await device.call(method, **params)


async def _decide(devices: Mapping[str, Device], world: World) -> None:
    """Of the three who asked to join ``p`` one is let in, one is not, and one waits."""
    waiting = (await devices["ann"].call("list_applications"))["applications"]
    by_user = {one["user_id"]: one["application_id"] for one in waiting}
    for user_id, accept in (("bob", True), ("cat", False)):
        world.clock.advance(1)
        ids = [by_user[user_id]]
        await devices["ann"].call("handle_applications", application_ids=ids, accept=accept)
    await devices["ann"].call("read_applications", up_to_ms=world.clock.now_ms())
