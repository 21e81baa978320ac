"""Which methods there are: name -> command, result, and whether it changes anything."""

import inspect
from collections.abc import Mapping
from typing import Final

import msgspec

from protocol import commands, results
from protocol.commands import ChangingCommand, Command
from protocol.results import MethodDescription, Result


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table."""

    name: str
    command: type[Command]
    result: type[Result]

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
        if components:
            params["$defs"] = components
        return MethodDescription(
            method=self.name,
            description=inspect.getdoc(self.command) or "",
            changes=self.changes,
            params=params,
        )


METHODS: Final[Mapping[str, Method]] = {
    name: Method(name=name, command=command, result=result)
    for name, command, result in (
        ("create_group", commands.CreateGroup, results.CreateGroupResult),
        ("disband_group", commands.DisbandGroup, results.Nothing),
        ("transfer_group", commands.TransferGroup, results.Nothing),
        ("get_groups", commands.GetGroups, results.GetGroupsResult),
        ("update_group", commands.UpdateGroup, results.VersionResult),
        ("list_joined_groups", commands.ListJoinedGroups, results.ListJoinedGroupsResult),
        ("list_members", commands.ListMembers, results.ListMembersResult),
        ("get_members", commands.GetMembers, results.GetMembersResult),
        ("update_member", commands.UpdateMember, results.MemberChanged),
        ("invite_members", commands.InviteMembers, results.MemberResults),
        ("remove_members", commands.RemoveMembers, results.MemberResults),
        ("join_group", commands.JoinGroup, results.JoinGroupResult),
        ("quit_group", commands.QuitGroup, results.Nothing),
        ("list_applications", commands.ListApplications, results.ListApplicationsResult),
        ("read_applications", commands.ReadApplications, results.Nothing),
        ("handle_applications", commands.HandleApplications, results.HandleApplicationsResult),
        ("send_message", commands.SendMessage, results.SendMessageResult),
        ("list_messages", commands.ListMessages, results.ListMessagesResult),
        ("recall_message", commands.RecallMessage, results.Nothing),
        ("mark_read", commands.MarkRead, results.UnreadResult),
        ("set_attributes", commands.SetAttributes, results.AttributesResult),
        ("delete_attributes", commands.DeleteAttributes, results.AttributesResult),
        ("get_attributes", commands.GetAttributes, results.AttributesResult),
        ("add_counters", commands.AddCounters, results.CountersResult),
        ("get_counters", commands.GetCounters, results.CountersResult),
        ("get_online_count", commands.GetOnlineCount, results.OnlineCountResult),
        ("get_rules", commands.GetRules, results.GetRulesResult),
        ("list_devices", commands.ListDevices, results.ListDevicesResult),
        ("list_methods", commands.ListMethods, results.ListMethodsResult),
    )
}
"""In the order in which the README and ``list_methods`` show them."""

METHOD_OF: Final[Mapping[type[Command], Method]] = {
    method.command: method for method in METHODS.values()
}
"""The same table by command."""
