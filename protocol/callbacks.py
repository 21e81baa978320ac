"""What the operator's own service is told and asked: one row per callback, one struct per request.

The names and fields are the hosted original's (``facts/hosted-api.md`` section 7). Every request
begins with ``CallbackCommand``; ``EventTime`` is Unix time in milliseconds, as text, which is how
the original's samples have it. ``Type`` is in the original's words (``protocol.dialect``).
"""

import enum
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType, field


class CallbackKind(enum.StrEnum):
    """When it is said, and what the answer does."""

    BEFORE = "before"
    """Asked before a change; the answer may forbid it."""
    AFTER = "after"
    """Told after a change, at least once, in the order of the group; the answer is ignored."""
    PASSING = "passing"
    """Told without a change to keep it with; lost when the server ends first."""


class CallbackRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request's body, but for its ``CallbackCommand``."""

    event_time: str = field(name="EventTime")


class Account(msgspec.Struct, frozen=True):
    """A user in a list."""

    user_id: str = field(name="Member_Account")


class KeyValue(msgspec.Struct, frozen=True):
    """A custom field of a group."""

    key: str = field(name="Key")
    value: str = field(name="Value")


class Attribute(msgspec.Struct, frozen=True):
    """An attribute of a group."""

    key: str
    value: str


class MsgSeq(msgspec.Struct, frozen=True):
    """A message's number in the group's log."""

    seq: int = field(name="MsgSeq")


class AboutGroup(CallbackRequest, frozen=True, kw_only=True):
    """A request about one group."""

    group_id: str = field(name="GroupId")


class AboutType(AboutGroup, frozen=True, kw_only=True):
    """A request that says which type the group has."""

    type: str = field(name="Type")


class ByOperator(AboutType, frozen=True, kw_only=True):
    """A request that says whose account did it."""

    operator_id: str = field(name="Operator_Account")


class BeforeCreateGroup(CallbackRequest, frozen=True, kw_only=True):
    """``CreateGroupNum`` is how many groups of this type the owner owns already."""

    operator_id: str = field(name="Operator_Account")
    owner_id: str = field(name="Owner_Account")
    type: str = field(name="Type")
    name: str = field(name="Name")
    create_group_num: int = field(name="CreateGroupNum")
    members: list[Account] = field(name="MemberList")


class AfterCreateGroup(ByOperator, frozen=True, kw_only=True):
    """``MemberList`` are those who were added, without the owner."""

    owner_id: str = field(name="Owner_Account")
    name: str = field(name="Name")
    members: list[Account] = field(name="MemberList")
    custom: list[KeyValue] = field(name="UserDefinedDataList")


class BeforeApplyJoinGroup(AboutType, frozen=True, kw_only=True):
    """Somebody asks to be in a group."""

    requestor_id: str = field(name="Requestor_Account")


class BeforeInviteJoinGroup(ByOperator, frozen=True, kw_only=True):
    """Somebody brings others in."""

    users: list[Account] = field(name="DestinationMembers")


class AfterNewMemberJoin(ByOperator, frozen=True, kw_only=True):
    """``JoinType`` is Apply or Invited."""

    join_type: str = field(name="JoinType")
    members: list[Account] = field(name="NewMemberList")


class AfterMemberExit(ByOperator, frozen=True, kw_only=True):
    """``ExitType`` is Kicked or Quit."""

    exit_type: str = field(name="ExitType")
    members: list[Account] = field(name="ExitMemberList")


class BeforeSendMsg(ByOperator, frozen=True, kw_only=True):
    """``Random`` is the caller's, or made of the request's id: the same in all three callbacks."""

    from_id: str = field(name="From_Account")
    random: int = field(name="Random")
    online_only: int = field(name="OnlineOnlyFlag")
    body: list[dict[str, Any]] = field(name="MsgBody")
    custom_data: str = field(name="CloudCustomData")


class AfterSendMsg(BeforeSendMsg, frozen=True, kw_only=True):
    """``MsgSeq`` is the message's number, 0 where messages are not stored; ``MsgTime`` in s."""

    seq: int = field(name="MsgSeq")
    time_s: int = field(name="MsgTime")


