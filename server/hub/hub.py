"""Hands what was committed to the devices that may see it, in commit order."""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from protocol.codec import Codec
from protocol.errors import CloseCode, ConnectionRefused
from protocol.frames import Reply
from protocol.results import ErrorBody
from protocol.usersig import SigCode
from protocol.vocabulary import EventKind, Notice, ReceiveOption
from server.domain.model import Entry
from server.domain.rules import Rulebook
from server.hub.cursors import cursor_text
from server.hub.rooms import Feed, Rooms
from server.hub.runs import runs
from server.hub.session import Mode, Parting, Session, joined
from server.hub.wire import event_frame
from server.service.ports import Committed, DevicePresence, Heads


class Hub:
    """All sessions of this process, and the place in the log up to which they have been told.

    Implements the service's ``Publisher``, ``Presence`` and ``Sessions``. Everything here runs on the event
    loop and waits for nothing.

    Args:
        heads: where the log is at the start.

    Attributes:
        on_parted: called with a user and a group without stored membership when the user's last
            connection is gone (``groups.md`` section 1: a dropped connection leaves).
        on_came: called with a session that was added, and those that had to go for it; its own
            older connection is not among them. None where nobody wants to know.
        on_gone: called with a session that ended by itself, and how.
        delivered: how often an event was told to a live session.
        dropped_unstored: how often one that is in no log was not told, to a session behind.
    """

    def __init__(self, heads: Heads, rulebook: Rulebook) -> None:
        self._epoch = heads.epoch
        self._earlier = heads.earlier
        self._floor = heads.floor
        self._last_time_ms = heads.last_time_ms
        self._rulebook = rulebook
        self._hold_bytes = rulebook.limits["OUTGOING_BYTES"]
        self._dirty: list[Session] = []
        self._waiters: list[asyncio.Future[None]] = []
        self.position = heads.position
        self.rooms = Rooms()
        self.on_parted: Callable[[str, str], None] = lambda _user_id, _group_id: None
        self.on_came: Callable[[Session, Sequence[Session]], None] | None = None
        self.on_gone: Callable[[Session, Parting], None] | None = None
        self.delivered = 0
        self.dropped_unstored = 0

    @property
    def heads(self) -> Heads:
        """Where the devices are: the log's end as far as it was told."""
        return Heads(self._epoch, self.position, self._floor, self._earlier, self._last_time_ms)

    def raise_floor(self, floor: int) -> None:
        """Entries up to ``floor`` are no longer kept: nobody resumes from before it."""
        self._floor = max(self._floor, floor)

    def cursor_of(self, session: Session) -> str:
        """The cursor of what ``session`` has been sent."""
        return self.cursor_at(self.position if session.mode is Mode.LIVE else session.position)

    def cursor_at(self, position: int) -> str:
        """The cursor of everything up to ``position``, in this term."""
        return cursor_text(self._epoch, position)

    # Publishing.

    def publish(self, committed: Sequence[Committed], position: int) -> None:
        """See ``Publisher.publish``."""
        for run in runs(committed):
            # Where somebody comes or goes, the run is this one entry.
            first = run[0]
            self._let_in(first)
            self._tell(run)
            self._let_out(first)
        self.position = max(self.position, position)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters = []

    def _let_in(self, item: Committed) -> None:
        """Those who join with this entry follow the group from it on."""
        entry = item.entry
        for user_id in entry.joined:
            if entry.is_stored:
                self.rooms.follow(user_id, entry.group_id, item.position)
            else:
                self.rooms.participate(user_id, entry.group_id, entry.time_ms)

    def _let_out(self, item: Committed) -> None:
        """Those who leave with this entry have been told it and follow no longer."""
        entry = item.entry
        for user_id in entry.left:
            if entry.is_stored:
                self.rooms.unfollow(user_id, entry.group_id, item.position)
            else:
                self.rooms.part(user_id, entry.group_id)
        if entry.closes:
            self.rooms.note_ending(item)
            self.rooms.close_group(entry.group_id, item.position)
        if entry.event == Notice.RECEIVE_OPTION_CHANGED and entry.inbox_of is not None:
            discards = entry.data.receive_option is ReceiveOption.DISCARD
            self.rooms.discard(entry.inbox_of, entry.group_id, discards=discards)

    async def reached(self, position: int) -> None:
        """Return once everything up to ``position`` has been told."""
        while self.position < position:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def _tell(self, run: Sequence[Committed]) -> None:
        """One encoding per codec in use; the same bytes for every session.

        The loop runs once for each device of each member, so nothing is looked up in it twice,
        and what the run has is joined before it and not for each of them.
        """
        entry = run[0].entry
        group_id = entry.group_id if entry.kind is EventKind.MESSAGE else None
        cursors = [self._moved_by(item) for item in run]
        encoded: dict[Codec, _Encoded] = {}
        live, gone = Mode.LIVE, Mode.GONE
        deliveries = 0
        for feed in self._audience(entry):
            if group_id in feed.discards:
                continue
            for session in feed.sessions:
                mode = session.mode
                if mode is gone:
                    continue
                told = encoded.get(session.codec)
                if told is None:
                    told = encoded[session.codec] = _encoded(session.codec, run, cursors)
                if mode is live:
                    session.pending += told.pieces
                    deliveries += 1
                    if not session.is_dirty:
                        self.mark_dirty(session)
                else:
                    self._keep_for_later(session, run, told.frames)
        self.delivered += deliveries * len(run)

    def _moved_by(self, item: Committed) -> str:
        """The cursor of everything up to ``item``, which is told now."""
        if item.position:
            self.position = max(self.position, item.position)
            self._last_time_ms = item.entry.time_ms
        return self.cursor_at(self.position)

    def _keep_for_later(
        self, session: Session, run: Sequence[Committed], frames: Sequence[bytes]
    ) -> None:
        """The session catches up: it reads these from the log, or is at its end right now."""
        for item, frame in zip(run, frames, strict=True):
            if item.position:
                session.hold(item.position, frame, self._hold_bytes)
            else:
                self.dropped_unstored += 1

    def _audience(self, entry: Entry) -> Iterator[Feed]:
        if entry.inbox_of is None:
            return self.rooms.followers(entry.group_id)
        feed = self.rooms.feed(entry.inbox_of)
        return iter(()) if feed is None else iter((feed,))

    def mark_dirty(self, session: Session) -> None:
        """Write what the session has queued at the end of this turn of the loop.

        Everything that is queued within the turn goes out in one write: a write costs the
        kernel the same whatever its size.
        """
        if session.is_dirty:
            return
        session.is_dirty = True
        if not self._dirty:
            asyncio.get_running_loop().call_soon(self._flush)
        self._dirty.append(session)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for session in dirty:
            session.flush()

    # Replies.

    def reply(
        self, session: Session, request_id: str, result: object, error: ErrorBody | None
    ) -> None:
        """Queue an answer after the events that were told before it."""
        if session.mode is Mode.GONE:
            return
        session.put_frame(
            Reply(id=request_id, cursor=self.cursor_of(session), result=result, error=error)
        )
        self.mark_dirty(session)

    # Coming and going.

    def add(self, session: Session) -> Feed:
        """A device has said hello: it replaces its own older connection, and one too many goes."""
        feed = self.rooms.open(session.user_id)
        feed.add(session)
        replaced = self._replaced_by(session, feed)
        for other in replaced:
            self._let_go(feed, other)
            same = other.device_id == session.device_id
            other.sink.close(
                ConnectionRefused(
                    CloseCode.REPLACED,
                    "the same device connected again" if same else "too many devices of this user",
                )
            )
        if self.on_came is not None:
            others = [other for other in replaced if other.device_id != session.device_id]
            self.on_came(session, others)
        return feed

    def _replaced_by(self, session: Session, feed: Feed) -> list[Session]:
        """The own older connection of the device, and the oldest that are one too many."""
        replaced = [
            other
            for other in feed.sessions
            if other.device_id == session.device_id and other is not session
        ]
        limit = self._rulebook.limit
        for most, platform in (
            (limit("DEVICES_PER_PLATFORM"), session.platform),
            (limit("DEVICES_PER_USER"), None),
        ):
            rest = [
                other
                for other in feed.sessions
                if other not in replaced and platform in (None, other.platform)
            ]
            if most is not None:
                replaced += rest[: max(0, len(rest) - most)]
        return replaced

    def remove(self, session: Session, parting: Parting = Parting.LOST) -> None:
        """The connection is gone. May be called more than once; the first time says how."""
        feed = self.rooms.feed(session.user_id)
        if session.mode is Mode.GONE or feed is None:
            session.mode = Mode.GONE
            return
        self._let_go(feed, session)
        if self.on_gone is not None:
            self.on_gone(session, parting)
        if feed.sessions:
            return
        parted = tuple(feed.participates_since_ms)
        self.rooms.close(feed)
        for group_id in parted:
            self.on_parted(session.user_id, group_id)

    def _let_go(self, feed: Feed, session: Session) -> None:
        session.flush_all()
        session.mode = Mode.GONE
        session.mark_writable()
        feed.remove(session)

    def go_live(self, session: Session) -> None:
        """The session has everything up to the hub's position; from here on it is told."""
        if session.mode is Mode.CATCHING_UP:
            session.mode = Mode.LIVE
            session.position = self.position

    def fall_behind(self, session: Session) -> bool:
        """The peer does not take what it is sent; returns whether it was live until now.

        All that was told is in the transport's buffer or queued before whatever comes now; what
        comes after it is read from the log once the peer takes data again.
        """
        session.is_paused = True
        if session.mode is not Mode.LIVE:
            return False
        session.mode = Mode.CATCHING_UP
        session.position = self.position
        return True

    def sessions(self) -> list[Session]:
        """Every session of this process."""
        return [session for feed in self.rooms.feeds() for session in feed.sessions]

    def sign_out(self, user_id: str) -> int:
        """See ``Sessions.sign_out``."""
        feed = self.rooms.feed(user_id)
        sessions = () if feed is None else feed.sessions
        for session in sessions:
            session.sink.close(
                ConnectionRefused(
                    CloseCode.NOT_AUTHENTICATED,
                    "signed out by the operator",
                    error_code=int(SigCode.REVOKED),
                )
            )
        return len(sessions)

    # Presence.

    def devices_of(self, user_id: str) -> Sequence[DevicePresence]:
        """See ``Presence.devices_of``."""
        feed = self.rooms.feed(user_id)
        return [] if feed is None else [session.presence() for session in feed.sessions]

    def participant_since_ms(self, group_id: str, user_id: str) -> int | None:
        """See ``Presence.participant_since_ms``."""
        return self.rooms.participant_since_ms(user_id, group_id)

    def participations_of(self, user_id: str) -> Mapping[str, int]:
        """See ``Presence.participations_of``."""
        feed = self.rooms.feed(user_id)
        return {} if feed is None else dict(feed.participates_since_ms)

    def participant_count(self, group_id: str) -> int:
        """See ``Presence.participant_count``."""
        return self.rooms.participant_count(group_id)

    def newest_participants(self, group_id: str, limit: int) -> Sequence[tuple[str, int]]:
        """See ``Presence.newest_participants``."""
        taking_part = (
            (feed.user_id, feed.participates_since_ms[group_id])
            for feed in reversed(tuple(self.rooms.followers(group_id)))
            if group_id in feed.participates_since_ms
        )
        return list(itertools.islice(taking_part, limit))


class _Encoded(NamedTuple):
    """A run in one codec: the frame of each entry, and all of them in pieces to write."""

    frames: Sequence[bytes]
    pieces: list[bytes]


def _encoded(codec: Codec, run: Sequence[Committed], cursors: Sequence[str]) -> _Encoded:
    frames = [event_frame(codec, *told) for told in zip(run, cursors, strict=True)]
    return _Encoded(frames, frames if len(frames) == 1 else joined(frames))
