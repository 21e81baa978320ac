from hypothesis import given
from hypothesis import strategies as st

from server.service.tally import Tally

BOUNDS = (1, 2, 5, 10)


@given(st.lists(st.integers(min_value=0, max_value=20)))
def test_every_size_is_counted_in_the_first_step_that_holds_it(sizes: list[int]) -> None:
    tally = Tally(BOUNDS)
    for size in sizes:
        tally.add(size)
    assert tally.total == sum(sizes)
    assert sum(tally.counts) == len(sizes)
    for steps, bound in enumerate(BOUNDS, 1):
        assert sum(tally.counts[:steps]) == sum(size <= bound for size in sizes)
