"""The outbox on SQLite: written with a batch, read and settled on its own."""

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from server.service.outbox import Fate, OutboxItem, Outgoing, Settled, Waiting
from server.storage.bulk import ManyRows
from server.storage.changes import OutboxWrite

_ITEM: Final = "delivery_id, name, stream, at_ms, platform, address, body, seq, member_ids"
_COLUMNS: Final = f"{_ITEM}, attempts, due_ms, failure"

ADD: Final = ManyRows(f"INSERT INTO outbox ({_COLUMNS}) VALUES", 12)
MEMBER_IDS: Final = """
SELECT json_group_array(user_id)
FROM (SELECT user_id FROM member WHERE group_id = ? ORDER BY user_id)
"""
WAITING: Final = """
SELECT json_group_array(json_array(id, stream, attempts, due_ms, at_ms))
FROM (SELECT id, stream, attempts, due_ms, at_ms FROM outbox WHERE id > ? ORDER BY id LIMIT ?)
"""
_OUTGOING: Final = (
    "json_array(id, delivery_id, name, stream, at_ms, platform, address, body,"
    " seq, json(member_ids), attempts, failure)"
)
OUTGOING: Final = f"""
SELECT json_group_array({_OUTGOING})
FROM outbox WHERE id IN (SELECT value FROM json_each(?))
"""  # noqa: S608 - composed of constants
LISTED_WAITING: Final = (
    "SELECT delivery_id, name, stream, at_ms, attempts, failure FROM outbox ORDER BY id"
)
LISTED_DEAD: Final = LISTED_WAITING.replace("outbox", "outbox_dead")
DEAD: Final = f"""
SELECT json_group_array({_OUTGOING})
FROM (SELECT * FROM outbox_dead WHERE id > ? ORDER BY id LIMIT ?)
"""  # noqa: S608 - composed of constants

REMOVE: Final = "DELETE FROM outbox WHERE id IN (SELECT value FROM json_each(?))"
PUT_OFF: Final = "UPDATE outbox SET attempts = ?, due_ms = ?, failure = ? WHERE id = ?"
BURY: Final = f"""
INSERT INTO outbox_dead ({_COLUMNS})
SELECT {_ITEM}, ?2, 0, ?3 FROM outbox WHERE id = ?1
"""  # noqa: S608 - composed of constants
SPAN_OF_DEAD: Final = """
SELECT (SELECT max(id) FROM outbox_dead) - (SELECT min(id) FROM outbox_dead) + 1
"""
COUNT_DEAD: Final = "SELECT count(*) FROM outbox_dead"
LET_GO: Final = """
DELETE FROM outbox_dead WHERE id IN (SELECT id FROM outbox_dead ORDER BY id LIMIT ?)
"""
REVIVE_ALL: Final = f"""
INSERT INTO outbox ({_COLUMNS})
SELECT {_ITEM}, 0, 0, '' FROM outbox_dead ORDER BY id
"""  # noqa: S608 - composed of constants
REMOVE_DEAD_ALL: Final = "DELETE FROM outbox_dead"
REVIVE: Final = f"""
INSERT INTO outbox ({_COLUMNS})
SELECT {_ITEM}, 0, 0, '' FROM outbox_dead
WHERE delivery_id IN (SELECT value FROM json_each(?)) ORDER BY id
"""  # noqa: S608 - composed of constants
REMOVE_DEAD: Final = """
DELETE FROM outbox_dead WHERE delivery_id IN (SELECT value FROM json_each(?))
"""

_encode: Final = msgspec.json.Encoder().encode
_Row = tuple[int, str, str, str, int, str, str, str, int | None, list[str] | None, int, str]
_rows: Final = msgspec.json.Decoder(list[_Row])
_waiting: Final = msgspec.json.Decoder(list[Waiting])


