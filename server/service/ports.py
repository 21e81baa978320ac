"""What the service needs of the outside: a store, a clock, random tokens, who is connected.

``tests/storage/contract.py`` is the specification of ``Store``; any adapter runs it. Positions
order everything: each stored entry has one, given by the store under its commit lock, so that
every reader sees a gap-free prefix. ``shard`` names the log that a position counts in; an
embedded store has exactly one, shard 0.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from protocol.vocabulary import GroupType, Role
from server.domain.model import (
    Application,
    Entry,
    Group,
    Member,
    MemberKey,
    PlaceAt,
    ReadState,
    ReadUpTo,
    Redaction,
    Row,
    RowKey,
    Spoke,
    unread_of,
)
from server.service.outbox import OutboxItem


class Unavailable(Exception):
    """The store cannot do this now; nothing was changed. Retry later."""


class OutcomeUnknown(Exception):
    """A commit failed in the middle: it may or may not be there.

    The store is fenced from now on: every later call raises this. The process must end; the
    request ids tell the truth after the restart.
    """


class Version(msgspec.Struct, frozen=True):
    """A row and the position of its last change; position 0 and None when there is no row."""

    position: int
    row: Row | None


class RequestKey(msgspec.Struct, frozen=True):
    """A request id within its user."""

    user_id: str
    request_id: str


class WriteSet(msgspec.Struct, frozen=True, kw_only=True):
    """One decided command, ready to be committed.

    ``expect`` names the rows on which the decision rests, with the positions at which they were
    read; a negative number -n means "as the n-th write set of this same batch (counted from 1)
    leaves it". ``request`` with ``digest`` (of the request's content) and ``reply`` (the
    encoded result) is remembered in the same transaction; None for commands without a caller.
    ``outbox`` is what the operator's own service is told of it.

    With ``is_refusal`` nothing is written or remembered: it is Done if the refusal rests on rows
    that are so, and a Duplicate if the request was done before. What a user asked for is not
    done behind something of the same ``actor_id`` in the batch that met a conflict: it is a
    Conflict too, so that what one user asks for takes effect in the order of asking.
    """

    time_ms: int
    actor_id: str = ""
    is_refusal: bool = False
    expect: Mapping[RowKey, int] = {}
    puts: Mapping[RowKey, Row | None] = {}
    counts: Mapping[str, int] = {}
    spoke: Spoke | None = None
    reads: ReadUpTo | None = None
    places: Sequence[PlaceAt] = ()
    redactions: Sequence[Redaction] = ()
    entries: Sequence[Entry] = ()
    request: RequestKey | None = None
    digest: bytes = b""
    reply: bytes = b""
    outbox: Sequence[OutboxItem] = ()


class Committed(msgspec.Struct, frozen=True):
    """An entry with its numbers.

    ``position`` is its place in the commit order and ``seq`` its number in its log (the group's,
    or the inbox of ``entry.inbox_of``); both are 0 for an entry that is not stored.
    """

    entry: Entry
    position: int
    seq: int


class StoredReply(msgspec.Struct, frozen=True):
    """What a request id remembers: the content's digest, the result, and the group seq it made."""

    digest: bytes
    reply: bytes
    seq: int | None


class Done(msgspec.Struct, frozen=True):
    """Committed and synced. ``position`` is the log's end after it; rows put have this version.

    ``seq`` is the number of its first entry in a group's log, None without one.
    """

    position: int
    seq: int | None
    committed: Sequence[Committed]


class Duplicate(msgspec.Struct, frozen=True):
    """The request id is known; nothing was written."""

    stored: StoredReply


class Conflict(msgspec.Struct, frozen=True):
    """A row has changed since it was read; nothing was written. Decide again on fresh rows."""


Outcome = Done | Duplicate | Conflict


class Heads(msgspec.Struct, frozen=True):
    """Where the logs end, and where what is kept of them begins.

    Every opening of a store begins a *term* (what Kafka calls a leader epoch and Raft a term), for
    it may be the opening of a copy that lacks the end of what devices have seen. ``epoch`` names
    the current one; no other opening of this data, nor of a copy of it, has that name.
    ``earlier`` names the terms before it, each with the position up to which its cursors are of
    this history: that at which the next term began. What a term has beyond it was lost.

    A cursor at or after ``floor`` can be resumed from; ``position`` is where the log ends.
    ``last_time_ms`` is the time of the newest entry that is kept, 0 without one.
    """

    epoch: str
    position: int
    floor: int
    earlier: Mapping[str, int] = {}
    last_time_ms: int = 0


class Missed(msgspec.Struct, frozen=True):
    """Entries that a user may see, in commit order.

    All of them with a position up to ``until`` (and after the one asked for) are here; there may
    be more after it when ``has_more``. When ``floor`` is above the one asked for, some may be
    lacking: entries up to it are no longer kept.
    """

    entries: Sequence[Committed]
    until: int
    has_more: bool
    floor: int


class Followed(msgspec.Struct, frozen=True):
    """The groups that a user is in, as of one position.

    ``discards`` are those of them whose messages the user does not want to be sent.
    """

    position: int
    group_ids: Collection[str]
    discards: Collection[str]


