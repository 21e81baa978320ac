"""A scripted server on a real socket and a clock that tests move, for the tests of the SDK.

Frames are written out as maps, not made with ``protocol.frames``: they are a second opinion on
what the wire looks like.
"""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from protocol.client import Client
from protocol.client_frames import UNLIMITED
from protocol.client_stream import Connected, Disconnected, Item
from protocol.codec import CODECS, MSGPACK, Codec
from protocol.events import Event

Frame = dict[str, Any]

LONG_S = 100.0
HEARTBEAT_MS = 3_600_000


class FakeClock:
    """Sleeps shorter than ``LONG_S`` pass at once and are written down; others wait."""

    def __init__(self) -> None:
        self.now = 0.0
        self.short_sleeps: list[float] = []
        self.long_sleeps: asyncio.Queue[float] = asyncio.Queue()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    def time(self) -> float:
        return self.now

    async def sleep(self, delay_s: float) -> None:
        if delay_s < LONG_S:
            self.short_sleeps.append(delay_s)
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + delay_s, next(self._count), woken))
        self.long_sleeps.put_nowait(delay_s)
        await woken

    def advance(self, seconds: float) -> None:
        self.now += seconds
        while self._sleepers and self._sleepers[0][0] <= self.now:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)


class Highest(Random):
    """Every wait is as long as it may be."""

    def random(self) -> float:
        return 1.0


