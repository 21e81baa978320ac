"""The Python SDK: one user's device, connected as long as the server lets it.

    from collections.abc import Callable

    from protocol.client import Connected, Event, connect
    from protocol.frames import Resume
    from protocol.messages import text_body

    async def main(url: str, user_sig: str, cursor: str | None, save: Callable) -> None:
        async with connect(url, "alice", user_sig, device_id="laptop-1", cursor=cursor) as client:
            await client.send_message("crew", text_body("hello"))
            async for item in client.events():
                if isinstance(item, Event):
                    print(item.group_id, item.event, item.data)
                elif isinstance(item, Connected) and item.resume is Resume.RESET:
                    print(await client.list_joined_groups())  # what was missed cannot be had
                client.acknowledge()
                save(client.cursor)  # the next process starts from it

What the client promises:

- **Events** come exactly once and in commit order, across lost connections and, with the cursor,
  across processes; what the server cannot replay is announced by a ``Connected`` with ``reset``,
  at its place in the stream. ``Disconnected`` and ``Connected`` tell of the connection itself.
- **Calls** are applied exactly once: they keep their request id, and those in flight when a
  connection breaks are sent again on the next one, in the order in which they were made.
- **Connecting again** goes on until ``close`` or until the server says that it is of no use
  (``CLOSES``): after a full jitter of min(30 s, 0.5 s x 2^n) after n failures in a row, and never
  sooner than the server asks. A connection that brought nothing after its welcome is a failure.
- **Memory** is bounded. When ``max_queued_events`` wait for the application, the client stops
  reading, and the server keeps the rest in its log. While a call waits, it reads on, because the
  reply comes on the same stream: calling inside the events loop never deadlocks. Beyond eight
  times the bound it lets go of further events and asks the server for them again, by
  connecting anew once the application has caught up. (Events that no log keeps, such as typing,
  are then lost; they are best effort everywhere.)
"""

import asyncio
from collections.abc import Mapping
from random import Random, SystemRandom
from types import TracebackType
from typing import Any, Final, Self, overload

import msgspec

from protocol.client_attempts import Attempts, CallTimeout
from protocol.client_base import CallOptions, R
from protocol.client_calls import params_of
from protocol.client_link import Clock, LoopClock
from protocol.client_methods import Methods
from protocol.client_session import Session, Settings, UserSig
from protocol.client_stream import Connected, Disconnected, EventStream, Item
from protocol.codec import MSGPACK, Codec
from protocol.commands import Command
from protocol.events import Event
from protocol.methods import METHOD_OF
from protocol.results import Result

__all__ = [
    "CallTimeout",
    "Client",
    "ClientClosed",
    "Connected",
    "Disconnected",
    "Event",
    "Item",
    "UserSig",
    "connect",
]


class ClientClosed(Exception):
    """``close`` was called; whether a call that was in flight took effect is unknown."""


