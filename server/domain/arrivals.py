"""Users become members: the rows and the entries, whatever way they came."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from protocol.events import MemberChange, ProfileChanged
from protocol.vocabulary import Notice, Role, Tip
from server.domain import announcements
from server.domain.model import (
    Actor,
    Entry,
    Group,
    GroupKey,
    Member,
    MemberKey,
    Remembered,
    RememberedKey,
    Row,
    RowKey,
    Slice,
)
from server.domain.rules import Rulebook, TipPolicy


def new_member(rulebook: Rulebook, group: Group, state: Slice, user_id: str, now_ms: int) -> Member:
    """The membership of a user who comes; a mute that is remembered goes on."""
    remembered = state.remembered.get(user_id)
    return Member(
        group_id=group.group_id,
        user_id=user_id,
        role=Role.MEMBER,
        join_time_ms=now_ms,
        receive_option=rulebook.traits[group.type].receive_option,
        mute_until_ms=_mute_that_goes_on(remembered, now_ms),
    )


def _mute_that_goes_on(remembered: Remembered | None, now_ms: int) -> int:
    if remembered is None or remembered.mute_until_ms <= now_ms:
        return 0
    return remembered.mute_until_ms


def rows_of_participant(group: Group, state: Slice, user_id: str) -> dict[RowKey, Row | None]:
    """What is forgotten when a user begins to take part: the receive option of the last time."""
    remembered = state.remembered.get(user_id)
    if remembered is None or remembered.receive_option is None:
        return {}
    key = RememberedKey(group.group_id, user_id)
    return {key: replace(remembered, receive_option=None)}


def grown(group: Group, by: int) -> Group:
    """The group with so many more members."""
    return replace(group, member_count=group.member_count + by, version=group.version + 1)


def counted(group: Group, state: Slice, change: int) -> Group:
    """A group without stored membership as its members see it: with those who take part."""
    return replace(group, member_count=max(0, state.participant_count + change))


def shrunk(group: Group, gone: Sequence[Member], now_ms: int) -> Group:
    """The group without those members; ownerless when the owner is among them."""
    without_owner = any(member.role is Role.OWNER for member in gone)
    return replace(
        group,
        member_count=group.member_count - len(gone),
        version=group.version + 1,
        owner_id="" if without_owner else group.owner_id,
        last_info_time_ms=now_ms if without_owner else group.last_info_time_ms,
    )


def rows_of_added(group: Group, added: Sequence[Member]) -> dict[RowKey, Row | None]:
    """The group after it has grown, and its new members."""
    puts: dict[RowKey, Row | None] = {GroupKey(group.group_id): group}
    for member in added:
        puts[MemberKey(group.group_id, member.user_id)] = member
        if member.mute_until_ms:
            puts[RememberedKey(group.group_id, member.user_id)] = None
    return puts


def rows_of_gone(group: Group, gone: Sequence[Member], now_ms: int) -> dict[RowKey, Row | None]:
    """The group after it has shrunk; the mutes of those who left are remembered."""
    puts: dict[RowKey, Row | None] = {GroupKey(group.group_id): group}
    for member in gone:
        puts[MemberKey(group.group_id, member.user_id)] = None
        if member.mute_until_ms > now_ms:
            puts[RememberedKey(group.group_id, member.user_id)] = Remembered(
                group_id=group.group_id,
                user_id=member.user_id,
                mute_until_ms=member.mute_until_ms,
            )
    return puts


def told_of_added(
    rulebook: Rulebook,
    group: Group,
    added: Sequence[Member],
    tip_name: Tip,
    notice_of: Callable[[Member], Entry],
    actor: Actor,
    now_ms: int,
) -> list[Entry]:
    """A notice to each new member, and the tip to all."""
    user_ids = tuple(member.user_id for member in added)
    tip = announcements.members_changed(tip_name, user_ids, group, actor.user_id, now_ms)
    traits = rulebook.traits[group.type]
    notices = [notice_of(member) for member in added]
    told = announcements.arrivals(
        notices,
        tip,
        user_ids,
        traits.membership_tips,
        stores_members=traits.stores_members,
    )
    if traits.stores_members:
        for member in added:
            told += _told_of_mute(group, member, actor, now_ms, traits.role_and_mute_tips)
    return told


def _told_of_mute(
    group: Group, member: Member, actor: Actor, now_ms: int, policy: TipPolicy
) -> list[Entry]:
    """A mute that goes on from an earlier membership, to the member and as mutes are told."""
    if not member.mute_until_ms:
        return []
    data = MemberChange(
        user_id=member.user_id, version=group.version, mute_until_ms=member.mute_until_ms
    )
    notice = announcements.notice_to(
        member.user_id,
        Notice.MEMBER_PROFILE_CHANGED,
        group.group_id,
        actor.user_id,
        now_ms,
        data,
    )
    if policy is TipPolicy.OFF:
        return [notice]
    tip = announcements.tip(
        Tip.MEMBER_PROFILE_CHANGED,
        group,
        actor.user_id,
        now_ms,
        data,
        is_stored=policy is TipPolicy.STORED,
    )
    return [notice, tip]


def told_silently(
    rulebook: Rulebook,
    before: Group,
    after: Group,
    tip_name: Tip,
    user_ids: Sequence[str],
    actor: Actor,
    now_ms: int,
    policy: TipPolicy | None = None,
) -> list[Entry]:
    """Where no tip tells who comes and goes: a copy to the actor, and a lost owner to all.

    ``policy`` is how it is told this time, None for as the type has it.
    """
    traits = rulebook.traits[before.type]
    if (policy or traits.membership_tips) is not TipPolicy.OFF:
        return []
    tip = announcements.members_changed(tip_name, user_ids, after, actor.user_id, now_ms)
    told = [
        announcements.notice_to(
            actor.user_id,
            Notice(str(tip_name)),
            after.group_id,
            actor.user_id,
            now_ms,
            tip.data,
        )
    ]
    if before.owner_id != after.owner_id:
        lost = ProfileChanged(version=after.version, owner_id=after.owner_id)
        told.append(
            announcements.profile_changed(after, lost, actor.user_id, now_ms, traits.profile_tips)
        )
    return told
