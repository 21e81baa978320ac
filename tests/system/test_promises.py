"""The promises of ``design.md`` section 1 in small, on a real server over real sockets.

1 durable before answered, 2 exactly once, 3 every device in one order without a hole, 6 nothing
else to run; the fourth, slow and silent peers, is in ``test_bad_input.py``, and the first three
under load and kill -9 in ``test_kill.py``.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.kit.server_process import ServerProcess
from tests.kit.system_device import (
    JSON,
    MSGPACK,
    Device,
    Frame,
    Wire,
    connect_device,
    short,
    text,
)
from tests.kit.system_peer import Peer, message_bytes
from tests.system.conftest import Connect, Serve

Fresh = Callable[[str], str]


@pytest.fixture(scope="module")
def server(serve: Serve) -> ServerProcess:
    return serve()


async def create(
    device: Device, kind: str = "Public", members: Sequence[Mapping[str, str]] = ()
) -> str:
    """A new group's ID; everybody may join it where the type allows."""
    fields: Frame = {"type": kind, "name": "crew"}
    if kind not in ("Work", "AVChatRoom"):
        fields["apply_join_option"] = "FreeAccess"
    if members:
        fields["members"] = members
    result = await device.call("create_group", **fields)
    group_id: str = result["group"]["group_id"]
    return group_id


async def live(device: Device) -> Device:
    """The device once it is told of everything as it happens, stored or not."""
    group_id = await create(device)
    await device.event("group_created", group_id=group_id)
    return device


async def say(device: Device, group_id: str, words: str) -> int:
    """Send a message; returns its number."""
    result = await device.call("send_message", group_id=group_id, body=text(words))
    seq: int = result["seq"]
    return seq


def words_of(events: list[Frame]) -> list[str]:
    """The texts of the messages among the events."""
    return [
        event["data"]["body"][0]["content"]["text"]
        for event in events
        if event["event"] == "message"
    ]


async def hear(device: Device, *words: str) -> None:
    """Wait until the newest messages on the device are these."""
    await device.until(
        lambda: words_of(device.events)[-len(words) :] == list(words) or None, f"{words}"
    )


async def hear_messages(device: Device, count: int) -> None:
    """Wait until there are so many messages on the device."""
    await device.until(lambda: len(words_of(device.events)) >= count or None, f"{count} messages")


async def hear_events(device: Device, count: int) -> None:
    """Wait until there are so many events on the device."""
    await device.until(lambda: len(device.events) >= count or None, f"{count} events")


def names(events: list[Frame]) -> list[str]:
    return [event["event"] for event in events]


# Events before the reply, durable before both.


async def test_the_first_requests_events_come_before_its_reply(
    server: ServerProcess, fresh: Fresh, wire: Wire
) -> None:
    """Also when the request comes with the hello, and many connect at once."""

    async def first_words(user_id: str) -> list[str]:
        hello = {"type": "hello", "user_id": user_id, "user_sig": server.token(user_id)}
        create_request: Frame = {"type": "request", "id": "a", "method": "create_group"}
        create_request |= {"params": {"type": "Public", "name": "x"}}
        with Peer(wire) as peer:
            await peer.connect(server)
            assert await peer.handshake() == 101
            await peer.write(
                message_bytes(wire, hello | {"device_id": "d", "platform": "p"})
                + message_bytes(wire, create_request)
            )
            return [(await peer.message())["type"] for _ in range(3)]

    for _ in range(4):
        heard = await asyncio.gather(*(first_words(fresh("alice")) for _ in range(60)))
        assert {tuple(words) for words in heard} == {("welcome", "events", "reply")}


