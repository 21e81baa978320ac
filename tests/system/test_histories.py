"""What became of the data while the server was away: nothing, a copy put back, a clock put back."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.kit.server_process import ServerProcess
from tests.kit.system_device import Device, Frame, text
from tests.system.conftest import Connect


async def say(device: Device, count: int) -> None:
    for n in range(count):
        await device.call("send_message", group_id="g", body=text(str(n)))


def seqs(device: Device) -> list[int]:
    return [event["seq"] for event in device.events if event["event"] == "message"]


def how(device: Device) -> tuple[str, str | None]:
    welcome = device.frames[0]
    return welcome["resume"], welcome.get("reason")


RESUMED = ("resumed", None)
RESET = ("reset", "unknown_cursor")


async def talkers(server: ServerProcess, connect: Connect) -> tuple[Device, Device]:
    """alice and bob, in a group in which 5 messages were said."""
    alice = await connect(server, "alice")
    bob = await connect(server, "bob")
    members: list[Frame] = [{"user_id": "bob"}]
    await alice.call("create_group", type="Work", name="g", group_id="g", members=members)
    await say(alice, 5)
    await hear(bob, 1, 5)
    return alice, bob


async def hear(device: Device, first: int, last: int) -> None:
    """It gets these messages, and no others."""
    await device.until(lambda: last in seqs(device) or None, f"message {last}")
    assert seqs(device) == list(range(first, last + 1))


@pytest.mark.parametrize("is_killed", [True, False])
async def test_over_restarts_devices_resume_by_whatever_cursor_they_have(
    data_directory: Path, connect: Connect, is_killed: bool
) -> None:
    with ServerProcess(data_directory) as server:
        alice, bob = await talkers(server, connect)
        cursors, heard = [bob.cursor], 5
        for _ in range(3):
            if is_killed:
                server.kill()
            else:
                server.terminate()
                assert await server.ended() == 0
            server.start()
            alice = await connect(server, "alice", cursor=alice.cursor)
            assert how(alice) == RESUMED
            await say(alice, 2)
            heard += 2
            for n, cursor in enumerate(cursors):
                device = await connect(server, "bob", f"d{n}", cursor=cursor)
                assert how(device) == RESUMED
                await hear(device, 6 + 2 * n, heard)
            cursors.append(alice.cursor)
        server.assert_sound()


async def test_whoever_saw_what_a_restored_copy_lacks_is_reset_for_ever(
    data_directory: Path, connect: Connect
) -> None:
    copy = data_directory.with_name("copy")
    with ServerProcess(data_directory) as server:
        alice, bob = await talkers(server, connect)
        before = bob.cursor
        shutil.copytree(data_directory, copy)
        await say(alice, 4)
        await bob.until(lambda: 9 in seqs(bob) or None, "the ninth")
        beyond = bob.cursor
        server.kill()
        server.start()
        alice = await connect(server, "alice")
        await say(alice, 1)
        later = alice.cursor

        server.kill()
        shutil.rmtree(data_directory)
        copy.rename(data_directory)
        server.start()
        heard = 5
        for _ in range(3):
            for n, cursor in enumerate((beyond, later)):
                assert how(await connect(server, "bob", f"lost{n}", cursor=cursor)) == RESET
            alice = await connect(server, "alice")
            # The log grows past both cursors.
            await say(alice, 8)
            heard += 8
            for n, cursor in enumerate((beyond, later)):
                assert how(await connect(server, "bob", f"lost{n}", cursor=cursor)) == RESET
            kept = await connect(server, "bob", "kept", cursor=before)
            assert how(kept) == RESUMED
            await hear(kept, 6, heard)
            server.kill()
            server.assert_sound()
            server.start()


async def test_a_cursor_of_another_user_is_a_place_and_no_right(
    data_directory: Path, connect: Connect
) -> None:
    with ServerProcess(data_directory) as server:
        _, bob = await talkers(server, connect)
        at_first = bob.frames[0]["cursor"]
        server.kill()
        server.start()
        zoe = await connect(server, "zoe", cursor=at_first)
        assert how(zoe) == RESUMED
        await zoe.settle()
        assert zoe.events == []
        own = await connect(server, "alice", cursor=at_first)
        await hear(own, 1, 5)


async def test_times_do_not_go_back_when_the_machines_clock_was_put_back(
    data_directory: Path, connect: Connect
) -> None:
    ahead_ms = 3_600_000
    with ServerProcess(data_directory) as server:
        alice, _ = await talkers(server, connect)
        now_ms = alice.frames[0]["server_time_ms"]
        server.kill()
        with closing(sqlite3.connect(data_directory / "muster.db")) as connection, connection:
            connection.execute(
                "UPDATE entry SET body = json_set(body, '$.time_ms', ?)"
                " WHERE position = (SELECT max(position) FROM entry)",
                (now_ms + ahead_ms,),
            )
        server.start()
        await server.logged("behind the newest entry")
        alice = await connect(server, "alice", cursor=alice.cursor)
        assert how(alice) == RESUMED
        assert alice.frames[0]["server_time_ms"] == now_ms + ahead_ms
        reply = await alice.call("send_message", group_id="g", body=text("x"))
        assert reply["time_ms"] == now_ms + ahead_ms
