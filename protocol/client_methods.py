"""The methods of the protocol with their types: one per row of ``protocol.methods.METHODS``.

To add one, in the file of its subject: required fields of the command in their order, then
``*``, then the optional fields with the command's defaults (None in place of an empty list or
map), then ``**options``, which hold ``as_user_id`` of a changing command. A test compares every
method with its row.
"""

from typing import Unpack

from protocol import commands, results
from protocol.client_base import CallOptions
from protocol.client_groups import GroupMethods
from protocol.client_members import MemberMethods
from protocol.client_messages import MessageMethods


class Methods(GroupMethods, MemberMethods, MessageMethods):
    """Typed calls, and what they share.

    Each returns its result once the server has answered, which for a change means that it is
    durable.

    Each raises ``Refused`` (the docstrings name the codes to expect; BAD_REQUEST and
    NO_PERMISSION may come from all), ``CallTimeout``, ``ConnectionRefused`` and ``ClientClosed``,
    and is retried, always with the same request id, exactly as ``Client.call`` says.
    """

    async def get_rules(self, **options: Unpack[CallOptions]) -> results.GetRulesResult:
        """What each type of group lets whom do, and what it keeps."""
        return await self._ask(commands.GetRules(), results.GetRulesResult, options)

    async def list_devices(self, **options: Unpack[CallOptions]) -> results.ListDevicesResult:
        """The caller's connected devices, in the order of connecting."""
        return await self._ask(commands.ListDevices(), results.ListDevicesResult, options)

    async def list_methods(self, **options: Unpack[CallOptions]) -> results.ListMethodsResult:
        """All methods of this server with their parameters as JSON Schema."""
        return await self._ask(commands.ListMethods(), results.ListMethodsResult, options)
