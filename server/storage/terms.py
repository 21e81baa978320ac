"""Terms: every opening of the database begins one, under a name that no other opening has.

A copy of the database, however it was made, is opened again under another name than the original.
So the name in a cursor tells on which copy it was given, and where the next term of this database
begins tells up to which position that copy and this one are the same. Kafka's leader epochs
and Raft's terms serve to cut divergent logs in the same way.
"""

import sqlite3
from typing import Final

MOST_TERMS: Final = 1_000
"""How many terms are kept. A cursor of an older one is taken for one of another history, which
costs its device a reset: nothing wrong can come of it, and restarts cost no more than so much."""

_LAST: Final = "SELECT name FROM term ORDER BY id DESC LIMIT 1"
_BEGIN: Final = """
INSERT INTO term (name, start_position) SELECT ?, position FROM shard WHERE shard = 0
"""
_FORGET: Final = "DELETE FROM term WHERE id <= (SELECT max(id) FROM term) - ?"


def begin(connection: sqlite3.Connection, name: str) -> None:
    """Begin the term ``name`` where the log ends, in a transaction of its own.

    The name of the last term goes on with that one.

    Raises:
        sqlite3.Error: it cannot be written, or an earlier term had this name.
    """
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute(_LAST).fetchone() != (name,):
        connection.execute(_BEGIN, (name,))
        connection.execute(_FORGET, (MOST_TERMS,))
    connection.execute("COMMIT")
