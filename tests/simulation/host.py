"""The machine that the server runs on: starts it, kills it, drains it, and starts it again."""

import asyncio
import contextvars
from collections.abc import Awaitable
from typing import Final, cast

from protocol.usersig import sign
from server.domain.rules import Rulebook
from server.node import SHARD, Node
from server.service.credentials import Credentials
from server.service.outbox import Outbox
from server.transport.admission import Authenticator
from server.webhooks.webhooks import Webhooks
from tests.kit.fakes import NOON_MS, FakeTokens
from tests.simulation.faulty_store import FaultyStore, Weather
from tests.simulation.ledger import Disk
from tests.simulation.network import Network
from tests.simulation.profile import Hooks
from tests.simulation.service import Service
from tests.simulation.trace import Trace
from tests.simulation.virtual_loop import Process, VirtualLoop, within

PORT: Final = 7700
URL: Final = f"ws://sim:{PORT}/ws"
ADMIN: Final = "administrator"
_APP: Final = 1400000000
_KEY: Final = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"


class WallClock:
    """The machine's clock, which somebody sets now and then."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._offset_ms = NOON_MS

    def read_ms(self) -> int:
        """What it shows."""
        return self._offset_ms + int(self._loop.time() * 1000)

    def jump(self, ms: int) -> None:
        """It is set to another time."""
        self._offset_ms += ms


class ProcessClock:
    """Implements ``Clock`` as ``SystemClock`` does, on a wall clock that may jump."""

    def __init__(self, loop: VirtualLoop, wall: WallClock) -> None:
        self._loop = loop
        self._wall = wall
        self._latest_ms = 0

    def now_ms(self) -> int:
        self._latest_ms = max(self._latest_ms, self._wall.read_ms())
        return self._latest_ms

    def monotonic_s(self) -> float:
        return self._loop.time()


class Host:
    """One server at a time on one disk.

    Attributes:
        node: the one that runs, or None.
        leaks: what had not ended when its process had.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        network: Network,
        disk: Disk,
        weather: Weather,
        rulebook: Rulebook,
        trace: Trace,
        hooks: Hooks | None = None,
        service: Service | None = None,
    ) -> None:
        self.wall = WallClock(loop)
        self.node: Node | None = None
        self.leaks: list[str] = []
        self.generation = 0
        self._loop = loop
        self._network = network
        self._disk = disk
        self._weather = weather
        self._rulebook = rulebook
        self._trace = trace
        self._hooks = hooks
        self._service = service
        self._tokens = FakeTokens()
        self._process: Process | None = None
        self._has_ended = asyncio.Event()
        self._has_ended.set()
        self._is_asked_to_stop = asyncio.Event()
        self._sigs: dict[str, str] = {}

    @property
    def is_up(self) -> bool:
        """Whether a server takes connections."""
        return self.node is not None

    def token_of(self, user_id: str) -> str:
        """The user's token."""
        known = self._sigs.get(user_id)
        if known is None:
            known = self._sigs[user_id] = sign(
                user_id,
                sdkappid=_APP,
                secret_key=_KEY,
                now_s=NOON_MS // 1000 - 86_400 * 30,
                expire_s=86_400 * 90,
            )
        return known

    def start(self) -> None:
        """Start the server; it is up a little later."""
        assert self._has_ended.is_set(), "one at a time"
        self.generation += 1
        self._has_ended.clear()
        self._is_asked_to_stop = asyncio.Event()
        process = self._process = Process(f"server {self.generation}")
        self._trace.note("start", self.generation)
        context = contextvars.copy_context()
        task = within(process, lambda: self._loop.create_task(self._serve(process)), context)
        task.add_done_callback(self._on_served)

    def crash(self, *, is_told: bool = True) -> None:
        """Kill it at once. The peers hear of it from the kernel, or not at all."""
        process = self._process
        if process is None or process.is_dead:
            return
        self._trace.note("crash" if is_told else "power cut", self.generation)
        process.kill()
        self._end_connections(process, is_told=is_told)
        self.node = None
        self._has_ended.set()

    def ask_to_stop(self) -> None:
        """Send it the signal to drain."""
        if self._process is not None and not self._process.is_dead:
            self._trace.note("drain", self.generation)
            self._is_asked_to_stop.set()

    def _on_served(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.leaks.append(f"the server ended with {error!r}")
            self._has_ended.set()

    async def ended(self) -> None:
        """Return once no server runs."""
        await self._has_ended.wait()

    def _end_connections(self, process: Process, *, is_told: bool) -> None:
        self._network.end_process(process, is_told=is_told)
        if self._service is not None:
            self._service.end_process(process, is_told=is_told)

    def _webhooks(self, store: FaultyStore, clock: ProcessClock) -> Webhooks | None:
        if self._service is None or self._hooks is None:
            return None
        return Webhooks(
            asked=self._service,
            told=self._service,
            wanted=self._hooks.wanted,
            blocks_on_failure=self._hooks.blocks,
            outbox=cast(Outbox, store),
            clock=clock,
            limits=self._rulebook.limits,
            directory=None,
        )

    async def _serve(self, process: Process) -> None:
        """What ``server.app`` does, without signals and the admin listener."""
        inner = self._disk.open()
        process.term = self._disk.term
        store = FaultyStore(inner, self._weather, process, self.crash)
        clock = ProcessClock(self._loop, self.wall)
        node = Node(
            store=store.store,
            heads=await inner.heads(SHARD),
            rulebook=self._rulebook,
            authenticator=Authenticator(
                Credentials(
                    sdkappid=_APP,
                    secret_keys=[_KEY],
                    now_s=lambda: clock.now_ms() // 1000,
                    revoked=await inner.revocations(),
                ),
                [ADMIN],
            ),
            clock=clock,
            tokens=self._tokens,
            wall_ms=self.wall.read_ms,
            webhooks=self._webhooks(store, clock),
        )
        node.listener.open_sockets = self._network.open_sockets
        node.start()
        await node.listen("sim", PORT, None)
        self.node = node
        await _first(self._is_asked_to_stop.wait(), node.failed())
        if not self._is_asked_to_stop.is_set():
            self._trace.note("fenced", self.generation)
        self.node = None
        await node.drain()
        await node.stop()
        await store.close()
        await asyncio.sleep(0)
        own = asyncio.current_task()
        self.leaks += [f"not ended: {task!r}" for task in process.unfinished() if task is not own]
        process.is_dead = True
        self._end_connections(process, is_told=True)
        self._trace.note("exit", self.generation)
        self._has_ended.set()


async def _first(*wanted: Awaitable[object]) -> None:
    """Return when one of these is over; the others are cancelled."""
    tasks = [asyncio.ensure_future(one) for one in wanted]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