class SendMsgException(BeforeSendMsg, frozen=True, kw_only=True):
    """A message was refused, with the code that its sender got."""

    error_code: int = field(name="ErrorCode")
    error_info: str = field(name="ErrorInfo")


class AfterRecallMsg(ByOperator, frozen=True, kw_only=True):
    """A message was taken back."""

    messages: list[MsgSeq] = field(name="MsgSeqList")


class AfterGroupFull(AboutGroup, frozen=True, kw_only=True):
    """A group has reached its member limit."""


class AfterGroupDestroyed(AboutType, frozen=True, kw_only=True):
    """``MemberList`` are the members at the end; a Community has none."""

    owner_id: str = field(name="Owner_Account")
    name: str = field(name="Name")
    members: list[Account] | UnsetType = field(name="MemberList", default=UNSET)


class AfterGroupInfoChanged(ByOperator, frozen=True, kw_only=True):
    """Those of the four fields that changed, with their new values."""

    name: str | UnsetType = field(name="Name", default=UNSET)
    introduction: str | UnsetType = field(name="Introduction", default=UNSET)
    notification: str | UnsetType = field(name="Notification", default=UNSET)
    face_url: str | UnsetType = field(name="FaceUrl", default=UNSET)


class AfterGroupAttrChanged(ByOperator, frozen=True, kw_only=True):
    """What became of a group's attributes (document 60394 of the original).

    ``OptionType`` is ``modify`` with those that changed, ``set`` with all that there are now,
    ``clear`` with none, or ``delete`` with those that are gone, whose values are "".
    """

    option: str = field(name="OptionType")
    attributes: list[Attribute] = field(name="GroupAttr")


class AfterMemberFieldChanged(ByOperator, frozen=True, kw_only=True):
    """What changed of a member (document 60393 of the original); ``Role`` is Admin or Member."""

    user_id: str = field(name="Member_Account")
    role: str | UnsetType = field(name="Role", default=UNSET)
    name_card: str | UnsetType = field(name="NameCard", default=UNSET)


class AfterChangeGroupOwner(ByOperator, frozen=True, kw_only=True):
    """``OldOwner_Account`` is "" for a group that had no owner."""

    old_owner_id: str = field(name="OldOwner_Account")
    new_owner_id: str = field(name="NewOwner_Account")


class OnMemberStateChange(AboutGroup, frozen=True, kw_only=True):
    """``EventType`` Online by ``EventCause`` Join; Offline by Quit or HeartbeatInterrupt."""

    event_type: str = field(name="EventType")
    event_cause: str = field(name="EventCause")
    members: list[Account] = field(name="MemberList")


class OnDailyGroupQuotaAlarm(CallbackRequest, frozen=True, kw_only=True):
    """How many of the groups that may be made on one day are made (document 57455)."""

    used: int = field(name="QuotaUsed")
    quota: int = field(name="Quota")


class StateInfo(msgspec.Struct, frozen=True):
    """What became of a device's connection."""

    action: str = field(name="Action")
    user_id: str = field(name="To_Account")
    reason: str = field(name="Reason")


class KickedDevice(msgspec.Struct, frozen=True):
    """A device that had to go because this one came."""

    platform: str = field(name="Platform")


class StateChange(CallbackRequest, frozen=True, kw_only=True):
    """Action and Reason: Login Register, Logout Unregister, Disconnect LinkClose or TimeOut."""

    info: StateInfo = field(name="Info")
    kicked: list[KickedDevice] | UnsetType = field(name="KickedDevice", default=UNSET)


class CallbackSpec(msgspec.Struct, frozen=True):
    """One row: what is sent and when; ``request`` is None for what is not offered."""

    when: str
    kind: CallbackKind | None = None
    request: type[CallbackRequest] | None = None


_B: Final = CallbackKind.BEFORE
_A: Final = CallbackKind.AFTER
_P: Final = CallbackKind.PASSING
_NO_TOPICS: Final = "there are no topics"

