"""kill -9 under load, again and again, on the same data: promises 1, 2 and 3 of ``design.md``.

The process is killed at seeded moments, also while it starts, and started again. At the end all
that ``tests.kit.crash_oracle`` says is true. ``scripts/faults --kills`` does it longer.
"""

import asyncio
import random
from pathlib import Path

import pytest

from tests.kit.crash_load import UNLIMITED, Load
from tests.kit.crash_oracle import check_answers, check_devices, read_all
from tests.kit.server_process import ServerProcess

KILLS = 22
KILLS_WHILE_STARTING = 4
SEED = 20_240_229


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_kill_9_loses_nothing_and_does_nothing_twice(data_directory: Path) -> None:
    dice = random.Random(SEED)
    with ServerProcess(data_directory, limits=UNLIMITED) as server:
        load = Load(server, dice)
        await load.connect()
        await load.create_groups()
        for kill in range(KILLS):
            await load.run_until(dice.randint(20, 150))
            # Not at an answer, but anywhere between it and the next commits.
            await asyncio.sleep(dice.uniform(0, 0.02))
            server.kill()
            await load.after_the_end()
            server.assert_sound()
            if kill % (KILLS // KILLS_WHILE_STARTING) == 0:
                server.launch()
                await asyncio.sleep(dice.uniform(0.05, 0.6))
                server.kill()
            server.start()
            await load.connect()
            await load.catch_up_with_answers()
        logs = await read_all(load)
        assert server.starts > KILLS
        assert server.trouble() == []
        server.terminate()
        await asyncio.gather(*(gadget.harvest() for gadget in load.gadgets))
        assert await server.ended() == 0
        server.assert_sound()
    assert load.replies > 20 * KILLS
    check_answers(load, logs)
    check_devices(load, logs)
