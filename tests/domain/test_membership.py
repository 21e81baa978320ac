"""Join, remove, quit: rows, results, versions (``groups.md`` sections 1, 4)."""

import msgspec
import pytest

from protocol import commands
from protocol.errors import ErrorCode, Refused
from protocol.results import (
    JoinGroupResult,
    JoinStatus,
    MemberResultKind,
)
from protocol.vocabulary import (
    ApplyJoinOption,
    GroupType,
    ReceiveOption,
    Role,
)
from server.domain.model import (
    Decision,
    GroupKey,
    Member,
    MemberKey,
    MoreNeeded,
    Remembered,
    RememberedKey,
)
from tests.domain.building import (
    ADAM,
    MIA,
    NOW_MS,
    OLGA,
    ROOT,
    SAM,
    STORED_TYPES,
    application,
    cases,
    done,
    group,
    handled,
    invite,
    member,
    refused,
    remove,
    state,
    tea,
)
from tests.domain.outcomes import (
    after,
    applications_in,
    group_in,
    member_in,
    results,
    said,
    told,
)

JOIN = commands.JoinGroup(group_id="g")
QUIT = commands.QuitGroup(group_id="g")
ADDED, THERE = MemberResultKind.ADDED, MemberResultKind.ALREADY_MEMBER
PENDING, REMOVED = MemberResultKind.PENDING, MemberResultKind.REMOVED
NOT_MEMBER, FAILED = MemberResultKind.NOT_MEMBER, MemberResultKind.FAILED
OPEN_TO_JOIN = [kind for kind in STORED_TYPES if kind is not GroupType.WORK]


@pytest.mark.parametrize("group_type", OPEN_TO_JOIN)
def test_who_joins_is_a_member_with_the_types_receive_option(group_type: GroupType) -> None:
    decision = done(tea(group_type), JOIN, "zoe")
    is_quiet = group_type is GroupType.MEETING
    assert member_in(decision, "zoe") == Member(
        group_id="g",
        user_id="zoe",
        role=Role.MEMBER,
        join_time_ms=NOW_MS,
        receive_option=ReceiveOption.ACCEPT_NOT_NOTIFY
        if is_quiet
        else ReceiveOption.ACCEPT_AND_NOTIFY,
    )
    assert (group_in(decision).member_count, group_in(decision).version) == (5, 8)
    assert group_in(decision).last_info_time_ms < NOW_MS, "the profile is as it was"
    assert set(decision.puts) == {GroupKey("g"), MemberKey("g", "zoe")}
    assert decision.result == JoinGroupResult(status=JoinStatus.JOINED)


def test_an_avchatroom_stores_no_membership_and_shows_who_takes_part() -> None:
    of = tea(GroupType.AVCHATROOM, seen={"participant_count": 12})
    joined = done(of, JOIN, "zoe")
    assert dict(joined.puts) == {}
    assert [data.member_count for data in said(joined, "member_joined")] == [13]
    assert [data.version for data in said(joined, "member_joined")] == [7]
    left = done(of, QUIT, "mia")
    assert dict(left.puts) == {}
    assert [data.member_count for data in said(left, "member_quit")] == [11]
    last = done(tea(GroupType.AVCHATROOM), QUIT, "mia")
    assert [data.member_count for data in said(last, "member_quit")] == [0], "never less"


def test_who_is_not_connected_takes_no_part_in_an_avchatroom() -> None:
    """Not by joining, and not by an approval: the members would see somebody who is not there."""
    of = tea(GroupType.AVCHATROOM, seen={"connected": {"olga"}})
    refusal = refused(of, JOIN, "zoe")
    assert (refusal.code, set(refusal.detail)) == (10007, {"rule", "have", "need"})
    for connected in ({"olga"}, set[str]()):
        away = msgspec.structs.replace(of, connected=connected)
        decision = handled(cases((application(), away)))
        assert said(decision, "member_joined") == []
        assert not any(entry.joined for entry in decision.entries)
        assert said(decision, "join_approved"), "the applicant hears of it all the same"
    there = msgspec.structs.replace(of, connected={"olga", "zoe"}, participant_count=5)
    (arrived,) = said(handled(cases((application(), there))), "member_joined")
    assert arrived.member_count == 6


def test_an_avchatroom_is_never_full() -> None:
    done(tea(GroupType.AVCHATROOM, seen={"participant_count": 10**6}), JOIN, "zoe")


