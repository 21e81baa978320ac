"""The swarm in Python, for machines without a C compiler; see ``swarm.c`` for what it is told.

A program of its own, on the standard library only: plain sockets and a selector. It does not
know ``pace`` and ``probe``: it would measure itself.
"""

import resource
import selectors
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

_PEEK: Final = 96
_PONG: Final = b"\x8a\x80\0\0\0\0"
_HEAD_END: Final = b"\r\n\r\n"
_DIGITS: Final = 8
_PATIENCE_NS: Final = 30_000_000_000


class Asker:
    """What a connection asks in turn, and when it asked what is under way."""

    def __init__(self) -> None:
        self._templates: deque[tuple[bytes, int]] = deque()
        self.sent_ns: deque[int] = deque()

    def add(self, frame: bytes, digits_at: int) -> int:
        """One more; returns how many there are."""
        self._templates.append((frame, digits_at))
        return len(self._templates)

    def next_frame(self, number: int) -> bytes:
        """The next one, with this number."""
        frame, at = self._templates[0]
        self._templates.rotate(-1)
        if at + _DIGITS > len(frame):
            return frame
        return frame[:at] + b"%08d" % number + frame[at + _DIGITS :]


class Connection:
    """One connection: upgrade, hello, then counting."""

    def __init__(self, swarm: "PlainSwarm", hello: bytes) -> None:
        self._swarm = swarm
        self._hello = hello
        self._buffer = b""
        self._is_upgraded = False
        self._is_welcome = False
        self.asker: Asker | None = None
        self.events = 0
        self.socket = socket.create_connection(swarm.address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(swarm.upgrade)

    def on_readable(self) -> None:
        """Take what there is."""
        data = self.socket.recv(1 << 18)
        self._swarm.bytes_read += len(data)
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
            earlier, self.events = self.events, self.events + _events_in(peek)
            if earlier < self._swarm.awaited <= self.events:
                self._swarm.last_ns = time.monotonic_ns()
                self._swarm.first_ns = self._swarm.first_ns or self._swarm.last_ns
        elif self._is_welcome:
            if self.asker is not None and self.asker.sent_ns:
                self._swarm.on_answer(self, peek)
        elif b"welcome" in peek:
            self._is_welcome = True
            self._swarm.welcomed += 1


def _events_in(peek: bytes) -> int:
    """See ``events_in`` in swarm.c."""
    length = peek.partition(b"events")[2].partition(b"events")[2][:3]
    if len(length) < 3:
        return 1
    if length[0] >> 4 == 9:
        return length[0] & 15
    return int.from_bytes(length[1:], "big") if length[0] == 0xDC else 1


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
        self.first_ns = 0
        self.last_ns = 0
        self.bytes_read = 0
        self._askers: dict[int, Asker] = {}
        self._asked = 0
        self._is_asking = False
        self._errors = 0
        self._waits_ns: list[int] = []
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
                number = len(self._connections)
                connection = Connection(self, self._hellos[number])
                connection.asker = self._askers.get(number)
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
        self.awaited, self.first_ns, self.last_ns = count, 0, 0
        while self._least() < count and time.monotonic_ns() < give_up_ns:
            self.turn(0.1)
        most = max(connection.events for connection in self._connections)
        return [self.first_ns, self.last_ns, self._least(), most, self.bytes_read, _cpu_us()]

    def play(self, number: int, count: int, timeout_ms: int, data: bytes) -> list[int]:
        """See ``round`` in swarm.c."""
        sent = self.send(number, data)
        return sent + self.wait(count, timeout_ms)

    def template(self, number: int, digits_at: int, frame: bytes) -> list[int]:
        """See swarm.c."""
        asker = self._askers.setdefault(number, Asker())
        if number < len(self._connections):
            self._connections[number].asker = asker
        return [asker.add(frame, digits_at)]

    def ask(self, first: int, count: int, in_flight: int, ms: int) -> list[int]:
        """See swarm.c."""
        connections = self._connections[first : first + count]
        self._waits_ns, self._errors, self._is_asking = [], 0, True
        begin_ns = time.monotonic_ns()
        end_ns = begin_ns + ms * 1_000_000
        for connection in connections * in_flight:
            self._ask_once(connection)
        while time.monotonic_ns() < end_ns:
            self.turn(0.001)
        self._is_asking = False
        end_ns, waits_ns = time.monotonic_ns(), sorted(self._waits_ns)
        errors = self._errors
        while any(connection.asker and connection.asker.sent_ns for connection in connections):
            if time.monotonic_ns() > end_ns + _PATIENCE_NS:
                raise SystemExit("swarm: a request was not answered")
            self.turn(0.1)
        half, most = (
            waits_ns[int(share * len(waits_ns))] if waits_ns else 0 for share in (0.5, 0.99)
        )
        return [len(waits_ns), errors, begin_ns, end_ns, half, most, _cpu_us()]

    def on_answer(self, connection: Connection, peek: bytes) -> None:
        """The oldest request of a connection was answered."""
        assert connection.asker is not None
        self._waits_ns.append(time.monotonic_ns() - connection.asker.sent_ns.popleft())
        self._errors += b"error" in peek
        if self._is_asking:
            self._ask_once(connection)

    def _ask_once(self, connection: Connection) -> None:
        if connection.asker is None:
            raise SystemExit("swarm: a connection without a template")
        frame = connection.asker.next_frame(self._asked)
        self._asked += 1
        connection.asker.sent_ns.append(time.monotonic_ns())
        connection.socket.sendall(frame)

    def forget(self) -> list[int]:
        """See swarm.c."""
        for connection in self._connections:
            connection.events = 0
        return [len(self._connections)]

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
            "round": lambda words: (
                "rounded",
                self.play(*map(int, words[:3]), bytes.fromhex(words[3])),
            ),
            "template": lambda words: (
                "kept",
                self.template(int(words[0]), int(words[1]), bytes.fromhex(words[2])),
            ),
            "ask": lambda words: ("asked", self.ask(*map(int, words))),
            "forget": lambda _words: ("forgot", self.forget()),
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
