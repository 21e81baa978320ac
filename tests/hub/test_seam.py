"""Connecting with a cursor, going slow, being replaced, coming back, while others write.

Commits and reads of the store are held at gates before and after they happen, and Hypothesis says
who goes on when: every order of "committed", "read", "told" and "answered" that asyncio allows.
"""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from random import Random
from typing import Any, Final, TypeVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from protocol.codec import JSON, MSGPACK, Codec
from protocol.frames import Reply, ServerFrame
from server.service.ports import Committed
from server.storage.memory import MemoryStore
from tests.hub.oracle import Witness, assert_log_is_sound
from tests.kit.devices import EPOCH, SHARD, Device, World, body, is_stored, rulebook_with, world_on
from tests.kit.fakes import Gate, HookedStore, until_idle

T = TypeVar("T")

OWNER: Final = "u0"
ROOM: Final = "room"
TYPES: Final = {"open": "Public", "meet": "Meeting", "work": "Work", ROOM: "AVChatRoom"}

METHODS: Final = (
    *("send_message",) * 3,
    *("join_group", "quit_group", "invite_members", "remove_members"),
)
GATED: Final = ("commit", "missed", "followed", "missed_count", "replay", "load")
WHEN: Final = ("before", "after")
HELD_COMMITS: Final = ("", "", "before commit", "after commit", "after commit")
HELD_READS: Final = ("", "after followed", "after missed", "before missed")
LIMITS: Final = {
    "EVENTS_PER_FRAME": 3,
    "OUTGOING_BYTES": 1500,
    "DEVICES_PER_USER": 2,
    "RESUME_EVENTS": 12,
}

MANY: Final = st.integers(0, 1000)
"""Names one of what there is at the time."""


def _any_open(machine: "Seam") -> bool:
    return bool(machine.devices(lambda device: device.is_open))


class Sent:
    """A request, and its replies on all devices."""

    def __init__(self, user_id: str, request_id: str, method: str, params: dict[str, Any]) -> None:
        self.user_id = user_id
        self.request_id = request_id
        self.method = method
        self.params = params
        self.copies: list[tuple[Device, asyncio.Future[Reply]]] = []

    @property
    def text(self) -> str | None:
        return str(self.params["body"][0]["content"]["text"]) if "body" in self.params else None

    def replies(self) -> list[Reply]:
        futures = [future for _, future in self.copies]
        return [f.result() for f in futures if f.done() and f.exception() is None]


