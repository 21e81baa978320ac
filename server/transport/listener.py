"""The WebSocket listener: accepts connections, keeps them alive, and drains them."""

import asyncio
import contextlib
import logging
import random
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from websockets.http11 import Request as HttpRequest

from protocol.codec import Codec, ValueLimits
from protocol.errors import CloseCode, ConnectionRefused
from server.domain.rules import Rulebook
from server.hub.catch_up import CatchUp
from server.hub.hub import Hub
from server.service.dispatcher import Dispatcher
from server.service.ports import Clock, Tokens
from server.transport.accepting import open_sockets
from server.transport.admission import Addresses, Authenticator, Gates
from server.transport.connection import Connection
from server.transport.conversation import Conversation, Talk
from server.transport.endings import ENDINGS

log = logging.getLogger(__name__)

_BACKLOG: Final = 4096
"""Connections that wait to be accepted; a small backlog makes a reconnect storm last long."""

_SWEEP_S: Final = 0.5
_HEARTBEAT_SLOTS: Final = 50
_VISITS: Final = 2
"""How often a connection is looked at within a heartbeat."""

_QUIET: Final = 0.75
"""Silent for so many heartbeats it is asked: between this and half a heartbeat more."""

_GONE: Final = 1.5
"""Silent for so many it is ended: between this and two."""


