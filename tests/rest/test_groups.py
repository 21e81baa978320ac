"""Options of the commands about groups: owners, types, filters, pages."""

from pathlib import Path
from typing import Any

import pytest

from tests.kit.fakes import NOON_MS
from tests.kit.office import Office, office_of, rules
from tests.rest.examples import EXAMPLE, OF_G, G

NOON_S = NOON_MS // 1000


async def info(office: Office, group_id: str, **chosen: object) -> dict[str, Any]:
    request = {"GroupIdList": [group_id], "ResponseFilter": chosen}
    (found,) = (await office.ok("get_group_info", request))["GroupInfo"]
    return dict(found)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Private", "Private"),
        ("Work", "Private"),
        ("Public", "Public"),
        ("ChatRoom", "ChatRoom"),
        ("Meeting", "ChatRoom"),
        ("AVChatRoom", "AVChatRoom"),
        ("Community", "Community"),
    ],
)
async def test_types_in_both_spellings(office: Office, given: str, shown: str) -> None:
    request = {"Type": given, "Name": "x", "ApplyJoinOption": "FreeAccess"}
    made = await office.ok("create_group", request)
    assert made["Type"] == shown
    found = await info(office, made["GroupId"])
    assert found["Type"] == shown
    assert found["ApplyJoinOption"] == ("DisableApply" if shown == "Private" else "FreeAccess")


@pytest.mark.parametrize("kind", ["private", "", "Topic"])
async def test_no_type(office: Office, kind: str) -> None:
    assert await office.code("create_group", {"Type": kind, "Name": "x"}) == 10004
    listing = {"Member_Account": "ann", "GroupType": kind}
    assert (await office.call("get_joined_group_list", listing))["ErrorCode"] == (
        10004 if kind else 0
    )


async def test_a_group_without_an_owner(office: Office) -> None:
    members = [{"Member_Account": "ann"}, {"Member_Account": "bob", "Role": "Admin"}]
    request = {"Type": "Public", "Name": "x", "GroupId": "g", "MemberList": members}
    operator = await office.world.online("administrator")
    ann = await office.world.online("ann")
    await office.ok("create_group", request)
    found = await info(office, "g")
    assert (found["Owner_Account"], found["MemberNum"]) == ("", 2)
    assert [event.event for event in ann.events] == ["invited"]
    assert [event.event for event in operator.events] == ["group_created"]
    assert await office.code("create_group", request) == 10021
    await office.ok("change_group_owner", {"GroupId": "g", "NewOwner_Account": "ann"})
    assert (await info(office, "g"))["Owner_Account"] == "ann"
    taken = {**request, "Owner_Account": "ann", "MemberList": []}
    assert await office.code("create_group", taken) == 10025


async def test_a_group_of_somebodys(office: Office) -> None:
    ann = await office.world.online("ann")
    operator = await office.world.online("administrator")
    await office.ok("create_group", {"Type": "Public", "Name": "x", "Owner_Account": "ann"})
    assert [event.event for event in ann.events] == ["group_created"]
    assert operator.events == []


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"Name": ""}, 10004),
        ({"Name": "n" * 101}, 10004),
        ({"GroupId": "@TGS#x"}, 10015),
        ({"Owner_Account": "ü"}, 10012),
        ({"MaxMemberCount": 0}, 10004),
        ({"MaxMemberCount": 6001}, 10004),
        ({"ApplyJoinOption": "Maybe"}, 10004),
        ({"SupportTopic": 1}, 10026),
        ({"AppDefinedData": [{"Key": "Other", "Value": ""}]}, 10004),
        ({"MemberList": [{"Member_Account": f"u{n}"} for n in range(101)]}, 10005),
        ({"MemberList": [{"Member_Account": "a", "Role": "Owner"}]}, 10004),
        ({"Type": "AVChatRoom", "MemberList": [{"Member_Account": "a"}]}, 10007),
    ],
)
async def test_a_group_that_cannot_be(office: Office, changed: dict[str, Any], code: int) -> None:
    assert await office.code("create_group", {"Type": "Public", "Name": "x", **changed}) == code


ANN_FIRST = {"Member_Account": "ann"}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"MemberList": [ANN_FIRST, {"Member_Account": ""}]}, 10012),
        ({"MemberList": [ANN_FIRST, {"Member_Account": "é"}]}, 10012),
        ({"MemberList": [ANN_FIRST, {"Member_Account": "bob"}], "MaxMemberCount": 1}, 10014),
        (
            {"MemberList": [ANN_FIRST, {"Member_Account": "bob", "Role": "Admin"}], "Type": "Work"},
            10007,
        ),
        (
            {
                "MemberList": [
                    {**ANN_FIRST, "AppMemberDefinedData": [{"Key": "Other", "Value": "x"}]}
                ]
            },
            10004,
        ),
    ],
)
async def test_a_member_that_cannot_be_refuses_the_group(
    office: Office, changed: dict[str, Any], code: int
) -> None:
    request = {"Type": "Public", "Name": "x", "GroupId": "g", **changed}
    answer = await office.call("create_group", request)
    assert answer["ErrorCode"] == code
    place = len(changed["MemberList"]) - 1
    assert f"[{place}]" in answer["ErrorInfo"], "it says which"
    assert await office.code("create_group", request) == code, "and nothing was made"
    assert await office.code("destroy_group", {"GroupId": "g"}) == 10010


