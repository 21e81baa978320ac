"""The SDK's methods about who is in a group: members, joining and leaving, applications."""

from typing import Unpack

from protocol import commands, results
from protocol.client_base import Asking, CallOptions, ChangeOptions
from protocol.results import Nothing
from protocol.vocabulary import ReceiveOption, Role


class MemberMethods(Asking):
    """Members; see ``protocol.client_methods.Methods`` for what all methods share."""

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

    async def get_members(
        self, group_id: str, user_ids: list[str], **options: Unpack[CallOptions]
    ) -> results.GetMembersResult:
        """The memberships of these users in the order asked; who is no member is ``missing``.

        Raises:
            Refused: GROUP_NOT_FOUND, TOO_MANY_ACCOUNTS.
        """
        command = commands.GetMembers(group_id=group_id, user_ids=user_ids)
        return await self._ask(command, results.GetMembersResult, options)

    async def update_member(
        self,
        group_id: str,
        user_id: str,
        *,
        role: Role | None = None,
        name_card: str | None = None,
        mute_s: int | None = None,
        custom: dict[str, str | None] | None = None,
        receive_option: ReceiveOption | None = None,
        **options: Unpack[ChangeOptions],
    ) -> results.MemberChanged:
        """The member after the change; what is None stays as it is.

        ``mute_s`` mutes for so many seconds from now, 0 ends it; a custom field of None is
        deleted; the receive option is one's own only.

        Raises:
            Refused: GROUP_NOT_FOUND, USER_NOT_FOUND (not a member).
        """
        command = commands.UpdateMember(
            group_id=group_id,
            user_id=user_id,
            role=role,
            name_card=name_card,
            mute_s=mute_s,
            custom=custom or {},
            receive_option=receive_option,
        )
        return await self._change(command, results.MemberChanged, options)

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

    async def quit_group(
        self,
        group_id: str,
        *,
        successor_id: str | None = None,
        **options: Unpack[ChangeOptions],
    ) -> Nothing:
        """Leave the group; an owner may make a member the owner in the same step.

        Raises:
            Refused: GROUP_NOT_FOUND, OWNER_MAY_NOT_QUIT, USER_NOT_FOUND (not a member).
        """
        command = commands.QuitGroup(group_id=group_id, successor_id=successor_id)
        return await self._change(command, Nothing, options)

    async def list_applications(
        self,
        *,
        limit: int | None = None,
        after: str | None = None,
        **options: Unpack[CallOptions],
    ) -> results.ListApplicationsResult:
        """A page of what waits for the caller's decision or was decided lately, newest first.

        The next page is ``after=result.next`` until that is None.
        """
        command = commands.ListApplications(limit=limit, after=after)
        return await self._ask(command, results.ListApplicationsResult, options)

    async def read_applications(self, up_to_ms: int, **options: Unpack[ChangeOptions]) -> Nothing:
        """Note that the caller has seen the applications up to that time."""
        command = commands.ReadApplications(up_to_ms=up_to_ms)
        return await self._change(command, Nothing, options)

    async def handle_applications(
        self,
        application_ids: list[str],
        accept: bool,
        *,
        message: str = "",
        **options: Unpack[ChangeOptions],
    ) -> results.HandleApplicationsResult:
        """What became of each, in the order asked: approved, rejected or failed with its error.

        The error is ALREADY_HANDLED when somebody else was first; its detail says who and how.
        """
        command = commands.HandleApplications(
            application_ids=application_ids, accept=accept, message=message
        )
        return await self._change(command, results.HandleApplicationsResult, options)
