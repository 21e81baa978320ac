"""Users and groups that stay as long as the soak lasts, and talk, come and go all the time.

Their logs are trimmed under them. Nothing is kept of what is settled: a device has a counter for
each log (``follower``), and of the events the newest are known for comparison.
"""

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

from protocol.codec import JSON, MSGPACK
from scripts.common.target import Target
from scripts.loadgen.bodies import body
from scripts.loadgen.device import Device
from scripts.loadgen.ledger import Ledger, News, Reply, canonical
from scripts.loadgen.record import Entry, Fault, Finding
from scripts.soaking.follower import Chain, Follower

_KEPT: Final = 20_000
_SETTLE_S: Final = 30.0
_POLL_S: Final = 0.05
_LEAST_AWAY_S: Final = 0.05
_PAGE: Final = 100

# Chances of what is done next; the rest are messages.
_MEMBERSHIP: Final = 0.05
_DROP: Final = 0.05
_REPEATED: Final = 0.05
_MUTE: Final = 0.02

_OnFinding = Callable[[Finding], None]


class RecentLedger(Ledger):
    """A ledger of the newest entries."""

    def __init__(self, sent: dict[int, tuple[float, bytes]]) -> None:
        super().__init__(sent)
        self._all_sent = sent
        self._place_of: dict[int, tuple[str, int]] = {}

    def _new(self, event: dict[str, Any], log: str, is_inbox: bool, number: int) -> Entry:
        if len(self.entries) >= 2 * _KEPT:
            self._forget()
        entry = super()._new(event, log, is_inbox, number)
        if entry.mark is not None and number:
            place = self._place_of.setdefault(entry.mark, (log, number))
            if place != (log, number):
                self.altered.append(f"message {entry.mark} is at {place} and at {(log, number)}")
        return entry

    def _forget(self) -> None:
        self._frames.clear()
        for entry in self.entries[:_KEPT]:
            self._by_place.pop((entry.is_inbox, entry.log, entry.number), None)
            self._contents.pop(entry.index, None)
            if entry.mark is not None:
                self._place_of.pop(entry.mark, None)
                self._all_sent.pop(entry.mark, None)
        self._by_content = {
            content: entry
            for content, entry in self._by_content.items()
            if entry.index >= self.entries[_KEPT].index
        }
        del self.entries[:_KEPT]


class ResidentDevice(Device):
    """A device whose events are checked as they come instead of being written down."""

    def __init__(self, *, chain: Chain, on_finding: _OnFinding, **more: Any) -> None:  # noqa: ANN401
        super().__init__(**more)
        self.follower = Follower(self.user_id, self.device_id, chain)
        self._on_finding = on_finding
        self.group_of_call: dict[str, str] = {}

    def _take_news(self, news: News) -> None:
        self.deliveries += len(news.entries)
        if len(news.entries) > 1:
            self.pages += 1
            self.paged += len(news.entries)
        for entry in news.entries:
            if entry.number:
                for finding in self.follower.take(entry):
                    self._on_finding(finding)
        self._cursor = news.cursor

    def _take_reply(self, frame: Reply) -> None:
        group_id = self.group_of_call.pop(frame.id, None)
        call = self.calls.get(frame.id)
        result = frame.result if isinstance(frame.result, dict) else {}
        if group_id is not None and call is not None and call.is_watched and "seq" in result:
            last = self.follower.last.get(group_id, 0)
            if last < result["seq"]:
                text = f"message {result['seq']} of {group_id} had not come, only {last}"
                self._on_finding(Finding(Fault.EARLY_REPLY, self.user_id, text))
        super()._take_reply(frame)


class _Resident:
    def __init__(self, user_id: str, devices: list[ResidentDevice]) -> None:
        self.user_id = user_id
        self.devices = devices

    def speaker(self) -> ResidentDevice | None:
        """A device that is connected and reads at once."""
        ready = [device for device in self.devices if device.is_up and not device.is_slow]
        return ready[0] if ready else None


class _Home:
    """A group; ``busy`` are users whose membership is being changed."""

    def __init__(self, group_id: str, owner: int) -> None:
        self.group_id = group_id
        self.owner = owner
        self.members = {owner}
        self.busy: set[int] = set()


