"""Commands about what is said: send, notify, read, take back."""

import zlib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType, field

from protocol.commands import ListMessages
from protocol.dialect import body_of, msg_body
from protocol.events import MessageData
from protocol.messages import Element
from protocol.vocabulary import EventKind, Message, MessagePriority
from server.domain import jobs
from server.domain.jobs import SendControlled, SendNotice
from server.domain.model import Origin
from server.rest.codes import CallCode, CallRefused
from server.rest.registry import Call
from server.rest.shapes import (
    Account,
    Answer,
    Body,
    Flag,
    GroupId,
    Positive,
    TopicRequest,
    Uint32,
    seconds,
)
from server.rest.words import EVERYBODY, PRIORITY_NUMBERS

SYSTEM: str = "@TIM#SYSTEM"
"""Who says what nobody said."""


class MessageElement(Body, frozen=True, kw_only=True):
    """One element of a body, TIMTextElem and its like, with what it holds."""

    msg_type: str
    msg_content: dict[str, Any]


MsgBody = Annotated[list[MessageElement], Meta(min_length=1)]


class Mention(Body, frozen=True, kw_only=True):
    """Who is mentioned: one user, or everybody with GroupAtAllFlag 1."""

    group_at_all_flag: Flag = 0
    group_at__account: Account | None = None


class SendGroupMsg(TopicRequest, frozen=True, kw_only=True):
    """Say something in a group, in anybody's name or in the operator's.

    The same message with the same Random within 5 minutes is not sent again.
    """

    random: Uint32
    msg_body: MsgBody
    msg_priority: MessagePriority = MessagePriority.NORMAL
    from__account: Account | None = None
    to__account: list[Account] = field(default_factory=list)
    offline_push_info: dict[str, Any] | None = None
    forbid_callback_control: list[str] = field(default_factory=list)
    online_only_flag: Flag = 0
    send_msg_control: list[Literal["NoLastMsg", "NoUnread"]] = field(default_factory=list)
    cloud_custom_data: str = ""
    group_at_info: list[Mention] = field(default_factory=list)
    support_message_extension: Flag = 0


class MessageSent(Answer, frozen=True, kw_only=True):
    """The message's place; MsgSeq is 0 where messages are not stored."""

    msg_time: int
    msg_seq: int


async def send_group_msg(call: Call, request: SendGroupMsg) -> MessageSent:
    """See ``SendGroupMsg``."""
    if request.to__account:
        raise CallRefused.of(
            CallCode.NOT_OFFERED, "To_Account: this server sends a message to the whole group"
        )
    if request.support_message_extension:
        raise CallRefused.of(
            CallCode.NOT_OFFERED, "SupportMessageExtension: this server has no extensions"
        )
    command = SendControlled(
        group_id=request.group_id,
        body=body_of_elements(request.msg_body),
        priority=request.msg_priority,
        online_only=bool(request.online_only_flag),
        at_user_ids=_mentioned(request.group_at_info),
        custom_data=request.cloud_custom_data,
        no_unread="NoUnread" in request.send_msg_control,
        no_last_message="NoLastMsg" in request.send_msg_control,
    )
    sent = await call.operator.say(
        command, _origin(call, request), as_user_id=request.from__account or None
    )
    return MessageSent(msg_time=seconds(sent.time_ms), msg_seq=sent.seq or 0)


def _origin(call: Call, request: SendGroupMsg) -> Origin:
    """What the operator's own service hears of it; not what the caller forbids."""
    return msgspec.structs.replace(
        call.origin,
        random=request.random,
        is_unasked="ForbidBeforeSendMsgCallback" in request.forbid_callback_control,
        is_untold="ForbidAfterSendMsgCallback" in request.forbid_callback_control,
    )


def body_of_elements(elements: list[MessageElement], place: str = "$.MsgBody") -> list[Element]:
    """The body that the MsgBody at ``place`` means.

    Raises:
        CallRefused: INVALID_PARAMETERS with the place.
    """
    given = [
        {"MsgType": element.msg_type, "MsgContent": element.msg_content} for element in elements
    ]
    try:
        return body_of(given)
    except msgspec.ValidationError as error:
        text = str(error).replace("`$", f"`{place}")
        raise CallRefused.of(CallCode.INVALID_PARAMETERS, text[:300]) from error


def _mentioned(mentions: list[Mention]) -> list[str]:
    users: list[str] = []
    for mention in mentions:
        if mention.group_at_all_flag:
            users.append(EVERYBODY)
        elif mention.group_at__account is not None:
            users.append(mention.group_at__account)
    return users


class SendSystemNotification(TopicRequest, frozen=True, kw_only=True):
    """Tell members something of the operator's: those named, or all; only who is connected hears.

    In an AVChatRoom it is always all.
    """

    content: str
    to_members__account: Annotated[list[Account], Meta(max_length=500)] = field(
        default_factory=list
    )


