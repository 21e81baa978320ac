"""Connections per second, from the TCP handshake to the welcome."""

import contextlib
from collections.abc import Callable
from typing import Final

from scripts.benchmarks.bench import Meter, Sizes, Work, fresh_server, others_note
from scripts.benchmarks.figures import OURS, Result, Runs
from scripts.benchmarks.sides import (
    BROADCAST,
    CORE,
    NODE_SOCKETIO,
    NODE_WS,
    PYTHON_SOCKETIO,
    Company,
    Side,
)

_SIDES: Final = (CORE, BROADCAST, NODE_WS, NODE_SOCKETIO, PYTHON_SOCKETIO)
_AT_A_TIME: Final = 64
_GOAL_PER_S: Final = 3_000
_FRAME_BYTES: Final = 200


def _measure(sizes: Sizes, tell: Callable[[str], None]) -> Result:
    runs = Runs()
    others: list[float] = []
    users = [f"guest-{number}" for number in range(sizes.connects)]
    with fresh_server() as server, contextlib.ExitStack() as stack:
        company = Company(stack, wants_c=sizes.wants_c, wants_sides=sizes.wants_sides)
        company.ours(server, users)
        company.invite(_SIDES, sizes.connects, _FRAME_BYTES)
        for run in range(sizes.runs + 1):
            for side in company.sides:
                tell(f"connects, run {run} of {sizes.runs}, {side.name}")
                # The first one warms up.
                others += [_one(side, sizes.connects, runs if run else Runs())]
    return Result(
        figures=runs.figures(),
        notes=[
            f"{sizes.connects:,} users, {_AT_A_TIME} on the way at a time: TCP, HTTP upgrade, "
            "hello with a signature to check, welcome; elsewhere a message and its answer instead",
            *company.notes,
            others_note(others),
        ],
    )


def _one(side: Side, count: int, runs: Runs) -> float:
    """All connect and are gone again; returns what others used."""
    meter = Meter(side.server, side.swarm.pid)
    opened = side.swarm.open(count, _AT_A_TIME)
    server_us, load_us = meter.server_s() * 1e6 / count, opened.cpu_s * 1e6 / count
    goal = _GOAL_PER_S if side.name == OURS else None
    runs.add(
        "connections of one core",
        1e6 / server_us,
        "per second",
        "higher",
        side=side.name,
        goal=goal,
    )
    runs.add("server CPU", server_us, "us each", "lower", side=side.name)
    runs.add("connections", count / opened.seconds, "per second", "higher", side=side.name)
    runs.add("load side CPU", load_us, "us each", side=side.name)
    others = meter.others()
    side.swarm.close()
    return others


WORK: Final = Work(question="How many connections per second?", measure=_measure)