class Residents:
    """Everybody who stays.

    Args:
        users: how many; each has two devices, and a third of them a slow one, too.
        rate: acts per second.
        away_s: how long a device is away at most; the server must not have forgotten it then.
    """

    def __init__(
        self,
        target: Target,
        *,
        seed: int,
        users: int,
        groups: int,
        rate: float,
        away_s: float,
        admin: str,
        on_finding: _OnFinding,
    ) -> None:
        self._random = Random(seed)
        self._rate = rate
        self._away_s = away_s
        self._on_finding = on_finding
        self._prefix = f"soak-{secrets.token_hex(3)}-"
        self._sent: dict[int, tuple[float, bytes]] = {}
        self._ledger = RecentLedger(self._sent)
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._people = [self._resident(target, index) for index in range(users)]
        self._homes = [
            _Home(f"{self._prefix}home-{index}", index % users) for index in range(groups)
        ]
        self._admin = Device(
            url=target.url,
            user_id=admin,
            device_id=f"{self._prefix}admin",
            user_sig=target.sign(admin),
            codec=MSGPACK,
            ledger=Ledger({}),
            is_slow=False,
            seed=seed,
        )
        self.acts: dict[str, int] = {}

    @property
    def deliveries(self) -> int:
        """How many events all devices were given."""
        return sum(device.deliveries for device in self._devices())

    @property
    def resumes(self) -> int:
        """How often a device came back."""
        return sum(device.resumes for device in self._devices())

    @property
    def paged(self) -> int:
        """How many events came in messages of more than one."""
        return sum(device.paged for device in self._devices())

    async def run(self, until_s: float) -> None:
        """Live until ``until_s`` (``time.monotonic``), then see that everybody has everything."""
        for device in (*self._devices(), self._admin):
            await device.connect()
        for home in self._homes:
            await self._found(home)
        started_s = time.monotonic()
        for number in itertools.count():
            if time.monotonic() >= until_s:
                break
            await asyncio.sleep(max(0.0, started_s + number / self._rate - time.monotonic()))
            self._act()
        await self._end()

    def _devices(self) -> list[ResidentDevice]:
        return [device for person in self._people for device in person.devices]

    def _resident(self, target: Target, index: int) -> _Resident:
        user_id = f"{self._prefix}{index}"
        chain = Chain()
        return _Resident(
            user_id,
            [
                ResidentDevice(
                    chain=chain,
                    on_finding=self._on_finding,
                    url=target.url,
                    user_id=user_id,
                    device_id=f"device-{number}",
                    user_sig=target.sign(user_id),
                    codec=(MSGPACK, JSON)[(index + number) % 2],
                    ledger=self._ledger,
                    is_slow=number == 2,
                    seed=1000 * index + number,
                )
                for number in range(3 if index % 3 == 0 else 2)
            ],
        )

    async def _found(self, home: _Home) -> None:
        device = self._people[home.owner].devices[0]
        params = {
            "type": "Public",
            "name": "Home",
            "group_id": home.group_id,
            "apply_join_option": "FreeAccess",
        }
        await self._done(device, "create_group", params)
        for user in range(len(self._people)):
            if user != home.owner and self._random.random() < 0.6:
                await self._join(home, user)

    # Acts.

    def _act(self) -> None:
        random = self._random
        draw = random.random()
        home = random.choice(self._homes)
        if draw < _DROP:
            self._drop()
        elif draw < _DROP + _MEMBERSHIP:
            self._change_membership(home)
        elif draw < _DROP + _MEMBERSHIP + _MUTE:
            self._mute(home)
        else:
            self._speak(home)

    def _drop(self) -> None:
        """A device goes, mostly without goodbye, and comes back."""
        device = self._random.choice(self._devices())
        if device.is_up:
            self._count("drop")
            device.drop(is_polite=self._random.random() < 0.3)
            self._start(self._come_back(device, self._random.uniform(_LEAST_AWAY_S, self._away_s)))

    async def _come_back(self, device: ResidentDevice, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await device.connect()

    def _change_membership(self, home: _Home) -> None:
        user = self._random.randrange(len(self._people))
        if user == home.owner or user in home.busy:
            return
        if user not in home.members:
            self._change(home, user, self._join(home, user))
        elif self._random.random() < 0.5:
            self._change(home, user, self._quit(home, user))
        else:
            self._change(home, user, self._kick(home, user))

    def _change(self, home: _Home, user: int, work: Any) -> None:  # noqa: ANN401 - a coroutine
        async def changed() -> None:
            try:
                await work
            finally:
                home.busy.discard(user)

        home.busy.add(user)
        self._start(changed())

    async def _join(self, home: _Home, user: int) -> None:
        device = self._people[user].speaker() or self._people[user].devices[0]
        await self._done(device, "join_group", {"group_id": home.group_id})
        home.members.add(user)

    async def _quit(self, home: _Home, user: int) -> None:
        home.members.discard(user)
        device = self._people[user].speaker() or self._people[user].devices[0]
        await self._done(device, "quit_group", {"group_id": home.group_id})

    async def _kick(self, home: _Home, user: int) -> None:
        home.members.discard(user)
        params = {"group_id": home.group_id, "user_ids": [self._people[user].user_id]}
        await self._done(self._people[home.owner].devices[0], "remove_members", params)

    def _mute(self, home: _Home) -> None:
        ready = [user for user in home.members - home.busy if user != home.owner]
        if ready:
            user = self._random.choice(sorted(ready))
            self._change(home, user, self._mute_for_a_moment(home, user))

    async def _mute_for_a_moment(self, home: _Home, user: int) -> None:
        owner = self._people[home.owner].devices[0]
        for mute_s in (60, 0):
            params = {
                "group_id": home.group_id,
                "user_id": self._people[user].user_id,
                "mute_s": mute_s,
            }
            await self._done(owner, "update_member", params)

    def _speak(self, home: _Home) -> None:
        user = self._random.choice(sorted(home.members))
        device = self._people[user].speaker()
        if device is not None and user not in home.busy:
            # Changes of the speaker's membership wait, so that it is known what must be answered.
            self._change(home, user, self._say(home, device))

    async def _say(self, home: _Home, device: ResidentDevice) -> None:
        mark = next(self._numbers)
        text = body(self._random)
        self._sent[mark] = (time.monotonic(), canonical(text))
        params = {"group_id": home.group_id, "body": text, "custom_data": str(mark)}
        request_id = f"{self._prefix}m{mark}"
        device.group_of_call[request_id] = home.group_id
        first = await self._done(device, "send_message", params, request_id)
        found = self._ledger.find(home.group_id, first.get("seq", 0))
        if found is not None and found.mark != mark:
            text_ = f"was answered {first['seq']} of {home.group_id}, where {found.mark} is"
            self._report(Fault.ANSWER, f"message {mark}", text_)
        if self._random.random() < _REPEATED:
            self._count("repeated")
            second = await self._done(device, "send_message", params, request_id)
            if second != first:
                self._report(Fault.ANSWER, f"message {mark}", f"{first}, then {second}")

    # The end.

    async def _end(self) -> None:
        """Bring everybody back, wait for what is on its way, compare with the server."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_SETTLE_S)
        for task in self._tasks:
            self._report(Fault.ANSWER, "residents", "a request was not answered in time")
            task.cancel()
        for resident in self._devices():
            resident.wake()
            await resident.connect()
        await self._compare_all()
        for text in self._ledger.altered:
            self._report(Fault.ALTERED, "residents", text)
        everybody: tuple[Device, ...] = (*self._devices(), self._admin)
        for trouble in itertools.chain.from_iterable(device.troubles for device in everybody):
            self._report(Fault.CONNECTION, "residents", trouble)
        for device in everybody:
            device.drop(is_polite=True)

    async def _compare_all(self) -> None:
        for home in self._homes:
            await self._compare(home)
        for person in self._people:
            await self._compare_devices(person)
        for home in self._homes:
            await self._done(self._admin, "disband_group", {"group_id": home.group_id})

    async def _compare_devices(self, person: _Resident) -> None:
        """All devices of a user have been given as much; the order was compared on the way."""
        for device in person.devices:
            await device.settle()
        counts = {device.follower.given for device in person.devices}
        if len(counts) > 1:
            self._report(Fault.LOST, person.user_id, f"the devices were given {sorted(counts)}")

    async def _compare(self, home: _Home) -> None:
        where = home.group_id
        params: dict[str, Any] = {"group_id": where, "limit": _PAGE}
        members = await self._done(self._admin, "list_members", params)
        listed = {member["user_id"] for member in members["members"]}
        expected = {self._people[user].user_id for user in home.members}
        if listed != expected:
            self._report(Fault.ANSWER, where, f"wrong about {sorted(listed ^ expected)}")
        page = await self._done(self._admin, "list_messages", {"group_id": where, "limit": 1})
        last = page["events"][-1]["seq"] if page["events"] else 0
        give_up_s = time.monotonic() + _SETTLE_S
        for device in self._devices():
            goal = last if device.user_id in expected else None
            follower = device.follower
            # Polled, so that a delivery costs the load side nothing more.
            while (  # noqa: ASYNC110
                follower.last.get(where) != goal and time.monotonic() < give_up_s
            ):
                await asyncio.sleep(_POLL_S)
            if follower.last.get(where) != goal:
                text = f"{where} ends at {goal}, had {follower.last.get(where)}"
                self._report(Fault.LOST, f"{device.user_id} {device.device_id}", text)

    # Requests.

    async def _done(
        self,
        device: Device,
        method: str,
        params: Mapping[str, Any],
        request_id: str | None = None,
    ) -> dict[str, Any]:
        """The result; a refusal is a finding, since everything here is allowed."""
        self._count(method)
        request_id = request_id or f"{self._prefix}r{next(self._numbers)}"
        _, reply = await device.call(method, params, request_id)
        if reply.error is not None:
            text = f"{method} in {params.get('group_id')}: {reply.error.code} {reply.error.message}"
            self._report(Fault.ANSWER, device.user_id, text)
            return {}
        return reply.result if isinstance(reply.result, dict) else {}

    def _start(self, work: Any) -> None:  # noqa: ANN401 - a coroutine
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._report(Fault.CONNECTION, "residents", repr(error))

    def _report(self, fault: Fault, where: str, what: str) -> None:
        self._on_finding(Finding(fault, where, what))

    def _count(self, name: str) -> None:
        self.acts[name] = self.acts.get(name, 0) + 1
