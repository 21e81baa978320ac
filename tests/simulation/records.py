"""What devices saw: each connection frame by frame, and each run of an application item by item."""

from collections.abc import Sequence
from typing import Any

import msgspec

from protocol.client import Connected, Disconnected
from protocol.events import Event
from protocol.frames import (
    Bye,
    Events,
    Hello,
    Pong,
    Reply,
    ResetReason,
    Resume,
    ServerFrame,
    Welcome,
)

Name = tuple[str, str, int]
"""Which log an event is in, whose it is, and its number there."""


def name_of(event: Event, user_id: str) -> Name | None:
    """The name of a stored event that the user's device received; None for another one."""
    if event.inbox_seq is not None:
        return ("inbox", user_id, event.inbox_seq)
    return None if event.seq is None else ("group", event.group_id, event.seq)


def place_of(cursor: str) -> tuple[str, int]:
    """The term and the position of a cursor, which only tests may look at."""
    epoch, _, position = cursor.rpartition(":")
    return epoch, int(position)


def in_short(frame: ServerFrame, user_id: str) -> tuple[str, ...]:
    """A frame for the trace."""
    match frame:
        case Events():
            names = [(event.event, *(name_of(event, user_id) or ())[1:]) for event in frame.events]
            return ("events", frame.cursor, *(" ".join(map(str, name)) for name in names))
        case Reply():
            return (
                "reply",
                frame.cursor,
                frame.id,
                "ok" if frame.error is None else frame.error.name,
            )
        case Pong() | Welcome():
            return (type(frame).__name__.lower(), frame.cursor)
        case Bye():
            return ("bye", str(frame.code), frame.reason)


class Sighting(msgspec.Struct):
    """A reply as it was read.

    ``was_live`` says that nothing had kept the connection from being live by then; ``at_s`` when.
    """

    request_id: str
    epoch: str
    position: int
    result: Any
    error: str | None
    was_live: bool
    at_s: float


class Stretch:
    """Events in the order in which they came, from a known place on, with the cursors told."""

    def __init__(self, epoch: str, start: int) -> None:
        self.epoch = epoch
        self.start = start
        self.names: list[Name] = []
        self.cursors: list[tuple[int, int]] = []
        """Positions told, each with the number of events that came before it."""
        self.unstored: list[str] = []

    def take(self, event: Event, user_id: str) -> None:
        """An event has come."""
        name = name_of(event, user_id)
        if name is not None:
            self.names.append(name)
        elif event.message_id is not None:
            self.unstored.append(event.message_id)


class ConnectionRecord(Stretch):
    """One connection, from its welcome on.

    Args:
        term: that of the server at the other end.
    """

    def __init__(self, user_id: str, label: str, term: str, hello: Hello, welcome: Welcome) -> None:
        super().__init__(term, place_of(welcome.cursor)[1])
        self.session_id = welcome.session_id
        self.user_id = user_id
        self.label = label
        self.hello_cursor = hello.cursor
        self.resume = welcome.resume
        self.reason: ResetReason | None = welcome.reason
        self.replies: list[Sighting] = []
        self.wrong: list[str] = []
        self.bye: int | None = None

    def read(self, frame: ServerFrame, at_s: float, *, was_live: bool) -> None:
        """A frame has come."""
        if self.bye is not None:
            self.wrong.append(f"{type(frame).__name__} after the bye")
        match frame:
            case Welcome():
                self.wrong.append("a second welcome")
            case Bye():
                self.bye = frame.code
            case Events():
                if not frame.events:
                    self.wrong.append("an events frame without events")
                for event in frame.events:
                    self.take(event, self.user_id)
                self._note(frame.cursor)
            case Pong():
                self._note(frame.cursor)
            case Reply():
                self._note(frame.cursor)
                error = None if frame.error is None else frame.error.name
                self.replies.append(
                    Sighting(
                        frame.id,
                        self.epoch,
                        place_of(frame.cursor)[1],
                        frame.result,
                        error,
                        was_live,
                        at_s,
                    )
                )

    def _note(self, cursor: str) -> None:
        epoch, position = place_of(cursor)
        if epoch != self.epoch:
            self.wrong.append(f"the epoch changed from {self.epoch} to {epoch}")
        self.cursors.append((position, len(self.names)))


class RunRecord:
    """One run of an application on a device, from the cursor that it started with.

    It is made of stretches: a new one begins wherever the application is told that it starts
    from somewhere else.
    """

    def __init__(self, user_id: str, label: str, cursor: str | None) -> None:
        self.user_id = user_id
        self.label = label
        self.stretches: list[Stretch] = []
        self.wrong: list[str] = []
        self._cursor = cursor

    def take(
        self,
        item: Event | Connected | Disconnected,
        cursor: str | None,
        connections: Sequence[ConnectionRecord],
    ) -> None:
        """The application has taken an item; ``cursor`` is what it would keep now."""
        match item:
            case Connected():
                assert cursor is not None
                [record] = [one for one in connections if one.session_id == item.session_id]
                self._connected(item, cursor, record.epoch)
            case Event() if self.stretches:
                self.stretches[-1].take(item, self.user_id)
            case Event():
                self.wrong.append("an event before it was connected")
            case Disconnected():
                pass
        if cursor is not None:
            # After an event that is not the last of its frame the cursor stays behind.
            self.note(cursor)

    def note(self, cursor: str) -> None:
        """What the application would keep now."""
        if self.stretches:
            current = self.stretches[-1]
            current.cursors.append((place_of(cursor)[1], len(current.names)))

    def _connected(self, item: Connected, cursor: str, epoch: str) -> None:
        start = place_of(cursor)[1]
        if item.resume is Resume.RESUMED:
            if self.stretches:
                self.stretches[-1].epoch = epoch
                return
            if self._cursor is None:
                self.wrong.append("resumed without a cursor")
                return
            start = place_of(self._cursor)[1]
        self.stretches.append(Stretch(epoch, start))
