"""What the codecs take, what they refuse and how, alike in both."""

import json
import math
import tracemalloc
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol import frames
from protocol.codec import JSON, MSGPACK, Codec, Malformed, OutOfBounds
from protocol.events import Event
from protocol.limits import MAX_INTEGER
from protocol.vocabulary import EventKind

CODECS = (JSON, MSGPACK)
both = pytest.mark.parametrize("codec", CODECS, ids=["json", "msgpack"])

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner, max_size=5)
    ),
    max_leaves=20,
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max((depth(item) for item in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth(item) for item in value), default=0)
    return 0


def packed(codec: Codec, value: object) -> bytes:
    """``value`` as another library writes it."""
    if codec is JSON:
        return json.dumps(value).encode()
    return bytes(msgpack.packb(value))


@both
@given(value=VALUES)
def test_what_is_within_bounds_comes_back(codec: Codec, value: object) -> None:
    data = packed(codec, value)
    if depth(value) <= 8:
        assert codec.decode(data) == value
        assert codec.decode(codec.encode(value)) == value
    else:
        with pytest.raises(OutOfBounds):
            codec.decode(data)


MALFORMED_JSON = {
    "empty": b"",
    "half": b'{"a":',
    "two": b"{} {}",
    "NaN": b'{"a":NaN}',
    "Infinity": b"[Infinity]",
    "too large for a float": b"[1e999]",
    "duplicate key": b'{"a":1,"a":1}',
    "nested duplicate key": b'{"a":{"b":1,"b":2}}',
    "lone surrogate": b'"\\ud800"',
    "lone surrogate in a key": b'{"\\udfff":1}',
    "bad UTF-8": b'"\xff"',
    "UTF-8 of a surrogate": b'"\xed\xa0\x80"',
    "byte order mark": b"\xef\xbb\xbf{}",
    "very deep": b"[" * 60_000,
    "a number of 5,000 digits": b"1" * 5_000,
    "a comment": b"{} // no",
    "single quotes": b"{'a':1}",
}
MALFORMED_MSGPACK = {
    "empty": b"",
    "truncated map": b"\x82\xa1a\x01",
    "truncated string": b"\xd9\x20abc",
    "two documents": b"\x01\x02",
    "never used byte": b"\xc1",
    "duplicate key": b"\x82\xa1a\x01\xa1a\x02",
    "integer key": b"\x81\x01\x02",
    "binary key": b"\x81\xc4\x01a\x02",
    "binary": b"\xc4\x01x",
    "empty binary": b"\xc4\x00",
    "extension": b"\xd4\x05x",
    "empty extension": b"\xc7\x00\x05",
    "timestamp": bytes(msgpack.packb(msgpack.Timestamp(1, 2))),
    "timestamp of nonsense": b"\xd7\xff" + b"\xff" * 8,
    "NaN": bytes(msgpack.packb(math.nan)),
    "infinity": bytes(msgpack.packb(-math.inf)),
    "bad UTF-8": b"\xa1\xff",
    "UTF-8 of a surrogate": b"\xa3\xed\xa0\x80",
    "array of 2^32-1": b"\xdd\xff\xff\xff\xff",
    "map of 2^32-1": b"\xdf\xff\xff\xff\xff",
    "string of 2^32-1": b"\xdb\xff\xff\xff\xff",
}


@pytest.mark.parametrize("data", MALFORMED_JSON.values(), ids=MALFORMED_JSON.keys())
def test_malformed_json(data: bytes) -> None:
    with pytest.raises(Malformed):
        JSON.decode(data)


@pytest.mark.parametrize("data", MALFORMED_MSGPACK.values(), ids=MALFORMED_MSGPACK.keys())
def test_malformed_msgpack(data: bytes) -> None:
    with pytest.raises((Malformed, OutOfBounds)) as caught:
        MSGPACK.decode(data)
    assert getattr(caught.value, "request_id", None) is None


def nested(levels: int) -> object:
    value: object = 0
    for _ in range(levels):
        value = [value]
    return value


OVER = {
    "integer": 2**53,
    "negative integer": -(2**53),
    "2^63": 2**63,
    "2^64-1": 2**64 - 1,
    "array": [0] * 1001,
    "map": {str(number): 0 for number in range(65)},
    "deep": nested(9),
}


@both
@pytest.mark.parametrize("value", OVER.values(), ids=OVER.keys())
def test_over_the_bounds_names_the_request(codec: Codec, value: object) -> None:
    message = {"type": "request", "id": "r-1", "method": "m", "params": {"p": value}}
    with pytest.raises(OutOfBounds) as caught:
        codec.decode(packed(codec, message))
    assert caught.value.request_id == "r-1"
    with pytest.raises(OutOfBounds) as caught:
        codec.decode(packed(codec, {"type": "hello", "x": value}))
    assert caught.value.request_id is None


