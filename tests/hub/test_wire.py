from collections.abc import Generator, Sequence

import hypothesis.strategies as st
import pytest
from hypothesis import given
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from protocol.codec import JSON, MSGPACK, Codec
from protocol.frames import Events, Pong
from protocol.vocabulary import EventKind
from server.domain.model import Entry
from server.hub.wire import (
    PageLimits,
    event_frame,
    event_pages,
    framed,
    page_frame,
    websocket_frame,
)
from server.service.ports import Committed

BOTH = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])


def parsed(data: bytes) -> list[Frame]:
    """The frames in ``data``, as the library reads them; nothing may be left."""
    reader = StreamReader()
    reader.feed_data(data)
    frames: list[Frame] = []
    while len(reader.buffer):
        parsing: Generator[None, None, Frame] = Frame.parse(reader.read_exact, mask=False)
        try:
            next(parsing)
        except StopIteration as done:
            frames.append(done.value)
        else:
            raise AssertionError("a frame is cut off")
    return frames


@BOTH
@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_a_frame_is_one_final_unmasked_data_frame_of_that_length(codec: Codec, length: int) -> None:
    payload = bytes(length)
    (frame,) = parsed(websocket_frame(codec, payload))
    assert bytes(frame.data) == payload
    assert frame.opcode is (Opcode.BINARY if codec.is_binary else Opcode.TEXT)
    assert (frame.fin, frame.rsv1, frame.rsv2, frame.rsv3) == (True, False, False, False)


@BOTH
@pytest.mark.parametrize(("length", "header"), [(125, 2), (126, 4), (65535, 4), (65536, 10)])
def test_a_header_is_as_short_as_the_length_allows(codec: Codec, length: int, header: int) -> None:
    assert len(websocket_frame(codec, bytes(length))) == header + length


@BOTH
@given(lengths=st.lists(st.integers(0, 300), max_size=6))
def test_frames_behind_each_other_stay_apart(codec: Codec, lengths: list[int]) -> None:
    data = b"".join(websocket_frame(codec, bytes(length)) for length in lengths)
    assert [len(frame.data) for frame in parsed(data)] == lengths


@BOTH
def test_a_framed_message_is_what_the_codec_writes(codec: Codec) -> None:
    message = Pong(cursor="k:1", server_time_ms=1)
    (frame,) = parsed(framed(codec, message))
    assert codec.decode_server(bytes(frame.data)) == message


def told(position: int, text: str) -> Committed:
    entry = Entry(kind=EventKind.TIP, event="x", group_id="g", time_ms=0, data={"text": text})
    return Committed(entry, position, position)


def pages_of(
    codec: Codec, entries: Sequence[Committed], limits: PageLimits
) -> list[tuple[int, Events, int]]:
    """Each page's position, its message as a client reads it, and the message's length."""
    pages = []
    for position, events in event_pages(codec, entries, limits):
        (frame,) = parsed(page_frame(codec, events, f"k7f2:{position}"))
        message = codec.decode_server(bytes(frame.data))
        assert isinstance(message, Events)
        pages.append((position, message, len(frame.data)))
    return pages


@BOTH
@given(
    lengths=st.lists(st.integers(0, 400), max_size=30),
    most_events=st.integers(1, 10),
    most_bytes=st.integers(100, 2000),
)
def test_pages_hold_everything_once_in_order_within_the_limits(
    codec: Codec, lengths: list[int], most_events: int, most_bytes: int
) -> None:
    entries = [told(number + 1, "x" * length) for number, length in enumerate(lengths)]
    pages = pages_of(codec, entries, PageLimits(most_events, most_bytes))
    seqs = [event.seq for _, message, _ in pages for event in message.events]
    assert seqs == [entry.seq for entry in entries]
    for position, message, length in pages:
        assert message.events[-1].seq == position
        assert len(message.events) <= most_events
        assert len(message.events) == 1 or length <= most_bytes


@BOTH
def test_a_page_is_filled_as_far_as_the_limits_go(codec: Codec) -> None:
    entries = [told(number + 1, "") for number in range(600)]
    pages = pages_of(codec, entries, PageLimits(256, 256 * 1024))
    assert [len(message.events) for _, message, _ in pages] == [256, 256, 88]


@BOTH
def test_an_event_over_the_byte_limit_travels_alone(codec: Codec) -> None:
    entries = [told(1, ""), told(2, "x" * 5000), told(3, "")]
    pages = pages_of(codec, entries, PageLimits(256, 4096))
    assert [len(message.events) for _, message, _ in pages] == [1, 1, 1]


@BOTH
def test_a_live_event_says_the_same_as_one_on_a_page(codec: Codec) -> None:
    (frame,) = parsed(event_frame(codec, told(7, "hi"), "k7f2:7"))
    ((_, message, _),) = pages_of(codec, [told(7, "hi")], PageLimits(256, 4096))
    assert codec.decode_server(bytes(frame.data)) == message
