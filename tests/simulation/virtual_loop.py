"""An event loop without threads, sockets and waiting: its time is virtual, and jumps.

When nothing is ready to run, the time moves to the next timer at once. When there is no timer
either, nothing can ever happen again: that is ``Deadlock``. Everything that runs runs in an order
that follows from the program alone, so that a history repeats itself exactly.
"""

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from typing import Any, Final, NoReturn, TypeVar, cast

T = TypeVar("T")


class Deadlock(Exception):
    """Somebody waits, and there is nothing that could wake anybody."""


class Livelock(Exception):
    """Something goes round and round; it would never end."""


class Process:
    """What stands for an operating system's process: it can end at any moment, at once.

    Whatever is begun within it belongs to it: tasks, their tasks, and callbacks.
    ``last_link`` is the newest connection that it made, ``term`` that of its store.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.last_link: Any = None
        self.term = ""
        self._tasks: list[asyncio.Task[Any]] = []

    def own(self, task: "asyncio.Task[Any]") -> None:
        """``task`` ends with the process."""
        if len(self._tasks) > _MANY:
            self._tasks = [one for one in self._tasks if not one.done()]
        self._tasks.append(task)

    def kill(self) -> None:
        """End it: its tasks are cancelled, and what they still do must reach nobody."""
        self.is_dead = True
        for task in self._tasks:
            task.cancel()

    def unfinished(self) -> "list[asyncio.Task[Any]]":
        """The tasks that have not ended."""
        return [task for task in self._tasks if not task.done()]


PROCESS: Final[ContextVar[Process | None]] = ContextVar("PROCESS", default=None)
"""The process in which the running code runs."""

_MANY: Final = 64
_MOST_TURNS: Final = 200_000


class _Task(asyncio.Task[Any]):
    """A task whose place in a set does not depend on its address, nor on earlier loops."""

    def __init__(
        self,
        coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        *,
        loop: "VirtualLoop",
        context: Context | None,
    ) -> None:
        self._number = next(loop.task_numbers)
        super().__init__(coro, loop=loop, context=context)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class _NoSelector:
    """Stands where the loop looks for ready sockets, and moves the time instead."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop
        self._turns = 0

    def select(self, timeout_s: float | None) -> list[Any]:
        self._turns += 1
        if self._turns > _MOST_TURNS:
            raise Livelock(f"{self._turns} turns of the loop")
        if timeout_s is None:
            raise Deadlock("everybody waits, and nothing is left that could happen")
        if timeout_s > 0:
            self._loop.jump()
        return []

    def close(self) -> None:
        """Nothing is open."""


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module. ``network`` answers ``create_server`` and ``create_connection``.

    Attributes:
        errors: what would have been logged as an error of the loop, as text.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 1000.0
        self._clock_resolution = 1e-9
        self._selector = _NoSelector(self)
        self.network: Any = None
        self.errors: list[str] = []
        self.task_numbers = itertools.count()
        self.set_exception_handler(self._note_error)
        self.set_task_factory(_make_task)

    def time(self) -> float:
        return self._now_s

    def jump(self) -> None:
        """Move the time to the next timer."""
        scheduled = cast(list[asyncio.TimerHandle], vars(self)["_scheduled"])
        self._now_s = max(self._now_s, scheduled[0].when())

    async def create_server(self, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        return self.network.create_server(*args, **kwargs)

    async def create_connection(self, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        return await self.network.create_connection(*args, **kwargs)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` to its end, and nothing after it."""
        asyncio.events.set_event_loop(self)
        try:
            return self.run_until_complete(work)
        finally:
            asyncio.events.set_event_loop(None)

    def run_in_executor(self, *_args: object) -> NoReturn:
        raise AssertionError("a thread would make the order a matter of chance")

    def _process_events(self, event_list: list[Any]) -> None:
        assert not event_list

    def _write_to_self(self) -> None:
        """Nobody sleeps."""

    def _note_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        process = PROCESS.get()
        if process is None or not process.is_dead:
            error = context.get("exception")
            self.errors.append(f"{context['message']}: {error!r}")


def _make_task(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    context: Context | None = None,
) -> "asyncio.Task[Any]":
    assert isinstance(loop, VirtualLoop)
    task = _Task(coro, loop=loop, context=context)
    process = PROCESS.get()
    if process is not None:
        process.own(task)
        if process.is_dead:
            task.cancel()
    return task


def within(process: Process, call: Callable[[], T], context: Context) -> T:
    """Call ``call`` in ``context`` as a part of ``process``."""

    def begin() -> T:
        PROCESS.set(process)
        return call()

    return context.run(begin)
