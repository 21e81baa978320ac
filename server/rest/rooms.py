"""Commands about AVChatRooms: who takes part, and who may not."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from server.domain.jobs import BanUsers
from server.domain.model import Group
from server.rest.codes import CallCode, CallRefused
from server.rest.messages import MsgBody, body_of_elements
from server.rest.registry import Call
from server.rest.shapes import (
    Account,
    Answer,
    Body,
    GroupRequest,
    Natural,
    Request,
    Uint32,
    seconds,
    until_seconds,
)

_DESCRIPTION_BYTES: Final = 1_000
_SHOWN = 1_000
_PAGE = 500


class BanMembers(GroupRequest, frozen=True, kw_only=True):
    """Put users out of an AVChatRoom and keep them out for Duration seconds."""

    members__account: Annotated[list[Account], Meta(min_length=1, max_length=20)]
    duration: Annotated[int, Meta(ge=1, le=2**32 - 1)]
    description: Annotated[str, Meta(max_length=_DESCRIPTION_BYTES)] = ""


async def ban_group_member(call: Call, request: BanMembers) -> Answer:
    """See ``BanMembers``."""
    if len(request.description.encode()) > _DESCRIPTION_BYTES:
        raise CallRefused.of(
            CallCode.INVALID_PARAMETERS, "Description is at most 1000 bytes - at `$.Description`"
        )
    command = BanUsers(
        group_id=request.group_id,
        user_ids=request.members__account,
        ban_s=request.duration,
        reason=request.description,
    )
    await call.operator.change(command, call.origin)
    return Answer()


class UnbanMembers(GroupRequest, frozen=True, kw_only=True):
    """Let users into an AVChatRoom again."""

    members__account: Annotated[list[Account], Meta(min_length=1, max_length=20)]


async def unban_group_member(call: Call, request: UnbanMembers) -> Answer:
    """See ``UnbanMembers``."""
    command = BanUsers(group_id=request.group_id, user_ids=request.members__account, ban_s=0)
    await call.operator.change(command, call.origin)
    return Answer()


class GetBanned(GroupRequest, frozen=True, kw_only=True):
    """Who is banned from an AVChatRoom, by user ID, page by page."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 100
    offset: Natural = 0


class BannedAccount(Body, frozen=True, kw_only=True):
    """One user, and the end of the ban in Unix seconds."""

    member__account: Account
    banned_until: int


class BannedAccounts(Answer, frozen=True, kw_only=True):
    """A page; NextOffset begins the next, 0 ends."""

    banned_account_list: list[BannedAccount]
    next_offset: Uint32


async def get_group_ban_member(call: Call, request: GetBanned) -> BannedAccounts:
    """See ``GetBanned``."""
    group = await _room(call, request.group_id)
    now_ms = call.operator.clock.now_ms()
    # One more than shown tells whether there are more.
    banned = await call.operator.lists.banned(
        group.group_id, now_ms, request.offset, request.limit + 1
    )
    return BannedAccounts(
        banned_account_list=[
            BannedAccount(member__account=user_id, banned_until=until_seconds(until_ms, now_ms))
            for user_id, until_ms in banned[: request.limit]
        ],
        next_offset=request.offset + request.limit if len(banned) > request.limit else 0,
    )


class SendBroadcast(Request, frozen=True, kw_only=True):
    """Say something in every AVChatRoom in which somebody takes part.

    The same message with the same Random within 5 minutes is not sent again.
    """

    random: Uint32
    msg_body: MsgBody
    from__account: Account | None = None
    cloud_custom_data: str = ""


class BroadcastSent(Answer, frozen=True, kw_only=True):
    """MsgSeq is 0: these messages are not stored."""

    msg_seq: int


async def send_broadcast_msg(call: Call, request: SendBroadcast) -> BroadcastSent:
    """See ``SendBroadcast``; the operator's own service neither is asked nor hears of it."""
    await call.operator.broadcast(
        body_of_elements(request.msg_body),
        request.cloud_custom_data,
        msgspec.structs.replace(
            call.origin, random=request.random, is_unasked=True, is_untold=True
        ),
        as_user_id=request.from__account or None,
    )
    return BroadcastSent(msg_seq=0)


class GetParticipants(GroupRequest, frozen=True, kw_only=True):
    """The newest 1,000 who take part in an AVChatRoom, the newest first, page by page."""

    timestamp: Natural = 0


class Participant(Body, frozen=True, kw_only=True):
    """One user, since when in Unix seconds; there are no profiles."""

    member__account: Account
    join_time: int
    nick_name: str = ""
    avatar: str = ""


class Participants(Answer, frozen=True, kw_only=True):
    """A page; NextTimestamp begins the next, 0 ends."""

    member_list: list[Participant]
    next_timestamp: int


async def get_members(call: Call, request: GetParticipants) -> Participants:
    """See ``GetParticipants``."""
    group = await _room(call, request.group_id)
    newest = [
        (user_id, since_ms)
        for user_id, since_ms in call.operator.lists.presence.newest_participants(
            group.group_id, _SHOWN
        )
        if not request.timestamp or since_ms < request.timestamp
    ]
    page = newest[:_PAGE]
    # Those who came in the same millisecond belong to one page.
    page += [one for one in newest[_PAGE:] if one[1] == page[-1][1]]
    return Participants(
        member_list=[
            Participant(member__account=user_id, join_time=seconds(since_ms))
            for user_id, since_ms in page
        ],
        next_timestamp=page[-1][1] if len(page) < len(newest) else 0,
    )


async def _room(call: Call, group_id: str) -> Group:
    group = await call.operator.lists.group(group_id)
    if call.operator.rulebook.traits[group.type].stores_members:
        raise CallRefused.of(CallCode.NOT_SUPPORTED_BY_TYPE)
    return group
