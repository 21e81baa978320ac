"""Tells the operator's own service what the outbox holds: at least once, each group in order.

The groups are independent of each other: one that is not taken waits with everything behind it,
and the others go on. Nothing is given up for failures of a time in which nothing else was taken:
they say nothing about it. Of what waits only numbers are in memory (``backlog``); bodies are read
when their turn comes.
"""

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from itertools import islice
from typing import Final

from msgspec.structs import replace

from server.service.outbox import Fate, Outbox, OutboxItem, Outgoing, Settled
from server.service.ports import Clock, OutcomeUnknown, Unavailable
from server.webhooks.backlog import Backlog, Stream
from server.webhooks.blame import Blame
from server.webhooks.bodies import call_of
from server.webhooks.receiver import NoAnswer, Receiver
from server.webhooks.seldom import Seldom, SeldomFor
from server.webhooks.settling import Settling

log = logging.getLogger(__name__)

_PAGE: Final = 1_000
_IN_A_ROW: Final = 32
_IN_A_ROW_S: Final = 1.0
"""How much of one group is told, and for how long, before another one's turn comes."""

_MOST_PASSING: Final = 10_000
"""That wait without being in the outbox; what comes then is dropped and counted."""

_PASSING_ATTEMPTS: Final = 5
_SAID_ATTEMPT: Final = 5
"""After as many in vain it is said in the log, though one alone does not open the breaker."""

_LOOK_AGAIN_S: Final = 5.0
_UNREADABLE_MS: Final = 1_000
_PERMANENT: Final = frozenset({400, 410, 413, 422, 431})
"""Answers that the same request will get again. Those that say that the address is wrong (404,
405, 414, 415) are not among them: everything would be dead before somebody has put it right."""


