"""The WebSocket rules: the ``websockets`` library's sans-I/O core, with our close codes."""

from collections.abc import Mapping, Sequence
from typing import Final

from websockets.exceptions import NegotiationError
from websockets.frames import CloseCode as WebSocketCloseCode
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from protocol.codec import CODECS, JSON, Codec
from protocol.errors import CLOSES, CloseCode, ConnectionRefused
from protocol.frames import Bye
from server.hub.wire import framed

_OUR_CODES: Final[Mapping[int, CloseCode]] = {
    WebSocketCloseCode.PROTOCOL_ERROR: CloseCode.MALFORMED,
    WebSocketCloseCode.INVALID_DATA: CloseCode.MALFORMED,
    WebSocketCloseCode.MESSAGE_TOO_BIG: CloseCode.TOO_LARGE,
    WebSocketCloseCode.INTERNAL_ERROR: CloseCode.INTERNAL,
}

_RFC_CODES: Final[Mapping[int, int]] = {
    CloseCode.MALFORMED: WebSocketCloseCode.INVALID_DATA,
    CloseCode.TOO_LARGE: WebSocketCloseCode.MESSAGE_TOO_BIG,
    CloseCode.INTERNAL: WebSocketCloseCode.INTERNAL_ERROR,
}

_END_OF_HEAD: Final = b"\r\n\r\n"

_MOST_HEAD_BYTES: Final = 16 * 1024
"""Of an HTTP request: a handshake has a few hundred bytes, and cookies of 4 KiB at most."""

_SUBPROTOCOLS: Final = [Subprotocol(name) for name in CODECS]


class WebSocketProtocol(ServerProtocol):
    """One connection's protocol state; bytes in, frames and bytes out.

    Args:
        frame_bytes: the longest message that is taken; the next byte closes 4413.
        codec: None before the handshake; otherwise what it agreed on, and the connection is open.
        says_bye: end as ``protocol.md`` (Closing) has it, with its codes and a bye before the
            close frame; otherwise as RFC 6455 section 7.1.7 does, for its conformance suite.
    """

    def __init__(self, frame_bytes: int, codec: Codec | None, *, says_bye: bool = True) -> None:
        self._says_bye = says_bye
        self._head_bytes = 0
        self._head_tail = b""
        self._behind_head: bytes | bytearray = b""
        super().__init__(
            subprotocols=_SUBPROTOCOLS,
            select_subprotocol=_select_subprotocol,
            state=State.CONNECTING if codec is None else State.OPEN,
            max_size=frame_bytes,
        )
        if codec is not None:
            self.subprotocol = Subprotocol(codec.subprotocol)

    @property
    def codec(self) -> Codec:
        """The codec that was negotiated; JSON for a client that named none."""
        return CODECS[self.subprotocol] if self.subprotocol else JSON

    def receive_data(self, data: bytes | bytearray) -> None:
        """Take bytes; those behind the HTTP request wait for ``take_behind_head``.

        The library would read them at once, and end a connection that it has not opened yet.
        """
        if self.state is State.CONNECTING and not self.eof_sent:
            data = self._head_of(data)
        super().receive_data(data)

    def _head_of(self, data: bytes | bytearray) -> bytes | bytearray:
        """What of ``data`` still belongs to the request (RFC 9112 section 2.1)."""
        seen = self._head_tail + data
        end = seen.find(_END_OF_HEAD)
        if end >= 0:
            length = end + len(_END_OF_HEAD) - len(self._head_tail)
            data, self._behind_head = data[:length], data[length:]
        self._head_tail = bytes(seen[1 - len(_END_OF_HEAD) :])
        self._head_bytes += len(data)
        if self._head_bytes > _MOST_HEAD_BYTES:
            text = f"The request's head exceeds {_MOST_HEAD_BYTES} bytes.\n"
            self.send_response(self.reject(431, text))
            return b""
        return data

    def take_behind_head(self) -> bytes | bytearray:
        """What came behind the HTTP request; once, and b"" where there was nothing."""
        behind, self._behind_head = self._behind_head, b""
        return behind

    def is_idle(self) -> bool:
        """Whether nothing needs remembering, given that it was handed whole frames only."""
        return self.state is State.OPEN and self.current_size is None

    def recv_frame(self, frame: Frame) -> None:
        """Take a frame; a ping is not answered yet.

        The library would put the pong behind what is said to later frames of the same bytes. The
        connection answers each ping in its place, with ``pong``.
        """
        if frame.opcode is Opcode.PING:
            self.events.append(frame)
        else:
            super().recv_frame(frame)

    def fail(self, code: WebSocketCloseCode | int, reason: str = "") -> None:
        """End the connection for what the peer sent.

        The library's codes become the contract's, with a bye before the close frame.
        """
        ours = _OUR_CODES.get(code) if self._says_bye else None
        if ours is not None and self.state is State.OPEN:
            code = ours
            if ours is CloseCode.TOO_LARGE:
                reason = CLOSES[ours].text
            self.writes.append(framed(self.codec, Bye(code=code, reason=reason)))
        super().fail(code, reason)

    def dismiss(self, why: ConnectionRefused) -> None:
        """End an open connection for a reason of ours: a bye, then the close frame."""
        code: int = why.code
        if self._says_bye:
            bye = Bye(
                code=code,
                reason=why.reason,
                retry_after_ms=why.retry_after_ms,
                error_code=why.error_code,
            )
            self.writes.append(framed(self.codec, bye))
        else:
            code = _RFC_CODES.get(code, code)
        self.send_close(code, why.reason.encode()[:120].decode(errors="ignore"))


def _select_subprotocol(
    _protocol: ServerProtocol, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    """The first one offered that we speak; None (JSON) for a client that offers none."""
    for subprotocol in offered:
        if subprotocol in CODECS:
            return subprotocol
    if offered:
        raise NegotiationError("none of the subprotocols is known; use one of " + ", ".join(CODECS))
    return None
