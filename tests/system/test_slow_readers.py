"""A hundred peers that stop reading, over real sockets: what the server keeps, and who waits."""

import contextlib
from pathlib import Path
from typing import Final

from scripts.common.process import resident_bytes
from tests.kit.server_process import ServerProcess
from tests.kit.system_device import JSON, Device, Frame, text
from tests.kit.system_peer import CLOSE, TEXT, Peer
from tests.system.conftest import Connect

STALLED: Final = 100
MESSAGES: Final = 240
WORDS: Final = "x" * 8_000
UNREAD_BYTES: Final = STALLED * MESSAGES * len(WORDS)
LIMITS: Final = {
    "REQUESTS_PER_S": 0,
    "USER_REQUESTS_PER_S": 0,
    "OUTGOING_BYTES": 16_384,
    "EVENTS_FRAME_BYTES": 32_768,
}


async def stalled_peers(
    stack: contextlib.ExitStack, server: ServerProcess, writer: Device
) -> list[Peer]:
    """Members of the writer's group that have been welcomed, and then read nothing."""
    names = [f"stalled-{number}" for number in range(STALLED)]
    members = [{"user_id": name} for name in names]
    await writer.call(
        "create_group",
        type="Public",
        name="-",
        group_id="g",
        apply_join_option="FreeAccess",
        members=members,
    )
    peers = []
    for name in names:
        peer = stack.enter_context(Peer())
        peer.stay_small()
        await peer.connect(server)
        await peer.hello(server, name)
        peers.append(peer)
    return peers


async def flood(writer: Device) -> None:
    for start in range(0, MESSAGES, 40):
        asked = [
            await writer.ask("send_message", group_id="g", body=text(f"{number:05d}{WORDS}"))
            for number in range(start, start + 40)
        ]
        for request_id in asked:
            assert "result" in await writer.reply(request_id)


def numbers(events: list[Frame]) -> list[int]:
    """Which of the flood's messages are among the events."""
    return [
        int(event["data"]["body"][0]["content"]["text"][:5])
        for event in events
        if event["kind"] == "message"
    ]


async def read_on(peer: Peer, until_seq: int) -> list[Frame]:
    """All events that come, up to the one of the group with this number."""
    events: list[Frame] = []
    while not events or events[-1].get("seq") != until_seq:
        message = await peer.message()
        events += message.get("events", [])
    return events


async def test_a_hundred_stalled_peers_cost_little_and_get_everything_once_they_read(
    data_directory: Path, connect: Connect
) -> None:
    limits = LIMITS | {"SILENCE_MS": 0}
    with ServerProcess(data_directory, limits=limits) as server, contextlib.ExitStack() as stack:
        writer = await connect(server, "writer")
        peers = await stalled_peers(stack, server, writer)
        fast = [await connect(server, f"fast-{number}") for number in range(2)]
        for device in fast:
            await device.call("join_group", group_id="g")
        before = resident_bytes(server.pid)
        await flood(writer)
        for device in (writer, *fast):
            await device.settle()
            assert numbers(device.events) == list(range(MESSAGES))
        grown = resident_bytes(server.pid) - before
        assert grown < UNREAD_BYTES / 8, f"{grown:,} of {UNREAD_BYTES:,} unread bytes"

        last_seq = max(event.get("seq", 0) for event in writer.events)
        for peer in peers[::5]:
            events = await read_on(peer, last_seq)
            logged = [event for event in events if "seq" in event]
            assert numbers(logged) == list(range(MESSAGES))
            assert [event["seq"] for event in logged] == list(range(1, last_seq + 1))
        assert resident_bytes(server.pid) - before < UNREAD_BYTES / 8


async def test_a_hundred_peers_that_never_read_on_are_closed_4408(
    data_directory: Path, connect: Connect
) -> None:
    limits = LIMITS | {"SILENCE_MS": 700, "SLOW_CLOSE_MS": 5_000}
    with ServerProcess(data_directory, limits=limits) as server, contextlib.ExitStack() as stack:
        writer = await connect(server, "writer")
        peers = await stalled_peers(stack, server, writer)
        # A room shows who is there: whoever loses the connection is out of it.
        await writer.call("create_group", type="AVChatRoom", name="-", group_id="room")
        for number, peer in enumerate(peers):
            join = {"type": "request", "id": f"j{number}", "method": "join_group"}
            await peer.send(join | {"params": {"group_id": "room"}})
            while (await peer.message())["type"] != "reply":
                pass
        await flood(writer)
        gone: set[str] = set()

        def all_are_gone() -> bool | None:
            gone.update(
                user_id
                for event in writer.events
                if event["event"] == "member_quit" and event["group_id"] == "room"
                for user_id in event["data"]["user_ids"]
            )
            return True if len(gone) == STALLED else None

        await writer.until(all_are_gone, "member_quit of everybody")
        for peer in peers[::10]:
            frames = await peer.rest()
            assert (frames[-1].opcode, frames[-1].close_code) == (CLOSE, 4408)
            said = [JSON.unpack(frame.payload) for frame in frames if frame.opcode == TEXT]
            given = [event for message in said for event in message.get("events", ())]
            told = numbers(given)
            assert told == list(range(len(told))), "what it was given is without a hole"
