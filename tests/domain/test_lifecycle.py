"""How groups change hands and end, and how many begin (``groups.md`` sections 1 to 3)."""

import pytest

from protocol import commands
from protocol.errors import ErrorCode
from protocol.results import CreateGroupResult, Nothing
from protocol.vocabulary import (
    GroupType,
    Role,
)
from server.domain.jobs import RecognizeUser, RecycleGroup
from server.domain.model import (
    MS_PER_DAY,
    Decision,
    Group,
    GroupKey,
    KnownUser,
    KnownUserKey,
    MoreNeeded,
    groups_of_day_counter,
)
from tests.domain.building import (
    ADAM,
    MIA,
    NOW_MS,
    OLGA,
    ROOT,
    SAM,
    STORED_TYPES,
    TYPES,
    done,
    group,
    refused,
    rules,
    state,
    tea,
)
from tests.domain.outcomes import group_in, member_in

EMPTY = state(fresh_token="abcd2345")
DAY = groups_of_day_counter(NOW_MS)


def created(decision: Decision) -> CreateGroupResult:
    assert isinstance(decision.result, CreateGroupResult)
    return decision.result


@pytest.mark.parametrize("group_type", TYPES)
def test_groups_of_the_day_are_those_created_less_those_ended(group_type: GroupType) -> None:
    counted = {} if group_type is GroupType.COMMUNITY else {DAY: 1}
    less = dict.fromkeys(counted, -1)
    create = commands.CreateGroup(type=group_type, name="Tea")
    assert done(EMPTY, create, "olga").counts == counted
    assert done(tea(group_type), commands.DisbandGroup(group_id="g"), ROOT).counts == less
    assert done(tea(group_type), RecycleGroup(group_id="g"), ROOT).counts == less
    full = state(fresh_token="a", groups_today=10_000)
    if group_type is GroupType.COMMUNITY:
        done(full, create, "olga")
    else:
        refusal = refused(full, create, "olga")
        assert refusal.code is ErrorCode.TOO_MANY_REQUESTS
        assert refusal.detail == {"rule": "groups_per_day", "have": 10_000, "need": 10_000}
    done(state(fresh_token="a", groups_today=9_999), create, "olga")
    done(full, create, "olga", rules(limits={"GROUPS_PER_DAY": 0}))


def test_the_day_is_that_of_utc() -> None:
    midnight_ms = NOW_MS // MS_PER_DAY * MS_PER_DAY
    assert groups_of_day_counter(midnight_ms) == groups_of_day_counter(midnight_ms + MS_PER_DAY - 1)
    assert groups_of_day_counter(midnight_ms) != groups_of_day_counter(midnight_ms - 1)


@pytest.mark.parametrize("group_type", TYPES)
def test_an_ended_group_keeps_its_row_and_has_no_members(group_type: GroupType) -> None:
    for command in (commands.DisbandGroup(group_id="g"), RecycleGroup(group_id="g")):
        decision = done(tea(group_type), command, ROOT)
        ended = group_in(decision)
        assert (ended.closed_ms, ended.member_count, ended.version) == (NOW_MS, 0, 8)
        assert ended.last_info_time_ms == NOW_MS
        assert list(decision.puts) == [GroupKey("g")], "no row per member"
        assert decision.result == Nothing()


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_a_transfer_changes_two_roles_and_one_owner(group_type: GroupType) -> None:
    command = commands.TransferGroup(group_id="g", new_owner_id="adam")
    decision = done(tea(group_type), command, "olga")
    assert (group_in(decision).owner_id, group_in(decision).version) == ("adam", 8)
    assert group_in(decision).member_count == 4
    assert member_in(decision, "adam").role is Role.OWNER
    assert member_in(decision, "olga").role is Role.MEMBER
    assert len(decision.puts) == 3


def test_the_operator_gives_an_ownerless_group_to_a_member() -> None:
    ownerless = state(group(GroupType.WORK, owner_id=""), MIA, SAM)
    command = commands.TransferGroup(group_id="g", new_owner_id="mia")
    decision = done(ownerless, command, ROOT)
    assert group_in(decision).owner_id == "mia"
    assert member_in(decision, "mia").role is Role.OWNER
    assert len(decision.puts) == 2
    assert refused(ownerless, command, "mia").code is ErrorCode.NO_PERMISSION


def test_a_transfer_to_nobody_or_to_the_owner_is_refused() -> None:
    stranger = commands.TransferGroup(group_id="g", new_owner_id="zoe")
    assert refused(tea(), stranger, "olga").code is ErrorCode.USER_NOT_FOUND
    same = commands.TransferGroup(group_id="g", new_owner_id="olga")
    assert refused(tea(), same, "olga").code is ErrorCode.BAD_REQUEST


def test_a_transfer_that_does_not_see_the_owner_asks_for_more() -> None:
    blind = state(group(owner_id="olga"), ADAM, MIA)
    command = commands.TransferGroup(group_id="g", new_owner_id="mia")
    with pytest.raises(MoreNeeded):
        done(blind, command, ROOT)


@pytest.mark.parametrize("closed", [None, group(closed_ms=5)])
def test_nothing_is_done_with_a_group_that_is_not_there(closed: Group | None) -> None:
    gone: list[commands.ChangingCommand] = [
        commands.DisbandGroup(group_id="g"),
        commands.TransferGroup(group_id="g", new_owner_id="mia"),
        commands.UpdateGroup(group_id="g", name="x"),
        commands.UpdateMember(group_id="g", user_id="mia", name_card="x"),
        commands.InviteMembers(group_id="g", user_ids=["zoe"]),
        commands.RemoveMembers(group_id="g", user_ids=["mia"]),
        commands.JoinGroup(group_id="g"),
        commands.QuitGroup(group_id="g"),
        commands.QuitGroup(group_id="g", successor_id="mia"),
        commands.SendMessage(group_id="g", body=[]),
        commands.RecallMessage(group_id="g", seq=1),
        commands.MarkRead(group_id="g", seq=1),
        commands.SetAttributes(group_id="g", attributes={}),
        commands.DeleteAttributes(group_id="g", keys=["a"]),
        commands.AddCounters(group_id="g", deltas={"a": 1}),
        RecycleGroup(group_id="g"),
    ]
    for command in gone:
        refusal = refused(state(closed, OLGA, MIA), command, "olga")
        assert refusal.code is ErrorCode.GROUP_NOT_FOUND
        assert refusal.detail == {"group_id": "g"}


def test_a_user_who_logs_in_is_known_from_then_on_where_users_must_be_known() -> None:
    first = done(state(known_users=set()), RecognizeUser(), "zoe")
    row = KnownUser(user_id="zoe", since_ms=NOW_MS)
    assert (dict(first.puts), list(first.entries)) == ({KnownUserKey("zoe"): row}, [])
    for of in (state(known_users={"zoe"}), state(known_users=None)):
        assert done(of, RecognizeUser(), "zoe") == Decision(result=Nothing())
