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
    Role,
)

GroupId = Annotated[str, Meta(description="a group's ID")]
UserId = Annotated[str, Meta(description="a user's ID: printable ASCII, 1 to 32 bytes")]
Positive = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Unsigned = Annotated[int, Meta(ge=0, le=2**53 - 1)]
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
    members: list[InitialMember] = []


class DisbandGroup(ChangingCommand, frozen=True, kw_only=True):
    """End a group for good; everyone who was a member is told."""

    group_id: GroupId


class GetGroups(Command, frozen=True, kw_only=True):
    """Profiles of up to 50 groups; each one that cannot be shown has its own error."""

    group_ids: list[GroupId]


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
    """Leave a group."""

    group_id: GroupId


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


class ListDevices(Command, frozen=True, kw_only=True):
    """The caller's connected devices."""


class ListMethods(Command, frozen=True, kw_only=True):
    """All methods with their parameters as JSON Schema."""
