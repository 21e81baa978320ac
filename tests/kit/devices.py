"""The whole server but its sockets, in one process: a world, and devices that are connected to it.

The executor, the dispatcher, the queries, the hub, the catch-up and the conversation are the real
ones, wired as the composition root wires them. Imitated are the socket, by ``Device``, and the
listener, by ``World``: everybody is who they say they are.
"""

import asyncio
import itertools
import struct
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

from protocol.callbacks import OFFERED
from protocol.codec import JSON, Codec, Malformed, ValueLimits
from protocol.errors import CloseCode, ConnectionRefused, ErrorCode, Refused
from protocol.events import Event
from protocol.frames import Bye, Events, Hello, Pong, Reply, Request, ServerFrame, Welcome
from protocol.limits import LIMITS, default_limits
from protocol.results import ErrorBody
from server.domain.rules import Rulebook
from server.hub.catch_up import CatchUp
from server.hub.comings import announce_devices
from server.hub.hub import Hub
from server.hub.session import Mode, Session
from server.hub.wire import framed
from server.service.announcements import Announcements
from server.service.approval import Approval
from server.service.changes import Changes
from server.service.departures import Departures
from server.service.dispatcher import Dispatcher
from server.service.executor import Executor
from server.service.outbox import Outbox
from server.service.ports import Committed, Heads, Store
from server.service.queries import Queries
from server.storage.memory import MemoryStore
from server.storage.sqlite import open_sqlite
from server.transport.admission import Gates, Identity
from server.transport.connection import Connection
from server.transport.conversation import Conversation
from server.transport.listener import Listener
from server.webhooks.deliveries import Deliveries
from server.webhooks.questions import Questions
from server.webhooks.receiver import Receiver
from tests.kit.fakes import FakeClock, FakeTokens, until

ADMIN: Final = "administrator"
"""The user ID that a world takes for the operator's."""

STORES: Final = ("memory", "sqlite")
SHARD: Final = 0
EPOCH: Final = "k7f2"


class Gone(Exception):
    """The connection ended before the answer came."""


