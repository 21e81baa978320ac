"""Operation x type x actor x target, decided and held against ``rights_table.txt``."""

from collections.abc import Iterator
from typing import Final

import pytest

from protocol import commands
from protocol.errors import ErrorCode, Refused
from protocol.results import (
    JoinGroupResult,
    JoinStatus,
    MemberResult,
    MemberResultKind,
    MemberResults,
)
from protocol.vocabulary import GroupType
from server.domain.decide import decide
from server.domain.model import Actor, Group, Member, Slice
from server.domain.rules import TRAITS, Operation, TipPolicy, standing_of
from tests.domain.asking import OPERATIONS, RULEBOOK, scene
from tests.domain.building import (
    LONG_AGO_MS,
    NOW_MS,
    RULES,
    TYPES,
)
from tests.domain.table import ACTORS, TARGETS, expected, section

CELLS: Final = 5 * (6 * 5 - 1)
"""Types x (actors x targets but the owner acting on another owner: there is one at most)."""

READS: Final = {
    "see the profile": Operation.SEE_PROFILE,
    "list members": Operation.LIST_MEMBERS,
    "read the history": Operation.READ_HISTORY,
}
"""What is asked for without one: the same rulebook is asked, by the queries."""


def cells(operation: str) -> Iterator[tuple[GroupType, str, str, str]]:
    """Type, actor, target, and what is to come of it."""
    row = OPERATIONS[operation]
    for group_type in TYPES:
        for actor in ACTORS:
            for target in TARGETS:
                if (actor, target) == ("owner", "owner"):
                    continue
                is_own = target == "self" and row.row_for_self is not None
                name = row.row_for_self if is_own and row.row_for_self else row.row
                yield group_type, actor, target, expected(name, group_type, actor, target)


def outcome(operation: str, group_type: GroupType, actor: str, target: str) -> str | Refused:
    """What the domain makes of it: done, waits, moot, or a refusal."""
    at = scene(group_type, actor, target)
    shown, command = OPERATIONS[operation].ask(at)
    try:
        result = decide(RULEBOOK, shown, command, at.actor, NOW_MS).result
    except Refused as refusal:
        return refusal
    if isinstance(result, JoinGroupResult):
        return {JoinStatus.PENDING: "waits", JoinStatus.ALREADY_MEMBER: "moot"}.get(
            result.status, "done"
        )
    if isinstance(result, MemberResults):
        (one,) = result.members
        return of_one(one)
    return "done"


def of_one(one: MemberResult) -> str | Refused:
    if one.error is not None:
        return Refused(ErrorCode(one.error.code), one.error.message, **one.error.detail)
    return {
        MemberResultKind.PENDING: "waits",
        MemberResultKind.ALREADY_MEMBER: "moot",
        MemberResultKind.NOT_MEMBER: "moot",
    }.get(one.result, "done")


def word(came: str | Refused) -> str:
    return str(came.code.value) if isinstance(came, Refused) else came


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_decided_is_what_the_table_says(operation: str) -> None:
    wrong = [
        (group_type, actor, target, wanted, came)
        for group_type, actor, target, wanted in cells(operation)
        if (came := word(outcome(operation, group_type, actor, target))) != wanted
    ]
    assert wrong == []


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_refusal_by_rule_says_the_rule_and_what_is_had_and_needed(operation: str) -> None:
    by_rule = {10007, 10009, 10014, 10017, 10031, 10037}
    silent = [
        (group_type, actor, target, came.detail)
        for group_type, actor, target, _ in cells(operation)
        if isinstance(came := outcome(operation, group_type, actor, target), Refused)
        and came.code in by_rule
        and any(came.detail.get(key) in (None, "") for key in ("rule", "have", "need"))
    ]
    assert silent == []


def test_the_product_has_no_hole() -> None:
    assert (len(TYPES), len(ACTORS), len(TARGETS)) == (5, 6, 5)
    counts = {operation: sum(1 for _ in cells(operation)) for operation in OPERATIONS}
    assert set(counts.values()) == {CELLS}
    assert sum(counts.values()) == 41 * CELLS == 5945


