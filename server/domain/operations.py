"""What only the operator does: to many members at once, to attributes and counters as a whole."""

from collections.abc import Mapping

from msgspec.structs import replace

from protocol.commands import UpdateMember
from protocol.errors import ErrorCode, Refused
from protocol.events import CustomNotice, Kicked, ProfileChanged
from protocol.identifiers import is_user_id
from protocol.limits import MAX_INTEGER
from protocol.results import CountersResult, Nothing
from protocol.vocabulary import Notice, Tip
from server.domain import announcements, arrivals, members, profile
from server.domain.jobs import (
    BanUsers,
    DeleteCounters,
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
    Remembered,
    RememberedKey,
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
    check_count(
        rulebook,
        "values",
        len(command.values),
        "COUNTERS",
        at_least=1,
        code=ErrorCode.TOO_MANY_COUNTERS,
    )
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


def ban_users(
    rulebook: Rulebook, state: Slice, command: BanUsers, actor: Actor, now_ms: int
) -> Decision:
    """The users take no part in the AVChatRoom for a time; those who do now are put out."""
    group = living_group(state, command.group_id)
    if rulebook.traits[group.type].stores_members:
        raise Refused(
            ErrorCode.NO_PERMISSION,
            f"nobody is banned from a group of type {group.type}; remove them",
            rule="ban",
            have=str(group.type),
            need="AVChatRoom",
        )
    check_length(rulebook, "reason", command.reason, "BODY_BYTES")
    until_ms = min(now_ms + command.ban_s * 1000, MAX_INTEGER) if command.ban_s else 0
    puts: dict[RowKey, Row | None] = {}
    gone: list[str] = []
    for user_id in dict.fromkeys(command.user_ids):
        most = rulebook.limit("USER_ID_BYTES") or 0
        if not is_user_id(user_id, max_bytes=most):
            raise Refused(ErrorCode.INVALID_USER_ID, user_id=user_id[:64])
        if user_id == group.owner_id:
            raise Refused(
                ErrorCode.NO_PERMISSION,
                "the owner is not banned",
                rule="ban",
                have="owner",
                need="member",
            )
        before = state.remembered.get(user_id) or Remembered(
            group_id=group.group_id, user_id=user_id
        )
        if before.banned_until_ms != until_ms:
            puts[RememberedKey(group.group_id, user_id)] = replace(before, banned_until_ms=until_ms)
        if until_ms and state.members.get(user_id) is not None:
            gone.append(user_id)
    return Decision(
        result=Nothing(),
        puts=puts,
        entries=_put_out(rulebook, group, state, gone, command.reason, actor, now_ms),
    )


def _put_out(
    rulebook: Rulebook,
    group: Group,
    state: Slice,
    gone: list[str],
    reason: str,
    actor: Actor,
    now_ms: int,
) -> list[Entry]:
    if not gone:
        return []
    after = arrivals.counted(group, state, -len(gone))
    notices = [
        announcements.notice_to(
            user_id,
            Notice.KICKED,
            group.group_id,
            actor.user_id,
            now_ms,
            Kicked(reason=reason),
            is_stored=False,
        )
        for user_id in gone
    ]
    tip = announcements.members_changed(
        Tip.MEMBER_KICKED, gone, after, actor.user_id, now_ms, reason=reason
    )
    policy = rulebook.traits[group.type].membership_tips
    return announcements.departures(notices, tip, tuple(gone), policy, stores_members=False)
