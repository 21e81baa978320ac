"""How users come into groups and leave them: invite, join, remove, quit."""

from collections.abc import Sequence

from msgspec.structs import replace

from protocol.commands import InviteMembers, JoinGroup, QuitGroup, RemoveMembers
from protocol.errors import ErrorCode, Refused
from protocol.events import Joined, Kicked, QuitNotice
from protocol.results import (
    JoinGroupResult,
    JoinStatus,
    MemberResult,
    MemberResultKind,
    MemberResults,
    Nothing,
)
from protocol.vocabulary import ApplyJoinOption, InviteJoinOption, Notice, Role, Tip
from server.domain import announcements
from server.domain.admission import admit, seats_left
from server.domain.model import (
    Actor,
    Decision,
    Group,
    GroupKey,
    Member,
    MemberKey,
    Row,
    RowKey,
    Slice,
)
from server.domain.refusals import failed, living_group
from server.domain.rules import (
    Operation,
    Rulebook,
    Standing,
    standing_of,
    standing_of_member,
)
from server.domain.text import check_count, check_paragraph


def invite_members(
    rulebook: Rulebook, state: Slice, command: InviteMembers, actor: Actor, now_ms: int
) -> Decision:
    """Those users who can be added are members at once; one result for each user named."""
    group = living_group(state, command.group_id)
    _check_batch(rulebook, command.user_ids, "message", command.message)
    _require_may_invite(rulebook, state, group, actor)
    added: list[Member] = []
    results: list[MemberResult] = []
    for user_id in command.user_ids:
        if state.members.get(user_id) is not None or any(m.user_id == user_id for m in added):
            results.append(MemberResult(user_id=user_id, result=MemberResultKind.ALREADY_MEMBER))
            continue
        seats = seats_left(group, group.member_count + len(added))
        refused = admit(rulebook, state, user_id, seats=seats)
        if refused is not None:
            results.append(failed(user_id, refused))
            continue
        added.append(_new_member(rulebook, group, user_id, now_ms))
        results.append(MemberResult(user_id=user_id, result=MemberResultKind.ADDED))
    result = MemberResults(members=results)
    if not added:
        return Decision(result=result)
    after = _grown(group, len(added))
    user_ids = tuple(member.user_id for member in added)
    notices = [
        announcements.invited(user_id, Role.MEMBER, command.message, after, actor.user_id, now_ms)
        for user_id in user_ids
    ]
    tip = announcements.members_changed(Tip.MEMBER_INVITED, user_ids, after, actor.user_id, now_ms)
    policy = rulebook.traits[group.type].membership_tips
    return Decision(
        result=result,
        puts=_put(after, added),
        entries=announcements.arrivals(notices, tip, user_ids, policy),
    )


def join_group(
    rulebook: Rulebook, state: Slice, command: JoinGroup, actor: Actor, now_ms: int
) -> Decision:
    """The actor is in at once where the group's apply_join_option says FreeAccess."""
    group = living_group(state, command.group_id)
    check_paragraph(rulebook, "message", command.message, "REASON_BYTES")
    if state.members.get(actor.user_id) is not None:
        return Decision(result=JoinGroupResult(status=JoinStatus.ALREADY_MEMBER))
    rulebook.require(Operation.JOIN, group.type, Standing.NONE)
    if group.apply_join_option is not ApplyJoinOption.FREE_ACCESS:
        raise Refused(
            ErrorCode.NO_PERMISSION,
            "the group's apply_join_option does not let everyone in",
            rule="apply_join_option",
            have=group.apply_join_option,
            need=ApplyJoinOption.FREE_ACCESS,
        )
    refused = admit(rulebook, state, actor.user_id, seats=seats_left(group, group.member_count))
    if refused is not None:
        raise refused
    traits = rulebook.traits[group.type]
    member = _new_member(rulebook, group, actor.user_id, now_ms)
    after = _grown(group, 1) if traits.stores_members else _counted(group, state, +1)
    notice = announcements.notice_to(
        actor.user_id,
        Notice.JOINED,
        after,
        actor.user_id,
        now_ms,
        Joined(group=announcements.basics(after)),
        is_stored=traits.stores_members,
    )
    tip = announcements.members_changed(
        Tip.MEMBER_JOINED, [actor.user_id], after, actor.user_id, now_ms
    )
    return Decision(
        result=JoinGroupResult(status=JoinStatus.JOINED),
        puts=_put(after, [member]) if traits.stores_members else {},
        entries=announcements.arrivals([notice], tip, (actor.user_id,), traits.membership_tips),
    )


