"""Durable messages per second at several numbers in flight, beside a bare writer of the rows."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from scripts.benchmarks.bare_writer import BareWriter, bare_writer
from scripts.benchmarks.bench import Meter, Sizes, Work, fresh_server, others_note
from scripts.benchmarks.caller import Caller, make_group
from scripts.benchmarks.figures import OURS, Result, Runs
from scripts.benchmarks.frames import Muster
from scripts.benchmarks.machine import sync_ms
from scripts.benchmarks.sides import Company, Side
from scripts.common.target import Target, Trouble

LEVELS: Final = ((1, 1), (32, 8), (256, 64))
"""Requests in flight, and over how many connections."""

CONNECTIONS: Final = max(connections for _, connections in LEVELS)
BARE: Final = "bare writer"
BULK: Final = "bare writer, in bulk"
ALONE: Final = "bare commit"
_MEMBERS: Final = 3
_TEXT: Final = "x" * 100
_WARM_UP: Final = 0.3
_GOAL_RATIO: Final = 0.4
_GOAL_PER_S: Final = 10_000
_GOAL_ALONE: Final = 1.5


def _measure(sizes: Sizes, tell: Callable[[str], None]) -> Result:
    runs = Runs()
    others: list[float] = []
    random = Random(sizes.seed)
    with fresh_server() as server, contextlib.ExitStack() as stack:
        synced_ms = sync_ms(server.data)
        company = Company(stack, wants_c=sizes.wants_c, wants_sides=False)
        names = [f"sender-{number}" for number in range(CONNECTIONS)]
        side = company.ours(server, names)
        groups = asyncio.run(_groups(server.target(), names))
        teach_messages(side, Muster(server.target()), groups)
        writer = stack.enter_context(bare_writer()) if sizes.wants_sides else None
        for run in range(sizes.runs):
            # In another order each time, so that no level always comes after the same one.
            for in_flight, connections in random.sample(LEVELS, len(LEVELS)):
                tell(f"sends, run {run + 1} of {sizes.runs}, {in_flight} in flight")
                others.append(_ours(side, in_flight, connections, sizes, runs))
                if writer is not None:
                    _bare(writer, in_flight, sizes, runs)
            if writer is not None:
                _alone(writer, sizes, runs)
    order = [f"{in_flight} in flight" for in_flight, _ in LEVELS]
    return Result(
        figures=sorted(runs.figures(), key=lambda figure: order.index(figure.name.split(":")[0])),
        notes=[
            f"a request is a message of 100 characters to a group of {_MEMBERS} connected members: "
            f"{_MEMBERS} deliveries and a reply, after the commit is synced",
            f"{BARE}: a thread that commits the same rows, as many as have gathered, for an event "
            "loop that does nothing else; in bulk: the rows of a batch in few statements, and those "
            f"of a group once; {ALONE}: one by one without loop and second thread",
            f"a synced write of 4 KiB takes this disk {synced_ms:.2f} ms",
            others_note(others),
        ],
    )


async def _groups(target: Target, names: Sequence[str]) -> list[str]:
    """For each user a group with the next two."""

    async def of(number: int) -> str:
        others = [names[(number + step) % len(names)] for step in range(1, _MEMBERS)]
        owner = Caller()
        await owner.connect(target, names[number], "setup")
        group_id = await make_group(owner, "Work", others)
        owner.end()
        return group_id

    return await asyncio.gather(*map(of, range(len(names))))


def teach_messages(side: Side, talk: Muster, groups: Sequence[str]) -> None:
    """Each connection talks in its group; all are connected afterwards."""
    side.swarm.open(len(groups))
    for number, group_id in enumerate(groups):
        side.swarm.teach(number, talk.message(group_id, _TEXT))


def _ours(side: Side, in_flight: int, connections: int, sizes: Sizes, runs: Runs) -> float:
    """One level for some time; returns what others used."""
    goal = _GOAL_PER_S if connections == CONNECTIONS else None
    level = f"{in_flight} in flight"
    return ask(side, level, (in_flight, connections), sizes, runs, per_s_goal=goal)


def ask(
    side: Side,
    level: str,
    under_way: tuple[int, int],
    sizes: Sizes,
    runs: Runs,
    *,
    per_s_goal: float | None = None,
) -> float:
    """Have requests under way for a run; returns what others used.

    Args:
        under_way: how many, and over how many connections.

    Raises:
        Trouble: a request was refused.
    """
    in_flight, connections = under_way
    side.swarm.ask(0, connections, in_flight // connections, sizes.seconds * _WARM_UP)
    meter = Meter(side.server, side.swarm.pid)
    asked = side.swarm.ask(0, connections, in_flight // connections, sizes.seconds)
    if asked.errors:
        raise Trouble(f"{asked.errors} of {asked.answers} requests were refused")
    # Those that were under way at the end cost too.
    count = max(1, asked.answers)
    done = count + in_flight
    name = side.name
    per_s = count / asked.seconds
    runs.add(f"{level}: requests", per_s, "per second", "higher", side=name, goal=per_s_goal)
    server_us, load_us = meter.server_s() / done * 1e6, meter.load_s() / done * 1e6
    runs.add(f"{level}: server CPU", server_us, "us per request", "lower", side=name)
    runs.add(f"{level}: load side CPU", load_us, "us per request", side=name)
    runs.add(f"{level}: answer, median", asked.p50_ms, "ms", "lower", side=name)
    runs.add(f"{level}: answer, 99 %", asked.p99_ms, "ms", "lower", side=name)
    return meter.others()


def _bare(writer: BareWriter, in_flight: int, sizes: Sizes, runs: Runs) -> None:
    """The bare writers at the same level, and how ours compares with them."""
    level = f"{in_flight} in flight"
    ours = runs.last(f"{level}: requests", OURS)
    is_most = in_flight == max(number for number, _ in LEVELS)
    for side, write in ((BARE, writer.group), (BULK, writer.bulk)):
        written = write(in_flight, sizes.seconds)
        runs.add(f"{level}: requests", written.per_s, "per second", "higher", side=side)
        runs.add(f"{level}: server CPU", written.cpu_us, "us per request", "lower", side=side)
        if ours is not None:
            goal = _GOAL_RATIO if is_most and side == BARE else None
            share = ours / written.per_s
            runs.add(f"{level}: share of the {side}", share, "", "higher", goal=goal)


def _alone(writer: BareWriter, sizes: Sizes, runs: Runs) -> None:
    """A bare commit, and how one request in flight compares with it."""
    level = "1 in flight"
    written = writer.alone(sizes.seconds)
    runs.add(f"{level}: answer, median", written.waits_ms, "ms", "lower", side=ALONE)
    runs.add(f"{level}: server CPU", written.cpu_us, "us per request", "lower", side=ALONE)
    ours = runs.last(f"{level}: answer, median", OURS)
    if ours is not None:
        runs.add(
            f"{level}: ratio to a bare commit",
            ours / written.waits_ms,
            "",
            "lower",
            goal=_GOAL_ALONE,
        )


WORK: Final = Work(question="How many durable messages per second?", measure=_measure)
