"""Backups: a whole copy of the database in one file, and the way back.

A copy is made by SQLite's online backup in a single step, which is one snapshot whatever is
committed meanwhile. It has no terms: the first opening after a restore begins a history of its
own, so that every device is told to read everything anew.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from server.storage import database, schema
from server.storage.database import DATABASE_NAME
from server.storage.lock import DirectoryLock
from server.storage.refusal import StoreRefused

_PATIENCE_S: Final = 10.0
"""How long a source that another program has locked is waited for."""

_WITH_LOGS: Final = ("", "-journal", "-wal", "-shm")
_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}

_CONTENT: Final = """
SELECT (SELECT count(*) FROM grp WHERE closed_ms = 0), (SELECT count(DISTINCT user_id) FROM member),
    (SELECT count(*) FROM entry), position FROM shard WHERE shard = 0
"""


class Content(msgspec.Struct, frozen=True):
    """What a copy holds: living groups, their members, entries of logs, where the log ends."""

    groups: int
    users: int
    entries: int
    position: int
    size_bytes: int


class Restored(msgspec.Struct, frozen=True):
    """What was restored, and under which name the database that was there is kept, if any was."""

    content: Content
    kept: Path | None


def back_up(directory: Path, target: Path) -> Content:
    """Copy the database of ``directory``, in use or not, to the new file ``target``.

    It appears there when it is whole and synced, readable by its owner only.

    Raises:
        StoreRefused: there is no database, it is damaged, ``target`` exists, the disk is full.
    """
    source = directory / DATABASE_NAME
    if not source.exists():
        raise StoreRefused(f"{directory} has no {DATABASE_NAME}: there is nothing to back up")
    unfinished = target.with_name(target.name + ".part")
    with _failures_named(target):
        _refuse_to_replace(target)
        with _claimed(unfinished):
            try:
                content = _copy(source, unfinished)
                _refuse_to_replace(target)
                unfinished.rename(target)
            finally:
                _remove(unfinished)
        database.sync_directory(target.parent)
    return content


def restore(source: Path, directory: Path) -> Restored:
    """Make the database at ``source`` that of ``directory``, in which no server may run.

    The one that was there is kept under another name, with its log: SQLite would apply a log to
    any database beside which it finds it.

    Raises:
        StoreRefused: ``source`` is no database that can be served, or a server runs.
    """
    path = directory / DATABASE_NAME
    unfinished = path.with_name(path.name + ".new")
    with _failures_named(path):
        if not source.exists():
            raise StoreRefused(f"{source} does not exist")
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = DirectoryLock(directory)
        try:
            _remove(unfinished)
            os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL, 0o600))
            try:
                content = _copy(source, unfinished)
                _give_to_owner_of(directory, unfinished)
                kept = _move_aside(path)
                unfinished.rename(path)
            finally:
                _remove(unfinished)
            database.sync_directory(directory)
            database.set_marker(directory)
        finally:
            lock.release()
    return Restored(content, kept)


def _copy(source: Path, target: Path) -> Content:
    """Fill ``target``, an empty file, with a copy that is one file, whole and synced."""
    with closing(database.connect(target)) as copy:
        with closing(database.connect_read_only(source)) as original:
            database.refuse_damaged(original, source)
            original.backup(copy, progress=_Patience())
        copy.execute("PRAGMA synchronous = FULL")
        copy.execute("PRAGMA journal_mode = DELETE")
        schema.migrate(copy)
        copy.execute("DELETE FROM term")
        database.refuse_damaged(copy, target)
        groups, users, entries, position = copy.execute(_CONTENT).fetchone()
    file = os.open(target, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
    return Content(groups, users, entries, position, target.stat().st_size)


class _Patience:
    """Ends a backup that another program keeps from beginning."""

    def __init__(self) -> None:
        self._end_s = time.monotonic() + _PATIENCE_S

    def __call__(self, status: int, _remaining: int, _total: int) -> None:
        if status in _BUSY and time.monotonic() > self._end_s:
            raise StoreRefused("the database is locked by another program; end that one first")


@contextmanager
def _claimed(unfinished: Path) -> Iterator[None]:
    """Have the file to oneself, new or left behind by a backup that was killed, and empty."""
    file = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreRefused(f"another backup is writing to {unfinished}") from error
        if not os.path.samestat(os.fstat(file), unfinished.stat()):
            # It was finished and renamed between the two calls.
            raise StoreRefused(f"another backup wrote to {unfinished}")
        os.fchmod(file, 0o600)
        os.ftruncate(file, 0)
        yield
    finally:
        os.close(file)


@contextmanager
def _failures_named(path: Path) -> Iterator[None]:
    """What fails on the way is refused in the words of the operator."""
    try:
        yield
    except OSError as error:
        raise StoreRefused(f"{error.filename or path} cannot be used: {error.strerror}") from error
    except sqlite3.Error as error:
        raise StoreRefused(f"{path} cannot be written: {error}") from error


def _refuse_to_replace(target: Path) -> None:
    if os.path.lexists(target):
        raise StoreRefused(f"{target} exists already; name another file")


def _remove(path: Path) -> None:
    for suffix in _WITH_LOGS:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _move_aside(path: Path) -> Path | None:
    """Rename the database at ``path`` and its log; the new name, None without a database.

    The database goes first: without it nothing is served, and without its log it would be served
    without what is only there.
    """
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    kept = path.with_name(f"{path.name}.before-restore-{moment}-{os.getpid()}")
    had_one = path.exists()
    for suffix in _WITH_LOGS:
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(kept.with_name(kept.name + suffix))
    database.sync_directory(path.parent)
    return kept if had_one else None


def _give_to_owner_of(directory: Path, path: Path) -> None:
    """What the superuser restores has to belong to the user whom the server runs as."""
    if os.geteuid() == 0:
        owner = directory.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
