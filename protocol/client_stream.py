"""What the application reads: events and changes of the connection, in order, with one cursor.

Two cursors live here. ``received`` is the place after everything that reached this process, and
the next ``hello`` names it, so nothing that already waits here is sent again. ``processed`` is the
place after everything that the application has finished with; it is the one to persist.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from protocol.events import Event
from protocol.frames import ResetReason, Resume


class Connected(msgspec.Struct, frozen=True, kw_only=True):
    """A connection is up, and the events that follow in the stream are from it.

    ``fresh``: events from now on. ``resumed``: every event after the cursor follows, none is
    missing. ``reset``: the events since the cursor cannot be had, for ``reason`` (None when the
    server gives one that this version does not know): read the state again, with
    ``list_joined_groups`` and so on, and go on with the events that follow.
    """

    resume: Resume
    reason: ResetReason | None
    session_id: str


class Disconnected(msgspec.Struct, frozen=True, kw_only=True):
    """The connection was lost, and the client tries to connect again.

    ``code`` is the close code, or None when the connection ended without one.
    """

    code: int | None
    reason: str


Item = Event | Connected | Disconnected
"""What the stream yields."""


class EventStream:
    """A queue of items for one reader; iterate over it.

    Args:
        cursor: where the application stands at the start, or None.
        keeps: False to hold nothing back: every item then counts as processed on arrival.
        on_taken: called after each item that the reader takes.
    """

    def __init__(self, cursor: str | None, *, keeps: bool, on_taken: Callable[[], None]) -> None:
        self.processed = cursor
        self.received = cursor
        self._keeps = keeps
        self._on_taken = on_taken
        # Each item with the cursor after it; None where the server named no place.
        self._queue: deque[tuple[Item, str | None]] = deque()
        self._has_taken = False
        self._cursor_after_taken: str | None = None
        self._is_ended = False
        self._error: Exception | None = None
        self._news = asyncio.Event()
        self._is_awaited = False

    def __len__(self) -> int:
        """How many items wait to be taken."""
        return len(self._queue)

    def put_events(self, events: Sequence[Event], cursor: str) -> None:
        """Append one frame's events; ``cursor`` is the place after the last of them."""
        if self._keeps:
            self._queue.extend((event, None) for event in events)
        self.move(cursor)
        self._news.set()

    def put_connected(self, item: Connected, cursor: str) -> None:
        """Append the news of a connection that starts at ``cursor``."""
        match (*self._last_two(), item):
            case (Connected(resume=Resume.RESET), Disconnected(), Connected(resume=Resume.RESET)):
                self._drop_last_two()  # one reset says all that two in a row would
            case _:
                pass
        self._append(item)
        self.move(cursor)

    def put_disconnected(self, item: Disconnected) -> None:
        """Append the news of a loss.

        An interruption that the application did not look at and that brought nothing is
        forgotten, so that a connection that comes and goes fills no memory.
        """
        match self._last_two():
            case (Disconnected(), Connected(resume=Resume.RESUMED | Resume.FRESH)):
                self._drop_last_two()
            case _:
                pass
        self._append(item)

    def move(self, cursor: str) -> None:
        """Note that everything up to ``cursor`` has been received."""
        self.received = cursor
        self._set_cursor_after_last(cursor)

    def end(self, error: Exception | None) -> None:
        """End the stream: with ``error`` after what waits, without one at once."""
        if self._is_ended:
            return
        self._is_ended = True
        self._error = error
        if error is None:
            self._queue.clear()
        self._news.set()

    def acknowledge(self) -> None:
        """Note that the application has finished with the item that it took last."""
        if self._cursor_after_taken is not None:
            self.processed = self._cursor_after_taken
        self._has_taken = False
        self._cursor_after_taken = None

    def __aiter__(self) -> "EventStream":
        return self

    async def __anext__(self) -> Item:
        if self._is_awaited:
            raise RuntimeError("another task is waiting for the next event")
        self.acknowledge()
        while not self._queue:
            if self._is_ended:
                raise self._error or StopAsyncIteration
            await self._wait()
        item, self._cursor_after_taken = self._queue.popleft()
        self._has_taken = True
        self._on_taken()
        return item

    async def _wait(self) -> None:
        self._news.clear()
        self._is_awaited = True
        try:
            await self._news.wait()
        finally:
            self._is_awaited = False

    def _append(self, item: Item) -> None:
        if self._keeps:
            self._queue.append((item, None))
            self._news.set()

    def _last_two(self) -> tuple[Item, ...]:
        """The newest two items that wait, the older first; () when there are fewer."""
        return (self._queue[-2][0], self._queue[-1][0]) if len(self._queue) >= 2 else ()

    def _drop_last_two(self) -> None:
        self._queue.pop()
        self._queue.pop()

    def _set_cursor_after_last(self, cursor: str) -> None:
        """Make ``cursor`` what ``processed`` becomes once all that was put here is processed."""
        if self._queue:
            self._queue[-1] = (self._queue[-1][0], cursor)
        elif self._has_taken:
            self._cursor_after_taken = cursor
        else:
            self.processed = cursor