class Seam(RuleBasedStateMachine):
    users: Sequence[str] = (OWNER, "u1", "u2")
    types: Sequence[str] = tuple(TYPES)

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.gate = Gate()
        self.context: AbstractAsyncContextManager[World] | None = None
        self.witnesses: list[tuple[Device, Witness]] = []
        self.cursors: defaultdict[str, list[str]] = defaultdict(list)
        self.sent: list[Sent] = []
        self.answered: list[tuple[str | None, list[str]]] = []
        """What was said on a live connection, and what it had heard when the answer came."""
        self.numbers = itertools.count(1)
        self.log: list[Committed] = []
        self.log_end = 0

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(step)

    @initialize(groups=st.lists(MANY, min_size=1, max_size=2), members=st.sets(MANY, max_size=2))
    def begin(self, groups: list[int], members: set[int]) -> None:
        self.groups = sorted({self.types[group % len(self.types)] for group in groups})
        self.run(self._begin(sorted({self.user(member) for member in members} - {OWNER})))

    def user(self, number: int) -> str:
        return self.users[number % len(self.users)]

    async def _begin(self, members: Sequence[str]) -> None:
        hooked = HookedStore(MemoryStore(epoch=EPOCH))
        self.gate.stand_in(hooked, GATED)
        self.context = world_on(hooked.store, rulebook_with(LIMITS))
        self.world = await self.context.__aenter__()
        owner = await self.world.online(OWNER, "first")
        for group_id in self.groups:
            options: dict[str, Any] = {}
            if group_id == "open":
                options["apply_join_option"] = "FreeAccess"
            if group_id != ROOM:
                options["members"] = [{"user_id": user_id} for user_id in members]
            await owner.call(
                "create_group", group_id=group_id, type=TYPES[group_id], name="-", **options
            )
        for user_id in self.users:
            assert owner.cursor is not None
            self.cursors[user_id].append(owner.cursor)
        owner.drop()
        await until_idle()
        for user_id in self.users:
            self._add(user_id, "d1", JSON, None)
        await until_idle()

    def _add(self, user_id: str, device_id: str, codec: Codec, cursor: str | None) -> Device:
        device = self.world.connect(user_id, device_id, codec, cursor)
        visited = [] if user_id == OWNER else [ROOM]
        witness = Witness(device, self.cursors[user_id].append, visited=visited)
        self.witnesses.append((device, witness))
        return device

    def devices(self, is_wanted: Callable[[Device], object]) -> list[Device]:
        return [device for device, _ in self.witnesses if is_wanted(device)]

    # What devices do.

    @rule(
        user=MANY,
        device_id=st.sampled_from(["d1", "d2", "d3"]),
        codec=st.sampled_from([JSON, MSGPACK]),
        back=st.none() | st.sampled_from([0, 0, 0, 1, 2, 5]),
        is_stalled=st.booleans(),
    )
    def connect(
        self, user: int, device_id: str, codec: Codec, back: int | None, is_stalled: bool
    ) -> None:
        user_id = self.user(user)
        known = self.cursors[user_id]
        cursor = None if back is None else known[max(0, len(known) - 1 - back)]

        async def step() -> None:
            device = self._add(user_id, device_id, codec, cursor)
            if is_stalled:
                device.stall()
            await self.go_on()

        self.run(step())

    @precondition(_any_open)
    @rule(
        which=MANY,
        held=st.sampled_from(HELD_READS),
    )
    def come_back(self, which: int, held: str) -> None:
        """Lose the connection, and go on from the last cursor on another one."""
        if held:
            self.gate.hold_next(held)

        def do(device: Device) -> None:
            device.drop()
            self._add(device.user_id, device.device_id, device.codec, device.cursor)

        self.act(which, lambda d: d.is_open, do)

    @precondition(_any_open)
    @rule(which=MANY)
    def drop(self, which: int) -> None:
        self.act(which, lambda d: d.is_open, Device.drop)

    @precondition(_any_open)
    @rule(which=MANY)
    def stall_or_unstall(self, which: int) -> None:
        self.act(which, lambda d: d.is_open, lambda d: d.unstall() if d.is_stalled else d.stall())

    @precondition(lambda self: self.devices(lambda d: d.unread))
    @rule(which=MANY, most_bytes=st.integers(1, 2000))
    def read(self, which: int, most_bytes: int) -> None:
        self.act(which, lambda d: d.unread, lambda d: d.read(most_bytes))

    def act(
        self, which: int, is_wanted: Callable[[Device], object], do: Callable[[Device], None]
    ) -> None:
        devices = self.devices(is_wanted)
        if not devices:
            return
        device = devices[which % len(devices)]

        async def step() -> None:
            do(device)
            await self.go_on()

        self.run(step())

    # What they ask for.

    @precondition(_any_open)
    @rule(
        group=MANY,
        asked=st.lists(
            st.tuples(MANY, st.sampled_from(METHODS), MANY),
            min_size=1,
            max_size=4,
        ),
        held=st.sampled_from(HELD_COMMITS),
    )
    def ask(self, group: int, asked: list[tuple[int, str, int]], held: str) -> None:
        if held:
            self.gate.hold_next(held)
        group_id = self.groups[group % len(self.groups)]
        for which, method, other in asked:
            params: dict[str, Any] = {"group_id": group_id}
            if method == "send_message":
                params["body"] = body(str(next(self.numbers)))
            elif method.endswith("_members"):
                params["user_ids"] = [self.user(other)]
            wanted = self.may_well(method, which)
            self.request(which, method, params, wanted)

    def may_well(self, method: str, which: int) -> Callable[[Device], bool]:
        """Whose requests of this kind are not refused as a rule; now and then anybody's."""
        if which % 8 == 0 or method == "send_message":
            return lambda device: device.is_open
        is_owners = method.endswith("_members")
        return lambda device: device.is_open and (device.user_id == OWNER) == is_owners

    @precondition(_any_open)
    @rule(which=MANY, group=MANY)
    def disband(self, which: int, group: int) -> None:
        self.request(which, "disband_group", {"group_id": self.groups[group % len(self.groups)]})

    @precondition(_any_open)
    @rule(which=MANY, members=st.sets(MANY, max_size=3))
    def create(self, which: int, members: set[int]) -> None:
        initial = [{"user_id": self.user(member)} for member in sorted(members)]
        self.request(which, "create_group", {"type": "Work", "name": "-", "members": initial})

    @precondition(_any_open)
    @rule(which=MANY, sent=MANY)
    def repeat(self, which: int, sent: int) -> None:
        if not self.sent:
            return
        again = self.sent[-1 - sent % len(self.sent)]
        devices = self.devices(lambda d: d.is_open and d.user_id == again.user_id)
        if devices:
            self.run(self._send(devices[which % len(devices)], again))

    def request(
        self,
        which: int,
        method: str,
        params: dict[str, Any],
        is_wanted: Callable[[Device], object] = lambda device: device.is_open,
    ) -> None:
        devices = self.devices(is_wanted)
        if devices:
            device = devices[which % len(devices)]
            sent = Sent(device.user_id, f"r{len(self.sent)}", method, params)
            self.sent.append(sent)
            self.run(self._send(device, sent))

    async def _send(self, device: Device, sent: Sent) -> None:
        was_live, pauses = device.is_live, device.pauses
        reply = device.send(sent.method, request_id=sent.request_id, **sent.params)
        sent.copies.append((device, reply))
        if was_live and len(sent.copies) == 1 and sent.text is not None:
            before = device.on_frame

            def check(frame: ServerFrame) -> None:
                before(frame)
                if not isinstance(frame, Reply) or frame.id != sent.request_id:
                    return
                if frame.error is None and device.pauses == pauses:
                    self.answered.append((sent.text, device.texts(sent.params["group_id"])))

            device.on_frame = check
        await self.go_on()

    # What the store and the loop do.

    @rule(name=st.sampled_from(GATED), when=st.sampled_from(WHEN))
    def hold(self, name: str, when: str) -> None:
        self.gate.hold_next(f"{when} {name}")

    @precondition(lambda self: self.gate.waiting)
    @rule()
    def open_gates(self) -> None:
        async def step() -> None:
            self.gate.open()
            await self.go_on()

        self.run(step())

    @precondition(lambda self: self.gate.waiting)
    @rule(which=MANY)
    def let_through(self, which: int) -> None:
        async def step() -> None:
            if self.gate.waiting:
                self.gate.let_through(which % len(self.gate.waiting))
            await self.go_on()

        self.run(step())

    # What must hold.

    async def go_on(self) -> None:
        """Let everything happen that is not held, and look whether it was right."""
        await until_idle()
        if (await self.world.store.heads(SHARD)).position != self.log_end:
            self.log = await self.world.log()
            self.log_end = self.log[-1].position
        for _, witness in self.witnesses:
            witness.assert_nothing_wrong(self.log)
        for text, heard in self.answered:
            assert text in heard, "events come before the reply"

    def teardown(self) -> None:
        try:
            if self.context is not None:
                self.run(self._end(self.context))
        finally:
            self.runner.close()

    async def _end(self, context: AbstractAsyncContextManager[World]) -> None:
        try:
            self.gate.open()
            for device, _ in self.witnesses:
                device.unstall()
            await until_idle()
            # Whoever follows too much or too little by now hears of it by these.
            for device, _ in list(self.witnesses):
                for group_id in self.groups if device.is_open else ():
                    last = device.send("send_message", group_id=group_id, body=body("the end"))
                    assert not last.done()
            await until_idle()
            await self._check_end()
        finally:
            await context.__aexit__(None, None, None)

    async def _check_end(self) -> None:
        log = await self.world.log()
        assert_log_is_sound(log)
        for device, witness in self.witnesses:
            witness.assert_nothing_wrong(log)
            if device.is_open:
                assert device.is_live
                witness.assert_all_is_told(log)
        for sent in self.sent:
            self._assert_exactly_once(sent, log)
        self._assert_sent_order(log)
        self._assert_unstored_once_and_in_order()

    def _assert_exactly_once(self, sent: Sent, log: Sequence[Committed]) -> None:
        replies = sent.replies()
        for device, reply in sent.copies:
            assert reply.done() or not device.is_open, "an open connection gets its answer"
        results = [reply.result for reply in replies if reply.error is None]
        assert all(result == results[0] for result in results)
        if sent.text is None or sent.params["group_id"] == ROOM:
            return
        effects = sum(text == sent.text for _, text in _stored_texts(log))
        if results:
            assert effects == 1
        else:
            was_always_refused = len(replies) == len(sent.copies)
            assert effects == 0 if was_always_refused else effects <= 1

    def _assert_sent_order(self, log: Sequence[Committed]) -> None:
        """Requests of a connection take effect in the order of sending."""
        places = {text: place for place, (_, text) in enumerate(_stored_texts(log))}
        by_device: defaultdict[Device, list[int]] = defaultdict(list)
        for sent in self.sent:
            if len(sent.copies) == 1 and sent.text in places:
                by_device[sent.copies[0][0]].append(places[sent.text])
        for order in by_device.values():
            assert order == sorted(order)

    def _assert_unstored_once_and_in_order(self) -> None:
        for device, _ in self.witnesses:
            ids = [e.message_id for e in device.events if e.message_id and not is_stored(e)]
            assert ids == sorted(set(ids)), "later messages have greater IDs here"


