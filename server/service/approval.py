"""What the operator's own service thinks of a change, before it is decided.

It is asked outside of every transaction. A request is asked about once: whoever repeats it while
the answer is awaited gets the same one, and what was done is not asked about again.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

import msgspec

from protocol.callbacks import CallbackRequest
from protocol.commands import ChangingCommand, CreateGroup, SendMessage
from protocol.errors import ErrorCode, Refused
from protocol.messages import Element
from protocol.vocabulary import GroupType, Role
from server.domain.callbacks import ASKED, Asked, owner_of
from server.domain.model import Actor, Group, GroupKey, Origin
from server.domain.wishes import Wish
from server.service.announcements import with_random
from server.service.ports import Clock, OutcomeUnknown, RequestKey, Store, Unavailable

REFUSE: Final = 1
DROP: Final = 2
_PAGE: Final = 500
_REPEAT: Final = Wish(is_repeat=True)


class Opinion(msgspec.Struct, frozen=True, kw_only=True):
    """What was answered.

    ``code`` is 0 to go on, ``REFUSE``, ``DROP`` for a message that its sender is to believe sent,
    or the number of a veto with ``info`` for the caller. ``body`` and ``custom_data`` replace
    those of a message; ``refused_user_ids`` are not to be brought in.
    """

    code: int = 0
    info: str = ""
    body: Sequence[Element] | None = None
    custom_data: str | None = None
    refused_user_ids: Collection[str] = ()


class Operator(Protocol):
    """The operator's own service."""

    async def ask(self, request: CallbackRequest, origin: Origin) -> Opinion:
        """What it thinks; within the time that it has.

        Raises:
            Refused: CALLBACK_FAILED: it did not say, and nothing goes without its word;
                CALLBACK_REFUSED: it has made something of it that cannot be done.
        """


class Question(msgspec.Struct, frozen=True):
    """A changing request as it was made."""

    command: ChangingCommand
    actor: Actor
    origin: Origin
    request: RequestKey | None
    digest: bytes


class Approved(msgspec.Struct, frozen=True):
    """What is to be executed, and what else is wanted of it."""

    command: ChangingCommand
    wish: Wish | None = None


class _Asking(msgspec.Struct):
    """A request that is being asked about."""

    digest: bytes
    answer: asyncio.Future[Approved]


class Approval:
    """Asks the operator about commands.

    Args:
        wanted: names of callbacks.
        has_taken: whether a request is being executed.
    """

    def __init__(
        self,
        wanted: Collection[str],
        operator: Operator,
        *,
        store: Store,
        clock: Clock,
        has_taken: Callable[[RequestKey], bool],
    ) -> None:
        self._asked = {kind: asked for kind, asked in ASKED.items() if asked.name in wanted}
        self._operator = operator
        self._store = store
        self._clock = clock
        self._has_taken = has_taken
        self._asking: dict[RequestKey, _Asking] = {}

    def concerns(self, question: Question) -> bool:
        """Whether anybody has to be asked about it."""
        return not question.origin.is_unasked and self._asked_of(question.command) is not None

    async def word_on(self, question: Question) -> Approved:
        """What is to be executed: the command, or what the operator makes of it.

        To be followed by ``forget`` when it is handed on, or refused.

        Raises:
            Refused: it is not to be executed.
        """
        if question.request is None:
            return await self._considered(question)
        if self._has_taken(question.request):
            return Approved(question.command, _REPEAT)
        twin = self._asking.get(question.request)
        if twin is not None:
            if twin.digest != question.digest:
                request_id = question.request.request_id
                raise Refused(ErrorCode.REQUEST_ID_CONFLICT, request_id=request_id)
            return await asyncio.shield(twin.answer)
        answer: asyncio.Future[Approved] = asyncio.get_running_loop().create_future()
        self._asking[question.request] = _Asking(question.digest, answer)
        try:
            approved = await self._considered(question)
        except BaseException as error:
            answer.set_exception(
                error if isinstance(error, Refused) else Refused(ErrorCode.UNAVAILABLE)
            )
            answer.exception()  # nobody has to wait for it
            raise
        answer.set_result(approved)
        return approved

    def forget(self, request: RequestKey | None) -> None:
        """The request is executed, or refused: whoever repeats it is looked at anew."""
        asking = None if request is None else self._asking.get(request)
        if request is not None and asking is not None and asking.answer.done():
            del self._asking[request]

    def _asked_of(self, command: ChangingCommand) -> Asked | None:
        """How the operator is asked about such a command, or about what it is a kind of."""
        for kind in type(command).__mro__:
            if kind in self._asked:
                return self._asked[kind]
        return None

    async def _considered(self, question: Question) -> Approved:
        command, request = question.command, question.request
        asked = self._asked_of(command)
        assert asked is not None  # it concerns somebody
        try:
            if request is not None and await self._store.replay(request) is not None:
                return Approved(command, _REPEAT)
            group = await self._group(command)
            if group is None and not isinstance(command, CreateGroup):
                return Approved(command)  # there is no such group, which is for the rules to say
            owned = 0
            if isinstance(command, CreateGroup):
                owned = await self._owned(owner_of(command, question.actor), command.type)
        except (Unavailable, OutcomeUnknown) as error:
            raise Refused(ErrorCode.UNAVAILABLE) from error
        return await self._ask(question, asked, group, owned)

    async def _ask(
        self, question: Question, asked: Asked, group: Group | None, owned: int
    ) -> Approved:
        origin = with_random(question.origin, question.request)
        request = asked.request(
            question.command, question.actor, origin, group, owned, self._clock.now_ms()
        )
        return _as_wished(question.command, await self._operator.ask(request, origin))

    async def _group(self, command: ChangingCommand) -> Group | None:
        group_id = getattr(command, "group_id", None)
        if group_id is None:
            return None
        key = GroupKey(group_id)
        row = (await self._store.load([key]))[key].row
        return row if isinstance(row, Group) and not row.closed_ms else None

    async def _owned(self, user_id: str, group_type: GroupType) -> int:
        """How many groups of the type the user owns."""
        owned = 0
        after = 0
        while page := await self._store.groups_of(user_id, after, _PAGE, group_type):
            owned += sum(row.state.member.role is Role.OWNER for row in page)
            after = page[-1].state.joined_position
        return owned


def _as_wished(command: ChangingCommand, opinion: Opinion) -> Approved:
    """The command as the operator wants it.

    Raises:
        Refused: not at all.
    """
    if opinion.code == REFUSE:
        raise Refused(ErrorCode.CALLBACK_REFUSED, opinion.info or None)
    if opinion.code == DROP:
        return Approved(command, Wish(is_dropped=True))
    if opinion.code:
        raise Refused.vetoed(opinion.code, opinion.info)
    if isinstance(command, SendMessage):
        return Approved(_rewritten(command, opinion))
    if opinion.refused_user_ids:
        return Approved(command, Wish(refused_user_ids=frozenset(opinion.refused_user_ids)))
    return Approved(command)


def _rewritten(command: SendMessage, opinion: Opinion) -> SendMessage:
    if opinion.body is not None:
        command = msgspec.structs.replace(command, body=list(opinion.body))
    if opinion.custom_data is not None:
        command = msgspec.structs.replace(command, custom_data=opinion.custom_data)
    return command
