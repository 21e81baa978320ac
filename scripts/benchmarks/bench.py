"""What every work of scripts/bench has at hand."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from scripts.benchmarks import profiling
from scripts.benchmarks.figures import Result
from scripts.benchmarks.machine import busy_s
from scripts.benchmarks.sides import Server
from scripts.common.process import cpu_s
from scripts.common.target import OwnServer, own_server

SETTINGS: Final = {
    "MUSTER_LIMIT_REQUESTS_PER_S": "0",
    "MUSTER_LIMIT_REQUESTS_IN_FLIGHT": "1000",
    "MUSTER_LIMIT_USER_REQUESTS_PER_S": "0",
    "MUSTER_LIMIT_UNAUTHENTICATED_PER_ADDRESS": "0",
}
"""What one connection, user and address may ask for is not what is measured."""


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything; the defaults are what the figures are stated for."""

    seed: int = 1
    runs: int = 5
    seconds: float = 3.0
    members: int = 1_000
    rounds: int = 100
    connections: tuple[int, ...] = (1_000, 5_000)
    connects: int = 2_000
    large: int = 100_000
    steady: float = 10.0
    idle: int = 15_000
    devices: int = 5_000
    groups: int = 5_000
    wants_c: bool = True
    wants_sides: bool = True


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Something that can be measured: add one to ``WORKS`` of the program and it is complete."""

    question: str
    measure: Callable[[Sizes, Callable[[str], None]], Result]
    """Takes the sizes and a function that is told how far it is."""


class Meter:
    """CPU of the server and of the others between two moments.

    Args:
        pids: the load side's processes, beside this one.
    """

    def __init__(self, server: Server, *pids: int) -> None:
        if isinstance(server, OwnServer):
            profiling.measuring(server.pid)
        self._server = server
        self._pids = pids
        self._begin_s = time.monotonic()
        self._begin_server_s, self._begin_load_s, self._begin_busy_s = self._now()

    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._begin_s

    def server_s(self) -> float:
        """CPU seconds of the server."""
        return self._now()[0] - self._begin_server_s

    def load_s(self) -> float:
        """CPU seconds of the load side."""
        return self._now()[1] - self._begin_load_s

    def others(self) -> float:
        """How many cores were busy with something else, on average."""
        server_s, load_s, busy = self._now()
        mine_s = server_s - self._begin_server_s + load_s - self._begin_load_s
        return max(0.0, (busy - self._begin_busy_s - mine_s) / self.seconds())

    def _now(self) -> tuple[float, float, float]:
        load_s = time.process_time() + sum(cpu_s(pid) for pid in self._pids)
        return self._server.cpu_s, load_s, busy_s()


@contextlib.contextmanager
def fresh_server() -> Iterator[OwnServer]:
    """A server without data and without limits on rates."""
    with own_server(SETTINGS) as server, profiling.profiled():
        yield server
        server.kill()  # nobody waits for its drain


def others_note(values: list[float]) -> str:
    """What to say about those who used the machine meanwhile."""
    return (
        f"others used {min(values):.1f} to {max(values):.1f} of the machine's cores meanwhile"
        if values
        else ""
    )
