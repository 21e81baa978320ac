"""What the operating system knows about a process: CPU, memory, open files."""

import os
import resource
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_UTIME, _STIME = 11, 12  # after the name in /proc/PID/stat, see proc(5)


def cpu_s(pid: int) -> float:
    """User and system CPU time of all its threads, in seconds (steps of 1/100 s)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS_PER_S


def resident_bytes(pid: int) -> int:
    """What of its memory is resident."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"process {pid} has no VmRSS")


def raise_open_files() -> int:
    """Allow this process and its children as many open files as may be; returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def open_files(pid: int) -> int:
    """How many descriptors it has open, sockets included."""
    return len(os.listdir(f"/proc/{pid}/fd"))
