"""One simulated device: connects, calls, goes away, comes back, and writes down what it is given."""

import asyncio
import time
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

from protocol.codec import Codec
from protocol.errors import CLOSES, CloseCode
from scripts.common.link import Link, open_link
from scripts.loadgen.calls import Call, Calls, Given
from scripts.loadgen.ledger import Bye, Ledger, News, Pong, Reply, Welcome
from scripts.loadgen.naps import Naps
from scripts.loadgen.record import DeviceRecord
from scripts.loadgen.suspicions import Suspicions, Watcher
from scripts.loadgen.timeline import Timeline

_WELCOME_S: Final = 30.0
_FIRST_PATIENCE_S: Final = 5.0
_PATIENCE_S: Final = 60.0
"""For how long it tries to connect: when it never was, and when it was."""

_BETWEEN_S: Final = (0.03, 0.5)
"""Before the second attempt to connect, and the longest time between two."""


class Lost(Exception):
    """The device cannot connect any more; the message says why."""


class Device:
    """A device of a user.

    Args:
        user_sig: the user's token.
        timeline: where deliveries are counted.
        suspicions: where what looks wrong is counted.
        is_slow: it reads now and then, and little at a time.

    Attributes:
        record: what it was given.
        tails: the last number of each log.
        calls: requests without an answer.
        troubles: what went wrong with its connections.
        pages: how many messages held more than one event: those came from the log;
            ``paged`` is how many events they held.
        resumes: how often it came back.
        listening_since_s: messages due after this count for latencies: since it came of its own
            will, whatever the server did to its connection; never for a slow one.
        wants_connection: whether a lost connection is made anew by itself.
        on_down: called when the connection is gone, for whatever reason.
    """

    def __init__(
        self,
        *,
        url: str,
        user_id: str,
        device_id: str,
        user_sig: str,
        codec: Codec,
        ledger: Ledger,
        is_slow: bool,
        seed: int,
        timeline: Timeline | None = None,
        suspicions: Suspicions | None = None,
    ) -> None:
        self.user_id = user_id
        self.device_id = device_id
        self.is_slow = is_slow
        self.record = DeviceRecord(user_id=user_id, device_id=device_id)
        self.tails: dict[tuple[bool, str], int] = {}
        self.calls = Calls(self._send, self._given)
        self.troubles: list[str] = []
        self.deliveries = 0
        self.pages = 0
        self.paged = 0
        self.resumes = 0
        self.listening_since_s = float("inf")
        self.wants_connection = False
        self.is_loss_expected = False
        self.on_down: Callable[[], None] = lambda: None
        self._url = url
        self._user_sig = user_sig
        self._codec = codec
        self._ledger = ledger
        self._timeline = Timeline() if timeline is None else timeline
        self._watcher = Watcher(self.record, self.tails, suspicions or Suspicions())
        self._random = Random(seed)
        self._naps = Naps(self._random)
        self._link: Link | None = None
        self._cursor: str | None = None
        self._welcome: asyncio.Future[Welcome] | None = None
        self._pong: asyncio.Future[None] | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._bye: Bye | None = None
        self._was_slow = is_slow

    @property
    def is_up(self) -> bool:
        """Whether it is connected and welcomed."""
        return self._link is not None and self._link.is_open

    async def connect(self) -> None:
        """Be connected; tries again until it is.

        Raises:
            Lost: the server does not want it, or is not there for too long.
        """
        self.wants_connection = True
        if not self.is_up:
            if self._connecting is None or self._connecting.done():
                self._start_connecting()
            assert self._connecting is not None  # it was started
            await asyncio.shield(self._connecting)

    def drop(self, *, is_polite: bool) -> None:
        """Go away: with a close frame, or as somebody whose battery is empty."""
        self.wants_connection = False
        link, self._link = self._link, None
        self._naps.end()
        self.listening_since_s = float("inf")
        self.calls.disconnected(is_wanted=True)
        if link is not None:
            link.mute()
            link.close() if is_polite else link.abort()
            self.on_down()

    async def call(
        self, method: str, params: Mapping[str, Any], request_id: str
    ) -> tuple[Call, Reply]:
        """The answer, however many connections it takes.

        A connection has as many requests in flight as the server allows; what its limits refuse
        is sent again when it says.

        Raises:
            Lost: the device cannot connect any more.
        """
        message = {"type": "request", "id": request_id, "method": method, "params": params}
        call = Call(
            id=request_id,
            payload=self._codec.encode(message),
            is_watched=self.is_up and self.resumes == 0 and not self.is_slow,
            reply=asyncio.get_running_loop().create_future(),
        )
        self.calls.add(call)
        return call, await call.reply

    async def is_lost(self) -> None:
        """Return when the server is gone as far as this device can see."""
        self._naps.end()
        if self._link is not None and self.is_up:
            self._link.resume()
            await self.settle()

    async def settle(self) -> None:
        """Return when everything that the server had written for it before has been read."""
        if self._link is None:
            return
        self._pong = asyncio.get_running_loop().create_future()
        self._link.send(self._codec.encode({"type": "ping"}), is_binary=self._codec.is_binary)
        await self._pong

    def wake(self) -> None:
        """Stop being slow."""
        self.is_slow = False
        self._naps.end()
        if self._link is not None:
            self._link.resume()

    # Connecting.

    def _start_connecting(self) -> None:
        self._connecting = asyncio.ensure_future(self._keep_trying())
        self._connecting.add_done_callback(self._on_connecting_done)

    def _on_connecting_done(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Lost):
            self.calls.fail(error)

    async def _keep_trying(self) -> None:
        patience_s = _FIRST_PATIENCE_S if self._cursor is None else _PATIENCE_S
        give_up_s = time.monotonic() + patience_s
        pause_s, longest_s = _BETWEEN_S
        why = ""
        while self.wants_connection and time.monotonic() < give_up_s:
            try:
                await self._try_once()
            except (OSError, TimeoutError) as error:
                why = _words(self._bye) or str(error) or type(error).__name__
                if self._bye is not None and not _may_come_back(self._bye.code):
                    raise Lost(f"{self.device_id} of {self.user_id}: {why}") from error
            else:
                return
            await asyncio.sleep(pause_s * self._random.uniform(0.5, 1.0))
            pause_s = min(longest_s, 1.5 * pause_s)
        if self.wants_connection:
            raise Lost(f"{self.device_id} of {self.user_id} cannot connect: {why}")

    async def _try_once(self) -> None:
        self._welcome = asyncio.get_running_loop().create_future()
        self._bye = None
        link = await open_link(
            self._url,
            self._codec.subprotocol,
            self._on_message,
            self._on_lost,
            is_narrow=self.is_slow,
        )
        hello: dict[str, Any] = {
            "type": "hello",
            "user_id": self.user_id,
            "user_sig": self._user_sig,
            "device_id": self.device_id,
            "platform": "load",
            "cursor": self._cursor,
        }
        link.send(self._codec.encode(hello), is_binary=self._codec.is_binary)
        try:
            async with asyncio.timeout(_WELCOME_S):
                welcome = await self._welcome
        except BaseException:
            link.mute()
            link.abort()
            raise
        if not self.wants_connection:
            link.mute()
            link.abort()
            return
        self._check_welcome(welcome, hello["cursor"])
        self._link = link
        self.calls.connected(int(welcome.limits.get("requests_in_flight", 0)))
        if self.is_slow:
            self._naps.begin(link)

    def _check_welcome(self, welcome: Welcome, cursor: str | None) -> None:
        expected = "fresh" if cursor is None else "resumed"
        if welcome.resume != expected:
            self._trouble(f"was welcomed with {welcome.resume} ({welcome.reason}), not {expected}")
        self.resumes += cursor is not None

    def _on_lost(self, code: int | None, reason: str) -> None:
        if self._welcome is not None and not self._welcome.done():
            self._welcome.set_exception(ConnectionError(reason))
            self._welcome.exception()  # it may be that nobody waits any more
        if self._pong is not None and not self._pong.done():
            self._pong.set_result(None)
        if not self.wants_connection or self._link is None:
            return
        self._link = None
        self._naps.end()
        self.calls.disconnected(is_wanted=False)
        self.on_down()
        self._timeline.mark(time.monotonic(), "connections lost", is_minor=True)
        # One that sent too much for the server's limits was told so; calls.limited counts that.
        was_too_much = self._bye is not None and self._bye.code == CloseCode.TOO_MANY
        if not self.is_loss_expected and not was_too_much:
            self._trouble(f"lost its connection: {code} {_words(self._bye) or reason}")
        self._start_connecting()

    def _trouble(self, text: str) -> None:
        self.troubles.append(f"{self.device_id} of {self.user_id} {text}")

    # Listening.

    def _on_message(self, payload: bytes) -> None:
        frame = self._ledger.read(payload, self._codec, self.user_id)
        if isinstance(frame, News):
            self._take_news(frame)
        elif isinstance(frame, Reply):
            self._take_reply(frame)
        elif isinstance(frame, Welcome):
            self._take_welcome(frame)
        elif isinstance(frame, Pong):
            self._cursor = frame.cursor
            if self._pong is not None and not self._pong.done():
                self._pong.set_result(None)
        else:
            self._bye = frame

    def _take_welcome(self, frame: Welcome) -> None:
        # Where it resumes the cursor is the one that was named.
        self._cursor = frame.cursor
        if not self._was_slow and self.listening_since_s == float("inf"):
            self.listening_since_s = time.monotonic()
        if self._welcome is not None and not self._welcome.done():
            self._welcome.set_result(frame)

    def _take_reply(self, frame: Reply) -> None:
        self._cursor = frame.cursor
        self.calls.take(frame)

    def _send(self, payload: bytes) -> None:
        if self._link is not None:
            self._link.send(payload, is_binary=self._codec.is_binary)

    def _given(self) -> Given:
        return len(self.record.stream), len(self.record.unstored)

    def _take_news(self, news: News) -> None:
        now_s = time.monotonic()
        record = self.record
        second = self._timeline.at(now_s)
        second.deliveries += len(news.entries)
        self.deliveries += len(news.entries)
        if len(news.entries) > 1:
            self.pages += 1
            self.paged += len(news.entries)
        for entry in news.entries:
            if entry.number:
                self._watcher.look(entry)
                record.stream.append(entry.index)
                self.tails[entry.is_inbox, entry.log] = entry.number
            else:
                record.unstored.append((entry.index, now_s))
            if self.listening_since_s < entry.due_s:
                second.news.add(now_s - entry.due_s)
        self._cursor = news.cursor


def _words(bye: Bye | None) -> str:
    return "" if bye is None else f"{bye.code} {bye.reason}"


def _may_come_back(code: int) -> bool:
    """Whether a connection closed with ``code`` may be made again (``protocol.md``, Closing)."""
    try:
        return CLOSES[CloseCode(code)].reconnect
    except ValueError:
        return True
