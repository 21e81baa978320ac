"""The seam with threads under it: devices come and go and go slow while others write, on SQLite."""

import asyncio
from pathlib import Path
from random import Random
from typing import Final

import pytest

from protocol.codec import JSON, MSGPACK, Codec
from protocol.errors import Refused
from tests.hub.oracle import Witness, assert_log_is_sound
from tests.kit.devices import SHARD, Device, Gone, World, rulebook_with, store_of, world_on

USERS: Final = ("alice", "bob", "carol", "dave")
LIMITS: Final = {"EVENTS_PER_FRAME": 4, "OUTGOING_BYTES": 2_000, "DEVICES_PER_USER": 3}
GROUP: Final = "@TGS#_g"


class Crowd:
    def __init__(self, world: World, chance: Random) -> None:
        self.world = world
        self.chance = chance
        self.witnesses: list[tuple[Device, Witness]] = []

    def connect(self, user_id: str, cursor: str | None) -> Device:
        device_id = f"d{self.chance.randrange(4)}"
        codec: Codec = JSON if self.chance.random() < 0.5 else MSGPACK
        device = self.world.connect(user_id, device_id, codec, cursor)
        self.witnesses.append((device, Witness(device)))
        return device

    async def live(self, user_id: str, steps: int) -> None:
        """One user's day: says things, comes and goes, reads slowly, changes devices."""
        device = self.connect(user_id, None)
        for _ in range(steps):
            what = self.chance.random()
            try:
                if what < 0.5:
                    await device.say(GROUP, f"{user_id} says {'x' * self.chance.randrange(300)}")
                elif what < 0.6:
                    await device.call("join_group", group_id=GROUP)
                elif what < 0.7:
                    await device.call("quit_group", group_id=GROUP)
                elif what < 0.85:
                    device.unstall()
                    device.drop()
                    device = self.connect(user_id, device.cursor)
                else:
                    await self.doze(device)
            except Refused:
                continue
            except Gone:
                device = self.connect(user_id, device.cursor)
        device.unstall()

    async def doze(self, device: Device) -> None:
        """Read nothing while the others go on."""
        device.stall()
        for _ in range(60):
            await self.world.store.heads(SHARD)
            if self.chance.random() < 0.1:
                device.read(self.chance.randrange(500))
        device.unstall()


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_a_crowd_does_every_device_is_told_what_the_log_says(
    seed: int, tmp_path: Path
) -> None:
    async with (
        store_of("sqlite", tmp_path) as store,
        world_on(store, rulebook_with(LIMITS)) as world,
    ):
        owner = await world.online("owner")
        members = [{"user_id": user_id} for user_id in USERS[:2]]
        await owner.call(
            "create_group", type="Community", name="-", group_id=GROUP, members=members
        )
        crowd = Crowd(world, Random(seed))
        await asyncio.gather(*(crowd.live(user_id, 150) for user_id in USERS))
        await world.settle()
        await owner.say(GROUP, "the end")
        await world.settle()
        log = await world.log()
        assert_log_is_sound(log)
        assert len(log) > 200
        for device, witness in crowd.witnesses:
            witness.assert_nothing_wrong(log)
            if device.is_open:
                assert device.is_live
                witness.assert_all_is_told(log)
