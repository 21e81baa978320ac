"""The workload: what a plan of some seed must have, whatever the seed."""

from collections import Counter
from itertools import pairwise
from random import Random

import msgspec
import pytest

from protocol.limits import LIMITS
from protocol.vocabulary import GroupType
from scripts.loadgen.bodies import body
from scripts.loadgen.people import heavy_tailed_size
from scripts.loadgen.plan import REQUESTS, Act, Expects, Kind, Plan
from scripts.loadgen.writer import Options, write_plan


def test_the_same_seed_gives_the_same_plan() -> None:
    options = Options(users=30, groups=10, requests=300)

    assert write_plan(options) == write_plan(options)
    other = write_plan(msgspec.structs.replace(options, seed=2))
    assert other != write_plan(options)


def test_the_full_size_has_what_it_must_have() -> None:
    plan = write_plan(Options())

    assert plan.message_count >= 10_000
    assert len(plan.users) == 500
    assert len(plan.groups) >= 150
    assert {group.type for group in plan.groups} == {
        "Work",
        "Public",
        "Meeting",
        "AVChatRoom",
        "Community",
    }
    assert {act.kind for act in plan.acts} == set(Kind) - {Kind.KILL}


def test_sizes_have_a_heavy_tail() -> None:
    plan = write_plan(Options())
    sizes = sorted(1 + len(act.targets) for act in plan.acts if act.kind is Kind.CREATE)
    lengths = sorted(len(str(act.params["body"])) for act in plan.acts if act.kind is Kind.SEND)
    writers = _count_by_user([act for act in plan.acts if act.kind is Kind.SEND])

    assert sizes[-1] > 5 * sizes[len(sizes) // 2]
    assert lengths[-1] > 20 * lengths[len(lengths) // 2]
    assert writers[-1] > 5 * writers[len(writers) // 2]


def _count_by_user(acts: list[Act]) -> list[int]:
    counts: dict[int, int] = {}
    for act in acts:
        counts[act.user] = counts.get(act.user, 0) + 1
    return sorted(counts.values())


def test_nobody_acts_on_a_device_that_is_away() -> None:
    plan = write_plan(Options(users=30, groups=10, requests=1000, churn=100, slow=5))
    away: set[tuple[int, int]] = set()
    for act in plan.acts:
        if act.kind is Kind.DROP:
            away.add((act.user, act.device))
        elif act.kind is Kind.RETURN:
            away.discard((act.user, act.device))
        else:
            assert (act.user, act.device) not in away
            assert not _is_slow(plan, act)


def _is_slow(plan: Plan, act: Act) -> bool:
    user = plan.users[act.user]
    return user.has_slow_device and act.device == user.devices - 1


def test_marks_are_unique_and_mistakes_have_codes() -> None:
    plan = write_plan(Options(users=30, groups=10, requests=500))
    marks = [act.mark for act in plan.acts if act.mark is not None]

    assert len(set(marks)) == len(marks)
    for act in plan.acts:
        assert (act.code is not None) == (act.expects is Expects.REFUSED)


# Distributions.


@pytest.mark.parametrize("seed", range(3))
def test_most_groups_are_of_2_to_10_some_of_hundreds_and_none_of_more_than_all(seed: int) -> None:
    random = Random(seed)
    sizes = [heavy_tailed_size(random, 1000) for _ in range(3000)]

    assert min(sizes) == 2
    assert max(sizes) <= 1000
    assert 0.5 < sum(size <= 10 for size in sizes) / len(sizes) < 0.8
    assert 0.005 < sum(size >= 100 for size in sizes) / len(sizes) < 0.06
    # The tail of a Pareto law: ten times the size, about a twelfth of as many.
    assert 0.03 < sum(size > 102 for size in sizes) / sum(size > 12 for size in sizes) < 0.2


@pytest.mark.parametrize("seed", range(3))
def test_messages_are_short_mostly_and_now_and_then_as_long_as_may_be(seed: int) -> None:
    random = Random(seed)
    lengths = sorted(len(msgspec.json.encode(body(random))) for _ in range(4000))

    assert lengths[-1] <= LIMITS["BODY_BYTES"].default
    assert lengths[2000] < 250
    nearly_full = sum(length > 9_000 for length in lengths)
    assert 4 <= nearly_full <= 60


def test_two_groups_are_of_everybody_and_one_of_them_is_a_room() -> None:
    plan = write_plan(Options(users=300, requests=500))
    inside: dict[int, set[int]] = {}
    for act in plan.acts[: plan.prepared]:
        members = inside.setdefault(act.group, set())
        members |= {act.user, *act.targets} if act.kind is not Kind.INVITE else set(act.targets)
    of_all = [group for group, members in inside.items() if len(members) == 300]

    assert {plan.groups[0].type, plan.groups[1].type} == {
        GroupType.COMMUNITY,
        GroupType.AVCHATROOM,
    }
    assert {0, 1} <= set(of_all)
    assert len(of_all) <= 4  # the tail of the others may reach as far


@pytest.mark.parametrize("seed", range(4))
def test_a_few_groups_are_hot_and_no_user_is_too_busy_for_a_limit(seed: int) -> None:
    plan = write_plan(Options(seed=seed, requests=5000))
    sends = [act for act in plan.acts if act.kind is Kind.SEND]
    by_group = Counter(act.group for act in sends).most_common()
    of_hottest_tenth = sum(count for _, count in by_group[: len(plan.groups) // 10])
    by_user = Counter(act.user for act in sends).most_common(1)

    assert of_hottest_tenth > 0.3 * len(sends)
    assert by_user[0][1] < 0.1 * len(sends)


@pytest.mark.parametrize("rate", [10.0, 500.0, 20_000.0])
def test_requests_are_due_at_random_moments_at_the_rate(rate: float) -> None:
    plan = write_plan(Options(users=50, groups=10, requests=4000, rate=rate))
    load = [act for act in plan.acts[plan.prepared :] if act.kind in REQUESTS]
    due_s = [act.due_s for act in load if act.due_s is not None]
    gaps = sorted(later - earlier for earlier, later in pairwise(due_s))

    assert len(due_s) == len(load) == plan.request_count >= 4000
    assert gaps[0] >= 0
    assert 0.9 < due_s[-1] * rate / len(due_s) < 1.1
    # Of an exponential law: the median is ln 2 of the mean, and 5 % are above three times it.
    assert 0.62 < gaps[len(gaps) // 2] * rate < 0.77
    assert 0.035 < sum(gap * rate > 3 for gap in gaps) / len(gaps) < 0.065
    assert all(act.due_s is None for act in plan.acts[: plan.prepared])


def test_without_a_rate_nothing_is_due() -> None:
    plan = write_plan(Options(users=20, groups=5, requests=200, rate=0))
    assert {act.due_s for act in plan.acts} == {None}


def test_acts_are_due_in_their_order() -> None:
    plan = write_plan(Options(users=40, groups=10, requests=1500, churn=100, kills=2))
    due_s = [act.due_s or 0.0 for act in plan.acts]
    assert due_s == sorted(due_s)


@pytest.mark.parametrize("users", [1, 2, 3])
def test_a_plan_comes_to_its_end_however_few_there_are_and_however_often_they_go(
    users: int,
) -> None:
    plan = write_plan(Options(users=users, groups=3, requests=300, churn=100, slow=1))
    assert plan.request_count >= 300


def test_who_owns_a_group_is_who_may_do_what_an_owner_does() -> None:
    """Transfers, too: the next act of an owner is by the new one."""
    plan = write_plan(Options(users=60, groups=20, requests=6000, churn=50))
    owner: dict[int, int | None] = {}
    transfers = 0
    for act in plan.acts:
        if act.kind is Kind.CREATE:
            owner[act.group] = act.user
        elif act.kind is Kind.TRANSFER:
            assert owner[act.group] == act.user
            owner[act.group] = act.targets[0]
            transfers += 1
        elif act.kind is Kind.DISBAND:
            assert owner[act.group] == act.user
        elif act.kind is Kind.QUIT and owner[act.group] == act.user:
            assert plan.groups[act.group].type is GroupType.WORK
            owner[act.group] = None
        elif act.kind is Kind.KICK:
            assert owner[act.group] not in act.targets
    assert transfers > 10
