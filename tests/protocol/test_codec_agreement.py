"""Both codecs judge the same value alike, and a message over the limits costs no memory."""

import json
import tracemalloc
from typing import Any

import hypothesis.strategies as st
import msgpack
import pytest
from hypothesis import example, given, settings

from protocol.codec import JSON, MSGPACK, Codec, Malformed, OutOfBounds, ValueLimits

Verdict = tuple[str, object]

BOTH = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
MIB = 2**20


def verdict(codec: Codec, data: bytes) -> Verdict:
    """What becomes of a message: it is taken, answered under its id, or ends the connection."""
    try:
        return "taken", codec.decode(data)
    except OutOfBounds as error:
        return ("ended", None) if error.request_id is None else ("answered", error.request_id)
    except Malformed:
        return "ended", None


def both(value: object) -> tuple[Verdict, Verdict]:
    """The verdicts on the same value, each written by another library."""
    in_json = verdict(JSON, json.dumps(value).encode())
    return in_json, verdict(MSGPACK, bytes(msgpack.packb(value)))


def nested(levels: int) -> object:
    value: object = "x"
    for level in range(levels):
        value = [value] if level % 2 else {"k": value}
    return value


TEXT = st.text(max_size=80)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
TOO_MUCH = (
    st.just([0] * 1001)
    | st.just({str(number): 0 for number in range(65)})
    | st.integers(9, 200).map(nested)
    | st.sampled_from([2**53, -(2**53), 2**64 - 1])
)
VALUES = st.recursive(
    SCALARS | TOO_MUCH,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["request", "hello"]) | VALUES,
        "id": st.text("abc", min_size=1, max_size=64) | VALUES,
        "params": VALUES,
        "x" * 65: VALUES,
    },
)


@settings(max_examples=400, deadline=None)
@given(value=VALUES | REQUESTS)
@example(value=[None] * 1001)
@example(value={"type": "request", "id": "r", **{str(number): 0 for number in range(63)}})
@example(value={"type": "request", "id": "r", "x" * 65: 1, "params": [0] * 1001})
@example(value={"params": [0] * 1001, "type": "request", "id": "r"})
@example(value={"type": "request", "id": [0] * 1001})
@example(value={"type": "request", "id": {"type": "request", "id": "x"}, "p": [0] * 1001})
@example(value={"type": "request", "id": 2**60, "params": [0] * 1001})
def test_the_same_value_has_the_same_fate_in_both(value: object) -> None:
    in_json, in_msgpack = both(value)
    assert in_json == in_msgpack


@settings(deadline=None)
@given(levels=st.integers(0, 40))
def test_the_same_depth_is_taken_in_both(levels: int) -> None:
    in_json, in_msgpack = both(nested(levels))
    assert in_json == in_msgpack
    assert (in_json[0] == "taken") == (levels <= 8)


@BOTH
@pytest.mark.parametrize("levels", [9, 100, 500, 1_000, 1_023, 1_024, 5_000, 32_000])
def test_no_depth_does_harm(codec: Codec, levels: int) -> None:
    deep = b"[" * levels + b"]" * levels if codec is JSON else b"\x91" * levels + b"\x90"
    assert verdict(codec, deep) == ("ended", None)


@BOTH
@given(
    limits=st.builds(
        ValueLimits,
        array_items=st.integers(0, 5),
        map_keys=st.integers(0, 5),
        nesting=st.integers(0, 4),
    ),
    value=VALUES,
)
def test_other_limits_hold_too(codec: Codec, limits: ValueLimits, value: object) -> None:
    data = json.dumps(value).encode() if codec is JSON else bytes(msgpack.packb(value))
    try:
        taken = codec.decode(data, limits)
    except (OutOfBounds, Malformed):
        return
    assert taken == value
    assert is_within(taken, limits, limits.nesting)


def is_within(value: object, limits: ValueLimits, levels: int) -> bool:
    if isinstance(value, dict):
        items, most = list(value.values()), limits.map_keys
    elif isinstance(value, list):
        items, most = value, limits.array_items
    else:
        return True
    return (
        levels > 0
        and len(items) <= most
        and all(is_within(item, limits, levels - 1) for item in items)
    )


HEADERS = {
    "an array that claims the frame": b"\xdd\x00\x00\xfd\xe8",
    "an array that claims 2^32-1": b"\xdd\xff\xff\xff\xff",
    "a map that claims the frame": b"\xdf\x00\x00\xfd\xe8",
}
PLACES: dict[str, bytes] = {
    "alone": b"",
    "in the parameters": b"\x83\xa4type\xa7request\xa2id\xa1r\xa6params",
    "in place of the id": b"\x83\xa4type\xa7request\xa2id",
    "in place of the type": b"\x83\xa4type",
    "in place of a key": b"\x83",
    "behind an array that is too long": b"\x84\xa1a\xdc\x03\xe9" + b"\xc0" * 1001 + b"\xa2id",
    "in place of a key behind an array that is too long": (
        b"\x84\xa1a\xdc\x03\xe9" + b"\xc0" * 1001
    ),
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_what_claims_to_be_long_is_refused_without_making_room_for_it(
    header: bytes, place: bytes
) -> None:
    """Threat T2: a thousand of them inside each other; the peak stays under 1 MiB."""
    data = (place + header * 1000).ljust(65_000, b"\xc0")
    tracemalloc.start()
    try:
        fate, _ = verdict(MSGPACK, data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert fate == "ended"
    assert peak < MIB


@BOTH
def test_many_empty_things_are_refused_by_their_number(codec: Codec) -> None:
    """Threat T3."""
    value: list[Any] = [[] if number % 2 else {} for number in range(16_000)]
    data = json.dumps(value).encode() if codec is JSON else bytes(msgpack.packb(value))
    assert verdict(codec, data) == ("ended", None)


@pytest.mark.parametrize(
    "behind", [b"", b"\xc0", b"\xc1", b"\x91"], ids=["nothing", "more", "nonsense", "half"]
)
def test_a_request_over_the_limits_is_answered_only_if_it_is_whole(behind: bytes) -> None:
    message = {"type": "request", "id": "r", "params": [0] * 1001}
    fate = verdict(MSGPACK, bytes(msgpack.packb(message)) + behind)
    assert fate == (("answered", "r") if not behind else ("ended", None))


@BOTH
@settings(max_examples=300)
@given(
    value=REQUESTS,
    cut=st.none() | st.integers(0, 300),
    changes=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=4),
)
def test_a_damaged_message_has_one_of_the_three_fates(
    codec: Codec, value: dict[str, object], cut: int | None, changes: list[tuple[int, int]]
) -> None:
    packed = json.dumps(value).encode() if codec is JSON else bytes(msgpack.packb(value))
    data = bytearray(packed[:cut])
    for place, byte in changes if data else ():
        data[place % len(data)] = byte
    fate, _ = verdict(codec, bytes(data))
    assert fate in ("taken", "answered", "ended")