class GroupHead(msgspec.Struct, frozen=True):
    """What a group's log tells of it: its last number, and when the last message was sent.

    ``first_seq`` is the first number that is still kept, or the next one when none is. ``quiet`` of
    its entries do not count as unread.
    """

    seq: int = 0
    last_message_time_ms: int = 0
    first_seq: int = 1
    quiet: int = 0


class MemberState(msgspec.Struct, frozen=True):
    """A membership with what the store adds: read position and visibility.

    The member sees entries of the group's log from ``joined_position`` on, which is to say those
    with a number above ``joined_seq``. A new member has read up to and with the own arrival.
    ``read_quiet`` of the entries up to ``read_seq`` do not count as unread.
    """

    member: Member
    read_seq: int
    last_message_time_ms: int
    joined_position: int
    joined_seq: int
    read_quiet: int = 0


class JoinedRow(msgspec.Struct, frozen=True):
    """A group that a user is in, with the user's own membership."""

    group: Group
    head: GroupHead
    state: MemberState

    @property
    def unread(self) -> int:
        """How many entries the user has not read; the type may not count them."""
        head, state = self.head, self.state
        return unread_of(head.seq, head.quiet, state.read_seq, state.read_quiet)


class Store(Protocol):
    """Durable groups, logs, inboxes and request ids.

    Every method raises OutcomeUnknown once the store is fenced, and Unavailable when it cannot
    serve now. Reads see everything that was committed before they were called.
    """

    async def commit(self, shard: int, batch: Sequence[WriteSet]) -> Sequence[Outcome]:
        """Apply ``batch`` in order in one durable transaction; one outcome for each.

        Each write set stands alone: one that is a Duplicate or a Conflict changes nothing of
        the others, except that those which expect its rows conflict too. The request id is
        looked at first, then the expectations. Entries get positions in the order of the batch
        and of the entries, and dense numbers in their logs. A write set that puts rows but
        stores no entry still takes one position. When this returns, all of it is synced.

        Raises:
            Unavailable: nothing of the batch was applied.
            OutcomeUnknown: the transaction's end failed; the store is fenced.
        """

    async def load(self, keys: Collection[RowKey]) -> Mapping[RowKey, Version]:
        """The rows of ``keys`` in one snapshot, every key answered."""

    async def group_counts(self, user_ids: Collection[str]) -> Mapping[str, int]:
        """In how many living groups each of the users is, every user answered."""

    async def counters(self, names: Collection[str]) -> Mapping[str, int]:
        """The values of named counters, 0 for one that was never added to."""

    async def replay(self, request: RequestKey) -> StoredReply | None:
        """What a request id remembers."""

    async def heads(self, shard: int) -> Heads:
        """Where the log is now."""

    async def tail(self, shard: int, after: int, limit: int) -> Sequence[Committed]:
        """Up to ``limit`` entries of any log with a position above ``after``, in order."""

    async def missed(self, shard: int, user_id: str, after: int, upto: int, limit: int) -> Missed:
        """Up to ``limit`` entries that ``user_id`` may see with after < position <= upto.

        These are the user's inbox, and of each group the entries within the user's membership
        intervals: from the position at which an entry named the user in ``joined`` up to and
        with the one that named the user in ``left`` or closed the group. Messages of a group
        that the user discards are left out. The cost follows what moved, not how many groups.
        """

    async def missed_count(self, shard: int, user_id: str, after: int, upto: int) -> int:
        """About how many entries ``missed`` would give; never less than half of them."""

    async def followed(self, user_ids: Collection[str]) -> Mapping[str, Followed]:
        """The living groups that each of the users is in, in one snapshot, every user answered."""

    async def group_heads(self, group_ids: Collection[str]) -> Mapping[str, GroupHead]:
        """What the logs of these groups tell, every group answered."""

    async def history(
        self, group_id: str, above: int, below: int, limit: int, *, newest: bool
    ) -> Sequence[Committed]:
        """Up to ``limit`` entries of a group's log with above < seq < below, oldest first.

        When there are more, the ``newest`` of them, or else the oldest. Entries that are no
        longer kept are left out.
        """

    async def member_states(
        self, group_id: str, user_ids: Collection[str]
    ) -> Mapping[str, MemberState]:
        """The memberships of those users who are members."""

    async def members(
        self,
        group_id: str,
        after_user_id: str,
        limit: int,
        roles: Collection[Role],
        offset: int = 0,
    ) -> Sequence[MemberState]:
        """Up to ``limit`` members with one of ``roles``, ordered by user ID, above the given.

        After the first ``offset`` of these.
        """

    async def groups_of(
        self, user_id: str, after_position: int, limit: int, group_type: GroupType | None
    ) -> Sequence[JoinedRow]:
        """Up to ``limit`` living groups of the user in the order of joining.

        Only those joined at a position above ``after_position``.
        """

    async def groups_version(self, user_id: str) -> int:
        """A number that changes whenever any row of ``groups_of`` or its count may have changed."""

    async def read_states(self, keys: Collection[MemberKey]) -> Mapping[MemberKey, ReadState]:
        """Where these members are in their groups' logs, every key answered."""

    async def quiet_above(self, group_id: str, seq: int) -> int:
        """How many entries of a group's log above ``seq`` do not count as unread.

        Of those that are kept.
        """

    async def handlers(self, group_ids: Collection[str]) -> Mapping[str, Sequence[str]]:
        """The owner and admins of each group, ordered by user ID, every group answered."""

    async def pending(
        self, user_ids: Collection[str], limit: int
    ) -> Mapping[str, Sequence[Application]]:
        """Up to ``limit`` of the oldest that wait for each user, oldest first, every user answered.

        Waiting for a user are the PENDING applications of living groups of which the user is
        owner or admin, except those that need the invitee, and those that need the user as
        invitee.
        """

    async def applications_for(
        self, user_id: str, before: tuple[int, str] | None, limit: int
    ) -> Sequence[Application]:
        """Up to ``limit`` applications that wait for the user or did, newest first.

        Ordered by ``created_ms`` and ``application_id``, both descending; ``before`` names the
        last one of the page before. DROPPED ones are left out.
        """

    async def unread_applications(self, user_id: str) -> int:
        """How many wait for the user that are newer than what the user has seen."""

    async def group_ids(
        self, group_type: GroupType | None, offset: int, limit: int
    ) -> tuple[Sequence[str], int]:
        """Up to ``limit`` IDs of living groups of the type, after the first ``offset`` of them.

        Ordered by group ID; and how many there are in all, in the same snapshot.
        """

    async def muted(
        self, group_id: str, now_ms: int, offset: int, limit: int
    ) -> Sequence[tuple[str, int]]:
        """Up to ``limit`` who are muted in a living group beyond ``now_ms``, and until when.

        Its members, and those whose mute it remembers; by user ID, after the first ``offset``.
        """

    async def banned(
        self, group_id: str, now_ms: int, offset: int, limit: int
    ) -> Sequence[tuple[str, int]]:
        """Up to ``limit`` who are banned from a living group beyond ``now_ms``, and until when.

        By user ID, after the first ``offset``.
        """

    async def revocations(self) -> Mapping[str, int]:
        """By user, the Unix second up to which what was issued for that user is good no longer."""

    async def idle_groups(self, before_ms: int, limit: int) -> Sequence[str]:
        """Up to ``limit`` living groups without a message or change of their row since then.

        Nor with any entry that their log ends with since then.
        """

    async def trim(self, shard: int, before_ms: int, limit: int) -> int:
        """Let go of up to ``limit`` of the oldest entries told before ``before_ms``.

        Always a prefix of the commit order, so that what remains of every log is dense; the
        heads' floor is the last position let go of. Returns how many it were.
        """

    async def purge(self, before_ms: int, limit: int) -> int:
        """Let go of up to ``limit`` groups closed, and applications handled, before ``before_ms``.

        A group goes only when its last entry is trimmed; with it go its members, memberships,
        marks, attributes and counters, and its ID is free. Returns how many it were.
        """

    async def forget_requests(self, before_ms: int, limit: int) -> int:
        """Forget up to ``limit`` request ids stored before ``before_ms``; how many it were."""

    async def close(self) -> None:
        """Finish what was begun, and let go of everything. May be called twice."""


