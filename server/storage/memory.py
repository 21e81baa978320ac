"""The store in dictionaries: the same answers as SQLite, nothing durable. For tests.

It keeps rows and entries as the JSON that SQLite keeps, so that what comes out is never the
object that went in.
"""

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import Final

import msgspec

from protocol.vocabulary import EventKind, GroupType, Role
from server.domain.model import Group, GroupKey, Member, MemberKey, Row, RowKey
from server.service.ports import (
    Committed,
    GroupHead,
    Heads,
    JoinedRow,
    MemberState,
    Missed,
    Outcome,
    OutcomeUnknown,
    RequestKey,
    StoredReply,
    Unavailable,
    Version,
    WriteSet,
)
from server.storage.numbering import (
    Changes,
    ClosedInterval,
    LogHead,
    Mark,
    PutRow,
    RememberedRequest,
    Touched,
    View,
    discards,
    group_log,
    inbox_log,
    number,
    touched,
)
from server.storage.records import decode_page, encode_entry, missed_page

Gate = Callable[[], Awaitable[None]]

_NO_VERSION: Final = Version(0, None)


class _Interval(msgspec.Struct):
    group_id: str
    joined_position: int
    left_position: int | None
    discards: bool
    changed: int


class _Log(msgspec.Struct):
    """The entries of one log, as parallel lists: the n-th has the number n + 1."""

    positions: list[int] = []
    is_message: list[bool] = []


