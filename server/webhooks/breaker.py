"""Stops trying where everything fails, and looks from time to time whether it still does."""

import logging
from collections.abc import Hashable
from typing import Final

from server.service.ports import Clock

log = logging.getLogger(__name__)

_FAILURES: Final = 5
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0


class Breaker:
    """A circuit breaker: open after some failures in a row, then one try after each pause.

    The pauses double, up to half a minute. A success closes it. Of one who fails again and again
    only the first failure counts: that does not say that others would fail.

    Args:
        what: names in the log what is tried.
    """

    def __init__(self, clock: Clock, what: str) -> None:
        self._clock = clock
        self._what = what
        self._failing: set[Hashable] = set()
        self._pause_s = _FIRST_PAUSE_S
        self._opens_s: float | None = None
        self._is_tried = False

    @property
    def is_open(self) -> bool:
        """Whether nothing but a single try may go on."""
        return self._opens_s is not None

    @property
    def failing(self) -> int:
        """How many different ones have failed since the last success, up to those that open it."""
        return len(self._failing)

    def wait_s(self) -> float:
        """How long until something may be tried; 0 for now."""
        if self._opens_s is None:
            return 0.0
        if self._is_tried:
            return self._pause_s
        return max(0.0, self._opens_s - self._clock.monotonic_s())

    def take(self) -> bool:
        """Whether to try now; whoever is let through while it is open tries for all."""
        if self.wait_s() > 0:
            return False
        self._is_tried = self.is_open
        return True

    def succeeded(self) -> None:
        """A try that was let through was answered."""
        if self.is_open:
            log.warning("%s works again", self._what)
        self._failing.clear()
        self._pause_s = _FIRST_PAUSE_S
        self._opens_s = None
        self._is_tried = False

    def failed(self, reason: str, who: Hashable | None = None) -> None:
        """A try that was let through was not answered as it should.

        Args:
            reason: for the log.
            who: whose try it was; None for somebody who is like no other.
        """
        if len(self._failing) < _FAILURES:
            self._failing.add(object() if who is None else who)
        if self._opens_s is not None and self._is_tried:
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        elif len(self._failing) < _FAILURES or self._opens_s is not None:
            return
        else:
            log.warning("%s fails (%s): it is tried from time to time", self._what, reason)
        self._is_tried = False
        self._opens_s = self._clock.monotonic_s() + self._pause_s

    def gave_up(self) -> None:
        """A try that was let through was given up by whoever made it."""
        self._is_tried = False
