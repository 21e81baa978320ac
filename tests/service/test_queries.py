"""What changes nothing: who sees what, and lists in pages."""

import itertools
from typing import Any

import pytest

from protocol.errors import ErrorCode
from protocol.methods import METHODS
from server.service import paging
from server.service.ports import Store
from server.storage.memory import MemoryStore
from tests.kit.devices import ADMIN, EPOCH, Device, World, body, rulebook_with, world_on


async def group(owner: Device, group_id: str, *members: str, group_type: str = "Work") -> None:
    """A group with an owner and members; whoever wants comes in where that is possible."""
    options: dict[str, Any] = {}
    if group_type == "Public":
        options["apply_join_option"] = "FreeAccess"
    initial = [{"user_id": user_id} for user_id in members]
    await owner.call(
        "create_group", type=group_type, name="-", group_id=group_id, members=initial, **options
    )


async def pages(device: Device, method: str, key: str, **params: object) -> list[dict[str, Any]]:
    """All items of a list, page by page; no page but the last is empty."""
    items: list[dict[str, Any]] = []
    mark: dict[str, Any] = {}
    while True:
        page = await device.call(method, request_id=None, **params, **mark)
        items += page[key]
        if "next" not in page:
            return items
        assert page[key]
        mark = {"after": page["next"]}


# Profiles.


async def test_each_group_is_answered_in_the_order_asked(world: World) -> None:
    alice = await world.online("alice")
    await group(alice, "a")
    await group(alice, "b", group_type="Public")
    asked = ["b", "nowhere", "a", "b", ""]
    answered = (await alice.call("get_groups", group_ids=asked))["groups"]
    assert [row["group_id"] for row in answered] == asked
    errors = [row.get("error", {}).get("name") for row in answered]
    assert errors == [None, "GROUP_NOT_FOUND", None, None, "GROUP_NOT_FOUND"]


async def test_a_work_groups_profile_is_hidden_from_those_who_are_no_members(
    world: World,
) -> None:
    alice, bob, admin = [await world.online(name) for name in ("alice", "bob", ADMIN)]
    await group(alice, "g", "carol")
    carol = await world.online("carol")
    (hidden,) = (await bob.call("get_groups", group_ids=["g"]))["groups"]
    assert hidden["error"]["name"] == "NO_PERMISSION"
    assert "group" not in hidden
    for device in (alice, carol, admin):
        (shown,) = (await device.call("get_groups", group_ids=["g"]))["groups"]
        assert shown["group"]["member_count"] == 2
    await carol.call("quit_group", group_id="g")
    (hidden,) = (await carol.call("get_groups", group_ids=["g"]))["groups"]
    assert hidden["error"]["name"] == "NO_PERMISSION"


@pytest.mark.parametrize("group_type", ["Public", "Meeting", "AVChatRoom", "Community"])
async def test_other_profiles_are_seen_by_everybody(world: World, group_type: str) -> None:
    alice, bob = await world.online("alice"), await world.online("bob")
    group_id = "@TGS#_g" if group_type == "Community" else "g"
    await group(alice, group_id, group_type=group_type)
    (row,) = (await bob.call("get_groups", group_ids=[group_id]))["groups"]
    assert row["group"]["type"] == group_type


async def test_a_disbanded_group_is_not_found_by_anybody(world: World) -> None:
    alice = await world.online("alice")
    await group(alice, "g", group_type="Public")
    await alice.call("disband_group", group_id="g")
    (row,) = (await alice.call("get_groups", group_ids=["g"]))["groups"]
    assert row["error"]["name"] == "GROUP_NOT_FOUND"
    for method in ("list_members", "list_messages"):
        assert (await alice.refusal(method, group_id="g")).code is ErrorCode.GROUP_NOT_FOUND
    assert (await alice.call("list_joined_groups"))["groups"] == []


async def test_a_profile_tells_where_the_log_is(world: World) -> None:
    alice = await world.online("alice")
    await group(alice, "g")
    world.clock.advance(5)
    said = await alice.say("g", "hi")
    (row,) = (await alice.call("get_groups", group_ids=["g"]))["groups"]
    assert row["group"]["next_seq"] == said["seq"] + 1
    assert row["group"]["last_message_time_ms"] == said["time_ms"]


@pytest.mark.parametrize(("count", "is_taken"), [(0, False), (1, True), (50, True), (51, False)])
async def test_between_1_and_50_groups_are_asked_for(
    world: World, count: int, is_taken: bool
) -> None:
    alice = await world.online("alice")
    reply = await alice.send("get_groups", group_ids=["g"] * count)
    assert (reply.error is None) == is_taken


