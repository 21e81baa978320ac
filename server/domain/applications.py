"""The pending list: applications and invitations that wait for somebody's consent.

The first handler wins. Approval looks at the rules anew, since they may have changed meanwhile.
"""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from protocol import events
from protocol.commands import HandleApplications, ReadApplications
from protocol.errors import ErrorCode, Refused
from protocol.results import (
    ApplicationKind,
    ApplicationStatus,
    HandleApplicationsResult,
    HandleResult,
    HandleResultKind,
    Nothing,
)
from protocol.vocabulary import ApplyJoinOption, InviteJoinOption, Notice, Tip
from server.domain import announcements, arrivals
from server.domain.admission import admit
from server.domain.model import (
    Actor,
    Application,
    ApplicationKey,
    ApplicationsSeen,
    ApplicationsSeenKey,
    Case,
    Decision,
    Entry,
    Group,
    GroupKey,
    Member,
    MemberKey,
    Row,
    RowKey,
    Slice,
)
from server.domain.pending_list import decided, handlers_of, new_application, with_asked
from server.domain.refusals import error_body, living_group
from server.domain.rules import Rulebook, Standing, standing_of
from server.domain.text import check_count, check_paragraph


def read_applications(
    _rulebook: Rulebook, state: Slice, command: ReadApplications, actor: Actor, now_ms: int
) -> Decision:
    """The actor has seen the list up to that time, at most now; it never goes back."""
    up_to_ms = min(command.up_to_ms, now_ms)
    if state.seen is not None and state.seen.up_to_ms >= up_to_ms:
        return Decision(result=Nothing())
    seen = ApplicationsSeen(user_id=actor.user_id, up_to_ms=up_to_ms)
    notice = announcements.notice_to(
        actor.user_id,
        Notice.APPLICATIONS_READ,
        "",
        actor.user_id,
        now_ms,
        events.ApplicationsRead(up_to_ms=up_to_ms),
    )
    return Decision(
        result=Nothing(), puts={ApplicationsSeenKey(actor.user_id): seen}, entries=[notice]
    )


def handle_applications(
    rulebook: Rulebook, state: Slice, command: HandleApplications, actor: Actor, now_ms: int
) -> Decision:
    """Each application is approved or rejected, or says why not; one result for each."""
    check_count(
        rulebook,
        "application_ids",
        len(command.application_ids),
        "APPLICATIONS_PER_CALL",
        at_least=1,
    )
    check_paragraph(rulebook, "message", command.message, "REASON_BYTES")
    puts: dict[RowKey, Row | None] = {}
    entries: list[Entry] = []
    results: list[HandleResult] = []
    for name in command.application_ids:
        case = state.cases.get(name)
        try:
            if case is None:
                raise Refused(ErrorCode.BAD_REQUEST, "no such application", field="application_ids")
            outcome = _handle(
                rulebook, _after(case, puts, state.fresh_token), command, actor, now_ms
            )
        except Refused as refused:
            results.append(
                HandleResult(
                    application_id=name,
                    result=HandleResultKind.FAILED,
                    error=error_body(refused),
                )
            )
            continue
        puts.update(outcome.puts)
        entries.extend(outcome.entries)
        kind = HandleResultKind.APPROVED if command.accept else HandleResultKind.REJECTED
        results.append(HandleResult(application_id=name, result=kind))
    return Decision(
        result=HandleApplicationsResult(applications=results), puts=puts, entries=entries
    )


def _after(case: Case, puts: dict[RowKey, Row | None], fresh_token: str) -> Case:
    """``case`` as the applications handled before it in the same call leave it."""
    application = puts.get(ApplicationKey(case.application.application_id), case.application)
    state = case.state
    group_id, user_id = case.application.group_id, case.application.user_id
    members = {
        member_id: puts.get(MemberKey(group_id, member_id), member)
        for member_id, member in state.members.items()
    }
    became_member = sum(
        isinstance(key, MemberKey) and key.user_id == user_id and row is not None
        for key, row in puts.items()
    )
    changed: dict[str, Any] = {
        "group": puts.get(GroupKey(group_id), state.group),
        "members": members,
        "fresh_token": fresh_token,
        "group_counts": {user_id: state.group_counts.get(user_id, 0) + became_member},
        "pending": {
            name: _still_pending(name, state.pending.get(name, ()), puts)
            for name in {*state.pending, user_id}
        },
    }
    assert isinstance(application, Application)
    return Case(application, replace(state, **changed))


