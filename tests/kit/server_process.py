"""The real server as a child process: started, watched, killed and started again on its data."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self
from urllib.parse import urlsplit

from protocol import usersig
from protocol.vocabulary import GroupType
from server.storage.audit import audit
from server.storage.database import DATABASE_NAME

ROOT: Final = Path(__file__).parents[2]
SDKAPPID: Final = 1400000000

MEMBERLESS: Final = (GroupType.AVCHATROOM,)
"""Types of which no members are stored, unless the settings say otherwise."""

START_S: Final = 20.0
END_S: Final = 20.0

_TROUBLE: Final = (" ERROR ", " CRITICAL ", "Traceback", "Warning:", "never retrieved")


class ServerProcess:
    """``python -m server serve`` on a data directory of its own, listening on free ports.

    Use it as a context manager: the process is gone at the end, whatever happened, and what it
    leaves behind is sound by all that ``check`` looks at, unless ``is_spoiled``.

    Args:
        data: the data directory; made by the server.
        limits: limits by name, as MUSTER_LIMIT_*.
        env: more environment variables.
        options: more options of the command.
        wrapper: a command that becomes the server: its own words come before the server's.
        secret_key: the key that it is given by other means; None for the one in its directory.
        listens: give the two listen addresses and the data directory as options.
        inherits: let the child see this process's environment (without any MUSTER_*).

    Attributes:
        ws: the address from the ready line; likewise ``admin``.
        starts: how often it was started.
        is_spoiled: the test damaged the data, or put it out of sight: it is not checked at the end.
    """

    def __init__(
        self,
        data: Path,
        *,
        limits: Mapping[str, int] | None = None,
        env: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        wrapper: Sequence[str] = (),
        secret_key: str | None = None,
        listens: bool = True,
        inherits: bool = True,
    ) -> None:
        self.data = data
        self.ws = ""
        self.admin = ""
        self.starts = 0
        self.is_spoiled = False
        self.ready_line = ""
        self._env = _environment(inherits=inherits)
        self._env.update({f"MUSTER_LIMIT_{n}": str(v) for n, v in (limits or {}).items()})
        self._env.update(env or {})
        where = ("--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data", str(data))
        self._options = (*(where if listens else ()), *options)
        self._wrapper = tuple(wrapper)
        self._secret_key = secret_key
        self._reads_log = threading.Event()
        self._reads_log.set()
        self._process: subprocess.Popen[str] | None = None
        self._output: _Lines | None = None
        self._log: _Lines | None = None

    # Life.

    def start(self) -> Self:
        """Start it and wait for its ready line."""
        self.launch()
        assert self._output is not None
        lines = self._output.wait(lambda lines: bool(lines), START_S)
        if not lines:
            raise AssertionError(f"the server did not get ready:\n{self.log()}\n{self.stop()}")
        self.ready_line = lines[0]
        ready = json.loads(lines[0])
        self.ws, self.admin = ready["ws"], ready["admin"]
        return self

    def launch(self) -> None:
        """Start it and do not wait."""
        assert self._process is None, "it is running"
        self._process = subprocess.Popen(
            (*self._wrapper, sys.executable, "-m", "server", "serve", *self._options),
            cwd=ROOT,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            umask=0,  # what is made private is private because the server says so
        )
        self.starts += 1
        self._output = _Lines(self._process.stdout)
        self._log = _Lines(self._process.stderr, self._reads_log)

    def kill(self) -> None:
        """End it at once, as kill -9 does."""
        assert self._process is not None
        self._process.kill()
        self.wait()

    def terminate(self) -> None:
        """Ask it to drain and end; ``wait`` or ``ended`` for the end."""
        assert self._process is not None
        self._process.terminate()

    def interrupt(self) -> None:
        """Like ``terminate``, as Ctrl-C does it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)

    def signal(self, number: signal.Signals) -> None:
        """Send the running process a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, within_s: float = END_S) -> int:
        """Wait for its end; returns the exit status."""
        process = self._process
        assert process is not None
        try:
            status = process.wait(within_s)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"the server did not end:\n{self.log()}") from error
        self.read_log()
        for lines in (self._output, self._log):
            assert lines is not None
            lines.join()
        self._process = None
        return status

    async def ended(self, within_s: float = END_S) -> int:
        """Like ``wait`` while the loop runs on."""
        return await asyncio.to_thread(self.wait, within_s)

    def stop(self) -> int | None:
        """End it if it runs: SIGTERM, then SIGKILL; returns the exit status."""
        process = self._process
        if process is None:
            return None
        process.terminate()
        try:
            return self.wait()
        except AssertionError:
            process.kill()
            return self.wait()

    def __enter__(self) -> Self:
        return self if self._process is not None else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self.wait()
        if error is None and not self.is_spoiled and (self.data / DATABASE_NAME).exists():
            self.assert_sound()

    # What it is and says.

    @property
    def pid(self) -> int:
        """The number of the running process."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def limit(self, name: str, most: int) -> None:
        """Limit the running process: a name of RLIMIT_..., as ``ulimit`` does for new ones."""
        resource.prlimit(self.pid, getattr(resource, f"RLIMIT_{name}"), (most, most))

    def address(self) -> tuple[str, int]:
        """Host and port of the WebSocket listener."""
        parts = urlsplit(self.ws)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def output(self) -> list[str]:
        """The lines on standard output since the last start."""
        return [] if self._output is None else self._output.seen()

    def log(self) -> str:
        """What is on standard error since the last start."""
        return "" if self._log is None else "\n".join(self._log.seen())

    def stop_reading_log(self) -> None:
        """Leave what it writes to standard error where it is, until ``read_log`` or its end."""
        self._reads_log.clear()

    def read_log(self) -> None:
        """Take it, and what comes."""
        self._reads_log.set()

    def trouble(self) -> list[str]:
        """The lines of the log that no input and no load may bring forth."""
        return [line for line in self.log().splitlines() if any(t in line for t in _TROUBLE)]

    async def logged(self, text: str, within_s: float = END_S) -> str:
        """Wait for a line with ``text`` on standard error."""
        assert self._log is not None

        def has_it(lines: list[str]) -> bool:
            return any(text in line for line in lines)

        lines = await asyncio.to_thread(self._log.wait, has_it, within_s)
        assert has_it(lines), f"{text!r} was not logged:\n{self.log()}"
        return next(line for line in lines if text in line)

    def assert_sound(self) -> None:
        """What it has stored, running or not, is sound by all that ``check`` looks at."""
        assert_sound(self.data)

    # Tokens.

    @property
    def secret_key(self) -> str:
        """The key that it was given, or made in its data directory."""
        if self._secret_key is not None:
            return self._secret_key
        return (self.data / "secret.key").read_text(encoding="ascii").strip()

    def token(
        self,
        user_id: str,
        *,
        sdkappid: int = SDKAPPID,
        secret_key: str | None = None,
        now_s: int | None = None,
        expire_s: int = 3600,
    ) -> str:
        """A UserSig for ``user_id``, signed with the server's key unless told otherwise."""
        return usersig.sign(
            user_id,
            sdkappid=sdkappid,
            secret_key=self.secret_key if secret_key is None else secret_key,
            now_s=int(time.time()) if now_s is None else now_s,
            expire_s=expire_s,
        )


