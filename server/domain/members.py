"""Changes of one member: role, name card, mute, custom fields, receive option."""

from msgspec.structs import replace

from protocol.commands import UpdateMember
from protocol.errors import ErrorCode, Refused
from protocol.events import MemberChange, ReceiveOptionChanged, RoleChange
from protocol.limits import MAX_INTEGER
from protocol.results import MemberChanged, MemberProfile
from protocol.vocabulary import Notice, Role, Tip
from server.domain import announcements, fields
from server.domain.jobs import AdjustMember
from server.domain.model import (
    Actor,
    Decision,
    Entry,
    Group,
    GroupKey,
    Member,
    MemberKey,
    ReadState,
    Remembered,
    RememberedKey,
    Row,
    RowKey,
    Slice,
)
from server.domain.refusals import living_group
from server.domain.rules import (
    Operation,
    Rulebook,
    Standing,
    TipPolicy,
    standing_of,
    standing_of_member,
)
from server.domain.text import check_line


def update_member(
    rulebook: Rulebook, state: Slice, command: UpdateMember, actor: Actor, now_ms: int
) -> Decision:
    """The member is as the command says; all of it or nothing.

    The receive option is the member's own affair, or of an operator who adjusts it: it changes no
    version, and only the member's devices hear of it.
    """
    group = living_group(state, command.group_id)
    member = state.members.get(command.user_id)
    standing = standing_of(actor, state.members.get(actor.user_id))
    _require_rights(rulebook, group, command, actor, standing, member)
    if member is None:
        raise Refused(
            ErrorCode.USER_NOT_FOUND, "the user is not in the group", user_id=command.user_id[:64]
        )
    is_self = command.user_id == actor.user_id
    _check_values(rulebook, command, standing, is_self=is_self)
    after, change = _changed(command, member, now_ms)
    is_visible = change.name_card is not None or change.mute_until_ms is not None or change.custom
    has_role = after.role is not member.role
    group_after = group
    if is_visible or has_role:
        group_after = replace(group, version=group.version + 1)
    entries = _told(rulebook, group_after, member, after, change, actor, now_ms)
    return Decision(
        result=MemberChanged(member=_profile(rulebook, after, state.read_state, standing, is_self)),
        puts=_puts(rulebook, group, group_after, member, after),
        entries=entries,
    )


def adjust_member(
    rulebook: Rulebook, state: Slice, command: AdjustMember, actor: Actor, now_ms: int
) -> Decision:
    """Like ``update_member`` for the operator, of those who are stored members."""
    group = living_group(state, command.group_id)
    if not rulebook.traits[group.type].stores_members:
        raise Refused(
            ErrorCode.NO_PERMISSION,
            f"a group of type {group.type} has no members that could be changed; mute or ban them",
            rule="adjust_member",
            have=str(group.type),
            need="a type that stores its members",
        )
    return update_member(rulebook, state, command, actor, now_ms)


def _require_rights(
    rulebook: Rulebook,
    group: Group,
    command: UpdateMember,
    actor: Actor,
    standing: Standing,
    member: Member | None,
) -> None:
    """What the command names decides which rows of the table are asked."""
    target = standing_of_member(member)
    is_self = command.user_id == actor.user_id
    if command.role is not None:
        rulebook.require(Operation.APPOINT_ADMINS, group.type, standing)
        if command.role is Role.OWNER or target is Standing.OWNER:
            raise Refused(
                ErrorCode.BAD_REQUEST, "the owner is changed by transfer_group", field="role"
            )
    if command.mute_s is not None:
        rulebook.require(Operation.MUTE_MEMBER, group.type, standing)
        _refuse_self(is_self=is_self, rule="mute_member")
        rulebook.require_over(Operation.MUTE_MEMBER, standing, target)
    if command.name_card is not None or command.custom:
        if is_self and member is not None:
            rulebook.require(Operation.EDIT_OWN_MEMBER, group.type, standing)
        else:
            rulebook.require(Operation.EDIT_OTHER_MEMBER, group.type, standing)
            rulebook.require_over(Operation.EDIT_OTHER_MEMBER, standing, target)
    if command.receive_option is not None and not is_self and not _is_adjusted(command, standing):
        raise Refused(
            ErrorCode.NO_PERMISSION,
            "a receive option is set by the member itself",
            rule="set_receive_option",
            have=standing.name.lower(),
            need="self",
        )
    # A command that names nothing still says whether somebody is a member.
    rulebook.require(Operation.SET_RECEIVE_OPTION, group.type, standing)


