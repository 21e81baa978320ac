"""The reading half of the port on SQLite: each question is one statement, and so one snapshot."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from protocol.vocabulary import GroupType, Role
from server.domain.model import (
    Application,
    Group,
    Member,
    MemberKey,
    ReadState,
    RowKey,
)
from server.service.outbox import Outgoing, Waiting
from server.service.ports import (
    Committed,
    Followed,
    GroupHead,
    Heads,
    JoinedRow,
    MemberState,
    Missed,
    RequestKey,
    StoredReply,
    Version,
)
from server.storage import application_queries, sqlite_outbox, sqlite_queries
from server.storage.records import age_order, decode_page, decode_row, missed_page, name_of
from server.storage.sqlite_reader import Readers

_SHARD: Final = 0
_NO_VERSION: Final = Version(0, None)
_NO_TIME: Final = 2**62
"""Later than every time."""

_State = tuple[Member, int, int, int, int, int]
_encode: Final = msgspec.json.Encoder().encode
_names: Final = msgspec.json.Decoder(list[str])
_memberships: Final = msgspec.json.Decoder(list[tuple[str, str, int]])
_numbers: Final = msgspec.json.Decoder(dict[str, int])
_rows: Final = msgspec.json.Decoder(list[tuple[int, int, msgspec.Raw]])
_heads: Final = msgspec.json.Decoder(list[tuple[str, int, int, int, int]])
_states: Final = msgspec.json.Decoder(list[_State])
_joined: Final = msgspec.json.Decoder(
    list[tuple[Group, int, int, int, int, Member, int, int, int, int, int]]
)
_read_states: Final = msgspec.json.Decoder(list[tuple[int, int, int, int, int, int]])
_handlers: Final = msgspec.json.Decoder(list[tuple[str, list[str]]])
_mutes: Final = msgspec.json.Decoder(list[tuple[str, int]])
_pending: Final = msgspec.json.Decoder(list[tuple[str, list[Application]]])
_applications: Final = msgspec.json.Decoder(list[Application])


class SqliteReads:
    """What ``SqliteStore`` answers without writing; see ``server.service.ports.Store`` and ``Outbox``."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def load(self, keys: Collection[RowKey]) -> Mapping[RowKey, Version]:
        """See ``Store.load``."""
        wanted = list(dict.fromkeys(keys))
        (rows,) = await self._answer(sqlite_queries.LOAD, _text([name_of(key) for key in wanted]))
        found = dict.fromkeys(wanted, _NO_VERSION)
        for place, position, body in _rows.decode(rows):
            found[wanted[place]] = Version(position, decode_row(wanted[place], body))
        return found

    async def group_counts(self, user_ids: Collection[str]) -> Mapping[str, int]:
        """See ``Store.group_counts``."""
        (counts,) = await self._answer(sqlite_queries.GROUP_COUNTS, _text(set(user_ids)))
        return _numbers.decode(counts)

    async def counters(self, names: Collection[str]) -> Mapping[str, int]:
        """See ``Store.counters``."""
        (values,) = await self._answer(sqlite_queries.COUNTERS, _text(set(names)))
        return dict.fromkeys(names, 0) | _numbers.decode(values)

    async def replay(self, request: RequestKey) -> StoredReply | None:
        """See ``Store.replay``."""
        row = await self._readers.row(sqlite_queries.REPLAY, request.user_id, request.request_id)
        return None if row is None else StoredReply(*row)

    async def heads(self, shard: int) -> Heads:
        """See ``Store.heads``."""
        check_shard(shard)
        epoch, position, floor, earlier, last_ms = await self._answer(sqlite_queries.HEADS, shard)
        return Heads(epoch, position, floor, _numbers.decode(earlier), last_ms or 0)

    async def tail(self, shard: int, after: int, limit: int) -> Sequence[Committed]:
        """See ``Store.tail``."""
        check_shard(shard)
        return await self._page(sqlite_queries.TAIL, after, limit)

    async def missed(self, shard: int, user_id: str, after: int, upto: int, limit: int) -> Missed:
        """See ``Store.missed``."""
        check_shard(shard)
        position, floor, rows = await self._answer(
            sqlite_queries.MISSED, user_id, after, upto, limit + 1
        )
        return missed_page(decode_page(rows), after, min(upto, position), limit, floor)

    async def missed_count(self, shard: int, user_id: str, after: int, upto: int) -> int:
        """See ``Store.missed_count``. Exact, as long as nothing of the logs was trimmed."""
        check_shard(shard)
        (count,) = await self._answer(sqlite_queries.MISSED_COUNT, user_id, after, upto)
        return int(count)

    async def followed(self, user_ids: Collection[str]) -> Mapping[str, Followed]:
        """See ``Store.followed``."""
        position, rows = await self._answer(sqlite_queries.FOLLOWED, _text(set(user_ids)))
        group_ids: dict[str, list[str]] = {user_id: [] for user_id in user_ids}
        discards: dict[str, list[str]] = {user_id: [] for user_id in user_ids}
        for user_id, group_id, does_discard in _memberships.decode(rows):
            group_ids[user_id].append(group_id)
            if does_discard:
                discards[user_id].append(group_id)
        return {
            user_id: Followed(position, group_ids[user_id], discards[user_id])
            for user_id in group_ids
        }

    async def group_heads(self, group_ids: Collection[str]) -> Mapping[str, GroupHead]:
        """See ``Store.group_heads``."""
        (rows,) = await self._answer(sqlite_queries.GROUP_HEADS, _text(set(group_ids)))
        heads = dict.fromkeys(group_ids, GroupHead())
        heads.update((group_id, GroupHead(*head)) for group_id, *head in _heads.decode(rows))
        return heads

    async def history(
        self, group_id: str, above: int, below: int, limit: int, *, newest: bool
    ) -> Sequence[Committed]:
        """See ``Store.history``."""
        # Numbers are dense, so there are at most so many between the two.
        most = max(min(limit, below - above - 1), 0)
        if newest:
            page = await self._page(sqlite_queries.HISTORY_NEWEST, group_id, below - 1, most)
        else:
            page = await self._page(sqlite_queries.HISTORY_OLDEST, group_id, above, most)
        return [told for told in page if above < told.seq < below]

    async def member_states(
        self, group_id: str, user_ids: Collection[str]
    ) -> Mapping[str, MemberState]:
        """See ``Store.member_states``."""
        (rows,) = await self._answer(sqlite_queries.MEMBER_STATES, group_id, _text(set(user_ids)))
        states = [MemberState(*row) for row in _states.decode(rows)]
        return {state.member.user_id: state for state in states}

    async def members(
        self,
        group_id: str,
        after_user_id: str,
        limit: int,
        roles: Collection[Role],
        offset: int = 0,
    ) -> Sequence[MemberState]:
        """See ``Store.members``."""
        in_charge = Role.MEMBER not in roles
        query = sqlite_queries.MEMBERS_IN_CHARGE if in_charge else sqlite_queries.MEMBERS
        ranks = _text([role.rank for role in roles])
        (rows,) = await self._answer(query, group_id, after_user_id, limit, ranks, offset)
        states = [MemberState(*row) for row in _states.decode(rows)]
        return sorted(states, key=lambda state: state.member.user_id)

    async def groups_of(
        self, user_id: str, after_position: int, limit: int, group_type: GroupType | None
    ) -> Sequence[JoinedRow]:
        """See ``Store.groups_of``."""
        (rows,) = await self._answer(
            sqlite_queries.GROUPS_OF, user_id, after_position, limit, group_type
        )
        joined = [
            JoinedRow(row[0], GroupHead(*row[1:5]), MemberState(*row[5:]))
            for row in _joined.decode(rows)
        ]
        return sorted(joined, key=lambda row: row.state.joined_position)

    async def groups_version(self, user_id: str) -> int:
        """See ``Store.groups_version``."""
        (version,) = await self._answer(sqlite_queries.GROUPS_VERSION, user_id)
        return int(version)

    async def read_states(self, keys: Collection[MemberKey]) -> Mapping[MemberKey, ReadState]:
        """See ``Store.read_states``."""
        wanted = list(dict.fromkeys(keys))
        (rows,) = await self._answer(
            sqlite_queries.READ_STATES, _text([(key.group_id, key.user_id) for key in wanted])
        )
        return {
            wanted[place]: ReadState(
                head_seq=head_seq,
                read_seq=read_seq,
                last_message_time_ms=last_ms,
                head_quiet=head_quiet,
                read_quiet=read_quiet,
            )
            for place, head_seq, read_seq, last_ms, head_quiet, read_quiet in _read_states.decode(
                rows
            )
        }

    async def quiet_above(self, group_id: str, seq: int) -> int:
        """See ``Store.quiet_above``."""
        (count,) = await self._answer(sqlite_queries.QUIET_ABOVE, group_id, seq)
        return int(count)

    async def handlers(self, group_ids: Collection[str]) -> Mapping[str, Sequence[str]]:
        """See ``Store.handlers``."""
        (rows,) = await self._answer(application_queries.HANDLERS, _text(set(group_ids)))
        return {group_id: sorted(users) for group_id, users in _handlers.decode(rows)}

    async def pending(
        self, user_ids: Collection[str], limit: int
    ) -> Mapping[str, Sequence[Application]]:
        """See ``Store.pending``."""
        (rows,) = await self._answer(application_queries.PENDING, _text(set(user_ids)), limit)
        return {user_id: sorted(found, key=age_order) for user_id, found in _pending.decode(rows)}

    async def applications_for(
        self, user_id: str, before: tuple[int, str] | None, limit: int
    ) -> Sequence[Application]:
        """See ``Store.applications_for``."""
        before_ms, before_id = before if before is not None else (_NO_TIME, "")
        (rows,) = await self._answer(
            application_queries.APPLICATIONS_FOR, user_id, before_ms, before_id, limit
        )
        return sorted(_applications.decode(rows), key=age_order, reverse=True)

    async def unread_applications(self, user_id: str) -> int:
        """See ``Store.unread_applications``."""
        (count,) = await self._answer(application_queries.UNREAD_APPLICATIONS, user_id)
        return int(count)

    async def revocations(self) -> Mapping[str, int]:
        """See ``Store.revocations``."""
        (rows,) = await self._answer(sqlite_queries.REVOCATIONS)
        return _numbers.decode(rows)

    async def idle_groups(self, before_ms: int, limit: int) -> Sequence[str]:
        """See ``Store.idle_groups``."""
        (group_ids,) = await self._answer(sqlite_queries.IDLE_GROUPS, before_ms, limit)
        return _names.decode(group_ids)

    async def waiting(self, after_id: int, limit: int) -> Sequence[Waiting]:
        """See ``Outbox.waiting``."""
        (rows,) = await self._answer(sqlite_outbox.WAITING, after_id, limit)
        return sqlite_outbox.decode_waiting(rows)

    async def outgoing(self, ids: Collection[int]) -> Mapping[int, Outgoing]:
        """See ``Outbox.outgoing``."""
        (rows,) = await self._answer(sqlite_outbox.OUTGOING, _text(set(ids)))
        return {row.id: row for row in sqlite_outbox.decode_outgoing(rows)}

    async def dead(self, after_id: int, limit: int) -> Sequence[Outgoing]:
        """See ``Outbox.dead``."""
        (rows,) = await self._answer(sqlite_outbox.DEAD, after_id, limit)
        return sqlite_outbox.decode_outgoing(rows)

    async def group_ids(
        self, group_type: GroupType | None, offset: int, limit: int
    ) -> tuple[Sequence[str], int]:
        """See ``Store.group_ids``."""
        total, group_ids = await self._answer(sqlite_queries.GROUP_IDS, group_type, offset, limit)
        return _names.decode(group_ids), total

    async def muted(
        self, group_id: str, now_ms: int, offset: int, limit: int
    ) -> Sequence[tuple[str, int]]:
        """See ``Store.muted``."""
        (rows,) = await self._answer(sqlite_queries.MUTED, group_id, now_ms, offset, limit)
        return _mutes.decode(rows)

    async def banned(
        self, group_id: str, now_ms: int, offset: int, limit: int
    ) -> Sequence[tuple[str, int]]:
        """See ``Store.banned``."""
        (rows,) = await self._answer(sqlite_queries.BANNED, group_id, now_ms, offset, limit)
        return _mutes.decode(rows)

    async def _answer(self, query: str, *parameters: object) -> Sequence[Any]:
        """The one row that ``query`` always gives."""
        row = await self._readers.row(query, *parameters)
        assert row is not None
        return row

    async def _page(self, query: str, *parameters: object) -> list[Committed]:
        (entries,) = await self._answer(query, *parameters)
        return decode_page(entries)


def check_shard(shard: int) -> None:
    """Return if ``shard`` is the one that an embedded store has."""
    if shard != _SHARD:
        raise ValueError(f"an embedded store has only shard {_SHARD}, not {shard}")


def _text(value: object) -> str:
    return _encode(value).decode()