class MemoryStore:
    """See ``server.service.ports.Store``.

    Args:
        epoch: names this history.
        before_commit: awaited before each batch is applied; for tests that want to be in between.
    """

    def __init__(self, *, epoch: str = "memory", before_commit: Gate | None = None) -> None:
        self._epoch = epoch
        self._before_commit = before_commit
        self._turn = asyncio.Lock()
        self._failure: Exception | None = None
        self._refusal: str | None = None
        self._is_closed = False
        self._position = 0
        self._change = 0
        self._rows: dict[RowKey, Version] = {}
        self._members: defaultdict[str, dict[str, Mark]] = defaultdict(dict)
        self._intervals: defaultdict[str, list[_Interval]] = defaultdict(list)
        self._heads: dict[str, LogHead] = {}
        self._logs: defaultdict[str, _Log] = defaultdict(_Log)
        self._entries: dict[int, str] = {}
        self._requests: dict[RequestKey, RememberedRequest] = {}
        self._counters: dict[str, int] = {}

    def fail_next_commit(self, error: Exception) -> None:
        """The next commit applies nothing and raises ``error``; OutcomeUnknown fences."""
        self._failure = error

    async def commit(self, shard: int, batch: Sequence[WriteSet]) -> Sequence[Outcome]:
        """See ``Store.commit``. Calls are applied in their order, also when given up."""
        self._check(shard)
        return await asyncio.shield(self._in_turn(tuple(batch)))

    async def load(self, keys: Collection[RowKey]) -> Mapping[RowKey, Version]:
        """See ``Store.load``."""
        self._check()
        return {key: self._rows.get(key, _NO_VERSION) for key in keys}

    async def group_counts(self, user_ids: Collection[str]) -> Mapping[str, int]:
        """See ``Store.group_counts``."""
        self._check()
        return {user_id: sum(1 for _ in self._living(user_id)) for user_id in user_ids}

    async def counters(self, names: Collection[str]) -> Mapping[str, int]:
        """See ``Store.counters``."""
        self._check()
        return {name: self._counters.get(name, 0) for name in names}

    async def replay(self, request: RequestKey) -> StoredReply | None:
        """See ``Store.replay``."""
        self._check()
        remembered = self._requests.get(request)
        return None if remembered is None else remembered.stored

    async def heads(self, shard: int) -> Heads:
        """See ``Store.heads``."""
        self._check(shard)
        return Heads(self._epoch, self._position, 0)

    async def tail(self, shard: int, after: int, limit: int) -> Sequence[Committed]:
        """See ``Store.tail``."""
        self._check(shard)
        positions = list(self._entries)
        return self._page(islice(positions, bisect_right(positions, after), None), limit)

    async def missed(self, shard: int, user_id: str, after: int, upto: int, limit: int) -> Missed:
        """See ``Store.missed``."""
        self._check(shard)
        found = self._page(self._seen_by(user_id, after, upto), limit + 1)
        return missed_page(found, after, min(upto, self._position), limit)

    async def missed_count(self, shard: int, user_id: str, after: int, upto: int) -> int:
        """See ``Store.missed_count``. Exact."""
        self._check(shard)
        return sum(1 for _ in self._seen_by(user_id, after, upto))

    async def followed(self, user_id: str) -> tuple[int, Collection[str]]:
        """See ``Store.followed``."""
        self._check()
        return self._position, [interval.group_id for interval in self._living(user_id)]

    async def group_heads(self, group_ids: Collection[str]) -> Mapping[str, GroupHead]:
        """See ``Store.group_heads``."""
        self._check()
        return {group_id: self._group_head(group_id) for group_id in group_ids}

    async def history(
        self, group_id: str, above: int, below: int, limit: int, *, newest: bool
    ) -> Sequence[Committed]:
        """See ``Store.history``."""
        self._check()
        log = self._logs.get(group_log(group_id), _Log())
        found = log.positions[max(above, 0) : max(below - 1, 0)]
        first = max(len(found) - limit, 0) if newest else 0
        return self._page(iter(found[first:]), limit)

    async def member_states(
        self, group_id: str, user_ids: Collection[str]
    ) -> Mapping[str, MemberState]:
        """See ``Store.member_states``."""
        self._check()
        if self._is_over(group_id):
            return {}
        there = self._members.get(group_id, {})
        return {user_id: self._state(group_id, user_id) for user_id in user_ids if user_id in there}

    async def members(
        self, group_id: str, after_user_id: str, limit: int, roles: Collection[Role]
    ) -> Sequence[MemberState]:
        """See ``Store.members``."""
        self._check()
        if self._is_over(group_id):
            return []
        above = sorted(user for user in self._members.get(group_id, {}) if user > after_user_id)
        states = (self._state(group_id, user_id) for user_id in above)
        return list(islice((state for state in states if state.member.role in roles), limit))

    async def groups_of(
        self, user_id: str, after_position: int, limit: int, group_type: GroupType | None
    ) -> Sequence[JoinedRow]:
        """See ``Store.groups_of``."""
        self._check()
        rows = (
            self._joined_row(interval.group_id, user_id)
            for interval in self._living(user_id)
            if interval.joined_position > after_position
        )
        wanted = (row for row in rows if row is not None and group_type in (None, row.group.type))
        return list(islice(wanted, limit))

    async def groups_version(self, user_id: str) -> int:
        """See ``Store.groups_version``."""
        self._check()
        numbers = [0]
        for interval in self._intervals.get(user_id, ()):
            numbers.append(interval.changed)
            if interval.left_position is None:
                numbers.append(self._heads[group_log(interval.group_id)].changed)
        return max(numbers)

    async def forget_requests(self, before_ms: int, limit: int) -> int:
        """See ``Store.forget_requests``."""
        self._check()
        oldest = list(islice(self._requests.items(), limit))
        forgotten = [key for key, request in oldest if request.at_ms < before_ms]
        for key in forgotten:
            del self._requests[key]
        return len(forgotten)

    async def close(self) -> None:
        """See ``Store.close``."""
        async with self._turn:
            self._is_closed = True

    def _check(self, shard: int = 0) -> None:
        if shard != 0:
            raise ValueError(f"an embedded store has only shard 0, not {shard}")
        if self._refusal is not None:
            raise OutcomeUnknown(self._refusal)
        if self._is_closed:
            raise Unavailable("the store is closed")

    async def _in_turn(self, batch: Sequence[WriteSet]) -> Sequence[Outcome]:
        async with self._turn:
            if self._before_commit is not None:
                await self._before_commit()
            self._check()
            failure, self._failure = self._failure, None
            if failure is not None:
                if isinstance(failure, OutcomeUnknown):
                    self._refusal = str(failure)
                raise failure
            outcomes, changes = number(batch, self._view(touched(batch)))
            self._apply(changes)
            return outcomes

    # Writing

    def _view(self, names: Touched) -> View:
        return View(
            position=self._position,
            change=self._change,
            versions={key: self._rows[key].position for key in names.rows if key in self._rows},
            replies={
                key: self._requests[key].stored for key in names.requests if key in self._requests
            },
            logs={name: self._heads[name] for name in names.logs if name in self._heads},
        )

    def _apply(self, changes: Changes) -> None:
        # What may fail comes first: an entry that cannot be encoded leaves no trace.
        encoded = [(log, told, encode_entry(told.entry)) for log, told in changes.entries]
        for group_id, end in changes.revived.items():
            for user_id in self._members.pop(group_id, {}):
                self._close_interval(MemberKey(group_id, user_id), end)
                del self._rows[MemberKey(group_id, user_id)]
        self._apply_intervals(changes)
        for key, put in changes.rows.items():
            self._apply_row(key, put)
        for key, mark in changes.marks.items():
            self._apply_mark(key, mark)
        for log, told, text in encoded:
            self._logs[log].positions.append(told.position)
            self._logs[log].is_message.append(told.entry.kind is EventKind.MESSAGE)
            self._entries[told.position] = f"[{told.position},{told.seq},{text}]"
        self._heads.update(changes.logs)
        self._requests.update(changes.requests)
        for name, delta in changes.counts.items():
            self._counters[name] = self._counters.get(name, 0) + delta
        self._position = changes.position
        self._change = changes.change

    def _apply_intervals(self, changes: Changes) -> None:
        for key, end in changes.closed.items():
            self._close_interval(key, end)
        for opened in changes.opened:
            self._intervals[opened.key.user_id].append(
                _Interval(
                    opened.key.group_id,
                    opened.joined_position,
                    opened.left_position,
                    opened.discards,
                    opened.changed,
                )
            )

    def _open_interval(self, key: MemberKey) -> _Interval | None:
        for interval in self._intervals.get(key.user_id, ()):
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
            self._rows.pop(key, None)
            if isinstance(key, MemberKey):
                self._members[key.group_id].pop(key.user_id, None)
            return
        self._rows[key] = Version(put.position, put.row)
        if isinstance(key, MemberKey) and isinstance(put.row, Member):
            self._members[key.group_id].setdefault(key.user_id, Mark(True, 0, 0, 0, 0))
            interval = self._open_interval(key)
            if interval is not None:
                interval.discards = discards(put.row)
                interval.changed = put.change

    def _apply_mark(self, key: MemberKey, mark: Mark) -> None:
        there = self._members.get(key.group_id, {})
        known = there.get(key.user_id)
        if known is None:
            return
        if mark.is_fresh:
            there[key.user_id] = mark
        else:
            known.last_message_ms = mark.last_message_ms
            known.read_seq = max(known.read_seq, mark.read_seq)

    # Reading

    def _head(self, group_id: str) -> LogHead:
        return self._heads.get(group_log(group_id), LogHead())

    def _group_head(self, group_id: str) -> GroupHead:
        head = self._head(group_id)
        return GroupHead(head.seq, head.last_message_ms)

    def _is_over(self, group_id: str) -> bool:
        return self._head(group_id).closed_position is not None

    def _living(self, user_id: str) -> Iterator[_Interval]:
        """The user's memberships that last, in the order of joining."""
        for interval in self._intervals.get(user_id, ()):
            if interval.left_position is None and not self._is_over(interval.group_id):
                yield interval

    def _state(self, group_id: str, user_id: str) -> MemberState:
        mark = self._members[group_id][user_id]
        member = self._row(MemberKey(group_id, user_id))
        assert isinstance(member, Member)
        return MemberState(
            member=member,
            read_seq=mark.read_seq,
            last_message_time_ms=mark.last_message_ms,
            joined_position=mark.joined_position,
            joined_seq=mark.joined_seq,
        )

    def _joined_row(self, group_id: str, user_id: str) -> JoinedRow | None:
        group = self._row(GroupKey(group_id))
        if not isinstance(group, Group) or user_id not in self._members.get(group_id, {}):
            return None
        return JoinedRow(group, self._group_head(group_id), self._state(group_id, user_id))

    def _row(self, key: RowKey) -> Row | None:
        return self._rows.get(key, _NO_VERSION).row

    def _seen_by(self, user_id: str, after: int, upto: int) -> Iterator[int]:
        """Positions of what the user may see with after < position <= upto, in order."""
        parts = [self._positions(inbox_log(user_id), after, upto, without_messages=False)]
        for interval in self._intervals.get(user_id, ()):
            name = group_log(interval.group_id)
            ends = (interval.left_position, self._heads[name].closed_position, upto)
            low = max(after, interval.joined_position - 1)
            high = min(end for end in ends if end is not None)
            parts.append(self._positions(name, low, high, without_messages=interval.discards))
        return merge(*parts)

    def _positions(self, name: str, low: int, high: int, *, without_messages: bool) -> list[int]:
        log = self._logs.get(name, _Log())
        first, end = bisect_right(log.positions, low), bisect_right(log.positions, high)
        return [
            log.positions[place]
            for place in range(first, end)
            if not (without_messages and log.is_message[place])
        ]

    def _page(self, positions: Iterator[int], limit: int) -> list[Committed]:
        texts = [self._entries[position] for position in islice(positions, limit)]
        return decode_page(f"[{','.join(texts)}]")
