"""Who is told what: the entries of each change (``groups.md`` section 5).

Order within one change: whoever is added hears of it first and then sees the tip; whoever goes
sees the tip and then, last of all, the notice that says so.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from protocol import events
from protocol.vocabulary import (
    NOTICE_OPS,
    TIP_OPS,
    EventKind,
    Message,
    Notice,
    Role,
    Tip,
)
from server.domain.model import Entry, Group
from server.domain.rules import TipPolicy


def basics(group: Group) -> events.GroupBasics:
    """What a joined list shows of ``group``."""
    return events.GroupBasics(
        type=group.type,
        name=group.name,
        face_url=group.face_url,
        owner_id=group.owner_id,
        version=group.version,
        member_count=group.member_count,
        mute_all=group.mute_all,
    )


def notice_to(
    user_id: str,
    notice: Notice,
    group_id: str,
    actor_id: str,
    now_ms: int,
    data: events.EventData,
    *,
    joined: tuple[str, ...] = (),
    is_stored: bool = True,
) -> Entry:
    """A notice in the inbox of ``user_id``."""
    return Entry(
        kind=EventKind.NOTICE,
        event=notice,
        op=NOTICE_OPS[notice],
        group_id=group_id,
        actor_id=actor_id,
        time_ms=now_ms,
        data=data,
        inbox_of=user_id,
        joined=joined,
        is_stored=is_stored,
    )


def tip(
    tip_name: Tip,
    group: Group,
    actor_id: str,
    now_ms: int,
    data: events.EventData,
    *,
    is_stored: bool = True,
) -> Entry:
    """A tip in the log of ``group``."""
    return Entry(
        kind=EventKind.TIP,
        event=tip_name,
        op=TIP_OPS[tip_name],
        group_id=group.group_id,
        actor_id=actor_id,
        time_ms=now_ms,
        data=data,
        is_stored=is_stored,
    )


def arrivals(
    notices: Sequence[Entry],
    tip_entry: Entry,
    user_ids: tuple[str, ...],
    policy: TipPolicy,
    *,
    stores_members: bool,
) -> list[Entry]:
    """The notices to ``user_ids``, who are new, and the tip to all as ``policy`` has it.

    The first entry that the new members are to see of the group's log is marked with ``joined``.
    """
    told = list(notices)
    on_tip = _is_marked_on_tip(policy, stores_members=stores_members)
    if not on_tip and told[0].is_stored == stores_members:
        told[0] = replace(told[0], joined=user_ids)
    if policy is not TipPolicy.OFF:
        marks = user_ids if on_tip else ()
        told.append(replace(tip_entry, joined=marks, is_stored=policy is TipPolicy.STORED))
    return told


def departures(
    notices: Sequence[Entry],
    tip_entry: Entry,
    user_ids: tuple[str, ...],
    policy: TipPolicy,
    *,
    stores_members: bool,
) -> list[Entry]:
    """The tip to all, as they were before, and then the notices to ``user_ids``, who are gone."""
    told = list(notices)
    on_tip = _is_marked_on_tip(policy, stores_members=stores_members)
    if not on_tip and told[0].is_stored == stores_members:
        told[0] = replace(told[0], left=user_ids)
    if policy is not TipPolicy.OFF:
        marks = user_ids if on_tip else ()
        told.insert(0, replace(tip_entry, left=marks, is_stored=policy is TipPolicy.STORED))
    return told


def group_created(group: Group, actor_id: str, now_ms: int) -> Entry:
    """To the owner's devices, or to the operator who created a group without an owner."""
    owner_ids = (group.owner_id,) if group.owner_id else ()
    return notice_to(
        group.owner_id or actor_id,
        Notice.GROUP_CREATED,
        group.group_id,
        actor_id,
        now_ms,
        events.GroupCreated(group=basics(group)),
        joined=owner_ids,
    )


def invited(
    user_id: str, role: Role, message: str, group: Group, actor_id: str, now_ms: int
) -> Entry:
    """To a user who was brought in."""
    data = events.Invited(group=basics(group), role=role, message=message)
    return notice_to(user_id, Notice.INVITED, group.group_id, actor_id, now_ms, data)


