"""How users come into groups and leave them: invite, join, remove, quit."""

from msgspec.structs import replace

from protocol.commands import (
    JoinGroup,
    QuitGroup,
    RemoveMembers,
    TransferGroup,
)
from protocol.errors import ErrorCode, Refused
from protocol.events import Joined, Kicked, QuitNotice
from protocol.results import (
    ApplicationKind,
    JoinGroupResult,
    JoinStatus,
    MemberResult,
    MemberResultKind,
    MemberResults,
    Nothing,
)
from protocol.vocabulary import ApplyJoinOption, Notice, Role, Tip
from server.domain import announcements, arrivals, lifecycle
from server.domain.admission import admit
from server.domain.jobs import ExpelMembers
from server.domain.model import (
    Actor,
    Decision,
    Entry,
    Group,
    GroupKey,
    Member,
    MemberKey,
    Slice,
)
from server.domain.pending_list import new_application, with_asked
from server.domain.refusals import failed, living_group
from server.domain.rules import (
    Operation,
    Rulebook,
    Standing,
    TipPolicy,
    standing_of,
    standing_of_member,
)
from server.domain.text import check_paragraph, check_user_batch


def join_group(
    rulebook: Rulebook, state: Slice, command: JoinGroup, actor: Actor, now_ms: int
) -> Decision:
    """The actor is in at once, waits for the admins, or is refused, by apply_join_option.

    Raises:
        MoreNeeded: the actor would have to wait, and the slice does not show for whom.
    """
    group = living_group(state, command.group_id)
    check_paragraph(rulebook, "message", command.message, "REASON_BYTES")
    if state.members.get(actor.user_id) is not None:
        return Decision(result=JoinGroupResult(status=JoinStatus.ALREADY_MEMBER))
    rulebook.require(Operation.JOIN, group.type, Standing.NONE)
    remembered = state.remembered.get(actor.user_id)
    if remembered is not None and remembered.banned_until_ms > now_ms:
        raise Refused(
            ErrorCode.NO_PERMISSION,
            "the user is banned from the group for a time",
            rule="banned",
            have=now_ms,
            need=remembered.banned_until_ms,
        )
    if group.apply_join_option is ApplyJoinOption.DISABLE_APPLY:
        raise Refused(
            ErrorCode.NO_PERMISSION,
            "the group takes no applications",
            rule="apply_join_option",
            have=group.apply_join_option,
            need=ApplyJoinOption.FREE_ACCESS,
        )
    refused = admit(rulebook, actor.user_id, state, group=group)
    if refused is not None:
        raise refused
    if group.apply_join_option is ApplyJoinOption.NEED_PERMISSION:
        application = new_application(
            ApplicationKind.JOIN,
            group,
            actor.user_id,
            "",
            command.message,
            now_ms,
            state.fresh_token,
        )
        decision = Decision(result=JoinGroupResult(status=JoinStatus.PENDING))
        return with_asked(rulebook, state, group, [application], decision, actor, now_ms)
    return _joined(rulebook, state, group, actor, now_ms)


def remove_members(
    rulebook: Rulebook, state: Slice, command: RemoveMembers, actor: Actor, now_ms: int
) -> Decision:
    """Those of the users who are members of lower rank are out; one result for each user.

    A call whose every user is out of the actor's reach is refused as a whole.
    """
    check_user_batch(rulebook, command.user_ids, "reason", command.reason)
    return _put_out(rulebook, state, command, actor, now_ms, is_silent=False)


def expel_members(
    rulebook: Rulebook, state: Slice, command: ExpelMembers, actor: Actor, now_ms: int
) -> Decision:
    """Like ``remove_members`` for the operator, whose program says how many users a call names.

    Where members are not stored there are none to remove: a wrong request, as in the original.
    """
    group = living_group(state, command.group_id)
    if not rulebook.traits[group.type].stores_members:
        raise Refused(
            ErrorCode.BAD_REQUEST,
            f"nobody is removed from a group of type {group.type}; mute or ban them",
            rule="remove_member",
            have=str(group.type),
            need="a type that stores its members",
        )
    check_paragraph(rulebook, "reason", command.reason, "REASON_BYTES")
    return _put_out(rulebook, state, command, actor, now_ms, is_silent=command.is_silent)


def _put_out(
    rulebook: Rulebook,
    state: Slice,
    command: RemoveMembers,
    actor: Actor,
    now_ms: int,
    *,
    is_silent: bool,
) -> Decision:
    group = living_group(state, command.group_id)
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
    policy = TipPolicy.OFF if is_silent else rulebook.traits[group.type].membership_tips
    return _removal(rulebook, group, removed, command.reason, actor, now_ms, result, policy)


