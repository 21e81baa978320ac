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
_REPLIES_AFTERWARDS: Final = 40
"""Or refusals: how long a harm that was met and survived is watched."""

_WAYS: Final = {KILL_BEFORE: "kill before", KILL_AFTER: "kill after", KILL_HALFWAY: "kill in"}


@dataclass(frozen=True)
class Harm:
    """What happens from the call number ``after + 1`` of ``kind`` on; see ``Faults.set``.

    ``is_killed_at_doubt``: kill -9 as soon as somebody is told OUTCOME_UNKNOWN, so that the
    process cannot tidy up. ``replies``: after so many a harm that was not met is not waited for.
    """

    kind: str
    action: int
    after: int = 0
    times: int | None = None
    suffix: str = ""
    is_killed_at_doubt: bool = False
    replies: int = 60

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
    errors, enough = load.errors, load.replies + harm.replies
    faults.clear()
    faults.set(harm.kind, harm.action, after=harm.after, times=harm.times, suffix=harm.suffix)
    load.begin()

    def is_over() -> bool:
        nonlocal enough
        if faults.seen(harm.kind) > harm.after:
            enough = min(enough, load.replies + _REPLIES_AFTERWARDS)
        doubts = load.errors["OUTCOME_UNKNOWN"] - errors["OUTCOME_UNKNOWN"]
        refusals = load.errors["UNAVAILABLE"] - errors["UNAVAILABLE"]
        is_to_die = harm.is_killed_at_doubt and doubts > 0
        return is_to_die or load.replies >= enough or refusals >= _REPLIES_AFTERWARDS

    has_lasted = await load.until(is_over)
    was_met = faults.seen(harm.kind) > harm.after
    is_in_doubt = load.errors["OUTCOME_UNKNOWN"] > errors["OUTCOME_UNKNOWN"]
    if has_lasted and harm.is_killed_at_doubt and is_in_doubt and server.is_running:
        server.kill()
        status = _KILLED
    elif has_lasted and await _goes_on(load, server, faults):
        return " ".join(["served on" if was_met else "not met", *sorted(load.errors - errors)])
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


async def _goes_on(load: Load, server: ServerProcess, faults: Faults) -> bool:
    """Do no more harm; whether all that was asked is answered by a server that is still there."""
    faults.clear()
    await load.pause()
    return server.is_running and not any(gadget.live.is_closed for gadget in load.gadgets)


def failing_syncs(places: Iterable[int]) -> list[Harm]:
    """The k-th sync fails, once or from then on, and the process may live on or not."""
    return [
        Harm(SYNC, errno.EIO, k, times, is_killed_at_doubt=is_killed, replies=_replies_for(k))
        for k in places
        for times in (1, None)
        for is_killed in (False, True)
    ]


def _replies_for(syncs: int) -> int:
    """By then there were so many syncs: each answers up to all that is in flight."""
    return 60 + 30 * syncs


def failing_writes(places: Iterable[int]) -> list[Harm]:
    """The k-th write fails, once or from then on, with all that a disk may say."""
    return [
        Harm(WRITE, number, after=k, times=times)
        for k in places
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS)
        for times in (1, None)
    ]


def deaths(places: Iterable[int]) -> list[Harm]:
    """The process dies before, in or after the k-th write, and before or after the k-th sync."""
    return [
        Harm(kind, way, after=k, replies=_replies_for(k))
        for k in places
        for kind, way in (
            *((WRITE, way) for way in (KILL_BEFORE, KILL_HALFWAY, KILL_AFTER)),
            *((SYNC, way) for way in (KILL_BEFORE, KILL_AFTER)),
        )
    ]


def harmed_checkpoints(places: Iterable[int]) -> list[Harm]:
    """The same while the log is copied into the database, which it is after 16 MB."""
    return [
        Harm(kind, action, after=k, times=1, suffix="muster.db", replies=10_000)
        for k in places
        for kind, action in (
            (WRITE, KILL_HALFWAY),
            (WRITE, errno.EIO),
            (WRITE, errno.ENOSPC),
            (SYNC, KILL_BEFORE),
            (SYNC, errno.EIO),
        )
    ]
