from tests.hub.oracle import Witness, assert_log_is_sound
from tests.kit.devices import World


async def test_a_member_is_told_all_of_the_log_from_the_join_on(world: World) -> None:
    alice = world.connect("alice")
    of_alice = Witness(alice)
    bob = await world.online("bob")
    await world.settle()
    await alice.call(
        "create_group", type="Public", name="x", group_id="g", apply_join_option="FreeAccess"
    )
    await alice.say("g", "before bob")
    await bob.call("join_group", group_id="g")
    for number in range(5):
        await alice.say("g", f"{number}")
    await world.settle()
    log = await world.log()
    assert_log_is_sound(log)
    of_alice.assert_nothing_wrong(log)
    of_alice.assert_all_is_told(log)
    seqs = [event.seq for event in bob.events if event.seq]
    assert seqs == [2, 3, 4, 5, 6, 7]


async def test_one_encoding_serves_all_devices_of_a_codec(world: World) -> None:
    devices = [await world.online("alice", f"d{number}") for number in range(3)]
    await world.settle()
    await devices[0].call("create_group", type="Public", name="x", group_id="g")
    await world.settle()
    told = [device.events for device in devices]
    assert told[0] == told[1] == told[2]
    assert [event.event for event in told[0]] == ["group_created"]