def quit_group(
    rulebook: Rulebook, state: Slice, command: QuitGroup, actor: Actor, now_ms: int
) -> Decision:
    """The actor is out, after handing the group to a successor if one is named.

    A Work group that its owner leaves without a successor has no owner from then on.
    """
    group = living_group(state, command.group_id)
    if command.successor_id is not None:
        return _quit_after_transfer(rulebook, state, command, actor, now_ms)
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
    after = (
        arrivals.shrunk(group, [member], now_ms)
        if traits.stores_members
        else arrivals.counted(group, state, -1)
    )
    notice = announcements.notice_to(
        actor.user_id,
        Notice.QUIT,
        after.group_id,
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
        before=group,
    )
    return Decision(
        result=Nothing(),
        puts=arrivals.rows_of_gone(after, [member], now_ms) if traits.stores_members else {},
        entries=announcements.departures(
            [notice],
            tip,
            (actor.user_id,),
            traits.membership_tips,
            stores_members=traits.stores_members,
        ),
    )


def _quit_after_transfer(
    rulebook: Rulebook, state: Slice, command: QuitGroup, actor: Actor, now_ms: int
) -> Decision:
    """Both steps as one: what each does, decided on what the first one leaves."""
    transfer = TransferGroup(group_id=command.group_id, new_owner_id=command.successor_id or "")
    owner = state.members.get(actor.user_id)
    if owner is None or owner.role is not Role.OWNER:
        raise Refused(
            ErrorCode.NO_PERMISSION,
            "only the owner names a successor",
            rule="transfer",
            have=standing_of_member(owner).name.lower(),
            need="owner",
        )
    first = lifecycle.transfer_group(rulebook, state, transfer, actor, now_ms)
    rows = dict(first.puts)
    between = replace(
        state,
        group=rows[GroupKey(command.group_id)],
        members={
            user_id: rows.get(MemberKey(command.group_id, user_id), member)
            for user_id, member in state.members.items()
        },
    )
    plain = replace(command, successor_id=None)
    second = quit_group(rulebook, between, plain, actor, now_ms)
    return replace(
        second,
        puts={**first.puts, **second.puts},
        entries=[*first.entries, *second.entries],
    )


def _joined(rulebook: Rulebook, state: Slice, group: Group, actor: Actor, now_ms: int) -> Decision:
    stores_members = rulebook.traits[group.type].stores_members
    if state.connected is not None and actor.user_id not in state.connected:
        raise Refused(
            ErrorCode.NO_PERMISSION,
            "who takes part in this type of group is connected",
            rule="join",
            have="offline",
            need="connected",
        )
    member = arrivals.new_member(rulebook, group, state, actor.user_id, now_ms)
    after = arrivals.grown(group, 1) if stores_members else arrivals.counted(group, state, +1)

    def notice_of(_member: Member) -> Entry:
        return announcements.notice_to(
            actor.user_id,
            Notice.JOINED,
            after.group_id,
            actor.user_id,
            now_ms,
            Joined(group=announcements.basics(after)),
            is_stored=stores_members,
        )

    return Decision(
        result=JoinGroupResult(status=JoinStatus.JOINED),
        puts=arrivals.rows_of_added(after, [member])
        if stores_members
        else arrivals.rows_of_participant(group, state, actor.user_id),
        entries=arrivals.told_of_added(
            rulebook, after, [member], Tip.MEMBER_JOINED, notice_of, actor, now_ms
        ),
    )


def _out_of_reach(
    rulebook: Rulebook, standing: Standing, member: Member, actor: Actor
) -> Refused | None:
    if member.user_id == actor.user_id:
        return Refused(
            ErrorCode.NO_PERMISSION,
            "nobody removes themselves; quit instead",
            rule="remove_member",
            have="self",
            need="other",
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
    policy: TipPolicy,
) -> Decision:
    after = arrivals.shrunk(group, removed, now_ms)
    user_ids = tuple(member.user_id for member in removed)
    notices = [
        announcements.notice_to(
            user_id, Notice.KICKED, after.group_id, actor.user_id, now_ms, Kicked(reason=reason)
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
        before=group,
    )
    told = announcements.departures(
        notices,
        tip,
        user_ids,
        policy,
        stores_members=rulebook.traits[group.type].stores_members,
    )
    return Decision(
        result=result,
        puts=arrivals.rows_of_gone(after, removed, now_ms),
        entries=[
            *told,
            *arrivals.told_silently(
                rulebook, group, after, Tip.MEMBER_KICKED, user_ids, actor, now_ms, policy
            ),
        ],
    )


def _require_owner_may_quit(rulebook: Rulebook, group: Group) -> None:
    try:
        rulebook.require(Operation.QUIT_AS_OWNER, group.type, Standing.OWNER)
    except Refused as refused:
        raise Refused(ErrorCode.OWNER_MAY_NOT_QUIT, None, **refused.detail) from refused
