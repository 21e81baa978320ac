"""How groups begin and end: create and disband."""

from msgspec.structs import replace

from protocol import identifiers
from protocol.commands import CreateGroup, DisbandGroup, InitialMember
from protocol.errors import ErrorCode, Refused
from protocol.results import (
    CreateGroupResult,
    GroupProfile,
    MemberResult,
    MemberResultKind,
    Nothing,
)
from protocol.vocabulary import (
    ApplyJoinOption,
    GroupType,
    InviteJoinOption,
    Role,
)
from server.domain import announcements
from server.domain.admission import admit, seats_left
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
from server.domain.refusals import failed, living_group
from server.domain.rules import Operation, Rulebook, Standing, Traits, standing_of
from server.domain.text import check_count, check_line, check_paragraph


def create_group(
    rulebook: Rulebook, state: Slice, command: CreateGroup, actor: Actor, now_ms: int
) -> Decision:
    """A new group with ``actor`` as owner, and the initial members that can be added.

    The group's ID is the command's, or a generated one made of ``state.fresh_token``.
    """
    traits = rulebook.traits[command.type]
    _check_profile(rulebook, command)
    _check_quotas(rulebook, state, command, traits, actor)
    group = _new_group(
        rulebook, command, traits, _new_id(rulebook, state, command, actor), actor, now_ms
    )
    owner = Member(
        group_id=group.group_id,
        user_id=actor.user_id,
        role=Role.OWNER,
        join_time_ms=now_ms,
        receive_option=traits.receive_option,
    )
    added, results = _initial_members(rulebook, state, command, group, owner, now_ms)
    group = replace(group, member_count=1 + len(added))
    puts: dict[RowKey, Row | None] = {GroupKey(group.group_id): group}
    puts.update({MemberKey(group.group_id, m.user_id): m for m in (owner, *added)})
    return Decision(
        result=CreateGroupResult(group=profile_of_new(group), members=results),
        puts=puts,
        counts={groups_of_day_counter(now_ms): 1} if traits.counts_for_the_day else {},
        entries=_told(group, added, actor, now_ms),
    )


def disband_group(
    rulebook: Rulebook, state: Slice, command: DisbandGroup, actor: Actor, now_ms: int
) -> Decision:
    """The group is closed; one entry tells everyone who was a member."""
    group = living_group(state, command.group_id)
    standing = standing_of(actor, state.members.get(actor.user_id))
    rulebook.require(Operation.DISBAND, group.type, standing)
    closed = replace(
        group,
        closed_ms=now_ms,
        version=group.version + 1,
        last_info_time_ms=now_ms,
        member_count=0,
    )
    traits = rulebook.traits[group.type]
    return Decision(
        result=Nothing(),
        puts={GroupKey(group.group_id): closed},
        counts={groups_of_day_counter(now_ms): -1} if traits.counts_for_the_day else {},
        entries=[announcements.group_disbanded(group, actor.user_id, now_ms)],
    )


def profile_of_new(group: Group) -> GroupProfile:
    """The profile of a group whose log is still empty."""
    return profile(group, seq=0, last_message_time_ms=0, member_count=group.member_count)


def profile(
    group: Group, *, seq: int, last_message_time_ms: int, member_count: int
) -> GroupProfile:
    """A group's profile, of its row and of what its log and its connections tell."""
    return GroupProfile(
        group_id=group.group_id,
        type=group.type,
        name=group.name,
        introduction=group.introduction,
        notification=group.notification,
        face_url=group.face_url,
        owner_id=group.owner_id,
        create_time_ms=group.create_time_ms,
        version=group.version,
        last_info_time_ms=group.last_info_time_ms,
        last_message_time_ms=last_message_time_ms,
        next_seq=seq + 1,
        member_count=member_count,
        max_member_count=group.max_member_count,
        apply_join_option=group.apply_join_option,
        invite_join_option=group.invite_join_option,
        mute_all=group.mute_all,
    )


def _check_profile(rulebook: Rulebook, command: CreateGroup) -> None:
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


