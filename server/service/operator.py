"""The operator's way in: commands and questions of an app_admin, awaited one by one."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from protocol.commands import ChangingCommand, Command, SendMessage
from protocol.errors import ErrorCode, Refused
from protocol.identifiers import is_user_id
from protocol.messages import Element
from protocol.results import SendMessageResult
from server.domain.jobs import ForgetUsers, RevokeTokens
from server.domain.messages import check_message
from server.domain.model import Actor, Origin
from server.domain.rules import Rulebook
from server.service.access import Reader
from server.service.approval import Question
from server.service.changes import Changes
from server.service.credentials import Credentials
from server.service.operator_queries import OperatorQueries, asked
from server.service.ports import Clock, RequestKey, Sessions, Store
from server.service.queries import Queries

REPEAT_MS: Final = 300_000
"""Within this time of a message the same one with the same number is a repeat of it."""

_ROOMS_AT_ONCE: Final = 256
_GONE: Final = ErrorCode.GROUP_NOT_FOUND
_ENCODE: Final = msgspec.msgpack.Encoder().encode


class Operator:
    """Does what an operator's program asks, by the rules that hold for every app_admin.

    Attributes:
        rulebook: the rules in force.
        lists: what only an operator asks for.
    """

    def __init__(
        self,
        *,
        changes: Changes,
        queries: Queries,
        lists: OperatorQueries,
        sessions: Sessions,
        credentials: Credentials,
        store: Store,
        clock: Clock,
        rulebook: Rulebook,
    ) -> None:
        self.rulebook = rulebook
        self.lists = lists
        self._sessions = sessions
        self._credentials = credentials
        self.clock = clock
        self._changes = changes
        self._queries = queries
        self._store = store
        self._saying: dict[RequestKey, asyncio.Future[Any]] = {}

    async def change(
        self, command: ChangingCommand, origin: Origin, *, as_user_id: str | None = None
    ) -> Any:  # noqa: ANN401 - the result struct of the command
        """The result of ``command``, once it is durable.

        Args:
            command: what is to be done.
            origin: who asks, an account of the operator, and from where.
            as_user_id: the user in whose name it is done, with the operator's rights.

        Raises:
            Refused: the rules forbid it; nothing was changed.
        """
        actor = self._actor(origin, as_user_id)
        return await self._submit(Question(command, actor, origin, None, b""))

    async def sign_out(
        self, user_ids: Sequence[str], origin: Origin, *, forgets: bool = False
    ) -> None:
        """All tokens of the users so far are refused from now on, and their connections end.

        With ``forgets`` the users are known no longer. All of it or, on a refusal, nothing.

        Raises:
            Refused: as ``change``.
        """
        up_to_s = self._credentials.now_s()
        kind = ForgetUsers if forgets else RevokeTokens
        await self.change(kind(user_ids=list(user_ids), up_to_s=up_to_s), origin)
        # Without a pause in between: who comes meanwhile with an old token is sent away too.
        for user_id in user_ids:
            self._credentials.revoke(user_id, up_to_s)
            self._sessions.sign_out(user_id)

    async def say(
        self, command: SendMessage, origin: Origin, *, as_user_id: str | None = None
    ) -> SendMessageResult:
        """Like ``change`` for a message that may be repeated.

        The same message with the same ``origin.random`` of the same operator within REPEAT_MS is
        not sent again: its first answer is given.

        Raises:
            Refused: as ``change``.
        """
        actor = self._actor(origin, as_user_id)
        content = _ENCODE([actor.user_id, origin.random, command])
        digest = hashlib.blake2b(content, digest_size=16).digest()
        window = self.clock.now_ms() // REPEAT_MS
        keys = [_message_key(origin.caller_id, digest, window - back) for back in (0, 1)]
        for key in keys:
            earlier = self._saying.get(key)
            if earlier is not None:
                await asyncio.wait([earlier])
        said = await self._said(keys[1])
        if said is not None:
            return said
        saying = asyncio.ensure_future(
            self._submit(Question(command, actor, origin, keys[0], digest))
        )
        self._saying[keys[0]] = saying
        try:
            return msgspec.convert(await saying, SendMessageResult, from_attributes=True)
        finally:
            if self._saying.get(keys[0]) is saying:
                del self._saying[keys[0]]

    async def broadcast(
        self, body: list[Element], custom_data: str, origin: Origin, *, as_user_id: str | None
    ) -> int:
        """The same message to every AVChatRoom in which somebody takes part; to how many.

        No log has it. Repeated with the same ``origin.random`` within REPEAT_MS it goes only to
        rooms that have not had it. A room that ends meanwhile is passed over.

        Raises:
            Refused: as ``say``, for what is wrong with the message before any room has had it.
        """
        said = 0
        first = SendMessage(group_id="", body=body, custom_data=custom_data)
        check_message(self.rulebook, first)
        self._actor(origin, as_user_id)
        rooms = await self.lists.rooms()
        for start in range(0, len(rooms), _ROOMS_AT_ONCE):
            outcomes = await asyncio.gather(
                *(
                    self.say(
                        msgspec.structs.replace(first, group_id=group_id),
                        origin,
                        as_user_id=as_user_id,
                    )
                    for group_id in rooms[start : start + _ROOMS_AT_ONCE]
                ),
                return_exceptions=True,
            )
            for outcome in outcomes:
                if not isinstance(outcome, BaseException):
                    said += 1
                elif not isinstance(outcome, Refused) or outcome.code is not _GONE:
                    raise outcome
        return said

    async def ask(self, command: Command, origin: Origin) -> Any:  # noqa: ANN401 - as change
        """The result of a reading command.

        Raises:
            Refused: the rules do not show it, or the store cannot answer now.
        """
        reader = Reader(origin.caller_id, is_app_admin=True, session_id="")
        return await asked(self._queries.answer(command, reader))

    def _actor(self, origin: Origin, as_user_id: str | None) -> Actor:
        if as_user_id is None:
            return Actor(origin.caller_id, is_app_admin=True)
        if not is_user_id(as_user_id, max_bytes=self.rulebook.limits["USER_ID_BYTES"]):
            raise Refused(ErrorCode.INVALID_USER_ID, user_id=as_user_id[:64])
        return Actor(as_user_id, is_app_admin=True)

    async def _said(self, key: RequestKey) -> SendMessageResult | None:
        """The answer to this message of the time window before, if that is not too long ago."""
        stored = await asked(self._store.replay(key))
        if stored is None:
            return None
        result = msgspec.json.decode(stored.reply, type=SendMessageResult)
        if self.clock.now_ms() - result.time_ms >= REPEAT_MS:
            return None
        return msgspec.structs.replace(result, seq=stored.seq)

    async def _submit(self, question: Question) -> Any:  # noqa: ANN401 - as change
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answer(result: object | None, refusal: Refused | None) -> None:
            if answered.done():  # whoever asked has gone
                return
            if refusal is not None:
                answered.set_exception(refusal)
            else:
                answered.set_result(result)

        self._changes.submit(question, answer)
        return await answered


def _message_key(admin_id: str, digest: bytes, window: int) -> RequestKey:
    return RequestKey(admin_id, f"rest:{digest.hex()}:{window}")
