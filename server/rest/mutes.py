"""Commands about mutes: who may not speak in a group, and until when."""

from typing import Annotated

from msgspec import Meta

from server.domain.jobs import MuteMembers
from server.rest.codes import CallCode, CallRefused
from server.rest.registry import Call
from server.rest.shapes import (
    Account,
    Answer,
    Body,
    GroupId,
    TopicRequest,
    Uint32,
    first_given,
    until_seconds,
)


class ForbidSendMsg(TopicRequest, frozen=True, kw_only=True):
    """Mute members for so many seconds from now, 0 ends it; who is no member is no error."""

    members__account: Annotated[list[Account], Meta(min_length=1, max_length=500)]
    mute_time: Uint32 | None = None
    shut_up_time: Uint32 | None = None


async def forbid_send_msg(call: Call, request: ForbidSendMsg) -> Answer:
    """See ``ForbidSendMsg``."""
    mute_s = first_given(request.mute_time, request.shut_up_time)
    if mute_s is None:
        raise CallRefused.of(CallCode.INVALID_PARAMETERS, "MuteTime is missing - at `$.MuteTime`")
    command = MuteMembers(
        group_id=request.group_id, user_ids=request.members__account, mute_s=mute_s
    )
    await call.operator.change(command, call.origin)
    return Answer()


class GetMuted(TopicRequest, frozen=True, kw_only=True):
    """Who is muted in a group, and until when in Unix seconds."""


class MutedAccount(Body, frozen=True, kw_only=True):
    """One user who is muted."""

    member__account: Account
    muted_until: int


class MutedAccounts(Answer, frozen=True, kw_only=True):
    """By user ID; those who have left are among them, as their mute goes on if they come back."""

    group_id: GroupId
    muted_account_list: list[MutedAccount]


class ShuttedAccount(Body, frozen=True, kw_only=True):
    """One user who is muted, by the older name."""

    member__account: Account
    shutted_until: int


class ShuttedAccounts(Answer, frozen=True, kw_only=True):
    """As MutedAccounts, by the older names."""

    group_id: GroupId
    shutted_uin_list: list[ShuttedAccount]


async def get_group_muted_account(call: Call, request: GetMuted) -> MutedAccounts:
    """See ``GetMuted``."""
    return MutedAccounts(
        group_id=request.group_id,
        muted_account_list=[
            MutedAccount(member__account=user_id, muted_until=until_s)
            for user_id, until_s in await _muted(call, request.group_id)
        ],
    )


async def get_group_shutted_uin(call: Call, request: GetMuted) -> ShuttedAccounts:
    """See ``GetMuted``."""
    return ShuttedAccounts(
        group_id=request.group_id,
        shutted_uin_list=[
            ShuttedAccount(member__account=user_id, shutted_until=until_s)
            for user_id, until_s in await _muted(call, request.group_id)
        ],
    )


async def _muted(call: Call, group_id: str) -> list[tuple[str, int]]:
    await call.operator.lists.group(group_id)
    now_ms = call.operator.clock.now_ms()
    most = call.operator.rulebook.limits["REST_ANSWER_BYTES"] // _MUTE_BYTES
    muted = await call.operator.lists.muted(group_id, now_ms, most + 1)
    if len(muted) > most:
        raise CallRefused.of(CallCode.ANSWER_TOO_LARGE)
    return [(user_id, until_seconds(until_ms, now_ms)) for user_id, until_ms in muted]


_MUTE_BYTES = len('{"Member_Account":"a","MutedUntil":1234567890},')
"""The least that one of them takes."""
