"""What happens often is said seldom, and nothing of it is forgotten."""

from server.webhooks.seldom import Seldom, SeldomFor
from tests.kit.fakes import FakeClock


def test_the_first_is_said_at_once_and_the_others_together() -> None:
    clock = FakeClock()
    seldom = Seldom(clock)
    assert seldom.add(3) == 3
    assert [seldom.add(), seldom.add(5)] == [0, 0]
    clock.advance(59_999)
    assert seldom.add() == 0
    clock.advance(1)
    assert seldom.add() == 8
    assert seldom.add() == 0


def test_it_is_said_how_often_it_was_for_which_reason() -> None:
    clock = FakeClock()
    seldom = SeldomFor(clock)
    assert seldom.add("late") == "1 (1 late)"
    for _ in range(91):
        assert not seldom.add("late")
    clock.advance(60_000)
    assert seldom.add("HTTP 500") == "92 (91 late; 1 HTTP 500)"
    for number in range(1_000):
        assert not seldom.add(f"reason {number}")
    clock.advance(60_000)
    said = seldom.add("reason 3")
    assert said.startswith("1001 (995 others; 2 reason 3; 1 reason 0; ")
    assert said.count(";") == 5
