"""Many devices that all come back at once after a restart, and get what they missed."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Final

from scripts.benchmarks.bench import Meter, Sizes, Work, fresh_server, others_note
from scripts.benchmarks.caller import Caller
from scripts.benchmarks.figures import OURS, Result, Runs
from scripts.benchmarks.frames import Muster
from scripts.benchmarks.sides import CORE, NODE_WS, PYTHON_SOCKETIO, Company
from scripts.benchmarks.swarm import swarm_of
from scripts.common.target import OwnServer, Target

_PER_GROUP: Final = 20
_GOAL_S: Final = 5.0
_SIDES: Final = (CORE, NODE_WS, PYTHON_SOCKETIO)
_FRAME_BYTES: Final = 200
_AT_ONCE: Final = 16
_LAST: Final = "until the last has what it missed"


def _measure(sizes: Sizes, tell: Callable[[str], None]) -> Result:
    runs = Runs()
    others: list[float] = []
    users = [f"device-{number}" for number in range(sizes.devices)]
    with fresh_server() as server, contextlib.ExitStack() as stack:
        tell("returning: making groups")
        cursor = asyncio.run(_talk(server.target(), users))
        company = Company(stack, wants_c=sizes.wants_c, wants_sides=sizes.wants_sides)
        company.invite(_SIDES, sizes.devices, _FRAME_BYTES)
        for run in range(sizes.runs):
            tell(f"returning, run {run + 1} of {sizes.runs}, {OURS}")
            others.append(_ours(server, users, cursor, sizes, runs))
            for side in company.sides:
                tell(f"returning, run {run + 1} of {sizes.runs}, {side.name}")
                meter = Meter(side.server, side.swarm.pid)
                opened = side.swarm.open(sizes.devices, sizes.devices)
                runs.add(_LAST, opened.seconds, "s", "lower", side=side.name)
                runs.add("server CPU", meter.server_s(), "s", "lower", side=side.name)
                others.append(meter.others())
                side.swarm.close()
    return Result(
        figures=runs.figures(),
        notes=[
            f"{sizes.devices:,} users, in groups of {_PER_GROUP} with one message that each has "
            "missed; kill -9, restart, all connect at once with their cursor",
            "elsewhere nothing is missed: connect and be welcomed",
            *company.notes,
            others_note(others),
        ],
    )


def _ours(server: OwnServer, users: Sequence[str], cursor: str, sizes: Sizes, runs: Runs) -> float:
    """Kill it, start it, and have all come back; returns what others used."""
    server.kill()
    begin_s = time.monotonic()
    server.start()
    runs.add("until it is ready", time.monotonic() - begin_s, "s", "lower", side=OURS)
    talk = Muster(server.target())
    hellos = [talk.hello(user, cursor=cursor) for user in users]
    with swarm_of(server.url, talk.upgrade(), hellos, wants_c=sizes.wants_c) as swarm:
        meter = Meter(server, swarm.pid)
        begin_s = time.monotonic()
        opened = swarm.open(sizes.devices, sizes.devices)
        heard = swarm.wait_for_events(1)
        took_s = max(heard.last_s - begin_s, opened.seconds)
        runs.add(_LAST, took_s, "s", "lower", side=OURS, goal=_GOAL_S)
        runs.add("server CPU", meter.server_s(), "s", "lower", side=OURS)
        return meter.others()


async def _talk(target: Target, users: Sequence[str]) -> str:
    """Groups of these users with a message each; returns the cursor from before the messages."""
    owner = Caller()
    await owner.connect(target, "owner", "setup")
    limit = asyncio.Semaphore(_AT_ONCE)

    async def call(method: str, params: dict[str, object]) -> dict[str, object]:
        async with limit:
            return await owner.call(method, params)

    groups = [f"circle-{start}" for start in range(0, len(users), _PER_GROUP)]
    members = [users[start : start + _PER_GROUP] for start in range(0, len(users), _PER_GROUP)]
    await asyncio.gather(
        *(
            call(
                "create_group",
                {
                    "type": "Work",
                    "name": "Bench",
                    "group_id": group_id,
                    "members": [{"user_id": name} for name in names],
                },
            )
            for group_id, names in zip(groups, members, strict=True)
        )
    )
    later = Caller()
    await later.connect(target, "owner", "later")
    body = [{"type": "text", "content": {"text": "Hello"}}]
    await asyncio.gather(
        *(call("send_message", {"group_id": group_id, "body": body}) for group_id in groups)
    )
    owner.end()
    later.end()
    return later.cursor


WORK: Final = Work(
    question="How long until all are back after a restart, if they come at once?",
    measure=_measure,
)
