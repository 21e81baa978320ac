"""Checks of what users write: lengths in bytes of UTF-8, and characters that mislead."""

import unicodedata
from collections.abc import Sequence
from typing import Final

from protocol.errors import ErrorCode, Refused
from server.domain.rules import Rulebook

_DIRECTION_MARKS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that reorder what is around them, so that a name can pass for another."""


def check_line(rulebook: Rulebook, field: str, text: str, limit: str) -> None:
    """Refuse ``text`` when it is too long or holds a character that does not belong on a line.

    Raises:
        Refused: BAD_REQUEST naming ``field``.
    """
    check_length(rulebook, field, text, limit)
    _check_characters(field, text, allowed="")


def check_paragraph(rulebook: Rulebook, field: str, text: str, limit: str) -> None:
    """Like ``check_line``, but line breaks and tabs are welcome.

    Raises:
        Refused: BAD_REQUEST naming ``field``.
    """
    check_length(rulebook, field, text, limit)
    _check_characters(field, text, allowed="\n\r\t")


def check_length(rulebook: Rulebook, field: str, text: str, limit: str) -> None:
    """Refuse ``text`` when its UTF-8 is longer than the limit of that name.

    Raises:
        Refused: BAD_REQUEST with ``field``, ``have`` and ``need`` in bytes.
    """
    most = rulebook.limit(limit)
    length = len(text.encode())
    if most is not None and length > most:
        raise Refused(
            ErrorCode.BAD_REQUEST,
            f"{field} is {length} bytes long; at most {most} are allowed",
            field=field,
            rule=limit.lower(),
            have=length,
            need=most,
        )


def check_value(
    rulebook: Rulebook, field: str, text: str, limit: str, code: ErrorCode = ErrorCode.BAD_REQUEST
) -> None:
    """Like ``check_length``, refused with ``code``.

    Raises:
        Refused: ``code`` with ``field``, ``have`` and ``need`` in bytes.
    """
    try:
        check_length(rulebook, field, text, limit)
    except Refused as refused:
        raise Refused(code, refused.message, **refused.detail) from refused


def check_count(
    rulebook: Rulebook,
    field: str,
    count: int,
    limit: str,
    *,
    at_least: int = 0,
    code: ErrorCode = ErrorCode.BAD_REQUEST,
) -> None:
    """Refuse a list of ``count`` items when it is too short or too long.

    Raises:
        Refused: BAD_REQUEST for too few, ``code`` for too many; with ``field``, ``have``, ``need``.
    """
    most = rulebook.limit(limit)
    if count < at_least:
        raise Refused(
            ErrorCode.BAD_REQUEST,
            f"{field} needs at least {at_least}",
            field=field,
            have=count,
            need=at_least,
        )
    if most is not None and count > most:
        raise Refused(
            code,
            f"{field} has {count} items; at most {most} are allowed",
            field=field,
            rule=limit.lower(),
            have=count,
            need=most,
        )


def check_user_batch(rulebook: Rulebook, user_ids: Sequence[str], field: str, text: str) -> None:
    """Refuse a batch with no users or too many, or with too long a text ``field``.

    Raises:
        Refused: BAD_REQUEST or TOO_MANY_ACCOUNTS.
    """
    check_count(
        rulebook,
        "user_ids",
        len(user_ids),
        "USERS_PER_CALL",
        at_least=1,
        code=ErrorCode.TOO_MANY_ACCOUNTS,
    )
    check_paragraph(rulebook, field, text, "REASON_BYTES")


def _check_characters(field: str, text: str, *, allowed: str) -> None:
    if text.isascii() and text.isprintable():
        return
    for character in text:
        misleads = character in _DIRECTION_MARKS or unicodedata.category(character) == "Cc"
        if misleads and character not in allowed:
            raise Refused(
                ErrorCode.BAD_REQUEST,
                f"{field} holds the control character U+{ord(character):04X}",
                field=field,
            )
