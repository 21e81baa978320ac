"""The kinds of harm: each part does one round of it, chosen by a seed, in a directory of its own.

A part returns what it did: a line for each thing injected and how the server took it. What must
not be raises AssertionError.
"""

import asyncio
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from scripts.faulting import network
from server.service.ports import OutcomeUnknown, Unavailable
from server.storage.refusal import StoreRefused
from server.storage.sqlite import open_sqlite
from tests.kit.crash_load import UNLIMITED, Load
from tests.kit.crash_oracle import check_answers, check_devices, read_all
from tests.kit.fault_storm import (
    Harm,
    deaths,
    failing_syncs,
    failing_writes,
    harmed_checkpoints,
    storm,
)
from tests.kit.power_cut import (
    WAYS,
    assert_kept,
    cut_points,
    leave_behind,
    moment_ns,
    traced_run,
)
from tests.kit.server_process import ServerProcess
from tests.kit.system_device import Device, connect_device, text

Done = Counter[tuple[str, str]]
"""(what was injected, how it ended) -> how often."""

Part = Callable[[Path, int], Coroutine[None, None, Done]]

SWEPT: Final = 60
"""Calls of a kind that a sweep reaches: several commits of every kind of request."""

AT_ONCE: Final = 3


def places(seed: int) -> list[int]:
    """Some of the SWEPT places; rounds with consecutive seeds take them all in turn."""
    return sorted((seed * AT_ONCE + index) % SWEPT for index in range(AT_ONCE))


async def syncs(directory: Path, seed: int) -> Done:
    return await _storm(directory, seed, failing_syncs(places(seed)))


async def writes(directory: Path, seed: int) -> Done:
    return await _storm(directory, seed, failing_writes(places(seed)))


async def points(directory: Path, seed: int) -> Done:
    return await _storm(directory, seed, deaths(places(seed)))


async def checkpoints(directory: Path, seed: int) -> Done:
    return await _storm(directory, seed, harmed_checkpoints([seed % SWEPT]))


async def _storm(directory: Path, seed: int, harms: list[Harm]) -> Done:
    findings = await storm(directory / "data", seed, harms)
    return Counter(
        {(what, end): n for what, ends in findings.table.items() for end, n in ends.items()}
    )


async def kills(directory: Path, seed: int, count: int = 20) -> Done:
    """kill -9 from outside, at any moment, also while it starts."""
    return await _ends(directory, seed, count, is_kill=True)


async def drains(directory: Path, seed: int, count: int = 10) -> Done:
    """SIGTERM under load."""
    return await _ends(directory, seed, count, is_kill=False)


async def _ends(directory: Path, seed: int, count: int, *, is_kill: bool) -> Done:
    dice = random.Random(seed)
    done: Done = Counter()
    with ServerProcess(directory / "data", limits=UNLIMITED) as server:
        load = Load(server, dice)
        await load.connect()
        await load.create_groups()
        for _ in range(count):
            await load.run_until(dice.randint(20, 150))
            await asyncio.sleep(dice.uniform(0, 0.02))
            (server.kill if is_kill else server.terminate)()
            await load.after_the_end()
            if not is_kill:
                assert await server.ended() == 0
            elif dice.random() < 0.2:
                server.launch()
                await asyncio.sleep(dice.uniform(0.05, 0.6))
                server.kill()
                done["kill -9 while it starts", "started again"] += 1
            server.assert_sound()
            server.start()
            await load.connect()
            await load.catch_up_with_answers()
            done["kill -9" if is_kill else "SIGTERM", "started again"] += 1
        logs = await read_all(load)
        assert server.trouble() == []
        server.terminate()
        await asyncio.gather(*(gadget.harvest() for gadget in load.gadgets))
        assert await server.ended() == 0
    check_answers(load, logs)
    check_devices(load, logs)
    done["requests answered", "each once"] += load.replies
    return done


