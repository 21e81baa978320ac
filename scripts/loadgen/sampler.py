"""Looks each second at what the load side and a server of ours cost."""

import asyncio
import itertools
import os
import time
from typing import Final

from scripts.common.process import resident_bytes
from scripts.common.target import OwnServer
from scripts.loadgen.timeline import Timeline

_MOST_CPU: Final = float(os.cpu_count() or 1) + 0.5


async def sample(timeline: Timeline, began_s: float, server: OwnServer | None) -> None:
    """Write shares of CPU and the server's memory into ``timeline`` until cancelled."""
    load_s, server_s, then_s = time.process_time(), _cpu_s(server), time.monotonic()
    for number in itertools.count(1):
        await asyncio.sleep(max(0.0, began_s + number - time.monotonic()))
        now_s = time.monotonic()
        load_now_s, server_now_s = time.process_time(), _cpu_s(server)
        second = timeline.at(began_s + number - 0.5)
        second.load_cpu = (load_now_s - load_s) / (now_s - then_s)
        if server_now_s is not None and server_s is not None:
            share = (server_now_s - server_s) / (now_s - then_s)
            # Out of this range where the process was exchanged for another one meanwhile.
            second.server_cpu = share if 0 <= share <= _MOST_CPU else None
        second.server_bytes = _bytes(server)
        load_s, server_s, then_s = load_now_s, server_now_s, now_s


def _cpu_s(server: OwnServer | None) -> float | None:
    """What the server has used; None where there is none at this moment."""
    try:
        return None if server is None else server.cpu_s
    except OSError:
        return None


def _bytes(server: OwnServer | None) -> int | None:
    try:
        return None if server is None else resident_bytes(server.pid)
    except (OSError, LookupError):
        return None
