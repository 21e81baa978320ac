"""Plays a plan through real sockets and writes down what came of it.

A plan with a rate is played as an open loop: each request is sent when it is due, however many
wait for their answers, and its latency counts from that moment. A server that stalls for a second
is charged with that second by all the requests that fell due in it. (Where a load generator waits
for answers before it asks again, the stall slows the asking down and counts as one slow request:
"coordinated omission".) A request that has to wait until another one of its group is answered
counts from the moment when it was due, too.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

from scripts.common.percentiles import Histogram
from scripts.common.target import OwnServer
from scripts.loadgen.calls import Call
from scripts.loadgen.device import Device
from scripts.loadgen.early import missing_own_events
from scripts.loadgen.ledger import Ledger, Reply, canonical
from scripts.loadgen.names import Names
from scripts.loadgen.outages import Outages
from scripts.loadgen.plan import REQUESTS, Act, Expects, Kind, Plan
from scripts.loadgen.record import Entry, GroupRecord, Outcome
from scripts.loadgen.rooms import Rooms
from scripts.loadgen.stage import Person, Stage
from scripts.loadgen.timeline import Timeline
from scripts.loadgen.turns import Request, Turns

_ANSWERS_S: Final = 60.0
_STOPPED_S: Final = 10.0


class Player:
    """Plays one plan once.

    Args:
        timeline: where it notes what was offered and answered; it begins and ends it.
        sent: where to note when each message was due and with what body, for the ledger.
        server: for acts that end it; None when that is not ours to do.
        in_flight: how many requests wait for answers at most while nothing is due.
        seconds: after so long no more is sent.
        allows_losses: whether a connection that the server ends is nothing to report.

    Attributes:
        late: by how much requests were offered after they were due: the load side's own fault.
        messages: how many of those that are stored were answered.
    """

    def __init__(
        self,
        plan: Plan,
        stage: Stage,
        ledger: Ledger,
        timeline: Timeline,
        *,
        sent: dict[int, tuple[float, bytes]],
        server: OwnServer | None,
        in_flight: int,
        seconds: float,
        allows_losses: bool = False,
    ) -> None:
        self._plan = plan
        self._stage = stage
        self._ledger = ledger
        self._timeline = timeline
        self._sent = sent
        self._outages = (
            None
            if server is None
            else Outages(stage, timeline, server, allows_losses=allows_losses)
        )
        self._in_flight = in_flight
        self._seconds = seconds
        stage.expect_loss(is_expected=allows_losses)
        self._ids = Names(plan, stage.people, stage.prefix)
        self._rooms = Rooms(plan, stage.prefix)
        self._turns = Turns(self._launch)
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._failures: list[BaseException] = []
        self._is_load = False
        self._is_stopped = False
        self.groups: dict[str, GroupRecord] = {}
        self.outcomes: list[Outcome] = []
        self.late = Histogram()
        self.answered = 0
        self.messages = 0
        self.was_cut = False
        self.started_s = self.ended_s = 0.0

    @property
    def kills(self) -> int:
        """How often the server was ended and started again."""
        return 0 if self._outages is None else self._outages.count

    @property
    def is_playing(self) -> bool:
        """Whether the load has begun."""
        return self._is_load

    def stop(self) -> None:
        """Start nothing more; ``play`` returns when what is under way is answered."""
        self._is_stopped = True
        self._turns.forget()
        self._news.set()

    async def play(self) -> None:
        """Prepare, then play the load, or as much as the time allows; returns when all is answered.

        Raises:
            Lost: a device cannot connect.
        """
        prepared = self._plan.prepared
        self.was_cut = not await self._play_acts(self._plan.acts[:prepared], 0)
        await self._until_answered()
        self.started_s = time.monotonic()
        self._timeline.begin(self.started_s)
        self._is_load = True
        if not self.was_cut:
            self.was_cut = not await self._play_acts(self._plan.acts[prepared:], prepared)
        if self.was_cut:
            self._turns.forget()
        self._raise_failure()
        await self._stage.connect_all()
        await self._until_answered()
        self.ended_s = time.monotonic()
        self._timeline.end(self.ended_s)
        for task in self._tasks:
            task.cancel()  # their outcomes have no answer, which the oracle finds
        for device in self._stage.devices():
            device.wake()

    async def _until_answered(self) -> None:
        give_up_s = time.monotonic() + (_STOPPED_S if self._is_stopped else _ANSWERS_S)
        while self._tasks and time.monotonic() < give_up_s:
            await asyncio.wait(self._tasks, timeout=give_up_s - time.monotonic())
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failures:
            raise self._failures[0]

    async def _play_acts(self, acts: Sequence[Act], first: int) -> bool:
        """Start everything in order; False if there was no time for all of it."""
        deadline_s = time.monotonic() + self._seconds
        for number, act in enumerate(acts, start=first):
            due_s = time.monotonic()
            if act.due_s is not None:
                due_s = self.started_s + act.due_s
                await self._sleep_until(due_s)
            if self._is_stopped or self._failures or time.monotonic() >= deadline_s:
                return False
            if act.kind not in REQUESTS:
                self._connection_act(act)
                continue
            if act.due_s is None and not await self._has_room():
                return False
            self._offer(act, number, due_s if act.due_s is not None else time.monotonic())
        return True

    async def _sleep_until(self, due_s: float) -> None:
        # Also without anything to wait for others must have their turn.
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    # Connections.

    def _connection_act(self, act: Act) -> None:
        if act.kind is Kind.KILL:
            self._begin_outage(is_polite=act.is_polite)
            return
        device = self._stage.people[act.user].devices[act.device]
        if act.kind is Kind.DROP:
            device.drop(is_polite=act.is_polite)
            self._bring_back_blockers()
        else:
            self._bring_back(device)

    def _bring_back_blockers(self) -> None:
        """Others wait for their requests, so that they come back at once."""
        for blocker in self._turns.blockers():
            if blocker.device is not None:
                self._bring_back(blocker.device)

    def _bring_back(self, device: Device) -> None:
        """Let it connect while the conversation goes on."""
        if not device.wants_connection:
            self._start(device.connect())

    def _begin_outage(self, *, is_polite: bool) -> None:
        """Everybody who is away comes back to the server that is started then."""
        if self._outages is not None:
            self._start(self._outages.one(is_polite=is_polite))
            for device in self._stage.devices():
                self._bring_back(device)

    @property
    def _is_outage(self) -> bool:
        return self._outages is not None and self._outages.is_now

    # Requests.

    async def _has_room(self) -> bool:
        """Return when another request may be sent; False if that never is."""
        while self._under_way() >= self._in_flight:
            self._bring_back_blockers()
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), _ANSWERS_S)
            except TimeoutError:
                return False
            if self._failures or self._is_stopped:
                return False
        return True

    def _under_way(self) -> int:
        """How many requests are; those of devices that are away do not count."""
        under_way = len(self._tasks) + self._turns.waiting
        if under_way < self._in_flight:
            return under_way
        return under_way - sum(
            len(device.calls) for device in self._stage.devices() if not device.wants_connection
        )

    def _offer(self, act: Act, number: int, due_s: float) -> None:
        if self._is_load:
            self._timeline.at(due_s).offered += 1
            self.late.add(time.monotonic() - due_s)
        involved = frozenset((act.user, *act.targets))
        self._turns.offer(Request(act=act, number=number, due_s=due_s, involved=involved))
        if self._turns.waiting:
            self._bring_back_blockers()

    def _launch(self, request: Request) -> None:
        self._start(self._perform(request))

    def _start(self, work: Any) -> None:  # noqa: ANN401 - a coroutine
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._news.set()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failures.append(error)

    async def _perform(self, request: Request) -> None:
        act = request.act
        try:
            person = self._stage.people[act.user]
            request.device = device = await self._ready_device(act, person)
            await self._rooms.before(act, device, person, self._ids.group_id(act))
            await self._request(request, device, person)
        finally:
            self._turns.done(request)

    async def _request(self, request: Request, device: Device, person: Person) -> None:
        act, params = request.act, self._ids.params(request.act)
        outcome = Outcome(
            kind=act.kind,
            expects=act.expects,
            expected_code=act.code,
            user_id=person.user_id,
            device_id=device.device_id,
            group_id=self._ids.group_id(act),
            target_ids=tuple(self._stage.people[target].user_id for target in act.targets),
            mark=act.mark,
            is_stored=act.is_stored,
            number=request.number,
            sent_s=time.monotonic(),
            due_s=request.due_s if self._is_load else None,
        )
        self.outcomes.append(outcome)
        if act.mark is not None:
            self._sent[act.mark] = (request.due_s, canonical(params["body"]))
        is_room, absences = self._rooms.is_room(act), person.absences
        is_unclear = self._is_outage or self._rooms.may_be_in_still(act, person, outcome.group_id)
        if is_room and act.kind is Kind.JOIN:
            person.enter(outcome.group_id, outcome.sent_s)
        request_id = f"{self._stage.prefix}{request.number}"
        call, reply = await device.call(act.method, params, request_id)
        outcome.sent_s, outcome.replied_s = call.sent_s, call.replied_s
        outcome.was_left = call.was_left
        outcome.may_differ = is_room and (
            person.absences != absences or is_unclear or self._is_outage
        )
        self._take_reply(act, outcome, reply)
        if is_room:
            self._rooms.after(act, outcome, person)
        outcome.is_watched = call.is_watched and outcome.is_done
        if outcome.is_watched:
            outcome.early = self._early(act, outcome, call, device)
        if act.is_repeated and reply.error is None:
            again = await self._ready_device(act, person)
            _, second = await again.call(act.method, params, request_id)
            if second.error is not None or second.result != reply.result:
                outcome.second = f"{reply.result}, then {second.result or second.error}"

    def _take_reply(self, act: Act, outcome: Outcome, reply: Reply) -> None:
        self._count_reply(outcome)
        if reply.error is not None:
            outcome.code, outcome.message = reply.error.code, reply.error.message
            return
        outcome.result = reply.result if isinstance(reply.result, dict) else {}
        if act.kind is Kind.CREATE:
            outcome.group_id = str(outcome.result["group"]["group_id"])
            self._ids.learn(act, outcome.group_id)
            self.groups[outcome.group_id] = GroupRecord(
                group_id=outcome.group_id, type=self._plan.groups[act.group].type
            )
        if act.kind is Kind.DISBAND:
            self.groups[outcome.group_id].is_disbanded = True
        if act.mark is not None and act.is_stored and act.expects is Expects.DONE:
            self.messages += 1

    def _count_reply(self, outcome: Outcome) -> None:
        if outcome.due_s is None or outcome.replied_s is None:
            return
        self.answered += 1
        second = self._timeline.at(outcome.replied_s)
        second.answered += 1
        if not outcome.was_left:
            second.replies.add(outcome.replied_s - outcome.due_s)

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
