"""Which strings are user IDs, device IDs, group IDs and request ids (``groups.md`` section 3)."""

import re
from typing import Final

from protocol.vocabulary import GroupType

GENERATED_PREFIX: Final = "@TGS#"
COMMUNITY_PREFIX: Final = "@TGS#_"

_PRINTABLE: Final = re.compile(r"[\x20-\x7e]+\Z")


def is_user_id(text: str, *, max_bytes: int = 32) -> bool:
    """Whether ``text`` is printable ASCII of 1 to ``max_bytes`` bytes (0: no upper limit)."""
    return _is_printable(text, max_bytes)


def is_device_id(text: str) -> bool:
    """Whether ``text`` is printable ASCII of 1 to 64 bytes."""
    return _is_printable(text, 64)


def is_request_id(text: str) -> bool:
    """Whether ``text`` is printable ASCII of 1 to 64 bytes (``protocol.md``, Requests)."""
    return _is_printable(text, 64)


def is_chosen_group_id(text: str, group_type: GroupType, *, max_bytes: int = 48) -> bool:
    """Whether a caller may choose ``text`` for a group of ``group_type``.

    Printable ASCII up to ``max_bytes``; a Community's starts with ``@TGS#_`` and goes on after
    it, any other's must not start with ``@TGS#``, the prefix of generated IDs.
    """
    if not _is_printable(text, max_bytes):
        return False
    if group_type is GroupType.COMMUNITY:
        return text.startswith(COMMUNITY_PREFIX) and len(text) > len(COMMUNITY_PREFIX)
    return not text.startswith(GENERATED_PREFIX)


def generated_group_id(group_type: GroupType, token: str) -> str:
    """The ID of a group whose creator chose none; ``token`` is base-32 that nobody can guess."""
    prefix = COMMUNITY_PREFIX if group_type is GroupType.COMMUNITY else GENERATED_PREFIX
    return prefix + token


def _is_printable(text: str, max_bytes: int) -> bool:
    return bool(_PRINTABLE.match(text)) and (not max_bytes or len(text) <= max_bytes)
