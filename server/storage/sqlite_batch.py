"""A batch on SQLite: read what it rests on, number it, write what it changes.

Called by the writer within its transaction.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from server.service.ports import Outcome, RequestKey, StoredReply, WriteSet
from server.storage.changes import LogHead, Touched, View
from server.storage.numbering import number, touched
from server.storage.records import name_of
from server.storage.sqlite_queries import NAMED_ROWS
from server.storage.sqlite_writes import write_changes

VIEW: Final = f"""
{NAMED_ROWS}
SELECT position, change,
    (SELECT json_group_array(json_array(place, version)) FROM named_row),
    (SELECT json_group_array(json_array(k.key, json_array(h.seq, h.last_position,
            h.last_message_ms, h.changed, h.closed_position, h.quiet)))
        FROM json_each(?2) AS k CROSS JOIN log_head AS h ON h.log = k.value),
    (SELECT json_group_array(json_array(k.key, r.id))
        FROM json_each(?3) AS k CROSS JOIN request AS r
        ON r.request_id = json_extract(k.value, '$[1]')
        AND r.user_id = json_extract(k.value, '$[0]'))
FROM shard WHERE shard = 0
"""  # noqa: S608 - composed of constants
"""All that a batch rests on, in one row and so in one step."""

REPLY: Final = "SELECT digest, reply, seq FROM request WHERE id = ?"

_ENCODE: Final = msgspec.json.Encoder().encode
_numbers: Final = msgspec.json.Decoder(list[tuple[int, int]])
_heads: Final = msgspec.json.Decoder(list[tuple[int, LogHead]])


def commit_batch(connection: sqlite3.Connection, batch: Sequence[WriteSet]) -> list[Outcome]:
    """Apply ``batch`` within the transaction that is open; one outcome for each write set."""
    view = _read_view(connection, touched(batch))
    outcomes, changes = number(batch, view)
    if changes.change != view.change:
        write_changes(connection, changes)
    return outcomes


def _read_view(connection: sqlite3.Connection, names: Touched) -> View:
    position, change, versions, heads, requests = connection.execute(
        VIEW,
        (
            _text([name_of(key) for key in names.rows]),
            _text(names.logs),
            _text([(key.user_id, key.request_id) for key in names.requests]),
        ),
    ).fetchone()
    return View(
        position=position,
        change=change,
        versions={names.rows[place]: version for place, version in _numbers.decode(versions)},
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


def _text(value: object) -> str:
    return _ENCODE(value).decode()
