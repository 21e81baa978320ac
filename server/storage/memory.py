"""The store in dictionaries: the same answers as SQLite, nothing durable. For tests.

It keeps entries as the JSON that SQLite keeps, so that what comes out is never the object that
went in.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice

from protocol.results import ApplicationStatus
from protocol.vocabulary import GroupType, Role
from server.domain.model import (
    Application,
    ApplicationsSeen,
    ApplicationsSeenKey,
    Group,
    GroupKey,
    Member,
    MemberKey,
    ReadState,
    Remembered,
    Revocation,
    RowKey,
)
from server.service.outbox import Outgoing, Settled, Waiting
from server.service.ports import (
    Committed,
    Followed,
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
from server.storage.changes import group_log, inbox_log
from server.storage.memory_tables import NO_MARK, NO_VERSION, Log, Tables
from server.storage.numbering import number, touched
from server.storage.records import age_order, invitee_of, missed_page

Gate = Callable[[], Awaitable[None]]


class MemoryStore:
    """See ``server.service.ports.Store`` and ``server.service.outbox.Outbox``.

    Args:
        epoch: names the term that begins with this store; the name that the last one on the same
            tables had goes on with its term.
        tables: what a store before this one left behind, as a process leaves its file; new when
            None. One store at a time may use them.
        before_commit: awaited before each batch is applied; for tests that want to be in between.
    """

    def __init__(
        self,
        *,
        epoch: str = "memory",
        tables: Tables | None = None,
        before_commit: Gate | None = None,
    ) -> None:
        self._before_commit = before_commit
        self._turn = asyncio.Lock()
        self._begun: set[asyncio.Future[Sequence[Outcome]]] = set()
        self._failure: Exception | None = None
        self._fenced: str | None = None
        self._is_closed = False
        self._tables = Tables() if tables is None else tables
        self._tables.begin_term(epoch)

    def fail_next_commit(self, error: Exception) -> None:
        """The next commit applies nothing and raises ``error``; OutcomeUnknown fences."""
        self._failure = error

    async def commit(self, shard: int, batch: Sequence[WriteSet]) -> Sequence[Outcome]:
        """See ``Store.commit``. Calls are applied in their order, also when given up."""
        self._check(shard)
        commit = asyncio.ensure_future(self._in_turn(tuple(batch)))
        self._begun.add(commit)
        commit.add_done_callback(self._begun.discard)
        return await asyncio.shield(commit)

    async def load(self, keys: Collection[RowKey]) -> Mapping[RowKey, Version]:
        """See ``Store.load``."""
        tables = self._check()
        return {key: tables.rows.get(key, NO_VERSION) for key in keys}

    async def group_counts(self, user_ids: Collection[str]) -> Mapping[str, int]:
        """See ``Store.group_counts``."""
        tables = self._check()
        return {user_id: sum(1 for _ in tables.living(user_id)) for user_id in user_ids}

    async def counters(self, names: Collection[str]) -> Mapping[str, int]:
        """See ``Store.counters``."""
        tables = self._check()
        return {name: tables.counters.get(name, 0) for name in names}

    async def replay(self, request: RequestKey) -> StoredReply | None:
        """See ``Store.replay``."""
        remembered = self._check().requests.get(request)
        return None if remembered is None else remembered.stored

    async def heads(self, shard: int) -> Heads:
        """See ``Store.heads``."""
        tables = self._check(shard)
        return tables.the_heads()

    async def tail(self, shard: int, after: int, limit: int) -> Sequence[Committed]:
        """See ``Store.tail``."""
        tables = self._check(shard)
        positions = list(tables.entries)
        return tables.page(iter(positions[bisect_right(positions, after) :]), limit)

    async def missed(self, shard: int, user_id: str, after: int, upto: int, limit: int) -> Missed:
        """See ``Store.missed``."""
        tables = self._check(shard)
        found = tables.page(self._seen_by(user_id, after, upto), limit + 1)
        return missed_page(found, after, min(upto, tables.position), limit, tables.floor)

    async def missed_count(self, shard: int, user_id: str, after: int, upto: int) -> int:
        """See ``Store.missed_count``. Exact."""
        self._check(shard)
        return sum(1 for _ in self._seen_by(user_id, after, upto))

    async def followed(self, user_ids: Collection[str]) -> Mapping[str, Followed]:
        """See ``Store.followed``."""
        tables = self._check()
        living = {user_id: list(tables.living(user_id)) for user_id in user_ids}
        return {
            user_id: Followed(
                tables.position,
                [interval.group_id for interval in intervals],
                [interval.group_id for interval in intervals if interval.discards],
            )
            for user_id, intervals in living.items()
        }

    async def group_heads(self, group_ids: Collection[str]) -> Mapping[str, GroupHead]:
        """See ``Store.group_heads``."""
        self._check()
        return {group_id: self._group_head(group_id) for group_id in group_ids}

    async def history(
        self, group_id: str, above: int, below: int, limit: int, *, newest: bool
    ) -> Sequence[Committed]:
        """See ``Store.history``."""
        tables = self._check()
        log = tables.logs.get(group_log(group_id), Log())
        found = [p for p in log.positions if above < tables.entries[p].seq < below]
        first = max(len(found) - limit, 0) if newest else 0
        return tables.page(iter(found[first:]), limit)

    async def member_states(
        self, group_id: str, user_ids: Collection[str]
    ) -> Mapping[str, MemberState]:
        """See ``Store.member_states``."""
        there = self._members_of(group_id)
        return {user_id: self._state(group_id, user_id) for user_id in user_ids if user_id in there}

    async def members(
        self,
        group_id: str,
        after_user_id: str,
        limit: int,
        roles: Collection[Role],
        offset: int = 0,
    ) -> Sequence[MemberState]:
        """See ``Store.members``."""
        above = (user for user in sorted(self._members_of(group_id)) if user > after_user_id)
        states = (self._state(group_id, user_id) for user_id in above)
        wanted = (state for state in states if state.member.role in roles)
        return list(islice(wanted, offset, offset + limit))

    async def groups_of(
        self, user_id: str, after_position: int, limit: int, group_type: GroupType | None
    ) -> Sequence[JoinedRow]:
        """See ``Store.groups_of``."""
        rows = (
            self._joined_row(interval.group_id, user_id)
            for interval in self._check().living(user_id)
            if interval.joined_position > after_position
        )
        wanted = (row for row in rows if row is not None and group_type in (None, row.group.type))
        return list(islice(wanted, limit))

    async def groups_version(self, user_id: str) -> int:
        """See ``Store.groups_version``."""
        tables = self._check()
        numbers = [tables.purged]
        for interval in tables.intervals.get(user_id, ()):
            numbers.append(interval.changed)
            if interval.left_position is None:
                numbers.append(tables.head(interval.group_id).changed)
        return max(numbers)

    async def read_states(self, keys: Collection[MemberKey]) -> Mapping[MemberKey, ReadState]:
        """See ``Store.read_states``."""
        tables = self._check()
        states = {}
        for key in keys:
            mark = tables.marks.get(key, NO_MARK)
            states[key] = ReadState(
                head_seq=tables.head(key.group_id).seq,
                read_seq=mark.read_seq,
                last_message_time_ms=mark.last_message_ms,
                head_quiet=tables.head(key.group_id).quiet,
                read_quiet=mark.read_quiet,
            )
        return states

    async def quiet_above(self, group_id: str, seq: int) -> int:
        """See ``Store.quiet_above``."""
        tables = self._check()
        log = tables.logs.get(group_log(group_id), Log())
        return sum(tables.entries[position].seq > seq for position in log.quiet)

    async def handlers(self, group_ids: Collection[str]) -> Mapping[str, Sequence[str]]:
        """See ``Store.handlers``."""
        return {
            group_id: [
                user_id
                for user_id in sorted(self._members_of(group_id))
                if self._member(group_id, user_id).role is not Role.MEMBER
            ]
            for group_id in group_ids
        }

    async def pending(
        self, user_ids: Collection[str], limit: int
    ) -> Mapping[str, Sequence[Application]]:
        """See ``Store.pending``."""
        return {user_id: list(self._waiting(user_id))[:limit] for user_id in user_ids}

    async def applications_for(
        self, user_id: str, before: tuple[int, str] | None, limit: int
    ) -> Sequence[Application]:
        """See ``Store.applications_for``."""
        found = [
            one
            for one in reversed(self._concerning(user_id))
            if one.status is not ApplicationStatus.DROPPED
            and (before is None or age_order(one) < before)
        ]
        return found[:limit]

    async def unread_applications(self, user_id: str) -> int:
        """See ``Store.unread_applications``."""
        seen = self._check().row(ApplicationsSeenKey(user_id))
        up_to_ms = seen.up_to_ms if isinstance(seen, ApplicationsSeen) else 0
        return sum(1 for one in self._waiting(user_id) if one.created_ms > up_to_ms)

    async def revocations(self) -> Mapping[str, int]:
        """See ``Store.revocations``."""
        rows = (version.row for version in self._check().rows.values())
        return {row.user_id: row.up_to_s for row in rows if isinstance(row, Revocation)}

    async def idle_groups(self, before_ms: int, limit: int) -> Sequence[str]:
        """See ``Store.idle_groups``."""
        tables = self._check()
        idle = [
            group_id
            for group_id, changed_ms in tables.changed_ms.items()
            if changed_ms < before_ms
            and tables.head(group_id).last_message_ms < before_ms
            and tables.last_time_ms(group_id) < before_ms
            and isinstance(group := tables.row(GroupKey(group_id)), Group)
            and not group.closed_ms
            and tables.lives(group_id)
        ]
        return sorted(idle, key=lambda group_id: (tables.changed_ms[group_id], group_id))[:limit]

    async def group_ids(
        self, group_type: GroupType | None, offset: int, limit: int
    ) -> tuple[Sequence[str], int]:
        """See ``Store.group_ids``."""
        rows = (version.row for version in self._check().rows.values())
        living = sorted(
            row.group_id
            for row in rows
            if isinstance(row, Group) and not row.closed_ms and group_type in (None, row.type)
        )
        return living[offset : offset + limit], len(living)

    async def muted(
        self, group_id: str, now_ms: int, offset: int, limit: int
    ) -> Sequence[tuple[str, int]]:
        """See ``Store.muted``."""
        tables = self._check()
        rows = (version.row for version in tables.rows.values() if tables.lives(group_id))
        until = sorted(
            (row.user_id, row.mute_until_ms)
            for row in rows
            if isinstance(row, Member | Remembered)
            and row.group_id == group_id
            and row.mute_until_ms > now_ms
        )
        return until[offset : offset + limit]

    async def banned(
        self, group_id: str, now_ms: int, offset: int, limit: int
    ) -> Sequence[tuple[str, int]]:
        """See ``Store.banned``."""
        tables = self._check()
        rows = (version.row for version in tables.rows.values() if tables.lives(group_id))
        until = sorted(
            (row.user_id, row.banned_until_ms)
            for row in rows
            if isinstance(row, Remembered)
            and row.group_id == group_id
            and row.banned_until_ms > now_ms
        )
        return until[offset : offset + limit]

    async def trim(self, shard: int, before_ms: int, limit: int) -> int:
        """See ``Store.trim``."""
        return self._check(shard).trim(before_ms, limit)

    async def purge(self, before_ms: int, limit: int) -> int:
        """See ``Store.purge``."""
        tables = self._check()
        groups = [version.row for version in tables.rows.values() if isinstance(version.row, Group)]
        gone = [
            group.group_id
            for group in sorted(groups, key=lambda group: (group.closed_ms, group.group_id))
            if 0 < group.closed_ms < before_ms
            and tables.head(group.group_id).last_position <= tables.floor
        ][:limit]
        for group_id in gone:
            tables.purge_group(group_id)
        if gone:
            tables.change += 1
            tables.purged = tables.change
        return len(gone) + self._purge_applications(before_ms, limit - len(gone))

    async def forget_requests(self, before_ms: int, limit: int) -> int:
        """See ``Store.forget_requests``."""
        requests = self._check().requests
        oldest = list(islice(requests.items(), limit))
        forgotten = [key for key, request in oldest if request.at_ms < before_ms]
        for key in forgotten:
            del requests[key]
        return len(forgotten)

    async def waiting(self, after_id: int, limit: int) -> Sequence[Waiting]:
        """See ``Outbox.waiting``."""
        return self._check().outbox.waiting(after_id, limit)

    async def outgoing(self, ids: Collection[int]) -> Mapping[int, Outgoing]:
        """See ``Outbox.outgoing``."""
        return self._check().outbox.outgoing(ids)

    async def settle(self, settled: Sequence[Settled], *, most_dead: int | None) -> int:
        """See ``Outbox.settle``."""
        return self._check().outbox.settle(settled, most_dead)

    async def dead(self, after_id: int, limit: int) -> Sequence[Outgoing]:
        """See ``Outbox.dead``."""
        return self._check().outbox.dead(after_id, limit)

    async def revive(self, delivery_ids: Collection[str] | None) -> int:
        """See ``Outbox.revive``."""
        return self._check().outbox.revive(delivery_ids)

    async def close(self) -> None:
        """See ``Store.close``."""
        self._is_closed = True
        await asyncio.gather(*self._begun, return_exceptions=True)

    def _check(self, shard: int = 0) -> Tables:
        if shard != 0:
            raise ValueError(f"an embedded store has only shard 0, not {shard}")
        self._check_fence()
        if self._is_closed:
            raise Unavailable("the store is closed")
        return self._tables

    def _check_fence(self) -> None:
        if self._fenced is not None:
            raise OutcomeUnknown(self._fenced)

    async def _in_turn(self, batch: Sequence[WriteSet]) -> Sequence[Outcome]:
        async with self._turn:
            if self._before_commit is not None:
                await self._before_commit()
            self._check_fence()
            failure, self._failure = self._failure, None
            if failure is not None:
                if isinstance(failure, OutcomeUnknown):
                    self._fenced = str(failure)
                raise failure
            outcomes, changes = number(batch, self._tables.view(touched(batch)))
            self._tables.apply(changes)
            return outcomes

    def _purge_applications(self, before_ms: int, limit: int) -> int:
        rows = self._tables.rows
        handled = [
            (row.handled_ms, row.application_id, key)
            for key, version in rows.items()
            if isinstance(row := version.row, Application)
            and row.status is not ApplicationStatus.PENDING
            and row.handled_ms < before_ms
        ]
        gone = sorted(handled, key=lambda one: one[:2])[:limit]
        for _, _, key in gone:
            del rows[key]
        return len(gone)

    def _group_head(self, group_id: str) -> GroupHead:
        tables = self._tables
        head = tables.head(group_id)
        kept = tables.logs.get(group_log(group_id), Log()).positions
        first_seq = tables.entries[kept[0]].seq if kept else head.seq + 1
        return GroupHead(head.seq, head.last_message_ms, first_seq, head.quiet)

    def _members_of(self, group_id: str) -> set[str]:
        """The members of a group that lives."""
        tables = self._check()
        return tables.members.get(group_id, set()) if tables.lives(group_id) else set()

    def _member(self, group_id: str, user_id: str) -> Member:
        member = self._tables.row(MemberKey(group_id, user_id))
        assert isinstance(member, Member)
        return member

    def _state(self, group_id: str, user_id: str) -> MemberState:
        mark = self._tables.marks.get(MemberKey(group_id, user_id), NO_MARK)
        return MemberState(
            member=self._member(group_id, user_id),
            read_seq=mark.read_seq,
            last_message_time_ms=mark.last_message_ms,
            joined_position=mark.joined_position,
            joined_seq=mark.joined_seq,
            read_quiet=mark.read_quiet,
        )

    def _joined_row(self, group_id: str, user_id: str) -> JoinedRow | None:
        group = self._tables.row(GroupKey(group_id))
        if not isinstance(group, Group) or user_id not in self._members_of(group_id):
            return None
        return JoinedRow(group, self._group_head(group_id), self._state(group_id, user_id))

    def _concerning(self, user_id: str) -> list[Application]:
        """The applications that wait for the user or did, oldest first."""
        tables = self._check()
        found = [
            row
            for version in tables.rows.values()
            if isinstance(row := version.row, Application)
            and tables.exists(row.group_id)
            and tables.lives(row.group_id)
            and self._decides(user_id, row)
        ]
        return sorted(found, key=age_order)

    def _decides(self, user_id: str, application: Application) -> bool:
        invitee_id = invitee_of(application)
        if invitee_id is not None:
            return invitee_id == user_id
        member = self._tables.row(MemberKey(application.group_id, user_id))
        return isinstance(member, Member) and member.role is not Role.MEMBER

    def _waiting(self, user_id: str) -> Iterator[Application]:
        for application in self._concerning(user_id):
            if application.status is ApplicationStatus.PENDING:
                yield application

    def _seen_by(self, user_id: str, after: int, upto: int) -> Iterator[int]:
        """Positions of what the user may see with after < position <= upto, in order."""
        parts = [self._positions(inbox_log(user_id), after, upto, without_messages=False)]
        for interval in self._tables.intervals.get(user_id, ()):
            name = group_log(interval.group_id)
            ends = (interval.left_position, self._tables.heads[name].closed_position, upto)
            low = max(after, interval.joined_position - 1)
            high = min(end for end in ends if end is not None)
            parts.append(self._positions(name, low, high, without_messages=interval.discards))
        return merge(*parts)

    def _positions(self, name: str, low: int, high: int, *, without_messages: bool) -> list[int]:
        log = self._tables.logs.get(name, Log())
        found = log.positions[bisect_right(log.positions, low) : bisect_right(log.positions, high)]
        return [p for p in found if not (without_messages and p in log.messages)]
