"""How groups begin."""

from msgspec.structs import replace

from protocol import identifiers
from protocol.commands import CreateGroup, InitialMember
from protocol.errors import ErrorCode, Refused
from protocol.results import (
    CreateGroupResult,
    MemberResult,
    MemberResultKind,
)
from protocol.vocabulary import (
    GroupType,
    Role,
)
from server.domain import announcements, fields
from server.domain.admission import admit
from server.domain.jobs import FoundGroup
from server.domain.lifecycle import profile
from server.domain.model import (
    Actor,
    Decision,
    Entry,
    Group,
    GroupKey,
    Member,
    MemberKey,
    Row,
    RowKey,
    Slice,
    groups_of_day_counter,
)
from server.domain.options import (
    check_apply_option,
    check_invite_option,
    check_member_limit,
    member_limit,
)
from server.domain.refusals import failed, not_imported
from server.domain.rules import Operation, Rulebook, Standing, Traits
from server.domain.text import check_count, check_line, check_paragraph


def create_group(
    rulebook: Rulebook, state: Slice, command: CreateGroup, actor: Actor, now_ms: int
) -> Decision:
    """A new group with ``actor`` as owner, and the initial members that can be added.

    The group's ID is the command's, or a generated one made of ``state.fresh_token``.
    """
    return _founded(rulebook, state, command, actor, actor.user_id, now_ms, now_ms)


def found_group(
    rulebook: Rulebook, state: Slice, command: FoundGroup, actor: Actor, now_ms: int
) -> Decision:
    """A new group that belongs to whom the operator says, told to nobody if the operator says so.

    It begins with all of its initial members or not at all: the operator's answer has no room
    for what became of each. ``created_ms``, which makes it an import, must not be later
    than now.
    """
    if command.created_ms is not None and not rulebook.traits[command.type].stores_members:
        raise not_imported(command.type)
    created_ms = now_ms if command.created_ms is None else command.created_ms
    if created_ms > now_ms:
        raise Refused(
            ErrorCode.BAD_REQUEST, "the group cannot be created in the future", field="created_ms"
        )
    decision = _founded(rulebook, state, command, actor, command.owner_id, created_ms, now_ms)
    assert isinstance(decision.result, CreateGroupResult)  # for the type checker
    for place, row in enumerate(decision.result.members):
        if row.error is not None:
            raise Refused(
                ErrorCode(row.error.code),
                f"members[{place}]: {row.error.message}",
                **row.error.detail,
            )
    if not command.is_silent:
        return decision
    # What begins a membership is told to somebody: to the operator, who did it.
    return replace(
        decision,
        entries=[
            replace(entry, inbox_of=actor.user_id) for entry in decision.entries if entry.joined
        ],
    )


def _founded(
    rulebook: Rulebook,
    state: Slice,
    command: CreateGroup,
    actor: Actor,
    owner_id: str | None,
    created_ms: int,
    now_ms: int,
) -> Decision:
    traits = rulebook.traits[command.type]
    _check_profile(rulebook, command, traits, actor)
    _check_quotas(rulebook, state, command, traits, owner_id)
    group_id = _new_id(rulebook, state, command, owner_id)
    group = _new_group(rulebook, command, traits, group_id, owner_id, created_ms)
    owners = [
        Member(
            group_id=group.group_id,
            user_id=user_id,
            role=Role.OWNER,
            join_time_ms=created_ms,
            receive_option=traits.receive_option,
        )
        for user_id in (owner_id,)
        if user_id is not None
    ]
    added, results = _initial_members(rulebook, state, command, group, _standing(actor))
    group = replace(group, member_count=len(owners) + len(added))
    puts: dict[RowKey, Row | None] = {GroupKey(group.group_id): group}
    puts.update({MemberKey(group.group_id, m.user_id): m for m in (*owners, *added)})
    return Decision(
        result=CreateGroupResult(
            group=profile(
                group,
                seq=0,
                last_message_time_ms=0,
                member_count=group.member_count,
                custom=group.custom,
                attributes={},
            ),
            members=results,
        ),
        puts=puts,
        counts={groups_of_day_counter(now_ms): 1} if traits.counts_for_the_day else {},
        entries=_told(group, added, actor, now_ms),
    )


def _check_profile(rulebook: Rulebook, command: CreateGroup, traits: Traits, actor: Actor) -> None:
    if not command.name:
        raise Refused(ErrorCode.BAD_REQUEST, "name must not be empty", field="name")
    check_line(rulebook, "name", command.name, "NAME_BYTES")
    check_paragraph(rulebook, "introduction", command.introduction, "INTRODUCTION_BYTES")
    check_paragraph(rulebook, "notification", command.notification, "NOTIFICATION_BYTES")
    check_line(rulebook, "face_url", command.face_url, "FACE_URL_BYTES")
    check_count(
        rulebook,
        "members",
        len(command.members),
        "INITIAL_MEMBERS",
        code=ErrorCode.TOO_MANY_ACCOUNTS,
    )
    check_apply_option(command.type, traits, command.apply_join_option)
    check_invite_option(command.type, traits, command.invite_join_option)
    check_member_limit(rulebook, command.type, traits, command.max_member_count)
    fields.checked_group_fields(rulebook, command.custom, _standing(actor))


