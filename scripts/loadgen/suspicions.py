"""What looks wrong while the run goes on, for the eye of who watches. The oracle judges later."""

from collections.abc import Mapping

import msgspec

from scripts.loadgen.membership import NOTICES_OF_COMING
from scripts.loadgen.record import DeviceRecord, Entry


class Suspicions(msgspec.Struct):
    """Counts over all devices."""

    lost: int = 0
    doubled: int = 0
    reordered: int = 0


class Watcher:
    """Looks at the numbers of the entries that one device is given, in order.

    A log's numbers rise by one. Only a group's log may jump, right after a notice that the
    device's user came in.

    Args:
        record: what the device was given, with the entry that is looked at not yet in it.
        tails: the last number of each log, likewise.
    """

    __slots__ = ("_may_jump", "_record", "_suspicions", "_tails")

    def __init__(
        self,
        record: DeviceRecord,
        tails: Mapping[tuple[bool, str], int],
        suspicions: Suspicions,
    ) -> None:
        self._record = record
        self._tails = tails
        self._suspicions = suspicions
        self._may_jump: set[str] = set()

    def look(self, entry: Entry) -> None:
        """Count what is wrong with a stored entry, if anything is."""
        last = self._tails.get((entry.is_inbox, entry.log), 0)
        if entry.number != last + 1:
            self._look_closer(entry, last)
        if entry.is_inbox:
            if entry.event in NOTICES_OF_COMING:
                self._may_jump.add(entry.group_id)
        elif self._may_jump:
            self._may_jump.discard(entry.log)

    def _look_closer(self, entry: Entry, last: int) -> None:
        if entry.number <= last:
            if entry.index in self._record.stream:
                self._suspicions.doubled += 1
            else:
                self._suspicions.reordered += 1
        elif entry.is_inbox or (last and entry.log not in self._may_jump):
            self._suspicions.lost += entry.number - last - 1
