"""How a connection begins: fresh, resumed or reset, on whatever is happening at the time."""

import logging

import msgspec
import pytest

from protocol.codec import JSON, MSGPACK, Codec
from protocol.errors import CloseCode
from protocol.frames import Events, Reply, ResetReason, Resume, Welcome
from server.hub.session import Mode
from server.service.ports import OutcomeUnknown, Store, Unavailable
from server.storage.memory import MemoryStore
from server.storage.memory_tables import Tables
from tests.hub.oracle import Witness, visible_to
from tests.kit.devices import (
    EPOCH,
    SHARD,
    World,
    body,
    place_of_cursor,
    rulebook_with,
    world_on,
)
from tests.kit.fakes import Gate, HookedStore, until_idle

STORM = 200
BOTH = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])


async def history_of_bob(world: World) -> None:
    """Bob comes and goes; things happen while he is there and while he is not."""
    alice = await world.online("alice", "first")
    bob = await world.online("bob", "first")
    await alice.call(
        "create_group", type="Public", name="-", group_id="g", apply_join_option="FreeAccess"
    )
    for turn in range(3):
        await alice.say("g", f"without bob {turn}")
        await bob.call("join_group", group_id="g")
        await alice.say("g", f"with bob {turn}")
        await bob.say("g", f"by bob {turn}")
        await alice.call("create_group", type="Work", name="-", members=[{"user_id": "bob"}])
        await bob.call("quit_group", group_id="g")
    alice.drop()
    bob.drop()


@BOTH
async def test_from_every_cursor_comes_exactly_the_rest(world: World, codec: Codec) -> None:
    await history_of_bob(world)
    log = await world.log()
    witnesses = []
    for told in [0, *(entry.position for entry in log)]:
        device = world.connect("bob", f"d{told % 16}", codec, f"{EPOCH}:{told}")
        witness = Witness(device)
        witnesses.append(witness)
        await world.settle()
        assert device.welcome.resume is Resume.RESUMED
        assert device.welcome.cursor == f"{EPOCH}:{told}"
        witness.assert_nothing_wrong(log)
        witness.assert_all_is_told(log)


async def test_without_a_cursor_nothing_old_is_told(world: World) -> None:
    await history_of_bob(world)
    bob = await world.online("bob")
    assert bob.welcome.resume is Resume.FRESH
    assert place_of_cursor(bob.cursor) == (await world.log())[-1].position
    assert not bob.events


async def test_from_every_page_one_goes_on_at_the_next(store: Store) -> None:
    """A connection that breaks after any frame goes on from that frame's cursor."""
    async with world_on(store, rulebook_with({"EVENTS_PER_FRAME": 2})) as world:
        await history_of_bob(world)
        expected = [told.position for told in visible_to("bob", await world.log())]
        cursor, count = f"{EPOCH}:0", 0
        while count < len(expected):
            bob = await world.online("bob", cursor=cursor)
            frame = bob.frames[1]
            assert isinstance(frame, Events)
            assert len(frame.events) <= 2
            assert place_of_cursor(frame.cursor) == expected[count + len(frame.events) - 1]
            count += len(frame.events)
            cursor = frame.cursor


@pytest.mark.parametrize(
    ("cursor", "reason"),
    [
        ("other:0", ResetReason.UNKNOWN_CURSOR),
        (f"{EPOCH}:999999", ResetReason.UNKNOWN_CURSOR),
        ("", ResetReason.UNKNOWN_CURSOR),
        (f"{EPOCH}:0", ResetReason.EXPIRED),
    ],
)
async def test_a_cursor_that_is_no_good_resets_and_goes_on_from_now(
    store: Store, cursor: str, reason: ResetReason
) -> None:
    async with world_on(store) as world:
        await history_of_bob(world)
        heads = await store.heads(SHARD)
    async with world_on(store) as world:
        world.hub.raise_floor(3)
        bob = world.connect("bob", cursor=cursor)
        witness = Witness(bob)
        await world.settle()
        assert bob.welcome.resume is Resume.RESET
        assert bob.welcome.reason is reason
        assert place_of_cursor(bob.welcome.cursor) == heads.position
        assert not bob.events
        await bob.call("create_group", type="Work", name="after the reset")
        log = await world.log()
        witness.assert_nothing_wrong(log)
        witness.assert_all_is_told(log)


