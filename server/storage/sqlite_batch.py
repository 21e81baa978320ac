"""A batch on SQLite: read what it rests on, number it, write what it changes.

Called by the writer within its transaction.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from server.domain.model import Group, GroupKey, Member, MemberKey, RowKey
from server.service.ports import Outcome, RequestKey, StoredReply, WriteSet
from server.storage.bulk import ManyRows
from server.storage.numbering import (
    Changes,
    LogHead,
    Touched,
    View,
    discards,
    number,
    touched,
)
from server.storage.records import encode_entry, encode_row

VIEW: Final = """
SELECT position, change,
    (SELECT json_group_array(json_array(k.key, g.version))
        FROM json_each(?1) AS k CROSS JOIN grp AS g ON g.group_id = k.value),
    (SELECT json_group_array(json_array(k.key, m.version))
        FROM json_each(?2) AS k CROSS JOIN member AS m
        ON m.group_id = json_extract(k.value, '$[0]') AND m.user_id = json_extract(k.value, '$[1]')),
    (SELECT json_group_array(json_array(k.key, json_array(h.seq, h.last_position,
            h.last_message_ms, h.changed, h.closed_position)))
        FROM json_each(?3) AS k CROSS JOIN log_head AS h ON h.log = k.value),
    (SELECT json_group_array(json_array(k.key, r.id))
        FROM json_each(?4) AS k CROSS JOIN request AS r
        ON r.user_id = json_extract(k.value, '$[0]')
        AND r.request_id = json_extract(k.value, '$[1]'))
FROM shard WHERE shard = 0
"""
"""All that a batch rests on, in one row and so in one step."""

REPLY: Final = "SELECT digest, reply, seq FROM request WHERE id = ?"

REVIVE_INTERVALS: Final = """
UPDATE membership SET left_position = ?1, changed = ?2
WHERE left_position IS NULL AND group_id = ?3
    AND user_id IN (SELECT user_id FROM member WHERE group_id = ?3)
"""
REVIVE_MEMBERS: Final = "DELETE FROM member WHERE group_id = ?"

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
UPDATE membership SET discards = ?, changed = ?
WHERE user_id = ? AND group_id = ? AND left_position IS NULL
"""

DELETE_GROUP: Final = "DELETE FROM grp WHERE group_id = ?"
DELETE_MEMBER: Final = "DELETE FROM member WHERE group_id = ? AND user_id = ?"
PUT_GROUP: Final = ManyRows(
    "INSERT INTO grp (group_id, version, type, body) VALUES",
    4,
    "ON CONFLICT (group_id) DO UPDATE"
    " SET version = excluded.version, type = excluded.type, body = excluded.body",
)
PUT_MEMBER: Final = ManyRows(
    "INSERT INTO member (group_id, user_id, version, rank, body) VALUES",
    5,
    "ON CONFLICT (group_id, user_id) DO UPDATE"
    " SET version = excluded.version, rank = excluded.rank, body = excluded.body",
)
FRESH_MARK: Final = """
UPDATE member SET joined_position = ?, joined_seq = ?, read_seq = ?, last_message_ms = ?
WHERE group_id = ? AND user_id = ?
"""
MOVE_MARK: Final = ManyRows(
    "UPDATE member SET last_message_ms = v.column3, read_seq = max(read_seq, v.column4)"
    " FROM (VALUES",
    4,
    ") AS v WHERE group_id = v.column1 AND user_id = v.column2",
)

PUT_HEAD: Final = ManyRows(
    "INSERT INTO log_head (log, seq, last_position, last_message_ms, changed, closed_position)"
    " VALUES",
    6,
    "ON CONFLICT (log) DO UPDATE SET seq = excluded.seq, last_position = excluded.last_position,"
    " last_message_ms = excluded.last_message_ms, changed = excluded.changed,"
    " closed_position = excluded.closed_position",
)
ADD_ENTRY: Final = ManyRows("INSERT INTO entry (position, log, seq, kind, body) VALUES", 5)
ADD_REQUEST: Final = ManyRows(
    "INSERT INTO request (user_id, request_id, digest, seq, at_ms, reply) VALUES", 6
)
COUNT: Final = """
INSERT INTO counter (name, value) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET value = value + excluded.value
"""
MOVE_SHARD: Final = "UPDATE shard SET position = ?, change = ? WHERE shard = 0"

