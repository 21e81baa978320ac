"""One frozen struct per method: what a client may ask for, and with which parameters.

The structs are the single source of validation, of the SDK's signatures and of the JSON Schema
that ``list_methods`` answers. They check shapes (names, types, enumerations); lengths and
counts are limits, which the operator sets, and are checked by ``server.domain``.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from protocol.messages import Element
from protocol.vocabulary import (
    ApplyJoinOption,
    GroupType,
    InviteJoinOption,
    MessagePriority,
    ReceiveOption,
    Role,
)

GroupId = Annotated[str, Meta(description="a group's ID")]
UserId = Annotated[str, Meta(description="a user's ID: printable ASCII, 1 to 32 bytes")]
Positive = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Unsigned = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Signed = Annotated[int, Meta(ge=-(2**53) + 1, le=2**53 - 1)]
Page = Annotated[str, Meta(description="opaque: the `next` of the page before")]


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request's parameters; unknown fields are refused."""


class ChangingCommand(Command, frozen=True, kw_only=True):
    """A command that may change something; exactly once by its request id."""

    as_user_id: UserId | None = None
    """For app_admin accounts only: the user in whose name the change is made."""


class InitialMember(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user who is in the group from its creation on."""

    user_id: UserId
    role: Role = Role.MEMBER
    custom: dict[str, str] = {}


class CreateGroup(ChangingCommand, frozen=True, kw_only=True):
    """Create a group; the caller becomes its owner.

    Members that cannot be added are reported one by one and do not stop the creation.
    """

    type: GroupType
    name: str
    group_id: GroupId | None = None
    introduction: str = ""
    notification: str = ""
    face_url: str = ""
    apply_join_option: ApplyJoinOption | None = None
    invite_join_option: InviteJoinOption | None = None
    max_member_count: Positive | None = None
    custom: dict[str, str] = {}
    members: list[InitialMember] = []


class DisbandGroup(ChangingCommand, frozen=True, kw_only=True):
    """End a group for good; everyone who was a member is told."""

    group_id: GroupId


class TransferGroup(ChangingCommand, frozen=True, kw_only=True):
    """Make a member the owner; the owner of before is an ordinary member from then on."""

    group_id: GroupId
    new_owner_id: UserId


class GetGroups(Command, frozen=True, kw_only=True):
    """Profiles of up to 50 groups; each one that cannot be shown has its own error.

    ``custom_keys`` narrows the custom fields that are answered; all that the caller may read
    otherwise.
    """

    group_ids: list[GroupId]
    custom_keys: list[str] | None = None


class UpdateGroup(ChangingCommand, frozen=True, kw_only=True):
    """Change a group's profile and options; what is not named stays as it is.

    A custom field that is set to null is deleted. With ``if_version`` nothing is changed unless
    the group still has that version.
    """

    group_id: GroupId
    if_version: Positive | None = None
    name: str | None = None
    introduction: str | None = None
    notification: str | None = None
    face_url: str | None = None
    apply_join_option: ApplyJoinOption | None = None
    invite_join_option: InviteJoinOption | None = None
    mute_all: bool | None = None
    max_member_count: Positive | None = None
    custom: dict[str, str | None] = {}


class ListJoinedGroups(Command, frozen=True, kw_only=True):
    """The caller's groups, basics only, in the order of joining."""

    limit: Positive | None = None
    after: Page | None = None
    type: GroupType | None = None
    if_version: str | None = None


class ListMembers(Command, frozen=True, kw_only=True):
    """A page of a group's members, ordered by user ID."""

    group_id: GroupId
    limit: Positive | None = None
    after: Page | None = None
    roles: list[Role] | None = None


class GetMembers(Command, frozen=True, kw_only=True):
    """The memberships of up to 100 users; those who are no members are ``missing``."""

    group_id: GroupId
    user_ids: list[UserId]


class UpdateMember(ChangingCommand, frozen=True, kw_only=True):
    """Change a member: role, name card, mute, custom fields, one's own receive option.

    ``mute_s`` mutes for so many seconds from now, 0 ends it. A custom field that is set to null
    is deleted.
    """

    group_id: GroupId
    user_id: UserId
    role: Role | None = None
    name_card: str | None = None
    mute_s: Unsigned | None = None
    custom: dict[str, str | None] = {}
    receive_option: ReceiveOption | None = None


class InviteMembers(ChangingCommand, frozen=True, kw_only=True):
    """Bring users into a group; one result for each."""

    group_id: GroupId
    user_ids: list[UserId]
    message: str = ""


class RemoveMembers(ChangingCommand, frozen=True, kw_only=True):
    """Remove members from a group; one result for each."""

    group_id: GroupId
    user_ids: list[UserId]
    reason: str = ""


class JoinGroup(ChangingCommand, frozen=True, kw_only=True):
    """Ask to be in a group."""

    group_id: GroupId
    message: str = ""


class QuitGroup(ChangingCommand, frozen=True, kw_only=True):
    """Leave a group; an owner may name a member as successor, in the same step."""

    group_id: GroupId
    successor_id: UserId | None = None


class ListApplications(Command, frozen=True, kw_only=True):
    """What waits for the caller's decision, and what was decided lately; newest first."""

    limit: Positive | None = None
    after: Page | None = None


class ReadApplications(ChangingCommand, frozen=True, kw_only=True):
    """The caller has seen the applications up to that time."""

    up_to_ms: Unsigned


class HandleApplications(ChangingCommand, frozen=True, kw_only=True):
    """Approve or reject applications and invitations; one result for each."""

    application_ids: list[str]
    accept: bool
    message: str = ""


class SendMessage(ChangingCommand, frozen=True, kw_only=True):
    """Say something in a group."""

    group_id: GroupId
    body: list[Element]
    priority: MessagePriority = MessagePriority.NORMAL
    online_only: bool = False
    at_user_ids: list[UserId] = []
    custom_data: str = ""


class ListMessages(Command, frozen=True, kw_only=True):
    """A group's log by sequence number, oldest first within the page.

    ``before_seq`` and ``after_seq`` are exclusive and exclude each other; with neither the
    newest entries are answered.
    """

    group_id: GroupId
    before_seq: Positive | None = None
    after_seq: Unsigned | None = None
    limit: Positive | None = None


class RecallMessage(ChangingCommand, frozen=True, kw_only=True):
    """Take back a message: one's own for a while, anybody's for admins and the owner."""

    group_id: GroupId
    seq: Positive
    reason: str = ""


class MarkRead(ChangingCommand, frozen=True, kw_only=True):
    """The caller has read the group's log up to ``seq``; a position never goes back."""

    group_id: GroupId
    seq: Unsigned


class SetAttributes(ChangingCommand, frozen=True, kw_only=True):
    """Set some of a group's attributes; the others stay."""

    group_id: GroupId
    attributes: dict[str, str]
    if_version: Positive | None = None


class DeleteAttributes(ChangingCommand, frozen=True, kw_only=True):
    """Delete some of a group's attributes."""

    group_id: GroupId
    keys: list[str]
    if_version: Positive | None = None


class GetAttributes(Command, frozen=True, kw_only=True):
    """A group's attributes, all or those of ``keys``."""

    group_id: GroupId
    keys: list[str] | None = None


class AddCounters(ChangingCommand, frozen=True, kw_only=True):
    """Add to some of a group's counters; one that does not exist begins at 0."""

    group_id: GroupId
    deltas: dict[str, Signed]


class GetCounters(Command, frozen=True, kw_only=True):
    """A group's counters, all or those of ``keys``."""

    group_id: GroupId
    keys: list[str] | None = None


class GetOnlineCount(Command, frozen=True, kw_only=True):
    """How many of a group's members are connected now."""

    group_id: GroupId


class GetRules(Command, frozen=True, kw_only=True):
    """The table of what each type lets whom do, and what it keeps."""


class ListDevices(Command, frozen=True, kw_only=True):
    """The caller's connected devices."""


class ListMethods(Command, frozen=True, kw_only=True):
    """All methods with their parameters as JSON Schema."""
