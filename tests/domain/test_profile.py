"""Changes of a group's profile and options (``groups.md`` sections 1 and 3)."""

import msgspec
import pytest

from protocol import commands
from protocol.errors import ErrorCode
from protocol.results import VersionResult
from protocol.vocabulary import ApplyJoinOption, GroupType, InviteJoinOption
from server.domain.model import Decision, GroupKey
from tests.domain.building import (
    NOW_MS,
    OLGA,
    ROOT,
    STORED_TYPES,
    TYPES,
    done,
    field,
    group,
    refused,
    rules,
    state,
    tea,
)
from tests.domain.outcomes import group_in, said

LEVELS = ("anyone", "member", "admin", "owner", "app_admin")


def update(**fields: object) -> commands.UpdateGroup:
    return msgspec.structs.replace(commands.UpdateGroup(group_id="g"), **fields)


@pytest.mark.parametrize("group_type", TYPES)
def test_what_is_named_changes_and_the_rest_stays(group_type: GroupType) -> None:
    command = update(name="Coffee", introduction="hot", notification="", face_url="http://c")
    decision = done(tea(group_type, notification="old"), command, "olga")
    assert dict(decision.puts) == {
        GroupKey("g"): msgspec.structs.replace(
            group(group_type),
            name="Coffee",
            introduction="hot",
            notification="",
            face_url="http://c",
            version=8,
            last_info_time_ms=NOW_MS,
        )
    }
    assert decision.result == VersionResult(version=8)


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_options_and_limits_change(group_type: GroupType) -> None:
    command = update(
        invite_join_option=InviteJoinOption.NEED_PERMISSION, mute_all=True, max_member_count=4
    )
    changed = group_in(done(tea(group_type), command, "olga"))
    assert changed.invite_join_option is InviteJoinOption.NEED_PERMISSION
    assert (changed.mute_all, changed.max_member_count, changed.version) == (True, 4, 8)


def test_many_fields_are_one_version() -> None:
    rulebook = rules(group_fields={"topic": field()})
    command = update(name="C", mute_all=True, max_member_count=9, custom={"topic": "x"})
    assert group_in(done(tea(), command, "olga", rulebook)).version == 8


def test_what_is_so_already_changes_nothing() -> None:
    rulebook = rules(group_fields={"topic": field()})
    of = tea(custom={"topic": "x"})
    for command in (
        update(),
        update(name="Tea"),
        update(mute_all=False, introduction=""),
        update(apply_join_option=ApplyJoinOption.FREE_ACCESS, max_member_count=200),
        update(custom={"topic": "x"}),
        update(if_version=7, name="Tea"),
    ):
        assert done(of, command, "olga", rulebook) == Decision(result=VersionResult(version=7))
    assert done(of, update(custom={}), "olga", rulebook).puts == {}
    absent = done(tea(), update(custom={"topic": None}), "olga", rulebook)
    assert absent == Decision(result=VersionResult(version=7))


def test_only_changed_fields_are_told() -> None:
    rulebook = rules(group_fields={"topic": field(), "mood": field()})
    of = tea(custom={"topic": "x", "mood": "calm"})
    command = update(name="Tea", introduction="hot", custom={"topic": None, "mood": "calm"})
    decision = done(of, command, "olga", rulebook)
    (changed,) = said(decision, "group_profile_changed")
    assert msgspec.to_builtins(changed) == {
        "version": 8,
        "introduction": "hot",
        "custom": {"topic": None},
    }
    assert group_in(decision).custom == {"mood": "calm"}


def test_a_stale_version_is_a_conflict_and_the_present_one_is_none() -> None:
    for stale in (6, 8):
        refusal = refused(tea(), update(name="C", if_version=stale), "olga")
        assert refusal.code is ErrorCode.GROUP_VERSION_CONFLICT
        assert refusal.detail == {"rule": "if_version", "have": stale, "need": 7}
    assert group_in(done(tea(), update(name="C", if_version=7), "olga")).version == 8


def test_all_of_it_or_nothing() -> None:
    """One right that is missing, or one value that is wrong, and nothing is changed."""
    work = tea(GroupType.WORK)
    done(work, update(name="C"), "mia")
    refusal = refused(work, update(name="C", mute_all=True), "mia")
    assert refusal.detail == {"rule": "mute_all", "have": "member", "need": "owner"}
    assert refused(tea(), update(name="C", introduction="x" * 401), "olga").code == 10004


