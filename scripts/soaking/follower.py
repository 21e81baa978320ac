"""What must hold for one device's events, checked as they come, with a counter per log and no list.

The events of one user's devices are compared as a chain: the n-th stored event of one device is
the n-th of the other. What a device may see of a group begins and ends with the tips that name
its user, so only groups that tell of comings and goings can be followed like this.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

from scripts.loadgen.membership import COMING, GOING
from scripts.loadgen.record import Entry, Fault, Finding

_KEPT: Final = 20_000
"""How far a device may be behind the user's other ones, in events."""


class Chain:
    """The order of one user's stored events, as the device that is ahead was given them."""

    def __init__(self) -> None:
        self._places: deque[tuple[bool, str, int]] = deque(maxlen=_KEPT)
        self._count = 0

    def agrees(self, index: int, entry: Entry) -> bool | None:
        """Whether ``entry`` is the event at ``index``; None if that is no longer known."""
        place = (entry.is_inbox, entry.log, entry.number)
        if index == self._count:
            self._places.append(place)
            self._count += 1
            return True
        behind = self._count - index
        return None if behind > len(self._places) else self._places[-behind] == place


class Follower:
    """One device's place in every log that its user sees.

    Attributes:
        last: group -> the last number given, of groups that the user is in by what was given.
        given: how many stored events.
    """

    def __init__(self, user_id: str, device_id: str, chain: Chain) -> None:
        self._user_id = user_id
        self._where = f"{user_id} {device_id}"
        self._chain = chain
        self._inbox = 0
        self._latest: dict[str, int] = {}
        self.last: dict[str, int] = {}
        self.given = 0

    def take(self, entry: Entry) -> Iterator[Finding]:
        """Note a stored event; yields what is wrong with it."""
        agrees = self._chain.agrees(self.given, entry)
        self.given += 1
        if not agrees:
            what = "comes elsewhere on another device" if agrees is False else "comes far too late"
            yield self._finding(Fault.REORDERED, entry, what)
        yield from self._inboxed(entry) if entry.is_inbox else self._logged(entry)

    def _inboxed(self, entry: Entry) -> Iterator[Finding]:
        if entry.number != self._inbox + 1:
            yield self._finding(_fault(entry.number, self._inbox), entry, f"after {self._inbox}")
        self._inbox = max(self._inbox, entry.number)
        if entry.event == "group_created":
            self.last[entry.group_id] = 0

    def _logged(self, entry: Entry) -> Iterator[Finding]:
        group_id, number = entry.group_id, entry.number
        names_me = self._user_id in entry.user_ids
        before = self.last.get(group_id)
        if before is not None and number != before + 1:
            yield self._finding(_fault(number, before), entry, f"after {before}")
        elif before is None and not (names_me and entry.event in COMING):
            yield self._finding(Fault.LEAKED, entry, "the user is no member")
        elif before is None and number <= self._latest.get(group_id, 0):
            yield self._finding(Fault.DOUBLE, entry, "from an earlier membership")
        self.last[group_id] = max(number, before or 0)
        self._latest[group_id] = self.last[group_id]
        if names_me and entry.event in GOING:
            del self.last[group_id]

    def _finding(self, fault: Fault, entry: Entry, what: str) -> Finding:
        return Finding(fault, self._where, f"{entry.log} {entry.number} ({entry.event}) {what}")


def _fault(number: int, before: int) -> Fault:
    return Fault.LOST if number > before + 1 else Fault.DOUBLE
