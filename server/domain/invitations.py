"""How members bring users in: at once, or after somebody's consent."""

from collections.abc import Collection

from msgspec.structs import replace

from protocol.commands import (
    InviteMembers,
)
from protocol.errors import ErrorCode, Refused
from protocol.results import (
    ApplicationKind,
    MemberResult,
    MemberResultKind,
    MemberResults,
)
from protocol.vocabulary import InviteJoinOption, Tip
from server.domain import announcements, arrivals
from server.domain.admission import admit
from server.domain.jobs import AddMembers
from server.domain.model import (
    Actor,
    Decision,
    Entry,
    Group,
    GroupKey,
    Member,
    Slice,
)
from server.domain.pending_list import new_application, with_asked
from server.domain.refusals import failed, living_group
from server.domain.rules import (
    Rulebook,
    Standing,
    standing_of,
)
from server.domain.text import check_paragraph, check_user_batch


def invite_members(
    rulebook: Rulebook, state: Slice, command: InviteMembers, actor: Actor, now_ms: int
) -> Decision:
    """Each user is a member at once, or waits for somebody's consent; one result for each.

    Raises:
        MoreNeeded: somebody would have to wait, and the slice does not show whose list is full.
    """
    check_user_batch(rulebook, command.user_ids, "message", command.message)
    return _brought_in(rulebook, state, command, actor, now_ms)


def add_members(
    rulebook: Rulebook, state: Slice, command: AddMembers, actor: Actor, now_ms: int
) -> Decision:
    """Like ``invite_members`` for the operator, whose program says how many users a call names."""
    check_paragraph(rulebook, "message", command.message, "REASON_BYTES")
    decision = _brought_in(rulebook, state, command, actor, now_ms)
    if not command.is_silent:
        return decision
    return _silenced(decision, command.group_id, actor, now_ms)


def _brought_in(
    rulebook: Rulebook, state: Slice, command: InviteMembers, actor: Actor, now_ms: int
) -> Decision:
    group = living_group(state, command.group_id)
    waits_for = _whom_invitations_wait_for(rulebook, state, group, actor)
    added: dict[str, Member] = {}
    waiting: dict[str, None] = {}
    results: list[MemberResult] = []
    for user_id in command.user_ids:
        if state.members.get(user_id) is not None or user_id in added:
            results.append(MemberResult(user_id=user_id, result=MemberResultKind.ALREADY_MEMBER))
            continue
        refused = admit(rulebook, user_id, state, group=group, coming=len(added))
        if refused is None and waits_for is ApplicationKind.INVITE_NEEDS_ADMIN:
            refused = _refused_wait(rulebook, waiting, user_id)
        if refused is not None:
            results.append(failed(user_id, refused))
        elif waits_for is not None:
            waiting[user_id] = None
            results.append(MemberResult(user_id=user_id, result=MemberResultKind.PENDING))
        else:
            added[user_id] = arrivals.new_member(rulebook, group, state, user_id, now_ms)
            results.append(MemberResult(user_id=user_id, result=MemberResultKind.ADDED))
    decision = Decision(result=MemberResults(members=results))
    if waits_for is not None and waiting:
        asked = [
            new_application(
                waits_for,
                group,
                user_id,
                actor.user_id,
                command.message,
                now_ms,
                state.fresh_token,
            )
            for user_id in waiting
        ]
        return with_asked(rulebook, state, group, asked, decision, actor, now_ms)
    if not added:
        return decision
    return _invited(rulebook, group, list(added.values()), command, actor, now_ms, decision)


def _silenced(decision: Decision, group_id: str, actor: Actor, now_ms: int) -> Decision:
    """The same change, and only the operator is told."""
    after = decision.puts.get(GroupKey(group_id))
    if not isinstance(after, Group):
        return decision
    user_ids = tuple(row.user_id for row in decision.puts.values() if isinstance(row, Member))
    told = announcements.told_to_operator(after, user_ids, actor.user_id, now_ms)
    return replace(decision, entries=[told])


def _whom_invitations_wait_for(
    rulebook: Rulebook, state: Slice, group: Group, actor: Actor
) -> ApplicationKind | None:
    """Who has to agree to the actor's invitations; None for nobody.

    The group's own invite_join_option says who invites (``groups.md`` section 1).

    Raises:
        Refused: NO_PERMISSION, the actor may not invite at all.
    """
    traits = rulebook.traits[group.type]
    standing = standing_of(actor, state.members.get(actor.user_id))
    option = group.invite_join_option
    if not traits.stores_members:
        raise _may_not_invite(group, standing.name.lower(), "not_supported")
    if standing is Standing.APP_ADMIN:
        return None
    if option is InviteJoinOption.DISABLE_INVITE:
        raise _may_not_invite(group, standing.name.lower(), "app_admin")
    if standing < Standing.MEMBER:
        raise _may_not_invite(group, standing.name.lower(), "member")
    if option is InviteJoinOption.NEED_PERMISSION and standing < Standing.ADMIN:
        return ApplicationKind.INVITE_NEEDS_ADMIN
    return ApplicationKind.INVITE_NEEDS_INVITEE if traits.invitee_consent else None


def _refused_wait(rulebook: Rulebook, waiting: Collection[str], user_id: str) -> Refused | None:
    """One call must not push out of a list what it has just put on it."""
    most = rulebook.limit("PENDING_APPLICATIONS")
    if most is None or len(waiting) < most or user_id in waiting:
        return None
    return Refused(
        ErrorCode.TOO_MANY_REQUESTS,
        f"{len(waiting)} invitations of this call wait already",
        rule="pending_applications",
        have=len(waiting),
        need=most,
    )


def _may_not_invite(group: Group, have: str, need: str) -> Refused:
    return Refused(
        ErrorCode.NO_PERMISSION,
        f"the group's invite_join_option is {group.invite_join_option}",
        rule="invite_join_option",
        have=have,
        need=need,
    )


def _invited(
    rulebook: Rulebook,
    group: Group,
    added: list[Member],
    command: InviteMembers,
    actor: Actor,
    now_ms: int,
    decision: Decision,
) -> Decision:
    after = arrivals.grown(group, len(added))
    user_ids = [member.user_id for member in added]

    def notice_of(member: Member) -> Entry:
        return announcements.invited(
            member.user_id, member.role, command.message, after, actor.user_id, now_ms
        )

    return replace(
        decision,
        puts=arrivals.rows_of_added(after, added),
        entries=[
            *arrivals.told_of_added(
                rulebook, after, added, Tip.MEMBER_INVITED, notice_of, actor, now_ms
            ),
            *arrivals.told_silently(
                rulebook, group, after, Tip.MEMBER_INVITED, user_ids, actor, now_ms
            ),
        ],
    )
