"""What is said on a connection: hello first, then requests and pings. No sockets here."""

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from protocol.codec import Codec, Malformed, OutOfBounds, request_id_of, to_client_frame
from protocol.errors import CloseCode, ConnectionRefused, ErrorCode, Refused
from protocol.frames import ClientFrame, Hello, Ping, Pong, Request
from protocol.identifiers import is_request_id
from protocol.results import ErrorBody
from server.domain.model import Origin
from server.hub.session import Session
from server.service.access import Reader
from server.service.dispatcher import Caller, bad_request

if TYPE_CHECKING:
    from server.transport.connection import Connection
    from server.transport.listener import Listener

_PLATFORM_CHARACTERS: Final = 32
_EARLY_AT_MOST: Final = 1_000


class Talk(Protocol):
    """What is said on one connection, from its handshake on; the messages are whole.

    ``session`` is None until the peer is known.
    """

    session: Session | None

    def receive(self, data: bytes, *, is_binary: bool) -> None:
        """Take one message of the client.

        Raises:
            protocol.codec.Malformed: the bytes are no message.
            ConnectionRefused: the connection cannot go on after this message.
        """

    def end(self) -> None:
        """The connection is gone: let go of whoever refers back to this."""


class Conversation:
    """The talk of the protocol: hello first, then requests and pings.

    ``session`` is None until the hello is accepted.

    Args:
        sink: where the session's bytes go.
        codec: what the handshake agreed on.
    """

    __slots__ = ("_caller", "_codec", "_early", "_listener", "_sink", "session")

    def __init__(self, listener: "Listener", sink: "Connection", codec: Codec) -> None:
        self._listener = listener
        self._sink = sink
        self._codec = codec
        self._caller: Caller | None = None
        self._early: list[bytes] | None = None
        self.session: Session | None = None

    def receive(self, data: bytes, *, is_binary: bool) -> None:
        """See ``Talk.receive``."""
        if is_binary != self._codec.is_binary:
            kind = "binary" if self._codec.is_binary else "text"
            raise Malformed(f"{self._codec.subprotocol} is sent in {kind} frames")
        if self._early is not None:
            self._keep(data)
            return
        frame = self._understood(data)
        if frame is None:
            return
        if self.session is None:
            if not isinstance(frame, Hello):
                raise ConnectionRefused(CloseCode.MALFORMED, "the first message must be hello")
            self._hello(frame)
        elif isinstance(frame, Request):
            self._request(frame)
        elif isinstance(frame, Ping):
            self._pong(self.session)
        else:
            raise ConnectionRefused(CloseCode.MALFORMED, "hello was said already")

    def end(self) -> None:
        """See ``Talk.end``. Objects in a circle would stay until the collector comes by."""
        self._caller = None
        if self.session is not None:
            self.session.on_ready = None

    def _understood(self, data: bytes) -> ClientFrame | None:
        """The message as its frame; None when it was wrong and has been answered."""
        try:
            value = self._codec.decode(data, self._listener.value_limits)
        except OutOfBounds as error:
            self._refuse(error.request_id, Refused(ErrorCode.BAD_REQUEST, error.message))
            return None
        try:
            return to_client_frame(value)
        except msgspec.ValidationError as error:
            if self.session is None and _lacks_signature(value):
                raise ConnectionRefused(
                    CloseCode.NOT_AUTHENTICATED, "hello has no user_sig", error_code=70002
                ) from error
            self._refuse(request_id_of(value), bad_request(error, "message"))
            return None

    def _hello(self, hello: Hello) -> None:
        listener = self._listener
        identity = listener.authenticator.identify(hello)
        session = Session(
            session_id=listener.tokens.token(),
            user_id=identity.user_id,
            device_id=hello.device_id,
            platform=hello.platform[:_PLATFORM_CHARACTERS],
            connected_ms=listener.clock.now_ms(),
            codec=self._codec,
            sink=self._sink,
            address=self._sink.address,
        )
        reader = Reader(identity.user_id, identity.is_app_admin, session.session_id)
        gate = listener.gates.open(identity.user_id, listener.clock.monotonic_s())
        origin = Origin(
            caller_id=identity.user_id, platform=session.platform, address=session.address
        )
        self._caller = Caller(reader, gate, self._reply, origin)
        self.session = session
        # The welcome comes first, and what is answered comes after the events before it: so
        # what the client has said already waits until the session has caught up once.
        self._early = []
        session.on_ready = self._take_early
        listener.dispatcher.recognize(identity.user_id)
        listener.catch_up.attach(session, hello)

    def _keep(self, data: bytes) -> None:
        assert self._early is not None  # asked by the caller
        self._early.append(data)
        # The client has broken no rule yet: it waits, and what was read with this is kept too.
        if len(self._early) >= (self._listener.limits["REQUESTS_IN_FLIGHT"] or _EARLY_AT_MOST):
            self._sink.stop_taking()

    def _take_early(self) -> None:
        """The session is ready: take what came before, in order."""
        early, self._early = self._early or [], None
        for data in early:
            self._sink.receive_early(data)
        self._sink.take_again()

    def _request(self, request: Request) -> None:
        caller = self._caller
        assert caller is not None  # there is one from hello on
        try:
            self._listener.dispatcher.handle(request, caller)
        except Refused as refusal:
            self._refuse(None, refusal)
        self._end_if_warned_enough(caller)

    def _refuse(self, request_id: str | None, refusal: Refused) -> None:
        """Answer a wrong message; one that cannot be answered ends the connection."""
        if self.session is None or request_id is None or not is_request_id(request_id):
            raise ConnectionRefused(CloseCode.MALFORMED, refusal.message[:120])
        caller = self._caller
        assert caller is not None  # there is one from hello on
        try:
            # A wrong request costs as much as a right one, so it counts as one.
            caller.gate.enter(self._listener.clock.monotonic_s())
            caller.gate.leave()
        except Refused as too_many:
            refusal = too_many
        self._reply(request_id, None, self._listener.dispatcher.refused(refusal))
        self._end_if_warned_enough(caller)

    def _end_if_warned_enough(self, caller: Caller) -> None:
        most = self._listener.limits["RATE_WARNINGS"]
        if most and caller.gate.refusals > most:
            raise ConnectionRefused(CloseCode.TOO_MANY, retry_after_ms=1000)

    def _reply(self, request_id: str, result: object, error: ErrorBody | None) -> None:
        if self.session is not None:
            self._listener.hub.reply(self.session, request_id, result, error)

    def _pong(self, session: Session) -> None:
        hub = self._listener.hub
        session.put_frame(
            Pong(cursor=hub.cursor_of(session), server_time_ms=self._listener.clock.now_ms())
        )
        hub.mark_dirty(session)


def _lacks_signature(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.get("type") == "hello"
        and not isinstance(value.get("user_sig"), str)
    )
