"""Storage that fails under clients: never a lie, nothing half applied, and on again when it can.

Faults F1, F3, F4, F5, F7, F18 and F27 of ``reliability.md``; ``scripts/faults`` sweeps them.
"""

import errno
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.kit.crash_load import UNLIMITED
from tests.kit.fault_storm import Harm, storm
from tests.kit.faults import (
    KILL_AFTER,
    KILL_BEFORE,
    KILL_HALFWAY,
    SYNC,
    TRUNCATE,
    WRITE,
    Faults,
)
from tests.kit.server_process import ServerProcess
from tests.kit.system_device import Device, Frame, connect_device, text
from tests.system.conftest import Connect

SEED = 20_251_125

needs_shim = pytest.mark.usefixtures("shim")

# The shim itself.


@needs_shim
async def test_the_servers_sqlite_goes_through_the_shim(data_directory: Path) -> None:
    """Each commit is seen: its pages are written to the log, and the log is synced."""
    faults = Faults(data_directory, trace=True)
    with ServerProcess(data_directory, env=faults.env) as server:
        device = await connect_device(server, "alice")
        await device.call("create_group", type="Public", name="x")
        before = {kind: faults.seen(kind) for kind in (SYNC, WRITE)}
        await device.call("create_group", type="Public", name="y")
        assert faults.seen(SYNC) == before[SYNC] + 1
        assert faults.seen(WRITE) >= before[WRITE] + 2
        last = list(faults.trace())[-3:]
        assert [(change.kind, change.name) for change in last] == [
            (WRITE, "muster.db-wal"),
            (WRITE, "muster.db-wal"),
            (SYNC, "muster.db-wal"),
        ]
        assert len(last[1].data) == 4096
        assert faults.seen(TRUNCATE) > 0, "the lock file"
        await device.close()


# One fault after the other, under load.


@pytest.mark.slow
@needs_shim
async def test_a_failing_sync_ends_the_process_and_the_restart_tells_the_truth(
    data_directory: Path,
) -> None:
    """F3. With kill -9 in between the refused commit may be there, which is no less true."""
    harms = [
        Harm(SYNC, errno.EIO, after=0),
        Harm(SYNC, errno.EIO, after=3, times=1),
        Harm(SYNC, errno.EIO, after=1, times=1, is_killed_at_doubt=True),
        Harm(SYNC, errno.ENOSPC, after=2),
    ]
    found = await storm(data_directory, SEED, harms)
    for name, status in (("EIO at sync", 1), ("ENOSPC at sync", 1), ("EIO at sync, then kill", -9)):
        # A refusal that could not be checked for a repeat is UNAVAILABLE.
        ends = {end.removesuffix(" UNAVAILABLE") for end in found.table[name]}
        assert ends == {f"ended {status} OUTCOME_UNKNOWN"}
    assert found.restarts == len(harms)


@needs_shim
async def test_after_a_failing_sync_nothing_is_acknowledged(
    data_directory: Path, connect: Connect
) -> None:
    """F3. Also when the next sync would succeed: the kernel may have dropped what it could not write."""
    faults = Faults(data_directory)
    with ServerProcess(data_directory, limits=UNLIMITED, env=faults.env) as server:
        alice, bob = await connect(server, "alice"), await connect(server, "bob")
        await alice.call("create_group", type="Public", group_id="g", name="g", **BOB)
        await bob.settle()
        heard = len(bob.events)
        faults.set(SYNC, errno.EIO, times=1)
        for number in range(60):
            request = {"type": "request", "id": f"r{number}", "method": "send_message"}
            await alice.send_unless_closed(request | {"params": message(number)})
        await alice.closing()
        await bob.closing()
        answers = [reply for reply in alice.replies() if reply["id"].startswith("r")]
        assert {answer["error"]["name"] for answer in answers} == {"OUTCOME_UNKNOWN"}
        assert len(bob.events) == heard, "nor is anybody told"
        assert await server.ended(5) == 1


@pytest.mark.slow
@needs_shim
async def test_a_failing_write_is_survived_or_ends_the_process(data_directory: Path) -> None:
    """F4, F5, F27. A full disk is told from one that may have taken what it refused."""
    harms = [
        Harm(WRITE, number, after=after, times=times)
        for number in (errno.ENOSPC, errno.EIO, errno.EROFS)
        for after, times in ((0, 1), (5, None))
    ]
    found = await storm(data_directory, SEED, harms)
    assert found.table["ENOSPC at write"] == {"served on UNAVAILABLE": 2}
    for name in ("EIO at write", "EROFS at write"):
        assert found.table[name] == {"ended 1 OUTCOME_UNKNOWN": 2}


