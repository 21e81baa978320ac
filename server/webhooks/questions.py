"""Asks the operator's own service before a change."""

import logging
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, field

from protocol.callbacks import NAME_OF, BeforeSendMsg, CallbackRequest, encode_request
from protocol.dialect import body_of, platform_word
from protocol.errors import ErrorCode, Refused
from server.domain.model import Origin
from server.service.approval import DROP, REFUSE, Opinion
from server.service.ports import Clock
from server.service.tally import Tally
from server.webhooks.breaker import Breaker
from server.webhooks.receiver import Answer, Call, NoAnswer, Receiver
from server.webhooks.seldom import Seldom

log = logging.getLogger(__name__)

_INFO_CHARACTERS: Final = 300


OUTCOMES: Final = (
    "allowed",
    "rewritten",
    "some refused",
    "refused",
    "vetoed",
    "dropped",
    "failed",
    "not asked",
)
"""How a question ends: ``some refused`` of those to be brought in; ``failed`` without a usable
answer, and ``not asked`` while the service fails again and again."""

DURATIONS_MS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)


class _Body(msgspec.Struct, frozen=True):
    """What an answer may say; other fields are not looked at.

    Null is as good as nothing: it is how many languages write a field that was not set.
    """

    status: str = field(name="ActionStatus")
    code: Annotated[int, Meta(ge=0, le=2**31)] = field(name="ErrorCode")
    info: str | None = field(name="ErrorInfo", default=None)
    msg_body: Any = field(name="MsgBody", default=None)
    custom_data: str | None = field(name="CloudCustomData", default=None)
    refused: list[str] | None = field(name="RefusedMembers_Account", default=None)


class Questions:
    """The service's ``Operator``: one request each, no second try.

    Args:
        blocks_on_failure: what no usable answer means: False allows, True refuses.

    Attributes:
        outcomes: how many questions ended how; every one of OUTCOMES is there.
        durations: how long those took that were asked, in ms.
        on_word: called when there was a usable answer.
    """

    def __init__(
        self,
        receiver: Receiver,
        *,
        clock: Clock,
        limits: Mapping[str, int],
        blocks_on_failure: bool,
    ) -> None:
        self._receiver = receiver
        self._clock = clock
        self._unusable = Seldom(clock)
        self._breaker = Breaker(clock, "asking the webhook")
        self._timeout_s = limits["WEBHOOK_BEFORE_MS"] / 1000
        self._blocks_on_failure = blocks_on_failure
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        self.durations = Tally(DURATIONS_MS)
        self.on_word: Callable[[], None] = lambda: None

    async def ask(self, request: CallbackRequest, origin: Origin) -> Opinion:
        """See ``Operator.ask``."""
        if not self._breaker.take():
            return self._without_answer("not asked")
        began_s = self._clock.monotonic_s()
        try:
            return await self._asked(request, origin)
        finally:
            self.durations.add(round((self._clock.monotonic_s() - began_s) * 1000))

    async def _asked(self, request: CallbackRequest, origin: Origin) -> Opinion:
        call = Call(
            name=NAME_OF[type(request)],
            body=encode_request(request),
            platform=platform_word(origin.platform),
            address=origin.address,
        )
        try:
            answer = await self._receiver.post(call, self._timeout_s)
        except NoAnswer as error:
            self._breaker.failed(str(error))
            return self._failed(call, error)
        except BaseException:
            self._breaker.gave_up()
            raise
        # Nobody waits for one that answers nonsense at once, and whoever can make it do so must
        # not keep it from being asked about everybody.
        self._breaker.succeeded()
        try:
            body = _understood(answer, request)
        except NoAnswer as error:
            return self._failed(call, error)
        self.on_word()
        try:
            opinion = _opinion(body)
        except Refused:
            self.outcomes["failed"] += 1
            raise
        self.outcomes[_outcome(opinion)] += 1
        return opinion

    def _failed(self, call: Call, error: NoAnswer) -> Opinion:
        if count := self._unusable.add():
            log.warning("%d times no usable answer of the webhook; %s: %s", count, call.name, error)
        return self._without_answer("failed")

    def _without_answer(self, outcome: str) -> Opinion:
        self.outcomes[outcome] += 1
        if self._blocks_on_failure:
            raise Refused(ErrorCode.CALLBACK_FAILED)
        return Opinion()


def _outcome(opinion: Opinion) -> str:
    if opinion.code in (REFUSE, DROP):
        return "refused" if opinion.code == REFUSE else "dropped"
    if opinion.code:
        return "vetoed"
    if opinion.body is not None or opinion.custom_data is not None:
        return "rewritten"
    return "some refused" if opinion.refused_user_ids else "allowed"


def _understood(answer: Answer, request: CallbackRequest) -> _Body:
    """What the answer says.

    Raises:
        NoAnswer: nothing that could be acted on.
    """
    if answer.status != 200 or answer.body is None:
        raise NoAnswer(f"HTTP {answer.status}" if answer.body is not None else "too long an answer")
    try:
        body = msgspec.json.decode(answer.body, type=_Body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise NoAnswer(f"not the JSON that was expected: {error}"[:200]) from error
    may_drop = isinstance(request, BeforeSendMsg)
    is_known = body.code in (0, REFUSE) or (body.code == DROP and may_drop)
    if not is_known and not _is_veto(body.code):
        raise NoAnswer(f"ErrorCode {body.code} means nothing here")
    if body.code == 0 and body.status != "OK":
        raise NoAnswer(f"ActionStatus {body.status[:16]!r} with ErrorCode 0")
    return body


def _is_veto(code: int) -> bool:
    try:
        return ErrorCode(code) is ErrorCode.VETOED
    except ValueError:
        return False


def _opinion(body: _Body) -> Opinion:
    """What is to be done.

    Raises:
        Refused: CALLBACK_FAILED: the message was rewritten into none; to send it as it was is not
            what the operator wants.
    """
    try:
        msg_body = None if body.msg_body is None else body_of(body.msg_body)
    except msgspec.ValidationError as error:
        log.warning("the webhook has rewritten a message into none: %s", error)
        raise Refused(ErrorCode.CALLBACK_FAILED) from error
    return Opinion(
        code=body.code,
        info=(body.info or "")[:_INFO_CHARACTERS],
        body=msg_body,
        custom_data=body.custom_data,
        refused_user_ids=body.refused or (),
    )
