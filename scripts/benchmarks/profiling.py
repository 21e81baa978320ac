"""Where the server's time goes: a sampling profiler beside it while a work measures.

``scripts/bench --profile`` switches it on. It stops the server for each sample, so the figures of
that run count for nothing. The profiler is py-spy, which looks at the process from
outside; it is one of the packages that ``scripts/bench install-peers`` gets.
"""

import collections
import contextlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from scripts.benchmarks.peers import python_peer
from scripts.common.target import Trouble
from scripts.common.terminal import table

_RATE: Final = 250
_MOST_S: Final = 3_600
_END_S: Final = 30.0
_SHOWN: Final = 25
_NAME_CHARACTERS: Final = 70
_WAITING: Final = ("epoll_wait", "PyThread_acquire_lock_timed", "pthread_cond_timedwait")
_NAMED: Final = ("server/", "protocol/", "websockets/", "sqlite", "msgspec")


class Profiler:
    """Watches one process; made by ``profiler_of``."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="muster-profile-")
        self._file = Path(self._directory.name) / "stacks"
        self._process: subprocess.Popen[bytes] | None = None

    def watch(self, pid: int) -> None:
        """Begin, if it has not begun; called when the first figure of a server is measured.

        Raises:
            Trouble: there is no profiler.
        """
        if self._process is not None:
            return
        python = python_peer()
        if isinstance(python, str):
            raise Trouble(f"py-spy is {python}")
        command = [str(python.with_name("py-spy")), "record", "--pid", str(pid), "--native"]
        command += ["--rate", str(_RATE), "--duration", str(_MOST_S)]
        command += ["--format", "raw", "--threads", "--output", str(self._file)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def end(self) -> str:
        """Stop; returns what was found as text, empty if nothing was watched."""
        if self._process is None:
            return ""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        text = self._file.read_text(encoding="utf-8") if self._file.exists() else ""
        self._directory.cleanup()
        return shown_stacks(text)


class _Switch:
    """Whether servers are watched, and the profiler of the present one."""

    is_on = False
    present: Profiler | None = None


def switch_on() -> None:
    """From now on watch every server of ours."""
    _Switch.is_on = True


@contextlib.contextmanager
def profiled() -> Iterator[None]:
    """Around the life of a server; shows on standard output where its time went."""
    if not _Switch.is_on:
        yield
        return
    _Switch.present = Profiler()
    try:
        yield
    finally:
        profiler, _Switch.present = _Switch.present, None
        sys.stdout.write(profiler.end())


def measuring(pid: int) -> None:
    """Something is measured in this process from now on."""
    if _Switch.present is not None:
        _Switch.present.watch(pid)


def shown_stacks(text: str) -> str:
    """Stacks with their counts, ``a;b;c 12`` a line, as two tables of shares.

    The first has the functions in which the time was spent, the second those of ours and of the
    WebSocket library that were on the way there. Threads that wait are left out.
    """
    own: collections.Counter[str] = collections.Counter()
    whole: collections.Counter[str] = collections.Counter()
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        if any(word in stack for word in _WAITING):
            continue
        frames = [_short(frame) for frame in stack.split(";")]
        own[frames[-1]] += int(count)
        for frame in set(frames):
            if any(word in frame for word in _NAMED):
                whole[frame] += int(count)
    samples = own.total()
    if not samples:
        return "\nprofile: no samples\n"
    tables = [
        f"\nprofile: {samples:,} samples; {title}\n{_share_table(counts, samples)}\n"
        for title, counts in (("in the function itself", own), ("with what it calls", whole))
    ]
    return "".join(tables)


def _share_table(counts: "collections.Counter[str]", samples: int) -> str:
    rows = [[f"{count / samples:.1%}", name] for name, count in counts.most_common(_SHOWN)]
    return table(rows, right=(0,))


def _short(frame: str) -> str:
    """A function and its file, without the line, so that its lines are one."""
    name, _, place = frame.partition(" (")
    file = place.rpartition(":")[0] or place.rstrip(")")
    return f"{name} ({file})"[:_NAME_CHARACTERS] if file else name[:_NAME_CHARACTERS]
