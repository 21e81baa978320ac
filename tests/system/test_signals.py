"""A server that stands still, peers that say nothing, and ends under load.

Faults F14, F15 and F19 of ``reliability.md``. Heartbeats are short here, so that two of them are.
"""

import asyncio
import random
import signal
from pathlib import Path

import pytest

from protocol import client as sdk
from protocol.commands import InitialMember
from protocol.messages import text_body
from protocol.vocabulary import GroupType
from tests.kit.crash_load import UNLIMITED, Load
from tests.kit.crash_oracle import check_answers, check_devices, read_all
from tests.kit.faults import SYNC, Faults
from tests.kit.server_process import ServerProcess
from tests.kit.system_device import PATIENCE_S, connect_device
from tests.kit.system_peer import PING, PONG, Peer, frame_bytes
from tests.system.conftest import Connect
from tests.system.test_command_line import locked_database

HEARTBEAT_MS = 250
SEED = 20_251_125
MESSAGES = 40


async def test_a_server_that_stands_still_is_left_and_nothing_is_lost_or_double(
    data_directory: Path,
) -> None:
    """SIGSTOP for as long as it takes the clients to notice; then SIGCONT."""
    with ServerProcess(data_directory, limits={"HEARTBEAT_MS": HEARTBEAT_MS}) as server:

        def client(user_id: str) -> sdk.Client:
            sig = server.token(user_id)
            return sdk.connect(server.ws, user_id, sig, device_id="d", open_timeout_s=1)

        async with asyncio.timeout(3 * PATIENCE_S), client("alice") as alice, client("bob") as bob:
            await alice.create_group(
                GroupType.PUBLIC, "g", group_id="g", members=[InitialMember(user_id="bob")]
            )
            heard: list[str] = []
            parted = asyncio.Event()
            listening = asyncio.create_task(listen(bob, heard, parted))
            server.signal(signal.SIGSTOP)
            calls = [
                asyncio.create_task(alice.send_message("g", text_body(str(number))))
                for number in range(MESSAGES)
            ]
            await parted.wait()
            server.signal(signal.SIGCONT)
            results = await asyncio.gather(*calls)
            await listening
        assert heard == [str(number) for number in range(MESSAGES)]
        assert [result.seq for result in results] == list(range(1, MESSAGES + 1))
        assert server.trouble() == []


async def listen(client: sdk.Client, heard: list[str], parted: asyncio.Event) -> None:
    """Keep the texts that come, until the last one; set ``parted`` when the connection is lost."""
    async for item in client.events():
        if isinstance(item, sdk.Disconnected):
            parted.set()
        elif isinstance(item, sdk.Event) and item.event == "message":
            heard.append(item.data["body"][0]["content"]["text"])
            if len(heard) == MESSAGES:
                return


async def test_a_peer_that_answers_no_ping_is_ended_and_one_that_does_is_not(
    data_directory: Path,
) -> None:
    """F14: what is behind a broken network looks like this. Its device can come back at once."""
    with (
        ServerProcess(data_directory, limits={"HEARTBEAT_MS": HEARTBEAT_MS}) as server,
        Peer() as mute,
        Peer() as lively,
    ):
        await (await mute.connect(server)).hello(server, "alice")
        await (await lively.connect(server)).hello(server, "bob")
        ending = asyncio.create_task(mute.rest())
        pings = 0
        while not ending.done() or pings < 4:
            frame = await lively.frame()
            assert frame is not None
            assert frame.opcode == PING
            await lively.write(frame_bytes(PONG, frame.payload))
            pings += 1
        assert {frame.opcode for frame in ending.result()} == {PING}
        again = await connect_device(server, "alice", "peer-1")
        listed = await again.call("list_devices")
        assert len(listed["devices"]) == 1
        await again.close()
        assert server.trouble() == []


@pytest.mark.slow
async def test_sigterm_under_load_loses_nothing(data_directory: Path) -> None:
    """F19. What was taken is answered; the rest is asked again at the next server."""
    with ServerProcess(data_directory, limits=UNLIMITED) as server:
        load = Load(server, random.Random(SEED))
        await load.connect()
        await load.create_groups()
        for _ in range(3):
            await load.run_until(60)
            server.terminate()
            await load.after_the_end()
            assert await server.ended() == 0
            assert server.trouble() == []
            server.assert_sound()
            server.start()
            await load.connect()
            await load.catch_up_with_answers()
        logs = await read_all(load)
        server.terminate()
        await asyncio.gather(*(gadget.harvest() for gadget in load.gadgets))
        assert await server.ended() == 0
    check_answers(load, logs)
    check_devices(load, logs)


async def test_a_second_signal_ends_the_drain_at_once(
    data_directory: Path, connect: Connect
) -> None:
    """F19. With status 1; who was not answered asks again, and it is done once."""
    with ServerProcess(data_directory, limits={"DRAIN_MS": 60_000}) as server:
        alice = await connect(server, "alice")
        with locked_database(server.data) as let_go:
            await alice.ask("create_group", request_id="r", type="Public", name="x")
            await alice.send({"type": "ping"})
            await alice.frame("pong")
            server.terminate()
            await server.logged("draining")
            server.terminate()
            assert (await alice.closing()).bye is None, "nothing more was said"
            let_go()
        assert await server.ended() == 1
        server.start()
        again = await connect(server, "alice")
        await again.call("create_group", request_id="r", type="Public", name="x")
        assert len((await again.call("list_joined_groups"))["groups"]) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("shim")
async def test_a_disk_that_hangs_does_not_hold_up_the_end(
    data_directory: Path, connect: Connect
) -> None:
    """F18, F19. A sync that does not come back: the end comes all the same, with status 1."""
    faults = Faults(data_directory)
    limits = {"DRAIN_MS": 200}
    with ServerProcess(data_directory, limits=limits, env=faults.env) as server:
        alice = await connect(server, "alice")
        faults.set(SYNC, delay_ms=60_000)
        await alice.ask("create_group", request_id="r", type="Public", name="x")
        await alice.send({"type": "ping"})
        await alice.frame("pong")
        server.terminate()
        assert (await alice.closing()).code == 4503
        assert await server.ended() == 1
        faults.clear()
        server.start()
        again = await connect(server, "alice")
        await again.call("create_group", request_id="r", type="Public", name="x")
        assert len((await again.call("list_joined_groups"))["groups"]) == 1
