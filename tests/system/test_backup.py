"""The commands backup, restore and check, beside a running server and without one."""

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.kit.server_process import ROOT, ServerProcess, run_command
from tests.kit.system_device import Device, text
from tests.system.conftest import Connect


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "backup.db"


async def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command, while the loop runs on."""
    return await asyncio.to_thread(run_command, *arguments)


async def talk_until(device: Device, enough: asyncio.Event) -> int:
    """Say something again and again; returns how often it was answered."""
    count = 0
    while not enough.is_set():
        await device.call("send_message", group_id="g", body=text(str(count)))
        count += 1
    return count


async def assert_reset(server: ServerProcess, connect: Connect, cursor: str | None) -> Device:
    device = await connect(server, "bob", cursor=cursor)
    welcome = device.frames[0]
    assert (welcome["resume"], welcome["reason"]) == ("reset", "unknown_cursor")
    return device


async def test_a_backup_of_a_server_at_work_is_restored(
    data_directory: Path, connect: Connect, file: Path
) -> None:
    """It is a beginning of the history; whoever has seen anything is told to read anew."""
    as_fast_as_possible = {"REQUESTS_PER_S": 0, "USER_REQUESTS_PER_S": 0}
    with ServerProcess(data_directory, limits=as_fast_as_possible) as server:
        alice = await connect(server, "alice")
        bob = await connect(server, "bob")
        first_cursor = alice.cursor
        members = [{"user_id": "bob"}]
        await alice.call("create_group", type="Work", name="g", group_id="g", members=members)
        enough = asyncio.Event()
        talking = [asyncio.create_task(talk_until(device, enough)) for device in (alice, bob)]
        for n in range(3):
            made = await command("backup", f"{file}{n}", "--data", str(data_directory))
            assert made.returncode == 0, made.stderr
            assert f"wrote {file}{n}: 1 groups, 2 members," in made.stdout
            assert "secret.key" in made.stdout
            assert made.stderr == ""
            checked = await command("check", f"{file}{n}")
            assert (checked.returncode, checked.stderr) == (0, "")
            assert checked.stdout.startswith(f"checked {file}{n}: 0 findings in 1 grp, 2 member,")
        enough.set()
        said = sum([await task for task in talking])
        assert said > 0
        assert server.trouble() == []

        refused = await command("restore", f"{file}1", "--data", str(data_directory))
        assert refused.returncode == 2
        assert f"process {server.pid}" in refused.stderr
        server.kill()

        restored = await command("restore", f"{file}1", "--data", str(data_directory))
        assert restored.returncode == 0, restored.stderr
        assert f"restored {file}1: 1 groups, 2 members," in restored.stdout
        assert "muster.db.before-restore-" in restored.stdout
        server.start()
        await assert_reset(server, connect, first_cursor)
        device = await assert_reset(server, connect, bob.cursor)
        groups = (await device.call("list_joined_groups"))["groups"]
        (group,) = groups
        page = await device.call("list_messages", group_id="g", after_seq=0, limit=100)
        seqs = [event["seq"] for event in page["events"]]
        assert seqs == list(range(1, len(seqs) + 1))
        assert len(seqs) <= said
        assert group["group_id"] == "g"
        again = await connect(server, "bob", cursor=device.cursor)
        assert again.frames[0]["resume"] == "resumed"
        server.assert_sound()


async def test_check_tells_what_is_wrong_one_line_each(
    data_directory: Path, connect: Connect
) -> None:
    where = ("--data", str(data_directory))
    with ServerProcess(data_directory) as server:
        alice = await connect(server, "alice")
        await alice.call("create_group", type="Work", name="g", group_id="g")
        while_running = await command("check", *where)
        server.kill()
        after_a_kill = await command("check", *where)
    for done in (while_running, after_a_kill):
        assert (done.returncode, done.stderr) == (0, "")
        assert ": 0 findings in 1 grp, 1 member, 1 membership, 1 entry" in done.stdout
    with closing(sqlite3.connect(data_directory / "muster.db")) as connection, connection:
        connection.execute("UPDATE counter SET value = 1 << 60")
        connection.execute("UPDATE request SET at_ms = 0")
    done = run_command("check", *where)
    assert done.returncode == 1
    first, second, last = done.stdout.splitlines()
    assert first.startswith("requests: request ")
    assert second.startswith("counters: counter groups_of_day:")
    assert f"checked {data_directory}/muster.db: 2 findings in" in last


def test_a_database_whose_pages_are_damaged_fails_the_check(data_directory: Path) -> None:
    with ServerProcess(data_directory) as server:
        server.stop()
    with (data_directory / "muster.db").open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xa5" * 4096)
    done = run_command("check", "--data", str(data_directory))
    assert done.returncode == 1
    assert done.stdout.startswith("integrity: ")
    assert "Traceback" not in done.stderr


def test_errors_are_one_line_and_status_2(data_directory: Path, file: Path) -> None:
    for arguments, reason in (
        (("backup", str(file)), "has no muster.db"),
        (("restore", str(file)), "does not exist"),
        (("check",), "nothing to check"),
        (("check", str(file)), "nothing to check"),
    ):
        done = run_command(*arguments, "--data", str(data_directory))
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith("muster: ")
        assert done.stderr.count("\n") == 1
        assert reason in done.stderr


def test_the_data_directory_comes_from_the_settings(
    data_directory: Path, tmp_path: Path, file: Path
) -> None:
    with ServerProcess(data_directory) as server:
        server.kill()
    config = tmp_path / "muster.toml"
    config.write_text(f'data = "{data_directory}"\n')
    assert run_command("backup", str(file), "--config", str(config)).returncode == 0
    new = tmp_path / "new"
    done = run_command("restore", str(file), env={"MUSTER_DATA": str(new)})
    assert done.returncode == 0
    assert "secret.key is not there: put it back" in done.stdout
    assert (new / "muster.db").exists()


ON_A_SMALL_DISK = """
mount -t tmpfs -o size=64k tmpfs "$1" || exit 77
disk=$1
shift
"$@"
status=$?
ls -A "$disk"
exit $status
"""


def test_a_full_disk_is_said_and_nothing_is_left(data_directory: Path, tmp_path: Path) -> None:
    with ServerProcess(data_directory) as server:
        server.kill()
    disk = tmp_path / "disk"
    disk.mkdir()
    backup = ("-m", "server", "backup", str(disk / "b"), "--data", str(data_directory))
    done = subprocess.run(
        ("unshare", "-rm", "sh", "-c", ON_A_SMALL_DISK, "sh", str(disk), sys.executable, *backup),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("no file system of one's own may be mounted here")
    assert done.returncode == 2, done.stderr
    assert "database or disk is full" in done.stderr
    assert done.stdout == "", "nothing was said, and the disk is empty"
