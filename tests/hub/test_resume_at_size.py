"""A user in as many groups as one may be in comes back: exactly what was missed, and soon.

On SQLite, since it is the store's query that must not cost what the groups number.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from protocol.frames import ResetReason, Resume
from protocol.limits import default_limits
from server.service.housekeeping import Housekeeping
from tests.hub.oracle import Witness, visible_to
from tests.kit.devices import EPOCH, SHARD, Device, World, rulebook_with, store_of, world_on
from tests.kit.fakes import until

GROUPS: Final = default_limits()["GROUPS_PER_USER"]
MAKERS: Final = 4
MOVED: Final = range(0, GROUPS, GROUPS // 50)
AT_ONCE: Final = 500
DAY_MS: Final = 86_400_000
LIMITS: Final = {
    "REQUESTS_PER_S": 0,
    "USER_REQUESTS_PER_S": 0,
    "REQUESTS_IN_FLIGHT": 0,
    "OUTGOING_BYTES": 64 * 1024 * 1024,
    "RESUME_EVENTS": 2_000,
}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with store_of("sqlite", tmp_path) as store, world_on(store, rulebook_with(LIMITS)) as it:
        yield it


async def make_groups(world: World, count: int) -> list[Device]:
    """Groups g-0, g-1, ... with "big" in all of them; their owners, in turn."""
    makers = [await world.online(f"maker-{number}") for number in range(MAKERS)]
    for start in range(0, count, AT_ONCE):
        replies = [
            makers[number % MAKERS].send(
                "create_group",
                type="Public",
                name="-",
                group_id=f"g-{number}",
                members=[{"user_id": "big"}],
            )
            for number in range(start, min(count, start + AT_ONCE))
        ]
        assert all(reply.error is None for reply in await asyncio.gather(*replies))
    return makers


def housekeeping_of(world: World) -> Housekeeping:
    """What lets go of what is old, as old as it is from now on."""
    return Housekeeping(
        store=world.store,
        executor=world.executor,
        rulebook=world.rulebook,
        clock=world.clock,
        on_trimmed=world.hub.raise_floor,
        on_fatal=pytest.fail,
        wall_ms=world.clock.now_ms,
        shard=SHARD,
    )


async def come_back(world: World, cursor: str | None, device_id: str) -> tuple[Device, Witness]:
    big = world.connect("big", device_id, cursor=cursor)
    witness = Witness(big)
    await until(lambda: big.is_live)
    await world.settle()
    return big, witness


@pytest.mark.slow
async def test_a_user_in_5000_groups_gets_what_50_of_them_said(world: World) -> None:
    makers = await make_groups(world, GROUPS)
    first = await world.online("big")
    refused = await first.refusal("create_group", type="Work", name="one too many")
    assert refused.detail["have"] == GROUPS
    cursor = first.cursor
    first.drop()
    for number in MOVED:
        await makers[number % MAKERS].say(f"g-{number}", f"in {number}")
    stranger = await world.online("maker-0", "elsewhere")
    await stranger.call("create_group", type="Work", name="not for big", group_id="other")
    await stranger.say("other", "not for big")

    back, witness = await come_back(world, cursor, "back")
    assert back.welcome.resume is Resume.RESUMED
    assert [event.group_id for event in back.events] == [f"g-{number}" for number in MOVED]
    log = await world.log()
    witness.assert_nothing_wrong(log)
    witness.assert_all_is_told(log)

    # All the groups are there and live, not only those that moved.
    for number in (1, GROUPS - 1):
        await makers[number % MAKERS].say(f"g-{number}", "live")
        await world.settle()
        assert back.texts(f"g-{number}") == ["live"]

    # From the beginning on it is far too much.
    again, _ = await come_back(world, f"{EPOCH}:0", "from the beginning")
    assert (again.welcome.resume, again.welcome.reason) == (Resume.RESET, ResetReason.TOO_FAR)
    listed: list[str] = []
    after: object = None
    while after is not None or not listed:
        page = await again.call("list_joined_groups", limit=100, after=after)
        listed += [group["group_id"] for group in page["groups"]]
        after = page.get("next")
    assert sorted(listed) == sorted(f"g-{number}" for number in range(GROUPS))

    # While others go on writing.
    back.drop()
    mark = back.cursor

    async def write() -> None:
        for number in range(300):
            group = number % 40
            await makers[group % MAKERS].say(f"g-{group}", f"meanwhile {number}")

    writing = asyncio.ensure_future(write())
    for turn in range(10):
        device, watching = await come_back(world, mark, f"turn-{turn}")
        assert device.welcome.resume is Resume.RESUMED
        mark = device.cursor
        device.drop()
        watching.assert_nothing_wrong(await world.log())
    await writing
    last, watching = await come_back(world, back.cursor, "last")
    log = await world.log()
    watching.assert_nothing_wrong(log)
    watching.assert_all_is_told(log)
    said = sum(event.event == "message" for event in last.events)
    assert said == 300


async def test_days_later_it_resumes_until_the_history_is_over(world: World) -> None:
    housekeeping = housekeeping_of(world)
    makers = await make_groups(world, 20)
    first = await world.online("big")
    cursor = first.cursor
    first.drop()
    await makers[0].say("g-0", "long ago")
    world.clock.advance(6 * DAY_MS)
    await housekeeping.step()
    await makers[1].say("g-1", "lately")
    six_days, witness = await come_back(world, cursor, "six days later")
    assert six_days.welcome.resume is Resume.RESUMED
    assert [event.group_id for event in six_days.events] == ["g-0", "g-1"]
    witness.assert_all_is_told(await world.log())

    world.clock.advance(2 * DAY_MS)
    await housekeeping.step()
    assert (await world.store.heads(SHARD)).floor > 0
    late, _ = await come_back(world, cursor, "eight days later")
    assert (late.welcome.resume, late.welcome.reason) == (Resume.RESET, ResetReason.EXPIRED)
    assert late.events == []
    page = await late.call("list_joined_groups", limit=100)
    assert len(page["groups"]) == 20

    # Who has kept up to what is still there loses nothing by the trimming.
    kept, _ = await come_back(world, six_days.cursor, "the next day")
    assert kept.welcome.resume is Resume.RESUMED
    assert kept.events == []
    await makers[2].say("g-2", "today")
    await world.settle()
    assert late.texts("g-2") == kept.texts("g-2") == ["today"]


async def test_anothers_cursor_is_a_place_and_tells_nothing_of_theirs(world: World) -> None:
    makers = await make_groups(world, 8)
    first = await world.online("big")
    first.drop()
    await makers[0].call("create_group", type="Work", name="private", group_id="private")
    theirs = makers[0].cursor
    await makers[0].say("private", "secret")
    await makers[1].say("g-1", "for big")
    back, witness = await come_back(world, theirs, "back")
    assert back.welcome.resume is Resume.RESUMED
    assert [event.group_id for event in back.events] == ["g-1"]
    log = await world.log()
    witness.assert_nothing_wrong(log)
    assert all(told.entry.group_id != "private" for told in visible_to("big", log))