def add_to_outbox(connection: sqlite3.Connection, writes: Sequence[OutboxWrite]) -> None:
    """Add items within the transaction of a batch, whose members are written."""
    ADD.run(
        connection,
        [
            (
                (item := write.item).delivery_id,
                item.name,
                item.stream,
                item.time_ms,
                item.platform,
                item.address,
                item.body.decode(),
                write.seq,
                _member_ids(connection, item),
                0,
                0,
                "",
            )
            for write in writes
        ],
    )


def _member_ids(connection: sqlite3.Connection, item: OutboxItem) -> str | None:
    if not item.lists_members:
        return None
    (member_ids,) = connection.execute(MEMBER_IDS, (item.stream,)).fetchone()
    return str(member_ids)


def settle(
    connection: sqlite3.Connection, settled: Sequence[Settled], most_dead: int | None
) -> int:
    """See ``Outbox.settle``."""
    gone = [one.id for one in settled if one.fate is not Fate.AGAIN]
    dead = [(one.id, one.attempts, one.failure) for one in settled if one.fate is Fate.DEAD]
    again = [
        (one.attempts, one.due_ms, one.failure, one.id) for one in settled if one.fate is Fate.AGAIN
    ]
    connection.executemany(BURY, dead)
    connection.execute(REMOVE, (_encode(gone).decode(),))
    connection.executemany(PUT_OFF, again)
    if not dead or most_dead is None:
        return 0
    return _let_go(connection, most_dead)


def _let_go(connection: sqlite3.Connection, most_dead: int) -> int:
    """Of the dead the newest stay; they are counted only where there may be too many."""
    (span,) = connection.execute(SPAN_OF_DEAD).fetchone()
    if (span or 0) <= most_dead:
        return 0
    (count,) = connection.execute(COUNT_DEAD).fetchone()
    if count <= most_dead:
        return 0
    return connection.execute(LET_GO, (count - most_dead,)).rowcount


def revive(connection: sqlite3.Connection, delivery_ids: Collection[str] | None) -> int:
    """See ``Outbox.revive``."""
    if delivery_ids is None:
        revived = connection.execute(REVIVE_ALL).rowcount
        connection.execute(REMOVE_DEAD_ALL)
        return revived
    chosen = (_encode(list(delivery_ids)).decode(),)
    revived = connection.execute(REVIVE, chosen).rowcount
    connection.execute(REMOVE_DEAD, chosen)
    return revived


def decode_waiting(text: str | bytes) -> list[Waiting]:
    """Rows as ``WAITING`` gives them."""
    return _waiting.decode(text)


def decode_outgoing(text: str | bytes) -> list[Outgoing]:
    """Rows as ``OUTGOING`` and ``DEAD`` give them."""
    rows = [
        Outgoing(
            id=row_id,
            item=OutboxItem(
                delivery_id=delivery_id,
                name=name,
                stream=stream,
                time_ms=at_ms,
                platform=platform,
                address=address,
                body=body.encode(),
            ),
            seq=seq,
            member_ids=member_ids,
            attempts=attempts,
            failure=failure,
        )
        for (
            row_id,
            delivery_id,
            name,
            stream,
            at_ms,
            platform,
            address,
            body,
            seq,
            member_ids,
            attempts,
            failure,
        ) in _rows.decode(text)
    ]
    return sorted(rows, key=lambda row: row.id)


class Listed(NamedTuple):
    """An item as the operator sees it: not what it says, which may be much."""

    delivery_id: str
    name: str
    stream: str
    time_ms: int
    attempts: int
    failure: str


def all_waiting(connection: sqlite3.Connection) -> Iterator[Listed]:
    """Everything that waits, in order; one row at a time is in memory."""
    yield from map(Listed._make, connection.execute(LISTED_WAITING))


def all_dead(connection: sqlite3.Connection) -> Iterator[Listed]:
    """Everything that is dead, in the order of dying; one row at a time is in memory."""
    yield from map(Listed._make, connection.execute(LISTED_DEAD))
