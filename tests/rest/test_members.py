"""Options of the commands about members: silence, mutes, roles, pages, bans, imports."""

from pathlib import Path
from typing import Any

import pytest

from tests.kit.fakes import NOON_MS
from tests.kit.office import Office, office_of, rules
from tests.rest.examples import EXAMPLE, OF_G, G

NOON_S = NOON_MS // 1000
ROOM = {"GroupId": "r"}


async def members(office: Office, group_id: str = G, **options: object) -> list[dict[str, Any]]:
    page = await office.ok("get_group_member_info", {"GroupId": group_id, **options})
    return list(page["MemberList"])


async def add(office: Office, *names: str, **options: object) -> list[int]:
    request = {**OF_G, "MemberList": [{"Member_Account": name} for name in names], **options}
    return [row["Result"] for row in (await office.ok("add_group_member", request))["MemberList"]]


async def test_adding_with_and_without_silence(crew: Office) -> None:
    world = crew.world
    bob, ann = await world.online("bob"), await world.online("ann")
    dan, operator = await world.online("dan"), await world.online("administrator")
    assert await add(crew, "ann", "bob", "ü") == [1, 2, 0]
    assert [event.event for event in bob.events] == ["member_invited"]
    assert [event.event for event in ann.events] == ["invited", "member_invited"]
    assert operator.events == []
    assert await add(crew, "dan", Silence=1) == [1]
    assert dan.events == []
    assert len(bob.events) == 1
    (told,) = operator.events
    assert (told.event, told.data["user_ids"]) == ("member_invited", ["dan"])
    await bob.say(G, "hello")
    assert dan.texts(G) == ["hello"], "who was added silently is a member like all others"
    again = await world.online("dan", "d2", cursor=dan.cursor)
    await bob.say(G, "more")
    assert again.texts(G) == ["more"]


async def test_a_group_takes_no_more_than_it_holds(crew: Office) -> None:
    await crew.ok("modify_group_base_info", {**OF_G, "MaxMemberNum": 4})
    assert await add(crew, "a", "b") == [1, 0]
    assert await add(crew, "a") == [2]


async def test_how_many_are_added_at_once(crew: Office) -> None:
    assert await add(crew, *(f"u{n}" for n in range(300))) == [1] * 300
    request = {**OF_G, "MemberList": [{"Member_Account": f"v{n}"} for n in range(301)]}
    assert await crew.code("add_group_member", request) == 10005
    assert await crew.code("add_group_member", {**OF_G, "MemberList": []}) == 10004


async def test_nobody_is_added_to_a_room(office: Office) -> None:
    await office.ok("create_group", {"Type": "AVChatRoom", "Name": "x", **ROOM})
    request = {**ROOM, "MemberList": [{"Member_Account": "a"}]}
    assert await office.code("add_group_member", request) == 10007
    assert await office.code("delete_group_member", {**ROOM, "MemberToDel_Account": ["a"]}) == 10004
    assert await office.code("get_role_in_group", {**ROOM, "User_Account": ["a"]}) == 10007
    request = {**ROOM, "Member_Account": "a", "NameCard": "A"}
    assert await office.code("modify_group_member_info", request) == 10007


async def test_removing_with_and_without_silence(crew: Office) -> None:
    await add(crew, "ann", "dan")
    bob = await crew.world.online("bob")
    ann, dan = await crew.world.online("ann"), await crew.world.online("dan")
    request = {**OF_G, "MemberToDel_Account": ["ann", "zoe"], "Reason": "why"}
    await crew.ok("delete_group_member", request)
    assert [event.event for event in ann.events] == ["member_kicked", "kicked"]
    assert ann.events[-1].data == {"reason": "why"}
    assert [event.event for event in bob.events] == ["member_kicked"]
    await crew.ok("delete_group_member", {**OF_G, "MemberToDel_Account": ["dan"], "Silence": 1})
    events = [event.event for event in dan.events]
    assert events == ["member_kicked", "kicked"], "ann's, and the own: the member has to know"
    assert len(bob.events) == 1
    await bob.say(G, "gone?")
    assert dan.texts(G) == []


async def test_the_owner_is_removed_too(crew: Office) -> None:
    bob = await crew.world.online("bob")
    request = {**OF_G, "MemberToDel_Account": ["leckie"], "Silence": 1}
    await crew.ok("delete_group_member", request)
    (told,) = bob.events
    assert (told.event, told.data["owner_id"]) == ("group_profile_changed", "")


