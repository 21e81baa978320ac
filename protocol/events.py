"""What devices are told: one frozen struct per notice, tip and message, and the event around it."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from protocol.messages import Element
from protocol.results import ApplicationKind, ApplicationStatus
from protocol.vocabulary import (
    ApplyJoinOption,
    EventKind,
    GroupType,
    InviteJoinOption,
    Message,
    MessagePriority,
    Notice,
    ReceiveOption,
    Role,
    Tip,
)


class EventData(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an event says beside its envelope. Clients ignore fields that they do not know."""


class GroupBasics(msgspec.Struct, frozen=True, kw_only=True):
    """Enough of a group for a row of the joined list, as it is after the change."""

    type: GroupType
    name: str
    face_url: str
    owner_id: str
    version: int
    member_count: int
    mute_all: bool


class GroupCreated(EventData, frozen=True, kw_only=True):
    """Notice to the creator's devices."""

    group: GroupBasics


class Invited(EventData, frozen=True, kw_only=True):
    """Notice to a user who was brought into a group; the actor is who did it."""

    group: GroupBasics
    role: Role
    message: str = ""


class Joined(EventData, frozen=True, kw_only=True):
    """Notice to the own devices of a user who joined."""

    group: GroupBasics


class Kicked(EventData, frozen=True, kw_only=True):
    """Notice to a user who was removed; the actor is who did it."""

    reason: str = ""


class QuitNotice(EventData, frozen=True, kw_only=True):
    """Notice to the own devices of a user who left."""


class GroupDisbanded(EventData, frozen=True, kw_only=True):
    """Notice to everyone who was a member; the last entry of the group's log."""

    type: GroupType
    name: str


class MembersChanged(EventData, frozen=True, kw_only=True):
    """Tip: these users joined, were invited, quit or were removed, and what the group is now."""

    user_ids: list[str]
    member_count: int
    version: int
    reason: str = ""
    owner_id: str | None = None
    """Only when the change left the group with another owner: "" for none."""


class ProfileChanged(EventData, frozen=True, kw_only=True):
    """What of a group's profile is different now, and the group's version.

    Fields that did not change are absent; a custom field or attribute that is null was deleted.
    """

    version: int | None = None
    name: str | None = None
    introduction: str | None = None
    notification: str | None = None
    face_url: str | None = None
    owner_id: str | None = None
    apply_join_option: ApplyJoinOption | None = None
    invite_join_option: InviteJoinOption | None = None
    mute_all: bool | None = None
    max_member_count: int | None = None
    custom: dict[str, str | None] = {}
    attributes: dict[str, str | None] = {}
    counters: dict[str, int] = {}


class MemberChange(EventData, frozen=True, kw_only=True):
    """What of a member is different now, and the group's version; the rest is absent."""

    user_id: str
    version: int
    name_card: str | None = None
    mute_until_ms: int | None = None
    custom: dict[str, str | None] = {}
    role: Role | None = None
    """Only in the actor's own copy where the type announces no change of roles."""


class RoleChange(EventData, frozen=True, kw_only=True):
    """A member became an admin, or is one no longer."""

    user_id: str
    role: Role
    version: int


class OwnerChanged(EventData, frozen=True, kw_only=True):
    """Notice to the owner of before and the owner of now; either may be ""."""

    old_owner_id: str
    new_owner_id: str
    version: int


class Application(EventData, frozen=True, kw_only=True):
    """Something waits for a decision: of the admins, or of the invitee."""

    application_id: str
    kind: ApplicationKind
    user_id: str
    inviter_id: str = ""
    message: str = ""


class ApplicationDecided(EventData, frozen=True, kw_only=True):
    """A decision was made; ``group`` is there for a user who is a member by it."""

    application_id: str
    status: ApplicationStatus
    user_id: str
    handler_id: str = ""
    message: str = ""
    group: GroupBasics | None = None


class ApplicationsRead(EventData, frozen=True, kw_only=True):
    """The own devices have seen the applications up to that time."""

    up_to_ms: int


class Read(EventData, frozen=True, kw_only=True):
    """The own devices have read the group's log up to ``read_seq``."""

    read_seq: int
    unread: int


class ReceiveOptionChanged(EventData, frozen=True, kw_only=True):
    """How the own devices get the group's messages from now on."""

    receive_option: ReceiveOption


class MessageRecalled(EventData, frozen=True, kw_only=True):
    """The message with number ``recalled_seq`` was taken back; its content is gone."""

    recalled_seq: int
    from_id: str
    reason: str = ""


class GroupRecycled(EventData, frozen=True, kw_only=True):
    """Notice to everyone who was a member: nobody used the group for long."""

    type: GroupType
    name: str


class CustomNotice(EventData, frozen=True, kw_only=True):
    """Notice of the operator's own, to those connected; never stored."""

    content: str


