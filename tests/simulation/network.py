"""TCP in memory: connections that take their time, split what they carry, break, and fall silent.

``Network`` answers the virtual loop's ``create_server`` and ``create_connection``. A transport
behaves as asyncio's own over a socket does: what the kernels of both sides cannot hold waits in the
write buffer, whose marks pause and resume the protocol; what is not read stays with the sender.
"""

import asyncio
import contextvars
import socket
from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, NamedTuple, cast

import msgspec

from tests.simulation.trace import Trace
from tests.simulation.virtual_loop import PROCESS, Process, VirtualLoop

_HOST: Final = "sim"
_APART_S: Final = 1e-7


class Conditions(msgspec.Struct, frozen=True):
    """What a connection is like.

    ``latency_s`` is one way; ``window_bytes`` is what both kernels hold of one direction;
    ``piece_bytes`` is the most that arrives at once, 0 for no splitting.
    """

    latency_s: float = 0.01
    jitter_s: float = 0.0
    bytes_per_s: float = 1e7
    window_bytes: int = 65536
    piece_bytes: int = 0


class MemoryTransport(asyncio.Transport):
    """One end of a connection.

    Attributes:
        is_stalled: the program at this end reads nothing, whatever asyncio would like.
        is_silent: nothing of this end reaches the other any more, and nobody is told.
        pauses: how often the write buffer went over its high mark.
    """

    def __init__(
        self, network: "Network", link: "Link", context: contextvars.Context, peername: object
    ) -> None:
        super().__init__({"peername": peername, "socket": None})
        self.network = network
        self.link = link
        self.process = context.get(PROCESS)
        self.is_stalled = False
        self.is_silent = False
        self.is_lost = False
        self.pauses = 0
        self.peer: MemoryTransport
        self._context = context
        self._loop = network.loop
        self._protocol: Any = None
        self._buffer = bytearray()
        self._in_flight = 0
        self._free_at_s = 0.0
        self._last_arrival_s = 0.0
        self._high, self._low = 65536, 16384
        self._is_protocol_paused = False
        self._is_closing = False
        self._is_eof_wanted = False
        self._is_fin_sent = False
        self._is_reading_paused = False
        self._arrived: deque[bytes | None] = deque()
        self._is_taking = False

    # What asyncio.Transport has.

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return cast(asyncio.BaseProtocol, self._protocol)

    def is_closing(self) -> bool:
        return self._is_closing

    def is_reading(self) -> bool:
        return not self._is_closing and not self._is_reading_paused

    def pause_reading(self) -> None:
        if not self._is_closing:
            self._is_reading_paused = True

    def resume_reading(self) -> None:
        if not self._is_closing and self._is_reading_paused:
            self._is_reading_paused = False
            self._take_soon()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = 65536 if low is None else 4 * low
        if low is None:
            low = high // 4
        self._high, self._low = high, low
        self._maybe_pause()

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def can_write_eof(self) -> bool:
        return True

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        if self._is_eof_wanted:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not data or self.is_lost:
            return
        self._buffer += data
        self._push()
        self._maybe_pause()

    def write_eof(self) -> None:
        if self._is_closing or self._is_eof_wanted:
            return
        self._is_eof_wanted = True
        self._push()

    def close(self) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        if not self._buffer:
            self._lose(None)

    def abort(self) -> None:
        self._force_close(None)

    # What the network does.

    def make(self, protocol: asyncio.BaseProtocol) -> None:
        """The connection is there; in its own context."""
        self._protocol = protocol
        protocol.connection_made(self)
        self._take_soon()

    def reset(self) -> None:
        """The kernel learns that the connection is broken."""
        if self.is_lost:
            return
        self._arrived.clear()
        self.network.trace.quiet("reset", self.link.number, self._side())
        self._force_close(ConnectionResetError(104, "Connection reset by peer"))

    def unstall(self) -> None:
        """The program reads on."""
        self.is_stalled = False
        self._take_soon()

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Call it as this end's own doing."""
        self._loop.call_soon(callback, context=self._context)

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> None:
        """The same, later."""
        self._loop.call_later(delay_s, callback, context=self._context)

    def _side(self) -> str:
        return "client" if self.link.client is self else "server"

    def _force_close(self, error: Exception | None) -> None:
        if self.is_lost:
            return
        self._buffer.clear()
        self._is_closing = True
        self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        self.is_lost = True
        self._loop.call_soon(self._tell_lost, error, context=self._context)

    def _tell_lost(self, error: Exception | None) -> None:
        """The protocol hears of it, and the socket is closed: the peer's kernel hears as well."""
        self.network.trace.quiet("lost", self.link.number, self._side(), type(error).__name__)
        if not self._is_process_dead() and self._protocol is not None:
            self._protocol.connection_lost(error)
        if error is not None:
            return
        if self._arrived and None not in self._arrived:
            self.send_reset()  # what was not read is what TCP resets for
        elif not self._is_fin_sent:
            self._send_fin()

    def _send_fin(self) -> None:
        self._is_fin_sent = True
        self._send(None, 0)

    def send_reset(self) -> None:
        """Let the peer know that there is no such connection any more."""
        if not self.is_silent:
            self.peer.call_later(self.link.conditions.latency_s, self.peer.reset)

    def _is_process_dead(self) -> bool:
        return self.process is not None and self.process.is_dead

    def _push(self) -> None:
        """Give the kernels what they have room for."""
        conditions = self.link.conditions
        while self._buffer:
            size = min(len(self._buffer), conditions.window_bytes - self._in_flight)
            if size <= 0:
                return
            if conditions.piece_bytes:
                size = min(size, self.link.random.randint(1, conditions.piece_bytes))
            piece = bytes(self._buffer[:size])
            del self._buffer[:size]
            self._in_flight += size
            self._send(piece, size)
        if self._is_eof_wanted and not self._is_fin_sent:
            self._send_fin()
        if self._is_closing and not self.is_lost:
            self._lose(None)

    def _send(self, piece: bytes | None, size: int) -> None:
        conditions = self.link.conditions
        self._free_at_s = max(self._free_at_s, self._loop.time()) + size / conditions.bytes_per_s
        latency_s = conditions.latency_s
        if conditions.jitter_s:
            latency_s += self.link.random.random() * conditions.jitter_s
        # Never together with the piece before it: timers of one time fire in any order.
        arrival_s = max(self._last_arrival_s + _APART_S, self._free_at_s + latency_s)
        self._last_arrival_s = arrival_s
        if not self.is_silent:
            peer = self.peer
            self._loop.call_at(arrival_s, peer.arrive, piece, context=peer._context)

    def arrive(self, piece: bytes | None) -> None:
        """What the peer has sent is here."""
        if self.link.is_cut or self.peer.is_silent:
            return
        if self.is_lost:
            if piece is not None:
                self.send_reset()
            return
        self._arrived.append(piece)
        if len(self._arrived) == 1:
            self._take()

    def _take_soon(self) -> None:
        if self._arrived and not self._is_taking:
            self._is_taking = True
            self._loop.call_soon(self._take, context=self._context)

    def _take(self) -> None:
        """Read one piece, if somebody reads; the rest in a later turn of the loop."""
        self._is_taking = False
        if not self._arrived or self.is_stalled or self._is_reading_paused or self._is_closing:
            return
        if self._is_process_dead() or self._protocol is None:
            return
        piece = self._arrived.popleft()
        if piece is None:
            self.network.trace.quiet("eof", self.link.number, self._side())
            if not self._protocol.eof_received():
                self.close()
            return
        self.network.trace.quiet("data", self.link.number, self._side(), len(piece))
        self._acknowledge(len(piece))
        try:
            self._protocol.data_received(piece)
        except Exception as error:  # noqa: BLE001 - as asyncio does
            message = "Fatal error: protocol.data_received() call failed."
            self._loop.call_exception_handler({"message": message, "exception": error})
            self._force_close(error)
        self._take_soon()

    def _acknowledge(self, size: int) -> None:
        peer = self.peer
        if not peer._buffer and not peer._is_protocol_paused:
            peer._in_flight -= size  # nobody waits for it
        elif not self.is_silent:
            self._loop.call_later(
                self.link.conditions.latency_s, peer._on_acknowledged, size, context=peer._context
            )

    def _on_acknowledged(self, size: int) -> None:
        self._in_flight -= size
        if self.is_lost or self._is_process_dead():
            return
        self._push()
        if self._is_protocol_paused and len(self._buffer) <= self._low:
            self._is_protocol_paused = False
            self._protocol.resume_writing()

    def _maybe_pause(self) -> None:
        if len(self._buffer) > self._high and not self._is_protocol_paused:
            self._is_protocol_paused = True
            self.pauses += 1
            if self._protocol is not None:
                self._protocol.pause_writing()


