"""Plain frames are read as the library would read them, and everything else is left to it."""

import secrets

import hypothesis.strategies as st
import pytest
from hypothesis import given
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol, State

from server.transport.frames import Kind, frame_at, pong

MOST = 1_000
KINDS = {
    Opcode.TEXT: Kind.TEXT,
    Opcode.BINARY: Kind.BINARY,
    Opcode.PING: Kind.PING,
    Opcode.PONG: Kind.PONG,
}

PAYLOADS = st.one_of(
    st.binary(max_size=300),
    st.sampled_from([0, 1, 125, 126, 127, 999, 1_000]).map(lambda size: b"p" * size),
)


def masked(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=True)


@given(
    frames=st.lists(st.tuples(st.sampled_from(list(KINDS)), PAYLOADS), min_size=1, max_size=5),
    junk=st.binary(max_size=9),
)
def test_whole_plain_frames_are_read_one_after_the_other(
    frames: list[tuple[Opcode, bytes]], junk: bytes
) -> None:
    frames = [(o, p[:125] if o in (Opcode.PING, Opcode.PONG) else p) for o, p in frames]
    data = junk + b"".join(masked(opcode, payload) for opcode, payload in frames)
    place = len(junk)
    for opcode, payload in frames:
        kind, place, found = frame_at(data, place, MOST)
        assert (kind, found) == (KINDS[opcode], payload)
    assert place == len(data)


@given(opcode=st.sampled_from([Opcode.TEXT, Opcode.BINARY]), payload=PAYLOADS, data=st.data())
def test_a_frame_that_is_cut_short_waits_for_the_rest(
    opcode: Opcode, payload: bytes, data: st.DataObject
) -> None:
    whole = masked(opcode, payload)
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert frame_at(whole[:cut], 0, MOST) == (Kind.PARTIAL, 0, b"")


@given(
    head=st.binary(min_size=2, max_size=2),
    length=st.integers(0, 2**63),
    rest=st.binary(max_size=20),
)
def test_whatever_is_refused_by_the_library_is_left_to_it_at_once(
    head: bytes, length: int, rest: bytes
) -> None:
    """Any two first bytes: what the library fails on is RULES, and never read as a message."""
    size = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
    number = length if size == 8 else length % 65536
    data = head + number.to_bytes(8, "big")[-size or 8 :][:size] + rest
    kind, end, _ = frame_at(data, 0, MOST)
    library = Protocol(SERVER, state=State.OPEN, max_size=MOST)
    library.receive_data(data)
    if kind in KINDS.values():
        events = library.events_received()
        assert events
        first = events[0]
        assert isinstance(first, Frame)
        assert KINDS[first.opcode] is kind
    elif kind is Kind.PARTIAL:
        assert not library.events_received()
        assert library.state is State.OPEN
    elif library.state is State.OPEN:
        assert end <= len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x82\xff" + (MOST + 1).to_bytes(8, "big"),
        b"\x82\xff" + (2**63).to_bytes(8, "big"),
        b"\x82\xfe" + (MOST + 1).to_bytes(2, "big"),
        b"\x82\x05",
        b"\x89\xfe\x00\x7e",
    ],
    ids=["too long", "enormous", "a little too long", "not masked", "a long ping"],
)
def test_a_header_that_no_rule_allows_is_not_waited_for(data: bytes) -> None:
    kind, end, payload = frame_at(data, 0, MOST)
    assert (kind, end, payload) == (Kind.RULES, len(data), b"")


@pytest.mark.parametrize(
    "frame",
    [
        masked(Opcode.TEXT, b"a", fin=False),
        masked(Opcode.CONT, b"a"),
        masked(Opcode.CLOSE, b"\x03\xe8"),
        b"\xc1\x80" + secrets.token_bytes(4),
    ],
    ids=["a fragment", "a continuation", "a close", "a reserved bit"],
)
def test_a_whole_frame_of_another_kind_ends_where_it_ends(frame: bytes) -> None:
    assert frame_at(frame + b"\x81", 0, MOST) == (Kind.RULES, len(frame), b"")


@given(payload=st.binary(max_size=125))
def test_a_pong_is_what_the_library_would_send(payload: bytes) -> None:
    assert pong(payload) == Frame(Opcode.PONG, payload).serialize(mask=False)