class World:
    """A server without sockets; ``world_on`` makes one.

    Attributes:
        fatal: how often the executor asked for the end of the process.
    """

    def __init__(
        self,
        store: Store,
        heads: Heads,
        rulebook: Rulebook,
        *,
        is_only_writer: bool = True,
        receiver: Receiver | None = None,
        callbacks: Collection[str] = OFFERED,
        blocks_on_failure: bool = False,
    ) -> None:
        self.store = store
        self.rulebook = rulebook
        self.clock = FakeClock()
        self.tokens = FakeTokens()
        self.hub = Hub(heads, rulebook)
        self.fatal = 0
        self.deliveries = None if receiver is None else self._deliveries(receiver)
        announcements = None
        if self.deliveries is not None:
            announcements = Announcements(
                callbacks, self.tokens, self.deliveries, rulebook.limits["GROUPS_PER_DAY"]
            )
            announce_devices(self.hub, announcements, self.clock)
        self.executor = Executor(
            store=store,
            publisher=self.hub,
            presence=self.hub,
            clock=self.clock,
            tokens=self.tokens,
            rulebook=rulebook,
            is_only_writer=is_only_writer,
            on_fatal=self._fail,
            announcements=announcements,
            shard=SHARD,
        )
        approval = None
        self.questions: Questions | None = None
        if receiver is not None and self.deliveries is not None:
            self.questions = Questions(
                receiver,
                clock=self.clock,
                limits=rulebook.limits,
                blocks_on_failure=blocks_on_failure,
            )
            self.questions.on_word = self.deliveries.was_asked
            approval = Approval(
                callbacks,
                self.questions,
                store=store,
                clock=self.clock,
                has_taken=self.executor.has_taken,
            )
        self.queries = Queries(store, self.hub, rulebook, self.executor.rows)
        self.changes = Changes(self.executor, approval)
        self.dispatcher = Dispatcher(self.changes, self.queries, self.clock, rulebook)
        self.catch_up = CatchUp(
            hub=self.hub,
            store=store,
            clock=self.clock,
            rulebook=rulebook,
            server_name="muster/test",
            welcome_limits={
                name.lower(): rulebook.limits[name] for name in LIMITS if LIMITS[name].in_welcome
            },
            shard=SHARD,
        )
        self.hub.on_parted = Departures(self.executor, self.hub.rooms.forget_parting).part
        self.devices: list[Device] = []
        self.request_ids = (f"q{number}" for number in itertools.count(1))
        # What a conversation asks of the listener that it came by.
        self.authenticator = self
        self.gates = Gates(rulebook)
        self.limits = rulebook.limits
        self.value_limits = ValueLimits.of(rulebook.limits)
        self._work = asyncio.ensure_future(self.executor.run())

    def _fail(self) -> None:
        self.fatal += 1

    def _deliveries(self, receiver: Receiver) -> Deliveries:
        return Deliveries(
            outbox=cast(Outbox, self.store),
            receiver=receiver,
            clock=self.clock,
            limits=self.rulebook.limits,
            jitter=lambda: 1.0,
        )

    async def deliver(self) -> None:
        """Return when all is told outside that can be told now."""
        assert self.deliveries is not None
        await self.settle()
        while True:
            await self.deliveries.turn()
            await until(lambda: self.deliveries is not None and self.deliveries.is_resting)
            if not self.deliveries._ready or self.deliveries._breaker.is_open:
                return

    def connect(
        self,
        user_id: str,
        device_id: str = "d1",
        codec: Codec = JSON,
        cursor: str | None = None,
        *,
        platform: str = "test",
    ) -> "Device":
        """A device that has said hello; its welcome is on the way."""
        device = Device(self, user_id, device_id, codec)
        self.devices.append(device)
        hello = Hello(
            user_id=user_id, user_sig="", device_id=device_id, platform=platform, cursor=cursor
        )
        device.say_hello(hello)
        return device

    def identify(self, hello: Hello) -> Identity:
        """Believes everybody."""
        return Identity(hello.user_id, hello.user_id == ADMIN)

    async def online(
        self, user_id: str, device_id: str = "d1", codec: Codec = JSON, cursor: str | None = None
    ) -> "Device":
        """Like ``connect``, and live."""
        device = self.connect(user_id, device_id, codec, cursor)
        await until(lambda: device.is_live or device.closed)
        await self.settle()
        return device

    async def settle(self) -> None:
        """Return when all is answered and told that can be without anybody reading on."""
        while True:
            await self.dispatcher.settled()
            if not self.hub._dirty and all(map(_rests, self.hub.sessions())):
                return
            await asyncio.sleep(0)

    async def log(self) -> list[Committed]:
        """All that was ever told, in commit order."""
        return list(await self.store.tail(SHARD, 0, 1_000_000))

    async def close(self) -> None:
        if self.deliveries is not None:
            await self.deliveries.stop()
        for device in self.devices:
            device.drop()
        self._work.cancel()
        await asyncio.gather(self._work, return_exceptions=True)
        await self.catch_up.stop()


def _rests(session: Session) -> bool:
    return session.mode is not Mode.CATCHING_UP or (
        session.is_paused and (session._writable is not None or not session.has_reader)
    )


def rulebook_with(limits: Mapping[str, int] | None = None) -> Rulebook:
    """The default rules, some limits replaced."""
    changed = dict(limits or {})
    assert set(changed) <= set(LIMITS)
    return Rulebook(limits=default_limits() | changed)


@asynccontextmanager
async def store_of(kind: str, directory: Path) -> AsyncIterator[Store]:
    """An empty store of the kind; SQLite's is in ``directory``."""
    store: Store
    if kind == "memory":
        store = MemoryStore(epoch=EPOCH)
    else:
        store = await open_sqlite(directory, epoch=EPOCH)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def world_on(
    store: Store,
    rulebook: Rulebook | None = None,
    *,
    is_only_writer: bool = True,
    receiver: Receiver | None = None,
    callbacks: Collection[str] = OFFERED,
    blocks_on_failure: bool = False,
) -> AsyncIterator[World]:
    """A running world on the store, which stays open afterwards.

    With a ``receiver`` the operator's own service is asked and told, of ``callbacks``.
    """
    world = World(
        store,
        await store.heads(SHARD),
        rulebook or rulebook_with(),
        is_only_writer=is_only_writer,
        receiver=receiver,
        callbacks=callbacks,
        blocks_on_failure=blocks_on_failure,
    )
    try:
        yield world
    finally:
        await world.close()


