"""Opaque page marks: what ``next`` gives and ``after`` takes back."""

import base64
import binascii

from protocol.errors import ErrorCode, Refused


def mark(place: str) -> str:
    """The page mark of a place in a list's order."""
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def place(after: str | None, *, start: str) -> str:
    """The place that a page mark names; ``start`` when there is no mark.

    Raises:
        Refused: BAD_REQUEST, this is no page mark.
    """
    if after is None:
        return start
    try:
        padded = after + "=" * (-len(after) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise _not_a_mark() from error


def position(after: str | None) -> int:
    """Like ``place`` for lists that are ordered by a position; 0 at the start.

    Raises:
        Refused: BAD_REQUEST, this is no page mark of such a list.
    """
    text = place(after, start="0")
    if not text.isdecimal() or not text.isascii() or len(text) > 16:
        raise _not_a_mark()
    return int(text)


def moment(after: str | None) -> tuple[int, str] | None:
    """Like ``place`` for lists that are ordered by a time and an ID; None at the start.

    Raises:
        Refused: BAD_REQUEST, this is no page mark of such a list.
    """
    if after is None:
        return None
    time_ms, separator, name = place(after, start="").partition(":")
    if not separator or not time_ms.isdecimal() or not time_ms.isascii() or len(time_ms) > 16:
        raise _not_a_mark()
    return int(time_ms), name


def _not_a_mark() -> Refused:
    return Refused(
        ErrorCode.BAD_REQUEST, "after is not the `next` of an earlier page", field="after"
    )
