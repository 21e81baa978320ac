"""One device's connection as a reader of the log: live, catching up, or gone."""

import asyncio
import enum
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from protocol.codec import Codec
from protocol.errors import ConnectionRefused
from server.hub.wire import framed
from server.service.ports import DevicePresence


class Sink(Protocol):
    """The transport under a session."""

    def write(self, data: bytes) -> None:
        """Hand over bytes; never waits. May call ``Session.pause`` before it returns."""

    def close(self, why: ConnectionRefused) -> None:
        """Say why, and close."""


class Mode(enum.Enum):
    """How the events come: from the hub as they are committed, or read from the store."""

    LIVE = "live"
    CATCHING_UP = "catching up"
    GONE = "gone"


_FIRST_EVENTS: Final = 32
"""How many events the first page that a session reads has at most."""

_PIECE_BYTES: Final = 65_536
"""How much is written at once, unless one frame is larger."""

_GONE: Final = Mode.GONE
"""Looking a member up at its class costs more than all else that ``flush`` does."""


class Parting(enum.Enum):
    """How a connection ended."""

    LOGOUT = "the client closed it"
    LOST = "it broke, or was ended by the server"
    SILENT = "the client was not heard of for too long, or took nothing"


class Session:
    """What the hub keeps of a connection; small, since there are many.

    A session that catches up has read everything up to ``position``. While its last page is
    being read it holds what is committed meanwhile (``held``), so that the two join without a
    seam. A live session has been given everything up to the hub's position. ``read_events`` is
    how many events its next page may have: it follows how many of the last ones the peer took.
    ``pending`` is what the next flush writes, in order; the hub adds to it without a call, as it
    does so for each delivery.
    """

    __slots__ = (
        "_held_after",
        "_held_bytes",
        "_writable",
        "address",
        "codec",
        "connected_ms",
        "device_id",
        "has_reader",
        "held",
        "is_dirty",
        "is_paused",
        "mode",
        "on_ready",
        "pending",
        "platform",
        "position",
        "read_events",
        "session_id",
        "sink",
        "user_id",
    )

    def __init__(
        self,
        *,
        session_id: str,
        user_id: str,
        device_id: str,
        platform: str,
        connected_ms: int,
        codec: Codec,
        sink: Sink,
        address: str = "",
    ) -> None:
        self.address = address
        self.session_id = session_id
        self.user_id = user_id
        self.device_id = device_id
        self.platform = platform
        self.connected_ms = connected_ms
        self.codec = codec
        self.sink = sink
        self.mode = Mode.CATCHING_UP
        self.position = 0
        self.read_events = _FIRST_EVENTS
        self.is_dirty = False
        self.is_paused = False
        self.has_reader = False
        self.held: list[bytes] | None = None
        self.on_ready: Callable[[], None] | None = None
        self._held_after = 0
        self._held_bytes = 0
        self.pending: list[bytes] = []
        self._writable: asyncio.Future[None] | None = None

    def put(self, data: bytes) -> None:
        """Queue bytes for the next flush, after all that was queued before."""
        self.pending.append(data)

    def put_frame(self, frame: object) -> None:
        """Queue a frame struct."""
        self.pending.append(framed(self.codec, frame))

    def flush(self) -> None:
        """Write what is queued, as one piece where that is small.

        What the peer does not take is copied into the transport's buffer, one copy for each
        peer. So much is written in pieces, and once the peer is slow the rest stays here: these
        are references to frames that all receivers share. It is written before all else when
        the peer takes data again.
        """
        self.is_dirty = False
        pending = self.pending
        if not pending or self.is_paused:
            return
        if self.mode is _GONE:
            pending.clear()
            return
        if len(pending) == 1:
            self.sink.write(pending.pop())
            return
        data = b"".join(pending)
        if len(data) <= _PIECE_BYTES:
            pending.clear()
            self.sink.write(data)
        else:
            self._write_in_pieces()

    def flush_all(self) -> None:
        """Write what is queued even to a slow peer: nothing comes after it."""
        data = b"".join(self.pending)
        self.pending.clear()
        if data and self.mode is not _GONE:
            self.sink.write(data)

    def _write_in_pieces(self) -> None:
        pending, self.pending = self.pending, []
        start = 0
        for stop in _piece_ends(pending):
            if self.is_paused:
                break
            self.sink.write(b"".join(pending[start:stop]))
            start = stop
        self.pending = pending[start:]

    def start_holding(self, after: int) -> None:
        """From now on keep what is told of positions above ``after``, for the hand-over."""
        self.held = []
        self._held_after = after
        self._held_bytes = 0

    def hold(self, position: int, data: bytes, most_bytes: int) -> None:
        """Keep a live event for the hand-over; past ``most_bytes`` give up and read it later."""
        if self.held is None or position <= self._held_after:
            return
        self._held_bytes += len(data)
        if self._held_bytes > most_bytes:
            self.held = None
        else:
            self.held.append(data)

    def stop_holding(self) -> list[bytes] | None:
        """What was held, or None when it became too much."""
        held = self.held
        self.held = None
        self._held_bytes = 0
        return held

    async def writable(self) -> None:
        """Return once the peer takes data again; at once when it does."""
        while self.is_paused and self.mode is not Mode.GONE:
            if self._writable is None:
                self._writable = asyncio.get_running_loop().create_future()
            await self._writable

    def mark_ready(self) -> None:
        """It has caught up once, or is too slow to be waited for: the peer's requests go on."""
        on_ready, self.on_ready = self.on_ready, None
        if on_ready is not None and self.mode is not Mode.GONE:
            on_ready()

    def is_gone(self) -> bool:
        """Whether the connection has ended."""
        return self.mode is Mode.GONE

    def mark_writable(self) -> None:
        """Wake who waits in ``writable``."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def presence(self) -> DevicePresence:
        """How ``list_devices`` shows it."""
        return DevicePresence(self.device_id, self.platform, self.connected_ms, self.session_id)


def joined(frames: Sequence[bytes]) -> list[bytes]:
    """The same bytes in as few pieces as may be written at once, each of them whole frames."""
    start = 0
    pieces: list[bytes] = []
    for stop in _piece_ends(frames):
        pieces.append(b"".join(frames[start:stop]))
        start = stop
    return pieces


def _piece_ends(frames: Sequence[bytes]) -> Iterator[int]:
    """Up to which of ``frames`` each piece goes."""
    size = 0
    for place, frame in enumerate(frames):
        if size and size + len(frame) > _PIECE_BYTES:
            yield place
            size = 0
        size += len(frame)
    if frames:
        yield len(frames)