# The joined list.


async def test_pages_of_the_joined_list_join_without_loss_or_repetition(store: Store) -> None:
    async with world_on(store, rulebook_with({"PAGE_ITEMS": 4})) as world:
        alice, bob = await world.online("alice"), await world.online("bob")
        expected = []
        for number in range(9):
            group_type = "Public" if number % 3 else "Work"
            await group(alice, f"g{number}", "bob", group_type=group_type)
            expected.append(f"g{number}")
        await bob.call("quit_group", group_id="g1")
        await bob.call("join_group", group_id="g1")
        await bob.call("quit_group", group_id="g4")
        expected.remove("g4")
        expected.remove("g1")
        expected.append("g1")
        for limit in (1, 2, 3, 4, 5, 100):
            rows = await pages(bob, "list_joined_groups", "groups", limit=limit)
            assert [row["group_id"] for row in rows] == expected
        rows = await pages(bob, "list_joined_groups", "groups", limit=2, type="Work")
        assert [row["group_id"] for row in rows] == ["g0", "g3", "g6"]
        rows = await pages(bob, "list_joined_groups", "groups", limit=2, type="Private")
        assert [row["group_id"] for row in rows] == ["g0", "g3", "g6"]


async def test_a_joined_list_that_has_not_changed_is_not_sent_again(world: World) -> None:
    alice, bob = await world.online("alice"), await world.online("bob")
    version = (await bob.call("list_joined_groups"))["version"]

    async def has_changed() -> bool:
        nonlocal version
        answer = await bob.call("list_joined_groups", if_version=version)
        assert ("unchanged" in answer) == (answer["version"] == version)
        if "unchanged" in answer:
            assert answer["groups"] == []
        version = answer["version"]
        return "unchanged" not in answer

    await group(alice, "others")
    assert not await has_changed()
    await group(alice, "g", "bob")
    assert await has_changed()
    assert not await has_changed()
    await alice.say("g", "hi")
    assert await has_changed()
    await bob.say("g", "ho")
    assert await has_changed()
    await alice.call("invite_members", group_id="g", user_ids=["carol"])
    assert await has_changed()
    await alice.call("update_group", group_id="g", name="new")
    assert await has_changed()
    await alice.call("send_message", group_id="g", body=body("now"), online_only=True)
    assert not await has_changed()
    await alice.say("others", "hi")
    assert not await has_changed()
    await bob.call("quit_group", group_id="g")
    assert await has_changed()
    await alice.say("g", "bob is gone")
    assert not await has_changed()


async def test_unread_is_what_came_after_what_was_read(world: World) -> None:
    alice, bob = await world.online("alice"), await world.online("bob")
    await group(alice, "g", "bob")
    await group(alice, "meet", "bob", group_type="Meeting")

    async def unread(device: Device) -> dict[str, int]:
        rows = (await device.call("list_joined_groups"))["groups"]
        return {row["group_id"]: row["unread"] for row in rows}

    assert await unread(bob) == {"g": 0, "meet": 0}
    for _ in range(3):
        await alice.say("g", "hi")
        await alice.say("meet", "hi")
    assert await unread(bob) == {"g": 3, "meet": 0}
    assert await unread(alice) == {"g": 0, "meet": 0}
    await bob.say("g", "ho")
    assert await unread(bob) == {"g": 0, "meet": 0}
    assert await unread(alice) == {"g": 1, "meet": 0}


async def test_unread_begins_at_the_join(world: World) -> None:
    alice, bob = await world.online("alice"), await world.online("bob")
    await group(alice, "g", group_type="Public")
    for _ in range(3):
        await alice.say("g", "before")
    await bob.call("join_group", group_id="g")
    (row,) = (await bob.call("list_joined_groups"))["groups"]
    assert row["last_seq"] == 4
    assert row["unread"] <= 1  # the tip of the own joining


# Members.


