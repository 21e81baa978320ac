"""Whatever the operator says becomes of tips, members stay who they are and hear what is theirs."""

from typing import Any

import pytest

from protocol.limits import default_limits
from server.domain.overrides import configured_rulebook
from server.domain.rules import Rulebook
from server.storage.memory import MemoryStore
from tests.hub.oracle import Witness
from tests.kit.devices import EPOCH, Device, World, world_on

EVERY_POLICY = pytest.mark.parametrize("policy", ["stored", "pushed", "off"])


def rules(group_type: str, policy: str) -> Rulebook:
    """The rules with one cell changed; a cell that the configuration refuses is fine too."""
    try:
        return configured_rulebook(
            limits=default_limits(),
            types={group_type: {"traits": {"membership_tips": policy}}},
            group_fields={},
            member_fields={},
        )
    except ValueError as error:
        pytest.skip(f"refused: {error}")


async def group(world: World, group_type: str) -> tuple[Device, str]:
    alice = await world.online("alice")
    group_id = "@TGS#_g" if group_type == "Community" else "g"
    options: dict[str, Any] = {"apply_join_option": "FreeAccess", "group_id": group_id}
    await alice.call("create_group", type=group_type, name="-", **options)
    return alice, group_id


@EVERY_POLICY
@pytest.mark.parametrize("group_type", ["Public", "Meeting", "Community"])
async def test_a_stored_member_stays_one_without_a_connection(group_type: str, policy: str) -> None:
    async with world_on(MemoryStore(epoch=EPOCH), rules(group_type, policy)) as world:
        alice, group_id = await group(world, group_type)
        bob = world.connect("bob")
        witness = Witness(bob)
        await world.settle()
        await bob.call("join_group", group_id=group_id)
        await bob.say(group_id, "here")
        bob.drop()
        await world.settle()
        again = await world.online("bob", cursor=bob.cursor)
        await alice.say(group_id, "hello")
        await world.settle()
        assert again.texts(group_id) == ["hello"]
        await again.call("quit_group", group_id=group_id)
        await alice.say(group_id, "gone")
        await world.settle()
        assert again.texts(group_id) == ["hello"]
        witness.assert_nothing_wrong(await world.log())


@EVERY_POLICY
async def test_who_takes_part_in_a_room_does_so_until_the_connection_ends(policy: str) -> None:
    async with world_on(MemoryStore(epoch=EPOCH), rules("AVChatRoom", policy)) as world:
        alice, group_id = await group(world, "AVChatRoom")
        bob = await world.online("bob")
        await bob.call("join_group", group_id=group_id)
        await bob.say(group_id, "here")
        assert bob.texts(group_id) == ["here"]
        bob.drop()
        await world.settle()
        again = await world.online("bob", cursor=bob.cursor)
        await alice.say(group_id, "gone")
        assert again.texts(group_id) == []
        await again.call("join_group", group_id=group_id)
        await again.call("quit_group", group_id=group_id)
        await alice.say(group_id, "gone again")
        assert again.texts(group_id) == []
