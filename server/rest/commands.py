"""The table of all commands: what answers each, and what is not as in the original."""

from collections.abc import Mapping, Sequence
from typing import Final

from server.rest import groups, imports, members, messages, mutes, profiles, rooms, users, values
from server.rest.absent import ABSENT
from server.rest.registry import Command, Row, by_place, works

_LOGIN: Final = "im_open_login_svc"

COMMANDS: Final[Sequence[Command]] = (
    works(groups.create_group, differs="SupportTopic is not offered."),
    works(groups.get_appid_group_list, calls_per_s=1),
    works(
        profiles.get_joined_group_list,
        differs="AVChatRooms are those that the user owns, and those in which the user takes "
        "part now; every group is active at once.",
    ),
    works(profiles.get_group_info, differs="Members are shown when MemberInfoFilter is given."),
    works(groups.modify_group_base_info),
    works(members.add_group_member),
    works(members.delete_group_member),
    works(
        members.get_group_member_info,
        differs="Next pages through every type of group, as Offset does.",
    ),
    works(members.get_specified_group_member_info),
    works(members.modify_group_member_info),
    works(groups.change_group_owner),
    works(mutes.forbid_send_msg),
    works(mutes.get_group_muted_account),
    works(mutes.get_group_shutted_uin),
    works(members.get_role_in_group),
    works(
        messages.send_group_msg,
        differs="To_Account and SupportMessageExtension are not offered; OfflinePushInfo has "
        "no effect. NoLastMsg leaves LastMsgTime as it was and tells devices so; "
        "there is no other list of last messages.",
    ),
    works(messages.send_group_system_notification),
    works(messages.group_msg_get_simple, differs="MsgRandom is a number of ours."),
    works(messages.group_msg_recall),
    works(groups.get_online_member_num, differs="Of every type, and of this moment."),
    works(values.modify_group_attr),
    works(values.set_group_attr),
    works(values.get_group_attr, service="group_open_attr_http_svc"),
    works(values.delete_group_attr),
    works(values.clear_group_attr),
    works(values.update_group_counter),
    works(values.get_group_counter),
    works(values.delete_group_counter),
    works(groups.import_group),
    works(imports.import_group_member),
    works(
        imports.import_group_msg,
        differs="All or none; connected members get them, they count as unread, and they are "
        "kept for HISTORY_MS from SendTime. RecentContactFlag has no effect.",
    ),
    works(imports.set_unread_msg_num),
    works(imports.delete_group_msg_by_sender, differs="The messages are shown as recalled."),
    works(rooms.ban_group_member),
    works(rooms.get_group_ban_member),
    works(rooms.unban_group_member),
    works(
        rooms.get_members,
        service="group_open_avchatroom_http_svc",
        differs="There are no profiles: NickName and Avatar are empty; Mark has no effect.",
    ),
    works(
        rooms.send_broadcast_msg,
        calls_per_s=1,
        differs="MsgSeq is 0, as of every message that is not stored.",
    ),
    works(groups.destroy_group),
    works(
        users.account_import,
        service=_LOGIN,
        differs="There are no profiles: Nick and FaceUrl are not kept.",
        calls_per_s=100,
    ),
    works(users.multiaccount_import, service=_LOGIN, calls_per_s=100),
    works(
        users.account_check,
        service=_LOGIN,
        differs="Everybody is Imported unless `require_known_users` is set.",
    ),
    works(
        users.account_delete,
        service=_LOGIN,
        differs="Memberships stay; the user is signed out as by kick.",
    ),
    works(
        users.kick,
        service=_LOGIN,
        differs="As in the original, tokens made before it or in the same second are refused "
        "(70052); so are JWTs without `iat`.",
    ),
    works(
        users.query_online_status,
        service="openim",
        differs="There is no push: nobody is PushOnline.",
    ),
)
"""In the order of the README."""

TABLE: Final[Mapping[tuple[str, str], Row]] = by_place((*COMMANDS, *ABSENT))
"""Every command, by service and name."""
