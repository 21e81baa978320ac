"""The conformance program: its echo is our transport, and it judges as it says."""

import asyncio
import contextlib
import os
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from scripts.conformance.echo import echo_server
from scripts.conformance.program import EXCEPTIONS, tell
from scripts.conformance.suite import Verdict
from tests.kit.system_peer import CLOSE, CONTINUATION, PING, PONG, TEXT, frame_bytes, take_frame
from tests.scripts.running import SCRIPTS

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def to_the_end(client: ClientConnection) -> list[str | bytes]:
    """What comes until the server has closed."""
    said = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            said.append(await client.recv())
    return said


async def test_the_echo_says_back_text_and_binary() -> None:
    async with echo_server(says_bye=False) as url, connect(url, max_size=None) as client:
        for message in ("", "grüß dich", b"", b"\x00\xff" * 40_000, "x" * 70_000):
            await client.send(message)
            assert await client.recv() == message


@pytest.mark.parametrize(("says_bye", "code"), [(False, 1007), (True, 4400)])
async def test_it_ends_as_rfc_6455_or_as_the_protocol_has_it(says_bye: bool, code: int) -> None:
    async with echo_server(says_bye=says_bye) as url, connect(url) as client:
        await client.send([b"\xff", b"\xfe"], text=True)
        said = await to_the_end(client)
    assert client.close_code == code
    assert len(said) == says_bye, "a bye comes before the contract's close frame, and nothing else"


@pytest.mark.parametrize(("says_bye", "code"), [(False, 1002), (True, 4400)])
async def test_a_violation_of_the_frame_rules_too(says_bye: bool, code: int) -> None:
    async with echo_server(says_bye=says_bye) as url, connect(url) as client:
        async with client.send_context():
            client.protocol.send_frame(Frame(Opcode.CONT, b"of nothing"))
        said = await to_the_end(client)
    assert client.close_code == code
    assert len(said) == says_bye


async def test_a_ping_is_answered_before_what_comes_after_it() -> None:
    """Also when all of it is in one TCP segment (RFC 6455 section 5.4 lets it come between)."""
    async with echo_server(says_bye=False) as url:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        ping, first = frame_bytes(PING, b"1"), frame_bytes(TEXT, b"a", fin=False)
        writer.write(first + ping + frame_bytes(CONTINUATION, b"b") + frame_bytes(CLOSE))
        frames = bytearray(await reader.read())
        writer.close()
        await writer.wait_closed()
    came = [take_frame(frames) for _ in range(3)]
    assert [frame and (frame.opcode, frame.payload) for frame in came] == [
        (PONG, b"1"),
        (TEXT, b"ab"),
        (CLOSE, b""),
    ]


def verdict(case: str, behavior: str = "OK", close: str = "OK") -> Verdict:
    return Verdict(
        case=case,
        behavior=behavior,
        close=close,
        close_code=1000,
        expected="",
        received="",
        ends_with_bye=False,
    )


@pytest.mark.parametrize("word", ["OK", "NON-STRICT", "INFORMATIONAL"])
def test_what_passes(word: str) -> None:
    assert tell([verdict("1.1.1", behavior=word), verdict("1.1.2", close=word)]) == 0


@pytest.mark.parametrize("word", ["FAILED", "UNIMPLEMENTED", "WRONG CODE", "UNCLEAN", "new word"])
def test_what_does_not(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert tell([verdict("1.1.1", behavior=word)]) == 1
    assert tell([verdict("1.1.1", close=word)]) == 1
    assert "FAILED: 1.1.1" in capsys.readouterr().out
    assert tell([verdict(case, behavior=word) for case in EXCEPTIONS]) == 0


def test_without_a_python_2_it_says_what_it_needs() -> None:
    bare = {"PATH": "/nowhere", "PYENV_ROOT": "/nowhere", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "autobahn")],
        env=os.environ | bare,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert "needs a CPython 2.7" in done.stderr
