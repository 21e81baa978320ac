"""The store in one SQLite file: ``server.service.ports.Store`` for one process."""

import asyncio
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from protocol.vocabulary import GroupType, Role
from server.domain.model import Group, GroupKey, Member, MemberKey, RowKey
from server.service.ports import (
    Committed,
    GroupHead,
    Heads,
    JoinedRow,
    MemberState,
    Missed,
    Outcome,
    RequestKey,
    StoredReply,
    Version,
    WriteSet,
)
from server.storage import database, sqlite_queries
from server.storage.lock import DirectoryLock
from server.storage.records import decode_page, missed_page
from server.storage.refusal import StoreRefused
from server.storage.sqlite_batch import commit_batch, forget_requests
from server.storage.sqlite_reader import Readers
from server.storage.sqlite_writer import Fence, Writer

_SHARD: Final = 0
_NO_VERSION: Final = Version(0, None)

_State = tuple[Member, int, int, int, int]
_encode: Final = msgspec.json.Encoder().encode
_names: Final = msgspec.json.Decoder(list[str])
_numbers: Final = msgspec.json.Decoder(dict[str, int])
_groups: Final = msgspec.json.Decoder(list[tuple[int, int, Group]])
_members: Final = msgspec.json.Decoder(list[tuple[int, int, Member]])
_heads: Final = msgspec.json.Decoder(list[tuple[str, int, int]])
_states: Final = msgspec.json.Decoder(list[_State])
_joined: Final = msgspec.json.Decoder(list[tuple[Group, int, int, Member, int, int, int, int]])


async def open_sqlite(
    directory: Path, *, epoch: str | None = None, readers: int = 2
) -> "SqliteStore":
    """The store of ``directory``, which is made when it does not exist.

    Args:
        directory: holds everything; one process at a time.
        epoch: names the history of a database that is made now; random when None.
        readers: how many questions may be answered at the same time.

    Raises:
        StoreRefused: another process uses it, or what is in it must not be served.
    """
    lock, connection = await asyncio.to_thread(_prepare, directory, epoch)
    fence = Fence()
    writer = Writer(connection, fence)
    try:
        pool = await Readers.open(directory / database.DATABASE_NAME, readers, fence)
    except BaseException:
        await writer.close()
        lock.release()
        raise
    return SqliteStore(lock, writer, pool)


class SqliteStore:
    """See ``server.service.ports.Store``; ``open_sqlite`` makes one."""

    def __init__(self, lock: DirectoryLock, writer: Writer, readers: Readers) -> None:
        self._lock = lock
        self._writer = writer
        self._readers = readers

    async def commit(self, shard: int, batch: Sequence[WriteSet]) -> Sequence[Outcome]:
        """See ``Store.commit``. Calls are applied in their order, also when given up."""
        _check_shard(shard)
        return await self._writer.transact(partial(commit_batch, batch=tuple(batch)))

    async def load(self, keys: Collection[RowKey]) -> Mapping[RowKey, Version]:
        """See ``Store.load``."""
        groups = [key for key in keys if isinstance(key, GroupKey)]
        members = [key for key in keys if isinstance(key, MemberKey)]
        of_groups, of_members = await self._answer(
            sqlite_queries.LOAD,
            _text([key.group_id for key in groups]),
            _text([(key.group_id, key.user_id) for key in members]),
        )
        found: dict[RowKey, Version] = dict.fromkeys(keys, _NO_VERSION)
        for place, position, group in _groups.decode(of_groups):
            found[groups[place]] = Version(position, group)
        for place, position, member in _members.decode(of_members):
            found[members[place]] = Version(position, member)
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
        _check_shard(shard)
        return Heads(*await self._answer(sqlite_queries.HEADS, shard))

    async def tail(self, shard: int, after: int, limit: int) -> Sequence[Committed]:
        """See ``Store.tail``."""
        _check_shard(shard)
        return await self._page(sqlite_queries.TAIL, after, limit)

    async def missed(self, shard: int, user_id: str, after: int, upto: int, limit: int) -> Missed:
        """See ``Store.missed``."""
        _check_shard(shard)
        position, rows = await self._answer(sqlite_queries.MISSED, user_id, after, upto, limit + 1)
        return missed_page(decode_page(rows), after, min(upto, position), limit)

    async def missed_count(self, shard: int, user_id: str, after: int, upto: int) -> int:
        """See ``Store.missed_count``. Exact, as long as nothing of the logs was trimmed."""
        _check_shard(shard)
        (count,) = await self._answer(sqlite_queries.MISSED_COUNT, user_id, after, upto)
        return int(count)

    async def followed(self, user_id: str) -> tuple[int, Collection[str]]:
        """See ``Store.followed``."""
        position, group_ids = await self._answer(sqlite_queries.FOLLOWED, user_id)
        return position, _names.decode(group_ids)

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
        query = sqlite_queries.HISTORY_NEWEST if newest else sqlite_queries.HISTORY_OLDEST
        return await self._page(query, group_id, above, below, limit)

    async def member_states(
        self, group_id: str, user_ids: Collection[str]
    ) -> Mapping[str, MemberState]:
        """See ``Store.member_states``."""
        (rows,) = await self._answer(sqlite_queries.MEMBER_STATES, group_id, _text(set(user_ids)))
        states = [MemberState(*row) for row in _states.decode(rows)]
        return {state.member.user_id: state for state in states}

    async def members(
        self, group_id: str, after_user_id: str, limit: int, roles: Collection[Role]
    ) -> Sequence[MemberState]:
        """See ``Store.members``."""
        in_charge = Role.MEMBER not in roles
        query = sqlite_queries.MEMBERS_IN_CHARGE if in_charge else sqlite_queries.MEMBERS
        ranks = _text([role.rank for role in roles])
        (rows,) = await self._answer(query, group_id, after_user_id, limit, ranks)
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
            JoinedRow(group, GroupHead(seq, last_ms), MemberState(member, *marks))
            for group, seq, last_ms, member, *marks in _joined.decode(rows)
        ]
        return sorted(joined, key=lambda row: row.state.joined_position)

    async def groups_version(self, user_id: str) -> int:
        """See ``Store.groups_version``."""
        (version,) = await self._answer(sqlite_queries.GROUPS_VERSION, user_id)
        return int(version)

    async def forget_requests(self, before_ms: int, limit: int) -> int:
        """See ``Store.forget_requests``."""
        return await self._writer.transact(
            partial(forget_requests, before_ms=before_ms, limit=limit)
        )

    async def close(self) -> None:
        """See ``Store.close``."""
        # The writer last: the last one to close a database tidies it up.
        await self._readers.close()
        await self._writer.close()
        self._lock.release()

    async def _answer(self, query: str, *parameters: object) -> Sequence[Any]:
        """The one row that ``query`` always gives."""
        row = await self._readers.row(query, *parameters)
        assert row is not None
        return row

    async def _page(self, query: str, *parameters: object) -> list[Committed]:
        (entries,) = await self._answer(query, *parameters)
        return decode_page(entries)


def _prepare(directory: Path, epoch: str | None) -> tuple[DirectoryLock, sqlite3.Connection]:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreRefused(f"{directory} cannot be made: {error.strerror}") from error
    lock = DirectoryLock(directory)
    try:
        return lock, database.prepare(directory, epoch)
    except BaseException:
        lock.release()
        raise


def _check_shard(shard: int) -> None:
    if shard != _SHARD:
        raise ValueError(f"an embedded store has only shard {_SHARD}, not {shard}")


def _text(value: object) -> str:
    return _encode(value).decode()
