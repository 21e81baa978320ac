"""What only an operator asks for: whole lists, by offset, of any group and any user."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Final, TypeVar

from protocol.errors import ErrorCode, Refused
from protocol.vocabulary import GroupType, Role
from server.domain.model import (
    Group,
    GroupKey,
    KnownUser,
    KnownUserKey,
    MemberKey,
    Remembered,
    RememberedKey,
    RowKey,
)
from server.domain.rules import Rulebook
from server.service.access import living
from server.service.batch import participant
from server.service.ports import (
    GroupHead,
    JoinedRow,
    MemberState,
    OutcomeUnknown,
    Presence,
    Store,
    Unavailable,
)

_PAGE: Final = 1_000

_T = TypeVar("_T")


async def asked(question: Awaitable[_T]) -> _T:
    """The store's answer.

    Raises:
        Refused: UNAVAILABLE, it cannot answer now.
    """
    try:
        return await question
    except (Unavailable, OutcomeUnknown) as error:
        raise Refused(ErrorCode.UNAVAILABLE) from error


class OperatorQueries:
    """Answers from committed state, to an app_admin, who may see everything.

    Raises:
        Refused: from every method: UNAVAILABLE when the store cannot answer now.
    """

    def __init__(self, store: Store, presence: Presence, rulebook: Rulebook) -> None:
        self._store = store
        self.presence = presence
        self._rulebook = rulebook

    async def group(self, group_id: str) -> Group:
        """The living group.

        Raises:
            Refused: GROUP_NOT_FOUND.
        """
        key = GroupKey(group_id)
        rows = await asked(self._store.load([key]))
        return living(rows[key].row, group_id)

    async def head(self, group_id: str) -> GroupHead:
        """Where the group's log ends and what is kept of it."""
        return (await asked(self._store.group_heads([group_id])))[group_id]

    async def group_ids(
        self, group_type: GroupType | None, offset: int, limit: int
    ) -> tuple[Sequence[str], int]:
        """Up to ``limit`` living groups by ID from ``offset`` on, and how many there are."""
        return await asked(self._store.group_ids(group_type, offset, limit))

    async def joined(self, user_id: str, group_type: GroupType | None) -> Sequence[JoinedRow]:
        """All groups of which the user is a stored member, in the order of joining."""
        rows: list[JoinedRow] = []
        while True:
            after = rows[-1].state.joined_position if rows else 0
            page = await asked(self._store.groups_of(user_id, after, _PAGE, group_type))
            rows += page
            if len(page) < _PAGE:
                return rows

    async def participations(
        self, user_id: str, group_type: GroupType | None
    ) -> Sequence[JoinedRow]:
        """The groups that store no membership and in which the user takes part now.

        In the order of joining; those of which the user is a stored member are not among them.
        """
        since_ms = self.presence.participations_of(user_id)
        group_ids = sorted(since_ms, key=lambda group_id: (since_ms[group_id], group_id))
        if not group_ids:
            return []
        keys: list[RowKey] = [GroupKey(group_id) for group_id in group_ids]
        keys += [RememberedKey(group_id, user_id) for group_id in group_ids]
        keys += [MemberKey(group_id, user_id) for group_id in group_ids]
        rows = await asked(self._store.load(keys))
        heads = await asked(self._store.group_heads(group_ids))
        found: list[JoinedRow] = []
        for group_id in group_ids:
            group = rows[GroupKey(group_id)].row
            if not isinstance(group, Group) or group.closed_ms:
                continue
            if group_type not in (None, group.type) or rows[MemberKey(group_id, user_id)].row:
                continue
            remembered = rows[RememberedKey(group_id, user_id)].row
            member = participant(
                group,
                user_id,
                since_ms[group_id],
                remembered if isinstance(remembered, Remembered) else None,
                self._rulebook,
            )
            found.append(JoinedRow(group, heads[group_id], MemberState(member, 0, 0, 0, 0)))
        return found

    async def members(
        self, group_id: str, roles: set[Role], offset: int, limit: int
    ) -> Sequence[MemberState]:
        """Up to ``limit`` stored members by user ID from ``offset`` on."""
        found: list[MemberState] = []
        while len(found) < limit:
            after, skipped = (found[-1].member.user_id, 0) if found else ("", offset)
            most = min(_PAGE, limit - len(found))
            page = await asked(self._store.members(group_id, after, most, roles, skipped))
            found += page
            if len(page) < most:
                break
        return found

    async def members_after(
        self, group_id: str, roles: set[Role], after_user_id: str, limit: int
    ) -> Sequence[MemberState]:
        """Up to ``limit`` stored members with user IDs above the given."""
        return await asked(self._store.members(group_id, after_user_id, limit, roles))

    async def member_states(
        self, group_id: str, user_ids: Sequence[str]
    ) -> Mapping[str, MemberState]:
        """The memberships of those of the users who are stored members."""
        return await asked(self._store.member_states(group_id, user_ids))

    async def rooms(self) -> Sequence[str]:
        """The AVChatRooms in which somebody takes part now, by ID."""
        found: list[str] = []
        offset = 0
        while True:
            page, total = await self.group_ids(GroupType.AVCHATROOM, offset, _PAGE)
            found += [one for one in page if self.presence.participant_count(one)]
            offset += len(page)
            if not page or offset >= total:
                return found

    async def muted(self, group_id: str, now_ms: int, limit: int) -> Sequence[tuple[str, int]]:
        """Up to ``limit`` who are muted in the group, with the end of it in Unix milliseconds.

        By user ID. Those who have left are among them: their mute goes on if they come back.
        """
        return await asked(self._store.muted(group_id, now_ms, 0, limit))

    async def banned(
        self, group_id: str, now_ms: int, offset: int, limit: int
    ) -> Sequence[tuple[str, int]]:
        """Up to ``limit`` who are banned from the group, with the end of it in Unix milliseconds.

        By user ID from ``offset`` on.
        """
        return await asked(self._store.banned(group_id, now_ms, offset, limit))

    async def known(self, user_ids: Sequence[str]) -> Mapping[str, bool]:
        """Which of the users are known; all of them where nobody has to be."""
        if not self._rulebook.requires_known_users:
            return dict.fromkeys(user_ids, True)
        keys: list[RowKey] = [KnownUserKey(user_id) for user_id in user_ids]
        rows = await asked(self._store.load(keys))
        return {
            user_id: isinstance(rows[KnownUserKey(user_id)].row, KnownUser) for user_id in user_ids
        }
