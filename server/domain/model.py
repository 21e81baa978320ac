"""The nouns of the rules: groups, members, who acts, what is decided, what is told."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from protocol.results import Result
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


class GroupKey(msgspec.Struct, frozen=True):
    """Names a Group row."""

    group_id: str


class MemberKey(msgspec.Struct, frozen=True):
    """Names a Member row."""

    group_id: str
    user_id: str


RowKey = GroupKey | MemberKey
Row = Group | Member


class Actor(msgspec.Struct, frozen=True):
    """Who asks: the user in whose name it happens, and whether the operator is behind it."""

    user_id: str
    is_app_admin: bool = False


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """All that one decision may look at; never a member list.

    ``members`` holds the actor and the users whom the command names, None for those who are no
    members. ``group_counts`` says for each user who may be added in how many groups they are.
    ``participant_count`` is how many take part now in a group that stores no membership.
    ``fresh_token`` is random text for an ID that the decision gives.
    """

    group: Group | None
    members: Mapping[str, Member | None] = {}
    group_counts: Mapping[str, int] = {}
    groups_today: int = 0
    participant_count: int = 0
    fresh_token: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to be told, before it has numbers.

    It belongs to the inbox of ``inbox_of``, or, when that is None, to the log of ``group_id``.
    ``joined`` see this entry and what follows in the group's log; ``left`` see this entry and
    nothing after it; ``closes`` ends every membership of the group after this entry. An entry
    with ``is_stored`` False gets no number and goes to those who are connected now.
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
    is_stored: bool = True


class Spoke(msgspec.Struct, frozen=True):
    """A member said something: sets the member's last message time, and reads up to it."""

    group_id: str
    user_id: str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a command does: the result for the caller, the rows to write, the entries to tell.

    ``puts`` maps a key to its new row, or to None to delete it. ``counts`` are added to named
    counters (they commute, so they never conflict). Entries are told in this order.
    """

    result: Result
    puts: Mapping[RowKey, Row | None] = {}
    counts: Mapping[str, int] = {}
    spoke: Spoke | None = None
    entries: Sequence[Entry] = ()


MS_PER_DAY: Final = 86_400_000


def groups_of_day_counter(now_ms: int) -> str:
    """Name of the counter of net new groups on the UTC day of ``now_ms``."""
    return f"groups_of_day:{now_ms // MS_PER_DAY}"
