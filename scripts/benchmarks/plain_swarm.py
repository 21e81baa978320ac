"""The swarm in Python, for machines without a C compiler; see ``swarm.c`` for what it is told.

A program of its own, on the standard library only: plain sockets and a selector.
"""

import resource
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

_PEEK: Final = 32
_PONG: Final = b"\x8a\x80\0\0\0\0"
_HEAD_END: Final = b"\r\n\r\n"


class Connection:
    """One connection: upgrade, hello, then counting."""

    def __init__(self, swarm: "PlainSwarm", hello: bytes) -> None:
        self._swarm = swarm
        self._hello = hello
        self._buffer = b""
        self._is_upgraded = False
        self.events = 0
        self.socket = socket.create_connection(swarm.address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(swarm.upgrade)

    def on_readable(self) -> None:
        """Take what there is."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise SystemExit("swarm: a connection broke")
        self._buffer += data
        if not self._is_upgraded:
            head, end, rest = self._buffer.partition(_HEAD_END)
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                raise SystemExit("swarm: the server does not upgrade")
            self._is_upgraded = True
            self._buffer = rest
            self.socket.sendall(self._hello)
        start = 0
        for opcode, peek, end_of_frame in _frames(self._buffer):
            self._on_frame(opcode, peek)
            start = end_of_frame
        self._buffer = self._buffer[start:]

    def _on_frame(self, opcode: int, peek: bytes) -> None:
        if opcode == 9:
            self.socket.sendall(_PONG)
        elif opcode == 8:
            raise SystemExit("swarm: the server closes a connection")
        elif b"events" in peek:
            self.events += 1
            if self.events == self._swarm.awaited:
                self._swarm.last_ns = time.monotonic_ns()
        elif b"welcome" in peek:
            self._swarm.welcomed += 1


def _frames(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """The whole frames: opcode, the payload's first bytes, and where the frame ends."""
    start = 0
    while len(data) - start >= 2:
        length, body = data[start + 1] & 0x7F, start + 2
        if length >= 126:
            body += 2 if length == 126 else 8
            length = int.from_bytes(data[start + 2 : body], "big")
        if body + length > len(data):
            return
        yield data[start] & 0x0F, data[body : min(body + length, body + _PEEK)], body + length
        start = body + length


class PlainSwarm:
    """All connections."""

    def __init__(self, address: tuple[str, int], upgrade: bytes, hellos: list[bytes]) -> None:
        self.address = address
        self.upgrade = upgrade
        self.welcomed = 0
        self.awaited = 0
        self.last_ns = 0
        self._hellos = hellos
        self._connections: list[Connection] = []
        self._selector = selectors.DefaultSelector()

    def open(self, count: int, at_a_time: int) -> list[int]:
        """See swarm.c."""
        begin_ns = time.monotonic_ns()
        while self.welcomed < count:
            while (
                len(self._connections) < count
                and len(self._connections) - self.welcomed < at_a_time
            ):
                connection = Connection(self, self._hellos[len(self._connections)])
                self._connections.append(connection)
                self._selector.register(connection.socket, selectors.EVENT_READ, connection)
            self.turn(1.0)
        return [self.welcomed, begin_ns, time.monotonic_ns(), _cpu_us()]

    def send(self, number: int, data: bytes) -> list[int]:
        """See swarm.c."""
        sent_ns = time.monotonic_ns()
        self._connections[number].socket.sendall(data)
        return [sent_ns]

    def wait(self, count: int, timeout_ms: int) -> list[int]:
        """See swarm.c."""
        give_up_ns = time.monotonic_ns() + timeout_ms * 1_000_000
        self.awaited, self.last_ns = count, 0
        while self._least() < count and time.monotonic_ns() < give_up_ns:
            self.turn(0.1)
        most = max(connection.events for connection in self._connections)
        return [self.last_ns, self._least(), most, _cpu_us()]

    def close(self) -> list[int]:
        """See swarm.c."""
        for connection in self._connections:
            self._selector.unregister(connection.socket)
            at_once = struct.pack("ii", 1, 0)
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            connection.socket.close()
        count = len(self._connections)
        self._connections = []
        self.welcomed = 0
        return [count]

    def turn(self, timeout_s: float | None) -> bool:
        """Handle what happens; returns whether there is a command."""
        has_input = False
        for key, _ in self._selector.select(timeout_s):
            if isinstance(key.data, Connection):
                key.data.on_readable()
            else:
                has_input = True
        return has_input

    def obey(self) -> None:
        """Do what standard input says, until it ends."""
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        commands: Mapping[str, Callable[[list[str]], tuple[str, list[int]]]] = {
            "open": lambda words: ("opened", self.open(int(words[0]), int(words[1]))),
            "send": lambda words: ("sent", self.send(int(words[0]), bytes.fromhex(words[1]))),
            "await": lambda words: ("done", self.wait(int(words[0]), int(words[1]))),
            "close": lambda _words: ("closed", self.close()),
        }
        while True:
            if not self.turn(None):
                continue
            line = sys.stdin.readline()
            if not line:
                return
            self._selector.unregister(sys.stdin)
            name, *words = line.split()
            answer, numbers = commands[name](words)
            sys.stdout.write(f"{answer} {' '.join(map(str, numbers))}\n")
            sys.stdout.flush()
            self._selector.register(sys.stdin, selectors.EVENT_READ)

    def _least(self) -> int:
        return min(connection.events for connection in self._connections)


def _cpu_us() -> int:
    use = resource.getrusage(resource.RUSAGE_SELF)
    return int((use.ru_utime + use.ru_stime) * 1_000_000)


def _records(data: bytes) -> list[bytes]:
    records: list[bytes] = []
    start = 0
    while start < len(data):
        (length,) = struct.unpack_from("<I", data, start)
        records.append(data[start + 4 : start + 4 + length])
        start += 4 + length
    return records


def main() -> None:
    host, port, path = sys.argv[1:]
    upgrade, *hellos = _records(Path(path).read_bytes())
    PlainSwarm((host, int(port)), upgrade, hellos).obey()


if __name__ == "__main__":
    main()