def members_changed(
    tip_name: Tip,
    user_ids: Sequence[str],
    group: Group,
    actor_id: str,
    now_ms: int,
    *,
    reason: str = "",
    before: Group | None = None,
) -> Entry:
    """To the members: who came or went, and what the group is after it.

    Where ``before`` is given and the owner has changed since, the tip says who owns the group.
    """
    has_new_owner = before is not None and before.owner_id != group.owner_id
    data = events.MembersChanged(
        user_ids=list(user_ids),
        member_count=group.member_count,
        version=group.version,
        reason=reason,
        owner_id=group.owner_id if has_new_owner else None,
    )
    return tip(tip_name, group, actor_id, now_ms, data)


def told_to_operator(group: Group, user_ids: tuple[str, ...], actor_id: str, now_ms: int) -> Entry:
    """To the operator alone: these users are members now; their membership begins with it."""
    data = events.MembersChanged(
        user_ids=list(user_ids), member_count=group.member_count, version=group.version
    )
    return notice_to(
        actor_id,
        Notice.MEMBER_INVITED,
        group.group_id,
        actor_id,
        now_ms,
        data,
        joined=user_ids,
    )


def profile_changed(
    group: Group, data: events.ProfileChanged, actor_id: str, now_ms: int, policy: TipPolicy
) -> Entry:
    """To the members as ``policy`` has it; where there is no tip, to the actor's own devices."""
    if policy is TipPolicy.OFF:
        return notice_to(
            actor_id, Notice.GROUP_PROFILE_CHANGED, group.group_id, actor_id, now_ms, data
        )
    stored = policy is TipPolicy.STORED
    return tip(Tip.GROUP_PROFILE_CHANGED, group, actor_id, now_ms, data, is_stored=stored)


def owner_changed(
    before: Group, after: Group, actor_id: str, now_ms: int, policy: TipPolicy
) -> list[Entry]:
    """To the owner of before and of now, and to the members."""
    data = events.OwnerChanged(
        old_owner_id=before.owner_id, new_owner_id=after.owner_id, version=after.version
    )
    told = [
        notice_to(user_id, Notice.OWNER_CHANGED, after.group_id, actor_id, now_ms, data)
        for user_id in (before.owner_id, after.owner_id)
        if user_id
    ]
    changed = events.ProfileChanged(version=after.version, owner_id=after.owner_id)
    return [*told, profile_changed(after, changed, actor_id, now_ms, policy)]


def group_recycled(group: Group, now_ms: int) -> Entry:
    """To everyone who was a member: one entry, the last of the group's log."""
    data = events.GroupRecycled(type=group.type, name=group.name)
    return _closing(Notice.GROUP_RECYCLED, group, None, now_ms, data)


def group_disbanded(group: Group, actor_id: str, now_ms: int) -> Entry:
    """To everyone who was a member: one entry, the last of the group's log."""
    data = events.GroupDisbanded(type=group.type, name=group.name)
    return _closing(Notice.GROUP_DISBANDED, group, actor_id, now_ms, data)


def message(
    group: Group,
    from_id: str,
    message_id: str,
    now_ms: int,
    data: events.MessageData,
    *,
    is_stored: bool,
) -> Entry:
    """What a member said, to the members."""
    return Entry(
        kind=EventKind.MESSAGE,
        event=Message.MESSAGE,
        group_id=group.group_id,
        from_id=from_id,
        message_id=message_id,
        time_ms=now_ms,
        data=data,
        is_quiet=data.no_unread,
        is_passing=data.no_last_message,
        is_stored=is_stored,
    )


def message_recalled(
    group: Group, from_id: str, recalled_seq: int, reason: str, actor_id: str, now_ms: int
) -> Entry:
    """A message was taken back, to the members."""
    return Entry(
        kind=EventKind.MESSAGE,
        event=Message.MESSAGE_RECALLED,
        group_id=group.group_id,
        actor_id=actor_id,
        time_ms=now_ms,
        data=events.MessageRecalled(recalled_seq=recalled_seq, from_id=from_id, reason=reason),
    )


def _is_marked_on_tip(policy: TipPolicy, *, stores_members: bool) -> bool:
    """Whether the tip says who comes or goes; else a notice does.

    A membership that is stored begins and ends with a stored entry, any other with an unstored.
    """
    return policy is not TipPolicy.OFF and stores_members == (policy is TipPolicy.STORED)


def _closing(
    notice: Notice, group: Group, actor_id: str | None, now_ms: int, data: events.EventData
) -> Entry:
    return Entry(
        kind=EventKind.NOTICE,
        event=notice,
        op=NOTICE_OPS[notice],
        group_id=group.group_id,
        actor_id=actor_id,
        time_ms=now_ms,
        data=data,
        closes=True,
    )
