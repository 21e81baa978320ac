"""Cursors: a place in the commit order, and the term in which it was given, as text for clients."""

from protocol.frames import ResetReason
from server.service.ports import Heads

_MAX_DIGITS = 18


def cursor_text(epoch: str, position: int) -> str:
    """The cursor of everything up to ``position`` (``protocol.md``, Events)."""
    return f"{epoch}:{position}"


def place_of(cursor: str, heads: Heads) -> int | ResetReason:
    """The position that ``cursor`` names, or why nothing can be resumed from it.

    A cursor of another history (of a term that is not known, or from beyond where its term ended
    in this history), from the future, or of no sense is UNKNOWN_CURSOR; one from before what is
    still kept is EXPIRED.
    """
    epoch, separator, digits = cursor.partition(":")
    is_number = digits.isascii() and digits.isdecimal() and len(digits) <= _MAX_DIGITS
    end = heads.position if epoch == heads.epoch else heads.earlier.get(epoch)
    if not separator or end is None or not is_number:
        return ResetReason.UNKNOWN_CURSOR
    position = int(digits)
    if position > end:
        return ResetReason.UNKNOWN_CURSOR
    if position < heads.floor:
        return ResetReason.EXPIRED
    return position
