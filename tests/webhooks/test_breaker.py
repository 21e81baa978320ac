"""The circuit breaker: when it opens, how often it tries, when it closes."""

import logging

import pytest

from server.webhooks.breaker import Breaker
from tests.kit.fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def breaker(clock: FakeClock) -> Breaker:
    return Breaker(clock, "it")


def fail(breaker: Breaker, times: int, who: str | None = None) -> None:
    for _ in range(times):
        assert breaker.take()
        breaker.failed("down", who)


def test_it_opens_after_five_failures_in_a_row(breaker: Breaker) -> None:
    fail(breaker, 4)
    assert breaker.take()
    breaker.succeeded()
    fail(breaker, 4)
    assert breaker.wait_s() == 0
    fail(breaker, 1)
    assert breaker.is_open
    assert not breaker.take()


def test_one_who_fails_again_and_again_does_not_open_it(breaker: Breaker) -> None:
    fail(breaker, 100, "a")
    for number in range(3):
        fail(breaker, 1, f"b{number}")
        fail(breaker, 100, "a")
    assert (breaker.is_open, breaker.failing) == (False, 4)
    fail(breaker, 1, "c")
    assert breaker.is_open
    breaker.succeeded()
    assert (breaker.is_open, breaker.failing) == (False, 0)


def test_one_tries_after_each_pause_and_the_pauses_double(
    breaker: Breaker, clock: FakeClock
) -> None:
    fail(breaker, 5)
    for pause_s in (1, 2, 4, 8, 16, 30, 30):
        assert breaker.wait_s() == pause_s
        clock.advance(pause_s * 1000 - 1)
        assert not breaker.take()
        clock.advance(1)
        assert breaker.take()
        assert not breaker.take(), "one, and no other until it is over"
        breaker.failed("still down")


def test_a_success_closes_it_and_pauses_begin_anew(breaker: Breaker, clock: FakeClock) -> None:
    fail(breaker, 5)
    clock.advance(1000)
    assert breaker.take()
    breaker.succeeded()
    assert (breaker.is_open, breaker.wait_s()) == (False, 0)
    fail(breaker, 5)
    assert breaker.wait_s() == 1


def test_a_try_that_is_given_up_lets_another_one_try(breaker: Breaker, clock: FakeClock) -> None:
    fail(breaker, 5)
    clock.advance(1000)
    assert breaker.take()
    breaker.gave_up()
    assert breaker.take()


def test_those_who_were_under_way_when_it_opened_change_nothing(
    breaker: Breaker, clock: FakeClock
) -> None:
    assert all(breaker.take() for _ in range(8))
    for _ in range(8):
        breaker.failed("down")
    assert breaker.wait_s() == 1
    clock.advance(1000)
    assert breaker.take()


def test_the_log_says_once_that_it_fails_and_that_it_works_again(
    breaker: Breaker, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        fail(breaker, 5)
        clock.advance(1000)
        fail(breaker, 1)
        clock.advance(2000)
        assert breaker.take()
        breaker.succeeded()
    assert [record.message for record in caplog.records] == [
        "it fails (down): it is tried from time to time",
        "it works again",
    ]
