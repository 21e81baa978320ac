"""A peer that speaks WebSocket by hand, byte by byte, so that it can also speak it wrongly."""

import asyncio
import base64
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from tests.kit.server_process import ServerProcess
from tests.kit.system_device import JSON, PATIENCE_S, Frame, Wire

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

_READ_BYTES: Final = 65536


@dataclass(frozen=True)
class WebSocketFrame:
    """A frame as it came."""

    opcode: int
    payload: bytes

    @property
    def close_code(self) -> int:
        """The code of a close frame; 1005 for one that has none."""
        assert self.opcode == CLOSE
        return int(struct.unpack("!H", self.payload[:2])[0]) if self.payload else 1005


def frame_bytes(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    length: int | None = None,
) -> bytes:
    """A client's frame (RFC 6455 section 5.2); ``length`` is what it claims to hold."""
    size = len(payload) if length is None else length
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    mask_bit = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", first, mask_bit | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, mask_bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, mask_bit | 127, size)
    if not masked:
        return head + payload
    key = os.urandom(4)
    stream = key * (len(payload) // 4 + 1)
    hidden = bytes(a ^ b for a, b in zip(payload, stream, strict=False))
    return head + key + hidden


def message_bytes(wire: Wire, value: object) -> bytes:
    """A message, ready to write."""
    return frame_bytes(BINARY if wire.is_binary else TEXT, wire.pack(value))


def take_frame(data: bytearray) -> WebSocketFrame | None:
    """The server's frame that ``data`` begins with, taken off; None until all of it is there."""
    if len(data) < 2:
        return None
    assert data[0] & 0xF0 == 0x80, "a whole frame without extensions"
    assert data[1] & 0x80 == 0, "a server does not mask"
    start, size = 2, data[1]
    if size == 126:
        start, size = 4, int.from_bytes(data[2:4])
    elif size == 127:
        start, size = 10, int.from_bytes(data[2:10])
    if len(data) < start or len(data) < start + size:
        return None
    frame = WebSocketFrame(data[0] & 0x0F, bytes(data[start : start + size]))
    del data[: start + size]
    return frame


class Peer:
    """A TCP connection to the server that reads only when it is told to.

    Use it as a context manager.
    """

    def __init__(self, wire: Wire = JSON) -> None:
        self.wire = wire
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self._buffer = bytearray()
        self._has_ended = False
        self.response_head = ""

    def stay_small(self) -> None:
        """Take little into the kernel's buffers, on both sides; before ``connect``."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)

    async def connect(self, server: ServerProcess) -> Self:
        """Connect; say nothing yet."""
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.get_running_loop().sock_connect(self.socket, server.address())
        return self

    async def handshake(
        self,
        path: str = "/ws",
        *,
        method: str = "GET",
        subprotocol: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> int:
        """Ask for a WebSocket; returns the HTTP status. A header that is "" is left out."""
        fields = {
            "Host": "127.0.0.1",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": (
                self.wire.subprotocol if subprotocol is None else subprotocol
            ),
        } | dict(headers or {})
        lines = [f"{method} {path} HTTP/1.1", *(f"{n}: {v}" for n, v in fields.items() if v)]
        await self.write("\r\n".join([*lines, "", ""]).encode() + body)
        return await self.status()

    async def status(self) -> int:
        """The status of the HTTP response; 0 when the connection ended without one."""
        while b"\r\n\r\n" not in self._buffer:
            if not await self._fill():
                return 0
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 "), f"the response comes first: {head[:200]!r}"
        self._buffer = bytearray(rest)
        self.response_head = head.decode("latin-1")
        return int(head.split()[1])

    async def hello(self, server: ServerProcess, user_id: str, **fields: object) -> Frame:
        """Shake hands, say hello, return the welcome."""
        assert await self.handshake() == 101
        hello = {"type": "hello", "user_id": user_id, "user_sig": server.token(user_id)}
        await self.send(hello | {"device_id": "peer-1", "platform": "test"} | fields)
        return await self.message()

    async def write(self, data: bytes) -> None:
        """Send bytes."""
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def write_whatever_happens(self, data: bytes) -> None:
        """Send bytes to a server that may have closed meanwhile."""
        try:
            await self.write(data)
        except ConnectionError:
            return  # what it has said before can still be read

    def message_bytes(self, value: object) -> bytes:
        """A message, ready to write."""
        return message_bytes(self.wire, value)

    async def send(self, value: object) -> None:
        """Send one message."""
        await self.write(self.message_bytes(value))

    async def frame(self) -> WebSocketFrame | None:
        """The next frame, or None at the end of the connection."""
        while (frame := take_frame(self._buffer)) is None:
            if not await self._fill():
                return None
        return frame

    async def message(self) -> Frame:
        """The next message; there must be one. Pings and pongs are passed over."""
        while frame := await self.frame():
            if frame.opcode in (TEXT, BINARY):
                assert (frame.opcode == BINARY) is self.wire.is_binary
                message: Frame = self.wire.unpack(frame.payload)
                return message
            assert frame.opcode in (PING, PONG), frame
        raise AssertionError("the connection ended")

    async def rest(self, *, answers_close: bool = True) -> list[WebSocketFrame]:
        """All frames until the end of the connection; a close frame is answered with the same."""
        frames = []
        while frame := await self.frame():
            frames.append(frame)
            if frame.opcode == CLOSE and answers_close:
                await self.write_whatever_happens(frame_bytes(CLOSE, frame.payload[:2]))
        return frames

    async def raw_rest(self) -> bytes:
        """All bytes until the end of the connection."""
        while await self._fill():
            pass
        return bytes(self._buffer)

    async def goodbye(self) -> tuple[int, Frame]:
        """The close code and the bye of a connection that ends now; nothing may follow them."""
        frames = await self.rest()
        closes = [place for place, frame in enumerate(frames) if frame.opcode == CLOSE]
        assert closes == [len(frames) - 1], f"a close frame, and it is the last: {frames[-5:]}"
        messages = [self.wire.unpack(f.payload) for f in frames if f.opcode in (TEXT, BINARY)]
        assert messages, "no bye"
        assert messages[-1]["type"] == "bye", messages[-1]
        return frames[-1].close_code, messages[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    async def _fill(self) -> bool:
        """Read some bytes; False at the end."""
        if self._has_ended:
            return False
        try:
            async with asyncio.timeout(PATIENCE_S):
                data = await asyncio.get_running_loop().sock_recv(self.socket, _READ_BYTES)
        except ConnectionError:
            data = b""
        self._buffer += data
        self._has_ended = not data
        return bool(data)