def remove_members(
    rulebook: Rulebook, state: Slice, command: RemoveMembers, actor: Actor, now_ms: int
) -> Decision:
    """Those of the users who are members of lower rank are out; one result for each user.

    A call whose every user is out of the actor's reach is refused as a whole.
    """
    group = living_group(state, command.group_id)
    _check_batch(rulebook, command.user_ids, "reason", command.reason)
    standing = standing_of(actor, state.members.get(actor.user_id))
    rulebook.require(Operation.REMOVE_MEMBER, group.type, standing)
    removed: list[Member] = []
    results: list[MemberResult] = []
    refusals: list[Refused] = []
    for user_id in command.user_ids:
        member = state.members.get(user_id)
        if member is None or member in removed:
            results.append(MemberResult(user_id=user_id, result=MemberResultKind.NOT_MEMBER))
            continue
        refused = _out_of_reach(rulebook, standing, member, actor)
        if refused is not None:
            refusals.append(refused)
            results.append(failed(user_id, refused))
            continue
        removed.append(member)
        results.append(MemberResult(user_id=user_id, result=MemberResultKind.REMOVED))
    if refusals and len(refusals) == len(results):
        raise refusals[0]
    result = MemberResults(members=results)
    if not removed:
        return Decision(result=result)
    return _removal(rulebook, group, removed, command.reason, actor, now_ms, result)


def quit_group(
    rulebook: Rulebook, state: Slice, command: QuitGroup, actor: Actor, now_ms: int
) -> Decision:
    """The actor is out; a Work group that its owner leaves has no owner from then on."""
    group = living_group(state, command.group_id)
    member = state.members.get(actor.user_id)
    if member is None:
        raise Refused(
            ErrorCode.NO_PERMISSION,
            "only a member can quit",
            rule="quit",
            have="none",
            need="member",
        )
    if member.role is Role.OWNER:
        _require_owner_may_quit(rulebook, group)
    traits = rulebook.traits[group.type]
    after = _shrunk(group, [member]) if traits.stores_members else _counted(group, state, -1)
    notice = announcements.notice_to(
        actor.user_id,
        Notice.QUIT,
        after,
        actor.user_id,
        now_ms,
        QuitNotice(),
        is_stored=traits.stores_members,
    )
    tip = announcements.members_changed(
        Tip.MEMBER_QUIT,
        [actor.user_id],
        after,
        actor.user_id,
        now_ms,
        owner_id=after.owner_id if after.owner_id != group.owner_id else None,
    )
    return Decision(
        result=Nothing(),
        puts=_put(after, [], gone=[member]) if traits.stores_members else {},
        entries=announcements.departures([notice], tip, (actor.user_id,), traits.membership_tips),
    )


def _check_batch(rulebook: Rulebook, user_ids: Sequence[str], field: str, text: str) -> None:
    check_count(
        rulebook,
        "user_ids",
        len(user_ids),
        "USERS_PER_CALL",
        at_least=1,
        code=ErrorCode.TOO_MANY_ACCOUNTS,
    )
    check_paragraph(rulebook, field, text, "REASON_BYTES")


