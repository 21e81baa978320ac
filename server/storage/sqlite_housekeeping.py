"""Letting go of what need not be kept: old entries, closed groups, handled applications, replies.

Called by the writer within its transaction.
"""

import sqlite3
from typing import Final

FORGET_REQUESTS: Final = """
DELETE FROM request
WHERE id IN (SELECT id FROM request ORDER BY id LIMIT ?2) AND at_ms < ?1
"""

OLDEST: Final = """
WITH oldest AS MATERIALIZED (
    SELECT position, json_extract(body, '$.time_ms') AS time_ms
    FROM entry ORDER BY position LIMIT ?2)
SELECT max(position) FROM oldest
WHERE position < ifnull((SELECT min(position) FROM oldest WHERE time_ms >= ?1), position + 1)
"""
"""The last of those oldest entries that may go."""

TRIM: Final = "DELETE FROM entry WHERE position <= ?"
TRIM_QUIET: Final = "DELETE FROM quiet WHERE position <= ?"
MOVE_FLOOR: Final = "UPDATE shard SET floor = ? WHERE shard = 0"

CLOSED_GROUPS: Final = """
SELECT g.group_id FROM grp AS g INDEXED BY grp_closed
CROSS JOIN log_head AS h ON h.log = 'g:' || g.group_id
WHERE g.closed_ms > 0 AND g.closed_ms < ?1
    AND h.last_position <= (SELECT floor FROM shard WHERE shard = 0)
ORDER BY g.closed_ms, g.group_id LIMIT ?2
"""
PURGE_GROUP: Final = tuple(
    f"DELETE FROM {table} WHERE group_id = ?"  # noqa: S608 - the names are these
    for table in ("member", "mark", "membership", "detail", "application", "grp")
)
PURGE_HEAD: Final = "DELETE FROM log_head WHERE log = 'g:' || ?"

PURGE_APPLICATIONS: Final = """
DELETE FROM application WHERE application_id IN (
    SELECT application_id FROM application INDEXED BY application_handled
    WHERE status <> 'pending' AND handled_ms < ?1
    ORDER BY handled_ms, application_id LIMIT ?2)
"""
NOTE_PURGE: Final = "UPDATE shard SET change = change + 1, purged = change + 1 WHERE shard = 0"


def forget_requests(connection: sqlite3.Connection, before_ms: int, limit: int) -> int:
    """Of the oldest ``limit`` requests forget those from before ``before_ms``; how many it were."""
    return connection.execute(FORGET_REQUESTS, (before_ms, limit)).rowcount


def trim(connection: sqlite3.Connection, before_ms: int, limit: int) -> int:
    """See ``Store.trim``."""
    (last,) = connection.execute(OLDEST, (before_ms, limit)).fetchone()
    if last is None:
        return 0
    connection.execute(MOVE_FLOOR, (last,))
    connection.execute(TRIM_QUIET, (last,))
    return connection.execute(TRIM, (last,)).rowcount


def purge(connection: sqlite3.Connection, before_ms: int, limit: int) -> int:
    """See ``Store.purge``."""
    groups = connection.execute(CLOSED_GROUPS, (before_ms, limit)).fetchall()
    for group in groups:
        for statement in (*PURGE_GROUP, PURGE_HEAD):
            connection.execute(statement, group)
    left = limit - len(groups)
    applications = connection.execute(PURGE_APPLICATIONS, (before_ms, left)).rowcount
    if groups:
        connection.execute(NOTE_PURGE)
    return len(groups) + applications
