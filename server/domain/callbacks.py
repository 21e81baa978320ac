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
    DeleteAttributes,
    InviteMembers,
    JoinGroup,
    RecallMessage,
    SendMessage,
    UpdateGroup,
    UpdateMember,
)
from protocol.dialect import ROLE_WORDS, TYPE_WORDS, msg_body
from protocol.errors import Refused
from protocol.results import CreateGroupResult, MemberResultKind
from protocol.vocabulary import GroupType, Notice, Tip
from server.domain.jobs import FoundGroup, RecallMessages, ReplaceAttributes
from server.domain.model import (
    Actor,
    Attributes,
    AttributesKey,
    Decision,
    Entry,
    Group,
    GroupKey,
    Member,
    MemberKey,
    Origin,
    Slice,
    groups_of_day_counter,
)

_MS_PER_S: Final = 1000
_ALARMING_PART: Final = 0.7
"""Of the groups that may be made on one day (document 57455 of the original)."""

_FOUR_FIELDS: Final = ("name", "introduction", "notification", "face_url")
_BY_APPLYING: Final = frozenset({Tip.MEMBER_JOINED, Notice.JOINED, Notice.JOIN_APPROVED})
_KICKED: Final = frozenset({Tip.MEMBER_KICKED, Notice.KICKED})

Told = tuple[str, CallbackRequest]
"""The group that a request is about, and the request."""


class Happening(msgspec.Struct, frozen=True):
    """One command that is decided, what was looked at, and the groups found by their IDs."""

    command: Any
    actor: Actor
    origin: Origin
    before: Slice
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
        return cls(command, actor, origin, before, groups, decision, now_ms)

    @property
    def group(self) -> Group | None:
        """The group that the command names."""
        return self.groups.get(getattr(self.command, "group_id", None) or "")

    @property
    def group_after(self) -> Group | None:
        """The same as the decision puts it; None where it puts none."""
        row = None if self.group is None else self.decision.puts.get(GroupKey(self.group.group_id))
        return row if isinstance(row, Group) else None

    @property
    def operator_id(self) -> str:
        """Who did it: the account that asked, also when it acts for somebody else."""
        return self.origin.caller_id or self.actor.user_id

    def about(self, group: Group, kind: type[CallbackRequest], **fields: object) -> Told:
        """A request about ``group``: what such requests have in common, and these fields."""
        common = {
            "event_time": str(self.now_ms),
            "group_id": group.group_id,
            "type": TYPE_WORDS[group.type],
            "operator_id": self.operator_id,
        }
        values: dict[str, Any] = {
            name: common[name] for name in kind.__struct_fields__ if name in common
        }
        values.update(fields)
        return group.group_id, kind(**values)


# Told after a change.


def told(happening: Happening, groups_per_day: int = 0) -> list[Told]:
    """Everything that there is to tell of it, in the order in which it happened.

    ``groups_per_day`` is how many groups may be made on one day, 0 for any number.
    """
    return [
        *_created(happening),
        *_quota(happening, groups_per_day),
        *_moved(happening, _COMING),
        *_filled(happening),
        *_edited(happening),
        *_attributes(happening),
        *_member(happening),
        *_handed_over(happening),
        *_said(happening),
        *_recalled(happening),
        *_moved(happening, _GOING),
        *_destroyed(happening),
    ]


def _created(happening: Happening) -> Iterator[Told]:
    result = happening.decision.result
    if not isinstance(happening.command, CreateGroup) or not isinstance(result, CreateGroupResult):
        return
    group = happening.decision.puts[GroupKey(result.group.group_id)]
    assert isinstance(group, Group)  # it is made by this
    added = [one.user_id for one in result.members if one.result is MemberResultKind.ADDED]
    yield happening.about(
        group,
        callbacks.AfterCreateGroup,
        owner_id=group.owner_id,
        name=group.name,
        members=accounts(added),
        custom=[KeyValue(key, value) for key, value in group.custom.items()],
    )


def _quota(happening: Happening, groups_per_day: int) -> Iterator[Told]:
    result = happening.decision.result
    if not isinstance(result, CreateGroupResult) or not groups_per_day:
        return
    day = groups_of_day_counter(happening.now_ms)
    made = happening.decision.counts.get(day, 0)
    used = happening.before.groups_today + made
    if made and used > groups_per_day * _ALARMING_PART:
        alarm = callbacks.OnDailyGroupQuotaAlarm(
            event_time=str(happening.now_ms), used=used, quota=groups_per_day
        )
        yield (result.group.group_id, alarm)


class _Direction(msgspec.Struct, frozen=True):
    """How memberships begin or end: what is told, under which names."""

    users_of: Callable[[Entry], Sequence[str]]
    request: type[CallbackRequest]
    how_field: str
    how_of: Callable[[Happening, Entry], tuple[str, str]]
    """The value of ``how_field``, and who did it."""
    state: str
    cause_of: Callable[[Happening], str]


def _how_joined(happening: Happening, entry: Entry) -> tuple[str, str]:
    if entry.event in _BY_APPLYING:
        return "Apply", happening.operator_id
    return "Invited", _doer(happening, entry)


def _how_left(happening: Happening, entry: Entry) -> tuple[str, str]:
    return "Kicked" if entry.event in _KICKED else "Quit", _doer(happening, entry)


