"""Asks the operator's own service before a change."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import field

from protocol.callbacks import (
    NAME_OF,
    BeforeInviteJoinGroup,
    BeforeSendMsg,
    CallbackRequest,
    encode_request,
)
from protocol.dialect import body_of, platform_word
from protocol.errors import ErrorCode, Refused
from server.domain.model import Origin
from server.service.approval import DROP, REFUSE, Opinion
from server.service.ports import Clock
from server.service.tally import Tally
from server.webhooks.breaker import Breaker
from server.webhooks.receiver import Answer, Call, NoAnswer, NoConnection, Receiver
from server.webhooks.seldom import SeldomFor

log = logging.getLogger(__name__)

_INFO_CHARACTERS: Final = 300
_NONSENSE: Final = "the operator's own service has changed this into something that cannot be done"

OUTCOMES: Final = (
    "allowed",
    "rewritten",
    "some refused",
    "refused",
    "vetoed",
    "dropped",
    "failed",
    "crowded",
    "not asked",
)
"""How a question ends: ``some refused`` of those to be brought in; ``failed`` without a usable
answer, ``crowded`` without a free connection in time, and ``not asked`` while the service fails
again and again."""

DURATIONS_MS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)


class _Body(msgspec.Struct, frozen=True):
    """What an answer may say; other fields are not looked at.

    The first two are the word, the others are looked at where they mean something.
    """

    status: str = field(name="ActionStatus")
    code: int = field(name="ErrorCode")
    info: Any = field(name="ErrorInfo", default=None)
    msg_body: Any = field(name="MsgBody", default=None)
    custom_data: Any = field(name="CloudCustomData", default=None)
    refused: Any = field(name="RefusedMembers_Account", default=None)


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
        self._unusable = SeldomFor(clock)
        self._odd = SeldomFor(clock)
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
        except NoConnection as error:
            self._breaker.gave_up()
            return self._failed(call, error, "crowded")
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
            body = _understood(answer)
        except NoAnswer as error:
            return self._failed(call, error)
        self.on_word()
        if odd := _oddity(body, request):
            self._say_odd(call, odd)
        try:
            opinion = _opinion(body, request)
        except msgspec.ValidationError as error:
            self._say_odd(call, f"a change that is none: {error}")
            self.outcomes["failed"] += 1
            raise Refused(ErrorCode.CALLBACK_REFUSED, _NONSENSE) from error
        self.outcomes[_outcome(opinion)] += 1
        return opinion

    def _failed(self, call: Call, error: NoAnswer, outcome: str = "failed") -> Opinion:
        if said := self._unusable.add(f"{call.name}: {error}"):
            log.warning("no usable answers of the webhook: %s", said)
        return self._without_answer(outcome)

    def _say_odd(self, call: Call, odd: str) -> None:
        if said := self._odd.add(f"{call.name}: {odd[:_INFO_CHARACTERS]}"):
            log.warning("answers of the webhook that were taken for a refusal: %s", said)

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


def _understood(answer: Answer) -> _Body:
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
    if body.code == 0 and body.status != "OK":
        raise NoAnswer(f"ActionStatus {body.status[:16]!r} with ErrorCode 0")
    return body


def _oddity(body: _Body, request: CallbackRequest) -> str:
    """What is not as documented in a refusal, "" for nothing."""
    is_drop = body.code == DROP and isinstance(request, BeforeSendMsg)
    is_known = body.code in (0, REFUSE) or is_drop or _is_veto(body.code)
    return "" if is_known else f"ErrorCode {body.code} means nothing here"


def _is_veto(code: int) -> bool:
    try:
        return ErrorCode(code) is ErrorCode.VETOED
    except ValueError:
        return False


def _opinion(body: _Body, request: CallbackRequest) -> Opinion:
    """What is to be done.

    Null and what is empty are as good as nothing: that is how many languages write a field that
    was not set, and the original's page does not say that something is erased by it.

    Raises:
        msgspec.ValidationError: it was changed into something that cannot be: to do it as it was
            is not what the operator wants.
    """
    if body.code:
        is_meant = not _oddity(body, request)
        info = body.info if isinstance(body.info, str) else ""
        return Opinion(code=body.code if is_meant else REFUSE, info=info[:_INFO_CHARACTERS])
    if isinstance(request, BeforeSendMsg):
        return Opinion(
            body=None if body.msg_body in (None, []) else body_of(body.msg_body),
            custom_data=msgspec.convert(body.custom_data, str | None) or None,
        )
    if isinstance(request, BeforeInviteJoinGroup):
        return Opinion(refused_user_ids=msgspec.convert(body.refused, list[str] | None) or ())
    return Opinion()
