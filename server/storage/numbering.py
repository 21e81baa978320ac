"""How write sets get their numbers: the one rule that every adapter commits by.

An adapter reads what ``touched`` names into a View, calls ``number``, and writes the Changes that
come back. Nothing here reads or writes anything, so two adapters differ only in how they do that.

The numbers: a stored entry takes the next position and the next ``seq`` of its log. A write set
that puts rows but stores no entry takes one position, which no entry has. Rows get the position
at which their write set ends as their version. Whatever may change what somebody's joined list
shows takes a *change number* besides, because not all of it takes a position.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from protocol.vocabulary import EventKind, ReceiveOption
from server.domain.model import Entry, Group, GroupKey, Member, MemberKey, Row, RowKey, Spoke
from server.service.ports import (
    Committed,
    Conflict,
    Done,
    Duplicate,
    Outcome,
    RequestKey,
    StoredReply,
    WriteSet,
)

_CONFLICT: Final = Conflict()


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
    """The end of a log. The last three are of groups only.

    ``changed`` is the change number of the last thing that a joined list shows of the group;
    ``closed_position`` is where the group ended, None while it lives.
    """

    seq: int = 0
    last_position: int = 0
    last_message_ms: int = 0
    changed: int = 0
    closed_position: int | None = None


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
    """A row as the batch leaves it, None for deleted; ``position`` is where that happened."""

    row: Row | None
    position: int
    change: int


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


class Mark(msgspec.Struct):
    """What a member has said and read.

    A fresh one replaces what there was. Another only moves it: ``last_message_ms`` is set, and
    ``read_seq`` never goes back; its joining is not known here.
    """

    is_fresh: bool
    joined_position: int
    joined_seq: int
    read_seq: int
    last_message_ms: int


class RememberedRequest(msgspec.Struct, frozen=True):
    """A request id that was answered in this batch."""

    stored: StoredReply
    at_ms: int


class Changes(msgspec.Struct):
    """What a batch writes, each thing once, as the whole batch leaves it.

    To be applied in the order of the fields: ``revived`` groups lose the members of their former
    life, then ``closed`` intervals end, then ``opened`` ones begin, then ``rows``, then ``marks``
    of those member rows that are there by then.
    """

    position: int
    change: int
    revived: dict[str, ClosedInterval] = {}
    closed: dict[MemberKey, ClosedInterval] = {}
    opened: list[OpenedInterval] = []
    rows: dict[RowKey, PutRow] = {}
    marks: dict[MemberKey, Mark] = {}
    logs: dict[str, LogHead] = {}
    entries: list[tuple[str, Committed]] = []
    requests: dict[RequestKey, RememberedRequest] = {}
    counts: dict[str, int] = {}


def touched(batch: Sequence[WriteSet]) -> Touched:
    """What ``number`` needs to know of the store for ``batch``."""
    rows: dict[RowKey, None] = {}
    requests: dict[RequestKey, None] = {}
    logs: dict[str, None] = {}
    for write_set in batch:
        if write_set.request is not None:
            requests[write_set.request] = None
        for key, position in write_set.expect.items():
            if position >= 0:
                rows[key] = None
        for name in _logs_of(write_set):
            logs[name] = None
    return Touched(rows=list(rows), requests=list(requests), logs=list(logs))


def _logs_of(write_set: WriteSet) -> Iterator[str]:
    for key in write_set.puts:
        if isinstance(key, GroupKey):
            yield group_log(key.group_id)
    for entry in write_set.entries:
        if entry.is_stored:
            yield log_of(entry)
        if entry.joined or entry.left or entry.closes:
            yield group_log(entry.group_id)
    if write_set.spoke is not None:
        yield group_log(write_set.spoke.group_id)


def number(batch: Sequence[WriteSet], view: View) -> tuple[list[Outcome], Changes]:
    """The outcome of each write set of ``batch`` in its order, and what is to be written."""
    numbering = _Numbering(view)
    outcomes = [numbering.take(write_set) for write_set in batch]
    return outcomes, numbering.changes


class _Numbering:
    """A batch on its way through."""

    def __init__(self, view: View) -> None:
        self.changes = Changes(position=view.position, change=view.change)
        self._view = view
        self._ends: list[int | None] = []
        """Where each write set so far ends, None for one that was not done."""
        self._open: dict[MemberKey, OpenedInterval] = {}
        """The intervals that this batch opened and has not closed."""

    def take(self, write_set: WriteSet) -> Outcome:
        stored = self._stored_reply(write_set.request)
        outcome: Outcome
        if stored is not None:
            outcome = Duplicate(stored)
        elif self._expectations_hold(write_set) and self._may_revive(write_set):
            outcome = self._accept(write_set)
        else:
            outcome = _CONFLICT
        self._ends.append(outcome.position if isinstance(outcome, Done) else None)
        return outcome

    def _stored_reply(self, request: RequestKey | None) -> StoredReply | None:
        if request is None:
            return None
        remembered = self.changes.requests.get(request)
        return self._view.replies.get(request) if remembered is None else remembered.stored

    def _expectations_hold(self, write_set: WriteSet) -> bool:
        for key, expected in write_set.expect.items():
            if expected >= 0:
                if self._version(key) != expected:
                    return False
            elif not self._is_unchanged_since(key, -expected):
                return False
        return True

    def _version(self, key: RowKey) -> int:
        put = self.changes.rows.get(key)
        if put is not None:
            return 0 if put.row is None else put.position
        if isinstance(key, MemberKey) and key.group_id in self.changes.revived:
            return 0
        return self._view.versions.get(key, 0)

    def _is_unchanged_since(self, key: RowKey, place: int) -> bool:
        """Whether the row is as the write set at ``place``, counted from 1, left it."""
        end = self._ends[place - 1] if place <= len(self._ends) else None
        if end is None:
            return False
        put = self.changes.rows.get(key)
        return put is None or put.position <= end

    def _may_revive(self, write_set: WriteSet) -> bool:
        """Whether no group comes back to life that this batch has touched already.

        Who its members were is known only to the store; decided again, it is another batch.
        """
        return not any(
            self._former_end(key, row) and self._is_touched(key.group_id)
            for key, row in write_set.puts.items()
        )

    def _is_touched(self, group_id: str) -> bool:
        return group_log(group_id) in self.changes.logs or any(
            key.group_id == group_id for key in self.changes.rows
        )

    def _former_end(self, key: RowKey, row: Row | None) -> int:
        """Where the group ended that ``row`` brings back; 0 if that is not what it does."""
        if not isinstance(row, Group) or row.closed_ms:
            return 0
        name = group_log(row.group_id)
        head = self.changes.logs.get(name) or self._view.logs.get(name)
        return 0 if head is None else head.closed_position or 0

    def _accept(self, write_set: WriteSet) -> Done:
        changes = self.changes
        changes.change += 1
        committed = self._number_entries(write_set)
        for key, row in write_set.puts.items():
            self._put(key, row)
        if write_set.spoke is not None:
            self._note_spoke(write_set, write_set.spoke, committed)
        for name, delta in write_set.counts.items():
            changes.counts[name] = changes.counts.get(name, 0) + delta
        seq = _first_group_seq(committed)
        if write_set.request is not None:
            changes.requests[write_set.request] = RememberedRequest(
                StoredReply(write_set.digest, write_set.reply, seq), write_set.time_ms
            )
        return Done(changes.position, seq, committed)

    def _number_entries(self, write_set: WriteSet) -> list[Committed]:
        """The entries with their numbers, and the position that puts without entries take."""
        start = self.changes.position
        for key, row in write_set.puts.items():
            self._revive(key, row)
        committed = [self._number_entry(entry, write_set.time_ms) for entry in write_set.entries]
        if write_set.puts and self.changes.position == start:
            self.changes.position += 1
        for entry in write_set.entries:
            if not entry.is_stored:
                self._follow_edges_of_unstored(entry, write_set.puts)
        return committed

    def _head(self, name: str) -> LogHead:
        head = self.changes.logs.get(name)
        if head is None:
            known = self._view.logs.get(name)
            head = LogHead() if known is None else msgspec.structs.replace(known)
            self.changes.logs[name] = head
        return head

    def _revive(self, key: RowKey, row: Row | None) -> None:
        if self._former_end(key, row):
            head = self._head(group_log(key.group_id))
            assert head.closed_position is not None
            self.changes.revived[key.group_id] = ClosedInterval(
                head.closed_position, self.changes.change
            )
            head.closed_position = None

    def _number_entry(self, entry: Entry, time_ms: int) -> Committed:
        if not entry.is_stored:
            return Committed(entry, 0, 0)
        changes = self.changes
        changes.position += 1
        name = log_of(entry)
        head = self._head(name)
        head.seq += 1
        head.last_position = changes.position
        head.changed = changes.change
        if entry.kind is EventKind.MESSAGE:
            head.last_message_ms = time_ms
        committed = Committed(entry, changes.position, head.seq)
        changes.entries.append((name, committed))
        self._follow_edges(entry, entry.joined, entry.left, closes=entry.closes)
        return committed

    def _follow_edges_of_unstored(self, entry: Entry, puts: Mapping[RowKey, Row | None]) -> None:
        """Memberships change at the end of the write set, for those whose rows it puts.

        Where members are not stored the entry still names them, but nobody joins or leaves here.
        """
        group_id = entry.group_id
        self._follow_edges(
            entry,
            [user_id for user_id in entry.joined if MemberKey(group_id, user_id) in puts],
            [user_id for user_id in entry.left if MemberKey(group_id, user_id) in puts],
            closes=entry.closes and GroupKey(group_id) in puts,
        )

    def _follow_edges(
        self, entry: Entry, joined: Sequence[str], left: Sequence[str], *, closes: bool
    ) -> None:
        if not (joined or left or closes):
            return
        head = self._head(group_log(entry.group_id))
        head.changed = self.changes.change
        position = self.changes.position
        for user_id in joined:
            self._join(MemberKey(entry.group_id, user_id), position, head)
        for user_id in left:
            self._close(MemberKey(entry.group_id, user_id), position)
        if closes:
            head.closed_position = position

    def _join(self, key: MemberKey, position: int, head: LogHead) -> None:
        # Whoever joins twice without leaving has one membership after the other.
        self._close(key, position - 1)
        seq_before = head.seq - 1 if head.last_position == position else head.seq
        interval = OpenedInterval(
            key=key,
            joined_position=position,
            joined_seq=seq_before,
            left_position=None,
            discards=False,
            changed=self.changes.change,
        )
        self.changes.opened.append(interval)
        self._open[key] = interval
        self.changes.marks[key] = Mark(True, position, seq_before, seq_before, 0)

    def _close(self, key: MemberKey, position: int) -> None:
        interval = self._open.pop(key, None)
        if interval is not None:
            interval.left_position = position
            interval.changed = self.changes.change
        elif key not in self.changes.closed:
            put = self.changes.rows.get(key)
            chosen = discards(put.row) if put and isinstance(put.row, Member) else None
            self.changes.closed[key] = ClosedInterval(position, self.changes.change, chosen)

    def _put(self, key: RowKey, row: Row | None) -> None:
        changes = self.changes
        changes.rows[key] = PutRow(row, changes.position, changes.change)
        if isinstance(key, GroupKey):
            self._head(group_log(key.group_id)).changed = changes.change
        elif isinstance(row, Member):
            interval = self._open.get(key)
            if interval is not None:
                interval.discards = discards(row)
                interval.changed = changes.change
        else:
            # Should the row come back within this batch, nothing of the former one is left.
            changes.marks[key] = Mark(True, 0, 0, 0, 0)

    def _note_spoke(
        self, write_set: WriteSet, spoke: Spoke, committed: Sequence[Committed]
    ) -> None:
        head = self._head(group_log(spoke.group_id))
        head.last_message_ms = write_set.time_ms
        head.changed = self.changes.change
        key = MemberKey(spoke.group_id, spoke.user_id)
        mark = self.changes.marks.get(key)
        if mark is None:
            mark = self.changes.marks[key] = Mark(False, 0, 0, 0, 0)
        mark.last_message_ms = write_set.time_ms
        mark.read_seq = max(mark.read_seq, _message_seq(committed))


def discards(member: Member) -> bool:
    """Whether messages of the group are kept from this member's devices."""
    return member.receive_option is ReceiveOption.DISCARD


def _first_group_seq(committed: Sequence[Committed]) -> int | None:
    for told in committed:
        if told.position and told.entry.inbox_of is None:
            return told.seq
    return None


def _message_seq(committed: Sequence[Committed]) -> int:
    """The number of the last stored message, 0 without one."""
    seq = 0
    for told in committed:
        if told.entry.kind is EventKind.MESSAGE and told.entry.inbox_of is None:
            seq = told.seq
    return seq
