"""Plays a plan through real sockets and writes down what came of it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from protocol.vocabulary import GroupType
from scripts.common.target import OwnServer
from scripts.loadgen.device import Call, Device
from scripts.loadgen.early import missing_own_events
from scripts.loadgen.ledger import Ledger, Reply, canonical
from scripts.loadgen.plan import Act, Expects, Kind, Plan
from scripts.loadgen.record import Entry, GroupRecord, Outcome
from scripts.loadgen.stage import Person, Stage

_ANSWERS_S: Final = 60.0
_LOSS_S: Final = 10.0
_CONNECTION_KINDS: Final = frozenset({Kind.DROP, Kind.RETURN, Kind.KILL})


class _Running(msgspec.Struct, eq=False):
    """A request that waits for its answer."""

    act: Act
    involved: frozenset[int]
    device: Device | None = None

    def conflicts(self, other: "_Running") -> bool:
        """Whether one decides what the other may do, so that they must not be in flight together.

        Acts of different groups never do. Those that are meant to race do not either.
        """
        kinds = {self.act.kind, other.act.kind}
        if Kind.CREATE in kinds:
            return True
        if Expects.EITHER in (self.act.expects, other.act.expects):
            return False
        if Kind.DISBAND in kinds:
            return True
        if kinds <= {Kind.SEND, Kind.READ}:
            return False
        return bool(self.involved & other.involved)


class Player:
    """Plays one plan once.

    Args:
        sent: where to note what each message was sent with, for the ledger.
        server: for acts that kill it; None when that is not ours to do.
        in_flight: how many requests wait for answers at most.
        rate: messages per second at most, 0 for as fast as the answers come.
        deadline_s: when to stop starting new acts, by ``time.monotonic``.
        on_progress: called with the number of messages answered.
    """

    def __init__(
        self,
        plan: Plan,
        stage: Stage,
        ledger: Ledger,
        *,
        sent: dict[int, tuple[float, bytes]],
        server: OwnServer | None,
        in_flight: int,
        rate: float,
        deadline_s: float,
        on_progress: Callable[[int], None],
    ) -> None:
        self._plan = plan
        self._stage = stage
        self._ledger = ledger
        self._sent = sent
        self._server = server
        self._in_flight = in_flight
        self._rate = rate
        self._deadline_s = deadline_s
        self._on_progress = on_progress
        self._group_ids = [
            _chosen_id(plan, index, stage.prefix) for index in range(len(plan.groups))
        ]
        self._owners = {act.group: act.user for act in plan.acts if act.kind is Kind.CREATE}
        self._running: dict[int, set[_Running]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._failures: list[BaseException] = []
        self._entrances = 0
        self.groups: dict[str, GroupRecord] = {}
        self.outcomes: list[Outcome] = []
        self.messages = 0
        self.kills = 0
        self.was_cut = False
        self.started_s = self.ended_s = 0.0

    async def play(self) -> None:
        """Play everything, or as much as the deadline allows; returns when all is answered.

        Raises:
            Lost: a device cannot connect.
        """
        self.started_s = time.monotonic()
        self.was_cut = not await self._play_acts()
        if self._failures:
            raise self._failures[0]
        await self._stage.connect_all()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_ANSWERS_S)
        self.ended_s = time.monotonic()
        for task in self._tasks:
            task.cancel()  # their outcomes have no answer, which the oracle finds
        for device in self._stage.devices():
            device.wake()

    async def _play_acts(self) -> bool:
        """Start everything in order; False if there was no time for all of it."""
        for number, act in enumerate(self._plan.acts):
            if time.monotonic() >= self._deadline_s or self._failures:
                return False
            await self._pace()
            if act.kind in _CONNECTION_KINDS:
                await self._connection_act(act)
            elif not await self._start(act, number):
                return False
        return True

    # Connections.

    async def _connection_act(self, act: Act) -> None:
        if act.kind is Kind.KILL:
            await self._kill()
            return
        device = self._stage.people[act.user].devices[act.device]
        if act.kind is Kind.DROP:
            device.drop(is_polite=act.is_polite)
        else:
            self._bring_back(device)

    def _bring_back(self, device: Device) -> None:
        """Let it connect while the conversation goes on."""
        if not device.wants_connection:
            task = asyncio.ensure_future(device.connect())
            self._tasks.add(task)
            task.add_done_callback(self._on_done)

    async def _kill(self) -> None:
        if self._server is None:
            return
        self._stage.expect_loss(is_expected=True)
        await asyncio.to_thread(self._server.kill)
        async with asyncio.timeout(_LOSS_S):
            await asyncio.gather(*(device.is_lost() for device in self._stage.devices()))
        await asyncio.to_thread(self._server.start)
        self.kills += 1
        await self._stage.connect_all()
        self._stage.expect_loss(is_expected=False)

    # Requests.

    async def _pace(self) -> None:
        if self._rate:
            due_s = self.started_s + len(self._sent) / self._rate
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    async def _start(self, act: Act, number: int) -> bool:
        """Start a request once nothing that matters to it is under way; False if that never is."""
        running = _Running(act, frozenset((act.user, *act.targets)))
        others = self._running.setdefault(act.group, set())
        while True:
            blockers = [other for other in others if act.group >= 0 and running.conflicts(other)]
            for other in blockers:
                if other.device is not None:
                    self._bring_back(other.device)
            if not blockers and self._has_room_for_more():
                break
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), _ANSWERS_S)
            except TimeoutError:
                return False
            if self._failures:
                return False
        others.add(running)
        task = asyncio.ensure_future(self._perform(running, number))
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return True

    def _has_room_for_more(self) -> bool:
        """Whether another request may be sent; those of devices that are away do not count."""
        if len(self._tasks) < self._in_flight:
            return True
        stuck = sum(
            len(device.calls) for device in self._stage.devices() if not device.wants_connection
        )
        return len(self._tasks) - stuck < self._in_flight

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._news.set()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failures.append(error)

    async def _perform(self, running: _Running, number: int) -> None:
        act = running.act
        try:
            person = self._stage.people[act.user]
            running.device = device = await self._ready_device(act, person)
            group_id = self._group_ids[act.group] if act.group >= 0 else ""
            is_guest = self._is_room(act) and self._owners[act.group] != act.user
            if is_guest and act.kind in (Kind.SEND, Kind.QUIT):
                await self._enter_room(device, person, group_id)
            await self._request(act, number, device, person, group_id)
        finally:
            self._running[act.group].discard(running)

    async def _request(
        self, act: Act, number: int, device: Device, person: Person, group_id: str
    ) -> None:
        params = self._resolved(act)
        outcome = Outcome(
            kind=act.kind,
            expects=act.expects,
            expected_code=act.code,
            user_id=person.user_id,
            device_id=device.device_id,
            group_id=group_id,
            target_ids=tuple(self._stage.people[target].user_id for target in act.targets),
            mark=act.mark,
            is_stored=act.is_stored,
            number=number,
            sent_s=time.monotonic(),
        )
        self.outcomes.append(outcome)
        if act.mark is not None:
            self._sent[act.mark] = (outcome.sent_s, canonical(params["body"]))
        is_room, absences = self._is_room(act), person.absences
        if is_room and act.kind is Kind.JOIN:
            person.enter(group_id, outcome.sent_s)
        request_id = f"{self._stage.prefix}{number}"
        call, reply = await device.call(act.method, params, request_id)
        outcome.replied_s = call.replied_s
        outcome.may_differ = is_room and person.absences != absences
        self._take_reply(act, outcome, reply)
        if is_room:
            self._follow_room(act, outcome, person, is_same_presence=not outcome.may_differ)
        outcome.is_watched = call.is_watched and outcome.is_done
        if outcome.is_watched:
            outcome.early = self._early(act, outcome, call, device)
        if act.is_repeated and reply.error is None:
            _, second = await (await self._ready_device(act, person)).call(
                act.method, params, request_id
            )
            if second.error is not None or second.result != reply.result:
                outcome.second = f"{reply.result}, then {second.result or second.error}"

    def _take_reply(self, act: Act, outcome: Outcome, reply: Reply) -> None:
        if reply.error is not None:
            outcome.code, outcome.message = reply.error.code, reply.error.message
            return
        outcome.result = reply.result if isinstance(reply.result, dict) else {}
        if act.kind is Kind.CREATE:
            group_id = str(outcome.result["group"]["group_id"])
            outcome.group_id = self._group_ids[act.group] = group_id
            self.groups[group_id] = GroupRecord(
                group_id=group_id, type=self._plan.groups[act.group].type
            )
        if act.kind is Kind.DISBAND:
            self.groups[outcome.group_id].is_disbanded = True
        if act.mark is not None and act.is_stored and act.expects is Expects.DONE:
            self.messages += 1
            self._on_progress(self.messages)

    def _early(self, act: Act, outcome: Outcome, call: Call, device: Device) -> tuple[str, ...]:
        (stream, unstored), (stream_end, unstored_end) = call.given, call.given_at_reply
        given: list[Entry] = [
            self._ledger.entries[index] for index in device.record.stream[stream:stream_end]
        ]
        given += [
            self._ledger.entries[index]
            for index, _ in device.record.unstored[unstored:unstored_end]
        ]
        return missing_own_events(outcome, self._plan.groups[act.group].type, given)

    # Rooms: whoever loses the last connection is out and has to come in again.

    def _is_room(self, act: Act) -> bool:
        return act.group >= 0 and self._plan.groups[act.group].type is GroupType.AVCHATROOM

    async def _enter_room(self, device: Device, person: Person, group_id: str) -> None:
        if group_id in person.rooms:
            return
        absences = person.absences
        person.enter(group_id, time.monotonic())
        self._entrances += 1
        request_id = f"{self._stage.prefix}entrance-{self._entrances}"
        _, reply = await device.call("join_group", {"group_id": group_id}, request_id)
        if reply.error is None and person.absences == absences:
            person.rooms.add(group_id)

    def _follow_room(
        self, act: Act, outcome: Outcome, person: Person, *, is_same_presence: bool
    ) -> None:
        if act.kind is Kind.CREATE and outcome.is_done:
            person.enter(outcome.group_id, outcome.sent_s)  # and stays, whatever happens
        elif act.kind is Kind.JOIN and outcome.is_done and is_same_presence:
            person.rooms.add(outcome.group_id)
        elif act.kind is Kind.QUIT and outcome.is_done:
            person.leave(outcome.group_id)

    # Who and what.

    async def _ready_device(self, act: Act, person: Person) -> Device:
        """The planned device, or another one of the user's if that one is away."""
        planned = person.devices[act.device]
        if planned.wants_connection:
            return planned
        for device in person.devices:
            if device.is_up and not device.is_slow:
                return device
        await planned.connect()
        return planned

    def _resolved(self, act: Act) -> dict[str, Any]:
        """The act's parameters with IDs in place of the plan's indexes."""
        people = self._stage.people
        params = dict(act.params)
        for name in ("user_ids", "at_user_ids"):
            if name in params:
                params[name] = [people[user].user_id for user in params[name]]
        if "user_id" in params:
            params["user_id"] = people[params["user_id"]].user_id
        if "members" in params:
            params["members"] = [
                {**member, "user_id": people[member["user_id"]].user_id}
                for member in params["members"]
            ]
        if act.group >= 0 and self._group_ids[act.group]:
            params.setdefault("group_id", self._group_ids[act.group])
        return params


def _chosen_id(plan: Plan, index: int, prefix: str) -> str:
    """The ID that the creator chooses, or "" for one that the server makes."""
    planned = plan.groups[index]
    if not planned.chosen_id:
        return ""
    start = "@TGS#_" if planned.type is GroupType.COMMUNITY else ""
    return f"{start}{prefix}group-{index}"
