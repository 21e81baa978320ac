"""Commands that the server itself gives; no method of the protocol, and no caller."""

from protocol.commands import ChangingCommand


class RecognizeUser(ChangingCommand, frozen=True, kw_only=True):
    """Remember that the actor has logged in, where users must be known."""


class RecycleGroup(ChangingCommand, frozen=True, kw_only=True):
    """Close a group that nobody has used for long."""

    group_id: str
