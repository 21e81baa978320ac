"""Commands that take over what was elsewhere, and that tidy up a log."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from server.domain.jobs import (
    DeleteMessagesOf,
    ImportedMember,
    ImportedMessage,
    ImportMembers,
    ImportMessages,
    SetUnread,
)
from server.domain.model import Origin
from server.rest.members import RESULT_NUMBERS, AddResult, AddResults
from server.rest.messages import MsgBody, body_of_elements
from server.rest.registry import Call
from server.rest.shapes import (
    Account,
    Answer,
    Body,
    Flag,
    GroupRequest,
    Natural,
    Positive,
    TopicRequest,
    Uint32,
)
from server.rest.words import ROLES


class MemberImport(Body, frozen=True, kw_only=True):
    """Who was a member elsewhere; without JoinTime since now."""

    member__account: Account
    role: Literal["Admin", "Member"] = "Member"
    join_time: Natural | None = None
    unread_msg_num: Natural = 0


class ImportGroupMember(GroupRequest, frozen=True, kw_only=True):
    """Take over members; nobody is told but the operator."""

    member_list: Annotated[list[MemberImport], Meta(min_length=1, max_length=300)]


async def import_group_member(call: Call, request: ImportGroupMember) -> AddResults:
    """See ``ImportGroupMember``."""
    command = ImportMembers(
        group_id=request.group_id,
        members=[
            ImportedMember(
                user_id=member.member__account,
                role=ROLES[member.role],
                join_time_ms=None if member.join_time is None else member.join_time * 1000,
                unread=member.unread_msg_num,
            )
            for member in request.member_list
        ],
    )
    result = await call.operator.change(command, _quiet(call))
    return AddResults(
        member_list=[
            AddResult(member__account=row.user_id, result=RESULT_NUMBERS[row.result])
            for row in result.members
        ]
    )


class MessageImport(Body, frozen=True, kw_only=True):
    """What was said elsewhere, when in Unix seconds, and by whom."""

    from__account: Account
    send_time: Natural
    msg_body: MsgBody
    random: Uint32 | None = None


class ImportGroupMsg(TopicRequest, frozen=True, kw_only=True):
    """Take over messages, the oldest first and later than the group's last; all or none."""

    msg_list: Annotated[list[MessageImport], Meta(min_length=1, max_length=7)]
    recent_contact_flag: Flag = 0


class ImportResult(Body, frozen=True, kw_only=True):
    """The place of one message; Result is 0."""

    msg_seq: Positive
    msg_time: int
    result: int


class ImportResults(Answer, frozen=True, kw_only=True):
    """In the order of the request."""

    import_msg_result: list[ImportResult]


async def import_group_msg(call: Call, request: ImportGroupMsg) -> ImportResults:
    """See ``ImportGroupMsg``."""
    command = ImportMessages(
        group_id=request.group_id,
        messages=[
            ImportedMessage(
                from_id=message.from__account,
                time_ms=message.send_time * 1000,
                body=body_of_elements(message.msg_body, f"$.MsgList[{place}].MsgBody"),
            )
            for place, message in enumerate(request.msg_list)
        ],
    )
    result = await call.operator.change(command, _quiet(call))
    return ImportResults(
        import_msg_result=[
            ImportResult(msg_seq=result.seq + place, msg_time=message.send_time, result=0)
            for place, message in enumerate(request.msg_list)
        ]
    )


class SetUnreadMsgNum(GroupRequest, frozen=True, kw_only=True):
    """Set how many messages a member has not read; nothing where the type counts none."""

    member__account: Account
    unread_msg_num: Natural


async def set_unread_msg_num(call: Call, request: SetUnreadMsgNum) -> Answer:
    """See ``SetUnreadMsgNum``."""
    command = SetUnread(
        group_id=request.group_id,
        user_id=request.member__account,
        unread=request.unread_msg_num,
    )
    await call.operator.change(command, call.origin)
    return Answer()


class DeleteBySender(TopicRequest, frozen=True, kw_only=True):
    """Take the content out of a sender's messages among the last 1,000; nobody is told."""

    sender__account: Account


async def delete_group_msg_by_sender(call: Call, request: DeleteBySender) -> Answer:
    """See ``DeleteBySender``."""
    command = DeleteMessagesOf(group_id=request.group_id, from_id=request.sender__account)
    await call.operator.change(command, call.origin)
    return Answer()


def _quiet(call: Call) -> Origin:
    """The operator's own service neither is asked about an import nor hears of it."""
    return msgspec.structs.replace(call.origin, is_unasked=True, is_untold=True)
