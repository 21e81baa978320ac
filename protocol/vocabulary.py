"""The words of the product: group types, roles, options, and the events with their numbers.

Values are the strings that travel on the wire. Numbers are permanent: they are the ones that the
hosted original's SDKs use (``groups.md`` section 5).
"""

import enum
from collections.abc import Mapping
from typing import Final


class GroupType(enum.StrEnum):
    """The five kinds of group, by product name (``groups.md`` section 1)."""

    WORK = "Work"
    PUBLIC = "Public"
    MEETING = "Meeting"
    AVCHATROOM = "AVChatRoom"
    COMMUNITY = "Community"

    @classmethod
    def _missing_(cls, value: object) -> "GroupType | None":
        """Accept the older wire names of the original wherever a type is read."""
        return TYPE_ALIASES.get(value) if isinstance(value, str) else None


TYPE_ALIASES: Final[Mapping[str, GroupType]] = {
    "Private": GroupType.WORK,
    "ChatRoom": GroupType.MEETING,
}
"""The older wire names, accepted on input everywhere; the answer has the product name."""


class Role(enum.StrEnum):
    """A member's role as it travels; ``rank`` orders roles, a higher rank is stronger."""

    MEMBER = "member"
    ADMIN = "admin"
    OWNER = "owner"

    @property
    def rank(self) -> int:
        """1 for a member, 2 for an admin, 3 for the owner."""
        return _RANKS[self]


_RANKS: Final[Mapping[Role, int]] = {Role.MEMBER: 1, Role.ADMIN: 2, Role.OWNER: 3}


class ApplyJoinOption(enum.StrEnum):
    """What happens to somebody who asks to join."""

    FREE_ACCESS = "FreeAccess"
    NEED_PERMISSION = "NeedPermission"
    DISABLE_APPLY = "DisableApply"


class InviteJoinOption(enum.StrEnum):
    """What happens to somebody whom a member invites."""

    FREE_ACCESS = "FreeAccess"
    NEED_PERMISSION = "NeedPermission"
    DISABLE_INVITE = "DisableInvite"


class ReceiveOption(enum.StrEnum):
    """How a member wants a group's messages (``groups.md`` section 4).

    Only ``DISCARD`` changes what the server sends: messages are not pushed to that user's
    devices. The others tell the user's own devices how to notify.
    """

    ACCEPT_AND_NOTIFY = "AcceptAndNotify"
    ACCEPT_NOT_NOTIFY = "AcceptNotNotify"
    DISCARD = "Discard"
    ACCEPT_NOT_NOTIFY_EXCEPT_AT = "AcceptNotNotifyExceptAt"


class MessagePriority(enum.StrEnum):
    """Which messages go first when a group's rate is limited; strongest first."""

    HIGH = "High"
    NORMAL = "Normal"
    LOW = "Low"
    LOWEST = "Lowest"


class EventKind(enum.StrEnum):
    """A notice is for single users, a tip for a group's members, a message is what members say."""

    NOTICE = "notice"
    TIP = "tip"
    MESSAGE = "message"


class Notice(enum.StrEnum):
    """Names of the system notifications."""

    JOIN_REQUESTED = "join_requested"
    JOIN_APPROVED = "join_approved"
    JOIN_REJECTED = "join_rejected"
    KICKED = "kicked"
    GROUP_DISBANDED = "group_disbanded"
    GROUP_CREATED = "group_created"
    INVITED = "invited"
    QUIT = "quit"
    ADMIN_GRANTED = "admin_granted"
    ADMIN_REVOKED = "admin_revoked"
    GROUP_RECYCLED = "group_recycled"
    INVITE_REQUESTED = "invite_requested"
    INVITE_ACCEPTED = "invite_accepted"
    INVITE_REJECTED = "invite_rejected"
    READ = "read"
    APPLICATIONS_READ = "applications_read"
    RECEIVE_OPTION_CHANGED = "receive_option_changed"
    APPLICATION_HANDLED = "application_handled"
    JOINED = "joined"
    OWNER_CHANGED = "owner_changed"
    MEMBER_PROFILE_CHANGED = "member_profile_changed"
    GROUP_PROFILE_CHANGED = "group_profile_changed"
    MEMBER_JOINED = "member_joined"
    MEMBER_INVITED = "member_invited"
    MEMBER_KICKED = "member_kicked"
    CUSTOM = "custom"


class Tip(enum.StrEnum):
    """Names of the events inside a group."""

    MEMBER_JOINED = "member_joined"
    MEMBER_INVITED = "member_invited"
    MEMBER_QUIT = "member_quit"
    MEMBER_KICKED = "member_kicked"
    ADMIN_SET = "admin_set"
    ADMIN_CANCELLED = "admin_cancelled"
    GROUP_PROFILE_CHANGED = "group_profile_changed"
    MEMBER_PROFILE_CHANGED = "member_profile_changed"


class Message(enum.StrEnum):
    """Names of the events that carry what members say."""

    MESSAGE = "message"
    MESSAGE_RECALLED = "message_recalled"


NOTICE_OPS: Final[Mapping[Notice, int]] = {
    Notice.JOIN_REQUESTED: 1,
    Notice.JOIN_APPROVED: 2,
    Notice.JOIN_REJECTED: 3,
    Notice.KICKED: 4,
    Notice.GROUP_DISBANDED: 5,
    Notice.GROUP_CREATED: 6,
    Notice.INVITED: 7,
    Notice.QUIT: 8,
    Notice.ADMIN_GRANTED: 9,
    Notice.ADMIN_REVOKED: 10,
    Notice.GROUP_RECYCLED: 11,
    Notice.INVITE_REQUESTED: 12,
    Notice.INVITE_ACCEPTED: 13,
    Notice.INVITE_REJECTED: 14,
    Notice.READ: 15,
    Notice.APPLICATIONS_READ: 15,
    Notice.RECEIVE_OPTION_CHANGED: 20,
    Notice.APPLICATION_HANDLED: 22,
    Notice.JOINED: 23,
    Notice.OWNER_CHANGED: 24,
    Notice.MEMBER_PROFILE_CHANGED: 25,
    Notice.GROUP_PROFILE_CHANGED: 26,
    Notice.MEMBER_JOINED: 27,
    Notice.MEMBER_INVITED: 28,
    Notice.MEMBER_KICKED: 29,
    Notice.CUSTOM: 255,
}
"""The original's ``operationType`` of each notice; 22 to 29 are the project's own.

26 to 29 are the actor's own copies of changes that are not announced as a tip
(``groups.md`` section 2, last paragraph).
"""

TIP_OPS: Final[Mapping[Tip, int]] = {
    Tip.MEMBER_JOINED: 1,
    Tip.MEMBER_INVITED: 1,
    Tip.MEMBER_QUIT: 2,
    Tip.MEMBER_KICKED: 3,
    Tip.ADMIN_SET: 4,
    Tip.ADMIN_CANCELLED: 5,
    Tip.GROUP_PROFILE_CHANGED: 6,
    Tip.MEMBER_PROFILE_CHANGED: 7,
}
"""The original's tip numbers; joining and being invited share one, the event name tells them."""
