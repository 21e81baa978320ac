"""The SDK's stream: order, cursors, resets, bounded memory, and servers newer than the SDK."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from protocol.client import Connected, Disconnected, Event
from protocol.client_frames import read_frame
from protocol.client_session import OVERFLOW_FACTOR
from protocol.client_stream import EventStream, Item
from protocol.codec import JSON, MSGPACK, Codec, Malformed
from protocol.events import MembersChanged
from protocol.frames import ResetReason, Resume
from protocol.vocabulary import EventKind
from tests.protocol.client_kit import (
    FakeServer,
    Peer,
    connected,
    event,
    fake_server,
    short,
    stands_at,
    take,
    until,
)

BOUND = 4
"""``max_queued_events`` in the tests of bounded memory."""

CODECS = pytest.mark.parametrize("codec", [MSGPACK, JSON], ids=["msgpack", "json"])


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with fake_server() as running:
        yield running


@CODECS
async def test_events_come_in_order_with_typed_data(server: FakeServer, codec: Codec) -> None:
    async with connected(server, codec=codec) as (client, peer):
        await peer.events(1, 2)
        await peer.events(3)
        items = []
        async for item in client:
            items.append(item)
            if len(items) == 4:
                break
        assert [short(item) for item in items] == ["fresh", 1, 2, 3]
        assert isinstance(items[3], Event)
        assert items[3].kind is EventKind.TIP
        assert items[3].typed_data() == MembersChanged(user_ids=["bob"], member_count=2, version=3)


async def test_the_cursor_moves_when_the_last_event_of_a_message_is_finished_with(
    server: FakeServer,
) -> None:
    async with connected(server, cursor="k:0") as (client, peer):
        await peer.events(1, 2)
        await peer.events(3)
        seen = []
        for _ in range(4):
            item = await anext(client.events())
            seen.append((short(item), client.cursor))
        assert seen == [("fresh", "k:0"), (1, "c:0"), (2, "c:0"), (3, "c:2")]
        client.acknowledge()
        assert client.cursor == "c:3"


async def test_acknowledging_within_a_message_does_not_move_the_cursor(server: FakeServer) -> None:
    async with connected(server) as (client, peer):
        await peer.events(1, 2)
        await take(client, 2)
        client.acknowledge()
        client.acknowledge()
        assert client.cursor == "c:0"
        assert await take(client, 1) == [2]
        client.acknowledge()
        assert client.cursor == "c:2"


@pytest.mark.parametrize("is_finished", [False, True])
async def test_the_cursor_of_a_reply_counts_after_the_events_before_it(
    server: FakeServer, is_finished: bool
) -> None:
    async with connected(server) as (client, peer):
        calling = asyncio.create_task(client.call("m"))
        request = await peer.receive()
        await peer.events(1, 2)
        await peer.reply(request, cursor="c:9")
        await calling
        assert stands_at(client, None)
        assert await take(client, 3) == ["fresh", 1, 2]
        assert client.cursor == "c:0"
        if is_finished:
            client.acknowledge()
            assert client.cursor == "c:9"
        calling = asyncio.create_task(client.call("m"))
        await peer.reply(await peer.receive(), cursor="c:11")
        await calling
        assert client.cursor == ("c:11" if is_finished else "c:0")
        client.acknowledge()
        assert client.cursor == "c:11"


async def test_events_that_are_not_stored_leave_the_cursor_as_it_is(server: FakeServer) -> None:
    async with connected(server) as (client, peer):
        typing = event(0) | {"event": "typing"}
        del typing["seq"]
        await peer.send({"type": "events", "cursor": "c:0", "events": [typing]})
        assert await take(client, 2) == ["fresh", "typing"]
        client.acknowledge()
        assert client.cursor == "c:0"


@CODECS
async def test_a_reset_is_seen_in_its_place_and_calls_work_from_within_the_loop(
    server: FakeServer, codec: Codec
) -> None:
    async with connected(server, codec=codec) as (client, peer):
        await peer.events(1)
        await until(lambda: len(client.events()) == 2)
        peer.drop()
        again = await server.accept()
        hello = await again.welcome("n:100", "reset", reason="too_far")
        assert hello["cursor"] == "c:1"
        await again.events(101, cursor="n:101")
        assert await take(client, 3) == ["fresh", 1, "lost"]
        reset = await anext(client.events())
        assert reset == Connected(resume=Resume.RESET, reason=ResetReason.TOO_FAR, session_id="s-1")
        calling = asyncio.create_task(client.list_joined_groups())
        await again.reply(await again.receive(), {"groups": [], "version": "v"}, cursor="n:101")
        assert (await calling).groups == []
        assert client.cursor == "c:1"
        assert await take(client, 1) == [101]
        assert client.cursor == "n:100"


async def test_a_call_is_answered_however_many_events_come_before_its_reply(
    server: FakeServer,
) -> None:
    async with connected(server, max_queued_events=BOUND) as (client, peer):
        assert await take(client, 1) == ["fresh"]
        calling = asyncio.create_task(client.call("m"))
        request = await peer.receive()
        for number in range(1, 21):
            await peer.events(number)
        await peer.reply(request, {"ok": 1}, cursor="c:20")
        assert await calling == {"ok": 1}
        assert len(client.events()) == 20 > BOUND
        assert await take(client, 20) == list(range(1, 21))


async def test_without_calls_reading_stops_at_the_bound(server: FakeServer) -> None:
    async with connected(server, max_queued_events=BOUND) as (client, peer):
        sending = asyncio.create_task(send_pairs(peer, 200))
        stream = client.events()
        sizes: list[int] = []
        seen: list[int | str] = []
        while len(seen) < 401:
            sizes.append(len(stream))
            seen.append(short(await anext(stream)))
        await sending
        assert seen == ["fresh", *range(1, 401)]
        assert max(sizes) <= BOUND + 1
        assert client.is_connected


async def send_pairs(peer: Peer, count: int) -> None:
    """Send ``count`` messages of two events each."""
    for number in range(count):
        await peer.events(2 * number + 1, 2 * number + 2)


async def test_beyond_the_last_bound_events_are_left_to_the_server_and_had_again(
    server: FakeServer,
) -> None:
    async with connected(server, max_queued_events=BOUND) as (client, peer):
        assert await take(client, 1) == ["fresh"]
        calling = asyncio.create_task(client.call("m"))
        request = await peer.receive()
        for number in range(1, 51):
            await peer.events(number)
        await peer.reply(request, cursor="c:50")
        await calling
        kept = BOUND * OVERFLOW_FACTOR
        assert len(client.events()) == kept
        calling = asyncio.create_task(client.call("m"))  # the connection still serves calls
        await peer.reply(await peer.receive(), cursor="c:50")
        await calling
        assert await take(client, kept - BOUND) == list(range(1, kept - BOUND + 1))
        assert client.is_connected
        assert await take(client, 1) == [kept - BOUND + 1]
        again = await server.accept()
        assert (await again.welcome(f"c:{kept}", "resumed"))["cursor"] == f"c:{kept}"
        await again.events(*range(kept + 1, 51))
        rest: list[int | str] = list(range(kept - BOUND + 2, kept + 1))
        assert await take(client, len(rest) + 2) == [*rest, "lost", "resumed"]
        assert await take(client, 50 - kept) == list(range(kept + 1, 51))


async def test_close_does_not_wait_for_a_reader_that_is_behind(server: FakeServer) -> None:
    async with connected(server, max_queued_events=1) as (client, peer):
        await peer.events(1, 2)
        await client.close()
        assert await peer.code_from_client() == 1000
        with pytest.raises(StopAsyncIteration):
            await anext(client.events())


async def test_a_client_that_only_calls_keeps_no_events(server: FakeServer) -> None:
    async with connected(server, receive_events=False, max_queued_events=1) as (client, peer):
        with pytest.raises(RuntimeError, match="not to receive events"):
            client.events()
        for number in range(1, 30):
            await peer.events(number)
        await until(lambda: client.cursor == "c:29")
        calling = asyncio.create_task(client.call("m"))
        await peer.reply(await peer.receive(), {"ok": 1}, cursor="c:30")
        assert await calling == {"ok": 1}
        assert client.cursor == "c:30"
        peer.drop()
        again = await server.accept()
        assert (await again.welcome("c:30", "resumed"))["cursor"] == "c:30"


async def test_two_readers_at_once_are_refused(server: FakeServer) -> None:
    async with connected(server) as (client, peer):
        await take(client, 1)
        first = asyncio.create_task(anext(client.events()))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task"):
            await anext(client.events())
        await peer.events(1)
        assert short(await first) == 1


async def test_a_cancelled_reader_loses_nothing(server: FakeServer) -> None:
    async with connected(server) as (client, peer):
        await take(client, 1)
        waiting = asyncio.create_task(anext(client.events()))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await peer.events(1)
        assert await take(client, 1) == [1]


@CODECS
async def test_what_only_a_newer_client_knows_is_passed_over(
    server: FakeServer, codec: Codec
) -> None:
    async with connected(server, codec=codec) as (client, peer):
        await peer.send({"type": "weather", "sky": ["blue"]})
        news = [
            event(1) | {"kind": "rumour"},
            event(2) | {"event": "group_painted", "data": {"colour": "red"}, "new_field": 1},
        ]
        await peer.send({"type": "events", "cursor": "c:2", "events": news})
        await peer.send({"type": "welcome"} | {"again": True})
        stream = client.events()
        await anext(stream)
        item = await anext(stream)
        assert isinstance(item, Event)
        assert (item.seq, item.event, item.data) == (2, "group_painted", {"colour": "red"})
        assert item.typed_data() is None
        assert isinstance(await anext(stream), Disconnected)  # that was no welcome
        again = await server.accept()
        await again.welcome("c:3", "reset", reason="solar_flare")
        assert await anext(stream) == Connected(resume=Resume.RESET, reason=None, session_id="s-1")
        assert client.cursor == "c:2"


async def test_a_second_welcome_says_nothing(server: FakeServer) -> None:
    async with connected(server) as (client, peer):
        peer.unread({"type": "hello"})
        await peer.welcome("c:99", "reset")
        await peer.events(1)
        assert await take(client, 2) == ["fresh", 1]
        assert client.cursor == "c:0"


@CODECS
@pytest.mark.parametrize(
    "nonsense",
    [
        5,
        [],
        {},
        {"type": 5},
        {"type": "reply"},
        {"type": "events", "cursor": "c", "events": 5},
        {"type": "events", "cursor": "c", "events": [5]},
        {"type": "events", "cursor": "c", "events": [{"kind": "tip"}]},
        {"type": "pong", "cursor": "c", "server_time_ms": 2**60, "extra": {"type": 1.5}},
    ],
    ids=str,
)
def test_what_is_no_frame_is_malformed(codec: Codec, nonsense: object) -> None:
    if isinstance(nonsense, dict) and nonsense.get("type") == "pong":
        nonsense = nonsense | {"cursor": 5}
    with pytest.raises(Malformed):
        read_frame(codec, codec.encode(nonsense))


@CODECS
@pytest.mark.parametrize("data", [b"", b"\xc1", b"{", b"\xff\xff"])
def test_bytes_that_are_no_message_are_malformed(codec: Codec, data: bytes) -> None:
    with pytest.raises(Malformed):
        read_frame(codec, data)


def a_stream() -> EventStream:
    return EventStream(None, keeps=True, on_taken=lambda: None)


def connection(resume: Resume) -> Connected:
    return Connected(resume=resume, reason=None, session_id="s")


LOST = Disconnected(code=None, reason="")
RESUMED, RESET = connection(Resume.RESUMED), connection(Resume.RESET)


async def drain(stream: EventStream) -> list[int | str]:
    return [short(await anext(stream)) for _ in range(len(stream))]


def play(stream: EventStream, *items: Item) -> None:
    for item in items:
        match item:
            case Connected():
                stream.put_connected(item, "c:1")
            case Disconnected():
                stream.put_disconnected(item)
            case Event():
                stream.put_events([item], "c:2")


A_TIP = Event(kind=EventKind.TIP, event="member_joined", group_id="g", time_ms=1, seq=7, data={})


@pytest.mark.parametrize(
    ("items", "kept"),
    [
        ((LOST, RESUMED) * 1000, ["lost", "resumed"]),
        ((LOST, RESUMED) * 1000 + (LOST,), ["lost"]),
        ((LOST, RESET) * 1000, ["lost", "reset"]),
        ((LOST, RESET, LOST, RESUMED) * 1000, ["lost", "reset", "lost", "resumed"]),
        ((LOST, RESUMED, A_TIP) * 2, ["lost", "resumed", 7, "lost", "resumed", 7]),
    ],
)
async def test_interruptions_that_nobody_saw_fill_no_memory(
    items: tuple[Item, ...], kept: list[int | str]
) -> None:
    stream = a_stream()
    play(stream, *items)
    assert len(stream) <= max(len(kept), 4)
    assert await drain(stream) == kept
    stream.acknowledge()
    assert stream.received in {"c:1", "c:2"}


async def test_only_the_first_end_of_a_stream_counts() -> None:
    stream = a_stream()
    play(stream, RESET)
    stream.end(ValueError("first"))
    stream.end(None)
    assert await drain(stream) == ["reset"]
    with pytest.raises(ValueError, match="first"):
        await anext(stream)
