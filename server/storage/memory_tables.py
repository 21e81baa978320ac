"""What the memory store holds, and how changes are applied to it."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from protocol.vocabulary import EventKind
from server.domain.model import GroupKey, MemberKey, Redaction, Row, RowKey
from server.service.ports import Committed, Heads, RequestKey, Version
from server.storage.changes import (
    Changes,
    ClosedInterval,
    LogHead,
    Mark,
    PutRow,
    RememberedRequest,
    Touched,
    View,
    group_log,
)
from server.storage.memory_outbox import MemoryOutbox
from server.storage.records import decode_page, encode_entry, with_data
from server.storage.terms import MOST_TERMS

NO_VERSION: Final = Version(0, None)
NO_MARK: Final = Mark(True, 0, 0, 0, 0)


class Interval(msgspec.Struct):
    """A membership of a user."""

    group_id: str
    joined_position: int
    left_position: int | None
    discards: bool
    changed: int


class Log(msgspec.Struct):
    """The positions of what is kept of one log, and which of them are messages, and quiet."""

    positions: list[int] = []
    messages: set[int] = set()
    quiet: set[int] = set()


class StoredEntry(msgspec.Struct):
    """An entry as JSON."""

    log: str
    seq: int
    time_ms: int
    text: str


class Tables:
    """All rows; the methods keep them consistent with each other."""

    def __init__(self) -> None:
        self.terms: list[tuple[str, int]] = []
        self.position = 0
        self.change = 0
        self.floor = 0
        self.purged = 0
        self.rows: dict[RowKey, Version] = {}
        self.changed_ms: dict[str, int] = {}
        self.members: defaultdict[str, set[str]] = defaultdict(set)
        self.marks: dict[MemberKey, Mark] = {}
        self.intervals: defaultdict[str, list[Interval]] = defaultdict(list)
        self.heads: dict[str, LogHead] = {}
        self.logs: defaultdict[str, Log] = defaultdict(Log)
        self.entries: dict[int, StoredEntry] = {}
        self.requests: dict[RequestKey, RememberedRequest] = {}
        self.counters: dict[str, int] = {}
        self.outbox = MemoryOutbox()

    def begin_term(self, name: str) -> None:
        """See ``terms.begin``."""
        if self.terms and self.terms[-1][0] == name:
            return
        if name in dict(self.terms):
            raise ValueError(f"a term {name} has been and gone")
        self.terms.append((name, self.position))
        del self.terms[:-MOST_TERMS]

    def the_heads(self) -> Heads:
        """See ``Store.heads``."""
        names, starts = zip(*self.terms, strict=True)
        last = self.entries[next(reversed(self.entries))].time_ms if self.entries else 0
        earlier = dict(zip(names, starts[1:], strict=False))
        return Heads(names[-1], self.position, self.floor, earlier, last)

    def view(self, names: Touched) -> View:
        """What a batch rests on."""
        return View(
            position=self.position,
            change=self.change,
            versions={key: self.rows[key].position for key in names.rows if key in self.rows},
            replies={
                key: self.requests[key].stored for key in names.requests if key in self.requests
            },
            logs={name: self.heads[name] for name in names.logs if name in self.heads},
        )

    def apply(self, changes: Changes) -> None:
        """Write ``changes``, all of them or, when something cannot be encoded, none."""
        encoded = [(log, told, encode_entry(told.entry)) for log, told in changes.entries]
        for redaction in changes.redactions:
            msgspec.json.encode(redaction.data)
        self._apply_intervals(changes)
        for key, put in changes.rows.items():
            self._apply_row(key, put)
        for key, mark in changes.marks.items():
            self._apply_mark(key, mark)
        for log, told, text in encoded:
            self._add_entry(log, told, text)
        for redaction in changes.redactions:
            self._redact(redaction)
        self.heads.update(changes.logs)
        self.requests.update(changes.requests)
        for name, delta in changes.counts.items():
            self.counters[name] = self.counters.get(name, 0) + delta
        for write in changes.outbox:
            self.outbox.add(write, self.members.get(write.item.stream, set()))
        self.position = changes.position
        self.change = changes.change

    def trim(self, before_ms: int, limit: int) -> int:
        """See ``Store.trim``."""
        trimmed = 0
        for position, stored in list(islice(self.entries.items(), limit)):
            if stored.time_ms >= before_ms:
                break
            log = self.logs[stored.log]
            log.positions.remove(position)
            log.messages.discard(position)
            log.quiet.discard(position)
            del self.entries[position]
            self.floor = position
            trimmed += 1
        return trimmed

    def purge_group(self, group_id: str) -> None:
        """Everything of a group whose log is empty is gone."""
        for key in [key for key in self.rows if _group_of(key, self.rows[key].row) == group_id]:
            del self.rows[key]
        for key in [key for key in self.marks if key.group_id == group_id]:
            del self.marks[key]
        for user_id, intervals in self.intervals.items():
            self.intervals[user_id] = [one for one in intervals if one.group_id != group_id]
        self.members.pop(group_id, None)
        self.changed_ms.pop(group_id, None)
        self.logs.pop(group_log(group_id), None)
        self.heads.pop(group_log(group_id), None)

    def head(self, group_id: str) -> LogHead:
        """The end of a group's log."""
        return self.heads.get(group_log(group_id), LogHead())

    def last_time_ms(self, group_id: str) -> int:
        """When the last entry of the group's log was told, 0 when it is not kept."""
        last = self.entries.get(self.head(group_id).last_position)
        return 0 if last is None else last.time_ms

    def exists(self, group_id: str) -> bool:
        """Whether the group was ever heard of."""
        return group_log(group_id) in self.heads

    def lives(self, group_id: str) -> bool:
        """Whether the group has not ended."""
        return self.head(group_id).closed_position is None

    def living(self, user_id: str) -> Iterator[Interval]:
        """The user's memberships that last, in the order of joining."""
        for interval in self.intervals.get(user_id, ()):
            if interval.left_position is None and self.lives(interval.group_id):
                yield interval

    def row(self, key: RowKey) -> Row | None:
        """The row that ``key`` names."""
        return self.rows.get(key, NO_VERSION).row

    def page(self, positions: Iterator[int], limit: int) -> list[Committed]:
        """The entries at the first ``limit`` of ``positions``."""
        texts = []
        for position in islice(positions, limit):
            stored = self.entries[position]
            texts.append(f"[{position},{stored.seq},{stored.text}]")
        return decode_page(f"[{','.join(texts)}]")

    def _apply_intervals(self, changes: Changes) -> None:
        for key, end in changes.closed.items():
            self._close_interval(key, end)
        for key, changed in changes.changed.items():
            interval = self._open_interval(key)
            if interval is not None:
                interval.changed = changed.changed
                if changed.discards is not None:
                    interval.discards = changed.discards
        for opened in changes.opened:
            self.intervals[opened.key.user_id].append(
                Interval(
                    opened.key.group_id,
                    opened.joined_position,
                    opened.left_position,
                    opened.discards,
                    opened.changed,
                )
            )

    def _open_interval(self, key: MemberKey) -> Interval | None:
        for interval in self.intervals.get(key.user_id, ()):
            if interval.group_id == key.group_id and interval.left_position is None:
                return interval
        return None

    def _close_interval(self, key: MemberKey, end: ClosedInterval) -> None:
        interval = self._open_interval(key)
        if interval is not None:
            interval.left_position = end.left_position
            interval.changed = end.changed
            if end.discards is not None:
                interval.discards = end.discards

    def _apply_row(self, key: RowKey, put: PutRow) -> None:
        if put.row is None:
            self.rows.pop(key, None)
            if isinstance(key, MemberKey):
                self.members[key.group_id].discard(key.user_id)
            return
        self.rows[key] = Version(put.position, put.row)
        if isinstance(key, GroupKey):
            self.changed_ms[key.group_id] = put.at_ms
        elif isinstance(key, MemberKey):
            self.members[key.group_id].add(key.user_id)

    def _apply_mark(self, key: MemberKey, mark: Mark | None) -> None:
        known = self.marks.get(key)
        if mark is None:
            self.marks.pop(key, None)
        elif mark.is_fresh or known is None:
            self.marks[key] = mark
        else:
            known.last_message_ms = mark.last_message_ms or known.last_message_ms
            if mark.is_placed:
                known.read_seq = known.read_quiet = 0
            known.read_to(mark.read_seq, mark.read_quiet)

    def _add_entry(self, name: str, told: Committed, text: str) -> None:
        log = self.logs[name]
        log.positions.append(told.position)
        if told.entry.kind is EventKind.MESSAGE:
            log.messages.add(told.position)
        if told.entry.is_quiet:
            log.quiet.add(told.position)
        self.entries[told.position] = StoredEntry(name, told.seq, told.entry.time_ms, text)

    def _redact(self, redaction: Redaction) -> None:
        for position in self.logs[group_log(redaction.group_id)].positions:
            stored = self.entries[position]
            if stored.seq == redaction.seq:
                stored.text = with_data(stored.text, redaction.data)


def _group_of(key: RowKey, row: Row | None) -> str | None:
    """The group that a row goes with."""
    return getattr(row, "group_id", None)
