"""The documented request of every command, as the original's pages show it.

They play in one group, from its beginning to its end; those of imports in another, and those of
AVChatRooms in `MyRoom`. A test sends them in the order of the table.
"""

from collections.abc import Mapping
from typing import Any, Final

_G: Final = "MyFirstGroup"

EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "create_group": {
        "Owner_Account": "leckie",
        "Type": "Public",
        "GroupId": _G,
        "Name": "TestGroup",
        "Introduction": "This is group Introduction",
        "Notification": "This is group Notification",
        "FaceUrl": "http://this.is.face.url",
        "MaxMemberCount": 500,
        "ApplyJoinOption": "FreeAccess",
        "AppDefinedData": [
            {"Key": "GroupTestData1", "Value": "xxxxx"},
            {"Key": "GroupTestData2", "Value": "abc\u0000\u0001"},
        ],
        "MemberList": [
            {
                "Member_Account": "bob",
                "Role": "Admin",
                "AppMemberDefinedData": [{"Key": "MemberDefined1", "Value": "MemberData1"}],
            },
            {"Member_Account": "peter"},
        ],
    },
    "get_appid_group_list": {"Limit": 1000, "Next": 0, "GroupType": "Public"},
    "get_joined_group_list": {
        "Member_Account": "leckie",
        "WithHugeGroups": 1,
        "WithNoActiveGroups": 1,
        "Limit": 10,
        "Offset": 0,
        "GroupType": "Public",
        "ResponseFilter": {
            "GroupBaseInfoFilter": [
                "Type",
                "Name",
                "Introduction",
                "Notification",
                "FaceUrl",
                "CreateTime",
                "Owner_Account",
                "LastInfoTime",
                "LastMsgTime",
                "NextMsgSeq",
                "MemberNum",
                "MaxMemberNum",
                "ApplyJoinOption",
                "MuteAllMember",
            ],
            "SelfInfoFilter": ["Role", "JoinTime", "MsgFlag", "MsgSeq"],
        },
    },
    "get_group_info": {
        "GroupIdList": [_G, "@TGS#1CXTZEAET"],
        "ResponseFilter": {
            "GroupBaseInfoFilter": ["Type", "Name", "Introduction", "Notification"],
            "MemberInfoFilter": ["Account", "Role"],
            "AppDefinedDataFilter_Group": ["GroupTestData1"],
            "AppDefinedDataFilter_GroupMember": ["MemberDefined1"],
        },
    },
    "modify_group_base_info": {
        "GroupId": _G,
        "Name": "NewName",
        "Introduction": "NewIntroduction",
        "Notification": "NewNotification",
        "FaceUrl": "http://this.is.new.face.url",
        "MaxMemberNum": 500,
        "ApplyJoinOption": "NeedPermission",
        "MuteAllMember": "On",
        "AppDefinedData": [
            {"Key": "GroupTestData1", "Value": "NewData"},
            {"Key": "GroupTestData2", "Value": ""},
        ],
    },
    "add_group_member": {
        "GroupId": _G,
        "Silence": 1,
        "MemberList": [{"Member_Account": "tommy"}, {"Member_Account": "jared"}],
    },
    "delete_group_member": {
        "GroupId": _G,
        "Reason": "kick reason",
        "MemberToDel_Account": ["tommy", "jared"],
    },
    "get_group_member_info": {
        "GroupId": _G,
        "MemberInfoFilter": [
            "Role",
            "JoinTime",
            "MsgSeq",
            "MsgFlag",
            "LastSendMsgTime",
            "MuteUntil",
            "NameCard",
        ],
        "MemberRoleFilter": ["Owner", "Member"],
        "AppDefinedDataFilter_GroupMember": ["MemberDefined2", "MemberDefined1"],
        "Limit": 100,
        "Offset": 0,
    },
    "get_specified_group_member_info": {
        "GroupId": _G,
        "Member_List_Account": ["bob", "peter"],
        "MemberInfoFilter": [
            "Role",
            "JoinTime",
            "MsgSeq",
            "MsgFlag",
            "LastSendMsgTime",
            "MuteUntil",
            "NameCard",
            "OnlineStatus",
        ],
        "MemberRoleFilter": ["Owner", "Member"],
        "AppDefinedDataFilter_GroupMember": ["MemberDefined1", "MemberDefined2"],
    },
    "modify_group_member_info": {
        "GroupId": _G,
        "Member_Account": "bob",
        "Role": "Admin",
        "MsgFlag": "AcceptAndNotify",
        "NameCard": "bob's card",
        "AppMemberDefinedData": [{"Key": "MemberDefined1", "Value": "ModifyDefined1"}],
        "MuteTime": 86400,
    },
    "change_group_owner": {"GroupId": _G, "NewOwner_Account": "peter"},
    "forbid_send_msg": {"GroupId": _G, "Members_Account": ["peter", "leckie"], "MuteTime": 60},
    "get_group_muted_account": {"GroupId": _G},
    "get_group_shutted_uin": {"GroupId": _G},
    "get_role_in_group": {"GroupId": _G, "User_Account": ["leckie", "peter", "wesley"]},
    "send_group_msg": {
        "GroupId": _G,
        "From_Account": "leckie",
        "Random": 8912345,
        "MsgPriority": "High",
        "OnlineOnlyFlag": 0,
        "MsgBody": [
            {"MsgType": "TIMTextElem", "MsgContent": {"Text": "red packet"}},
            {"MsgType": "TIMFaceElem", "MsgContent": {"Index": 6, "Data": "abc\u0000\u0001"}},
        ],
        "CloudCustomData": "your cloud custom data",
        "ForbidCallbackControl": ["ForbidBeforeSendMsgCallback", "ForbidAfterSendMsgCallback"],
        "SendMsgControl": ["NoUnread", "NoLastMsg"],
    },
    "send_group_system_notification": {
        "GroupId": _G,
        "ToMembers_Account": ["peter", "leckie"],
        "Content": "Hello World",
    },
    "group_msg_get_simple": {"GroupId": _G, "ReqMsgSeq": 7803321, "ReqMsgNumber": 2},
    "group_msg_recall": {"GroupId": _G, "MsgSeqList": [{"MsgSeq": 100}, {"MsgSeq": 101}]},
    "get_online_member_num": {"GroupId": _G},
    "modify_group_attr": {"GroupId": _G, "GroupAttr": [{"key": "attr_key", "value": "attr_val"}]},
    "set_group_attr": {"GroupId": _G, "GroupAttr": [{"key": "attr_key1", "value": "attr_val1"}]},
    "get_group_attr": {"GroupId": _G},
    "delete_group_attr": {"GroupId": _G, "GroupAttr": [{"key": "attr_key1"}]},
    "clear_group_attr": {"GroupId": _G},
    "update_group_counter": {
        "GroupId": _G,
        "GroupCounter": [{"Key": "like", "Value": 5}],
        "Mode": "Set",
    },
    "get_group_counter": {"GroupId": _G, "GroupCounterKeys": ["like"]},
    "delete_group_counter": {"GroupId": _G, "GroupCounterKeys": ["like"]},
    "import_group": {
        "Owner_Account": "leckie",
        "Type": "Public",
        "GroupId": "MyImportedGroup",
        "Name": "TestGroup",
        "CreateTime": 1448357837,
    },
    "import_group_member": {
        "GroupId": "MyImportedGroup",
        "MemberList": [
            {"Member_Account": "tommy", "Role": "Admin", "JoinTime": 1448357837, "UnreadMsgNum": 5}
        ],
    },
    "import_group_msg": {
        "GroupId": "MyImportedGroup",
        "MsgList": [
            {
                "From_Account": "leckie",
                "SendTime": 1448357837,
                "Random": 8912345,
                "MsgBody": [
                    {"MsgType": "TIMTextElem", "MsgContent": {"Text": "red packet"}},
                    {"MsgType": "TIMFaceElem", "MsgContent": {"Index": 6, "Data": "abc"}},
                ],
            },
            {
                "From_Account": "peter",
                "SendTime": 1448357838,
                "MsgBody": [{"MsgType": "TIMTextElem", "MsgContent": {"Text": "thanks"}}],
            },
        ],
    },
    "set_unread_msg_num": {
        "GroupId": "MyImportedGroup",
        "Member_Account": "tommy",
        "UnreadMsgNum": 1,
    },
    "delete_group_msg_by_sender": {"GroupId": "MyImportedGroup", "Sender_Account": "leckie"},
    "ban_group_member": {
        "GroupId": "MyRoom",
        "Members_Account": ["peter"],
        "Duration": 3600,
        "Description": "spam",
    },
    "get_group_ban_member": {"GroupId": "MyRoom", "Limit": 2, "Offset": 0},
    "unban_group_member": {"GroupId": "MyRoom", "Members_Account": ["peter"]},
    "get_members": {"GroupId": "MyRoom", "Timestamp": 0},
    "send_broadcast_msg": {
        "From_Account": "leckie",
        "Random": 8912345,
        "MsgBody": [
            {"MsgType": "TIMTextElem", "MsgContent": {"Text": "red packet"}},
            {"MsgType": "TIMFaceElem", "MsgContent": {"Index": 6, "Data": "abc"}},
        ],
        "CloudCustomData": "your cloud custom data",
    },
    "destroy_group": {"GroupId": _G},
    "account_import": {"UserID": "test", "Nick": "test", "FaceUrl": "http://www.qq.com"},
    "multiaccount_import": {"AccountList": [{"UserID": "test1"}, {"UserID": "test2"}]},
    "account_check": {"CheckItem": [{"UserID": "test1"}, {"UserID": "test2"}]},
    "account_delete": {"DeleteItem": [{"UserID": "test1"}, {"UserID": "test2"}]},
    "kick": {"UserID": "test"},
    "query_online_status": {"IsNeedDetail": 1, "To_Account": ["leckie", "peter"]},
}
"""By command; no two of different services have the same name."""
