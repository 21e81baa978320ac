"""Where the numbers come from: the machine, its disk, and who else used it meanwhile."""

import os
import platform
import statistics
import time
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_SYNCS: Final = 100
_BLOCK: Final = b"x" * 4096
_IDLE = slice(3, 5)  # idle and waiting for disks, among the columns of /proc/stat
_GUESTS: Final = 8  # the columns from here on are counted in others already


def machine_line() -> str:
    """Processor, cores, Python, kernel."""
    cores = len(os.sched_getaffinity(0))
    return (
        f"{_processor()}, {cores} cores, Python {platform.python_version()}, "
        f"{platform.system()} {platform.release()}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def sync_ms(directory: Path) -> float:
    """How long the disk under ``directory`` takes to write 4 KiB and sync it, the median in ms."""
    path = directory / "sync-probe"
    times: list[float] = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        for _ in range(_SYNCS):
            begin_s = time.monotonic()
            os.write(descriptor, _BLOCK)
            os.fdatasync(descriptor)
            times.append(time.monotonic() - begin_s)
    finally:
        os.close(descriptor)
        path.unlink()
    return statistics.median(times) * 1000


def busy_s() -> float:
    """CPU seconds that this machine has spent on anything, all cores together."""
    line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    ticks = [int(word) for word in line.split()[1:]][:_GUESTS]
    return (sum(ticks) - sum(ticks[_IDLE])) / _TICKS_PER_S
