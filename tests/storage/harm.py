"""What is done to a data directory from outside, and an old database."""

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from protocol.vocabulary import Role
from server.storage import schema
from server.storage.records import encode_entry, encode_row
from tests.storage.builders import entry, group, member, message


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


def third_version(file: Path) -> None:
    """A database as version 3 left it: ann and bob in the group g, and ann has said three things."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        for statements in schema.MIGRATIONS[:3]:
            for statement in statements:
                connection.execute(statement)
        connection.execute("INSERT INTO term (name, start_position) VALUES ('k7f2', 0)")
        owned = encode_row(group(member_count=2))
        connection.execute("INSERT INTO grp VALUES ('g', 1, 'Work', 1, 0, ?)", (owned,))
        told = [entry("founded", joined=("ann", "bob")), *(message(text) for text in "abc")]
        for seq, one in enumerate(told, start=1):
            row = (seq, "g:g", seq, one.kind, encode_entry(one))
            connection.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?)", row)
        connection.execute("INSERT INTO log_head VALUES ('g:g', 4, 4, 1, 4, NULL)")
        for user_id, role, read_seq, said_ms in (
            ("ann", Role.OWNER, 4, 1),
            ("bob", Role.MEMBER, 2, 0),
        ):
            body = encode_row(member(user_id, role=role))
            place = ("g", user_id, 1, role.rank, body)
            connection.execute("INSERT INTO member VALUES (?, ?, ?, ?, ?)", place)
            connection.execute(
                "INSERT INTO mark VALUES ('g', ?, 1, 0, ?, ?)", (user_id, read_seq, said_ms)
            )
            connection.execute(
                "INSERT INTO membership VALUES (?, 1, 'g', 0, NULL, 0, 1)", (user_id,)
            )
        connection.execute("UPDATE shard SET position = 4, change = 4")
        connection.execute("PRAGMA user_version = 3")
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
