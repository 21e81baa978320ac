"""A store that is slow, fails, and takes its process with it, at any step of any call."""

import asyncio
import enum
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final, cast

from server.service.ports import OutcomeUnknown, Store, Unavailable
from server.storage.memory import MemoryStore
from tests.simulation.trace import Trace
from tests.simulation.virtual_loop import Process


class StoreFault(enum.Enum):
    """What a call of the store meets."""

    UNAVAILABLE = "store unavailable"
    UNKNOWN_LOST = "unknown, not applied"
    UNKNOWN_APPLIED = "unknown, applied"
    CRASH_BEFORE = "crash before the call"
    CRASH_APPLIED = "crash before the answer"
    CRASH_ANSWERED = "crash after the answer"


WRITING: Final = ("commit", "trim", "purge", "forget_requests")
"""The calls whose outcome may be unknown."""


class Weather:
    """How the store behaves; the history changes it as it goes.

    Attributes:
        delay_s: the longest that a call takes before it is done, and after it.
        commit_part: how long a commit takes, compared with the other calls.
        slow_part: which part of the calls takes time at all.
    """

    def __init__(self, random: Random, trace: Trace) -> None:
        self.delay_s = 0.0
        self.commit_part = 1.0
        self.slow_part = 0.5
        self.trace = trace
        self._random = random
        self._coming: dict[str, deque[StoreFault]] = {}

    def send(self, name: str, fault: StoreFault) -> None:
        """The next call of ``name`` meets the fault."""
        self._coming.setdefault(name, deque()).append(fault)

    def clear_up(self) -> None:
        """No more faults, and no more delays."""
        self._coming.clear()
        self.delay_s = 0.0

    def fault_of(self, name: str) -> StoreFault | None:
        """What a call of ``name`` meets now."""
        coming = self._coming.get(name)
        return coming.popleft() if coming else None

    async def pass_time(self, name: str) -> None:
        """Take some time, or none."""
        if self.delay_s and self._random.random() < self.slow_part:
            part = self.commit_part if name == "commit" else 1.0
            await asyncio.sleep(self._random.random() * self.delay_s * part)


class FaultyStore:
    """Hands every call on to a real store, with what the weather brings.

    Args:
        process: whose store it is; once it is dead, nothing of it reaches the inner store.
        crash: ends the process at once.
    """

    def __init__(
        self, inner: MemoryStore, weather: Weather, process: Process, crash: Callable[[], None]
    ) -> None:
        self._inner = inner
        self._weather = weather
        self._process = process
        self._crash = crash
        self._is_fenced = False

    @property
    def store(self) -> Store:
        """This object as what it is: whatever the port has, the inner store answers."""
        return cast(Store, self)

    async def close(self) -> None:
        """See ``Store.close``."""
        await self._inner.close()

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        method: Callable[..., Awaitable[object]] = getattr(self._inner, name)

        async def call(*args: object, **kwargs: object) -> object:
            fault = self._weather.fault_of(name)
            await self._weather.pass_time(name)
            self._check_fence()
            if fault is not None:
                self._weather.trace.note(fault.value, name)
                await self._meet_before(fault)
            answer = await method(*args, **kwargs)
            if name == "commit":
                self._note_commit(args[1], answer)
            if fault is not None:
                await self._meet_after(fault)
            await self._weather.pass_time(name)
            self._check_fence()
            return answer

        return call

    def _check_fence(self) -> None:
        if self._is_fenced or self._process.is_dead:
            raise OutcomeUnknown("an earlier commit failed in the middle")

    def _note_commit(self, batch: object, outcomes: object) -> None:
        assert isinstance(batch, Sequence)
        assert isinstance(outcomes, Sequence)
        kinds = [type(outcome).__name__ for outcome in outcomes]
        self._weather.trace.note("commit", len(batch), *kinds)

    async def _meet_before(self, fault: StoreFault) -> None:
        if fault is StoreFault.UNAVAILABLE:
            raise Unavailable("the store is busy")
        if fault is StoreFault.UNKNOWN_LOST:
            self._fail_for_good()
        if fault is StoreFault.CRASH_BEFORE:
            await self._die()

    async def _meet_after(self, fault: StoreFault) -> None:
        if fault is StoreFault.UNKNOWN_APPLIED:
            self._fail_for_good()
        if fault is StoreFault.CRASH_APPLIED:
            await self._die()
        if fault is StoreFault.CRASH_ANSWERED:
            # The answer is taken and perhaps told, but hardly anything leaves the process.
            asyncio.get_running_loop().call_soon(self._crash)

    def _fail_for_good(self) -> None:
        self._is_fenced = True
        raise OutcomeUnknown("a commit failed in the middle")

    async def _die(self) -> None:
        self._crash()
        await asyncio.get_running_loop().create_future()
