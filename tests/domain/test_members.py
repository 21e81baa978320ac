"""Changes of one member: role, mute, name card, custom fields, receive option (section 4)."""

import contextlib
from typing import Any

import msgspec
import pytest

from protocol import commands
from protocol.errors import ErrorCode, Refused
from protocol.results import MemberChanged, MemberProfile
from protocol.vocabulary import GroupType, ReceiveOption, Role
from server.domain.jobs import AdjustMember
from server.domain.model import (
    Decision,
    GroupKey,
    Member,
    MemberKey,
    ReadState,
    Remembered,
    RememberedKey,
    Slice,
)
from tests.domain.building import (
    ADAM,
    LONG_AGO_MS,
    MIA,
    NOW_MS,
    OLGA,
    ROOT,
    SAM,
    STORED_TYPES,
    TYPES,
    done,
    field,
    group,
    member,
    refused,
    rules,
    state,
    tea,
)
from tests.domain.outcomes import group_in, member_in

MOST = 2**53 - 1
WITH_ADMINS = (GroupType.PUBLIC, GroupType.MEETING, GroupType.COMMUNITY)


def change(user_id: str = "mia", **fields: object) -> commands.UpdateMember:
    command = commands.UpdateMember(group_id="g", user_id=user_id)
    return msgspec.structs.replace(command, **fields)


def with_mia(group_type: GroupType = GroupType.PUBLIC, **fields: object) -> Slice:
    mia = msgspec.structs.replace(MIA, **fields)
    return state(group(group_type), OLGA, ADAM, mia, SAM)


def shown(decision: Decision) -> MemberProfile:
    assert isinstance(decision.result, MemberChanged)
    return decision.result.member


@pytest.mark.parametrize("group_type", WITH_ADMINS)
def test_an_admin_is_made_and_dismissed(group_type: GroupType) -> None:
    made = done(tea(group_type), change(role=Role.ADMIN), "olga")
    assert member_in(made, "mia") == msgspec.structs.replace(MIA, role=Role.ADMIN)
    assert (group_in(made).version, group_in(made).member_count) == (8, 4)
    assert shown(made).role is Role.ADMIN
    dismissed = done(tea(group_type), change("adam", role=Role.MEMBER), "olga")
    assert member_in(dismissed, "adam").role is Role.MEMBER


def test_the_owner_is_neither_made_nor_changed_here() -> None:
    for command in (change(role=Role.OWNER), change("olga", role=Role.MEMBER)):
        for who in ("olga", ROOT):
            refusal = refused(tea(), command, who)
            assert (refusal.code, refusal.detail["field"]) == (ErrorCode.BAD_REQUEST, "role")


@pytest.mark.parametrize("group_type", TYPES[1:])
def test_a_mute_ends_by_its_time(group_type: GroupType) -> None:
    decision = done(tea(group_type), change(mute_s=60), "olga")
    assert shown(decision).mute_until_ms == NOW_MS + 60_000
    assert group_in(decision).version == 8
    longer = done(with_mia(group_type, mute_until_ms=NOW_MS + 5), change(mute_s=90), "olga")
    assert shown(longer).mute_until_ms == NOW_MS + 90_000
    ended = done(with_mia(group_type, mute_until_ms=NOW_MS + 5), change(mute_s=0), "olga")
    assert shown(ended).mute_until_ms == 0


def test_a_mute_is_of_a_length_that_travels() -> None:
    most = 4_294_967_295
    assert shown(done(tea(), change(mute_s=most), "olga")).mute_until_ms == NOW_MS + most * 1000
    refusal = refused(tea(), change(mute_s=most + 1), "olga")
    assert refusal.code is ErrorCode.BAD_REQUEST
    assert refusal.detail == {"field": "mute_s", "rule": "mute_s", "have": most + 1, "need": most}


def test_a_mute_without_a_limit_still_ends_at_a_time_that_travels() -> None:
    """MUTE_S may be 0, for no limit; integers on the wire end at 2^53-1."""
    unlimited = rules(limits={"MUTE_S": 0})
    with contextlib.suppress(Refused):
        decision = done(tea(), change(mute_s=MOST), "olga", unlimited)
        assert shown(decision).mute_until_ms <= MOST


def test_nobody_mutes_themselves() -> None:
    for who in ("olga", "adam", "mia"):
        refusal = refused(tea(), change(who, mute_s=5), who)
        assert refusal.code is ErrorCode.NO_PERMISSION


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_a_name_card_and_custom_fields_change(group_type: GroupType) -> None:
    rulebook = rules(member_fields={"team": field(write="self"), "mood": field(write="self")})
    of = with_mia(group_type, custom={"team": "red"})
    decision = done(
        of, change(name_card="M.", custom={"team": None, "mood": "calm"}), "mia", rulebook
    )
    after = member_in(decision, "mia")
    assert (after.name_card, after.custom) == ("M.", {"mood": "calm"})
    assert (group_in(decision).version, shown(decision).custom) == (8, {"mood": "calm"})


