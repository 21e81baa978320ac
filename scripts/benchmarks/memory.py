"""What an idle, authenticated connection costs in resident memory of the server."""

import contextlib
import time
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
)
from scripts.common.process import resident_bytes

_SIDES: Final = (CORE, BROADCAST, NODE_WS, NODE_SOCKETIO, PYTHON_SOCKETIO)
_WARM_UP: Final = 100
_STEADY_S: Final = 0.25
_MOST_S: Final = 10.0
_KIB: Final = 1024
_GOAL_KIB: Final = 8.0
_GOAL_AT: Final = 5_000
_FRAME_BYTES: Final = 200


def _measure(sizes: Sizes, tell: Callable[[str], None]) -> Result:
    runs = Runs()
    others: list[float] = []
    notes: list[str] = []
    users = [f"idle-{number}" for number in range(_WARM_UP + max(sizes.connections))]
    for run in range(sizes.runs):
        for name in (OURS, *(_SIDES if sizes.wants_sides else ())):
            tell(f"memory, run {run + 1} of {sizes.runs}, {name}")
            with contextlib.ExitStack() as stack:
                company = Company(stack, wants_c=sizes.wants_c, wants_sides=sizes.wants_sides)
                if name == OURS:
                    company.ours(stack.enter_context(fresh_server()), users)
                else:
                    company.invite([name], len(users), _FRAME_BYTES)
                others += _one(company, sizes, runs)
                notes += [note for note in company.notes if note not in notes]
    return Result(
        figures=runs.figures(),
        notes=[
            "resident memory of the server process only, the kernel's socket buffers not counted; "
            f"each connection is another user's; {_WARM_UP} connections before the first figure",
            *notes,
            others_note(others),
        ],
    )


def _one(company: Company, sizes: Sizes, runs: Runs) -> list[float]:
    """One side's figures, if it is there; returns what others used."""
    for side in company.sides:
        # What the first connections bring to life stays: it belongs to the server.
        side.swarm.open(_WARM_UP)
        meter = Meter(side.server, side.swarm.pid)
        base = _steady_bytes(side.server.pid)
        runs.add("server without them", base / 2**20, "MiB", "lower", side=side.name)
        for count in sorted(sizes.connections):
            side.swarm.open(_WARM_UP + count)
            each = (_steady_bytes(side.server.pid) - base) / count / _KIB
            goal = _GOAL_KIB if side.name == OURS and count == _GOAL_AT else None
            name = f"{count:,} connections"
            runs.add(name, each, "KiB each", "lower", side=side.name, goal=goal)
        return [meter.others()]
    return []


def _steady_bytes(pid: int) -> int:
    """Resident memory once it has not changed for a moment."""
    give_up_s = time.monotonic() + _MOST_S
    found = resident_bytes(pid)
    while time.monotonic() < give_up_s:
        time.sleep(_STEADY_S)
        now = resident_bytes(pid)
        if now == found:
            break
        found = now
    return found


WORK: Final = Work(question="What does an idle connection cost in memory?", measure=_measure)
