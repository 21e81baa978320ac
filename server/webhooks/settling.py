"""Notes in the outbox what was told: while one transaction is synced the next ones gather."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from server.service.outbox import Outbox, Settled
from server.service.ports import Clock, OutcomeUnknown, Unavailable
from server.webhooks.seldom import Seldom

log = logging.getLogger(__name__)

_PAUSE_S: Final = 1.0
_AT_ONCE: Final = 1_000
"""How much is written in one transaction: everybody's changes wait for it."""

_END_S: Final = 2.0
"""How long a disk that hangs may hold up the end."""


class Settling:
    """Takes notes without waiting. What is not noted when the process ends is told once more.

    Args:
        most_dead: how many dead items are kept; None for all.
        on_lost: called when it is not known what was written.
    """

    def __init__(
        self, outbox: Outbox, most_dead: int | None, clock: Clock, on_lost: Callable[[], None]
    ) -> None:
        self._on_lost = on_lost
        self._let_go = Seldom(clock)
        self._outbox = outbox
        self._most_dead = most_dead
        self._notes: list[Settled] = []
        self._work: asyncio.Task[None] | None = None

    def note(self, settled: Settled) -> None:
        """An attempt is over. The later of two notes about an item holds."""
        self._notes.append(settled)
        if self._work is None:
            self._work = asyncio.ensure_future(self._write())

    async def finish(self) -> None:
        """Return when everything is noted, or cannot be; soon in any case."""
        try:
            async with asyncio.timeout(_END_S):
                if self._work is not None:
                    await asyncio.gather(self._work, return_exceptions=True)
                while self._notes:
                    await self._write_some()
        except (Unavailable, OutcomeUnknown, TimeoutError):
            log.warning("some of what was told could not be noted: it will be told again")

    @property
    def is_done(self) -> bool:
        """Whether everything is noted."""
        return self._work is None

    async def _write(self) -> None:
        try:
            while self._notes:
                await self._write_some()
        except Unavailable:
            log.warning("what was told cannot be noted now; trying again")
            asyncio.get_running_loop().call_later(_PAUSE_S, self._again)
        except OutcomeUnknown:
            log.warning("what was told cannot be noted; after a restart it is told again")
            self._on_lost()
        finally:
            self._work = None

    def _again(self) -> None:
        if self._work is None and self._notes:
            self._work = asyncio.ensure_future(self._write())

    async def _write_some(self) -> None:
        notes, self._notes = self._notes[:_AT_ONCE], self._notes[_AT_ONCE:]
        try:
            let_go = await self._outbox.settle(notes, most_dead=self._most_dead)
        except Unavailable:
            self._notes = notes + self._notes
            raise
        if let_go and (count := self._let_go.add(let_go)):
            log.warning("%d dead items were let go of: too many are dead", count)
