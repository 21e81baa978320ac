"""The one thread that writes: a transaction at a time, in the order of asking.

A whole transaction is one call on this thread, so nobody can come between its BEGIN and its
COMMIT, and giving up waiting for it does not disturb it. What a failure means is decided here.
"""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from server.service.ports import OutcomeUnknown, Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
_Job = tuple["asyncio.Future[Any]", Work[Any]]

_NOT_COMMITTED: Final = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
}
"""What COMMIT says when its last page cannot have been written. After any other error a restart
may find the transaction there."""

_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_UNREADABLE: Final = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}

_FENCED: Final = "the outcome of a commit is unknown, or the database is damaged; restart"


class Fence:
    """Whether the store may still be trusted; once it is up it stays up."""

    def __init__(self) -> None:
        self._reason: str | None = None

    def raise_up(self, reason: str) -> None:
        """From now on ``check`` raises."""
        if self._reason is None:
            self._reason = reason
            log.critical("the store is fenced: %s", reason)

    def check(self) -> None:
        """Return if the store may be trusted.

        Raises:
            OutcomeUnknown: it may not.
        """
        if self._reason is not None:
            raise OutcomeUnknown(f"{_FENCED} ({self._reason})")

    def translate(self, error: sqlite3.Error) -> Exception:
        """What to raise for ``error``, after which nothing is changed.

        A database that is damaged or cannot be read is fenced.
        """
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if code & 0xFF in _DAMAGED or code in _UNREADABLE:
            self.raise_up(f"{error}")
            return OutcomeUnknown(f"{_FENCED} ({error})")
        if isinstance(error, sqlite3.OperationalError):
            return Unavailable(f"the database refuses: {error}")
        return error


class Writer:
    """Runs transactions on ``connection``, which belongs to it from now on."""

    def __init__(self, connection: sqlite3.Connection, fence: Fence) -> None:
        self._connection = connection
        self._fence = fence
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._is_closing = False
        # A process that ends without close() loses nothing: what was answered is synced.
        self._thread = threading.Thread(target=self._run, name="muster-writer", daemon=True)
        self._thread.start()

    async def transact(self, work: Work[T]) -> T:
        """The result of ``work`` in a transaction of its own that is committed and synced.

        Raises:
            Unavailable: nothing was changed.
            OutcomeUnknown: it may have been committed or not; the store is fenced.
        """
        self._fence.check()
        if self._is_closing:
            raise Unavailable("the store is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put((future, work))
        return await future

    async def close(self) -> None:
        """Finish what was asked for and close the connection."""
        if not self._is_closing:
            self._is_closing = True
            self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._do(job)
            except BaseException as error:  # noqa: BLE001 - the thread stays to tell the others
                self._fence.raise_up(f"the writer failed: {error!r}")
        self._connection.close()

    def _do(self, job: _Job) -> None:
        future, work = job
        result: Any = None
        error: BaseException | None = None
        try:
            self._fence.check()
            result = self._transact(work)
        except BaseException as caught:  # noqa: BLE001 - it belongs to whoever waits
            error = caught
        try:
            future.get_loop().call_soon_threadsafe(_settle, future, result, error)
        except RuntimeError:
            log.warning("nobody waits any more for what the writer has done")

    def _transact(self, work: Work[T]) -> T:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = work(connection)
        except sqlite3.Error as error:
            self._roll_back()
            raise self._fence.translate(error) from error
        except BaseException:
            self._roll_back()
            raise
        try:
            connection.execute("COMMIT")
        except BaseException as error:
            raise self._after_failed_commit(error) from error
        return result

    def _roll_back(self) -> None:
        """Undo the open transaction, if SQLite has not done so itself."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._fence.raise_up(f"rolling back failed: {error}")
            raise OutcomeUnknown(f"{_FENCED} ({error})") from error

    def _after_failed_commit(self, error: BaseException) -> Exception:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if code & 0xFF in _NOT_COMMITTED:
            self._roll_back()
            return Unavailable(f"the database refuses: {error}")
        self._fence.raise_up(f"COMMIT failed: {error}")
        return OutcomeUnknown(f"{_FENCED} ({error})")


def _settle(future: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
