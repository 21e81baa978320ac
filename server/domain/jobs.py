"""Commands that the server itself gives; no method of the protocol, and no caller."""

import msgspec

from protocol.commands import (
    ChangingCommand,
    CreateGroup,
    InviteMembers,
    RemoveMembers,
    SendMessage,
    UpdateMember,
)
from protocol.messages import Element
from protocol.results import Result
from protocol.vocabulary import Role


class RecognizeUser(ChangingCommand, frozen=True, kw_only=True):
    """Remember that the actor has logged in, where users must be known."""


class RecognizeUsers(ChangingCommand, frozen=True, kw_only=True):
    """Remember these users as if they had logged in, where users must be known."""

    user_ids: list[str]


class RecycleGroup(ChangingCommand, frozen=True, kw_only=True):
    """Close a group that nobody has used for long."""

    group_id: str


# What only the operator asks for, by the admin REST API.


class FoundGroup(CreateGroup, frozen=True, kw_only=True):
    """Create a group that belongs to ``owner_id``, or to nobody, with all ``members`` or not at all.

    ``created_ms`` is when it was created elsewhere. With ``is_silent`` nobody is told but the
    operator.
    """

    owner_id: str | None = None
    created_ms: int | None = None
    is_silent: bool = False


class AdjustMember(UpdateMember, frozen=True, kw_only=True):
    """Change a member, its receive option too."""


class AddMembers(InviteMembers, frozen=True, kw_only=True):
    """Bring users into a group; with ``is_silent`` nobody is told but the operator."""

    is_silent: bool = False


class ExpelMembers(RemoveMembers, frozen=True, kw_only=True):
    """Remove members; with ``is_silent`` nobody is told but they and the operator."""

    is_silent: bool = False


class MuteMembers(ChangingCommand, frozen=True, kw_only=True):
    """Mute those of the users who are members for so many seconds; 0 ends it."""

    group_id: str
    user_ids: list[str]
    mute_s: int


class SendControlled(SendMessage, frozen=True, kw_only=True):
    """Say something that does not count as unread, or is not the group's last message."""

    no_unread: bool = False
    no_last_message: bool = False


class RecallMessages(ChangingCommand, frozen=True, kw_only=True):
    """Take messages back, each that can be; one result for each."""

    group_id: str
    seqs: list[int]
    reason: str = ""


class RecallResults(Result, frozen=True, kw_only=True):
    """For each message of the command the number of its refusal, 0 for none."""

    codes: list[int]


class SendNotice(ChangingCommand, frozen=True, kw_only=True):
    """Tell those of the users who are members, or all members, something of the operator's.

    Only devices that are connected hear it.
    """

    group_id: str
    content: str
    user_ids: list[str]


class ReplaceAttributes(ChangingCommand, frozen=True, kw_only=True):
    """Set all of a group's attributes; the others are gone."""

    group_id: str
    attributes: dict[str, str]


class SetCounters(ChangingCommand, frozen=True, kw_only=True):
    """Set some of a group's counters; the others stay."""

    group_id: str
    values: dict[str, int]


class DeleteCounters(ChangingCommand, frozen=True, kw_only=True):
    """Delete those of the counters that there are; all of them when none is named."""

    group_id: str
    keys: list[str]


class RevokeTokens(ChangingCommand, frozen=True, kw_only=True):
    """What was issued for the users up to the end of that Unix second is good no longer."""

    user_ids: list[str]
    up_to_s: int


class ForgetUsers(RevokeTokens, frozen=True, kw_only=True):
    """Besides, the users are known no longer, where users must be known."""


class ImportedMember(msgspec.Struct, frozen=True, kw_only=True):
    """Who was a member elsewhere: since when, and how much is unread."""

    user_id: str
    role: Role = Role.MEMBER
    join_time_ms: int | None = None
    unread: int = 0


class ImportMembers(ChangingCommand, frozen=True, kw_only=True):
    """Take over members; one result for each, and nobody is told but the operator."""

    group_id: str
    members: list[ImportedMember]


class ImportedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What was said elsewhere, by whom and when."""

    from_id: str
    time_ms: int
    body: list[Element]


class ImportMessages(ChangingCommand, frozen=True, kw_only=True):
    """Take over messages, the oldest first, all of them later than the group's last one."""

    group_id: str
    messages: list[ImportedMessage]


class ImportedMessages(Result, frozen=True, kw_only=True):
    """The number of the first message; the others follow it."""

    seq: int | None = None


class SetUnread(ChangingCommand, frozen=True, kw_only=True):
    """Put a member's read position so many entries before the end of the log."""

    group_id: str
    user_id: str
    unread: int


class DeleteMessagesOf(ChangingCommand, frozen=True, kw_only=True):
    """Take the content of a user's messages out of the last ones of the log; nobody is told."""

    group_id: str
    from_id: str


class BanUsers(ChangingCommand, frozen=True, kw_only=True):
    """Put users out of an AVChatRoom and keep them out for so many seconds; 0 lets them in."""

    group_id: str
    user_ids: list[str]
    ban_s: int
    reason: str = ""
