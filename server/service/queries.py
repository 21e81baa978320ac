"""What changes nothing: which part of the service answers each reading method."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

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
from protocol.methods import METHODS
from protocol.results import (
    Device,
    GetRulesResult,
    ListDevicesResult,
    ListMethodsResult,
    Result,
)
from protocol.vocabulary import GroupType
from server.domain.rules import Rulebook
from server.service import views
from server.service.access import Access, Reader
from server.service.group_queries import GroupQueries
from server.service.log_queries import LogQueries
from server.service.member_queries import MemberQueries
from server.service.ports import Presence, Store
from server.service.row_cache import RowCache

_Read = Callable[[Any, Reader], Awaitable[Result]]


class Queries:
    """Answers to the methods that change nothing, from committed state.

    Every answer may be a Refused for what the rules do not show to the reader.

    Args:
        rows: see ``Access``; None where other processes write too.
    """

    def __init__(
        self,
        store: Store,
        presence: Presence,
        rulebook: Rulebook,
        rows: RowCache | None = None,
    ) -> None:
        self._presence = presence
        self._rulebook = rulebook
        access = Access(store, presence, rulebook, RowCache(0) if rows is None else rows)
        groups = GroupQueries(access, store, presence, rulebook)
        members = MemberQueries(access, store, presence, rulebook)
        history = LogQueries(access, store, presence, rulebook)
        self._reads: Mapping[type[Command], _Read] = {
            GetGroups: groups.get_groups,
            ListJoinedGroups: groups.list_joined_groups,
            GetAttributes: groups.get_attributes,
            GetCounters: groups.get_counters,
            GetOnlineCount: groups.get_online_count,
            ListMembers: members.list_members,
            GetMembers: members.get_members,
            ListApplications: members.list_applications,
            ListMessages: history.list_messages,
            GetRules: self._get_rules,
            ListDevices: self._list_devices,
            ListMethods: self._list_methods,
        }

    async def answer(self, command: Command, reader: Reader) -> Result:
        """The result of a reading command.

        Raises:
            Refused: the rules do not show it to the reader.
            Unavailable, OutcomeUnknown: from the store.
        """
        return await self._reads[type(command)](command, reader)

    async def _get_rules(self, _command: GetRules, _reader: Reader) -> GetRulesResult:
        """The tables in force."""
        return GetRulesResult(
            types=[views.type_rules(group_type, self._rulebook) for group_type in GroupType]
        )

    async def _list_devices(self, _command: ListDevices, reader: Reader) -> ListDevicesResult:
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

    async def _list_methods(self, _command: ListMethods, _reader: Reader) -> ListMethodsResult:
        """All methods."""
        return ListMethodsResult(methods=[method.describe() for method in METHODS.values()])
