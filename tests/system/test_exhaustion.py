"""Too little of what a process needs of its machine: open files, and a reader of its log.

Faults F21 and F29 of ``reliability.md``.
"""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kit.crash_load import UNLIMITED
from tests.kit.server_process import ServerProcess
from tests.kit.system_device import PATIENCE_S, Device, text
from tests.system.conftest import Connect

LIMIT = 48


@pytest.fixture
def server(data_directory: Path) -> Iterator[ServerProcess]:
    """It may have LIMIT files open, of which it keeps a quarter for itself."""
    wrapper = ("sh", "-c", f'ulimit -n {LIMIT}; exec "$@"', "sh")
    with ServerProcess(data_directory, wrapper=wrapper) as started:
        yield started


def files_of(server: ServerProcess) -> int:
    return len(os.listdir(f"/proc/{server.pid}/fd"))


async def test_without_open_files_it_serves_those_it_has_and_then_others_again(
    server: ServerProcess, connect: Connect
) -> None:
    """F21. No more is logged than what is worth a line a second."""
    alice = await connect(server, "alice")
    await alice.call("create_group", type="Public", group_id="g", name="g")
    with ExitStack() as strangers:
        for _ in range(LIMIT):
            strangers.enter_context(socket.create_connection(server.address()))
        await server.logged("no open files to spare")
        for _ in range(20):
            await alice.call("send_message", group_id="g", body=text("x"))
        assert files_of(server) <= LIMIT - LIMIT // 4
    bob = await returning(server, "bob")
    await alice.settle()
    assert len(alice.events) == 21
    await bob.close()
    assert len(server.log()) < 20_000


async def returning(server: ServerProcess, user_id: str) -> Device:
    """A device that tries until it is let in."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                device = await Device.open(server.ws)
            except (OSError, EOFError):
                await asyncio.sleep(0.05)
                continue
            await device.hello(user_id, server.token(user_id))
            return device


async def test_a_log_that_nobody_reads_stops_nothing(
    data_directory: Path, connect: Connect
) -> None:
    """F29. Everything goes on, and the end comes when it is asked for; the log says what it lost."""
    options = ("--log-level", "DEBUG")
    with ServerProcess(data_directory, options=options, limits=UNLIMITED) as server:
        alice = await connect(server, "alice")
        server.stop_reading_log()
        await read_much(alice, 4_000)
        server.read_log()
        await server.logged("lines of the log were dropped")
        server.stop_reading_log()
        await read_much(alice, 400)
        server.terminate()
        assert (await alice.closing()).code == 4503
        assert await server.ended() == 0
        assert server.trouble() == []


async def read_much(device: Device, times: int) -> None:
    """Ask so often for what makes the store log a few lines, and get the answers."""
    # One after the other: questions that wait together are one line.
    for _ in range(times):
        await device.call("list_joined_groups")
