"""What an idle, authenticated connection costs in resident memory of the server."""

import time
from collections.abc import Callable
from typing import Final

from scripts.benchmarks.bench import Meter, Sizes, Work, fresh_server, others_note
from scripts.benchmarks.figures import Result, Runs
from scripts.benchmarks.swarm import swarm_of
from scripts.common.process import resident_bytes

_WARM_UP: Final = 100
_STEADY_S: Final = 0.5
_MOST_S: Final = 10.0


def _measure(sizes: Sizes, tell: Callable[[str], None]) -> Result:
    runs = Runs()
    others: list[float] = []
    users = [f"idle-{number}" for number in range(_WARM_UP + max(sizes.connections))]
    for run in range(sizes.runs):
        with (
            fresh_server() as server,
            swarm_of(server.target(), users, wants_c=sizes.wants_c) as swarm,
        ):
            # What the first connections bring to life stays: it belongs to the server.
            swarm.open(_WARM_UP)
            meter = Meter(server, swarm.pid)
            base = _steady_bytes(server.pid)
            runs.add("server without them", base / 2**20, "MiB", "lower")
            for count in sorted(sizes.connections):
                tell(f"memory, run {run + 1} of {sizes.runs}, {count} connections")
                swarm.open(_WARM_UP + count)
                each = (_steady_bytes(server.pid) - base) / count
                runs.add(f"{count:,} connections", each, "bytes each", "lower")
            others.append(meter.others())
    return Result(
        figures=runs.figures(),
        notes=[
            "resident memory of the server process only, the kernel's socket buffers not counted; "
            f"each connection is another user's; {_WARM_UP} connections before the first figure",
            others_note(others),
        ],
    )


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