async def test_pages_of_members_join_without_loss_or_repetition(store: Store) -> None:
    async with world_on(store, rulebook_with({"PAGE_ITEMS": 4})) as world:
        alice = await world.online("alice")
        names = ["bob", "Zoe", "~", "!", "carol", "x1", "x10", "x2"]
        await group(alice, "g", *names)
        for limit in (1, 2, 3, 4, 9):
            rows = await pages(alice, "list_members", "members", group_id="g", limit=limit)
            assert [row["user_id"] for row in rows] == sorted([*names, "alice"])
        rows = await pages(alice, "list_members", "members", group_id="g", limit=2, roles=["owner"])
        assert [row["user_id"] for row in rows] == ["alice"]
        both = ["owner", "member"]
        rows = await pages(alice, "list_members", "members", group_id="g", limit=2, roles=both)
        assert len(rows) == 9
        assert await pages(alice, "list_members", "members", group_id="g", roles=[]) == []


@pytest.mark.parametrize("group_type", ["Work", "Public", "Meeting"])
@pytest.mark.parametrize("method", ["list_members", "list_messages"])
async def test_members_and_history_are_for_members_only(
    world: World, group_type: str, method: str
) -> None:
    alice, bob, admin = [await world.online(name) for name in ("alice", "bob", ADMIN)]
    await group(alice, "g", group_type=group_type)
    refused = await bob.refusal(method, group_id="g")
    assert refused.code is ErrorCode.NO_PERMISSION
    assert refused.detail["have"] == "none"
    assert refused.detail["need"] == "member"
    for device in (alice, admin):
        await device.call(method, group_id="g")


async def test_of_a_room_the_owner_and_the_newest_30_are_listed() -> None:
    async with world_on(MemoryStore(epoch=EPOCH)) as world:
        alice = await world.online("alice")
        await group(alice, "room", group_type="AVChatRoom")
        for number in range(33):
            world.clock.advance(1)
            guest = await world.online(f"guest{number:02}")
            await guest.call("join_group", group_id="room")
        rows = (await alice.call("list_members", group_id="room"))["members"]
        newest = [f"guest{number:02}" for number in range(32, 2, -1)]
        assert [row["user_id"] for row in rows] == ["alice", *newest]
        refused = await alice.refusal("list_messages", group_id="room")
        assert refused.code is ErrorCode.NO_PERMISSION


# History.


async def seqs(device: Device, group_id: str = "g", **params: object) -> list[int]:
    answer = await device.call("list_messages", request_id=None, group_id=group_id, **params)
    events = answer["events"]
    return [event["seq"] for event in events]


@pytest.mark.parametrize("group_type", ["Public", "Meeting"])
async def test_history_before_the_join_is_shown_by_meetings_only(
    world: World, group_type: str
) -> None:
    alice, bob = await world.online("alice"), await world.online("bob")
    await group(alice, "g", group_type=group_type)
    for number in range(5):
        await alice.say("g", str(number))
    await bob.call("join_group", group_id="g")
    await alice.say("g", "with bob")
    head = (await alice.call("list_messages", group_id="g"))["events"][-1]["seq"]
    answer = await bob.call("list_messages", group_id="g")
    first = 1 if group_type == "Meeting" else 6
    assert answer["first_seq"] == first
    assert [event["seq"] for event in answer["events"]] == list(range(first, head + 1))
    assert await seqs(bob, before_seq=4) == ([1, 2, 3] if group_type == "Meeting" else [])
    assert await seqs(bob, after_seq=0, limit=2) == [first, first + 1]


async def test_history_is_that_of_the_membership_that_lasts(world: World) -> None:
    alice, bob = await world.online("alice"), await world.online("bob")
    await group(alice, "g", group_type="Public")
    await bob.call("join_group", group_id="g")
    await alice.say("g", "first stay")
    await bob.call("quit_group", group_id="g")
    refused = await bob.refusal("list_messages", group_id="g")
    assert refused.code is ErrorCode.NO_PERMISSION
    await alice.say("g", "between")
    await bob.call("join_group", group_id="g")
    await alice.say("g", "second stay")
    events = (await bob.call("list_messages", group_id="g"))["events"]
    assert [event["event"] for event in events] == ["member_joined", "message"]


async def test_every_window_of_history_is_what_it_says(store: Store) -> None:
    async with world_on(store, rulebook_with({"PAGE_ITEMS": 6})) as world:
        alice = await world.online("alice")
        await group(alice, "g")
        for number in range(8):
            await alice.say("g", str(number))
        every = list(range(1, 9))
        for limit, place in itertools.product((1, 3, 6, 7, 100), (1, 2, 5, 8, 9, 10, 10**6)):
            size = min(limit, 6)
            answer = await alice.call("list_messages", group_id="g", before_seq=place, limit=limit)
            before = [seq for seq in every if seq < place]
            assert [event["seq"] for event in answer["events"]] == before[-size:]
            assert answer["has_more"] == (len(before) > size)
            answer = await alice.call("list_messages", group_id="g", after_seq=place, limit=limit)
            after = [seq for seq in every if seq > place]
            assert [event["seq"] for event in answer["events"]] == after[:size]
            assert answer["has_more"] == (len(after) > size)
        assert await seqs(alice) == every[-6:]


