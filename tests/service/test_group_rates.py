import pytest

from protocol.commands import QuitGroup, SendMessage
from protocol.errors import ErrorCode, Refused
from protocol.limits import default_limits
from protocol.messages import text_body
from protocol.vocabulary import MessagePriority
from server.domain.model import Actor, Slice
from server.domain.rules import Rulebook
from server.service.group_rates import GroupRates
from tests.domain.building import tea
from tests.kit.fakes import FakeClock


def rates(per_s: int, clock: FakeClock) -> GroupRates:
    limits = default_limits() | {"GROUP_MESSAGES_PER_S": per_s}
    return GroupRates(Rulebook(limits=limits), clock)


def send(priority: MessagePriority = MessagePriority.NORMAL) -> SendMessage:
    return SendMessage(group_id="g", body=text_body("hi"), priority=priority)


def passed(of: GroupRates, priority: MessagePriority, tries: int) -> int:
    count = 0
    for _ in range(tries):
        try:
            of.check(send(priority), Actor("mia"), tea())
        except Refused as refused:
            assert refused.code is ErrorCode.GROUP_MESSAGE_RATE  # noqa: PT017 - counts refusals
        else:
            count += 1
    return count


def test_without_a_rate_everything_passes() -> None:
    assert passed(rates(0, FakeClock()), MessagePriority.LOWEST, 1_000) == 1_000


def test_higher_priorities_find_room_where_lower_ones_do_not() -> None:
    of = rates(40, FakeClock())
    in_order = [passed(of, priority, 100) for priority in reversed(MessagePriority)]
    assert sum(in_order) == 40
    assert all(count > 0 for count in in_order), in_order


def test_the_room_comes_back_with_time_and_a_refusal_says_when() -> None:
    clock = FakeClock()
    of = rates(1, clock)
    assert passed(of, MessagePriority.LOWEST, 5) == 1
    with pytest.raises(Refused) as caught:
        of.check(send(), Actor("mia"), tea())
    clock.advance(caught.value.detail["retry_after_ms"])
    assert passed(of, MessagePriority.NORMAL, 5) == 1


def test_operators_and_other_commands_are_not_counted() -> None:
    of = rates(1, FakeClock())
    for _ in range(10):
        of.check(send(), Actor("root", is_app_admin=True), tea())
        of.check(QuitGroup(group_id="g"), Actor("mia"), Slice(group=None))
    assert passed(of, MessagePriority.HIGH, 5) == 1