def _standing(actor: Actor) -> Standing:
    """Of whoever creates a group: an operator is more than the owner."""
    return Standing.APP_ADMIN if actor.is_app_admin else Standing.OWNER


def _check_quotas(
    rulebook: Rulebook, state: Slice, command: CreateGroup, traits: Traits, owner_id: str | None
) -> None:
    if command.members and not traits.takes_initial_members:
        raise Refused(
            ErrorCode.NO_PERMISSION,
            f"a group of type {command.type} takes no initial members",
            rule="initial_members",
            field="members",
            have=len(command.members),
            need=0,
        )
    most_per_day = rulebook.limit("GROUPS_PER_DAY")
    if traits.counts_for_the_day and most_per_day is not None:
        _check_day(state.groups_today, most_per_day)
    refused = None if owner_id is None else admit(rulebook, owner_id, state, group=None)
    if refused is not None:
        raise refused


def _check_day(have: int, most: int) -> None:
    if have >= most:
        raise Refused(
            ErrorCode.TOO_MANY_REQUESTS,
            f"{most} new groups were made today; the next day begins at 00:00 UTC",
            rule="groups_per_day",
            have=have,
            need=most,
        )


def _new_id(rulebook: Rulebook, state: Slice, command: CreateGroup, owner_id: str | None) -> str:
    if command.group_id is None:
        return identifiers.generated_group_id(command.type, state.fresh_token)
    most = rulebook.limit("GROUP_ID_BYTES") or 0
    if not identifiers.is_chosen_group_id(command.group_id, command.type, max_bytes=most):
        raise Refused(ErrorCode.INVALID_GROUP_ID, group_id=command.group_id[:64], type=command.type)
    if state.group is not None:
        is_own = state.group.owner_id == owner_id
        code = ErrorCode.GROUP_ID_TAKEN_BY_YOU if is_own else ErrorCode.GROUP_ID_TAKEN
        raise Refused(code, group_id=command.group_id)
    return command.group_id


def _new_group(
    rulebook: Rulebook,
    command: CreateGroup,
    traits: Traits,
    group_id: str,
    owner_id: str | None,
    now_ms: int,
) -> Group:
    return Group(
        group_id=group_id,
        type=command.type,
        name=command.name,
        owner_id=owner_id or "",
        create_time_ms=now_ms,
        last_info_time_ms=now_ms,
        version=1,
        member_count=0 if owner_id is None else 1,
        max_member_count=command.max_member_count or member_limit(rulebook, traits) or 0,
        apply_join_option=command.apply_join_option or traits.apply_join_option,
        invite_join_option=command.invite_join_option or traits.invite_join_option,
        introduction=command.introduction,
        notification=command.notification,
        face_url=command.face_url,
        custom=dict(command.custom),
    )


def _initial_members(
    rulebook: Rulebook,
    state: Slice,
    command: CreateGroup,
    group: Group,
    standing: Standing,
) -> tuple[list[Member], list[MemberResult]]:
    """Who is added, and a row for each user named; a user named twice is a member by then."""
    added: dict[str, Member] = {}
    results: list[MemberResult] = []
    for wanted in command.members:
        # A group without an owner has "" there, which is nobody's ID.
        if wanted.user_id in added or wanted.user_id == (group.owner_id or None):
            results.append(
                MemberResult(user_id=wanted.user_id, result=MemberResultKind.ALREADY_MEMBER)
            )
            continue
        refused = _refused_initial(rulebook, command.type, wanted, standing) or admit(
            rulebook, wanted.user_id, state, group=group, coming=len(added)
        )
        if refused is not None:
            results.append(failed(wanted.user_id, refused))
            continue
        added[wanted.user_id] = Member(
            group_id=group.group_id,
            user_id=wanted.user_id,
            role=wanted.role,
            join_time_ms=group.create_time_ms,
            receive_option=rulebook.traits[group.type].receive_option,
            custom=dict(wanted.custom),
        )
        results.append(MemberResult(user_id=wanted.user_id, result=MemberResultKind.ADDED))
    return list(added.values()), results


def _refused_initial(
    rulebook: Rulebook, group_type: GroupType, wanted: InitialMember, standing: Standing
) -> Refused | None:
    if wanted.role is Role.OWNER:
        return Refused(
            ErrorCode.BAD_REQUEST,
            "the creator is the owner; members are added as admin or member",
            field="role",
        )
    try:
        if wanted.role is Role.ADMIN:
            rulebook.require(Operation.APPOINT_ADMINS, group_type, Standing.OWNER)
        fields.checked_member_fields(rulebook, wanted.custom, standing, is_self=False)
    except Refused as refused:
        return refused
    return None


def _told(group: Group, added: list[Member], actor: Actor, now_ms: int) -> list[Entry]:
    entries = [announcements.group_created(group, actor.user_id, now_ms)]
    for member in added:
        notice = announcements.invited(
            member.user_id, member.role, "", group, actor.user_id, now_ms
        )
        entries.append(replace(notice, joined=(member.user_id,)))
    return entries