async def test_mutes_in_both_spellings(crew: Office) -> None:
    peter = await crew.world.online("peter")
    many = {**OF_G, "Members_Account": ["peter", "zoe", "bob"]}
    await crew.ok("forbid_send_msg", {**many, "ShutUpTime": 60})
    assert (await peter.refusal("send_message", group_id=G, body=[])).code == 10004
    refused = await peter.send("send_message", group_id=G, body=[_text("x")])
    assert refused.error is not None
    assert refused.error.code == 10017
    await crew.ok("forbid_send_msg", {**many, "MuteTime": 0, "ShutUpTime": 60})
    await peter.say(G, "free")
    await crew.ok("forbid_send_msg", {**many, "MuteTime": 4294967295})
    muted = (await crew.ok("get_group_muted_account", OF_G))["MutedAccountList"]
    assert [row["Member_Account"] for row in muted] == ["bob", "peter"]
    assert await crew.code("forbid_send_msg", many) == 10004
    assert await crew.code("forbid_send_msg", {**many, "MuteTime": 2**32}) == 10004
    too_many = {**OF_G, "MuteTime": 1, "Members_Account": [f"u{n}" for n in range(501)]}
    assert await crew.code("forbid_send_msg", too_many) == 10005


async def test_a_mute_ends(crew: Office) -> None:
    await crew.ok("forbid_send_msg", {**OF_G, "Members_Account": ["peter"], "MuteTime": 60})
    filters: dict[str, Any] = {
        "MemberInfoFilter": ["MuteUntil", "ShutUpUntil"],
        "MemberRoleFilter": ["Member"],
    }
    (peter,) = await members(crew, **filters)
    assert (peter["MuteUntil"], peter["ShutUpUntil"]) == (NOON_S + 60, NOON_S + 60)
    crew.world.clock.advance(60_000)
    (peter,) = await members(crew, **filters)
    assert (peter["MuteUntil"], peter["ShutUpUntil"]) == (0, 0)
    assert (await crew.ok("get_group_muted_account", OF_G))["MutedAccountList"] == []


async def test_no_mute_in_a_work_group(office: Office) -> None:
    await office.ok("create_group", {"Type": "Private", "Name": "x", "GroupId": "w"})
    request = {"GroupId": "w", "Members_Account": ["a"], "MuteTime": 1}
    assert await office.code("forbid_send_msg", request) == 10007


async def test_members_page_by_page(crew: Office) -> None:
    await add(crew, *(f"u{n}" for n in range(5)))
    everybody = ["bob", "leckie", "peter", *(f"u{n}" for n in range(5))]
    by_offset = [
        row["Member_Account"]
        for offset in range(0, 9, 3)
        for row in await members(crew, Limit=3, Offset=offset)
    ]
    assert by_offset == everybody
    by_next: list[str] = []
    mark = ""
    while True:
        request = {**OF_G, "Limit": 3, "Next": mark}
        page = await crew.ok("get_group_member_info", request)
        by_next += [row["Member_Account"] for row in page["MemberList"]]
        mark = page["Next"]
        if not mark:
            break
    assert by_next == everybody
    staff = await members(crew, MemberRoleFilter=["Owner", "Admin"])
    assert [row["Role"] for row in staff] == ["Admin", "Owner"]
    assert await crew.code("get_group_member_info", {**OF_G, "Limit": 6001}) == 10004
    assert await crew.code("get_group_member_info", {**OF_G, "MemberRoleFilter": ["x"]}) == 10004