def test_a_member_limit_of_an_avchatroom_is_refused_or_kept() -> None:
    """It has no limit; one that is accepted and then not kept would be a lie."""
    command = commands.UpdateGroup(group_id="g", max_member_count=3)
    of = tea(GroupType.AVCHATROOM, seen={"participant_count": 2})
    try:
        limited = after(of, done(of, command, "olga"))
    except Refused:
        return
    full = msgspec.structs.replace(limited, participant_count=3)
    assert refused(full, JOIN, "zoe").code is ErrorCode.GROUP_FULL


def test_a_full_group_takes_nobody() -> None:
    of = tea(member_count=200, max_member_count=200)
    refusal = refused(of, JOIN, "zoe")
    assert refusal.code is ErrorCode.GROUP_FULL
    assert results(done(of, invite("zoe", "mia"), "olga")) == [
        ("zoe", FAILED, "GROUP_FULL"),
        ("mia", THERE, None),
    ]
    nearly = tea(member_count=199, max_member_count=200)
    assert results(done(nearly, invite("zoe", "zoe", "yan"), "olga")) == [
        ("zoe", ADDED, None),
        ("zoe", THERE, None),
        ("yan", FAILED, "GROUP_FULL"),
    ]


def test_the_refusal_of_a_full_group_says_what_is_had_and_needed() -> None:
    refusal = refused(tea(member_count=200, max_member_count=200), JOIN, "zoe")
    assert set(refusal.detail) >= {"rule", "have", "need"}


def test_a_user_in_too_many_groups_is_not_in_one_more() -> None:
    of = tea(seen={"group_counts": {"zoe": 5000, "yan": 4999}})
    assert refused(of, JOIN, "zoe").code is ErrorCode.TOO_MANY_GROUPS
    assert results(done(of, invite("zoe", "yan"), "olga")) == [
        ("zoe", FAILED, "TOO_MANY_GROUPS"),
        ("yan", ADDED, None),
    ]


def test_the_option_says_whether_one_may_ask() -> None:
    asked = tea(apply_join_option=ApplyJoinOption.NEED_PERMISSION)
    decision = done(asked, JOIN, "zoe")
    assert decision.result == JoinGroupResult(status=JoinStatus.PENDING)
    assert [one.user_id for one in applications_in(decision)] == ["zoe"]
    assert GroupKey("g") not in decision.puts, "an application is no change of the group"
    closed = tea(apply_join_option=ApplyJoinOption.DISABLE_APPLY)
    refusal = refused(closed, JOIN, "zoe")
    assert (refusal.code, refusal.detail["have"]) == (ErrorCode.NO_PERMISSION, "DisableApply")
    work = refused(tea(GroupType.WORK), JOIN, "zoe")
    assert (work.code, work.detail["rule"]) == (ErrorCode.NO_PERMISSION, "join")
    full = tea(apply_join_option=ApplyJoinOption.NEED_PERMISSION, member_count=200)
    assert refused(full, JOIN, "zoe").code is ErrorCode.GROUP_FULL


def test_those_who_wait_need_their_handlers_to_be_seen() -> None:
    of = tea(apply_join_option=ApplyJoinOption.NEED_PERMISSION, seen={"handlers": None})
    with pytest.raises(MoreNeeded):
        done(of, JOIN, "zoe")
    done(tea(seen={"handlers": None}), JOIN, "zoe")


def test_a_member_who_joins_stays_as_it_is() -> None:
    decision = done(tea(), JOIN, "mia")
    assert decision == Decision(result=JoinGroupResult(status=JoinStatus.ALREADY_MEMBER))


def test_several_are_removed_in_one_version_and_the_rest_is_told_why() -> None:
    decision = done(tea(), remove("mia", "zoe", "olga", "adam", "mia", "sam"), "adam")
    assert results(decision) == [
        ("mia", REMOVED, None),
        ("zoe", NOT_MEMBER, None),
        ("olga", FAILED, "NO_PERMISSION"),
        ("adam", FAILED, "NO_PERMISSION"),
        ("mia", NOT_MEMBER, None),
        ("sam", REMOVED, None),
    ]
    assert (group_in(decision).member_count, group_in(decision).version) == (2, 8)
    assert {key: row for key, row in decision.puts.items() if key != GroupKey("g")} == {
        MemberKey("g", "mia"): None,
        MemberKey("g", "sam"): None,
    }


def test_a_removal_of_nobody_in_reach_is_refused_as_a_whole() -> None:
    assert refused(tea(), remove("olga", "adam"), "adam").code is ErrorCode.NO_PERMISSION


