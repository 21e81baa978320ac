"""Percentiles of buckets are those of the values, up to the width of a bucket."""

from hypothesis import given
from hypothesis import strategies as st

from scripts.common.percentiles import Histogram, percentile

TIMES = st.lists(st.floats(0, 1000, allow_nan=False), min_size=1, max_size=60)
SHARES = st.floats(0.001, 1)


def filled(times: list[float]) -> Histogram:
    histogram = Histogram()
    for time_s in times:
        histogram.add(time_s)
    return histogram


@given(TIMES, SHARES)
def test_a_percentile_is_never_too_low_and_at_most_a_bucket_too_high(
    times: list[float], share: float
) -> None:
    found = filled(times).percentile_s(share)
    ascending = sorted(times)
    below = sum(time_s <= found for time_s in ascending)

    assert below >= share * len(times) - 1e-9
    # The smallest value of which that is true.
    exact = next(t for n, t in enumerate(ascending, 1) if n >= share * len(times) - 1e-9)
    assert exact <= found <= exact * 33 / 32 + 2e-6


@given(TIMES, TIMES, SHARES)
def test_merged_histograms_are_the_histogram_of_all(
    some: list[float], others: list[float], share: float
) -> None:
    merged = filled(some)
    merged.merge(filled(others))
    together = filled(some + others)

    assert (merged.count, merged.most_s) == (together.count, together.most_s)
    assert merged.counts == together.counts
    assert merged.percentile_s(share) == together.percentile_s(share)


def test_the_whole_is_the_largest_value_and_nothing_is_0() -> None:
    assert filled([0.25, 0.001, 7.125]).percentile_s(1.0) == 7.125
    assert Histogram().percentile_s(0.5) == 0.0
    assert percentile([], 0.5) == 0.0
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
    assert percentile([1.0, 2.0], 1.0) == 2.0
