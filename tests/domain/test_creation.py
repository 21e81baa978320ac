"""How groups begin (``groups.md`` sections 1 to 3)."""

import pytest
from msgspec.structs import replace

from protocol import commands
from protocol.commands import InitialMember
from protocol.errors import ErrorCode
from protocol.results import CreateGroupResult, MemberResultKind
from protocol.vocabulary import (
    ApplyJoinOption,
    GroupType,
    InviteJoinOption,
    ReceiveOption,
    Role,
)
from server.domain.jobs import FoundGroup
from server.domain.model import (
    Actor,
    Decision,
    Group,
    GroupKey,
    Member,
    MemberKey,
    groups_of_day_counter,
)
from tests.domain.building import (
    NOW_MS,
    ROOT,
    STORED_TYPES,
    TYPES,
    done,
    field,
    group,
    refused,
    rules,
    state,
)
from tests.domain.outcomes import group_in, member_in

EMPTY = state(fresh_token="abcd2345")
DAY = groups_of_day_counter(NOW_MS)


def created(decision: Decision) -> CreateGroupResult:
    assert isinstance(decision.result, CreateGroupResult)
    return decision.result


def test_a_group_begins_at_version_1_with_its_creator_as_owner() -> None:
    command = commands.CreateGroup(
        type=GroupType.PUBLIC,
        name="Tea",
        introduction="leaves\nand water",
        notification="now",
        face_url="http://tea/pot",
        max_member_count=9,
        apply_join_option=ApplyJoinOption.FREE_ACCESS,
        invite_join_option=InviteJoinOption.NEED_PERMISSION,
        custom={"topic": "oolong"},
    )
    decision = done(EMPTY, command, "olga", rules(group_fields={"topic": field()}))
    group_id = "@TGS#abcd2345"
    made = group_in(decision, group_id)
    assert made == Group(
        group_id=group_id,
        type=GroupType.PUBLIC,
        name="Tea",
        owner_id="olga",
        create_time_ms=NOW_MS,
        last_info_time_ms=NOW_MS,
        version=1,
        member_count=1,
        max_member_count=9,
        apply_join_option=ApplyJoinOption.FREE_ACCESS,
        invite_join_option=InviteJoinOption.NEED_PERMISSION,
        introduction="leaves\nand water",
        notification="now",
        face_url="http://tea/pot",
        custom={"topic": "oolong"},
    )
    assert member_in(decision, "olga", group_id) == Member(
        group_id=group_id, user_id="olga", role=Role.OWNER, join_time_ms=NOW_MS
    )
    assert len(decision.puts) == 2
    shown = created(decision).group
    assert (shown.group_id, shown.version, shown.next_seq) == (group_id, 1, 1)
    assert (shown.member_count, shown.last_message_time_ms, shown.attributes) == (1, 0, {})
    assert shown.custom == {"topic": "oolong"}


@pytest.mark.parametrize("group_type", TYPES)
def test_a_generated_id_has_the_prefix_of_its_type(group_type: GroupType) -> None:
    decision = done(EMPTY, commands.CreateGroup(type=group_type, name="Tea"), "olga")
    prefix = "@TGS#_" if group_type is GroupType.COMMUNITY else "@TGS#"
    assert created(decision).group.group_id == prefix + "abcd2345"


def test_the_operator_creates_in_a_users_name() -> None:
    command = commands.CreateGroup(type=GroupType.WORK, name="Tea", as_user_id="olga")
    decision = done(EMPTY, command, Actor("olga", is_app_admin=True))
    assert created(decision).group.owner_id == "olga"


