import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ErrorCode, Refused
from server.service import paging


@given(place=st.text(max_size=60).filter(lambda text: text.isprintable()))
def test_a_mark_gives_its_place_back(place: str) -> None:
    assert paging.place(paging.mark(place), start="x") == place


@given(position=st.integers(0, 10**15))
def test_a_mark_of_a_position_gives_it_back(position: int) -> None:
    assert paging.position(paging.mark(str(position))) == position


@given(time_ms=st.integers(0, 10**15), name=st.text("0123456789abcdef", max_size=30))
def test_a_mark_of_a_moment_gives_it_back(time_ms: int, name: str) -> None:
    assert paging.moment(paging.mark(f"{time_ms}:{name}")) == (time_ms, name)


def test_no_mark_is_the_start() -> None:
    assert paging.place(None, start="a") == "a"
    assert paging.position(None) == 0
    assert paging.moment(None) is None


@given(after=st.text(max_size=40))
def test_any_other_text_is_a_bad_request(after: str) -> None:
    for read in (lambda: paging.place(after, start=""), lambda: paging.position(after)):
        try:
            read()
        except Refused as refused:
            assert refused.code is ErrorCode.BAD_REQUEST  # noqa: PT017 - most texts are none
    with pytest.raises(Refused):
        paging.position("not a mark")