WRITERS = {
    "anyone": {"mia", "adam", "olga", "root"},
    "member": {"mia", "adam", "olga", "root"},
    "self": {"mia"},
    "admin": {"adam", "olga", "root"},
    "owner": {"olga", "root"},
    "app_admin": {"root"},
}


@pytest.mark.parametrize("level", WRITERS)
def test_a_member_field_is_written_by_its_level(level: str) -> None:
    rulebook = rules(member_fields={"team": field(write=level)})
    for who in ("mia", "adam", "olga", "root"):
        actor = ROOT if who == "root" else who
        command = change(custom={"team": "red"})
        if who in WRITERS[level]:
            assert member_in(done(tea(), command, actor, rulebook), "mia").custom == {"team": "red"}
        elif level != "self":  # the page does not say whether admins write a field of oneself
            refusal = refused(tea(), command, actor, rulebook)
            assert refusal.code is ErrorCode.NO_PERMISSION
            assert refusal.detail["rule"] == "custom.team"
            assert refusal.detail["need"] == level
    assert refused(tea(), change(custom={"team": "x"}), "sam", rulebook).code == 10007


@pytest.mark.parametrize("level", ["anyone", "member", "self", "admin", "owner", "app_admin"])
def test_the_answer_shows_what_the_actor_may_read(level: str) -> None:
    rulebook = rules(member_fields={"team": field(read=level), "old": field()})
    of = with_mia(custom={"team": "red", "undeclared": "x"})
    own = done(of, change(name_card="M."), "mia", rulebook)
    expected = {"team": "red"} if level in {"anyone", "member", "self"} else {}
    assert shown(own).custom == expected
    by_owner = done(of, change(name_card="M."), "olga", rulebook)
    assert shown(by_owner).custom == ({"team": "red"} if level != "app_admin" else {})


def test_a_field_that_was_not_declared_is_an_error() -> None:
    rulebook = rules(group_fields={"topic": field()}, member_fields={"team": field()})
    for key in ("topic", "taem", ""):
        refusal = refused(tea(), change(custom={key: "x"}), "olga", rulebook)
        assert (refusal.code, refusal.detail["field"]) == (ErrorCode.BAD_REQUEST, f"custom.{key}")


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_a_receive_option_changes_the_member_and_no_version(group_type: GroupType) -> None:
    decision = done(tea(group_type), change(receive_option=ReceiveOption.DISCARD), "mia")
    discards = msgspec.structs.replace(MIA, receive_option=ReceiveOption.DISCARD)
    assert dict(decision.puts) == {MemberKey("g", "mia"): discards}


def test_nobody_sets_another_ones_receive_option() -> None:
    for who in ("olga", "adam", ROOT):
        refusal = refused(tea(), change(receive_option=ReceiveOption.DISCARD), who)
        assert refusal.code is ErrorCode.NO_PERMISSION
        assert refusal.detail["need"] == "self"


def test_the_operator_adjusts_everything_in_one_decision() -> None:
    wanted: dict[str, Any] = {
        "role": Role.ADMIN,
        "name_card": "M.",
        "mute_s": 60,
        "receive_option": ReceiveOption.DISCARD,
    }
    command = AdjustMember(group_id="g", user_id="mia", **wanted)
    decision = done(tea(), command, ROOT)
    row = decision.puts[MemberKey("g", "mia")]
    assert isinstance(row, Member)
    assert (row.role, row.name_card, row.receive_option) == (
        Role.ADMIN,
        "M.",
        ReceiveOption.DISCARD,
    )
    assert row.mute_until_ms == NOW_MS + 60_000
    told = [entry.event for entry in decision.entries if entry.inbox_of == "mia"]
    assert told == ["admin_granted", "member_profile_changed", "receive_option_changed"]
    for who in ("olga", "adam"):
        assert refused(tea(), command, who).code is ErrorCode.NO_PERMISSION
    flag = AdjustMember(group_id="g", user_id="mia", receive_option=ReceiveOption.DISCARD)
    assert refused(tea(), flag, "olga").detail["need"] == "self", "operators alone adjust"
    faults: list[dict[str, Any]] = [{"role": Role.OWNER}, {"name_card": "x" * 51}]
    for spoiled in faults:
        bad = AdjustMember(group_id="g", user_id="mia", **(wanted | spoiled))
        assert refused(tea(), bad, ROOT).code is ErrorCode.BAD_REQUEST


