"""Drives many idle or listening connections that live in a process of their own.

That process is a small C program, compiled on the spot; where there is no compiler, one in
Python that does the same at a multiple of the cost. ``swarm.c`` describes what they are told.
"""

import contextlib
import selectors
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from protocol.codec import MSGPACK
from scripts.common.link import BINARY, client_frame, upgrade_request
from scripts.common.target import Target, Trouble

_HERE: Final = Path(__file__).parent
_ANSWER_S: Final = 120.0
_AT_A_TIME: Final = 64
_AWAIT_MS: Final = 30_000


class Opened(msgspec.Struct, frozen=True):
    """How long it took until all were welcomed, and what the swarm spent on it."""

    seconds: float
    cpu_s: float


class Heard(msgspec.Struct, frozen=True):
    """When the last connection was given its last event; the fewest and most that any was given.

    ``cpu_s`` is what the swarm has spent since it was started.
    """

    last_s: float
    least: int
    most: int
    cpu_s: float


class Swarm:
    """Connections of the users ``user_ids``, one each; made by ``swarm_of``."""

    def __init__(self, process: "subprocess.Popen[bytes]", *, is_c: bool) -> None:
        self._process = process
        self._cpu_us = 0
        self.is_c = is_c

    @property
    def pid(self) -> int:
        """The process id of the swarm."""
        return self._process.pid

    def open(self, count: int, at_a_time: int = _AT_A_TIME) -> Opened:
        """Have the first ``count`` connections welcomed, some at a time."""
        words = self._tell(f"open {count} {at_a_time}", "opened", 4)
        if words[0] != count:
            raise Trouble(f"{words[0]} of {count} connections were opened")
        spent_us, self._cpu_us = words[3] - self._cpu_us, words[3]
        return Opened((words[2] - words[1]) / 1e9, spent_us / 1e6)

    def send(self, number: int, payloads: Sequence[bytes]) -> float:
        """Write messages to one connection at once; returns when, in seconds."""
        data = b"".join(client_frame(BINARY, payload) for payload in payloads)
        return self._tell(f"send {number} {data.hex()}", "sent", 1)[0] / 1e9

    def wait_for_events(self, count: int) -> Heard:
        """Wait until each connection was given ``count`` events since it was opened.

        Raises:
            Trouble: one of them was not.
        """
        last_ns, least, most, cpu_us = self._tell(f"await {count} {_AWAIT_MS}", "done", 4)
        if least < count:
            raise Trouble(f"a connection was given {least} of {count} events")
        return Heard(last_ns / 1e9, least, most, cpu_us / 1e6)

    def close(self) -> None:
        """End all connections."""
        self._tell("close", "closed", 1)

    def end(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _tell(self, command: str, answer: str, numbers: int) -> list[int]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(command.encode() + b"\n")
        stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            line = stdout.readline() if selector.select(_ANSWER_S) else b""
        words = line.decode().split()
        if words[:1] != [answer] or len(words) != 1 + numbers:
            raise Trouble(f"the swarm did not {command.split()[0]}: {line.decode()!r}")
        return [int(word) for word in words[1:]]


@contextlib.contextmanager
def swarm_of(target: Target, user_ids: Sequence[str], *, wants_c: bool = True) -> Iterator[Swarm]:
    """A swarm that connects as these users, on a device each, in MessagePack."""
    parts = urlsplit(target.url)
    with tempfile.TemporaryDirectory(prefix="muster-swarm-") as directory:
        records = Path(directory) / "records"
        records.write_bytes(b"".join(map(_record, _messages(target, user_ids))))
        program = _compiled(Path(directory)) if wants_c else None
        plain = [sys.executable, "-P", str(_HERE / "plain_swarm.py")]
        command = plain if program is None else [str(program)]
        process = subprocess.Popen(
            [*command, str(parts.hostname), str(parts.port), str(records)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        swarm = Swarm(process, is_c=program is not None)
        try:
            yield swarm
        finally:
            swarm.end()


def _messages(target: Target, user_ids: Sequence[str]) -> Iterator[bytes]:
    yield upgrade_request(target.url, MSGPACK.subprotocol)[0]
    for user_id in user_ids:
        hello = {
            "type": "hello",
            "user_id": user_id,
            "user_sig": target.sign(user_id),
            "device_id": "bench",
            "platform": "bench",
        }
        yield client_frame(BINARY, MSGPACK.encode(hello))


def _record(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def _compiled(directory: Path) -> Path | None:
    """The C program, or None where it cannot be had."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    program = directory / "swarm"
    command = [compiler, "-O2", "-o", str(program), str(_HERE / "swarm.c")]
    made = subprocess.run(command, check=False, capture_output=True)
    return program if made.returncode == 0 else None
