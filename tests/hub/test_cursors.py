import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from protocol.frames import ResetReason
from server.hub.cursors import cursor_text, place_of
from server.service.ports import Heads

HEADS = Heads("k7f2", 1000, 10)
ANY_TEXT = (
    st.text(max_size=300)
    | st.from_regex(r"k7f2:[0-9]{1,20}", fullmatch=True)
    | st.builds("k7f2:{}".format, st.text(max_size=20))
)


@given(cursor=ANY_TEXT)
@example("k7f2:" + "9" * 5000)
@example("k7f2:١٢٣")
@example("k7f2:\uff11\uff12")
@example("k7f2:²")
@example("k7f2:-1")
@example("k7f2:+11")
@example("k7f2: 11")
@example("k7f2:11\n")
@example("k7f2:1_1")
@example("k7f2:11:11")
@example("")
@example(":")
def test_any_text_is_a_position_that_is_kept_or_a_reason(cursor: str) -> None:
    place = place_of(cursor, HEADS)
    if isinstance(place, ResetReason):
        assert place in (ResetReason.UNKNOWN_CURSOR, ResetReason.EXPIRED)
    else:
        assert HEADS.floor <= place <= HEADS.position
        assert cursor.startswith("k7f2:")


@given(position=st.integers(HEADS.floor, HEADS.position))
def test_a_cursor_that_was_given_names_its_position(position: int) -> None:
    assert place_of(cursor_text("k7f2", position), HEADS) == position


@given(epoch=st.text(max_size=20), position=st.integers(0, 2**53))
def test_a_cursor_is_short(epoch: str, position: int) -> None:
    assert len(cursor_text(epoch, position)) <= 256


@pytest.mark.parametrize(
    ("cursor", "reason"),
    [
        ("k7f2:1001", ResetReason.UNKNOWN_CURSOR),
        ("k7f2:9", ResetReason.EXPIRED),
        ("k7f3:500", ResetReason.UNKNOWN_CURSOR),
        ("500", ResetReason.UNKNOWN_CURSOR),
        ("K7F2:500", ResetReason.UNKNOWN_CURSOR),
    ],
)
def test_why_a_cursor_cannot_be_resumed_from(cursor: str, reason: ResetReason) -> None:
    assert place_of(cursor, HEADS) is reason
