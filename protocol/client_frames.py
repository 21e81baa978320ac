"""How the SDK reads what a server says, also one that is newer than the SDK.

The structs of ``protocol.frames`` are closed. A client must live with frame types, event kinds
and reset reasons that it does not know (``protocol.md``), so what they refuse is read again
here, without the parts that only a newer client would understand.
"""

from collections.abc import Mapping
from typing import Final, get_args

import msgspec

from protocol.codec import Codec, Malformed, OutOfBounds, ValueLimits
from protocol.frames import Events, ResetReason, ServerFrame, Welcome
from protocol.vocabulary import EventKind

_FRAME_TYPES: Final = frozenset(frame.__struct_config__.tag for frame in get_args(ServerFrame))

UNLIMITED: Final = ValueLimits(array_items=2**31 - 1, map_keys=2**31 - 1, nesting=64)
"""For values whose size is somebody else's business; the nesting keeps the stack safe."""


def read_frame(codec: Codec, data: bytes) -> ServerFrame | None:
    """The frame in one WebSocket message, or None for a type that this version does not know.

    Events of unknown kinds are left out of their frame, and an unknown reset reason becomes
    None; unknown fields are ignored and unknown event names are kept.

    Raises:
        Malformed: no frame of this protocol.
    """
    try:
        return codec.decode_server(data)
    except Malformed:
        return _read_newer(codec, data)


def _read_newer(codec: Codec, data: bytes) -> ServerFrame | None:
    try:
        value = codec.decode(data, UNLIMITED)
    except OutOfBounds as error:
        raise Malformed(error.message) from error
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise Malformed("a frame is a map with a type")
    if value["type"] not in _FRAME_TYPES:
        return None
    try:
        frame: ServerFrame = msgspec.convert(_only_known(value), ServerFrame)
    except msgspec.ValidationError as error:
        raise Malformed(f"not a frame: {error}") from error
    return frame


def _only_known(frame: Mapping[str, object]) -> dict[str, object]:
    """``frame`` without the words that this version does not know."""
    known = dict(frame)
    events = known.get("events")
    if known["type"] == Events.__struct_config__.tag and isinstance(events, list):
        known["events"] = [event for event in events if _is_known_kind(event)]
    if known["type"] == Welcome.__struct_config__.tag and known.get("reason") not in [*ResetReason]:
        known["reason"] = None
    return known


def _is_known_kind(event: object) -> bool:
    """Whether an event is one for this version; what is no map is left for the codec to refuse.

    The kind may be anything that a codec has, a map too: it need not be hashable.
    """
    return not isinstance(event, dict) or event.get("kind") in [*EventKind]
