"""A user's rate holds over all connections, also over those that are gone."""

import pytest

from protocol.errors import Refused
from protocol.limits import default_limits
from server.domain.rules import Rulebook
from server.transport.admission import Gates

PER_S = 5
BURST = 2 * PER_S
RULES = Rulebook(
    limits=default_limits()
    | {"REQUESTS_PER_S": 0, "USER_REQUESTS_PER_S": PER_S, "REQUESTS_IN_FLIGHT": 0}
)


def let_in(gates: Gates, user_id: str, now_s: float) -> int:
    """How many requests a new connection of the user may make at once, before it is cut."""
    gate = gates.open(user_id, now_s)
    taken = 0
    try:
        while True:
            gate.enter(now_s)
            taken += 1
    except Refused:
        return taken


def test_who_connects_again_has_no_new_rate() -> None:
    gates = Gates(RULES)
    assert let_in(gates, "eve", 0.0) == BURST
    assert [let_in(gates, "eve", 0.0) for _ in range(20)] == [0] * 20
    assert let_in(gates, "bob", 0.0) == BURST


@pytest.mark.parametrize("wait_s", [0.25, 0.5, 1.0, 1.9, 2.0, 2.5, 5.0, 100.0])
def test_a_loop_of_connections_gets_the_users_rate_and_no_more(wait_s: float) -> None:
    gates = Gates(RULES)
    rounds = 40
    taken = sum(let_in(gates, "eve", turn * wait_s) for turn in range(rounds))
    flowed = min(BURST, wait_s * PER_S) * (rounds - 1)
    assert BURST <= taken <= BURST + flowed
    assert taken >= BURST + flowed - rounds


def test_a_connection_that_was_idle_does_not_make_its_users_rate_anew() -> None:
    """The rate that two connections share is one, however long nobody used it."""
    gates = Gates(RULES)
    one = gates.open("eve", 0.0)
    for now_s in range(0, 100, 10):
        let_in(gates, "bob", float(now_s))
    for _ in range(BURST):
        one.enter(100.0)
    assert let_in(gates, "eve", 100.0) == 0


def test_what_is_kept_is_bounded_by_who_spoke_lately() -> None:
    gates = Gates(RULES)
    for number in range(20_000):
        gates.open(f"user-{number}", number / 1000).enter(number / 1000)
    assert len(gates) <= 4_001 + 1
