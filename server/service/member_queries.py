"""What is asked about members, and about the applications of those who would be."""

from collections.abc import Mapping

from protocol.commands import (
    GetMembers,
    ListApplications,
    ListMembers,
)
from protocol.results import (
    GetMembersResult,
    ListApplicationsResult,
    ListMembersResult,
    MemberProfile,
)
from protocol.vocabulary import ReceiveOption, Role
from server.domain.model import (
    Group,
    Remembered,
    RememberedKey,
    RowKey,
)
from server.domain.rules import Operation, Standing
from server.domain.text import check_count
from server.service import paging, views
from server.service.access import QueryRoom, Reader, page_size


class MemberQueries(QueryRoom):
    """Reads of memberships and of the pending list."""

    async def list_members(self, command: ListMembers, reader: Reader) -> ListMembersResult:
        """A page of members by user ID; of an AVChatRoom the newest who take part."""
        limit = page_size(self._rulebook, command.limit)
        after = paging.place(command.after, start="")
        group = await self._access.group(command.group_id)
        standing = await self._access.require(Operation.LIST_MEMBERS, group, reader)
        roles = set(Role) if command.roles is None else set(command.roles)
        if not self._rulebook.traits[group.type].stores_members:
            shown = await self._participants(group, roles, limit, reader, standing)
            return ListMembersResult(members=shown)
        states = await self._store.members(group.group_id, after, limit + 1, roles)
        page = states[:limit]
        has_more = len(states) > limit
        return ListMembersResult(
            members=[
                views.member_profile(state, reader.user_id, standing, self._rulebook)
                for state in page
            ],
            next=paging.mark(page[-1].member.user_id) if has_more else None,
        )

    async def get_members(self, command: GetMembers, reader: Reader) -> GetMembersResult:
        """The memberships of the users named, in their order."""
        check_count(self._rulebook, "user_ids", len(command.user_ids), "USERS_PER_CALL", at_least=1)
        group = await self._access.group(command.group_id)
        standing = await self._access.require(Operation.LIST_MEMBERS, group, reader)
        user_ids = list(dict.fromkeys(command.user_ids))
        states = await self._store.member_states(group.group_id, user_ids)
        found: dict[str, MemberProfile] = {
            user_id: views.member_profile(state, reader.user_id, standing, self._rulebook)
            for user_id, state in states.items()
        }
        if not self._rulebook.traits[group.type].stores_members:
            present = {
                user_id: since_ms
                for user_id in user_ids
                if (since_ms := self._presence.participant_since_ms(group.group_id, user_id))
                is not None
            }
            found = {**await self._shown(group, present), **found}
        return GetMembersResult(
            members=[found[user_id] for user_id in user_ids if user_id in found],
            missing=[user_id for user_id in user_ids if user_id not in found],
        )

    async def list_applications(
        self, command: ListApplications, reader: Reader
    ) -> ListApplicationsResult:
        """A page of what waits for the reader, or did, newest first."""
        limit = page_size(self._rulebook, command.limit)
        before = paging.moment(command.after)
        found = await self._store.applications_for(reader.user_id, before, limit + 1)
        page = found[:limit]
        last = page[-1] if len(found) > limit else None
        return ListApplicationsResult(
            applications=[views.application_info(application) for application in page],
            unread=await self._store.unread_applications(reader.user_id),
            next=None if last is None else paging.mark(f"{last.created_ms}:{last.application_id}"),
        )

    async def _participants(
        self, group: Group, roles: set[Role], limit: int, reader: Reader, standing: Standing
    ) -> list[MemberProfile]:
        newest = min(limit, _NEWEST_PARTICIPANTS)
        members: list[MemberProfile] = []
        owner_states = await self._store.member_states(group.group_id, [group.owner_id])
        owner = owner_states.get(group.owner_id)
        if owner is not None and Role.OWNER in roles:
            members.append(views.member_profile(owner, reader.user_id, standing, self._rulebook))
        if Role.MEMBER in roles:
            present = dict(self._presence.newest_participants(group.group_id, newest))
            present.pop(group.owner_id, None)
            members += (await self._shown(group, present)).values()
        return members[:limit]

    async def _shown(self, group: Group, present: Mapping[str, int]) -> dict[str, MemberProfile]:
        """Those who take part, with what the group remembers of them, by user ID."""
        keys: list[RowKey] = [RememberedKey(group.group_id, user_id) for user_id in present]
        rows = await self._access.rows(keys)
        traits = self._rulebook.traits[group.type]
        shown: dict[str, MemberProfile] = {}
        for user_id, since_ms in present.items():
            row = rows[RememberedKey(group.group_id, user_id)]
            remembered = row if isinstance(row, Remembered) else None
            shown[user_id] = _participant(user_id, since_ms, remembered, traits.receive_option)
        return shown


_NEWEST_PARTICIPANTS = 30


def _participant(
    user_id: str, since_ms: int, remembered: Remembered | None, default: ReceiveOption
) -> MemberProfile:
    option = remembered.receive_option if remembered is not None else None
    return MemberProfile(
        user_id=user_id,
        role=Role.MEMBER,
        join_time_ms=since_ms,
        read_seq=0,
        receive_option=option or default,
        last_message_time_ms=0,
        name_card="",
        mute_until_ms=remembered.mute_until_ms if remembered is not None else 0,
        custom={},
    )