CALLBACKS: Final[Mapping[str, CallbackSpec]] = {
    "Group.CallbackBeforeCreateGroup": CallbackSpec("a group is to be made", _B, BeforeCreateGroup),
    "Group.CallbackAfterCreateGroup": CallbackSpec("a group was made", _A, AfterCreateGroup),
    "Group.CallbackBeforeApplyJoinGroup": CallbackSpec(
        "a user asks to join, before the group's own options are looked at",
        _B,
        BeforeApplyJoinGroup,
    ),
    "Group.CallbackBeforeInviteJoinGroup": CallbackSpec(
        "users are to be brought in", _B, BeforeInviteJoinGroup
    ),
    "Group.CallbackAfterNewMemberJoin": CallbackSpec(
        "users became members, but for those a group was made with", _A, AfterNewMemberJoin
    ),
    "Group.CallbackAfterMemberExit": CallbackSpec("members are gone", _A, AfterMemberExit),
    "Group.CallbackBeforeSendMsg": CallbackSpec("a message is to be sent", _B, BeforeSendMsg),
    "Group.CallbackAfterSendMsg": CallbackSpec("a message was sent", _A, AfterSendMsg),
    "Group.CallbackSendMsgException": CallbackSpec(
        "a message to a living group was refused, for its rate or by a rule", _P, SendMsgException
    ),
    "Group.CallbackAfterRecallMsg": CallbackSpec("a message was taken back", _A, AfterRecallMsg),
    "Group.CallbackAfterGroupFull": CallbackSpec(
        "a group has reached its member limit", _A, AfterGroupFull
    ),
    "Group.CallbackAfterGroupDestroyed": CallbackSpec(
        "a group was disbanded or recycled", _A, AfterGroupDestroyed
    ),
    "Group.CallbackAfterGroupInfoChanged": CallbackSpec(
        "name, introduction, notification or face_url changed", _A, AfterGroupInfoChanged
    ),
    "Group.CallbackAfterChangeGroupOwner": CallbackSpec(
        "a group was handed to another owner", _A, AfterChangeGroupOwner
    ),
    "Group.CallbackOnMemberStateChange": CallbackSpec(
        "a user came into an AVChatRoom, left it, or lost the last connection",
        _A,
        OnMemberStateChange,
    ),
    "Group.CallbackAfterMemberFieldChanged": CallbackSpec(
        "a member became admin, is one no more, or has another name card",
        _A,
        AfterMemberFieldChanged,
    ),
    "Group.CallbackAfterGroupAttrChanged": CallbackSpec(
        "attributes of a group changed", _A, AfterGroupAttrChanged
    ),
    "Group.CallbackAfterReadReceipt": CallbackSpec(
        "there are no read receipts: who has read a message is told to nobody"
    ),
    "Group.CallbackOnDailyGroupQuotaAlarm": CallbackSpec(
        "a group was made, and more than 70 % of GROUPS_PER_DAY are used",
        _A,
        OnDailyGroupQuotaAlarm,
    ),
    "Group.CallbackBeforeCreateTopic": CallbackSpec(_NO_TOPICS),
    "Group.CallbackAfterCreateTopic": CallbackSpec(_NO_TOPICS),
    "Group.CallbackAfterTopicDestroyed": CallbackSpec(_NO_TOPICS),
    "Group.CallbackAfterTopicInfoChanged": CallbackSpec(_NO_TOPICS),
    "State.StateChange": CallbackSpec(
        "a device came, went, or lost its connection", _P, StateChange
    ),
}
"""Name -> row. The README's table is printed from here; for one not offered ``when`` says why."""

OFFERED: Final = frozenset(name for name, spec in CALLBACKS.items() if spec.request is not None)

NAME_OF: Final[Mapping[type[CallbackRequest], str]] = {
    spec.request: name for name, spec in CALLBACKS.items() if spec.request is not None
}
"""Which callback a request belongs to."""

_ENCODE: Final = msgspec.json.Encoder().encode


def encode_request(request: CallbackRequest) -> bytes:
    """The body: JSON that begins with the callback's name."""
    rest = _ENCODE(request)
    return b'{"CallbackCommand":' + _ENCODE(NAME_OF[type(request)]) + b"," + rest[1:]
