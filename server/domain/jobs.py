"""Commands that the server itself gives; no method of the protocol, and no caller."""

from protocol.commands import ChangingCommand, InviteMembers, SendMessage


class RecognizeUser(ChangingCommand, frozen=True, kw_only=True):
    """Remember that the actor has logged in, where users must be known."""


class RecycleGroup(ChangingCommand, frozen=True, kw_only=True):
    """Close a group that nobody has used for long."""

    group_id: str


class DropMessage(SendMessage, frozen=True, kw_only=True):
    """Answer a message as if it were sent, and send it to nobody: the operator wants it so."""


class InviteSome(InviteMembers, frozen=True, kw_only=True):
    """Bring users into a group, but for those whom the operator's service has refused."""

    refused_user_ids: list[str]
