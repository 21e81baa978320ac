"""What requests look like, as the tests of those that are asked and those that are told expect it."""

from protocol.callbacks import CALLBACKS, CallbackKind
from tests.kit.devices import Device, World
from tests.kit.fakes import NOON_MS
from tests.kit.receivers import ScriptedReceiver

NOW = str(NOON_MS)
BEFORE = {name for name, spec in CALLBACKS.items() if spec.kind is CallbackKind.BEFORE}
STATE = "State.StateChange"


def account(*user_ids: str) -> list[dict[str, str]]:
    """A list of users."""
    return [{"Member_Account": user_id} for user_id in user_ids]


def group_callback(name: str, **fields: object) -> dict[str, object]:
    """A request of that name, which is given without what all have."""
    return {"CallbackCommand": f"Group.Callback{name}", "EventTime": NOW, **fields}


def text_message(text: str, **fields: object) -> dict[str, object]:
    """What all requests about a message of alice's say of it."""
    return {
        "From_Account": "alice",
        "Operator_Account": "alice",
        "OnlineOnlyFlag": 0,
        "MsgBody": [{"MsgType": "TIMTextElem", "MsgContent": {"Text": text}}],
        "CloudCustomData": "c",
        **fields,
    }


async def group_of(
    world: World, receiver: ScriptedReceiver, *members: str, kind: str = "Public"
) -> Device:
    """Alice's group g with its members; nothing was asked or told of it any more."""
    alice = await world.online("alice")
    initial = [{"user_id": user_id} for user_id in members]
    await alice.call("create_group", type=kind, name="-", group_id="g", members=initial)
    await world.deliver()
    receiver.calls.clear()
    return alice
