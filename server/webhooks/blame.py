"""Tells what is never taken from a receiver that takes nothing: the one is given up, the other not."""

from typing import Final

from server.service.ports import Clock
from server.webhooks.backlog import Stream
from server.webhooks.breaker import Breaker

_ALONE_S: Final = 86_400.0
"""For how long one is tried that fails while there is nothing else to be told or asked: whether it
is this one or the receiver cannot be known then."""


class Blame:
    """Keeps count of what the receiver takes while others fail.

    Attributes:
        taken: how much it has taken by now.
        breaker: open while many groups fail and none is taken.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._taken_when_opened = 0
        self.taken = 0
        self.breaker = Breaker(clock, "telling the webhook")

    def was_taken(self) -> None:
        """Something was told, and taken."""
        self.taken += 1
        self.breaker.succeeded()

    def was_asked(self) -> None:
        """A question was answered as it should be: the receiver works."""
        self.taken += 1

    def failed(self, stream: Stream, taken: int, failure: str) -> None:
        """The first of a stream was not taken.

        Args:
            stream: of whose first one it is noted since when it fails.
            taken: how much was when the attempt began. What is taken while it lasts says nothing:
                the attempt may have begun when nothing was.
            failure: for the log.
        """
        was_open = self.breaker.is_open
        self.breaker.failed(failure, stream.name)
        if self.breaker.is_open and not was_open:
            self._taken_when_opened = self.taken
        if stream.failing_s is None:
            stream.failing_s, stream.taken = self._clock.monotonic_s(), taken

    def is_its_own(self, stream: Stream, taken: int) -> bool:
        """Whether it is the first of the stream that is not taken, rather than nothing at all.

        What was taken before it failed the last time, or before many began to fail, may have been
        taken by a receiver that is down by now.

        Args:
            stream: whose first one has failed.
            taken: as for ``failed``, which was called.
        """
        then = max(stream.taken, self._taken_when_opened if self.breaker.is_open else 0)
        if taken > then:
            return True
        since_s = self._clock.monotonic_s() if stream.failing_s is None else stream.failing_s
        return self.breaker.failing <= 1 and self._clock.monotonic_s() - since_s >= _ALONE_S