def _still_pending(
    user_id: str, waiting: Sequence[Application], puts: dict[RowKey, Row | None]
) -> list[Application]:
    """A user's list as the applications handled before leave it; the newest come last."""
    rows = {one.application_id: one for one in waiting}
    for row in puts.values():
        if isinstance(row, Application) and (
            row.application_id in rows
            or (row.kind is ApplicationKind.INVITE_NEEDS_INVITEE and row.user_id == user_id)
        ):
            rows[row.application_id] = row
    return [one for one in rows.values() if one.status is ApplicationStatus.PENDING]


def _handle(
    rulebook: Rulebook, case: Case, command: HandleApplications, actor: Actor, now_ms: int
) -> Decision:
    application, state = case.application, case.state
    group = living_group(state, application.group_id)
    _require_handler(application, state, actor)
    if application.status is not ApplicationStatus.PENDING:
        raise Refused(
            ErrorCode.ALREADY_HANDLED,
            handler_id=application.handler_id,
            status=application.status,
            handled_ms=application.handled_ms,
        )
    status = ApplicationStatus.APPROVED if command.accept else ApplicationStatus.REJECTED
    handled = replace(
        application,
        status=status,
        handler_id=actor.user_id,
        handled_ms=now_ms,
        handle_message=command.message,
    )
    puts: dict[RowKey, Row | None] = {ApplicationKey(application.application_id): handled}
    if not command.accept:
        told = _told_handled(handled, state, group, actor, now_ms)
        return Decision(result=Nothing(), puts=puts, entries=told)
    _require_admissible(rulebook, handled, state, group)
    needs_invitee = (
        application.kind is ApplicationKind.INVITE_NEEDS_ADMIN
        and rulebook.traits[group.type].invitee_consent
    )
    if needs_invitee:
        return _ask_invitee(rulebook, handled, state, group, actor, now_ms, puts)
    return _approve(rulebook, handled, state, group, actor, now_ms, puts)


def _approve(
    rulebook: Rulebook,
    handled: Application,
    state: Slice,
    group: Group,
    actor: Actor,
    now_ms: int,
    puts: dict[RowKey, Row | None],
) -> Decision:
    user_id = handled.user_id
    stores_members = rulebook.traits[group.type].stores_members
    after = arrivals.grown(group, 1) if stores_members else arrivals.counted(group, state, +1)
    member = arrivals.new_member(rulebook, group, state, user_id, now_ms)
    is_join = handled.kind is ApplicationKind.JOIN
    tip = Tip.MEMBER_JOINED if is_join else Tip.MEMBER_INVITED

    def notice_of(new: Member) -> Entry:
        if is_join:
            data = decided(handled, announcements.basics(after))
            return announcements.notice_to(
                new.user_id, Notice.JOIN_APPROVED, group.group_id, actor.user_id, now_ms, data
            )
        return announcements.invited(
            new.user_id, new.role, handled.message, after, handled.inviter_id, now_ms
        )

    # Who brought a member in is the inviter; who joins does it by application.
    brought_by = Actor(user_id if is_join else handled.inviter_id)
    is_there = stores_members or state.connected is None or user_id in state.connected
    if not is_there:
        # Approved, but not there to take part; joining again will let the user in.
        arrived = [notice_of(member)]
    else:
        arrived = arrivals.told_of_added(
            rulebook, after, [member], tip, notice_of, brought_by, now_ms
        )
    told = _told_handled(handled, state, group, actor, now_ms)
    return Decision(
        result=Nothing(),
        puts={**puts, **arrivals.rows_of_added(after, [member])} if stores_members else puts,
        entries=[
            *arrived,
            *told,
            *arrivals.told_silently(rulebook, group, after, tip, [user_id], actor, now_ms),
        ],
    )


