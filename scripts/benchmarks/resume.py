"""What it costs to resume a device that is in many groups of which few have moved."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from scripts.benchmarks.bench import Meter, Sizes, Work, fresh_server, others_note
from scripts.benchmarks.caller import Caller
from scripts.benchmarks.figures import Result, Runs
from scripts.benchmarks.frames import Muster
from scripts.benchmarks.swarm import swarm_of
from scripts.common.target import OwnServer, Target

_MOVED: Final = 50
_LATELY: Final = 5
_TENTH: Final = 10
_DEVICES: Final = 10
_AT_ONCE: Final = 32
_GOAL_MS: Final = 10.0
_QUIET_S: Final = 0.1


class _Case(msgspec.Struct, frozen=True):
    """A user's devices that resume from ``cursor``."""

    name: str
    user_id: str
    cursor: str | None
    goal_ms: float | None = None


class _User:
    """A user in so many groups, all of one owner."""

    def __init__(self, user_id: str, count: int) -> None:
        self.user_id = user_id
        self.count = count
        self._groups = [f"{user_id}-{number}" for number in range(count)]
        self._limit = asyncio.Semaphore(_AT_ONCE)

    async def join_all(self, owner: Caller) -> None:
        """Be a member of each."""
        await asyncio.gather(*(self._make(owner, group_id) for group_id in self._groups))

    async def move(self, owner: Caller, first: int, count: int) -> None:
        """Have a message in some of them."""
        body = [{"type": "text", "content": {"text": "Hello"}}]
        for group_id in self._groups[first : first + count]:
            await owner.call("send_message", {"group_id": group_id, "body": body})

    async def _make(self, owner: Caller, group_id: str) -> None:
        params = {"type": "Work", "name": "Bench", "group_id": group_id}
        async with self._limit:
            members = [{"user_id": self.user_id}]
            await owner.call("create_group", {**params, "members": members})


def _measure(sizes: Sizes, tell: Callable[[str], None]) -> Result:
    runs = Runs()
    others: list[float] = []
    with fresh_server() as server:
        tell("resume: making groups")
        cases = asyncio.run(_prepare(server.target(), sizes.groups))
        for run in range(sizes.runs + 1):
            for case in cases:
                tell(f"resume, run {run} of {sizes.runs}, {case.name}")
                # The first one warms up.
                kept = runs if run else Runs()
                others.append(_one(server, case, run, sizes, kept))
            many, few = (runs.last(case.name) for case in cases[:2])
            if many and few:
                runs.add(f"ratio of {cases[0].name} to {cases[1].name}", many / few, "", "lower")
    return Result(
        figures=runs.figures(),
        notes=[
            f"server CPU of one device, from its connection to the last event; {_DEVICES} devices "
            "of the user one after the other, of which the earlier ones stay connected",
            others_note(others),
        ],
    )


async def _prepare(target: Target, groups: int) -> Sequence[_Case]:
    """The users in their groups, and what moved since which cursor."""
    users = [_User("many", groups), _User("few", max(1, groups // _TENTH))]
    cases: list[_Case] = []
    late: list[_Case] = []
    for user in users:
        owner = Caller()
        await owner.connect(target, f"owner-of-{user.user_id}", "setup")
        await user.join_all(owner)
        moved = min(_MOVED, user.count)
        before = await _cursor(target)
        await user.move(owner, 0, max(0, moved - _LATELY))
        between = await _cursor(target)
        await user.move(owner, max(0, moved - _LATELY), _LATELY)
        owner.end()
        name = f"{user.count:,} groups"
        goal = _GOAL_MS if user is users[0] else None
        cases.append(_Case(f"{name}, {moved} moved", user.user_id, before, goal))
        late.append(_Case(f"{name}, {_LATELY} moved", user.user_id, between))
    return [*cases, *late, _Case("without a cursor", "few", None)]


async def _cursor(target: Target) -> str:
    """Where the log is now."""
    caller = Caller()
    await caller.connect(target, "nobody", "setup")
    caller.end()
    return caller.cursor


def _one(server: OwnServer, case: _Case, run: int, sizes: Sizes, runs: Runs) -> float:
    """Some devices; returns what others used."""
    talk = Muster(server.target())
    hellos = [
        talk.hello(case.user_id, f"{run}-{number}", cursor=case.cursor)
        for number in range(_DEVICES)
    ]
    with swarm_of(server.url, talk.upgrade(), hellos, wants_c=sizes.wants_c) as swarm:
        meter = Meter(server, swarm.pid)
        swarm.open(_DEVICES, 1)
        if case.cursor is not None:
            swarm.wait_for_events(1)
        server_ms = _settled_s(meter) / _DEVICES * 1000
        runs.add(case.name, server_ms, "ms of server CPU", "lower", goal=case.goal_ms)
        return meter.others()


def _settled_s(meter: Meter) -> float:
    """The server's CPU seconds once it has nothing more to do."""
    found = meter.server_s()
    for _ in range(_MOVED):
        time.sleep(_QUIET_S)
        now = meter.server_s()
        if now - found < _QUIET_S * 0.02:
            break
        found = now
    return found


WORK: Final = Work(
    question="What does it cost to resume a device that is in many groups?", measure=_measure
)
