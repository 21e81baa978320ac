"""The server on one store, without a process around it: everything between sockets and store.

``server.app`` gives it a process: signals, the admin listener, the ready line. The tests'
simulation gives it a loop whose time and network it makes itself. Both get the same wiring.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Mapping
from typing import Final

from protocol.limits import LIMITS
from server import VERSION
from server.domain.rules import Rulebook
from server.hub.catch_up import CatchUp
from server.hub.comings import announce_devices
from server.hub.hub import Hub
from server.service.announcements import Announcements
from server.service.approval import Approval
from server.service.changes import Changes
from server.service.departures import Departures
from server.service.dispatcher import Dispatcher
from server.service.executor import Executor
from server.service.housekeeping import Housekeeping
from server.service.operator import Operator
from server.service.operator_queries import OperatorQueries
from server.service.ports import Clock, Heads, Store, Tokens
from server.service.queries import Queries
from server.transport.admission import Authenticator
from server.transport.listener import Listener
from server.webhooks.webhooks import Webhooks

log = logging.getLogger(__name__)

SERVER_NAME: Final = f"muster/{VERSION.rpartition('.')[0]}"
SHARD: Final = 0


class Node:
    """The executor, the hub and the listener of one store, wired.

    ``start`` it, ``listen``, wait for ``failed`` or for a reason of your own, ``drain``, ``stop``.

    Args:
        store: stays the caller's, who closes it after ``stop``.
        heads: where the store's log is; asked for after the store was opened.
        authenticator: who checks the signatures of hellos.
        is_behind_proxy: a proxy names the clients' addresses.
        wall_ms: the time as the machine shows it, for ages; ``clock``'s when None.
        webhooks: who tells the operator's own service, and asks it; None for nobody.
    """

    def __init__(
        self,
        *,
        store: Store,
        heads: Heads,
        rulebook: Rulebook,
        authenticator: Authenticator,
        clock: Clock,
        tokens: Tokens,
        is_behind_proxy: bool = False,
        wall_ms: Callable[[], int] | None = None,
        webhooks: Webhooks | None = None,
    ) -> None:
        self.webhooks = webhooks
        self.hub = Hub(heads, rulebook)
        self._drain_s = rulebook.limits["DRAIN_MS"] / 1000
        self._has_lost_store = asyncio.Event()
        self._work: list[asyncio.Task[None]] = []
        announcements = None
        if webhooks is not None:
            announcements = Announcements(
                webhooks.wanted, tokens, webhooks.deliveries, rulebook.limits["GROUPS_PER_DAY"]
            )
            announce_devices(self.hub, announcements, clock)
            webhooks.deliveries.on_fatal = self._has_lost_store.set
        self.executor = Executor(
            store=store,
            publisher=self.hub,
            presence=self.hub,
            clock=clock,
            tokens=tokens,
            rulebook=rulebook,
            is_only_writer=True,
            on_fatal=self._has_lost_store.set,
            announcements=announcements,
            shard=SHARD,
        )
        queries = Queries(store, self.hub, rulebook, self.executor.rows)
        approval = None
        if webhooks is not None and webhooks.asks:
            approval = Approval(
                webhooks.wanted,
                webhooks.questions,
                store=store,
                clock=clock,
                has_taken=self.executor.has_taken,
            )
        changes = Changes(self.executor, approval)
        self.dispatcher = Dispatcher(changes, queries, clock, rulebook)
        self.operator = Operator(
            changes=changes,
            queries=queries,
            lists=OperatorQueries(store, self.hub, rulebook),
            sessions=self.hub,
            credentials=authenticator.credentials,
            store=store,
            clock=clock,
            rulebook=rulebook,
        )
        self._catch_up = CatchUp(
            hub=self.hub,
            store=store,
            clock=clock,
            rulebook=rulebook,
            server_name=SERVER_NAME,
            welcome_limits=_welcome_limits(rulebook.limits),
            shard=SHARD,
        )
        self.listener = Listener(
            hub=self.hub,
            catch_up=self._catch_up,
            dispatcher=self.dispatcher,
            authenticator=authenticator,
            clock=clock,
            tokens=tokens,
            rulebook=rulebook,
            is_behind_proxy=is_behind_proxy,
        )
        self._housekeeping = Housekeeping(
            store=store,
            executor=self.executor,
            rulebook=rulebook,
            clock=clock,
            on_trimmed=self.hub.raise_floor,
            on_fatal=self._has_lost_store.set,
            wall_ms=wall_ms or clock.now_ms,
            shard=SHARD,
        )
        self.hub.on_parted = Departures(self.executor, self.hub.rooms.forget_parting).part

    def start(self) -> None:
        """Begin to work; nothing comes in before ``listen``."""
        workers = [self.executor.run(), self.listener.run(), self._housekeeping.run()]
        if self.webhooks is not None:
            workers.append(self.webhooks.run())
        self._work = [asyncio.ensure_future(worker) for worker in workers]

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Take WebSocket connections; returns the port, which matters when ``port`` is 0.

        Raises:
            OSError: the address is not free, or not ours.
        """
        return await self.listener.start(host, port, tls)

    async def failed(self) -> None:
        """Return once the node cannot go on: a commit's outcome is unknown, or a worker ended."""
        lost_store = asyncio.ensure_future(self._has_lost_store.wait())
        try:
            await asyncio.wait([lost_store, *self._work], return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost_store.cancel()
        for task in self._work:
            if task.done():  # none of them ends by itself: this is a bug of ours
                log.critical("a worker ended", exc_info=task.exception())
                self._has_lost_store.set()
        log.critical("the store's state is unknown: the server stops; start it again")

    async def drain(self) -> None:
        """Take nothing new, answer what was taken, send everyone away; within DRAIN_MS or so.

        A request that was not read yet was not taken: its client sends it again elsewhere. After
        ``failed`` nothing is waited for.
        """
        self.listener.stop_accepting()
        log.info("draining %d connections", self.listener.connection_count)
        if not self._has_lost_store.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._drain_s):
                    await self.dispatcher.settled()
        await self.listener.say_goodbye()

    async def stop(self) -> None:
        """End all work, finished or not; returns when nothing of it runs any more."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        await self.dispatcher.stop()
        await self._catch_up.stop()


def _welcome_limits(limits: Mapping[str, int]) -> dict[str, int]:
    return {name.lower(): limits[name] for name, spec in LIMITS.items() if spec.in_welcome}
