"""Whatever is asked, of whatever state: a decision or a refusal, and both keep the laws."""

import copy
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol import commands
from protocol.commands import ChangingCommand
from protocol.errors import ERRORS, ErrorCode, Refused
from protocol.limits import LIMITS
from protocol.methods import METHODS
from server.domain.decide import _CASES, decide, needs_of
from server.domain.model import Actor, Decision, MoreNeeded, Slice
from server.domain.rules import (
    Rulebook,
)
from tests.domain.building import (
    NOW_MS,
    field,
    rules,
)
from tests.domain.laws import check
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


def least(command: ChangingCommand) -> dict[str, object]:
    """What deciding a command of ann's takes beside the group; more would only cost time."""
    ann = {"ann"}
    match command:
        case commands.CreateGroup():
            users = ann | {member.user_id for member in command.members}
            return {"counted_user_ids": users, "groups_today": True}
        case commands.TransferGroup():
            return {"member_ids": ann | {command.new_owner_id}, "owner": True}
        case commands.UpdateMember():
            users = {command.user_id}
            return {"member_ids": ann | users, "read_state_of": command.user_id}
        case commands.InviteMembers():
            users = set(command.user_ids)
            return {"member_ids": ann | users, "remembered_ids": users, "counted_user_ids": users}
        case commands.RemoveMembers():
            return {"member_ids": ann | set(command.user_ids)}
        case commands.JoinGroup():
            return dict.fromkeys(("member_ids", "remembered_ids", "counted_user_ids"), ann)
        case commands.QuitGroup():
            return {"member_ids": ann | ({command.successor_id} - {None})}
        case commands.ReadApplications():
            return {"seen_by": "ann"}
        case commands.HandleApplications():
            return {"member_ids": ann, "application_ids": set(command.application_ids)}
        case commands.RecallMessage():
            return {"member_ids": ann, "entry_seq": command.seq}
        case commands.MarkRead():
            return {"member_ids": ann, "read_state_of": "ann"}
        case commands.SetAttributes() | commands.DeleteAttributes():
            return {"member_ids": ann, "attributes": True}
        case commands.AddCounters():
            return {"member_ids": ann, "counters": True}
        case _:
            return {"member_ids": ann}


@pytest.mark.parametrize("kind", CHANGING, ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_a_decision_has_to_see_is_asked_for(
    kind: type[ChangingCommand], data: st.DataObject
) -> None:
    command = data.draw(structs(kind))
    needs = needs_of(command, Actor("ann"))
    assert needs.group_id == getattr(command, "group_id", None)
    for name, value in least(command).items():
        asked = getattr(needs, name)
        assert value <= set(asked) if isinstance(value, set) else asked == value


@pytest.mark.parametrize("kind", list(_CASES), ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
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
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
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
