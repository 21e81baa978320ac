"""A slow reader costs no memory, loses nothing, and nobody waits for it."""

import pytest

from protocol.codec import JSON, MSGPACK, Codec
from protocol.errors import CloseCode
from protocol.frames import Events, ResetReason, Resume
from server.hub.session import Mode
from server.storage.memory import MemoryStore
from tests.hub.oracle import Witness
from tests.kit.devices import EPOCH, SHARD, Device, World, body, rulebook_with, world_on
from tests.kit.fakes import until_idle

BOTH = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])

OUTGOING_BYTES = 8_192
TEXT_BYTES = 500
MOST_EVENT_BYTES = TEXT_BYTES + 300
EVENTS_PER_FRAME = 8
LIMITS = {
    "OUTGOING_BYTES": OUTGOING_BYTES,
    "EVENTS_PER_FRAME": EVENTS_PER_FRAME,
    "REQUESTS_BURST": 100_000,
    "USER_REQUESTS_PER_S": 0,
    "REQUESTS_PER_S": 0,
    "REQUESTS_IN_FLIGHT": 0,
}


def kept_for(device: Device) -> int:
    """How many bytes the server keeps for the device, the transport's buffer included."""
    session = device.session
    held = session.held or []
    return device.unread + sum(map(len, session.pending)) + sum(map(len, held))


async def group_of(world: World, *others: str) -> Device:
    alice = await world.online("alice")
    members = [{"user_id": user_id} for user_id in others]
    await alice.call("create_group", type="Work", name="-", group_id="g", members=members)
    return alice


async def talk(alice: Device, batch: int) -> None:
    """As many messages as that, in one transaction."""
    said = [
        alice.send("send_message", group_id="g", body=body("x" * TEXT_BYTES)) for _ in range(batch)
    ]
    await until_idle()
    assert all(reply.done() for reply in said)


