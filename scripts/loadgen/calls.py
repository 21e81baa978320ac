"""A device's requests on their way: as many at a time as the server allows, until answered."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from protocol.errors import ErrorCode
from scripts.loadgen.ledger import Reply

_LIMITED: Final = frozenset({ErrorCode.TOO_MANY_REQUESTS, ErrorCode.GROUP_MESSAGE_RATE})
_RETRY_MS: Final = 100
"""Where the server does not say after which time to try again."""

Given = tuple[int, int]
"""How many stored and unstored entries a device has been given."""


class Call(msgspec.Struct, eq=False):
    """A request on its way.

    Attributes:
        sent_s: when it was first sent, since from then on it may have taken effect; anew after a
            refusal.
        given: what the device had when the request was sent; ``given_at_reply`` when the answer
            came.
        is_watched: events must come before the reply: sent on one connection only, that is live
            since its beginning and read without pause.
        is_sent: on the connection that there is.
        was_left: its device went away on purpose before the answer.
    """

    id: str
    payload: bytes
    is_watched: bool
    reply: asyncio.Future[Reply]
    sent_s: float = 0.0
    given: Given = (0, 0)
    replied_s: float = 0.0
    given_at_reply: Given = (0, 0)
    is_sent: bool = False
    was_left: bool = False


class Calls:
    """The requests of one device that are not answered.

    What the server's limits refuse is sent again when the server says; until then nothing is.

    Args:
        send: sends a payload on the connection that there is.
        given: what the device has been given.

    Attributes:
        limited: how many requests the server's limits refused.
    """

    def __init__(self, send: Callable[[bytes], None], given: Callable[[], Given]) -> None:
        self._send = send
        self._given = given
        self._open: dict[str, Call] = {}
        self._unsent: deque[Call] = deque()
        self._is_connected = False
        self._in_flight = 0
        self._most_in_flight = 0
        self._held: asyncio.TimerHandle | None = None
        self.limited = 0

    def __len__(self) -> int:
        return len(self._open)

    def get(self, request_id: str) -> Call | None:
        """The request of this id, if it is not answered."""
        return self._open.get(request_id)

    def add(self, call: Call) -> None:
        """Send one more request, as soon as may be."""
        self._open[call.id] = call
        self._unsent.append(call)
        self._send_what_may_go()

    def connected(self, most_in_flight: int) -> None:
        """There is a new connection, with so many requests in flight at most (0 for no limit)."""
        self._is_connected = True
        self._in_flight = 0
        self._most_in_flight = most_in_flight
        for call in self._open.values():
            call.is_watched = False
            call.is_sent = False
        self._unsent = deque(self._open.values())
        self._send_what_may_go()

    def disconnected(self, *, is_wanted: bool) -> None:
        """The connection is gone; ``is_wanted`` when the device itself has ended it."""
        self._is_connected = False
        for call in self._open.values():
            call.was_left = call.was_left or is_wanted

    def take(self, frame: Reply) -> None:
        """An answer came."""
        call = self._open.get(frame.id)
        if call is None:
            return
        self._in_flight -= 1
        if frame.error is not None and frame.error.code in _LIMITED:
            detail = frame.error.detail or {}
            self._hold(call, detail.get("retry_after_ms", _RETRY_MS) / 1000)
            return
        del self._open[frame.id]
        if not call.reply.done():
            call.replied_s = time.monotonic()
            call.given_at_reply = self._given()
            call.reply.set_result(frame)
        self._send_what_may_go()

    def fail(self, error: Exception) -> None:
        """No more answers will come."""
        for call in self._open.values():
            if not call.reply.done():
                call.reply.set_exception(error)
                call.reply.exception()  # it may be that nobody waits any more

    def _send_what_may_go(self) -> None:
        most = self._most_in_flight
        while self._is_connected and self._held is None and self._unsent:
            if most and self._in_flight >= most:
                return
            call = self._unsent.popleft()
            call.is_sent = True
            call.sent_s = call.sent_s or time.monotonic()
            call.given = self._given()
            self._in_flight += 1
            self._send(call.payload)

    def _hold(self, call: Call, after_s: float) -> None:
        self.limited += 1
        call.is_sent, call.sent_s = False, 0.0
        if self._held is not None:
            self._held.cancel()
        self._held = asyncio.get_running_loop().call_later(after_s, self._release)

    def _release(self) -> None:
        self._held = None
        # Anew, since several may have been refused, and their order is that of calling.
        self._unsent = deque(call for call in self._open.values() if not call.is_sent)
        self._send_what_may_go()
