"""What belongs to a connection goes with it, without the garbage collector (``server.collector``)."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator

import pytest

from protocol.codec import JSON
from server.hub.session import Session
from server.node import Node
from server.service.dispatcher import Caller
from server.transport.connection import Connection
from server.transport.conversation import Conversation
from tests.kit.byte_peer import handshake_bytes, hello_of, node_of
from tests.kit.fakes import until
from tests.kit.system_peer import TEXT, frame_bytes

Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]
HOST = "127.0.0.1"


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    gc.freeze()  # what other tests left is none of ours, and is not listed any more
    yield
    gc.unfreeze()
    gc.enable()


def message(value: object) -> bytes:
    return frame_bytes(TEXT, JSON.encode(value))


async def cut(peer: Peer, _node: Node) -> None:
    peer[1].transport.abort()


async def close(peer: Peer, _node: Node) -> None:
    peer[1].write(frame_bytes(0x8, b"\x03\xe8"))
    await peer[0].read()
    peer[1].close()


async def say_nonsense(peer: Peer, _node: Node) -> None:
    peer[1].write(frame_bytes(TEXT, b"{"))
    await peer[0].read()
    peer[1].close()


async def be_replaced(peer: Peer, node: Node) -> None:
    (connection,) = node.listener._slot_of
    assert connection.session is not None
    node.hub.add(connection.session)
    del connection
    peer[1].transport.abort()


@pytest.mark.parametrize("ending", [cut, close, say_nonsense, be_replaced])
@pytest.mark.parametrize("asks", [True, False], ids=["after a request", "at once"])
async def test_a_connection_that_has_ended_is_gone_with_all_that_was_its_own(
    ending: Callable[[Peer, Node], Awaitable[None]], asks: bool
) -> None:
    async with node_of() as node:
        port = await node.listen(HOST, 0, None)
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(handshake_bytes() + message(hello_of("alice")))
        if asks:
            for number, method in enumerate(("list_methods", "create_group")):
                params = {"type": "Public", "name": "Crew"} if method == "create_group" else {}
                request = {"type": "request", "id": f"r{number}", "method": method}
                writer.write(message({**request, "params": params}))
            await reader.readuntil(b'"id":"r1"')
        else:
            await reader.readuntil(b'"welcome"')
        await ending((reader, writer), node)
        writer.close()
        await until(lambda: not node.listener.connection_count)
        del reader, writer
        for _ in range(5):
            await asyncio.sleep(0)
        left = left_over()
        node.listener.stop_accepting()
    assert not left


OWN = (Connection, Conversation, Session, Caller)


def left_over() -> list[str]:
    """What there still is of connections, by the names of their classes."""
    return [type(item).__name__ for item in gc.get_objects() if isinstance(item, OWN)]
