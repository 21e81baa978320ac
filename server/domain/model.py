"""The nouns of the rules: groups, members, who acts, what is decided, what is told."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from protocol.results import ApplicationKind, ApplicationStatus, Result
from protocol.vocabulary import (
    ApplyJoinOption,
    EventKind,
    GroupType,
    InviteJoinOption,
    ReceiveOption,
    Role,
)


class Group(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A group's state (``groups.md`` section 3), without what its log tells (sequence, times).

    ``owner_id`` is "" for an ownerless group. ``closed_ms`` is when it was disbanded, 0 while it
    lives; a disbanded group's row stays, so that its ID is not given again at once.
    """

    group_id: str
    type: GroupType
    name: str
    owner_id: str
    create_time_ms: int
    last_info_time_ms: int
    version: int
    member_count: int
    max_member_count: int
    apply_join_option: ApplyJoinOption
    invite_join_option: InviteJoinOption
    introduction: str = ""
    notification: str = ""
    face_url: str = ""
    mute_all: bool = False
    custom: dict[str, str] = {}
    closed_ms: int = 0


class Member(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A user's membership of a group (``groups.md`` section 4), without the read position."""

    group_id: str
    user_id: str
    role: Role
    join_time_ms: int
    receive_option: ReceiveOption = ReceiveOption.ACCEPT_AND_NOTIFY
    name_card: str = ""
    mute_until_ms: int = 0
    custom: dict[str, str] = {}


class Remembered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a group keeps of a user who has no Member row.

    Of one who left while muted, so that coming back does not end the mute; and of one who takes
    part in an AVChatRoom, whose membership is not stored, or may not until ``banned_until_ms``.
    """

    group_id: str
    user_id: str
    mute_until_ms: int = 0
    receive_option: ReceiveOption | None = None
    banned_until_ms: int = 0


class Attributes(msgspec.Struct, frozen=True, kw_only=True):
    """A group's attributes (``groups.md`` section 3)."""

    group_id: str
    values: dict[str, str]


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """A group's counters; values within +-(2^53-1), the protocol's integers."""

    group_id: str
    values: dict[str, int]


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody may become a member if somebody else agrees (``groups.md`` section 6)."""

    application_id: str
    kind: ApplicationKind
    group_id: str
    user_id: str
    inviter_id: str
    message: str
    created_ms: int
    status: ApplicationStatus = ApplicationStatus.PENDING
    handler_id: str = ""
    handled_ms: int = 0
    handle_message: str = ""


class ApplicationsSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Up to when a user has seen the list of applications."""

    user_id: str
    up_to_ms: int


class KnownUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user who has logged in or was imported; kept only where users must be known."""

    user_id: str
    since_ms: int


class Revocation(msgspec.Struct, frozen=True, kw_only=True):
    """What was issued for a user up to the end of that second is good no longer."""

    user_id: str
    up_to_s: int


class GroupKey(msgspec.Struct, frozen=True):
    """Names a Group row."""

    group_id: str


class MemberKey(msgspec.Struct, frozen=True):
    """Names a Member row."""

    group_id: str
    user_id: str


class RememberedKey(msgspec.Struct, frozen=True):
    """Names a Remembered row."""

    group_id: str
    user_id: str


class AttributesKey(msgspec.Struct, frozen=True):
    """Names an Attributes row."""

    group_id: str


class CountersKey(msgspec.Struct, frozen=True):
    """Names a Counters row."""

    group_id: str


class ApplicationKey(msgspec.Struct, frozen=True):
    """Names an Application row."""

    application_id: str


class ApplicationsSeenKey(msgspec.Struct, frozen=True):
    """Names an ApplicationsSeen row."""

    user_id: str


class KnownUserKey(msgspec.Struct, frozen=True):
    """Names a KnownUser row."""

    user_id: str


class RevocationKey(msgspec.Struct, frozen=True):
    """Names a Revocation row."""

    user_id: str


RowKey = (
    GroupKey
    | MemberKey
    | RememberedKey
    | AttributesKey
    | CountersKey
    | ApplicationKey
    | ApplicationsSeenKey
    | KnownUserKey
    | RevocationKey
)
Row = (
    Group
    | Member
    | Remembered
    | Attributes
    | Counters
    | Application
    | ApplicationsSeen
    | KnownUser
    | Revocation
)


class Actor(msgspec.Struct, frozen=True):
    """Who asks: the user in whose name it happens, and whether the operator is behind it."""

    user_id: str
    is_app_admin: bool = False


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """How a command came: who asked by which kind of program from where, "" for unknown.

    A command of the server's own has no caller. ``random`` is the number that a caller has chosen
    for a message, where the protocol that it came by has one. Of what ``is_unasked`` the operator's
    own service is not asked before, of what ``is_untold`` it is not told after.
    """

    caller_id: str = ""
    platform: str = ""
    address: str = ""
    random: int | None = None
    is_unasked: bool = False
    is_untold: bool = False


def unread_of(head_seq: int, head_quiet: int, read_seq: int, read_quiet: int) -> int:
    """How much is unread: the entries after ``read_seq`` but for the quiet ones among them.

    ``head_quiet`` and ``read_quiet`` are how many quiet ones there are up to each place.
    """
    return max(0, (head_seq - head_quiet) - (read_seq - read_quiet))


class ReadState(msgspec.Struct, frozen=True, kw_only=True):
    """A member's place in the group's log, and the log's end.

    ``head_quiet`` and ``read_quiet`` count the entries up to each that are not to be counted as
    unread.
    """

    head_seq: int = 0
    read_seq: int = 0
    last_message_time_ms: int = 0
    head_quiet: int = 0
    read_quiet: int = 0


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """All that one decision may look at; never a member list.

    ``members`` holds the actor and the users whom the command names, None for those who are no
    members; ``remembered`` likewise. ``group_counts`` says for each user who may be added in how
    many groups they are. ``handlers`` are the group's owner and admins (None: not looked up),
    ``pending`` what waits for them and for invitees, oldest first, and ``handlers_of`` the owners
    and admins of the groups in those lists. ``entry`` is the one that is to be recalled, ``entries``
    those of several by their numbers, ``last_entries`` the newest of the group's log with their numbers, oldest first. ``quiet_above`` is how many
    quiet entries there are above the number that a reader names. ``cases`` has, for
    each application that is to be handled, the application and a slice of its group.
    ``participant_count`` is how many take part now in a group that stores no membership, and
    ``connected`` who of ``members`` has a connection (None: not looked up).
    ``known_users`` are those of them who are known, None where every user ID will do, and
    ``revocations`` what was revoked of those whose tokens are to be revoked.
    ``fresh_token`` is random text for an ID that the decision gives.
    """

    group: Group | None
    members: Mapping[str, Member | None] = {}
    group_counts: Mapping[str, int] = {}
    known_users: Collection[str] | None = None
    revocations: Mapping[str, "Revocation | None"] = {}
    groups_today: int = 0
    remembered: Mapping[str, Remembered | None] = {}
    attributes: Attributes | None = None
    counters: Counters | None = None
    read_state: ReadState = ReadState()
    entry: "Entry | None" = None
    entries: Mapping[int, "Entry"] = {}
    last_entries: Sequence[tuple[int, "Entry"]] = ()
    quiet_above: int = 0
    handlers: Sequence[str] | None = None
    pending: Mapping[str, Sequence[Application]] = {}
    handlers_of: Mapping[str, Sequence[str]] = {}
    seen: ApplicationsSeen | None = None
    cases: Mapping[str, "Case"] = {}
    participant_count: int = 0
    connected: Collection[str] | None = None
    fresh_token: str = ""


class MoreNeeded(Exception):
    """A decision has to see more than its slice shows: the handlers, their lists, the owner."""


class Case(msgspec.Struct, frozen=True):
    """An application with what deciding it looks at."""

    application: Application
    state: Slice


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to be told, before it has numbers.

    It belongs to the inbox of ``inbox_of``, or, when that is None, to the log of ``group_id``.
    ``joined`` see this entry and what follows in the group's log; ``left`` see this entry and
    nothing after it; ``closes`` ends every membership of the group after this entry. One with
    ``is_quiet`` does not count as unread, one with ``is_passing`` is not the group's last message,
    though it has its number like any other. An entry
    with ``is_stored`` False gets no number and goes to those who are connected now; its ``joined``
    and ``left`` touch a stored membership only where the same decision puts the Member row.
    """

    kind: EventKind
    event: str
    group_id: str
    time_ms: int
    data: Any
    op: int | None = None
    actor_id: str | None = None
    from_id: str | None = None
    message_id: str | None = None
    inbox_of: str | None = None
    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    closes: bool = False
    is_quiet: bool = False
    is_passing: bool = False
    is_stored: bool = True


class Spoke(msgspec.Struct, frozen=True):
    """A member said something: sets the member's last message time, and reads up to it."""

    group_id: str
    user_id: str


class ReadUpTo(msgspec.Struct, frozen=True):
    """A member has read the group's log up to ``seq``, or its end; a position never goes back.

    ``quiet`` of the entries so far did not count as unread.
    """

    group_id: str
    user_id: str
    seq: int
    quiet: int = 0


class PlaceAt(msgspec.Struct, frozen=True):
    """A member's read position is ``seq`` from now on, also if it goes back by that.

    ``quiet`` as in ReadUpTo.
    """

    group_id: str
    user_id: str
    seq: int
    quiet: int = 0


class Redaction(msgspec.Struct, frozen=True):
    """An entry of the group's log keeps its number and gets other data."""

    group_id: str
    seq: int
    data: Any


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a command does: the result for the caller, the rows to write, the entries to tell.

    ``puts`` maps a key to its new row, or to None to delete it. ``counts`` are added to named
    counters (they commute, so they never conflict). Entries are told in this order.
    """

    result: Result
    puts: Mapping[RowKey, Row | None] = {}
    counts: Mapping[str, int] = {}
    spoke: Spoke | None = None
    reads: ReadUpTo | None = None
    places: Sequence[PlaceAt] = ()
    redactions: Sequence[Redaction] = ()
    entries: Sequence[Entry] = ()


MS_PER_DAY: Final = 86_400_000


def groups_of_day_counter(now_ms: int) -> str:
    """Name of the counter of net new groups on the UTC day of ``now_ms``."""
    return f"groups_of_day:{now_ms // MS_PER_DAY}"