@BOTH
@pytest.mark.parametrize("batch", [1, 20])
async def test_what_is_kept_for_a_stalled_device_does_not_grow_with_what_is_said(
    codec: Codec, batch: int
) -> None:
    async with world_on(MemoryStore(epoch=EPOCH), rulebook_with(LIMITS)) as world:
        alice = await group_of(world, "bob")
        bob = world.connect("bob", codec=codec)
        witness = Witness(bob)
        await until_idle()
        bob.stall()
        one_more = max(batch, EVENTS_PER_FRAME) * MOST_EVENT_BYTES
        for _ in range(400 // batch):
            await talk(alice, batch)
            assert kept_for(bob) <= OUTGOING_BYTES + one_more
        assert bob.session.mode is Mode.CATCHING_UP
        bob.unstall()
        await until_idle()
        log = await world.log()
        witness.assert_nothing_wrong(log)
        witness.assert_all_is_told(log)
        assert bob.is_live
        assert bob.most_unread <= OUTGOING_BYTES + one_more


@BOTH
async def test_of_a_large_batch_a_stalled_device_keeps_a_piece_of_its_own_and_shares_the_rest(
    codec: Codec,
) -> None:
    """The frames that wait are the same objects for all; only what was written is a copy."""
    async with world_on(MemoryStore(epoch=EPOCH), rulebook_with(LIMITS)) as world:
        alice = await group_of(world, "bob", "carol")
        stalled = [world.connect(name, codec=codec) for name in ("bob", "carol")]
        witnesses = [Witness(device) for device in stalled]
        await until_idle()
        for device in stalled:
            device.stall()
        await talk(alice, 400)
        for device in stalled:
            assert device.unread <= 65_536 + MOST_EVENT_BYTES
        waiting = [device.session.pending for device in stalled]
        assert sum(map(len, waiting[0])) > 2 * 65_536
        assert all(one is other for one, other in zip(*waiting, strict=True))
        await talk(alice, 5)
        for device in stalled:
            device.unstall()
        await until_idle()
        log = await world.log()
        for witness in witnesses:
            witness.assert_nothing_wrong(log)
            witness.assert_all_is_told(log)


async def test_a_stalled_device_that_is_replaced_is_given_all_that_waited_before_the_end() -> None:
    async with world_on(MemoryStore(epoch=EPOCH), rulebook_with(LIMITS)) as world:
        alice = await group_of(world, "bob")
        bob = world.connect("bob", device_id="phone")
        await until_idle()
        bob.stall()
        await talk(alice, 400)
        world.connect("bob", device_id="phone")
        await until_idle()
        bob.unstall()
        await until_idle()
        assert bob.closed is not None
        assert bob.closed.code is CloseCode.REPLACED
        assert sum(event.kind == "message" for event in bob.events) == 400


async def test_what_is_held_for_a_device_that_catches_up_is_bounded() -> None:
    """Commits while a page is read are held for the hand-over, but not without end."""
    store = MemoryStore(epoch=EPOCH)
    async with world_on(store, rulebook_with(LIMITS)) as world:
        alice = await group_of(world, "bob")
        await talk(alice, 5)
        bob = world.connect("bob", cursor=f"{EPOCH}:1")
        witness = Witness(bob)
        session = bob.session
        session.start_holding(world.hub.position)
        await talk(alice, 100)
        assert kept_for(bob) <= OUTGOING_BYTES + MOST_EVENT_BYTES * 100
        assert sum(map(len, session.held or [])) <= OUTGOING_BYTES
        await until_idle()
        witness.assert_all_is_told(await world.log())


async def test_the_others_are_told_at_once_while_one_is_stalled() -> None:
    async with world_on(MemoryStore(epoch=EPOCH), rulebook_with(LIMITS)) as world:
        alice = await group_of(world, "bob", "carol")
        bob, carol = await world.online("bob"), await world.online("carol")
        bob.stall()
        for number in range(100):
            await alice.say("g", f"{number} " + "x" * TEXT_BYTES)
            assert carol.texts("g")[-1].startswith(f"{number} ")
            assert alice.texts("g")[-1].startswith(f"{number} ")
        assert bob.pauses == 1


async def test_two_devices_of_a_user_are_slow_each_on_its_own() -> None:
    async with world_on(MemoryStore(epoch=EPOCH), rulebook_with(LIMITS)) as world:
        alice = await group_of(world, "bob")
        slow, fast = await world.online("bob", "slow"), await world.online("bob", "fast")
        slow.stall()
        for _ in range(10):
            await talk(alice, 10)
        assert len(fast.texts("g")) == 100
        assert len(slow.texts("g")) == 0
        slow.unstall()
        await until_idle()
        assert slow.stored_events == fast.stored_events


@BOTH
async def test_a_device_that_reads_a_little_at_a_time_gets_everything(codec: Codec) -> None:
    async with world_on(MemoryStore(epoch=EPOCH), rulebook_with(LIMITS)) as world:
        alice = await group_of(world, "bob")
        bob = world.connect("bob", codec=codec)
        witness = Witness(bob)
        bob.stall()
        for _ in range(10):
            await talk(alice, 10)
            bob.read(1000)
            await until_idle()
            witness.assert_nothing_wrong(await world.log())
        while bob.unread or not bob.is_live:
            bob.read(1000)
            await until_idle()
        log = await world.log()
        witness.assert_nothing_wrong(log)
        witness.assert_all_is_told(log)


async def test_what_is_not_stored_is_dropped_for_a_slow_device_and_counted() -> None:
    async with world_on(MemoryStore(epoch=EPOCH), rulebook_with(LIMITS)) as world:
        alice = await world.online("alice")
        await alice.call("create_group", type="AVChatRoom", name="-", group_id="g")
        bob = await world.online("bob")
        await bob.call("join_group", group_id="g")
        bob.stall()
        while not bob.session.is_paused:
            await talk(alice, 1)
        before = world.hub.dropped_unstored
        await talk(alice, 10)
        assert world.hub.dropped_unstored == before + 10
        bob.unstall()
        await until_idle()
        heard = len(bob.texts("g"))
        await talk(alice, 1)
        assert len(bob.texts("g")) == heard + 1


async def test_an_unstored_message_keeps_the_cursor_and_has_no_number() -> None:
    async with world_on(MemoryStore(epoch=EPOCH)) as world:
        alice = await group_of(world)
        before = alice.cursor
        result = await alice.call("send_message", group_id="g", body=body("now"), online_only=True)
        assert "seq" not in result
        event = alice.events[-1]
        assert (event.seq, event.inbox_seq) == (None, None)
        assert alice.cursor == before


async def test_requests_of_a_paused_device_are_answered_when_it_reads_again() -> None:
    async with world_on(MemoryStore(epoch=EPOCH), rulebook_with(LIMITS)) as world:
        alice = await group_of(world, "bob")
        bob = await world.online("bob")
        bob.stall()
        await talk(alice, 40)
        assert bob.session.is_paused
        reply = bob.send("send_message", group_id="g", body=body("late"))
        await until_idle()
        assert not reply.done()
        bob.unstall()
        await until_idle()
        assert reply.done()
        assert bob.texts("g").count("late") == 1


async def test_a_stalled_device_that_is_dropped_is_forgotten() -> None:
    async with world_on(MemoryStore(epoch=EPOCH), rulebook_with(LIMITS)) as world:
        alice = await group_of(world, "bob")
        bob = await world.online("bob")
        bob.stall()
        await talk(alice, 40)
        bob.drop()
        await until_idle()
        assert world.hub.rooms.feed("bob") is None
        assert not world.catch_up._tasks


@BOTH
async def test_a_page_of_a_resume_is_within_256_events_and_256_kib(codec: Codec) -> None:
    free = {"REQUESTS_PER_S": 0, "USER_REQUESTS_PER_S": 0, "REQUESTS_IN_FLIGHT": 0}
    async with world_on(MemoryStore(epoch=EPOCH), rulebook_with(free)) as world:
        alice = await group_of(world)
        for _ in range(300):
            alice.send("send_message", group_id="g", body=body("short")).done()
        for _ in range(40):
            alice.send("send_message", group_id="g", body=body("x" * 12_000)).done()
        await until_idle()
        later = world.connect("alice", "later", codec, f"{EPOCH}:0")
        await until_idle()
        assert len(later.events) == 341
        pages = [frame for frame in later.frames if isinstance(frame, Events)]
        assert max(len(page.events) for page in pages) == 256
        assert max(later.frame_bytes) <= 256 * 1024


@BOTH
async def test_what_is_read_from_the_log_at_once_is_bounded_in_bytes_too(codec: Codec) -> None:
    """A page of large events does not all go to a peer that takes little of it."""
    frame_bytes = 4_096
    limits = LIMITS | {"EVENTS_PER_FRAME": 256, "EVENTS_FRAME_BYTES": frame_bytes}
    async with world_on(MemoryStore(epoch=EPOCH), rulebook_with(limits)) as world:
        alice = await group_of(world, "bob")
        bob = world.connect("bob", codec=codec)
        witness = Witness(bob)
        bob.stall()
        for _ in range(10):
            await talk(alice, 20)
        while bob.unread or not bob.is_live:
            bob.read(3_000)
            await until_idle()
            # It goes on when a quarter is unread, and the last frame may go over.
            assert kept_for(bob) <= OUTGOING_BYTES * 5 // 4 + frame_bytes
        log = await world.log()
        witness.assert_nothing_wrong(log)
        witness.assert_all_is_told(log)


async def test_a_resume_from_far_behind_is_bounded_in_bytes_too() -> None:
    frame_bytes = 4_096
    limits = LIMITS | {"EVENTS_PER_FRAME": 256, "EVENTS_FRAME_BYTES": frame_bytes}
    async with world_on(MemoryStore(epoch=EPOCH), rulebook_with(limits)) as world:
        alice = await group_of(world, "bob")
        for _ in range(10):
            await talk(alice, 20)
        bob = world.connect("bob", cursor=f"{EPOCH}:0")
        witness = Witness(bob)
        bob.stall()
        await until_idle()
        assert kept_for(bob) <= OUTGOING_BYTES + frame_bytes
        bob.unstall()
        await until_idle()
        witness.assert_all_is_told(await world.log())


async def test_a_device_so_slow_that_the_rest_is_gone_is_sent_away_and_told_of_the_hole() -> None:
    """It was paused within the log, and the log's beginning was let go of meanwhile."""
    store = MemoryStore(epoch=EPOCH)
    async with world_on(store, rulebook_with(LIMITS)) as world:
        alice = await group_of(world, "bob")
        bob = world.connect("bob")
        witness = Witness(bob)
        await until_idle()
        bob.stall()
        for _ in range(40):
            await talk(alice, 1)
        log = await world.log()
        assert await store.trim(SHARD, world.clock.now_ms() + 1, 40)
        bob.unstall()
        await until_idle()
        witness.assert_nothing_wrong(log)
        assert bob.closed is not None
        assert bob.closed.code is CloseCode.TOO_SLOW
        back = await world.online("bob", cursor=bob.cursor)
        assert (back.welcome.resume, back.welcome.reason) == (Resume.RESET, ResetReason.EXPIRED)