@both
@pytest.mark.parametrize(
    "value", [MAX_INTEGER, -MAX_INTEGER, [0] * 1000, {str(n): 0 for n in range(64)}, nested(8)]
)
def test_at_the_bounds_is_taken(codec: Codec, value: object) -> None:
    assert codec.decode(packed(codec, value)) == value


@both
@settings(max_examples=300)
@given(data=st.binary(max_size=200))
@example(data=b"\xdd\x00\x00\xff\xff" * 12)
def test_any_bytes_raise_nothing_else(codec: Codec, data: bytes) -> None:
    try:
        codec.decode(data)
    except (Malformed, OutOfBounds):
        return


@both
@settings(max_examples=300)
@given(value=VALUES, at=st.integers(0, 400), byte=st.integers(0, 255))
def test_a_changed_byte_raises_nothing_else(
    codec: Codec, value: object, at: int, byte: int
) -> None:
    data = bytearray(packed(codec, {"type": "request", "id": "1", "params": {"v": value}}))
    data[at % len(data)] = byte
    try:
        codec.decode(bytes(data))
    except (Malformed, OutOfBounds):
        return


def test_an_array_bomb_takes_little_memory() -> None:
    """A thousand arrays inside each other, each claiming as many items as are allowed."""
    bomb = b"\xdd\x00\x00\x03\xe8" * 1_000
    tracemalloc.start()
    try:
        with pytest.raises((Malformed, OutOfBounds)):
            MSGPACK.decode(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 1024 * 1024


CLIENT_FRAMES: dict[str, Any] = {
    "hello": frames.Hello(user_id="a", user_sig="s", device_id="d", platform="p", cursor="e:1"),
    "request": frames.Request(id="1", method="m", params={"a": [1, None, "x"]}),
    "ping": frames.Ping(),
}


@both
@pytest.mark.parametrize("frame", CLIENT_FRAMES.values(), ids=CLIENT_FRAMES.keys())
def test_a_client_frame_comes_back(codec: Codec, frame: frames.ClientFrame) -> None:
    value = codec.decode(codec.encode(frame))
    assert msgspec.convert(value, frames.ClientFrame) == frame


@both
@pytest.mark.parametrize("frame", CLIENT_FRAMES.values(), ids=CLIENT_FRAMES.keys())
def test_an_unknown_field_of_a_client_is_refused_by_name(
    codec: Codec, frame: frames.ClientFrame
) -> None:
    value = codec.decode(codec.encode(frame))
    assert isinstance(value, dict)
    with pytest.raises(msgspec.ValidationError, match="bogus"):
        msgspec.convert(value | {"bogus": 1}, frames.ClientFrame)


SERVER_FRAMES: dict[str, Any] = {
    "welcome": frames.Welcome(
        session_id="s",
        resume=frames.Resume.RESET,
        reason=frames.ResetReason.EXPIRED,
        cursor="e:1",
        server_time_ms=1,
        server="x",
        heartbeat_ms=1,
        limits={"frame_bytes": 1},
    ),
    "reply": frames.Reply(id="1", cursor="e:1", result={"a": 1}),
    "events": frames.Events(
        cursor="e:1",
        events=[
            Event(kind=EventKind.TIP, event="new", group_id="g", time_ms=1, seq=1, data={"a": 1})
        ],
    ),
    "pong": frames.Pong(cursor="e:1", server_time_ms=1),
    "bye": frames.Bye(code=4503, reason="r", retry_after_ms=5),
}


@both
@pytest.mark.parametrize("frame", SERVER_FRAMES.values(), ids=SERVER_FRAMES.keys())
def test_a_client_reads_a_server_frame_and_ignores_what_it_does_not_know(
    codec: Codec, frame: frames.ServerFrame
) -> None:
    assert codec.decode_server(codec.encode(frame)) == frame
    value = codec.decode(codec.encode(frame))
    assert isinstance(value, dict)
    assert codec.decode_server(codec.encode(value | {"later": {"x": 1}})) == frame


def test_a_frame_is_written_as_the_page_shows_it() -> None:
    assert JSON.encode(frames.Pong(cursor="k7f2:1043", server_time_ms=5)) == (
        b'{"type":"pong","cursor":"k7f2:1043","server_time_ms":5}'
    )
    assert MSGPACK.encode(frames.Ping()) == b"\x81\xa4type\xa4ping"
