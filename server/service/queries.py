"""What changes nothing: profiles, lists, history, devices, methods."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from protocol.commands import (
    Command,
    GetAttributes,
    GetCounters,
    GetGroups,
    GetMembers,
    GetOnlineCount,
    GetRules,
    ListApplications,
    ListDevices,
    ListJoinedGroups,
    ListMembers,
    ListMessages,
    ListMethods,
)
from protocol.errors import ErrorCode, Refused
from protocol.methods import METHODS
from protocol.results import (
    AttributesResult,
    CountersResult,
    Device,
    GetGroupsResult,
    GetMembersResult,
    GetRulesResult,
    GroupResult,
    ListApplicationsResult,
    ListDevicesResult,
    ListJoinedGroupsResult,
    ListMembersResult,
    ListMessagesResult,
    ListMethodsResult,
    MemberProfile,
    OnlineCountResult,
    Result,
)
from protocol.vocabulary import GroupType, ReceiveOption, Role
from server.domain.model import (
    Actor,
    Attributes,
    AttributesKey,
    Counters,
    CountersKey,
    Group,
    GroupKey,
    RowKey,
)
from server.domain.refusals import error_body
from server.domain.rules import Operation, Rulebook, Standing, standing_of
from server.domain.text import check_count
from server.service import paging, views
from server.service.ports import MemberState, Presence, Store


class Reader(msgspec.Struct, frozen=True):
    """Who asks: the user, whether an operator, and the session that the question came by."""

    user_id: str
    is_app_admin: bool
    session_id: str


_V = TypeVar("_V")
_Read = Callable[[Any, Reader], Awaitable[Result]]


class Queries:
    """Answers to the methods that change nothing, from committed state.

    Every method raises Refused for what the rules do not show to the reader.
    """

    def __init__(self, store: Store, presence: Presence, rulebook: Rulebook) -> None:
        self._store = store
        self._presence = presence
        self._rulebook = rulebook
        self._reads: Mapping[type[Command], _Read] = {
            GetGroups: self.get_groups,
            GetMembers: self.get_members,
            ListApplications: self.list_applications,
            GetAttributes: self.get_attributes,
            GetCounters: self.get_counters,
            GetOnlineCount: self.get_online_count,
            GetRules: self.get_rules,
            ListJoinedGroups: self.list_joined_groups,
            ListMembers: self.list_members,
            ListMessages: self.list_messages,
            ListDevices: self.list_devices,
            ListMethods: self.list_methods,
        }

    async def answer(self, command: Command, reader: Reader) -> Result:
        """The result of a reading command."""
        return await self._reads[type(command)](command, reader)

    async def get_groups(self, command: GetGroups, reader: Reader) -> GetGroupsResult:
        """Each group's profile, or why it is not shown."""
        check_count(
            self._rulebook, "group_ids", len(command.group_ids), "GROUPS_PER_CALL", at_least=1
        )
        group_ids = dict.fromkeys(command.group_ids)
        keys: list[RowKey] = [GroupKey(group_id) for group_id in group_ids]
        keys += [AttributesKey(group_id) for group_id in group_ids]
        rows = await self._store.load(keys)
        heads = await self._store.group_heads(command.group_ids)
        results = []
        for group_id in command.group_ids:
            row = rows[GroupKey(group_id)].row
            try:
                group = _living(row, group_id)
                standing, _state = await self._standing(group, reader)
                self._rulebook.require(Operation.SEE_PROFILE, group.type, standing)
            except Refused as refusal:
                results.append(GroupResult(group_id=group_id, error=error_body(refusal)))
                continue
            attributes = rows[AttributesKey(group_id)].row
            profile = views.group_profile(
                group,
                heads[group_id],
                attributes if isinstance(attributes, Attributes) else None,
                command.custom_keys,
                standing,
                self._presence,
                self._rulebook,
            )
            results.append(GroupResult(group_id=group_id, group=profile))
        return GetGroupsResult(groups=results)

    async def list_joined_groups(
        self, command: ListJoinedGroups, reader: Reader
    ) -> ListJoinedGroupsResult:
        """A page of the reader's groups in the order of joining."""
        limit = self._page_size(command.limit)
        version = str(await self._store.groups_version(reader.user_id))
        if command.if_version == version:
            return ListJoinedGroupsResult(groups=[], version=version, unchanged=True)
        after = paging.position(command.after)
        rows = await self._store.groups_of(reader.user_id, after, limit + 1, command.type)
        page = rows[:limit]
        has_more = len(rows) > limit
        return ListJoinedGroupsResult(
            groups=[views.joined_group(row, self._rulebook) for row in page],
            version=version,
            next=paging.mark(str(page[-1].state.joined_position)) if has_more else None,
        )

    async def list_members(self, command: ListMembers, reader: Reader) -> ListMembersResult:
        """A page of members by user ID; of an AVChatRoom the newest who take part."""
        limit = self._page_size(command.limit)
        after = paging.place(command.after, start="")
        group = await self._group(command.group_id)
        standing, _state = await self._require(Operation.LIST_MEMBERS, group, reader)
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
        group = await self._group(command.group_id)
        standing, _state = await self._require(Operation.LIST_MEMBERS, group, reader)
        user_ids = list(dict.fromkeys(command.user_ids))
        states = await self._store.member_states(group.group_id, user_ids)
        found: dict[str, MemberProfile] = {
            user_id: views.member_profile(state, reader.user_id, standing, self._rulebook)
            for user_id, state in states.items()
        }
        if not self._rulebook.traits[group.type].stores_members:
            for user_id in user_ids:
                since_ms = self._presence.participant_since_ms(group.group_id, user_id)
                if since_ms is not None:
                    found.setdefault(user_id, _participant(user_id, since_ms))
        return GetMembersResult(
            members=[found[user_id] for user_id in user_ids if user_id in found],
            missing=[user_id for user_id in user_ids if user_id not in found],
        )

    async def list_applications(
        self, command: ListApplications, reader: Reader
    ) -> ListApplicationsResult:
        """A page of what waits for the reader, or did, newest first."""
        limit = self._page_size(command.limit)
        before = paging.moment(command.after)
        found = await self._store.applications_for(reader.user_id, before, limit + 1)
        page = found[:limit]
        last = page[-1] if len(found) > limit else None
        return ListApplicationsResult(
            applications=[views.application_info(application) for application in page],
            unread=await self._store.unread_applications(reader.user_id),
            next=None if last is None else paging.mark(f"{last.created_ms}:{last.application_id}"),
        )

    async def get_attributes(self, command: GetAttributes, reader: Reader) -> AttributesResult:
        """The group's attributes, to its members."""
        group = await self._group(command.group_id)
        await self._require(Operation.ADD_COUNTERS, group, reader)
        key = AttributesKey(group.group_id)
        row = (await self._store.load([key]))[key].row
        values = row.values if isinstance(row, Attributes) else {}
        return AttributesResult(version=group.version, attributes=_chosen(values, command.keys))

    async def get_counters(self, command: GetCounters, reader: Reader) -> CountersResult:
        """The group's counters, to its members."""
        group = await self._group(command.group_id)
        await self._require(Operation.ADD_COUNTERS, group, reader)
        key = CountersKey(group.group_id)
        row = (await self._store.load([key]))[key].row
        values = row.values if isinstance(row, Counters) else {}
        return CountersResult(counters=_chosen(values, command.keys))

    async def get_online_count(self, command: GetOnlineCount, reader: Reader) -> OnlineCountResult:
        """How many members are connected, to those who see the profile."""
        group = await self._group(command.group_id)
        await self._require(Operation.SEE_PROFILE, group, reader)
        return OnlineCountResult(online_count=self._presence.participant_count(group.group_id))

    async def get_rules(self, _command: GetRules, _reader: Reader) -> GetRulesResult:
        """The tables in force."""
        return GetRulesResult(
            types=[views.type_rules(group_type, self._rulebook) for group_type in GroupType]
        )

    async def list_messages(self, command: ListMessages, reader: Reader) -> ListMessagesResult:
        """A page of the group's log, as far as the reader may see it."""
        if command.before_seq is not None and command.after_seq is not None:
            raise Refused(
                ErrorCode.BAD_REQUEST,
                "before_seq and after_seq exclude each other",
                field="before_seq",
            )
        limit = self._page_size(command.limit)
        group = await self._group(command.group_id)
        _standing, state = await self._require(Operation.READ_HISTORY, group, reader)
        hidden = self._hidden_seq(group, state)
        head = (await self._store.group_heads([group.group_id]))[group.group_id]
        forward = command.after_seq is not None
        above = max(hidden, command.after_seq or 0)
        below = command.before_seq if command.before_seq is not None else 2**53
        entries = await self._store.history(
            group.group_id, above, below, limit + 1, newest=not forward
        )
        has_more = len(entries) > limit
        page = entries[:limit] if forward else entries[-limit:]
        return ListMessagesResult(
            events=[msgspec.to_builtins(views.event_of(committed)) for committed in page],
            has_more=has_more,
            first_seq=max(hidden + 1, head.first_seq),
        )

    async def list_devices(self, _command: ListDevices, reader: Reader) -> ListDevicesResult:
        """The reader's connected devices."""
        return ListDevicesResult(
            devices=[
                Device(
                    device_id=device.device_id,
                    platform=device.platform,
                    connected_ms=device.connected_ms,
                    current=device.session_id == reader.session_id,
                )
                for device in self._presence.devices_of(reader.user_id)
            ]
        )

    async def list_methods(self, _command: ListMethods, _reader: Reader) -> ListMethodsResult:
        """All methods."""
        return ListMethodsResult(methods=[method.describe() for method in METHODS.values()])

    async def _group(self, group_id: str) -> Group:
        key = GroupKey(group_id)
        rows = await self._store.load([key])
        return _living(rows[key].row, group_id)

    async def _state(self, group: Group, user_id: str) -> MemberState | None:
        states = await self._store.member_states(group.group_id, [user_id])
        return states.get(user_id)

    async def _standing(self, group: Group, reader: Reader) -> tuple[Standing, MemberState | None]:
        state = await self._state(group, reader.user_id)
        actor = Actor(reader.user_id, reader.is_app_admin)
        standing = standing_of(actor, state.member if state is not None else None)
        if standing is Standing.NONE and not self._rulebook.traits[group.type].stores_members:
            since_ms = self._presence.participant_since_ms(group.group_id, reader.user_id)
            standing = Standing.MEMBER if since_ms is not None else Standing.NONE
        return standing, state

    async def _require(
        self, operation: Operation, group: Group, reader: Reader
    ) -> tuple[Standing, MemberState | None]:
        standing, state = await self._standing(group, reader)
        self._rulebook.require(operation, group.type, standing)
        return standing, state

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
            for user_id, since_ms in self._presence.newest_participants(group.group_id, newest):
                if user_id != group.owner_id:
                    members.append(_participant(user_id, since_ms))
        return members[:limit]

    def _hidden_seq(self, group: Group, state: MemberState | None) -> int:
        """The last number of the group's log that the reader may not see."""
        if state is None or self._rulebook.traits[group.type].shows_earlier_history:
            return 0
        return state.joined_seq

    def _page_size(self, wanted: int | None) -> int:
        most = self._rulebook.limits["PAGE_ITEMS"]
        return most if wanted is None else min(wanted, most)


_NEWEST_PARTICIPANTS = 30


def _living(row: object, group_id: str) -> Group:
    if not isinstance(row, Group) or row.closed_ms:
        raise Refused(ErrorCode.GROUP_NOT_FOUND, group_id=group_id)
    return row


def _participant(user_id: str, since_ms: int) -> MemberProfile:
    return MemberProfile(
        user_id=user_id,
        role=Role.MEMBER,
        join_time_ms=since_ms,
        read_seq=0,
        receive_option=ReceiveOption.ACCEPT_NOT_NOTIFY,
        last_message_time_ms=0,
        name_card="",
        mute_until_ms=0,
        custom={},
    )


def _chosen(values: Mapping[str, _V], keys: Sequence[str] | None) -> dict[str, _V]:
    """All of ``values``, or those of ``keys`` that there are."""
    if keys is None:
        return dict(values)
    return {key: values[key] for key in keys if key in values}
