"""From a request to the last device's event, in a group of a thousand online members."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from protocol.codec import MSGPACK
from scripts.benchmarks.bench import Meter, Sizes, Work, fresh_server, others_note
from scripts.benchmarks.caller import Caller, make_group
from scripts.benchmarks.figures import Result, Runs, percentile
from scripts.benchmarks.swarm import Swarm, swarm_of
from scripts.common.target import OwnServer, Target

_TOGETHER: Final = 16
_WARM_UP: Final = 10
_TEXT: Final = "x" * 100


def _measure(sizes: Sizes, tell: Callable[[str], None]) -> Result:
    runs = Runs()
    others: list[float] = []
    members = [f"member-{number}" for number in range(sizes.members)]
    is_c = True
    for run in range(sizes.runs):
        tell(f"fanout, run {run + 1} of {sizes.runs}")
        with fresh_server() as server:
            target = server.target()
            group_id = asyncio.run(_found(target, members))
            with swarm_of(target, members, wants_c=sizes.wants_c) as swarm:
                swarm.open(sizes.members)
                is_c = swarm.is_c
                others += _rounds(server, swarm, group_id, sizes, runs)
    return Result(
        figures=runs.figures(),
        notes=[
            f"{sizes.members} members on a device each, {sizes.rounds} rounds a run; "
            f"the next round begins when all have the event",
            f"the receivers are one process in {'C' if is_c else 'Python'}",
            others_note(others),
        ],
    )


async def _found(target: Target, members: Sequence[str]) -> str:
    """A group of all members, whose owner is the first of them."""
    owner = Caller()
    await owner.connect(target, members[0], "setup")
    group_id = await make_group(owner, "Work", members[1:])
    owner.end()
    return group_id


def _rounds(
    server: OwnServer, swarm: Swarm, group_id: str, sizes: Sizes, runs: Runs
) -> list[float]:
    """Both kinds of rounds; returns what others used."""
    events = 0
    others: list[float] = []
    for together, name in ((1, "one at a time"), (_TOGETHER, f"{_TOGETHER} at a time")):
        _play(swarm, group_id, together, _WARM_UP, events)
        events += _WARM_UP * together
        meter = Meter(server, swarm.pid)
        waits_ms = _play(swarm, group_id, together, sizes.rounds, events)
        count = sizes.rounds * together
        events += count
        deliveries = count * sizes.members
        runs.add(f"{name}: last device, median", percentile(waits_ms, 0.5), "ms", "lower")
        runs.add(f"{name}: last device, 99 %", percentile(waits_ms, 0.99), "ms", "lower")
        runs.add(
            f"{name}: server CPU", meter.server_s() / deliveries * 1e6, "us per delivery", "lower"
        )
        runs.add(f"{name}: load side CPU", meter.load_s() / deliveries * 1e6, "us per delivery")
        runs.add(f"{name}: deliveries", deliveries / meter.seconds(), "per second", "higher")
        others.append(meter.others())
    return others


def _play(swarm: Swarm, group_id: str, together: int, rounds: int, events: int) -> list[float]:
    """So many rounds; returns how long each took until the last device had all of it, in ms."""
    waits_ms: list[float] = []
    for _ in range(rounds):
        messages = [_request(group_id, events + number) for number in range(together)]
        sent_s = swarm.send(0, messages)
        events += together
        heard = swarm.wait_for_events(events)
        waits_ms.append((heard.last_s - sent_s) * 1000)
    return waits_ms


def _request(group_id: str, number: int) -> bytes:
    body = [{"type": "text", "content": {"text": _TEXT}}]
    return MSGPACK.encode(
        {
            "type": "request",
            "id": f"f{number}",
            "method": "send_message",
            "params": {"group_id": group_id, "body": body},
        }
    )


WORK: Final = Work(
    question="How long from a request to the last device of a large group?", measure=_measure
)
