"""Drives many idle, listening or asking connections that live in a process of their own.

That process is a small C program, compiled on the spot; where there is no compiler, one in
Python that does the same at a multiple of the cost. ``native/swarm.c`` describes what they are
told.
"""

import contextlib
import selectors
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from scripts.benchmarks.native import compiled
from scripts.common.target import Trouble

_HERE: Final = Path(__file__).parent
_ANSWER_S: Final = 120.0
_AT_A_TIME: Final = 64
_AWAIT_MS: Final = 30_000


class Opened(msgspec.Struct, frozen=True):
    """How long it took until all were welcomed, and what the swarm spent on it."""

    seconds: float
    cpu_s: float


class Heard(msgspec.Struct, frozen=True):
    """When the first and the last connection were given their last event, 0 for before the wait.

    ``least`` and ``most``: the fewest and most events that any was given. ``bytes_read`` and
    ``cpu_s`` count from when the swarm was started.
    """

    first_s: float
    last_s: float
    least: int
    most: int
    bytes_read: int
    cpu_s: float


class Asked(msgspec.Struct, frozen=True):
    """Answers within the time, how many of them were errors, and how long they took."""

    answers: int
    errors: int
    seconds: float
    p50_ms: float
    p99_ms: float


class Paced(msgspec.Struct, frozen=True):
    """From when something was asked for to when it was there; ``late_ms`` is the asker's fault."""

    seconds: float
    p50_ms: float
    p99_ms: float
    most_ms: float
    late_ms: float


class Template(msgspec.Struct, frozen=True):
    """A frame that is sent again and again.

    Args:
        frame: masked with zeros.
        digits_at: where in it the eight digits of the request's number are; beyond its end for
            a frame without.
    """

    frame: bytes
    digits_at: int


class Swarm:
    """Connections, one for each hello; made by ``swarm_of``."""

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
        self.begin_opening(count, at_a_time)
        return self.end_opening(count)

    def begin_opening(self, count: int, at_a_time: int = _AT_A_TIME) -> None:
        """Start what ``end_opening`` waits for; nothing else may be asked meanwhile."""
        self._tell(f"open {count} {at_a_time}")

    def end_opening(self, count: int) -> Opened:
        """Wait until all are welcomed."""
        words = self._answer("opened", 4)
        if words[0] != count:
            raise Trouble(f"{words[0]} of {count} connections were opened")
        spent_us, self._cpu_us = words[3] - self._cpu_us, words[3]
        return Opened((words[2] - words[1]) / 1e9, spent_us / 1e6)

    def send(self, number: int, frames: bytes) -> float:
        """Write frames to one connection at once; returns when, in seconds."""
        self._tell(f"send {number} {frames.hex()}")
        return self._answer("sent", 1)[0] / 1e9

    def wait_for_events(self, count: int) -> Heard:
        """Wait until each connection was given ``count`` events since it was opened.

        Raises:
            Trouble: one of them was not.
        """
        self._tell(f"await {count} {_AWAIT_MS}")
        return _heard(count, self._answer("done", 6))

    def play(self, number: int, frames: bytes, count: int) -> tuple[float, Heard]:
        """``send`` and ``wait_for_events`` in one, so that the first event is not missed."""
        self._tell(f"round {number} {count} {_AWAIT_MS} {frames.hex()}")
        sent_ns, *words = self._answer("rounded", 7)
        return sent_ns / 1e9, _heard(count, words)

    def teach(self, number: int, template: Template) -> None:
        """Tell a connection what to ask, in turn with what it was told before."""
        self._tell(f"template {number} {template.digits_at} {template.frame.hex()}")
        self._answer("kept", 1)

    def ask(self, first: int, count: int, in_flight: int, seconds: float) -> Asked:
        """Have ``count`` connections from ``first`` on keep ``in_flight`` requests each under way.

        Returns when the time is over and all are answered; later answers are not counted.
        """
        self._tell(f"ask {first} {count} {in_flight} {int(seconds * 1000)}")
        answers, errors, begin_ns, end_ns, p50_ns, p99_ns, _ = self._answer("asked", 7)
        return Asked(answers, errors, (end_ns - begin_ns) / 1e9, p50_ns / 1e6, p99_ns / 1e6)

    def begin_pace(self, number: int, gap_s: float, count: int) -> None:
        """One connection asks every ``gap_s``, and all are given an event for each; see end."""
        self._tell(f"pace {number} {int(gap_s * 1e9)} {count}")

    def end_pace(self) -> Paced:
        """Wait until all have all events of ``begin_pace``."""
        return self._paced("paced")

    def begin_probe(self, number: int, gap_s: float, count: int) -> None:
        """One connection asks every ``gap_s``; see end."""
        self._tell(f"probe {number} {int(gap_s * 1e9)} {count}")

    def end_probe(self) -> Paced:
        """Wait until all of ``begin_probe`` is answered."""
        return self._paced("probed")

    def forget_events(self) -> None:
        """Count the events of each connection from 0 again."""
        self._tell("forget")
        self._answer("forgot", 1)

    def settle(self, quiet_s: float = 0.3) -> None:
        """Wait until nothing has come for a moment."""
        before = -1
        while (now := self.wait_for_events(0).bytes_read) != before:
            before = now
            time.sleep(quiet_s)

    def close(self) -> None:
        """End all connections."""
        self._tell("close")
        self._answer("closed", 1)

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

    def _paced(self, answer: str) -> Paced:
        _, begin_ns, end_ns, p50_ns, p99_ns, most_ns, late_ns, _ = self._answer(answer, 8)
        times = (ns / 1e6 for ns in (p50_ns, p99_ns, most_ns, late_ns))
        return Paced((end_ns - begin_ns) / 1e9, *times)

    def _tell(self, command: str) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(command.encode() + b"\n")
        stdin.flush()
        self._command = command

    def _answer(self, answer: str, numbers: int) -> list[int]:
        stdout = self._process.stdout
        assert stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            line = stdout.readline() if selector.select(_ANSWER_S) else b""
        words = line.decode().split()
        if words[:1] != [answer] or len(words) != 1 + numbers:
            raise Trouble(f"the swarm did not {self._command.split()[0]}: {line.decode()!r}")
        return [int(word) for word in words[1:]]


def _heard(count: int, words: Sequence[int]) -> Heard:
    first_ns, last_ns, least, most, bytes_read, cpu_us = words
    if least < count:
        raise Trouble(f"a connection was given {least} of {count} events")
    return Heard(first_ns / 1e9, last_ns / 1e9, least, most, bytes_read, cpu_us / 1e6)


@contextlib.contextmanager
def swarm_of(
    url: str, upgrade: bytes, hellos: Sequence[bytes], *, wants_c: bool = True
) -> Iterator[Swarm]:
    """A swarm of as many connections as there are hellos.

    Args:
        url: the server.
        upgrade: the HTTP request that every connection begins with.
        hellos: the first frame of each, masked; it is answered with a message that has the word
            ``welcome`` in its beginning.
        wants_c: take the C program if it can be compiled.
    """
    parts = urlsplit(url)
    with tempfile.TemporaryDirectory(prefix="muster-swarm-") as directory:
        records = Path(directory) / "records"
        records.write_bytes(b"".join(map(_record, [upgrade, *hellos])))
        program = compiled("native/swarm.c") if wants_c else None
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


def _record(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data