def _is_adjusted(command: UpdateMember, standing: Standing) -> bool:
    """Whether the operator sets what is else the member's own affair."""
    return isinstance(command, AdjustMember) and standing is Standing.APP_ADMIN


def _refuse_self(*, is_self: bool, rule: str) -> None:
    if is_self:
        raise Refused(
            ErrorCode.NO_PERMISSION, "nobody mutes themselves", rule=rule, have="self", need="other"
        )


def _check_values(
    rulebook: Rulebook, command: UpdateMember, standing: Standing, *, is_self: bool
) -> None:
    if command.name_card is not None:
        check_line(rulebook, "name_card", command.name_card, "NAME_CARD_BYTES")
    most = rulebook.limit("MUTE_S")
    if command.mute_s is not None and most is not None and command.mute_s > most:
        raise Refused(
            ErrorCode.BAD_REQUEST,
            f"mute_s is at most {most}",
            field="mute_s",
            rule="mute_s",
            have=command.mute_s,
            need=most,
        )
    fields.checked_member_fields(rulebook, command.custom, standing, is_self=is_self)


def _changed(command: UpdateMember, member: Member, now_ms: int) -> tuple[Member, MemberChange]:
    """The member after the command, and what others see of the difference (version to come)."""
    custom, custom_changes = fields.merged(member.custom, command.custom)
    mute_until_ms = _mute_until_ms(command.mute_s, member, now_ms)
    name_card = member.name_card if command.name_card is None else command.name_card
    after = replace(
        member,
        role=command.role or member.role,
        name_card=name_card,
        mute_until_ms=mute_until_ms,
        custom=custom,
        receive_option=command.receive_option or member.receive_option,
    )
    change = MemberChange(
        user_id=member.user_id,
        version=0,
        name_card=name_card if name_card != member.name_card else None,
        mute_until_ms=mute_until_ms if mute_until_ms != member.mute_until_ms else None,
        custom=custom_changes,
    )
    return after, change


def _mute_until_ms(mute_s: int | None, member: Member, now_ms: int) -> int:
    if mute_s is None:
        return member.mute_until_ms
    return min(now_ms + mute_s * 1000, MAX_INTEGER) if mute_s else 0


def _puts(
    rulebook: Rulebook, group: Group, group_after: Group, member: Member, after: Member
) -> dict[RowKey, Row | None]:
    puts: dict[RowKey, Row | None] = {}
    if group_after != group:
        puts[GroupKey(group.group_id)] = group_after
    if after == member:
        return puts
    is_stored = rulebook.traits[group.type].stores_members or member.role is Role.OWNER
    if is_stored:
        puts[MemberKey(group.group_id, member.user_id)] = after
    else:
        # Who takes part is not banned, so that nothing else is remembered of the user.
        puts[RememberedKey(group.group_id, member.user_id)] = Remembered(
            group_id=group.group_id,
            user_id=member.user_id,
            mute_until_ms=after.mute_until_ms,
            receive_option=after.receive_option,
        )
    return puts


def _told(
    rulebook: Rulebook,
    group: Group,
    member: Member,
    after: Member,
    change: MemberChange,
    actor: Actor,
    now_ms: int,
) -> list[Entry]:
    """To the member, to all as the type has it, and of what is not told to all, to the actor."""
    traits = rulebook.traits[group.type]
    user_id = member.user_id
    change = replace(change, version=group.version)
    told: list[Entry] = []
    if after.role is not member.role:
        told += _told_role(traits.role_and_mute_tips, group, after, actor, now_ms)
    if change.name_card is not None or change.mute_until_ms is not None or change.custom:
        told.append(
            announcements.notice_to(
                user_id,
                Notice.MEMBER_PROFILE_CHANGED,
                group.group_id,
                actor.user_id,
                now_ms,
                _for_the_member(rulebook, after, change),
            )
        )
        told += _told_change(rulebook, group, change, actor, now_ms)
    silent = _unannounced(rulebook, group, member, after, change)
    if silent is not None and actor.user_id != user_id:
        told.append(
            announcements.notice_to(
                actor.user_id,
                Notice.MEMBER_PROFILE_CHANGED,
                group.group_id,
                actor.user_id,
                now_ms,
                silent,
            )
        )
    if after.receive_option is not member.receive_option:
        data = ReceiveOptionChanged(receive_option=after.receive_option)
        told.append(
            announcements.notice_to(
                user_id,
                Notice.RECEIVE_OPTION_CHANGED,
                group.group_id,
                actor.user_id,
                now_ms,
                data,
            )
        )
    return told


