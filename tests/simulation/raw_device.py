"""A device that speaks WebSocket by hand: it comes and goes quickly, and asks the same twice at once.

The SDK would do neither. It is cheap, so that there can be many comings and goings while others
write.
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Final, cast

from protocol.client import Connected
from protocol.codec import Codec
from protocol.errors import CloseCode
from protocol.frames import Bye, Events, Hello, Pong, Reply, Request, ServerFrame, Welcome
from tests.simulation.network import Link, MemoryTransport
from tests.simulation.records import ConnectionRecord, RunRecord, in_short
from tests.simulation.trace import Trace
from tests.simulation.virtual_loop import VirtualLoop

_CONNECT_S: Final = 3.0
_SILENCE_S: Final = 60.0
_PONG: Final = b"\x8a\x80\0\0\0\0"
_PING: Final = 0x89
_CLOSE: Final = 0x88


def _upgrade(codec: Codec) -> bytes:
    lines = (
        "GET /ws HTTP/1.1",
        "Host: sim",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Protocol: {codec.subprotocol}",
    )
    return "\r\n".join((*lines, "", "")).encode()


def _frame(codec: Codec, message: object) -> bytes:
    """A client's frame; masked with zeros, which changes nothing (RFC 6455 section 5.3)."""
    payload = codec.encode(message)
    first = 0x82 if codec.is_binary else 0x81
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    else:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    return head + b"\0\0\0\0" + payload


