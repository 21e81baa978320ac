"""What one operation costs in a small group and in a large one; the ratio should be near 1."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Final

from scripts.benchmarks.bench import Meter, Sizes, Work, fresh_server, others_note
from scripts.benchmarks.caller import Caller
from scripts.benchmarks.figures import Result, Runs
from scripts.common.target import OwnServer

_SMALL: Final = 10
_PER_CALL: Final = 100
_GOAL: Final = 1.1
_JUDGED: Final = ("send", "kick")

_Operation = Callable[[], Awaitable[object]]


class _Group:
    """A Community of so many members, of whom only the owner is connected."""

    def __init__(self, owner: Caller, group_id: str, size: int) -> None:
        self._owner = owner
        self._group_id = group_id
        self._size = size
        self._numbers = itertools.count()
        self._comes = itertools.count()
        self._goes = itertools.count()

    async def found(self) -> None:
        """Create it and fill it."""
        params = {"type": "Community", "name": "bench", "group_id": self._group_id}
        await self._owner.call("create_group", params)
        users = [f"member-{number}" for number in range(1, self._size)]
        for start in range(0, len(users), _PER_CALL):
            await self._call("invite_members", user_ids=users[start : start + _PER_CALL])

    def operations(self) -> dict[str, _Operation]:
        """What is measured, each as often as one likes."""
        return {
            "send": lambda: self._call(
                "send_message", body=[{"type": "text", "content": {"text": "x" * 100}}]
            ),
            "invite": lambda: self._call("invite_members", user_ids=[f"guest-{next(self._comes)}"]),
            # Those whom the calls before have invited.
            "kick": lambda: self._call("remove_members", user_ids=[f"guest-{next(self._goes)}"]),
            "update": lambda: self._call("update_group", name=f"bench {next(self._numbers)}"),
            "list page": lambda: self._call("list_members", limit=100),
        }

    async def disband(self) -> None:
        """End it."""
        await self._call("disband_group")

    async def _call(self, method: str, **params: object) -> object:
        return await self._owner.call(method, {"group_id": self._group_id, **params})


def _measure(sizes: Sizes, tell: Callable[[str], None]) -> Result:
    runs = Runs()
    with fresh_server() as server:
        meter = Meter(server)
        asyncio.run(_both(sizes, server, runs, tell))
        others = meter.others()
    return Result(
        figures=runs.figures(),
        notes=[
            f"Community groups of {_SMALL} and {sizes.large:,} members, one of them connected; "
            f"{sizes.rounds} calls one after the other, the groups in turn; the median of the answers",
            "the ratio is that of the large group's median to the small one's; "
            "disband is a single call in each run, and a page has at most 100 members",
            others_note([others]),
        ],
    )


async def _both(sizes: Sizes, server: OwnServer, runs: Runs, tell: Callable[[str], None]) -> None:
    owner = Caller()
    await owner.connect(server.target(), "owner")
    for run in range(sizes.runs):
        tell(f"groupsize, run {run + 1} of {sizes.runs}: filling the groups")
        small = _Group(owner, f"@TGS#_small-{run}", _SMALL)
        large = _Group(owner, f"@TGS#_large-{run}", sizes.large)
        await small.found()
        await large.found()
        tell(f"groupsize, run {run + 1} of {sizes.runs}: measuring")
        for name in small.operations():
            in_small, in_large = await _in_turn(small, large, name, sizes.rounds)
            runs.add(f"{name}: small", in_small, "ms", "lower")
            runs.add(f"{name}: large", in_large, "ms", "lower")
            goal = _GOAL if name in _JUDGED else None
            runs.add(f"{name}: ratio", in_large / in_small, "", "lower", goal=goal)
        once = [await _timed(group.disband) for group in (small, large)]
        runs.add("disband: small", once[0], "ms", "lower")
        runs.add("disband: large", once[1], "ms", "lower")
        runs.add("disband: ratio", once[1] / once[0], "", "lower", goal=_GOAL)
    owner.end()


async def _in_turn(small: _Group, large: _Group, name: str, times: int) -> tuple[float, float]:
    """The medians of the two groups, measured alternately so that both have the same neighbours."""
    of_small, of_large = small.operations()[name], large.operations()[name]
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(times):
        took[0].append(await _timed(of_small))
        took[1].append(await _timed(of_large))
    return statistics.median(took[0]), statistics.median(took[1])


async def _timed(operation: _Operation) -> float:
    """How long it took, in ms."""
    begin_s = time.perf_counter()
    await operation()
    return (time.perf_counter() - begin_s) * 1000


WORK: Final = Work(
    question="What does one operation cost in a large group, against a small one?",
    measure=_measure,
)
