"""The database file of a data directory: made once, checked at every start, never guessed at.

A new database is made under another name and renamed when it is whole, so that an empty or half
made file under the real name is never ours. A marker beside it says that there was one: a
directory that has lost its database is refused instead of served as a new one.
"""

import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from server.storage import schema, terms
from server.storage.refusal import StoreRefused

DATABASE_NAME: Final = "muster.db"
MARKER_NAME: Final = "muster.initialised"

BUSY_TIMEOUT_S: Final = 2.0
_MAGIC: Final = b"SQLite format 3\0"
_OLDEST_SQLITE: Final = (3, 37, 0)
_CHECKPOINT_PAGES: Final = 4000
_CACHED_STATEMENTS: Final = 512
_RESTORE: Final = "restore a backup, or name another data directory"

_HELP: Final = {
    sqlite3.SQLITE_FULL: ("written", "make room on the disk"),
    sqlite3.SQLITE_READONLY: ("written", "let this user write to it and to its directory"),
    sqlite3.SQLITE_CANTOPEN: ("opened", "let this user write to it and to its directory"),
    sqlite3.SQLITE_BUSY: ("used", "end the other program that uses it"),
}
"""What cannot be done with a database that may well be whole, and what helps."""


def prepare(directory: Path, epoch: str | None) -> sqlite3.Connection:
    """The one connection that may write to the database of ``directory``, made if it is new.

    The caller holds the directory's lock. ``epoch`` names the term that begins with this; a
    random one when it is None. The term is synced to disk before anybody can be told its name.

    Raises:
        StoreRefused: the file is damaged, missing, foreign, or of a newer version.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreRefused(f"SQLite {sqlite3.sqlite_version} is too old; 3.37 or newer is needed")
    path = directory / DATABASE_NAME
    try:
        if not path.exists():
            _refuse_loss(directory, path)
            _make(path)
        connection = _open_checked(path, secrets.token_hex(8) if epoch is None else epoch)
        set_marker(directory)
    except OSError as error:
        raise StoreRefused(f"{path} cannot be used: {error.strerror}") from error
    except sqlite3.Error as error:
        raise StoreRefused(f"{path} cannot be made: {error}") from error
    return connection


def connect(path: Path) -> sqlite3.Connection:
    """A connection as the writer uses it, without a look at what is in the file."""
    return sqlite3.connect(
        path,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_CACHED_STATEMENTS,
    )


def connect_read_only(path: Path) -> sqlite3.Connection:
    """A connection to a database of ours that cannot write and never checkpoints.

    Works beside a running server. The last writer to close a database merges its log into it and
    removes the log; whoever has to repair a damaged one needs both as they are.

    Raises:
        StoreRefused: the file is foreign, of a newer version, or cannot be read at all.
        OSError: it cannot be opened.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise StoreRefused(f"{path} is no SQLite database; {_RESTORE}")
    uri = f"{path.resolve().as_uri()}?mode=ro"
    try:
        connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise _refusal(path, error) from error
    try:
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        _refuse_foreign(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise _refusal(path, error) from error
    except StoreRefused:
        connection.close()
        raise
    return connection


def _refuse_loss(directory: Path, path: Path) -> None:
    for left_behind in (directory / MARKER_NAME, path.with_name(path.name + "-wal")):
        if left_behind.exists():
            raise StoreRefused(f"{path} is missing, but {left_behind} is there; {_RESTORE}")


def _make(path: Path) -> None:
    unfinished = path.with_name(path.name + ".new")
    for suffix in ("", "-journal", "-wal", "-shm"):
        unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL, 0o600))
    connection = connect(unfinished)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        schema.create(connection)
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
    unfinished.rename(path)
    sync_directory(path.parent)


def _open_checked(path: Path, term: str) -> sqlite3.Connection:
    with closing(connect_read_only(path)) as looking:
        refuse_damaged(looking, path)
    connection = connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES:d}")
        connection.execute("PRAGMA cache_size = -65536")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        schema.migrate(connection)
        terms.begin(connection, term)
    except sqlite3.Error as error:
        connection.close()
        raise _refusal(path, error) from error
    return connection


def _refusal(path: Path, error: sqlite3.Error) -> StoreRefused:
    """What cannot be done, and what helps against it."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    verb, help_ = _HELP.get(code, ("read", _RESTORE))
    return StoreRefused(f"{path} cannot be {verb}: {error}; {help_}")


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    if schema.application_of(connection) != schema.APPLICATION_ID:
        raise StoreRefused(f"{path} is a database of another program; {_RESTORE}")
    version = schema.version_of(connection)
    if version > schema.SCHEMA_VERSION:
        raise StoreRefused(
            f"{path} has version {version}, this program knows {schema.SCHEMA_VERSION}; "
            "use the newer program"
        )


def refuse_damaged(connection: sqlite3.Connection, path: Path) -> None:
    """Return if what is at ``path``, to which ``connection`` leads, is whole.

    Raises:
        StoreRefused: it is not.
    """
    try:
        found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise _refusal(path, error) from error
    if found != "ok":
        raise StoreRefused(f"{path} is damaged: {found}; {_RESTORE}")


def set_marker(directory: Path) -> None:
    """Say that ``directory`` has a database, so that one that is missing was lost."""
    marker = directory / MARKER_NAME
    if not marker.exists():
        os.close(os.open(marker, os.O_CREAT, 0o600))
        sync_directory(directory)


def sync_directory(directory: Path) -> None:
    """Sync what was made, renamed and removed in ``directory``."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