@pytest.mark.slow
@needs_shim
async def test_dying_at_any_point_of_a_commit(data_directory: Path) -> None:
    """F1, at calls that a kill from outside seldom meets."""
    harms = [
        *(Harm(WRITE, way, after=5) for way in (KILL_BEFORE, KILL_HALFWAY, KILL_AFTER)),
        *(Harm(SYNC, way, after=2) for way in (KILL_BEFORE, KILL_AFTER)),
    ]
    found = await storm(data_directory, SEED, harms)
    assert {end for row in found.table.values() for end in row} == {"ended -9"}
    assert found.restarts == len(harms)


async def test_a_page_that_is_damaged_while_serving_ends_the_process(
    data_directory: Path, connect: Connect
) -> None:
    """F6. Also when nobody changes anything: a store that is not trusted serves nobody."""
    with ServerProcess(data_directory, limits=UNLIMITED) as server:
        alice = await connect(server, "alice")
        await alice.call("create_group", type="Public", group_id="g", name="g")
        asked = [await alice.ask("send_message", **long(number)) for number in range(60)]
        for request_id in asked:
            await alice.reply(request_id)
        await alice.close()
        assert server.stop() == 0
        server.start()
        again = await connect(server, "alice")
        path = data_directory / "muster.db"
        server.is_spoiled = True
        with path.open("r+b") as file:
            for page in range(1, path.stat().st_size // 4096):
                file.seek(page * 4096)
                file.write(b"\xff" * 512)
        asked_last = {"method": "list_messages", "params": {"group_id": "g", "after_seq": 0}}
        await again.send_unless_closed({"type": "request", "id": "r", **asked_last})
        await again.closing()
        assert not any("result" in reply for reply in again.replies())
        assert await server.ended(5) == 1
        assert "fenced" in server.log()


# A disk without room.


class Disk:
    """Where the server keeps its data: ``fill`` leaves no room, ``free`` gives it back."""

    def __init__(
        self, server: ServerProcess, fill: Callable[[], None], free: Callable[[], None]
    ) -> None:
        self.server = server
        self.fill = fill
        self.free = free


MOUNTED = 'mount -t tmpfs -o size=3m tmpfs "$1" || exit 1; shift; exec "$@"'
KEY = "a key of its own, as the file cannot be seen from outside"


@pytest.fixture(params=["shim", "tmpfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "shim":
        request.getfixturevalue("shim")
        faults = Faults(tmp_path / "data")
        with ServerProcess(tmp_path / "data", env=faults.env) as server:
            yield Disk(server, lambda: faults.set(WRITE, errno.ENOSPC), faults.clear)
        return
    wrapper = ("unshare", "-rm", "sh", "-c", MOUNTED, "sh", str(tmp_path))
    if subprocess.run([*wrapper, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no file system of one's own may be mounted here")
    env = {"MUSTER_SECRET_KEY": KEY}
    with ServerProcess(tmp_path / "data", env=env, wrapper=wrapper, secret_key=KEY) as server:
        seen = Path(f"/proc/{server.pid}/root") / tmp_path.relative_to("/")
        ballast = seen / "ballast"
        yield Disk(server, lambda: fill_up(ballast), ballast.unlink)


def fill_up(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


async def test_a_full_disk_refuses_changes_and_nothing_else(disk: Disk, connect: Connect) -> None:
    """F4. Reads, resuming and live delivery go on; changes go on by themselves with room."""
    server = disk.server
    alice, bob, away = [
        await connect(server, user, device)
        for user, device in (("alice", "a1"), ("bob", "b1"), ("bob", "b2"))
    ]
    await alice.call("create_group", type="Public", group_id="g", name="g", **BOB)
    await away.settle()
    away.drop()
    cursor = away.cursor
    await say(alice, "before")
    disk.fill()

    asked = [await alice.ask("send_message", request_id=f"r{n}", **message(n)) for n in range(5)]
    for request_id in asked:
        error = (await alice.reply(request_id))["error"]
        assert (error["name"], error["retryable"]) == ("UNAVAILABLE", True)
    for method, params in (("quit_group", {}), ("send_message", {"online_only": True, **BODY})):
        error = await bob.refusal(method, group_id="g", **params)
        assert error["name"] == "UNAVAILABLE", "what is remembered by its id needs the store"

    assert texts(await bob.call("list_messages", group_id="g", after_seq=0)) == ["before"]
    again = await connect(server, "bob", "b2", cursor=cursor)
    assert again.frames[0]["resume"] == "resumed"
    await again.settle()
    assert [event["event"] for event in again.events] == ["message"]

    disk.free()
    for number in (3, 1, 4, 0, 2):
        reply = await alice.request("send_message", request_id=f"r{number}", **message(number))
        assert "result" in reply, reply
    await bob.settle()
    listed = texts(await bob.call("list_messages", group_id="g", after_seq=0))
    assert listed == ["before", "3", "1", "4", "0", "2"]
    assert [event["seq"] for event in bob.events if "seq" in event] == list(range(1, 7))
    assert server.trouble() == []


BODY: Frame = {"body": text("x")}
BOB: Frame = {"members": [{"user_id": "bob"}]}


def message(number: int) -> Frame:
    return {"group_id": "g", "body": text(str(number))}


async def say(device: Device, words: str) -> None:
    await device.call("send_message", group_id="g", body=text(words))


def texts(page: Frame) -> list[str]:
    messages = [event for event in page["events"] if event["event"] == "message"]
    return [event["data"]["body"][0]["content"]["text"] for event in messages]


# Slow, and locked by somebody else.


@needs_shim
async def test_a_slow_disk_makes_batches_and_keeps_nobody_waiting_who_only_reads(
    data_directory: Path, connect: Connect
) -> None:
    """F18."""
    faults = Faults(data_directory)
    with ServerProcess(data_directory, env=faults.env) as server:
        alice, bob = await connect(server, "alice"), await connect(server, "bob")
        await alice.call("create_group", type="Public", group_id="g", name="g", **BOB)
        faults.set(SYNC, delay_ms=300)
        asked = [await alice.ask("send_message", **message(number)) for number in range(60)]
        await alice.send({"type": "ping"})
        await bob.call("list_messages", group_id="g", after_seq=0)
        await alice.frame("pong")
        assert not [frame for frame in alice.frames if frame.get("id") in asked], "none is synced"
        pong = await bob.connection.ping()
        await pong
        for request_id in asked:
            assert "result" in await alice.reply(request_id)
        assert faults.seen(SYNC) <= 3, "what waited went together"
        await bob.settle()
        assert len([event for event in bob.events if event["event"] == "message"]) == 60
        assert server.trouble() == []


@contextmanager
def locked(data: Path) -> Iterator[None]:
    with closing(sqlite3.connect(data / "muster.db", isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


async def test_a_database_that_another_process_locks(
    data_directory: Path, connect: Connect
) -> None:
    """F7. Refused after the wait of two seconds, fine afterwards; reads do not notice."""
    with ServerProcess(data_directory) as server:
        alice = await connect(server, "alice")
        await alice.call("create_group", type="Public", group_id="g", name="g")
        with locked(server.data):
            asked = await alice.ask("send_message", request_id="r", **message(1))
            listed = await (bob := await connect(server, "alice", "d2")).call("list_joined_groups")
            assert len(listed["groups"]) == 1
            error = (await alice.reply(asked))["error"]
            assert (error["name"], error["retryable"]) == ("UNAVAILABLE", True)
        reply = await alice.call("send_message", request_id="r", **message(1))
        await bob.settle()
        assert [event["seq"] for event in bob.events] == [reply["seq"]]
        assert server.trouble() == []


async def test_a_limit_on_file_sizes(data_directory: Path, connect: Connect) -> None:
    """F5, for real: the process may write no file beyond a size."""
    with ServerProcess(data_directory) as server:
        alice = await connect(server, "alice")
        await alice.call("create_group", type="Public", group_id="g", name="g")
        size = (data_directory / "muster.db-wal").stat().st_size
        server.limit("FSIZE", size + 150_000)
        sent = 0
        while "result" in (reply := await alice.request("send_message", **long(sent))):
            sent += 1
        assert reply["error"]["name"] == "OUTCOME_UNKNOWN"
        assert sent > 0
        assert await server.ended(5) == 1
        server.assert_sound()
        server.start()
        again = await connect(server, "alice")
        told = await again.call("send_message", request_id=reply["id"], **long(sent))
        listed = await again.call("list_messages", group_id="g", after_seq=0)
        assert [entry["seq"] for entry in listed["events"]] == list(range(1, sent + 2))
        assert told["seq"] == sent + 1


def long(number: int) -> Frame:
    return {"group_id": "g", "body": text(f"{number}" + "." * 3000)}
