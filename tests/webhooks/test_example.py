"""The README's receiver with a real server: it understands what is ours, and only that."""

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from tests.kit.server_process import ROOT, ServerProcess
from tests.kit.system_device import PATIENCE_S, connect_device, text

SECRET = "a secret"


def free_port() -> int:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The example as a program: its URL, and the file that holds what it prints."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^```python file=receiver.py\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert found
    program, printed, port = tmp_path / "receiver.py", tmp_path / "printed", free_port()
    program.write_text(found[1], encoding="utf-8")
    with printed.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, str(program), str(port)],
            env=os.environ | {"MUSTER_WEBHOOK_SECRET": SECRET},
            stdout=output,
            stderr=output,
        )
    try:
        yield f"http://127.0.0.1:{port}/hook", printed
    finally:
        process.terminate()
        process.wait(10)


async def until_printed(printed: Path, what: str) -> None:
    def is_there() -> bool:
        return what in printed.read_text(encoding="utf-8")

    async with asyncio.timeout(PATIENCE_S):
        while not is_there():  # noqa: ASYNC110 - another process prints it
            await asyncio.sleep(0.02)


async def test_the_example(receiver: tuple[str, Path], tmp_path: Path) -> None:
    url, printed = receiver
    await until_printed(printed, "Running on")
    env = {"MUSTER_WEBHOOK_URL": url, "MUSTER_WEBHOOK_SECRET": SECRET}
    with ServerProcess(tmp_path / "data", env=env) as server:
        alice = await connect_device(server, "alice")
        await alice.call("create_group", type="Work", name="g", group_id="g")
        await alice.call("send_message", group_id="g", body=text("kind"))
        error = await alice.refusal("send_message", group_id="g", body=text("rude"))
        assert (error["code"], error["message"]) == (10100, "Be kind.")
        await until_printed(printed, "Group.CallbackAfterSendMsg g")
        await alice.close()
        assert server.trouble() == []
    async with aiohttp.ClientSession() as http:
        forged = {"Muster-Signature": "t=1,v1=00"}
        async with http.post(url, data=b"{}", headers=forged) as response:
            assert response.status == 401