FORGET_REQUESTS: Final = """
DELETE FROM request
WHERE id IN (SELECT id FROM request ORDER BY id LIMIT ?2) AND at_ms < ?1
"""

_ENCODE: Final = msgspec.json.Encoder().encode
_numbers: Final = msgspec.json.Decoder(list[tuple[int, int]])
_heads: Final = msgspec.json.Decoder(list[tuple[int, LogHead]])


def commit_batch(connection: sqlite3.Connection, batch: Sequence[WriteSet]) -> list[Outcome]:
    """Apply ``batch`` within the transaction that is open; one outcome for each write set."""
    view = _read_view(connection, touched(batch))
    outcomes, changes = number(batch, view)
    if changes.change != view.change:
        _write(connection, changes)
    return outcomes


def forget_requests(connection: sqlite3.Connection, before_ms: int, limit: int) -> int:
    """Of the oldest ``limit`` requests forget those from before ``before_ms``."""
    return connection.execute(FORGET_REQUESTS, (before_ms, limit)).rowcount


def _read_view(connection: sqlite3.Connection, names: Touched) -> View:
    groups = [key for key in names.rows if isinstance(key, GroupKey)]
    members = [key for key in names.rows if isinstance(key, MemberKey)]
    position, change, of_groups, of_members, heads, requests = connection.execute(
        VIEW,
        (
            _text([key.group_id for key in groups]),
            _text([(key.group_id, key.user_id) for key in members]),
            _text(names.logs),
            _text([(key.user_id, key.request_id) for key in names.requests]),
        ),
    ).fetchone()
    versions: dict[RowKey, int] = {}
    versions.update((groups[place], version) for place, version in _numbers.decode(of_groups))
    versions.update((members[place], version) for place, version in _numbers.decode(of_members))
    return View(
        position=position,
        change=change,
        versions=versions,
        replies=_replies(connection, names.requests, _numbers.decode(requests)),
        logs={names.logs[place]: head for place, head in _heads.decode(heads)},
    )


def _replies(
    connection: sqlite3.Connection,
    requests: Sequence[RequestKey],
    found: Sequence[tuple[int, int]],
) -> dict[RequestKey, StoredReply]:
    return {
        requests[place]: StoredReply(*connection.execute(REPLY, (row_id,)).fetchone())
        for place, row_id in found
    }


def _write(connection: sqlite3.Connection, changes: Changes) -> None:
    for group_id, end in changes.revived.items():
        connection.execute(REVIVE_INTERVALS, (end.left_position, end.changed, group_id))
        connection.execute(REVIVE_MEMBERS, (group_id,))
    _write_intervals(connection, changes)
    _write_rows(connection, changes)
    _write_marks(connection, changes)
    _write_logs(connection, changes)
    if changes.counts:
        connection.executemany(COUNT, list(changes.counts.items()))
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
    groups: list[tuple[Any, ...]] = []
    members: list[tuple[Any, ...]] = []
    intervals: list[tuple[Any, ...]] = []
    for key, put in changes.rows.items():
        row = put.row
        if isinstance(row, Group):
            groups.append((key.group_id, put.position, row.type, encode_row(row)))
        elif isinstance(row, Member):
            ids = (key.group_id, row.user_id)
            members.append((*ids, put.position, row.role.rank, encode_row(row)))
            intervals.append((discards(row), put.change, row.user_id, key.group_id))
        elif isinstance(key, MemberKey):
            connection.execute(DELETE_MEMBER, (key.group_id, key.user_id))
        else:
            connection.execute(DELETE_GROUP, (key.group_id,))
    PUT_GROUP.run(connection, groups)
    PUT_MEMBER.run(connection, members)
    if intervals:
        connection.executemany(CHANGE_INTERVAL, intervals)


def _write_marks(connection: sqlite3.Connection, changes: Changes) -> None:
    moved: list[tuple[Any, ...]] = []
    fresh: list[tuple[Any, ...]] = []
    for key, mark in changes.marks.items():
        if mark.is_fresh:
            joined = (mark.joined_position, mark.joined_seq)
            fresh.append((*joined, mark.read_seq, mark.last_message_ms, key.group_id, key.user_id))
        else:
            moved.append((key.group_id, key.user_id, mark.last_message_ms, mark.read_seq))
    if fresh:
        connection.executemany(FRESH_MARK, fresh)
    MOVE_MARK.run(connection, moved)


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


def _text(value: object) -> str:
    return _ENCODE(value).decode()
