"""What the tests put in the place of time, of chance, and between the service and its store.

Nothing here imitates our own code: the clock and the tokens are other implementations of ports,
and ``HookedStore`` hands everything on to a real store.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final, cast

from server.service.ports import Store

NOON_MS: Final = 1_750_000_000_000
"""A moment to begin with; its UTC day is nearly over 9 hours later."""

_ALPHABET: Final = "234567abcdefghijklmnopqrstuvwxyz"  # in the order in which they sort


class FakeClock:
    """Stands still until a test moves it."""

    def __init__(self, now_ms: int = NOON_MS) -> None:
        self._now_ms = now_ms
        self._monotonic_ms = 1_000_000

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_s(self) -> float:
        return self._monotonic_ms / 1000

    def advance(self, ms: int) -> None:
        assert ms >= 0
        self._now_ms += ms
        self._monotonic_ms += ms

    def pass_unseen(self, ms: int) -> None:
        """Time passes, and the wall clock stands still: the machine's was put back."""
        assert ms >= 0
        self._monotonic_ms += ms

    def jump_ahead(self, ms: int) -> None:
        """The wall clock shows more, and no time has passed."""
        assert ms >= 0
        self._now_ms += ms


class FakeTokens:
    """Counts, in the letters that tokens are made of: a later one sorts behind an earlier one."""

    def __init__(self) -> None:
        self._count = 0

    def token(self) -> str:
        self._count += 1
        letters = ""
        rest = self._count
        while rest:
            rest, digit = divmod(rest, len(_ALPHABET))
            letters = _ALPHABET[digit] + letters
        return letters.rjust(16, _ALPHABET[0])


Hook = Callable[[], Awaitable[None]]


class HookedStore:
    """A real store with a place before and after each of its methods where a test can step in.

    Attributes:
        before: name of a method -> awaited before the store is asked. What it raises is what the
            caller gets, and the store is not asked.
        after: name of a method -> awaited when the store has answered, before the caller knows.
        calls: how often each method was called.
        batches: how many write sets each commit had.
    """

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.before: dict[str, Hook] = {}
        self.after: dict[str, Hook] = {}
        self.calls: Counter[str] = Counter()
        self.batches: list[int] = []

    @property
    def store(self) -> Store:
        """This object as what it is: whatever the port has, the inner store answers."""
        return cast(Store, self)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        method: Callable[..., Awaitable[object]] = getattr(self.inner, name)

        async def hooked(*args: object, **kwargs: object) -> object:
            self.calls[name] += 1
            if name == "commit":
                batch = args[1]
                assert isinstance(batch, Sequence)
                self.batches.append(len(batch))
            if name in self.before:
                await self.before[name]()
            answer = await method(*args, **kwargs)
            if name in self.after:
                await self.after[name]()
            return answer

        return hooked

    def fail(self, name: str, error: Exception, *, times: int = 1) -> None:
        """The next ``times`` calls of ``name`` raise ``error`` without asking the store."""
        left = times

        async def fail_now() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                del self.before[name]
            raise error

        self.before[name] = fail_now


class Gate:
    """Holds whoever comes by until a test lets them through, one by one or all.

    Attributes:
        waiting: the names of those who are held, in the order of coming.
    """

    def __init__(self) -> None:
        self._shut: set[str] = set()
        self._held_next: Counter[str] = Counter()
        self._held: list[tuple[str, asyncio.Future[None]]] = []

    @property
    def waiting(self) -> list[str]:
        return [name for name, _ in self._held]

    def shut(self, names: Iterable[str]) -> None:
        """From now on hold those who come under these names."""
        self._shut.update(names)

    def hold_next(self, name: str) -> None:
        """Hold the next one who comes under this name, and no other."""
        self._held_next[name] += 1

    def stand_in(self, hooked: HookedStore, names: Iterable[str]) -> None:
        """Be the hook before and after these methods; their names here are "before x", "after x"."""
        for name in names:
            hooked.before[name] = partial(self.come_by, f"before {name}")
            hooked.after[name] = partial(self.come_by, f"after {name}")

    async def come_by(self, name: str) -> None:
        if self._held_next[name]:
            self._held_next[name] -= 1
        elif name not in self._shut:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held.append((name, future))
        try:
            await future
        finally:
            self._held = [(held, other) for held, other in self._held if other is not future]

    def let_through(self, index: int = 0) -> None:
        """Let one of those who wait go on."""
        self._held.pop(index)[1].set_result(None)

    def open(self) -> None:
        """Hold nobody any more."""
        self._shut.clear()
        self._held_next.clear()
        while self._held:
            self.let_through()


async def until_idle() -> None:
    """Return when nothing on this loop is ready to run: all that can happen by itself has.

    Only for what has no threads and no timers under it.
    """
    ready = vars(asyncio.get_running_loop())["_ready"]
    while ready:  # noqa: ASYNC110 - there is no event for "nothing"
        await asyncio.sleep(0)


async def until(is_so: Callable[[], object]) -> None:
    """Return when ``is_so``; what it waits for happens on this loop or comes back to it."""
    while not is_so():  # noqa: ASYNC110 - our own code has no events for tests
        await asyncio.sleep(0)
