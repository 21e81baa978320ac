"""Several devices of a user: one stream for all, replacing, too many, coming and going."""

import pytest

from protocol.codec import JSON, MSGPACK, Codec
from protocol.errors import CloseCode
from protocol.frames import Bye
from server.hub.session import Mode
from server.service.ports import Store
from server.storage.memory import MemoryStore
from tests.kit.devices import EPOCH, Gone, World, body, rulebook_with, world_on
from tests.kit.fakes import until_idle


async def test_all_devices_of_a_user_are_told_the_same_in_the_same_order(world: World) -> None:
    codecs: list[Codec] = [JSON, MSGPACK, JSON]
    devices = [
        await world.online("alice", f"d{number}", codec) for number, codec in enumerate(codecs)
    ]
    for device in devices:
        await device.call("create_group", type="Work", name="-", group_id=device.device_id)
        await device.say(device.device_id, "hello")
    await world.settle()
    assert len(devices[0].events) == 6
    assert devices[0].events == devices[1].events == devices[2].events


async def test_a_device_that_connects_again_replaces_its_older_connection(world: World) -> None:
    older = await world.online("alice", "phone")
    newer = await world.online("alice", "phone")
    assert older.closed is not None
    assert older.closed.code is CloseCode.REPLACED
    assert newer.is_live
    assert [d.session_id for d in world.hub.devices_of("alice")] == [newer.session.session_id]


async def test_the_same_device_id_of_another_user_is_another_device(world: World) -> None:
    of_alice = await world.online("alice", "phone")
    of_bob = await world.online("bob", "phone")
    assert of_alice.is_live
    assert of_bob.is_live


async def test_a_replaced_device_is_told_what_was_before_it_and_then_why(world: World) -> None:
    older = await world.online("alice", "phone")
    other = await world.online("alice", "laptop")
    made = other.send("create_group", type="Work", name="-")
    await made
    newer = world.connect("alice", "phone")
    assert [event.event for event in older.events] == ["group_created"]
    bye = older.frames[-1]
    assert isinstance(bye, Bye)
    assert bye.code == CloseCode.REPLACED
    await world.settle()
    assert newer.is_live


async def test_nothing_is_told_to_a_replaced_device_any_more(world: World) -> None:
    older = await world.online("alice", "phone")
    newer = await world.online("alice", "phone")
    frames = len(older.frames)
    await newer.call("create_group", type="Work", name="-")
    with pytest.raises(Gone):
        await older.call("list_devices")
    assert len(older.frames) == frames


async def test_a_request_of_a_device_that_is_replaced_meanwhile_takes_effect(
    world: World,
) -> None:
    older = await world.online("alice", "phone")
    lost = older.send("create_group", request_id="r1", type="Work", name="-", group_id="g")
    newer = await world.online("alice", "phone")
    assert lost.exception() is not None
    again = await newer.call("create_group", request_id="r1", type="Work", name="-", group_id="g")
    assert again["group"]["group_id"] == "g"
    assert [told.entry.event for told in await world.log()] == ["group_created"]


async def test_one_device_too_many_replaces_the_oldest(store: Store) -> None:
    async with world_on(store, rulebook_with({"DEVICES_PER_USER": 3})) as world:
        devices = [await world.online("alice", f"d{number}") for number in range(5)]
        assert [device.is_open for device in devices] == [False, False, True, True, True]
        for device in devices[:2]:
            assert device.closed is not None
            assert device.closed.code is CloseCode.REPLACED


async def test_a_device_that_connects_again_counts_once(store: Store) -> None:
    async with world_on(store, rulebook_with({"DEVICES_PER_USER": 2})) as world:
        first = await world.online("alice", "d1")
        last = first
        for _ in range(3):
            last = await world.online("alice", "d2")
        assert first.is_live
        assert last.is_live


async def test_without_a_limit_no_device_gives_way() -> None:
    free = rulebook_with({"DEVICES_PER_USER": 0})
    async with world_on(MemoryStore(epoch=EPOCH), free) as world:
        devices = [await world.online("alice", f"d{number}") for number in range(50)]
        assert all(device.is_live for device in devices)


async def test_who_is_connected_is_known_in_the_order_of_connecting(world: World) -> None:
    for number in range(3):
        await world.online("alice", f"d{number}", MSGPACK)
        world.clock.advance(10)
    known = world.hub.devices_of("alice")
    assert [device.device_id for device in known] == ["d0", "d1", "d2"]
    assert [later.connected_ms - known[0].connected_ms for later in known] == [0, 10, 20]
    world.devices[1].drop()
    assert [device.device_id for device in world.hub.devices_of("alice")] == ["d0", "d2"]
    assert list(world.hub.devices_of("nobody")) == []


