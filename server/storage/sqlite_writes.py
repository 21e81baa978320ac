"""Writing the changes of a batch: a statement or a few for each kind of thing."""

import sqlite3
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from server.domain.model import (
    Application,
    ApplicationKey,
    Group,
    GroupKey,
    Member,
    MemberKey,
    RowKey,
)
from server.storage.bulk import ManyRows
from server.storage.changes import Changes, PutRow
from server.storage.records import encode_entry, encode_row, invitee_of, name_of, with_data
from server.storage.sqlite_outbox import add_to_outbox
from server.storage.sqlite_queries import ENTRY_AT

CLOSE_INTERVAL: Final = """
UPDATE membership SET left_position = ?, changed = ?, discards = ifnull(?, discards)
WHERE user_id = ? AND group_id = ? AND left_position IS NULL
"""
OPEN_INTERVAL: Final = ManyRows(
    "INSERT INTO membership (user_id, joined_position, group_id, joined_seq, left_position,"
    " discards, changed) VALUES",
    7,
)
CHANGE_INTERVAL: Final = """
UPDATE membership SET discards = ifnull(?, discards), changed = ?
WHERE user_id = ? AND group_id = ? AND left_position IS NULL
"""

DELETE_GROUP: Final = "DELETE FROM grp WHERE group_id = ?"
PUT_GROUP: Final = ManyRows(
    "INSERT INTO grp (group_id, version, type, changed_ms, closed_ms, body) VALUES",
    6,
    "ON CONFLICT (group_id) DO UPDATE SET version = excluded.version, type = excluded.type,"
    " changed_ms = excluded.changed_ms, closed_ms = excluded.closed_ms, body = excluded.body",
)
DELETE_MEMBER: Final = "DELETE FROM member WHERE group_id = ? AND user_id = ?"
PUT_MEMBER: Final = ManyRows(
    "INSERT INTO member (group_id, user_id, version, rank, body) VALUES",
    5,
    "ON CONFLICT (group_id, user_id) DO UPDATE"
    " SET version = excluded.version, rank = excluded.rank, body = excluded.body",
)
DELETE_APPLICATION: Final = "DELETE FROM application WHERE application_id = ?"
PUT_APPLICATION: Final = ManyRows(
    "INSERT INTO application (application_id, version, group_id, invitee_id, status, created_ms,"
    " handled_ms, body) VALUES",
    8,
    "ON CONFLICT (application_id) DO UPDATE SET version = excluded.version,"
    " group_id = excluded.group_id, invitee_id = excluded.invitee_id, status = excluded.status,"
    " created_ms = excluded.created_ms, handled_ms = excluded.handled_ms, body = excluded.body",
)
DELETE_DETAIL: Final = "DELETE FROM detail WHERE kind = ? AND group_id = ? AND user_id = ?"
PUT_DETAIL: Final = ManyRows(
    "INSERT INTO detail (kind, group_id, user_id, version, body) VALUES",
    5,
    "ON CONFLICT (kind, group_id, user_id) DO UPDATE"
    " SET version = excluded.version, body = excluded.body",
)

DELETE_MARK: Final = "DELETE FROM mark WHERE group_id = ? AND user_id = ?"
PLACE_MARK: Final = (
    "UPDATE mark SET read_seq = ?, read_quiet = ? WHERE group_id = ? AND user_id = ?"
)
_MARK: Final = (
    "INSERT INTO mark (group_id, user_id, joined_position, joined_seq, read_seq, last_message_ms,"
    " read_quiet) VALUES"
)
FRESH_MARK: Final = ManyRows(
    _MARK,
    7,
    "ON CONFLICT (group_id, user_id) DO UPDATE SET joined_position = excluded.joined_position,"
    " joined_seq = excluded.joined_seq, read_seq = excluded.read_seq,"
    " last_message_ms = excluded.last_message_ms, read_quiet = excluded.read_quiet",
)
MOVE_MARK: Final = ManyRows(
    _MARK,
    7,
    "ON CONFLICT (group_id, user_id) DO UPDATE SET read_seq = max(read_seq, excluded.read_seq),"
    " read_quiet = max(read_quiet, excluded.read_quiet),"
    " last_message_ms = ifnull(nullif(excluded.last_message_ms, 0), last_message_ms)",
)

PUT_HEAD: Final = ManyRows(
    "INSERT INTO log_head (log, seq, last_position, last_message_ms, changed, closed_position,"
    " quiet) VALUES",
    7,
    "ON CONFLICT (log) DO UPDATE SET seq = excluded.seq, last_position = excluded.last_position,"
    " last_message_ms = excluded.last_message_ms, changed = excluded.changed,"
    " closed_position = excluded.closed_position, quiet = excluded.quiet",
)
ADD_ENTRY: Final = ManyRows("INSERT INTO entry (position, log, seq, kind, body) VALUES", 5)
ADD_QUIET: Final = "INSERT INTO quiet (log, seq, position) VALUES (?, ?, ?)"
ADD_REQUEST: Final = ManyRows(
    "INSERT INTO request (user_id, request_id, digest, seq, at_ms, reply) VALUES", 6
)
COUNT: Final = """
INSERT INTO counter (name, value) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET value = value + excluded.value
"""
MOVE_SHARD: Final = "UPDATE shard SET position = ?, change = ? WHERE shard = 0"
REPLACE_ENTRY: Final = "UPDATE entry SET body = ? WHERE position = ?"

