"""Everything about the operator's own service, for the composition root."""

from collections.abc import Collection, Mapping, Sequence

from protocol.callbacks import CALLBACKS, OFFERED, CallbackKind
from server.service.outbox import Outbox
from server.service.ports import Clock
from server.webhooks.deliveries import Deliveries
from server.webhooks.questions import Questions
from server.webhooks.receiver import HttpReceiver


class Webhooks:
    """What asks and what tells, each with connections of its own.

    Args:
        url: of the operator's service.
        wanted: names of callbacks; none for all that there are.
        token: for the original's ``Sign``; "" for none.
        secrets: that sign; none for no signature.
        blocks_on_failure: whether a change is refused that could not be asked about.

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
    ) -> None:
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
        try:
            await self.deliveries.run()
        finally:
            for receiver in self._receivers:
                await receiver.close()
