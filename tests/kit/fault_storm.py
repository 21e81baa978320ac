"""One fault after the other under a load, on the same data; everything must be true at the end.

A harm ends the process or does not; either way the next one finds a sound store, everybody back
and everything answered. The everyday suite does some of it, ``scripts/faults`` all of it.
"""

import asyncio
import errno
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.kit.crash_load import UNLIMITED, Load
from tests.kit.crash_oracle import check_answers, check_devices, read_all
from tests.kit.faults import KILL_AFTER, KILL_BEFORE, KILL_HALFWAY, SYNC, WRITE, Faults
from tests.kit.server_process import ServerProcess

EXIT_S: Final = 5.0
"""A server that cannot trust its store any more has ended within this."""

_KILLED: Final = -9
_ENOUGH: Final = 60
"""Replies after which a harm that has not been met is not waited for any longer."""

_WAYS: Final = {KILL_BEFORE: "kill before", KILL_AFTER: "kill after", KILL_HALFWAY: "kill in"}


@dataclass(frozen=True)
class Harm:
    """What happens from the call number ``after + 1`` of ``kind`` on; see ``Faults.set``.

    ``is_killed_at_doubt``: kill -9 as soon as somebody is told OUTCOME_UNKNOWN, so that the
    process cannot tidy up.
    """

    kind: str
    action: int
    after: int = 0
    times: int | None = None
    suffix: str = ""
    is_killed_at_doubt: bool = False

    def __str__(self) -> str:
        what = _WAYS.get(self.action) or errno.errorcode[self.action]
        doubt = ", then kill" if self.is_killed_at_doubt else ""
        return f"{what} at {self.kind} {self.suffix}".rstrip() + doubt


@dataclass
class Findings:
    """What became of the harms: what was injected -> how the process took it -> how often."""

    table: dict[str, Counter[str]] = field(default_factory=dict)
    restarts: int = 0
    replies: int = 0

    def add(self, harm: str, end: str) -> None:
        self.table.setdefault(harm, Counter())[end] += 1


async def storm(
    data: Path,
    seed: int,
    harms: Iterable[Harm],
    on_step: Callable[[int, Harm], None] = lambda _number, _harm: None,
) -> Findings:
    """Do one harm after the other and check everything at the end.

    Raises:
        AssertionError: a promise was broken.
    """
    dice = random.Random(seed)
    faults = Faults(data)
    findings = Findings()
    with ServerProcess(data, limits=UNLIMITED, env=faults.env) as server:
        load = Load(server, dice, {"OUTCOME_UNKNOWN", "UNAVAILABLE"})
        await load.connect()
        await load.create_groups()
        for number, harm in enumerate(harms):
            on_step(number, harm)
            end = await _meet(harm, server, load, faults)
            findings.add(str(harm), end)
        logs = await read_all(load)
        server.terminate()
        await asyncio.gather(*(gadget.harvest() for gadget in load.gadgets))
        assert await server.ended() == 0
        server.assert_sound()
        findings.restarts, findings.replies = server.starts - 1, load.replies
    check_answers(load, logs)
    check_devices(load, logs)
    return findings


async def _meet(harm: Harm, server: ServerProcess, load: Load, faults: Faults) -> str:
    """Do it, and return how it ended when everybody is back and answered."""
    errors, enough = load.errors, load.replies + _ENOUGH
    faults.clear()
    faults.set(harm.kind, harm.action, after=harm.after, times=harm.times, suffix=harm.suffix)
    load.begin()

    def is_over() -> bool:
        doubts = load.errors["OUTCOME_UNKNOWN"] - errors["OUTCOME_UNKNOWN"]
        refusals = load.errors["UNAVAILABLE"] - errors["UNAVAILABLE"]
        return (
            load.replies >= enough
            or refusals >= _ENOUGH
            or (harm.is_killed_at_doubt and doubts > 0)
        )

    has_lasted = await load.until(is_over)
    told = sorted(load.errors - errors)
    if has_lasted and not harm.is_killed_at_doubt and server.is_running:
        faults.clear()
        await load.pause()
        return " ".join(["served on", *told])
    if has_lasted and harm.is_killed_at_doubt and server.is_running:
        server.kill()
        status = _KILLED
    else:
        status = await server.ended(EXIT_S)
        assert status == (_KILLED if harm.action < 0 else 1), (str(harm), server.log())
    await load.after_the_end()
    told = sorted(load.errors - errors)
    faults.clear()
    server.assert_sound()
    server.start()
    await load.connect()
    await load.catch_up_with_answers()
    return " ".join([f"ended {status}", *told])


def failing_syncs(most: int, step: int = 1) -> list[Harm]:
    """The k-th sync fails, once or from then on, and the process may live on or not."""
    return [
        Harm(SYNC, errno.EIO, after=k, times=times, is_killed_at_doubt=is_killed)
        for k in range(0, most, step)
        for times in (1, None)
        for is_killed in (False, True)
    ]


def kills(most_writes: int, most_syncs: int, step: int = 1) -> list[Harm]:
    """The process dies before, in or after the k-th write, and before or after the k-th sync."""
    return [
        Harm(kind, way, after=k)
        for kind, most, ways in (
            (WRITE, most_writes, (KILL_BEFORE, KILL_HALFWAY, KILL_AFTER)),
            (SYNC, most_syncs, (KILL_BEFORE, KILL_AFTER)),
        )
        for k in range(0, most, step)
        for way in ways
    ]


def failing_writes(most: int, step: int = 1) -> list[Harm]:
    """The k-th write fails, for good or once, with all that a disk may say."""
    return [
        Harm(WRITE, number, after=k, times=times)
        for k in range(0, most, step)
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS)
        for times in (1, None)
    ]
