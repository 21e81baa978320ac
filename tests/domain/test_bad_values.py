"""Values that are out of their limits: each one's error, and nothing changed (sections 1, 3, 7)."""

from collections.abc import Callable

import msgspec
import pytest

from protocol import commands
from protocol.commands import ChangingCommand, InitialMember
from protocol.errors import ERRORS, ErrorCode
from protocol.vocabulary import GroupType, Role
from tests.domain.building import (
    application,
    cases,
    done,
    field,
    invite,
    refused,
    remove,
    rules,
    state,
    tea,
)
from tests.domain.outcomes import created_in, results

EMPTY = state(fresh_token="a")
MOST = 2**53 - 1
WITH_FIELDS = rules(group_fields={"topic": field()}, member_fields={"team": field()})

Make = Callable[[str], ChangingCommand]


def create(**fields: object) -> commands.CreateGroup:
    command = commands.CreateGroup(type=GroupType.PUBLIC, name="Tea")
    return msgspec.structs.replace(command, **fields)


def update(**fields: object) -> commands.UpdateGroup:
    return msgspec.structs.replace(commands.UpdateGroup(group_id="g"), **fields)


def change(**fields: object) -> commands.UpdateMember:
    command = commands.UpdateMember(group_id="g", user_id="mia")
    return msgspec.structs.replace(command, **fields)


def join(message: str) -> commands.JoinGroup:
    return commands.JoinGroup(group_id="g", message=message)


def quietly(of: str) -> commands.RecallMessage:
    return commands.RecallMessage(group_id="g", seq=1, reason=of)


TEXTS: dict[str, tuple[Make, str, int, str]] = {
    "create name": (lambda text: create(name=text), "name", 100, "line"),
    "create introduction": (
        lambda text: create(introduction=text),
        "introduction",
        400,
        "paragraph",
    ),
    "create notification": (
        lambda text: create(notification=text),
        "notification",
        400,
        "paragraph",
    ),
    "create face_url": (lambda text: create(face_url=text), "face_url", 500, "line"),
    "create custom": (lambda text: create(custom={"topic": text}), "custom.topic", 512, "any"),
    "name": (lambda text: update(name=text), "name", 100, "line"),
    "introduction": (lambda text: update(introduction=text), "introduction", 400, "paragraph"),
    "notification": (lambda text: update(notification=text), "notification", 400, "paragraph"),
    "face_url": (lambda text: update(face_url=text), "face_url", 500, "line"),
    "custom": (lambda text: update(custom={"topic": text}), "custom.topic", 512, "any"),
    "name_card": (lambda text: change(name_card=text), "name_card", 50, "line"),
    "member custom": (lambda text: change(custom={"team": text}), "custom.team", 64, "any"),
    "application": (join, "message", 300, "paragraph"),
    "invitation": (
        lambda text: msgspec.structs.replace(invite("zoe"), message=text),
        "message",
        300,
        "paragraph",
    ),
    "removal": (
        lambda text: msgspec.structs.replace(remove("mia"), reason=text),
        "reason",
        300,
        "paragraph",
    ),
    "decision": (
        lambda text: commands.HandleApplications(
            application_ids=["join-zoe"], accept=True, message=text
        ),
        "message",
        300,
        "paragraph",
    ),
}
"""A text -> the command with it, the field that is named, its limit in bytes, what it may hold."""


def attempt(name: str, text: str) -> None:
    """Give the command; it must not be refused for the text."""
    make, *_ = TEXTS[name]
    command = make(text)
    if isinstance(command, commands.CreateGroup):
        done(EMPTY, command, "olga", WITH_FIELDS)
    elif isinstance(command, commands.HandleApplications):
        done(cases((application(), tea())), command, "olga", WITH_FIELDS)
    else:
        who = "zoe" if isinstance(command, commands.JoinGroup) else "olga"
        done(tea(), command, who, WITH_FIELDS)


