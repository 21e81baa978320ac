"""A raw WebSocket client that costs little: no task, no queue and no object per message.

The reading side is RFC 6455 as far as a server of ours uses it (whole messages, unmasked); a
message that is anything else ends the connection with a reason. Not for servers that one does
not trust.
"""

import asyncio
import base64
import functools
import hashlib
import os
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Final, cast
from urllib.parse import urlsplit

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, _CLOSE, _PING, _PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
_HEAD_END: Final = b"\r\n\r\n"
_MOST_HEAD: Final = 16_384
_SMALL, _MEDIUM = 126, 65_536
_NARROW_BUFFER: Final = 4_096
_NARROW_SEGMENT: Final = 1_400
_ARRIVALS: Final = memoryview(bytearray(65_536))
_PORTS: Final = {False: 80, True: 443}
"""The usual ones, without TLS and with it."""


class Link(asyncio.BufferedProtocol):
    """One connection; made by ``open_link``.

    Args:
        request: the bytes of the HTTP upgrade request.
        accept: what the server must answer in Sec-WebSocket-Accept.
        on_message: called with the payload of each message, in order.
        on_lost: called once with the close code (None without one) and the reason.

    Attributes:
        heard_s: the loop's time when the bytes that are being read now arrived.
    """

    def __init__(
        self,
        request: bytes,
        accept: bytes,
        on_message: Callable[[bytes], None],
        on_lost: Callable[[int | None, str], None],
    ) -> None:
        self._request = request
        self._accept = accept
        self._on_message = on_message
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._code: int | None = None
        self._reason = "the connection broke"
        self._is_open = False
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self.heard_s = 0.0

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to put what arrives: the same place for all, since it is taken from there at once.

        With ``data_received`` each reading would allocate 256 KiB, which costs more than the rest.
        """
        return _ARRIVALS

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on every whole message."""
        self.heard_s = self._loop.time()
        data = bytes(_ARRIVALS[:nbytes])
        if self._buffer:
            data = self._buffer + data
        self._buffer = data[self._take(data) :] if self._is_open else self._take_head(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell why."""
        if not self.opened.done():
            self.opened.set_exception(ConnectionError(self._reason))
        elif self._is_open:
            self._is_open = False
            self._on_lost(self._code, self._reason)

    # What the user calls.

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._is_open

    def send(self, payload: bytes, *, is_binary: bool) -> None:
        """Send one message."""
        if self._is_open:
            self._transport.write(client_frame(BINARY if is_binary else TEXT, payload))

    def pause(self) -> None:
        """Read nothing more until ``resume``."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def mute(self) -> None:
        """Call back no more; for one who is about to end it and wants to hear nothing of it."""
        self._on_message = _ignore_message
        self._on_lost = _ignore_loss

    def close(self) -> None:
        """Close politely; ``on_lost`` comes when the connection is gone."""
        if self._is_open:
            self._transport.write(client_frame(_CLOSE, struct.pack("!H", 1000)))
            self._transport.close()

    def abort(self) -> None:
        """Break the connection; what was not sent yet is lost."""
        self._transport.abort()

    # Reading.

    def _take_head(self, data: bytes) -> bytes:
        head, end, rest = data.partition(_HEAD_END)
        if not end:
            if len(data) > _MOST_HEAD:
                self._fail("the answer to the upgrade is too long")
            return data
        lines = head.split(b"\r\n")
        fields = (line.partition(b":") for line in lines[1:])
        headers = {name.lower(): value.strip() for name, _, value in fields}
        is_upgrade = lines[0].startswith(b"HTTP/1.1 101")
        if not is_upgrade or headers.get(b"sec-websocket-accept") != self._accept:
            self._fail(f"no upgrade: {lines[0][:80].decode('latin-1')}")
            return b""
        self._is_open = True
        if not self.opened.done():
            self.opened.set_result(None)
        return rest[self._take(rest) :]

    def _take(self, data: bytes) -> int:
        """Handle the whole frames in ``data``; returns how many bytes they were."""
        start, size = 0, len(data)
        while size - start >= 2:
            first, length = data[start], data[start + 1]
            body = start + 2
            if length >= _SMALL:
                body += 2 if length == _SMALL else 8
                if body > size:
                    break
                length = int.from_bytes(data[start + 2 : body], "big")
            end = body + length
            if end > size:
                break
            if first in (BINARY, TEXT):
                self._on_message(data[body:end])
            else:
                self._control(first, data[body:end])
            start = end
        return start

    def _control(self, first: int, payload: bytes) -> None:
        if first == _PING:
            self._transport.write(client_frame(_PONG, payload))
        elif first == _CLOSE:
            self._code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else None
            self._reason = payload[2:].decode("utf-8", "replace") or "closed"
            self._transport.write(client_frame(_CLOSE, payload[:2]))
            self._transport.close()
        elif first != _PONG:
            self._fail(f"a frame that begins with 0x{first:02x}")

    def _fail(self, reason: str) -> None:
        self._reason = reason
        self._transport.abort()


def _ignore_message(_payload: bytes) -> None:
    """Nobody listens."""


def _ignore_loss(_code: int | None, _reason: str) -> None:
    """Nobody cares."""


async def open_link(
    url: str,
    subprotocol: str,
    on_message: Callable[[bytes], None],
    on_lost: Callable[[int | None, str], None],
    *,
    is_narrow: bool = False,
    timeout_s: float = 10.0,
) -> Link:
    """A connection that has been upgraded.

    Args:
        url: ``ws://`` or ``wss://``; the certificate has to be one that the system trusts
            (SSL_CERT_FILE names others).
        is_narrow: small buffers and segments on both sides of the connection, so that the server
            notices soon when nobody reads; on loopback the kernel takes megabytes otherwise.

    Raises:
        OSError: it cannot be had.
        TimeoutError: it took too long.
    """
    parts = urlsplit(url)
    request, accept = upgrade_request(url, subprotocol)
    loop = asyncio.get_running_loop()
    is_tls = parts.scheme == "wss"
    async with asyncio.timeout(timeout_s):
        raw = await _connected(parts.hostname or "", parts.port or _PORTS[is_tls], is_narrow)
        transport, link = await loop.create_connection(
            lambda: Link(request, accept, on_message, on_lost),
            sock=raw,
            ssl=_trusting_the_system() if is_tls else None,
            server_hostname=parts.hostname if is_tls else None,
        )
    try:
        async with asyncio.timeout(timeout_s):
            await link.opened
    except BaseException:
        transport.abort()
        raise
    return link


async def _connected(host: str, port: int, is_narrow: bool) -> socket.socket:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET
    address: tuple[object, ...] = (host, port)
    if not _is_ipv4(host):
        family, _, _, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))[0]
    raw = socket.socket(family, socket.SOCK_STREAM)
    try:
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if is_narrow:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _NARROW_BUFFER)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _NARROW_SEGMENT)
        await loop.sock_connect(raw, address)
    except BaseException:
        raw.close()
        raise
    return raw


def _is_ipv4(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET, host)
    except OSError:
        return False
    return True


@functools.cache
def _trusting_the_system() -> ssl.SSLContext:
    return ssl.create_default_context()


def upgrade_request(url: str, subprotocol: str) -> tuple[bytes, bytes]:
    """The bytes that ask for the upgrade, and the Sec-WebSocket-Accept that answers them."""
    parts = urlsplit(url)
    key = base64.b64encode(os.urandom(16))
    # The digest is RFC 6455's handshake, no security.
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    request = (
        f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key.decode()}\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    )
    return request.encode(), accept


def client_frame(first: int, payload: bytes) -> bytes:
    """One masked frame; ``first`` is its first byte (0x81 text, 0x82 binary)."""
    length = len(payload)
    if length < _SMALL:
        head = bytes((first, 0x80 | length))
    elif length < _MEDIUM:
        head = struct.pack("!BBH", first, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, length)
    mask = os.urandom(4)
    # One exclusive or over the whole payload as a number: the fastest that plain Python has.
    pad = (mask * (length // 4 + 1))[:length]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")
    return head + mask + masked.to_bytes(length, "big")
