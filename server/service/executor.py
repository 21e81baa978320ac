"""Group commit: commands that wait are decided together and share one durable transaction."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from protocol.commands import ChangingCommand, SendMessage
from protocol.errors import ErrorCode, Refused
from protocol.results import Result
from server.domain.decide import Needs, decide, needs_of, widened
from server.domain.model import Actor, Decision, Group, MoreNeeded, Origin, Slice
from server.domain.rules import Rulebook
from server.domain.wishes import Wish, decide_as_wished
from server.service.announcements import Announcements, with_random
from server.service.batch import BatchView
from server.service.group_rates import GroupRates
from server.service.outbox import OutboxItem
from server.service.ports import (
    Clock,
    Committed,
    Conflict,
    Done,
    Duplicate,
    Outcome,
    OutcomeUnknown,
    Presence,
    Publisher,
    RequestKey,
    Store,
    StoredReply,
    Tokens,
    Unavailable,
    Version,
)
from server.service.row_cache import RowCache
from server.service.slices import SliceLoader
from server.service.tally import Tally

log = logging.getLogger(__name__)

MAX_BATCH: Final = 512
MAX_ATTEMPTS: Final = 5

COMMIT_STEPS: Final = (1, 2, 5, 10, 20, 50, 100, 200, MAX_BATCH)
"""Sizes of commits are counted in these steps."""

_FROM_HERE: Final = Origin()
"""Of what the server itself does."""

Answer = Callable[[object | None, Refused | None], None]
"""Called once with the result (a struct or a map) or the refusal."""


class _Job:
    """A command that waits for its answer; a copy of the same request waits for the same one."""

    __slots__ = (
        "actor",
        "answers",
        "attempts",
        "command",
        "digest",
        "needs",
        "origin",
        "request",
        "wish",
    )

    def __init__(
        self,
        command: ChangingCommand,
        actor: Actor,
        request: RequestKey | None,
        digest: bytes,
        origin: Origin,
        wish: Wish | None,
    ) -> None:
        self.wish = wish
        self.command = command
        self.actor = actor
        self.origin = origin
        self.request = request
        self.digest = digest
        self.needs: Needs = needs_of(command, actor)
        self.answers: list[Answer] = []
        self.attempts = 0


class _Refusal(NamedTuple):
    """What a decision was that came to none, and what is told of it outside."""

    refused: Refused
    group: Group | None


_Decided = tuple[_Job, Decision | _Refusal]
"""One for each write set of a batch, in the same order."""


class Executor:
    """Applies changing commands: loads, decides, commits, publishes, answers, in that order.

    Commands take effect in the order of ``submit``. While one batch is being synced the next one
    gathers; a batch is decided when the one before it is committed, so that every decision rests
    on committed rows or on rows of its own batch.

    Args:
        announcements: what the operator's own service is told; None for nothing.
        is_only_writer: whether no other process writes to the store, so that the rows at hand are
            the newest.
        on_fatal: called once when a commit's outcome is unknown; the process must end.

    Attributes:
        commits: how many changes the commits had.
    """

    def __init__(
        self,
        *,
        store: Store,
        publisher: Publisher,
        presence: Presence,
        clock: Clock,
        tokens: Tokens,
        rulebook: Rulebook,
        is_only_writer: bool,
        on_fatal: Callable[[], None],
        announcements: Announcements | None = None,
        shard: int = 0,
    ) -> None:
        self._announcements = announcements
        self._has_items = False
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._tokens = tokens
        self._rulebook = rulebook
        self._is_only_writer = is_only_writer
        self._on_fatal = on_fatal
        self._shard = shard
        self._slices = SliceLoader(store, presence, rulebook)
        self._rates = GroupRates(rulebook, clock)
        self._waiting: deque[_Job] = deque()
        self._in_flight: dict[RequestKey, _Job] = {}
        self.commits = Tally(COMMIT_STEPS)
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def submit(
        self,
        command: ChangingCommand,
        actor: Actor,
        request: RequestKey | None,
        digest: bytes,
        answer: Answer,
        origin: Origin = _FROM_HERE,
        wish: Wish | None = None,
    ) -> None:
        """Take ``command``; ``answer`` is called once it is durable, or refused.

        Without ``request`` (for what the server itself does) nothing is remembered. A request id that is already on its way is not executed again: with the same ``digest``
        it gets the same answer, with another REQUEST_ID_CONFLICT. ``origin`` is told outside, and ``wish``
        is what the operator's own service wants of it.
        """
        if request is not None:
            twin = self._in_flight.get(request)
            if twin is not None:
                if twin.digest == digest:
                    twin.answers.append(answer)
                else:
                    answer(None, _id_conflict(request))
                return
        job = _Job(command, actor, request, digest, origin, wish)
        job.answers.append(answer)
        if request is not None:
            self._in_flight[request] = job
        self._waiting.append(job)
        self._idle.clear()
        self._wake.set()

    def has_taken(self, request: RequestKey) -> bool:
        """Whether a request with this id is on its way."""
        return request in self._in_flight

    @property
    def rows(self) -> RowCache | None:
        """The committed rows that are at hand; None where another process may change them."""
        return self._slices.rows if self._is_only_writer else None

    def forget_rows(self) -> None:
        """Rows were let go of without a command: read them anew from here on."""
        self._slices.clear()

    async def run(self) -> None:
        """Work until cancelled. Owned by the composition root, one task."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._run_batch()
            self._idle.set()

    async def settled(self) -> None:
        """Return once everything that was submitted is answered."""
        await self._idle.wait()

    async def _run_batch(self) -> None:
        jobs: Sequence[_Job] = self._next_jobs()
        decided: list[_Decided] = []
        try:
            view = await self._slices.view([job.needs for job in jobs], self._clock.now_ms())
            jobs = self._decide_all(jobs, view, decided)
            outcomes: Sequence[Outcome] = ()
            if view.write_sets:
                outcomes = await self._store.commit(self._shard, view.write_sets)
                if changes := sum(not one.is_refusal for one in view.write_sets):
                    self.commits.add(changes)
        except Unavailable as error:
            self._answer_all(jobs, ErrorCode.UNAVAILABLE, str(error))
        except OutcomeUnknown:
            self._answer_all(jobs, ErrorCode.OUTCOME_UNKNOWN, None)
            self._on_fatal()
        except Exception:
            # Whatever it was, the callers must not wait for ever; nothing was published.
            log.exception("a batch of %d commands failed", len(jobs))
            self._answer_all(jobs, ErrorCode.OUTCOME_UNKNOWN, None)
            self._on_fatal()
        else:
            self._retry(self._settle(decided, outcomes))

    def _next_jobs(self) -> list[_Job]:
        """The next batch, in order: as much as waits, up to the next wide command."""
        jobs = [self._waiting.popleft()]
        while self._waiting and len(jobs) < MAX_BATCH and not self._waiting[0].needs.is_wide:
            jobs.append(self._waiting.popleft())
        return jobs

    def _decide_all(
        self,
        jobs: Sequence[_Job],
        view: BatchView,
        decided: list[_Decided],
    ) -> Sequence[_Job]:
        """Decide the jobs in order; returns those that were taken into the batch.

        One that needs to see more goes back to the queue with all that come after it, so that
        the order stays.
        """
        now_ms = self._clock.now_ms()
        for index, job in enumerate(jobs):
            if view.must_wait(job.needs):
                self._waiting.extendleft(reversed(jobs[index:]))
                return jobs[:index]
            state, seen = view.slice_of(job.needs, self._tokens.token(), now_ms)
            try:
                self._rates.check(job.command, job.actor, state)
                decision = self._decide(job, state, now_ms)
                items = self._items(job, state, decision, now_ms)
            except MoreNeeded:
                job.needs = widened(job.needs)
                self._waiting.extendleft(reversed(jobs[index:]))
                return jobs[:index]
            except Refused as refusal:
                view.add_refusal(seen, now_ms, job.actor.user_id, job.request)
                decided.append((job, _Refusal(refusal, state.group)))
            except Exception:
                log.exception("deciding %s failed", type(job.command).__name__)
                view.add_refusal(seen, now_ms, job.actor.user_id, job.request)
                decided.append((job, _Refusal(Refused(ErrorCode.INTERNAL), None)))
            else:
                view.add(decision, seen, now_ms, job.actor.user_id, job.request, job.digest, items)
                decided.append((job, decision))
        return jobs

    def _decide(self, job: _Job, state: Slice, now_ms: int) -> Decision:
        if job.wish is None:
            return decide(self._rulebook, state, job.command, job.actor, now_ms)
        return decide_as_wished(job.wish, self._rulebook, state, job.command, job.actor, now_ms)

    def _items(
        self, job: _Job, state: Slice, decision: Decision, now_ms: int
    ) -> Sequence[OutboxItem]:
        """What the operator's own service is to be told of it."""
        if self._announcements is None:
            return ()
        origin = with_random(job.origin, job.request)
        items = self._announcements.items(job.command, job.actor, origin, state, decision, now_ms)
        self._has_items = self._has_items or bool(items)
        return items

    def _settle(self, decided: Sequence[_Decided], outcomes: Sequence[Outcome]) -> list[_Job]:
        """Publish what was committed, then answer; returns what met a conflict."""
        conflicted: list[_Job] = []
        self._publish(decided, outcomes)
        for (job, decision), outcome in zip(decided, outcomes, strict=True):
            if isinstance(outcome, Conflict):
                conflicted.append(job)
            elif isinstance(outcome, Duplicate):
                # It was done before: the first reply is the truth, also where it is refused now.
                self._answer_stored(job, outcome.stored)
            elif isinstance(decision, _Refusal):
                self._tell_refusal(job, decision)
                self._answer(job, None, decision.refused)
            else:
                self._answer(job, _with_seq(decision.result, outcome.seq), None)
        return conflicted

    def _publish(self, decided: Sequence[_Decided], outcomes: Sequence[Outcome]) -> None:
        published: list[Committed] = []
        position = 0
        for (_job, decision), outcome in zip(decided, outcomes, strict=True):
            if isinstance(outcome, Done) and isinstance(decision, Decision):
                for key, row in decision.puts.items():
                    # A row that is gone has no version any more.
                    version = Version(outcome.position if row is not None else 0, row)
                    self._slices.remember(key, version)
                published.extend(outcome.committed)
                position = max(position, outcome.position)
        if published or position:
            self._publisher.publish(published, position)
            if self._announcements is not None and self._has_items:
                self._has_items = False
                self._announcements.committed()

    def _tell_refusal(self, job: _Job, refusal: _Refusal) -> None:
        if self._announcements is not None:
            origin = with_random(job.origin, job.request)
            self._announcements.refused(
                job.command,
                job.actor,
                origin,
                refusal.group,
                refusal.refused,
                self._clock.now_ms(),
            )

    def _retry(self, jobs: Sequence[_Job]) -> None:
        """Put ``jobs`` back at the front of the queue, to be decided on rows read anew."""
        for job in reversed(jobs):
            job.attempts += 1
            if job.attempts > MAX_ATTEMPTS:
                self._answer(job, None, Refused(ErrorCode.UNAVAILABLE, "the rows keep changing"))
                continue
            self._slices.forget(job.needs)
            self._waiting.appendleft(job)

    def _answer_stored(self, job: _Job, stored: StoredReply) -> None:
        if stored.digest != job.digest and job.request is not None:
            self._answer(job, None, _id_conflict(job.request))
            return
        result: dict[str, Any] = msgspec.json.decode(stored.reply)
        if stored.seq is not None and isinstance(job.command, SendMessage):
            result["seq"] = stored.seq
        self._answer(job, result, None)

    def _answer_all(self, jobs: Sequence[_Job], code: ErrorCode, message: str | None) -> None:
        for job in jobs:
            self._slices.forget(job.needs)
            self._answer(job, None, Refused(code, message))

    def _answer(self, job: _Job, result: object | None, refusal: Refused | None) -> None:
        if job.request is not None:
            self._in_flight.pop(job.request, None)
        for answer in job.answers:
            answer(result, refusal)


def _with_seq(result: Result, seq: int | None) -> Result:
    """``result`` with the number that the commit gave, where the result shows one."""
    if seq is not None and "seq" in result.__struct_fields__:
        return msgspec.structs.replace(result, seq=seq)
    return result


def _id_conflict(request: RequestKey) -> Refused:
    return Refused(ErrorCode.REQUEST_ID_CONFLICT, request_id=request.request_id)