class Clock(Protocol):
    """Time for the whole server."""

    def now_ms(self) -> int:
        """Unix time in milliseconds; never less than it said before."""

    def monotonic_s(self) -> float:
        """Seconds of a clock that never jumps, for intervals."""


class Tokens(Protocol):
    """Randomness for the whole server."""

    def token(self) -> str:
        """13 or more characters ``[a-z2-7]`` that nobody can guess."""


class DevicePresence(msgspec.Struct, frozen=True):
    """A connected device."""

    device_id: str
    platform: str
    connected_ms: int
    session_id: str


class Presence(Protocol):
    """Who is connected now, and who takes part in groups that store no membership."""

    def devices_of(self, user_id: str) -> Sequence[DevicePresence]:
        """The user's connected devices in the order of connecting."""

    def participant_since_ms(self, group_id: str, user_id: str) -> int | None:
        """Since when the user takes part in an AVChatRoom, or None."""

    def participations_of(self, user_id: str) -> Mapping[str, int]:
        """The AVChatRooms in which the user takes part, each with the time since when."""

    def participant_count(self, group_id: str) -> int:
        """How many users take part in an AVChatRoom now."""

    def newest_participants(self, group_id: str, limit: int) -> Sequence[tuple[str, int]]:
        """Up to ``limit`` user IDs with their times of joining, newest first."""


class Sessions(Protocol):
    """The connections of users, to be ended."""

    def sign_out(self, user_id: str) -> int:
        """Close every connection of the user: its token was revoked; returns how many it were."""


class Publisher(Protocol):
    """Who tells the devices."""

    def publish(self, committed: Sequence[Committed], position: int) -> None:
        """Tell these entries, in order; the log's end is now ``position``. Never fails or waits."""
