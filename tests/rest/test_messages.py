"""Options of the commands about what is said, and about what was said."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from protocol.vocabulary import GroupType
from server.rest.words import EVERYBODY
from server.service.operator import REPEAT_MS
from server.storage.audit import audit
from server.storage.database import DATABASE_NAME
from tests.kit.devices import STORES
from tests.kit.fakes import NOON_MS
from tests.kit.office import Office, office_of
from tests.rest.examples import EXAMPLE, OF_G, G

NOON_S = NOON_MS // 1000


def text(words: str) -> list[dict[str, Any]]:
    return [{"MsgType": "TIMTextElem", "MsgContent": {"Text": words}}]


async def say(office: Office, words: str, random: int, **options: object) -> dict[str, Any]:
    request = {**OF_G, "Random": random, "MsgBody": text(words), **options}
    return await office.ok("send_group_msg", request)


async def logged(office: Office, **options: object) -> list[dict[str, Any]]:
    request = {**OF_G, "ReqMsgNumber": 20, **options}
    return list((await office.ok("group_msg_get_simple", request))["RspMsgList"])


async def test_who_says_it(crew: Office) -> None:
    peter = await crew.world.online("peter")
    await say(crew, "operator", 1)
    await say(crew, "peter", 2, From_Account="peter")
    await say(crew, "no member", 3, From_Account="zoe")
    said = [(event.from_id, event.data["body"]) for event in peter.events]
    assert [who for who, _ in said] == ["administrator", "peter", "zoe"]
    wrong = {**OF_G, "Random": 4, "MsgBody": text("x"), "From_Account": "ü"}
    assert await crew.code("send_group_msg", wrong) == 10012


async def test_options_reach_the_devices(crew: Office) -> None:
    peter = await crew.world.online("peter")
    mentions = [{"GroupAtAllFlag": 1}, {"GroupAtAllFlag": 0, "GroupAt_Account": "peter"}]
    sent = await say(
        crew,
        "hello",
        1,
        MsgPriority="Low",
        OnlineOnlyFlag=1,
        GroupAtInfo=mentions,
        CloudCustomData="mine",
        OfflinePushInfo={"PushFlag": 0},
    )
    assert sent["MsgSeq"] == 0, "it is not stored"
    (event,) = peter.events
    assert event.data == {
        "body": [{"type": "text", "content": {"text": "hello"}}],
        "priority": "Low",
        "online_only": True,
        "at_user_ids": [EVERYBODY, "peter"],
        "custom_data": "mine",
    }


@pytest.mark.parametrize("kind", STORES)
async def test_the_same_random_within_five_minutes_is_a_repeat(kind: str, tmp_path: Path) -> None:
    async with office_of(kind, tmp_path) as office:
        await office.ok("create_group", EXAMPLE["create_group"])
        clock = office.world.clock
        clock.advance(REPEAT_MS - clock.now_ms() % REPEAT_MS - 1000)  # a second before a window
        first = await say(office, "a", 7)
        assert await say(office, "a", 7) == first
        others = [
            await say(office, "b", 7),
            await say(office, "a", 8),
            await say(office, "a", 7, From_Account="peter"),
        ]
        assert [other["MsgSeq"] for other in others] == [2, 3, 4]
        clock.advance(REPEAT_MS - 1)
        assert await say(office, "a", 7) == first, "in the next window too"
        clock.advance(1)
        again = await say(office, "a", 7)
        assert again["MsgSeq"] == 5
        assert await say(office, "a", 7) == again
        assert len(await logged(office)) == 5


async def test_repeats_at_the_same_time_are_one_message(crew: Office) -> None:
    answers = await asyncio.gather(*(say(crew, "a", 7) for _ in range(5)))
    assert all(answer == answers[0] for answer in answers)
    assert len(await logged(crew)) == 1


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"MsgBody": []}, 10004),
        ({"MsgBody": [{"MsgType": "TIMNoElem", "MsgContent": {}}]}, 10004),
        ({"MsgBody": [{"MsgType": "TIMTextElem", "MsgContent": {}}]}, 10004),
        ({"MsgBody": [{"MsgType": "TIMFaceElem", "MsgContent": {"Index": "6"}}]}, 10004),
        ({"MsgBody": [{"MsgType": "TIMTextElem"}]}, 10004),
        ({"MsgBody": text("x" * 12_289)}, 80002),
        ({"MsgBody": text("x") * 17}, 10004),
        ({"Random": -1}, 10004),
        ({"Random": 2**32}, 10004),
        ({"Random": "1"}, 10004),
        ({"MsgPriority": "Urgent"}, 10004),
        ({"OnlineOnlyFlag": 2}, 10004),
        ({"SendMsgControl": ["No"]}, 10004),
        ({"GroupAtInfo": [{"GroupAt_Account": "a"}] * 31}, 10053),
        ({"To_Account": ["peter"]}, 10026),
        ({"SupportMessageExtension": 1}, 10026),
        ({"GroupId": "none"}, 10010),
    ],
)
async def test_a_message_that_cannot_be(
    crew: Office, changed: Mapping[str, Any], code: int
) -> None:
    request = {**OF_G, "Random": 1, "MsgBody": text("x"), **changed}
    assert await crew.code("send_group_msg", request) == code


async def test_the_operator_speaks_where_others_are_muted(crew: Office) -> None:
    await crew.ok("modify_group_base_info", {**OF_G, "MuteAllMember": "On"})
    await say(crew, "quiet please", 1, From_Account="peter")


async def test_every_element_comes_back_as_it_was(crew: Office) -> None:
    images = [{"Type": 1, "Size": 1, "Width": 1, "Height": 1, "URL": "u"}]
    body = [
        *text("t"),
        {"MsgType": "TIMLocationElem", "MsgContent": {"Desc": "d", "Latitude": 1.5, "Longitude": 2.5}},
        {"MsgType": "TIMFaceElem", "MsgContent": {"Index": 1, "Data": "d"}},
        {"MsgType": "TIMCustomElem", "MsgContent": {"Data": "d", "Desc": "", "Ext": "", "Sound": ""}},
        {
            "MsgType": "TIMSoundElem",
            "MsgContent": {"Url": "u", "UUID": "i", "Size": 1, "Second": 2, "Download_Flag": 2},
        },
        {
            "MsgType": "TIMImageElem",
            "MsgContent": {"UUID": "i", "ImageFormat": 1, "ImageInfoArray": images},
        },
        {
            "MsgType": "TIMFileElem",
            "MsgContent": {
                "Url": "u",
                "UUID": "i",
                "FileSize": 1,
                "FileName": "n",
                "Download_Flag": 2,
            },
        },
    ]  # fmt: skip
    await crew.ok("send_group_msg", {**OF_G, "Random": 1, "MsgBody": body})
    (message,) = await logged(crew)
    assert message["MsgBody"] == body


async def test_a_file_without_an_id(crew: Office) -> None:
    """As PyPI's tencentcloud-sdk-python-im sends one."""
    content = {"Url": "u", "FileSize": 1, "FileName": "n", "Download_Flag": 2}
    body = [{"MsgType": "TIMFileElem", "MsgContent": content}]
    await crew.ok("send_group_msg", {**OF_G, "Random": 1, "MsgBody": body})
    (message,) = await logged(crew)
    assert message["MsgBody"][0]["MsgContent"] == {**content, "UUID": ""}