def test_a_chosen_id_is_taken_by_somebody_else_by_you_or_by_a_disbanded_group() -> None:
    command = commands.CreateGroup(type=GroupType.PUBLIC, name="Tea", group_id="g")
    for taken, who, code in (
        (group(), "zoe", ErrorCode.GROUP_ID_TAKEN),
        (group(), "olga", ErrorCode.GROUP_ID_TAKEN_BY_YOU),
        (group(closed_ms=5), "zoe", ErrorCode.GROUP_ID_TAKEN),
        (group(closed_ms=5), "olga", ErrorCode.GROUP_ID_TAKEN_BY_YOU),
        (group(GroupType.WORK, owner_id=""), "zoe", ErrorCode.GROUP_ID_TAKEN),
    ):
        assert refused(state(taken), command, who).code is code
    assert created(done(state(None), command, "zoe")).group.group_id == "g"


def test_each_initial_member_has_a_result_of_its_own() -> None:
    rulebook = rules(
        limits={"GROUPS_PER_USER": 10}, member_fields={"team": field(), "vip": field(write="owner")}
    )
    wanted = [
        InitialMember(user_id="mia", custom={"team": "red", "vip": "yes"}),
        InitialMember(user_id="mia", role=Role.ADMIN),
        InitialMember(user_id="olga"),
        InitialMember(user_id="adam", role=Role.ADMIN),
        InitialMember(user_id="bea", role=Role.OWNER),
        InitialMember(user_id="ümit"),
        InitialMember(user_id="busy"),
        InitialMember(user_id="cid", custom={"unknown": "x"}),
        InitialMember(user_id="dora", custom={"team": "x" * 65}),
    ]
    command = commands.CreateGroup(type=GroupType.PUBLIC, name="Tea", members=wanted, group_id="g")
    decision = done(state(group_counts={"busy": 10}), command, "olga", rulebook)
    came = [
        (one.user_id, one.result, one.error and one.error.name) for one in created(decision).members
    ]
    added, there = MemberResultKind.ADDED, MemberResultKind.ALREADY_MEMBER
    failed = MemberResultKind.FAILED
    assert came == [
        ("mia", added, None),
        ("mia", there, None),
        ("olga", there, None),
        ("adam", added, None),
        ("bea", failed, "BAD_REQUEST"),
        ("ümit", failed, "INVALID_USER_ID"),
        ("busy", failed, "TOO_MANY_GROUPS"),
        ("cid", failed, "BAD_REQUEST"),
        ("dora", failed, "BAD_REQUEST"),
    ]
    assert set(decision.puts) == {
        GroupKey("g"),
        *(MemberKey("g", user_id) for user_id in ("olga", "mia", "adam")),
    }
    assert member_in(decision, "mia").custom == {"team": "red", "vip": "yes"}
    assert member_in(decision, "mia").role is Role.MEMBER
    assert member_in(decision, "adam").role is Role.ADMIN
    assert group_in(decision).member_count == created(decision).group.member_count == 3
    assert group_in(decision).version == 1


def test_the_operator_gives_initial_members_every_field() -> None:
    rulebook = rules(
        group_fields={"rank": field(write="app_admin")},
        member_fields={"vip": field(write="app_admin")},
    )
    wanted = [InitialMember(user_id="mia", custom={"vip": "yes"})]
    command = commands.CreateGroup(
        type=GroupType.PUBLIC, name="Tea", members=wanted, custom={"rank": "1"}
    )
    decision = done(EMPTY, command, ROOT, rulebook)
    assert [one.result for one in created(decision).members] == [MemberResultKind.ADDED]
    assert refused(EMPTY, command, "olga", rulebook).code is ErrorCode.NO_PERMISSION


def test_no_admin_is_an_initial_member_where_there_are_none() -> None:
    wanted = [InitialMember(user_id="adam", role=Role.ADMIN)]
    command = commands.CreateGroup(type=GroupType.WORK, name="Tea", members=wanted)
    (one,) = created(done(EMPTY, command, "olga")).members
    assert one.error is not None
    assert (one.error.name, one.error.detail["rule"]) == ("NO_PERMISSION", "appoint_admins")


