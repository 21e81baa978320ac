import hypothesis.strategies as st
from hypothesis import given

from server.domain.model import GroupKey
from server.service.ports import Version
from server.service.row_cache import RowCache

KEYS = st.integers(0, 12).map(lambda number: GroupKey(str(number)))
STEPS = st.lists(st.tuples(st.sampled_from(["put", "get", "forget"]), KEYS), max_size=200)


@given(steps=STEPS, rows=st.integers(2, 20))
def test_what_is_here_is_the_newest_and_there_are_not_too_many(
    steps: list[tuple[str, GroupKey]], rows: int
) -> None:
    cache = RowCache(rows)
    newest: dict[GroupKey, Version] = {}
    for number, (what, key) in enumerate(steps):
        if what == "put":
            newest[key] = Version(number, None)
            cache.put(key, newest[key])
        elif what == "forget":
            newest.pop(key, None)
            cache.forget(key)
        else:
            assert cache.get(key) in (None, newest.get(key))
        kept = [key for key in newest if key in cache._young or key in cache._old]
        assert len({*cache._young, *cache._old}) <= rows
        assert {*cache._young, *cache._old} <= set(kept)


@given(rows=st.integers(2, 50))
def test_the_newest_half_is_always_here(rows: int) -> None:
    cache = RowCache(rows)
    for number in range(3 * rows):
        cache.put(GroupKey(str(number)), Version(number, None))
        for back in range(min(number + 1, rows // 2)):
            assert cache.get(GroupKey(str(number - back))) == Version(number - back, None)


def test_what_is_used_survives_what_is_not() -> None:
    cache = RowCache(10)
    used = GroupKey("used")
    cache.put(used, Version(1, None))
    for number in range(1000):
        cache.put(GroupKey(str(number)), Version(2, None))
        assert cache.get(used) == Version(1, None)
    assert cache.get(GroupKey("0")) is None


def test_that_there_is_no_row_is_remembered_too() -> None:
    cache = RowCache()
    assert cache.get(GroupKey("g")) is None
    cache.put(GroupKey("g"), Version(0, None))
    assert cache.get(GroupKey("g")) == Version(0, None)
