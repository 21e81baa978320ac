"""Types, roles and message numbers as the original writes them, both ways."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from protocol.dialect import ROLE_WORDS, TYPE_WORDS, RoleWord
from protocol.vocabulary import GroupType, MessagePriority, Role
from server.rest.codes import CallCode, CallRefused

ROLES: Final[Mapping[str, Role]] = {word: role for role, word in ROLE_WORDS.items()}

PRIORITY_NUMBERS: Final[Mapping[MessagePriority, int]] = {
    MessagePriority.HIGH: 1,
    MessagePriority.NORMAL: 2,
    MessagePriority.LOW: 3,
    MessagePriority.LOWEST: 4,
}

EVERYBODY: Final = "__kImSDK_MesssageAtALL__"
"""Who is mentioned when everybody is; the original's spelling."""


_FIELD_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "apply_join_option": ("ApplyJoinOption",),
    "at_user_ids": ("GroupAtInfo",),
    "attributes": ("GroupAttr",),
    "body": ("MsgBody",),
    "content": ("Content",),
    "created_ms": ("CreateTime",),
    "custom": ("AppDefinedData", "AppMemberDefinedData"),
    "custom_data": ("CloudCustomData",),
    "deltas": ("GroupCounter",),
    "face_url": ("FaceUrl",),
    "group_id": ("GroupId",),
    "group_ids": ("GroupIdList",),
    "introduction": ("Introduction",),
    "invite_join_option": ("InviteJoinOption",),
    "keys": ("GroupAttr", "GroupCounterKeys"),
    "max_member_count": ("MaxMemberCount", "MaxMemberNum"),
    "members": ("MemberList",),
    "messages": ("MsgList",),
    "mute_s": ("MuteTime",),
    "name": ("Name",),
    "name_card": ("NameCard",),
    "new_owner_id": ("NewOwner_Account",),
    "notification": ("Notification",),
    "reason": ("Reason", "Description"),
    "role": ("Role",),
    "seq": ("MsgSeq",),
    "time_ms": ("SendTime",),
    "transfer_group": ("change_group_owner",),
    "user_ids": (
        "Members_Account",
        "MemberToDel_Account",
        "ToMembers_Account",
        "MemberList",
        "AccountList",
        "DeleteItem",
    ),
    "values": ("GroupCounter",),
}
"""Our names in what the rules say, and the original's; of several the one that a request has."""

_FIELDS: Final = re.compile(rf"\b(?:{'|'.join(sorted(_FIELD_WORDS, key=len, reverse=True))})\b")


def told(text: str, field: str, request_fields: Collection[str]) -> str:
    """What the rules say of our fields, said of the original's.

    Args:
        text: the message of a refusal.
        field: which of our fields it is about, "" for none.
        request_fields: those of the request.
    """
    about = field.partition(".")[0].partition("[")[0]

    def word(found: re.Match[str]) -> str:
        name = found[0]
        # A plain word is one of the sentence's, but where it is what the sentence is about.
        behind = text[found.end() : found.end() + 2]
        is_place = behind[:1] == "[" or (behind[:1] == "." and behind[1:].isalnum())
        if "_" not in name and name != about and not is_place:
            return name
        words = _FIELD_WORDS[name]
        if name == "custom" and text.startswith("members["):
            return words[1]  # of a new group's first members, not of the group
        return next((one for one in words if one in request_fields), words[0])

    return _FIELDS.sub(word, text)


def type_word(group_type: GroupType) -> str:
    """The older name, which the original's programs expect in answers."""
    return TYPE_WORDS[group_type]


def roles_of(words: Sequence[RoleWord] | None) -> set[Role]:
    """Which roles a filter lets through; none, or an empty one, all of them."""
    return {ROLES[word] for word in words or ROLES}


def type_of(word: str, field: str) -> GroupType:
    """The type of either name.

    Raises:
        CallRefused: INVALID_PARAMETERS naming ``field``.
    """
    try:
        return GroupType(word)
    except ValueError:
        raise CallRefused.of(
            CallCode.INVALID_PARAMETERS,
            f"{field} is {word[:32]!r}; use Private, Public, ChatRoom, AVChatRoom or Community",
        ) from None
