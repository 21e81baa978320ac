"""Commands that the server itself gives; no method of the protocol, and no caller."""

from protocol.commands import ChangingCommand


class RecycleGroup(ChangingCommand, frozen=True, kw_only=True):
    """Close a group that nobody has used for long."""

    group_id: str
