"""How a connection ended, in one word of few: a close code of ours by its name, or these."""

from typing import Final

from protocol.errors import CloseCode
from server.transport.wsprotocol import WebSocketProtocol

PEER: Final = "PEER"
"""The peer has closed it, with whatever code."""

LOST: Final = "LOST"
"""It broke, or the peer went without a word."""

PROTOCOL: Final = "PROTOCOL"
"""What came was no WebSocket, or its handshake was refused."""

ENDINGS: Final = (*(code.name for code in CloseCode), PEER, LOST, PROTOCOL)


def ending_of(ws: WebSocketProtocol) -> str:
    """How the protocol itself has ended it."""
    if ws.close_rcvd_then_sent:
        return PEER
    if ws.close_sent is None:
        return LOST if ws.handshake_exc is None else PROTOCOL
    try:
        return CloseCode(ws.close_sent.code).name
    except ValueError:
        return PROTOCOL