async def test_members_by_name(crew: Office) -> None:
    await crew.world.online("peter")
    asked = {**OF_G, "Member_List_Account": ["peter", "zoe", "leckie", "peter", "bob"]}

    async def found(**options: object) -> list[dict[str, Any]]:
        answer = await crew.ok("get_specified_group_member_info", {**asked, **options})
        return list(answer["MemberList"])

    everything = await found()
    assert [row["Member_Account"] for row in everything] == ["peter", "leckie", "bob"]
    assert everything == [
        next(row for row in await members(crew) if row["Member_Account"] == name)
        for name in ("peter", "leckie", "bob")
    ], "the same as in the list of all"
    shown = await found(MemberInfoFilter=["OnlineStatus"], MemberRoleFilter=["Member", "Admin"])
    assert [(row["Member_Account"], row["OnlineStatus"]) for row in shown] == [
        ("peter", "Online"),
        ("bob", "Offline"),
    ]
    assert "Role" not in shown[0]
    assert "OnlineStatus" not in everything[0]
    (online,) = await members(crew, MemberInfoFilter=["OnlineStatus"], MemberRoleFilter=["Member"])
    assert online["OnlineStatus"] == "Online"
    fields = await found(AppDefinedDataFilter_GroupMember=["MemberDefined2"])
    assert [row["AppMemberDefinedData"] for row in fields] == [[], [], []]
    name = "get_specified_group_member_info"
    too_many = {**OF_G, "Member_List_Account": [f"u{n}" for n in range(51)]}
    assert await crew.code(name, too_many) == 10005
    assert await crew.code(name, {**asked, "GroupId": "none"}) == 10010
    assert await crew.code(name, {**asked, "MemberRoleFilter": ["NotMember"]}) == 10004


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("get_group_member_info", {}),
        ("get_specified_group_member_info", {"Member_List_Account": ["a"]}),
        ("get_role_in_group", {"User_Account": ["a"]}),
        ("modify_group_member_info", {"Member_Account": "a", "NameCard": "A."}),
    ],
)
async def test_a_room_has_no_profiles_of_members(
    office: Office, name: str, more: dict[str, Any]
) -> None:
    await office.ok("create_group", {"Type": "AVChatRoom", "Name": "x", **ROOM})
    assert await office.code(name, {**ROOM, **more}) == 10007


async def test_roles_and_their_change(crew: Office) -> None:
    modify = {**OF_G, "Member_Account": "peter"}
    await crew.ok("modify_group_member_info", {**modify, "Role": "Admin", "MsgFlag": "Discard"})
    (peter,) = [row for row in await members(crew) if row["Member_Account"] == "peter"]
    assert (peter["Role"], peter["MsgFlag"]) == ("Admin", "Discard")
    await crew.ok("modify_group_member_info", {**modify, "ShutUpTime": 5})
    assert await crew.code("modify_group_member_info", {**modify, "Role": "Owner"}) == 10004
    assert await crew.code("modify_group_member_info", {**modify, "NameCard": "n" * 51}) == 10004
    other = {**OF_G, "Member_Account": "zoe", "MsgFlag": "Discard"}
    assert await crew.code("modify_group_member_info", other) == 10019
    assert await crew.code("change_group_owner", {**OF_G, "NewOwner_Account": "zoe"}) == 10019
    too_many = {**OF_G, "User_Account": [f"u{n}" for n in range(501)]}
    assert await crew.code("get_role_in_group", too_many) == 10005


async def test_a_custom_field_is_deleted_by_an_empty_value(crew: Office) -> None:
    empty = [{"Key": "MemberDefined1", "Value": ""}]
    request = {**OF_G, "Member_Account": "bob", "AppMemberDefinedData": empty}
    await crew.ok("modify_group_member_info", request)
    assert (await members(crew))[0]["AppMemberDefinedData"] == []


# AVChatRooms.


async def test_bans(office: Office) -> None:
    await office.ok("create_group", {"Type": "AVChatRoom", "Name": "x", **ROOM})
    ann, bob = await office.world.online("ann"), await office.world.online("bob")
    for device in (ann, bob):
        await device.call("join_group", group_id="r")
    ban = {**ROOM, "Members_Account": ["ann", "zoe"], "Duration": 60, "Description": "spam"}
    await office.ok("ban_group_member", ban)
    assert [event.event for event in ann.events[-2:]] == ["member_kicked", "kicked"]
    assert bob.events[-1].data["member_count"] == 1
    refused = await ann.refusal("join_group", group_id="r")
    assert (refused.code, refused.detail["rule"]) == (10007, "banned")
    page = await office.ok("get_group_ban_member", {**ROOM, "Limit": 1, "Offset": 0})
    until = NOON_S + 60
    assert page == {
        "BannedAccountList": [{"Member_Account": "ann", "BannedUntil": until}],
        "NextOffset": 1,
    }
    page = await office.ok("get_group_ban_member", {**ROOM, "Limit": 1, "Offset": 1})
    assert (page["BannedAccountList"][0]["Member_Account"], page["NextOffset"]) == ("zoe", 0)
    await office.ok("unban_group_member", {**ROOM, "Members_Account": ["ann", "bob"]})
    await ann.call("join_group", group_id="r")
    office.world.clock.advance(60_000)
    assert (await office.ok("get_group_ban_member", ROOM))["BannedAccountList"] == []
    zoe = await office.world.online("zoe")
    await zoe.call("join_group", group_id="r")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"Duration": 0}, 10004),
        ({"Members_Account": [f"u{n}" for n in range(21)]}, 10005),
        ({"Members_Account": ["ü"]}, 10012),
        ({"Members_Account": ["leckie"]}, 10007),
        ({"Description": "d" * 1001}, 10004),
    ],
)
async def test_a_ban_that_cannot_be(office: Office, changed: dict[str, Any], code: int) -> None:
    room = {"Type": "AVChatRoom", "Name": "x", **ROOM, "Owner_Account": "leckie"}
    await office.ok("create_group", room)
    ban = {**ROOM, "Members_Account": ["ann"], "Duration": 60, **changed}
    assert await office.code("ban_group_member", ban) == code


