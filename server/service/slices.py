"""Reads beforehand what the commands of a batch will look at: rows from memory or the store."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from server.domain.decide import Needs
from server.domain.model import (
    Application,
    ApplicationKey,
    ApplicationsSeenKey,
    AttributesKey,
    CountersKey,
    Entry,
    Group,
    GroupKey,
    KnownUserKey,
    MemberKey,
    ReadState,
    RememberedKey,
    RevocationKey,
    RowKey,
    groups_of_day_counter,
)
from server.domain.rules import Rulebook
from server.service.batch import BatchView, Extras
from server.service.ports import Presence, Store, Version
from server.service.row_cache import RowCache

_PENDING_AT_MOST: Final = 1_000
"""How much of a list is looked at where the operator has set no limit to it."""


class SliceLoader:
    """Makes the view of a batch; keeps recently used rows in memory.

    Only rows are kept, with their versions: the commit looks at the versions again, so that a
    row that is out of date costs a second try and never a wrong decision.
    """

    def __init__(self, store: Store, presence: Presence, rulebook: Rulebook) -> None:
        self._store = store
        self._presence = presence
        self._rulebook = rulebook
        self._rows = RowCache()

    @property
    def rows(self) -> RowCache:
        """What is kept."""
        return self._rows

    def remember(self, key: RowKey, version: Version) -> None:
        """A row was committed."""
        self._rows.put(key, version)

    def clear(self) -> None:
        """Read everything anew."""
        self._rows.clear()

    def forget(self, needs: Needs) -> None:
        """Read the rows of these needs anew the next time."""
        if needs.is_wide:
            # Its rows are known only by reading; such a retry is rare.
            self._rows.clear()
            return
        for key in _plain_keys(needs):
            self._rows.forget(key)
            if isinstance(key, GroupKey):
                version = self._rows.get(key)
                group = None if version is None else version.row
                for late in self._late_keys(needs, group):
                    self._rows.forget(late)

    async def view(self, all_needs: Sequence[Needs], now_ms: int) -> BatchView:
        """What these commands look at; only the first of them may be wide.

        Raises:
            Unavailable, OutcomeUnknown: from the store.
        """
        plain = dict.fromkeys(key for needs in all_needs for key in _plain_keys(needs))
        if self._rulebook.requires_known_users:
            plain.update(
                (KnownUserKey(user_id), None)
                for needs in all_needs
                for user_id in needs.counted_user_ids
            )
        rows = await self._load(plain)
        late = dict.fromkeys(
            key
            for needs in all_needs
            if needs.group_id is not None
            for key in self._late_keys(needs, rows[GroupKey(needs.group_id)].row)
        )
        rows.update(await self._load([key for key in late if key not in rows]))
        extras = await self._extras(all_needs, rows, now_ms)
        return BatchView(rows, extras, self._presence, self._rulebook)

    def _late_keys(self, needs: Needs, group: object) -> list[RowKey]:
        """The rows that only the group's own row tells of."""
        if not isinstance(group, Group):
            return []
        keys: list[RowKey] = []
        if needs.owner and group.owner_id:
            keys.append(MemberKey(group.group_id, group.owner_id))
        if needs.remembers_participants and not self._rulebook.traits[group.type].stores_members:
            keys += [RememberedKey(group.group_id, user_id) for user_id in needs.remembered_ids]
        return keys

    async def _load(self, keys: Collection[RowKey]) -> dict[RowKey, Version]:
        rows: dict[RowKey, Version] = {}
        unknown: list[RowKey] = []
        for key in keys:
            version = self._rows.get(key)
            if version is None:
                unknown.append(key)
            else:
                rows[key] = version
        if unknown:
            fresh = await self._store.load(unknown)
            for key, version in fresh.items():
                self._rows.put(key, version)
            rows.update(fresh)
        return rows

    async def _extras(
        self, all_needs: Sequence[Needs], rows: dict[RowKey, Version], now_ms: int
    ) -> Extras:
        users = dict.fromkeys(user for needs in all_needs for user in needs.counted_user_ids)
        states = [
            MemberKey(needs.group_id, needs.read_state_of)
            for needs in all_needs
            if needs.group_id is not None and needs.read_state_of is not None
        ]
        counters: Mapping[str, int] = {}
        if any(needs.groups_today for needs in all_needs):
            counters = await self._store.counters([groups_of_day_counter(now_ms)])
        read_states: Mapping[MemberKey, ReadState] = {}
        if states:
            read_states = await self._store.read_states(dict.fromkeys(states))
        extras = Extras(
            group_counts=await self._store.group_counts(users) if users else {},
            counters=counters,
            read_states=read_states,
        )
        first = all_needs[0]
        extras = await self._quiet(all_needs, extras)
        return await self._widened(first, extras, rows) if first.is_wide else extras

    async def _quiet(self, all_needs: Sequence[Needs], extras: Extras) -> Extras:
        """How much is quiet above where readers want to have read; most groups have none such."""
        found: dict[tuple[str, int], int] = {}
        for needs in all_needs:
            group_id, user_id, seq = needs.group_id, needs.read_state_of, needs.read_seq
            if group_id is None or user_id is None or seq is None:
                continue
            state = extras.read_states[MemberKey(group_id, user_id)]
            if state.read_quiet < state.head_quiet and seq < state.head_seq:
                found[group_id, seq] = await self._store.quiet_above(group_id, seq)
        return msgspec.structs.replace(extras, quiet_above=found) if found else extras

    async def _widened(self, needs: Needs, extras: Extras, rows: dict[RowKey, Version]) -> Extras:
        """What only a wide command looks at; adds the rows of its cases to ``rows``."""
        changes: dict[str, object] = {}
        group_ids: list[str] = []
        if needs.group_id is not None and needs.entry_seq is not None:
            changes["entry"] = await self._entry(needs.group_id, needs.entry_seq)
        if needs.group_id is not None and needs.entry_seqs:
            found = [(seq, await self._entry(needs.group_id, seq)) for seq in needs.entry_seqs]
            changes["entries"] = {seq: entry for seq, entry in found if entry is not None}
        if needs.group_id is not None and needs.last_entries:
            newest = await self._store.history(
                needs.group_id, 0, 2**53, needs.last_entries, newest=True
            )
            changes["last_entries"] = [(told.seq, told.entry) for told in newest]
        if needs.group_id is not None and needs.handlers:
            group_ids.append(needs.group_id)
        invitees = list(needs.counted_user_ids)
        if needs.application_ids:
            cases = await self._cases(needs, rows)
            group_ids += [case.group_id for case in cases]
            invitees += [case.user_id for case in cases]
            changes["group_counts"] = await self._store.group_counts(invitees)
        if group_ids:
            changes.update(await self._lists(group_ids, invitees, rows))
            if needs.handlers:
                handlers_of = changes["handlers_of"]
                assert isinstance(handlers_of, dict)
                changes["handlers"] = handlers_of[needs.group_id]
        return msgspec.structs.replace(extras, **changes)

    async def _entry(self, group_id: str, seq: int) -> Entry | None:
        found = await self._store.history(group_id, seq - 1, seq + 1, 1, newest=False)
        return found[0].entry if found else None

    async def _cases(self, needs: Needs, rows: dict[RowKey, Version]) -> Sequence[Application]:
        applications = [
            row
            for name in needs.application_ids
            if isinstance(row := rows[ApplicationKey(name)].row, Application)
        ]
        keys: dict[RowKey, None] = {}
        for application in applications:
            group_id = application.group_id
            keys[GroupKey(group_id)] = None
            for user_id in (*needs.member_ids, application.user_id):
                keys[MemberKey(group_id, user_id)] = None
            keys[RememberedKey(group_id, application.user_id)] = None
            if self._rulebook.requires_known_users:
                keys[KnownUserKey(application.user_id)] = None
        rows.update(await self._load(keys))
        return applications

    async def _lists(
        self, group_ids: Sequence[str], invitees: Sequence[str], rows: dict[RowKey, Version]
    ) -> dict[str, object]:
        """The handlers of the groups, what waits for them and for the invitees.

        The rows of what waits go to ``rows``: an application may be replaced or dropped.
        """
        handlers = dict(await self._store.handlers(dict.fromkeys(group_ids)))
        users = dict.fromkeys([*(user for users in handlers.values() for user in users), *invitees])
        most = self._rulebook.limit("PENDING_APPLICATIONS") or _PENDING_AT_MOST
        pending = await self._store.pending(users, 2 * most)
        waiting_keys = dict.fromkeys(
            ApplicationKey(application.application_id)
            for waiting in pending.values()
            for application in waiting
        )
        rows.update(await self._load(waiting_keys))
        others = dict.fromkeys(
            application.group_id
            for waiting in pending.values()
            for application in waiting
            if application.group_id not in handlers
        )
        if others:
            handlers.update(await self._store.handlers(others))
        return {"pending": pending, "handlers_of": handlers}


def _plain_keys(needs: Needs) -> list[RowKey]:
    """The rows that the needs name by themselves."""
    keys: list[RowKey] = [ApplicationKey(name) for name in needs.application_ids]
    if needs.seen_by is not None:
        keys.append(ApplicationsSeenKey(needs.seen_by))
    keys += [RevocationKey(user_id) for user_id in needs.revoked_ids]
    if needs.group_id is None:
        return keys
    group_id = needs.group_id
    keys.append(GroupKey(group_id))
    keys += [MemberKey(group_id, user_id) for user_id in needs.member_ids]
    if not needs.remembers_participants:
        keys += [RememberedKey(group_id, user_id) for user_id in needs.remembered_ids]
    if needs.attributes:
        keys.append(AttributesKey(group_id))
    if needs.counters:
        keys.append(CountersKey(group_id))
    return keys
