"""What the operating system knows about a process: CPU, memory, open files."""

import os
import resource
import time
from pathlib import Path
from typing import Final

_PROCESS_CLOCK: Final = 2  # CPUCLOCK_SCHED, the exact one of a process, see clock_getcpuclockid(3)


def cpu_s(pid: int) -> float:
    """User and system CPU time of all its threads, also of those that ended, in seconds.

    The scheduler's own count in nanoseconds; /proc/PID/stat has it in steps of 1/100 s.
    """
    return time.clock_gettime(~pid << 3 | _PROCESS_CLOCK)


def waited_s() -> float:
    """For how long this process's first thread was ready to run and had no core, in seconds.

    0 where the kernel does not count it (CONFIG_SCHED_INFO).
    """
    try:
        return int(Path("/proc/self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def resident_bytes(pid: int) -> int:
    """What of its memory is resident."""
    return _status_bytes(pid, "VmRSS:")


def raise_open_files() -> int:
    """Allow this process and its children as many open files as may be; returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def open_files(pid: int) -> int:
    """How many descriptors it has open, sockets included."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def peak_bytes(pid: int) -> int:
    """The most of its memory that was resident at one time."""
    return _status_bytes(pid, "VmHWM:")


def _status_bytes(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise LookupError(f"process {pid} has no {name}")
