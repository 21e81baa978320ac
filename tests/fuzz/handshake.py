"""The target of raw bytes: a whole connection, from the first byte of HTTP on, in any pieces."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any, Final

from protocol.codec import JSON, MSGPACK
from server.node import Node
from tests.kit.byte_peer import BytePeer, handshake_bytes, hello_of, node_of
from tests.kit.fakes import until_idle

_INPUTS_PER_NODE: Final = 1_000
"""After so many a fresh server: what the inputs have done must not make the next ones slow."""

_MOST_PIECES: Final = 4_000
_MOST_TURNS: Final = 200

_LIMITS: Final = {"REQUESTS_PER_S": 0, "USER_REQUESTS_PER_S": 0, "UNAUTHENTICATED_PER_ADDRESS": 3}


class _Faults(logging.Handler):
    """What the server logged as an error, and what asyncio could not give to anybody."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self.format(record))

    def on_loop(self, _loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        self.seen.append(str(context.get("exception") or context["message"]))


class Stage:
    """A server on a loop of its own, for one input after another."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._stack = contextlib.AsyncExitStack()
        self._faults = _Faults()
        self._loop.set_exception_handler(self._faults.on_loop)
        self._node: Node | None = None
        self._inputs = 0

    def take(self, data: bytes) -> None:
        """Let a peer send this.

        The first byte says how it begins (as it is, after a handshake, after a hello; JSON or
        MessagePack), the second how it is cut.
        """
        logging.getLogger().addHandler(self._faults)
        try:
            self._loop.run_until_complete(self._take(data))
        finally:
            logging.getLogger().removeHandler(self._faults)

    async def _take(self, data: bytes) -> None:
        if self._node is None or self._inputs >= _INPUTS_PER_NODE:
            await self._renew()
        assert self._node is not None
        self._inputs += 1
        await _one_peer(self._node, data)
        seen, self._faults.seen = self._faults.seen, []
        assert not seen, seen

    async def _renew(self) -> None:
        await self._stack.aclose()
        self._node = await self._stack.enter_async_context(node_of(_LIMITS))
        self._inputs = 0

    def close(self) -> None:
        """End the server and the loop."""
        self._loop.run_until_complete(self._stack.aclose())
        self._loop.close()


async def _one_peer(node: Node, data: bytes) -> None:
    how, cut, rest = (data[0], data[1], data[2:]) if len(data) > 1 else (0, 0, data)
    codec = MSGPACK if how & 1 else JSON
    peer = BytePeer(node, codec)
    if how & 2:
        peer.send(handshake_bytes(codec))
    if how & 4:
        peer.send(peer.message_bytes(hello_of("alice")))
        await _rest()
    size = max(cut, -(-len(rest) // _MOST_PIECES), 1) if cut else max(1, len(rest))
    peer.send_cut(rest, [size])
    await _rest()
    peer.take_head()
    peer.end()
    await _rest()
    listener = node.listener
    assert listener.connection_count == 0
    assert not listener.paused
    assert not list(node.hub.sessions())
    _no_address_is_left(node)


async def _rest() -> None:
    """Let everything happen that happens by itself; bounded, so that a hang is found."""
    async with asyncio.timeout(10):
        await until_idle()


def _no_address_is_left(node: Node) -> None:
    addresses = node.listener.addresses
    assert not addresses._all, addresses._all
    assert not addresses._unknown, addresses._unknown


_stage: Stage | None = None


def converse(data: bytes) -> None:
    """A peer sends these bytes to a real connection; nothing breaks, and nothing of it stays."""
    global _stage
    if _stage is None:
        _stage = Stage()
    _stage.take(data)


def finish() -> None:
    """End what ``converse`` keeps from one input to the next."""
    global _stage
    if _stage is not None:
        _stage.close()
        _stage = None
