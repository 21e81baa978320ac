"""Our listener, connections and WebSocket rules, with an echo in the place of the protocol."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from protocol.codec import Codec, Malformed
from protocol.limits import default_limits
from server.domain.rules import Rulebook
from server.hub.session import Session
from server.node import SHARD, Node
from server.service.credentials import Credentials
from server.storage.memory import MemoryStore
from server.system import SystemClock, SystemTokens
from server.transport.admission import Authenticator
from server.transport.connection import Connection
from server.transport.listener import Listener

_HOST: Final = "127.0.0.1"
_HOUR_MS: Final = 3_600_000

_LIMITS: Final = {
    "FRAME_BYTES": 16 * 1024 * 1024,
    "MESSAGE_FRAGMENTS": 1_000_000,
    "CONTROL_FRAMES_PER_S": 0,
    "HELLO_MS": _HOUR_MS,  # nobody says hello to an echo
    "UNAUTHENTICATED_PER_ADDRESS": 0,
}
"""What section 9 sends: up to 16 MiB in frames of 64 bytes."""


class Echo:
    """Says every message back; see ``server.transport.conversation.Talk``."""

    def __init__(self, _listener: Listener, sink: Connection, _codec: Codec) -> None:
        self._sink = sink
        self.session: Session | None = None

    def receive(self, data: bytes, *, is_binary: bool) -> None:
        """Send the message back in one frame of its kind.

        Raises:
            Malformed: a text message is not UTF-8 (RFC 6455 section 8.1).
        """
        if not is_binary:
            try:
                data.decode()
            except UnicodeDecodeError as error:
                raise Malformed("a text message is not UTF-8") from error
        self._sink.write(_frame(data, is_binary=is_binary))

    def end(self) -> None:
        """See ``Talk.end``: the connection is the only one who knows this."""


def _frame(payload: bytes, *, is_binary: bool) -> bytes:
    """One final unmasked frame (RFC 6455 section 5.2)."""
    size = len(payload)
    opcode = b"\x82" if is_binary else b"\x81"
    if size < 126:
        return opcode + bytes((size,)) + payload
    if size < 65536:
        return opcode + b"\x7e" + size.to_bytes(2) + payload
    return opcode + b"\x7f" + size.to_bytes(8) + payload


@asynccontextmanager
async def echo_server(*, says_bye: bool) -> AsyncIterator[str]:
    """A server that echoes, on a free port; gives its address.

    Args:
        says_bye: end connections as ``protocol.md`` has it, not as RFC 6455 does.
    """
    store = MemoryStore()
    node = Node(
        store=store,
        heads=await store.heads(SHARD),
        rulebook=Rulebook(limits=default_limits() | _LIMITS),
        authenticator=Authenticator(
            Credentials(sdkappid=1, secret_keys=[], now_s=lambda: 0), admins=[]
        ),
        clock=SystemClock(),
        tokens=SystemTokens(),
    )
    node.listener.converse = Echo
    node.listener.says_bye = says_bye
    node.start()
    try:
        port = await node.listen(_HOST, 0, None)
        yield f"ws://{_HOST}:{port}/ws"
        await node.drain()
    finally:
        await node.stop()
        await store.close()
