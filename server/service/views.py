"""Stored things as the wire shows them: events, profiles, rows of the joined list."""

from collections.abc import Collection

import msgspec

from protocol.events import Event
from protocol.results import (
    ApplicationInfo,
    GroupProfile,
    JoinedGroup,
    MemberProfile,
    TypeRules,
)
from protocol.vocabulary import GroupType
from server.domain import fields, lifecycle, members
from server.domain.model import Application, Attributes, Group
from server.domain.rules import ONLY_LOWER_RANK, Rulebook, Standing, standing_of_member
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
    group: Group,
    head: GroupHead,
    attributes: Attributes | None,
    custom_keys: Collection[str] | None,
    standing: Standing,
    presence: Presence,
    rulebook: Rulebook,
) -> GroupProfile:
    """A group's profile as somebody of ``standing`` sees it.

    A group that stores no members counts those who take part now. Attributes are shown to
    members; custom fields to those whom their declaration names.
    """
    stores_members = rulebook.traits[group.type].stores_members
    custom = fields.readable(rulebook.group_fields, group.custom, standing)
    if custom_keys is not None:
        custom = {key: value for key, value in custom.items() if key in custom_keys}
    shows_attributes = attributes is not None and standing >= Standing.MEMBER
    return lifecycle.profile(
        group,
        seq=head.seq,
        last_message_time_ms=head.last_message_time_ms,
        member_count=group.member_count
        if stores_members
        else presence.participant_count(group.group_id),
        custom=custom,
        attributes=attributes.values if attributes is not None and shows_attributes else {},
    )


def member_profile(
    state: MemberState, reader_id: str, standing: Standing, rulebook: Rulebook
) -> MemberProfile:
    """A member as the reader, who is of ``standing``, sees it."""
    member = state.member
    return members.member_profile(
        member,
        read_seq=state.read_seq,
        last_message_time_ms=state.last_message_time_ms,
        custom=fields.readable(
            rulebook.member_fields,
            member.custom,
            standing,
            is_self=member.user_id == reader_id,
        ),
    )


def joined_group(row: JoinedRow, presence: Presence, rulebook: Rulebook) -> JoinedGroup:
    """A row of the joined list, with the unread count where the type has one."""
    group = row.group
    member = row.state.member
    traits = rulebook.traits[group.type]
    counts = traits.counts_unread
    return JoinedGroup(
        group_id=group.group_id,
        type=group.type,
        name=group.name,
        face_url=group.face_url,
        owner_id=group.owner_id,
        version=group.version,
        member_count=group.member_count
        if traits.stores_members
        else presence.participant_count(group.group_id),
        mute_all=group.mute_all,
        last_message_time_ms=row.head.last_message_time_ms,
        last_seq=row.head.seq,
        unread=row.unread if counts else 0,
        self_=member_profile(row.state, member.user_id, standing_of_member(member), rulebook),
    )


def application_info(application: Application) -> ApplicationInfo:
    """A row of the pending list."""
    return ApplicationInfo(
        application_id=application.application_id,
        kind=application.kind,
        group_id=application.group_id,
        user_id=application.user_id,
        inviter_id=application.inviter_id,
        message=application.message,
        created_ms=application.created_ms,
        status=application.status,
        handler_id=application.handler_id,
        handled_ms=application.handled_ms,
        handle_message=application.handle_message,
    )


def type_rules(group_type: GroupType, rulebook: Rulebook) -> TypeRules:
    """A type's column of the tables, as words."""
    traits = rulebook.traits[group_type]
    return TypeRules(
        type=group_type,
        rights={
            str(operation): rights[group_type].name.lower()
            for operation, rights in rulebook.rights.items()
        },
        only_lower_rank=sorted(ONLY_LOWER_RANK),
        traits=msgspec.to_builtins(traits),
    )
