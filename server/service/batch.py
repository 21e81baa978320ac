"""One batch of commands on its way: each is decided on what the ones before it leave behind."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from protocol.vocabulary import Role
from server.domain.decide import Needs
from server.domain.model import (
    Application,
    ApplicationKey,
    ApplicationsSeen,
    ApplicationsSeenKey,
    Attributes,
    AttributesKey,
    Case,
    Counters,
    CountersKey,
    Decision,
    Entry,
    Group,
    GroupKey,
    KnownUser,
    KnownUserKey,
    Member,
    MemberKey,
    ReadState,
    Remembered,
    RememberedKey,
    Revocation,
    RevocationKey,
    RowKey,
    Slice,
    groups_of_day_counter,
)
from server.domain.rules import Rulebook
from server.service.outbox import OutboxItem
from server.service.ports import Presence, RequestKey, Version, WriteSet

_ENCODE = msgspec.json.Encoder().encode
_R = TypeVar("_R")


class Extras(msgspec.Struct, frozen=True, kw_only=True):
    """What a slice shows beside rows: looked up once for a batch, or for its first command."""

    group_counts: Mapping[str, int] = {}
    counters: Mapping[str, int] = {}
    read_states: Mapping[MemberKey, ReadState] = {}
    quiet_above: Mapping[tuple[str, int], int] = {}
    entry: Entry | None = None
    entries: Mapping[int, Entry] = {}
    last_entries: Sequence[tuple[int, Entry]] = ()
    handlers: Sequence[str] | None = None
    pending: Mapping[str, Sequence[Application]] = {}
    handlers_of: Mapping[str, Sequence[str]] = {}


def participant(
    group: Group, user_id: str, since_ms: int, remembered: Remembered | None, rulebook: Rulebook
) -> Member:
    """Somebody who takes part in a group that stores no membership, as if it did."""
    option = remembered.receive_option if remembered is not None else None
    return Member(
        group_id=group.group_id,
        user_id=user_id,
        role=Role.MEMBER,
        join_time_ms=since_ms,
        mute_until_ms=remembered.mute_until_ms if remembered is not None else 0,
        receive_option=option or rulebook.traits[group.type].receive_option,
    )


class BatchView:
    """The rows and counts as they are within a batch, before it is committed.

    Args:
        rows: every row that any command of the batch needs, as read from the store.
        extras: what else they need.
        presence: who takes part in groups that store no membership.
        rulebook: whether users must be known, and which groups store no membership.
    """

    def __init__(
        self,
        rows: Mapping[RowKey, Version],
        extras: Extras,
        presence: Presence,
        rulebook: Rulebook,
    ) -> None:
        self._rulebook = rulebook
        self._rows = dict(rows)
        self._extras = extras
        self._group_counts = dict(extras.group_counts)
        self._counters = dict(extras.counters)
        self._presence = presence
        self._taking_part: dict[tuple[str, str], int | None] = {}
        self._grown: dict[str, int] = {}
        self._quiet: dict[str, list[int]] = {}
        """By group, which of the entries that it has grown by are quiet, counted from 1."""
        self._read: dict[MemberKey, tuple[int, int]] = {}
        self._placed: dict[MemberKey, tuple[int, int]] = {}
        """Up to where members have read, and how much of it is quiet."""
        self.write_sets: list[WriteSet] = []

    def slice_of(
        self, needs: Needs, fresh_token: str, now_ms: int
    ) -> tuple[Slice, Mapping[RowKey, int]]:
        """What a decision with these needs looks at, and at which versions."""
        seen: dict[RowKey, int] = {}
        state = self._slice(needs, seen, fresh_token)
        if not (needs.groups_today or needs.application_ids):
            return state, seen  # copying a slice costs as much as making one
        cases = {name: self._case(name, needs, seen) for name in needs.application_ids}
        day = groups_of_day_counter(now_ms)
        return (
            msgspec.structs.replace(
                state,
                groups_today=self._counters.get(day, 0) if needs.groups_today else 0,
                cases={name: case for name, case in cases.items() if case is not None},
            ),
            seen,
        )

    def must_wait(self, needs: Needs) -> bool:
        """Whether the needs look at who takes part where this batch has changed just that.

        Such a change shows only when the batch is told; and if the request was a repeat, it does
        not happen at all.
        """
        return bool(self._taking_part) and any(
            (needs.group_id, user_id) in self._taking_part for user_id in needs.member_ids
        )

    def add_refusal(
        self, seen: Mapping[RowKey, int], now_ms: int, actor_id: str, request: RequestKey | None
    ) -> None:
        """Have the commit say whether a refusal rests on rows that are so."""
        self.write_sets.append(
            WriteSet(
                time_ms=now_ms, actor_id=actor_id, is_refusal=True, expect=seen, request=request
            )
        )

    def add(
        self,
        decision: Decision,
        seen: Mapping[RowKey, int],
        now_ms: int,
        actor_id: str,
        request: RequestKey | None,
        digest: bytes,
        outbox: Sequence[OutboxItem] = (),
    ) -> None:
        """Take a decision that rests on the rows ``seen`` into the batch."""
        expect = dict(seen)
        for key in decision.puts:
            # A row that nobody looked at is one that the decision makes: it must not be there.
            expect.setdefault(key, self._position(key))
        self.write_sets.append(
            WriteSet(
                time_ms=now_ms,
                actor_id=actor_id,
                expect=expect,
                puts=decision.puts,
                counts=decision.counts,
                spoke=decision.spoke,
                reads=decision.reads,
                places=decision.places,
                redactions=decision.redactions,
                entries=decision.entries,
                request=request,
                digest=digest,
                reply=_ENCODE(decision.result),
                outbox=outbox,
            )
        )
        place = len(self.write_sets)
        for key, row in decision.puts.items():
            before = self._rows.get(key)
            if isinstance(key, MemberKey):
                self._count_membership(key, before is not None and before.row is not None, row)
            self._rows[key] = Version(-place, row)
        self._note_participation(decision)
        self._note_reading(decision)
        for name, delta in decision.counts.items():
            self._counters[name] = self._counters.get(name, 0) + delta

    def _slice(self, needs: Needs, seen: dict[RowKey, int], fresh_token: str = "") -> Slice:
        if needs.group_id is None:
            return Slice(
                group=None,
                fresh_token=fresh_token,
                seen=self._seen_mark(needs, seen),
                group_counts=self._counted(needs),
                known_users=self._known_users(needs, seen),
                revocations={
                    user_id: self._look(RevocationKey(user_id), Revocation, seen)
                    for user_id in needs.revoked_ids
                },
            )
        group_id = needs.group_id
        group = self._look(GroupKey(group_id), Group, seen)
        users = dict.fromkeys(needs.member_ids)
        if needs.owner and group is not None and group.owner_id:
            users[group.owner_id] = None
        remembered = self._remembered(needs, group, group_id, seen)
        return Slice(
            group=group,
            members={
                user_id: self._member(group, group_id, user_id, remembered.get(user_id), seen)
                for user_id in users
            },
            remembered=remembered,
            attributes=self._look(AttributesKey(group_id), Attributes, seen)
            if needs.attributes
            else None,
            counters=self._look(CountersKey(group_id), Counters, seen) if needs.counters else None,
            read_state=self._read_state(needs, group_id),
            quiet_above=self._quiet_above(needs, group_id),
            entry=self._extras.entry if needs.entry_seq is not None else None,
            entries=self._extras.entries if needs.entry_seqs else {},
            last_entries=self._extras.last_entries if needs.last_entries else (),
            handlers=self._extras.handlers if needs.handlers else None,
            pending=self._extras.pending,
            handlers_of=self._extras.handlers_of,
            participant_count=self._participant_count(group),
            connected=self._connected(group, users),
            known_users=self._known_users(needs, seen),
            group_counts=self._counted(needs),
            fresh_token=fresh_token,
        )

    def _case(self, name: str, needs: Needs, seen: dict[RowKey, int]) -> Case | None:
        application = self._look(ApplicationKey(name), Application, seen)
        if application is None:
            return None
        user_id = application.user_id
        case_needs = Needs(
            group_id=application.group_id,
            member_ids=[*needs.member_ids, user_id],
            remembered_ids=[user_id],
            counted_user_ids=[user_id],
        )
        state = msgspec.structs.replace(
            self._slice(case_needs, seen),
            handlers=self._extras.handlers_of.get(application.group_id, ()),
        )
        return Case(application, state)

    def _look(self, key: RowKey, kind: type[_R], seen: dict[RowKey, int]) -> _R | None:
        """The row of ``key``, noting at which version it was looked at."""
        seen[key] = self._position(key)
        version = self._rows.get(key)
        row = None if version is None else version.row
        return row if isinstance(row, kind) else None

    def _position(self, key: RowKey) -> int:
        version = self._rows.get(key)
        return 0 if version is None else version.position

    def _counted(self, needs: Needs) -> dict[str, int]:
        return {user: self._group_counts.get(user, 0) for user in needs.counted_user_ids}

    def _known_users(self, needs: Needs, seen: dict[RowKey, int]) -> set[str] | None:
        if not self._rulebook.requires_known_users:
            return None
        return {
            user_id
            for user_id in needs.counted_user_ids
            if self._look(KnownUserKey(user_id), KnownUser, seen) is not None
        }

    def _seen_mark(self, needs: Needs, seen: dict[RowKey, int]) -> ApplicationsSeen | None:
        if needs.seen_by is None:
            return None
        return self._look(ApplicationsSeenKey(needs.seen_by), ApplicationsSeen, seen)

    def _remembered(
        self, needs: Needs, group: Group | None, group_id: str, seen: dict[RowKey, int]
    ) -> dict[str, Remembered | None]:
        if needs.remembers_participants and not self._has_participants(group):
            return {}
        return {
            user_id: self._look(RememberedKey(group_id, user_id), Remembered, seen)
            for user_id in needs.remembered_ids
        }

    def _member(
        self,
        group: Group | None,
        group_id: str,
        user_id: str,
        remembered: Remembered | None,
        seen: dict[RowKey, int],
    ) -> Member | None:
        row = self._look(MemberKey(group_id, user_id), Member, seen)
        if row is not None or group is None or not self._has_participants(group):
            return row
        since_ms = self._presence.participant_since_ms(group_id, user_id)
        if since_ms is None:
            return None
        return participant(group, user_id, since_ms, remembered, self._rulebook)

    def _read_state(self, needs: Needs, group_id: str) -> ReadState:
        if needs.read_state_of is None:
            return ReadState()
        key = MemberKey(group_id, needs.read_state_of)
        found = self._extras.read_states.get(key, ReadState())
        placed = self._placed.get(key, (found.read_seq, found.read_quiet))
        read = self._read.get(key, (0, 0))
        return msgspec.structs.replace(
            found,
            head_seq=found.head_seq + self._grown.get(group_id, 0),
            read_seq=max(placed[0], read[0]),
            head_quiet=found.head_quiet + len(self._quiet.get(group_id, ())),
            read_quiet=max(placed[1], read[1]),
        )

    def _quiet_above(self, needs: Needs, group_id: str) -> int:
        """How many quiet entries there are above where the reader wants to have read."""
        if needs.read_state_of is None or needs.read_seq is None:
            return 0
        stored = self._extras.read_states.get(MemberKey(group_id, needs.read_state_of), ReadState())
        above = self._extras.quiet_above.get((group_id, needs.read_seq), 0)
        come = self._quiet.get(group_id, ())
        return above + sum(stored.head_seq + place > needs.read_seq for place in come)

    def _participant_count(self, group: Group | None) -> int:
        if group is None or not self._has_participants(group):
            return 0
        count = self._presence.participant_count(group.group_id)
        for (group_id, user_id), since_ms in self._taking_part.items():
            if group_id == group.group_id:
                was_there = self._presence.participant_since_ms(group_id, user_id) is not None
                count += (since_ms is not None) - was_there
        return count

    def _connected(self, group: Group | None, user_ids: Iterable[str]) -> set[str] | None:
        if not self._has_participants(group):
            return None
        return {user_id for user_id in user_ids if self._presence.devices_of(user_id)}

    def _has_participants(self, group: Group | None) -> bool:
        """Whether the group's membership is not stored (all but the owner's)."""
        return group is not None and not self._rulebook.traits[group.type].stores_members

    def _note_participation(self, decision: Decision) -> None:
        """Unstored memberships begin and end within the batch too."""
        for entry in decision.entries:
            if not entry.is_stored:
                for user_id in entry.joined:
                    self._taking_part[entry.group_id, user_id] = entry.time_ms
                for user_id in entry.left:
                    self._taking_part[entry.group_id, user_id] = None

    def _note_reading(self, decision: Decision) -> None:
        """The logs grow within the batch, and members read on."""
        for entry in decision.entries:
            if entry.is_stored and entry.inbox_of is None:
                grown = self._grown.get(entry.group_id, 0) + 1
                self._grown[entry.group_id] = grown
                if entry.is_quiet:
                    self._quiet.setdefault(entry.group_id, []).append(grown)
        for place in decision.places:
            key = MemberKey(place.group_id, place.user_id)
            self._placed[key] = (place.seq, place.quiet)
            self._read.pop(key, None)
        if decision.reads is not None:
            key = MemberKey(decision.reads.group_id, decision.reads.user_id)
            self._read[key] = (decision.reads.seq, decision.reads.quiet)
        if decision.spoke is not None:
            key = MemberKey(decision.spoke.group_id, decision.spoke.user_id)
            known = self._extras.read_states.get(key)
            if known is not None:
                self._read[key] = (
                    known.head_seq + self._grown.get(key.group_id, 0),
                    known.head_quiet + len(self._quiet.get(key.group_id, ())),
                )

    def _count_membership(self, key: MemberKey, was_there: bool, row: object) -> None:
        change = (row is not None) - was_there
        self._group_counts[key.user_id] = self._group_counts.get(key.user_id, 0) + change
