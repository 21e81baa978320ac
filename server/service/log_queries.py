"""What is asked about a group's log: its messages and tips by number."""

import msgspec

from protocol.commands import (
    ListMessages,
)
from protocol.errors import ErrorCode, Refused
from protocol.results import (
    ListMessagesResult,
)
from server.domain.model import (
    Group,
)
from server.domain.rules import Operation
from server.service import views
from server.service.access import QueryRoom, Reader, page_size


class LogQueries(QueryRoom):
    """Reads of history, as far as the reader may see it."""

    async def list_messages(self, command: ListMessages, reader: Reader) -> ListMessagesResult:
        """A page of the group's log, as far as the reader may see it."""
        if command.before_seq is not None and command.after_seq is not None:
            raise Refused(
                ErrorCode.BAD_REQUEST,
                "before_seq and after_seq exclude each other",
                field="before_seq",
            )
        limit = page_size(self._rulebook, command.limit)
        group = await self._access.group(command.group_id)
        await self._access.require(Operation.READ_HISTORY, group, reader)
        hidden = await self._hidden_seq(group, reader)
        head = (await self._store.group_heads([group.group_id]))[group.group_id]
        forward = command.after_seq is not None
        above = max(hidden, command.after_seq or 0)
        below = command.before_seq if command.before_seq is not None else 2**53
        entries = await self._store.history(
            group.group_id, above, below, limit + 1, newest=not forward
        )
        has_more = len(entries) > limit
        page = entries[:limit] if forward else entries[-limit:]
        return ListMessagesResult(
            events=[msgspec.to_builtins(views.event_of(committed)) for committed in page],
            has_more=has_more,
            first_seq=max(hidden + 1, head.first_seq),
        )

    async def _hidden_seq(self, group: Group, reader: Reader) -> int:
        """The last number of the group's log that the reader may not see."""
        if self._rulebook.traits[group.type].shows_earlier_history:
            return 0
        state = await self._access.state(group, reader.user_id)
        return 0 if state is None else state.joined_seq