def test_a_fixed_option_may_be_named_but_not_changed() -> None:
    same = update(apply_join_option=ApplyJoinOption.DISABLE_APPLY)
    work = tea(GroupType.WORK, apply_join_option=ApplyJoinOption.DISABLE_APPLY)
    assert done(work, same, "olga").puts == {}
    other = update(apply_join_option=ApplyJoinOption.FREE_ACCESS)
    refusal = refused(work, other, ROOT)
    assert refusal.code is ErrorCode.NO_PERMISSION
    assert (refusal.detail["have"], refusal.detail["need"]) == ("FreeAccess", "DisableApply")
    room = tea(GroupType.AVCHATROOM, invite_join_option=InviteJoinOption.DISABLE_INVITE)
    free = update(invite_join_option=InviteJoinOption.FREE_ACCESS)
    assert refused(room, free, ROOT).detail["rule"] == "invite_join_option"


def test_the_member_limit_stays_between_the_members_and_the_types_limit() -> None:
    for count, need in ((3, 4), (6001, 6000)):
        refusal = refused(tea(), update(max_member_count=count), "olga")
        assert refusal.code is ErrorCode.BAD_REQUEST
        assert refusal.detail["field"] == "max_member_count"
        assert (refusal.detail["have"], refusal.detail["need"]) == (count, need)
    assert group_in(done(tea(), update(max_member_count=4), "olga")).max_member_count == 4
    assert group_in(done(tea(), update(max_member_count=6000), "olga")).max_member_count == 6000


@pytest.mark.parametrize("level", LEVELS)
def test_a_group_field_is_written_by_its_level_and_those_above(level: str) -> None:
    rulebook = rules(group_fields={"topic": field(write=level)})
    command = update(custom={"topic": "x"})
    for who, standing in (("adam", "admin"), ("olga", "owner"), (ROOT, "app_admin")):
        if LEVELS.index(standing) >= LEVELS.index(level):
            assert group_in(done(tea(), command, who, rulebook)).custom == {"topic": "x"}
        else:
            refusal = refused(tea(), command, who, rulebook)
            assert refusal.code is ErrorCode.NO_PERMISSION
            assert refusal.detail == {"rule": "custom.topic", "have": standing, "need": level}


def test_a_field_that_was_not_declared_is_an_error() -> None:
    rulebook = rules(group_fields={"topic": field()}, member_fields={"team": field()})
    for key in ("tpoic", "team", "", "x" * 100):
        for value in ("x", None):
            refusal = refused(tea(), update(custom={key: value}), "olga", rulebook)
            assert refusal.code is ErrorCode.BAD_REQUEST
            assert refusal.detail["field"] == f"custom.{key[:64]}"


def test_a_custom_value_may_hold_control_characters_and_be_empty() -> None:
    rulebook = rules(group_fields={"topic": field()})
    for value in ("a\x00b\x1f\u202e", ""):
        changed = group_in(done(tea(), update(custom={"topic": value}), "olga", rulebook))
        assert changed.custom == {"topic": value}


def test_a_right_of_one_field_is_no_right_of_another() -> None:
    """In a Work group members edit the name and the like, and the owner the rest."""
    rulebook = rules(group_fields={"topic": field(write="member")})
    for command in (
        update(max_member_count=9),
        update(invite_join_option=InviteJoinOption.DISABLE_INVITE),
        update(mute_all=True),
        update(custom={"topic": "x"}),
    ):
        refusal = refused(tea(GroupType.WORK), command, "mia", rulebook)
        assert refusal.code is ErrorCode.NO_PERMISSION
        assert (refusal.detail["have"], refusal.detail["need"]) == ("member", "owner")


def test_who_is_not_in_the_group_learns_nothing_by_changing_nothing() -> None:
    for group_type in TYPES:
        assert refused(tea(group_type), update(), "zoe").code is ErrorCode.NO_PERMISSION
    assert done(tea(), update(), "mia").result == VersionResult(version=7)
    assert refused(state(group(), OLGA), update(if_version=1), "zoe").code == 10007
