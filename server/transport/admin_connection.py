"""One connection of the admin listener: bounded in time, and silent about what it is made of.

The library leaves a peer as long as it likes for the head of a request, notices an error in a body
only once the handler is done, and answers what is no HTTP with the words that it did not
understand. There is no other way than its own class to have that otherwise.
"""

import asyncio
from typing import Any, Final

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError

_NOT_UNDERSTOOD: Final = "this is no HTTP request, or its head is too long\n"


class AdminConnection(web.RequestHandler):
    """See the module.

    Args:
        server: what the requests are given to.
        head_s: how long the head of a request may take, the first one from the connection on.
        options: those of ``web.RequestHandler``.
    """

    def __init__(self, server: web.Server, *, head_s: float, **options: Any) -> None:  # noqa: ANN401
        super().__init__(server, **options)
        self._head_s = head_s
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        super().data_received(data)
        if self._waiter is not None and not self._waiter.done():
            self._expect_head()
        elif self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if self._current_request is not None and self._messages:
            message, _ = self._messages[-1]
            if not isinstance(message, RawRequestMessage):
                self._current_request.content.set_exception(
                    web.RequestPayloadError("what follows is no HTTP")
                )

    def connection_lost(self, exc: BaseException | None) -> None:
        """See ``asyncio.Protocol``."""
        if self._head_timer is not None:
            self._head_timer.cancel()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no request: none of its words."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        answer = web.Response(status=status, text=_NOT_UNDERSTOOD, headers={"Server": "muster"})
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, **kw: Any) -> None:  # noqa: ANN401 - as the library has it
        """Say what went wrong, but for what a peer did: a stranger must not fill the log."""
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kw)

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self._loop.call_later(self._head_s, self._end_late)

    def _end_late(self) -> None:
        self._head_timer = None
        self.force_close()


class TurnedAway(asyncio.Protocol):
    """A connection too many: it is closed at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        transport.close()
