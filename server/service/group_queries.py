"""What is asked about groups: profiles, the joined list, attributes, counters, who is online."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from protocol.commands import (
    GetAttributes,
    GetCounters,
    GetGroups,
    GetOnlineCount,
    ListJoinedGroups,
)
from protocol.errors import Refused
from protocol.results import (
    AttributesResult,
    CountersResult,
    GetGroupsResult,
    GroupResult,
    ListJoinedGroupsResult,
    OnlineCountResult,
)
from server.domain.model import (
    Attributes,
    AttributesKey,
    Counters,
    CountersKey,
    GroupKey,
    MemberKey,
    RowKey,
)
from server.domain.refusals import error_body
from server.domain.rules import Operation
from server.domain.text import check_count
from server.service import paging, views
from server.service.access import QueryRoom, Reader, living, page_size


class GroupQueries(QueryRoom):
    """Reads of groups as a whole."""

    async def get_groups(self, command: GetGroups, reader: Reader) -> GetGroupsResult:
        """Each group's profile, or why it is not shown."""
        check_count(
            self._rulebook, "group_ids", len(command.group_ids), "GROUPS_PER_CALL", at_least=1
        )
        group_ids = dict.fromkeys(command.group_ids)
        keys: list[RowKey] = [GroupKey(group_id) for group_id in group_ids]
        keys += [AttributesKey(group_id) for group_id in group_ids]
        keys += [MemberKey(group_id, reader.user_id) for group_id in group_ids]
        rows = await self._access.rows(keys)
        heads = await self._store.group_heads(command.group_ids)
        results = []
        for group_id in command.group_ids:
            try:
                group = living(rows[GroupKey(group_id)], group_id)
                member = rows[MemberKey(group_id, reader.user_id)]
                standing = self._access.standing_as(member, group, reader)
                self._rulebook.require(Operation.SEE_PROFILE, group.type, standing)
            except Refused as refusal:
                results.append(GroupResult(group_id=group_id, error=error_body(refusal)))
                continue
            attributes = rows[AttributesKey(group_id)]
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
        limit = page_size(self._rulebook, command.limit)
        version = str(await self._store.groups_version(reader.user_id))
        if command.if_version == version:
            return ListJoinedGroupsResult(groups=[], version=version, unchanged=True)
        after = paging.position(command.after)
        rows = await self._store.groups_of(reader.user_id, after, limit + 1, command.type)
        page = rows[:limit]
        has_more = len(rows) > limit
        return ListJoinedGroupsResult(
            groups=[views.joined_group(row, self._presence, self._rulebook) for row in page],
            version=version,
            next=paging.mark(str(page[-1].state.joined_position)) if has_more else None,
        )

    async def get_attributes(self, command: GetAttributes, reader: Reader) -> AttributesResult:
        """The group's attributes, to its members."""
        group = await self._access.group(command.group_id)
        await self._access.require(Operation.ADD_COUNTERS, group, reader)
        key = AttributesKey(group.group_id)
        row = (await self._access.rows([key]))[key]
        values = row.values if isinstance(row, Attributes) else {}
        return AttributesResult(version=group.version, attributes=_chosen(values, command.keys))

    async def get_counters(self, command: GetCounters, reader: Reader) -> CountersResult:
        """The group's counters, to its members."""
        group = await self._access.group(command.group_id)
        await self._access.require(Operation.ADD_COUNTERS, group, reader)
        key = CountersKey(group.group_id)
        row = (await self._access.rows([key]))[key]
        values = row.values if isinstance(row, Counters) else {}
        return CountersResult(counters=_chosen(values, command.keys))

    async def get_online_count(self, command: GetOnlineCount, reader: Reader) -> OnlineCountResult:
        """How many members are connected, to those who see the profile."""
        group = await self._access.group(command.group_id)
        await self._access.require(Operation.SEE_PROFILE, group, reader)
        return OnlineCountResult(online_count=self._presence.participant_count(group.group_id))


_V = TypeVar("_V")


def _chosen(values: Mapping[str, _V], keys: Sequence[str] | None) -> dict[str, _V]:
    """All of ``values``, or those of ``keys`` that there are."""
    if keys is None:
        return dict(values)
    return {key: values[key] for key in keys if key in values}