_PUT_OF: Final[Mapping[str, ManyRows]] = {
    "group": PUT_GROUP,
    "member": PUT_MEMBER,
    "application": PUT_APPLICATION,
    "detail": PUT_DETAIL,
}


def write_changes(connection: sqlite3.Connection, changes: Changes) -> None:
    """Write ``changes`` within the transaction that is open."""
    _write_intervals(connection, changes)
    _write_rows(connection, changes)
    _write_marks(connection, changes)
    _write_logs(connection, changes)
    _write_requests(connection, changes)
    if changes.counts:
        connection.executemany(COUNT, list(changes.counts.items()))
    if changes.outbox:
        add_to_outbox(connection, changes.outbox)
    connection.execute(MOVE_SHARD, (changes.position, changes.change))


def _write_intervals(connection: sqlite3.Connection, changes: Changes) -> None:
    if changes.closed:
        connection.executemany(
            CLOSE_INTERVAL,
            [
                (end.left_position, end.changed, end.discards, key.user_id, key.group_id)
                for key, end in changes.closed.items()
            ],
        )
    if changes.changed:
        connection.executemany(
            CHANGE_INTERVAL,
            [
                (interval.discards, interval.changed, key.user_id, key.group_id)
                for key, interval in changes.changed.items()
            ],
        )
    OPEN_INTERVAL.run(
        connection,
        [
            (
                interval.key.user_id,
                interval.joined_position,
                interval.key.group_id,
                interval.joined_seq,
                interval.left_position,
                interval.discards,
                interval.changed,
            )
            for interval in changes.opened
        ],
    )


def _write_rows(connection: sqlite3.Connection, changes: Changes) -> None:
    rows: dict[str, list[tuple[Any, ...]]] = {}
    for key, put in changes.rows.items():
        if put.row is None:
            _delete_row(connection, key)
        else:
            table, values = _columns(key, put)
            rows.setdefault(table, []).append(values)
    for table, values_of_all in rows.items():
        _PUT_OF[table].run(connection, values_of_all)


def _delete_row(connection: sqlite3.Connection, key: RowKey) -> None:
    match key:
        case GroupKey(group_id):
            connection.execute(DELETE_GROUP, (group_id,))
        case MemberKey(group_id, user_id):
            connection.execute(DELETE_MEMBER, (group_id, user_id))
        case ApplicationKey(application_id):
            connection.execute(DELETE_APPLICATION, (application_id,))
        case _:
            connection.execute(DELETE_DETAIL, name_of(key))


def _columns(key: RowKey, put: PutRow) -> tuple[str, tuple[Any, ...]]:
    """The table of a row, and its values there."""
    row, version = put.row, put.position
    assert row is not None
    body = encode_row(row)
    if isinstance(row, Group):
        return "group", (row.group_id, version, row.type, put.at_ms, row.closed_ms, body)
    if isinstance(row, Member):
        return "member", (row.group_id, row.user_id, version, row.role.rank, body)
    if isinstance(row, Application):
        times = (row.created_ms, row.handled_ms)
        names = (row.application_id, version, row.group_id, invitee_of(row), row.status)
        return "application", (*names, *times, body)
    return "detail", (*name_of(key), version, body)


def _write_marks(connection: sqlite3.Connection, changes: Changes) -> None:
    moved: list[tuple[Any, ...]] = []
    fresh: list[tuple[Any, ...]] = []
    for key, mark in changes.marks.items():
        if mark is None:
            connection.execute(DELETE_MARK, (key.group_id, key.user_id))
            continue
        row = (
            key.group_id,
            key.user_id,
            mark.joined_position,
            mark.joined_seq,
            mark.read_seq,
            mark.last_message_ms,
            mark.read_quiet,
        )
        (fresh if mark.is_fresh else moved).append(row)
    FRESH_MARK.run(connection, fresh)
    MOVE_MARK.run(connection, moved)
    for key, mark in changes.marks.items():
        if mark is not None and mark.is_placed:
            place = (mark.read_seq, mark.read_quiet)
            connection.execute(PLACE_MARK, (*place, key.group_id, key.user_id))


def _write_logs(connection: sqlite3.Connection, changes: Changes) -> None:
    ADD_ENTRY.run(
        connection,
        [
            (told.position, log, told.seq, told.entry.kind, encode_entry(told.entry))
            for log, told in changes.entries
        ],
    )
    PUT_HEAD.run(
        connection,
        [(log, *msgspec.structs.astuple(head)) for log, head in changes.logs.items()],
    )
    if changes.quiet:
        connection.executemany(
            ADD_QUIET, [(log, told.seq, told.position) for log, told in changes.quiet]
        )
    for redaction in changes.redactions:
        found = connection.execute(ENTRY_AT, (redaction.group_id, redaction.seq - 1)).fetchone()
        if found is not None:
            position, body = found
            connection.execute(REPLACE_ENTRY, (with_data(body, redaction.data), position))


def _write_requests(connection: sqlite3.Connection, changes: Changes) -> None:
    ADD_REQUEST.run(
        connection,
        [
            (
                key.user_id,
                key.request_id,
                request.stored.digest,
                request.stored.seq,
                request.at_ms,
                request.stored.reply,
            )
            for key, request in changes.requests.items()
        ],
    )
