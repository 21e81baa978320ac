"""Recognises events: the same event in either codec, live or from the log, is one entry.

A frame that was seen before is recognised by its bytes, so that the thousandth delivery costs a
look-up and no decoding.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from protocol.codec import Codec
from scripts.loadgen.record import Entry

_MOST_FRAMES: Final = 20_000
_MOST_FRAME_BYTES: Final = 16_384
_CANONICAL: Final = msgspec.json.Encoder(order="sorted")


class _FromServer(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Only what the load side looks at."""


class Welcome(_FromServer, frozen=True, tag="welcome"):
    """The answer to hello."""

    resume: str
    cursor: str
    reason: str | None = None
    limits: dict[str, Any] = {}


class Failure(msgspec.Struct, frozen=True):
    """A refusal."""

    code: int
    name: str
    message: str
    detail: dict[str, Any] | None = None


class Reply(_FromServer, frozen=True, tag="reply"):
    """An answer."""

    id: str
    cursor: str
    result: Any = None
    error: Failure | None = None


class Events(_FromServer, frozen=True, tag="events"):
    """News, not looked into."""

    cursor: str
    events: list[msgspec.Raw]


class Pong(_FromServer, frozen=True, tag="pong"):
    """The answer to ping."""

    cursor: str


class Bye(_FromServer, frozen=True, tag="bye"):
    """Why the connection is closed."""

    code: int
    reason: str


_Frame = Welcome | Reply | Events | Pong | Bye


class News(msgspec.Struct, frozen=True):
    """An events frame, recognised."""

    cursor: str
    entries: tuple[Entry, ...]


class Ledger:
    """All entries that any device has seen.

    Args:
        sent: when each message was due and with which body, in canonical form, by its mark.

    Attributes:
        entries: in the order in which they were first seen.
        altered: in words, what was seen with different contents.
    """

    def __init__(self, sent: Mapping[int, tuple[float, bytes]]) -> None:
        self._sent = sent
        self.entries: list[Entry] = []
        self.altered: list[str] = []
        self._noted = 0
        self._frames: dict[bytes, News] = {}
        self._by_place: dict[tuple[bool, str, int], Entry] = {}
        self._by_content: dict[bytes, Entry] = {}
        self._contents: dict[int, bytes] = {}
        self._msgpack: msgspec.msgpack.Decoder[_Frame] = msgspec.msgpack.Decoder(_Frame)
        self._json: msgspec.json.Decoder[_Frame] = msgspec.json.Decoder(_Frame)

    def read(
        self, payload: bytes, codec: Codec, user_id: str
    ) -> Welcome | Reply | News | Pong | Bye:
        """What the server said to a device of ``user_id``.

        Raises:
            msgspec.DecodeError: it is no frame of the protocol.
        """
        news = self._frames.get(payload)
        if news is not None:
            return news
        decoder = self._msgpack if codec.is_binary else self._json
        frame = decoder.decode(payload)
        if not isinstance(frame, Events):
            return frame
        decode = msgspec.msgpack.decode if codec.is_binary else msgspec.json.decode
        entries = tuple(self.note(decode(raw), user_id) for raw in frame.events)
        news = News(frame.cursor, entries)
        # What is in an inbox looks the same for two users and is not.
        is_small = len(payload) <= _MOST_FRAME_BYTES
        if is_small and not any(entry.is_inbox for entry in entries):
            if len(self._frames) >= _MOST_FRAMES:
                self._frames.clear()
            self._frames[payload] = news
        return news

    def find(self, group_id: str, number: int) -> Entry | None:
        """The entry at this place of a group's log, if anybody saw it."""
        return self._by_place.get((False, group_id, number))

    def note(self, event: dict[str, Any], user_id: str) -> Entry:
        """The entry of a decoded event that a device of ``user_id``, or a reader, was given."""
        content = canonical(event)
        seq, inbox_seq = event.get("seq"), event.get("inbox_seq")
        if seq is None and inbox_seq is None:
            entry = self._by_content.get(content)
            if entry is None:
                entry = self._by_content[content] = self._new(event, event["group_id"], False, 0)
            return entry
        is_inbox = inbox_seq is not None
        log: str = user_id if is_inbox else event["group_id"]
        number: int = event["inbox_seq"] if is_inbox else event["seq"]
        entry = self._by_place.get((is_inbox, log, number))
        if entry is None:
            entry = self._new(event, log, is_inbox, number)
            self._by_place[is_inbox, log, number] = entry
            self._contents[entry.index] = content
        elif self._contents[entry.index] != content:
            self.altered.append(
                f"{log} {number}: {_short(self._contents[entry.index])} and {_short(content)}"
            )
        return entry

    def _new(self, event: dict[str, Any], log: str, is_inbox: bool, number: int) -> Entry:
        data = event["data"]
        mark = data.get("custom_data", "") if event["kind"] == "message" else ""
        users: Sequence[str] = data.get("user_ids", ())
        entry = Entry(
            index=self._noted,
            log=log,
            is_inbox=is_inbox,
            number=number,
            event=event["event"],
            group_id=event["group_id"],
            actor_id=event.get("actor_id") or event.get("from_id") or "",
            mark=int(mark) if mark.isdecimal() else None,
            user_ids=tuple(users),
            message_id=event.get("message_id") or "",
        )
        self.entries.append(entry)
        self._noted += 1
        if entry.mark is not None:
            entry.due_s, body = self._sent.get(entry.mark, (0.0, b""))
            if body != canonical(data["body"]):
                self.altered.append(f"message {entry.mark} has another body than was sent")
        return entry


def canonical(value: object) -> bytes:
    """The same bytes for equal values, whatever codec they came in."""
    return _CANONICAL.encode(value)


def _short(content: bytes) -> str:
    return content[:300].decode("utf-8", "replace")