async def test_more_than_resume_events_is_too_far_and_as_many_are_not(store: Store) -> None:
    async with world_on(store) as world:
        await history_of_bob(world)
        missed = len(visible_to("bob", await world.log()))
    async with world_on(store, rulebook_with({"RESUME_EVENTS": missed})) as world:
        bob = await world.online("bob", cursor=f"{EPOCH}:0")
        assert bob.welcome.resume is Resume.RESUMED
        assert len(bob.events) == missed
    async with world_on(store, rulebook_with({"RESUME_EVENTS": missed // 2 - 1})) as world:
        bob = await world.online("bob", cursor=f"{EPOCH}:0")
        assert (bob.welcome.resume, bob.welcome.reason) == (Resume.RESET, ResetReason.TOO_FAR)


async def test_many_events_that_others_see_are_not_too_far(store: Store) -> None:
    async with world_on(store, rulebook_with({"RESUME_EVENTS": 3})) as world:
        await history_of_bob(world)
        carol = await world.online("carol", cursor=f"{EPOCH}:0")
        assert carol.welcome.resume is Resume.RESUMED
        assert not carol.events


@pytest.mark.parametrize("bobs_last", ["quit_group", "join_group"])
async def test_a_membership_that_is_committed_but_not_yet_told_makes_no_seam(
    bobs_last: str,
) -> None:
    """The snapshot of bob's groups is ahead of what the hub has told."""
    hooked = HookedStore(MemoryStore(epoch=EPOCH))
    gate = Gate()
    gate.stand_in(hooked, ["commit"])
    async with world_on(hooked.store) as world:
        alice = await world.online("alice")
        await alice.call("create_group", type="Community", name="-", group_id="@TGS#_g")
        before = await world.online("bob", "before")
        if bobs_last == "quit_group":
            await before.call("join_group", group_id="@TGS#_g")
        gate.shut(["after commit"])
        said = alice.send("send_message", group_id="@TGS#_g", body=body("in between"))
        done = before.send(bobs_last, group_id="@TGS#_g")
        await until_idle()
        before.drop()
        bob = world.connect("bob", "after", cursor=before.cursor)
        witness = Witness(bob)
        await until_idle()
        gate.open()
        await until_idle()
        assert said.done()
        assert done.done()
        log = await world.log()
        witness.assert_nothing_wrong(log)
        witness.assert_all_is_told(log)


@BOTH
async def test_the_welcome_comes_before_the_answer_to_what_was_asked_without_waiting_for_it(
    codec: Codec,
) -> None:
    hooked = HookedStore(MemoryStore(epoch=EPOCH))
    gate = Gate()
    gate.stand_in(hooked, ["missed_count"])
    async with world_on(hooked.store, rulebook_with({"RESUME_EVENTS": 1})) as world:
        await history_of_bob(world)
        gate.shut(["before missed_count"])
        bob = world.connect("bob", "d1", codec, f"{EPOCH}:0")
        refused = bob.send("no_such_method")
        made = bob.send("create_group", type="Work", name="-")
        await until_idle()
        gate.open()
        await until_idle()
        assert isinstance(bob.frames[0], Welcome)
        for reply in (refused, made):
            cursor = place_of_cursor(reply.result().cursor)
            assert cursor >= place_of_cursor(bob.welcome.cursor)


async def test_what_a_request_caused_comes_before_its_reply_also_right_after_connecting() -> None:
    hooked = HookedStore(MemoryStore(epoch=EPOCH))
    gate = Gate()
    gate.stand_in(hooked, ["followed"])
    async with world_on(hooked.store) as world:
        gate.shut(["after followed"])
        bob = world.connect("bob")
        reply = bob.send("create_group", type="Work", name="-")
        await until_idle()
        gate.open()
        await until_idle()
        assert reply.done()
        kinds = [type(frame) for frame in bob.frames]
        assert kinds == [Welcome, Events, Reply]


@pytest.mark.parametrize("method", ["followed", "missed", "missed_count"])
@pytest.mark.parametrize("error", [Unavailable("full"), OutcomeUnknown("fenced"), ValueError("x")])
async def test_a_log_that_cannot_be_read_closes_the_connection_and_the_next_may_work(
    method: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "server.hub.catch_up")
    hooked = HookedStore(MemoryStore(epoch=EPOCH))
    async with world_on(hooked.store, rulebook_with({"RESUME_EVENTS": 1000})) as world:
        await history_of_bob(world)
    async with world_on(hooked.store, rulebook_with({"RESUME_EVENTS": 16})) as world:
        hooked.fail(method, error)
        cursor = f"{EPOCH}:{(await hooked.inner.heads(SHARD)).position - 17}"
        bob = world.connect("bob", cursor=cursor)
        await until_idle()
        assert bob.closed is not None
        assert bob.closed.code is CloseCode.INTERNAL
        again = await world.online("bob", cursor=cursor)
        assert again.welcome.resume is Resume.RESUMED
        assert again.is_live


async def test_two_devices_whose_groups_cannot_be_read_do_not_harm_a_third() -> None:
    hooked = HookedStore(MemoryStore(epoch=EPOCH))
    gate = Gate()
    async with world_on(hooked.store) as world:
        gate.shut(["followed"])

        async def wait_and_fail() -> None:
            await gate.come_by("followed")
            raise Unavailable("not now")

        hooked.before["followed"] = wait_and_fail
        first, second = world.connect("bob", "d1"), world.connect("bob", "d2")
        await until_idle()
        del hooked.before["followed"]
        gate.open()
        await until_idle()
        third = world.connect("bob", "d3")
        await until_idle()
        assert first.closed is not None
        assert second.closed is not None
        assert third.is_live


async def test_a_device_that_is_gone_while_it_is_welcomed_leaves_nothing_behind() -> None:
    hooked = HookedStore(MemoryStore(epoch=EPOCH))
    gate = Gate()
    gate.stand_in(hooked, ["missed_count", "missed", "followed"])
    async with world_on(hooked.store, rulebook_with({"RESUME_EVENTS": 16})) as world:
        await history_of_bob(world)
        for name in ("missed_count", "missed", "followed"):
            gate.shut([f"before {name}"])
            bob = world.connect("bob", cursor=f"{EPOCH}:1")
            await until_idle()
            bob.drop()
            gate.open()
            await until_idle()
            assert bob.session.mode is Mode.GONE
            assert not world.hub.sessions()
            assert world.hub.rooms.follower_count("g") == 0


async def test_a_session_that_falls_behind_while_it_catches_up_reads_on_where_it_was() -> None:
    store = MemoryStore(epoch=EPOCH)
    limits = {"EVENTS_PER_FRAME": 1, "OUTGOING_BYTES": 600}
    async with world_on(store, rulebook_with(limits)) as world:
        await history_of_bob(world)
        bob = world.connect("bob", cursor=f"{EPOCH}:0")
        witness = Witness(bob)
        bob.stall()
        log = await world.log()
        while not bob.is_live:
            await until_idle()
            bob.read(100)
            witness.assert_nothing_wrong(log)
        bob.unstall()
        witness.assert_all_is_told(log)
        assert bob.pauses > 2


async def test_heads_are_as_far_as_was_told() -> None:
    store = MemoryStore(epoch=EPOCH)
    async with world_on(store) as world:
        await history_of_bob(world)
        assert world.hub.heads == await store.heads(SHARD)
        world.hub.raise_floor(5)
        world.hub.raise_floor(4)
        assert world.hub.heads == msgspec.structs.replace(await store.heads(SHARD), floor=5)


async def test_a_cursor_of_a_term_before_a_restart_is_resumed_from() -> None:
    tables = Tables()
    async with world_on(MemoryStore(epoch=EPOCH, tables=tables)) as world:
        await history_of_bob(world)
        end = world.hub.position
    async with world_on(MemoryStore(epoch="later", tables=tables)) as world:
        bob = world.connect("bob", "d1", cursor=f"{EPOCH}:{end}")
        zoe = world.connect("bob", "d2", cursor=f"{EPOCH}:{end + 1}")
        await until_idle()
        assert bob.welcome.resume is Resume.RESUMED
        assert bob.welcome.cursor == f"{EPOCH}:{end}"
        assert zoe.welcome.reason is ResetReason.UNKNOWN_CURSOR


async def test_of_a_storm_a_few_read_at_a_time_and_everybody_is_served() -> None:
    """Admission: who comes back waits for a turn; those who are here need none."""
    hooked = HookedStore(MemoryStore(epoch=EPOCH))
    gate = Gate()
    async with world_on(hooked.store, rulebook_with({"DEVICES_PER_USER": 0})) as world:
        alice = await world.online("alice")
        here = await world.online("bob", "here")
        await alice.call(
            "create_group", type="Work", name="-", group_id="g", members=[{"user_id": "bob"}]
        )
        cursor = here.cursor
        await alice.say("g", "missed")
        gate.stand_in(hooked, ["missed"])
        gate.shut(["before missed"])
        storm = [world.connect("bob", f"d{number}", cursor=cursor) for number in range(STORM)]
        await until_idle()
        reading = len(gate.waiting)
        assert 0 < reading <= STORM // 4
        await alice.say("g", "live")
        assert here.texts("g") == ["missed", "live"]
        gate.open()
        await world.settle()
        for device in storm:
            assert device.welcome.resume is Resume.RESUMED
            assert device.texts("g") == ["missed", "live"]