def test_initial_members_stop_at_the_groups_limit() -> None:
    wanted = [InitialMember(user_id=f"u{number}") for number in range(4)]
    command = commands.CreateGroup(
        type=GroupType.MEETING, name="Tea", members=wanted, max_member_count=3, group_id="g"
    )
    decision = done(state(), command, "olga")
    came = [one.error and one.error.name for one in created(decision).members]
    assert came == [None, None, "GROUP_FULL", "GROUP_FULL"]
    assert group_in(decision).member_count == 3
    assert member_in(decision, "u0").receive_option is ReceiveOption.ACCEPT_NOT_NOTIFY


def test_a_user_is_in_so_many_groups_at_most() -> None:
    command = commands.CreateGroup(type=GroupType.PUBLIC, name="Tea")
    full = state(fresh_token="a", group_counts={"olga": 5000})
    refusal = refused(full, command, "olga")
    assert refusal.code is ErrorCode.TOO_MANY_GROUPS
    assert refusal.detail == {"rule": "groups_per_user", "have": 5000, "need": 5000}
    done(state(fresh_token="a", group_counts={"olga": 4999}), command, "olga")
    done(full, command, "olga", rules(limits={"GROUPS_PER_USER": 0}))


@pytest.mark.parametrize(
    ("group_type", "most"),
    [
        (GroupType.WORK, 6000),
        (GroupType.PUBLIC, 6000),
        (GroupType.MEETING, 6000),
        (GroupType.COMMUNITY, 100_000),
    ],
)
def test_max_member_count_is_at_most_the_types_limit(group_type: GroupType, most: int) -> None:
    def asked(count: int) -> commands.CreateGroup:
        return commands.CreateGroup(type=group_type, name="Tea", max_member_count=count)

    assert created(done(EMPTY, asked(most), "olga")).group.max_member_count == most
    refusal = refused(EMPTY, asked(most + 1), "olga")
    assert refusal.code is ErrorCode.BAD_REQUEST
    assert (refusal.detail["have"], refusal.detail["need"]) == (most + 1, most)


def test_each_type_has_a_limit_of_its_own() -> None:
    names = ("MEMBERS_WORK", "MEMBERS_PUBLIC", "MEMBERS_MEETING", "MEMBERS_COMMUNITY")
    own = rules(limits={name: 10 + number for number, name in enumerate(names)})
    for group_type in STORED_TYPES:
        command = commands.CreateGroup(type=group_type, name="Tea")
        made = created(done(EMPTY, command, "olga", own)).group
        assert made.max_member_count == own.limits[f"MEMBERS_{group_type.upper()}"]


def test_options_that_are_fixed_are_not_chosen() -> None:
    work = commands.CreateGroup(
        type=GroupType.WORK, name="Tea", apply_join_option=ApplyJoinOption.FREE_ACCESS
    )
    room = commands.CreateGroup(
        type=GroupType.AVCHATROOM, name="Tea", invite_join_option=InviteJoinOption.FREE_ACCESS
    )
    for command, rule in ((work, "apply_join_option"), (room, "invite_join_option")):
        refusal = refused(EMPTY, command, ROOT)
        assert (refusal.code, refusal.detail["rule"]) == (ErrorCode.NO_PERMISSION, rule)


def test_a_room_is_not_taken_over() -> None:
    command = FoundGroup(type=GroupType.AVCHATROOM, name="x", created_ms=NOW_MS)
    assert refused(EMPTY, command, ROOT).detail["rule"] == "import"
    done(EMPTY, replace(command, created_ms=None), ROOT)


def test_a_group_of_the_operators_has_all_initial_members_or_is_none() -> None:
    members = [InitialMember(user_id="mia"), InitialMember(user_id="")]
    command = FoundGroup(type=GroupType.PUBLIC, name="x", members=members)
    refusal = refused(EMPTY, command, ROOT)
    assert refusal.code is ErrorCode.INVALID_USER_ID
    assert refusal.message.startswith("members[1]: ")
    kept = done(EMPTY, replace(command, members=[members[0], members[0]]), ROOT)
    assert [row.result for row in created(kept).members] == [
        MemberResultKind.ADDED,
        MemberResultKind.ALREADY_MEMBER,
    ]
