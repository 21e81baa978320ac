"""Brings a session up to the hub: on connecting, after being slow. One mechanism for all.

Subscribe first, then read, then release: the session's user follows its groups before anything
is read, and what is committed while the last page is being read is held and released after it.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

from protocol.errors import CloseCode, ConnectionRefused
from protocol.frames import Hello, ResetReason, Resume, Welcome
from server.domain.rules import Rulebook
from server.hub.cursors import place_of
from server.hub.followed_groups import FollowedGroups
from server.hub.hub import Hub
from server.hub.rooms import Feed
from server.hub.session import Mode, Session
from server.hub.wire import PageLimits, event_pages, page_frame
from server.service.ports import Clock, Committed, Missed, OutcomeUnknown, Store, Unavailable

log = logging.getLogger(__name__)

_READS_AT_ONCE = 32
"""How many sessions read from the store together; the others of a storm wait for their turn."""


_LEAST_EVENTS = 8
"""How few events a page of a peer that takes little has at least."""


class CatchUp:
    """Attaches sessions to the hub and lets them catch up.

    Args:
        server_name: what ``welcome.server`` says.
        welcome_limits: what ``welcome.limits`` says.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        store: Store,
        clock: Clock,
        rulebook: Rulebook,
        server_name: str,
        welcome_limits: dict[str, int],
        shard: int = 0,
    ) -> None:
        self._hub = hub
        self._store = store
        self._clock = clock
        self._rulebook = rulebook
        self._server_name = server_name
        self._welcome_limits = welcome_limits
        self._shard = shard
        limits = rulebook.limits
        self._page = PageLimits(limits["EVENTS_PER_FRAME"], limits["EVENTS_FRAME_BYTES"])
        self._outgoing_bytes = limits["OUTGOING_BYTES"]
        self._turns = asyncio.Semaphore(_READS_AT_ONCE)
        self._followed_groups = FollowedGroups(store, hub.rooms, self._turns)
        self._tasks: set[asyncio.Task[None]] = set()

    def attach(self, session: Session, hello: Hello) -> None:
        """Take a session whose hello was accepted: welcome, what it missed, then live events."""
        feed = self._hub.add(session)
        self._start(self._attach(session, feed, hello.cursor), session)

    def pause(self, session: Session) -> None:
        """The peer takes no more data for now."""
        self._hub.fall_behind(session)

    def resume(self, session: Session) -> None:
        """The peer takes data again."""
        session.is_paused = False
        session.flush()
        if session.mode is Mode.CATCHING_UP and not session.has_reader:
            feed = self._hub.rooms.feed(session.user_id)
            if feed is not None:
                self._start(self._catch_up(session, feed), session)
        session.mark_writable()

    async def stop(self) -> None:
        """Cancel what is going on; returns when it has ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._followed_groups.stop()

    def _start(self, work: Coroutine[Any, Any, None], session: Session) -> None:
        session.has_reader = True
        task = asyncio.ensure_future(self._guarded(work, session))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None], session: Session) -> None:
        try:
            await work
        except (Unavailable, OutcomeUnknown):
            session.sink.close(ConnectionRefused(CloseCode.INTERNAL, "the log cannot be read now"))
        except Exception:
            log.exception("catching up failed")
            session.sink.close(ConnectionRefused(CloseCode.INTERNAL))
        finally:
            session.has_reader = False

    async def _attach(self, session: Session, feed: Feed, cursor: str | None) -> None:
        start = self._hub.position
        text = self._hub.cursor_at(start)
        resume, reason = Resume.FRESH, None
        if cursor is not None:
            resume = Resume.RESUMED
            place = await self._place(session.user_id, cursor)
            if isinstance(place, ResetReason):
                resume, reason = Resume.RESET, place
            else:
                # In the words of the client: the term says which history the device has seen.
                start, text = place, cursor
        session.position = start
        session.put_frame(
            Welcome(
                session_id=session.session_id,
                resume=resume,
                reason=reason,
                cursor=text,
                server_time_ms=self._clock.now_ms(),
                server=self._server_name,
                heartbeat_ms=self._rulebook.limits["HEARTBEAT_MS"],
                limits=self._welcome_limits,
            )
        )
        self._hub.mark_dirty(session)
        await self._catch_up(session, feed)

    async def _place(self, user_id: str, cursor: str) -> int | ResetReason:
        heads = self._hub.heads
        place = place_of(cursor, heads)
        most = self._rulebook.limit("RESUME_EVENTS")
        if isinstance(place, ResetReason) or most is None or heads.position - place <= most:
            return place
        async with self._turns:
            count = await self._store.missed_count(self._shard, user_id, place, heads.position)
        return ResetReason.TOO_FAR if count > most else place

    async def _catch_up(self, session: Session, feed: Feed) -> None:
        """Read until nothing is missing, then go live in the same turn of the loop."""
        await self._followed_groups.load(feed)
        while session.mode is Mode.CATCHING_UP:
            if session.is_paused:
                session.mark_ready()
                await session.writable()
            elif session.position < max(self._hub.position, feed.loaded_position):
                await self._read_page(session, feed)
            else:
                self._hub.go_live(session)
        session.mark_ready()

    async def _read_page(self, session: Session, feed: Feed) -> None:
        """Read and write one page; with the last one, release what was held and go live.

        The snapshot of the user's groups may be ahead of what the hub has told: then the user is
        no follower any more of a group whose last entries are still to be told. So everything up
        to that snapshot is read, and the hub is waited for.
        """
        upto = max(self._hub.position, feed.loaded_position)
        limit = min(session.read_events, self._page.events)
        session.start_holding(upto)
        try:
            async with self._turns:
                missed = await self._store.missed(
                    self._shard, session.user_id, session.position, upto, limit
                )
            await self._hub.reached(upto)
        except BaseException:
            session.stop_holding()
            raise
        if session.is_gone():
            return
        if missed.floor > session.position:
            self._give_up(session, missed.floor)
            return
        until, has_more = self._put_pages(session, feed, missed)
        session.position = until
        held = session.stop_holding()
        if held is not None and not has_more and not session.is_paused:
            for frame in held:
                session.put(frame)
            self._hub.go_live(session)
        self._hub.mark_dirty(session)
        # The write must happen before the next page is read: it may find the peer slow.
        session.flush()

    def _put_pages(self, session: Session, feed: Feed, missed: Missed) -> tuple[int, bool]:
        """Queue what was read, up to OUTGOING_BYTES or a message more.

        Returns the position up to which that is everything, and whether there is more after it.
        """
        put_bytes, put_events, until = 0, 0, session.position
        entries = _with_endings(missed, feed, session.position)
        for position, events in event_pages(session.codec, entries, self._page):
            if put_bytes >= self._outgoing_bytes:
                # What does not go out now has been read for nothing: less of it the next time.
                session.read_events = max(_LEAST_EVENTS, 2 * put_events)
                return until, True
            frame = page_frame(session.codec, events, self._hub.cursor_at(position))
            session.put(frame)
            put_bytes += len(frame)
            put_events += len(events)
            until = position
        session.read_events = min(8 * session.read_events, self._page.events)
        return missed.until, missed.has_more

    def _give_up(self, session: Session, floor: int) -> None:
        """Let go of a session that was so slow that what it missed is no longer kept.

        It must not go on with a hole; when it comes back, its cursor has expired.
        """
        session.stop_holding()
        self._hub.raise_floor(floor)
        session.sink.close(
            ConnectionRefused(CloseCode.TOO_SLOW, "what it missed is no longer kept")
        )


def _with_endings(missed: Missed, feed: Feed, after: int) -> Sequence[Committed]:
    """What was missed after ``after``, with the ends of rooms of which only the hub knows."""
    told = {committed.position for committed in missed.entries}
    more = [
        ending
        for ending in feed.endings
        if after < ending.position <= missed.until and ending.position not in told
    ]
    if not more:
        return missed.entries
    return sorted((*missed.entries, *more), key=lambda committed: committed.position)
