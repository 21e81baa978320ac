"""What must be true of a ``crash_load`` at its end, whatever was done to the server meanwhile.

- Everything that was answered, and everything that was asked again, is in the logs exactly once,
  at the number that the answer said.
- Group logs and inboxes are numbered without holes.
- Every device, resumed by its cursor each time, has got exactly the events that its user may see,
  each once, and all of them in one order.
"""

from collections import Counter

from tests.kit.crash_load import COMERS, GROUPS, OWNER, Load, User
from tests.kit.system_device import Device, Frame, text


def texts(events: list[Frame]) -> list[str]:
    """The words by which each message of the load is known."""
    return [
        event["data"]["body"][0]["content"]["text"].split(" ")[0]
        for event in events
        if event["event"] == "message"
    ]


async def whole_log(device: Device, group_id: str) -> list[Frame]:
    """All entries of a group's log."""
    entries: list[Frame] = []
    has_more = True
    while has_more:
        after_seq = entries[-1]["seq"] if entries else 0
        page = await device.call("list_messages", group_id=group_id, after_seq=after_seq)
        entries += page["events"]
        has_more = page["has_more"]
    return entries


async def read_all(load: Load) -> dict[str, list[Frame]]:
    """End the load with a word in each group and wait for it on every device; then the logs."""
    owner = load.users[0].gadgets[0].live
    for user in load.users[4:]:
        await user.gadgets[0].live.call("create_group", group_id=f"end-{user.user_id}", **LAST)
    for group_id in GROUPS:
        await owner.call("send_message", group_id=group_id, body=text("the end"))
    for user in load.users[:4]:
        for gadget in user.gadgets:
            await hear_the_end(gadget.live)
    for user in load.users[4:]:
        for gadget in user.gadgets:
            await gadget.live.event("group_created", group_id=f"end-{user.user_id}")
    return {group_id: await whole_log(owner, group_id) for group_id in GROUPS}


LAST = {"type": "Public", "name": "the end"}


async def hear_the_end(device: Device) -> None:
    """Wait for the last word in each group, on a device that hears them all."""

    def heard() -> bool | None:
        last = {event["group_id"] for event in device.events[-50:] if texts([event]) == ["the"]}
        return last == set(GROUPS) or None

    await device.until(heard, "last words")


def check_answers(load: Load, logs: dict[str, list[Frame]]) -> None:
    """What was answered is in the logs, once, where the answer said."""
    for group_id, log in logs.items():
        assert [entry["seq"] for entry in log] == list(range(1, len(log) + 1)), "no hole"
        said = Counter(texts(log))
        said.pop("the")
        assert set(said.values()) <= {1}, "nothing is there twice"
        wanted = {
            request_id: user.answers[request_id]["seq"]
            for user in load.users
            for request_id, (method, params) in user.asked.items()
            if method == "send_message" and params["group_id"] == group_id
        }
        found = {words: e["seq"] for e in log for words in texts([e]) if words != "the"}
        assert found == wanted
    for user in load.users:
        assert user.unanswered() == []
        for request_id, (method, params) in user.asked.items():
            answer = user.answers[request_id]
            if method == "invite_members":
                guest = params["user_ids"][0]
                assert answer["members"] == [{"user_id": guest, "result": "added"}]
                invited = [e for e in logs["work"] if guest in e["data"].get("user_ids", ())]
                assert len(invited) == 1
            elif method == "join_group":
                assert answer == {"status": "joined"}


def check_devices(load: Load, logs: dict[str, list[Frame]]) -> None:
    """Every device has what its user may see: each event once, all in one order."""
    orders: list[list[tuple[str, int]]] = []
    for user in load.users:
        phone, laptop = user.gadgets
        assert phone.told == laptop.told, "both devices were told the same in the same order"
        inbox = [event for event in phone.told if "inbox_seq" in event]
        assert [event["inbox_seq"] for event in inbox] == list(range(1, len(inbox) + 1))
        created = Counter(e["group_id"] for e in inbox if e["event"] == "group_created")
        wanted = {
            params["group_id"] for method, params in user.asked.values() if method == "create_group"
        }
        extra = set(GROUPS) if user.user_id == OWNER else {f"end-{user.user_id}"}
        assert created.keys() - extra == wanted
        assert set(created.values()) <= {1}
        if user.user_id in COMERS:
            check_comer(user, logs["public"])
            continue
        for group_id, log in logs.items():
            assert [e for e in phone.told if "seq" in e and e["group_id"] == group_id] == log
        orders.append([(e["group_id"], e["seq"]) for e in phone.told if "seq" in e])
    assert all(order == orders[0] for order in orders), "one order over all logs and users"


def check_comer(user: User, log: list[Frame]) -> None:
    """Who joins and quits sees the log from each joining up to each quitting, both included."""
    expected: list[Frame] = []
    is_in = False
    for entry in log:
        concerns_user = user.user_id in entry["data"].get("user_ids", ())
        if concerns_user and entry["event"] == "member_joined":
            assert not is_in, "nobody joins twice"
            is_in = True
        if is_in:
            expected.append(entry)
        if concerns_user and entry["event"] == "member_quit":
            assert is_in
            is_in = False
    assert [e for e in user.gadgets[0].told if "seq" in e] == expected
    joins = sum(method == "join_group" for method, _ in user.asked.values())
    assert (
        sum(e["event"] == "member_joined" and user.user_id in e["data"]["user_ids"] for e in log)
        == joins
    )