async def test_a_connection_may_be_removed_more_than_once(world: World) -> None:
    alice = await world.online("alice")
    for _ in range(2):
        world.hub.remove(alice.session)
        assert alice.session.mode is Mode.GONE
    assert world.hub.rooms.feed("alice") is None


async def test_whoever_leaves_a_room_by_the_last_connection_is_seen_to_leave() -> None:
    async with world_on(MemoryStore(epoch=EPOCH)) as world:
        alice = await world.online("alice")
        await alice.call("create_group", type="AVChatRoom", name="-", group_id="room")
        one, two = await world.online("bob", "d1"), await world.online("bob", "d2")
        await one.call("join_group", group_id="room")
        one.drop()
        await until_idle()
        assert world.hub.participant_since_ms("room", "bob") is not None
        two.drop()
        await until_idle()
        assert world.hub.participant_since_ms("room", "bob") is None
        tips = [e for e in alice.events if e.event == "member_quit"]
        assert [tip.data["user_ids"] for tip in tips] == [["bob"]]


async def test_a_room_counts_and_lists_those_who_take_part_newest_first() -> None:
    async with world_on(MemoryStore(epoch=EPOCH)) as world:
        alice = await world.online("alice")
        await alice.call("create_group", type="AVChatRoom", name="-", group_id="room")
        for name in ("bob", "carol", "dave"):
            world.clock.advance(1)
            device = await world.online(name)
            await device.call("join_group", group_id="room")
        newest = world.hub.newest_participants("room", 2)
        assert [name for name, _ in newest] == ["dave", "carol"]
        assert newest[0][1] > newest[1][1]
        assert world.hub.participant_count("room") == 4


async def test_what_a_room_says_reaches_every_device_of_those_who_take_part_once() -> None:
    async with world_on(MemoryStore(epoch=EPOCH)) as world:
        alice = await world.online("alice")
        await alice.call("create_group", type="AVChatRoom", name="-", group_id="room")
        one, two = await world.online("bob", "d1"), await world.online("bob", "d2")
        outside = await world.online("carol")
        await one.call("join_group", group_id="room")
        await alice.call("send_message", group_id="room", body=body("hi"))
        await until_idle()
        assert one.texts("room") == two.texts("room") == alice.texts("room") == ["hi"]
        assert outside.texts("room") == []


async def test_what_a_user_discards_is_not_pushed_live_nor_on_resume(world: World) -> None:
    alice, bob = await world.online("alice"), await world.online("bob")
    members = [{"user_id": "bob"}]
    await alice.call("create_group", type="Work", name="-", group_id="g", members=members)
    cursor = bob.cursor
    set_to = {"group_id": "g", "user_id": "bob", "receive_option": "Discard"}
    await bob.call("update_member", **set_to)
    await alice.say("g", "unheard")
    await alice.call("invite_members", group_id="g", user_ids=["carol"])
    await world.settle()
    assert bob.texts("g") == []
    assert bob.events[-1].event == "member_invited"
    again = await world.online("bob", "d2", cursor=cursor)
    assert again.texts("g") == []
    assert [event.event for event in again.events][-1] == "member_invited"
    for device in (bob, again):
        device.drop()
    later = await world.online("bob", "d3")
    await alice.say("g", "unheard too")
    await world.settle()
    assert later.texts("g") == []
    await later.call("update_member", **set_to | {"receive_option": "AcceptAndNotify"})
    await alice.say("g", "heard")
    await world.settle()
    assert later.texts("g") == ["heard"]


async def test_a_new_membership_begins_with_the_messages_of_the_group(world: World) -> None:
    alice, bob = await world.online("alice"), await world.online("bob")
    members = [{"user_id": "bob"}]
    await alice.call("create_group", type="Work", name="-", group_id="g", members=members)
    await bob.call("update_member", group_id="g", user_id="bob", receive_option="Discard")
    await bob.call("quit_group", group_id="g")
    await alice.call("invite_members", group_id="g", user_ids=["bob"])
    await alice.say("g", "heard")
    await world.settle()
    assert bob.texts("g") == ["heard"]


async def test_of_one_platform_too_many_replaces_the_oldest_of_that_platform(store: Store) -> None:
    rules = rulebook_with({"DEVICES_PER_PLATFORM": 2, "DEVICES_PER_USER": 4})
    async with world_on(store, rules) as world:
        platforms = ("web", "ios", "web", "web", "ios", "ios", "tv", "tv")
        devices = [
            world.connect("alice", f"d{number}", platform=platform)
            for number, platform in enumerate(platforms)
        ]
        await world.settle()
        await until_idle()
        codes = [device.closed and device.closed.code for device in devices]
        # d0 gives way to d3, d1 to d5; then the four are full, and the oldest give way.
        assert codes == [4409, 4409, 4409, 4409, None, None, None, None]
        assert [device.device_id for device in world.hub.devices_of("alice")] == [
            "d4",
            "d5",
            "d6",
            "d7",
        ]