class Listener:
    """All WebSocket connections of this process, and what they share.

    Attributes:
        converse: makes what is said on a connection whose handshake was accepted: the protocol.
        says_bye: see ``WebSocketProtocol``; scripts/autobahn replaces both, nobody else does.
        opened_count: how many connections there ever were.
        open_sockets: what it listens on; the simulation listens in memory.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        catch_up: CatchUp,
        dispatcher: Dispatcher,
        authenticator: Authenticator,
        clock: Clock,
        tokens: Tokens,
        rulebook: Rulebook,
        is_behind_proxy: bool,
    ) -> None:
        self.hub = hub
        self.catch_up = catch_up
        self.dispatcher = dispatcher
        self.authenticator = authenticator
        self.clock = clock
        self.tokens = tokens
        self.limits: Mapping[str, int] = rulebook.limits
        self.value_limits = ValueLimits.of(rulebook.limits)
        self.addresses = Addresses(rulebook)
        self.gates = Gates(rulebook)
        self.converse: Callable[[Listener, Connection, Codec], Talk] = Conversation
        self.says_bye = True
        self.open_sockets: Callable[[str, int], Sequence[socket.socket]] = open_sockets
        self.is_draining = False
        self.closed_count = 0
        self.closes = dict.fromkeys(ENDINGS, 0)
        self.opened_count = 0
        self.paused: dict[Connection, None] = {}
        self.counted: set[Connection] = set()
        self.is_behind_proxy = is_behind_proxy
        # Not sets: those would be gone through in the order of addresses in memory.
        self._slots: list[dict[Connection, None]] = [{} for _ in range(_HEARTBEAT_SLOTS)]
        self._next_slot = 0
        self._slot_of: dict[Connection, int] = {}
        self._servers: list[asyncio.Server] = []
        self._turn_s = self.limits["HEARTBEAT_MS"] / 1000 / _VISITS / _HEARTBEAT_SLOTS
        self._started_s = self._next_sweep_s = clock.monotonic_s()
        self._turns = 0
        self._all_gone = asyncio.Event()
        self._all_gone.set()

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Listen; returns the port, which matters when ``port`` is 0.

        Raises:
            OSError: the address is not free, or not ours.
        """
        loop = asyncio.get_running_loop()
        sockets = self.open_sockets(host, port)
        # We are asked nothing before TLS is agreed on, so that has to be in time, too.
        hello_s = None if tls is None else self.limits["HELLO_MS"] / 1000
        for opened in sockets:
            server = await loop.create_server(
                lambda: Connection(self),
                sock=opened,
                backlog=_BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=hello_s,
            )
            self._servers.append(server)
        return int(sockets[0].getsockname()[1])

    async def run(self) -> None:
        """Look after the connections until cancelled: slow ones often, idle ones in turns.

        Each turn visits one slot of the connections, so that no turn is long.
        """
        while True:
            await asyncio.sleep(min(self._turn_s, _SWEEP_S))
            self.look_after()

    def look_after(self) -> None:
        """Do what has become due since the last time."""
        now_s = self.clock.monotonic_s()
        if now_s >= self._next_sweep_s:
            self._next_sweep_s = now_s + _SWEEP_S
            self._end_the_silent(now_s)
        due = int((now_s - self._started_s) / self._turn_s)
        for turn in range(max(self._turns, due - _HEARTBEAT_SLOTS), due):
            self._visit_slot(turn % _HEARTBEAT_SLOTS, now_s)
        self._turns = due

    def stop_accepting(self) -> None:
        """Take no new connections, and no more requests from those that are here."""
        self.is_draining = True
        for server in self._servers:
            server.close()
        for connection in tuple(self._slot_of):
            connection.stop_taking()

    async def say_goodbye(self) -> None:
        """Close every connection with 4503; returns when all are gone or CLOSE_MS has passed.

        The clients are asked to come back spread over a time that grows with their number.
        """
        connections = list(self._slot_of)
        window_ms = max(1_000, len(connections) * _RETURN_MS_PER_CONNECTION)
        for connection in connections:
            retry_after_ms = 500 + random.randrange(window_ms)  # noqa: S311 - spreading, no secret
            connection.close(
                ConnectionRefused(CloseCode.DRAINING, "draining", retry_after_ms=retry_after_ms)
            )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.limits["CLOSE_MS"] / 1000):
                await self._all_gone.wait()
        for connection in list(self._slot_of):
            connection.abort()
        await asyncio.sleep(0)

    # What connections call.

    def opened(self, connection: Connection) -> None:
        """A connection was accepted."""
        self.opened_count += 1
        slot = self._next_slot
        self._next_slot = (slot + 1) % _HEARTBEAT_SLOTS
        self._slots[slot][connection] = None
        self._slot_of[connection] = slot
        self._all_gone.clear()
        transport_socket = connection.raw_socket()
        if transport_socket is not None:
            self._set_socket_options(transport_socket)

    def closed(
        self, connection: Connection, address: str, *, was_introduced: bool, why: str
    ) -> None:
        """A connection is gone; ``why`` is one of ENDINGS."""
        self.closed_count += 1
        self.closes[why] += 1
        slot = self._slot_of.pop(connection, None)
        if slot is not None:
            self._slots[slot].pop(connection, None)
        if not self._slot_of:
            self._all_gone.set()
        self.paused.pop(connection, None)
        if connection in self.counted:
            self.counted.discard(connection)
            self.addresses.leave(address, was_introduced=was_introduced)

    def address_of(self, request: HttpRequest, peer: str) -> str:
        """Whose connection it is behind a proxy: whom the proxy names last."""
        forwarded = request.headers.get_all("X-Forwarded-For")
        return forwarded[-1].rpartition(",")[2].strip() if forwarded else peer

    @property
    def connection_count(self) -> int:
        """How many connections there are."""
        return len(self._slot_of)

    # Sweeps.

    def _visit_slot(self, slot: int, now_s: float) -> None:
        """Ask the quiet ones for a sign of life, and end those that gave none for too long.

        Who answers is asked once in a heartbeat. Who does not is gone within two, and was asked
        at least one visit before.
        """
        heartbeat_s = self.limits["HEARTBEAT_MS"] / 1000
        for connection in tuple(self._slots[slot]):
            silent_s = now_s - connection.last_received_s
            if connection.paused_since_s is not None or self.is_draining:
                continue  # its silence is ours: we do not read from it
            if silent_s >= _GONE * heartbeat_s:
                connection.abort()
            elif silent_s >= _QUIET * heartbeat_s:
                connection.ping()

    def _end_the_silent(self, now_s: float) -> None:
        """Close those who have taken nothing for SILENCE_MS, 4408."""
        most_ms = self.limits["SILENCE_MS"]
        for connection in tuple(self.paused):
            unsent = connection.unsent_bytes()
            if unsent < connection.paused_buffer_bytes or connection.paused_since_s is None:
                connection.paused_since_s = now_s
                connection.paused_buffer_bytes = unsent
            elif most_ms and (now_s - connection.paused_since_s) * 1000 >= most_ms:
                self.paused.pop(connection, None)
                connection.close(ConnectionRefused(CloseCode.TOO_SLOW, "took nothing for too long"))

    def _set_socket_options(self, transport_socket: socket.socket) -> None:
        """Have the kernel give up on peers that acknowledge nothing, after we would have."""
        transport_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        patience_ms = self.limits["SILENCE_MS"] + self.limits["SLOW_CLOSE_MS"] + 5_000
        if self.limits["SILENCE_MS"] and hasattr(socket, "TCP_USER_TIMEOUT"):
            transport_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience_ms)


_RETURN_MS_PER_CONNECTION: Final = 1
"""How much longer the return of all takes for each connection: a thousand come back a second."""
