"""The bytes that connections of a swarm send: the upgrade, the hello, and what they ask."""

import base64
import itertools
import os
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from protocol.codec import MSGPACK
from scripts.benchmarks.swarm import Template
from scripts.common.link import BINARY, TEXT, client_frame, upgrade_request
from scripts.common.target import Target

_NUMBER: Final = "00000000"
_turns = itertools.count()


class Muster(msgspec.Struct, frozen=True):
    """How one talks to a server of ours, in MessagePack."""

    target: Target

    def upgrade(self) -> bytes:
        """The HTTP request."""
        return upgrade_request(self.target.url, MSGPACK.subprotocol)[0]

    def hellos(self, user_ids: Sequence[str]) -> list[bytes]:
        """One device for each of them."""
        return [self.hello(user_id) for user_id in user_ids]

    def hello(self, user_id: str, device_id: str = "bench", cursor: str | None = None) -> bytes:
        """The first frame of a device; with a cursor it resumes."""
        hello = {
            "type": "hello",
            "user_id": user_id,
            "user_sig": self.target.sign(user_id),
            "device_id": device_id,
            "platform": "bench",
        }
        if cursor is not None:
            hello["cursor"] = cursor
        return client_frame(BINARY, MSGPACK.encode(hello))

    def request(self, method: str, params: Mapping[str, Any]) -> Template:
        """A request that has another id each time it is sent."""
        message = {
            "type": "request",
            "id": f"{next(_turns)}-{_NUMBER}",
            "method": method,
            "params": params,
        }
        return _template(BINARY, MSGPACK.encode(message))

    def ping(self) -> Template:
        """The protocol's own ping, always the same."""
        payload = MSGPACK.encode({"type": "ping"})
        frame = bytes((BINARY, 0x80 | len(payload))) + bytes(4) + payload
        return Template(frame, len(frame))

    def message(self, group_id: str, text: str) -> Template:
        """A message to a group."""
        body = [{"type": "text", "content": {"text": text}}]
        return self.request("send_message", {"group_id": group_id, "body": body})


class Plain:
    """How one talks to the small servers beside ours; ``limits/core.py`` says what they know."""

    def upgrade(self, url: str) -> bytes:
        """The HTTP request."""
        parts = urlsplit(url)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        key = base64.b64encode(os.urandom(16)).decode()
        return (
            f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n"
        ).encode()

    def hello(self) -> bytes:
        """The first frame; it is answered with "welcome"."""
        return client_frame(TEXT, b"hello")

    def event(self) -> Template:
        """What makes an event for all."""
        return _template(BINARY, f"all {_NUMBER}".encode())

    def echo(self, size: int) -> Template:
        """What comes back as it is, of so many bytes."""
        return _template(BINARY, f"echo {_NUMBER}".encode().ljust(size, b"x"))


class SocketIO(Plain):
    """The same in socket.io's framing: text, and a connect packet as the first frame."""

    def hello(self) -> bytes:
        """See Plain."""
        return client_frame(TEXT, b"40")

    def event(self) -> Template:
        """See Plain."""
        return _template(TEXT, f'42["all","{_NUMBER}"]'.encode())

    def echo(self, size: int) -> Template:
        """See Plain."""
        filling = "x" * max(0, size - 22)
        return _template(TEXT, f'42["echo","{_NUMBER}{filling}"]'.encode())


def many(template: Template, numbers: Sequence[int]) -> bytes:
    """The template's frame with each of these numbers, one after the other."""
    at = template.digits_at
    head, tail = template.frame[:at], template.frame[at + len(_NUMBER) :]
    return b"".join(head + b"%08d" % number + tail for number in numbers)


def _template(first: int, payload: bytes) -> Template:
    """``payload`` with eight zeros somewhere, in a frame whose mask changes nothing."""
    length = len(payload)
    if length < 126:
        head = bytes((first, 0x80 | length))
    else:
        head = struct.pack("!BBH", first, 0x80 | 126, length)
    frame = head + bytes(4) + payload
    return Template(frame, frame.index(_NUMBER.encode(), len(head) + 4))
