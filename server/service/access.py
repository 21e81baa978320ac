"""How a reader stands to a group, and what the rules let the reader see."""

import msgspec

from protocol.errors import ErrorCode, Refused
from server.domain.model import Actor, Group, GroupKey
from server.domain.rules import Operation, Rulebook, Standing, standing_of
from server.service.ports import MemberState, Presence, Store


class Reader(msgspec.Struct, frozen=True):
    """Who asks: the user, whether an operator, and the session that the question came by."""

    user_id: str
    is_app_admin: bool
    session_id: str


class Access:
    """Looks up groups and memberships for the queries, and asks the table."""

    def __init__(self, store: Store, presence: Presence, rulebook: Rulebook) -> None:
        self._store = store
        self._presence = presence
        self._rulebook = rulebook

    async def group(self, group_id: str) -> Group:
        """The living group.

        Raises:
            Refused: GROUP_NOT_FOUND.
        """
        key = GroupKey(group_id)
        rows = await self._store.load([key])
        return living(rows[key].row, group_id)

    async def standing(self, group: Group, reader: Reader) -> tuple[Standing, MemberState | None]:
        """How the reader stands to the group, and the stored membership if there is one."""
        states = await self._store.member_states(group.group_id, [reader.user_id])
        state = states.get(reader.user_id)
        actor = Actor(reader.user_id, reader.is_app_admin)
        standing = standing_of(actor, state.member if state is not None else None)
        if standing is Standing.NONE and not self._rulebook.traits[group.type].stores_members:
            since_ms = self._presence.participant_since_ms(group.group_id, reader.user_id)
            standing = Standing.MEMBER if since_ms is not None else Standing.NONE
        return standing, state

    async def require(
        self, operation: Operation, group: Group, reader: Reader
    ) -> tuple[Standing, MemberState | None]:
        """As ``standing``, once the table lets the reader do ``operation``.

        Raises:
            Refused: NO_PERMISSION.
        """
        standing, state = await self.standing(group, reader)
        self._rulebook.require(operation, group.type, standing)
        return standing, state


class QueryRoom:
    """What every kind of query has at hand."""

    def __init__(
        self, access: Access, store: Store, presence: Presence, rulebook: Rulebook
    ) -> None:
        self._access = access
        self._store = store
        self._presence = presence
        self._rulebook = rulebook


def living(row: object, group_id: str) -> Group:
    """``row`` as a group that was not closed.

    Raises:
        Refused: GROUP_NOT_FOUND.
    """
    if not isinstance(row, Group) or row.closed_ms:
        raise Refused(ErrorCode.GROUP_NOT_FOUND, group_id=group_id)
    return row


def page_size(rulebook: Rulebook, wanted: int | None) -> int:
    """How many items a page has: as many as wanted, at most PAGE_ITEMS."""
    most = rulebook.limits["PAGE_ITEMS"]
    return most if wanted is None else min(wanted, most)