async def test_notifications(crew: Office) -> None:
    world = crew.world
    bob, peter = await world.online("bob"), await world.online("peter")
    zoe = await world.online("zoe")
    request = {**OF_G, "Content": "Hello", "ToMembers_Account": ["peter", "zoe", "peter"]}
    await crew.ok("send_group_system_notification", request)
    assert bob.events == zoe.events == []
    (event,) = peter.events
    assert (event.event, event.op, event.data) == ("custom", 255, {"content": "Hello"})
    assert (event.seq, event.inbox_seq, event.actor_id) == (None, None, "administrator")
    await crew.ok("send_group_system_notification", {**OF_G, "Content": "All"})
    assert [event.data for event in bob.events] == [{"content": "All"}]
    assert len(peter.events) == 2
    too_many = {**request, "ToMembers_Account": [f"u{n}" for n in range(501)]}
    assert await crew.code("send_group_system_notification", too_many) == 10005
    assert await crew.code("send_group_system_notification", OF_G) == 10004
    too_long = {**OF_G, "Content": "x" * 12_289}
    assert await crew.code("send_group_system_notification", too_long) == 10004


async def test_notifications_in_a_room_are_for_all(office: Office) -> None:
    await office.ok("create_group", {"Type": "AVChatRoom", "Name": "x", "GroupId": "r"})
    ann = await office.world.online("ann")
    await ann.call("join_group", group_id="r")
    request = {"GroupId": "r", "Content": "Hello", "ToMembers_Account": ["zoe"]}
    await office.ok("send_group_system_notification", request)
    assert ann.events[-1].data == {"content": "Hello"}


