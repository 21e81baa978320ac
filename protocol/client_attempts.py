"""One call and its attempts: sent, refused for now, sent again, until it is answered."""

import asyncio
import itertools
from collections.abc import Mapping
from typing import Final

from protocol.backoff import backoff_s
from protocol.client_calls import Call, encode_request, new_request_id
from protocol.client_session import Session, Settings
from protocol.errors import ErrorCode, Refused
from protocol.identifiers import is_request_id
from protocol.results import ErrorBody

_RATE_LIMITED: Final = frozenset({ErrorCode.TOO_MANY_REQUESTS, ErrorCode.GROUP_MESSAGE_RATE})


class CallTimeout(TimeoutError):
    """No answer in time; whether the call took effect is unknown.

    The same call with ``request_id=error.request_id`` tells, and changes nothing twice.
    """

    def __init__(self, method: str, request_id: str) -> None:
        self.request_id = request_id
        super().__init__(f"no answer to {method} in time (request id {request_id})")


class Attempts:
    """Makes calls on a session; see ``protocol.client.Client.call`` for what is retried."""

    def __init__(
        self, settings: Settings, session: Session, timeout_s: float, *, retry_rate_limited: bool
    ) -> None:
        self._settings = settings
        self._session = session
        self._timeout_s = timeout_s
        self._retry_rate_limited = retry_rate_limited
        self._numbers = itertools.count()

    async def result(
        self,
        method: str,
        params: Mapping[str, object],
        request_id: str | None,
        timeout_s: float | None,
    ) -> dict[str, object]:
        """The result of ``method`` as a map; see ``Client.call``."""
        request_id = new_request_id() if request_id is None else request_id
        if not is_request_id(request_id):
            raise ValueError("a request id is 1 to 64 printable ASCII characters")
        data = encode_request(self._settings.codec, request_id, method, params)
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                return await self._until_answered(request_id, data, timeout_s)
        except TimeoutError:
            raise CallTimeout(method, request_id) from None

    async def _until_answered(
        self, request_id: str, data: bytes, timeout_s: float
    ) -> dict[str, object]:
        clock = self._settings.clock
        deadline = clock.time() + timeout_s
        number = next(self._numbers)
        failures = 0
        while True:
            call = Call(
                id=request_id,
                number=number,
                data=data,
                reply=asyncio.get_running_loop().create_future(),
            )
            reply = await self._session.exchange(call)
            if reply.error is None:
                return reply.result or {}
            delay_s = self._retry_delay_s(reply.error, failures)
            if delay_s is None or clock.time() + delay_s >= deadline:
                raise _refused(reply.error)
            await self._session.pause(delay_s)
            failures += 1

    def _retry_delay_s(self, error: ErrorBody, failures: int) -> float | None:
        """Seconds until a call that was refused so may succeed, or None to give up."""
        is_rate_limited = error.code in _RATE_LIMITED
        if not error.retryable or (is_rate_limited and not self._retry_rate_limited):
            return None
        after_ms = error.detail.get("retry_after_ms")
        return backoff_s(
            failures, self._settings.random, after_ms if isinstance(after_ms, int) else None
        )


def _refused(error: ErrorBody) -> Refused:
    """The exception for an error reply."""
    try:
        refused = Refused(ErrorCode(error.code), error.message)
    except ValueError:  # a code that this version does not know
        refused = Refused(ErrorCode.INTERNAL, f"{error.name} ({error.code}): {error.message}")
    else:
        refused.number = error.code
    refused.detail = error.detail  # not as keywords: its keys are the server's
    return refused
