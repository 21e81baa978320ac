"""A peer of a real connection without a socket: bytes in, in any pieces, and bytes out.

The node with its listener, and every connection, are the real ones. Imitated is asyncio's
transport, by ``MemoryTransport``; its peer takes everything at once.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from protocol import usersig
from protocol.codec import JSON, Codec
from server.node import SHARD, Node
from server.service.credentials import Credentials
from server.storage.memory import MemoryStore
from server.transport.admission import Authenticator
from server.transport.connection import Connection
from tests.kit.devices import rulebook_with
from tests.kit.fakes import NOON_MS, FakeClock, FakeTokens, until
from tests.kit.system_peer import (
    BINARY,
    CLOSE,
    TEXT,
    WebSocketFrame,
    frame_bytes,
    take_frame,
)

SECRET_KEY: Final = "a key for tests"
SDKAPPID: Final = 1400000000
ADMIN: Final = "administrator"
ADDRESS: Final = ("192.0.2.1", 12345)


class MemoryTransport(asyncio.Transport):
    """What a connection writes to.

    Attributes:
        written: all bytes so far that nobody has taken out.
        has_ended: no more will be written.
        is_aborted: the connection was cut.
    """

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__({"peername": ADDRESS})
        self.written = bytearray()
        self.has_ended = False
        self.is_aborted = False
        self.is_reading_paused = False
        self._protocol = protocol
        self._is_closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.has_ended, "nothing is written after the end"
        if not self._is_closing:
            self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_ended = True

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._end(None)

    def abort(self) -> None:
        self.is_aborted = True
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        if not self._is_closing:
            self._is_closing = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, error)

    def pause_reading(self) -> None:
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        self.is_reading_paused = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """All that is written is taken at once."""

    def get_write_buffer_size(self) -> int:
        return 0


def hello_of(user_id: str, **fields: object) -> dict[str, object]:
    """A hello that is accepted."""
    token = usersig.sign(
        user_id,
        sdkappid=SDKAPPID,
        secret_key=SECRET_KEY,
        now_s=NOON_MS // 1000,
        expire_s=86_400,
    )
    return {"type": "hello", "user_id": user_id, "user_sig": token, "device_id": "d-1"} | fields


def handshake_bytes(codec: Codec | None = JSON, path: str = "/ws") -> bytes:
    """The HTTP request of a client (RFC 6455 section 4.1); None for no subprotocol."""
    key = base64.b64encode(bytes(16)).decode()
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
    ]
    if codec is not None:
        lines.append(f"Sec-WebSocket-Protocol: {codec.subprotocol}")
    return "\r\n".join([*lines, "", ""]).encode()


class BytePeer:
    """The other end of a real connection.

    Attributes:
        codec: what the handshake asks for, and how messages are written and read.
        unsent: what waits while the server does not read.
    """

    def __init__(self, node: Node, codec: Codec = JSON) -> None:
        self.codec = codec
        self.connection = Connection(node.listener)
        self.transport = MemoryTransport(self.connection)
        self.connection.connection_made(self.transport)
        self.unsent: list[bytes] = []

    @property
    def is_gone(self) -> bool:
        """Whether the server has ended the connection."""
        return self.transport.has_ended or self.transport.is_closing()

    def send(self, data: bytes) -> None:
        """Bytes that the server reads in one piece, now or once it reads again."""
        self.unsent.append(data)
        while self.unsent and not self.transport.is_reading_paused:
            if self.transport.is_closing():
                self.unsent.clear()
                return
            self.connection.data_received(self.unsent.pop(0))

    def send_cut(self, data: bytes, sizes: Sequence[int]) -> None:
        """Bytes in pieces of these sizes, over and over."""
        start = turn = 0
        while start < len(data):
            self.send(data[start : start + sizes[turn % len(sizes)]])
            start += sizes[turn % len(sizes)]
            turn += 1

    def message_bytes(self, value: object) -> bytes:
        """A message in one frame."""
        return frame_bytes(BINARY if self.codec.is_binary else TEXT, self.codec.encode(value))

    def end(self) -> None:
        """The peer sends no more and then is gone."""
        if not self.transport.is_closing():
            self.connection.eof_received()
            self.transport.close()

    def take_head(self) -> str:
        """The HTTP response, taken out of what was written; "" while it is not there."""
        head, separator, rest = bytes(self.transport.written).partition(b"\r\n\r\n")
        if not separator:
            return ""
        self.transport.written = bytearray(rest)
        return head.decode("latin-1")

    def take_frames(self) -> list[WebSocketFrame]:
        """All frames that are there whole, taken out."""
        frames = []
        while (frame := take_frame(self.transport.written)) is not None:
            frames.append(frame)
        return frames

    def take_messages(self) -> list[dict[str, Any]]:
        """The messages among the frames that are there; close and control frames are dropped."""
        return [self._read(frame) for frame in self.take_frames() if frame.opcode in (TEXT, BINARY)]

    def take_end(self) -> tuple[list[dict[str, Any]], int | None]:
        """The messages that are there, and the code of the close frame behind them."""
        frames = self.take_frames()
        code = None
        if frames and frames[-1].opcode == CLOSE:
            code = frames.pop().close_code
        return [self._read(f) for f in frames if f.opcode in (TEXT, BINARY)], code

    def _read(self, frame: WebSocketFrame) -> dict[str, Any]:
        assert (frame.opcode == BINARY) == self.codec.is_binary
        message = self.codec.decode(frame.payload)
        assert isinstance(message, dict)
        return message

    async def welcomed(self, user_id: str, **fields: object) -> dict[str, Any]:
        """Shake hands and say hello; returns the welcome."""
        self.send(handshake_bytes(self.codec))
        assert self.take_head().startswith("HTTP/1.1 101 ")
        self.send(self.message_bytes(hello_of(user_id, **fields)))
        await until(lambda: self.transport.written or self.is_gone)
        (welcome,) = self.take_messages()
        assert welcome["type"] == "welcome", welcome
        return welcome


@asynccontextmanager
async def node_of(
    limits: Mapping[str, int] | None = None, *, is_behind_proxy: bool = False
) -> AsyncIterator[Node]:
    """A running node on an empty store; nobody listens on a port."""
    store = MemoryStore()
    clock = FakeClock()
    node = Node(
        store=store,
        heads=await store.heads(SHARD),
        rulebook=rulebook_with(limits),
        authenticator=Authenticator(
            Credentials(
                sdkappid=SDKAPPID,
                secret_keys=[SECRET_KEY],
                now_s=lambda: clock.now_ms() // 1000,
                revoked=await store.revocations(),
            ),
            [ADMIN],
        ),
        clock=clock,
        tokens=FakeTokens(),
        is_behind_proxy=is_behind_proxy,
    )
    node.start()
    try:
        yield node
    finally:
        await node.stop()
        await store.close()
