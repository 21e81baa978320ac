"""One history: a server, its users, and what goes wrong, all of it from one seed."""

import asyncio
import gc
import logging
import random as global_random
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Final

import msgspec

from protocol.codec import JSON, MSGPACK, Codec
from protocol.errors import CloseCode
from server.service.ports import RequestKey
from tests.simulation.audit import judge_tables
from tests.simulation.devices import SdkDevice, ask
from tests.simulation.faulty_store import WRITING, StoreFault, Weather
from tests.simulation.host import URL, Host
from tests.simulation.ledger import Disk
from tests.simulation.network import Conditions, Network
from tests.simulation.oracle import Oracle
from tests.simulation.profile import Profile, draw
from tests.simulation.records import ConnectionRecord
from tests.simulation.trace import Trace
from tests.simulation.virtual_loop import PROCESS, Deadlock, Livelock, VirtualLoop
from tests.simulation.workload import READS, Wish, Workload, is_chatroom

PATIENCE_S: Final = 240.0
"""Virtual seconds after the last fault within which all must be well."""

_CODECS: Final[Sequence[Codec]] = (JSON, MSGPACK, MSGPACK)
_EXPECTED_LOGS: Final = ("the store's state is unknown",)


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
        self.random = Random(seed)
        self.profile: Profile = draw(self.random)
        self.loop = VirtualLoop()
        self.trace = Trace(self.loop)
        self.network = Network(self.loop, seed, self.trace)
        self.network.conditions_of = self._conditions
        self.disk = Disk(self.trace)
        self.weather = Weather(Random(seed + 1), self.trace)
        self.findings: list[str] = []
        self.contents: dict[RequestKey, set[str]] = {}
        self.asked: list[_Asked] = []
        self.calls: list[asyncio.Task[None]] = []
        self.devices: list[SdkDevice] = []
        self.users = [f"u{number}" for number in range(self.profile.users)]
        self.workload = Workload(self.random, self.users, self.profile.words)
        self.oracle = self._oracle()
        self.wants_restore = False
        self.is_ending = False
        self._seed = seed
        self._request_numbers = 0

    def _oracle(self) -> Oracle:
        def is_best_effort(group_id: str, user_id: str) -> bool:
            return is_chatroom(group_id) and self.workload.owners.get(group_id) != user_id

        return Oracle(
            self.disk.ledgers,
            is_best_effort=is_best_effort,
            contents=self.contents,
            forgets_requests="REQUEST_ID_MS" in self.profile.limits,
        )

    def _conditions(self) -> Conditions:
        return self.profile.conditions

    # The course of it.

    async def live(self) -> None:
        """From the first start to the last end."""
        self.host = Host(
            self.loop, self.network, self.disk, self.weather, self.profile.rulebook, self.trace
        )
        self.host.start()
        supervisor = asyncio.ensure_future(self._supervise())
        for user_id in self.users:
            for number in range(self.profile.devices):
                self._add_device(user_id, f"d{number}").start(None)
        await asyncio.sleep(self.random.random())
        for _ in range(self.profile.operations):
            if self.random.random() < self.profile.fault_part:
                self._fault(self.random.choice(self.profile.faults))
            else:
                self._operate()
            if self.random.random() < 0.7:
                await asyncio.sleep(self.random.expovariate(1 / self.profile.gap_s))
        self._heal()
        await self._until_all_is_well()
        self.is_ending = True
        await asyncio.gather(*(device.stop() for device in self.devices))
        self.host.ask_to_stop()
        await self.host.ended()
        await supervisor
        await asyncio.sleep(30)
        self._look_for_leaks()

    async def _supervise(self) -> None:
        """Start the server again whenever it has ended."""
        while True:
            await self.host.ended()
            if self.is_ending:
                return
            await asyncio.sleep(self.random.choice([0.01, 0.5, 3.0]))
            if self.wants_restore and self.disk.has_copy:
                self.disk.restore()
            self.wants_restore = False
            self.host.start()

    def _heal(self) -> None:
        """Nothing goes wrong from here on; what is broken stays so until somebody notices."""
        self.trace.note("healed")
        self.weather.clear_up()
        self.network.is_hanging = False
        for link in self.network.links:
            link.client.unstall()
        for device in self.devices:
            device.think_s = 0.0
            if not device.is_running and device.ended != CloseCode.REPLACED:
                device.start(device.cursor)

    async def _until_all_is_well(self) -> None:
        """Every call is answered, and every device is live and has everything."""
        deadline_s = self.loop.time() + PATIENCE_S
        while (unwell := next(self._unwell(), None)) is not None:
            if self.loop.time() > deadline_s:
                self.findings.append(f"not well {PATIENCE_S} s after the last fault: {unwell}")
                return
            await asyncio.sleep(0.5)
        self.trace.note("well")
        for device in self.devices:
            if device.is_running:
                self.findings += self.oracle.judge_run(device.runs[-1], is_complete=True)

    def _unwell(self) -> Iterator[str]:
        node = self.host.node
        if node is None:
            yield "no server"
            return
        waiting = [call for call in self.calls if not call.done()]
        if waiting:
            yield f"{len(waiting)} calls wait"
            return
        here = f"{self.disk.term}:{self.disk.tables.position}"
        for device in self.devices:
            client = device.client
            if not device.is_running or client is None:
                continue
            if not client.is_connected:
                yield f"{device.label} is not connected"
            elif client.cursor != here:
                yield f"{device.label} is at {client.cursor}, not {here}"
                self._ask(device, Wish(device.user_id, "list_devices", {}), self._request_id())

    def _look_for_leaks(self) -> None:
        own = asyncio.current_task()
        left = [task for task in asyncio.all_tasks() if task is not own and not task.done()]
        self.findings += [f"left running: {task.get_coro()!r}" for task in left]

    # What users do.

    def _add_device(self, user_id: str, device_id: str) -> SdkDevice:
        number = len(self.devices)
        device = SdkDevice(
            self.loop,
            self.trace,
            user_id,
            device_id,
            url=URL,
            user_sig=self.host.token_of(user_id),
            codec=self.random.choice(_CODECS),
            random=Random(self._seed * 100 + number),
            max_queued_events=self.profile.max_queued_events,
            on_welcome=self._on_welcome,
        )
        self.devices.append(device)
        return device

    def _request_id(self) -> str:
        self._request_numbers += 1
        return f"r{self._request_numbers}"

    def _device_of(self, user_id: str) -> SdkDevice | None:
        running = [one for one in self.devices if one.user_id == user_id and one.is_running]
        return self.random.choice(running) if running else None

    def _operate(self) -> None:
        chance = self.random.random()
        if self.asked and chance < 0.12:
            again = self.random.choice(self.asked[-6:])
            wish = again.wish
            if chance < 0.02:
                wish = msgspec.structs.replace(wish, params={**wish.params, "group_id": "other"})
            self._make(wish, again.request_id)
            return
        wish = self.workload.next(self.disk.tables)
        request_id = self._request_id()
        self.asked.append(_Asked(wish, request_id))
        self._make(wish, request_id)
        if chance > 0.95:
            self._make(wish, request_id)

    def _make(self, wish: Wish, request_id: str) -> None:
        device = self._device_of(wish.user_id)
        if device is not None:
            self._ask(device, wish, request_id)

    def _ask(self, device: SdkDevice, wish: Wish, request_id: str) -> None:
        if wish.method not in (*READS, "list_devices"):
            content = f"{wish.method} {wish.params}"
            self.contents.setdefault(RequestKey(wish.user_id, request_id), set()).add(content)
        self.trace.note("ask", device.label, request_id, wish.method, wish.params)
        self.calls.append(device.call(self._call(device, wish, request_id)))

    async def _call(self, device: SdkDevice, wish: Wish, request_id: str) -> None:
        client = device.client
        assert client is not None
        try:
            outcome = await ask(client, wish.method, wish.params, request_id, 1e6)
        except ValueError:
            outcome = "in flight already"
        self.trace.note(f"answer {outcome}", device.label, request_id)

    def _on_welcome(self, record: ConnectionRecord) -> None:
        how = record.resume.value + ("" if record.reason is None else f" {record.reason.value}")
        self.trace.note(f"welcome {how}", record.label, record.hello_cursor, record.start)
        is_current = self.disk.ledgers[record.epoch] is self.disk.ledger
        floor = self.disk.tables.floor if is_current else 2**60
        most = self.profile.rulebook.limit("RESUME_EVENTS")
        for wrong in self.oracle.judge_welcome(record, floor, most):
            self.findings.append(f"{record.label}: {wrong}")

    # What goes wrong.

    def _fault(self, name: str) -> None:
        self.trace.note(f"fault {name}")
        _FAULTS[name](self)

    def _cut(self) -> None:
        links = self.network.open_links()
        if links:
            link = self.random.choice(links)
            after_s = [0.0, 0.0, 0.2, 5.0]
            link.cut(self.random.choice(after_s), self.random.choice(after_s))
            self.trace.quiet("cut", link.number)

    def _cut_all(self) -> None:
        for link in self.network.open_links():
            link.cut(0.0, 0.0)

    def _half_open(self) -> None:
        links = self.network.open_links()
        if links:
            link = self.random.choice(links)
            which = self.random.choice(["client", "server", "both"])
            link.client.is_silent = which != "server"
            link.server.is_silent = which != "client"
            self.trace.quiet("half-open", link.number, which)

    def _stall(self) -> None:
        links = self.network.open_links()
        if links:
            link = self.random.choice(links)
            link.client.is_stalled = True
            for_s = self.random.choice([0.3, 2.0, 12.0, 40.0])
            link.client.call_later(for_s, link.client.unstall)
            self.trace.quiet("stall", link.number, for_s)

    def _hang(self) -> None:
        self.network.is_hanging = True

        def go_on() -> None:
            self.network.is_hanging = False

        self.loop.call_later(self.random.choice([0.5, 15.0]), go_on)

    def _store_fault(self) -> None:
        fault = self.random.choice(list(StoreFault))
        names = ["commit", "commit", "commit", *WRITING]
        if fault not in (StoreFault.UNKNOWN_APPLIED, StoreFault.UNKNOWN_LOST):
            names += ["missed", "followed", "replay", "load", "missed_count"]
        name = self.random.choice(names)
        self.trace.quiet("sends", fault.value, name)
        self.weather.send(name, fault)

    def _slow_store(self) -> None:
        self.weather.delay_s = self.random.choice([0.0, 0.05, 0.5, 3.0])
        self.weather.slow_part = self.random.choice([0.3, 1.0])

    def _crash(self) -> None:
        self.host.crash(is_told=self.random.random() < 0.7)

    def _drain(self) -> None:
        self.host.ask_to_stop()

    def _back_up(self) -> None:
        self.disk.back_up()

    def _restore(self) -> None:
        if self.disk.has_copy:
            self.wants_restore = True
            if self.random.random() < 0.5:
                self.host.crash()
            else:
                self.host.ask_to_stop()

    def _set_clock(self) -> None:
        ms = self.random.choice([-3_600_000, -5_000, -50, 50, 5_000, 60_000])
        self.host.wall.jump(ms)
        self.trace.quiet("clock", ms)

    def _restart_app(self) -> None:
        running = [device for device in self.devices if device.is_running]
        if running:
            device = self.random.choice(running)
            self.network.end_process(device.kill(), is_told=self.random.random() < 0.7)
            self._start_later(device, device.cursor)

    def _old_cursor(self) -> None:
        running = [device for device in self.devices if device.is_running and device.connections]
        if running:
            device = self.random.choice(running)
            record = self.random.choice(device.connections)
            self.network.end_process(device.kill(), is_told=True)
            self._start_later(device, f"{record.epoch}:{record.start}")

    def _start_later(self, device: SdkDevice, cursor: str | None) -> None:
        device.cursor = cursor

        def start() -> None:
            if not device.is_running and not self.is_ending:
                device.start(cursor)

        self.loop.call_later(self.random.choice([0.0, 0.2, 4.0]), start)

    def _slow_app(self) -> None:
        device = self.random.choice(self.devices)
        device.think_s = self.random.choice([0.0, 0.1, 1.0])

    def _new_device(self) -> None:
        self._add_device(self.random.choice(self.users), f"n{len(self.devices)}").start(None)

    def _twin_device(self) -> None:
        """Another installation with the same device id: each replaces the other."""
        of = self.random.choice(self.devices)
        self._add_device(of.user_id, of.device_id).start(of.cursor)

    # The judgement.

    def judge(self) -> None:
        """Hold everything that was recorded against the ledgers."""
        self.findings += self.host.leaks
        for device in self.devices:
            for run in device.runs:
                self.findings += self.oracle.judge_run(run, is_complete=False)
        for user_id in self.users:
            records = [
                record
                for device in self.devices
                if device.user_id == user_id
                for record in device.connections
            ]
            for record in records:
                self.findings += self.oracle.judge_connection(record)
            sightings = [reply for record in records for reply in record.replies]
            self.findings += self.oracle.judge_replies(user_id, sightings)
        self.findings += judge_tables(self.disk, self.profile.rulebook.limits)
        self.trace.counts["slow"] = sum(link.server.pauses for link in self.network.links)
        self.trace.counts["virtual s"] = int(self.loop.time() - 1000)


_FAULTS: Final[dict[str, Callable[[History], None]]] = {
    "cut": History._cut,
    "cut all": History._cut_all,
    "half-open": History._half_open,
    "stall": History._stall,
    "hang": History._hang,
    "store fault": History._store_fault,
    "slow store": History._slow_store,
    "crash": History._crash,
    "drain": History._drain,
    "backup": History._back_up,
    "restore": History._restore,
    "clock": History._set_clock,
    "app restart": History._restart_app,
    "old cursor": History._old_cursor,
    "slow app": History._slow_app,
    "new device": History._new_device,
    "twin device": History._twin_device,
}


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
        try:
            history.loop.run(history.live())
        except (Deadlock, Livelock) as error:
            history.findings.append(f"{type(error).__name__}: {error}")
        history.judge()
        history.findings += [*history.loop.errors, *logged.errors]
        is_told = keeps_trace or history.findings
        trace = list(history.trace.lines()) if is_told else []
        outcome = Outcome(
            seed, history.findings, history.trace.counts, history.trace.digest(), trace
        )
        history.loop.close()
        return outcome
    finally:
        root.removeHandler(logged)
        root.setLevel(level)
        gc.enable()