async def test_the_welcome_is_the_first_word(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    """Whatever comes with the hello, and no cursor is from before it."""
    user = fresh("alice")
    device = await connect(server, user, wire=wire)
    await create(device)
    hello = {"type": "hello", "user_id": user, "user_sig": server.token(user)}
    wrong = {"type": "request", "id": "wrong", "method": "explode"}
    read = {"type": "request", "id": "read", "method": "list_devices"}
    messages = [hello | {"device_id": "d", "platform": "p"}, wrong, {"type": "ping"}, read]
    with Peer(wire) as peer:
        await peer.connect(server)
        assert await peer.handshake() == 101
        await peer.write(b"".join(message_bytes(wire, message) for message in messages))
        frames = [await peer.message() for _ in messages]
    assert frames[0]["type"] == "welcome"
    assert sorted(frame["type"] for frame in frames[1:]) == ["pong", "reply", "reply"]
    assert {frame["cursor"] for frame in frames} == {frames[0]["cursor"]}


async def test_the_events_of_a_request_come_before_its_reply(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    device = await connect(server, alice, wire=wire)
    await device.call("create_group", type="Public", name="before")
    await device.event("group_created")
    group_id = fresh("group")
    requests: list[tuple[str, Frame, list[str]]] = [
        (
            "create_group",
            {
                "type": "Public",
                "name": "crew",
                "group_id": group_id,
                "apply_join_option": "FreeAccess",
                "members": [{"user_id": bob}],
            },
            ["group_created"],
        ),
        ("send_message", {"group_id": group_id, "body": text("hi")}, ["message"]),
        ("remove_members", {"group_id": group_id, "user_ids": [bob]}, ["member_kicked"]),
        ("disband_group", {"group_id": group_id}, ["group_disbanded"]),
        ("list_devices", {}, []),
        ("disband_group", {"group_id": group_id}, []),
    ]
    for method, params, expected in requests:
        seen = len(device.frames)
        reply = await device.request(method, **params)
        heard = device.frames[seen:]
        assert heard[-1] is reply
        assert names([e for frame in heard[:-1] for e in frame["events"]]) == expected


async def test_the_events_before_a_reply_when_many_are_in_flight(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    user = fresh("alice")
    writer = await connect(server, user, wire=wire)
    group_id = await create(writer)
    await writer.event("group_created")
    asked = [
        await writer.ask("send_message", group_id=group_id, body=text(str(n))) for n in range(60)
    ]
    for request_id in asked:
        await writer.reply(request_id)
    heard: set[int] = set()
    for frame in writer.frames:
        if frame["type"] == "events":
            heard |= {event["seq"] for event in frame["events"] if "seq" in event}
        elif frame["type"] == "reply" and "seq" in frame["result"]:
            assert frame["result"]["seq"] in heard
    # Requests that touch the same group take effect in the order in which they were sent.
    assert words_of(writer.events) == [str(n) for n in range(60)]


async def test_a_read_after_a_change_on_the_same_connection_sees_it(
    server: ServerProcess, connect: Connect, fresh: Fresh
) -> None:
    device = await connect(server, fresh("alice"))
    group_id = fresh("group")
    await device.ask("create_group", type="Work", name="x", group_id=group_id)
    listed = await device.call("list_joined_groups")
    assert [group["group_id"] for group in listed["groups"]] == [group_id]


async def test_what_was_answered_is_there_after_kill_9(
    data_directory: Path, connect: Connect
) -> None:
    with ServerProcess(data_directory) as server:
        device = await connect(server, "alice")
        group_id = await create(device)
        numbers = [await say(device, group_id, str(n)) for n in range(20)]
        server.kill()
        server.start()
        again = await connect(server, "alice")
        page = await again.call("list_messages", group_id=group_id, after_seq=0)
        assert words_of(page["events"]) == [str(n) for n in range(20)]
        assert [event["seq"] for event in page["events"]] == numbers == list(range(1, 21))


# One order.


async def test_all_devices_of_all_members_see_one_order(
    server: ServerProcess, connect: Connect, fresh: Fresh
) -> None:
    """Three users with two devices each, who all talk at once in three groups."""
    users = [fresh(name) for name in ("alice", "bob", "cem")]
    devices = [
        await connect(server, user, f"device-{n}", wire=(JSON, MSGPACK)[n])
        for user in users
        for n in range(2)
    ]
    members = [{"user_id": user} for user in users[1:]]
    groups = [await create(devices[0], kind, members=members) for kind in ("Work", "Public")]
    groups.append(await create(devices[0], "Meeting", members=members))
    count = 25

    async def talk(device: Device) -> None:
        asked = [
            await device.ask("send_message", group_id=groups[n % 3], body=text(str(n)))
            for n in range(count)
        ]
        for request_id in asked:
            assert "result" in await device.reply(request_id)

    await asyncio.gather(*(talk(device) for device in devices))
    total = count * len(devices)
    for device in devices:
        await hear_messages(device, total)
    logs = [[short(e) for e in device.events if "seq" in e] for device in devices]
    assert len(logs[0]) == total
    assert all(log == logs[0] for log in logs[1:]), "one order over all groups"
    for group_id in groups:
        numbers = [seq for _, group, seq in logs[0] if group == group_id]
        assert numbers == list(range(1, len(numbers) + 1)), "without a hole"
    for phone, laptop in zip(devices[::2], devices[1::2], strict=True):
        assert phone.events == laptop.events


async def test_a_member_sees_the_log_from_joining_to_leaving(
    server: ServerProcess, connect: Connect, fresh: Fresh
) -> None:
    alice = await connect(server, fresh("alice"))
    bob = await connect(server, fresh("bob"))
    group_id = await create(alice)
    await say(alice, group_id, "before")
    await bob.call("join_group", group_id=group_id)
    await say(alice, group_id, "during")
    page = await bob.call("list_messages", group_id=group_id, after_seq=0)
    assert [event["seq"] for event in page["events"]] == [2, 3]
    await bob.call("quit_group", group_id=group_id)
    await say(alice, group_id, "after")
    await bob.event("quit")
    await bob.settle()
    assert names(bob.events) == ["joined", "member_joined", "message", "member_quit", "quit"]
    assert (await bob.refusal("list_messages", group_id=group_id))["name"] == "NO_PERMISSION"
    assert [e["seq"] for e in alice.events if "seq" in e] == [1, 2, 3, 4, 5]


# Resume.


async def test_a_device_that_was_away_gets_the_rest(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    writer = await connect(server, alice)
    away, watching = (
        await connect(server, bob, "away", wire=wire),
        await connect(server, bob, "watching", wire=wire),
    )
    group_id = await create(writer, members=[{"user_id": bob}])
    await say(writer, group_id, "1")
    await hear(away, "1")
    await away.close()
    other_id = await create(writer, "Work", members=[{"user_id": bob}])
    for n in (2, 3):
        await say(writer, group_id, str(n))
        await say(writer, other_id, f"other {n}")
    await writer.call("remove_members", group_id=group_id, user_ids=[bob], reason="enough")
    await say(writer, group_id, "not for bob")
    back = await connect(server, bob, "away", wire=wire, cursor=away.cursor)
    assert back.frames[0]["resume"] == "resumed"
    assert back.frames[0]["cursor"] == away.cursor
    assert "reason" not in back.frames[0]
    await say(writer, other_id, "live")
    for device in (back, watching):
        await hear(device, "live")
    assert away.events + back.events == watching.events
    assert words_of(watching.events) == ["1", "2", "other 2", "3", "other 3", "live"]
    assert names(watching.events)[-3:-1] == ["member_kicked", "kicked"]


async def test_every_cursor_is_a_place_to_resume_from(
    server: ServerProcess, connect: Connect, fresh: Fresh
) -> None:
    """From the cursor of any frame, welcome, events, reply or pong, exactly the rest follows."""
    alice, bob = fresh("alice"), fresh("bob")
    writer = await connect(server, alice)
    reader = await connect(server, bob)
    group_id = await create(writer)
    await reader.call("join_group", group_id=group_id)
    for n in range(4):
        await say(writer, group_id, str(n))
        await reader.send({"type": "ping"})
        await reader.frame("pong", n + 1)
        await say(reader, group_id, f"re {n}")
    await reader.call("quit_group", group_id=group_id)
    total = reader.events
    heard = 0
    last_id = fresh("last")
    await reader.call("create_group", type="Public", name="last", group_id=last_id)
    for frame in list(reader.frames):
        heard += len(frame.get("events", ()))
        again = await connect(server, bob, "other", cursor=frame["cursor"])
        assert again.frames[0]["resume"] == "resumed"
        if heard < len(total):
            await again.event("group_created", group_id=last_id)
        await again.settle()
        assert again.events == total[heard:]
        await again.close()


async def test_resume_over_a_restart(data_directory: Path, connect: Connect, wire: Wire) -> None:
    with ServerProcess(data_directory) as server:
        alice = await connect(server, "alice", wire=wire)
        bob = await connect(server, "bob", wire=wire)
        group_id = await create(alice)
        await bob.call("join_group", group_id=group_id)
        await bob.close()
        await say(alice, group_id, "before the restart")
        server.terminate()
        assert (await alice.closing()).code == 4503
        assert await server.ended() == 0
        server.start()
        alice_again = await connect(server, "alice", wire=wire, cursor=alice.cursor)
        await say(alice_again, group_id, "after the restart")
        bob_again = await connect(server, "bob", wire=wire, cursor=bob.cursor)
        for device in (alice_again, bob_again):
            assert device.frames[0]["resume"] == "resumed"
        await hear_events(bob_again, 2)
        assert words_of(alice_again.events) == ["after the restart"]
        assert words_of(bob_again.events) == ["before the restart", "after the restart"]
        assert [event["seq"] for event in bob_again.events] == [2, 3]


async def test_resume_of_more_than_fits_a_frame(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    writer = await connect(server, alice)
    reader = await connect(server, bob, wire=wire)
    group_id = await create(writer, members=[{"user_id": bob}])
    await reader.event("invited")
    await reader.close()
    count = 300
    for start in range(0, count, 60):
        filler = "x" * (6000 if start == 60 else 5)
        asked = [
            await writer.ask("send_message", group_id=group_id, body=text(f"{n} {filler}"))
            for n in range(start, start + 60)
        ]
        for request_id in asked:
            assert "result" in await writer.reply(request_id)
    back = await connect(server, bob, wire=wire, cursor=reader.cursor)
    await hear_events(back, count)
    assert [event["seq"] for event in back.events] == list(range(1, count + 1))
    pages = [frame for frame in back.frames if frame["type"] == "events"]
    assert len(pages) >= 3
    for page in pages:
        assert len(page["events"]) <= 256
        assert len(wire.pack(page)) <= 300_000


async def test_a_resume_in_the_middle_of_a_conversation_has_no_seam(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    """A device comes back again and again while others talk; it misses nothing."""
    users = [fresh(name) for name in ("alice", "cem", "dora", "emil")]
    bob = fresh("bob")
    writers = [await connect(server, user) for user in users]
    device = await connect(server, bob, wire=wire)
    members = [{"user_id": user} for user in (bob, *users[1:])]
    group_id = await create(writers[0], members=members)
    count = 80

    async def talk(writer: Device) -> None:
        for n in range(count):
            await say(writer, group_id, f"{writer.user_id} {n}")

    talking = asyncio.gather(*(talk(writer) for writer in writers))
    told: list[Frame] = []
    while not talking.done():
        news = asyncio.create_task(device.news())
        either: list[asyncio.Future[Any]] = [news, talking]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        news.cancel()
        device.drop()
        await device.closing()
        told += device.events
        device = await connect(server, bob, wire=wire, cursor=device.cursor)
        assert device.frames[0]["resume"] == "resumed"
    await talking
    total = count * len(writers)
    await device.until(lambda: len(words_of(told + device.events)) >= total or None, "the last")
    told += device.events
    assert [event["seq"] for event in told if "seq" in event] == list(range(1, total + 1))
    for user in users:
        said = [words for words in words_of(told) if words.startswith(f"{user} ")]
        assert said == [f"{user} {n}" for n in range(count)]


UNKNOWN_CURSORS = {
    "empty": "",
    "words": "yesterday",
    "no number": "{epoch}:",
    "no epoch": ":1",
    "another epoch": "0123456789abcdef:1",
    "the future": "{epoch}:999999999",
    "far beyond 64 bits": "{epoch}:" + "9" * 100,
    "negative": "{epoch}:-1",
    "float": "{epoch}:1.5",
    "blank": "{epoch}: 1",
    "other digits": "{epoch}:\N{ARABIC-INDIC DIGIT ONE}",
    "two numbers": "{epoch}:1:1",
    "NUL": "{epoch}:1\0",
    "256 characters": "x" * 256,
    "5,000 characters": "x" * 5000,
}


@pytest.mark.parametrize("cursor", UNKNOWN_CURSORS.values(), ids=UNKNOWN_CURSORS.keys())
async def test_an_unknown_cursor_is_a_reset(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire, cursor: str
) -> None:
    user = fresh("alice")
    first = await connect(server, user, wire=wire)
    group_id = await create(first)
    assert first.cursor is not None
    epoch = first.cursor.partition(":")[0]
    assert len(first.cursor) <= 256
    device = await connect(server, user, "new", wire=wire, cursor=cursor.format(epoch=epoch))
    welcome = device.frames[0]
    assert (welcome["resume"], welcome["reason"]) == ("reset", "unknown_cursor")
    # The client reads the snapshot and goes on from the cursor of the welcome.
    listed = await device.call("list_joined_groups")
    assert [group["group_id"] for group in listed["groups"]] == [group_id]
    await say(first, group_id, "live")
    await device.event("message")
    assert words_of(device.events) == ["live"]
    again = await connect(server, user, "new", wire=wire, cursor=welcome["cursor"])
    assert again.frames[0]["resume"] == "resumed"
    await again.event("message")
    assert names(again.events) == ["message"]


async def test_a_cursor_of_another_server_is_a_reset(
    server: ServerProcess, data_directory: Path, connect: Connect, fresh: Fresh
) -> None:
    with ServerProcess(data_directory) as other:
        foreign = (await connect(other, "alice")).cursor
    device = await connect(server, fresh("alice"), cursor=foreign)
    assert device.frames[0]["reason"] == "unknown_cursor"


async def test_too_much_missed_is_a_reset(data_directory: Path, connect: Connect) -> None:
    with ServerProcess(data_directory, limits={"RESUME_EVENTS": 10}) as server:
        alice = await connect(server, "alice")
        group_id = await create(alice)
        cursor = alice.cursor
        for n in range(60):
            await say(alice, group_id, str(n))
        late = await connect(server, "alice", "late", cursor=cursor)
        assert (late.frames[0]["resume"], late.frames[0]["reason"]) == ("reset", "too_far")
        stranger = await connect(server, "bob", cursor=cursor)
        assert stranger.frames[0]["resume"] == "resumed", "nothing of it was for bob"


async def test_without_a_cursor_from_now_on(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    user = fresh("alice")
    first = await connect(server, user, wire=wire)
    group_id = await create(first)
    await say(first, group_id, "earlier")
    second = await connect(server, user, "second", wire=wire)
    assert second.frames[0]["resume"] == "fresh"
    assert "reason" not in second.frames[0]
    await say(first, group_id, "later")
    await second.event("message")
    await second.settle()
    assert words_of(second.events) == ["later"]


async def test_null_as_cursor_is_none(server: ServerProcess, fresh: Fresh, wire: Wire) -> None:
    user = fresh("alice")
    with Peer(wire) as peer:
        await peer.connect(server)
        welcome = await peer.hello(server, user, cursor=None)
    assert welcome["resume"] == "fresh"


# Exactly once.


async def test_a_repeated_request_gets_the_first_reply_and_changes_nothing(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    user = fresh("alice")
    first = await connect(server, user, "first", wire=wire)
    second = await connect(server, user, "second", wire=wire)
    group_id = await create(first)
    params = {"group_id": group_id, "body": text("once")}
    result = await first.call("send_message", request_id="the-id", **params)
    for device in (first, second, first):
        assert await device.call("send_message", request_id="the-id", **params) == result
    later = await say(first, group_id, "next")
    assert later == result["seq"] + 1
    await hear(second, "next")
    assert words_of(second.events) == ["once", "next"]


async def test_a_request_twice_in_flight_is_done_once(
    server: ServerProcess, fresh: Fresh, wire: Wire
) -> None:
    user = fresh("alice")
    create_request: Frame = {
        "type": "request",
        "id": "twice",
        "method": "create_group",
        "params": {"type": "Public", "name": "x"},
    }
    with Peer(wire) as peer, Peer(wire) as other:
        for place, connected in enumerate((peer, other)):
            await connected.connect(server)
            await connected.hello(server, user, device_id=f"device-{place}")
        await peer.write(message_bytes(wire, create_request) * 3)
        await other.write(message_bytes(wire, create_request))
        replies: list[Frame] = []
        events: list[Frame] = []
        while len(replies) < 3:
            frame = await peer.message()
            if frame["type"] == "reply":
                replies.append(frame["result"])
            else:
                events += frame["events"]
        while (frame := await other.message())["type"] != "reply":
            pass
        replies.append(frame["result"])
    assert all(reply == replies[0] for reply in replies)
    assert names(events) == ["group_created"]


async def test_other_content_under_the_same_id_is_refused(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    user = fresh("alice")
    device = await connect(server, user, wire=wire)
    other = await connect(server, user, "other", wire=wire)
    group_id = await create(device)
    await device.call("send_message", request_id="a", group_id=group_id, body=text("one"))
    for asker in (device, other):
        for method, params in (
            ("send_message", {"group_id": group_id, "body": text("two")}),
            ("quit_group", {"group_id": group_id}),
            ("disband_group", {"group_id": group_id}),
        ):
            error = await asker.refusal(method, request_id="a", **params)
            assert (error["name"], error["code"]) == ("REQUEST_ID_CONFLICT", 90001)
            assert error["retryable"] is False
    # In flight together as well.
    await device.ask("send_message", request_id="b", group_id=group_id, body=text("three"))
    await device.ask("send_message", request_id="b", group_id=group_id, body=text("four"))
    replies = [await device.reply("b"), await device.reply("b")]
    assert sorted("result" in reply for reply in replies) == [False, True]
    await hear(device, "one", "three")


async def test_the_same_content_written_otherwise_is_the_same(
    server: ServerProcess, connect: Connect, fresh: Fresh
) -> None:
    """Defaults spelled out, keys in another order, the other codec."""
    user = fresh("alice")
    device = await connect(server, user)
    other = await connect(server, user, "other", wire=MSGPACK)
    first = await device.call("create_group", request_id="a", type="Public", name="x")
    again = await other.call(
        "create_group", request_id="a", name="x", members=[], introduction="", type="Public"
    )
    assert again == first


async def test_ids_belong_to_their_user(
    server: ServerProcess, connect: Connect, fresh: Fresh
) -> None:
    devices = [await connect(server, fresh(name)) for name in ("alice", "bob")]
    results = [
        await device.call("create_group", request_id="same", type="Public", name=str(n))
        for n, device in enumerate(devices)
    ]
    assert [result["group"]["name"] for result in results] == ["0", "1"]


async def test_a_refusal_is_not_remembered(
    server: ServerProcess, connect: Connect, fresh: Fresh
) -> None:
    alice = await connect(server, fresh("alice"))
    bob = await connect(server, fresh("bob"))
    group_id = await create(alice)
    quits = {"request_id": "q", "group_id": group_id}
    assert (await bob.refusal("quit_group", **quits))["name"] == "NO_PERMISSION"
    await bob.call("join_group", group_id=group_id)
    assert await bob.call("quit_group", **quits) == {}
    assert await bob.call("quit_group", **quits) == {}, "now it is"


async def test_a_late_copy_does_not_undo_what_came_after(
    server: ServerProcess, connect: Connect, fresh: Fresh
) -> None:
    alice = await connect(server, fresh("alice"))
    bob = await connect(server, fresh("bob"))
    group_id = await create(alice)
    join = {"request_id": "j1", "group_id": group_id}
    await bob.call("join_group", **join)
    await bob.call("quit_group", request_id="q1", group_id=group_id)
    assert await bob.call("join_group", **join) == {"status": "joined"}, "the first answer"
    assert (await bob.refusal("list_members", group_id=group_id))["name"] == "NO_PERMISSION"


async def replies_to(peer: Peer, *requests: tuple[str, str, Frame]) -> list[Frame]:
    """The replies to requests of (id, method, params) that are sent in one segment."""
    sent = [
        {"type": "request", "id": request_id, "method": method, "params": params}
        for request_id, method, params in requests
    ]
    await peer.write(b"".join(message_bytes(peer.wire, request) for request in sent))
    found: dict[str, Frame] = {}
    while len(found) < len(requests):
        frame = await peer.message()
        if frame["type"] == "reply":
            found[frame["id"]] = frame
    return [found[request_id] for request_id, _, _ in requests]


async def test_a_copy_does_not_disturb_what_comes_with_it(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    """A repeated quit changes nothing, so the new quit behind it is a member's."""
    alice = await connect(server, fresh("alice"))
    group = {"group_id": await create(alice)}
    with Peer(wire) as bob:
        await bob.connect(server)
        await bob.hello(server, fresh("bob"))
        for request_id, method in (
            ("j1", "join_group"),
            ("q1", "quit_group"),
            ("j2", "join_group"),
        ):
            (reply,) = await replies_to(bob, (request_id, method, group))
            assert "result" in reply
        copy, quit_ = await replies_to(
            bob, ("q1", "quit_group", group), ("q2", "quit_group", group)
        )
    assert copy.get("result") == {}
    assert quit_.get("result") == {}, quit_
    await hear_events(alice, 5)
    tips = [name for name in names(alice.events) if name.startswith("member_")]
    assert tips == ["member_joined", "member_quit"] * 2


async def test_a_copy_does_not_change_the_order_of_what_comes_with_it(
    server: ServerProcess, fresh: Fresh, wire: Wire
) -> None:
    """Of two changes behind it the second one is stale, because it comes after the first."""
    group = {"group_id": fresh("group")}
    with Peer(wire) as alice:
        await alice.connect(server)
        await alice.hello(server, fresh("alice"))
        one, two = {"name": "one"}, {"name": "two"}
        version = 0
        for request_id, method, params in (
            ("c", "create_group", {"type": "Public", "name": "x"}),
            ("u1", "update_group", one),
            ("u2", "update_group", two),
        ):
            (reply,) = await replies_to(alice, (request_id, method, group | params))
            version = reply["result"].get("version", 1)
        copy, first, second = await replies_to(
            alice,
            ("u1", "update_group", group | one),
            ("a", "update_group", group | {"name": "first"}),
            ("b", "update_group", group | {"name": "second", "if_version": version}),
        )
        (got,) = await replies_to(alice, ("g", "get_groups", {"group_ids": [group["group_id"]]}))
    assert copy["result"]["version"] == version - 1, "the first answer"
    assert first["result"]["version"] == version + 1
    assert second.get("error", {}).get("name") == "GROUP_VERSION_CONFLICT", second
    assert got["result"]["groups"][0]["group"]["name"] == "first"


async def test_a_copy_does_not_change_the_order_in_another_group(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    """Who sends and then joins is refused and then in, whatever is repeated beside it."""
    alice = await connect(server, fresh("alice"))
    here, there = {"group_id": await create(alice)}, {"group_id": await create(alice)}
    with Peer(wire) as bob:
        await bob.connect(server)
        await bob.hello(server, fresh("bob"))
        for request_id, method in (
            ("j1", "join_group"),
            ("q1", "quit_group"),
            ("j2", "join_group"),
        ):
            (reply,) = await replies_to(bob, (request_id, method, here))
            assert "result" in reply
        copy, sent, joined = await replies_to(
            bob,
            ("q1", "quit_group", here),
            ("s", "send_message", there | {"body": text("too early")}),
            ("j3", "join_group", there),
        )
    assert copy.get("result") == {}
    assert sent.get("error", {}).get("name") == "NO_PERMISSION", sent
    assert joined["result"] == {"status": "joined"}


async def test_exactly_once_over_restarts(data_directory: Path, connect: Connect) -> None:
    with ServerProcess(data_directory) as server:
        device = await connect(server, "alice")
        created = await device.call("create_group", request_id="c", type="Public", name="x")
        group_id = created["group"]["group_id"]
        message = {"group_id": group_id, "body": text("once")}
        sent = await device.call("send_message", request_id="m", **message)
        for end in (server.kill, server.stop):
            await asyncio.to_thread(end)
            server.start()
            device = await connect(server, "alice")
            assert (
                await device.call("create_group", request_id="c", type="Public", name="x")
                == created
            )
            assert await device.call("send_message", request_id="m", **message) == sent
            error = await device.refusal(
                "send_message", request_id="m", group_id=group_id, body=text("other")
            )
            assert error["name"] == "REQUEST_ID_CONFLICT"
        assert await say(device, group_id, "next") == sent["seq"] + 1
        assert len((await device.call("list_joined_groups"))["groups"]) == 1


async def test_an_answer_that_was_lost_is_given_again(
    server: ServerProcess, connect: Connect, fresh: Fresh
) -> None:
    """The connection breaks right after the request; nobody knows whether it was done."""
    user = fresh("alice")
    names_asked = []
    for n in range(10):
        device = await connect_device(server, user)
        names_asked.append(f"group {n}")
        await device.ask("create_group", request_id=f"c{n}", type="Public", name=f"group {n}")
        device.drop()
        await device.close()
    device = await connect(server, user)
    for n in range(10):
        result = await device.call(
            "create_group", request_id=f"c{n}", type="Public", name=f"group {n}"
        )
        assert result["group"]["name"] == f"group {n}"
    listed = (await device.call("list_joined_groups"))["groups"]
    assert sorted(group["name"] for group in listed) == names_asked


# AVChatRoom: nothing is stored of who takes part.


async def test_a_dropped_connection_leaves_an_avchatroom(
    server: ServerProcess, connect: Connect, fresh: Fresh, wire: Wire
) -> None:
    alice_id, bob_id = fresh("alice"), fresh("bob")
    alice = await live(await connect(server, alice_id, wire=wire))
    room_id = await create(alice, "AVChatRoom")
    await alice.call("join_group", group_id=room_id)
    phone = await live(await connect(server, bob_id, "phone", wire=wire))
    laptop = await live(await connect(server, bob_id, "laptop", wire=wire))
    assert (await phone.call("join_group", group_id=room_id))["status"] == "joined"
    joined = await alice.event("member_joined", actor_id=bob_id)
    assert "seq" not in joined, "nothing of it is stored"
    for device in (phone, laptop):
        await device.event("member_joined", actor_id=bob_id)
    cursor = alice.cursor
    sent = await phone.call("send_message", group_id=room_id, body=text("hi"))
    assert "seq" not in sent
    for device in (alice, phone, laptop):
        await device.event("message", from_id=bob_id)
    # One device less, and bob is still here.
    phone.drop()
    await phone.closing()
    await laptop.call("send_message", group_id=room_id, body=text("still here"))
    await hear(alice, "hi", "still here")
    assert "member_quit" not in names(alice.events)
    # The last one.
    laptop.drop()
    await laptop.closing()
    quit_tip = await alice.event("member_quit", actor_id=bob_id)
    assert quit_tip["data"]["user_ids"] == [bob_id]
    assert "seq" not in quit_tip
    assert alice.cursor == cursor, "what is not stored leaves the cursor as it is"
    members = (await alice.call("list_members", group_id=room_id))["members"]
    assert [member["user_id"] for member in members] == [alice_id]
    # Whoever comes back has to join again.
    back = await live(await connect(server, bob_id, "phone", wire=wire, cursor=cursor))
    await say_refused(back, room_id)
    await back.call("join_group", group_id=room_id)
    await back.call("send_message", group_id=room_id, body=text("back"))
    await hear(back, "back")
    assert words_of(back.events) == ["back"], "what happened meanwhile is not told"


async def say_refused(device: Device, group_id: str) -> None:
    error = await device.refusal("send_message", group_id=group_id, body=text("hi"))
    assert error["name"] == "NO_PERMISSION"


async def test_an_avchatroom_outlives_its_participants_and_the_server(
    data_directory: Path, connect: Connect
) -> None:
    with ServerProcess(data_directory) as server:
        alice = await connect(server, "alice")
        bob = await connect(server, "bob")
        room_id = await create(alice, "AVChatRoom")
        await bob.call("join_group", group_id=room_id)
        server.kill()
        server.start()
        alice = await connect(server, "alice", cursor=alice.cursor)
        bob = await connect(server, "bob", cursor=bob.cursor)
        profile = (await alice.call("get_groups", group_ids=[room_id]))["groups"][0]["group"]
        assert profile["type"] == "AVChatRoom"
        await say_refused(bob, room_id)
        await bob.call("join_group", group_id=room_id)
        await bob.call("send_message", group_id=room_id, body=text("hi"))
        assert alice.frames[0]["resume"] == bob.frames[0]["resume"] == "resumed"


async def test_a_dropped_connection_leaves_nothing_else(
    server: ServerProcess, connect: Connect, fresh: Fresh
) -> None:
    alice = await connect(server, fresh("alice"))
    bob_id = fresh("bob")
    bob = await connect(server, bob_id)
    group_ids = [await create(alice, kind) for kind in ("Public", "Meeting")]
    for group_id in group_ids:
        await bob.call("join_group", group_id=group_id)
    bob.drop()
    await bob.closing()
    back = await connect(server, bob_id, cursor=bob.cursor)
    listed = (await back.call("list_joined_groups"))["groups"]
    assert [group["group_id"] for group in listed] == group_ids
    await alice.settle()
    assert "member_quit" not in names(alice.events)


async def test_online_only_is_not_stored(
    server: ServerProcess, connect: Connect, fresh: Fresh
) -> None:
    alice, bob_id = await connect(server, fresh("alice")), fresh("bob")
    bob = await connect(server, bob_id)
    group_id = await create(alice, members=[{"user_id": bob_id}])
    await bob.event("invited")
    cursor = bob.cursor
    sent = await alice.call(
        "send_message", group_id=group_id, body=text("typing..."), online_only=True
    )
    assert "seq" not in sent
    event = await bob.event("message")
    assert "seq" not in event
    assert event["message_id"] == sent["message_id"]
    assert bob.cursor == cursor
    assert await say(alice, group_id, "stored") == 1
    back = await connect(server, bob_id, "other", cursor=cursor)
    await back.event("message")
    assert words_of(back.events) == ["stored"]