async def send_group_system_notification(call: Call, request: SendSystemNotification) -> Answer:
    """See ``SendSystemNotification``."""
    command = SendNotice(
        group_id=request.group_id,
        content=request.content,
        user_ids=request.to_members__account,
    )
    await call.operator.change(command, call.origin)
    return Answer()


class GetMessages(TopicRequest, frozen=True, kw_only=True):
    """A group's log, newest first, from ReqMsgSeq down or from its end."""

    req_msg_number: Annotated[int, Meta(ge=1, le=20)]
    req_msg_seq: Positive | None = None
    with_recalled_msg: Flag = 0


class LoggedMessage(Body, frozen=True, kw_only=True):
    """One entry: IsPlaceMsg 0 a message, 1 or 2 recalled (2 if asked for); IsSystemMsg 1 a tip."""

    from__account: str
    is_place_msg: int
    msg_body: list[MessageElement]
    msg_priority: int
    msg_random: int
    msg_seq: int
    msg_time_stamp: int
    is_system_msg: int | UnsetType = UNSET
    cloud_custom_data: str | UnsetType = UNSET


class Messages(Answer, frozen=True, kw_only=True):
    """IsFinished 1: all that was asked for; 2: not all, and what is older is not kept."""

    group_id: GroupId
    is_finished: Annotated[int, Meta(ge=0, le=2)]
    rsp_msg_list: list[LoggedMessage]


async def group_msg_get_simple(call: Call, request: GetMessages) -> Messages:
    """See ``GetMessages``."""
    group = await call.operator.lists.group(request.group_id)
    if not call.operator.rulebook.traits[group.type].stores_messages:
        raise CallRefused.of(CallCode.NO_HISTORY)
    command = ListMessages(
        group_id=request.group_id,
        before_seq=None if request.req_msg_seq is None else request.req_msg_seq + 1,
        limit=request.req_msg_number,
    )
    result = await call.operator.ask(command, call.origin)
    recalled = 2 if request.with_recalled_msg else 1
    lacks = len(result.events) < request.req_msg_number and result.first_seq > 1
    return Messages(
        group_id=request.group_id,
        is_finished=2 if lacks else 1,
        rsp_msg_list=[_logged(event, recalled) for event in reversed(result.events)],
    )


def _logged(event: dict[str, Any], recalled: int) -> LoggedMessage:
    data = event["data"]
    is_message = event["kind"] == EventKind.MESSAGE and event["event"] == Message.MESSAGE
    if not is_message:
        return LoggedMessage(
            from__account=SYSTEM,
            is_place_msg=0,
            is_system_msg=1,
            msg_body=[_tip(event)],
            msg_priority=2,
            msg_random=0,
            msg_seq=event["seq"],
            msg_time_stamp=seconds(event["time_ms"]),
        )
    message = msgspec.convert(data, MessageData)
    return LoggedMessage(
        from__account=event["from_id"],
        is_place_msg=recalled if message.recalled else 0,
        msg_body=msgspec.convert(msg_body(message.body), list[MessageElement]),
        msg_priority=PRIORITY_NUMBERS[message.priority],
        # The number of the sender is not kept; this one is as good a name of the message.
        msg_random=zlib.crc32(event["message_id"].encode()),
        msg_seq=event["seq"],
        msg_time_stamp=seconds(event["time_ms"]),
        cloud_custom_data=message.custom_data or UNSET,
    )


def _tip(event: dict[str, Any]) -> MessageElement:
    """What happened, as the original's element of tips: its number, who did it, to whom."""
    data = event["data"]
    users = data.get("user_ids") or [data[key] for key in ("user_id",) if key in data]
    return MessageElement(
        msg_type="TIMGroupTipElem",
        msg_content={
            "OpType": event.get("op") or 0,
            "Event": event["event"],
            "Operator_Account": event.get("actor_id") or "",
            "Member_Account": users,
        },
    )


class MessageNumber(Body, frozen=True, kw_only=True):
    """A message of the group's log."""

    msg_seq: Positive


class RecallMessages(TopicRequest, frozen=True, kw_only=True):
    """Take messages back; each one has its own RetCode."""

    msg_seq_list: Annotated[list[MessageNumber], Meta(min_length=1, max_length=10)]
    reason: str = ""


class Recalled(Body, frozen=True, kw_only=True):
    """What became of one message: 0, or why it could not be recalled."""

    msg_seq: int
    ret_code: int


class RecalledMessages(Answer, frozen=True, kw_only=True):
    """In the order of the request."""

    recall_ret_list: list[Recalled]


async def group_msg_recall(call: Call, request: RecallMessages) -> RecalledMessages:
    """See ``RecallMessages``."""
    seqs = [number.msg_seq for number in request.msg_seq_list]
    command = jobs.RecallMessages(group_id=request.group_id, seqs=seqs, reason=request.reason)
    result = await call.operator.change(command, call.origin)
    return RecalledMessages(
        recall_ret_list=[
            Recalled(msg_seq=seq, ret_code=code)
            for seq, code in zip(seqs, result.codes, strict=True)
        ]
    )