class Link:
    """A connection with its two ends."""

    def __init__(
        self,
        network: "Network",
        number: int,
        conditions: Conditions,
        server_context: contextvars.Context,
    ) -> None:
        self.number = number
        self.conditions = conditions
        self.random = Random(network.seed * 1_000_003 + number)
        self.is_cut = False
        address = f"10.0.0.{number % 250 + 1}"
        client_context = contextvars.copy_context()
        self.client = MemoryTransport(network, self, client_context, (_HOST, 7700))
        self.server = MemoryTransport(network, self, server_context, (address, 30000 + number))
        self.client.peer, self.server.peer = self.server, self.client

    @property
    def is_up(self) -> bool:
        """Whether both ends still take it for a connection."""
        return not (self.client.is_lost or self.server.is_lost or self.is_cut)

    @property
    def server_term(self) -> str:
        """The term of the store of the server at this connection's end."""
        process = self.server.process
        return "" if process is None else process.term

    def cut(self, client_after_s: float, server_after_s: float) -> None:
        """Break it: what is on the way is lost, and each end learns of it after a while."""
        self.is_cut = True
        self.client.is_silent = self.server.is_silent = True
        self.client.call_later(client_after_s, self.client.reset)
        self.server.call_later(server_after_s, self.server.reset)


class ListeningName(NamedTuple):
    """Stands for a listening socket."""

    host: str
    port: int

    def getsockname(self) -> tuple[str, int]:
        return self.host, self.port


