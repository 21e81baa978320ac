"""What the operator's own service thinks of a change, before it is decided.

It is asked outside of every transaction. A request is asked about once: whoever repeats it while
the answer is awaited gets the same one, and what was done is not asked about again.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Protocol

import msgspec

from protocol.callbacks import CallbackRequest
from protocol.commands import ChangingCommand, CreateGroup, InviteMembers, SendMessage
from protocol.errors import ErrorCode, Refused
from protocol.messages import Element
from protocol.vocabulary import GroupType, Role
from server.domain.callbacks import ASKED, Asked
from server.domain.jobs import DropMessage, InviteSome
from server.domain.model import Actor, Group, GroupKey, Origin
from server.service.announcements import with_random
from server.service.ports import Clock, OutcomeUnknown, RequestKey, Store, Unavailable

REFUSE: Final = 1
DROP: Final = 2
_PAGE: Final = 500


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
            Refused: CALLBACK_FAILED: it did not say, and nothing goes without its word.
        """


class Question(msgspec.Struct, frozen=True):
    """A changing request as it was made."""

    command: ChangingCommand
    actor: Actor
    origin: Origin
    request: RequestKey
    digest: bytes


class _Asking(msgspec.Struct):
    """A request that is being asked about."""

    digest: bytes
    answer: asyncio.Future[ChangingCommand]


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

    def concerns(self, command: ChangingCommand) -> bool:
        """Whether anybody has to be asked about such a command."""
        return type(command) in self._asked

    async def command_for(self, question: Question) -> ChangingCommand:
        """What is to be executed: the command, or what the operator makes of it.

        To be followed by ``forget`` when it is handed on, or refused.

        Raises:
            Refused: it is not to be executed.
        """
        if self._has_taken(question.request):
            return question.command
        twin = self._asking.get(question.request)
        if twin is not None:
            if twin.digest != question.digest:
                request_id = question.request.request_id
                raise Refused(ErrorCode.REQUEST_ID_CONFLICT, request_id=request_id)
            return await asyncio.shield(twin.answer)
        answer: asyncio.Future[ChangingCommand] = asyncio.get_running_loop().create_future()
        self._asking[question.request] = _Asking(question.digest, answer)
        try:
            command = await self._considered(question)
        except BaseException as error:
            answer.set_exception(
                error if isinstance(error, Refused) else Refused(ErrorCode.UNAVAILABLE)
            )
            answer.exception()  # nobody has to wait for it
            raise
        answer.set_result(command)
        return command

    def forget(self, request: RequestKey) -> None:
        """The request is executed, or refused: whoever repeats it is looked at anew."""
        asking = self._asking.get(request)
        if asking is not None and asking.answer.done():
            del self._asking[request]

    async def _considered(self, question: Question) -> ChangingCommand:
        command = question.command
        asked = self._asked[type(command)]
        try:
            if await self._store.replay(question.request) is not None:
                return command
            group = await self._group(command)
            if group is None and not isinstance(command, CreateGroup):
                return command  # there is no such group, which is for the rules to say
            owned = 0
            if isinstance(command, CreateGroup):
                owned = await self._owned(question.actor.user_id, command.type)
        except (Unavailable, OutcomeUnknown) as error:
            raise Refused(ErrorCode.UNAVAILABLE) from error
        return await self._ask(question, asked, group, owned)

    async def _ask(
        self, question: Question, asked: Asked, group: Group | None, owned: int
    ) -> ChangingCommand:
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


def _as_wished(command: ChangingCommand, opinion: Opinion) -> ChangingCommand:
    """The command as the operator wants it.

    Raises:
        Refused: not at all.
    """
    if opinion.code == REFUSE:
        raise Refused(ErrorCode.CALLBACK_REFUSED, opinion.info or None)
    if opinion.code == DROP and isinstance(command, SendMessage):
        return DropMessage(**_fields(command))
    if opinion.code:
        raise Refused.vetoed(opinion.code, opinion.info)
    if isinstance(command, SendMessage):
        return _rewritten(command, opinion)
    if isinstance(command, InviteMembers) and opinion.refused_user_ids:
        return InviteSome(**_fields(command), refused_user_ids=list(opinion.refused_user_ids))
    return command


def _rewritten(command: SendMessage, opinion: Opinion) -> SendMessage:
    if opinion.body is not None:
        command = msgspec.structs.replace(command, body=list(opinion.body))
    if opinion.custom_data is not None:
        command = msgspec.structs.replace(command, custom_data=opinion.custom_data)
    return command


def _fields(command: ChangingCommand) -> dict[str, Any]:
    return {name: getattr(command, name) for name in command.__struct_fields__}
