"""Nulls, and what is said of a field: in the original's words, with its place."""

from typing import Any

import pytest

from tests.kit.fakes import NOON_MS
from tests.kit.office import Office
from tests.rest.examples import EXAMPLE, OF_G

NOON_S = NOON_MS // 1000
TEXT = {"MsgType": "TIMTextElem", "MsgContent": {"Text": "x"}}
SAY = {**OF_G, "Random": 1, "MsgBody": [TEXT]}
PICTURE = {"Type": 1, "Size": 1, "Width": 1, "Height": 1, "URL": "u"}


def element(kind: str, **content: object) -> dict[str, object]:
    return {"MsgBody": [TEXT, {"MsgType": kind, "MsgContent": content}]}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            element("TIMTextElem", Text=7),
            "Expected `str`, got `int` - at `$.MsgBody[1].MsgContent.Text`",
        ),
        (
            element("TIMTextElem"),
            "Object missing required field `Text` - at `$.MsgBody[1].MsgContent`",
        ),
        (
            element("TIMLocationElem", Desc="", Latitude=91.0, Longitude=0.0),
            "Expected `float` <= 90.0 - at `$.MsgBody[1].MsgContent.Latitude`",
        ),
        (
            element("TIMImageElem", ImageFormat=1, ImageInfoArray=[PICTURE, {**PICTURE, "URL": 1}]),
            "Expected `str`, got `int` - at `$.MsgBody[1].MsgContent.ImageInfoArray[1].URL`",
        ),
        (
            element("TIMImageElem", ImageFormat=1, ImageInfoArray=[{"Type": 1}]),
            "Object missing required field `Size` - at `$.MsgBody[1].MsgContent.ImageInfoArray[0]`",
        ),
        ({"MsgBody": [{"MsgType": "TIMTextElem", "MsgContent": 3}]}, "`$.MsgBody[0].MsgContent`"),
        (element("TIMNoElem"), "`$.MsgBody[1].MsgType`"),
        ({"GroupAtInfo": [{"GroupAt_Account": "a"}] * 31}, "GroupAtInfo has 31 items; at most 30"),
        ({"CloudCustomData": "x" * 20_000}, "CloudCustomData is 20000 bytes long"),
        ({"MsgBody": [TEXT] * 17}, "MsgBody has 17 items; at most 16"),
    ],
)
async def test_what_is_wrong_with_a_message(crew: Office, body: dict[str, Any], said: str) -> None:
    answer = await crew.call("send_group_msg", {**SAY, **body})
    assert answer["ErrorCode"]
    assert said in answer["ErrorInfo"]


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("create_group", {"Type": "Public", "Name": ""}, "Name must not be empty"),
        (
            "create_group",
            {"Type": "Public", "Name": "x", "MaxMemberCount": 9999},
            "MaxMemberCount is 9999; a group of type Public takes at most",
        ),
        (
            "create_group",
            {
                "Type": "Public",
                "Name": "x",
                "MemberList": [
                    {
                        "Member_Account": "a",
                        "AppMemberDefinedData": [{"Key": "MemberDefined1", "Value": "x" * 99}],
                    }
                ],
            },
            "MemberList[0]: AppMemberDefinedData.MemberDefined1 is 99 bytes long",
        ),
        (
            "modify_group_base_info",
            {**OF_G, "MaxMemberNum": 9999},
            "MaxMemberNum is 9999; a group of type Public takes at most",
        ),
        ("modify_group_base_info", {**OF_G, "FaceUrl": "x" * 9999}, "FaceUrl is 9999 bytes long"),
        (
            "modify_group_member_info",
            {**OF_G, "Member_Account": "leckie", "Role": "Admin"},
            "the owner is changed by change_group_owner",
        ),
        (
            "modify_group_member_info",
            {**OF_G, "Member_Account": "bob", "NameCard": "x" * 999},
            "NameCard is 999 bytes long",
        ),
        ("import_group_msg", {**OF_G, "MsgList": []}, "`$.MsgList`"),
        (
            "import_group_msg",
            {
                **OF_G,
                "MsgList": [
                    {
                        "From_Account": "a",
                        "SendTime": NOON_S,
                        "MsgBody": [TEXT, {**TEXT, "MsgContent": {}}],
                    }
                ],
            },
            "`$.MsgList[0].MsgBody[1].MsgContent`",
        ),
        (
            "update_group_counter",
            {**OF_G, "GroupCounter": [{"Key": f"k{n}", "Value": 1} for n in range(21)]},
            "GroupCounter has 21 items",
        ),
        (
            "delete_group_member",
            {**OF_G, "MemberToDel_Account": ["x"], "Reason": "x" * 9999},
            "Reason is",
        ),
    ],
)
async def test_what_the_rules_say_of_a_field(
    crew: Office, name: str, body: dict[str, Any], said: str
) -> None:
    answer = await crew.call(name, body)
    assert answer["ErrorCode"]
    assert said in answer["ErrorInfo"]


async def test_an_option_that_a_type_fixes_is_named(office: Office) -> None:
    await office.ok("create_group", {"Type": "AVChatRoom", "Name": "x", "GroupId": "r"})
    change = {"GroupId": "r", "InviteJoinOption": "FreeAccess"}
    answer = await office.call("modify_group_base_info", change)
    assert answer["ErrorInfo"].startswith("InviteJoinOption of a group of type AVChatRoom")


async def test_a_null_is_as_good_as_no_field(office: Office) -> None:
    request: dict[str, Any] = {
        **EXAMPLE["create_group"],
        "MemberList": None,
        "AppDefinedData": None,
        "Introduction": None,
        "SupportTopic": None,
        "InviteJoinOption": None,
    }
    await office.ok("create_group", request)
    member: dict[str, Any] = {"Member_Account": "bob", "Role": None, "AppMemberDefinedData": None}
    again = {**request, "GroupId": "g2", "MemberList": [member]}
    await office.ok("create_group", again)
    said = {**SAY, "CloudCustomData": None, "SendMsgControl": None, "To_Account": None}
    await office.ok("send_group_msg", {**said, "TopicId": None, "GroupAtInfo": None})
    await office.ok("get_group_info", {"GroupIdList": ["g2"], "ResponseFilter": None})
    for wrong in ({"Name": None}, {"MemberList": [None]}):
        assert await office.code("create_group", {**request, "GroupId": "g3", **wrong}) == 10004


async def test_what_a_message_holds_keeps_its_nulls(crew: Office) -> None:
    kept = {"Title": "t", "AbstractList": [], "CompatibleText": "", "MsgList": [{"a": None}]}
    await crew.ok(
        "send_group_msg", {**SAY, "MsgBody": [{"MsgType": "TIMRelayElem", "MsgContent": kept}]}
    )
    log = (await crew.ok("group_msg_get_simple", {**OF_G, "ReqMsgNumber": 1}))["RspMsgList"]
    assert log[0]["MsgBody"][0]["MsgContent"]["MsgList"] == [{"a": None}]