def test_a_removed_owner_leaves_the_group_without_one() -> None:
    decision = done(tea(), remove("olga", "mia"), ROOT)
    assert (group_in(decision).owner_id, group_in(decision).member_count) == ("", 2)
    assert (group_in(decision).version, group_in(decision).type) == (8, GroupType.PUBLIC)


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_a_member_quits(group_type: GroupType) -> None:
    decision = done(tea(group_type), QUIT, "mia")
    assert dict(decision.puts) == {
        GroupKey("g"): group(group_type, member_count=3, version=8),
        MemberKey("g", "mia"): None,
    }


def test_the_owner_of_a_work_group_quits_and_it_has_none() -> None:
    decision = done(tea(GroupType.WORK), QUIT, "olga")
    assert (group_in(decision).owner_id, group_in(decision).member_count) == ("", 3)
    assert decision.puts[MemberKey("g", "olga")] is None


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_a_quit_with_a_successor_is_one_step(group_type: GroupType) -> None:
    command = commands.QuitGroup(group_id="g", successor_id="mia")
    decision = done(tea(group_type), command, "olga")
    assert (group_in(decision).owner_id, group_in(decision).member_count) == ("mia", 3)
    assert member_in(decision, "mia").role is Role.OWNER
    assert decision.puts[MemberKey("g", "olga")] is None
    assert len(decision.puts) == 3
    versions = [
        entry.data.version
        for entry in decision.entries
        if entry.inbox_of is None or entry.event == "owner_changed"
    ]
    assert versions == sorted(versions), "two changes, told in order"
    assert group_in(decision).version >= max(versions)


def test_a_quit_with_a_wrong_successor_changes_nothing() -> None:
    for successor, code in (
        ("zoe", ErrorCode.USER_NOT_FOUND),
        ("olga", ErrorCode.BAD_REQUEST),
        ("", ErrorCode.USER_NOT_FOUND),
    ):
        command = commands.QuitGroup(group_id="g", successor_id=successor)
        assert refused(tea(), command, "olga").code is code
    command = commands.QuitGroup(group_id="g", successor_id="sam")
    assert refused(tea(), command, "mia").code is ErrorCode.NO_PERMISSION


@pytest.mark.parametrize("group_type", STORED_TYPES)
@pytest.mark.parametrize("way", [QUIT, remove("mia")])
def test_a_mute_is_remembered_over_leaving_and_coming_back(
    group_type: GroupType, way: commands.ChangingCommand
) -> None:
    until_ms = NOW_MS + 60_000
    muted = member("mia", mute_until_ms=until_ms)
    of = state(group(group_type), OLGA, ADAM, muted, SAM)
    gone = done(of, way, "mia" if way is QUIT else "olga")
    remembered = Remembered(group_id="g", user_id="mia", mute_until_ms=until_ms)
    assert gone.puts[RememberedKey("g", "mia")] == remembered
    back = done(after(of, gone), invite("mia"), "olga")
    assert member_in(back, "mia").mute_until_ms == until_ms
    assert member_in(back, "mia").role is Role.MEMBER
    assert back.puts[RememberedKey("g", "mia")] is None


def test_a_mute_that_is_over_is_not_remembered() -> None:
    over = state(group(), OLGA, member("mia", mute_until_ms=NOW_MS))
    assert RememberedKey("g", "mia") not in done(over, QUIT, "mia").puts


def test_who_comes_back_is_as_new() -> None:
    worn = member("mia", Role.ADMIN, name_card="M.", custom={"team": "red"})
    of = state(group(), OLGA, ADAM, worn, SAM)
    back = done(after(of, done(of, QUIT, "mia")), JOIN, "mia")
    assert member_in(back, "mia") == msgspec.structs.replace(MIA, join_time_ms=NOW_MS)


def test_nobody_quits_who_is_not_in() -> None:
    for who in ("zoe", ROOT):
        refusal = refused(tea(), QUIT, who)
        assert refusal.code is ErrorCode.NO_PERMISSION
        assert refusal.detail == {"rule": "quit", "have": "none", "need": "member"}


def test_a_member_of_an_avchatroom_that_waited_is_not_stored_either() -> None:
    """``groups.md`` section 2: members are not stored, whatever way they came."""
    of = tea(GroupType.AVCHATROOM, apply_join_option=ApplyJoinOption.NEED_PERMISSION)
    command = commands.HandleApplications(application_ids=["join-zoe"], accept=True)
    decision = done(cases((application(), of)), command, "olga")
    assert MemberKey("g", "zoe") not in decision.puts
    assert told(decision), "the applicant hears of it"