def _require_may_invite(rulebook: Rulebook, state: Slice, group: Group, actor: Actor) -> None:
    """Who invites is said by the group's own invite_join_option (``groups.md`` section 1)."""
    if not rulebook.traits[group.type].stores_members:
        raise _may_not_invite(group, "none", "not_supported")
    standing = standing_of(actor, state.members.get(actor.user_id))
    if group.invite_join_option is InviteJoinOption.FREE_ACCESS:
        need = Standing.MEMBER
    elif group.invite_join_option is InviteJoinOption.NEED_PERMISSION:
        need = Standing.ADMIN
    else:
        need = Standing.APP_ADMIN
    if standing < need:
        raise _may_not_invite(group, standing.name.lower(), need.name.lower())


def _may_not_invite(group: Group, have: str, need: str) -> Refused:
    return Refused(
        ErrorCode.NO_PERMISSION,
        f"the group's invite_join_option is {group.invite_join_option}",
        rule="invite_join_option",
        have=have,
        need=need,
    )


def _out_of_reach(
    rulebook: Rulebook, standing: Standing, member: Member, actor: Actor
) -> Refused | None:
    if member.user_id == actor.user_id:
        return Refused(
            ErrorCode.NO_PERMISSION, "nobody removes themselves; quit instead", rule="remove_member"
        )
    try:
        rulebook.require_over(Operation.REMOVE_MEMBER, standing, standing_of_member(member))
    except Refused as refused:
        return refused
    return None


def _removal(
    rulebook: Rulebook,
    group: Group,
    removed: list[Member],
    reason: str,
    actor: Actor,
    now_ms: int,
    result: MemberResults,
) -> Decision:
    after = _shrunk(group, removed)
    user_ids = tuple(member.user_id for member in removed)
    notices = [
        announcements.notice_to(
            user_id, Notice.KICKED, after, actor.user_id, now_ms, Kicked(reason=reason)
        )
        for user_id in user_ids
    ]
    tip = announcements.members_changed(
        Tip.MEMBER_KICKED,
        user_ids,
        after,
        actor.user_id,
        now_ms,
        reason=reason,
        owner_id=after.owner_id if after.owner_id != group.owner_id else None,
    )
    policy = rulebook.traits[group.type].membership_tips
    return Decision(
        result=result,
        puts=_put(after, [], gone=removed),
        entries=announcements.departures(notices, tip, user_ids, policy),
    )


def _require_owner_may_quit(rulebook: Rulebook, group: Group) -> None:
    try:
        rulebook.require(Operation.QUIT_AS_OWNER, group.type, Standing.OWNER)
    except Refused as refused:
        raise Refused(ErrorCode.OWNER_MAY_NOT_QUIT, None, **refused.detail) from refused


def _new_member(rulebook: Rulebook, group: Group, user_id: str, now_ms: int) -> Member:
    return Member(
        group_id=group.group_id,
        user_id=user_id,
        role=Role.MEMBER,
        join_time_ms=now_ms,
        receive_option=rulebook.traits[group.type].receive_option,
    )


def _counted(group: Group, state: Slice, change: int) -> Group:
    """A group without stored membership as its members see it: with those who take part."""
    return replace(group, member_count=max(0, state.participant_count + change))


def _grown(group: Group, by: int) -> Group:
    return replace(group, member_count=group.member_count + by, version=group.version + 1)


def _shrunk(group: Group, gone: Sequence[Member]) -> Group:
    without_owner = any(member.role is Role.OWNER for member in gone)
    return replace(
        group,
        member_count=group.member_count - len(gone),
        version=group.version + 1,
        owner_id="" if without_owner else group.owner_id,
    )


def _put(
    group: Group, members: Sequence[Member], *, gone: Sequence[Member] = ()
) -> dict[RowKey, Row | None]:
    puts: dict[RowKey, Row | None] = {GroupKey(group.group_id): group}
    for member in members:
        puts[MemberKey(group.group_id, member.user_id)] = member
    for member in gone:
        puts[MemberKey(group.group_id, member.user_id)] = None
    return puts
