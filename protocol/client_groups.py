"""The SDK's methods about groups as such: profile, attributes, counters."""

from typing import Unpack

from protocol import commands, results
from protocol.client_base import Asking, CallOptions, ChangeOptions
from protocol.commands import InitialMember
from protocol.results import Nothing
from protocol.vocabulary import ApplyJoinOption, GroupType, InviteJoinOption


class GroupMethods(Asking):
    """Groups; see ``protocol.client_methods.Methods`` for what all methods share."""

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
        custom: dict[str, str] | None = None,
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
            custom=custom or {},
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

    async def transfer_group(
        self, group_id: str, new_owner_id: str, **options: Unpack[ChangeOptions]
    ) -> Nothing:
        """Make a member the owner; the caller stays as an ordinary member.

        Raises:
            Refused: GROUP_NOT_FOUND, USER_NOT_FOUND (not a member).
        """
        command = commands.TransferGroup(group_id=group_id, new_owner_id=new_owner_id)
        return await self._change(command, Nothing, options)

    async def get_groups(
        self,
        group_ids: list[str],
        *,
        custom_keys: list[str] | None = None,
        **options: Unpack[CallOptions],
    ) -> results.GetGroupsResult:
        """Each group's profile, or the error why it cannot be shown, in the order asked.

        ``custom_keys`` are the custom fields wanted; None for all that the caller may read.
        """
        command = commands.GetGroups(group_ids=group_ids, custom_keys=custom_keys)
        return await self._ask(command, results.GetGroupsResult, options)

    async def update_group(
        self,
        group_id: str,
        *,
        if_version: int | None = None,
        name: str | None = None,
        introduction: str | None = None,
        notification: str | None = None,
        face_url: str | None = None,
        apply_join_option: ApplyJoinOption | None = None,
        invite_join_option: InviteJoinOption | None = None,
        mute_all: bool | None = None,
        max_member_count: int | None = None,
        custom: dict[str, str | None] | None = None,
        **options: Unpack[ChangeOptions],
    ) -> results.VersionResult:
        """The group's version after the change; what is None stays as it is.

        A custom field of None is deleted. With ``if_version`` nothing is changed unless the group
        still has that version.

        Raises:
            Refused: GROUP_NOT_FOUND, GROUP_VERSION_CONFLICT.
        """
        command = commands.UpdateGroup(
            group_id=group_id,
            if_version=if_version,
            name=name,
            introduction=introduction,
            notification=notification,
            face_url=face_url,
            apply_join_option=apply_join_option,
            invite_join_option=invite_join_option,
            mute_all=mute_all,
            max_member_count=max_member_count,
            custom=custom or {},
        )
        return await self._change(command, results.VersionResult, options)

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

    async def set_attributes(
        self,
        group_id: str,
        attributes: dict[str, str],
        *,
        if_version: int | None = None,
        **options: Unpack[ChangeOptions],
    ) -> results.AttributesResult:
        """All attributes after these were set, and the group's version; the others stay.

        Raises:
            Refused: GROUP_NOT_FOUND, ATTRIBUTE_CONFLICT (``if_version`` is stale),
                ATTRIBUTE_KEY_TOO_LONG, ATTRIBUTE_VALUE_TOO_LONG, TOO_MANY_ATTRIBUTES,
                ATTRIBUTES_TOO_LARGE.
        """
        command = commands.SetAttributes(
            group_id=group_id, attributes=attributes, if_version=if_version
        )
        return await self._change(command, results.AttributesResult, options)

    async def delete_attributes(
        self,
        group_id: str,
        keys: list[str],
        *,
        if_version: int | None = None,
        **options: Unpack[ChangeOptions],
    ) -> results.AttributesResult:
        """The attributes that are left, and the group's version.

        Raises:
            Refused: GROUP_NOT_FOUND, ATTRIBUTE_NOT_FOUND, ATTRIBUTE_CONFLICT (``if_version`` is
                stale).
        """
        command = commands.DeleteAttributes(group_id=group_id, keys=keys, if_version=if_version)
        return await self._change(command, results.AttributesResult, options)

    async def get_attributes(
        self, group_id: str, *, keys: list[str] | None = None, **options: Unpack[CallOptions]
    ) -> results.AttributesResult:
        """The attributes of ``keys``, or all, and the group's version.

        Raises:
            Refused: GROUP_NOT_FOUND.
        """
        command = commands.GetAttributes(group_id=group_id, keys=keys)
        return await self._ask(command, results.AttributesResult, options)

    async def add_counters(
        self, group_id: str, deltas: dict[str, int], **options: Unpack[ChangeOptions]
    ) -> results.CountersResult:
        """The counters after ``deltas`` were added; one that does not exist begins at 0.

        Raises:
            Refused: GROUP_NOT_FOUND, TOO_MANY_COUNTERS, ATTRIBUTE_KEY_TOO_LONG.
        """
        command = commands.AddCounters(group_id=group_id, deltas=deltas)
        return await self._change(command, results.CountersResult, options)

    async def get_counters(
        self, group_id: str, *, keys: list[str] | None = None, **options: Unpack[CallOptions]
    ) -> results.CountersResult:
        """The counters of ``keys``, or all.

        Raises:
            Refused: GROUP_NOT_FOUND.
        """
        command = commands.GetCounters(group_id=group_id, keys=keys)
        return await self._ask(command, results.CountersResult, options)

    async def get_online_count(
        self, group_id: str, **options: Unpack[CallOptions]
    ) -> results.OnlineCountResult:
        """How many of the group's members are connected now.

        Raises:
            Refused: GROUP_NOT_FOUND.
        """
        command = commands.GetOnlineCount(group_id=group_id)
        return await self._ask(command, results.OnlineCountResult, options)
