"""What must hold of a memory store after every step, and who may see what of its log."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from protocol.events import Event
from protocol.vocabulary import EventKind, GroupType, Notice, ReceiveOption, Role
from server.domain.model import (
    Attributes,
    AttributesKey,
    Group,
    Member,
    MemberKey,
    Remembered,
)
from server.service.ports import Committed
from server.storage.memory import MemoryStore
from server.storage.memory_tables import Tables

Name = tuple[str, str, int]
"""Which log an entry is in, whose it is, and its number there."""


def tables_of(store: MemoryStore) -> Tables:
    return store._tables


def dump(tables: Tables) -> dict[str, str]:
    """Everything that the store holds, by table, as text."""
    return {name: repr(value) for name, value in vars(tables).items()}


def changed_tables(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return [name for name in before if before[name] != after[name]]


class GroupState(NamedTuple):
    """What of a group its version counts, and the version."""

    version: int
    shown: object


def group_states(tables: Tables) -> dict[str, GroupState]:
    """Every group that was ever there."""
    members: defaultdict[str, list[Member]] = defaultdict(list)
    mutes: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for key, version in tables.rows.items():
        if isinstance(key, MemberKey) and isinstance(version.row, Member):
            plain = replace(version.row, receive_option=ReceiveOption.ACCEPT_AND_NOTIFY)
            members[key.group_id].append(plain)
        elif isinstance(version.row, Remembered) and version.row.mute_until_ms:
            mutes[version.row.group_id].append((version.row.user_id, version.row.mute_until_ms))
    states = {}
    for group in _groups(tables):
        attributes = tables.row(AttributesKey(group.group_id))
        shown = (
            replace(group, version=0, last_info_time_ms=0),
            sorted(members[group.group_id], key=lambda member: member.user_id),
            attributes.values if isinstance(attributes, Attributes) else {},
            # Of those who take part in an AVChatRoom this is all that is kept.
            sorted(mutes[group.group_id]) if group.type is GroupType.AVCHATROOM else (),
        )
        states[group.group_id] = GroupState(group.version, shown)
    return states


def _groups(tables: Tables) -> Iterator[Group]:
    for version in tables.rows.values():
        if isinstance(version.row, Group):
            yield version.row


def assert_books_are_right(
    tables: Tables, ownerless: Collection[str], limits: Mapping[str, int]
) -> None:
    """One owner, members counted, numbers within the log; ``ownerless`` are made so."""
    counts: defaultdict[str, int] = defaultdict(int)
    for group in _groups(tables):
        if group.closed_ms:
            assert not tables.lives(group.group_id)
            continue
        assert tables.lives(group.group_id)
        head = tables.head(group.group_id)
        rows = [
            version.row
            for key, version in tables.rows.items()
            if isinstance(key, MemberKey)
            and key.group_id == group.group_id
            and isinstance(version.row, Member)
        ]
        owners = [member.user_id for member in rows if member.role is Role.OWNER]
        assert owners == ([group.owner_id] if group.owner_id else []), group
        may_be_ownerless = group.type is GroupType.WORK or group.group_id in ownerless
        assert owners or may_be_ownerless, f"nobody owns {group}"
        assert group.member_count == len(rows), group
        assert not group.max_member_count or len(rows) <= group.max_member_count, group
        if group.type is GroupType.AVCHATROOM:
            assert owners == [member.user_id for member in rows], "its membership is not stored"
        for member in rows:
            counts[member.user_id] += 1
            mark = tables.marks[MemberKey(group.group_id, member.user_id)]
            assert 0 <= mark.joined_seq <= mark.read_seq <= head.seq, (group, member, mark)
    most = limits["GROUPS_PER_USER"]
    for user_id, count in counts.items():
        assert count <= most, f"{user_id} is in {count} groups"
        assert count == sum(1 for _ in tables.living(user_id))


class Interval:
    """A membership: whether the messages of it are pushed goes by what the member has chosen."""

    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        self.discards = False


class Seen(NamedTuple):
    """An entry that a user may see; ``interval`` is None for the user's own inbox."""

    position: int
    name: Name
    is_message: bool
    interval: Interval | None


