"""From a request to the last device's event, in a group of a thousand online members."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from scripts.benchmarks.bench import Meter, Sizes, Work, fresh_server, others_note
from scripts.benchmarks.caller import Caller, make_group
from scripts.benchmarks.figures import OURS, Result, Runs, percentile
from scripts.benchmarks.frames import Muster, many
from scripts.benchmarks.sides import (
    BROADCAST,
    C_JOINED,
    C_LOOP,
    CORE,
    NODE_SOCKETIO,
    NODE_WS,
    PYTHON_SOCKETIO,
    Company,
    Side,
)
from scripts.common.target import Target

TEXT: Final = "Hello!"
"""Short, so that the whole frame has about 200 bytes."""

_BURST: Final = 64
_LONE_RATIO: Final = 1.35
_BURST_US: Final = 0.8
_BURST_PER_S: Final = 1_000_000
_LEAST_ROUNDS: Final = 3
_WARM_UP_ROUNDS: Final = 3
_CPU: Final = "server CPU"
_RATE: Final = "deliveries of one core"


class _Plan(msgspec.Struct, frozen=True):
    """A work: so many messages at a time, against these sides."""

    name: str
    together: int
    names: Sequence[str]


class _Played(msgspec.Struct):
    """What some rounds of one side took."""

    rounds: int
    waits_ms: list[float]
    firsts_ms: list[float]


class _Player:
    """One side's rounds, counted on from one to the next."""

    def __init__(self, side: Side, together: int) -> None:
        self.side = side
        self._together = together
        self._events = 0

    def warm_up(self, most_s: float) -> None:
        """A few rounds."""
        self._events = self.side.swarm.wait_for_events(0).most
        self.play(_WARM_UP_ROUNDS, most_s)

    def play(self, rounds: int, most_s: float) -> _Played:
        """So many rounds, or what can be done of them in ``most_s``, but a few."""
        played = _Played(0, [], [])
        assert self.side.event is not None
        give_up_s = time.monotonic() + most_s
        while played.rounds < rounds and (
            played.rounds < _LEAST_ROUNDS or time.monotonic() < give_up_s
        ):
            until = self._events + self._together
            frames = many(self.side.event, range(self._events, until))
            sent_s, heard = self.side.swarm.play(0, frames, until)
            self._events = until
            played.rounds += 1
            played.waits_ms.append((heard.last_s - sent_s) * 1000)
            played.firsts_ms.append((heard.first_s - sent_s) * 1000)
        return played


def _measure(plan: _Plan, sizes: Sizes, tell: Callable[[str], None]) -> Result:
    runs = Runs()
    others: list[float] = []
    members = [f"member-{number}" for number in range(sizes.members)]
    with fresh_server() as server, contextlib.ExitStack() as stack:
        target = server.target()
        group_id = asyncio.run(found(target, members))
        company = Company(stack, wants_c=sizes.wants_c, wants_sides=sizes.wants_sides)
        ours = company.ours(server, members, Muster(target).message(group_id, TEXT))
        ours.swarm.open(sizes.members)
        frame_bytes = event_bytes(ours, sizes.members)
        company.invite(plan.names, sizes.members, frame_bytes)
        players = [_Player(side, plan.together) for side in company.sides]
        for player in players:
            tell(f"{plan.name}: connecting to {player.side.name}")
            player.side.swarm.open(sizes.members)
            player.warm_up(sizes.seconds)
        for run in range(sizes.runs):
            for player in players:
                tell(f"{plan.name}, run {run + 1} of {sizes.runs}, {player.side.name}")
                others.append(_one(plan, player, sizes, runs))
            _ratio(plan, runs)
    return Result(
        figures=runs.figures(),
        notes=[
            f"{sizes.members} members on a device each, {plan.together} at a time, up to "
            f"{sizes.rounds} rounds or {sizes.seconds:g} s a run and side; the next round begins "
            f"when all have the events; frames of {frame_bytes} bytes",
            "ours is the full path: request, rules, commit and sync, fan-out; the others store "
            "nothing",
            f"the receivers are one process in {'C' if ours.swarm.is_c else 'Python'}",
            *company.notes,
            others_note(others),
        ],
    )


def _one(plan: _Plan, player: _Player, sizes: Sizes, runs: Runs) -> float:
    """A run of one side; returns what others used."""
    side = player.side
    meter = Meter(side.server, side.swarm.pid)
    played = player.play(sizes.rounds, sizes.seconds)
    deliveries = played.rounds * plan.together * sizes.members
    server_us = meter.server_s() / deliveries * 1e6
    is_ours, is_lone = side.name == OURS, plan.together == 1
    goal = _BURST_US if is_ours and not is_lone else None
    runs.add(_CPU, server_us, "us per delivery", "lower", side=side.name, goal=goal)
    rate_goal = _BURST_PER_S if is_ours and not is_lone else None
    runs.add(_RATE, 1e6 / server_us, "per second", "higher", side=side.name, goal=rate_goal)
    load_us = meter.load_s() / deliveries * 1e6
    runs.add("load side CPU", load_us, "us per delivery", side=side.name)
    half, most = (percentile(played.waits_ms, share) for share in (0.5, 0.99))
    runs.add("last device, median", half, "ms", "lower", side=side.name)
    runs.add("last device, 99 %", most, "ms", "lower", side=side.name)
    if is_lone:
        first = percentile(played.firsts_ms, 0.5)
        runs.add("first device, median", first, "ms", "lower", side=side.name)
    return meter.others()


def _ratio(plan: _Plan, runs: Runs) -> None:
    """How our CPU compares with the C program's in the same run."""
    ours, loop = runs.last(_CPU, OURS), runs.last(_CPU, C_LOOP)
    if ours and loop:
        goal = _LONE_RATIO if plan.together == 1 else None
        runs.add("ratio of CPU to the C send loop", ours / loop, "", "lower", goal=goal)


def event_bytes(side: Side, connections: int) -> int:
    """How long the frame of one event is that is sent to all; the side is open and idle."""
    assert side.event is not None
    before = side.swarm.wait_for_events(0)
    _, heard = side.swarm.play(0, many(side.event, [99_999_999]), before.most + 1)
    return round((heard.bytes_read - before.bytes_read) / connections)


async def found(target: Target, members: Sequence[str], group_type: str = "Work") -> str:
    """A group of all members, whose owner is the first of them."""
    owner = Caller()
    await owner.connect(target, members[0], "setup")
    group_id = await make_group(owner, group_type, members[1:])
    owner.end()
    return group_id


_PEERS: Final = (BROADCAST, NODE_WS, NODE_SOCKETIO, PYTHON_SOCKETIO)
_LONE: Final = _Plan("lone", 1, (C_LOOP, CORE, *_PEERS))
_BURSTS: Final = _Plan("burst", _BURST, (C_LOOP, C_JOINED, CORE, *_PEERS))

LONE: Final = Work(
    question="What does an event to a thousand devices cost, when it comes alone?",
    measure=lambda sizes, tell: _measure(_LONE, sizes, tell),
)
BURST: Final = Work(
    question=f"What does it cost, when {_BURST} come at once?",
    measure=lambda sizes, tell: _measure(_BURSTS, sizes, tell),
)