class MemoryServer:
    """What ``create_server`` gives."""

    def __init__(
        self, network: "Network", port: int, factory: Callable[[], asyncio.BaseProtocol]
    ) -> None:
        self.factory = factory
        self.context = contextvars.copy_context()
        self.process = PROCESS.get()
        self._network = network
        self._port = port

    def close(self) -> None:
        """Take no more connections."""
        if self._network.listeners.get(self._port) is self:
            del self._network.listeners[self._port]

    @property
    def is_dead(self) -> bool:
        """Whether its process has ended."""
        return self.process is not None and self.process.is_dead


class Network:
    """All listeners and connections.

    Attributes:
        conditions_of: gives what the next connection is like.
        is_hanging: connecting neither succeeds nor fails.
        links: all connections that were ever made, in order.
    """

    def __init__(self, loop: VirtualLoop, seed: int, trace: Trace) -> None:
        self.loop = loop
        self.seed = seed
        self.trace = trace
        self.listeners: dict[int, MemoryServer] = {}
        self.links: list[Link] = []
        self.is_hanging = False
        self.conditions_of: Callable[[], Conditions] = Conditions
        loop.network = self

    def open_sockets(self, host: str, port: int) -> Sequence[socket.socket]:
        """What a listener asks for: one that only has a name."""
        return [cast(socket.socket, ListeningName(host, port))]

    def create_server(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        *,
        sock: "ListeningName",
        **_options: object,
    ) -> MemoryServer:
        _, port = sock.getsockname()
        known = self.listeners.get(port)
        if known is not None and not known.is_dead:
            raise OSError(98, "Address already in use")
        server = self.listeners[port] = MemoryServer(self, port, factory)
        return server

    async def create_connection(
        self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int, **_options: object
    ) -> tuple[MemoryTransport, asyncio.BaseProtocol]:
        del host
        conditions = self.conditions_of()
        if self.is_hanging:
            self.trace.note("connect hangs")
            await self.loop.create_future()
        await asyncio.sleep(2 * conditions.latency_s)
        server = self.listeners.get(port)
        if server is None or server.is_dead:
            self.trace.note("connect refused")
            raise ConnectionRefusedError(111, "Connection refused")
        link = Link(self, len(self.links), conditions, server.context.copy())
        self.links.append(link)
        process = PROCESS.get()
        if process is not None:
            process.last_link = link
        self.trace.note("connect", link.number, process.name if process is not None else "")
        link.server.call_soon(lambda: link.server.make(server.factory()))
        protocol = factory()
        link.client.make(protocol)
        return link.client, protocol

    def end_process(self, process: Process, *, is_told: bool) -> None:
        """The connections of a process that was killed; the peers hear of it at once, or never."""
        for link in self.links:
            for end in (link.client, link.server):
                if end.process is process and not end.is_lost:
                    end.is_lost = True
                    if is_told:
                        end.send_reset()
                    else:
                        end.is_silent = True

    def open_links(self) -> list[Link]:
        """The connections that both ends take for one."""
        return [link for link in self.links if link.is_up]
