"""Counts that are kept as plain integers where things happen, and read when somebody asks."""

from bisect import bisect_left
from collections.abc import Sequence


class Tally:
    """How many of which size, in steps.

    Attributes:
        bounds: the largest size of each step, rising; what is above the last is counted beside.
        counts: how many there were in each step, and last those above; one more than bounds.
        total: the sum of the sizes.
    """

    def __init__(self, bounds: Sequence[int]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0

    def add(self, size: int) -> None:
        """Count one of this size."""
        self.counts[bisect_left(self.bounds, size)] += 1
        self.total += size