class Client(Methods):
    """One device of one user. ``async with`` starts and closes it.

    Args:
        url: ``ws(s)://host:port/ws``.
        user_id: who connects.
        user_sig: the user's token, or a function (plain or async) that gives a fresh one at
            each connect. When the function raises OSError, that counts as a failed attempt to
            connect; any other exception ends the client.
        device_id: which of the user's devices this is, 1 to 64 printable ASCII; a second
            connection of the same device replaces the first.
        platform: what kind of device.
        codec: MSGPACK, or JSON for readable traffic.
        cursor: where an earlier process stopped (its ``cursor``), or None: from now on.
        timeout_s: for calls and for ``start``, where they say nothing else.
        open_timeout_s: for one attempt to connect, from the TCP connection to the welcome.
        retry_rate_limited: whether calls refused with TOO_MANY_REQUESTS or GROUP_MESSAGE_RATE
            are retried.
        receive_events: False for a client that only calls: events are not kept, there is no
            stream to read, and ``cursor`` follows what arrives.
        max_queued_events: when this many wait for the application, reading stops (see above).
        websocket_options: further arguments for ``websockets.asyncio.client.connect``, such as
            ``ssl``, ``proxy`` and ``additional_headers``.
        random: for the jitter.
        clock: for the waiting between attempts and the heartbeats.
    """

    def __init__(
        self,
        url: str,
        user_id: str,
        user_sig: UserSig,
        *,
        device_id: str,
        platform: str = "python",
        codec: Codec = MSGPACK,
        cursor: str | None = None,
        timeout_s: float = 60.0,
        open_timeout_s: float = 10.0,
        retry_rate_limited: bool = True,
        receive_events: bool = True,
        max_queued_events: int = 1024,
        websocket_options: Mapping[str, Any] | None = None,
        random: Random | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._receive_events = receive_events
        settings = Settings(
            url=url,
            user_id=user_id,
            user_sig=user_sig,
            device_id=device_id,
            platform=platform,
            codec=codec,
            open_timeout_s=open_timeout_s,
            max_queued_events=max_queued_events,
            websocket_options=websocket_options or {},
            random=random or SystemRandom(),
            clock=clock or LoopClock(),
        )
        self._session = Session(settings, cursor, keeps_events=receive_events)
        self._attempts = Attempts(
            settings, self._session, timeout_s, retry_rate_limited=retry_rate_limited
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def cursor(self) -> str | None:
        """The place after everything that the application has finished with; persist this one.

        An item is finished with when the application asks the stream for the next one, or calls
        ``acknowledge``. The cursor moves past the events of one server message together, with the
        last of them: a process that starts from it may see events of that message again, and
        never misses one.
        """
        return self._session.stream.processed

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection that was welcomed and is not known to be lost."""
        return self._session.is_connected

    @property
    def limits(self) -> Mapping[str, int]:
        """The limits that the last welcome told, by lower-case name; empty before the first."""
        welcome = self._session.welcome
        return {} if welcome is None else welcome.limits

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self, timeout_s: float | None = None) -> None:
        """Connect, and return after the first welcome; failed attempts are repeated until then.

        Raises:
            ConnectionRefused: the server says that this will not work.
            TimeoutError: no welcome within ``timeout_s`` (the client's when None); it says what
                the last attempt met. The client is closed.
            RuntimeError: the client was started before.
        """
        if self._task is not None or self._session.end_cause is not None:
            raise RuntimeError("a client is started once")
        self._task = asyncio.create_task(self._session.run())
        self._task.add_done_callback(self._on_task_done)
        try:
            async with asyncio.timeout(self._timeout_s if timeout_s is None else timeout_s):
                await self._session.has_begun.wait()
        except TimeoutError:
            await self.close()
            raise TimeoutError(
                f"not connected in time; last: {self._session.last_trouble}"
            ) from None
        except asyncio.CancelledError:
            await self.close()
            raise
        if self._session.end_cause is not None:
            raise self._session.end_cause

    async def close(self) -> None:
        """Close the connection normally and wait for everything this client runs; idempotent.

        Calls that wait raise ``ClientClosed``, the stream of events ends, and ``cursor`` stays
        what it is.
        """
        self._session.end(ClientClosed("the client is closed"), is_close=True)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def events(self) -> EventStream:
        """The stream of ``Event``, ``Connected`` and ``Disconnected``, for ``async for``.

        It is the same stream each time, for one reader at a time. It ends after ``close``; after
        everything that came before it raises ``ConnectionRefused`` when the server has refused
        the connection for good.

        Raises:
            RuntimeError: the client was made with ``receive_events=False``.
        """
        if not self._receive_events:
            raise RuntimeError("this client was told not to receive events")
        return self._session.stream

    def __aiter__(self) -> EventStream:
        return self.events()

    def acknowledge(self) -> None:
        """Note that the item taken last is finished with, without asking for the next one.

        ``cursor`` then stands after it if it was the last of its server message: for an
        application that stores what it made of an event together with the cursor.
        """
        self._session.stream.acknowledge()

    @overload
    async def call(
        self,
        method: str,
        params: Mapping[str, object] | None = None,
        *,
        request_id: str | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, object]: ...

    @overload
    async def call(
        self,
        method: str,
        params: Command,
        *,
        request_id: str | None = None,
        timeout_s: float | None = None,
    ) -> Result: ...

    async def call(
        self,
        method: str,
        params: Mapping[str, object] | Command | None = None,
        *,
        request_id: str | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, object] | Result:
        """The result of ``method``: a map for a map of parameters, a struct for a command.

        Sent at once, or when fewer than the server's ``requests_in_flight`` are unanswered, or
        when there is a connection again. Retried with the same ``request_id`` until the
        timeout: after a lost connection (in the order of the calls), and with backoff after the
        errors that the server calls retryable (UNAVAILABLE, OUTCOME_UNKNOWN, INTERNAL, and those
        about rates unless ``retry_rate_limited`` is off), never sooner than
        ``detail.retry_after_ms``. A call that was refused and retried may take effect after
        calls that were made later; await each one where order matters.

        Args:
            method: a row of METHODS, or whatever the server has (``list_methods``).
            params: the fields by name, or the method's command.
            request_id: the idempotency key, 1 to 64 printable ASCII; a new one when None.
            timeout_s: for all attempts together; the client's when None.

        Raises:
            Refused: the server's refusal (an error code that this version does not know comes as
                INTERNAL, its number in the message), also a retryable one when the next attempt
                would be too late; or BAD_REQUEST or MESSAGE_TOO_LARGE without asking the
                server, for what the connection would not survive.
            CallTimeout: no answer in time; it carries the request id.
            ConnectionRefused: the server has refused the connection for good.
            ClientClosed: ``close`` was called.
            ValueError: ``request_id`` is no request id, or is in flight in another call.
            RuntimeError: the client was not started.
        """
        if not isinstance(params, Command):
            return await self._attempts.result(method, params or {}, request_id, timeout_s)
        row = METHOD_OF[type(params)]
        if row.name != method:
            raise ValueError(f"{type(params).__name__} is the command of {row.name}")
        return await self._ask(
            params, row.result, CallOptions(request_id=request_id, timeout_s=timeout_s)
        )

    async def _ask(self, command: Command, result: type[R], options: CallOptions) -> R:
        answer = await self._attempts.result(
            METHOD_OF[type(command)].name,
            params_of(command),
            options.get("request_id"),
            options.get("timeout_s"),
        )
        return msgspec.convert(answer, result)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        """End the client with what ended its connections; only a close cancels the task."""
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._session.end(error, is_close=False)


connect: Final = Client
"""``async with connect(...) as client``: the client with the same arguments."""