def _ask_invitee(
    rulebook: Rulebook,
    handled: Application,
    state: Slice,
    group: Group,
    actor: Actor,
    now_ms: int,
    puts: dict[RowKey, Row | None],
) -> Decision:
    """An admin has agreed; now the invitee is asked."""
    asked = new_application(
        ApplicationKind.INVITE_NEEDS_INVITEE,
        group,
        handled.user_id,
        handled.inviter_id,
        handled.message,
        now_ms,
        state.fresh_token,
    )
    told = _told_others(handled, state, actor, now_ms)
    decision = with_asked(
        rulebook, state, group, [asked], Decision(result=Nothing()), actor, now_ms
    )
    return replace(decision, puts={**puts, **decision.puts}, entries=[*told, *decision.entries])


def _require_handler(application: Application, state: Slice, actor: Actor) -> None:
    """Refuse those on whose list the application is not, as if there were none."""
    if actor.is_app_admin:
        return
    if application.kind is ApplicationKind.INVITE_NEEDS_INVITEE:
        is_handler = application.user_id == actor.user_id
    else:
        standing = standing_of(actor, state.members.get(actor.user_id))
        is_handler = standing >= Standing.ADMIN
    if not is_handler:
        raise Refused(
            ErrorCode.NO_PERMISSION,
            "the application waits for somebody else",
            rule="handle_application",
            have="none",
            need="handler",
        )


def _require_admissible(
    rulebook: Rulebook, handled: Application, state: Slice, group: Group
) -> None:
    """The rules of this moment decide, not those of the application."""
    is_join = handled.kind is ApplicationKind.JOIN
    if is_join and group.apply_join_option is ApplyJoinOption.DISABLE_APPLY:
        raise _closed_meanwhile(
            "apply_join_option", group.apply_join_option, ApplyJoinOption.NEED_PERMISSION
        )
    if not is_join and group.invite_join_option is InviteJoinOption.DISABLE_INVITE:
        raise _closed_meanwhile(
            "invite_join_option", group.invite_join_option, InviteJoinOption.NEED_PERMISSION
        )
    user_id = handled.user_id
    if state.members.get(user_id) is not None:
        raise Refused(ErrorCode.ALREADY_MEMBER, user_id=user_id)
    refused = admit(rulebook, user_id, state, group=group)
    if refused is not None:
        raise refused


def _closed_meanwhile(rule: str, have: str, need: str) -> Refused:
    return Refused(
        ErrorCode.NO_PERMISSION,
        f"the group's {rule} has become {have}",
        rule=rule,
        have=have,
        need=need,
    )


def _told_handled(
    handled: Application, state: Slice, group: Group, actor: Actor, now_ms: int
) -> list[Entry]:
    """The decision to the one who asked, and to the others on whose list it was."""
    told: list[Entry] = []
    is_approved = handled.status is ApplicationStatus.APPROVED
    if handled.kind is ApplicationKind.JOIN:
        if not is_approved:
            told.append(
                announcements.notice_to(
                    handled.user_id,
                    Notice.JOIN_REJECTED,
                    group.group_id,
                    actor.user_id,
                    now_ms,
                    decided(handled),
                )
            )
    else:
        notice = Notice.INVITE_ACCEPTED if is_approved else Notice.INVITE_REJECTED
        told.append(
            announcements.notice_to(
                handled.inviter_id,
                notice,
                group.group_id,
                actor.user_id,
                now_ms,
                decided(handled),
            )
        )
    return [*told, *_told_others(handled, state, actor, now_ms)]


def _told_others(handled: Application, state: Slice, actor: Actor, now_ms: int) -> list[Entry]:
    """Everyone on whose list it was, the actor's own devices included, is in step."""
    users = dict.fromkeys((*handlers_of(handled, state), actor.user_id))
    return [
        announcements.notice_to(
            user_id,
            Notice.APPLICATION_HANDLED,
            handled.group_id,
            actor.user_id,
            now_ms,
            decided(handled),
        )
        for user_id in users
    ]
