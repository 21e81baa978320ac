"""Many rows in one statement.

Every step of a statement lets go of the interpreter lock, and beside a busy event loop getting it
back costs far more than the row. So the rows of a batch go in few statements, not in one each.
"""

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

_CHUNKS: Final = (256, 128, 64, 32, 16, 8, 4, 2, 1)
"""Rows per statement: few sizes, so that each is prepared once."""


class ManyRows:
    """A statement around a list of VALUES, one for each row.

    Args:
        before: the SQL up to the first row.
        columns: values in a row.
        after: the SQL after the last row.
    """

    def __init__(self, before: str, columns: int, after: str = "") -> None:
        row = "(" + ", ".join("?" * columns) + ")"
        self._statements = [
            (size, f"{before} {', '.join([row] * size)} {after}") for size in _CHUNKS
        ]

    @property
    def example(self) -> str:
        """The statement for one row."""
        return self._statements[-1][1]

    def run(self, connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Execute it for ``rows``, in their order."""
        start = 0
        for size, statement in self._statements:
            while len(rows) - start >= size:
                chunk = rows[start : start + size]
                connection.execute(statement, tuple(chain.from_iterable(chunk)))
                start += size