class RawDevice:
    """A device of a user that only reads as a rule, and flaps.

    Attributes:
        is_replaced: the last connection was let go of for another device; it stays away at the end.
        connections: what each connection was told.
        run: all of them as one application that never forgets its cursor.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        trace: Trace,
        user_id: str,
        device_id: str,
        *,
        user_sig: str,
        codec: Codec,
        on_welcome: Callable[[ConnectionRecord], None],
    ) -> None:
        self.user_id = user_id
        self.label = f"{user_id}/{device_id}"
        self.connections: list[ConnectionRecord] = []
        self.run = RunRecord(user_id, self.label, None)
        self.cursor: str | None = None
        self.unanswered: dict[str, Request] = {}
        self._loop = loop
        self._trace = trace
        self._device_id = device_id
        self._user_sig = user_sig
        self._codec = codec
        self._on_welcome = on_welcome
        self._current: _Connection | None = None
        self._is_wanted = True
        self.is_replaced = False

    @property
    def is_open(self) -> bool:
        """Whether it has been welcomed and is connected."""
        current = self._current
        return current is not None and current.record is not None and not current.is_over

    async def live(self, stay_s: Callable[[], float], away_s: Callable[[], float]) -> None:
        """Connect, stay for a while, go without a word, come back; until ``settle``."""
        while self._is_wanted:
            if await self._connect():
                assert self._current is not None
                await self._current.ended_within(stay_s())
                if self._is_wanted:
                    self.drop()
            await asyncio.sleep(away_s())

    def now_s(self) -> float:
        """The time of the loop."""
        return self._loop.time()

    def settle(self) -> None:
        """From now on stay connected."""
        self._is_wanted = False

    async def stay(self) -> None:
        """Connect again whenever the connection has ended; until cancelled."""
        while not self.is_replaced:
            current = self._current
            if current is None or current.is_over:
                await self._connect()
            else:
                await current.ended_within(_SILENCE_S)
                if self._loop.time() - current.heard_s > _SILENCE_S:
                    self.drop()
            await asyncio.sleep(0.5)

    def ask(self, request: Request, copies: int = 1) -> None:
        """Send a request; it is sent again on every connection until it is answered."""
        self.unanswered[request.id] = request
        if self.is_open:
            assert self._current is not None
            for _ in range(copies):
                self._current.send(request)

    def drop(self) -> None:
        """End the connection at once."""
        if self._current is not None:
            self._current.transport.abort()
            self._current = None

    async def _connect(self) -> bool:
        connection = _Connection(self, self._codec)
        try:
            async with asyncio.timeout(_CONNECT_S):
                await self._loop.create_connection(lambda: connection, "sim", 7700)
        except OSError:
            return False
        self._current = connection
        hello = Hello(
            user_id=self.user_id,
            user_sig=self._user_sig,
            device_id=self._device_id,
            platform="raw",
            cursor=self.cursor,
        )
        connection.hello = hello
        # Nothing says that one has to wait for the answer to the handshake.
        connection.transport.write(_upgrade(self._codec) + _frame(self._codec, hello))
        return True

    def take(self, connection: "_Connection", frame: ServerFrame) -> None:
        """A frame has come."""
        link = connection.transport.link
        if connection is not self._current:
            return
        self._trace.quiet("reads", self.label, link.number, *in_short(frame, self.user_id))
        record = connection.record
        if record is None:
            if isinstance(frame, Welcome):
                self._welcomed(connection, link, frame)
            return
        record.read(frame, self._loop.time(), was_live=link.server.pauses == 0)
        match frame:
            case Events():
                self.cursor = frame.cursor
                for event in frame.events:
                    self.run.take(event, None, self.connections)
                self.run.note(frame.cursor)
            case Reply():
                self.cursor = frame.cursor
                if frame.error is None or not frame.error.retryable:
                    self.unanswered.pop(frame.id, None)
                else:
                    self._loop.call_later(0.5, self._ask_again, frame.id)
            case Pong():
                self.cursor = frame.cursor
            case Bye():
                self.is_replaced = frame.code == CloseCode.REPLACED and not self._is_wanted
            case Welcome():
                pass

    def _ask_again(self, request_id: str) -> None:
        request = self.unanswered.get(request_id)
        if request is not None and self.is_open:
            self.ask(request)

    def _welcomed(self, connection: "_Connection", link: Link, frame: Welcome) -> None:
        label = f"{self.label} on connection {link.number}"
        record = ConnectionRecord(self.user_id, label, link.server_term, connection.hello, frame)
        connection.record = record
        self.connections.append(record)
        self._on_welcome(record)
        self.cursor = frame.cursor
        connected = Connected(resume=frame.resume, reason=frame.reason, session_id=frame.session_id)
        self.run.take(connected, frame.cursor, self.connections)
        for request in self.unanswered.values():
            connection.send(request)


class _Connection(asyncio.Protocol):
    """The protocol's side of one connection."""

    def __init__(self, device: RawDevice, codec: Codec) -> None:
        self.record: ConnectionRecord | None = None
        self.hello: Hello
        self.transport: MemoryTransport
        self.is_over = False
        self._device = device
        self._codec = codec
        self._data = bytearray()
        self._is_upgraded = False
        self.heard_s = device.now_s()
        self._has_ended = asyncio.Event()

    async def ended_within(self, seconds: float) -> None:
        """Return when the connection has ended, or so much later."""
        try:
            async with asyncio.timeout(seconds):
                await self._has_ended.wait()
        except TimeoutError:
            return

    def send(self, message: object) -> None:
        """Send a message, if that is still possible."""
        if not self.is_over and not self.transport.is_closing():
            self.transport.write(_frame(self._codec, message))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(MemoryTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.is_over = True
        self._has_ended.set()

    def data_received(self, data: bytes) -> None:
        self._data += data
        self.heard_s = self._device.now_s()
        if not self._is_upgraded:
            head, separator, rest = bytes(self._data).partition(b"\r\n\r\n")
            if not separator:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.transport.close()
                return
            self._is_upgraded = True
            self._data = bytearray(rest)
        while not self.is_over and (found := self._next()) is not None:
            first, payload = found
            if first == _PING:
                self.transport.write(_PONG)
            elif first == _CLOSE:
                self.transport.close()
                return
            elif first in (0x81, 0x82):
                self._device.take(self, self._codec.decode_server(payload))

    def _next(self) -> tuple[int, bytes] | None:
        """Cut a whole frame off the front (RFC 6455 section 5.2)."""
        data = self._data
        if len(data) < 2:
            return None
        size, start = data[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(data) < start:
                return None
            size = int.from_bytes(data[2:start])
        if len(data) < start + size:
            return None
        payload = bytes(data[start : start + size])
        first = data[0]
        del data[: start + size]
        return first, payload
