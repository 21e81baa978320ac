"""Ends the server in the middle of a run and starts it again, while the run goes on."""

import asyncio
import time
from typing import Final

from scripts.common.target import OwnServer
from scripts.loadgen.stage import Stage
from scripts.loadgen.timeline import Timeline

_LOSS_S: Final = 20.0


class Outages:
    """One after the other, on a server of our own.

    Args:
        allows_losses: whether a lost connection is nothing to report between outages either.

    Attributes:
        is_now: whether the server is away, or not everybody is back.
        count: how many are over.
    """

    def __init__(
        self, stage: Stage, timeline: Timeline, server: OwnServer, *, allows_losses: bool
    ) -> None:
        self._stage = stage
        self._timeline = timeline
        self._server = server
        self._allows_losses = allows_losses
        self._turn = asyncio.Lock()
        self.is_now = False
        self.count = 0

    async def one(self, *, is_polite: bool) -> None:
        """Have the server end, by SIGTERM if ``is_polite`` or else by SIGKILL, and start again.

        Returns when all are back who want to be. What is due meanwhile is sent all the same, and
        waits on devices that have no connection.
        """
        async with self._turn:
            self._set(is_now=True)
            self._timeline.mark(time.monotonic(), "SIGTERM" if is_polite else "kill -9")
            await asyncio.to_thread(self._server.stop if is_polite else self._server.kill)
            async with asyncio.timeout(_LOSS_S):
                await asyncio.gather(*(device.is_lost() for device in self._stage.devices()))
            await asyncio.to_thread(self._server.start)
            self._timeline.mark(time.monotonic(), "ready again")
            self.count += 1
            waiting = [device for device in self._stage.devices() if device.wants_connection]
            await asyncio.gather(*(device.connect() for device in waiting))
            self._set(is_now=False)

    def _set(self, *, is_now: bool) -> None:
        self.is_now = self._timeline.is_outage = is_now
        self._stage.expect_loss(is_expected=is_now or self._allows_losses)