class Device:
    """A connected device: what it was sent and has read, in order.

    It is the ``Sink`` of its session and pauses it as asyncio's transport would: when more than
    OUTGOING_BYTES are unread, until a quarter of that is left. It reads at once what it is sent
    unless it is stalled. Nothing of its own is taken while it is paused.

    Attributes:
        frames: every frame that it has read, and ``frame_bytes`` how long their payloads were.
        events: every event in them.
        cursor: the cursor of the newest welcome or events that it has read.
        closed: why the server closed the connection; set when it does, read or not.
        most_unread: the most bytes that were unread at one time.
        replies: request id -> the replies that it has read to it.
        on_frame: called with each frame when it is read, for tests that check as they go.
    """

    def __init__(self, world: World, user_id: str, device_id: str, codec: Codec) -> None:
        self.world = world
        self.address = "192.0.2.1"
        self.user_id = user_id
        self.device_id = device_id
        self.codec = codec
        self.frames: list[ServerFrame] = []
        self.frame_bytes: list[int] = []
        self.events: list[Event] = []
        self.replies: defaultdict[str, list[Reply]] = defaultdict(list)
        self.cursor: str | None = None
        self.closed: ConnectionRefused | None = None
        self.is_dropped = False
        self.is_stalled = False
        self.pauses = 0
        self.most_unread = 0
        self.on_frame: Callable[[ServerFrame], None] = lambda _frame: None
        self._conversation = Conversation(cast(Listener, world), cast(Connection, self), codec)
        self._unread = bytearray()
        self._read = bytearray()
        self._is_paused = False
        self._is_held = False
        self._unsent: deque[bytes] = deque()
        self._waiting: defaultdict[str, deque[asyncio.Future[Reply]]] = defaultdict(deque)

    # What the server does with it.

    def write(self, data: bytes) -> None:
        if self.closed is None and not self.is_dropped:
            self._take(data)

    def close(self, why: ConnectionRefused) -> None:
        if self.closed is not None or self.is_dropped:
            return
        if why.code is not CloseCode.TOO_SLOW:
            self.session.flush_all()
        self._take(framed(self.codec, Bye(code=why.code, reason=why.reason)))
        self.closed = why
        self.world.hub.remove(self.session)
        self._give_up()

    def _take(self, data: bytes) -> None:
        self._unread += data
        if not self.is_stalled:
            self.read()
        unread = len(self._unread)
        self.most_unread = max(self.most_unread, unread)
        if unread > self.world.rulebook.limits["OUTGOING_BYTES"] and not self._is_paused:
            self._is_paused = True
            self.pauses += 1
            self.world.catch_up.pause(self.session)

    def receive_early(self, data: bytes) -> None:
        if self.is_open:
            self._receive(data)

    def stop_taking(self) -> None:
        self._is_held = True

    def take_again(self) -> None:
        self._is_held = False
        while self._unsent and self._may_send():
            self._receive(self._unsent.popleft())

    def _receive(self, data: bytes) -> None:
        try:
            self._conversation.receive(data, is_binary=self.codec.is_binary)
        except Malformed as error:
            self.close(ConnectionRefused(CloseCode.MALFORMED, str(error)))
        except ConnectionRefused as why:
            self.close(why)

    # What it does itself.

    @property
    def session(self) -> Session:
        session = self._conversation.session
        assert session is not None, "there is one from the hello on"
        return session

    @property
    def is_live(self) -> bool:
        return self.session.mode is Mode.LIVE

    @property
    def is_open(self) -> bool:
        return self.closed is None and not self.is_dropped

    @property
    def unread(self) -> int:
        return len(self._unread)

    @property
    def welcome(self) -> Welcome:
        first = self.frames[0]
        assert isinstance(first, Welcome)
        return first

    @property
    def stored_events(self) -> list[Event]:
        return [event for event in self.events if is_stored(event)]

    def say_hello(self, hello: Hello) -> None:
        """Begin. Nothing comes before it."""
        self._receive(self.codec.encode(hello))

    def stall(self) -> None:
        """Read nothing from now on."""
        self.is_stalled = True

    def unstall(self) -> None:
        """Read what has come, and again at once what comes."""
        self.is_stalled = False
        self.read()

    def read(self, most_bytes: int | None = None) -> None:
        """Read some of what has come, or all of it."""
        taken = bytes(self._unread[:most_bytes])
        del self._unread[: len(taken)]
        self._read += taken
        while (payload := _next_payload(self._read, self.codec)) is not None:
            self.frame_bytes.append(len(payload))
            self._understand(self.codec.decode_server(payload))
        low_mark = self.world.rulebook.limits["OUTGOING_BYTES"] // 4
        if self._is_paused and len(self._unread) <= low_mark:
            self._is_paused = False
            if self.is_open:
                self._resume()

    def _resume(self) -> None:
        self.world.catch_up.resume(self.session)
        self.take_again()

    def _may_send(self) -> bool:
        return self.is_open and not self._is_paused and not self._is_held

    def drop(self) -> None:
        """The connection is cut; what was not read is lost."""
        if not self.is_dropped:
            self.is_dropped = True
            self._unread.clear()
            self.world.hub.remove(self.session)
            self._give_up()

    def send(
        self, method: str, *, request_id: str | None = None, **params: object
    ) -> "asyncio.Future[Reply]":
        """Send a request; the future is its reply, when it has been read."""
        request = Request(
            id=request_id or next(self.world.request_ids), method=method, params=params
        )
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[request.id].append(reply)
        if not self.is_open:
            self._give_up()
        else:
            self.send_bytes(self.codec.encode(request))
        return reply

    def send_bytes(self, data: bytes) -> None:
        """Send a message that may be anything."""
        if self._may_send():
            self._receive(data)
        elif self.is_open:
            self._unsent.append(data)

    async def call(
        self, method: str, *, request_id: str | None = None, **params: object
    ) -> dict[str, Any]:
        """The result of a request.

        Raises:
            Refused: the error of the reply.
            Gone: the connection ended first.
        """
        return result_of(await self.send(method, request_id=request_id, **params))

    async def refusal(
        self, method: str, *, request_id: str | None = None, **params: object
    ) -> Refused:
        """The error of a request that must be refused."""
        reply = await self.send(method, request_id=request_id, **params)
        assert reply.error is not None, f"{method} was not refused: {reply.result}"
        return refusal_of(reply.error)

    async def say(self, group_id: str, text: str) -> dict[str, Any]:
        """Send a text message."""
        return await self.call("send_message", group_id=group_id, body=body(text))

    def texts(self, group_id: str) -> list[str]:
        """The texts of the messages of a group that it has read."""
        return [
            text_of(event)
            for event in self.events
            if event.group_id == group_id and event.event == "message"
        ]

    def _understand(self, frame: ServerFrame) -> None:
        self.frames.append(frame)
        if isinstance(frame, Welcome):
            self.cursor = frame.cursor
        elif isinstance(frame, Events):
            self.events.extend(frame.events)
            self.cursor = frame.cursor
        elif isinstance(frame, Reply):
            self.replies[frame.id].append(frame)
            waiting = self._waiting[frame.id].popleft()
            if not waiting.done():
                waiting.set_result(frame)
        else:
            assert isinstance(frame, Pong | Bye)
        self.on_frame(frame)

    def _give_up(self) -> None:
        for waiting in itertools.chain.from_iterable(self._waiting.values()):
            if not waiting.done():
                waiting.set_exception(Gone)
                waiting.exception()  # not every test waits for it


