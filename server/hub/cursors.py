"""Cursors: a place in the commit order of one history, as text that clients keep."""

from protocol.frames import ResetReason
from server.service.ports import Heads

_MAX_DIGITS = 18


def cursor_text(epoch: str, position: int) -> str:
    """The cursor of everything up to ``position`` (``protocol.md``, Events)."""
    return f"{epoch}:{position}"


def place_of(cursor: str, heads: Heads) -> int | ResetReason:
    """The position that ``cursor`` names, or why nothing can be resumed from it.

    A cursor of another history, from the future, or of no sense is UNKNOWN_CURSOR; one from
    before what is still kept is EXPIRED.
    """
    epoch, separator, digits = cursor.partition(":")
    is_number = digits.isascii() and digits.isdecimal() and len(digits) <= _MAX_DIGITS
    if not separator or epoch != heads.epoch or not is_number:
        return ResetReason.UNKNOWN_CURSOR
    position = int(digits)
    if position > heads.position:
        return ResetReason.UNKNOWN_CURSOR
    if position < heads.floor:
        return ResetReason.EXPIRED
    return position
