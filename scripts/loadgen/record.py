"""What a run leaves behind for the oracle: plain data, nothing of it interpreted.

Entries are numbered in the order in which they were first seen anywhere; a stream is a list of
these numbers, so that a million deliveries fit into memory.
"""

import enum
from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.vocabulary import GroupType
from scripts.loadgen.plan import Expects, Kind


class Entry(msgspec.Struct, kw_only=True):
    """One event, however often it was delivered.

    Attributes:
        log: the group's ID or the user's, by ``is_inbox``; ``number`` is the place in it, 0 for
            an event that is not stored.
        mark: the number of a message of ours.
        user_ids: those who came or went, of a tip.
        due_s: when the request was due, of a message; 0 for everything else.
    """

    index: int
    log: str
    is_inbox: bool
    number: int
    event: str
    group_id: str
    actor_id: str = ""
    mark: int | None = None
    user_ids: tuple[str, ...] = ()
    message_id: str = ""
    due_s: float = 0.0


class DeviceRecord(msgspec.Struct, kw_only=True):
    """What one device was given, in order: stored entries, and the others with the time."""

    user_id: str
    device_id: str
    stream: list[int] = []
    unstored: list[tuple[int, float]] = []


class GroupRecord(msgspec.Struct, kw_only=True):
    """A group as the server showed it at the end: None what it does not show of this one."""

    group_id: str
    type: GroupType
    is_disbanded: bool = False
    history: list[int] | None = None
    member_ids: frozenset[str] | None = None


class MemberView(msgspec.Struct, kw_only=True):
    """The numbers of a group's log that a member was shown as its history, at the end."""

    user_id: str
    group_id: str
    numbers: list[int]


class Outcome(msgspec.Struct, kw_only=True):
    """A request and its answer. Times are of the load side's clock, in seconds.

    Attributes:
        sent_s: when it was first sent, refusals by the server's limits not counted.
        replied_s: when the first answer came; None: it never did.
        due_s: when it was due to be sent; None for what prepares the load.
        was_left: its device went away on purpose before the answer, so that it says nothing about
            the server's speed.
        code: the error's code, None for a result.
        may_differ: a refusal is explained, since the user lost a connection that mattered.
        is_watched: whether the events of the user's own had to come before the answer;
            ``early`` names those that had not.
        second: what a repetition with the same id was answered, when it was not the same.
    """

    kind: Kind
    expects: Expects
    expected_code: int | None
    user_id: str
    device_id: str
    group_id: str
    target_ids: tuple[str, ...]
    mark: int | None
    is_stored: bool
    number: int
    sent_s: float
    replied_s: float | None = None
    result: Mapping[str, Any] | None = None
    code: int | None = None
    message: str = ""
    may_differ: bool = False
    is_watched: bool = False
    early: tuple[str, ...] = ()
    second: str = ""
    due_s: float | None = None
    was_left: bool = False

    @property
    def is_done(self) -> bool:
        """Whether the server said that it did it."""
        return self.replied_s is not None and self.code is None


class Record(msgspec.Struct, kw_only=True):
    """A whole run.

    Attributes:
        entries: by index.
        devices: all of them, each from before the first act to the end.
        stays: for each user and room (a group without stored membership), the times between
            which the user may have taken part.
        altered: entries that were seen with different content, in words.
        troubles: what went wrong with connections, in words.
        complaints: errors in the server's own log.
    """

    entries: list[Entry]
    devices: list[DeviceRecord]
    groups: dict[str, GroupRecord]
    outcomes: list[Outcome]
    views: list[MemberView] = []
    stays: dict[tuple[str, str], list[tuple[float, float]]] = {}
    altered: list[str] = []
    troubles: list[str] = []
    complaints: list[str] = []


class Fault(enum.StrEnum):
    """What can be wrong; the words of the result page."""

    LOST = "lost"
    DOUBLE = "double"
    REORDERED = "reordered"
    LEAKED = "leaked"
    ALTERED = "altered"
    EARLY_REPLY = "reply before events"
    ANSWER = "wrong answer"
    CONNECTION = "connection"
    SERVER_LOG = "error in the server's log"


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong, and where."""

    fault: Fault
    where: str
    what: str
