"""scripts/load against a server whose frames are spoiled on the way: it must say so and fail."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import pytest

from scripts.common.target import own_server
from scripts.loadgen.program import SETTINGS
from tests.scripts.running import run_program

_SPOILED: Final = 20
"""Which of all frames with a stored message is spoiled: one in the middle of the conversation."""


class Spoiler:
    """Passes bytes between clients and the server, but sends one frame ``times`` times.

    Args:
        times: 0 loses the frame, 2 doubles it, 1 changes nothing.
    """

    def __init__(self, port: int, times: int) -> None:
        self._port = port
        self._times = times
        self._seen = 0
        self.spoiled = 0

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """The port on which it takes connections."""
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        asking = asyncio.ensure_future(self._requests(reader, to_server))
        try:
            writer.write(await from_server.readuntil(b"\r\n\r\n"))
            while True:
                frame = await _frame(from_server)
                writer.write(frame * self._times_of(frame))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            asking.cancel()
            writer.close()
            to_server.close()

    async def _requests(
        self, reader: asyncio.StreamReader, to_server: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                to_server.write(data)
        to_server.close()

    def _times_of(self, frame: bytes) -> int:
        if b"events" not in frame or b"message_id" not in frame or b"seq" not in frame:
            return 1
        self._seen += 1
        if self._seen != _SPOILED:
            return 1
        self.spoiled += 1
        return self._times


async def _frame(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(2)
    length = head[1]
    if length >= 126:
        head += await reader.readexactly(2 if length == 126 else 8)
        length = int.from_bytes(head[2:], "big")
    return head + await reader.readexactly(length)


@pytest.mark.slow
async def test_a_frame_that_is_lost_or_doubled_on_the_way_is_found() -> None:
    with own_server(SETTINGS) as server:
        port = int(server.url.removeprefix("ws://").partition("/")[0].partition(":")[2])
        for times, words, status in (
            (1, "Nothing is wrong.", 0),
            (0, "lost: ", 1),
            (2, "double: ", 1),
        ):
            spoiler = Spoiler(port, times)
            async with spoiler.listening() as listening:
                done = await asyncio.to_thread(
                    run_program,
                    "load",
                    *("--url", f"ws://127.0.0.1:{listening}/ws"),
                    *("--key-file", str(server.data / "secret.key")),
                    *("--users", "6", "--groups", "3", "--requests", "150", "--rate", "0"),
                    *("--churn", "0", "--slow", "0"),
                )
            assert spoiler.spoiled == 1
            assert words in done.stdout, done.stdout + done.stderr
            assert done.returncode == status
