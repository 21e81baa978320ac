"""Short conversations, one after the other: each is judged whole by the oracle, then forgotten.

Every chapter has users and groups of its own and ends with their groups disbanded, so that both
sides keep the same amount of state however long the soak is.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec

from scripts.common.target import Target
from scripts.loadgen.oracle import judge
from scripts.loadgen.record import Fault, Finding, Record
from scripts.loadgen.run import Manner, run
from scripts.loadgen.writer import Options, write_plan

_PATIENCE_S: Final = 30.0
_REQUESTS_PER_DROP: Final = 12
_REQUESTS_PER_GROUP: Final = 60


class Counts(msgspec.Struct, kw_only=True):
    """What was done so far, all chapters together."""

    chapters: int = 0
    messages: int = 0
    deliveries: int = 0
    resumes: int = 0
    paged: int = 0
    watched: int = 0
    requests: dict[str, int] = {}


class Lane:
    """Chapters one after the other until the time is up.

    Args:
        rate: requests per second.
        chapter_s: how long a chapter plays; well below the server's HISTORY_MS.
        on_finding: called with each thing that is wrong.
    """

    def __init__(
        self,
        target: Target,
        *,
        seed: int,
        users: int,
        rate: float,
        chapter_s: float,
        admin: str,
        counts: Counts,
        on_finding: Callable[[Finding], None],
    ) -> None:
        self._target = target
        self._seed = seed
        self._users = users
        self._rate = rate
        self._chapter_s = chapter_s
        self._admin = admin
        self._counts = counts
        self._on_finding = on_finding

    async def run(self, until_s: float, delay_s: float) -> None:
        """Play until ``until_s`` (``time.monotonic``), beginning after ``delay_s``."""
        await asyncio.sleep(delay_s)
        chapter = 0
        while (left_s := until_s - time.monotonic()) > 0 or chapter == 0:
            chapter += 1
            await self._play(self._seed + chapter, max(0.5, min(left_s, self._chapter_s)))

    async def _play(self, seed: int, seconds: float) -> None:
        requests = max(20, int(self._rate * seconds))
        plan = write_plan(
            Options(
                seed=seed,
                users=self._users,
                groups=max(6, requests // _REQUESTS_PER_GROUP),
                requests=requests,
                rate=self._rate,
                devices=2,
                churn=requests // _REQUESTS_PER_DROP,
                slow=max(1, self._users // 10),
            )
        )
        manner = Manner(
            seed=seed,
            admin=self._admin,
            seconds=seconds + _PATIENCE_S,
            # So that the server can forget them in time.
            disbands=True,
        )
        played, record = await run(plan, self._target, None, manner)
        if played.was_cut:
            text = f"the plan of seed {seed} was not over {_PATIENCE_S:.0f} s after its time"
            self._on_finding(Finding(Fault.ANSWER, "chapter", text))
        # The judge takes a while, and others are talking meanwhile.
        for finding in await asyncio.to_thread(judge, record):
            self._on_finding(finding)
        self._count(played.deliveries, played.resumes, played.paged, record)

    def _count(self, deliveries: int, resumes: int, paged: int, record: Record) -> None:
        counts = self._counts
        counts.chapters += 1
        counts.deliveries += deliveries
        counts.resumes += resumes
        counts.paged += paged
        for outcome in record.outcomes:
            if outcome.is_done or outcome.code is not None:
                kind = outcome.kind.value
                counts.requests[kind] = counts.requests.get(kind, 0) + 1
            counts.watched += outcome.is_watched
        counts.messages += sum(outcome.mark is not None for outcome in record.outcomes)
