"""Reads the groups of users who connect: those who come meanwhile are asked about together."""

import asyncio
from typing import Final

from server.hub.rooms import Feed, Rooms
from server.service.ports import Store

_USERS_AT_ONCE: Final = 256


class FollowedGroups:
    """Loads feeds: one question to the store is under way at a time, for all who wait by then.

    After a restart everybody comes at once. A question for each of them would keep the store's
    readers from what the first ones have missed.

    Args:
        turns: whoever reads for a session takes one of these.
    """

    def __init__(self, store: Store, rooms: Rooms, turns: asyncio.Semaphore) -> None:
        self._store = store
        self._rooms = rooms
        self._turns = turns
        self._waiting: dict[Feed, asyncio.Future[None]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def load(self, feed: Feed) -> None:
        """Return once ``feed`` has its groups; several sessions of a user share one reading.

        Raises:
            Unavailable, OutcomeUnknown: from the store; the next call tries again.
        """
        loading = feed.loading
        if loading is None:
            return
        if loading.is_done is None:
            loading.is_done = asyncio.get_running_loop().create_future()
            self._waiting[feed] = loading.is_done
            if self._reading is None:
                self._reading = asyncio.ensure_future(self._read_all())
        await asyncio.shield(loading.is_done)

    async def stop(self) -> None:
        """Cancel what is going on; returns when it has ended."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read_all(self) -> None:
        try:
            while self._waiting:
                async with self._turns:
                    await self._read_some()
        finally:
            self._reading = None

    async def _read_some(self) -> None:
        waiting = dict(list(self._waiting.items())[:_USERS_AT_ONCE])
        for feed in waiting:
            del self._waiting[feed]
        try:
            followed = await self._store.followed({feed.user_id for feed in waiting})
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait
            for feed, is_done in waiting.items():
                if feed.loading is not None:
                    feed.loading.is_done = None
                is_done.set_exception(error)
                is_done.exception()  # perhaps nobody waits any more
            return
        for feed, is_done in waiting.items():
            self._rooms.load(feed, followed[feed.user_id])
            is_done.set_result(None)
