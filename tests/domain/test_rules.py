"""The tables are whole, the operator can replace their cells, and no command breaks the rules."""

import copy
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol import commands
from protocol.commands import ChangingCommand
from protocol.errors import ERRORS, ErrorCode, Refused
from protocol.limits import LIMITS, default_limits
from protocol.methods import METHOD_OF, METHODS
from protocol.vocabulary import GroupType
from server.domain.decide import _CASES, decide, needs_of, widened
from server.domain.jobs import RecycleGroup
from server.domain.model import Actor, Decision, MoreNeeded, Slice
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
    NOW_MS,
    done,
    field,
    refused,
    rules,
    tea,
)
from tests.domain.laws import check
from tests.domain.outcomes import told
from tests.domain.shapes import actors, slices, structs

CHANGING = [method.command for method in METHODS.values() if method.changes]
RULEBOOKS = [
    rules(
        group_fields={"topic": field(), "k1": field(write="owner")},
        member_fields={"team": field(write="self"), "k2": field(write="member")},
    ),
    rules(consent=True, limits={"PENDING_APPLICATIONS": 1, "MUTE_S": 100}),
    Rulebook(limits={name: spec.default * (not spec.may_be_off) for name, spec in LIMITS.items()}),
]


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


@pytest.mark.parametrize("kind", list(_CASES), ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_command_is_decided_or_refused(
    kind: type[ChangingCommand], data: st.DataObject
) -> None:
    command = data.draw(structs(kind))
    actor = data.draw(actors)
    of = data.draw(slices(command, actor))
    rulebook = data.draw(st.sampled_from(RULEBOOKS))
    before = copy.deepcopy(of)
    outcome = decided(rulebook, of, command, actor)
    if isinstance(outcome, Decision):
        check(outcome, of, command)
    elif isinstance(outcome, Refused):
        assert outcome.code in ERRORS
        assert outcome.code is not ErrorCode.INTERNAL
        msgspec.json.encode(outcome.detail)
    assert of == before


class Watched(dict[str, Any]):
    """Rows by user, and of which users they were asked for."""

    def __init__(self, rows: Mapping[str, Any]) -> None:
        super().__init__(rows)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - as of any map
        self.asked.add(key)
        return super().get(key, default)


@pytest.mark.parametrize("kind", list(_CASES), ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_row_is_looked_at_that_was_not_asked_for(
    kind: type[ChangingCommand], data: st.DataObject
) -> None:
    """What ``needs_of`` does not name is not read from the store, so nobody may rest on it."""
    command = data.draw(structs(kind))
    actor = data.draw(actors)
    of = data.draw(slices(command, actor))
    needs = needs_of(command, actor)
    watched = {
        name: Watched(getattr(of, name)) for name in ("members", "remembered", "group_counts")
    }
    decided(RULEBOOKS[0], msgspec.structs.replace(of, **watched), command, actor)
    owner = {of.group.owner_id} if needs.owner and of.group is not None else set()
    assert watched["members"].asked <= {*needs.member_ids, *owner}
    assert watched["remembered"].asked <= set(needs.remembered_ids)
    assert watched["group_counts"].asked <= set(needs.counted_user_ids)


def decided(
    rulebook: Rulebook, of: Slice, command: ChangingCommand, actor: Actor
) -> Decision | Refused | MoreNeeded:
    try:
        return decide(rulebook, of, command, actor, NOW_MS)
    except (Refused, MoreNeeded) as instead:
        return instead
