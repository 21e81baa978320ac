"""One WebSocket connection: bytes to frames to the service, and bytes from the hub out again."""

import asyncio
import enum
import logging
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Request as HttpRequest
from websockets.protocol import State

from protocol import codec as codecs
from protocol.errors import CloseCode, ConnectionRefused
from server.hub.session import Parting, Session
from server.transport.admission import Arrival
from server.transport.conversation import Talk
from server.transport.endings import LOST, ending_of
from server.transport.frames import Kind, frame_at, pong
from server.transport.wsprotocol import WebSocketProtocol

if TYPE_CHECKING:
    from server.transport.listener import Listener

log = logging.getLogger(__name__)

PING: Final = b"\x89\x00"
"""An empty ping, ready to write (RFC 6455 section 5.5.2)."""


class Phase(enum.Enum):
    """What the connection waits for."""

    HANDSHAKE = "handshake"
    HELLO = "hello"
    OPEN = "open"
    CLOSING = "closing"


_TALKING: Final = (Phase.HELLO, Phase.OPEN)
_CLOSING: Final = Phase.CLOSING  # a name is found faster than a member


class Connection(asyncio.Protocol):
    """The asyncio side of a WebSocket connection; also the ``Sink`` of its session.

    All of it runs in callbacks of the loop: no task and no queue per connection.

    The library judges the handshake, and later whatever is no plain frame; between these there
    is no object of it, since an idle connection is what there are most of.
    """

    __slots__ = (
        "_address",
        "_arrival",
        "_codec",
        "_control_frames",
        "_control_window_s",
        "_conversation",
        "_deadline",
        "_descriptor",
        "_ending",
        "_fragments",
        "_is_ended",
        "_listener",
        "_partial",
        "_phase",
        "_transport",
        "_ws",
        "last_received_s",
        "paused_buffer_bytes",
        "paused_since_s",
    )

    def __init__(self, listener: "Listener") -> None:
        self._listener = listener
        self._ws: WebSocketProtocol | None = None
        self._partial: bytearray | None = None
        self._codec: codecs.Codec = codecs.JSON
        self._phase = Phase.HANDSHAKE
        self._address = ""
        self._arrival = Arrival.WELCOME
        self._conversation: Talk | None = None
        self._fragments: list[Frame] | None = None
        self._descriptor = -1
        self._is_ended = False
        self._control_frames = 0
        self._control_window_s = 0.0
        self._deadline: asyncio.TimerHandle | None = None
        self.last_received_s = 0.0
        self.paused_since_s: float | None = None
        self.paused_buffer_bytes = 0
        self._ending = LOST

    @property
    def address(self) -> str:
        """Where the peer is, as far as it is known."""
        return self._address

    @property
    def session(self) -> Session | None:
        """The session, from an accepted hello on."""
        return None if self._conversation is None else self._conversation.session

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer has connected."""
        self._transport = cast(asyncio.Transport, transport)
        self.last_received_s = self._listener.clock.monotonic_s()
        self._transport.set_write_buffer_limits(high=self._listener.limits["OUTGOING_BYTES"])
        peer = self._transport.get_extra_info("peername")
        self._address = peer[0] if isinstance(peer, tuple) else ""
        self._descriptor = _descriptor_of(transport)
        self._arm(self._listener.limits["HELLO_MS"], self._hello_is_late)
        self._listener.opened(self)
        if not self._listener.is_behind_proxy:
            self._enter()
            if self._arrival is Arrival.FLOOD:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone."""
        self._descriptor = -1  # the number is another connection's soon
        self._disarm()
        self._phase = Phase.CLOSING
        if (session := self.session) is not None:
            self._listener.hub.remove(session)
        self._listener.closed(
            self, self._address, was_introduced=self.session is not None, why=self._ending
        )
        if self._conversation is not None:
            self._conversation.end()
        self._conversation = None
        self._ws = None

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer."""
        self.last_received_s = self._listener.clock.monotonic_s()
        if self._phase in _TALKING:
            self._receive_frames(data)
        elif self._phase is Phase.HANDSHAKE:
            self._receive_by_the_rules(data)
        elif self._ws is not None:  # it waits for the peer's close frame
            before, self._partial = self._partial or b"", None
            self._receive_by_the_rules(bytes(before) + data)

    def eof_received(self) -> None:
        """The peer sends no more; the transport closes itself after this."""
        ws = self._rules()
        ws.receive_eof()
        self._send_protocol_data(ws)

    def pause_writing(self) -> None:
        """The peer takes less than it is sent: stop sending, and stop taking its requests."""
        self.paused_since_s = self._listener.clock.monotonic_s()
        self.paused_buffer_bytes = self._transport.get_write_buffer_size()
        self._listener.paused[self] = None
        if not self._transport.is_closing():
            self._transport.pause_reading()
        if (session := self.session) is not None:
            self._listener.catch_up.pause(session)

    def resume_writing(self) -> None:
        """The peer has taken what it was sent."""
        self.paused_since_s = None
        self._listener.paused.pop(self, None)
        self.take_again()
        if (session := self.session) is not None:
            self._listener.catch_up.resume(session)

    # What the session calls.

    def write(self, data: bytes) -> None:
        """See ``Sink.write``.

        Where nothing is queued the bytes go straight to the socket, as the transport's own write
        would do, but for a quarter of its price: this runs for each delivery of each event.
        """
        if self._phase is _CLOSING:
            return
        if self._descriptor >= 0 and not self._transport.get_write_buffer_size():
            try:
                sent = os.write(self._descriptor, data)
            except OSError:
                sent = 0  # the transport meets the same, and knows what to do about it
            if sent == len(data):
                return
            data = data[sent:]
        self._transport.write(data)

    def close(self, why: ConnectionRefused) -> None:
        """See ``Sink.close``: bye, the close frame, and an end even if the peer does not answer."""
        if self._phase is Phase.CLOSING:
            return
        self._ending = why.code.name
        if (session := self.session) is not None and why.code is not CloseCode.TOO_SLOW:
            session.flush_all()
        ws = self._rules()
        if ws.state is State.OPEN:
            ws.dismiss(why)
            self._send_protocol_data(ws)
        self._phase = Phase.CLOSING
        if (session := self.session) is not None:
            is_silent = why.code is CloseCode.TOO_SLOW
            self._listener.hub.remove(session, Parting.SILENT if is_silent else Parting.LOST)
        if ws.state is State.CONNECTING:
            self._transport.abort()
            return
        if not self._transport.is_closing():
            self._transport.resume_reading()  # if it was paused: for the peer's close frame
        limit = "CLOSE_MS" if self.paused_since_s is None else "SLOW_CLOSE_MS"
        self._arm(self._listener.limits[limit], self._transport.abort)

    # What the listener and the conversation call.

    def stop_taking(self) -> None:
        """Read nothing more; what was read goes on, and ``close`` still hears the peer's answer."""
        if self._phase is Phase.OPEN and not self._transport.is_closing():
            self._transport.pause_reading()

    def take_again(self) -> None:
        """Read on, unless the peer does not take what it is sent, or everything ends."""
        is_held = self.paused_since_s is not None or self._listener.is_draining
        if not is_held and not self._transport.is_closing():
            self.last_received_s = self._listener.clock.monotonic_s()  # the silence was ours
            self._transport.resume_reading()

    def unsent_bytes(self) -> int:
        """What the peer has not taken yet."""
        return self._transport.get_write_buffer_size()

    def raw_socket(self) -> socket.socket | None:
        """The socket, for its options."""
        found = self._transport.get_extra_info("socket")
        return found if found is None else cast(socket.socket, found)

    def ping(self) -> None:
        """Ask the peer for a sign of life."""
        if self._phase in _TALKING and self.paused_since_s is None:
            self._transport.write(PING)

    def abort(self) -> None:
        """End it at once; the peer is not there."""
        if (session := self.session) is not None:
            self._listener.hub.remove(session, Parting.SILENT)
        self._transport.abort()

    # The way in.

    def _enter(self) -> None:
        self._arrival = self._listener.addresses.enter(self._address)
        self._listener.counted.add(self)

    def _receive_frames(self, data: bytes | bytearray) -> None:
        """Take whole frames, one after the other; what is not whole waits for the rest."""
        if self._partial is not None:
            self._partial += data
            data, self._partial = self._partial, None
        place, most_bytes = 0, self._listener.limits["FRAME_BYTES"]
        while place < len(data) and self._phase in _TALKING:
            kind, end, payload = frame_at(data, place, most_bytes)
            if kind is Kind.PARTIAL:
                self._partial = bytearray(data[place:]) if place else bytearray(data)
                return
            if kind is Kind.RULES or self._ws is not None:
                self._receive_by_the_rules(bytes(data[place:end]))
            elif kind is Kind.TEXT or kind is Kind.BINARY:
                self._take(kind is Kind.BINARY, payload)
            else:
                self._take_control(payload if kind is Kind.PING else None)
            place = end
        if place < len(data) and self._ws is not None:
            self._receive_by_the_rules(bytes(data[place:]))

    def _receive_by_the_rules(self, data: bytes) -> None:
        """Let the library judge; it is let go of once it has nothing to remember."""
        ws = self._rules()
        ws.receive_data(data)
        for event in ws.events_received():
            if isinstance(event, HttpRequest):
                self._handshake(ws, event)
            elif isinstance(event, Frame):
                self._frame(event)
        self._send_protocol_data(ws)
        if ws.is_idle() and self._phase in _TALKING:
            self._ws = None
            if behind := ws.take_behind_head():
                self._receive_frames(behind)

    def _rules(self) -> WebSocketProtocol:
        """The library's object for this connection, made if there is none."""
        if self._ws is None:
            self._ws = WebSocketProtocol(
                self._listener.limits["FRAME_BYTES"],
                None if self._phase is Phase.HANDSHAKE else self._codec,
                says_bye=self._listener.says_bye,
            )
        return self._ws

    def _handshake(self, ws: WebSocketProtocol, request: HttpRequest) -> None:
        if self._listener.is_behind_proxy:
            self._address = self._listener.address_of(request, self._address)
            self._enter()
        if self._listener.is_draining:
            response = ws.reject(503, "The server is draining; connect again later.\n")
        elif self._arrival is not Arrival.WELCOME:
            response = ws.reject(429, "Too many connections from this address.\n")
        elif request.path.partition("?")[0] != "/ws":
            response = ws.reject(404, "The WebSocket endpoint is /ws.\n")
        elif "?" in request.path:
            # A token in an address ends up in logs; refuse queries so that none can (protocol.md).
            response = ws.reject(400, "/ws takes no query; say hello in a message.\n")
        else:
            response = ws.accept(request)
        ws.send_response(response)
        if response.status_code == 101:
            self._codec = ws.codec
            self._conversation = self._listener.converse(self._listener, self, self._codec)
            self._phase = Phase.HELLO
        else:
            self._phase = Phase.CLOSING

    def _frame(self, frame: Frame) -> None:
        """Handle a frame that the library has found good."""
        if frame.opcode in (Opcode.PING, Opcode.PONG):
            self._take_control(bytes(frame.data) if frame.opcode is Opcode.PING else None)
        elif frame.opcode is Opcode.CLOSE:
            self._phase = Phase.CLOSING
        elif self._phase is not Phase.CLOSING:
            message = self._assembled(frame)
            if message is not None:
                self._take(*message)

    def _take(self, is_binary: bool, data: bytes) -> None:
        """Handle a whole message; whatever is wrong with it ends here."""
        try:
            self._converse(data, is_binary)
        except codecs.Malformed as error:
            self.close(ConnectionRefused(CloseCode.MALFORMED, str(error)[:120]))
        except ConnectionRefused as why:
            self.close(why)
        except Exception:
            log.exception("a message could not be handled")
            self.close(ConnectionRefused(CloseCode.INTERNAL))

    def _converse(self, data: bytes, is_binary: bool) -> None:
        conversation = self._conversation
        assert conversation is not None  # there is one from the handshake on
        was_unknown = conversation.session is None
        conversation.receive(data, is_binary=is_binary)
        if was_unknown and conversation.session is not None:
            self._disarm()
            self._phase = Phase.OPEN
            self._listener.addresses.introduce(self._address)

    def receive_early(self, data: bytes) -> None:
        """Take a message that had to wait for the welcome."""
        if self._phase is not Phase.CLOSING:
            self._take(self._codec.is_binary, data)

    def _assembled(self, frame: Frame) -> tuple[bool, bytes] | None:
        """A whole message as (is binary, bytes), or None until its last fragment is here."""
        if frame.fin and self._fragments is None:
            return frame.opcode is Opcode.BINARY, bytes(frame.data)
        if self._fragments is None:
            self._fragments = []
        self._fragments.append(frame)
        if not frame.fin:
            most = self._listener.limits["MESSAGE_FRAGMENTS"]
            if most and len(self._fragments) > most:
                self.close(ConnectionRefused(CloseCode.TOO_LARGE, "too many fragments"))
            return None
        fragments, self._fragments = self._fragments, None
        data = b"".join(fragment.data for fragment in fragments)
        return fragments[0].opcode is Opcode.BINARY, data

    def _take_control(self, ping: bytes | None) -> None:
        """Answer a ping in its place; a flood of control frames is answered by the kernel alone."""
        most = self._listener.limits["CONTROL_FRAMES_PER_S"]
        if self.last_received_s - self._control_window_s > 1:
            self._control_window_s = self.last_received_s
            self._control_frames = 0
        self._control_frames += 1
        if most and self._control_frames > most:
            self._phase = Phase.CLOSING  # what came with it is not looked at any more
            self._transport.abort()
        elif ping is not None:
            self.write(pong(ping))

    # The way out.

    def _send_protocol_data(self, ws: WebSocketProtocol) -> None:
        """Write what the protocol itself has to say: handshake and close frames."""
        for data in ws.data_to_send():
            if self._is_ended:
                continue
            if data:
                self._transport.write(data)
            else:
                self._is_ended = True
                if self._ending is LOST:
                    self._ending = ending_of(ws)
                self._phase = Phase.CLOSING
                self._end_of_data()
                self._arm(self._listener.limits["CLOSE_MS"], self._transport.abort)
                if (session := self.session) is not None:
                    was_closed = ws.close_rcvd is not None
                    self._listener.hub.remove(
                        session, Parting.LOGOUT if was_closed else Parting.LOST
                    )

    def _end_of_data(self) -> None:
        """Nothing more will be written; TLS cannot close one direction alone."""
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _hello_is_late(self) -> None:
        self.close(ConnectionRefused(CloseCode.TOO_SLOW, "no hello in time"))

    def _arm(self, after_ms: int, callback: Callable[[], object]) -> None:
        self._disarm()
        self._deadline = asyncio.get_running_loop().call_later(after_ms / 1000, callback)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _descriptor_of(transport: asyncio.BaseTransport) -> int:
    """Where plain bytes to the peer are written, or -1 if only the transport can (TLS)."""
    peer: socket.socket | None = transport.get_extra_info("socket")
    if peer is None or transport.get_extra_info("sslcontext") is not None:
        return -1
    return peer.fileno()