async def test_the_log_page_by_page(crew: Office) -> None:
    for n in range(5):
        await say(crew, str(n), n)
    newest = await logged(crew, ReqMsgNumber=2)
    assert [message["MsgSeq"] for message in newest] == [5, 4]
    before = await logged(crew, ReqMsgNumber=2, ReqMsgSeq=3)
    assert [message["MsgSeq"] for message in before] == [3, 2]
    assert len({message["MsgRandom"] for message in [*newest, *before]}) == 4
    for number in (0, 21):
        request = {**OF_G, "ReqMsgNumber": number}
        assert await crew.code("group_msg_get_simple", request) == 10004


async def test_what_is_not_kept_any_more(crew: Office) -> None:
    await say(crew, "old", 1)
    crew.world.clock.advance(1000)
    await say(crew, "new", 2)
    await crew.world.store.trim(0, crew.world.clock.now_ms(), 100)
    page = await crew.ok("group_msg_get_simple", {**OF_G, "ReqMsgNumber": 2})
    assert (len(page["RspMsgList"]), page["IsFinished"]) == (1, 2)


async def test_a_room_keeps_no_messages(office: Office) -> None:
    await office.ok("create_group", {"Type": "AVChatRoom", "Name": "x", "GroupId": "r"})
    request = {"GroupId": "r", "ReqMsgNumber": 2}
    assert await office.code("group_msg_get_simple", request) == 10044


async def test_recalled_messages(crew: Office) -> None:
    peter = await crew.world.online("peter")
    for n in (1, 2):
        await say(crew, str(n), n)
    numbers = [{"MsgSeq": seq} for seq in (1, 9)]
    answer = await crew.ok("group_msg_recall", {**OF_G, "MsgSeqList": numbers, "Reason": "oops"})
    assert answer["RecallRetList"] == [
        {"MsgSeq": 1, "RetCode": 0},
        {"MsgSeq": 9, "RetCode": 10030},
    ]
    assert peter.events[-1].data["reason"] == "oops"
    plain, asked = await logged(crew), await logged(crew, WithRecalledMsg=1)
    assert [message["IsPlaceMsg"] for message in plain] == [0, 0, 1]
    assert [message["IsPlaceMsg"] for message in asked] == [0, 0, 2]
    assert (plain[-1]["MsgBody"], plain[0]["IsSystemMsg"]) == ([], 1)
    again = {**OF_G, "MsgSeqList": numbers[:1]}
    (row,) = (await crew.ok("group_msg_recall", again))["RecallRetList"]
    assert row["RetCode"] == 10032
    twice = {**OF_G, "MsgSeqList": [{"MsgSeq": seq} for seq in (2, 2, 3)]}
    rows = (await crew.ok("group_msg_recall", twice))["RecallRetList"]
    assert [row["RetCode"] for row in rows] == [0, 10032, 10032]
    many = {**OF_G, "MsgSeqList": [{"MsgSeq": n + 1} for n in range(11)]}
    assert await crew.code("group_msg_recall", many) == 10005
    assert await crew.code("group_msg_recall", {**many, "GroupId": "x"}) == 10005
    assert await crew.code("group_msg_recall", {**again, "GroupId": "x"}) == 10010