def _next_payload(data: bytearray, codec: Codec) -> bytes | None:
    """Cut the first whole WebSocket frame off ``data`` (RFC 6455 section 5.2)."""
    if len(data) < 2:
        return None
    first = 0x82 if codec.is_binary else 0x81
    assert data[0] == first, "not a final data frame of the codec"
    length, start = data[1], 2
    assert length < 128, "a server's frame is not masked"
    if length >= 126:
        start = 4 if length == 126 else 10
        if len(data) < start:
            return None
        (length,) = struct.unpack("!H" if start == 4 else "!Q", data[2:start])
    if len(data) < start + length:
        return None
    payload = bytes(data[start : start + length])
    del data[: start + length]
    return payload


def body(text: str) -> list[dict[str, Any]]:
    """The body of a text message."""
    return [{"type": "text", "content": {"text": text}}]


def text_of(event: Event) -> str:
    """The text of a text message."""
    return str(event.data["body"][0]["content"]["text"])


def is_stored(event: Event) -> bool:
    """Whether the event is in a log."""
    return event.seq is not None or event.inbox_seq is not None


def refusal_of(error: ErrorBody) -> Refused:
    """An error reply as the exception that it was made of."""
    refused = Refused(ErrorCode(error.code), error.message)
    refused.detail = error.detail
    return refused


def result_of(reply: Reply) -> dict[str, Any]:
    """What a reply answers."""
    if reply.error is not None:
        raise refusal_of(reply.error)
    result: dict[str, Any] = reply.result
    return result


def place_of_cursor(cursor: str | None) -> int:
    """The position in a cursor of this world, which only tests may look at."""
    assert cursor is not None
    epoch, _, position = cursor.partition(":")
    assert epoch == EPOCH
    return int(position)
