"""Types, roles and message numbers as the original writes them, both ways."""

from collections.abc import Mapping
from typing import Final

from protocol.dialect import ROLE_WORDS, TYPE_WORDS
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


def type_word(group_type: GroupType) -> str:
    """The older name, which the original's programs expect in answers."""
    return TYPE_WORDS[group_type]


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