def assert_sound(data: Path) -> None:
    """The database of a data directory has no finding of ``check``, whoever uses it."""
    found = audit(data / DATABASE_NAME, MEMBERLESS).findings
    assert not found, "\n".join(map(str, found))


def run_command(
    *arguments: str, env: Mapping[str, str] | None = None, within_s: float = START_S
) -> subprocess.CompletedProcess[str]:
    """``python -m server`` with these arguments, to its end."""
    return subprocess.run(
        (sys.executable, "-m", "server", *arguments),
        cwd=ROOT,
        env=_environment(inherits=True) | dict(env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )


def _environment(*, inherits: bool) -> dict[str, str]:
    if not inherits:
        return {}
    return {name: value for name, value in os.environ.items() if not name.startswith("MUSTER_")}


class _Lines:
    """What a child writes to a pipe, read by a thread line by line."""

    def __init__(self, pipe: IO[str] | None, may_read: threading.Event | None = None) -> None:
        assert pipe is not None
        self._may_read = may_read
        self._pipe = pipe
        self._lines: list[str] = []
        self._has_ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def seen(self) -> list[str]:
        with self._changed:
            return list(self._lines)

    def wait(self, is_enough: Callable[[list[str]], bool], within_s: float) -> list[str]:
        """The lines once they are enough, or the child's output has ended, or time is up."""
        with self._changed:
            self._changed.wait_for(lambda: is_enough(self._lines) or self._has_ended, within_s)
            return list(self._lines)

    def join(self) -> None:
        self._thread.join()

    def _read(self) -> None:
        with self._pipe:
            for line in self._pipe:
                if self._may_read is not None:
                    self._may_read.wait()
                with self._changed:
                    self._lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()
