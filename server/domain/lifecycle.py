"""How groups begin and end: create and disband."""

from msgspec.structs import replace

from protocol.commands import DisbandGroup, TransferGroup
from protocol.errors import ErrorCode, Refused
from protocol.results import (
    GroupProfile,
    Nothing,
)
from protocol.vocabulary import (
    Role,
)
from server.domain import announcements
from server.domain.jobs import RecycleGroup
from server.domain.model import (
    Actor,
    Decision,
    Group,
    GroupKey,
    MemberKey,
    MoreNeeded,
    Row,
    RowKey,
    Slice,
    groups_of_day_counter,
)
from server.domain.refusals import living_group
from server.domain.rules import Operation, Rulebook, standing_of


def disband_group(
    rulebook: Rulebook, state: Slice, command: DisbandGroup, actor: Actor, now_ms: int
) -> Decision:
    """The group is closed; one entry tells everyone who was a member."""
    group = living_group(state, command.group_id)
    standing = standing_of(actor, state.members.get(actor.user_id))
    rulebook.require(Operation.DISBAND, group.type, standing)
    traits = rulebook.traits[group.type]
    return Decision(
        result=Nothing(),
        puts={GroupKey(group.group_id): _closed(group, now_ms)},
        counts={groups_of_day_counter(now_ms): -1} if traits.counts_for_the_day else {},
        entries=[announcements.group_disbanded(group, actor.user_id, now_ms)],
    )


def transfer_group(
    rulebook: Rulebook, state: Slice, command: TransferGroup, actor: Actor, now_ms: int
) -> Decision:
    """A member is the owner; the owner of before is an ordinary member."""
    group = living_group(state, command.group_id)
    standing = standing_of(actor, state.members.get(actor.user_id))
    rulebook.require(Operation.TRANSFER, group.type, standing)
    after, puts = handed_over(group, state, command.new_owner_id, now_ms)
    policy = rulebook.traits[group.type].profile_tips
    return Decision(
        result=Nothing(),
        puts={GroupKey(group.group_id): after, **puts},
        entries=announcements.owner_changed(group, after, actor.user_id, now_ms, policy),
    )


def handed_over(
    group: Group, state: Slice, new_owner_id: str, now_ms: int
) -> tuple[Group, dict[RowKey, Row | None]]:
    """The group with another owner, and the two members' rows.

    Raises:
        Refused: USER_NOT_FOUND when the new owner is no member, BAD_REQUEST when it is the old.
        MoreNeeded: the slice does not show the owner of before.
    """
    heir = state.members.get(new_owner_id)
    if heir is None:
        raise Refused(
            ErrorCode.USER_NOT_FOUND,
            "the new owner must be a member of the group",
            user_id=new_owner_id[:64],
        )
    if heir.role is Role.OWNER:
        raise Refused(
            ErrorCode.BAD_REQUEST, "the user owns the group already", field="new_owner_id"
        )
    puts: dict[RowKey, Row | None] = {
        MemberKey(group.group_id, new_owner_id): replace(heir, role=Role.OWNER)
    }
    owner = state.members.get(group.owner_id)
    if owner is None and group.owner_id and state.handlers is None:
        # The group got another owner earlier in this batch; two owners must never come of it.
        raise MoreNeeded
    if owner is not None:
        puts[MemberKey(group.group_id, owner.user_id)] = replace(owner, role=Role.MEMBER)
    after = replace(
        group, owner_id=new_owner_id, version=group.version + 1, last_info_time_ms=now_ms
    )
    return after, puts


def recycle_group(
    rulebook: Rulebook, state: Slice, command: RecycleGroup, _actor: Actor, now_ms: int
) -> Decision:
    """The group is closed because nobody used it; one entry tells everyone who was a member."""
    group = living_group(state, command.group_id)
    traits = rulebook.traits[group.type]
    return Decision(
        result=Nothing(),
        puts={GroupKey(group.group_id): _closed(group, now_ms)},
        counts={groups_of_day_counter(now_ms): -1} if traits.counts_for_the_day else {},
        entries=[announcements.group_recycled(group, now_ms)],
    )


def profile(
    group: Group,
    *,
    seq: int,
    last_message_time_ms: int,
    member_count: int,
    custom: dict[str, str],
    attributes: dict[str, str],
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
        custom=custom,
        attributes=attributes,
    )


def _closed(group: Group, now_ms: int) -> Group:
    return replace(
        group,
        closed_ms=now_ms,
        version=group.version + 1,
        last_info_time_ms=now_ms,
        member_count=0,
    )
