"""What waits to be told to the operator's own service: written with the change, told later.

An *item* is written in the transaction of the change that it tells of, so that neither is ever
there without the other. Items of one *stream* (a group) are told in the order of their commits.
One that could not be told for good is *dead*: kept apart, until somebody looks after it.
"""

import enum
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec


class OutboxItem(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be told.

    ``delivery_id`` is the same each time it is told, and nothing else has it. ``body`` is JSON
    without what only the commit knows: the number that it gave, and, with ``lists_members``, who
    the members of the group ``stream`` are by then. ``platform`` and ``address`` are those of
    whoever caused it, in the words in which they are told; "" for the server itself.
    """

    delivery_id: str
    name: str
    stream: str
    time_ms: int
    body: bytes
    platform: str = ""
    address: str = ""
    lists_members: bool = False


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """An item in the outbox.

    ``id`` orders the outbox and is never given twice. ``seq`` is the number that the commit gave
    in the group's log, ``member_ids`` are sorted; both None where there are none. ``attempts`` is
    how often it was told in vain, ``failure`` what went wrong the last time.
    """

    id: int
    item: OutboxItem
    seq: int | None = None
    member_ids: Sequence[str] | None = None
    attempts: int = 0
    failure: str = ""


class Waiting(msgspec.Struct, frozen=True, array_like=True):
    """The little that is kept in memory of what waits; not to be told before ``due_ms``.

    ``time_ms`` is its item's.
    """

    id: int
    stream: str
    attempts: int
    due_ms: int
    time_ms: int


class Fate(enum.Enum):
    """What became of an attempt to tell an item."""

    DELIVERED = "delivered"
    AGAIN = "again"
    DEAD = "dead"


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that is over; ``due_ms`` matters for AGAIN, ``failure`` for all but DELIVERED."""

    id: int
    fate: Fate
    attempts: int = 0
    due_ms: int = 0
    failure: str = ""


class Outbox(Protocol):
    """The durable outbox; a store is one. Errors as ``Store``'s."""

    async def waiting(self, after_id: int, limit: int) -> Sequence[Waiting]:
        """Up to ``limit`` of those that wait with an id above ``after_id``, in order."""

    async def outgoing(self, ids: Collection[int]) -> Mapping[int, Outgoing]:
        """Those of ``ids`` that wait."""

    async def settle(self, settled: Sequence[Settled], *, most_dead: int | None) -> int:
        """Note what became of items, in one durable transaction; unknown ids are left out.

        Of the dead the newest ``most_dead`` are kept; returns how many were let go of for that.
        """

    async def dead(self, after_id: int, limit: int) -> Sequence[Outgoing]:
        """Up to ``limit`` of the dead with an id above ``after_id``, in the order of dying."""

    async def revive(self, delivery_ids: Collection[str] | None) -> int:
        """Let dead items wait again, behind everything that waits, as if never tried.

        Those of ``delivery_ids``, or all. Returns how many it were.
        """


class Outlet(Protocol):
    """Who tells what is in the outbox, and what passes by it."""

    def committed(self) -> None:
        """There is something new in the outbox. Never fails or waits."""

    def say(self, item: OutboxItem) -> None:
        """Tell this too, in the order of its stream; lost when the process ends first."""
