"""What the machines found, each as small as it gets."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from protocol.limits import default_limits
from server.domain.overrides import configured_rulebook
from server.domain.rules import Rulebook
from server.storage.memory import MemoryStore
from tests.kit.devices import ADMIN, EPOCH, Device, World, world_on

SECRET = {"secret": {"read": "admin", "write": "admin"}}


def _rulebook() -> Rulebook:
    return configured_rulebook(
        limits=default_limits() | {"GROUPS_PER_USER": 2, "PENDING_APPLICATIONS": 2},
        types={"Community": {"traits": {"invitee_consent": True}}},
        group_fields=SECRET,
        member_fields={"rank": {"read": "admin", "write": "admin"}},
    )


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with world_on(MemoryStore(epoch=EPOCH), _rulebook()) as running:
        yield running


async def _create(device: Device, group_type: str, *members: str, **options: object) -> str:
    params: dict[str, Any] = {"type": group_type, "name": "-", **options}
    if members:
        params["members"] = [{"user_id": user_id} for user_id in members]
    made = await device.call("create_group", **params)
    group_id: str = made["group"]["group_id"]
    return group_id


async def _waiting(device: Device) -> list[dict[str, Any]]:
    listed = await device.call("list_applications")
    return [one for one in listed["applications"] if one["status"] == "pending"]


def _names(device: Device, group_id: str) -> list[str]:
    return [event.event for event in device.events if event.group_id == group_id]


# The pending list.


async def test_whoever_was_rejected_may_apply_again(world: World) -> None:
    owner, ann = await world.online("owner"), await world.online("ann")
    group_id = await _create(owner, "Public")
    await ann.call("join_group", group_id=group_id)
    (application,) = await _waiting(owner)
    await owner.call(
        "handle_applications", application_ids=[application["application_id"]], accept=False
    )
    assert await ann.call("join_group", group_id=group_id) == {"status": "pending"}


async def test_whoever_waits_may_apply_again(world: World) -> None:
    owner, ann = await world.online("owner"), await world.online("ann")
    group_id = await _create(owner, "Public")
    await ann.call("join_group", group_id=group_id)
    assert await ann.call("join_group", group_id=group_id, message="please") == {
        "status": "pending"
    }
    (application,) = await _waiting(owner)
    assert application["message"] == "please"


async def test_a_full_list_drops_its_oldest(world: World) -> None:
    owner = await world.online("owner")
    group_id = await _create(owner, "Public")
    for user_id in ("ann", "bob", "eve"):
        device = await world.online(user_id)
        world.clock.advance(1)
        assert await device.call("join_group", group_id=group_id) == {"status": "pending"}
    assert [one["user_id"] for one in await _waiting(owner)] == ["eve", "bob"]


async def test_a_former_member_may_be_approved(world: World) -> None:
    owner, ann, admin = [await world.online(user_id) for user_id in ("owner", "ann", ADMIN)]
    group_id = await _create(owner, "Public")
    await ann.call("join_group", group_id=group_id)
    await admin.call("invite_members", group_id=group_id, user_ids=["ann"])
    await ann.call("quit_group", group_id=group_id)
    (application,) = await _waiting(owner)
    handled = await owner.call(
        "handle_applications", application_ids=[application["application_id"]], accept=True
    )
    assert handled["applications"][0]["result"] == "approved"


async def test_approval_looks_at_how_many_groups_a_user_is_in(world: World) -> None:
    """groups.md section 4: a user may be in so many groups; two approvals come in one call."""
    owner, ann = await world.online("owner"), await world.online("ann")
    for _ in range(2):
        group_id = await _create(owner, "Public")
        await ann.call("join_group", group_id=group_id)
    await _create(ann, "Work")
    ids = [one["application_id"] for one in await _waiting(owner)]
    await owner.call("handle_applications", application_ids=ids, accept=True)
    assert len((await ann.call("list_joined_groups"))["groups"]) == 2


async def test_a_list_is_not_read_before_it_is_there(world: World) -> None:
    owner, ann = await world.online("owner"), await world.online("ann")
    group_id = await _create(owner, "Public")
    await owner.call("read_applications", up_to_ms=2**53 - 1)
    world.clock.advance(1)
    await ann.call("join_group", group_id=group_id)
    assert (await owner.call("list_applications"))["unread"] == 1


async def test_an_invitation_needs_the_option_at_its_approval(world: World) -> None:
    """groups.md section 6: approval re-checks the rules at that moment (option changed)."""
    owner, bob = await world.online("owner"), await world.online("bob")
    group_id = await _create(owner, "Public", "bob", invite_join_option="NeedPermission")
    await bob.call("invite_members", group_id=group_id, user_ids=["ann"])
    await owner.call("update_group", group_id=group_id, invite_join_option="DisableInvite")
    (application,) = await _waiting(owner)
    handled = await owner.call(
        "handle_applications", application_ids=[application["application_id"]], accept=True
    )
    assert handled["applications"][0]["result"] == "failed"


# Discard.


async def test_discard_outlasts_the_connection(world: World) -> None:
    owner, ann = await world.online("owner"), await world.online("ann")
    group_id = await _create(owner, "Public", "ann")
    await ann.call("update_member", group_id=group_id, user_id="ann", receive_option="Discard")
    ann.drop()
    again = await world.online("ann", cursor=ann.cursor)
    await owner.say(group_id, "hello")
    await world.settle()
    assert again.texts(group_id) == []


async def test_discard_ends_with_the_membership(world: World) -> None:
    owner, ann = await world.online("owner"), await world.online("ann")
    group_id = await _create(owner, "Public", "ann", apply_join_option="FreeAccess")
    await ann.call("update_member", group_id=group_id, user_id="ann", receive_option="Discard")
    await ann.call("quit_group", group_id=group_id)
    await ann.call("join_group", group_id=group_id)
    await owner.say(group_id, "hello")
    await world.settle()
    assert ann.texts(group_id) == ["hello"]


# AVChatRooms.


async def test_approval_to_an_avchatroom_stores_no_membership(world: World) -> None:
    """groups.md section 2: membership does not survive a disconnection."""
    owner, ann = await world.online("owner"), await world.online("ann")
    group_id = await _create(owner, "AVChatRoom", apply_join_option="NeedPermission")
    await ann.call("join_group", group_id=group_id)
    (application,) = await _waiting(owner)
    await owner.call(
        "handle_applications", application_ids=[application["application_id"]], accept=True
    )
    ann.drop()
    await world.settle()
    again = await world.online("ann")
    assert (await again.call("list_joined_groups"))["groups"] == []


async def test_a_dropped_connection_is_counted_once(world: World) -> None:
    owner, ann = await world.online("owner"), await world.online("ann")
    group_id = await _create(owner, "AVChatRoom")
    await ann.call("join_group", group_id=group_id)
    ann.drop()
    await world.settle()
    told = [event for event in owner.events if event.event == "member_quit"]
    assert [event.data["member_count"] for event in told] == [1]


async def test_two_who_join_at_once_are_two(world: World) -> None:
    owner, ann, bob = [await world.online(user_id) for user_id in ("owner", "ann", "bob")]
    group_id = await _create(owner, "AVChatRoom")
    replies = [device.send("join_group", group_id=group_id) for device in (ann, bob)]
    for reply in replies:
        await reply
    told = [event for event in owner.events if event.event == "member_joined"]
    assert [event.data["member_count"] for event in told] == [2, 3]


async def test_list_and_profile_count_the_same(world: World) -> None:
    owner, ann = await world.online("owner"), await world.online("ann")
    group_id = await _create(owner, "AVChatRoom")
    await ann.call("join_group", group_id=group_id)
    listed = await owner.call("list_joined_groups")
    profile = await owner.call("get_groups", group_ids=[group_id])
    assert listed["groups"][0]["member_count"] == profile["groups"][0]["group"]["member_count"]


@pytest.mark.parametrize(
    ("actor", "change", "shown"),
    [
        ("ann", {"receive_option": "Discard"}, {"receive_option": "Discard"}),
        ("owner", {"mute_s": 60}, {"mute_until_ms": 1_750_000_060_000}),
    ],
    ids=["receive option", "mute"],
)
async def test_what_is_kept_of_a_participant_is_shown(
    world: World, actor: str, change: dict[str, Any], shown: dict[str, Any]
) -> None:
    owner, ann = await world.online("owner"), await world.online("ann")
    group_id = await _create(owner, "AVChatRoom")
    await ann.call("join_group", group_id=group_id)
    device = owner if actor == "owner" else ann
    await device.call("update_member", group_id=group_id, user_id="ann", **change)
    found = await ann.call("get_members", group_id=group_id, user_ids=["ann"])
    (member,) = found["members"]
    assert {name: member[name] for name in shown} == shown


async def test_nobody_takes_part_who_is_not_there(world: World) -> None:
    """The operator has a user join who is not connected: nothing is told that is not so."""
    owner, admin = await world.online("owner"), await world.online(ADMIN)
    group_id = await _create(owner, "AVChatRoom")
    await admin.send("join_group", group_id=group_id, as_user_id="ann")
    await world.settle()
    told = [event for event in owner.events if event.event == "member_joined"]
    count = await owner.call("get_online_count", group_id=group_id)
    assert count == {"online_count": 1 + len(told)}


async def test_an_avchatroom_takes_no_more_than_it_says(world: World) -> None:
    owner = await world.online("owner")
    group_id = await _create(owner, "AVChatRoom", max_member_count=2)
    ann, bob = await world.online("ann"), await world.online("bob")
    await ann.call("join_group", group_id=group_id)
    assert (await bob.refusal("join_group", group_id=group_id)).code.name == "GROUP_FULL"


# Reading.


async def test_a_recall_is_no_message(world: World) -> None:
    owner = await world.online("owner")
    group_id = await _create(owner, "Public")
    sent = await owner.say(group_id, "hello")
    world.clock.advance(1000)
    await owner.call("recall_message", group_id=group_id, seq=sent["seq"])
    (listed,) = (await owner.call("list_joined_groups"))["groups"]
    assert listed["last_message_time_ms"] == sent["time_ms"]


async def test_a_read_position_is_not_told_to_go_back(world: World) -> None:
    owner, ann = await world.online("owner"), await world.online("ann")
    group_id = await _create(owner, "Public", "ann")
    for number in range(3):
        await owner.say(group_id, str(number))
    replies = [ann.send("mark_read", group_id=group_id, seq=seq) for seq in (3, 1)]
    unread = [(await reply).result for reply in replies]
    told = [event.data["read_seq"] for event in ann.events if event.event == "read"]
    assert told == [3]
    assert unread == [{"unread": 0}, {"unread": 0}]


async def test_unread_counts_what_came_just_before(world: World) -> None:
    owner, ann = await world.online("owner"), await world.online("ann")
    group_id = await _create(owner, "Public", "ann")
    await owner.say(group_id, "1")
    sent = owner.send("send_message", group_id=group_id, body=_text("2"))
    read = ann.send("mark_read", group_id=group_id, seq=1)
    await sent
    assert (await read).result == {"unread": 1}


def _text(words: str) -> list[dict[str, Any]]:
    return [{"type": "text", "content": {"text": words}}]


# Who is told.


async def test_a_mute_that_goes_on_is_told(world: World) -> None:
    """A member leaves muted and comes back: muted still, and everybody knows."""
    owner, ann = await world.online("owner"), await world.online("ann")
    group_id = await _create(owner, "Public", "ann", apply_join_option="FreeAccess")
    await owner.call("update_member", group_id=group_id, user_id="ann", mute_s=60)
    await ann.call("quit_group", group_id=group_id)
    seen = len(owner.events), len(ann.events)
    await ann.call("join_group", group_id=group_id)
    found = await owner.call("get_members", group_id=group_id, user_ids=["ann"])
    assert found["members"][0]["mute_until_ms"] > 0
    for events in (owner.events[seen[0] :], ann.events[seen[1] :]):
        assert any("mute_until_ms" in event.data for event in events)


@pytest.mark.parametrize("method", ["invite_members", "remove_members"])
async def test_the_actors_devices_hear_of_members_of_a_meeting(world: World, method: str) -> None:
    """groups.md section 2, last paragraph: what is no tip reaches the actor's own devices."""
    owner, other = await world.online("owner", "d1"), await world.online("owner", "d2")
    group_id = await _create(owner, "Meeting", "ann", invite_join_option="FreeAccess")
    seen = len(other.events)
    user_ids = ["bob"] if method == "invite_members" else ["ann"]
    await owner.call(method, group_id=group_id, user_ids=user_ids)
    await world.settle()
    assert [event.data["version"] for event in other.events[seen:]] == [2]


