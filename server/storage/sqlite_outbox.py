"""The outbox on SQLite: written with a batch, read and settled on its own."""

import sqlite3
from collections.abc import Collection, Sequence
from typing import Final

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
SELECT json_group_array(json_array(id, stream, attempts, due_ms))
FROM (SELECT id, stream, attempts, due_ms FROM outbox WHERE id > ? ORDER BY id LIMIT ?)
"""
_OUTGOING: Final = (
    "json_array(id, delivery_id, name, stream, at_ms, platform, address, body,"
    " seq, json(member_ids), attempts, failure)"
)
OUTGOING: Final = f"""
SELECT json_group_array({_OUTGOING})
FROM outbox WHERE id IN (SELECT value FROM json_each(?))
"""  # noqa: S608 - composed of constants
ALL_WAITING: Final = f"SELECT json_group_array({_OUTGOING}) FROM outbox"  # noqa: S608 - see above
ALL_DEAD: Final = f"SELECT json_group_array({_OUTGOING}) FROM outbox_dead"  # noqa: S608 - see above
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
LET_GO: Final = """
DELETE FROM outbox_dead
WHERE id <= (SELECT id FROM outbox_dead ORDER BY id DESC LIMIT 1 OFFSET ?)
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
    return connection.execute(LET_GO, (most_dead,)).rowcount


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


def all_waiting(connection: sqlite3.Connection) -> list[Outgoing]:
    """Everything that waits, for the operator's eyes."""
    return decode_outgoing(connection.execute(ALL_WAITING).fetchone()[0])


def all_dead(connection: sqlite3.Connection) -> list[Outgoing]:
    """Everything that is dead, for the operator's eyes."""
    return decode_outgoing(connection.execute(ALL_DEAD).fetchone()[0])