def test_what_is_so_already_changes_nothing() -> None:
    rulebook = rules(member_fields={"team": field(write="member")})
    of = with_mia(name_card="M.", custom={"team": "red"})
    for command, who in (
        (change(), "mia"),
        (change(name_card="M.", custom={"team": "red"}), "mia"),
        (change(role=Role.MEMBER, mute_s=0), "olga"),
        (change(receive_option=ReceiveOption.ACCEPT_AND_NOTIFY), "mia"),
        (change(custom={"team": "red"}, name_card="M."), "adam"),
    ):
        decision = done(of, command, who, rulebook)
        assert (dict(decision.puts), list(decision.entries)) == ({}, [])
        assert shown(decision).name_card == "M."


def test_several_changes_are_one_version_and_all_or_nothing() -> None:
    both = change(role=Role.ADMIN, mute_s=60, name_card="M.")
    decision = done(tea(), both, "olga")
    assert group_in(decision).version == 8
    assert member_in(decision, "mia") == member(
        "mia", Role.ADMIN, mute_until_ms=NOW_MS + 60_000, name_card="M."
    )
    assert refused(tea(), both, "adam").detail["rule"] == "appoint_admins"
    assert refused(tea(), change(mute_s=60, name_card="x" * 51), "olga").code == 10004


def test_the_answer_is_the_member_as_it_is_now() -> None:
    of = tea(seen={"read_state": ReadState(head_seq=9, read_seq=4, last_message_time_ms=77)})
    assert shown(done(of, change(name_card="M."), "mia")) == MemberProfile(
        user_id="mia",
        role=Role.MEMBER,
        join_time_ms=LONG_AGO_MS,
        read_seq=4,
        receive_option=ReceiveOption.ACCEPT_AND_NOTIFY,
        last_message_time_ms=77,
        name_card="M.",
        mute_until_ms=0,
        custom={},
    )


def test_who_takes_part_in_an_avchatroom_is_remembered_and_not_stored() -> None:
    muted = done(tea(GroupType.AVCHATROOM), change(mute_s=60), "olga")
    assert muted.puts[RememberedKey("g", "mia")] == Remembered(
        group_id="g",
        user_id="mia",
        mute_until_ms=NOW_MS + 60_000,
        receive_option=ReceiveOption.ACCEPT_AND_NOTIFY,
    )
    assert MemberKey("g", "mia") not in muted.puts
    assert group_in(muted).version == 8
    quiet = done(tea(GroupType.AVCHATROOM), change(receive_option=ReceiveOption.DISCARD), "mia")
    assert list(quiet.puts) == [RememberedKey("g", "mia")]
    owner = done(
        tea(GroupType.AVCHATROOM), change("olga", receive_option=ReceiveOption.DISCARD), "olga"
    )
    assert list(owner.puts) == [MemberKey("g", "olga")], "the owner's membership is stored"


def test_who_takes_part_again_keeps_the_mute_and_not_the_receive_option() -> None:
    until_ms = NOW_MS + 60_000
    memory = Remembered(
        group_id="g",
        user_id="zoe",
        mute_until_ms=until_ms,
        receive_option=ReceiveOption.DISCARD,
    )
    of = tea(GroupType.AVCHATROOM, seen={"remembered": {"zoe": memory}})
    decision = done(of, commands.JoinGroup(group_id="g"), "zoe")
    assert dict(decision.puts) == {
        RememberedKey("g", "zoe"): Remembered(group_id="g", user_id="zoe", mute_until_ms=until_ms)
    }


@pytest.mark.parametrize("group_type", STORED_TYPES)
def test_a_user_who_is_not_in_the_group_is_not_found(group_type: GroupType) -> None:
    refusal = refused(tea(group_type), change("zoe", name_card="Z."), "olga")
    assert (refusal.code, refusal.detail) == (ErrorCode.USER_NOT_FOUND, {"user_id": "zoe"})
    assert refused(tea(group_type), change("zoe"), "olga").code is ErrorCode.USER_NOT_FOUND
    assert refused(tea(group_type), change("mia"), "zoe").code is ErrorCode.NO_PERMISSION
    assert GroupKey("g") not in done(tea(group_type), change("mia"), "sam").puts


def test_who_is_not_stored_is_not_adjusted() -> None:
    room = tea(GroupType.AVCHATROOM)
    command = AdjustMember(group_id="g", user_id="mia", mute_s=60)
    refusal = refused(room, command, ROOT)
    assert (refusal.code, refusal.detail["have"]) == (ErrorCode.NO_PERMISSION, "AVChatRoom")
    done(room, commands.UpdateMember(group_id="g", user_id="mia", mute_s=60), ROOT)
