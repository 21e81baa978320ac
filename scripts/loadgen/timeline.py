"""What happened in each second of a run: how much was offered, answered and delivered, how fast."""

import time
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from scripts.common.percentiles import Histogram

_SOON_S: Final = 5.0
_LEAST_S: Final = 0.5


class Second(msgspec.Struct, eq=False):
    """One second, or several that were merged.

    Attributes:
        offered: requests that were due; ``answered`` those whose answer came.
        replies: from the moment a request was due to its answer.
        news: from the moment a message was due to each device that was listening.
        deliveries: events that devices were given, of any kind and to any device.
        server_cpu: share of one core, as ``load_cpu``; None where the server is not ours.
        server_bytes: its resident memory at the end of the second.
    """

    offered: int = 0
    answered: int = 0
    deliveries: int = 0
    replies: Histogram = msgspec.field(default_factory=Histogram)
    news: Histogram = msgspec.field(default_factory=Histogram)
    load_cpu: float | None = None
    server_cpu: float | None = None
    server_bytes: int | None = None

    def merge(self, other: "Second") -> None:
        """Count what happened in ``other``, a later second; shares are averaged by the caller."""
        self.offered += other.offered
        self.answered += other.answered
        self.deliveries += other.deliveries
        self.replies.merge(other.replies)
        self.news.merge(other.news)


class Mark(msgspec.Struct, frozen=True):
    """Something that one should know when one looks at the figures around it."""

    at_s: float
    what: str


class Span(msgspec.Struct, frozen=True):
    """Seconds taken together: from ``from_s`` on, ``length_s`` of them."""

    from_s: float
    length_s: float
    seconds: Second


class Timeline:
    """The seconds of a run from its beginning to its end.

    What happens before ``begin`` goes to a second that is not shown. After ``end``, when all is
    answered, only what listeners have still to be told belongs to it. Times are those of
    ``time.monotonic``.

    Attributes:
        is_outage: set it while the server is ended and started again.
        seconds: each one, the last perhaps not whole.
        marks: in the order of time.
    """

    def __init__(self) -> None:
        self._outside = Second()
        self._began_s = float("inf")
        self._ended_s = float("inf")
        self.is_outage = False
        self.seconds: list[Second] = []
        self.marks: list[Mark] = []

    def begin(self, now_s: float) -> None:
        """The run begins."""
        self._began_s = now_s

    def end(self, now_s: float) -> None:
        """Everything is answered."""
        self._ended_s = now_s

    def close(self) -> None:
        """Everything is delivered: let go of seconds in which no listener was told anything.

        A last one that is less than half a second is merged into the one before.
        """
        whole = int(self.length_s) + 1
        while len(self.seconds) > whole and not self.seconds[-1].news.count:
            self.seconds.pop()
        if len(self.seconds) > whole:
            self._ended_s = self._began_s + len(self.seconds)
        # Rates of a moment would mislead.
        if len(self.seconds) > 1 and self.length_s - len(self.seconds) + 1 < _LEAST_S:
            last = self.seconds.pop()
            self.seconds[-1].merge(last)

    @property
    def length_s(self) -> float:
        """How long the run is or was; 0 before it."""
        return max(0.0, min(time.monotonic(), self._ended_s) - self._began_s)

    def at(self, now_s: float) -> Second:
        """The second that holds ``now_s``."""
        if now_s < self._began_s:
            return self._outside
        number = int(now_s - self._began_s)
        while len(self.seconds) <= number:
            self.seconds.append(Second())
        return self.seconds[number]

    def mark(self, now_s: float, what: str, *, is_minor: bool = False) -> None:
        """Note that ``what`` happened; if it ``is_minor``, not soon after anything else.

        Nor during an outage, which has marks of its own.
        """
        at_s = now_s - self._began_s
        is_soon = bool(self.marks) and at_s - self.marks[-1].at_s < _SOON_S
        is_known = is_minor and (is_soon or self.is_outage)
        if self._began_s <= now_s <= self._ended_s and not is_known:
            self.marks.append(Mark(at_s, what))

    def last_whole(self, now_s: float) -> Second:
        """The latest second that is over, or an empty one."""
        number = int(now_s - self._began_s) - 1 if now_s >= self._began_s else -1
        return self.seconds[number] if 0 <= number < len(self.seconds) else Second()

    def spans(self, most: int) -> Iterator[Span]:
        """All of it in at most ``most`` spans of equal length; only the last may be shorter."""
        size = max(1, -(-len(self.seconds) // most))
        for start in range(0, len(self.seconds), size):
            part = self.seconds[start : start + size]
            is_last = start + len(part) >= len(self.seconds)
            length_s = max(_LEAST_S, self.length_s - start) if is_last else float(len(part))
            yield Span(float(start), length_s, _merged(part))

    def total(self) -> Second:
        """All of it in one."""
        return _merged(self.seconds)


def _merged(seconds: Sequence[Second]) -> Second:
    merged = Second()
    for second in seconds:
        merged.merge(second)
    merged.load_cpu = _mean([second.load_cpu for second in seconds])
    merged.server_cpu = _mean([second.server_cpu for second in seconds])
    sizes = [second.server_bytes for second in seconds if second.server_bytes is not None]
    merged.server_bytes = sizes[-1] if sizes else None
    return merged


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
