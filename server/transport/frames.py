"""Whole client frames out of the bytes of an open connection (RFC 6455 section 5.2).

Nearly all that clients send are short, whole, unfragmented messages and pongs. They are read
here, with nothing kept between two of them. Everything else (fragments, close frames, whatever
breaks the rules) is left to the library: ``Kind.RULES`` names bytes that it must judge.
"""

import enum
from typing import Final

try:
    from websockets.speedups import apply_mask
except ImportError:  # the library was built without its C part
    from websockets.utils import apply_mask

_FIN: Final = 0x80
_MASKED: Final = 0x80
_CONTROL_BYTES: Final = 125


class Kind(enum.Enum):
    """What was found at a place in the bytes."""

    TEXT = enum.auto()
    BINARY = enum.auto()
    PING = enum.auto()
    PONG = enum.auto()
    RULES = enum.auto()
    """A whole frame of another kind, or the beginning of one that no rule allows."""
    PARTIAL = enum.auto()
    """Not all of the frame is here yet; there is no more to say about it."""


_PLAIN: Final = {
    _FIN | 0x1: Kind.TEXT,
    _FIN | 0x2: Kind.BINARY,
    _FIN | 0x9: Kind.PING,
    _FIN | 0xA: Kind.PONG,
}
"""The first byte of what is read here: final, no reserved bits, no continuation."""

_OPCODES: Final = frozenset({0x0, 0x1, 0x2, 0x8, 0x9, 0xA})


def frame_at(data: bytes | bytearray, start: int, most_bytes: int) -> tuple[Kind, int, bytes]:
    """The frame that begins at ``start``: its kind, where it ends, and its unmasked payload.

    The payload is b"" for RULES and PARTIAL. A frame that claims more than ``most_bytes``, is
    not masked, has an unknown opcode, or is a control frame of more than 125 bytes is RULES up to
    the end of ``data``, as soon as its header says so: nobody waits for the rest of it.
    """
    here = len(data) - start
    if here < 2:
        return Kind.PARTIAL, start, b""
    kind = _PLAIN.get(data[start], Kind.RULES)
    length = data[start + 1] - _MASKED
    if length < 0 or data[start] & 0x0F not in _OPCODES:
        return Kind.RULES, len(data), b""
    body = start + 2
    if length > _CONTROL_BYTES:
        body += 2 if length == 126 else 8
        if len(data) < body:
            return Kind.PARTIAL, start, b""
        length = int.from_bytes(data[start + 2 : body], "big")
        if length > most_bytes or data[start] & 0x8:
            return Kind.RULES, len(data), b""
    end = body + 4 + length
    if len(data) < end:
        return Kind.PARTIAL, start, b""
    if kind is Kind.RULES:
        return kind, end, b""
    return kind, end, bytes(apply_mask(data[body + 4 : end], data[body : body + 4]))


def pong(payload: bytes) -> bytes:
    """The answer to a ping, ready to write (RFC 6455 section 5.5.3)."""
    return bytes((_FIN | 0xA, len(payload))) + payload
