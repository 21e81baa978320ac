"""How write sets get their numbers: the one rule that every adapter commits by.

An adapter reads what ``touched`` names into a View, calls ``number``, and writes the Changes that
come back. Nothing here reads or writes anything, so two adapters differ only in how they do that.

The numbers: a stored entry takes the next position and the next ``seq`` of its log. A write set
that puts rows but stores no entry takes one position, which no entry has. Rows get the position
at which their write set ends as their version.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from protocol.vocabulary import EventKind, Message
from server.domain.model import (
    Entry,
    GroupKey,
    Member,
    MemberKey,
    PlaceAt,
    ReadUpTo,
    Redaction,
    Row,
    RowKey,
    Spoke,
)
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
from server.storage.changes import (
    ChangedInterval,
    Changes,
    ClosedInterval,
    LogHead,
    Mark,
    OpenedInterval,
    OutboxWrite,
    PutRow,
    RememberedRequest,
    Touched,
    View,
    discards,
    group_log,
    log_of,
)

_CONFLICT: Final = Conflict()


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
    for redaction in write_set.redactions:
        yield group_log(redaction.group_id)
    yield from map(group_log, _groups_of_moves(write_set))


def _groups_of_moves(write_set: WriteSet) -> Iterator[str]:
    """The groups in which somebody speaks, or has read on."""
    for moved in (write_set.spoke, write_set.reads, *write_set.places):
        if moved is not None:
            yield moved.group_id


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
        self._held_back: set[str] = set()
        """The users of whom something met a conflict: what comes after it waits for it."""

    def take(self, write_set: WriteSet) -> Outcome:
        stored = self._stored_reply(write_set.request)
        outcome: Outcome
        if stored is not None:
            outcome = Duplicate(stored)
        elif write_set.actor_id in self._held_back or not self._expectations_hold(write_set):
            outcome = _CONFLICT
            if write_set.actor_id:
                self._held_back.add(write_set.actor_id)
        elif write_set.is_refusal:
            outcome = Done(self.changes.position, None, [])
        else:
            outcome = self._accept(write_set)
        is_done = isinstance(outcome, Done) and not write_set.is_refusal
        self._ends.append(self.changes.position if is_done else None)
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
        return self._view.versions.get(key, 0)

    def _is_unchanged_since(self, key: RowKey, place: int) -> bool:
        """Whether the row is as the write set at ``place``, counted from 1, left it."""
        end = self._ends[place - 1] if place <= len(self._ends) else None
        if end is None:
            return False
        put = self.changes.rows.get(key)
        return put is None or put.position <= end

    def _accept(self, write_set: WriteSet) -> Done:
        changes = self.changes
        changes.change += 1
        committed = self._number_entries(write_set)
        for key, row in write_set.puts.items():
            self._put(key, row, write_set.time_ms)
        if write_set.spoke is not None:
            self._note_spoke(write_set, write_set.spoke, committed)
        if write_set.reads is not None:
            self._note_read(write_set.reads)
        for place in write_set.places:
            self._note_place(place)
        changes.redactions.extend(
            redaction for redaction in write_set.redactions if self._is_told(redaction)
        )
        for name, delta in write_set.counts.items():
            changes.counts[name] = changes.counts.get(name, 0) + delta
        seq = _first_group_seq(committed)
        changes.outbox.extend(OutboxWrite(item, seq) for item in write_set.outbox)
        if write_set.request is not None:
            changes.requests[write_set.request] = RememberedRequest(
                StoredReply(write_set.digest, write_set.reply, seq), write_set.time_ms
            )
        return Done(changes.position, seq, committed)

    def _number_entries(self, write_set: WriteSet) -> list[Committed]:
        """The entries with their numbers, and the position that puts without entries take."""
        start = self.changes.position
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
        if _is_said(entry) and not entry.is_passing:
            head.last_message_ms = time_ms
        committed = Committed(entry, changes.position, head.seq)
        changes.entries.append((name, committed))
        if entry.is_quiet and entry.inbox_of is None:
            head.quiet += 1
            changes.quiet.append((name, committed))
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
        interval = self._open.get(key)
        if interval is not None and interval.joined_position == position:
            return
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
        # Nobody has to read of their own arrival.
        self.changes.marks[key] = Mark(True, position, seq_before, head.seq, 0, head.quiet)

    def _close(self, key: MemberKey, position: int) -> None:
        interval = self._open.pop(key, None)
        if interval is not None:
            interval.left_position = position
            interval.changed = self.changes.change
        elif key not in self.changes.closed:
            before = self.changes.changed.pop(key, None)
            self.changes.closed[key] = ClosedInterval(
                position, self.changes.change, before.discards if before else None
            )

    def _put(self, key: RowKey, row: Row | None, at_ms: int) -> None:
        changes = self.changes
        changes.rows[key] = PutRow(row, changes.position, changes.change, at_ms)
        if isinstance(key, GroupKey):
            self._head(group_log(key.group_id)).changed = changes.change
        elif isinstance(key, MemberKey):
            if row is None:
                changes.marks[key] = None
            elif isinstance(row, Member):
                self._change_interval(key, discards(row))

    def _change_interval(self, key: MemberKey, chosen: bool | None) -> None:
        """The member's own state changes, and with ``chosen`` whether messages are discarded."""
        interval: OpenedInterval | ChangedInterval | None = self._open.get(key)
        if interval is None and key in self.changes.closed:
            return
        if interval is None:
            interval = self.changes.changed.setdefault(key, ChangedInterval(0))
        interval.changed = self.changes.change
        if chosen is not None:
            interval.discards = chosen

    def _note_spoke(
        self, write_set: WriteSet, spoke: Spoke, committed: Sequence[Committed]
    ) -> None:
        head = self._head(group_log(spoke.group_id))
        if not any(told.entry.is_passing for told in committed):
            head.last_message_ms = write_set.time_ms
        head.changed = self.changes.change
        mark = self._mark(MemberKey(spoke.group_id, spoke.user_id))
        mark.last_message_ms = write_set.time_ms
        seq = _message_seq(committed)
        if seq:
            mark.read_to(seq, head.quiet)

    def _note_read(self, reads: ReadUpTo) -> None:
        key = MemberKey(reads.group_id, reads.user_id)
        self._mark(key).read_to(*self._within(reads))
        self._change_interval(key, None)

    def _note_place(self, place: PlaceAt) -> None:
        key = MemberKey(place.group_id, place.user_id)
        mark = self._mark(key)
        mark.read_seq, mark.read_quiet = self._within(place)
        mark.is_placed = True
        self._change_interval(key, None)

    def _within(self, moved: ReadUpTo | PlaceAt) -> tuple[int, int]:
        """How far somebody has read of what there is.

        Less than the decision said when what was to be told before it in the batch was a repeat.
        """
        name = group_log(moved.group_id)
        head = self.changes.logs.get(name) or self._view.logs.get(name) or LogHead()
        return min(moved.seq, head.seq), min(moved.quiet, head.quiet)

    def _is_told(self, redaction: Redaction) -> bool:
        """Whether there is such a number yet; one that comes later is another entry."""
        name = group_log(redaction.group_id)
        head = self.changes.logs.get(name) or self._view.logs.get(name)
        return head is not None and redaction.seq <= head.seq

    def _mark(self, key: MemberKey) -> Mark:
        mark = self.changes.marks.get(key)
        if mark is None:
            is_fresh = key in self.changes.marks
            mark = self.changes.marks[key] = Mark(is_fresh, 0, 0, 0, 0)
        return mark


def _first_group_seq(committed: Sequence[Committed]) -> int | None:
    for told in committed:
        if told.position and told.entry.inbox_of is None:
            return told.seq
    return None


def _is_said(entry: Entry) -> bool:
    """Whether somebody said something; taking it back is none."""
    return entry.kind is EventKind.MESSAGE and entry.event != Message.MESSAGE_RECALLED


def _message_seq(committed: Sequence[Committed]) -> int:
    """The number of the last stored message, 0 without one."""
    seq = 0
    for told in committed:
        if _is_said(told.entry) and told.entry.inbox_of is None:
            seq = told.seq
    return seq