async def test_recalls_of_one_call_are_one_commit(crew: Office) -> None:
    for n in range(3):
        await say(crew, str(n), n)
    before = crew.world.executor.commits.total
    numbers = [{"MsgSeq": seq} for seq in (1, 9, 3)]
    await crew.ok("group_msg_recall", {**OF_G, "MsgSeqList": numbers})
    assert crew.world.executor.commits.total == before + 1
    found = [(one["MsgSeq"], one["IsPlaceMsg"]) for one in await logged(crew)]
    assert found == [(5, 0), (4, 0), (3, 1), (2, 0), (1, 1)]
    wrong = {**OF_G, "MsgSeqList": numbers[:1], "Reason": "x" * 301}
    assert await crew.code("group_msg_recall", wrong) == 10004


async def test_a_senders_messages_lose_their_content_in_silence(crew: Office) -> None:
    peter = await crew.world.online("peter")
    for n, who in enumerate(("bob", "peter", "bob")):
        await say(crew, who, n, From_Account=who)
    heard = len(peter.events)
    await crew.ok("delete_group_msg_by_sender", {**OF_G, "Sender_Account": "bob"})
    assert len(peter.events) == heard
    messages = await logged(crew, WithRecalledMsg=1)
    assert [(one["From_Account"], one["IsPlaceMsg"]) for one in messages] == [
        ("bob", 2),
        ("peter", 0),
        ("bob", 2),
    ]
    await crew.ok("delete_group_msg_by_sender", {**OF_G, "Sender_Account": "zoe"})


async def test_unread_numbers(crew: Office) -> None:
    peter = await crew.world.online("peter")
    for n in range(4):
        await say(crew, str(n), n)
    await peter.call("mark_read", group_id=G, seq=4)
    heard = len(peter.events)
    request = {**OF_G, "Member_Account": "peter", "UnreadMsgNum": 3}
    await crew.ok("set_unread_msg_num", request)
    (told,) = peter.events[heard:]
    assert (told.event, told.data) == ("read", {"read_seq": 1, "unread": 3})
    (own,) = (await peter.call("list_joined_groups"))["groups"]
    assert (own["unread"], own["self"]["read_seq"]) == (3, 1)
    assert (await peter.call("mark_read", group_id=G, seq=2))["unread"] == 2
    await crew.ok("set_unread_msg_num", {**request, "UnreadMsgNum": 99})
    assert await crew.code("set_unread_msg_num", {**request, "Member_Account": "zoe"}) == 10019
    await crew.ok("create_group", {"Type": "ChatRoom", "Name": "x", "GroupId": "m"})
    await crew.ok("set_unread_msg_num", {**request, "GroupId": "m"})


