"""What is done to a data directory from outside, and an old database."""

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from server.storage import schema
from server.storage.records import encode_entry
from tests.storage.builders import message


def first_version(file: Path) -> None:
    """A database as version 1 left it, with two messages of the epoch k7f2."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        for statement in schema.MIGRATIONS[0]:
            connection.execute(statement)
        connection.execute("INSERT INTO meta (name, value) VALUES ('epoch', 'k7f2')")
        for position, name in enumerate("ab", start=1):
            body = encode_entry(message(name, time_ms=7))
            row = (position, "g:g", position, "message", body)
            connection.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?)", row)
        connection.execute("INSERT INTO log_head VALUES ('g:g', 2, 2, 7, 2, NULL)")
        connection.execute("UPDATE shard SET position = 2, change = 2")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")


def overwrite(file: Path, page: int, offset: int = 0) -> None:
    with file.open("r+b") as out:
        out.seek(page * 4096 + offset)
        out.write(b"\xa5" * (4096 - offset))


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Writing beyond ``size`` fails in any file, as it does for a process with a quota."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
