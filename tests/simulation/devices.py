"""Devices of users: the real SDK, on a network in memory, with a record of what it reads."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from protocol.client import Client, ClientClosed, Connected
from protocol.codec import DEFAULT_VALUE_LIMITS, Codec, ValueLimits
from protocol.errors import ConnectionRefused, Refused
from protocol.frames import Bye, Hello, Reply, ServerFrame, Welcome
from tests.simulation.network import Link
from tests.simulation.records import ConnectionRecord, RunRecord, in_short
from tests.simulation.trace import Trace
from tests.simulation.virtual_loop import Process, VirtualLoop, within

OnWelcome = Callable[[ConnectionRecord], None]


class Tap:
    """A codec that writes down every frame that the SDK reads, and its hellos."""

    def __init__(
        self,
        codec: Codec,
        loop: VirtualLoop,
        trace: Trace,
        process: Process,
        user_id: str,
        on_welcome: OnWelcome,
    ) -> None:
        self.name = codec.name
        self.subprotocol = codec.subprotocol
        self.is_binary = codec.is_binary
        self.connections: list[ConnectionRecord] = []
        self._codec = codec
        self._loop = loop
        self._trace = trace
        self._process = process
        self._user_id = user_id
        self._on_welcome = on_welcome
        self._hello: Hello | None = None
        self._current: ConnectionRecord | None = None
        self._link: Link | None = None

    def encode(self, frame: object) -> bytes:
        if isinstance(frame, Hello):
            self._hello = frame
            self._current = None
            self._link = self._process.last_link
        return self._codec.encode(frame)

    def decode(self, data: bytes, limits: ValueLimits = DEFAULT_VALUE_LIMITS) -> object:
        return self._codec.decode(data, limits)

    def decode_server(self, data: bytes) -> ServerFrame:
        frame = self._codec.decode_server(data)
        link, hello = self._link, self._hello
        assert link is not None
        assert hello is not None
        if isinstance(frame, Bye):
            self._trace.counts[f"bye {frame.code}"] += 1
        if isinstance(frame, Reply) and frame.error is not None:
            self._trace.counts[f"reply {frame.error.name}"] += 1
        self._trace.quiet("reads", self._process.name, link.number, *in_short(frame, self._user_id))
        if self._current is not None:
            was_live = link.server.pauses == 0
            self._current.read(frame, self._loop.time(), was_live=was_live)
        elif isinstance(frame, Welcome):
            label = f"{self._process.name} on connection {link.number}"
            term = link.server_term
            self._current = ConnectionRecord(self._user_id, label, term, hello, frame)
            self.connections.append(self._current)
            self._on_welcome(self._current)
        return frame


class SdkDevice:
    """A device of a user, whose application may be ended and started again.

    Attributes:
        cursor: what the application has kept.
        is_gone: it never comes back.
        ended: why the client gave up by itself: the close code, or None.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        trace: Trace,
        user_id: str,
        device_id: str,
        *,
        url: str,
        user_sig: str,
        codec: Codec,
        random: Random,
        max_queued_events: int,
        on_welcome: OnWelcome,
    ) -> None:
        self.user_id = user_id
        self.device_id = device_id
        self.cursor: str | None = None
        self.ended: int | None = None
        self.is_running = False
        self.is_gone = False
        self.think_s = 0.0
        self.runs: list[RunRecord] = []
        self.connections: list[ConnectionRecord] = []
        self.client: Client | None = None
        self.taken = 0
        self._loop = loop
        self._trace = trace
        self._url = url
        self._user_sig = user_sig
        self._codec = codec
        self._random = random
        self._max_queued_events = max_queued_events
        self._on_welcome = on_welcome
        self.process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._context = contextvars.copy_context()

    @property
    def link(self) -> Link | None:
        """Its newest connection."""
        return None if self.process is None else self.process.last_link

    @property
    def label(self) -> str:
        return f"{self.user_id}/{self.device_id}"

    def start(self, cursor: str | None) -> None:
        """Start the application, from ``cursor``."""
        assert not self.is_running
        self.is_running = True
        self.ended = None
        process = self.process = Process(f"{self.label}#{len(self.runs) + 1}")
        tap = Tap(self._codec, self._loop, self._trace, process, self.user_id, self._on_welcome)
        tap.connections = self.connections
        self.client = Client(
            self._url,
            self.user_id,
            self._user_sig,
            device_id=self.device_id,
            codec=tap,
            cursor=cursor,
            timeout_s=1e6,
            max_queued_events=self._max_queued_events,
            random=self._random,
            websocket_options={"proxy": None},
        )
        record = RunRecord(self.user_id, process.name, cursor)
        self.runs.append(record)
        self._trace.note("app starts", process.name, cursor)
        self._task = self._spawn(self._live(self.client, record))

    def call(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Do ``work`` as a part of the application."""
        return self._spawn(work)

    def kill(self) -> Process:
        """End the application at once, and return what is left of it; it keeps its cursor."""
        assert self.process is not None
        assert self.client is not None
        self._trace.note("app killed", self.process.name)
        self.cursor = self.client.cursor
        self.process.kill()
        self.is_running = False
        return self.process

    async def stop(self) -> None:
        """End the application as it should be."""
        if self.client is not None and self.is_running:
            self.is_running = False
            await self.client.close()
            self.cursor = self.client.cursor
            if self._task is not None:
                await asyncio.wait([self._task])

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        assert self.process is not None
        return within(self.process, lambda: self._loop.create_task(work), self._context.copy())

    async def _live(self, client: Client, record: RunRecord) -> None:
        try:
            await client.start(timeout_s=1e6)
            async for item in client.events():
                if self.think_s:
                    await asyncio.sleep(self.think_s)
                client.acknowledge()
                self.taken += 1
                record.take(item, client.cursor, self.connections)
                if isinstance(item, Connected):
                    self._trace.quiet("connected", record.label, item.resume, item.reason)
        except ConnectionRefused as refused:
            self._trace.note("refused for good", record.label, int(refused.code), refused.reason)
            self.ended = int(refused.code)
            self.is_running = False
            self.cursor = client.cursor


async def ask(
    client: Client, method: str, params: dict[str, Any], request_id: str, timeout_s: float
) -> str:
    """Call a method; what came of it, in short."""
    try:
        await client.call(method, params, request_id=request_id, timeout_s=timeout_s)
    except Refused as refused:
        return refused.code.name
    except (ClientClosed, ConnectionRefused) as error:
        return type(error).__name__
    except TimeoutError:
        return "timeout"
    return "ok"