_COMING: Final = _Direction(
    users_of=lambda entry: entry.joined,
    request=callbacks.AfterNewMemberJoin,
    how_field="join_type",
    how_of=_how_joined,
    state="Online",
    cause_of=lambda _happening: "Join",
)
_GOING: Final = _Direction(
    users_of=lambda entry: entry.left,
    request=callbacks.AfterMemberExit,
    how_field="exit_type",
    how_of=_how_left,
    state="Offline",
    # Only a lost connection lets somebody quit without asking for it.
    cause_of=lambda happening: "Quit" if happening.origin.caller_id else "HeartbeatInterrupt",
)


def _moved(happening: Happening, direction: _Direction) -> Iterator[Told]:
    """Who came, or who went; but for those a group was made with."""
    if isinstance(happening.command, CreateGroup):
        return
    for entry in happening.decision.entries:
        user_ids = direction.users_of(entry)
        group = _group_of(happening, entry.group_id)
        if not user_ids or group is None:
            continue
        how, operator_id = direction.how_of(happening, entry)
        yield happening.about(
            group,
            direction.request,
            members=accounts(user_ids),
            operator_id=operator_id,
            **{direction.how_field: how},
        )
        if group.type is GroupType.AVCHATROOM:
            yield happening.about(
                group,
                callbacks.OnMemberStateChange,
                event_type=direction.state,
                event_cause=direction.cause_of(happening),
                members=accounts(user_ids),
            )


def _filled(happening: Happening) -> Iterator[Told]:
    for key, row in happening.decision.puts.items():
        if not isinstance(key, GroupKey) or not isinstance(row, Group) or row.closed_ms:
            continue
        before = happening.groups.get(key.group_id)
        has_grown = row.member_count > (0 if before is None else before.member_count)
        if has_grown and 0 < row.max_member_count <= row.member_count:
            yield happening.about(row, callbacks.AfterGroupFull)


def _edited(happening: Happening) -> Iterator[Told]:
    before, after = happening.group, happening.group_after
    if not isinstance(happening.command, UpdateGroup) or before is None or after is None:
        return
    changed = {
        name: getattr(after, name)
        for name in _FOUR_FIELDS
        if getattr(after, name) != getattr(before, name)
    }
    if changed:
        yield happening.about(after, callbacks.AfterGroupInfoChanged, **changed)


def _attributes(happening: Happening) -> Iterator[Told]:
    group = happening.group
    if group is None:
        return
    row = happening.decision.puts.get(AttributesKey(group.group_id))
    if not isinstance(row, Attributes):
        return
    after = row.values
    before = {} if happening.before.attributes is None else happening.before.attributes.values
    match happening.command:
        case DeleteAttributes():
            option, told_of = "delete", {key: "" for key in before if key not in after}
        case ReplaceAttributes():
            option, told_of = "set" if after else "clear", after
        case _:
            changed = {key: value for key, value in after.items() if before.get(key) != value}
            option, told_of = "modify", changed
    attributes = [callbacks.Attribute(key, value) for key, value in told_of.items()]
    kind = callbacks.AfterGroupAttrChanged
    yield happening.about(group, kind, option=option, attributes=attributes)


def _member(happening: Happening) -> Iterator[Told]:
    command, group = happening.command, happening.group
    if not isinstance(command, UpdateMember) or group is None:
        return
    before = happening.before.members.get(command.user_id)
    after = happening.decision.puts.get(MemberKey(group.group_id, command.user_id))
    if before is None or not isinstance(after, Member):
        return
    changed: dict[str, str] = {}
    if after.role is not before.role:
        changed["role"] = ROLE_WORDS[after.role]
    if after.name_card != before.name_card:
        changed["name_card"] = after.name_card
    if changed:
        kind = callbacks.AfterMemberFieldChanged
        yield happening.about(group, kind, user_id=command.user_id, **changed)


def _handed_over(happening: Happening) -> Iterator[Told]:
    before, after = happening.group, happening.group_after
    if before is None or after is None or after.owner_id in ("", before.owner_id):
        return
    kind = callbacks.AfterChangeGroupOwner
    owners = {"old_owner_id": before.owner_id, "new_owner_id": after.owner_id}
    yield happening.about(after, kind, **owners)


def _said(happening: Happening) -> Iterator[Told]:
    command, group = happening.command, happening.group
    if not isinstance(command, SendMessage) or group is None or not happening.decision.entries:
        return
    fields = _message(command, happening.actor, happening.origin, group, happening.now_ms)
    said = callbacks.AfterSendMsg(**fields, seq=0, time_s=happening.now_ms // _MS_PER_S)
    yield (group.group_id, said)


def _recalled(happening: Happening) -> Iterator[Told]:
    is_recall = isinstance(happening.command, RecallMessage | RecallMessages)
    if is_recall and happening.group is not None and happening.decision.redactions:
        messages = [callbacks.MsgSeq(one.seq) for one in happening.decision.redactions]
        yield happening.about(happening.group, callbacks.AfterRecallMsg, messages=messages)


def _destroyed(happening: Happening) -> Iterator[Told]:
    group = happening.group
    if group is not None and any(entry.closes for entry in happening.decision.entries):
        kind = callbacks.AfterGroupDestroyed
        yield happening.about(group, kind, owner_id=group.owner_id, name=group.name)


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