def _for_the_member(rulebook: Rulebook, after: Member, change: MemberChange) -> MemberChange:
    """The change without fields that the member may not read."""
    standing = standing_of_member(after)
    custom = {
        key: value
        for key, value in change.custom.items()
        if rulebook.member_fields[key].read.allows(standing, is_self=True)
    }
    return replace(change, custom=custom)


def _told_role(
    policy: TipPolicy, group: Group, after: Member, actor: Actor, now_ms: int
) -> list[Entry]:
    is_admin = after.role is Role.ADMIN
    data = RoleChange(user_id=after.user_id, role=after.role, version=group.version)
    notice = Notice.ADMIN_GRANTED if is_admin else Notice.ADMIN_REVOKED
    tip = Tip.ADMIN_SET if is_admin else Tip.ADMIN_CANCELLED
    return [
        announcements.notice_to(after.user_id, notice, group.group_id, actor.user_id, now_ms, data),
        *_tip(policy, announcements.tip(tip, group, actor.user_id, now_ms, data)),
    ]


def _told_change(
    rulebook: Rulebook, group: Group, change: MemberChange, actor: Actor, now_ms: int
) -> list[Entry]:
    """One tip of what the type announces and all may read: mutes have a policy of their own."""
    traits = rulebook.traits[group.type]
    policy = traits.profile_tips
    for_all, _for_some = fields.parted(rulebook.member_fields, change.custom)
    change = replace(change, custom=for_all)
    if change.mute_until_ms is not None:
        if traits.role_and_mute_tips is TipPolicy.OFF:
            change = replace(change, mute_until_ms=None)
        elif change.name_card is None and not change.custom:
            policy = traits.role_and_mute_tips
    if change.name_card is None and change.mute_until_ms is None and not change.custom:
        return []
    tip = announcements.tip(Tip.MEMBER_PROFILE_CHANGED, group, actor.user_id, now_ms, change)
    return _tip(policy, tip)


def _unannounced(
    rulebook: Rulebook, group: Group, member: Member, after: Member, change: MemberChange
) -> MemberChange | None:
    """What of a change no tip tells: fields not for all, and silent roles and mutes."""
    is_silent = rulebook.traits[group.type].role_and_mute_tips is TipPolicy.OFF
    role = after.role if is_silent and after.role is not member.role else None
    mute_until_ms = change.mute_until_ms if is_silent else None
    _for_all, for_some = fields.parted(rulebook.member_fields, change.custom)
    if role is None and mute_until_ms is None and not for_some:
        return None
    return MemberChange(
        user_id=member.user_id,
        version=change.version,
        mute_until_ms=mute_until_ms,
        role=role,
        custom=for_some,
    )


def _tip(policy: TipPolicy, entry: Entry) -> list[Entry]:
    if policy is TipPolicy.OFF:
        return []
    return [replace(entry, is_stored=policy is TipPolicy.STORED)]


def _profile(
    rulebook: Rulebook,
    member: Member,
    read_state: ReadState,
    standing: Standing,
    is_self: bool,
) -> MemberProfile:
    return member_profile(
        member,
        read_seq=read_state.read_seq,
        last_message_time_ms=read_state.last_message_time_ms,
        custom=fields.readable(rulebook.member_fields, member.custom, standing, is_self=is_self),
    )


def member_profile(
    member: Member, *, read_seq: int, last_message_time_ms: int, custom: dict[str, str]
) -> MemberProfile:
    """A member as the wire shows it, with the custom fields that the reader may see."""
    return MemberProfile(
        user_id=member.user_id,
        role=member.role,
        join_time_ms=member.join_time_ms,
        read_seq=read_seq,
        receive_option=member.receive_option,
        last_message_time_ms=last_message_time_ms,
        name_card=member.name_card,
        mute_until_ms=member.mute_until_ms,
        custom=custom,
    )
