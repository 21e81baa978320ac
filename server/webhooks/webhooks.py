"""Everything about the operator's own service, for the composition root."""

import asyncio
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from protocol.callbacks import CALLBACKS, OFFERED, CallbackKind
from server.service.outbox import Outbox
from server.service.ports import Clock, OutcomeUnknown, Unavailable
from server.webhooks.deliveries import Deliveries
from server.webhooks.questions import Questions
from server.webhooks.receiver import Receiver
from server.webhooks.replays import wishes

log = logging.getLogger(__name__)

_LOOK_EVERY_S: Final = 2.0
_AT_ONCE: Final = 500
"""How many dead items are revived in one transaction: everybody's changes wait for it."""


class Webhooks:
    """What asks and what tells, each with connections of its own.

    Args:
        asked, told: where to ask, and where to tell.
        wanted: names of callbacks; none for all that there are.
        blocks_on_failure: whether a change is refused that could not be asked about.
        directory: where the command line leaves what is to be told again; None for nowhere.

    Attributes:
        wanted: the names in force.
    """

    def __init__(
        self,
        *,
        asked: Receiver,
        told: Receiver,
        wanted: Collection[str],
        blocks_on_failure: bool,
        outbox: Outbox,
        clock: Clock,
        limits: Mapping[str, int],
        directory: Path | None,
    ) -> None:
        self._outbox = outbox
        self._directory = directory
        self.wanted = frozenset(wanted) or OFFERED
        self._receivers = (asked, told)
        self.questions = Questions(
            asked, clock=clock, limits=limits, blocks_on_failure=blocks_on_failure
        )
        self.deliveries = Deliveries(outbox=outbox, receiver=told, clock=clock, limits=limits)
        self.questions.on_word = self.deliveries.was_asked

    @property
    def asks(self) -> bool:
        """Whether anything is asked before a change."""
        return any(CALLBACKS[name].kind is CallbackKind.BEFORE for name in self.wanted)

    async def run(self) -> None:
        """Work until cancelled."""
        work = [] if self._directory is None else [asyncio.ensure_future(self._replay())]
        try:
            await self.deliveries.run()
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            for receiver in self._receivers:
                await receiver.close()

    async def _replay(self) -> None:
        """Take up what the command line wants to be told again, until cancelled."""
        while True:
            try:
                await self.replay_now()
            except (OSError, Unavailable, OutcomeUnknown) as error:
                log.warning("what is to be told again cannot be now: %s", error)
            await asyncio.sleep(_LOOK_EVERY_S)

    async def replay_now(self) -> None:
        """Take up all that is wanted by now.

        Raises:
            OSError: a wish cannot be removed.
            Unavailable, OutcomeUnknown: from the store.
        """
        if self._directory is None:
            return
        for path, delivery_ids in list(wishes(self._directory)):
            count = 0
            for start in range(0, len(delivery_ids), _AT_ONCE):
                count += await self._outbox.revive(delivery_ids[start : start + _AT_ONCE])
                self.deliveries.committed()
            path.unlink()
            log.info("%d dead items are told again", count)
