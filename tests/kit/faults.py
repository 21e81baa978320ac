"""Faults of disk and clock under a real server process: the test's side of ``faults.c``.

The C library is compiled once per run into a directory of its own and loaded into the child with
LD_PRELOAD; the two sides share a small file. So a test can let the 7th sync fail while the server
runs, and see how many there were.
"""

import atexit
import functools
import mmap
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SYNC, WRITE, TRUNCATE = "sync", "write", "truncate"
KINDS: Final = (SYNC, WRITE, TRUNCATE)

KILL_BEFORE, KILL_AFTER, KILL_HALFWAY = -1, -2, -3
"""Instead of an errno: SIGKILL before the call, after it, or after half of the bytes of a write."""

_EVER: Final = 2**62
_OFFSET: Final = struct.Struct("q")
_RULE: Final = struct.Struct("qqqqq24s")
_RECORD: Final = struct.Struct("IIqqq")
_CONTROL_BYTES: Final = _OFFSET.size + len(KINDS) * _RULE.size


@functools.cache
def library() -> Path | None:
    """The compiled library; None where there is no C compiler or it does not serve."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    directory = Path(tempfile.mkdtemp(prefix="faults-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    path = directory / "faults.so"
    source = Path(__file__).with_suffix(".c")
    options = ("-O2", "-Wall", "-Wextra", "-fPIC", "-shared")
    made = subprocess.run(
        [compiler, *options, "-o", str(path), str(source)], check=False, capture_output=True
    )
    return path if made.returncode == 0 else None


class Faults:
    """The faults of one data directory; give ``env`` to the process that is to have them.

    They stay as they are over restarts of the process, and so do the counts.

    Args:
        data: the data directory, which need not exist yet.
        trace: whether what was changed on disk is told in ``trace()``.

    Raises:
        LookupError: the library cannot be made here.
    """

    def __init__(self, data: Path, *, trace: bool = False) -> None:
        preloaded = library()
        if preloaded is None:
            raise LookupError("no C compiler here")
        self.trace_file = data.with_name(data.name + ".trace")
        file = data.with_name(data.name + ".faults")
        file.write_bytes(bytes(_CONTROL_BYTES))
        with file.open("r+b") as opened:
            self._control = mmap.mmap(opened.fileno(), _CONTROL_BYTES)
        self.env = {
            "LD_PRELOAD": str(preloaded),
            "FAULTS_CONTROL": str(file),
            "FAULTS_UNDER": str(data.parent.resolve() / data.name),
        }
        if trace:
            self.env["FAULTS_TRACE"] = str(self.trace_file)

    def set(
        self,
        kind: str,
        action: int = 0,
        *,
        after: int = 0,
        times: int | None = None,
        delay_ms: int = 0,
        suffix: str = "",
    ) -> None:
        """From now on, but not for the next ``after`` calls, do this at calls of ``kind``.

        Args:
            action: an errno, 0 for nothing but the delay, or one of KILL_...
            times: at how many calls; at all of them when None.
            suffix: only at files whose name ends so; only those are counted then.
        """
        first = after + 1
        until = _EVER if times is None else first + times
        # Whole before it holds: the other side looks at ``from`` first.
        place = self._place(kind)
        rule = _RULE.pack(0, 0, until, action, delay_ms, suffix.encode())
        self._control[place : place + _RULE.size] = rule
        struct.pack_into("q", self._control, place + 8, first)

    def clear(self) -> None:
        """No faults from now on, and the counts begin again. The clock stays shifted."""
        for kind in KINDS:
            place = self._place(kind)
            self._control[place : place + _RULE.size] = bytes(_RULE.size)

    def seen(self, kind: str) -> int:
        """How many calls of ``kind`` there were since ``set`` or ``clear``."""
        return int(struct.unpack_from("q", self._control, self._place(kind))[0])

    def shift_clock(self, ms: int) -> None:
        """The wall clock shows so much more (or less) than the machine's; the others do not."""
        _OFFSET.pack_into(self._control, 0, ms)

    def trace(self) -> Iterator["Change"]:
        """What was changed on disk, in order."""
        return changes(self.trace_file.read_bytes())

    def _place(self, kind: str) -> int:
        return _OFFSET.size + KINDS.index(kind) * _RULE.size


@dataclass(frozen=True)
class Change:
    """A change that was made: data written at an offset, a sync, or a new length (``offset``).

    ``name`` is the file's within the data directory, "" for the directory itself. ``begun_ns`` is
    on the clock of ``time.monotonic_ns``.
    """

    kind: str
    name: str
    offset: int
    data: bytes
    begun_ns: int


def changes(trace: bytes) -> Iterator[Change]:
    """The changes in a trace; one that was cut off at its end is left out."""
    place = 0
    while place + _RECORD.size <= len(trace):
        kind, name_bytes, offset, data_bytes, begun_ns = _RECORD.unpack_from(trace, place)
        name_at = place + _RECORD.size
        data_at = name_at + name_bytes
        place = data_at + data_bytes
        if place > len(trace):
            return
        name = trace[name_at:data_at].decode()
        yield Change(KINDS[kind], name, offset, trace[data_at:place], begun_ns)