async def test_a_member_that_is_not_known_refuses_the_group(tmp_path: Path) -> None:
    async with office_of("memory", tmp_path, rules(known=True)) as office:
        await office.ok("account_import", {"UserID": "ann"}, "im_open_login_svc")
        request = {"Type": "Public", "Name": "x", "Owner_Account": "ann", "GroupId": "g"}
        stranger = {"MemberList": [{"Member_Account": "zoe"}]}
        assert await office.code("create_group", request | stranger) == 10019
        await office.ok("create_group", request)


async def test_who_is_named_twice_is_in_the_group_once(office: Office) -> None:
    rows = [ANN_FIRST, ANN_FIRST, {"Member_Account": "leckie"}]
    request = {"Type": "Public", "Name": "x", "GroupId": "g", "Owner_Account": "leckie"}
    await office.ok("create_group", {**request, "MemberList": rows})
    assert (await info(office, "g"))["MemberNum"] == 2


async def test_an_imported_group_is_told_to_the_operator_only(office: Office) -> None:
    leckie = await office.world.online("leckie")
    operator = await office.world.online("administrator")
    await office.ok("import_group", EXAMPLE["import_group"])
    assert leckie.events == []
    assert [event.event for event in operator.events] == ["group_created"]
    found = await info(office, "MyImportedGroup")
    assert (found["CreateTime"], found["Owner_Account"]) == (1448357837, "leckie")
    await leckie.say("MyImportedGroup", "mine")
    future = {**EXAMPLE["import_group"], "GroupId": "f", "CreateTime": NOON_S + 1}
    assert await office.code("import_group", future) == 10004
    room = {"Type": "AVChatRoom", "Name": "x"}
    assert await office.code("import_group", room) == 10007
    await office.ok("import_group", {"Type": "Private", "Name": "nobody's, of now"})


async def test_mute_all_in_both_spellings(crew: Office) -> None:
    for name, value in (("ShutUpAllMember", "On"), ("MuteAllMember", "Off")):
        await crew.ok("modify_group_base_info", {**OF_G, name: value})
        chosen = {"GroupBaseInfoFilter": ["MuteAllMember", "ShutUpAllMember"]}
        found = await info(crew, G, **chosen)
        assert (found["MuteAllMember"], found["ShutUpAllMember"]) == (value, value)
    assert "ShutUpAllMember" not in await info(crew, G)
    assert await crew.code("modify_group_base_info", {**OF_G, "MuteAllMember": "Yes"}) == 10004


async def test_filters_of_a_profile(crew: Office) -> None:
    found = await info(crew, G, GroupBaseInfoFilter=["Name", "NoSuch"], MemberInfoFilter=[])
    assert found["Name"] == "TestGroup"
    assert "Type" not in found
    assert [set(member) for member in found["MemberList"]] == [
        {"Member_Account", "AppMemberDefinedData"}
    ] * 3
    found = await info(crew, G, AppDefinedDataFilter_Group=[])
    assert found["AppDefinedData"] == []


@pytest.mark.parametrize("ids", [[], [f"g{n}" for n in range(51)]])
async def test_how_many_profiles(office: Office, ids: list[str]) -> None:
    assert await office.code("get_group_info", {"GroupIdList": ids}) == (10005 if ids else 10004)


async def test_all_groups_page_by_page(office: Office) -> None:
    for name in "cab":
        kind = "Public" if name == "a" else "Private"
        await office.ok("create_group", {"Type": kind, "Name": "x", "GroupId": name})
    seen: list[str] = []
    after = 0
    for _ in range(3):
        page = await office.ok("get_appid_group_list", {"Limit": 1, "Next": after})
        office.world.clock.advance(1000)
        assert page["TotalCount"] == 3
        seen += [group["GroupId"] for group in page["GroupIdList"]]
        after = page["Next"]
    assert (seen, after) == (["a", "b", "c"], 0)
    page = await office.ok("get_appid_group_list", {"GroupType": "Work"})
    assert (page["TotalCount"], page["Next"]) == (2, 0)
    office.world.clock.advance(1000)
    assert await office.code("get_appid_group_list", {"Limit": 10_001}) == 10004


