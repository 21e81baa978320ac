"""What is counted second by second: nothing is counted twice, and nothing is left out."""

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from scripts.loadgen.timeline import Mark, Timeline

BEGAN_S = 1000.0
EVENTS = st.lists(st.floats(0, 400, allow_nan=False), min_size=1, max_size=50)


def played(at: Sequence[float], end_s: float = 400.0) -> Timeline:
    """One delivery and one answer at each time after the beginning."""
    timeline = Timeline()
    timeline.begin(BEGAN_S)
    for after_s in at:
        second = timeline.at(BEGAN_S + after_s)
        second.deliveries += 1
        second.answered += 1
        second.news.add(after_s / 1000)
    timeline.end(BEGAN_S + end_s)
    timeline.close()
    return timeline


@given(EVENTS, st.integers(1, 30))
def test_spans_are_all_of_it_end_to_end(at: list[float], most: int) -> None:
    timeline = played(at)
    spans = list(timeline.spans(most))

    assert len(spans) <= most
    assert sum(span.seconds.deliveries for span in spans) == len(at)
    assert sum(span.seconds.news.count for span in spans) == len(at)
    assert timeline.total().deliveries == len(at)
    for earlier, later in itertools.pairwise(spans):
        assert earlier.from_s + earlier.length_s == later.from_s
    assert all(span.length_s >= 0.5 for span in spans)


def test_what_comes_before_the_beginning_is_not_shown() -> None:
    timeline = Timeline()
    timeline.at(1.0).deliveries += 1
    timeline.begin(2.0)
    timeline.at(1.5).deliveries += 1
    timeline.at(2.5).deliveries += 1

    assert [second.deliveries for second in timeline.seconds] == [1]


def test_a_listener_who_is_told_late_belongs_to_it_and_one_who_catches_up_does_not() -> None:
    timeline = Timeline()
    timeline.begin(0.0)
    timeline.at(0.5).answered += 1
    timeline.end(1.0)
    timeline.at(2.5).news.add(2.0)
    timeline.at(4.5).deliveries += 1
    timeline.close()

    assert len(timeline.seconds) == 3
    assert timeline.total().news.count == 1
    assert timeline.total().deliveries == 0


def test_the_latest_whole_second_is_shown() -> None:
    timeline = played([0.5, 1.5, 1.6])

    assert timeline.last_whole(BEGAN_S + 0.9).deliveries == 0
    assert timeline.last_whole(BEGAN_S + 2.1).deliveries == 2


def test_a_lost_connection_is_marked_once_and_not_where_the_reason_is() -> None:
    timeline = Timeline()
    timeline.mark(0.0, "too early")
    timeline.begin(0.0)
    timeline.mark(1.0, "connections lost", is_minor=True)
    timeline.mark(1.1, "connections lost", is_minor=True)
    timeline.mark(9.0, "kill -9")
    timeline.is_outage = True
    timeline.mark(29.0, "connections lost", is_minor=True)
    timeline.mark(29.1, "ready again")

    assert timeline.marks == [
        Mark(1.0, "connections lost"),
        Mark(9.0, "kill -9"),
        Mark(29.1, "ready again"),
    ]
