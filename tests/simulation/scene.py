"""Everything that a history consists of: the server's machine, the network, the devices."""

from collections.abc import Sequence
from random import Random
from typing import Final

from protocol.codec import JSON, MSGPACK, Codec
from server.service.ports import RequestKey
from tests.simulation.devices import SdkDevice
from tests.simulation.faulty_store import Weather
from tests.simulation.host import URL, Host
from tests.simulation.http_service import HttpService
from tests.simulation.ledger import Disk
from tests.simulation.network import Network
from tests.simulation.oracle import Oracle
from tests.simulation.profile import draw, with_hooks
from tests.simulation.raw_device import RawDevice
from tests.simulation.records import ConnectionRecord
from tests.simulation.service import Service
from tests.simulation.service_oracle import Limits, ServiceOracle
from tests.simulation.trace import Trace
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.workload import Workload, is_chatroom

_CODECS: Final[Sequence[Codec]] = (JSON, MSGPACK, MSGPACK)


class Scene:
    """The parts, made from a seed and put together.

    Attributes:
        findings: what was seen to be wrong while it went on.
        contents: request -> the contents with which it was sent.
        service: the operator's own, or None.
        revived_s: since when what could not be told may be told again.
        wants_restore: the server shall start on the older copy next time.
        is_ending: nothing is started again.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.profile = with_hooks(draw(self.random), Random(seed + 2))
        self.loop = VirtualLoop()
        self.trace = Trace(self.loop)
        self.network = Network(self.loop, seed, self.trace)
        self.network.conditions_of = lambda: self.profile.conditions
        self.disk = Disk(self.trace)
        self.weather = Weather(Random(seed + 1), self.trace)
        self.weather.delay_s = self.profile.store_delay_s
        self.weather.commit_part = self.profile.commit_part
        hooks = self.profile.hooks
        self.service: Service | None = None
        if hooks is not None:
            random = Random(seed + 3)
            self.service = (
                HttpService(self.loop, random, self.trace, hooks.usual)
                if hooks.is_http
                else Service(random, self.trace, hooks.usual)
            )
        self.host = Host(
            self.loop,
            self.network,
            self.disk,
            self.weather,
            self.profile.rulebook,
            self.trace,
            hooks,
            self.service,
        )
        self.revived_s: float | None = None
        self.findings: list[str] = []
        self.contents: dict[RequestKey, set[str]] = {}
        self.devices: list[SdkDevice] = []
        self.raw_devices: list[RawDevice] = []
        self.users = [f"u{number}" for number in range(self.profile.users)]
        self.workload = Workload(self.random, self.users, self.profile.words)
        self.oracle = Oracle(
            self.disk.ledgers,
            is_best_effort=self._is_best_effort,
            contents=self.contents,
            forgets_requests="REQUEST_ID_MS" in self.profile.limits,
        )
        self.wants_restore = False
        self.is_ending = False

    def add_device(self, user_id: str, device_id: str) -> SdkDevice:
        """One more device; it is not started yet."""
        device = SdkDevice(
            self.loop,
            self.trace,
            user_id,
            device_id,
            url=URL,
            user_sig=self.host.token_of(user_id),
            codec=self.random.choice(_CODECS),
            random=Random(self.seed * 100 + len(self.devices)),
            max_queued_events=self.profile.max_queued_events,
            on_welcome=self._on_welcome,
        )
        self.devices.append(device)
        return device

    def add_raw_device(self, user_id: str) -> RawDevice:
        """A device that flaps; it is not started yet."""
        device = RawDevice(
            self.loop,
            self.trace,
            user_id,
            f"raw{len(self.raw_devices)}",
            user_sig=self.host.token_of(user_id),
            codec=self.random.choice(_CODECS),
            on_welcome=self._on_welcome,
        )
        self.raw_devices.append(device)
        return device

    def running(self) -> list[SdkDevice]:
        """The devices whose application runs."""
        return [device for device in self.devices if device.is_running]

    def revive(self) -> None:
        """What is dead in the outbox waits again, as the operator's command has it."""
        if self.disk.tables.outbox.revive(None):
            self.revived_s = self.revived_s or self.loop.time()
            node = self.host.node
            if node is not None and node.webhooks is not None:
                node.webhooks.deliveries.committed()

    def service_oracle(self) -> ServiceOracle | None:
        """Who judges what the operator's own service has heard by now."""
        hooks = self.profile.hooks
        if self.service is None or hooks is None:
            return None
        limits = Limits(hooks.wanted, hooks.limits["WEBHOOK_ATTEMPTS"], hooks.blocks)
        return ServiceOracle(self.service.calls, limits, self.revived_s)

    def start_later(self, device: SdkDevice, cursor: str | None) -> None:
        """Start the device's application again, after a while."""
        device.cursor = cursor

        def start() -> None:
            if not device.is_running and not self.is_ending:
                device.start(cursor)

        self.loop.call_later(self.random.choice([0.0, 0.2, 4.0]), start)

    def _is_best_effort(self, group_id: str, user_id: str) -> bool:
        return is_chatroom(group_id) and self.workload.owners.get(group_id) != user_id

    def _on_welcome(self, record: ConnectionRecord) -> None:
        how = record.resume.value + ("" if record.reason is None else f" {record.reason.value}")
        self.trace.note(f"welcome {how}", record.label, record.hello_cursor, record.start)
        is_current = self.disk.ledgers[record.epoch] is self.disk.ledger
        floor = self.disk.tables.floor if is_current else 2**60
        most = self.profile.rulebook.limit("RESUME_EVENTS")
        for wrong in self.oracle.judge_welcome(record, floor, most):
            self.findings.append(f"{record.label}: {wrong}")