class Peer:
    """The server's side of one connection."""

    def __init__(self, connection: ServerConnection) -> None:
        self.codec: Codec = CODECS[str(connection.subprotocol)]
        self.connection = connection
        self._unread: list[Frame] = []

    async def receive(self) -> Frame:
        if self._unread:
            return self._unread.pop()
        frame = self.codec.decode(await self.connection.recv(decode=False), UNLIMITED)
        assert isinstance(frame, dict)
        return frame

    def unread(self, frame: Frame) -> None:
        """Let ``receive`` give ``frame`` again."""
        self._unread.append(frame)

    async def send(self, frame: object) -> None:
        await self.connection.send(self.codec.encode(frame), text=not self.codec.is_binary)

    async def welcome(
        self,
        cursor: str = "c:0",
        resume: str = "fresh",
        *,
        reason: str | None = None,
        heartbeat_ms: int = HEARTBEAT_MS,
        limits: dict[str, int] | None = None,
    ) -> Frame:
        """Read the hello, answer it, and return it."""
        hello = await self.receive()
        await self.send(
            {
                "type": "welcome",
                "session_id": "s-1",
                "resume": resume,
                "cursor": cursor,
                "server_time_ms": 1_700_000_000_000,
                "server": "fake/1.0",
                "heartbeat_ms": heartbeat_ms,
                "limits": {"requests_in_flight": 64} if limits is None else limits,
                "from_a_newer_server": True,
            }
            | ({} if reason is None else {"reason": reason})
        )
        return hello

    async def events(self, *numbers: int, cursor: str | None = None) -> None:
        """Send one frame with these numbers; the cursor after n is c:n."""
        await self.send(
            {
                "type": "events",
                "cursor": f"c:{numbers[-1]}" if cursor is None else cursor,
                "events": [event(number) for number in numbers],
            }
        )

    async def reply(
        self, request: Frame, result: Frame | None = None, *, cursor: str = "c:0"
    ) -> None:
        await self.send(
            {"type": "reply", "id": request["id"], "result": result or {}, "cursor": cursor}
        )

    async def refuse(
        self,
        request: Frame,
        error_code: int,
        name: str,
        *,
        retryable: bool,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        error = {
            "code": error_code,
            "name": name,
            "message": "because",
            "retryable": retryable,
            "detail": detail or {},
        }
        await self.send({"type": "reply", "id": request["id"], "error": error, "cursor": "c:0"})

    async def bye(self, code: int, reason: str = "because", **more: int) -> None:
        await self.send({"type": "bye", "code": code, "reason": reason} | more)
        await self.connection.close(code, reason)

    async def has_heard_all(self) -> bool:
        """Whether everything that the client wants to say now has been received here."""
        for _ in range(3):  # each goes through the client's event loop and comes behind its frames
            await (await self.connection.ping())
        try:
            async with asyncio.timeout(0):
                await self.connection.recv()
        except TimeoutError:
            return True
        return False

    def drop(self) -> None:
        """Break the connection; what was sent last may be lost."""
        self.connection.transport.abort()

    async def code_from_client(self) -> int | None:
        """The close code that the client sent, None for a connection that broke."""
        with suppress(ConnectionClosed):
            while True:
                await self.connection.recv()
        received = self.connection.protocol.close_rcvd
        return None if received is None else received.code


class FakeServer:
    """Takes connections; the test plays each one."""

    def __init__(self, server: Server, peers: "asyncio.Queue[Peer]") -> None:
        host, port = next(iter(server.sockets)).getsockname()[:2]
        self.url = f"ws://{host}:{port}/ws"
        self._peers = peers

    async def accept(self) -> Peer:
        return await self._peers.get()


@asynccontextmanager
async def fake_server() -> AsyncIterator[FakeServer]:
    """A server that listens on a free port of 127.0.0.1."""
    peers: asyncio.Queue[Peer] = asyncio.Queue()
    connections: list[ServerConnection] = []

    async def handle(connection: ServerConnection) -> None:
        connections.append(connection)
        peers.put_nowait(Peer(connection))
        await connection.wait_closed()

    subprotocols: Sequence[Subprotocol] = [Subprotocol(name) for name in CODECS]
    async with serve(
        handle,
        "127.0.0.1",
        0,
        subprotocols=subprotocols,
        compression=None,
        ping_interval=None,
        max_size=None,
        close_timeout=0.1,
    ) as server:
        try:
            yield FakeServer(server, peers)
        finally:
            for connection in connections:  # a test that failed may have left one that hangs
                connection.transport.abort()


def client_of(server: FakeServer, **changes: object) -> Client:
    """A client of ``server`` that waits by a fake clock and always as long as it may."""
    options: dict[str, Any] = {
        "device_id": "laptop-1",
        "codec": MSGPACK,
        "random": Highest(),
        "clock": FakeClock(),
        "websocket_options": {"proxy": None},
    }
    return Client(server.url, "alice", **({"user_sig": "sig"} | options | changes))


@asynccontextmanager
async def connected(
    server: FakeServer, *, limits: dict[str, int] | None = None, **changes: object
) -> AsyncIterator[tuple[Client, Peer]]:
    """A started client and the server's side of its first connection."""
    client = client_of(server, **changes)
    starting = asyncio.create_task(client.start())
    peer = await server.accept()
    await peer.welcome(limits=limits)
    await starting
    try:
        yield client, peer
    finally:
        await client.close()


def event(number: int) -> Frame:
    """A tip with this place in the group's log."""
    return {
        "kind": "tip",
        "event": "member_joined",
        "op": 1,
        "group_id": "g-1",
        "seq": number,
        "time_ms": 1_700_000_000_000,
        "data": {"user_ids": ["bob"], "member_count": 2, "version": number},
    }


async def until(is_so: Callable[[], bool]) -> None:
    """Let everything else run until ``is_so``."""
    while not is_so():  # noqa: ASYNC110 - what it waits for has no event to wait on
        await asyncio.sleep(0)


def stands_at(client: Client, cursor: str | None) -> bool:
    """Whether the application of ``client`` has got as far as ``cursor``."""
    return client.cursor == cursor


async def take(client: Client, count: int) -> list[int | str]:
    """The next items in short: an event's seq, a connection's resume, or "lost"."""
    stream = client.events()
    return [short(await anext(stream)) for _ in range(count)]


def short(item: Item) -> int | str:
    """An item in one word."""
    match item:
        case Event(seq=seq):
            return item.event if seq is None else seq
        case Connected(resume=resume):
            return resume.value
        case Disconnected():
            return "lost"
