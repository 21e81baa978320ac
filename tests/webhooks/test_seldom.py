"""What happens often is said seldom, and nothing of it is forgotten."""

from server.webhooks.seldom import Seldom
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
