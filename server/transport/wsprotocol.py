"""The WebSocket rules: the ``websockets`` library's sans-I/O core, with our close codes."""

from collections.abc import Mapping, Sequence
from typing import Final

from websockets.exceptions import NegotiationError
from websockets.frames import CloseCode as WebSocketCloseCode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from protocol.codec import CODECS, JSON, Codec
from protocol.errors import CLOSES, CloseCode
from protocol.frames import Bye
from server.hub.wire import framed

_OUR_CODES: Final[Mapping[int, CloseCode]] = {
    WebSocketCloseCode.PROTOCOL_ERROR: CloseCode.MALFORMED,
    WebSocketCloseCode.INVALID_DATA: CloseCode.MALFORMED,
    WebSocketCloseCode.MESSAGE_TOO_BIG: CloseCode.TOO_LARGE,
    WebSocketCloseCode.INTERNAL_ERROR: CloseCode.INTERNAL,
}

_SUBPROTOCOLS: Final = [Subprotocol(name) for name in CODECS]


class WebSocketProtocol(ServerProtocol):
    """One connection's protocol state; bytes in, frames and bytes out.

    Args:
        frame_bytes: the longest message that is taken; the next byte closes 4413.
    """

    def __init__(self, frame_bytes: int) -> None:
        super().__init__(
            subprotocols=_SUBPROTOCOLS,
            select_subprotocol=_select_subprotocol,
            max_size=frame_bytes,
        )

    @property
    def codec(self) -> Codec:
        """The codec that was negotiated; JSON for a client that named none."""
        return CODECS[self.subprotocol] if self.subprotocol else JSON

    def fail(self, code: WebSocketCloseCode | int, reason: str = "") -> None:
        """End the connection for what the peer sent.

        The library's codes become the contract's (``protocol.md``, Closing), with a bye before
        the close frame.
        """
        ours = _OUR_CODES.get(code)
        if ours is not None and self.state is State.OPEN:
            code = ours
            if ours is CloseCode.TOO_LARGE:
                reason = CLOSES[ours].text
            self.writes.append(framed(self.codec, Bye(code=code, reason=reason)))
        super().fail(code, reason)


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
