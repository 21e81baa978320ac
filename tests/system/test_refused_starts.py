"""Data that must not be served: status 2, one line that says what to do, and nothing changed.

Fault F9 of ``reliability.md`` on the whole server; ``tests/storage/test_sqlite.py`` has more of
it in one process, ``scripts/faults`` damages at random.
"""

import asyncio
import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.faults import TRUNCATE, WRITE, Faults
from tests.kit.server_process import ServerProcess, run_command
from tests.kit.system_device import connect_device, text

NAME = "muster.db"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a server that was killed: what it did last is in the log beside the database."""
    data = tmp_path_factory.mktemp("filled") / "data"
    with ServerProcess(data) as server:
        assert server.stop() == 0
        server.start()
        asyncio.run(create_group(server))
        server.kill()
    return data


async def create_group(server: ServerProcess) -> None:
    alice = await connect_device(server, "alice")
    await alice.call("create_group", group_id="g", type="Public", name="g")
    await alice.close()


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0xFF
    path.write_bytes(content)


def first_bytes(data: Path) -> None:
    flip(data / NAME, 3)


def schema_page(data: Path) -> None:
    flip(data / NAME, 100)


def truncated(data: Path) -> None:
    path = data / NAME
    path.write_bytes(path.read_bytes()[: 5 * 4096 + 100])


def zero_bytes(data: Path) -> None:
    (data / NAME).write_bytes(b"")


def missing(data: Path) -> None:
    (data / NAME).unlink()


def a_directory(data: Path) -> None:
    (data / NAME).unlink()
    (data / NAME).mkdir()


@pytest.mark.parametrize(
    "harm", [first_bytes, schema_page, truncated, zero_bytes, missing, a_directory]
)
def test_damaged_data_is_refused(
    filled: Path, data_directory: Path, harm: Callable[[Path], None]
) -> None:
    shutil.copytree(filled, data_directory)
    harm(data_directory)
    before = contents(data_directory)
    refused_start(data_directory)
    assert contents(data_directory) == before


def contents(data: Path) -> dict[str, bytes]:
    """What is in the files that matter."""
    paths = sorted(data.glob(NAME + "*"))
    return {p.name: p.read_bytes() for p in paths if p.is_file() and not p.name.endswith("-shm")}


def refused_start(data: Path, **env: str) -> str:
    listens = ("--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
    refused = run_command("serve", *listens, "--data", str(data), env=env)
    lines = refused.stderr.splitlines()
    assert (refused.returncode, refused.stdout, len(lines)) == (2, "", 1), refused.stderr
    assert lines[0].startswith("muster: ")
    assert str(data) in lines[0]
    return lines[0]


@pytest.mark.usefixtures("shim")
@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EIO])
def test_a_directory_that_takes_no_writes_is_refused(data_directory: Path, number: int) -> None:
    """As on a file system that is mounted read-only, or full."""
    faults = Faults(data_directory)
    faults.set(WRITE, number)
    faults.set(TRUNCATE, number)
    refused_start(data_directory, **faults.env)
    faults.clear()
    with ServerProcess(data_directory) as server:
        assert server.is_running, "nothing was left that is in the way"


async def test_a_log_that_is_torn_at_its_end_is_no_damage(data_directory: Path) -> None:
    """What a crash leaves there was never answered."""
    with ServerProcess(data_directory) as server:
        alice = await connect_device(server, "alice")
        await alice.call("create_group", group_id="g", type="Public", name="g")
        await alice.call("send_message", group_id="g", body=text("x"))
        alice.drop()
        server.kill()
        with (data_directory / f"{NAME}-wal").open("ab") as wal:
            wal.write(b"half a frame" * 100)
        server.start()
        alice = await connect_device(server, "alice")
        assert (await alice.call("send_message", group_id="g", body=text("y")))["seq"] == 2
        await alice.close()
        server.assert_sound()