@pytest.mark.parametrize("kind", STORES)
async def test_what_a_message_does_not_count_as(kind: str, tmp_path: Path) -> None:
    """NoUnread and NoLastMsg of the documented example, in what devices and lists say."""
    example = {**EXAMPLE["send_group_msg"]}
    assert example.pop("SendMsgControl") == ["NoUnread", "NoLastMsg"]
    profile = {"GroupIdList": [G], "ResponseFilter": {"GroupBaseInfoFilter": ["LastMsgTime"]}}
    async with office_of(kind, tmp_path) as office:
        await office.ok("create_group", EXAMPLE["create_group"])
        peter = await office.world.online("peter")

        async def counted(random: int, *controls: str) -> tuple[int, int, bool]:
            office.world.clock.advance(1000)
            request = {**example, "Random": random, "SendMsgControl": list(controls)}
            sent = await office.ok("send_group_msg", request)
            (own,) = (await peter.call("list_joined_groups"))["groups"]
            last_s = own["last_message_time_ms"] // 1000
            (info,) = (await office.ok("get_group_info", profile))["GroupInfo"]
            assert info["LastMsgTime"] == last_s
            data = peter.events[-1].data
            assert data.get("no_unread", False) == ("NoUnread" in controls)
            assert data.get("no_last_message", False) == ("NoLastMsg" in controls)
            return sent["MsgSeq"], own["unread"], last_s == sent["MsgTime"]

        assert await counted(1) == (1, 1, True)
        assert await counted(2, "NoUnread") == (2, 1, True)
        assert await counted(3, "NoLastMsg") == (3, 2, False)
        assert await counted(4, "NoUnread", "NoLastMsg") == (4, 2, False)
        assert await counted(5) == (5, 3, True)
        read = [(await peter.call("mark_read", group_id=G, seq=n))["unread"] for n in range(1, 6)]
        assert read == [2, 2, 1, 1, 0]
        assert await counted(6, "NoUnread") == (6, 0, True)
        unread = {"GroupId": G, "Member_Account": "peter", "UnreadMsgNum": 2}
        await office.ok("set_unread_msg_num", unread)
        assert peter.events[-1].data == {"read_seq": 4, "unread": 2}
        assert (await peter.call("mark_read", group_id=G, seq=6))["unread"] == 0
        await office.ok("set_unread_msg_num", {**unread, "UnreadMsgNum": 99})
        assert peter.events[-1].data["unread"] == 3, "no more than there are"


async def test_unread_numbers_of_who_came_later_are_sound(tmp_path: Path) -> None:
    """A member may be told to have not read what was said before it came."""
    async with office_of("sqlite", tmp_path) as office:
        await office.ok("create_group", EXAMPLE["create_group"])
        for n in range(4):
            await say(office, str(n), n)
        await office.ok("add_group_member", {**OF_G, "MemberList": [{"Member_Account": "late"}]})
        unread = {**OF_G, "Member_Account": "late", "UnreadMsgNum": 3}
        await office.ok("set_unread_msg_num", unread)
    assert audit(tmp_path / DATABASE_NAME, [GroupType.AVCHATROOM]).findings == []


async def test_imported_messages(crew: Office) -> None:
    peter = await crew.world.online("peter")
    rows = [
        {"From_Account": "zoe", "SendTime": NOON_S - 100, "MsgBody": text("first")},
        {"From_Account": "bob", "SendTime": NOON_S - 50, "Random": 1, "MsgBody": text("second")},
    ]
    answer = await crew.ok("import_group_msg", {**OF_G, "MsgList": rows})
    assert answer["ImportMsgResult"] == [
        {"MsgSeq": 1, "MsgTime": NOON_S - 100, "Result": 0},
        {"MsgSeq": 2, "MsgTime": NOON_S - 50, "Result": 0},
    ]
    second, first = await logged(crew)
    assert (first["From_Account"], first["MsgTimeStamp"]) == ("zoe", NOON_S - 100)
    assert second["MsgBody"] == text("second")
    assert first["MsgRandom"] != second["MsgRandom"]
    assert peter.texts(G) == ["first", "second"]
    late = {"From_Account": "bob", "SendTime": NOON_S - 20, "MsgBody": text("x")}
    for wrong, code in (
        ([rows[0]], 10004),
        ([late, {**late, "SendTime": NOON_S - 30}], 10004),
        ([{**late, "SendTime": NOON_S + 1}], 10004),
        ([{**late, "From_Account": "ü"}], 10012),
        ([late, {**late, "MsgBody": text("x" * 12_289)}], 80002),
        ([late] * 21, 10005),
        ([], 10004),
    ):
        assert await crew.code("import_group_msg", {**OF_G, "MsgList": wrong}) == code
    await crew.ok("create_group", {"Type": "AVChatRoom", "Name": "x", "GroupId": "r"})
    assert await crew.code("import_group_msg", {"GroupId": "r", "MsgList": [late]}) == 10007


# Attributes and counters.


