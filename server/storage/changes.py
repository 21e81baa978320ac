"""What a batch of write sets rests on, and what it changes, apart from how either is kept.

A *change number* counts whatever may change what somebody's joined list shows, because not all of
it takes a position.
"""

from collections.abc import Mapping, Sequence

import msgspec

from protocol.vocabulary import ReceiveOption
from server.domain.model import Entry, Member, MemberKey, Redaction, Row, RowKey
from server.service.outbox import OutboxItem
from server.service.ports import Committed, RequestKey, StoredReply


def group_log(group_id: str) -> str:
    """Name of a group's log."""
    return "g:" + group_id


def inbox_log(user_id: str) -> str:
    """Name of a user's inbox."""
    return "u:" + user_id


def log_of(entry: Entry) -> str:
    """Name of the log that ``entry`` belongs to."""
    return group_log(entry.group_id) if entry.inbox_of is None else inbox_log(entry.inbox_of)


class LogHead(msgspec.Struct, array_like=True):
    """The end of a log. All but the first two are of groups only.

    ``changed`` is the change number of the last thing that a joined list shows of the group;
    ``closed_position`` is where the group ended, None while it lives. ``quiet`` of its entries do
    not count as unread.
    """

    seq: int = 0
    last_position: int = 0
    last_message_ms: int = 0
    changed: int = 0
    closed_position: int | None = None
    quiet: int = 0


class Touched(msgspec.Struct, frozen=True):
    """What a batch rests on: the rows, request ids and logs that have to be looked up for it."""

    rows: Sequence[RowKey]
    requests: Sequence[RequestKey]
    logs: Sequence[str]


class View(msgspec.Struct, frozen=True):
    """What the store holds of what a batch touches; whatever it does not hold is absent."""

    position: int
    change: int
    versions: Mapping[RowKey, int]
    replies: Mapping[RequestKey, StoredReply]
    logs: Mapping[str, LogHead]


class PutRow(msgspec.Struct, frozen=True):
    """A row as the batch leaves it, None for deleted; the rest says where and when that was."""

    row: Row | None
    position: int
    change: int
    at_ms: int


class OpenedInterval(msgspec.Struct):
    """A membership that began in this batch, and ended in it too when ``left_position`` is set."""

    key: MemberKey
    joined_position: int
    joined_seq: int
    left_position: int | None
    discards: bool
    changed: int


class ClosedInterval(msgspec.Struct, frozen=True):
    """Where a membership that was open before this batch ends.

    ``discards`` is what the member had chosen by then, None if that was before this batch.
    """

    left_position: int
    changed: int
    discards: bool | None = None


class ChangedInterval(msgspec.Struct):
    """What became of a membership that was open before this batch and still is.

    ``discards`` is None where the member has not chosen anew.
    """

    changed: int
    discards: bool | None = None


class Mark(msgspec.Struct):
    """What a member has said and read; whoever has none has one of zeros.

    A fresh one replaces what there was. Another only moves it: ``read_seq`` and ``read_quiet`` never
    go back unless ``is_placed``, ``last_message_ms`` is set unless it is 0, and its joining is not
    known here. ``read_quiet`` of the entries up to ``read_seq`` do not count as unread.
    """

    is_fresh: bool
    joined_position: int
    joined_seq: int
    read_seq: int
    last_message_ms: int
    read_quiet: int = 0
    is_placed: bool = False

    def read_to(self, seq: int, quiet: int) -> None:
        """The member has read so far, or farther."""
        self.read_seq = max(self.read_seq, seq)
        self.read_quiet = max(self.read_quiet, quiet)


class RememberedRequest(msgspec.Struct, frozen=True):
    """A request id that was answered in this batch."""

    stored: StoredReply
    at_ms: int


class OutboxWrite(msgspec.Struct, frozen=True):
    """An item for the outbox, and the number that its write set's entry got in a group's log."""

    item: OutboxItem
    seq: int | None


class Changes(msgspec.Struct):
    """What a batch writes, each thing once, as the whole batch leaves it.

    To be applied in the order of the fields: intervals end before others begin, ``redactions``
    find the entries of this batch too, and ``outbox`` its members. A mark that is None is removed.
    ``quiet`` are those of the entries of groups that do not count as unread.
    """

    position: int
    change: int
    closed: dict[MemberKey, ClosedInterval] = {}
    changed: dict[MemberKey, ChangedInterval] = {}
    opened: list[OpenedInterval] = []
    rows: dict[RowKey, PutRow] = {}
    marks: dict[MemberKey, Mark | None] = {}
    logs: dict[str, LogHead] = {}
    entries: list[tuple[str, Committed]] = []
    quiet: list[tuple[str, Committed]] = []
    redactions: list[Redaction] = []
    requests: dict[RequestKey, RememberedRequest] = {}
    counts: dict[str, int] = {}
    outbox: list[OutboxWrite] = []


def discards(member: Member) -> bool:
    """Whether messages of the group are kept from this member's devices."""
    return member.receive_option is ReceiveOption.DISCARD