def _check_quotas(
    rulebook: Rulebook, state: Slice, command: CreateGroup, traits: Traits, actor: Actor
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
    refused = admit(rulebook, state, actor.user_id)
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


def _new_id(rulebook: Rulebook, state: Slice, command: CreateGroup, actor: Actor) -> str:
    if command.group_id is None:
        return identifiers.generated_group_id(command.type, state.fresh_token)
    most = rulebook.limit("GROUP_ID_BYTES") or 0
    if not identifiers.is_chosen_group_id(command.group_id, command.type, max_bytes=most):
        raise Refused(ErrorCode.INVALID_GROUP_ID, group_id=command.group_id[:64], type=command.type)
    if state.group is not None:
        is_own = state.group.owner_id == actor.user_id
        code = ErrorCode.GROUP_ID_TAKEN_BY_YOU if is_own else ErrorCode.GROUP_ID_TAKEN
        raise Refused(code, group_id=command.group_id)
    return command.group_id


def _new_group(
    rulebook: Rulebook,
    command: CreateGroup,
    traits: Traits,
    group_id: str,
    actor: Actor,
    now_ms: int,
) -> Group:
    return Group(
        group_id=group_id,
        type=command.type,
        name=command.name,
        owner_id=actor.user_id,
        create_time_ms=now_ms,
        last_info_time_ms=now_ms,
        version=1,
        member_count=1,
        max_member_count=_max_member_count(rulebook, command, traits),
        apply_join_option=_apply_option(command, traits),
        invite_join_option=_invite_option(command, traits),
        introduction=command.introduction,
        notification=command.notification,
        face_url=command.face_url,
    )


def _max_member_count(rulebook: Rulebook, command: CreateGroup, traits: Traits) -> int:
    """What the command asks for within the type's limit; 0 for no limit."""
    most = rulebook.limit(traits.member_limit) if traits.member_limit is not None else None
    wanted = command.max_member_count
    if wanted is None:
        return most or 0
    if most is not None and wanted > most:
        raise Refused(
            ErrorCode.BAD_REQUEST,
            f"max_member_count is {wanted}; a group of type {command.type} takes at most {most}",
            field="max_member_count",
            rule=traits.member_limit.lower() if traits.member_limit else "",
            have=wanted,
            need=most,
        )
    return wanted


def _apply_option(command: CreateGroup, traits: Traits) -> ApplyJoinOption:
    wanted = command.apply_join_option
    if wanted is None:
        return traits.apply_join_option
    if traits.apply_is_fixed and wanted is not traits.apply_join_option:
        raise _fixed(command.type, "apply_join_option", wanted, traits.apply_join_option)
    return wanted


def _invite_option(command: CreateGroup, traits: Traits) -> InviteJoinOption:
    wanted = command.invite_join_option
    if wanted is None:
        return traits.invite_join_option
    if traits.invite_is_fixed and wanted is not traits.invite_join_option:
        raise _fixed(command.type, "invite_join_option", wanted, traits.invite_join_option)
    return wanted


def _fixed(group_type: GroupType, field: str, have: str, need: str) -> Refused:
    return Refused(
        ErrorCode.NO_PERMISSION,
        f"{field} of a group of type {group_type} is always {need}",
        rule=field,
        field=field,
        have=have,
        need=need,
    )


def _initial_members(
    rulebook: Rulebook,
    state: Slice,
    command: CreateGroup,
    group: Group,
    owner: Member,
    now_ms: int,
) -> tuple[list[Member], list[MemberResult]]:
    """Who is added, and a row for each user named; a user named twice is a member by then."""
    added: dict[str, Member] = {}
    results: list[MemberResult] = []
    for wanted in command.members:
        if wanted.user_id in added or wanted.user_id == owner.user_id:
            results.append(
                MemberResult(user_id=wanted.user_id, result=MemberResultKind.ALREADY_MEMBER)
            )
            continue
        refused = _refused_initial_role(rulebook, command.type, wanted) or admit(
            rulebook, state, wanted.user_id, seats=seats_left(group, 1 + len(added))
        )
        if refused is not None:
            results.append(failed(wanted.user_id, refused))
            continue
        added[wanted.user_id] = Member(
            group_id=group.group_id,
            user_id=wanted.user_id,
            role=wanted.role,
            join_time_ms=now_ms,
            receive_option=owner.receive_option,
        )
        results.append(MemberResult(user_id=wanted.user_id, result=MemberResultKind.ADDED))
    return list(added.values()), results


def _refused_initial_role(
    rulebook: Rulebook, group_type: GroupType, wanted: InitialMember
) -> Refused | None:
    if wanted.role is Role.OWNER:
        return Refused(
            ErrorCode.BAD_REQUEST,
            "the creator is the owner; members are added as admin or member",
            field="role",
        )
    if wanted.role is Role.ADMIN:
        try:
            rulebook.require(Operation.APPOINT_ADMINS, group_type, Standing.OWNER)
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
