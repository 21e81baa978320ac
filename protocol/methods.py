"""Which methods there are: name -> command, result, and whether it changes anything."""

import inspect
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from protocol import commands, results
from protocol.commands import ChangingCommand, Command
from protocol.results import MethodDescription, Result


class Method(msgspec.Struct, frozen=True):
    """One row of the table; ``example`` are parameters that the README shows and a test sends."""

    name: str
    command: type[Command]
    result: type[Result]
    example: Mapping[str, Any]

    @property
    def changes(self) -> bool:
        """Whether the method may change something, and so is remembered by its request id."""
        return issubclass(self.command, ChangingCommand)

    def describe(self) -> MethodDescription:
        """The method with its parameters as a self-contained JSON Schema."""
        (schema,), components = msgspec.json.schema_components(
            [self.command], ref_template="#/$defs/{name}"
        )
        name = self.command.__name__
        params = dict(components.pop(name, schema))
        params["examples"] = [dict(self.example)]
        if components:
            params["$defs"] = components
        return MethodDescription(
            method=self.name,
            description=inspect.getdoc(self.command) or "",
            changes=self.changes,
            params=params,
        )


METHODS: Final[Mapping[str, Method]] = {
    method.name: method
    for method in (
        Method(
            "create_group",
            commands.CreateGroup,
            results.CreateGroupResult,
            {
                "type": "Public",
                "name": "Crew",
                "group_id": "crew",
                "members": [{"user_id": "bob", "role": "admin"}, {"user_id": "carol"}],
            },
        ),
        Method("disband_group", commands.DisbandGroup, results.Nothing, {"group_id": "crew"}),
        Method(
            "transfer_group",
            commands.TransferGroup,
            results.Nothing,
            {"group_id": "crew", "new_owner_id": "bob"},
        ),
        Method("get_groups", commands.GetGroups, results.GetGroupsResult, {"group_ids": ["crew"]}),
        Method(
            "update_group",
            commands.UpdateGroup,
            results.VersionResult,
            {"group_id": "crew", "notification": "Meet at nine", "mute_all": False},
        ),
        Method(
            "list_joined_groups",
            commands.ListJoinedGroups,
            results.ListJoinedGroupsResult,
            {"limit": 50},
        ),
        Method(
            "list_members",
            commands.ListMembers,
            results.ListMembersResult,
            {"group_id": "crew", "roles": ["owner", "admin"]},
        ),
        Method(
            "get_members",
            commands.GetMembers,
            results.GetMembersResult,
            {"group_id": "crew", "user_ids": ["bob", "zoe"]},
        ),
        Method(
            "update_member",
            commands.UpdateMember,
            results.MemberChanged,
            {"group_id": "crew", "user_id": "carol", "name_card": "Carol C.", "mute_s": 60},
        ),
        Method(
            "invite_members",
            commands.InviteMembers,
            results.MemberResults,
            {"group_id": "crew", "user_ids": ["dave"], "message": "Come aboard"},
        ),
        Method(
            "remove_members",
            commands.RemoveMembers,
            results.MemberResults,
            {"group_id": "crew", "user_ids": ["carol"], "reason": "left the ship"},
        ),
        Method(
            "join_group",
            commands.JoinGroup,
            results.JoinGroupResult,
            {"group_id": "crew", "message": "May I?"},
        ),
        Method("quit_group", commands.QuitGroup, results.Nothing, {"group_id": "crew"}),
        Method(
            "list_applications",
            commands.ListApplications,
            results.ListApplicationsResult,
            {"limit": 20},
        ),
        Method(
            "read_applications",
            commands.ReadApplications,
            results.Nothing,
            {"up_to_ms": 1795000000000},
        ),
        Method(
            "handle_applications",
            commands.HandleApplications,
            results.HandleApplicationsResult,
            {"application_ids": ["4cca119eefdc2cb73f8ef118"], "accept": True, "message": "Welcome"},
        ),
        Method(
            "send_message",
            commands.SendMessage,
            results.SendMessageResult,
            {
                "group_id": "crew",
                "body": [{"type": "text", "content": {"text": "Hello @bob"}}],
                "at_user_ids": ["bob"],
            },
        ),
        Method(
            "list_messages",
            commands.ListMessages,
            results.ListMessagesResult,
            {"group_id": "crew", "before_seq": 100, "limit": 20},
        ),
        Method(
            "recall_message",
            commands.RecallMessage,
            results.Nothing,
            {"group_id": "crew", "seq": 1, "reason": "typo"},
        ),
        Method(
            "mark_read", commands.MarkRead, results.UnreadResult, {"group_id": "crew", "seq": 1}
        ),
        Method(
            "set_attributes",
            commands.SetAttributes,
            results.AttributesResult,
            {"group_id": "crew", "attributes": {"topic": "sails"}},
        ),
        Method(
            "delete_attributes",
            commands.DeleteAttributes,
            results.AttributesResult,
            {"group_id": "crew", "keys": ["topic"]},
        ),
        Method(
            "get_attributes",
            commands.GetAttributes,
            results.AttributesResult,
            {"group_id": "crew", "keys": ["topic"]},
        ),
        Method(
            "add_counters",
            commands.AddCounters,
            results.CountersResult,
            {"group_id": "crew", "deltas": {"likes": 1}},
        ),
        Method("get_counters", commands.GetCounters, results.CountersResult, {"group_id": "crew"}),
        Method(
            "get_online_count",
            commands.GetOnlineCount,
            results.OnlineCountResult,
            {"group_id": "crew"},
        ),
        Method("get_rules", commands.GetRules, results.GetRulesResult, {}),
        Method("list_devices", commands.ListDevices, results.ListDevicesResult, {}),
        Method("list_methods", commands.ListMethods, results.ListMethodsResult, {}),
    )
}
"""In the order in which the README and ``list_methods`` show them.

The examples play in one group, ``crew``, of alice (the owner), bob and carol.
"""

METHOD_OF: Final[Mapping[type[Command], Method]] = {
    method.command: method for method in METHODS.values()
}
"""The same table by command."""
