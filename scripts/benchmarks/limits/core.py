"""The bare library: websockets' sans-I/O core in an asyncio Protocol of its own, and no more.

A program of its own: ``core.py FRAME_BYTES``. It prints a line of JSON with its address. A
client's first message is answered with "welcome"; one that begins with "all" sends a frame that
begins with "events" to everybody, one that begins with "echo" comes back.
"""

import asyncio
import json
import socket
import struct
import sys
from typing import Final, cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

_WELCOME: Final = b"\x81\x07welcome"
_BACKLOG: Final = 4096


class Core(asyncio.Protocol):
    """One connection."""

    __slots__ = ("_hall", "_is_welcome", "_transport", "_ws")

    def __init__(self, hall: "Hall") -> None:
        self._hall = hall
        self._is_welcome = False
        self._ws = ServerProtocol()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast(asyncio.Transport, transport)
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._hall.everybody.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        self._ws.receive_data(data)
        for event in self._ws.events_received():
            if isinstance(event, Request):
                self._ws.send_response(self._ws.accept(event))
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY):
                self._take(bytes(event.data))
        for out in self._ws.data_to_send():
            self._transport.write(out)

    def _take(self, data: bytes) -> None:
        if not self._is_welcome:
            self._is_welcome = True
            self._hall.everybody.add(self._transport)
            self._transport.write(_WELCOME)
        elif data.startswith(b"all"):
            event = self._hall.event
            for transport in self._hall.everybody:
                transport.write(event)
        else:
            self._ws.send_binary(data)


class Hall:
    """All clients, and the frame that they are sent."""

    def __init__(self, frame_bytes: int) -> None:
        payload = b"events".ljust(frame_bytes - 4, b"x")
        self.event = struct.pack("!BBH", 0x82, 126, len(payload)) + payload
        self.everybody: set[asyncio.Transport] = set()


async def _serve(frame_bytes: int) -> None:
    hall = Hall(frame_bytes)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Core(hall), "127.0.0.1", 0, backlog=_BACKLOG)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(json.dumps({"ready": True, "ws": f"ws://127.0.0.1:{port}/"}) + "\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
