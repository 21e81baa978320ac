"""One history: a server, its users, and what goes wrong, all of it from one seed."""

import asyncio
import gc
import logging
import random as global_random
from collections.abc import Iterator
from random import Random
from typing import Final

import msgspec

from protocol.errors import CloseCode
from protocol.frames import Request
from server.node import Node
from server.service.ports import RequestKey
from tests.simulation.audit import judge_tables
from tests.simulation.devices import SdkDevice, ask
from tests.simulation.mishaps import MISHAPS
from tests.simulation.raw_device import RawDevice
from tests.simulation.scene import Scene
from tests.simulation.virtual_loop import PROCESS, Deadlock, Livelock
from tests.simulation.workload import READS, Wish, is_chatroom

PATIENCE_S: Final = 240.0
"""Virtual seconds after the last fault within which all must be well."""

_EXPECTED_LOGS: Final = ("the store's state is unknown",)
_NEVER_S: Final = 1e6


class Outcome(msgspec.Struct):
    """What came of a history."""

    seed: int
    findings: list[str]
    counts: dict[str, int]
    digest: str
    trace: list[str]


class _Asked(msgspec.Struct):
    """A request that was made, to be repeated perhaps."""

    wish: Wish
    request_id: str


class History:
    """Plays one seed; see ``play``."""

    def __init__(self, seed: int) -> None:
        self.scene = Scene(seed)
        self._random = self.scene.random
        self._asked: list[_Asked] = []
        self._calls: list[asyncio.Task[None]] = []
        self._flapping: list[asyncio.Task[None]] = []
        self._request_numbers = 0

    # The course of it.

    async def live(self) -> None:
        """From the first start to the last end."""
        scene, profile = self.scene, self.scene.profile
        scene.host.start()
        supervisor = asyncio.ensure_future(self._supervise())
        for user_id in scene.users:
            for number in range(profile.devices):
                scene.add_device(user_id, f"d{number}").start(None)
        for user_id in self._random.sample(scene.users, profile.flapping):
            self._let_flap(scene.add_raw_device(user_id))
        await asyncio.sleep(self._random.random())
        for _ in range(profile.operations):
            if self._random.random() < profile.fault_part:
                self._mishap(self._random.choice(profile.faults))
            else:
                self._operate()
            if self._random.random() < profile.pause_part:
                await asyncio.sleep(self._random.expovariate(1 / profile.gap_s))
        await self._heal()
        await self._until_all_is_well()
        await self._end()
        await supervisor
        await asyncio.sleep(30)
        self._look_for_leaks()

    def _let_flap(self, device: RawDevice) -> None:
        own = Random(self.scene.seed * 77 + len(self._flapping))
        gap_s = self.scene.profile.gap_s
        life = device.live(
            lambda: own.expovariate(1 / (4 * gap_s)), lambda: own.expovariate(1 / (2 * gap_s))
        )
        self._flapping.append(asyncio.ensure_future(life))

    async def _supervise(self) -> None:
        """Start the server again whenever it has ended."""
        scene = self.scene
        while True:
            await scene.host.ended()
            if scene.is_ending:
                return
            await asyncio.sleep(self._random.choice([0.01, 0.5, 3.0]))
            if scene.wants_restore and scene.disk.has_copy:
                scene.disk.restore()
            scene.wants_restore = False
            scene.host.start()

    async def _heal(self) -> None:
        """Nothing goes wrong from here on; what is broken stays so until somebody notices."""
        scene = self.scene
        scene.trace.note("healed")
        scene.weather.clear_up()
        scene.network.is_hanging = False
        if scene.service is not None:
            scene.service.change()
        for link in scene.network.links:
            link.client.unstall()
        for device in scene.devices:
            device.think_s = 0.0
            is_away = device.is_gone or device.ended == CloseCode.REPLACED
            if not device.is_running and not is_away:
                device.start(device.cursor)
        for raw_device in scene.raw_devices:
            raw_device.settle()
        await asyncio.gather(*self._flapping)
        stay = (raw_device.stay() for raw_device in scene.raw_devices)
        self._flapping = [asyncio.ensure_future(one) for one in stay]

    async def _until_all_is_well(self) -> None:
        """Every call is answered, and every device is live and has everything."""
        scene = self.scene
        deadline_s = scene.loop.time() + PATIENCE_S
        while (unwell := next(self._unwell(), None)) is not None:
            if scene.loop.time() > deadline_s:
                scene.findings.append(f"not well {PATIENCE_S} s after the last fault: {unwell}")
                return
            await asyncio.sleep(0.5)
        scene.trace.note("well")
        self._judge_told(is_complete=True)
        runs = [device.runs[-1] for device in scene.running()]
        runs += [device.run for device in scene.raw_devices if not device.is_replaced]
        for run in runs:
            scene.findings += scene.oracle.judge_run(run, is_complete=True)

    def _unwell(self) -> Iterator[str]:
        """What is not yet as it shall be; who is not up to date is asked for a sign."""
        scene = self.scene
        node = scene.host.node
        if node is None:
            yield "no server"
            return
        waiting = [call for call in self._calls if not call.done()]
        if waiting:
            yield f"{len(waiting)} calls wait"
            return
        here = f"{scene.disk.term}:{scene.disk.tables.position}"
        for device in scene.running():
            client = device.client
            if client is None or not client.is_connected:
                yield f"{device.label} is not connected"
            elif client.cursor != here:
                self._ask(device, Wish(device.user_id, "list_devices", {}), self._request_id())
                yield f"{device.label} is at {client.cursor}, not {here}"
        for raw_device in scene.raw_devices:
            if raw_device.is_replaced:
                continue
            if not raw_device.is_open or raw_device.unanswered:
                yield f"{raw_device.label} is not connected, or waits for an answer"
            elif raw_device.cursor != here:
                raw_device.ask(Request(id=self._request_id(), method="list_devices"))
                yield f"{raw_device.label} is at {raw_device.cursor}, not {here}"

        yield from self._untold(node)
        open_count = sum(device.is_open for device in scene.raw_devices)
        open_count += len(scene.running())
        if node.listener.connection_count != open_count:
            yield f"the server keeps {node.listener.connection_count} connections of {open_count}"

    def _untold(self, node: Node) -> Iterator[str]:
        """What the operator's own service is still to be told."""
        if node.webhooks is None:
            return
        deliveries = node.webhooks.deliveries
        outbox = self.scene.disk.tables.outbox
        if outbox.dead(0, 1):
            self.scene.revive()
            yield "what could not be told is told again"
        elif deliveries.waiting or not deliveries.is_resting or outbox.waiting(0, 1):
            yield f"{deliveries.waiting} are to be told"

    async def _end(self) -> None:
        scene = self.scene
        scene.is_ending = True
        for flapping in self._flapping:
            flapping.cancel()
        for raw_device in scene.raw_devices:
            raw_device.drop()
        await asyncio.gather(*(device.stop() for device in scene.devices))
        scene.host.ask_to_stop()
        await scene.host.ended()

    def _look_for_leaks(self) -> None:
        own = asyncio.current_task()
        left = [task for task in asyncio.all_tasks() if task is not own and not task.done()]
        self.scene.findings += [f"left running: {task.get_coro()!r}" for task in left]

    # What happens.

    def _mishap(self, name: str) -> None:
        self.scene.trace.note(f"fault {name}")
        MISHAPS[name](self.scene)

    def _request_id(self) -> str:
        self._request_numbers += 1
        return f"r{self._request_numbers}"

    def _operate(self) -> None:
        """Somebody asks for something, or for the same again."""
        chance = self._random.random()
        if self._asked and chance < 0.12:
            again = self._random.choice(self._asked[-6:])
            wish = again.wish
            if chance < 0.02:
                wish = self.scene.workload.changed(wish)
            self._make(wish, again.request_id)
            return
        wish = self.scene.workload.next(self.scene.disk.tables)
        request_id = self._request_id()
        self._asked.append(_Asked(wish, request_id))
        self._make(wish, request_id)
        if chance > 0.95:
            self._make(wish, request_id)

    def _make(self, wish: Wish, request_id: str) -> None:
        """Any device of the user asks."""
        scene = self.scene
        raw = [one for one in scene.raw_devices if one.user_id == wish.user_id and one.is_open]
        if raw and self._random.random() < 0.3:
            self._note_content(wish, request_id)
            request = Request(id=request_id, method=wish.method, params=wish.params)
            scene.trace.note("ask", raw[0].label, request_id, wish.method, wish.params)
            raw[0].ask(request, copies=self._random.choice([1, 2]))
            return
        devices = [device for device in scene.running() if device.user_id == wish.user_id]
        if devices:
            self._ask(self._random.choice(devices), wish, request_id)

    def _note_content(self, wish: Wish, request_id: str) -> None:
        if wish.method not in (*READS, "list_devices"):
            key = RequestKey(wish.user_id, request_id)
            self.scene.contents.setdefault(key, set()).add(f"{wish.method} {wish.params}")

    def _ask(self, device: SdkDevice, wish: Wish, request_id: str) -> None:
        self._note_content(wish, request_id)
        self.scene.trace.note("ask", device.label, request_id, wish.method, wish.params)
        self._calls.append(device.call(self._call(device, wish, request_id)))

    async def _call(self, device: SdkDevice, wish: Wish, request_id: str) -> None:
        client = device.client
        assert client is not None
        try:
            outcome = await ask(client, wish.method, wish.params, request_id, _NEVER_S)
        except ValueError:
            outcome = "in flight already"
        if outcome == "ok":
            scene = self.scene
            content = f"{wish.method} {wish.params}"
            scene.oracle.note_done(RequestKey(wish.user_id, request_id), content)
        self.scene.trace.note(f"answer {outcome}", device.label, request_id)

    # The judgement.

    def judge(self) -> None:
        """Hold everything that was recorded against the ledgers."""
        scene, oracle = self.scene, self.scene.oracle
        scene.findings += scene.host.leaks
        if len(set(scene.disk.ledgers.values())) == 1:
            scene.findings += oracle.findings  # what a restore forgets may be done again
        runs = [run for device in scene.devices for run in device.runs]
        runs += [device.run for device in scene.raw_devices]
        for run in runs:
            scene.findings += oracle.judge_run(run, is_complete=False)
        everybody: list[SdkDevice | RawDevice] = [*scene.devices, *scene.raw_devices]
        for user_id in scene.users:
            records = [
                record
                for connections in (device.connections for device in everybody)
                for record in connections
                if record.user_id == user_id
            ]
            for record in records:
                scene.findings += oracle.judge_connection(record)
            sightings = [reply for record in records for reply in record.replies]
            scene.findings += oracle.judge_replies(user_id, sightings)
        scene.findings += judge_tables(scene.disk, scene.profile.rulebook.limits)
        scene.findings += scene.loop.errors
        self._judge_told(is_complete=False)
        self._judge_asked()
        counts = scene.trace.counts
        counts["slow"] = sum(link.server.pauses for link in scene.network.links)
        counts["virtual s"] = int(scene.loop.time() - 1000)

    def _judge_told(self, *, is_complete: bool) -> None:
        """Hold what the operator's own service was told by now against the ledgers."""
        judge = self.scene.service_oracle()
        if judge is not None:
            found = judge.judge_told(
                self.scene.disk.histories, is_room=is_chatroom, is_complete=is_complete
            )
            self.scene.findings += [f"webhook: {one}" for one in found]

    def _judge_asked(self) -> None:
        """Hold what was done against what the operator's own service has answered."""
        judge = self.scene.service_oracle()
        if judge is not None:
            found = [
                *judge.judge_asked(self.scene.disk.histories),
                *judge.judge_dropped(list(self._sent_in_vain())),
            ]
            self.scene.findings += [f"webhook: {one}" for one in found]

    def _sent_in_vain(self) -> Iterator[str]:
        """The texts of messages that took effect without an entry."""
        scene = self.scene
        for ledger in scene.disk.ledgers.values():
            for key, applied in ledger.applied.items():
                wishes = {
                    asked.wish.params["body"][0]["content"]["text"]
                    for asked in self._asked
                    if asked.request_id == key.request_id and asked.wish.method == "send_message"
                }
                is_clear = len(scene.contents.get(key, ())) == 1
                if wishes and is_clear and any(not one.entries for one in applied):
                    yield from wishes


