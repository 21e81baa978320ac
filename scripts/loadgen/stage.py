"""The simulated users with their devices, and an operator's account that looks at everything."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from protocol.codec import JSON, MSGPACK
from scripts.common.target import Target
from scripts.loadgen.device import Device
from scripts.loadgen.ledger import Ledger
from scripts.loadgen.plan import Plan
from scripts.loadgen.record import GroupRecord, MemberView, Record
from scripts.loadgen.suspicions import Suspicions
from scripts.loadgen.timeline import Timeline

_AT_ONCE: Final = 64
_PAGE: Final = 100
_MOST_PAGES: Final = 10_000


class Person:
    """A user: the devices, and the rooms that the user is in while one of them is connected."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.devices: list[Device] = []
        self.rooms: set[str] = set()
        self.absences = 0
        self.stays: dict[str, list[tuple[float, float]]] = {}

    def enter(self, group_id: str, since_s: float) -> None:
        """The user may take part in a room from ``since_s`` on."""
        self.stays.setdefault(group_id, []).append((since_s, float("inf")))

    def leave(self, group_id: str) -> None:
        """The user takes part no more."""
        self.rooms.discard(group_id)
        stays = self.stays.get(group_id)
        if stays:
            stays[-1] = (stays[-1][0], min(stays[-1][1], time.monotonic()))

    def notice_loss(self) -> None:
        """A connection is gone; with the last one the user leaves all rooms."""
        if not any(device.is_up for device in self.devices):
            self.absences += 1
            for group_id in tuple(self.rooms):
                self.leave(group_id)


class Stage:
    """Everybody, by index as in the plan.

    Args:
        timeline: where deliveries are counted.
        prefix: begins every user ID and request id, so that runs on one server do not meet.
        admin: an account of the operator.
    """

    def __init__(
        self,
        plan: Plan,
        target: Target,
        ledger: Ledger,
        timeline: Timeline,
        *,
        prefix: str,
        admin: str,
        seed: int,
    ) -> None:
        self._ledger = ledger
        self.suspicions = Suspicions()
        self.prefix = prefix
        self.people: list[Person] = []
        for index, planned in enumerate(plan.users):
            person = Person(f"{prefix}{index}")
            user_sig = target.sign(person.user_id)
            for number in range(planned.devices):
                device = Device(
                    url=target.url,
                    user_id=person.user_id,
                    device_id=f"device-{number}",
                    user_sig=user_sig,
                    codec=(MSGPACK, JSON)[(index + number) % 2],
                    ledger=ledger,
                    is_slow=planned.has_slow_device and number == planned.devices - 1,
                    seed=seed + 1000 * index + number,
                    timeline=timeline,
                    suspicions=self.suspicions,
                )
                device.on_down = person.notice_loss
                person.devices.append(device)
            self.people.append(person)
        self.admin = Device(
            url=target.url,
            user_id=admin,
            device_id=f"{prefix}oracle",
            user_sig=target.sign(admin),
            codec=MSGPACK,
            ledger=ledger,
            is_slow=False,
            seed=seed,
        )
        self._questions = 0

    def devices(self) -> Iterator[Device]:
        """Every device of every user."""
        for person in self.people:
            yield from person.devices

    async def connect_all(self) -> None:
        """Have every device connected, the operator's too; raises Lost when one cannot be."""
        turns = asyncio.Semaphore(_AT_ONCE)

        async def connect(device: Device) -> None:
            async with turns:
                await device.connect()

        await asyncio.gather(*(connect(device) for device in (*self.devices(), self.admin)))

    def expect_loss(self, *, is_expected: bool) -> None:
        """Whether losing a connection is nothing to report."""
        for device in (*self.devices(), self.admin):
            device.is_loss_expected = is_expected

    # Looking at the end.

    async def look_at(self, group: GroupRecord) -> None:
        """Fill in the members and the history of a group that exists."""
        members: list[str] = []
        after: str | None = None
        for _ in range(_MOST_PAGES):
            params = {"group_id": group.group_id, "limit": _PAGE, "after": after}
            page = await self._ask(self.admin, "list_members", params)
            members.extend(member["user_id"] for member in page["members"])
            after = page.get("next")
            if after is None:
                break
        group.member_ids = frozenset(members)
        events = await self._history(self.admin, group.group_id)
        group.history = [self._ledger.note(event, "").index for event in events]

    async def view(self, device: Device, group_id: str) -> MemberView:
        """What the device's user is shown as the group's history."""
        events = await self._history(device, group_id)
        numbers = [self._ledger.note(event, "").number for event in events]
        return MemberView(user_id=device.user_id, group_id=group_id, numbers=numbers)

    async def _history(self, device: Device, group_id: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        after_seq = 0
        for _ in range(_MOST_PAGES):
            params = {"group_id": group_id, "after_seq": after_seq, "limit": _PAGE}
            page = await self._ask(device, "list_messages", params)
            events.extend(page["events"])
            if not page["has_more"]:
                break
            after_seq = events[-1]["seq"]
        return events

    async def disband(self, record: Record) -> None:
        """Have the operator disband what groups are left; a refusal is written down as trouble."""
        for group in record.groups.values():
            if group.is_disbanded:
                continue
            self._questions += 1
            request_id = f"{self.prefix}q{self._questions}"
            _, reply = await self.admin.call(
                "disband_group", {"group_id": group.group_id}, request_id
            )
            if reply.error is not None:
                record.troubles.append(f"disbanding {group.group_id}: {reply.error.message}")

    async def _ask(self, device: Device, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        self._questions += 1
        _, reply = await device.call(method, params, f"{self.prefix}q{self._questions}")
        if reply.error is not None:
            raise LookupError(f"{method} for {device.user_id}: {reply.error.message}")
        result: dict[str, Any] = reply.result
        return result
