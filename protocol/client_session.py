"""The connections of a client, one after the other: hello, reading, sending, coming back."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from protocol.backoff import backoff_s
from protocol.client_calls import Call, Calls
from protocol.client_link import Clock, Ending, Link, LinkLost, open_link
from protocol.client_stream import Connected, Disconnected, EventStream
from protocol.codec import Codec
from protocol.errors import CLOSES, CloseCode, ConnectionRefused, ErrorCode, Refused
from protocol.frames import Events, Hello, Pong, Reply, Welcome
from protocol.limits import LIMITS

CLIENT_NAME: Final = "muster-py/1.0"

OVERFLOW_FACTOR: Final = 8
"""How many times the bound may wait for the application while calls wait for replies."""

_CLOSE_CODES: Final = frozenset(CloseCode)

UserSig = str | Callable[[], str | Awaitable[str]]
"""A token, or a function that gives a fresh one whenever the client connects."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a client is made with; see ``protocol.client.Client``."""

    url: str
    user_id: str
    user_sig: UserSig
    device_id: str
    platform: str
    codec: Codec
    open_timeout_s: float
    max_queued_events: int
    websocket_options: Mapping[str, Any]
    random: Random
    clock: Clock


class Session:
    """What lives across the connections of one client: the stream, the calls, and ``run``.

    ``end_cause`` is why the session ended, ``last_trouble`` why the last connection did;
    ``has_begun`` is set at the first welcome, or at the end when there is none.
    """

    def __init__(self, settings: Settings, cursor: str | None, *, keeps_events: bool) -> None:
        self.stream = EventStream(cursor, keeps=keeps_events, on_taken=self._on_taken)
        self.welcome: Welcome | None = None
        self.has_begun = asyncio.Event()
        self.end_cause: Exception | None = None
        self.last_trouble = "no attempt has ended"
        self._settings = settings
        self._calls = Calls()
        self._pauses: set[asyncio.Task[None]] = set()
        self._link: Link | None = None
        self._may_send = asyncio.Event()
        self._may_read = asyncio.Event()
        # Events were dropped on this connection: from there on it serves only replies.
        self._is_skipping = False
        self._has_run = False

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection that was welcomed and is not known to be lost."""
        return self._link is not None

    async def run(self) -> None:
        """Connect, live, and connect again, for ever.

        Raises:
            ConnectionRefused: connecting again is of no use.
            Exception: what ``user_sig`` raised, but for an OSError.
        """
        self._has_run = True
        failures = 0
        while True:
            was_useful, ending = await self._connect_once()
            self.last_trouble = ending.reason
            failures = 0 if was_useful else failures
            delay_s = backoff_s(failures, self._settings.random, ending.retry_after_ms)
            await self._settings.clock.sleep(delay_s)
            failures += 1

    async def exchange(self, call: Call) -> Reply:
        """Send ``call``, on as many connections as it takes, and return its reply.

        Raises:
            Exception: what ended the session.
            RuntimeError: the session does not run.
            ValueError: its id is in flight in another call.
            Refused: it is larger than the server takes.
        """
        if self.end_cause is not None:
            raise self.end_cause
        if not self._has_run:
            raise RuntimeError("start the client first")
        self._calls.add(call)
        self._may_send.set()
        self._may_read.set()
        try:
            return await call.reply
        finally:
            self._calls.abandon(call)

    async def pause(self, delay_s: float) -> None:
        """Wait before another attempt; shorter when the session ends meanwhile."""
        sleeping = asyncio.create_task(self._settings.clock.sleep(delay_s))
        self._pauses.add(sleeping)
        try:
            await asyncio.wait([sleeping])
        finally:
            sleeping.cancel()
            self._pauses.discard(sleeping)

    def end(self, error: Exception, *, is_close: bool) -> None:
        """End all calls with ``error``, and the stream with it too, or quietly if ``is_close``.

        Only the first end counts.
        """
        if self.end_cause is not None:
            return
        self.end_cause = error
        self.has_begun.set()
        self._calls.fail(error)
        for sleeping in self._pauses:
            sleeping.cancel()
        self.stream.end(None if is_close else error)

    async def _connect_once(self) -> tuple[bool, Ending]:
        """Live through one connection: whether it brought anything, and why it ended."""
        try:
            link, welcome = await self._open()
        except LinkLost as lost:
            self._raise_if_final(lost.ending, was_welcomed=False)
            return False, lost.ending
        try:
            self._begin(link, welcome)
            ending = await self._live(link, welcome.heartbeat_ms / 1000)
        finally:
            self._link = None
            self._calls.lose_connection()
            await link.close()
        self._raise_if_final(ending, was_welcomed=True)
        self.stream.put_disconnected(Disconnected(code=ending.code, reason=ending.reason))
        return link.was_useful, ending

    async def _open(self) -> tuple[Link, Welcome]:
        settings = self._settings
        try:
            user_sig = await self._fresh_sig()
            async with asyncio.timeout(settings.open_timeout_s):
                link = await open_link(
                    settings.url, settings.codec, settings.clock, settings.websocket_options
                )
                try:
                    return link, await link.greet(self._hello(user_sig))
                except BaseException:
                    link.abort(Ending(reason="not welcomed"))
                    raise
        except OSError as error:
            reason = f"cannot connect: {type(error).__name__}: {error}"
            raise LinkLost(Ending(reason=reason)) from error

    async def _fresh_sig(self) -> str:
        given = self._settings.user_sig
        if isinstance(given, str):
            return given
        made = given()
        return await made if inspect.isawaitable(made) else made

    def _hello(self, user_sig: str) -> Hello:
        return Hello(
            user_id=self._settings.user_id,
            user_sig=user_sig,
            device_id=self._settings.device_id,
            platform=self._settings.platform,
            client=CLIENT_NAME,
            cursor=self.stream.received,
        )

    def _raise_if_final(self, ending: Ending, *, was_welcomed: bool) -> None:
        """Raise ConnectionRefused if the close code says that connecting again is of no use.

        A token that ends while the connection lives is no such case when there is a fresh one.
        """
        if ending.code is None or ending.code not in _CLOSE_CODES:
            return
        code = CloseCode(ending.code)
        if CLOSES[code].reconnect:
            return
        has_fresh_sig = was_welcomed and callable(self._settings.user_sig)
        if code is CloseCode.NOT_AUTHENTICATED and has_fresh_sig:
            return
        raise ConnectionRefused(
            code,
            ending.reason,
            error_code=ending.error_code,
            retry_after_ms=ending.retry_after_ms,
        )

    def _begin(self, link: Link, welcome: Welcome) -> None:
        self.welcome = welcome
        self._link = link
        self._is_skipping = False
        self.stream.put_connected(
            Connected(resume=welcome.resume, reason=welcome.reason, session_id=welcome.session_id),
            welcome.cursor,
        )
        self.has_begun.set()

    async def _live(self, link: Link, heartbeat_s: float) -> Ending:
        """Serve ``link`` until it ends."""
        async with asyncio.TaskGroup() as tasks:
            helpers = (
                tasks.create_task(self._send_calls(link)),
                tasks.create_task(link.beat(heartbeat_s)),
            )
            try:
                while True:
                    await self._until_may_read(link)
                    self._take_in(await link.receive())
            except LinkLost as lost:
                return lost.ending
            finally:
                for helper in helpers:
                    helper.cancel()

    async def _until_may_read(self, link: Link) -> None:
        """Wait while the application is behind and no call waits for a reply."""
        link.is_paused = True
        while len(self.stream) >= self._settings.max_queued_events and not len(self._calls):
            self._may_read.clear()
            await self._may_read.wait()
        link.is_paused = False

    def _take_in(self, frame: Welcome | Reply | Events | Pong) -> None:
        match frame:
            case Reply():
                self._calls.answer(frame)
                self._may_send.set()
                self._move(frame.cursor)
            case Events():
                self._take_in_events(frame)
            case Pong():
                self._move(frame.cursor)
            case Welcome():
                pass  # a second one says nothing

    def _take_in_events(self, frame: Events) -> None:
        if len(self.stream) >= self._settings.max_queued_events * OVERFLOW_FACTOR:
            self._is_skipping = True
        if not self._is_skipping:
            self.stream.put_events(frame.events, frame.cursor)

    def _move(self, cursor: str) -> None:
        if not self._is_skipping:
            self.stream.move(cursor)

    def _on_taken(self) -> None:
        self._may_read.set()
        is_behind = len(self.stream) >= self._settings.max_queued_events
        if self._is_skipping and not is_behind and self._link is not None:
            self._link.abort(Ending(reason="the application has caught up with what was skipped"))

    async def _send_calls(self, link: Link) -> None:
        """Send what waits, in order, as far as the server's limit allows."""
        while True:
            self._may_send.clear()
            while (call := self._calls.take_next(self._limit("REQUESTS_IN_FLIGHT"))) is not None:
                frame_bytes = self._limit("FRAME_BYTES")
                if frame_bytes and len(call.data) > frame_bytes:
                    self._calls.refuse(call, _too_large(len(call.data), frame_bytes))
                else:
                    await link.send_bytes(call.data)
            await self._may_send.wait()

    def _limit(self, name: str) -> int:
        told = {} if self.welcome is None else self.welcome.limits
        return told.get(name.lower(), LIMITS[name].default)


def _too_large(have: int, need: int) -> Refused:
    """The refusal of a request that would end the connection."""
    message = f"the request has {have} bytes, the server takes {need}"
    return Refused(ErrorCode.MESSAGE_TOO_LARGE, message, rule="FRAME_BYTES", have=have, need=need)