async def test_only_a_room_has_bans_and_participants(crew: Office) -> None:
    request = {**OF_G, "Members_Account": ["peter"], "Duration": 60}
    assert await crew.code("ban_group_member", request) == 10007
    assert await crew.code("get_group_ban_member", OF_G) == 10007
    room = "group_open_avchatroom_http_svc"
    assert await crew.code("get_members", OF_G, room) == 10007


async def test_who_takes_part_the_newest_first(office: Office) -> None:
    await office.ok("create_group", {"Type": "AVChatRoom", "Name": "x", **ROOM})
    for n in range(3):
        device = await office.world.online(f"u{n}")
        await device.call("join_group", group_id="r")
        office.world.clock.advance(1000)
    service = "group_open_avchatroom_http_svc"
    page = await office.ok("get_members", ROOM, service)
    assert page == {
        "MemberList": [
            {"Member_Account": f"u{n}", "JoinTime": NOON_S + n, "NickName": "", "Avatar": ""}
            for n in (2, 1, 0)
        ],
        "NextTimestamp": 0,
    }
    page = await office.ok("get_members", {**ROOM, "Timestamp": NOON_MS + 1000}, service)
    assert [row["Member_Account"] for row in page["MemberList"]] == ["u0"]


# Imports.


async def test_imported_members(office: Office) -> None:
    await office.ok("import_group", EXAMPLE["import_group"])
    group = {"GroupId": "MyImportedGroup"}
    world = office.world
    leckie, ann = await world.online("leckie"), await world.online("ann")
    for n in range(3):
        await leckie.say("MyImportedGroup", str(n))
    rows = [
        {"Member_Account": "ann", "UnreadMsgNum": 2, "JoinTime": NOON_S - 5},
        {"Member_Account": "bob", "Role": "Admin"},
        {"Member_Account": "leckie"},
        {"Member_Account": "dan", "JoinTime": 1448357836},
        {"Member_Account": "eve", "JoinTime": NOON_S + 1},
        {"Member_Account": "fay", "UnreadMsgNum": 99},
    ]
    answer = await office.ok("import_group_member", {**group, "MemberList": rows})
    assert [row["Result"] for row in answer["MemberList"]] == [1, 1, 2, 0, 0, 1]
    assert ann.events == []
    found = await members(office, "MyImportedGroup")
    assert [(row["Member_Account"], row["Role"], row["MsgSeq"]) for row in found] == [
        ("ann", "Member", 1),
        ("bob", "Admin", 3),
        ("fay", "Member", 0),
        ("leckie", "Owner", 3),
    ]
    assert found[0]["JoinTime"] == NOON_S - 5
    (own,) = (await ann.call("list_joined_groups"))["groups"]
    assert own["unread"] == 2
    await leckie.say("MyImportedGroup", "now")
    assert ann.texts("MyImportedGroup") == ["now"]


async def test_times_are_compared_in_the_seconds_in_which_they_are_given(crew: Office) -> None:
    """An import in the second of the group's creation, or of the last message, is not before it."""
    crew.world.clock.advance(700)
    group = {"Type": "Public", "Name": "x", "GroupId": "late", "Owner_Account": "bob"}
    await crew.ok("create_group", group)
    rows = [{"Member_Account": "ann", "JoinTime": NOON_S}]
    answer = await crew.ok("import_group_member", {"GroupId": "late", "MemberList": rows})
    assert answer["MemberList"][0]["Result"] == 1
    body = [{"MsgType": "TIMTextElem", "MsgContent": {"Text": "x"}}]
    await crew.ok("send_group_msg", {"GroupId": "late", "Random": 1, "MsgBody": body})
    said = {"From_Account": "ann", "SendTime": NOON_S, "MsgBody": body}
    await crew.ok("import_group_msg", {"GroupId": "late", "MsgList": [said]})