async def test_the_approver_s_devices_hear_of_members_of_a_meeting(world: World) -> None:
    """Section 2 again: the version and the count after it are part of the change."""
    owner, ann = await world.online("owner"), await world.online("ann")
    group_id = await _create(owner, "Meeting", apply_join_option="NeedPermission")
    await ann.call("join_group", group_id=group_id)
    (application,) = await _waiting(owner)
    seen = len(owner.events)
    ids = [application["application_id"]]
    await owner.call("handle_applications", application_ids=ids, accept=True)
    assert 2 in [event.data.get("version") for event in owner.events[seen:]]


async def test_a_name_card_in_a_meeting_is_a_tip(world: World) -> None:
    """Section 5 has the tip; section 2 turns off those on mute and admins only."""
    owner, ann = await world.online("owner"), await world.online("ann")
    group_id = await _create(owner, "Meeting", "ann")
    await ann.call("update_member", group_id=group_id, user_id="ann", name_card="Ann")
    await world.settle()
    assert "member_profile_changed" in _names(owner, group_id)


async def test_the_members_of_a_meeting_hear_that_nobody_owns_it(world: World) -> None:
    """Section 5, "owner changed": a tip with ``owner_id``, and notice to the old owner."""
    owner, ann, admin = [await world.online(user_id) for user_id in ("owner", "ann", ADMIN)]
    group_id = await _create(owner, "Meeting", "ann")
    await admin.call("remove_members", group_id=group_id, user_ids=["owner"])
    await world.settle()
    assert [event.data["owner_id"] for event in ann.events if "owner_id" in event.data] == [""]


