"""The law behind the SDK: whatever breaks, each call counts once and each event comes once.

A small server keeps the promises of ``protocol.md`` (request ids, one log, cursors, events
before the reply) and breaks its connections at chosen points.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from random import Random

import pytest
from websockets.exceptions import ConnectionClosed

from protocol.client import Client, Event
from protocol.codec import JSON, MSGPACK
from tests.protocol.client_kit import FakeServer, Frame, Peer, client_of, fake_server

CALLS = 12


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with fake_server() as running:
        yield running


class Broken(Exception):
    """This connection has said all that it may."""


class Ledger:
    """A server's truth: what was done, in which order, and what was replied."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.replies: dict[str, int] = {}

    def apply(self, request: Frame) -> int:
        """Do what ``request`` asks, unless its id did already; the place in the log."""
        request_id = request["id"]
        if request_id not in self.replies:
            self.done.append(request["params"]["n"])
            self.replies[request_id] = len(self.done)
        return self.replies[request_id]


class Connection:
    """One connection: may send ``frames`` frames, then breaks."""

    def __init__(self, ledger: Ledger, peer: Peer, frames: int | None, *, is_clean: bool) -> None:
        self._ledger = ledger
        self._peer = peer
        self._frames_left = frames
        self._is_clean = is_clean
        self._place = 0

    async def serve(self) -> None:
        """Talk until the connection breaks or the client goes."""
        hello = await self._peer.receive()
        self._peer.unread(hello)
        cursor = hello.get("cursor")
        self._place = 0 if cursor is None else int(cursor.removeprefix("c:"))
        await self._count()
        resume = "fresh" if cursor is None else "resumed"
        await self._peer.welcome(f"c:{self._place}", resume)
        await self._catch_up()
        while True:
            request = await self._peer.receive()
            place = self._ledger.apply(request)
            await self._catch_up()
            await self._count()
            await self._peer.reply(request, {"place": place}, cursor=f"c:{self._place}")

    async def _catch_up(self) -> None:
        """Send the log from this connection's place on, two entries a message."""
        while self._place < len(self._ledger.done):
            numbers = range(self._place + 1, min(self._place + 2, len(self._ledger.done)) + 1)
            await self._count()
            self._place = numbers[-1]
            await self._peer.events(*numbers)

    async def _count(self) -> None:
        if self._frames_left == 0:
            if self._is_clean:  # everything sent before arrives
                await self._peer.connection.close(1001)
            else:
                self._peer.drop()
            raise Broken
        if self._frames_left is not None:
            self._frames_left -= 1


async def serve_all(
    server: FakeServer, ledger: Ledger, budgets: Iterator[int | None], *, is_clean: bool
) -> None:
    """Serve one connection after the other, each with its budget of frames."""
    while True:
        peer = await server.accept()
        try:
            await Connection(ledger, peer, next(budgets), is_clean=is_clean).serve()
        except (Broken, ConnectionClosed):
            continue  # the client may go, too: when it caught up with what it had let go


async def play(client: Client) -> tuple[list[dict[str, object]], list[int | None]]:
    """Make the calls together and read until each one's event has come."""
    calls = [asyncio.create_task(client.call("add", {"n": n})) for n in range(CALLS)]
    seqs: list[int | None] = []
    async for item in client.events():
        if isinstance(item, Event):
            seqs.append(item.seq)
            if item.seq == CALLS:
                client.acknowledge()
                break
    return await asyncio.gather(*calls), seqs


async def check(server: FakeServer, client: Client, budgets: list[int], *, is_clean: bool) -> None:
    ledger = Ledger()
    endless = itertools.chain(budgets, itertools.repeat(None))
    serving = asyncio.create_task(serve_all(server, ledger, endless, is_clean=is_clean))
    async with client:
        results, seqs = await play(client)
    serving.cancel()
    await asyncio.wait([serving])
    assert serving.cancelled()
    assert ledger.done == list(range(CALLS))
    assert results == [{"place": place} for place in range(1, CALLS + 1)]
    assert seqs == list(range(1, CALLS + 1))
    assert client.cursor == f"c:{CALLS}"


@pytest.mark.parametrize("is_clean", [True, False], ids=["close", "abort"])
@pytest.mark.parametrize("frames", range(1, 2 * CALLS + 2))
async def test_one_break_after_any_message(server: FakeServer, frames: int, is_clean: bool) -> None:
    await check(server, client_of(server), [frames], is_clean=is_clean)


@pytest.mark.parametrize("is_clean", [True, False], ids=["close", "abort"])
@pytest.mark.parametrize("seed", range(25))
async def test_many_breaks_at_random(server: FakeServer, seed: int, is_clean: bool) -> None:
    random = Random(seed)
    budgets = [random.randrange(5) for _ in range(random.randrange(1, 30))]
    client = client_of(
        server, codec=random.choice([MSGPACK, JSON]), max_queued_events=random.choice([1, 3, 100])
    )
    await check(server, client, budgets, is_clean=is_clean)
