"""What strangers' bytes are let loose on: each target takes any bytes and breaks no promise.

A target returns for every input, or raises: then it has found something. ``scripts/fuzz`` runs
them guided by coverage; ``test_fuzz.py`` runs their seeds and a few mutations of them.
"""

import base64
import contextlib
import zlib
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from protocol import usersig
from protocol.client_frames import read_frame
from protocol.codec import JSON, MSGPACK, Codec, Malformed, OutOfBounds, to_client_frame
from protocol.errors import Refused
from protocol.frames import ClientFrame, Request, ResetReason
from protocol.methods import METHODS
from server.hub.cursors import cursor_text, place_of
from server.service import paging
from server.service.ports import Heads
from tests.fuzz.handshake import converse

USER_ID: Final = "alice"
SECRET_KEY: Final = "a key for tests"
SDKAPPID: Final = 1400000000
ISSUED_S: Final = 1_750_000_000
HEADS: Final = Heads(epoch="5b1d4d9b", position=1_000, floor=10)


def _one_message(codec: Codec, data: bytes) -> None:
    """One message in one codec, read as the server does and as the SDK does."""
    with contextlib.suppress(Malformed):
        read_frame(codec, data)
    try:
        value = codec.decode(data)
        frame = to_client_frame(value)
    except (Malformed, OutOfBounds, msgspec.ValidationError):
        return
    assert _frame_of(codec, codec.encode(frame)) == frame, "a frame comes back as it was"
    if isinstance(frame, Request) and (method := METHODS.get(frame.method)) is not None:
        with contextlib.suppress(msgspec.ValidationError):
            command = msgspec.convert(frame.params, method.command)
            again = msgspec.convert(codec.decode(codec.encode(command)), method.command)
            assert again == command, "parameters come back as they were"


def _frame_of(codec: Codec, data: bytes) -> ClientFrame:
    return to_client_frame(codec.decode(data))


def json_message(data: bytes) -> None:
    _one_message(JSON, data)


def msgpack_message(data: bytes) -> None:
    _one_message(MSGPACK, data)


def agree(data: bytes) -> None:
    """A value that one codec takes is the same value in the other."""
    for codec, other in ((JSON, MSGPACK), (MSGPACK, JSON)):
        try:
            value = codec.decode(data)
        except (Malformed, OutOfBounds):
            continue
        again = other.decode(other.encode(value))
        assert is_same(again, value), f"{codec.name} {value!r}, {other.name} {again!r}"
        assert _shape(value) == _shape(again)


def _shape(value: object) -> ClientFrame | str:
    """The frame of a value, or what is wrong with it."""
    try:
        return to_client_frame(value)
    except msgspec.ValidationError as error:
        return str(error)


def is_same(one: object, other: object) -> bool:
    """Equal, and of the same types: 1 is neither 1.0 nor True."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return one == other


def user_signature(data: bytes) -> None:
    """Any text as a token, and any document in a well-formed token: nobody is let in."""
    document = base64.b64encode(zlib.compress(data)).decode()
    for token in (data.decode("utf-8", "replace"), document.translate(_AS_TOKEN)):
        with contextlib.suppress(usersig.SignatureRefused):
            found = usersig.verify(
                token,
                user_id=USER_ID,
                sdkappid=SDKAPPID,
                secret_keys=[SECRET_KEY],
                now_s=ISSUED_S + 1,
            )
            assert (found.user_id, found.issued_s) == (USER_ID, ISSUED_S), "only the seed's claims"


_AS_TOKEN: Final = str.maketrans("+/=", "*-_")


def cursor(data: bytes) -> None:
    """Any text as a cursor or as a page mark: a place, or a documented refusal."""
    text = data.decode("utf-8", "replace")
    place = place_of(text, HEADS)
    if not isinstance(place, ResetReason):
        assert HEADS.floor <= place <= HEADS.position
        assert place_of(cursor_text(HEADS.epoch, place), HEADS) == place
    for read in (_place, paging.position, paging.moment):
        with contextlib.suppress(Refused):
            read(text)


def _place(after: str) -> str:
    return paging.place(after, start="")


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    "json": json_message,
    "msgpack": msgpack_message,
    "agree": agree,
    "handshake": converse,
    "usersig": user_signature,
    "cursor": cursor,
}
"""Name -> what is done with an input."""