def rejection(name: str, text: str) -> dict[str, object]:
    """Give the command; it must be refused for the text, with BAD_REQUEST."""
    make, *_ = TEXTS[name]
    command = make(text)
    of = EMPTY if isinstance(command, commands.CreateGroup) else tea()
    if isinstance(command, commands.HandleApplications):
        of = cases((application(), tea()))
    who = "zoe" if isinstance(command, commands.JoinGroup) else "olga"
    refusal = refused(of, command, who, WITH_FIELDS)
    assert refusal.code is ErrorCode.BAD_REQUEST
    return refusal.detail


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("letter", ["x", "ü", "茶", "\U0001f375"])
def test_a_text_is_measured_in_bytes_of_utf_8(name: str, letter: str) -> None:
    _, field_name, most, _ = TEXTS[name]
    count, rest = divmod(most, len(letter.encode()))
    attempt(name, letter * count + "x" * rest)
    detail = rejection(name, letter * count + "x" * (rest + 1))
    assert (detail["field"], detail["have"], detail["need"]) == (field_name, most + 1, most)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("mark", ["\x00", "\x1b", "\x7f", "\x85", "\u202e", "\u2066"])
def test_control_and_direction_characters(name: str, mark: str) -> None:
    _, field_name, _, holds = TEXTS[name]
    if holds == "any":
        attempt(name, f"a{mark}b")
    else:
        assert rejection(name, f"a{mark}b")["field"] == field_name


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("mark", ["\n", "\r", "\t"])
def test_line_breaks_belong_into_paragraphs(name: str, mark: str) -> None:
    _, field_name, _, holds = TEXTS[name]
    if holds == "line":
        assert rejection(name, f"a{mark}b")["field"] == field_name
    else:
        attempt(name, f"a{mark}b")


@pytest.mark.parametrize("name", TEXTS)
def test_only_a_name_must_not_be_empty(name: str) -> None:
    if TEXTS[name][1] == "name":
        assert rejection(name, "")["field"] == "name"
    else:
        attempt(name, "")


def test_the_text_of_a_recall_is_measured_too() -> None:
    assert refused(tea(), quietly("x" * 301), "olga").code is ErrorCode.BAD_REQUEST
    assert refused(tea(), quietly("x" * 300), "olga").code is ErrorCode.MESSAGE_NOT_FOUND


@pytest.mark.parametrize(
    ("wrong", "group_type"),
    [
        ("", GroupType.PUBLIC),
        ("x" * 49, GroupType.PUBLIC),
        ("tée", GroupType.PUBLIC),
        ("a\nb", GroupType.PUBLIC),
        ("a\x7f", GroupType.WORK),
        ("@TGS#mine", GroupType.PUBLIC),
        ("@TGS#_mine", GroupType.MEETING),
        ("mine", GroupType.COMMUNITY),
        ("@TGS#mine", GroupType.COMMUNITY),
        ("@TGS#_" + "x" * 43, GroupType.COMMUNITY),
    ],
)
def test_a_group_id_that_nobody_may_choose(wrong: str, group_type: GroupType) -> None:
    refusal = refused(EMPTY, create(group_id=wrong, type=group_type), "olga")
    assert refusal.code is ErrorCode.INVALID_GROUP_ID
    assert refusal.detail == {"group_id": wrong, "type": group_type}


@pytest.mark.parametrize(
    ("right", "group_type"),
    [
        ("x" * 48, GroupType.PUBLIC),
        (" ~!", GroupType.WORK),
        ("@TGS", GroupType.MEETING),
        ("@TGS#_mine", GroupType.COMMUNITY),
        ("@TGS#_" + "x" * 42, GroupType.COMMUNITY),
    ],
)
def test_a_group_id_that_one_may_choose(right: str, group_type: GroupType) -> None:
    decision = done(EMPTY, create(group_id=right, type=group_type), "olga")
    assert created_in(decision).group_id == right


@pytest.mark.parametrize("wrong", ["", "x" * 33, "zoé", "zo\ne", "zo\x7f"])
def test_a_user_id_that_is_none(wrong: str) -> None:
    assert refused(EMPTY, create(), wrong).code is ErrorCode.INVALID_USER_ID
    assert refused(tea(), join(""), wrong).code is ErrorCode.INVALID_USER_ID
    assert [error for *_, error in results(done(tea(), invite(wrong, "zoe"), "olga"))] == [
        "INVALID_USER_ID",
        None,
    ]
    transfer = commands.TransferGroup(group_id="g", new_owner_id=wrong)
    assert refused(tea(), transfer, "olga").code is ErrorCode.USER_NOT_FOUND
    other = commands.UpdateMember(group_id="g", user_id=wrong, name_card="x")
    assert refused(tea(), other, "olga").code is ErrorCode.USER_NOT_FOUND


