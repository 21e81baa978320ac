"""The tables, and how a database comes to have them.

``application_id`` says that a file is ours and ``user_version`` which migrations it has had. A
migration is one transaction that sets ``user_version`` itself, so that one which was interrupted
is simply run again.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

APPLICATION_ID: Final = 0x4D757374
"""``Must`` in ASCII; ``file`` and SQLite's own tools show it."""

_FIRST: Final = (
    # What there is one of: the epoch.
    """
    CREATE TABLE meta (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    # Where the log is: its last position, the last change number, the oldest cursor it serves,
    # the change number of the last purge.
    """
    CREATE TABLE shard (
        shard INTEGER PRIMARY KEY,
        position INTEGER NOT NULL,
        change INTEGER NOT NULL,
        floor INTEGER NOT NULL,
        purged INTEGER NOT NULL
    ) STRICT
    """,
    "INSERT INTO shard (shard, position, change, floor, purged) VALUES (0, 0, 0, 0, 0)",
    # The end of each log, 'g:' and a group or 'u:' and a user. Apart from grp, because every
    # message writes here and these rows are small.
    """
    CREATE TABLE log_head (
        log TEXT PRIMARY KEY,
        seq INTEGER NOT NULL,
        last_position INTEGER NOT NULL,
        last_message_ms INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        closed_position INTEGER
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE grp (
        group_id TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        type TEXT NOT NULL,
        changed_ms INTEGER NOT NULL,
        closed_ms INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX grp_living ON grp (changed_ms) WHERE closed_ms = 0",
    "CREATE INDEX grp_closed ON grp (closed_ms) WHERE closed_ms > 0",
    # Rows of a disbanded group stay until it is purged.
    """
    CREATE TABLE member (
        group_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        version INTEGER NOT NULL,
        rank INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (group_id, user_id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX member_in_charge ON member (group_id, user_id) WHERE rank > 1",
    "CREATE INDEX in_charge_of ON member (user_id, group_id) WHERE rank > 1",
    # What a member has said and read; one for each row of member. Apart from it, because every
    # message writes here and these rows are small.
    """
    CREATE TABLE mark (
        group_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        joined_position INTEGER NOT NULL,
        joined_seq INTEGER NOT NULL,
        read_seq INTEGER NOT NULL,
        last_message_ms INTEGER NOT NULL,
        PRIMARY KEY (group_id, user_id)
    ) STRICT, WITHOUT ROWID
    """,
    # What a user may see of a group's log: positions from joined_position up to and with
    # left_position, or to where the group ended.
    """
    CREATE TABLE membership (
        user_id TEXT NOT NULL,
        joined_position INTEGER NOT NULL,
        group_id TEXT NOT NULL,
        joined_seq INTEGER NOT NULL,
        left_position INTEGER,
        discards INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        PRIMARY KEY (user_id, joined_position, group_id)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE UNIQUE INDEX membership_open ON membership (user_id, group_id)
        WHERE left_position IS NULL
    """,
    "CREATE INDEX membership_of_group ON membership (group_id)",
    # Rows that are only ever asked for by name: 'remembered' of a group and a user, 'attributes'
    # and 'counters' of a group, 'seen', 'known' and 'revoked' of a user. What is not part of the
    # name is ''.
    """
    CREATE TABLE detail (
        kind TEXT NOT NULL,
        group_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        version INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (group_id, kind, user_id)
    ) STRICT, WITHOUT ROWID
    """,
    # invitee_id is set where that user decides, and NULL where the group's owner and admins do.
    """
    CREATE TABLE application (
        application_id TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        group_id TEXT NOT NULL,
        invitee_id TEXT,
        status TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        handled_ms INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX application_of_group ON application (group_id, status, created_ms)",
    "CREATE INDEX application_of_invitee ON application (invitee_id, status, created_ms)"
    " WHERE invitee_id IS NOT NULL",
    "CREATE INDEX application_handled ON application (handled_ms) WHERE status <> 'pending'",
    # The log itself. Within a log seq rises with position, so one index serves both; what that
    # costs a reader is in sqlite_queries, what a second one would cost every commit is more.
    """
    CREATE TABLE entry (
        position INTEGER PRIMARY KEY,
        log TEXT NOT NULL,
        seq INTEGER NOT NULL,
        kind TEXT NOT NULL,
        body TEXT NOT NULL
    ) STRICT
    """,
    "CREATE UNIQUE INDEX entry_of_log ON entry (log, position, seq)",
    "CREATE INDEX entry_unsaid ON entry (log) WHERE kind <> 'message'",
    # By request_id first: ids that begin with the time then land on few pages.
    """
    CREATE TABLE request (
        id INTEGER PRIMARY KEY,
        user_id TEXT NOT NULL,
        request_id TEXT NOT NULL,
        digest BLOB NOT NULL,
        seq INTEGER,
        at_ms INTEGER NOT NULL,
        reply BLOB NOT NULL,
        UNIQUE (request_id, user_id)
    ) STRICT
    """,
    """
    CREATE TABLE counter (
        name TEXT PRIMARY KEY,
        value INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
)

_TERMS: Final = (
    # Every opening of the database, the last one last; see terms.
    """
    CREATE TABLE term (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        start_position INTEGER NOT NULL
    ) STRICT
    """,
    # What was one epoch for the database's whole life becomes its first term.
    "INSERT INTO term (name, start_position) SELECT value, 0 FROM meta WHERE name = 'epoch'",
    "DROP TABLE meta",
)

_OUTBOX_COLUMNS: Final = """
    delivery_id TEXT NOT NULL,
    name TEXT NOT NULL,
    stream TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    platform TEXT NOT NULL,
    address TEXT NOT NULL,
    body TEXT NOT NULL,
    seq INTEGER,
    member_ids TEXT,
    attempts INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    failure TEXT NOT NULL
"""
_OUTBOX: Final = (
    # What the operator's own service is still to be told. AUTOINCREMENT: whoever has read up to an
    # id must not miss one that comes later.
    f"CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, {_OUTBOX_COLUMNS}) STRICT",
    # What it could not be told.
    f"CREATE TABLE outbox_dead (id INTEGER PRIMARY KEY AUTOINCREMENT, {_OUTBOX_COLUMNS}) STRICT",
    "CREATE INDEX outbox_dead_delivery ON outbox_dead (delivery_id)",
)

_QUIET: Final = (
    # How many entries of a log, and of what a member has read of it, do not count as unread.
    "ALTER TABLE log_head ADD COLUMN quiet INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE mark ADD COLUMN read_quiet INTEGER NOT NULL DEFAULT 0",
    # Which entries these are. Few, and apart from entry, so that all the others cost nothing.
    """
    CREATE TABLE quiet (
        log TEXT NOT NULL,
        seq INTEGER NOT NULL,
        position INTEGER NOT NULL,
        PRIMARY KEY (log, seq)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX quiet_position ON quiet (position)",
)

MIGRATIONS: Final[Sequence[Sequence[str]]] = (_FIRST, _TERMS, _OUTBOX, _QUIET)
"""The n-th, counted from 1, makes a database of version n out of one of version n - 1."""

SCHEMA_VERSION: Final = len(MIGRATIONS)


def version_of(connection: sqlite3.Connection) -> int:
    """How many migrations the database has had."""
    return _pragma(connection, "PRAGMA user_version")


def application_of(connection: sqlite3.Connection) -> int:
    """Whose the database is, 0 for nobody's."""
    return _pragma(connection, "PRAGMA application_id")


def create(connection: sqlite3.Connection) -> None:
    """Make an empty database ours, with all tables, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
    for version, statements in enumerate(MIGRATIONS, start=1):
        _migrate(connection, statements, version)
    connection.execute("COMMIT")


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an older database to SCHEMA_VERSION, one transaction for each step."""
    for version in range(version_of(connection) + 1, SCHEMA_VERSION + 1):
        connection.execute("BEGIN IMMEDIATE")
        _migrate(connection, MIGRATIONS[version - 1], version)
        connection.execute("COMMIT")


def _migrate(connection: sqlite3.Connection, statements: Sequence[str], version: int) -> None:
    for statement in statements:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {version:d}")


def _pragma(connection: sqlite3.Connection, statement: str) -> int:
    value: int = connection.execute(statement).fetchone()[0]
    return value