class Visibility:
    """Follows the log entry by entry, and knows who may see which."""

    def __init__(self) -> None:
        self.position = 0
        self.seen: defaultdict[str, list[Seen]] = defaultdict(list)
        self._inside: dict[tuple[str, str], Interval] = {}
        self._numbers: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._ended: set[str] = set()

    def take(self, told: Committed) -> dict[str, bool]:
        """The next entry: positions rise, and every log is numbered without a hole.

        Returns who may see it, and whether it is pushed to that user's devices.
        """
        entry, group_id = told.entry, told.entry.group_id
        assert entry.is_stored
        assert told.position > self.position, "positions rise"
        self.position = told.position
        name = name_of_entry(told)
        whose = name[1]
        self._numbers[name[:2]] += 1
        assert told.seq == self._numbers[name[:2]], f"numbered without a hole: {told}"
        is_message = entry.kind is EventKind.MESSAGE
        for user_id in entry.joined:
            assert (user_id, entry.group_id) not in self._inside, f"{user_id} is in it: {told}"
            self._inside[user_id, entry.group_id] = Interval(entry.group_id)
        seen_by: dict[str, bool] = {}
        if entry.inbox_of is not None:
            self.seen[whose].append(Seen(told.position, name, is_message, None))
            seen_by[whose] = True
            if entry.event == Notice.RECEIVE_OPTION_CHANGED and (whose, group_id) in self._inside:
                option = entry.data["receive_option"]
                self._inside[whose, group_id].discards = option == ReceiveOption.DISCARD
        else:
            assert whose not in self._ended, f"{whose} has ended: {told}"
            for (user_id, inside_of), interval in self._inside.items():
                if inside_of == whose:
                    self.seen[user_id].append(Seen(told.position, name, is_message, interval))
                    seen_by[user_id] = not (is_message and interval.discards)
        for key in list(self._inside):
            if key[1] == entry.group_id and (entry.closes or key[0] in entry.left):
                del self._inside[key]
        if entry.closes:
            self._ended.add(entry.group_id)
        return seen_by

    def note_options(self, tables: Tables) -> None:
        """After a step: who is a member is who may see, and what each wants pushed."""
        rows = {
            (key.user_id, key.group_id): version.row
            for key, version in tables.rows.items()
            if isinstance(key, MemberKey)
            and isinstance(version.row, Member)
            and tables.lives(key.group_id)
        }
        assert rows.keys() == self._inside.keys(), "who sees the log is who is a member"
        for key, interval in self._inside.items():
            interval.discards = rows[key].receive_option is ReceiveOption.DISCARD

    def missed_by(self, user_id: str, after: int) -> list[Name]:
        """What a device is told that comes back now from the position ``after``."""
        seen = self.seen[user_id]
        start = bisect_right([one.position for one in seen], after)
        return [one.name for one in seen[start:] if not _is_unwanted(one)]

    def history_of(self, user_id: str, group_id: str) -> list[int]:
        """The numbers of the group's log that a member may read, from the present membership."""
        interval = self._inside[user_id, group_id]
        return [one.name[2] for one in self.seen[user_id] if one.interval is interval]

    def length_of(self, group_id: str) -> int:
        """How many entries the group's log has."""
        return self._numbers["group", group_id]


def _is_unwanted(seen: Seen) -> bool:
    return seen.is_message and seen.interval is not None and seen.interval.discards


def name_of_entry(told: Committed) -> Name:
    """The name of an entry of the log."""
    inbox_of = told.entry.inbox_of
    return (
        ("group", told.entry.group_id, told.seq)
        if inbox_of is None
        else ("inbox", inbox_of, told.seq)
    )


def name_of_event(event: Event, user_id: str) -> Name:
    """The name of a stored event that the user's device received."""
    if event.inbox_seq is not None:
        assert event.seq is None, "an event is in one log"
        return ("inbox", user_id, event.inbox_seq)
    assert event.seq is not None
    return ("group", event.group_id, event.seq)


def is_refusal_known(error: Mapping[str, Any]) -> bool:
    """Whether users can bring the refusal about: nothing broke."""
    return error["name"] not in ("INTERNAL", "OUTCOME_UNKNOWN", "UNAVAILABLE")