async def test_attributes(crew: Office) -> None:
    async def attributes() -> dict[str, str]:
        found = await crew.ok("get_group_attr", OF_G, "group_open_attr_http_svc")
        return {row["key"]: row["value"] for row in found["GroupAttrAry"]}

    peter = await crew.world.online("peter")
    for name, given, after in (
        ("modify_group_attr", {"a": "1", "b": "2"}, {"a": "1", "b": "2"}),
        ("modify_group_attr", {"b": "3"}, {"a": "1", "b": "3"}),
        ("set_group_attr", {"c": "4", "b": "3"}, {"b": "3", "c": "4"}),
    ):
        rows = [{"key": key, "value": value} for key, value in given.items()]
        await crew.ok(name, {**OF_G, "GroupAttr": rows})
        assert await attributes() == after
    assert peter.events[-1].data["attributes"] == {"a": None, "c": "4"}
    await crew.ok("delete_group_attr", {**OF_G, "GroupAttr": [{"key": "b"}]})
    assert await crew.code("delete_group_attr", {**OF_G, "GroupAttr": [{"key": "b"}]}) == 10050
    await crew.ok("clear_group_attr", OF_G)
    await crew.ok("clear_group_attr", OF_G)
    assert await attributes() == {}


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([{"key": "k" * 33, "value": ""}], 10045),
        ([{"key": "k", "value": "v" * 4001}], 10046),
        ([{"key": f"k{n}", "value": ""} for n in range(17)], 10047),
        ([{"key": f"k{n}", "value": "v" * 4000} for n in range(4)], 10048),
        ([{"key": "", "value": ""}], 10004),
        ([{"Key": "k", "Value": ""}], 10004),
    ],
)
@pytest.mark.parametrize("name", ["modify_group_attr", "set_group_attr"])
async def test_limits_of_attributes(
    crew: Office, name: str, rows: list[dict[str, str]], code: int
) -> None:
    assert await crew.code(name, {**OF_G, "GroupAttr": rows}) == code


async def test_counters(crew: Office) -> None:
    peter = await crew.world.online("peter")

    async def update(mode: str | None, **values: int) -> dict[str, int]:
        rows = [{"Key": key, "Value": value} for key, value in values.items()]
        request = {**OF_G, "GroupCounter": rows, **({"Mode": mode} if mode else {})}
        answer = await crew.ok("update_group_counter", request)
        return {row["Key"]: row["Value"] for row in answer["GroupCounter"]}

    assert await update(None, like=5, gift=1) == {"like": 5, "gift": 1}
    assert await update("Increase", like=2) == {"like": 7}
    assert await update("Decrease", like=10) == {"like": -3}
    assert await update("Set", like=1) == {"like": 1}
    keys = {**OF_G, "GroupCounterKeys": ["gift", "none"]}
    found = await crew.ok("get_group_counter", keys)
    assert found["GroupCounter"] == [{"Key": "gift", "Value": 1}]
    await crew.ok("delete_group_counter", keys)
    assert peter.events[-1].data["counters"] == {"gift": 0}
    assert (await crew.ok("get_group_counter", OF_G))["GroupCounter"] == [
        {"Key": "like", "Value": 1}
    ]
    await crew.ok("delete_group_counter", OF_G)
    assert (await crew.ok("get_group_counter", OF_G))["GroupCounter"] == []
    many: dict[str, Any] = {
        **OF_G,
        "GroupCounter": [{"Key": f"k{n}", "Value": 1} for n in range(21)],
    }
    for mode in ("Set", "Increase", "Decrease"):
        assert await crew.code("update_group_counter", {**many, "Mode": mode}) == 10063
        none = {**many, "GroupCounter": [], "Mode": mode}
        assert await crew.code("update_group_counter", none) == 10004
        full = {**many, "GroupCounter": many["GroupCounter"][:20], "Mode": mode}
        await crew.ok("update_group_counter", full)
        one = {**many, "GroupCounter": [{"Key": "one more", "Value": 1}], "Mode": mode}
        assert await crew.code("update_group_counter", one) == 10063
        await crew.ok("delete_group_counter", OF_G)
    wrong = {**OF_G, "GroupCounter": [{"Key": "k", "Value": "1"}]}
    assert await crew.code("update_group_counter", wrong) == 10004
