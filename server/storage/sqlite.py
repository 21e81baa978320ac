"""The store in one SQLite file: ``server.service.ports.Store`` for one process."""

import asyncio
import sqlite3
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from server.service.outbox import Settled
from server.service.ports import Outcome, WriteSet
from server.storage import database, sqlite_housekeeping, sqlite_outbox
from server.storage.lock import DirectoryLock
from server.storage.refusal import StoreRefused
from server.storage.sqlite_batch import commit_batch
from server.storage.sqlite_reader import Readers
from server.storage.sqlite_reads import SqliteReads, check_shard
from server.storage.sqlite_writer import Fence, Writer


async def open_sqlite(
    directory: Path, *, epoch: str | None = None, readers: int = 2
) -> "SqliteStore":
    """The store of ``directory``, which is made when it does not exist.

    Args:
        directory: holds everything; one process at a time.
        epoch: names the term that begins with this opening; random when None. The name that the
            last opening had goes on with its term. For tests; others let it be None.
        readers: how many questions may be answered at the same time.

    Raises:
        StoreRefused: another process uses it, or what is in it must not be served.
    """
    lock, connection = await asyncio.to_thread(_prepare, directory, epoch)
    fence = Fence()
    writer = Writer(connection, fence)
    try:
        pool = await Readers.open(directory / database.DATABASE_NAME, readers, fence)
    except BaseException:
        await writer.close()
        lock.release()
        raise
    return SqliteStore(lock, writer, pool)


class SqliteStore(SqliteReads):
    """See ``server.service.ports.Store``; ``open_sqlite`` makes one."""

    def __init__(self, lock: DirectoryLock, writer: Writer, readers: Readers) -> None:
        super().__init__(readers)
        self._lock = lock
        self._writer = writer

    async def commit(self, shard: int, batch: Sequence[WriteSet]) -> Sequence[Outcome]:
        """See ``Store.commit``. Calls are applied in their order, also when given up."""
        check_shard(shard)
        return await self._writer.transact(partial(commit_batch, batch=tuple(batch)))

    async def trim(self, shard: int, before_ms: int, limit: int) -> int:
        """See ``Store.trim``."""
        check_shard(shard)
        return await self._writer.transact(
            partial(sqlite_housekeeping.trim, before_ms=before_ms, limit=limit)
        )

    async def purge(self, before_ms: int, limit: int) -> int:
        """See ``Store.purge``."""
        return await self._writer.transact(
            partial(sqlite_housekeeping.purge, before_ms=before_ms, limit=limit)
        )

    async def forget_requests(self, before_ms: int, limit: int) -> int:
        """See ``Store.forget_requests``. Looks at the ``limit`` that were stored first."""
        return await self._writer.transact(
            partial(sqlite_housekeeping.forget_requests, before_ms=before_ms, limit=limit)
        )

    async def settle(self, settled: Sequence[Settled], *, most_dead: int | None) -> int:
        """See ``Outbox.settle``."""
        return await self._writer.transact(
            partial(sqlite_outbox.settle, settled=settled, most_dead=most_dead)
        )

    async def revive(self, delivery_ids: Collection[str] | None) -> int:
        """See ``Outbox.revive``."""
        return await self._writer.transact(partial(sqlite_outbox.revive, delivery_ids=delivery_ids))

    async def close(self) -> None:
        """See ``Store.close``."""
        # The writer last: the last one to close a database tidies it up.
        await self._readers.close()
        await self._writer.close()
        self._lock.release()


def _prepare(directory: Path, epoch: str | None) -> tuple[DirectoryLock, sqlite3.Connection]:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreRefused(f"{directory} cannot be made: {error.strerror}") from error
    lock = DirectoryLock(directory)
    try:
        return lock, database.prepare(directory, epoch)
    except BaseException:
        lock.release()
        raise
