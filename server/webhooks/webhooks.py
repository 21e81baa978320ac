"""Everything about the operator's own service, for the composition root."""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from protocol.callbacks import CALLBACKS, OFFERED, CallbackKind
from server.service.outbox import Outbox
from server.service.ports import Clock, OutcomeUnknown, Unavailable
from server.webhooks.deliveries import Deliveries
from server.webhooks.questions import Questions
from server.webhooks.receiver import HttpReceiver
from server.webhooks.replays import wishes

log = logging.getLogger(__name__)

_LOOK_EVERY_S: Final = 2.0


class Webhooks:
    """What asks and what tells, each with connections of its own.

    Args:
        url: of the operator's service.
        wanted: names of callbacks; none for all that there are.
        token: for the original's ``Sign``; "" for none.
        secrets: that sign; none for no signature.
        blocks_on_failure: whether a change is refused that could not be asked about.
        directory: where the command line leaves what is to be told again.

    Attributes:
        wanted: the names in force.
    """

    def __init__(
        self,
        url: str,
        *,
        wanted: Collection[str],
        sdkappid: int,
        token: str,
        secrets: Sequence[str],
        blocks_on_failure: bool,
        outbox: Outbox,
        clock: Clock,
        limits: Mapping[str, int],
        directory: Path,
    ) -> None:
        self._outbox = outbox
        self._directory = directory
        self.wanted = frozenset(wanted) or OFFERED
        self._receivers = [
            HttpReceiver(
                url,
                sdkappid=sdkappid,
                token=token,
                secrets=secrets,
                clock=clock,
                connections=limits["WEBHOOK_CONNECTIONS"],
                answer_bytes=limits["WEBHOOK_ANSWER_BYTES"],
            )
            for _ in range(2)
        ]
        asked, told = self._receivers
        self.questions = Questions(
            asked, clock=clock, limits=limits, blocks_on_failure=blocks_on_failure
        )
        self.deliveries = Deliveries(outbox=outbox, receiver=told, clock=clock, limits=limits)

    @property
    def asks(self) -> bool:
        """Whether anything is asked before a change."""
        return any(CALLBACKS[name].kind is CallbackKind.BEFORE for name in self.wanted)

    async def run(self) -> None:
        """Work until cancelled."""
        replaying = asyncio.ensure_future(self._replay())
        try:
            await self.deliveries.run()
        finally:
            replaying.cancel()
            await asyncio.gather(replaying, return_exceptions=True)
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
        for path, delivery_ids in list(wishes(self._directory)):
            count = await self._outbox.revive(delivery_ids)
            path.unlink()
            log.info("%d dead items are told again", count)
            self.deliveries.committed()
