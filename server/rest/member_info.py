"""A member as the dialect shows one."""

from typing import Final, Literal

from msgspec import UNSET, UnsetType

from protocol.dialect import ROLE_WORDS
from server.rest.registry import Call
from server.rest.shapes import Account, AppData, Body, app_data, filtered, seconds, until_seconds
from server.service.ports import MemberState


class Member(Body, frozen=True, kw_only=True):
    """A member's fields, as far as the filter asks for them. Times in Unix seconds."""

    member__account: Account
    role: str | UnsetType = UNSET
    join_time: int | UnsetType = UNSET
    msg_seq: int | UnsetType = UNSET
    msg_flag: str | UnsetType = UNSET
    last_send_msg_time: int | UnsetType = UNSET
    name_card: str | UnsetType = UNSET
    mute_until: int | UnsetType = UNSET
    shut_up_until: int | UnsetType = UNSET
    online_status: Literal["Online", "Offline"] | UnsetType = UNSET
    app_member_defined_data: AppData | UnsetType = UNSET


_ASKED_FOR: Final = frozenset({"ShutUpUntil", "OnlineStatus"})
"""What is answered only to who asks for it: an older name, and what is no part of the profile."""


def member_of(
    call: Call, state: MemberState, names: list[str] | None, keys: list[str] | None
) -> Member:
    """A stored member, with the fields and custom fields that the filters let through."""
    member = state.member
    until = until_seconds(member.mute_until_ms, call.operator.clock.now_ms())
    is_online = bool(call.operator.lists.presence.devices_of(member.user_id))
    fields = {
        "role": ROLE_WORDS[member.role],
        "join_time": seconds(member.join_time_ms),
        "msg_seq": state.read_seq,
        "msg_flag": str(member.receive_option),
        "last_send_msg_time": seconds(state.last_message_time_ms),
        "name_card": member.name_card,
        "mute_until": until,
        "shut_up_until": until,
        "online_status": "Online" if is_online else "Offline",
    }
    return Member(
        member__account=member.user_id,
        app_member_defined_data=app_data(member.custom, keys),
        **filtered(fields, names, _ASKED_FOR),
    )
