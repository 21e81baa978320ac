"""One process per data directory: a lock that the kernel lets go of when its holder dies."""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

from server.storage.refusal import StoreRefused

LOCK_NAME: Final = "muster.lock"


class DirectoryLock:
    """The lock on ``directory``, held from construction to ``release``.

    The file holds the holder's process id for the one who is refused. It stays when the lock is
    gone: whether it is there says nothing.

    Raises:
        StoreRefused: another process holds it, or the file cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / LOCK_NAME
        try:
            self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreRefused(f"{path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip() or "unknown"
            self.release()
            raise StoreRefused(
                f"{directory} is in use by another server (process {holder}); "
                "stop that one first, or choose another data directory"
            ) from error
        # It is for people; a disk that takes nothing refuses by itself what needs it to.
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        """Let go. May be called twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
