"""For the log: what happens often is said now and then, with how often it did."""

from typing import Final

from server.service.ports import Clock

_EVERY_S: Final = 60.0


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
