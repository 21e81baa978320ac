"""The thread that writes meets what nobody expects: fault F32 of ``reliability.md``."""

import sqlite3
from pathlib import Path
from typing import Any, cast

import pytest

from server.service.ports import OutcomeUnknown
from server.storage.sqlite import open_sqlite


class Death(BaseException):
    """Not even an Exception."""


async def test_what_a_transaction_dies_of_is_its_callers_and_changes_nothing(
    tmp_path: Path,
) -> None:
    store = await open_sqlite(tmp_path)

    def write_and_die(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE shard SET position = 7")
        raise Death

    with pytest.raises(Death):
        await store._writer.transact(write_and_die)
    assert (await store.heads(0)).position == 0
    assert await store._writer.transact(lambda connection: connection.in_transaction)
    await store.close()


async def test_a_writer_that_fails_outside_of_a_transaction_fences(tmp_path: Path) -> None:
    """It stays to tell those who come, and nothing is acknowledged any more."""
    store = await open_sqlite(tmp_path)
    store._writer._jobs.put(cast(Any, "no job"))
    with pytest.raises(OutcomeUnknown, match="the writer failed"):
        await store._writer.transact(lambda _connection: None)
    with pytest.raises(OutcomeUnknown):
        await store.heads(0)
    await store.close()
