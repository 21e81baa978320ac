"""One WebSocket connection of the SDK: opening it, frames both ways, heartbeats, its ending."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NoReturn, Protocol

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.http11 import Response
from websockets.typing import Subprotocol

from protocol.client_frames import read_frame
from protocol.codec import Codec, Malformed
from protocol.errors import CloseCode, ConnectionRefused
from protocol.frames import Bye, ClientFrame, Events, Hello, Ping, Pong, Reply, Welcome

CLOSE_S: Final = 2.0
"""How long a closing connection waits for the server's close frame."""

_ABNORMAL: Final = 1006  # what websockets reports when no close frame came
_HTTP_RETRYABLE: Final = frozenset({408, 425, 429})


class Clock(Protocol):
    """The time of a client; tests bring their own."""

    def time(self) -> float:
        """Seconds, never going back."""

    async def sleep(self, delay_s: float) -> None:
        """Return after ``delay_s`` seconds."""


class LoopClock:
    """The event loop's time."""

    def time(self) -> float:
        """See ``Clock.time``."""
        return asyncio.get_running_loop().time()

    async def sleep(self, delay_s: float) -> None:
        """See ``Clock.sleep``."""
        await asyncio.sleep(delay_s)


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """Why a connection ended; ``code`` is the close code, or None when there was none."""

    code: int | None = None
    reason: str
    retry_after_ms: int | None = None
    error_code: int | None = None


class LinkLost(Exception):
    """The connection is no more, or never was; another one may do."""

    def __init__(self, ending: Ending) -> None:
        self.ending = ending
        super().__init__(ending.reason)


async def open_link(url: str, codec: Codec, clock: Clock, options: Mapping[str, Any]) -> "Link":
    """A connection on which nothing was said yet.

    Raises:
        OSError: nobody answered.
        LinkLost: a later attempt may succeed (no proper answer; HTTP 408, 425, 429, 5xx).
        ConnectionRefused: the server answered that this will not work (other HTTP statuses, or
            it does not speak the codec's subprotocol).
        ValueError, websockets.InvalidURI: ``url`` or ``options`` are wrong.
    """
    try:
        connection = await open_websocket(
            url,
            subprotocols=[Subprotocol(codec.subprotocol)],
            compression=None,
            open_timeout=None,
            ping_interval=None,
            close_timeout=CLOSE_S,
            max_size=None,  # a page of messages may be large, and the server is trusted
            **options,
        )
    except InvalidStatus as error:
        _refuse_status(error.response)
    except InvalidHandshake as error:
        raise LinkLost(Ending(reason=f"cannot connect: {error}")) from error
    if connection.subprotocol != codec.subprotocol:
        await connection.close()
        raise ConnectionRefused(
            CloseCode.MALFORMED, f"the server does not speak {codec.subprotocol}"
        )
    return Link(connection, codec, clock)


def _refuse_status(response: Response) -> NoReturn:
    status, reason = response.status_code, f"HTTP {response.status_code} {response.reason_phrase}"
    if status >= 500 or status in _HTTP_RETRYABLE:
        after_s = response.headers.get("Retry-After", "")
        after_ms = int(after_s) * 1000 if after_s.isdecimal() else None
        raise LinkLost(Ending(reason=reason, retry_after_ms=after_ms))
    codes = {400: CloseCode.MALFORMED, 401: CloseCode.NOT_AUTHENTICATED}
    raise ConnectionRefused(codes.get(status, CloseCode.FORBIDDEN), reason)


class Link:
    """An open connection.

    ``is_paused`` tells the heartbeat that nobody reads at the moment; ``was_useful`` tells
    whether anything came after the welcome.
    """

    def __init__(self, connection: ClientConnection, codec: Codec, clock: Clock) -> None:
        self.is_paused = False
        self.was_useful = False
        self._connection = connection
        self._codec = codec
        self._clock = clock
        self._last_heard = clock.time()
        self._bye: Bye | None = None
        self._own_ending: Ending | None = None

    async def send(self, frame: ClientFrame) -> None:
        """Send ``frame``; see ``send_bytes``."""
        await self.send_bytes(self._codec.encode(frame))

    async def send_bytes(self, data: bytes) -> None:
        """Send an encoded frame, waiting while the peer takes nothing.

        Does nothing on a lost connection: the reader is the one who learns of the loss.
        """
        try:
            await self._connection.send(data, text=not self._codec.is_binary)
        except ConnectionClosed:
            return

    async def receive(self) -> Welcome | Reply | Events | Pong:
        """The next frame that this version knows; a bye is kept for the ending.

        Raises:
            LinkLost: the connection has ended, or the server does not keep to the protocol.
        """
        while True:
            try:
                data = await self._connection.recv(decode=False)
                frame = read_frame(self._codec, data)
            except ConnectionClosed as closed:
                raise LinkLost(self._ending(closed)) from closed
            except Malformed as error:
                raise LinkLost(Ending(reason=f"the server sent nonsense: {error}")) from error
            self._last_heard = self._clock.time()
            if isinstance(frame, Bye):
                self._bye = frame
            elif frame is not None:
                self.was_useful = self.was_useful or not isinstance(frame, Welcome)
                return frame

    async def greet(self, hello: Hello) -> Welcome:
        """Say hello and return the welcome.

        Raises:
            LinkLost: the connection has ended, or the answer is something else.
        """
        await self.send(hello)
        frame = await self.receive()
        if isinstance(frame, Welcome):
            return frame
        raise LinkLost(Ending(reason="the server did not answer hello with welcome"))

    async def beat(self, heartbeat_s: float) -> None:
        """Ping whenever nothing came for ``heartbeat_s``; end the connection after twice that.

        Runs until it is cancelled. While nobody reads, silence says nothing about the peer:
        then it only pings, so that the server sees that this side lives.
        """
        while True:
            heard = self._last_heard
            await self._sleep_until(heard + heartbeat_s)
            if self._last_heard != heard:
                continue
            async with asyncio.TaskGroup() as tasks:
                # Beside the waiting: a peer that takes nothing must not stop this clock.
                ping = tasks.create_task(self.send(Ping()))
                await self._sleep_until(heard + 2 * heartbeat_s)
                ping.cancel()
            if self.is_paused:
                self._last_heard = self._clock.time()
            elif self._last_heard == heard:
                self.abort(Ending(reason="the server was silent for two heartbeats"))
                return

    def abort(self, ending: Ending) -> None:
        """End the connection at once, without waiting for the peer; ``receive`` raises ``ending``."""
        self._own_ending = ending
        self._connection.transport.abort()

    async def close(self) -> None:
        """Close the connection normally, at most ``CLOSE_S`` long, else at once; idempotent."""
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._connection.close()
        except TimeoutError:
            self._connection.transport.abort()

    async def _sleep_until(self, time_s: float) -> None:
        await self._clock.sleep(max(0.0, time_s - self._clock.time()))

    def _ending(self, closed: ConnectionClosed) -> Ending:
        if self._own_ending is not None:
            return self._own_ending
        bye = self._bye
        code = closed.rcvd.code if closed.rcvd is not None else None
        if bye is None:
            reason = closed.rcvd.reason if closed.rcvd is not None else "connection lost"
            return Ending(code=code, reason=reason)
        return Ending(
            code=bye.code if code is None else code,
            reason=bye.reason,
            retry_after_ms=bye.retry_after_ms,
            error_code=bye.error_code,
        )
