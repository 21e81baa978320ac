"""Drives the bare writer of ``limits/writer.py``, which lives in a process of its own."""

import contextlib
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from scripts.common.target import Trouble

_ROOT: Final = Path(__file__).parents[2]
_ANSWER_S: Final = 120.0
_END_S: Final = 5.0


class Written(msgspec.Struct, frozen=True):
    """What the bare writer did; ``waits_ms`` is the median of one commit or read."""

    count: int
    seconds: float
    cpu_s: float
    waits_ms: float

    @property
    def per_s(self) -> float:
        """How many in a second."""
        return self.count / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU of each, in microseconds."""
        return self.cpu_s / max(1, self.count) * 1e6


class BareWriter:
    """Made by ``bare_writer``."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def group(self, in_flight: int, seconds: float) -> Written:
        """Group commits, so many requests under way; a statement for each row."""
        return self._tell(f"group {in_flight} {seconds}")

    def bulk(self, in_flight: int, seconds: float) -> Written:
        """The same, with the rows of a batch together in few statements, as our store does."""
        return self._tell(f"bulk {in_flight} {seconds}")

    def alone(self, seconds: float) -> Written:
        """One commit after the other, nothing else around it."""
        return self._tell(f"alone {seconds}")

    def read(self, seconds: float) -> Written:
        """One row by its key after the other."""
        return self._tell(f"read {seconds}")

    def _tell(self, command: str) -> Written:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(command.encode() + b"\n")
        stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            line = stdout.readline() if selector.select(_ANSWER_S) else b""
        if not line:
            raise Trouble(f"the bare writer did not {command}")
        return msgspec.json.decode(line, type=Written)


@contextlib.contextmanager
def bare_writer() -> Iterator[BareWriter]:
    """A bare writer on a new database, on the disk that a server of ours would use too."""
    with tempfile.TemporaryDirectory(prefix="muster-bare-") as directory:
        process = subprocess.Popen(
            [sys.executable, "-m", "scripts.benchmarks.limits.writer", directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
        )
        try:
            yield BareWriter(process)
        finally:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
