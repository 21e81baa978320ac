"""Reading connections: they see what was committed before they were asked, and never write.

A hop to another thread and back costs many times what a row by its key does. So questions that
wait go together, as commits do: whatever has gathered is one hop.

Only the writer checkpoints: two connections that write or checkpoint at once may damage the
file in every SQLite before 3.51.3.
"""

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiosqlite

from server.service.ports import Unavailable
from server.storage.database import BUSY_TIMEOUT_S
from server.storage.sqlite_writer import Fence

_SETTINGS: Final = (
    "PRAGMA query_only = 1",
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA cache_size = -16384",
)

_TURN_S: Final = 0.001
"""After so long the answers so far are brought back before the next question is begun."""

Row = Sequence[Any] | None
_Answer = Row | sqlite3.Error


class _Question(NamedTuple):
    answer: "asyncio.Future[Row]"
    statement: str
    parameters: tuple[object, ...]


class ReadingConnection(aiosqlite.Connection):
    """A connection that answers several questions in one hop to its thread."""

    async def answers(self, questions: Sequence[_Question]) -> Sequence[_Answer]:
        """The first row of each, or its error; of fewer questions when they take long."""
        connection: sqlite3.Connection = self._conn
        execute: Callable[..., Awaitable[Sequence[_Answer]]] = self._execute
        return await execute(_answers, connection, questions)


class Readers:
    """A few connections to the same file; what waits is shared out among those that are free."""

    def __init__(self, connections: Sequence[ReadingConnection], fence: Fence) -> None:
        self._connections = list(connections)
        self._fence = fence
        self._free = list(connections)
        self._waiting: deque[_Question] = deque()
        self._is_due = False
        self._at_work: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, path: Path, count: int, fence: Fence) -> "Readers":
        """``count`` connections to the database at ``path``."""
        connect = partial(sqlite3.connect, path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        connections: list[ReadingConnection] = []
        try:
            for _ in range(count):
                connection = ReadingConnection(connect, iter_chunk_size=1)
                _ = await connection
                connections.append(connection)
                for setting in _SETTINGS:
                    await connection.execute_fetchall(setting)
        except BaseException:
            for connection in connections:
                await connection.close()
            raise
        return cls(connections, fence)

    async def row(self, statement: str, *parameters: object) -> Row:
        """The first row that ``statement`` gives, None without one.

        Raises:
            Unavailable: it cannot be read now.
            OutcomeUnknown: the store is fenced.
        """
        self._check()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Row] = loop.create_future()
        self._waiting.append(_Question(answer, statement, parameters))
        if not self._is_due:
            # At the end of this turn of the loop: others ask in it too.
            self._is_due = True
            loop.call_soon(self._share_out)
        return await answer

    async def close(self) -> None:
        """Let go of every connection. May be called twice."""
        connections, self._connections = self._connections, []
        await asyncio.gather(*self._at_work)
        for connection in connections:
            await connection.close()

    def _check(self) -> None:
        self._fence.check()
        if not self._connections:
            raise Unavailable("the store is closed")

    def _share_out(self) -> None:
        """Give each connection that is free its part of what waits."""
        self._is_due = False
        while self._waiting and self._free:
            count = -(-len(self._waiting) // len(self._free))
            self._start(self._free.pop(), [self._waiting.popleft() for _ in range(count)])

    def _start(self, connection: ReadingConnection, taken: Sequence[_Question]) -> None:
        task = asyncio.ensure_future(self._ask(connection, taken))
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)

    async def _ask(self, connection: ReadingConnection, taken: Sequence[_Question]) -> None:
        """Have ``taken`` answered; what took too long waits again, before all else."""
        questions = [question for question in taken if not question.answer.done()]
        try:
            self._check()
            answers = await connection.answers(questions) if questions else ()
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait
            for question in questions:
                _settle(question.answer, error)
            answers = [None] * len(questions)
        finally:
            self._free.append(connection)
        for question, answer in zip(questions, answers, strict=False):
            if isinstance(answer, sqlite3.Error):
                _settle(question.answer, self._fence.translate(answer))
            elif not question.answer.done():
                question.answer.set_result(answer)
        self._waiting.extendleft(reversed(questions[len(answers) :]))
        self._share_out()


def _settle(answer: "asyncio.Future[Row]", error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)


def _answers(connection: sqlite3.Connection, questions: Sequence[_Question]) -> list[_Answer]:
    """Answer in order until the turn is over; runs on the connection's thread."""
    until_s = time.monotonic() + _TURN_S
    answers: list[_Answer] = []
    for _answer, statement, parameters in questions:
        try:
            answers.append(next(iter(connection.execute(statement, parameters).fetchall()), None))
        except sqlite3.Error as error:
            answers.append(error)
        if time.monotonic() > until_s:
            break
    return answers
