"""A server to talk to: one that runs already, or one that is started for the occasion."""

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Final, NoReturn

from protocol import usersig
from scripts.common.process import cpu_s

_ROOT: Final = Path(__file__).resolve().parents[2]
_START_S: Final = 30.0
_STOP_S: Final = 20.0
_CHECK_S: Final = 120.0
_TOKEN_S: Final = 86_400
_TROUBLE: Final = (" ERROR ", " CRITICAL ", "Traceback", "never retrieved", "never awaited")
DEFAULT_SDKAPPID: Final = 1_400_000_000


def _server_command(*arguments: str) -> list[str]:
    """``python -m server`` with these arguments; run it with ``_server_environment``."""
    return [sys.executable, "-P", "-m", "server", *arguments]


def _server_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment for a server of the tree in which this file is.

    No MUSTER_* but ``settings``. An environment may have another tree installed.
    """
    kept = {name: text for name, text in os.environ.items() if not name.startswith("MUSTER_")}
    return {**kept, "PYTHONPATH": str(_ROOT), **settings}


class Trouble(Exception):
    """The server cannot be used; the message says why."""


class Target:
    """Where to connect, and the key that signs for every user."""

    def __init__(self, url: str, secret_key: str, sdkappid: int = DEFAULT_SDKAPPID) -> None:
        self.url = url
        self._secret_key = secret_key
        self._sdkappid = sdkappid

    def sign(self, user_id: str) -> str:
        """A token for ``user_id``, valid for a day."""
        return usersig.sign(
            user_id,
            sdkappid=self._sdkappid,
            secret_key=self._secret_key,
            now_s=int(time.time()),
            expire_s=_TOKEN_S,
        )


class OwnServer:
    """A server process on a free port of 127.0.0.1 with its data in a temporary directory.

    Its log is kept beside the data; ``log_tail`` shows the end of it.

    Args:
        settings: ``MUSTER_*`` variables for it; those of this process are not passed on.
    """

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = settings
        self._directory = Path(tempfile.mkdtemp(prefix="muster-"))
        self._listen = "127.0.0.1:0"
        self._process: subprocess.Popen[bytes] | None = None
        self._earlier_cpu_s = 0.0
        self.url = ""

    @property
    def data(self) -> Path:
        """The data directory."""
        return self._directory / "data"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None
        return self._process.pid

    @property
    def cpu_s(self) -> float:
        """CPU seconds that it has used since it was first started."""
        return self._earlier_cpu_s + cpu_s(self.pid)

    def target(self) -> Target:
        """Where to connect, with the key that the server made."""
        return Target(self.url, read_key(self.data / "secret.key"))

    def start(self) -> None:
        """Start, or start again on the same data and port; returns when the server is ready.

        Raises:
            Trouble: it did not get ready.
        """
        command = _server_command("serve", "--listen", self._listen)
        command += ["--admin-listen", "127.0.0.1:0", "--data", str(self.data)]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_server_environment(self._settings),
                # Ctrl-C is for the program, which ends the server when it is done with it.
                process_group=0,
            )
        stdout = self._process.stdout
        assert stdout is not None
        try:
            self.url = json.loads(_first_line(stdout))["ws"]
        except ValueError:
            self._end(signal.SIGKILL)
            raise Trouble(f"the server did not get ready:\n{self.log_tail()}") from None
        self._listen = self.url.removeprefix("ws://").partition("/")[0]

    def kill(self) -> None:
        """End it as kill -9 does; returns when it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Let it drain and exit; returns its exit status."""
        return self._end(signal.SIGTERM)

    def check(self) -> tuple[bool, str]:
        """Whether ``python -m server check`` finds its data sound, and the last line it says.

        The server may run or not.
        """
        done = subprocess.run(
            _server_command("check", "--data", str(self.data)),
            capture_output=True,
            text=True,
            timeout=_CHECK_S,
            check=False,
            env=_server_environment({}),
        )
        words = (done.stdout + done.stderr).strip().splitlines()
        return done.returncode == 0, words[-1] if words else f"status {done.returncode}"

    def log_tail(self, lines: int = 20) -> str:
        """The end of what it logged."""
        text = (self._directory / "log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def log_troubles(self) -> list[str]:
        """What it logged that no server should have to log."""
        text = (self._directory / "log").read_text(encoding="utf-8", errors="replace")
        return [line for line in text.splitlines() if any(word in line for word in _TROUBLE)]

    def remove(self) -> None:
        """Stop it if it runs, and remove its data."""
        if self._process is not None and self._process.poll() is None:
            self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _end(self, how: signal.Signals) -> int:
        process = self._process
        assert process is not None
        self._earlier_cpu_s = self.cpu_s
        process.send_signal(how)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_S)
        if process.stdout is not None:
            process.stdout.close()
        return process.returncode


@contextlib.contextmanager
def own_server(settings: Mapping[str, str]) -> Iterator[OwnServer]:
    """A started server, stopped and removed at the end.

    SIGTERM becomes SystemExit, so that the server does not outlive a program that is ended.

    Raises:
        Trouble: it did not get ready.
    """
    server = OwnServer(settings)
    earlier = signal.signal(signal.SIGTERM, _exit)
    try:
        server.start()
        yield server
    finally:
        server.remove()
        signal.signal(signal.SIGTERM, earlier)


def _exit(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def read_key(path: Path) -> str:
    """The key in ``path``, as the server keeps it.

    Raises:
        Trouble: the file cannot be read.
    """
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        raise Trouble(f"the key file cannot be read: {error}") from error


def _first_line(stream: IO[bytes]) -> bytes:
    """The first line of ``stream``; empty when none comes in time."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return stream.readline() if selector.select(_START_S) else b""
