"""What the server does by itself: forgets what is old, and recycles groups that nobody uses."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from server.domain.jobs import RecycleGroup
from server.domain.model import Actor
from server.domain.rules import Rulebook
from server.service.executor import Executor
from server.service.ports import Clock, OutcomeUnknown, Store, Unavailable

log = logging.getLogger(__name__)

_EVERY_S: Final = 1.0
_AT_ONCE: Final = 5_000
"""How much is let go of in one transaction; the commands that wait meanwhile wait shortly."""

_RECYCLED_AT_ONCE: Final = 100


class Housekeeping:
    """Runs once a second, in small steps.

    Groups are recycled by a command like any other; what is trimmed has no rules and nobody to
    tell, so the store does it.

    Args:
        on_trimmed: called with the new floor: cursors before it cannot be resumed from.
        on_fatal: called when the store is fenced; the process must end. Who only reads would
            otherwise be refused for ever by a server that looks alive.
        wall_ms: the time as the machine shows it. ``clock`` may be ahead of it for good, when
            the machine's was once; nothing becomes old by that.
    """

    def __init__(
        self,
        *,
        store: Store,
        executor: Executor,
        rulebook: Rulebook,
        clock: Clock,
        on_trimmed: Callable[[int], None],
        on_fatal: Callable[[], None],
        wall_ms: Callable[[], int],
        shard: int = 0,
    ) -> None:
        self._store = store
        self._executor = executor
        self._rulebook = rulebook
        self._clock = clock
        self._on_trimmed = on_trimmed
        self._on_fatal = on_fatal
        self._shard = shard
        self._wall_ms = wall_ms
        self._started_ms = wall_ms()
        self._started_s = clock.monotonic_s()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                await self.step()
            except Unavailable:
                log.warning("nothing old could be let go of; trying again")
            except OutcomeUnknown:
                self._on_fatal()

    async def step(self) -> None:
        """Do a bounded part of what is due now.

        Raises:
            Unavailable, OutcomeUnknown: from the store.
        """
        now_ms = self._now_ms()
        limit = self._rulebook.limit
        request_ms, history_ms = limit("REQUEST_ID_MS"), limit("HISTORY_MS")
        handled_ms, idle_ms = limit("HANDLED_MS"), limit("IDLE_GROUP_MS")
        if request_ms is not None:
            await self._store.forget_requests(now_ms - request_ms, _AT_ONCE)
        if history_ms is not None:
            if await self._store.trim(self._shard, now_ms - history_ms, _AT_ONCE):
                self._on_trimmed((await self._store.heads(self._shard)).floor)
            if handled_ms is not None:
                before_ms = now_ms - min(history_ms, handled_ms)
                if await self._store.purge(before_ms, _AT_ONCE):
                    self._executor.forget_rows()
        if idle_ms is not None:
            await self._recycle(now_ms - idle_ms)

    def _now_ms(self) -> int:
        """What ages are counted from: a wall clock that jumps ahead makes nothing old."""
        passed_s = self._clock.monotonic_s() - self._started_s
        return min(self._wall_ms(), self._started_ms + int(passed_s * 1000))

    async def _recycle(self, before_ms: int) -> None:
        for group_id in await self._store.idle_groups(before_ms, _RECYCLED_AT_ONCE):
            self._executor.submit(
                RecycleGroup(group_id=group_id),
                Actor("", is_app_admin=True),
                None,
                b"",
                lambda _result, _refused: None,
            )
        await self._executor.settled()
