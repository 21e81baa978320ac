"""One batch of commands on its way: each is decided on what the ones before it leave behind."""

from collections.abc import Mapping, Sequence

import msgspec

from protocol.vocabulary import GroupType, Role
from server.domain.decide import Needs
from server.domain.model import (
    Decision,
    Group,
    GroupKey,
    Member,
    MemberKey,
    RowKey,
    Slice,
    groups_of_day_counter,
)
from server.service.ports import Presence, RequestKey, Version, WriteSet

_ENCODE = msgspec.json.Encoder().encode


def row_keys(needs: Needs) -> list[RowKey]:
    """The rows that a slice is made of."""
    if needs.group_id is None:
        return []
    group_id = needs.group_id
    return [GroupKey(group_id), *(MemberKey(group_id, user_id) for user_id in needs.member_ids)]


class BatchView:
    """The rows and counts as they are within a batch, before it is committed.

    Args:
        rows: every row that any command of the batch needs, as read from the store.
        group_counts: in how many groups the users are that may be added.
        counters: named counters.
        presence: who takes part in groups that store no membership.
    """

    def __init__(
        self,
        rows: Mapping[RowKey, Version],
        group_counts: Mapping[str, int],
        counters: Mapping[str, int],
        presence: Presence,
    ) -> None:
        self._rows = dict(rows)
        self._group_counts = dict(group_counts)
        self._counters = dict(counters)
        self._presence = presence
        self._taking_part: dict[tuple[str, str], int | None] = {}
        self.write_sets: list[WriteSet] = []

    def slice_of(self, needs: Needs, fresh_token: str, now_ms: int) -> Slice:
        """What a decision with these needs looks at."""
        group = self._group(needs.group_id)
        return Slice(
            group=group,
            members={user_id: self._member(group, user_id) for user_id in needs.member_ids},
            group_counts={u: self._group_counts.get(u, 0) for u in needs.counted_user_ids},
            groups_today=self._counters.get(groups_of_day_counter(now_ms), 0)
            if needs.groups_today
            else 0,
            participant_count=self._participant_count(group),
            fresh_token=fresh_token,
        )

    def add(
        self,
        needs: Needs,
        decision: Decision,
        now_ms: int,
        request: RequestKey | None,
        digest: bytes,
    ) -> int:
        """Take a decision into the batch; returns its place, counted from 0."""
        self.write_sets.append(
            WriteSet(
                time_ms=now_ms,
                expect=self._expectations(needs, decision),
                puts=decision.puts,
                counts=decision.counts,
                spoke=decision.spoke,
                entries=decision.entries,
                request=request,
                digest=digest,
                reply=_ENCODE(decision.result),
            )
        )
        place = len(self.write_sets)
        for key, row in decision.puts.items():
            self._count_membership(key, before=self._row(key), after=row)
            self._rows[key] = Version(-place, row)
        self._note_participation(decision)
        for name, delta in decision.counts.items():
            self._counters[name] = self._counters.get(name, 0) + delta
        return place - 1

    def _expectations(self, needs: Needs, decision: Decision) -> dict[RowKey, int]:
        expect = {key: self._position(key) for key in row_keys(needs)}
        for key in decision.puts:
            expect.setdefault(key, self._position(key))
        return expect

    def _position(self, key: RowKey) -> int:
        version = self._rows.get(key)
        # A row that nobody asked for is one that the decision makes: there must be none yet.
        return 0 if version is None else version.position

    def _row(self, key: RowKey) -> object:
        version = self._rows.get(key)
        return None if version is None else version.row

    def _group(self, group_id: str | None) -> Group | None:
        row = self._row(GroupKey(group_id)) if group_id is not None else None
        return row if isinstance(row, Group) else None

    def _member(self, group: Group | None, user_id: str) -> Member | None:
        if group is None:
            return None
        row = self._row(MemberKey(group.group_id, user_id))
        if isinstance(row, Member):
            return row
        if group.type is not GroupType.AVCHATROOM:
            return None
        since_ms = self._participant_since_ms(group.group_id, user_id)
        if since_ms is None:
            return None
        return Member(
            group_id=group.group_id, user_id=user_id, role=Role.MEMBER, join_time_ms=since_ms
        )

    def _participant_since_ms(self, group_id: str, user_id: str) -> int | None:
        if (group_id, user_id) in self._taking_part:
            return self._taking_part[group_id, user_id]
        return self._presence.participant_since_ms(group_id, user_id)

    def _participant_count(self, group: Group | None) -> int:
        if group is None or group.type is not GroupType.AVCHATROOM:
            return 0
        return self._presence.participant_count(group.group_id)

    def _note_participation(self, decision: Decision) -> None:
        """Unstored memberships begin and end within the batch too."""
        for entry in decision.entries:
            if not entry.is_stored:
                for user_id in entry.joined:
                    self._taking_part[entry.group_id, user_id] = entry.time_ms
                for user_id in entry.left:
                    self._taking_part[entry.group_id, user_id] = None

    def _count_membership(self, key: RowKey, *, before: object, after: object) -> None:
        if isinstance(key, MemberKey):
            change = (after is not None) - (before is not None)
            self._group_counts[key.user_id] = self._group_counts.get(key.user_id, 0) + change


def merged_needs(all_needs: Sequence[Needs]) -> tuple[list[RowKey], list[str]]:
    """The rows of several commands, and the users whose groups are counted, each named once."""
    keys = dict.fromkeys(key for needs in all_needs for key in row_keys(needs))
    users = dict.fromkeys(user for needs in all_needs for user in needs.counted_user_ids)
    return list(keys), list(users)