async def power(directory: Path, seed: int) -> Done:
    """Cuts around syncs, a few of them judged by the whole server."""
    dice = random.Random(seed)
    load, trace = await traced_run(
        directory / "data", directory / "base", seed, 1200 if seed % 4 == 0 else 150
    )
    done: Done = Counter()
    chosen = [*dice.choices(cut_points(trace), k=40), len(trace)]
    for number, cut in enumerate(sorted(chosen)):
        way = WAYS[(number + seed) % len(WAYS)]
        target = directory / "cut"
        leave_behind(directory / "base", trace, cut, way, dice, target)
        if number % 10 == 0:
            with ServerProcess(target) as server:
                server.assert_sound()
                device = await connect_device(server, "owner")
                await device.call("create_group", type="Public", name="on")
                await device.close()
                assert server.stop() == 0
            done["power cut, server started", "sound"] += 1
        else:
            await assert_kept(target, load, moment_ns(trace, cut))
            done[f"power cut, unsynced: {way}", "all answered is there"] += 1
        shutil.rmtree(target)
    return done


async def damage(directory: Path, seed: int, count: int = 100) -> Done:
    """Flipped bytes in a database at rest: refused, found when met, or without any effect.

    SQLite has no checksums of pages: a byte of a text or a number that changes is not noticed.
    Those are counted; they are what backups are for.
    """
    dice = random.Random(seed)
    base = directory / "base"
    with ServerProcess(base, limits=UNLIMITED) as server:
        load = Load(server, dice)
        await load.connect()
        await load.create_groups()
        await load.run_until(400)
        server.terminate()
        await load.after_the_end()
        assert await server.ended() == 0
    whole = await _told(base)
    done: Done = Counter()
    for _ in range(count):
        target = directory / "damaged"
        shutil.copytree(base, target)
        content = bytearray((target / "muster.db").read_bytes())
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        (target / "muster.db").write_bytes(content)
        done["a flipped bit", await _judged(target, whole)] += 1
        shutil.rmtree(target)
    return done


async def _judged(data: Path, whole: object) -> str:
    try:
        told = await _told(data)
    except StoreRefused:
        return "refused at the start"
    except OutcomeUnknown:
        return "fenced when it was read"
    except (Unavailable, ValueError):
        return "an error when it was read"
    return "no effect on the log" if told == whole else "a value of the log changed"


async def _told(data: Path) -> object:
    store = await open_sqlite(data)
    try:
        return list(await store.tail(0, 0, 1_000_000))
    finally:
        await store.close()


async def long_reader(directory: Path, _seed: int) -> Done:
    """A backup tool that keeps a read transaction open while 100 MB are written (F28)."""
    done: Done = Counter()
    with ServerProcess(directory / "data", limits=UNLIMITED) as server:
        device = await connect_device(server, "alice")
        await device.call("create_group", group_id="g", type="Public", name="g")
        wal = server.data / "muster.db-wal"
        with closing(sqlite3.connect(server.data / "muster.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM log_head").fetchone()
            while wal.stat().st_size < 100_000_000:
                await _fill(device, 200)
            done["a reader keeps 100 MB of the log", "served on"] += 1
        while wal.stat().st_size > 64 * 1024 * 1024:
            await _fill(device, 50)
        done["the reader is gone", "the log is 64 MiB or less again"] += 1
        await device.close()
        assert server.trouble() == []
        assert server.stop() == 0
        server.assert_sound()
    return done


async def _fill(device: Device, count: int) -> None:
    asked = []
    for _ in range(count):
        asked.append(await device.ask("send_message", group_id="g", body=text("." * 3000)))
        if len(asked) == 50:
            for request_id in asked:
                assert "result" in await device.reply(request_id)
            asked = []
    for request_id in asked:
        assert "result" in await device.reply(request_id)


PARTS: Final[Mapping[str, Part]] = {
    "syncs": syncs,
    "writes": writes,
    "points": points,
    "checkpoints": checkpoints,
    "kills": kills,
    "drains": drains,
    "power": power,
    "damage": damage,
    "reader": long_reader,
    "network": network.lost,
}
