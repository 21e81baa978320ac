"""The SDK's methods about what is said in a group."""

from typing import Unpack

from protocol import commands, results
from protocol.client_base import Asking, CallOptions, ChangeOptions
from protocol.messages import Element
from protocol.results import Nothing
from protocol.vocabulary import MessagePriority


class MessageMethods(Asking):
    """Messages; see ``protocol.client_methods.Methods`` for what all methods share."""

    async def send_message(
        self,
        group_id: str,
        body: list[Element],
        *,
        priority: MessagePriority = MessagePriority.NORMAL,
        online_only: bool = False,
        at_user_ids: list[str] | None = None,
        custom_data: str = "",
        **options: Unpack[ChangeOptions],
    ) -> results.SendMessageResult:
        """The message's ID, time and place in the group's log; ``text_body`` makes a plain body.

        Raises:
            Refused: GROUP_NOT_FOUND, MUTED, MESSAGE_TOO_LARGE, TOO_MANY_MENTIONS.
        """
        command = commands.SendMessage(
            group_id=group_id,
            body=body,
            priority=priority,
            online_only=online_only,
            at_user_ids=at_user_ids or [],
            custom_data=custom_data,
        )
        return await self._change(command, results.SendMessageResult, options)

    async def list_messages(
        self,
        group_id: str,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
        limit: int | None = None,
        **options: Unpack[CallOptions],
    ) -> results.ListMessagesResult:
        """Entries of the group's log, oldest first: before or after a ``seq``, or the newest.

        Raises:
            Refused: GROUP_NOT_FOUND.
        """
        command = commands.ListMessages(
            group_id=group_id, before_seq=before_seq, after_seq=after_seq, limit=limit
        )
        return await self._ask(command, results.ListMessagesResult, options)

    async def recall_message(
        self,
        group_id: str,
        seq: int,
        *,
        reason: str = "",
        **options: Unpack[ChangeOptions],
    ) -> Nothing:
        """Take back a message: one's own for a while, anybody's for admins and the owner.

        Raises:
            Refused: GROUP_NOT_FOUND, MESSAGE_NOT_FOUND, RECALL_TOO_LATE, NOT_RECALLABLE.
        """
        command = commands.RecallMessage(group_id=group_id, seq=seq, reason=reason)
        return await self._change(command, Nothing, options)

    async def mark_read(
        self, group_id: str, seq: int, **options: Unpack[ChangeOptions]
    ) -> results.UnreadResult:
        """How much is unread after the caller has read up to ``seq``; it never goes back.

        Raises:
            Refused: GROUP_NOT_FOUND.
        """
        command = commands.MarkRead(group_id=group_id, seq=seq)
        return await self._change(command, results.UnreadResult, options)
