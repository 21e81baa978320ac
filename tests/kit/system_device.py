"""A device of the tests: raw frames over the ``websockets`` package, no code of the product.

Frames are maps as the wire has them, encoded by the public ``json`` and ``msgpack`` packages.
"""

import asyncio
import itertools
import json
import secrets
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgpack
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.kit.server_process import ServerProcess

Frame = dict[str, Any]
T = TypeVar("T")

PATIENCE_S: Final = 10.0


@dataclass(frozen=True)
class Wire:
    """One of the two encodings."""

    name: str
    is_binary: bool
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]

    @property
    def subprotocol(self) -> str:
        return f"muster.v1.{self.name}"


JSON: Final = Wire("json", False, lambda value: json.dumps(value).encode(), json.loads)
MSGPACK: Final = Wire("msgpack", True, lambda v: bytes(msgpack.packb(v)), msgpack.unpackb)
WIRES: Final = (JSON, MSGPACK)


@dataclass(frozen=True)
class Closing:
    """How a connection ended: the close frame's code (None: there was none), and the bye."""

    code: int | None
    bye: Frame | None


class Device:
    """A connection, said hello or not; everything that comes in is kept in order.

    Attributes:
        frames: all that was received.
        events: the events in it, one by one.
        cursor: the newest cursor that was received.
    """

    def __init__(self, connection: ClientConnection, wire: Wire) -> None:
        self.connection = connection
        self.wire = wire
        self.frames: list[Frame] = []
        self.events: list[Frame] = []
        self.cursor: str | None = None
        self.user_id = ""
        self._replies: dict[str, Frame] = {}
        self._closing: Closing | None = None
        self._news = asyncio.Event()
        self._ids = itertools.count(1)
        self._name = secrets.token_hex(4)
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(
        cls,
        url: str,
        wire: Wire = JSON,
        *,
        subprotocols: Sequence[str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> "Device":
        """Connect; say nothing yet."""
        named = (wire.subprotocol,) if subprotocols is None else subprotocols
        connection = await connect(
            url,
            subprotocols=[Subprotocol(name) for name in named] or None,
            compression=None,
            proxy=None,
            ping_interval=None,
            max_size=None,
            max_queue=None,
            open_timeout=PATIENCE_S,
            close_timeout=PATIENCE_S,
            ssl=tls,
        )
        return cls(connection, wire)

    async def hello(self, user_id: str, user_sig: str, **fields: object) -> Frame:
        """Say hello and return the welcome."""
        await self.say_hello(user_id, user_sig, **fields)
        return await self.frame("welcome")

    async def say_hello(self, user_id: str, user_sig: str, **fields: object) -> None:
        """Send a hello; a field that is None is left out."""
        self.user_id = user_id
        hello: Frame = {"type": "hello", "user_id": user_id, "user_sig": user_sig}
        hello |= {"device_id": "device-1", "platform": "test"} | fields
        await self.send({name: value for name, value in hello.items() if value is not None})

    # Out.

    async def send(self, value: object) -> None:
        """Send one message."""
        await self.send_bytes(self.wire.pack(value))

    async def send_unless_closed(self, value: object) -> None:
        """Send one message to a server that may close, or have closed, meanwhile."""
        try:
            await self.send(value)
        except ConnectionClosed:
            return

    async def send_bytes(self, data: bytes, *, is_binary: bool | None = None) -> None:
        """Send one message with this content, in the codec's kind of frame unless told."""
        binary = self.wire.is_binary if is_binary is None else is_binary
        await self.connection.send(data, text=not binary)

    def next_id(self) -> str:
        """A request id that no device has used yet, neither one that is gone."""
        return f"{self.user_id}-{self._name}-{next(self._ids)}"

    async def ask(self, method: str, *, request_id: str | None = None, **params: object) -> str:
        """Send a request; returns its id."""
        sent_id = self.next_id() if request_id is None else request_id
        await self.send({"type": "request", "id": sent_id, "method": method, "params": params})
        return sent_id

    async def request(
        self, method: str, *, request_id: str | None = None, **params: object
    ) -> Frame:
        """Send a request and return its reply."""
        return await self.reply(await self.ask(method, request_id=request_id, **params))

    async def call(self, method: str, *, request_id: str | None = None, **params: object) -> Frame:
        """The result of a request that is expected to succeed."""
        reply = await self.request(method, request_id=request_id, **params)
        assert "error" not in reply, reply
        result: Frame = reply["result"]
        return result

    async def refusal(
        self, method: str, *, request_id: str | None = None, **params: object
    ) -> Frame:
        """The error of a request that is expected to be refused."""
        reply = await self.request(method, request_id=request_id, **params)
        assert "error" in reply, reply
        error: Frame = reply["error"]
        return error

    # In.

    async def until(self, found: Callable[[], T | None], what: str) -> T:
        """What ``found`` gives once it is not None; asked again with every frame."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (result := found()) is None:
                    assert not self._reader.done(), f"the end came before {what}: {self}"
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"no {what} came: {self}") from None
        return result

    async def reply(self, request_id: str) -> Frame:
        """The reply to the request of this id, taken: the next one of the same id is another."""
        await self.until(lambda: self._replies.get(request_id), f"reply to {request_id}")
        return self._replies.pop(request_id)

    def replies(self) -> list[Frame]:
        """The replies that have come and that nobody has taken, taken."""
        taken = list(self._replies.values())
        self._replies.clear()
        return taken

    async def news(self) -> None:
        """Return when something has come since this was asked, or the connection has ended."""
        seen = len(self.frames)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while len(self.frames) == seen and not self._reader.done():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"nothing came: {self}") from None

    async def frame(self, kind: str, count: int = 1) -> Frame:
        """The ``count``-th frame of this type, counted from 1."""

        def found() -> Frame | None:
            frames = [frame for frame in self.frames if frame["type"] == kind]
            return frames[count - 1] if len(frames) >= count else None

        return await self.until(found, f"{kind} number {count}")

    async def event(self, name: str, **fields: object) -> Frame:
        """The first event of this name whose fields are so."""

        def found() -> Frame | None:
            for event in self.events:
                if event["event"] == name and all(event.get(f) == v for f, v in fields.items()):
                    return event
            return None

        return await self.until(found, f"event {name} {fields}")

    async def settle(self) -> None:
        """Return once a live connection has received all that was committed before this call."""
        await self.call("list_devices")

    async def closing(self) -> Closing:
        """How the connection ends, once it has."""
        try:
            async with asyncio.timeout(2 * PATIENCE_S):
                await asyncio.shield(self._reader)
        except TimeoutError:
            raise AssertionError(f"the connection was not closed: {self}") from None
        assert self._closing is not None
        return self._closing

    @property
    def is_closed(self) -> bool:
        return self._closing is not None

    async def close(self) -> None:
        """Close it normally, if it is open, and let go of everything."""
        await self.connection.close()
        await self._reader

    def drop(self) -> None:
        """Break the connection without a word."""
        self.connection.transport.abort()

    async def _read(self) -> None:
        try:
            while True:
                data = await self.connection.recv(decode=None)
                assert isinstance(data, bytes) is self.wire.is_binary, "the wrong kind of frame"
                self._take(self.wire.unpack(data if isinstance(data, bytes) else data.encode()))
        except ConnectionClosed as closed:
            byes = [frame for frame in self.frames if frame["type"] == "bye"]
            code = None if closed.rcvd is None else closed.rcvd.code
            self._closing = Closing(code, byes[-1] if byes else None)
        finally:
            self._news.set()

    def _take(self, frame: Frame) -> None:
        self.frames.append(frame)
        self.cursor = frame.get("cursor", self.cursor)
        if frame["type"] == "events":
            self.events.extend(frame["events"])
        elif frame["type"] == "reply":
            self._replies[frame["id"]] = frame
        self._news.set()

    def __str__(self) -> str:
        last = [str(frame)[:300] for frame in self.frames[-5:]]
        return f"{self.user_id} {self.wire.name} {self._closing} {len(self.frames)} frames {last}"


async def connect_device(
    server: ServerProcess,
    user_id: str,
    device_id: str = "device-1",
    *,
    wire: Wire = JSON,
    cursor: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> Device:
    """A device of ``user_id`` that has been welcomed."""
    device = await Device.open(server.ws, wire, tls=tls)
    await device.hello(user_id, server.token(user_id), device_id=device_id, cursor=cursor)
    return device


def text(words: str) -> list[Frame]:
    """The body of a text message."""
    return [{"type": "text", "content": {"text": words}}]


def short(event: Frame) -> tuple[str, str, int | None]:
    """An event in short: its name, its group, its number."""
    return event["event"], event["group_id"], event.get("seq", event.get("inbox_seq"))
