"""Each command answers its documented example, on both stores, as the original's pages show it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.rest.commands import COMMANDS
from tests.kit.devices import STORES
from tests.kit.fakes import NOON_MS
from tests.kit.office import Office, office_of
from tests.rest.examples import EXAMPLE, G

NOON_S = NOON_MS // 1000

ANSWERS: dict[str, Any] = {
    "create_group": {"GroupId": G, "Type": "Public"},
    "get_appid_group_list": {"TotalCount": 1, "GroupIdList": [{"GroupId": G}], "Next": 0},
    "get_joined_group_list": {
        "TotalCount": 1,
        "GroupIdList": [
            {
                "GroupId": G,
                "Type": "Public",
                "Name": "TestGroup",
                "Introduction": "This is group Introduction",
                "Notification": "This is group Notification",
                "FaceUrl": "http://this.is.face.url",
                "CreateTime": NOON_S,
                "Owner_Account": "leckie",
                "LastInfoTime": NOON_S,
                "LastMsgTime": 0,
                "NextMsgSeq": 1,
                "MemberNum": 3,
                "MaxMemberNum": 500,
                "ApplyJoinOption": "FreeAccess",
                "MuteAllMember": "Off",
                "SelfInfo": {
                    "Role": "Owner",
                    "JoinTime": NOON_S,
                    "MsgFlag": "AcceptAndNotify",
                    "MsgSeq": 0,
                },
            }
        ],
    },
    "get_group_info": {
        "GroupInfo": [
            {
                "GroupId": G,
                "ErrorCode": 0,
                "ErrorInfo": "",
                "Type": "Public",
                "Name": "TestGroup",
                "Introduction": "This is group Introduction",
                "Notification": "This is group Notification",
                "AppDefinedData": [{"Key": "GroupTestData1", "Value": "xxxxx"}],
                "MemberList": [
                    {
                        "Member_Account": "bob",
                        "Role": "Admin",
                        "AppMemberDefinedData": [{"Key": "MemberDefined1", "Value": "MemberData1"}],
                    },
                    {"Member_Account": "leckie", "Role": "Owner", "AppMemberDefinedData": []},
                    {"Member_Account": "peter", "Role": "Member", "AppMemberDefinedData": []},
                ],
            },
            {
                "GroupId": "@TGS#1CXTZEAET",
                "ErrorCode": 10010,
                "ErrorInfo": "no group has this ID, or it was disbanded",
            },
        ]
    },
    "add_group_member": {
        "MemberList": [
            {"Member_Account": "tommy", "Result": 1},
            {"Member_Account": "jared", "Result": 1},
        ]
    },
    "get_group_muted_account": {
        "GroupId": G,
        "MutedAccountList": [
            {"Member_Account": "bob", "MutedUntil": NOON_S + 86400},
            {"Member_Account": "leckie", "MutedUntil": NOON_S + 60},
            {"Member_Account": "peter", "MutedUntil": NOON_S + 60},
        ],
    },
    "get_group_shutted_uin": {
        "GroupId": G,
        "ShuttedUinList": [
            {"Member_Account": "bob", "ShuttedUntil": NOON_S + 86400},
            {"Member_Account": "leckie", "ShuttedUntil": NOON_S + 60},
            {"Member_Account": "peter", "ShuttedUntil": NOON_S + 60},
        ],
    },
    "get_role_in_group": {
        "UserIdList": [
            {"Member_Account": "leckie", "Role": "Member"},
            {"Member_Account": "peter", "Role": "Owner"},
            {"Member_Account": "wesley", "Role": "NotMember"},
        ]
    },
    "group_msg_recall": {
        "RecallRetList": [{"MsgSeq": 100, "RetCode": 10030}, {"MsgSeq": 101, "RetCode": 10030}]
    },
    "get_online_member_num": {"OnlineMemberNum": 0},
    "get_group_attr": {"GroupAttrAry": [{"key": "attr_key1", "value": "attr_val1"}]},
    "update_group_counter": {"GroupCounter": [{"Key": "like", "Value": 5}]},
    "get_group_counter": {"GroupCounter": [{"Key": "like", "Value": 5}]},
    "import_group": {"GroupId": "MyImportedGroup", "Type": "Public"},
    "import_group_member": {"MemberList": [{"Member_Account": "tommy", "Result": 1}]},
    "import_group_msg": {
        "ImportMsgResult": [
            {"MsgSeq": 1, "MsgTime": 1448357837, "Result": 0},
            {"MsgSeq": 2, "MsgTime": 1448357838, "Result": 0},
        ]
    },
    "get_group_ban_member": {
        "BannedAccountList": [{"Member_Account": "peter", "BannedUntil": NOON_S + 3600}],
        "NextOffset": 0,
    },
    "get_members": {"MemberList": [], "NextTimestamp": 0},
    "send_broadcast_msg": {"MsgSeq": 0},
    "multiaccount_import": {"FailAccounts": []},
    "account_check": {
        "ResultItem": [
            {
                "UserID": name,
                "ResultCode": 0,
                "ResultInfo": "",
                "AccountStatus": "Imported",
            }
            for name in ("test1", "test2")
        ]
    },
    "account_delete": {
        "ResultItem": [
            {"UserID": name, "ResultCode": 0, "ResultInfo": ""} for name in ("test1", "test2")
        ]
    },
    "query_online_status": {
        "QueryResult": [
            {"To_Account": name, "Status": "Offline", "Detail": []} for name in ("leckie", "peter")
        ],
        "ErrorList": [],
    },
}
"""What each example is answered beside the envelope; nothing where it is not named."""


def member_info(answer: dict[str, Any]) -> None:
    assert answer["MemberNum"] == 3
    names = [row["Member_Account"] for row in answer["MemberList"]]
    assert names == ["leckie", "peter"], "bob is an admin"
    leckie = answer["MemberList"][0]
    assert leckie == {
        "Member_Account": "leckie",
        "Role": "Owner",
        "JoinTime": NOON_S,
        "MsgSeq": leckie["MsgSeq"],
        "MsgFlag": "AcceptAndNotify",
        "LastSendMsgTime": 0,
        "NameCard": "",
        "MuteUntil": 0,
        "AppMemberDefinedData": [],
    }


def specified(answer: dict[str, Any]) -> None:
    assert answer["GroupId"] == G
    (peter,) = answer["MemberList"]  # bob is an admin
    assert peter == {
        "Member_Account": "peter",
        "Role": "Member",
        "JoinTime": NOON_S,
        "MsgSeq": peter["MsgSeq"],
        "MsgFlag": "AcceptAndNotify",
        "LastSendMsgTime": 0,
        "NameCard": "",
        "MuteUntil": 0,
        "OnlineStatus": "Offline",
        "AppMemberDefinedData": [],
    }


def sent(answer: dict[str, Any]) -> None:
    assert answer["MsgTime"] == NOON_S
    assert answer["MsgSeq"] > 0


def logged(answer: dict[str, Any]) -> None:
    assert answer["GroupId"] == G
    assert answer["IsFinished"] == 1
    message, tip = answer["RspMsgList"]
    assert message["MsgSeq"] == tip["MsgSeq"] + 1
    assert message["From_Account"] == "leckie"
    assert message["MsgBody"] == EXAMPLE["send_group_msg"]["MsgBody"]
    assert message["MsgPriority"] == 1
    assert message["CloudCustomData"] == "your cloud custom data"
    assert (message["IsPlaceMsg"], "IsSystemMsg" in message) == (0, False)
    assert tip["IsSystemMsg"] == 1


CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "get_group_member_info": member_info,
    "get_specified_group_member_info": specified,
    "send_group_msg": sent,
    "group_msg_get_simple": logged,
}


@pytest.mark.parametrize("kind", STORES)
async def test_the_examples_in_their_order(kind: str, tmp_path: Path) -> None:
    assert not ANSWERS.keys() & CHECKS.keys()
    assert ANSWERS.keys() | CHECKS.keys() <= EXAMPLE.keys()
    async with office_of(kind, tmp_path) as office:
        assert await office.code("ban_group_member", EXAMPLE["ban_group_member"]) == 10010
        room = {"Type": "AVChatRoom", "GroupId": "MyRoom", "Name": "Room", "Owner_Account": "bob"}
        await office.ok("create_group", room)
        for row in COMMANDS:
            answer = await office.ok(row.name, row.example, row.service)
            if row.name in CHECKS:
                CHECKS[row.name](answer)
            else:
                assert answer == ANSWERS.get(row.name, {}), row.name
        assert await office.code("get_role_in_group", EXAMPLE["get_role_in_group"]) == 10010


async def test_an_example_leaves_what_it_says(crew: Office) -> None:
    await crew.ok("modify_group_base_info", EXAMPLE["modify_group_base_info"])
    await crew.ok("modify_group_member_info", EXAMPLE["modify_group_member_info"])
    (info,) = (await crew.ok("get_group_info", {"GroupIdList": [G]}))["GroupInfo"]
    assert "MemberList" not in info
    assert info == {
        "GroupId": G,
        "ErrorCode": 0,
        "ErrorInfo": "",
        "Type": "Public",
        "Name": "NewName",
        "Introduction": "NewIntroduction",
        "Notification": "NewNotification",
        "FaceUrl": "http://this.is.new.face.url",
        "Owner_Account": "leckie",
        "CreateTime": NOON_S,
        "InfoSeq": info["InfoSeq"],
        "LastInfoTime": NOON_S,
        "LastMsgTime": 0,
        "NextMsgSeq": info["NextMsgSeq"],
        "MemberNum": 3,
        "MaxMemberNum": 500,
        "ApplyJoinOption": "NeedPermission",
        "InviteJoinOption": "DisableInvite",
        "MuteAllMember": "On",
        "AppDefinedData": [{"Key": "GroupTestData1", "Value": "NewData"}],
    }
    page = await crew.ok("get_group_member_info", {"GroupId": G, "MemberRoleFilter": ["Admin"]})
    assert page["MemberList"] == [
        {
            "Member_Account": "bob",
            "Role": "Admin",
            "JoinTime": NOON_S,
            "MsgSeq": 0,
            "MsgFlag": "AcceptAndNotify",
            "LastSendMsgTime": 0,
            "NameCard": "bob's card",
            "MuteUntil": NOON_S + 86400,
            "AppMemberDefinedData": [{"Key": "MemberDefined1", "Value": "ModifyDefined1"}],
        }
    ]
