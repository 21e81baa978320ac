"""The outbox of the memory store."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice

from msgspec.structs import replace

from server.service.outbox import Fate, Outgoing, Settled, Waiting
from server.storage.changes import OutboxWrite


class MemoryOutbox:
    """See ``server.service.outbox.Outbox``."""

    def __init__(self) -> None:
        self._last_id = 0
        self._waiting: dict[int, tuple[Outgoing, int]] = {}
        self._dead: dict[int, Outgoing] = {}

    def add(self, write: OutboxWrite, member_ids: Collection[str]) -> None:
        """An item that a batch leaves; ``member_ids`` are the members of the group ``stream``."""
        members = sorted(member_ids) if write.item.lists_members else None
        item = replace(write.item, lists_members=False)
        self._put(Outgoing(id=0, item=item, seq=write.seq, member_ids=members))

    def waiting(self, after_id: int, limit: int) -> list[Waiting]:
        """See ``Outbox.waiting``."""
        rows = (
            Waiting(row.id, row.item.stream, row.attempts, due_ms, row.item.time_ms)
            for row, due_ms in self._waiting.values()
            if row.id > after_id
        )
        return list(islice(rows, limit))

    def outgoing(self, ids: Collection[int]) -> Mapping[int, Outgoing]:
        """See ``Outbox.outgoing``."""
        return {row_id: self._waiting[row_id][0] for row_id in ids if row_id in self._waiting}

    def settle(self, settled: Sequence[Settled], most_dead: int | None) -> int:
        """See ``Outbox.settle``."""
        for one in settled:
            found = self._waiting.get(one.id)
            if found is None:
                continue
            row = replace(found[0], attempts=one.attempts, failure=one.failure)
            if one.fate is Fate.AGAIN:
                self._waiting[one.id] = (row, one.due_ms)
                continue
            del self._waiting[one.id]
            if one.fate is Fate.DEAD:
                self._last_id += 1
                self._dead[self._last_id] = replace(row, id=self._last_id)
        too_many = 0 if most_dead is None else max(0, len(self._dead) - most_dead)
        for row_id in list(islice(self._dead, too_many)):
            del self._dead[row_id]
        return too_many

    def dead(self, after_id: int, limit: int) -> list[Outgoing]:
        """See ``Outbox.dead``."""
        return list(islice((row for row in self._dead.values() if row.id > after_id), limit))

    def revive(self, delivery_ids: Collection[str] | None) -> int:
        """See ``Outbox.revive``."""
        chosen = list(self._chosen(delivery_ids))
        for row in chosen:
            del self._dead[row.id]
            self._put(replace(row, attempts=0, failure=""))
        return len(chosen)

    def _chosen(self, delivery_ids: Collection[str] | None) -> Iterator[Outgoing]:
        for row in self._dead.values():
            if delivery_ids is None or row.item.delivery_id in delivery_ids:
                yield row

    def _put(self, row: Outgoing) -> None:
        self._last_id += 1
        self._waiting[self._last_id] = (replace(row, id=self._last_id), 0)
