"""The raw client reads frames however they are cut, and its own frames are what the RFC says."""

import asyncio
import base64
import hashlib
import struct
from collections.abc import Callable
from typing import Any

import pytest

from scripts.common.link import BINARY, Link, client_frame, open_link

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PAYLOADS = [b"", b"a", b"b" * 125, b"c" * 126, b"d" * 65_535, b"e" * 65_536]


class Pipe(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ending = ""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.ending = "closed"

    def abort(self) -> None:
        self.ending = "aborted"


class Listener:
    """A link on a pipe, and what it tells."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.losses: list[tuple[int | None, str]] = []
        self.pipe = Pipe()
        self.link = Link(
            b"GET", b"Accept=", self.messages.append, lambda *loss: self.losses.append(loss)
        )
        self.link.connection_made(self.pipe)

    def hear(self, data: bytes) -> None:
        """Have ``data`` arrive, in as many pieces as the link has room for."""
        while data:
            room = memoryview(self.link.get_buffer(-1))
            piece, data = data[: len(room)], data[len(room) :]
            room[: len(piece)] = piece
            self.link.buffer_updated(len(piece))


def head(accept: bytes = b"Accept=", status: bytes = b"101 Switching Protocols") -> bytes:
    return b"HTTP/1.1 " + status + b"\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"


def frame(payload: bytes, first: int = 0x82) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def unmasked(data: bytes) -> tuple[int, bytes, bytes]:
    """First byte, payload and rest of a frame that a client sent."""
    first, length = data[0], data[1] & 0x7F
    assert data[1] & 0x80, "a client masks"
    start = 2
    if length >= 126:
        start = 4 if length == 126 else 10
        length = int.from_bytes(data[2:start], "big")
    mask, end = data[start : start + 4], start + 4 + length
    payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data[start + 4 : end]))
    return first, payload, data[end:]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000, 10**6])
async def test_frames_are_read_however_they_are_cut(step: int) -> None:
    payloads = PAYLOADS if step > 3 else PAYLOADS[:4]
    data = head() + b"".join(frame(payload) for payload in payloads)
    listener = Listener()
    for start in range(0, len(data), step):
        listener.hear(data[start : start + step])

    assert listener.messages == payloads
    assert listener.link.is_open


@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_is_sent_is_masked_and_whole(payload: bytes) -> None:
    assert unmasked(client_frame(BINARY, payload)) == (BINARY, payload, b"")


async def test_a_ping_is_answered_and_a_pong_is_not() -> None:
    listener = Listener()
    listener.hear(head() + frame(b"hi", 0x89) + frame(b"", 0x8A))

    assert listener.pipe.written.startswith(b"GET")
    assert unmasked(listener.pipe.written[3:]) == (0x8A, b"hi", b"")


async def test_a_close_frame_tells_code_and_reason() -> None:
    listener = Listener()
    listener.hear(head() + frame(struct.pack("!H", 4409) + b"replaced", 0x88))
    listener.link.connection_lost(None)

    assert listener.pipe.ending == "closed"
    assert listener.losses == [(4409, "replaced")]
    assert not listener.link.is_open


async def test_a_break_is_told_once_and_not_to_who_went_away_himself() -> None:
    listener = Listener()
    listener.hear(head())
    listener.link.connection_lost(None)
    listener.link.connection_lost(None)
    assert listener.losses == [(None, "the connection broke")]

    muted = Listener()
    muted.hear(head())
    muted.link.mute()
    muted.hear(frame(b"x"))
    muted.link.connection_lost(None)
    assert (muted.messages, muted.losses) == ([], [])


async def test_a_fragment_ends_the_connection() -> None:
    listener = Listener()
    listener.hear(head() + frame(b"x", 0x02))

    assert listener.pipe.ending == "aborted"


@pytest.mark.parametrize(
    "answer", [head(accept=b"Other="), head(status=b"503 Busy"), b"x" * 20_000]
)
async def test_another_answer_to_the_upgrade_is_refused(answer: bytes) -> None:
    listener = Listener()
    listener.hear(answer)
    listener.link.connection_lost(None)

    with pytest.raises(ConnectionError):
        await listener.link.opened
    assert listener.losses == []


@pytest.mark.parametrize("is_narrow", [False, True])
async def test_it_opens_and_closes_a_real_connection(is_narrow: bool) -> None:
    async with asyncio.timeout(5):
        server = await asyncio.start_server(_serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        lost: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        messages: list[bytes] = []
        link = await open_link(
            f"ws://127.0.0.1:{port}/ws",
            "muster.v1.json",
            messages.append,
            _into(lost),
            is_narrow=is_narrow,
        )
        link.send(b"hello", is_binary=False)
        assert (await lost)[0] == 1000
        assert messages == [b"hello"]
        server.close()
        await server.wait_closed()


def _into(lost: "asyncio.Future[Any]") -> Callable[[int | None, str], None]:
    return lambda code, reason: lost.set_result((code, reason))


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Upgrade, send back the first message, close."""
    request = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in request.splitlines()[1:] if b": " in line)
    digest = hashlib.sha1(fields[b"Sec-WebSocket-Key"] + GUID, usedforsecurity=False).digest()
    writer.write(head(base64.b64encode(digest)))
    _, payload, _ = unmasked(await reader.readexactly(2 + 4 + 5))
    writer.write(frame(payload, 0x81) + frame(struct.pack("!H", 1000), 0x88))
    await reader.read()
    writer.close()
    await writer.wait_closed()