async def test_the_groups_of_a_user(office: Office) -> None:
    for name, kind in (("p", "Public"), ("w", "Private"), ("r", "AVChatRoom")):
        made = {"Type": kind, "Name": "x", "GroupId": name, "Owner_Account": "ann"}
        await office.ok("create_group", made)

    async def names(**options: object) -> tuple[int, list[str]]:
        page = await office.ok("get_joined_group_list", {"Member_Account": "ann", **options})
        return page["TotalCount"], [group["GroupId"] for group in page["GroupIdList"]]

    assert await names() == (2, ["p", "w"])
    assert await names(WithHugeGroups=1) == (3, ["p", "w", "r"])
    assert await names(WithHugeGroups=1, Limit=1, Offset=1) == (3, ["w"])
    assert await names(GroupType="Private") == (1, ["w"])
    assert await names(Offset=9) == (2, [])
    page = await office.ok("get_joined_group_list", {"Member_Account": "ann", "Limit": 1})
    assert page["GroupIdList"] == [{"GroupId": "p"}]
    assert (await office.ok("get_joined_group_list", {"Member_Account": "zoe"}))["TotalCount"] == 0


async def test_the_rooms_in_which_a_user_takes_part(office: Office) -> None:
    """And the user's own, each once, as long as the user is there."""
    rooms = {"own": "ann", "other": "bob", "foreign": "bob", "ended": "bob"}
    for name, owner in rooms.items():
        made = {"Type": "AVChatRoom", "Name": name, "GroupId": name, "Owner_Account": owner}
        await office.ok("create_group", made)
    ann = await office.world.online("ann")
    for name in ("ended", "other", "own"):
        office.world.clock.advance(1000)
        await ann.call("join_group", group_id=name)
    await office.ok("destroy_group", {"GroupId": "ended"})
    filters = {"GroupBaseInfoFilter": ["MemberNum", "Type"], "SelfInfoFilter": ["Role", "JoinTime"]}

    async def found(**options: object) -> dict[str, dict[str, Any]]:
        request = {"Member_Account": "ann", "WithHugeGroups": 1, **options}
        page = await office.ok("get_joined_group_list", request)
        assert page["TotalCount"] >= len(page["GroupIdList"])
        return {row.pop("GroupId"): row for row in page["GroupIdList"]}

    shown = await found(ResponseFilter=filters)
    now_s = office.world.clock.now_ms() // 1000
    assert list(shown) == ["own", "other"]
    assert shown["other"] == {
        "Type": "AVChatRoom",
        "MemberNum": 1,
        "SelfInfo": {"Role": "Member", "JoinTime": now_s - 1},
    }
    assert (shown["own"]["SelfInfo"]["Role"], shown["own"]["MemberNum"]) == ("Owner", 1)
    assert await found(WithHugeGroups=0) == {}
    assert list(await found(GroupType="AVChatRoom", Limit=1, Offset=1)) == ["other"]
    assert await found(GroupType="Public") == {}
    mute = {"GroupId": "other", "Members_Account": ["ann"], "MuteTime": 60}
    await office.ok("forbid_send_msg", mute)
    until = {"ResponseFilter": {"SelfInfoFilter": ["MuteUntil"]}}
    assert (await found(**until))["other"]["SelfInfo"] == {"MuteUntil": now_s + 60}
    await ann.call("quit_group", group_id="other")
    assert list(await found()) == ["own"]
    ann.drop()
    await office.world.settle()
    assert list(await found()) == ["own"], "an owner stays one without a connection"


async def test_many_groups_of_a_user(tmp_path: Path) -> None:
    """More than one page of the store."""
    async with office_of("memory", tmp_path, rules(limits={"REST_CALLS_PER_S": 0})) as office:
        for n in range(1001):
            made = {"Type": "Community", "Name": str(n), "Owner_Account": "ann"}
            await office.ok("create_group", made)
        page = await office.ok("get_joined_group_list", {"Member_Account": "ann", "Offset": 1000})
        assert (page["TotalCount"], len(page["GroupIdList"])) == (1001, 1)


async def test_a_room_counts_who_takes_part(office: Office) -> None:
    await office.ok("create_group", {"Type": "AVChatRoom", "Name": "x", "GroupId": "r"})
    ann = await office.world.online("ann")
    await ann.call("join_group", group_id="r")
    assert await office.ok("get_online_member_num", {"GroupId": "r"}) == {"OnlineMemberNum": 1}
    assert (await info(office, "r"))["MemberNum"] == 1


@pytest.mark.parametrize(
    "name",
    [
        "destroy_group",
        "modify_group_base_info",
        "get_group_muted_account",
        "get_group_member_info",
        "get_online_member_num",
        "clear_group_attr",
        "get_group_counter",
    ],
)
async def test_no_such_group(office: Office, name: str) -> None:
    assert await office.code(name, {"GroupId": "none"}) == 10010


async def test_the_end_is_told(crew: Office) -> None:
    peter = await crew.world.online("peter")
    await crew.ok("destroy_group", OF_G)
    assert [event.event for event in peter.events] == ["group_disbanded"]
    assert await crew.code("destroy_group", OF_G) == 10010
