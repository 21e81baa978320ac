"""Durable messages per second at several numbers in flight, and what one costs the server."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, Final

from scripts.benchmarks.bench import Meter, Sizes, Work, fresh_server, others_note
from scripts.benchmarks.caller import Caller, make_group
from scripts.benchmarks.figures import Result, Runs, percentile
from scripts.benchmarks.machine import sync_ms
from scripts.common.target import OwnServer

_LEVELS: Final = ((1, 1), (32, 8), (256, 64))
"""Requests in flight, and over how many connections."""

_MEMBERS: Final = 3
_WARM_UP: Final = 0.3
_BODY: Final = [{"type": "text", "content": {"text": "x" * 100}}]


def _measure(sizes: Sizes, tell: Callable[[str], None]) -> Result:
    runs = Runs()
    others: list[float] = []
    with fresh_server() as server:
        synced_ms = sync_ms(server.data)
        asyncio.run(_run_all(server, sizes, runs, others, tell))
    order = [f"{in_flight} in flight" for in_flight, _ in _LEVELS]
    return Result(
        figures=sorted(runs.figures(), key=lambda figure: order.index(figure.name.split(":")[0])),
        notes=[
            f"a request is a message of 100 characters to a group of {_MEMBERS} connected members: "
            f"{_MEMBERS} deliveries and a reply, after the commit is synced",
            f"a synced write of 4 KiB takes this disk {synced_ms:.2f} ms",
            others_note(others),
        ],
    )


async def _run_all(
    server: OwnServer,
    sizes: Sizes,
    runs: Runs,
    others: list[float],
    tell: Callable[[str], None],
) -> None:
    target = server.target()
    most = max(connections for _, connections in _LEVELS)
    names = [f"sender-{number}" for number in range(most)]
    callers = [Caller() for _ in names]
    for caller, name in zip(callers, names, strict=True):
        await caller.connect(target, name)
    random = Random(sizes.seed)
    for run in range(sizes.runs):
        # In another order each time, so that no level always comes after the same one.
        for in_flight, connections in random.sample(_LEVELS, len(_LEVELS)):
            tell(f"sends, run {run + 1} of {sizes.runs}, {in_flight} in flight")
            # Everybody of a level talks in a group with the next ones of the same level.
            circle = max(connections, _MEMBERS)
            groups = [
                await make_group(
                    callers[number],
                    "Work",
                    [names[(number + step) % circle] for step in range(1, _MEMBERS)],
                )
                for number in range(connections)
            ]
            meter = await _run_one(
                server, callers[:connections], groups, in_flight, sizes.seconds, runs
            )
            others.append(meter)
    for caller in callers:
        caller.end()


async def _run_one(
    server: OwnServer,
    callers: list[Caller],
    groups: list[str],
    in_flight: int,
    seconds: float,
    runs: Runs,
) -> float:
    """One level for some time; returns what others used."""
    for caller, group_id in zip(callers, groups, strict=True):
        params: dict[str, Any] = {"group_id": group_id, "body": _BODY}
        caller.keep_asking("send_message", params, in_flight // len(callers))
    await asyncio.sleep(seconds * _WARM_UP)
    for caller in callers:
        caller.answered = 0
        caller.waits_s.clear()
    meter = Meter(server)
    await asyncio.sleep(seconds)
    count = max(1, sum(caller.answered for caller in callers))
    waits_ms = [wait_s * 1000 for caller in callers for wait_s in caller.waits_s]
    level = f"{in_flight} in flight"
    runs.add(f"{level}: requests", count / meter.seconds(), "per second", "higher")
    runs.add(f"{level}: server CPU", meter.server_s() / count * 1e6, "us per request", "lower")
    runs.add(f"{level}: load side CPU", meter.load_s() / count * 1e6, "us per request")
    runs.add(f"{level}: answer, median", percentile(waits_ms or [0.0], 0.5), "ms", "lower")
    runs.add(f"{level}: answer, 99 %", percentile(waits_ms or [0.0], 0.99), "ms", "lower")
    others = meter.others()
    for caller in callers:
        caller.stop_asking()
    async with asyncio.timeout(30):
        for caller in callers:
            while not caller.is_idle():  # noqa: ASYNC110 - nothing is measured here any more
                await asyncio.sleep(0.01)
    return others


WORK: Final = Work(question="How many durable messages per second?", measure=_measure)