def test_every_row_of_the_table_is_asked_for() -> None:
    asked = {row.row for row in OPERATIONS.values()} | set(READS)
    asked |= {row.row_for_self for row in OPERATIONS.values() if row.row_for_self}
    assert asked == set(section("rights"))
    assert set(section("targets")) <= asked


@pytest.mark.parametrize("row", READS)
def test_what_is_read_is_what_the_table_says(row: str) -> None:
    wrong = []
    for group_type in TYPES:
        for actor in ACTORS:
            at = scene(group_type, actor, "none")
            standing = standing_of(at.actor, at.members.get("actor"))
            try:
                RULEBOOK.require(READS[row], group_type, standing)
                came = "done"
            except Refused as refusal:
                says_why = set(refusal.detail) == {"rule", "have", "need"}
                came = str(refusal.code.value) if says_why else "silent"
            if came != expected(row, group_type, actor, "none"):
                wrong.append((group_type, actor, came))
    assert wrong == []


def test_a_right_that_is_not_had_is_missed_before_a_value_is_looked_at() -> None:
    at = scene(GroupType.PUBLIC, "none", "member")
    for command in (
        commands.UpdateGroup(group_id="g", name="x" * 1000),
        commands.UpdateMember(group_id="g", user_id="target", name_card="x" * 1000),
        commands.SendMessage(group_id="g", body=[]),
    ):
        with pytest.raises(Refused) as caught:
            decide(RULEBOOK, at.state(), command, at.actor, NOW_MS)
        assert caught.value.code is ErrorCode.NO_PERMISSION


@pytest.mark.parametrize("group_type", TYPES)
def test_the_traits_are_those_of_the_table(group_type: GroupType) -> None:
    traits = TRAITS[group_type]
    keeps = {what: row[group_type] for what, row in section("keeps").items()}
    tips = {what: row[group_type] for what, row in section("tips").items()}
    said = {True: "yes", False: "no"}
    most = RULES.limit(traits.member_limit) if traits.member_limit is not None else 0
    assert keeps == {
        "members at most": str(most),
        "members are stored": said[traits.stores_members],
        "history is kept": said[traits.stores_messages],
        "earlier history is shown": said[traits.shows_earlier_history],
        "unread counts": said[traits.counts_unread],
        "counts as a group of the day": said[traits.counts_for_the_day],
        "default receive option": traits.receive_option,
        "default apply_join_option": traits.apply_join_option,
        "apply_join_option is fixed": said[traits.apply_is_fixed],
        "default invite_join_option": traits.invite_join_option,
        "invite_join_option is fixed": said[traits.invite_is_fixed],
    }
    words = {TipPolicy.STORED: "stored", TipPolicy.PUSHED: "pushed", TipPolicy.OFF: "no"}
    assert tips == {
        "join, invite, kick, quit": words[traits.membership_tips],
        "profile change": words[traits.profile_tips],
        "mute, admin set or cancelled": words[traits.role_and_mute_tips],
        "mute-all and join options": words[traits.option_tips],
    }
    assert not traits.invitee_consent


def test_the_options_of_a_new_group_are_those_of_the_table() -> None:
    for group_type in TYPES:
        command = commands.CreateGroup(type=group_type, name="Tea")
        decision = decide(RULES, Slice(group=None, fresh_token="a"), command, Actor("ann"), NOW_MS)
        (made,) = [row for row in decision.puts.values() if isinstance(row, Group)]
        (owner,) = [row for row in decision.puts.values() if isinstance(row, Member)]
        keeps = {what: row[group_type] for what, row in section("keeps").items()}
        assert made.apply_join_option == keeps["default apply_join_option"]
        assert made.invite_join_option == keeps["default invite_join_option"]
        assert str(made.max_member_count) == keeps["members at most"]
        assert owner.receive_option == keeps["default receive option"]
        assert LONG_AGO_MS < made.create_time_ms == NOW_MS