async def test_a_member_is_changed_in_one_commit_or_not_at_all(crew: Office) -> None:
    peter = await crew.world.online("peter")
    every = {
        "Role": "Admin",
        "MsgFlag": "Discard",
        "NameCard": "P.",
        "MuteTime": 60,
        "AppMemberDefinedData": [{"Key": "MemberDefined1", "Value": "x"}],
    }
    request = {"GroupId": G, "Member_Account": "peter"}
    for spoiled in ({"NameCard": "x" * 51}, {"MuteTime": 2**32}, {"MsgFlag": "Sometimes"}):
        assert await crew.code("modify_group_member_info", {**request, **every, **spoiled}) == 10004
    assert (
        await crew.code("modify_group_member_info", {**request, **every, "GroupId": "x"}) == 10010
    )
    await crew.ok("modify_group_member_info", {**request, **every})
    (found,) = [row for row in await members(crew, G) if row["Member_Account"] == "peter"]
    assert (found["Role"], found["MsgFlag"], found["NameCard"]) == ("Admin", "Discard", "P.")
    told = [event.event for event in peter.events]
    assert told.count("receive_option_changed") == 1
    assert crew.world.executor.commits.total == 2, "the group's creation, and this"
    only_flag = {**request, "MsgFlag": "AcceptAndNotify"}
    await crew.ok("modify_group_member_info", only_flag)
    assert peter.events[-1].data == {"receive_option": "AcceptAndNotify"}


async def test_no_members_are_imported_into_a_room(office: Office) -> None:
    await office.ok("create_group", {"Type": "AVChatRoom", "Name": "x", **ROOM})
    rows = [{"Member_Account": "ann"}]
    assert await office.code("import_group_member", {**ROOM, "MemberList": rows}) == 10007


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "content": {"text": text}}


async def test_a_page_behind_the_last_member_is_not_looked_up(
    crew: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await members(crew, Offset=2) != []
    assert await members(crew, Offset=2, MemberRoleFilter=["Member"]) == []
    monkeypatch.delattr(type(crew.world.store), "members")
    for offset in (3, 2**53 - 1):
        assert await members(crew, Offset=offset) == []


async def test_more_mutes_than_an_answer_can_hold(tmp_path: Path) -> None:
    async with office_of("memory", tmp_path, rules(limits={"REST_ANSWER_BYTES": 250})) as office:
        users = [f"u{n}" for n in range(7)]
        rows = [{"Member_Account": user} for user in users]
        made = {"Type": "Public", "Name": "x", "GroupId": "g", "MemberList": rows}
        await office.ok("create_group", made)
        for muted, code in ((users[:3], 0), (users, 10018)):
            mute = {"GroupId": "g", "Members_Account": muted, "MuteTime": 60}
            await office.ok("forbid_send_msg", mute)
            for name in ("get_group_muted_account", "get_group_shutted_uin"):
                assert (await office.call(name, {"GroupId": "g"}))["ErrorCode"] == code


async def test_what_goes_on_for_good_ends_with_the_originals_32_bits(crew: Office) -> None:
    for_good = 2**32 - 1
    await crew.ok("forbid_send_msg", {**OF_G, "Members_Account": ["bob"], "MuteTime": for_good})
    (row,) = (await crew.ok("get_group_muted_account", OF_G))["MutedAccountList"]
    assert row["MutedUntil"] == for_good
    (row,) = (await crew.ok("get_group_shutted_uin", OF_G))["ShuttedUinList"]
    assert row["ShuttedUntil"] == for_good
    shown = await members(crew, MemberRoleFilter=["Admin"], MemberInfoFilter=["MuteUntil"])
    assert shown[0]["MuteUntil"] == for_good
    await crew.ok("create_group", {"Type": "AVChatRoom", "Name": "x", **ROOM})
    await crew.ok("ban_group_member", {**ROOM, "Members_Account": ["bob"], "Duration": for_good})
    (row,) = (await crew.ok("get_group_ban_member", ROOM))["BannedAccountList"]
    assert row["BannedUntil"] == for_good


async def test_how_many_are_removed_and_imported_at_once(crew: Office) -> None:
    remove = {**OF_G, "MemberToDel_Account": [f"u{n}" for n in range(101)]}
    assert await crew.code("delete_group_member", remove) == 10005
    await crew.ok("delete_group_member", {**OF_G, "MemberToDel_Account": ["x"] * 100})
    said = {
        "From_Account": "bob",
        "SendTime": NOON_S,
        "MsgBody": [{"MsgType": "TIMTextElem", "MsgContent": {"Text": "x"}}],
    }
    assert await crew.code("import_group_msg", {**OF_G, "MsgList": [said] * 8}) == 10005
    await crew.ok("import_group_msg", {**OF_G, "MsgList": [said] * 7})
