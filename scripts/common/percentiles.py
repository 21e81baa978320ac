"""Percentiles: of values that are all kept, and of so many that only buckets of them are."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

_BITS: Final = 5
_PARTS: Final = 1 << _BITS
"""Each power of two is divided into so many buckets: a value is told to 1/32, about 3 %."""


def percentile(ascending: Sequence[float], share: float) -> float:
    """The value that ``share`` of the values do not exceed; 0 for none."""
    if not ascending:
        return 0.0
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]


class Histogram:
    """Times in buckets whose width grows with the time, so that any number of them fits.

    Up to 63 us a bucket is one microsecond, above it 1/32 of the next lower power of two. The
    idea, log-linear buckets, is that of HdrHistogram (Gil Tene).

    Attributes:
        count: how many times were added.
        most_s: the largest of them, exactly; 0 for none.
    """

    __slots__ = ("_counts", "count", "most_s")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.most_s = 0.0

    def add(self, time_s: float) -> None:
        """Count one time in seconds; one below 0 is counted as 0."""
        bucket = _bucket(int(time_s * 1e6))
        counts = self._counts
        counts[bucket] = counts.get(bucket, 0) + 1
        self.count += 1
        if time_s > self.most_s:
            self.most_s = time_s

    def merge(self, other: "Histogram") -> None:
        """Count what ``other`` has counted."""
        for bucket, count in other.counts.items():
            self._counts[bucket] = self._counts.get(bucket, 0) + count
        self.count += other.count
        self.most_s = max(self.most_s, other.most_s)

    @property
    def counts(self) -> Mapping[int, int]:
        """How many times fell into each bucket."""
        return self._counts

    def percentile_s(self, share: float) -> float:
        """A time that at least ``share`` of the times do not exceed; 0 for none.

        It is the upper end of a bucket, so up to 1/32 too large and never too small.
        """
        rank = max(1, math.ceil(share * self.count))
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= rank:
                return min(_upper_us(bucket) / 1e6, self.most_s)
        return 0.0


def _bucket(time_us: int) -> int:
    if time_us < 2 * _PARTS:
        return max(0, time_us)
    shift = time_us.bit_length() - _BITS - 1
    return shift * _PARTS + (time_us >> shift)


def _upper_us(bucket: int) -> int:
    """The first time, in microseconds, that is above the bucket."""
    if bucket < 2 * _PARTS:
        return bucket + 1
    shift = bucket // _PARTS - 1
    return (bucket - shift * _PARTS + 1) << shift
