"""The methods of the protocol with their types: one per row of ``protocol.methods.METHODS``.

To add one: required fields of the command in their order, then ``*``, then the optional fields
with the command's defaults (None in place of an empty list), then ``**options``, which hold
``as_user_id`` of a changing command. A test compares every method with its row.
"""

from abc import ABC, abstractmethod
from typing import TypedDict, TypeVar, Unpack

import msgspec

from protocol import commands, results
from protocol.commands import ChangingCommand, Command, InitialMember
from protocol.messages import Element
from protocol.results import Nothing, Result
from protocol.vocabulary import (
    ApplyJoinOption,
    GroupType,
    InviteJoinOption,
    MessagePriority,
    Role,
)

R = TypeVar("R", bound=Result)


class CallOptions(TypedDict, total=False):
    """What every method takes beside its own parameters."""

    request_id: str | None
    """The idempotency key, 1 to 64 printable ASCII; a new one when omitted. Keep it and give it
    again to repeat a call of an earlier process: what was changed is not changed twice."""

    timeout_s: float | None
    """Seconds for the whole call, retries included; the client's ``timeout_s`` when omitted."""


class ChangeOptions(CallOptions, total=False):
    """What every method takes that may change something."""

    as_user_id: str | None
    """For app_admin accounts: the user in whose name the change is made."""


