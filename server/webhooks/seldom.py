"""For the log: what happens often is said now and then, with how often it did."""

from collections import Counter
from typing import Final

from server.service.ports import Clock

_EVERY_S: Final = 60.0
_REASONS: Final = 5


class Seldom:
    """Counts until it is time to say it; the first time is said at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said_s: float | None = None
        self._count = 0

    def add(self, count: int = 1) -> int:
        """So many more; how many are to be said now, 0 for none."""
        self._count += count
        now_s = self._clock.monotonic_s()
        if self._said_s is not None and now_s - self._said_s < _EVERY_S:
            return 0
        said, self._count, self._said_s = self._count, 0, now_s
        return said


class SeldomFor:
    """As ``Seldom``, with how often it was for which reason."""

    def __init__(self, clock: Clock) -> None:
        self._seldom = Seldom(clock)
        self._counts: Counter[str] = Counter()

    def add(self, reason: str) -> str:
        """Once more; what is to be said now, "" for nothing.

        Of many reasons the first ones are named, and the rest are "others".
        """
        is_named = reason in self._counts or len(self._counts) < _REASONS
        self._counts[reason if is_named else "others"] += 1
        count = self._seldom.add()
        if not count:
            return ""
        counts, self._counts = self._counts, Counter()
        named = "; ".join(f"{times} {name}" for name, times in counts.most_common())
        return f"{count} ({named})"
