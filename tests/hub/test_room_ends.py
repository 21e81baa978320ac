"""A room without stored members ends, or is left by a lost connection: who is told, who is in."""

import asyncio

import pytest

from protocol.codec import JSON, MSGPACK, Codec
from server.hub.rooms import MOST_ENDINGS
from server.service.ports import Unavailable
from server.storage.memory import MemoryStore
from tests.kit.devices import EPOCH, Device, World, body, rulebook_with, text_of, world_on
from tests.kit.fakes import HookedStore, until_idle

RULES = rulebook_with(
    {"OUTGOING_BYTES": 4_096, "REQUESTS_PER_S": 0, "USER_REQUESTS_PER_S": 0, "GROUPS_PER_DAY": 0}
)
LONG = "x" * 3_000
AS_SAID = ["before", "end", "after"]


async def rooms_with(world: World, *guests: str) -> Device:
    """The owner of a room whose guests are also members of a hall, where everything is stored."""
    owner = await world.online("owner")
    members = [{"user_id": user_id} for user_id in guests]
    await owner.call("create_group", type="Public", name="-", group_id="hall", members=members)
    await owner.call("create_group", type="AVChatRoom", name="-", group_id="room")
    return owner


async def say_and_end(owner: Device) -> None:
    await owner.say("hall", "before")
    await owner.call("disband_group", group_id="room")
    await owner.say("hall", "after")


def heard(device: Device) -> list[str]:
    """What was said in the hall, and where the room's end is among it."""
    return [
        "end" if event.event == "group_disbanded" else text_of(event)
        for event in device.events
        if event.event in ("group_disbanded", "message") and LONG not in str(event.data)
    ]


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
async def test_a_guest_who_is_slow_is_told_in_order(codec: Codec) -> None:
    async with world_on(MemoryStore(epoch=EPOCH), RULES) as world:
        owner = await rooms_with(world, "bob")
        bob = await world.online("bob", codec=codec)
        await bob.call("join_group", group_id="room")
        bob.stall()
        for _ in range(3):
            await owner.say("hall", LONG)
        assert bob.session.is_paused
        await say_and_end(owner)
        bob.unstall()
        await until_idle()
        assert heard(bob) == AS_SAID
        assert heard(owner) == AS_SAID


@pytest.mark.parametrize("turns", range(12))
async def test_a_guest_who_catches_up_meanwhile_is_told_once(turns: int) -> None:
    """At every moment of catching up: before a page is read, while it is, after it."""
    async with world_on(MemoryStore(epoch=EPOCH), RULES) as world:
        owner = await rooms_with(world, "bob")
        bob = await world.online("bob")
        await bob.call("join_group", group_id="room")
        bob.stall()
        for _ in range(3):
            await owner.say("hall", LONG)
        bob.unstall()
        for _ in range(turns):
            await asyncio.sleep(0)
        await say_and_end(owner)
        await until_idle()
        assert heard(bob) == AS_SAID


async def test_a_device_that_was_away_is_told_as_the_one_that_stayed() -> None:
    async with world_on(MemoryStore(epoch=EPOCH), RULES) as world:
        owner = await rooms_with(world, "bob")
        stayed, away = await world.online("bob", "d1"), await world.online("bob", "d2")
        await stayed.call("join_group", group_id="room")
        away.drop()
        await say_and_end(owner)
        back = await world.online("bob", "d2", cursor=away.cursor)
        await until_idle()
        assert heard(stayed) == heard(back) == AS_SAID
        again = await world.online("bob", "d2", cursor=back.cursor)
        await until_idle()
        assert heard(again) == []


async def test_a_new_device_is_not_told_what_ended_before_it() -> None:
    async with world_on(MemoryStore(epoch=EPOCH), RULES) as world:
        owner = await rooms_with(world, "bob")
        bob = await world.online("bob", "d1")
        await bob.call("join_group", group_id="room")
        await say_and_end(owner)
        new = await world.online("bob", "d2")
        await until_idle()
        assert heard(new) == []


async def test_an_owner_who_was_away_is_told_once() -> None:
    async with world_on(MemoryStore(epoch=EPOCH), RULES) as world:
        owner = await rooms_with(world, "bob")
        other = await world.online("owner", "d2")
        other.drop()
        await say_and_end(owner)
        back = await world.online("owner", "d2", cursor=other.cursor)
        await until_idle()
        assert heard(back) == heard(owner) == AS_SAID


async def test_what_is_kept_of_rooms_that_ended_is_bounded() -> None:
    async with world_on(MemoryStore(epoch=EPOCH), RULES) as world:
        owner = await rooms_with(world, "bob")
        bob = await world.online("bob")
        for number in range(MOST_ENDINGS + 10):
            name = f"room-{number}"
            await owner.call("create_group", type="AVChatRoom", name="-", group_id=name)
            await bob.call("join_group", group_id=name)
            await owner.call("disband_group", group_id=name)
        feed = world.hub.rooms.feed("bob")
        assert feed is not None
        assert len(feed.endings) == MOST_ENDINGS
        assert feed.endings[-1].entry.group_id == f"room-{MOST_ENDINGS + 9}"


@pytest.mark.parametrize("method", ["load", "commit"])
async def test_who_loses_the_connection_while_the_store_fails_is_out_all_the_same(
    method: str,
) -> None:
    hooked = HookedStore(MemoryStore(epoch=EPOCH))
    async with world_on(hooked.store, RULES) as world:
        owner = await rooms_with(world, "bob")
        bob = await world.online("bob")
        await bob.call("join_group", group_id="room")
        # Whoever leaves a room changes no row, so the command fails when another one with it does.
        world.executor.forget_rows()
        hooked.fail(method, Unavailable("the disk is full"), times=3)
        said = owner.send("send_message", group_id="hall", body=body("lost"))
        bob.drop()
        await until_idle()
        assert (await said).error is not None
        hooked.before.clear()
        assert world.hub.participant_count("room") == 1
        assert world.hub.participant_since_ms("room", "bob") is None

        back = await world.online("bob")
        assert (await back.call("join_group", group_id="room"))["status"] == "joined"
        await owner.call("send_message", group_id="room", body=body("hello again"))
        await until_idle()
        assert back.texts("room") == ["hello again"]
