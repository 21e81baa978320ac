"""The commands of the original that this server does not have, and why."""

from collections.abc import Sequence
from typing import Final

from server.rest.registry import Absent

_NO_TOPICS: Final = "this server has no topics"
_NO_RECEIPTS: Final = (
    "this server keeps how far each member has read, not who has read which message"
)
_NO_PROFILES: Final = "this server has no profiles of users"
_NO_CONVERSATIONS: Final = (
    "this server keeps no list of a user's conversations but the joined groups"
)
_NO_EXTENSIONS: Final = "this server has no message extensions"
_NO_MARKS: Final = "this server has no marks on participants"
_MILLION: Final = "million_group_open_http_svc"
_EXTENSIONS: Final = "openim_msg_ext_http_svc"

ABSENT: Final[Sequence[Absent]] = (
    Absent(name="get_group_msg_receipt", reason=_NO_RECEIPTS),
    Absent(name="get_group_msg_receipt_detail", reason=_NO_RECEIPTS),
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
    Absent(
        service="openconfigsvr",
        name="setnospeaking",
        reason="users are muted in groups, not everywhere at once",
    ),
    Absent(service="profile", name="portrait_get", reason=_NO_PROFILES),
    Absent(service="profile", name="portrait_set", reason=_NO_PROFILES),
    Absent(service="recentcontact", name="get_list", reason=_NO_CONVERSATIONS),
    Absent(service="recentcontact", name="delete", reason=_NO_CONVERSATIONS),
)
"""One row for each command that the pages on groups name and that is not in ``COMMANDS``."""
