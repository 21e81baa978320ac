"""How a reader stands to a group, and what the rules let the reader see."""

from collections.abc import Collection, Mapping

import msgspec

from protocol.errors import ErrorCode, Refused
from server.domain.model import Actor, Group, GroupKey, Member, MemberKey, Row, RowKey
from server.domain.rules import Operation, Rulebook, Standing, standing_of
from server.service.ports import MemberState, Presence, Store
from server.service.row_cache import RowCache


class Reader(msgspec.Struct, frozen=True):
    """Who asks: the user, whether an operator, and the session that the question came by."""

    user_id: str
    is_app_admin: bool
    session_id: str


class Access:
    """Looks up groups and memberships for the queries, and asks the table.

    Args:
        rows: what the executor has at hand. Where this process is the only one that writes these
            rows are the committed ones, so nobody needs to ask the store for them.
    """

    def __init__(
        self, store: Store, presence: Presence, rulebook: Rulebook, rows: RowCache
    ) -> None:
        self._store = store
        self._presence = presence
        self._rulebook = rulebook
        self._rows = rows

    async def rows(self, keys: Collection[RowKey]) -> Mapping[RowKey, Row | None]:
        """The committed rows of ``keys``, every key answered; None where there is no row."""
        found: dict[RowKey, Row | None] = {}
        for key in keys:
            version = self._rows.get(key)
            if version is not None:
                found[key] = version.row
        missing = [key for key in keys if key not in found]
        if missing:
            # Not kept: a commit that is under way could make them old.
            loaded = await self._store.load(missing)
            found.update((key, version.row) for key, version in loaded.items())
        return found

    async def group(self, group_id: str) -> Group:
        """The living group.

        Raises:
            Refused: GROUP_NOT_FOUND.
        """
        key = GroupKey(group_id)
        return living((await self.rows([key]))[key], group_id)

    def standing_as(self, member: object, group: Group, reader: Reader) -> Standing:
        """How the reader stands to the group; ``member`` is the reader's row of it, if any."""
        row = member if isinstance(member, Member) else None
        standing = standing_of(Actor(reader.user_id, reader.is_app_admin), row)
        if standing is Standing.NONE and not self._rulebook.traits[group.type].stores_members:
            since_ms = self._presence.participant_since_ms(group.group_id, reader.user_id)
            standing = Standing.MEMBER if since_ms is not None else Standing.NONE
        return standing

    async def require(self, operation: Operation, group: Group, reader: Reader) -> Standing:
        """How the reader stands to the group, once the table lets the reader do ``operation``.

        Raises:
            Refused: NO_PERMISSION.
        """
        key = MemberKey(group.group_id, reader.user_id)
        standing = self.standing_as((await self.rows([key]))[key], group, reader)
        self._rulebook.require(operation, group.type, standing)
        return standing

    async def state(self, group: Group, user_id: str) -> MemberState | None:
        """The user's stored membership with what the store adds, if there is one."""
        return (await self._store.member_states(group.group_id, [user_id])).get(user_id)


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
