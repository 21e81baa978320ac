"""Connections per second, from the TCP handshake to the welcome."""

from collections.abc import Callable
from typing import Final

from scripts.benchmarks.bench import Meter, Sizes, Work, fresh_server, others_note
from scripts.benchmarks.figures import Result, Runs
from scripts.benchmarks.swarm import swarm_of

_AT_A_TIME: Final = 64


def _measure(sizes: Sizes, tell: Callable[[str], None]) -> Result:
    runs = Runs()
    others: list[float] = []
    users = [f"guest-{number}" for number in range(sizes.connects)]
    with fresh_server() as server, swarm_of(server.target(), users, wants_c=sizes.wants_c) as swarm:
        for run in range(sizes.runs + 1):
            tell(f"connects, run {run} of {sizes.runs}")
            meter = Meter(server, swarm.pid)
            opened = swarm.open(sizes.connects, _AT_A_TIME)
            if run:  # the first one warms up
                each_us = 1e6 / sizes.connects
                runs.add("connections", sizes.connects / opened.seconds, "per second", "higher")
                runs.add("server CPU", meter.server_s() * each_us, "us each", "lower")
                runs.add("load side CPU", opened.cpu_s * each_us, "us each")
                others.append(meter.others())
            swarm.close()
    return Result(
        figures=runs.figures(),
        notes=[
            f"{sizes.connects:,} users, {_AT_A_TIME} on the way at a time: TCP, HTTP upgrade, "
            "hello with a signature to check, welcome",
            others_note(others),
        ],
    )


WORK: Final = Work(question="How many connections per second?", measure=_measure)
