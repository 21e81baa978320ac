"""Stores that are closed whatever becomes of the test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from server.storage.sqlite import SqliteStore, open_sqlite

Opening = Callable[[Path], Awaitable[SqliteStore]]


@pytest.fixture
async def opening() -> AsyncIterator[Opening]:
    """``open_sqlite`` for stores of epoch "first"."""
    opened: list[SqliteStore] = []

    async def open_one(directory: Path) -> SqliteStore:
        store = await open_sqlite(directory, epoch="first")
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        await store.close()
