import itertools
from copy import deepcopy

import hypothesis.strategies as st
import pytest
from hypothesis import example, given
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from protocol.frames import ResetReason
from server.hub.cursors import cursor_text, place_of
from server.service.ports import Heads
from server.storage.memory_tables import Tables

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


# Terms: what a cursor of an earlier one is worth.

AGED = Heads("now", 1000, 10, {"old": 5, "middle": 40, "last": 40})


@pytest.mark.parametrize(
    ("cursor", "place"),
    [
        ("now:1000", 1000),
        ("now:10", 10),
        ("last:40", 40),
        ("middle:40", 40),
        ("middle:10", 10),
        ("last:41", ResetReason.UNKNOWN_CURSOR),
        ("middle:999", ResetReason.UNKNOWN_CURSOR),
        ("middle:9", ResetReason.EXPIRED),
        ("old:5", ResetReason.EXPIRED),
        ("old:6", ResetReason.UNKNOWN_CURSOR),
        ("old:11", ResetReason.UNKNOWN_CURSOR),
        ("never:11", ResetReason.UNKNOWN_CURSOR),
        (":11", ResetReason.UNKNOWN_CURSOR),
    ],
)
def test_a_cursor_of_an_earlier_term_is_good_up_to_where_that_ended(
    cursor: str, place: int | ResetReason
) -> None:
    assert place_of(cursor, AGED) == place


class Copy:
    """A database, open or not, and what it has told so far."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.told: tuple[str, ...] = ()
        self.terms: frozenset[str] = frozenset()

    def heads(self) -> Heads:
        return self.tables.the_heads()


class Copies(RuleBasedStateMachine):
    """Databases that are written to, opened again and copied over each other at any time.

    The law: a cursor is resumed from just where the entries that its device has seen are the
    beginning of what the database has told; of every other one it is said to be unknown.
    """

    def __init__(self) -> None:
        super().__init__()
        self.copies = [Copy(), Copy(), Copy()]
        self.cursors: list[tuple[str, str, tuple[str, ...]]] = []
        self.names = itertools.count(1)
        for copy in self.copies:
            self._open(copy)

    def _open(self, copy: Copy) -> None:
        name = f"t{next(self.names)}"
        copy.tables.begin_term(name)
        copy.terms |= {name}

    @rule(place=st.integers(0, 2), count=st.integers(1, 4))
    def commit(self, place: int, count: int) -> None:
        copy = self.copies[place]
        copy.told += tuple(f"e{next(self.names)}" for _ in range(count))
        copy.tables.position = len(copy.told)

    @rule(place=st.integers(0, 2), back=st.integers(0, 3))
    def give_a_cursor(self, place: int, back: int) -> None:
        copy = self.copies[place]
        heads = copy.heads()
        position = max(heads.position - back, 0)
        text = cursor_text(heads.epoch, position)
        self.cursors.append((text, heads.epoch, copy.told[:position]))

    @rule(place=st.integers(0, 2))
    def restart(self, place: int) -> None:
        self._open(self.copies[place])

    @rule(source=st.integers(0, 2), destination=st.integers(0, 2))
    def put_back(self, source: int, destination: int) -> None:
        self.copies[destination] = deepcopy(self.copies[source])
        self._open(self.copies[destination])

    @invariant()
    def resumed_means_a_beginning(self) -> None:
        for copy, (cursor, term, seen) in itertools.product(self.copies, self.cursors):
            place = place_of(cursor, copy.heads())
            is_beginning = copy.told[: len(seen)] == seen
            if term in copy.terms and is_beginning:
                assert place == len(seen)
            else:
                assert place is ResetReason.UNKNOWN_CURSOR


TestCopies = Copies.TestCase
