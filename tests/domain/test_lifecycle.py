"""How groups change hands and end, and how many begin (``groups.md`` sections 1 to 3)."""

import pytest

from protocol import commands
from protocol.errors import ErrorCode
from protocol.results import CreateGroupResult, Nothing
from protocol.vocabulary import (
    GroupType,
    Role,
)
from server.domain.jobs import (
    ForgetUsers,
    RecognizeUser,
    RecognizeUsers,
    RecycleGroup,
    RevokeTokens,
)
from server.domain.model import (
    MS_PER_DAY,
    Decision,
    Group,
    GroupKey,
    KnownUser,
    KnownUserKey,
    MoreNeeded,
    Revocation,
    RevocationKey,
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


def test_users_are_made_known_all_at_once() -> None:
    command = RecognizeUsers(user_ids=["zoe", "ann", "zoe"])
    rows = dict(done(state(known_users={"ann"}), command, ROOT).puts)
    assert rows == {KnownUserKey("zoe"): KnownUser(user_id="zoe", since_ms=NOW_MS)}
    assert done(state(known_users=None), command, ROOT) == Decision(result=Nothing())
    bad = RecognizeUsers(user_ids=["zoe", "\u00fc"])
    assert refused(state(known_users=set()), bad, ROOT).code is ErrorCode.INVALID_USER_ID


@pytest.mark.parametrize("known", [None, frozenset({"ann"})])
@pytest.mark.parametrize("forgets", [False, True])
def test_tokens_are_revoked_up_to_a_time_that_never_goes_back(
    known: frozenset[str] | None, forgets: bool
) -> None:
    kind = ForgetUsers if forgets else RevokeTokens
    before = {"ann": Revocation(user_id="ann", up_to_s=9), "bob": None}
    of = state(known_users=known, revocations=before)
    gone = {KnownUserKey("ann"): None} if forgets and known else {}
    bob = {RevocationKey("bob"): Revocation(user_id="bob", up_to_s=5)}
    decision = done(of, kind(user_ids=["ann", "bob"], up_to_s=5), ROOT)
    assert dict(decision.puts) == bob | gone
    assert list(decision.entries) == []
    later = dict(done(of, kind(user_ids=["ann"], up_to_s=10), ROOT).puts)
    assert later == {RevocationKey("ann"): Revocation(user_id="ann", up_to_s=10)} | gone
    bad = kind(user_ids=["ann", "x" * 33], up_to_s=10)
    assert refused(of, bad, ROOT).code is ErrorCode.INVALID_USER_ID
