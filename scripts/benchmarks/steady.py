"""A thousand events per second to a thousand members, for a while."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Sequence
from typing import Final

from scripts.benchmarks.bench import Meter, Sizes, Work, fresh_server, others_note
from scripts.benchmarks.caller import Caller
from scripts.benchmarks.fanout import TEXT, event_bytes, found
from scripts.benchmarks.figures import OURS, Result, Runs, percentile
from scripts.benchmarks.frames import Muster, many
from scripts.benchmarks.sides import C_JOINED, Company, Side
from scripts.common.target import OwnServer, Target

_PER_S: Final = 1_000
_WARM_UP: Final = 0.1
_ROOM: Final = f"{OURS}, AVChatRoom"
_lone_numbers: Final = itertools.count(90_000_000)  # far from those of the other requests
_GOAL_P99_MS: Final = 25.0
_GOAL_SHARE: Final = 100.0
_GOAL_DELAY_MS: Final = 1.0


def _measure(sizes: Sizes, tell: Callable[[str], None]) -> Result:
    runs = Runs()
    others: list[float] = []
    members = [f"member-{number}" for number in range(sizes.members)]
    with fresh_server() as server, contextlib.ExitStack() as stack:
        company = Company(stack, wants_c=sizes.wants_c, wants_sides=sizes.wants_sides)
        _open_ours(company, server, members)
        if not company.sides[0].swarm.is_c:
            return Result(figures=[], notes=["left out: it takes receivers in C"])
        company.invite([C_JOINED], sizes.members, event_bytes(company.sides[0], sizes.members))
        for side in company.sides:
            tell(f"steady: warming up {side.name}")
            side.swarm.open(sizes.members)
            _begin(side, sizes.steady * _WARM_UP)
            side.swarm.end_pace()
        for run in range(sizes.runs):
            for side in company.sides:
                tell(f"steady, run {run + 1} of {sizes.runs}, {side.name}")
                others.append(_one(side, sizes, runs))
            _lone(company.sides[1], sizes, runs)
    return Result(
        figures=runs.figures(),
        notes=[
            f"{_PER_S:,} messages per second from one connection to {sizes.members:,} members, "
            f"{sizes.steady:g} s a run; from when it was sent to when a member had it, all members",
            f"{OURS} stores and syncs each; in the AVChatRoom and elsewhere nothing is stored; "
            "the goals count for one of the two",
            "a lone event in the AVChatRoom, to its first member: no less than what joining adds",
            "no other server here can: see what one core delivers in burst",
            *company.notes,
            others_note(others),
        ],
    )


def _open_ours(company: Company, server: OwnServer, members: Sequence[str]) -> None:
    """Our two sides, open: a stored group, and an AVChatRoom of other users."""
    target = server.target()
    guests = [f"guest-{member}" for member in members]
    group_id = asyncio.run(found(target, members))
    room_id = asyncio.run(_found_room(target))
    talk = Muster(target)
    stored = company.ours(server, members, talk.message(group_id, TEXT))
    room = company.ours(server, guests, talk.message(room_id, TEXT), name=_ROOM)
    stored.swarm.open(len(members))
    room.swarm.open(len(guests))
    join = talk.request("join_group", {"group_id": room_id})
    room.swarm.send(0, many(join, [0]))  # it is taught to send messages later
    for number in range(1, len(guests)):
        room.swarm.teach(number, join)
    room.swarm.ask(1, len(guests) - 1, 1, 0.0)  # each asks once
    for side in (stored, room):
        side.swarm.settle()
        side.swarm.forget_events()


async def _found_room(target: Target) -> str:
    owner = Caller()
    await owner.connect(target, "host", "setup")
    made = await owner.call("create_group", {"type": "AVChatRoom", "name": "Bench"})
    owner.end()
    return str(made["group"]["group_id"])


def _begin(side: Side, seconds: float) -> None:
    """Send for so long; all count from 0."""
    side.swarm.settle(0.1)
    side.swarm.forget_events()
    assert side.event is not None
    side.swarm.teach(0, side.event)
    side.swarm.begin_pace(0, 1 / _PER_S, max(1, int(seconds * _PER_S)))


def _one(side: Side, sizes: Sizes, runs: Runs) -> float:
    """A run of one side; returns what others used."""
    meter = Meter(side.server, side.swarm.pid)
    _begin(side, sizes.steady)
    paced = side.swarm.end_pace()
    deliveries = int(sizes.steady * _PER_S) * sizes.members
    is_ours = side.name.startswith(OURS)
    share = meter.server_s() / sizes.steady * 100
    name, goal = side.name, _GOAL_SHARE if is_ours else None
    runs.add("server CPU", share, "% of a core", "lower", side=name, goal=goal)
    p99_goal = _GOAL_P99_MS if is_ours else None
    runs.add("a member has it, median", paced.p50_ms, "ms", "lower", side=name)
    runs.add("a member has it, 99 %", paced.p99_ms, "ms", "lower", side=name, goal=p99_goal)
    runs.add("a member has it, longest", paced.most_ms, "ms", "lower", side=name)
    runs.add("deliveries", deliveries / paced.seconds, "per second", "higher", side=name)
    runs.add("load side CPU", meter.load_s() / sizes.steady * 100, "% of a core", side=name)
    runs.add("sent too late by, longest", paced.late_ms, "ms", side=name)
    return meter.others()


def _lone(room: Side, sizes: Sizes, runs: Runs) -> None:
    """Events apart in time, until the first member has each."""
    room.swarm.settle(0.1)
    room.swarm.forget_events()
    assert room.event is not None
    waits_ms = []
    for number in range(1, sizes.rounds + 1):
        frame = many(room.event, [next(_lone_numbers)])
        sent_s, heard = room.swarm.play(0, frame, number)
        waits_ms.append((heard.first_s - sent_s) * 1000)
    name = "a lone event, first member"
    half, most = percentile(waits_ms, 0.5), percentile(waits_ms, 0.99)
    runs.add(f"{name}, median", half, "ms", "lower", side=_ROOM, goal=_GOAL_DELAY_MS)
    runs.add(f"{name}, 99 %", most, "ms", "lower", side=_ROOM)


WORK: Final = Work(
    question=f"Can one core carry {_PER_S:,} events per second to a thousand members?",
    measure=_measure,
)
