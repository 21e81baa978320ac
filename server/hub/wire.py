"""Ready-to-write bytes: a frame struct, encoded, in one unmasked WebSocket data frame.

Server frames are not masked (RFC 6455 section 5.1), so the bytes of an event are the same for
every receiver of a codec: encoded and framed once, written to all.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from protocol.codec import Codec
from protocol.events import Event
from protocol.frames import Events
from server.service.ports import Committed
from server.service.views import event_of

_ENVELOPE_BYTES: Final = 128
"""More than an events message has beside its events, its cursor included."""

_TEXT: Final = 0x81
_BINARY: Final = 0x82


def websocket_frame(codec: Codec, payload: bytes) -> bytes:
    """``payload`` as one final data frame of the codec's kind (RFC 6455 section 5.2)."""
    opcode = _BINARY if codec.is_binary else _TEXT
    length = len(payload)
    if length < 126:
        return bytes((opcode, length)) + payload
    if length < 65536:
        return struct.pack("!BBH", opcode, 126, length) + payload
    return struct.pack("!BBQ", opcode, 127, length) + payload


def framed(codec: Codec, message: object) -> bytes:
    """A frame struct of ``protocol.frames``, ready to write."""
    return websocket_frame(codec, codec.encode(message))


def event_frame(codec: Codec, committed: Committed, cursor: str) -> bytes:
    """An events message with this one event, ready to write."""
    return framed(codec, Events(cursor=cursor, events=[event_of(committed)]))


class PageLimits(msgspec.Struct, frozen=True):
    """How much one events message may hold (``protocol.md``, Events)."""

    events: int
    payload_bytes: int


def event_pages(
    codec: Codec, entries: Sequence[Committed], limits: PageLimits
) -> Iterator[tuple[int, list[Event]]]:
    """``entries`` in messages within ``limits``: the position of the last one, and the events.

    The events are encoded already. An event that alone is over the byte limit travels alone.
    """
    page: list[Any] = []
    size = _ENVELOPE_BYTES
    position = 0
    for committed in entries:
        encoded = codec.encode(event_of(committed))
        if page and (len(page) >= limits.events or size + len(encoded) > limits.payload_bytes):
            yield position, page
            page, size = [], _ENVELOPE_BYTES
        page.append(msgspec.Raw(encoded))
        size += len(encoded) + 1
        position = committed.position
    if page:
        yield position, page


def page_frame(codec: Codec, events: list[Event], cursor: str) -> bytes:
    """An events message of a page of ``event_pages``, ready to write."""
    return framed(codec, Events(cursor=cursor, events=events))