async def test_a_group_field_is_told_to_those_who_may_read_it(world: World) -> None:
    owner, ann = await world.online("owner"), await world.online("ann")
    group_id = await _create(owner, "Public", "ann")
    await owner.call("update_group", group_id=group_id, custom={"secret": "treasure"})
    await world.settle()
    assert not [event for event in ann.events if "treasure" in str(event.data)]
    page = await ann.call("list_messages", group_id=group_id)
    assert "treasure" not in str(page)


async def test_a_member_field_is_told_to_those_who_may_read_it(world: World) -> None:
    owner, ann, bob = [await world.online(user_id) for user_id in ("owner", "ann", "bob")]
    group_id = await _create(owner, "Public", "ann", "bob")
    await owner.call("update_member", group_id=group_id, user_id="ann", custom={"rank": "suspect"})
    await world.settle()
    for device in (ann, bob):
        assert not [event for event in device.events if "suspect" in str(event.data)]


# In somebody's name.


@pytest.mark.parametrize("name", ["", "x" * 33, "line\nbreak"])
async def test_nobody_acts_in_the_name_of_what_is_no_user(world: World, name: str) -> None:
    admin = await world.online(ADMIN)
    group_id = await _create(admin, "Public")
    refused = await admin.send("update_group", group_id=group_id, mute_all=True, as_user_id=name)
    assert refused.error is not None
    assert refused.error.name in ("INVALID_USER_ID", "BAD_REQUEST")