class MessageData(EventData, frozen=True, kw_only=True):
    """What a member said."""

    body: list[Element]
    priority: MessagePriority = MessagePriority.NORMAL
    at_user_ids: list[str] = []
    custom_data: str = ""
    online_only: bool = False
    recalled: bool = False
    """The message was taken back: the body is empty."""
    no_unread: bool = False
    """It does not count as unread (of the operator only)."""
    no_last_message: bool = False
    """It is not shown as the group's last one (of the operator only)."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of a group's log or of a user's inbox, as it travels (``protocol.md``, Events).

    ``seq`` numbers the group's log, ``inbox_seq`` the receiver's inbox, without holes; an event
    that is not stored has neither. ``data`` is a map when the event was received, and the struct
    that ``EVENT_DATA`` names (or a map of its shape) where the event is made.
    """

    kind: EventKind
    event: str
    group_id: str
    time_ms: int
    op: int | None = None
    seq: int | None = None
    inbox_seq: int | None = None
    actor_id: str | None = None
    from_id: str | None = None
    message_id: str | None = None
    data: Any

    def typed_data(self) -> EventData | None:
        """``data`` as its struct, or None for an event that this version does not know."""
        shape = EVENT_DATA.get((self.kind, self.event))
        return None if shape is None else msgspec.convert(self.data, shape)


EVENT_DATA: Final[Mapping[tuple[EventKind, str], type[EventData]]] = {
    (EventKind.NOTICE, Notice.GROUP_CREATED): GroupCreated,
    (EventKind.NOTICE, Notice.INVITED): Invited,
    (EventKind.NOTICE, Notice.JOINED): Joined,
    (EventKind.NOTICE, Notice.KICKED): Kicked,
    (EventKind.NOTICE, Notice.QUIT): QuitNotice,
    (EventKind.NOTICE, Notice.GROUP_DISBANDED): GroupDisbanded,
    (EventKind.TIP, Tip.MEMBER_JOINED): MembersChanged,
    (EventKind.TIP, Tip.MEMBER_INVITED): MembersChanged,
    (EventKind.TIP, Tip.MEMBER_QUIT): MembersChanged,
    (EventKind.TIP, Tip.MEMBER_KICKED): MembersChanged,
    (EventKind.NOTICE, Notice.JOIN_REQUESTED): Application,
    (EventKind.NOTICE, Notice.INVITE_REQUESTED): Application,
    (EventKind.NOTICE, Notice.JOIN_APPROVED): ApplicationDecided,
    (EventKind.NOTICE, Notice.JOIN_REJECTED): ApplicationDecided,
    (EventKind.NOTICE, Notice.INVITE_ACCEPTED): ApplicationDecided,
    (EventKind.NOTICE, Notice.INVITE_REJECTED): ApplicationDecided,
    (EventKind.NOTICE, Notice.APPLICATION_HANDLED): ApplicationDecided,
    (EventKind.NOTICE, Notice.APPLICATIONS_READ): ApplicationsRead,
    (EventKind.NOTICE, Notice.READ): Read,
    (EventKind.NOTICE, Notice.RECEIVE_OPTION_CHANGED): ReceiveOptionChanged,
    (EventKind.NOTICE, Notice.OWNER_CHANGED): OwnerChanged,
    (EventKind.NOTICE, Notice.ADMIN_GRANTED): RoleChange,
    (EventKind.NOTICE, Notice.ADMIN_REVOKED): RoleChange,
    (EventKind.NOTICE, Notice.MEMBER_PROFILE_CHANGED): MemberChange,
    (EventKind.NOTICE, Notice.GROUP_PROFILE_CHANGED): ProfileChanged,
    (EventKind.NOTICE, Notice.MEMBER_JOINED): MembersChanged,
    (EventKind.NOTICE, Notice.MEMBER_INVITED): MembersChanged,
    (EventKind.NOTICE, Notice.MEMBER_KICKED): MembersChanged,
    (EventKind.NOTICE, Notice.GROUP_RECYCLED): GroupRecycled,
    (EventKind.NOTICE, Notice.CUSTOM): CustomNotice,
    (EventKind.TIP, Tip.ADMIN_SET): RoleChange,
    (EventKind.TIP, Tip.ADMIN_CANCELLED): RoleChange,
    (EventKind.TIP, Tip.GROUP_PROFILE_CHANGED): ProfileChanged,
    (EventKind.TIP, Tip.MEMBER_PROFILE_CHANGED): MemberChange,
    (EventKind.MESSAGE, Message.MESSAGE): MessageData,
    (EventKind.MESSAGE, Message.MESSAGE_RECALLED): MessageRecalled,
}
"""Kind and name of each event that is sent -> the shape of its data."""