async def test_both_ends_of_a_window_exclude_each_other(world: World) -> None:
    alice = await world.online("alice")
    await group(alice, "g")
    refused = await alice.refusal("list_messages", group_id="g", before_seq=5, after_seq=1)
    assert refused.code is ErrorCode.BAD_REQUEST
    assert refused.detail["field"] == "before_seq"


async def test_history_shows_what_the_devices_were_told(world: World) -> None:
    alice = await world.online("alice")
    await group(alice, "g", "bob")
    for number in range(3):
        await alice.say("g", str(number))
    await alice.call("remove_members", group_id="g", user_ids=["bob"])
    events = (await alice.call("list_messages", group_id="g"))["events"]
    await world.settle()
    told = [event for event in alice.events if event.seq is not None]
    assert [event["seq"] for event in events] == [event.seq for event in told]
    assert [event["data"] for event in events] == [event.data for event in told]


# Page marks, devices, methods.


@pytest.mark.parametrize("method", ["list_joined_groups", "list_members", "list_applications"])
@pytest.mark.parametrize("after", ["?", "a", "=", "é", "\x00", "____", "AAAA" * 500])
async def test_what_is_no_page_mark_is_refused_or_an_empty_or_any_page(
    world: World, method: str, after: str
) -> None:
    alice = await world.online("alice")
    await group(alice, "g")
    params = {"group_id": "g"} if method == "list_members" else {}
    reply = await alice.send(method, after=after, **params)
    if reply.error is not None:
        assert reply.error.code == ErrorCode.BAD_REQUEST
        assert reply.error.detail == {"field": "after"}


@pytest.mark.parametrize(
    ("method", "place"),
    [
        ("list_joined_groups", "-1"),
        ("list_joined_groups", "x"),
        ("list_joined_groups", "9" * 17),
        ("list_joined_groups", "1" + "\u0660"),
        ("list_applications", "1"),
        ("list_applications", "x:y"),
    ],
)
async def test_a_page_mark_of_another_list_is_refused(
    world: World, method: str, place: str
) -> None:
    alice = await world.online("alice")
    refused = await alice.refusal(method, after=paging.mark(place))
    assert refused.code is ErrorCode.BAD_REQUEST


async def test_devices_are_listed_in_the_order_of_connecting_and_know_themselves(
    world: World,
) -> None:
    one, two = await world.online("alice", "d1"), await world.online("alice", "d2")
    await world.online("bob", "d3")
    for device in (one, two):
        rows = (await device.call("list_devices"))["devices"]
        assert [row["device_id"] for row in rows] == ["d1", "d2"]
        assert [row["device_id"] for row in rows if row["current"]] == [device.device_id]


async def test_all_methods_are_listed_with_their_parameters(world: World) -> None:
    alice = await world.online("alice")
    rows = (await alice.call("list_methods"))["methods"]
    assert [row["method"] for row in rows] == list(METHODS)
    for row in rows:
        assert row["changes"] is METHODS[row["method"]].changes
        assert row["description"]
        assert row["params"]["type"] == "object"


async def test_what_was_muted_or_discarded_in_a_room_holds_on_the_next_visit() -> None:
    async with world_on(MemoryStore(epoch=EPOCH)) as world:
        alice, bob = await world.online("alice"), await world.online("bob")
        await group(alice, "room", group_type="AVChatRoom")
        await bob.call("join_group", group_id="room")
        await bob.call("update_member", group_id="room", user_id="bob", receive_option="Discard")
        await alice.say("room", "unheard")
        bob.drop()
        await world.settle()
        again = await world.online("bob")
        await again.call("join_group", group_id="room")
        await alice.say("room", "heard or not")
        (row,) = (await again.call("get_members", group_id="room", user_ids=["bob"]))["members"]
        discards = row["receive_option"] == "Discard"
        assert again.texts("room") == ([] if discards else ["heard or not"])
        after = await again.call("update_member", group_id="room", user_id="bob")
        assert (after["member"]["receive_option"] == "Discard") == discards
