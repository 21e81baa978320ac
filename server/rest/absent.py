"""The commands of the original that this server does not have, and why."""

from collections.abc import Sequence
from typing import Final

from server.rest.registry import Absent

_NO_TOPICS: Final = "this server has no topics"
_NO_RECEIPTS: Final = "this server keeps no read receipts"
_NO_EXTENSIONS: Final = "this server has no message extensions"
_NO_MARKS: Final = "this server has no marks on participants"
_NO_BANS: Final = "this server bans nobody from an AVChatRoom yet"
_MILLION: Final = "million_group_open_http_svc"
_EXTENSIONS: Final = "openim_msg_ext_http_svc"

ABSENT: Final[Sequence[Absent]] = (
    Absent(name="import_group_member", reason="this server imports no members yet"),
    Absent(name="import_group_msg", reason="this server imports no messages yet"),
    Absent(name="set_unread_msg_num", reason="this server moves no read positions back yet"),
    Absent(name="delete_group_msg_by_sender", reason="this server deletes no messages yet"),
    Absent(name="ban_group_member", reason=_NO_BANS),
    Absent(name="unban_group_member", reason=_NO_BANS),
    Absent(name="get_group_ban_member", reason=_NO_BANS),
    Absent(
        name="get_specified_group_member_info",
        reason="its fields are not published; use get_group_member_info",
    ),
    Absent(
        name="send_broadcast_msg",
        reason="this server has no message to all AVChatRooms at once",
    ),
    Absent(name="get_group_msg_receipt", reason=_NO_RECEIPTS),
    Absent(name="get_group_msg_receipt_detail", reason=_NO_RECEIPTS),
    Absent(
        service="group_open_avchatroom_http_svc",
        name="get_members",
        reason="this server shows no pages of participants yet",
    ),
    Absent(service="group_open_avchatroom_http_svc", name="modify_user_info", reason=_NO_MARKS),
    Absent(service=_MILLION, name="create_topic", reason=_NO_TOPICS),
    Absent(service=_MILLION, name="destroy_topic", reason=_NO_TOPICS),
    Absent(service=_MILLION, name="get_topic", reason=_NO_TOPICS),
    Absent(service=_MILLION, name="modify_topic", reason=_NO_TOPICS),
    Absent(name="import_topic", reason=_NO_TOPICS),
    Absent(
        service="openim",
        name="modify_group_msg",
        reason="messages are not changed once they are sent",
    ),
    Absent(service=_EXTENSIONS, name="group_get_key_values", reason=_NO_EXTENSIONS),
    Absent(service=_EXTENSIONS, name="group_set_key_values", reason=_NO_EXTENSIONS),
)
"""One row for each command of the original's pages on groups that is not in ``COMMANDS``."""
