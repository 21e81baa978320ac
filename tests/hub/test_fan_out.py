from tests.hub.oracle import Witness, assert_log_is_sound
from tests.kit.devices import World


async def test_smoke(world: World) -> None:
    alice = world.connect("alice")
    w = Witness(alice)
    bob = await world.online("bob")
    await world.settle()
    print(
        await alice.call(
            "create_group", type="Public", name="x", group_id="g", apply_join_option="FreeAccess"
        )
    )
    await bob.call("join_group", group_id="g")
    for i in range(5):
        await alice.say("g", f"{i}")
    await world.settle()
    log = await world.log()
    assert_log_is_sound(log)
    w.assert_nothing_wrong(log)
    w.assert_all_is_told(log)
    for f in bob.frames:
        print(f)
