import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.commands import QuitGroup
from protocol.errors import ErrorCode, Refused
from protocol.limits import default_limits
from server.domain.rules import Rulebook
from server.service.gates import ConnectionGate, Spenders, TokenBucket, UserGate, actor_of


def rulebook(**limits: int) -> Rulebook:
    return Rulebook(limits=default_limits() | limits)


def open_gate(now_s: float = 0.0, **limits: int) -> ConnectionGate:
    rules = rulebook(**limits)
    return ConnectionGate(rules, UserGate(rules, now_s, Spenders()), now_s)


@given(
    per_s=st.integers(1, 50),
    burst=st.integers(1, 100),
    steps=st.lists(st.floats(0, 3), max_size=200),
)
def test_a_bucket_never_gives_more_than_its_burst_and_its_rate(
    per_s: int, burst: int, steps: list[float]
) -> None:
    now_s, taken = 100.0, 0
    bucket = TokenBucket(per_s, burst, now_s)
    for step_s in steps:
        now_s += step_s
        taken += bucket.take(now_s) == 0
        assert taken <= burst + (now_s - 100.0) * per_s + 1e-6


@given(per_s=st.integers(1, 500), burst=st.integers(1, 20))
def test_after_the_wait_that_it_names_there_is_a_token(per_s: int, burst: int) -> None:
    bucket = TokenBucket(per_s, burst, 0.0)
    for _ in range(burst):
        assert bucket.take(0.0) == 0
    wait_ms = bucket.take(0.0)
    assert wait_ms > 0
    assert bucket.take(wait_ms / 1000 + 1e-9) == 0


def test_a_rate_of_0_is_no_limit() -> None:
    bucket = TokenBucket(0, 1, 0.0)
    assert [bucket.take(0.0) for _ in range(1_000)] == [0] * 1_000


def test_one_more_in_flight_is_refused_until_one_is_answered() -> None:
    gate = open_gate(REQUESTS_IN_FLIGHT=2)
    gate.enter(0.0)
    gate.enter(0.0)
    with pytest.raises(Refused) as caught:
        gate.enter(0.0)
    assert caught.value.code is ErrorCode.TOO_MANY_REQUESTS
    assert caught.value.detail["rule"] == "requests_in_flight"
    gate.leave()
    gate.enter(0.0)
    assert gate.in_flight == 2


def test_connections_of_a_user_share_the_users_rate() -> None:
    rules = rulebook(USER_REQUESTS_PER_S=2, REQUESTS_PER_S=0)
    user = UserGate(rules, 0.0, Spenders())
    gates = [ConnectionGate(rules, user, 0.0) for _ in range(2)]
    for number in range(4):  # twice the rate at once
        gates[number % 2].enter(0.0)
    with pytest.raises(Refused) as caught:
        gates[0].enter(0.0)
    assert caught.value.detail["rule"] == "user_requests_per_s"
    assert caught.value.detail["retry_after_ms"] > 0


def test_refusals_are_counted_within_ten_seconds() -> None:
    gate = open_gate(REQUESTS_PER_S=1, REQUESTS_BURST=1)
    gate.enter(0.0)
    for count in (1, 2, 3):
        with pytest.raises(Refused):
            gate.enter(0.0)
        assert gate.refusals == count
    gate.enter(20.0)
    with pytest.raises(Refused):
        gate.enter(20.0)
    assert gate.refusals == 1


def test_only_an_operator_acts_in_anothers_name() -> None:
    command = QuitGroup(group_id="g", as_user_id="bob")
    assert actor_of(command, "administrator", is_app_admin=True).user_id == "bob"
    with pytest.raises(Refused) as caught:
        actor_of(command, "alice", is_app_admin=False)
    assert caught.value.code is ErrorCode.NO_PERMISSION
    own = actor_of(QuitGroup(group_id="g"), "alice", is_app_admin=False)
    assert (own.user_id, own.is_app_admin) == ("alice", False)


@pytest.mark.parametrize("wrong", ["", "x" * 33, "a\nb", "ü"])
def test_an_operator_acts_in_the_name_of_a_user_id(wrong: str) -> None:
    command = QuitGroup(group_id="g", as_user_id=wrong)
    with pytest.raises(Refused) as caught:
        actor_of(command, "administrator", is_app_admin=True)
    assert caught.value.code is ErrorCode.INVALID_USER_ID
