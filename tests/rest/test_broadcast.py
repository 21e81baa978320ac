"""The same message to every AVChatRoom, and what must not be sent to a topic."""

import asyncio
from typing import Any

import pytest

from server.service.operator import REPEAT_MS
from tests.kit.office import Office
from tests.rest.examples import EXAMPLE, OF_G, G

BODY = [{"MsgType": "TIMTextElem", "MsgContent": {"Text": "hello, all"}}]
CALL: dict[str, Any] = {"Random": 7, "MsgBody": BODY}


@pytest.fixture
async def rooms(office: Office) -> Office:
    """With the rooms r0 to r2 and a group of another type, all of them bob's."""
    for n in range(3):
        made = {"Type": "AVChatRoom", "Name": "x", "GroupId": f"r{n}", "Owner_Account": "bob"}
        await office.ok("create_group", made)
    await office.ok("create_group", EXAMPLE["create_group"])
    return office


async def say(office: Office, **changed: object) -> None:
    """Once a second is allowed."""
    office.world.clock.advance(1000)
    await office.ok("send_broadcast_msg", {**CALL, **changed})


async def test_everybody_in_a_room_hears_it_once(rooms: Office) -> None:
    world = rooms.world
    ann, cat, zoe = [await world.online(name) for name in ("ann", "cat", "zoe")]
    for device, names in ((ann, ("r0", "r1")), (cat, ("r1",))):
        for name in names:
            await device.call("join_group", group_id=name)
    peter = await world.online("peter")
    heard = {device: len(device.events) for device in (ann, cat, zoe, peter)}
    await say(rooms, From_Account="leckie", CloudCustomData="mine")
    told = {device: device.events[count:] for device, count in heard.items()}
    assert sorted(event.group_id for event in told[ann]) == ["r0", "r1"]
    assert [event.group_id for event in told[cat]] == ["r1"]
    assert (told[zoe], told[peter]) == ([], [])
    (event,) = told[cat]
    assert (event.from_id, event.seq, event.data["custom_data"]) == ("leckie", None, "mine")
    assert event.data["body"] == [{"type": "text", "content": {"text": "hello, all"}}]


async def test_the_same_random_is_a_repeat(rooms: Office) -> None:
    ann, cat = await rooms.world.online("ann"), await rooms.world.online("cat")
    await ann.call("join_group", group_id="r0")
    await say(rooms)
    await cat.call("join_group", group_id="r1")
    await say(rooms)
    assert (ann.texts("r0"), cat.texts("r1")) == (["hello, all"], ["hello, all"])
    await say(rooms, Random=8)
    rooms.world.clock.advance(REPEAT_MS)
    await say(rooms)
    assert ann.texts("r0") == ["hello, all"] * 3


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"MsgBody": []}, 10004),
        ({"MsgBody": BODY * 17}, 10004),
        ({"MsgBody": [{"MsgType": "TIMTextElem", "MsgContent": {"Text": "x" * 12_289}}]}, 80002),
        ({"Random": None}, 10004),
        ({"From_Account": "\u00fc"}, 10012),
        ({"CloudCustomData": "x" * 8_193}, 10004),
    ],
)
@pytest.mark.parametrize("is_empty", [True, False])
async def test_a_broadcast_that_cannot_be(
    office: Office, changed: dict[str, object], code: int, *, is_empty: bool
) -> None:
    """Also where there is nobody to hear it."""
    ann = await office.world.online("ann")
    if not is_empty:
        await office.ok("create_group", {"Type": "AVChatRoom", "Name": "x", "GroupId": "r0"})
        await ann.call("join_group", group_id="r0")
    heard = len(ann.events)
    assert await office.code("send_broadcast_msg", {**CALL, **changed}) == code
    assert len(ann.events) == heard


async def test_once_a_second(rooms: Office) -> None:
    await say(rooms)
    assert await rooms.code("send_broadcast_msg", CALL) == 60007


async def test_a_room_that_ends_meanwhile_keeps_nobody_from_hearing(rooms: Office) -> None:
    ann = await rooms.world.online("ann")
    for name in ("r0", "r1"):
        await ann.call("join_group", group_id=name)
    rooms.world.clock.advance(1000)
    await asyncio.gather(
        rooms.ok("destroy_group", {"GroupId": "r0"}), rooms.ok("send_broadcast_msg", CALL)
    )
    assert ann.texts("r1") == ["hello, all"]


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("send_group_msg", {"Random": 1, "MsgBody": BODY}),
        ("send_group_system_notification", {"Content": "x"}),
        ("forbid_send_msg", {"Members_Account": ["peter"], "MuteTime": 60}),
        ("get_group_muted_account", {}),
        ("get_group_shutted_uin", {}),
        ("import_group_msg", {"MsgList": [{"From_Account": "a", "SendTime": 1, "MsgBody": BODY}]}),
        ("group_msg_get_simple", {"ReqMsgNumber": 1}),
        ("group_msg_recall", {"MsgSeqList": [{"MsgSeq": 1}]}),
        ("delete_group_msg_by_sender", {"Sender_Account": "bob"}),
    ],
)
async def test_what_is_for_a_topic_is_not_done_to_the_group(
    crew: Office, name: str, more: dict[str, Any]
) -> None:
    peter = await crew.world.online("peter")
    topic = {"TopicId": f"{G}@TOPIC#_x"}
    assert await crew.code(name, {**OF_G, **more, **topic}) == 10026
    assert peter.events == []
    if name != "import_group_msg":  # whose time is before the group's
        await crew.ok(name, {**OF_G, **more, "TopicId": ""})
