"""Stored things as the wire shows them: events, profiles, rows of the joined list."""

from protocol.events import Event
from protocol.results import GroupProfile, JoinedGroup, MemberProfile
from server.domain import lifecycle
from server.domain.model import Group
from server.domain.rules import Rulebook
from server.service.ports import Committed, GroupHead, JoinedRow, MemberState, Presence


def event_of(committed: Committed) -> Event:
    """A committed entry as its receivers see it."""
    entry = committed.entry
    is_inbox = entry.inbox_of is not None
    number = committed.seq or None
    return Event(
        kind=entry.kind,
        event=entry.event,
        group_id=entry.group_id,
        time_ms=entry.time_ms,
        op=entry.op,
        seq=None if is_inbox else number,
        inbox_seq=number if is_inbox else None,
        actor_id=entry.actor_id,
        from_id=entry.from_id,
        message_id=entry.message_id,
        data=entry.data,
    )


def group_profile(
    group: Group, head: GroupHead, presence: Presence, rulebook: Rulebook
) -> GroupProfile:
    """A group's profile; a group that stores no members counts those who take part now."""
    stores_members = rulebook.traits[group.type].stores_members
    return lifecycle.profile(
        group,
        seq=head.seq,
        last_message_time_ms=head.last_message_time_ms,
        member_count=group.member_count
        if stores_members
        else presence.participant_count(group.group_id),
    )


def member_profile(state: MemberState) -> MemberProfile:
    """A member as other members see it."""
    member = state.member
    return MemberProfile(
        user_id=member.user_id,
        role=member.role,
        join_time_ms=member.join_time_ms,
        read_seq=state.read_seq,
        receive_option=member.receive_option,
        last_message_time_ms=state.last_message_time_ms,
        name_card=member.name_card,
        mute_until_ms=member.mute_until_ms,
    )


def joined_group(row: JoinedRow, rulebook: Rulebook) -> JoinedGroup:
    """A row of the joined list, with the unread count where the type has one."""
    group = row.group
    counts = rulebook.traits[group.type].counts_unread
    return JoinedGroup(
        group_id=group.group_id,
        type=group.type,
        name=group.name,
        face_url=group.face_url,
        owner_id=group.owner_id,
        version=group.version,
        member_count=group.member_count,
        mute_all=group.mute_all,
        last_message_time_ms=row.head.last_message_time_ms,
        last_seq=row.head.seq,
        unread=max(0, row.head.seq - row.state.read_seq) if counts else 0,
        self_=member_profile(row.state),
    )
