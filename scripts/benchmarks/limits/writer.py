"""The limit of durable sends: a bare thread that writes the rows of as many sends and commits.

A program of its own, in the repository's environment:

    writer.py DIRECTORY

It makes a database as ours is, and then obeys lines on standard input, each answered by a line of
JSON:

    group IN_FLIGHT SECONDS   the requests of an event loop, so many under way, in group commits
    bulk IN_FLIGHT SECONDS    the same, with the rows of a batch together in few statements
    alone SECONDS             one commit after the other, without a loop and a second thread
    read SECONDS              one row by its key, again and again

The answer has ``count``, ``seconds``, ``cpu_s`` and ``waits_ms`` (the median).
"""

import asyncio
import json
import sqlite3
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from server.storage import database
from server.storage.sqlite_writes import (
    ADD_ENTRY,
    ADD_REQUEST,
    MOVE_MARK,
    MOVE_SHARD,
    PUT_GROUP,
    PUT_HEAD,
)

_GROUPS: Final = 64
_NOW_MS: Final = 1_800_000_000_000
_ENTRY: Final = json.dumps(
    {
        "kind": "message",
        "event": "message",
        "actor_id": "sender-12",
        "message_id": "fxeamnel5hbwad65",
        "time_ms": _NOW_MS,
        "data": {"body": [{"type": "text", "content": {"text": "x" * 100}}]},
    }
)
_REPLY: Final = json.dumps(
    {"message_id": "fxeamnel5hbwad65", "time_ms": _NOW_MS, "seq": 12345}
).encode()
_READ: Final = "SELECT body FROM grp WHERE group_id = ?"


class Rows:
    """The rows of sends, one after the other: entry, request, log head, mark, position."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._position = 0

    def write(self, count: int) -> None:
        """The rows of ``count`` sends, a statement each, in a transaction of their own, synced."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        for number in self._numbers(count):
            group = number % _GROUPS
            connection.execute(ADD_ENTRY.example, _entry(number))
            connection.execute(PUT_HEAD.example, _head(group, number))
            connection.execute(MOVE_MARK.example, _mark(group, number))
            connection.execute(ADD_REQUEST.example, _request(number))
            connection.execute(MOVE_SHARD, (number, number))
        connection.execute("COMMIT")

    def write_together(self, count: int) -> None:
        """The same rows as our store writes them: few statements, and each row of a group once."""
        connection = self._connection
        numbers = self._numbers(count)
        groups = {number % _GROUPS: number for number in numbers}
        connection.execute("BEGIN IMMEDIATE")
        ADD_ENTRY.run(connection, [_entry(number) for number in numbers])
        PUT_HEAD.run(connection, [_head(*group) for group in groups.items()])
        MOVE_MARK.run(connection, [_mark(*group) for group in groups.items()])
        ADD_REQUEST.run(connection, [_request(number) for number in numbers])
        connection.execute(MOVE_SHARD, (self._position, self._position))
        connection.execute("COMMIT")

    def _numbers(self, count: int) -> range:
        first, self._position = self._position + 1, self._position + count
        return range(first, first + count)


def _entry(number: int) -> tuple[Any, ...]:
    return number, f"g:group-{number % _GROUPS}", number // _GROUPS, "message", _ENTRY


def _head(group: int, number: int) -> tuple[Any, ...]:
    return f"g:group-{group}", number // _GROUPS, number, _NOW_MS, number, None, 0


def _mark(group: int, number: int) -> tuple[Any, ...]:
    return f"group-{group}", f"sender-{group}", 0, 0, number, _NOW_MS, 0


def _request(number: int) -> tuple[Any, ...]:
    user_id, request_id = f"sender-{number % _GROUPS}", f"0-{number:08}"
    return user_id, request_id, b"d" * 16, number // _GROUPS, _NOW_MS, _REPLY


class Writer:
    """A thread that writes what has gathered, and wakes those who wait for it."""

    def __init__(self, write: Callable[[int], None]) -> None:
        self._write = write
        self._jobs: SimpleQueue[asyncio.Future[None] | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    async def write(self) -> None:
        """Return when the rows of one send are synced."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._jobs.put(future)
        await future

    async def end(self) -> None:
        """Wait for the thread."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while (first := self._jobs.get()) is not None:
            batch = [first]
            try:
                while (job := self._jobs.get_nowait()) is not None:
                    batch.append(job)
                self._jobs.put(None)
            except Empty:
                pass
            error: sqlite3.Error | None = None
            try:
                self._write(len(batch))
            except sqlite3.Error as caught:
                error = caught
            self._loop.call_soon_threadsafe(_settle, batch, error)


def _settle(batch: list["asyncio.Future[None]"], error: sqlite3.Error | None) -> None:
    for future in batch:
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


async def _group(write: Callable[[int], None], in_flight: int, seconds: float) -> list[float]:
    writer = Writer(write)
    end_s = time.monotonic() + seconds
    waits: list[float] = []

    async def ask() -> None:
        while (begin_s := time.monotonic()) < end_s:
            await writer.write()
            waits.append(time.monotonic() - begin_s)

    await asyncio.gather(*(ask() for _ in range(in_flight)))
    await writer.end()
    return waits


def _alone(rows: Rows, seconds: float) -> list[float]:
    waits: list[float] = []
    end_s = time.monotonic() + seconds
    while (begin_s := time.monotonic()) < end_s:
        rows.write(1)
        waits.append(time.monotonic() - begin_s)
    return waits


def _read(connection: sqlite3.Connection, seconds: float) -> list[float]:
    waits: list[float] = []
    end_s = time.monotonic() + seconds
    number = 0
    while (begin_s := time.monotonic()) < end_s:
        number = (number + 1) % _GROUPS
        connection.execute(_READ, (f"group-{number}",)).fetchone()
        waits.append(time.monotonic() - begin_s)
    return waits


def _obey(connection: sqlite3.Connection, rows: Rows, words: list[str]) -> dict[str, Any]:
    begin_s, cpu_s = time.monotonic(), time.process_time()
    if words[0] == "group":
        waits = asyncio.run(_group(rows.write, int(words[1]), float(words[2])))
    elif words[0] == "bulk":
        waits = asyncio.run(_group(rows.write_together, int(words[1]), float(words[2])))
    elif words[0] == "alone":
        waits = _alone(rows, float(words[1]))
    else:
        waits = _read(connection, float(words[1]))
    return {
        "count": len(waits),
        "seconds": time.monotonic() - begin_s,
        "cpu_s": time.process_time() - cpu_s,
        "waits_ms": statistics.median(waits) * 1000 if waits else 0.0,
    }


def main() -> None:
    connection = database.prepare(Path(sys.argv[1]), "bench")
    rows = Rows(connection)
    body = json.dumps({"group_id": "group", "type": "Work", "name": "Bench", "owner_id": "o"})
    groups = [(f"group-{n}", 1, "Work", _NOW_MS, 0, body.ljust(300)) for n in range(_GROUPS)]
    PUT_GROUP.run(connection, groups)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_obey(connection, rows, line.split())) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
