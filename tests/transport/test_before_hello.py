"""A hundred strangers at once who never say hello: little memory, a deadline, and nothing stays.

On real sockets of one process; the time that passes is the loop's own (HELLO_MS is short).
"""

import asyncio
import contextlib
import gc
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import pytest

from protocol.codec import JSON
from server.node import Node
from tests.kit.byte_peer import handshake_bytes, hello_of, node_of
from tests.kit.system_device import JSON as JSON_WIRE
from tests.kit.system_peer import CONTINUATION, TEXT, frame_bytes, message_bytes

STRANGERS: Final = 100
HOST: Final = "127.0.0.1"
KIB: Final = 1024
LIMITS: Final = {
    "UNAUTHENTICATED_PER_ADDRESS": 0,
    "CONNECTIONS_PER_ADDRESS": 0,
    "HELLO_MS": 60_000,
    "CLOSE_MS": 200,
}

Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def strangers(node: Node, count: int = STRANGERS) -> AsyncIterator[list[Peer]]:
    """So many connections; they are cut at the end, and then the node has none."""
    port = await node.listen(HOST, 0, None)
    peers = [await asyncio.open_connection(HOST, port) for _ in range(count)]
    try:
        await until_count(node, count)
        yield peers
    finally:
        for _, writer in peers:
            writer.transport.abort()
        await until_count(node, 0)
        assert_nothing_is_left(node)
        node.listener.stop_accepting()
        await asyncio.sleep(0)


async def until_count(node: Node, count: int) -> None:
    async with asyncio.timeout(20):
        while node.listener.connection_count != count:  # noqa: ASYNC110 - no event for it
            await asyncio.sleep(0)


def assert_nothing_is_left(node: Node) -> None:
    listener = node.listener
    assert not listener.paused
    assert not listener.addresses._all
    assert not listener.addresses._unknown
    assert not list(node.hub.sessions())


async def say(peers: list[Peer], data: bytes) -> None:
    for _, writer in peers:
        writer.write(data)
    await asyncio.gather(*(writer.drain() for _, writer in peers), return_exceptions=True)


async def said_to(peer: Peer) -> bytes:
    """All that comes until the end."""
    async with asyncio.timeout(20):
        try:
            return await peer[0].read()
        except ConnectionError:
            return b"reset"


async def drip_a_head(peers: list[Peer]) -> None:
    """A head that goes on as long as it is read: 64 KiB of it."""
    await say(peers, b"GET /ws HTTP/1.1\r\n")
    for _ in range(64):
        await say(peers, b"X-Slow: " + b"x" * 1014 + b"\r\n")


async def hold_a_message(peers: list[Peer]) -> None:
    """64 KiB of a message that is not finished."""
    await say(peers, handshake_bytes())
    await say(peers, frame_bytes(TEXT, b"x" * 32 * KIB, fin=False))
    await say(peers, frame_bytes(CONTINUATION, b"x" * 31 * KIB, fin=False))


async def hold_a_frame(peers: list[Peer]) -> None:
    """A frame of 64 KiB but for its last byte."""
    await say(peers, handshake_bytes() + frame_bytes(TEXT, b"x" * 64 * KIB)[:-1])


async def close_one_half(peers: list[Peer]) -> None:
    """No byte more will come, and all that is said is left unread."""
    await say(peers, handshake_bytes())
    for _, writer in peers:
        writer.write_eof()


WAYS: Final[dict[str, tuple[Callable[[list[Peer]], Awaitable[None]], int]]] = {
    "an endless head": (drip_a_head, 48),
    "a message without end": (hold_a_message, 96),
    "a frame without end": (hold_a_frame, 96),
    "half closed": (close_one_half, 16),
}
"""What they do, and the KiB that each may cost while it lasts."""


@pytest.mark.parametrize(("attack", "kib"), WAYS.values(), ids=WAYS)
async def test_a_hundred_strangers_cost_little(
    attack: Callable[[list[Peer]], Awaitable[None]], kib: int
) -> None:
    async with node_of(LIMITS) as node, strangers(node) as peers:
        gc.collect()
        tracemalloc.start()
        try:
            await attack(peers)
            await answered(node)
            now, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # Their own side is in this process too: what waits in their writers is theirs.
        theirs = sum(writer.transport.get_write_buffer_size() for _, writer in peers)
        assert now - theirs < STRANGERS * kib * KIB


async def answered(node: Node) -> None:
    """One who behaves is welcomed meanwhile, after all that came before it."""
    port = node.listener._servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(handshake_bytes() + message_bytes(JSON_WIRE, hello_of("honest")))
    async with asyncio.timeout(20):
        await reader.readuntil(b'"welcome"')
    writer.transport.abort()


async def test_whoever_says_no_hello_in_time_is_let_go() -> None:
    """However far they came: nothing, half a head, a handshake, half a message, half closed."""
    limits = LIMITS | {"HELLO_MS": 300}
    async with node_of(limits) as node, strangers(node, 50) as peers:
        groups = [peers[start::5] for start in range(5)]
        await say(groups[1], b"GET /ws HTTP/1.1\r\nX-Slow: ")
        await say(groups[2], handshake_bytes())
        await say(groups[3], handshake_bytes() + frame_bytes(TEXT, b"{", fin=False))
        await close_one_half(groups[4])
        heard = [[await said_to(peer) for peer in group] for group in groups]
        assert heard[0] == heard[1] == [b""] * 10, "cut without a word"
        for answers in heard[2:4]:
            assert all(b"101 Switching" in answer for answer in answers)
            assert all(b'"code":4408' in answer for answer in answers)
        assert all(b'"bye"' not in answer for answer in heard[4])
        await until_count(node, 0)
        assert_nothing_is_left(node)


async def test_whoever_does_not_read_the_bye_is_let_go() -> None:
    limits = LIMITS | {"HELLO_MS": 200, "CLOSE_MS": 100, "SLOW_CLOSE_MS": 100}
    async with node_of(limits) as node, strangers(node, 20) as peers:
        for reader, _ in peers:
            reader._transport.pause_reading()  # type: ignore[attr-defined]
        await say(peers, handshake_bytes())
        await until_count(node, 0)
        assert_nothing_is_left(node)


@pytest.mark.parametrize(
    "said",
    [b"", b"GET /ws", handshake_bytes(JSON), handshake_bytes(JSON) + b"\x81", b"\x16\x03\x01"],
    ids=["nothing", "half a line", "a handshake", "half a frame", "TLS"],
)
async def test_a_reset_at_any_point_leaves_nothing(said: bytes) -> None:
    async with node_of(LIMITS) as node, strangers(node, 20) as peers:
        await say(peers, said)
        for _, writer in peers:
            writer.transport.abort()
        await until_count(node, 0)
        assert_nothing_is_left(node)
