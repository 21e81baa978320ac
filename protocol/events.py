"""What devices are told: one frozen struct per notice, tip and message, and the event around it."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from protocol.messages import Element
from protocol.vocabulary import (
    EventKind,
    GroupType,
    Message,
    MessagePriority,
    Notice,
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


class MessageData(EventData, frozen=True, kw_only=True):
    """What a member said."""

    body: list[Element]
    priority: MessagePriority = MessagePriority.NORMAL
    at_user_ids: list[str] = []
    custom_data: str = ""
    online_only: bool = False


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
    (EventKind.MESSAGE, Message.MESSAGE): MessageData,
}
"""Kind and name of each event that is sent -> the shape of its data."""
