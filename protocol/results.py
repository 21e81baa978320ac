"""What each method answers, typed."""

import enum

import msgspec

from protocol.vocabulary import (
    ApplyJoinOption,
    GroupType,
    InviteJoinOption,
    ReceiveOption,
    Role,
)


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A reply's ``result``. Clients ignore fields that they do not know."""


class Nothing(Result, frozen=True):
    """The result of methods that have nothing to tell."""


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal as it travels (``protocol.md``, Requests and replies)."""

    code: int
    name: str
    message: str
    retryable: bool
    detail: dict[str, object] = {}


class GroupProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A group as its members see it (``groups.md`` section 3). Times in Unix milliseconds."""

    group_id: str
    type: GroupType
    name: str
    introduction: str
    notification: str
    face_url: str
    owner_id: str
    create_time_ms: int
    version: int
    last_info_time_ms: int
    last_message_time_ms: int
    next_seq: int
    member_count: int
    max_member_count: int
    apply_join_option: ApplyJoinOption
    invite_join_option: InviteJoinOption
    mute_all: bool
    custom: dict[str, str]
    attributes: dict[str, str]


class MemberResultKind(enum.StrEnum):
    """What became of one user of a batch."""

    ADDED = "added"
    ALREADY_MEMBER = "already_member"
    PENDING = "pending"
    REMOVED = "removed"
    NOT_MEMBER = "not_member"
    FAILED = "failed"


class MemberResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One user's row in the answer to a batch; ``error`` exactly when ``failed``."""

    user_id: str
    result: MemberResultKind
    error: ErrorBody | None = None


class CreateGroupResult(Result, frozen=True, kw_only=True):
    """The new group and what became of each initial member."""

    group: GroupProfile
    members: list[MemberResult]


class GroupResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One group of get_groups: the profile or the reason why not."""

    group_id: str
    group: GroupProfile | None = None
    error: ErrorBody | None = None


class GetGroupsResult(Result, frozen=True, kw_only=True):
    """In the order of the request."""

    groups: list[GroupResult]


class VersionResult(Result, frozen=True, kw_only=True):
    """The group's version after the change."""

    version: int


class AttributesResult(Result, frozen=True, kw_only=True):
    """The group's version, and the attributes asked for or, after a change, all of them."""

    version: int
    attributes: dict[str, str]


class CountersResult(Result, frozen=True, kw_only=True):
    """Counters and their values."""

    counters: dict[str, int]


class UnreadResult(Result, frozen=True, kw_only=True):
    """How many entries of the group's log come after the read position, but for quiet messages."""

    unread: int


class OnlineCountResult(Result, frozen=True, kw_only=True):
    """How many members are connected."""

    online_count: int


class MemberProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A member as other members see it (``groups.md`` section 4)."""

    user_id: str
    role: Role
    join_time_ms: int
    read_seq: int
    receive_option: ReceiveOption
    last_message_time_ms: int
    name_card: str
    mute_until_ms: int
    custom: dict[str, str]


class MemberChanged(Result, frozen=True, kw_only=True):
    """The member after the change."""

    member: MemberProfile


class GetMembersResult(Result, frozen=True, kw_only=True):
    """In the order of the request."""

    members: list[MemberProfile]
    missing: list[str]


class JoinedGroup(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the joined list: basics only, and the caller's own membership."""

    group_id: str
    type: GroupType
    name: str
    face_url: str
    owner_id: str
    version: int
    member_count: int
    mute_all: bool
    last_message_time_ms: int
    last_seq: int
    unread: int
    self_: MemberProfile = msgspec.field(name="self")


class ListJoinedGroupsResult(Result, frozen=True, kw_only=True):
    """A page; ``next`` is absent on the last one; ``unchanged`` when ``if_version`` still holds."""

    groups: list[JoinedGroup]
    version: str
    next: str | None = None
    unchanged: bool = False


class ListMembersResult(Result, frozen=True, kw_only=True):
    """A page; ``next`` is absent on the last one."""

    members: list[MemberProfile]
    next: str | None = None


class MemberResults(Result, frozen=True, kw_only=True):
    """One row per user, in the order of the request."""

    members: list[MemberResult]


class JoinStatus(enum.StrEnum):
    """What became of a request to join."""

    JOINED = "joined"
    PENDING = "pending"
    ALREADY_MEMBER = "already_member"


class JoinGroupResult(Result, frozen=True, kw_only=True):
    """Where the caller stands now."""

    status: JoinStatus


class ApplicationKind(enum.StrEnum):
    """Who asks whom: a user the admins, a member the admins, a member the user."""

    JOIN = "join"
    INVITE_NEEDS_ADMIN = "invite_needs_admin"
    INVITE_NEEDS_INVITEE = "invite_needs_invitee"


class ApplicationStatus(enum.StrEnum):
    """What became of an application; dropped: there were too many."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    DROPPED = "dropped"


class ApplicationInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the pending list; the last three say who handled it, when and why."""

    application_id: str
    kind: ApplicationKind
    group_id: str
    user_id: str
    inviter_id: str
    message: str
    created_ms: int
    status: ApplicationStatus
    handler_id: str
    handled_ms: int
    handle_message: str


class ListApplicationsResult(Result, frozen=True, kw_only=True):
    """A page, newest first; ``unread`` counts the pending ones of the whole list."""

    applications: list[ApplicationInfo]
    unread: int
    next: str | None = None


class HandleResultKind(enum.StrEnum):
    """What became of one application of a batch."""

    APPROVED = "approved"
    REJECTED = "rejected"
    FAILED = "failed"


class HandleResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One application's row in the answer; ``error`` exactly when ``failed``."""

    application_id: str
    result: HandleResultKind
    error: ErrorBody | None = None


class HandleApplicationsResult(Result, frozen=True, kw_only=True):
    """In the order of the request."""

    applications: list[HandleResult]


class TypeRules(msgspec.Struct, frozen=True, kw_only=True):
    """One type: the standing that each operation needs, and the type's other properties."""

    type: GroupType
    rights: dict[str, str]
    only_lower_rank: list[str]
    traits: dict[str, object]


class GetRulesResult(Result, frozen=True, kw_only=True):
    """One row per type."""

    types: list[TypeRules]


class SendMessageResult(Result, frozen=True, kw_only=True):
    """The message's place in the log; ``seq`` is absent where messages are not stored."""

    message_id: str
    time_ms: int
    seq: int | None = None


class ListMessagesResult(Result, frozen=True, kw_only=True):
    """Entries of the log as events, oldest first; ``has_more`` in the direction asked for.

    ``first_seq`` is the first entry that the caller may read: later than 1 where the log was
    trimmed or the caller joined later.
    """

    events: list[dict[str, object]]
    has_more: bool
    first_seq: int


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A connected device; ``current`` is the one that asks. Times in Unix milliseconds."""

    device_id: str
    platform: str
    connected_ms: int
    current: bool


class ListDevicesResult(Result, frozen=True, kw_only=True):
    """In the order of connecting."""

    devices: list[Device]


class MethodDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A method: its name, what it does, whether it changes anything, its parameters."""

    method: str
    description: str
    changes: bool
    params: dict[str, object]


class ListMethodsResult(Result, frozen=True, kw_only=True):
    """In the order of the README."""

    methods: list[MethodDescription]