class Methods(ABC):
    """Typed calls, and what they share.

    Each returns its result once the server has answered, which for a change means that it is
    durable.

    Each raises ``Refused`` (the docstrings name the codes to expect; BAD_REQUEST and
    NO_PERMISSION may come from all), ``CallTimeout``, ``ConnectionRefused`` and ``ClientClosed``,
    and is retried, always with the same request id, exactly as ``Client.call`` says.
    """

    @abstractmethod
    async def _ask(self, command: Command, result: type[R], options: CallOptions) -> R:
        """Call the method of ``command``, a row of METHODS whose result is ``result``."""

    async def _change(self, command: ChangingCommand, result: type[R], options: ChangeOptions) -> R:
        """Call a method that may change something."""
        as_user_id = options.pop("as_user_id", None)
        if as_user_id is not None:
            command = msgspec.structs.replace(command, as_user_id=as_user_id)
        return await self._ask(command, result, options)

    async def create_group(
        self,
        type: GroupType,  # noqa: A002 - the field's name on the wire
        name: str,
        *,
        group_id: str | None = None,
        introduction: str = "",
        notification: str = "",
        face_url: str = "",
        apply_join_option: ApplyJoinOption | None = None,
        invite_join_option: InviteJoinOption | None = None,
        max_member_count: int | None = None,
        members: list[InitialMember] | None = None,
        **options: Unpack[ChangeOptions],
    ) -> results.CreateGroupResult:
        """The new group, and what became of each initial member; the caller is its owner.

        Raises:
            Refused: GROUP_ID_TAKEN, GROUP_ID_TAKEN_BY_YOU, INVALID_GROUP_ID, TOO_MANY_GROUPS,
                TOO_MANY_ACCOUNTS.
        """
        command = commands.CreateGroup(
            type=type,
            name=name,
            group_id=group_id,
            introduction=introduction,
            notification=notification,
            face_url=face_url,
            apply_join_option=apply_join_option,
            invite_join_option=invite_join_option,
            max_member_count=max_member_count,
            members=members or [],
        )
        return await self._change(command, results.CreateGroupResult, options)

    async def disband_group(self, group_id: str, **options: Unpack[ChangeOptions]) -> Nothing:
        """End the group for good; returns nothing to read.

        Raises:
            Refused: GROUP_NOT_FOUND.
        """
        command = commands.DisbandGroup(group_id=group_id)
        return await self._change(command, Nothing, options)

    async def get_groups(
        self, group_ids: list[str], **options: Unpack[CallOptions]
    ) -> results.GetGroupsResult:
        """Each group's profile, or the error why it cannot be shown, in the order asked."""
        command = commands.GetGroups(group_ids=group_ids)
        return await self._ask(command, results.GetGroupsResult, options)

    async def list_joined_groups(
        self,
        *,
        limit: int | None = None,
        after: str | None = None,
        type: GroupType | None = None,  # noqa: A002 - the field's name on the wire
        if_version: str | None = None,
        **options: Unpack[CallOptions],
    ) -> results.ListJoinedGroupsResult:
        """A page of the caller's groups; the next page is ``after=result.next`` until that is None.

        ``if_version`` is the ``version`` of an earlier answer: when it still holds, the answer is
        ``unchanged`` and has no groups.
        """
        command = commands.ListJoinedGroups(
            limit=limit, after=after, type=type, if_version=if_version
        )
        return await self._ask(command, results.ListJoinedGroupsResult, options)

    async def list_members(
        self,
        group_id: str,
        *,
        limit: int | None = None,
        after: str | None = None,
        roles: list[Role] | None = None,
        **options: Unpack[CallOptions],
    ) -> results.ListMembersResult:
        """A page of the members by user ID; the next page is ``after=result.next`` until None.

        Raises:
            Refused: GROUP_NOT_FOUND.
        """
        command = commands.ListMembers(group_id=group_id, limit=limit, after=after, roles=roles)
        return await self._ask(command, results.ListMembersResult, options)

    async def invite_members(
        self,
        group_id: str,
        user_ids: list[str],
        *,
        message: str = "",
        **options: Unpack[ChangeOptions],
    ) -> results.MemberResults:
        """What became of each user, in the order asked: added, already_member, pending or failed.

        Raises:
            Refused: GROUP_NOT_FOUND, TOO_MANY_ACCOUNTS.
        """
        command = commands.InviteMembers(group_id=group_id, user_ids=user_ids, message=message)
        return await self._change(command, results.MemberResults, options)

    async def remove_members(
        self,
        group_id: str,
        user_ids: list[str],
        *,
        reason: str = "",
        **options: Unpack[ChangeOptions],
    ) -> results.MemberResults:
        """What became of each user, in the order asked: removed, not_member or failed.

        Raises:
            Refused: GROUP_NOT_FOUND, TOO_MANY_ACCOUNTS.
        """
        command = commands.RemoveMembers(group_id=group_id, user_ids=user_ids, reason=reason)
        return await self._change(command, results.MemberResults, options)

    async def join_group(
        self,
        group_id: str,
        *,
        message: str = "",
        **options: Unpack[ChangeOptions],
    ) -> results.JoinGroupResult:
        """Where the caller stands now: joined, pending (somebody has to agree) or already_member.

        Raises:
            Refused: GROUP_NOT_FOUND, GROUP_FULL, TOO_MANY_GROUPS.
        """
        command = commands.JoinGroup(group_id=group_id, message=message)
        return await self._change(command, results.JoinGroupResult, options)

    async def quit_group(self, group_id: str, **options: Unpack[ChangeOptions]) -> Nothing:
        """Leave the group; returns nothing to read.

        Raises:
            Refused: GROUP_NOT_FOUND, OWNER_MAY_NOT_QUIT, USER_NOT_FOUND (not a member).
        """
        command = commands.QuitGroup(group_id=group_id)
        return await self._change(command, Nothing, options)

    async def send_message(
        self,
        group_id: str,
        body: list[Element],
        *,
        priority: MessagePriority = MessagePriority.NORMAL,
        online_only: bool = False,
        at_user_ids: list[str] | None = None,
        custom_data: str = "",
        **options: Unpack[ChangeOptions],
    ) -> results.SendMessageResult:
        """The message's ID, time and place in the group's log; ``text_body`` makes a plain body.

        Raises:
            Refused: GROUP_NOT_FOUND, MUTED, MESSAGE_TOO_LARGE.
        """
        command = commands.SendMessage(
            group_id=group_id,
            body=body,
            priority=priority,
            online_only=online_only,
            at_user_ids=at_user_ids or [],
            custom_data=custom_data,
        )
        return await self._change(command, results.SendMessageResult, options)

    async def list_messages(
        self,
        group_id: str,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
        limit: int | None = None,
        **options: Unpack[CallOptions],
    ) -> results.ListMessagesResult:
        """Entries of the group's log, oldest first: before or after a ``seq``, or the newest.

        Raises:
            Refused: GROUP_NOT_FOUND.
        """
        command = commands.ListMessages(
            group_id=group_id, before_seq=before_seq, after_seq=after_seq, limit=limit
        )
        return await self._ask(command, results.ListMessagesResult, options)

    async def list_devices(self, **options: Unpack[CallOptions]) -> results.ListDevicesResult:
        """The caller's connected devices, in the order of connecting."""
        return await self._ask(commands.ListDevices(), results.ListDevicesResult, options)

    async def list_methods(self, **options: Unpack[CallOptions]) -> results.ListMethodsResult:
        """All methods of this server with their parameters as JSON Schema."""
        return await self._ask(commands.ListMethods(), results.ListMethodsResult, options)