class Deliveries:
    """Works while ``run`` runs. The outlet of the service.

    Args:
        jitter: gives numbers from 0 to 1; a pause is between half of it and all.

    Attributes:
        delivered, failed: how many attempts ended so.
        buried: how many items became dead, or were dropped that are in no outbox.
        lag_ms: how old the last one was that was told, when it was.
        on_fatal: called when it is not known what the store has noted; the process must end.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        receiver: Receiver,
        clock: Clock,
        limits: Mapping[str, int],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = outbox
        self._receiver = receiver
        self._clock = clock
        self._limits = limits
        self._jitter = jitter
        self._blame = Blame(clock)
        self._breaker = self._blame.breaker
        self._settling = Settling(outbox, limits["WEBHOOK_DEAD"] or None, clock, self._is_lost)
        self._backlog = Backlog()
        self._given_up, self._overflowed = SeldomFor(clock), Seldom(clock)
        self._in_vain = SeldomFor(clock)
        self._ready: deque[Stream] = deque()
        self._later: list[tuple[float, int, Stream]] = []
        self._couriers: set[asyncio.Task[None]] = set()
        self._said: list[OutboxItem] = []
        self._last_id = 0
        self._sleepers = 0
        self._has_news = True
        self._is_taking_in = False
        self._wake = asyncio.Event()
        self.delivered = 0
        self.failed = 0
        self.buried = 0
        self.lag_ms = 0
        self.on_fatal: Callable[[], None] = lambda: None

    # The outlet.

    def committed(self) -> None:
        """See ``Outlet.committed``."""
        self._has_news = True
        self._wake.set()

    def say(self, item: OutboxItem) -> None:
        """See ``Outlet.say``."""
        if self._backlog.passing + len(self._said) >= _MOST_PASSING:
            self.buried += 1
            return
        if self._has_news or self._is_taking_in:
            self._said.append(item)  # behind what was committed before it
        else:
            self._take_said(item)
        self._wake.set()

    def was_asked(self) -> None:
        """The receiver has answered a question as it should: it works."""
        self._blame.was_asked()

    # What can be seen of it.

    @property
    def waiting(self) -> int:
        """How many items wait."""
        return self._backlog.stored + self._backlog.passing + len(self._said)

    @property
    def oldest_age_ms(self) -> int:
        """How long ago the oldest change was made of which is still to be told; 0 for none."""
        oldest_ms = self._backlog.oldest_ms
        return 0 if oldest_ms is None else max(0, self._clock.now_ms() - oldest_ms)

    @property
    def is_resting(self) -> bool:
        """Whether nothing is on its way now."""
        return not self._couriers and not self._has_news and self._settling.is_done

    # The work.

    async def run(self) -> None:
        """Work until cancelled; then what is on its way is given up, to be told again."""
        try:
            while True:
                pause_s = await self.turn()
                # wait_for would lose a cancellation that comes together with the wake-up.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(pause_s, _LOOK_AGAIN_S)):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Give up what is on its way, and note what was told."""
        for courier in self._couriers:
            courier.cancel()
        await asyncio.gather(*self._couriers, return_exceptions=True)
        await self._settling.finish()

    async def turn(self) -> float:
        """Take in what is new and send out what is due; returns after how many s to come again."""
        if self._has_news:
            self._has_news = False
            self._is_taking_in = True
            try:
                await self._take_in()
            except (Unavailable, OutcomeUnknown):
                self._has_news = True
                log.warning("the outbox could not be read; trying again")
            finally:
                self._is_taking_in = False
        now_s = self._clock.monotonic_s()
        while self._later and self._later[0][0] <= now_s:
            self._ready.append(heappop(self._later)[2])
        self._send_out()
        due_s = self._later[0][0] - now_s if self._later else _LOOK_AGAIN_S
        return min(due_s, self._breaker.wait_s() or due_s) if self._ready else due_s

    async def _take_in(self) -> None:
        said = 0
        now_ms, most_ms = self._clock.now_ms(), self._limits["WEBHOOK_BACKOFF_MOST_MS"]
        while True:
            said = len(self._said)  # before what is read now there is nothing else to be told
            page = await self._outbox.waiting(self._last_id, _PAGE)
            if not page:
                break
            for row in page:
                self._last_id = row.id
                stream, is_new = self._backlog.add(row)
                if is_new:  # no clock that was once wrong puts it off for longer than is usual
                    self._put_off(stream, min(row.due_ms - now_ms, most_ms))
            self._bury_overflow()
        items, self._said = self._said[:said], self._said[said:]
        for item in items:
            self._take_said(item)
        self._has_news = self._has_news or bool(self._said)

    def _take_said(self, item: OutboxItem) -> None:
        stream, is_new = self._backlog.add_passing(Outgoing(id=0, item=item))
        if is_new:
            self._put_off(stream, 0)

    def _put_off(self, stream: Stream, for_ms: int) -> None:
        """Not now; whatever the wall clock will show by then."""
        self._sleepers += 1
        due_s = self._clock.monotonic_s() + max(0, for_ms) / 1000
        heappush(self._later, (due_s, self._sleepers, stream))

    def _send_out(self) -> None:
        most = self._limits["WEBHOOK_CONNECTIONS"]
        while self._ready and len(self._couriers) < most and self._breaker.take():
            courier = asyncio.ensure_future(self._tell(self._next_ready()))
            self._couriers.add(courier)
            courier.add_done_callback(self._came_back)

    def _next_ready(self) -> Stream:
        """Whose turn it is; of a single try for all not that of one whose fault it may have been."""
        if self._breaker.is_open:
            for place, stream in enumerate(self._ready):
                if not stream.attempts:
                    del self._ready[place]
                    return stream
        return self._ready.popleft()

    def _came_back(self, courier: "asyncio.Task[None]") -> None:
        self._couriers.discard(courier)
        self._wake.set()

    async def _tell(self, stream: Stream) -> None:
        """Tell some of a stream, in its order, up to its end or the first failure."""
        again_ms = self._limits["WEBHOOK_BACKOFF_MOST_MS"]
        try:
            again_ms = await self._tell_some(stream)
        except (Unavailable, OutcomeUnknown):
            self._breaker.gave_up()
            again_ms = _UNREADABLE_MS
        except Exception:
            self._breaker.gave_up()
            log.exception("a delivery failed for a reason of our own")
        finally:
            stream.told_id = 0
            if not stream.items:
                self._backlog.forget(stream)
            elif again_ms:
                self._put_off(stream, again_ms)
            else:
                self._ready.append(stream)

    async def _tell_some(self, stream: Stream) -> int:
        """After how many ms it may go on."""
        # Of a group that fails the next one alone is read again.
        most = 1 if stream.attempts else _IN_A_ROW
        ids = [one for one in islice(stream.items, most) if isinstance(one, int)]
        stored = await self._outbox.outgoing(ids)
        end_s = self._clock.monotonic_s() + _IN_A_ROW_S
        tried = 0
        while stream.items and tried < most:
            first = stream.items[0]
            if isinstance(first, int) and first not in stored:
                if first not in ids:
                    break  # it is to be read first
                self._backlog.drop_first(stream)  # somebody has removed it
                continue
            if tried and (self._clock.monotonic_s() >= end_s or not self._breaker.take()):
                break
            tried += 1
            outgoing = stored[first] if isinstance(first, int) else first
            again_ms = await self._attempt(stream, outgoing)
            if again_ms:
                return again_ms
        if not tried:
            self._breaker.gave_up()
        return 0

    async def _attempt(self, stream: Stream, outgoing: Outgoing) -> int:
        """Tell the first of a stream; after how many ms to try it again, 0 when it is over."""
        # What was noted of the last attempt may not be written yet.
        attempt = max(outgoing.attempts, stream.attempts) + 1
        stream.told_id = outgoing.id
        taken = self._blame.taken
        failure, is_permanent = await self._post(outgoing, attempt)
        stream.told_id = 0
        if failure is None:
            self._blame.was_taken()
            self.delivered += 1
            self.lag_ms = self._clock.now_ms() - outgoing.item.time_ms
            self._finish(stream, Settled(id=outgoing.id, fate=Fate.DELIVERED))
            return 0
        if is_permanent:
            self._blame.was_taken()  # it works, and does not want this
        else:
            self._blame.failed(stream, taken, failure)
        self.failed += 1
        if is_permanent or self._is_hopeless(stream, outgoing, attempt, taken):
            self.buried += 1
            if said := self._given_up.add(f"{outgoing.item.name}: {failure}"):
                log.warning("given up to tell the webhook: %s", said)
            dead = Settled(id=outgoing.id, fate=Fate.DEAD, attempts=attempt, failure=failure)
            self._finish(stream, dead)
            return 0
        stream.taken = taken
        return self._try_again(stream, outgoing, attempt, failure)

    def _try_again(self, stream: Stream, outgoing: Outgoing, attempt: int, failure: str) -> int:
        """Note that it is to be told again; after how many ms."""
        stream.attempts = attempt
        name = outgoing.item.name
        if attempt == _SAID_ATTEMPT and (said := self._in_vain.add(f"{name}: {failure}")):
            log.warning(
                "what is told the webhook in vain so far, with its group behind it: %s", said
            )
        again_ms = self._backoff_ms(attempt)
        if outgoing.id:
            self._settling.note(
                Settled(
                    id=outgoing.id,
                    fate=Fate.AGAIN,
                    attempts=attempt,
                    due_ms=self._clock.now_ms() + again_ms,
                    failure=failure,
                )
            )
        else:
            stream.items[0] = replace(outgoing, attempts=attempt, failure=failure)
        return again_ms

    async def _post(self, outgoing: Outgoing, attempt: int) -> tuple[str | None, bool]:
        """What went wrong, None for nothing, and whether it always will."""
        try:
            answer = await self._receiver.post(
                call_of(outgoing, attempt), self._limits["WEBHOOK_AFTER_MS"] / 1000
            )
        except NoAnswer as error:
            return str(error), False
        except BaseException:
            self._breaker.gave_up()
            raise
        if 200 <= answer.status < 300:
            return None, False
        return f"HTTP {answer.status}", answer.status in _PERMANENT

    def _backoff_ms(self, attempt: int) -> int:
        first, most = self._limits["WEBHOOK_BACKOFF_MS"], self._limits["WEBHOOK_BACKOFF_MOST_MS"]
        whole = min(most, first * 2 ** min(attempt - 1, 32))
        return max(1, int(whole * (0.5 + self._jitter() / 2)))

    def _is_hopeless(self, stream: Stream, outgoing: Outgoing, attempt: int, taken: int) -> bool:
        """Whether it is to be given up; ``taken`` as for ``Blame``."""
        if not outgoing.id:
            return attempt >= _PASSING_ATTEMPTS
        most = self._limits["WEBHOOK_ATTEMPTS"]
        return 0 < most <= attempt and self._blame.is_its_own(stream, taken)

    def _is_lost(self) -> None:
        self.on_fatal()

    def _finish(self, stream: Stream, settled: Settled) -> None:
        self._backlog.drop_first(stream)
        if settled.id:
            self._settling.note(settled)

    def _bury_overflow(self) -> None:
        """Of more than WEBHOOK_OUTBOX the oldest are dead; what is on its way stays."""
        most = self._limits["WEBHOOK_OUTBOX"]
        too_many = self._backlog.stored - most
        if not most or too_many <= 0:
            return
        oldest = self._backlog.drop_oldest(too_many)
        for row_id in oldest:
            self._settling.note(Settled(id=row_id, fate=Fate.DEAD, failure="too many waited"))
        self.buried += len(oldest)
        if oldest and (count := self._overflowed.add(len(oldest))):
            log.warning("%d of what waited for the webhook are dead: too many wait", count)