def _stored_texts(log: Sequence[Committed]) -> list[tuple[str, str]]:
    """The group and text of every message in the log, in commit order."""
    return [
        (told.entry.group_id, told.entry.data["body"][0]["content"]["text"])
        for told in log
        if told.entry.event == "message"
    ]


class SmallSeam(Seam):
    """One group, and one user in it and out of it: few things, in many more orders."""

    users = (OWNER, "u1")
    types = ("work",)


@pytest.mark.parametrize("seed", range(100))
@pytest.mark.parametrize("kind", [Seam, SmallSeam])
def test_a_long_random_walk_breaks_no_law(kind: type[Seam], seed: int) -> None:
    """More of the same by plain chance: longer, and without much ado about each step."""
    walk(kind, Random(seed), steps=80)


def walk(kind: type[Seam], chance: Random, steps: int) -> None:
    machine = kind()
    number = partial(chance.randrange, 1000)
    moves: dict[str, tuple[int, Callable[[], dict[str, Any]]]] = {
        "connect": (
            2,
            lambda: {
                "user": number(),
                "device_id": chance.choice(["d1", "d2", "d3"]),
                "codec": chance.choice([JSON, MSGPACK]),
                "back": chance.choice([None, 0, 0, 1, 5]),
                "is_stalled": chance.random() < 0.3,
            },
        ),
        "come_back": (6, lambda: {"which": number(), "held": chance.choice(HELD_READS)}),
        "ask": (
            12,
            lambda: {
                "group": number(),
                "asked": [
                    (number(), chance.choice(METHODS), number())
                    for _ in range(chance.randrange(1, 5))
                ],
                "held": chance.choice(HELD_COMMITS),
            },
        ),
        "create": (1, lambda: {"which": number(), "members": {number(), number()}}),
        "repeat": (1, lambda: {"which": number(), "sent": number() % 6}),
        "stall_or_unstall": (3, lambda: {"which": number()}),
        "read": (3, lambda: {"which": number(), "most_bytes": number() + 1}),
        "drop": (1, lambda: {"which": number()}),
        "hold": (3, lambda: {"name": chance.choice(GATED), "when": chance.choice(WHEN)}),
        "let_through": (12, lambda: {"which": number()}),
        "open_gates": (1, dict),
    }
    weights = [weight for weight, _ in moves.values()]
    trace: list[str] = []
    try:
        try:
            machine.begin(groups=[number(), number()], members={number(), number()})
            for name in chance.choices(list(moves), weights, k=steps):
                params = moves[name][1]()
                trace.append(f"{name}({params})")
                getattr(machine, name)(**params)
        finally:
            machine.teardown()
    except AssertionError as error:
        error.add_note("\n".join(trace))
        raise


TestSeam = Seam.TestCase
TestSeam.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

TestSmallSeam = SmallSeam.TestCase
TestSmallSeam.settings = settings(TestSeam.settings, stateful_step_count=25)