class _LoggedErrors(logging.Handler):
    """Errors that the server or the SDK logs; a dead process may say what it likes."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        process = PROCESS.get()
        text = record.getMessage()
        if (process is None or not process.is_dead) and not text.startswith(_EXPECTED_LOGS):
            error = record.exc_info[1] if record.exc_info else None
            self.errors.append(f"{record.name}: {text} {error!r}")


def play(seed: int, *, keeps_trace: bool = False) -> Outcome:
    """Play the history of ``seed`` and judge it; the trace is kept when something is wrong."""
    global_random.seed(seed)
    logged = _LoggedErrors()
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    root.addHandler(logged)
    gc.disable()  # when an object goes must not be a matter of chance
    try:
        history = History(seed)
        scene = history.scene
        try:
            scene.loop.run(history.live())
        except (Deadlock, Livelock) as error:
            scene.findings.append(f"{type(error).__name__}: {error}")
        history.judge()
        scene.findings += logged.errors
        is_told = keeps_trace or scene.findings
        trace = list(scene.trace.lines()) if is_told else []
        outcome = Outcome(seed, scene.findings, scene.trace.counts, scene.trace.digest(), trace)
        scene.loop.close()
        return outcome
    finally:
        root.removeHandler(logged)
        root.setLevel(level)
        gc.enable()
