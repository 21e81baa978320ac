from typing import Final

from protocol.frames import Resume
from server.service.housekeeping import Housekeeping
from server.service.ports import RequestKey, Store
from tests.kit.devices import SHARD, World, rulebook_with, world_on

DAY_MS: Final = 86_400_000


def housekeeping(world: World, *, ahead_ms: int = 0) -> Housekeeping:
    """Of a world whose clock is so much ahead of the machine's."""
    return Housekeeping(
        store=world.store,
        executor=world.executor,
        rulebook=world.rulebook,
        clock=world.clock,
        on_trimmed=world.hub.raise_floor,
        on_fatal=world._fail,
        wall_ms=lambda: world.clock.now_ms() - ahead_ms,
        shard=SHARD,
    )


async def test_what_is_older_than_the_retention_goes_and_the_rest_stays_dense(
    world: World,
) -> None:
    alice = await world.online("alice")
    await alice.call("create_group", type="Public", name="x", group_id="g")
    early = alice.cursor
    for number in range(3):
        await alice.say("g", f"old {number}")
    world.clock.advance(8 * DAY_MS)
    for number in range(2):
        await alice.say("g", f"new {number}")
    late = alice.cursor
    await housekeeping(world).step()
    page = await alice.call("list_messages", group_id="g")
    assert [event["seq"] for event in page["events"]] == [4, 5]
    assert page["first_seq"] == 4
    forgotten = await world.online("alice", "d2", cursor=early)
    assert forgotten.welcome.resume is Resume.RESET
    assert forgotten.welcome.reason == "expired"
    kept = await world.online("alice", "d3", cursor=late)
    assert kept.welcome.resume is Resume.RESUMED


async def test_a_retired_id_is_free_once_its_log_is_forgotten(world: World) -> None:
    alice = await world.online("alice")
    await alice.call("create_group", type="Public", name="x", group_id="g")
    await alice.call("disband_group", group_id="g")
    await housekeeping(world).step()
    taken = await alice.refusal("create_group", type="Public", name="again", group_id="g")
    assert taken.code.name == "GROUP_ID_TAKEN_BY_YOU"
    world.clock.advance(8 * DAY_MS)
    await housekeeping(world).step()
    again = await alice.call("create_group", type="Public", name="again", group_id="g")
    assert again["group"]["next_seq"] == 1


async def test_request_ids_are_forgotten_after_their_day(world: World) -> None:
    alice = await world.online("alice")
    first = await alice.call("create_group", request_id="r", type="Public", name="x")
    assert await world.store.replay(RequestKey("alice", "r")) is not None
    world.clock.advance(DAY_MS + 1)
    await housekeeping(world).step()
    assert await world.store.replay(RequestKey("alice", "r")) is None
    second = await alice.call("create_group", request_id="r", type="Public", name="x")
    assert second["group"]["group_id"] != first["group"]["group_id"]


async def test_a_clock_that_jumps_ahead_makes_nothing_old(store: Store) -> None:
    """Fault F11: what was said a second ago is not a week old because the clock says so."""
    limits = {"IDLE_GROUP_MS": DAY_MS}
    async with world_on(store, rulebook_with(limits)) as world:
        keeper = housekeeping(world)
        alice = await world.online("alice")
        await alice.call("create_group", request_id="r", type="Work", name="x", group_id="g")
        await alice.say("g", "young")
        early = alice.cursor
        world.clock.jump_ahead(100 * DAY_MS)
        await keeper.step()
        assert await world.store.replay(RequestKey("alice", "r")) is not None
        again = await world.online("alice", "d2", cursor=early)
        assert again.welcome.resume is Resume.RESUMED
        assert len((await alice.call("list_joined_groups"))["groups"]) == 1
        world.clock.advance(8 * DAY_MS)
        await keeper.step()
        assert await world.store.replay(RequestKey("alice", "r")) is None


async def test_a_log_that_is_ahead_of_the_clock_makes_nothing_old(world: World) -> None:
    """The machine's clock was ahead and is right again; the log's time never goes back."""
    alice = await world.online("alice")
    await alice.call("create_group", request_id="r", type="Public", name="x")
    world.clock.jump_ahead(100 * DAY_MS)
    keeper = housekeeping(world, ahead_ms=100 * DAY_MS)
    await keeper.step()
    assert await world.store.replay(RequestKey("alice", "r")) is not None


async def test_a_group_that_nobody_uses_is_recycled_where_configured(store: Store) -> None:
    async with world_on(store, rulebook_with({"IDLE_GROUP_MS": DAY_MS})) as world:
        alice, bob = await world.online("alice"), await world.online("bob")
        for group_id in ("idle", "used"):
            members = [{"user_id": "bob"}]
            await alice.call(
                "create_group", type="Work", name="x", group_id=group_id, members=members
            )
        world.clock.advance(DAY_MS - 10)
        await alice.say("used", "still here")
        world.clock.advance(20)
        await housekeeping(world).step()
        await world.settle()
        for device in (alice, bob):
            ended = [e.group_id for e in device.events if e.event == "group_recycled"]
            assert ended == ["idle"]
        listed = (await bob.call("list_joined_groups"))["groups"]
        assert [row["group_id"] for row in listed] == ["used"]
