"""Reading connections: they see what was committed before they were asked, and never write.

Only the writer checkpoints: two connections that write or checkpoint at once may damage the
file in every SQLite before 3.51.3.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import aiosqlite

from server.service.ports import Unavailable
from server.storage.database import BUSY_TIMEOUT_S
from server.storage.sqlite_writer import Fence

_SETTINGS: Final = (
    "PRAGMA query_only = 1",
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA cache_size = -16384",
)


class Readers:
    """A few connections to the same file, each of which answers one question at a time."""

    def __init__(self, connections: Sequence[aiosqlite.Connection], fence: Fence) -> None:
        self._connections = list(connections)
        self._fence = fence
        self._free: asyncio.LifoQueue[aiosqlite.Connection] = asyncio.LifoQueue()
        for connection in self._connections:
            self._free.put_nowait(connection)

    @classmethod
    async def open(cls, path: Path, count: int, fence: Fence) -> "Readers":
        """``count`` connections to the database at ``path``."""
        connections: list[aiosqlite.Connection] = []
        try:
            for _ in range(count):
                connection = await aiosqlite.connect(
                    path, timeout=BUSY_TIMEOUT_S, isolation_level=None
                )
                connections.append(connection)
                for setting in _SETTINGS:
                    await connection.execute_fetchall(setting)
        except BaseException:
            for connection in connections:
                await connection.close()
            raise
        return cls(connections, fence)

    async def row(self, statement: str, *parameters: object) -> Sequence[Any] | None:
        """The first row that ``statement`` gives, None without one.

        Raises:
            Unavailable: it cannot be read now.
            OutcomeUnknown: the store is fenced.
        """
        self._check()
        connection = await self._free.get()
        try:
            self._check()
            rows = await connection.execute_fetchall(statement, parameters)
        except sqlite3.Error as error:
            raise self._fence.translate(error) from error
        finally:
            # Given up by its caller it may still be at work; the next question waits for that.
            self._free.put_nowait(connection)
        return next(iter(rows), None)

    def _check(self) -> None:
        self._fence.check()
        if not self._connections:
            raise Unavailable("the store is closed")

    async def close(self) -> None:
        """Let go of every connection. May be called twice."""
        connections, self._connections = self._connections, []
        for connection in connections:
            await connection.close()
