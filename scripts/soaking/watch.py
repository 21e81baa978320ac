"""Looks at the server's process and at our own lag again and again, and judges how they moved."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from scripts.common.process import cpu_s, open_files, resident_bytes

RSS_GROWTH: Final = 0.10
"""How much larger the memory may be at the end than after the warm-up."""

WARM_UP_S: Final = 300.0
_LEAST_JUDGED_S: Final = 600.0
_FILES: Final = 8
"""Readers of the database that are opened when they are first needed."""

_AROUND: Final = 3
_TICK_S: Final = 0.1


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One look; ``lag_ms`` is how late a timer of ours was at worst since the look before."""

    at_s: float
    rss_bytes: int
    files: int
    server_cpu_s: float
    load_cpu_s: float
    lag_ms: float


class Watch:
    """Samples a process until cancelled.

    Attributes:
        samples: all of them, oldest first.
    """

    def __init__(self, pid: int, every_s: float) -> None:
        self._pid = pid
        self._every_s = every_s
        self._started_s = time.monotonic()
        self._lag_s = 0.0
        self.samples: list[Sample] = []

    async def run(self) -> None:
        """Work until cancelled."""
        next_s = time.monotonic()
        while True:
            if time.monotonic() >= next_s:
                self.look()
                next_s += self._every_s
            before_s = time.monotonic()
            await asyncio.sleep(_TICK_S)
            self._lag_s = max(self._lag_s, time.monotonic() - before_s - _TICK_S)

    def look(self) -> None:
        """Take a sample now."""
        self.samples.append(
            Sample(
                at_s=time.monotonic() - self._started_s,
                rss_bytes=resident_bytes(self._pid),
                files=open_files(self._pid),
                server_cpu_s=cpu_s(self._pid),
                load_cpu_s=time.process_time(),
                lag_ms=self._lag_s * 1000,
            )
        )
        self._lag_s = 0.0


def memory_verdict(samples: Sequence[Sample]) -> tuple[float | None, str]:
    """How much the memory grew after the warm-up, as a share; None and why if too short to say.

    Each end is the median of three samples, since a single one may fall on a burst.
    """
    if not samples or samples[-1].at_s < _LEAST_JUDGED_S:
        return None, f"not judged: shorter than {_LEAST_JUDGED_S / 60:.0f} minutes"
    warm = next(index for index, sample in enumerate(samples) if sample.at_s >= WARM_UP_S)
    before = statistics.median(sample.rss_bytes for sample in samples[warm : warm + _AROUND])
    after = statistics.median(sample.rss_bytes for sample in samples[-_AROUND:])
    growth = after / before - 1
    return growth, f"{before / 2**20:.1f} MiB, then {after / 2**20:.1f} MiB: {growth:+.1%}"


def files_verdict(first: int, last: int) -> tuple[bool, str]:
    """Whether all files that were opened are closed, once everybody is gone."""
    return last <= first + _FILES, f"{first} before anybody came, {last} when all were gone"
