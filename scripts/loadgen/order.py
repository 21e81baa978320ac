"""All logs share one commit order: there must be one order that every device's stream fits into."""

import itertools
from collections import deque
from collections.abc import Iterator, Sequence

from scripts.loadgen.record import Fault, Finding, Record

_SHOWN = 5


def check_one_order(record: Record) -> Iterator[Finding]:
    """Find the entries for which there is none.

    Each stream says what comes directly before what, and so does each log by its numbers. These
    statements have a common order exactly if there is no circle in them.
    """
    after: list[set[int]] = [set() for _ in record.entries]
    for device in record.devices:
        for earlier, later in itertools.pairwise(device.stream):
            if earlier != later:
                after[earlier].add(later)
    _add_logs(record, after)
    stuck = _in_circles(after)
    if stuck:
        shown = ", ".join(
            f"{record.entries[index].log} {record.entries[index].number}"
            for index in stuck[:_SHOWN]
        )
        yield Finding(
            Fault.REORDERED,
            "all logs",
            f"devices disagree on the order of {len(stuck)} entries, such as {shown}",
        )


def _add_logs(record: Record, after: list[set[int]]) -> None:
    stored = sorted(
        (entry.is_inbox, entry.log, entry.number, entry.index)
        for entry in record.entries
        if entry.number
    )
    for earlier, later in itertools.pairwise(stored):
        if earlier[:2] == later[:2]:
            after[earlier[3]].add(later[3])


def _in_circles(after: Sequence[set[int]]) -> list[int]:
    """The nodes that have no place in an order: those in circles and after them (Kahn, 1962)."""
    waits_for = [0] * len(after)
    for successors in after:
        for later in successors:
            waits_for[later] += 1
    ready = deque(node for node, count in enumerate(waits_for) if not count)
    while ready:
        for later in after[ready.popleft()]:
            waits_for[later] -= 1
            if not waits_for[later]:
                ready.append(later)
    return [node for node, count in enumerate(waits_for) if count]
