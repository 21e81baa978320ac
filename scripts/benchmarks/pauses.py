"""For how long the server's loop does nothing else, with many idle connections and traffic."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from scripts.benchmarks.bench import Meter, Sizes, Work, fresh_server, others_note
from scripts.benchmarks.fanout import TEXT, found
from scripts.benchmarks.figures import OURS, Result, Runs
from scripts.benchmarks.frames import Muster, Plain
from scripts.benchmarks.sides import C_LOOP, Company, Side
from scripts.benchmarks.swarm import Swarm
from scripts.common.target import OwnServer

_MEMBERS: Final = 50
_EVENTS_PER_S: Final = 200
_PROBES_PER_S: Final = 1_000
_GOAL_MS: Final = 20.0
_CONNECTING_S: Final = 4.0
_FRAME_BYTES: Final = 200


def _measure(sizes: Sizes, tell: Callable[[str], None]) -> Result:
    runs = Runs()
    others: list[float] = []
    notes: list[str] = []
    for run in range(sizes.runs):
        with fresh_server() as server, contextlib.ExitStack() as stack:
            tell(f"pauses, run {run + 1} of {sizes.runs}: connecting")
            company = Company(stack, wants_c=sizes.wants_c, wants_sides=sizes.wants_sides)
            idle, traffic = _open_ours(company, server, sizes)
            if not idle.is_c:
                return Result(figures=[], notes=["left out: it takes receivers in C"])
            probes = company.sides[2:]
            meter = Meter(server, *(side.swarm.pid for side in company.sides))
            _while_connecting(idle, probes, sizes, runs)
            tell(f"pauses, run {run + 1} of {sizes.runs}: probing")
            _steadily(traffic, probes, sizes, runs)
            others.append(meter.others())
            notes = company.notes
    return Result(
        figures=runs.figures(),
        notes=[
            f"{sizes.idle:,} idle connections, {_EVENTS_PER_S} messages per second to a group of "
            f"{_MEMBERS} members, {sizes.steady:g} s; one more connection sends a ping every ms, "
            "and the longest wait for a pong is what the loop paused, and what it waited for a core",
            "the C program does nothing but answer, at the same time: what the machine itself adds",
            *notes,
            others_note(others),
        ],
    )


def _open_ours(company: Company, server: OwnServer, sizes: Sizes) -> tuple[Swarm, Swarm]:
    """The idle ones, not yet open, and those with traffic; then one prober for each side."""
    target = server.target()
    talk = Muster(target)
    members = [f"member-{number}" for number in range(_MEMBERS)]
    group_id = asyncio.run(found(target, members))
    idle = company.ours(server, [f"idle-{number}" for number in range(sizes.idle)]).swarm
    traffic = company.ours(server, members).swarm
    traffic.open(_MEMBERS)
    prober = company.ours(server, ["prober"])
    company.invite([C_LOOP], 1, _FRAME_BYTES)
    if idle.is_c:
        traffic.teach(0, talk.message(group_id, TEXT))
        for side in company.sides[2:]:
            side.swarm.open(1)
            side.swarm.teach(0, talk.ping() if side is prober else Plain().echo(40))
    return idle, traffic


def _while_connecting(idle: Swarm, probes: list[Side], sizes: Sizes, runs: Runs) -> None:
    seconds = min(_CONNECTING_S, sizes.steady)
    _begin(probes, seconds)
    idle.begin_opening(sizes.idle)
    _end(probes, "while they connect", runs, goal=None)
    idle.end_opening(sizes.idle)


def _steadily(traffic: Swarm, probes: list[Side], sizes: Sizes, runs: Runs) -> None:
    traffic.settle(0.1)
    traffic.forget_events()
    traffic.begin_pace(0, 1 / _EVENTS_PER_S, max(1, int(sizes.steady * _EVENTS_PER_S)))
    _begin(probes, sizes.steady)
    _end(probes, "with all of them idle", runs, goal=_GOAL_MS)
    traffic.end_pace()


def _begin(probes: list[Side], seconds: float) -> None:
    for side in probes:
        side.swarm.begin_probe(0, 1 / _PROBES_PER_S, max(1, int(seconds * _PROBES_PER_S)))


def _end(probes: list[Side], when: str, runs: Runs, goal: float | None) -> None:
    for side in probes:
        probed = side.swarm.end_probe()
        judged = goal if side.name == OURS else None
        runs.add(f"{when}: longest", probed.most_ms, "ms", "lower", side=side.name, goal=judged)
        runs.add(f"{when}: 99 %", probed.p99_ms, "ms", "lower", side=side.name)
        runs.add(f"{when}: median", probed.p50_ms, "ms", "lower", side=side.name)
        runs.add(f"{when}: sent too late by, longest", probed.late_ms, "ms", side=side.name)


WORK: Final = Work(
    question="For how long does the server pause, with many idle connections?", measure=_measure
)
