"""The tables are whole, and the operator can replace their cells."""

import re
from typing import Any

import pytest

from protocol import commands
from protocol.limits import LIMITS, default_limits
from protocol.methods import METHOD_OF, METHODS
from protocol.vocabulary import GroupType
from server.domain.decide import _CASES, needs_of, widened
from server.domain.jobs import RecycleGroup
from server.domain.model import Actor
from server.domain.overrides import configured_rulebook
from server.domain.rules import (
    ONLY_LOWER_RANK,
    RIGHTS,
    TRAITS,
    FieldLevel,
    Operation,
    Right,
    Rulebook,
    TipPolicy,
)
from tests.domain.building import (
    done,
    refused,
    tea,
)
from tests.domain.outcomes import told

CHANGING = [method.command for method in METHODS.values() if method.changes]


def configured(**tables: Any) -> Rulebook:  # noqa: ANN401 - as the configuration file has it
    return configured_rulebook(
        **{
            "limits": default_limits(),
            "types": {},
            "group_fields": {},
            "member_fields": {},
            **tables,
        }
    )


def test_every_operation_has_a_right_for_every_type() -> None:
    assert set(RIGHTS) == set(Operation)
    for row in RIGHTS.values():
        assert set(row) == set(GroupType)
        assert all(isinstance(right, Right) for right in row.values())
    assert set(Operation) > ONLY_LOWER_RANK


def test_every_type_has_traits_and_a_limit_that_there_is() -> None:
    assert set(TRAITS) == set(GroupType)
    for traits in TRAITS.values():
        assert traits.member_limit is None or traits.member_limit in LIMITS


def test_every_changing_method_has_a_case_and_so_have_the_servers_own_commands() -> None:
    assert len(CHANGING) == 17
    assert set(_CASES) >= set(CHANGING)
    of_the_server = set(_CASES) - set(CHANGING)
    assert RecycleGroup in of_the_server
    assert of_the_server.isdisjoint(METHOD_OF), "no caller gives them"
    assert all(kind.__module__ == "server.domain.jobs" for kind in of_the_server)


def test_only_what_reads_more_than_rows_is_wide() -> None:
    actor = Actor("ann")
    plain = needs_of(commands.JoinGroup(group_id="g"), actor)
    assert not plain.is_wide
    assert widened(plain).is_wide
    assert needs_of(commands.RecallMessage(group_id="g", seq=1), actor).is_wide
    handling = commands.HandleApplications(application_ids=["a"], accept=True)
    assert needs_of(handling, actor).is_wide


def test_without_a_configuration_the_tables_are_those_of_the_page() -> None:
    rulebook = configured()
    assert (dict(rulebook.rights), dict(rulebook.traits)) == (dict(RIGHTS), dict(TRAITS))


def test_the_operator_replaces_cells_of_rights_and_no_others() -> None:
    types = {"Meeting": {"rights": {"edit_basic_profile": "member", "disband": "not_supported"}}}
    rulebook = configured(types=types)
    changed = {
        (operation, group_type)
        for operation, row in rulebook.rights.items()
        for group_type, right in row.items()
        if right is not RIGHTS[operation][group_type]
    }
    assert changed == {
        (Operation.EDIT_BASIC_PROFILE, GroupType.MEETING),
        (Operation.DISBAND, GroupType.MEETING),
    }
    command = commands.UpdateGroup(group_id="g", name="Coffee")
    done(tea(GroupType.MEETING), command, "mia", rulebook)
    assert refused(tea(GroupType.PUBLIC), command, "mia", rulebook).code == 10007


def test_the_operator_replaces_traits() -> None:
    traits = {"membership_tips": "stored", "option_tips": "stored", "invitee_consent": True}
    rulebook = configured(types={"ChatRoom": {"traits": traits}})
    meeting = rulebook.traits[GroupType.MEETING]
    assert (meeting.membership_tips, meeting.invitee_consent) == (TipPolicy.STORED, True)
    assert rulebook.traits[GroupType.PUBLIC] == TRAITS[GroupType.PUBLIC]
    quits = done(tea(GroupType.MEETING), commands.QuitGroup(group_id="g"), "mia", rulebook)
    assert told(quits) == ["log: tip member_quit 2 left=mia", "mia: notice quit 8"]
    mute_all = commands.UpdateGroup(group_id="g", mute_all=True)
    muted = done(tea(GroupType.MEETING), mute_all, "olga", rulebook)
    assert told(muted) == ["log: tip group_profile_changed 6"]


def test_the_operator_declares_fields() -> None:
    rulebook = configured(
        group_fields={"topic": {"read": "anyone", "write": "owner"}, "_a1": {}},
        member_fields={"team": {"write": "self"}},
    )
    assert rulebook.group_fields["topic"].read is FieldLevel.ANYONE
    assert rulebook.group_fields["topic"].write is FieldLevel.OWNER
    assert rulebook.member_fields["team"].write is FieldLevel.SELF


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "type": ({"types": {"Party": {}}}, "types.Party"),
    "part": ({"types": {"Work": {"right": {}}}}, "types.Work.right"),
    "operation": ({"types": {"Work": {"rights": {"dance": "owner"}}}}, "types.Work.rights.dance"),
    "right": ({"types": {"Work": {"rights": {"join": "king"}}}}, "types.Work.rights.join"),
    "right's kind": ({"types": {"Work": {"rights": {"join": 3}}}}, "types.Work.rights.join"),
    "trait": ({"types": {"Work": {"traits": {"colour": 1}}}}, "types.Work.traits.colour"),
    "trait's value": (
        {"types": {"Work": {"traits": {"profile_tips": "loud"}}}},
        "types.Work.traits",
    ),
    "limit's name": ({"types": {"Work": {"traits": {"member_limit": "NO"}}}}, "types.Work.traits"),
    "type's kind": ({"types": {"Work": 3}}, "types.Work"),
    "rights' kind": ({"types": {"Work": {"rights": ["join"]}}}, "types.Work.rights"),
    "traits' kind": ({"types": {"Work": {"traits": "x"}}}, "types.Work.traits"),
    "key": ({"group_fields": {"1st": {}}}, "group_fields.1st"),
    "long key": ({"member_fields": {"x" * 17: {}}}, "member_fields." + "x" * 17),
    "level": ({"group_fields": {"a": {"read": "king"}}}, "group_fields.a"),
    "group field of oneself": ({"group_fields": {"a": {"write": "self"}}}, "group_fields.a"),
    "field's part": ({"group_fields": {"a": {"reed": "owner"}}}, "group_fields.a"),
    "field's kind": ({"member_fields": {"a": 3}}, "member_fields.a"),
    "shared": ({"group_fields": {"a": {}}, "member_fields": {"a": {}}}, "a is declared"),
    "many": ({"group_fields": {f"a{n}": {} for n in range(11)}}, "group_fields"),
    "many of members": ({"member_fields": {f"a{n}": {} for n in range(6)}}, "member_fields"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_makes_no_sense_is_refused_and_the_place_is_named(name: str) -> None:
    tables, place = WRONG[name]
    with pytest.raises(ValueError, match=re.escape(place)):
        configured(**tables)
