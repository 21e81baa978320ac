"""What only the operator does: to many members at once, to attributes and counters as a whole."""

from collections.abc import Mapping

from msgspec.structs import replace

from protocol.commands import UpdateMember
from protocol.errors import ErrorCode, Refused
from protocol.events import CustomNotice, ProfileChanged
from protocol.limits import MAX_INTEGER
from protocol.results import CountersResult, Nothing
from protocol.vocabulary import Notice
from server.domain import announcements, members, profile
from server.domain.jobs import (
    DeleteCounters,
    ForgetUser,
    MuteMembers,
    ReplaceAttributes,
    SendNotice,
    SetCounters,
)
from server.domain.model import (
    Actor,
    Counters,
    CountersKey,
    Decision,
    Entry,
    Group,
    GroupKey,
    KnownUserKey,
    Row,
    RowKey,
    Slice,
)
from server.domain.refusals import living_group
from server.domain.rules import Operation, Rulebook, TipPolicy, standing_of
from server.domain.text import check_count, check_length


def mute_members(
    rulebook: Rulebook, state: Slice, command: MuteMembers, actor: Actor, now_ms: int
) -> Decision:
    """Each of the users who is a member is muted as by ``update_member``; the others are not."""
    group = living_group(state, command.group_id)
    standing = standing_of(actor, state.members.get(actor.user_id))
    rulebook.require(Operation.MUTE_MEMBER, group.type, standing)
    puts: dict[RowKey, Row | None] = {}
    entries: list[Entry] = []
    for user_id in dict.fromkeys(command.user_ids):
        if state.members.get(user_id) is None:
            continue
        one = UpdateMember(group_id=command.group_id, user_id=user_id, mute_s=command.mute_s)
        decision = members.update_member(rulebook, state, one, actor, now_ms)
        puts.update(decision.puts)
        entries += decision.entries
        state = replace(state, group=puts.get(GroupKey(command.group_id), state.group))
    return Decision(result=Nothing(), puts=puts, entries=entries)


def send_notice(
    rulebook: Rulebook, state: Slice, command: SendNotice, actor: Actor, now_ms: int
) -> Decision:
    """The notice goes to those connected: of the group, or of the users who are its members."""
    group = living_group(state, command.group_id)
    check_length(rulebook, "content", command.content, "BODY_BYTES")
    notice = announcements.notice_to(
        actor.user_id,
        Notice.CUSTOM,
        group.group_id,
        actor.user_id,
        now_ms,
        CustomNotice(content=command.content),
        is_stored=False,
    )
    if not command.user_ids or not rulebook.traits[group.type].stores_members:
        return Decision(result=Nothing(), entries=[replace(notice, inbox_of=None)])
    told = [
        replace(notice, inbox_of=user_id)
        for user_id in dict.fromkeys(command.user_ids)
        if state.members.get(user_id) is not None
    ]
    return Decision(result=Nothing(), entries=told)


def replace_attributes(
    rulebook: Rulebook, state: Slice, command: ReplaceAttributes, actor: Actor, now_ms: int
) -> Decision:
    """The group has these attributes and no others."""
    before = state.attributes.values if state.attributes is not None else {}
    return profile.attributes_after(
        rulebook,
        state,
        command.group_id,
        {**dict.fromkeys(before), **command.attributes},
        None,
        actor,
        now_ms,
    )


def set_counters(
    rulebook: Rulebook, state: Slice, command: SetCounters, actor: Actor, now_ms: int
) -> Decision:
    """Each named counter has the named value; those connected are told."""
    group = _group_of_counters(rulebook, state, command.group_id, actor)
    check_count(rulebook, "values", len(command.values), "COUNTERS", at_least=1)
    values = dict(_values(state))
    for key, value in command.values.items():
        profile.check_key(rulebook, "values", key, "COUNTER_KEY_BYTES")
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise Refused(ErrorCode.BAD_REQUEST, f"the counter {key!r} would overflow")
        values[key] = value
    check_count(rulebook, "values", len(values), "COUNTERS", code=ErrorCode.TOO_MANY_COUNTERS)
    result = CountersResult(counters=dict(command.values))
    return _with_counters(group, state, values, result, actor, now_ms)


def delete_counters(
    rulebook: Rulebook, state: Slice, command: DeleteCounters, actor: Actor, now_ms: int
) -> Decision:
    """The named counters are gone; those connected are told 0, which is where one begins."""
    group = _group_of_counters(rulebook, state, command.group_id, actor)
    values = {
        key: value
        for key, value in _values(state).items()
        if command.keys and key not in command.keys
    }
    return _with_counters(group, state, values, Nothing(), actor, now_ms)


def forget_user(
    _rulebook: Rulebook, state: Slice, _command: ForgetUser, actor: Actor, _now_ms: int
) -> Decision:
    """The actor is known no longer; memberships stay."""
    if state.known_users is None or actor.user_id not in state.known_users:
        return Decision(result=Nothing())
    return Decision(result=Nothing(), puts={KnownUserKey(actor.user_id): None})


def _group_of_counters(rulebook: Rulebook, state: Slice, group_id: str, actor: Actor) -> Group:
    group = living_group(state, group_id)
    standing = standing_of(actor, state.members.get(actor.user_id))
    rulebook.require(Operation.ADD_COUNTERS, group.type, standing)
    return group


def _values(state: Slice) -> Mapping[str, int]:
    return state.counters.values if state.counters is not None else {}


def _with_counters(
    group: Group,
    state: Slice,
    values: dict[str, int],
    result: CountersResult | Nothing,
    actor: Actor,
    now_ms: int,
) -> Decision:
    before = _values(state)
    if values == before:
        return Decision(result=result)
    gone = dict.fromkeys(before.keys() - values.keys(), 0)
    changed = {key: value for key, value in values.items() if before.get(key) != value}
    told = announcements.profile_changed(
        group,
        ProfileChanged(counters={**gone, **changed}),
        actor.user_id,
        now_ms,
        TipPolicy.PUSHED,
    )
    return Decision(
        result=result,
        puts={CountersKey(group.group_id): Counters(group_id=group.group_id, values=values)},
        entries=[told],
    )