def test_a_user_id_of_32_bytes_will_do() -> None:
    assert [error for *_, error in results(done(tea(), invite("x" * 32), "olga"))] == [None]


def test_lists_are_neither_empty_nor_too_long() -> None:
    users = [f"u{number}" for number in range(101)]
    for make in (invite, remove):
        assert refused(tea(), make(), "olga").code is ErrorCode.BAD_REQUEST
        refusal = refused(tea(), make(*users), "olga")
        assert refusal.code is ErrorCode.TOO_MANY_ACCOUNTS
        assert (refusal.detail["have"], refusal.detail["need"]) == (101, 100)
        done(tea(), make(*users[:100]), "olga")
    initial = [InitialMember(user_id=user) for user in users]
    refusal = refused(EMPTY, create(members=initial), "olga")
    assert (refusal.code, refusal.detail["field"]) == (ErrorCode.TOO_MANY_ACCOUNTS, "members")
    done(EMPTY, create(members=initial[:100]), "olga")


def test_an_owner_is_neither_an_initial_member_nor_made_by_a_change() -> None:
    initial = [InitialMember(user_id="mia", role=Role.OWNER)]
    decision = done(EMPTY, create(members=initial), "olga")
    assert created_in(decision).owner_id == "olga"
    assert refused(tea(), change(role=Role.OWNER), "olga").code is ErrorCode.BAD_REQUEST


def test_nobody_removes_themselves() -> None:
    for who in ("olga", "adam"):
        assert refused(tea(), remove(who), who).code is ErrorCode.NO_PERMISSION


def test_a_user_who_must_be_known_and_is_not() -> None:
    known = tea(seen={"known_users": {"zoe"}})
    came = results(done(known, invite("zoe", "yan"), "olga"))
    assert [error for *_, error in came] == [None, "USER_NOT_FOUND"]
    assert refused(known, join(""), "yan").code is ErrorCode.USER_NOT_FOUND


def test_the_refusal_of_an_unknown_user_says_what_is_had_and_needed() -> None:
    refusal = refused(tea(seen={"known_users": set()}), join(""), "yan")
    assert set(refusal.detail) >= {"rule", "have", "need"}


def test_numbers_at_the_end_of_what_travels() -> None:
    far = state(fresh_token="a", groups_today=0)
    refusal = refused(far, create(max_member_count=MOST), "olga")
    assert refusal.code is ErrorCode.BAD_REQUEST
    assert refused(tea(), update(max_member_count=MOST), "olga").code is ErrorCode.BAD_REQUEST
    assert refused(tea(), update(if_version=MOST), "olga").code is ErrorCode.GROUP_VERSION_CONFLICT
    assert refused(tea(), change(mute_s=MOST), "olga").code is ErrorCode.BAD_REQUEST
    recall = commands.RecallMessage(group_id="g", seq=MOST)
    assert refused(tea(), recall, "olga").code is ErrorCode.MESSAGE_NOT_FOUND
    done(tea(), commands.MarkRead(group_id="g", seq=MOST), "mia")
    done(state(), commands.ReadApplications(up_to_ms=MOST), "mia")


def test_a_limit_that_is_0_is_none() -> None:
    off = rules(limits=dict.fromkeys(("NAME_CARD_BYTES", "MEMBERS_PUBLIC", "GROUPS_PER_USER"), 0))
    free = created_in(done(EMPTY, create(), "olga", off))
    assert free.max_member_count == 0, "no limit"
    full = tea(max_member_count=0, member_count=10**6, seen={"group_counts": {"zoe": 10**6}})
    assert [error for *_, error in results(done(full, invite("zoe"), "olga", off))] == [None]


def test_every_code_of_a_refusal_is_in_the_table() -> None:
    assert set(ERRORS) == set(ErrorCode)
    assert all(spec.text and 400 <= spec.http_status < 600 for spec in ERRORS.values())
