"""What the operator's own service is asked of a command, and told of a decision.

The requests are those of ``protocol.callbacks``; which of them somebody wants to hear is decided
elsewhere. As everything here it is a calculation: of the command, of the group before it, and of
what was decided.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from protocol import callbacks
from protocol.callbacks import Account, CallbackRequest, KeyValue
from protocol.commands import (
    ChangingCommand,
    CreateGroup,
    InviteMembers,
    JoinGroup,
    RecallMessage,
    SendMessage,
    UpdateGroup,
)
from protocol.dialect import TYPE_WORDS, msg_body
from protocol.errors import Refused
from protocol.results import CreateGroupResult, MemberResultKind
from protocol.vocabulary import GroupType, Notice, Tip
from server.domain.jobs import FoundGroup
from server.domain.model import Actor, Decision, Entry, Group, GroupKey, Origin, Slice

_MS_PER_S: Final = 1000
_FOUR_FIELDS: Final = ("name", "introduction", "notification", "face_url")
_BY_APPLYING: Final = frozenset({Tip.MEMBER_JOINED, Notice.JOINED, Notice.JOIN_APPROVED})
_KICKED: Final = frozenset({Tip.MEMBER_KICKED, Notice.KICKED})

Told = tuple[str, CallbackRequest]
"""The group that a request is about, and the request."""


class Happening(msgspec.Struct, frozen=True):
    """One command that is decided, and the groups that it found, by their IDs."""

    command: Any
    actor: Actor
    origin: Origin
    groups: Mapping[str, Group]
    decision: Decision
    now_ms: int

    @classmethod
    def of(
        cls,
        command: ChangingCommand,
        actor: Actor,
        origin: Origin,
        before: Slice,
        decision: Decision,
        now_ms: int,
    ) -> "Happening":
        """What ``decide`` was given, and what it gave."""
        slices = [before, *(case.state for case in before.cases.values())]
        groups = {state.group.group_id: state.group for state in slices if state.group is not None}
        return cls(command, actor, origin, groups, decision, now_ms)

    @property
    def group(self) -> Group | None:
        """The group that the command names."""
        return self.groups.get(getattr(self.command, "group_id", None) or "")

    @property
    def event_time(self) -> str:
        """As every request has it."""
        return str(self.now_ms)

    @property
    def operator_id(self) -> str:
        """Who did it: the account that asked, also when it acts for somebody else."""
        return self.origin.caller_id or self.actor.user_id


# Told after a change.


def told(happening: Happening) -> list[Told]:
    """Everything that there is to tell of it, in the order in which it happened."""
    requests = [
        *_created(happening),
        *_joined(happening),
        *_filled(happening),
        *_edited(happening),
        *_handed_over(happening),
        *_said(happening),
        *_recalled(happening),
        *_left(happening),
        *_destroyed(happening),
    ]
    return list(requests)


def _created(happening: Happening) -> Iterator[Told]:
    result = happening.decision.result
    if not isinstance(happening.command, CreateGroup) or not isinstance(result, CreateGroupResult):
        return
    group = result.group
    added = [one.user_id for one in result.members if one.result is MemberResultKind.ADDED]
    yield (
        group.group_id,
        callbacks.AfterCreateGroup(
            event_time=happening.event_time,
            group_id=group.group_id,
            operator_id=happening.operator_id,
            owner_id=group.owner_id,
            type=TYPE_WORDS[group.type],
            name=group.name,
            members=accounts(added),
            custom=[KeyValue(key, value) for key, value in group.custom.items()],
        ),
    )


def _joined(happening: Happening) -> Iterator[Told]:
    if isinstance(happening.command, CreateGroup):
        return
    for entry in happening.decision.entries:
        if not entry.joined:
            continue
        group = _group_of(happening, entry.group_id)
        if group is None:
            continue
        applied = entry.event in _BY_APPLYING
        yield (
            group.group_id,
            callbacks.AfterNewMemberJoin(
                event_time=happening.event_time,
                group_id=group.group_id,
                type=TYPE_WORDS[group.type],
                join_type="Apply" if applied else "Invited",
                operator_id=happening.operator_id if applied else _doer(happening, entry),
                members=accounts(entry.joined),
            ),
        )
        if group.type is GroupType.AVCHATROOM:
            yield _state(happening, group, "Online", "Join", entry.joined)


def _left(happening: Happening) -> Iterator[Told]:
    for entry in happening.decision.entries:
        if not entry.left:
            continue
        group = _group_of(happening, entry.group_id)
        if group is None:
            continue
        kicked = entry.event in _KICKED
        yield (
            group.group_id,
            callbacks.AfterMemberExit(
                event_time=happening.event_time,
                group_id=group.group_id,
                type=TYPE_WORDS[group.type],
                exit_type="Kicked" if kicked else "Quit",
                operator_id=_doer(happening, entry),
                members=accounts(entry.left),
            ),
        )
        if group.type is GroupType.AVCHATROOM:
            # Only a lost connection lets somebody quit without asking for it.
            cause = "Quit" if happening.origin.caller_id else "HeartbeatInterrupt"
            yield _state(happening, group, "Offline", cause, entry.left)


def _state(
    happening: Happening, group: Group, event_type: str, cause: str, user_ids: Sequence[str]
) -> Told:
    return (
        group.group_id,
        callbacks.OnMemberStateChange(
            event_time=happening.event_time,
            group_id=group.group_id,
            event_type=event_type,
            event_cause=cause,
            members=accounts(user_ids),
        ),
    )


def _filled(happening: Happening) -> Iterator[Told]:
    for key, row in happening.decision.puts.items():
        if not isinstance(key, GroupKey) or not isinstance(row, Group) or row.closed_ms:
            continue
        before = happening.groups.get(key.group_id)
        has_grown = row.member_count > (0 if before is None else before.member_count)
        if has_grown and 0 < row.max_member_count <= row.member_count:
            yield (
                key.group_id,
                callbacks.AfterGroupFull(event_time=happening.event_time, group_id=key.group_id),
            )


def _edited(happening: Happening) -> Iterator[Told]:
    before = happening.group
    if not isinstance(happening.command, UpdateGroup) or before is None:
        return
    after = happening.decision.puts.get(GroupKey(before.group_id))
    if not isinstance(after, Group):
        return
    changed = {
        name: getattr(after, name)
        for name in _FOUR_FIELDS
        if getattr(after, name) != getattr(before, name)
    }
    if changed:
        yield (
            after.group_id,
            callbacks.AfterGroupInfoChanged(
                event_time=happening.event_time,
                group_id=after.group_id,
                type=TYPE_WORDS[after.type],
                operator_id=happening.operator_id,
                **changed,
            ),
        )


def _handed_over(happening: Happening) -> Iterator[Told]:
    before = happening.group
    if before is None:
        return
    after = happening.decision.puts.get(GroupKey(before.group_id))
    if not isinstance(after, Group) or after.owner_id in ("", before.owner_id):
        return
    yield (
        after.group_id,
        callbacks.AfterChangeGroupOwner(
            event_time=happening.event_time,
            group_id=after.group_id,
            type=TYPE_WORDS[after.type],
            operator_id=happening.operator_id,
            old_owner_id=before.owner_id,
            new_owner_id=after.owner_id,
        ),
    )


def _said(happening: Happening) -> Iterator[Told]:
    command, group = happening.command, happening.group
    if not isinstance(command, SendMessage) or group is None or not happening.decision.entries:
        return
    fields = _message(command, happening.actor, happening.origin, group, happening.now_ms)
    said = callbacks.AfterSendMsg(**fields, seq=0, time_s=happening.now_ms // _MS_PER_S)
    yield (group.group_id, said)


def _recalled(happening: Happening) -> Iterator[Told]:
    command, group = happening.command, happening.group
    if not isinstance(command, RecallMessage) or group is None:
        return
    yield (
        group.group_id,
        callbacks.AfterRecallMsg(
            event_time=happening.event_time,
            group_id=group.group_id,
            type=TYPE_WORDS[group.type],
            operator_id=happening.operator_id,
            messages=[callbacks.MsgSeq(one.seq) for one in happening.decision.redactions],
        ),
    )


def _destroyed(happening: Happening) -> Iterator[Told]:
    group = happening.group
    if group is None or not any(entry.closes for entry in happening.decision.entries):
        return
    yield (
        group.group_id,
        callbacks.AfterGroupDestroyed(
            event_time=happening.event_time,
            group_id=group.group_id,
            type=TYPE_WORDS[group.type],
            owner_id=group.owner_id,
            name=group.name,
        ),
    )


def lists_members(request: CallbackRequest, group_type: GroupType) -> bool:
    """Whether the request has the members of its group, which only the commit knows."""
    is_end = isinstance(request, callbacks.AfterGroupDestroyed)
    return is_end and group_type is not GroupType.COMMUNITY


# Told of a refusal.


def unsent(
    command: SendMessage,
    actor: Actor,
    origin: Origin,
    group: Group,
    refusal: Refused,
    now_ms: int,
) -> CallbackRequest:
    """That a message was refused."""
    fields = _message(command, actor, origin, group, now_ms)
    return callbacks.SendMsgException(
        **fields, error_code=refusal.number, error_info=refusal.message
    )


# Asked before a change.


class Asked(msgspec.Struct, frozen=True):
    """A command about which somebody may be asked: by which callback, and how the request is made.

    ``request`` is called with the command, who acts, where from, the group that it names (None
    for a new one), how many groups of the type the actor owns, and the time.
    """

    name: str
    request: Callable[[Any, Actor, Origin, Group | None, int, int], CallbackRequest]


def _before_create(
    command: CreateGroup,
    actor: Actor,
    origin: Origin,
    _group: Group | None,
    owned: int,
    now_ms: int,
) -> CallbackRequest:
    return callbacks.BeforeCreateGroup(
        event_time=str(now_ms),
        operator_id=origin.caller_id or actor.user_id,
        owner_id=owner_of(command, actor),
        type=TYPE_WORDS[command.type],
        name=command.name,
        create_group_num=owned,
        members=accounts([one.user_id for one in command.members]),
    )


def _before_join(
    command: JoinGroup,
    actor: Actor,
    _origin: Origin,
    group: Group | None,
    _owned: int,
    now_ms: int,
) -> CallbackRequest:
    assert group is not None  # the caller looks it up
    return callbacks.BeforeApplyJoinGroup(
        event_time=str(now_ms),
        group_id=command.group_id,
        type=TYPE_WORDS[group.type],
        requestor_id=actor.user_id,
    )


def _before_invite(
    command: InviteMembers,
    actor: Actor,
    origin: Origin,
    group: Group | None,
    _owned: int,
    now_ms: int,
) -> CallbackRequest:
    assert group is not None  # the caller looks it up
    return callbacks.BeforeInviteJoinGroup(
        event_time=str(now_ms),
        group_id=command.group_id,
        type=TYPE_WORDS[group.type],
        operator_id=origin.caller_id or actor.user_id,
        users=accounts(command.user_ids),
    )


def _before_send(
    command: SendMessage,
    actor: Actor,
    origin: Origin,
    group: Group | None,
    _owned: int,
    now_ms: int,
) -> CallbackRequest:
    assert group is not None  # the caller looks it up
    return callbacks.BeforeSendMsg(**_message(command, actor, origin, group, now_ms))


ASKED: Final[Mapping[type, Asked]] = {
    kind: Asked(callbacks.NAME_OF[request], make)
    for kind, request, make in (
        (CreateGroup, callbacks.BeforeCreateGroup, _before_create),
        (JoinGroup, callbacks.BeforeApplyJoinGroup, _before_join),
        (InviteMembers, callbacks.BeforeInviteJoinGroup, _before_invite),
        (SendMessage, callbacks.BeforeSendMsg, _before_send),
    )
}
"""The commands about which somebody may be asked."""


def owner_of(command: CreateGroup, actor: Actor) -> str:
    """Who is to own the new group; "" for nobody."""
    if isinstance(command, FoundGroup):
        return command.owner_id or ""
    return actor.user_id


def accounts(user_ids: Sequence[str]) -> list[Account]:
    """A list of users."""
    return [Account(user_id) for user_id in user_ids]


def _message(
    command: SendMessage, actor: Actor, origin: Origin, group: Group, now_ms: int
) -> dict[str, Any]:
    """What all requests about a message say of it."""
    return {
        "event_time": str(now_ms),
        "group_id": group.group_id,
        "type": TYPE_WORDS[group.type],
        "from_id": actor.user_id,
        "operator_id": origin.caller_id or actor.user_id,
        "random": origin.random or 0,
        "online_only": int(command.online_only),
        "body": msg_body(command.body),
        "custom_data": command.custom_data,
    }


def _group_of(happening: Happening, group_id: str) -> Group | None:
    """The group as the decision leaves it; where it puts no row, as it was found."""
    row = happening.decision.puts.get(GroupKey(group_id))
    return row if isinstance(row, Group) else happening.groups.get(group_id)


def _doer(happening: Happening, entry: Entry) -> str:
    """Who did what an entry tells: an operator who acts for somebody else is named instead."""
    if entry.actor_id in (None, happening.actor.user_id):
        return happening.operator_id
    return entry.actor_id or ""
