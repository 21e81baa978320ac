"""What the operator's own service is told of a decision: of every member that comes or goes, once."""

from collections import Counter

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol import callbacks
from protocol.callbacks import OFFERED, encode_request
from protocol.commands import ChangingCommand, CreateGroup, InviteMembers
from protocol.errors import Refused
from protocol.results import MemberResultKind, MemberResults
from server.domain.callbacks import Happening, told
from server.domain.decide import _CASES, decide
from server.domain.model import Actor, Decision, Group, Member, MemberKey, MoreNeeded, Origin, Slice
from server.domain.wishes import Wish, decide_as_wished
from tests.domain.building import NOW_MS
from tests.domain.shapes import USERS, actors, slices, structs
from tests.domain.test_any_command import RULEBOOKS, decided

ORIGIN = Origin(caller_id="ann")
Moves = Counter[tuple[str, str]]


def requests_of(
    decision: Decision, of: Slice, command: ChangingCommand, actor: Actor
) -> list[callbacks.CallbackRequest]:
    happening = Happening.of(command, actor, ORIGIN, of, decision, NOW_MS)
    return [request for _, request in told(happening)]


def moves(decision: Decision, of: Slice) -> tuple[Moves, Moves]:
    """Who came into which group, and who left which, by the rows."""
    states = [of, *(case.state for case in of.cases.values())]
    before = {
        MemberKey(state.group.group_id, user_id)
        for state in states
        if state.group is not None
        for user_id, member in state.members.items()
        if member is not None
    }
    came: Moves = Counter()
    went: Moves = Counter()
    for key, row in decision.puts.items():
        if isinstance(key, MemberKey) and row is None:
            went[key.group_id, key.user_id] += 1
        elif isinstance(key, MemberKey) and isinstance(row, Member) and key not in before:
            came[key.group_id, key.user_id] += 1
    return came, went


@pytest.mark.parametrize("kind", list(_CASES), ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_member_who_comes_or_goes_is_told_of_once(
    kind: type[ChangingCommand], data: st.DataObject
) -> None:
    command = data.draw(structs(kind))
    actor = data.draw(actors)
    of = data.draw(slices(command, actor))
    rulebook = data.draw(st.sampled_from(RULEBOOKS))
    outcome = decided(rulebook, of, command, actor)
    if not isinstance(outcome, Decision):
        return
    requests = requests_of(outcome, of, command, actor)
    for request in requests:
        body = msgspec.json.decode(encode_request(request))
        assert body["CallbackCommand"] in OFFERED
        assert body["EventTime"] == str(NOW_MS)
    groups = [row for row in outcome.puts.values() if isinstance(row, Group)]
    if isinstance(command, CreateGroup) or not all(
        rulebook.traits[group.type].stores_members for group in groups
    ):
        return
    came: Moves = Counter()
    went: Moves = Counter()
    for request in requests:
        if isinstance(request, callbacks.AfterNewMemberJoin):
            came.update((request.group_id, one.user_id) for one in request.members)
        elif isinstance(request, callbacks.AfterMemberExit):
            went.update((request.group_id, one.user_id) for one in request.members)
    if groups:
        assert (came, went) == moves(outcome, of)
    ended = {group.group_id for group in groups if group.closed_ms}
    assert ended == {
        request.group_id
        for request in requests
        if isinstance(request, callbacks.AfterGroupDestroyed)
    }


@given(data=st.data(), refused=st.frozensets(st.sampled_from(USERS)))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_whom_the_operator_refuses_fails_and_the_others_are_as_without_them(
    data: st.DataObject, refused: frozenset[str]
) -> None:
    command = data.draw(structs(InviteMembers))
    actor = data.draw(actors)
    of = data.draw(slices(command, actor))
    rulebook = RULEBOOKS[0]
    wish = Wish(refused_user_ids=refused)
    try:
        wished = decide_as_wished(wish, rulebook, of, command, actor, NOW_MS)
        others = [user_id for user_id in command.user_ids if user_id not in refused]
        if not others:
            assert not wished.puts
            assert not wished.entries
            return
        plain = msgspec.structs.replace(command, user_ids=others)
        without = decide(rulebook, of, plain, actor, NOW_MS)
    except (Refused, MoreNeeded):
        return
    assert isinstance(wished.result, MemberResults)
    assert isinstance(without.result, MemberResults)
    assert [row.user_id for row in wished.result.members] == command.user_ids
    assert [
        row for row in wished.result.members if row.user_id not in refused
    ] == without.result.members
    for row in wished.result.members:
        if row.user_id in refused:
            assert row.result is MemberResultKind.FAILED
            assert row.error is not None
            assert row.error.code == 10016
    assert (wished.puts, wished.entries) == (without.puts, without.entries)


@pytest.mark.parametrize("kind", list(_CASES), ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_dropped_is_answered_as_if_it_were_done(
    kind: type[ChangingCommand], data: st.DataObject
) -> None:
    command = data.draw(structs(kind))
    actor = data.draw(actors)
    of = data.draw(slices(command, actor))
    outcome = decided(RULEBOOKS[0], of, command, actor)
    if not isinstance(outcome, Decision):
        return
    dropped = decide_as_wished(Wish(is_dropped=True), RULEBOOKS[0], of, command, actor, NOW_MS)
    assert dropped == Decision(result=outcome.result)
