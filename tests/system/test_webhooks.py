"""The operator's own service beside a real server: told although all ends, and never waited for."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.certificates import make_certificate
from tests.kit.receivers import HTTP_OK, HttpPeer, http_peer
from tests.kit.server_process import ServerProcess, run_command
from tests.kit.system_device import PATIENCE_S, Frame, text
from tests.system.conftest import Connect

LIMITS = {"WEBHOOK_BACKOFF_MS": 50, "WEBHOOK_AFTER_MS": 300, "WEBHOOK_BEFORE_MS": 200}
TOLD = "Group.CallbackAfterSendMsg"
UNAVAILABLE = b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"
GONE = b"HTTP/1.1 410 X\r\nContent-Length: 0\r\n\r\n"


def server_for(data: Path, url: str, callbacks: str = TOLD, **limits: int) -> ServerProcess:
    env = {
        "MUSTER_WEBHOOK_URL": url,
        "MUSTER_WEBHOOK_CALLBACKS": callbacks,
        "MUSTER_WEBHOOK_SECRET": "s",
    }
    return ServerProcess(data, limits=LIMITS | limits, env=env)


@pytest.fixture
async def peer() -> AsyncIterator[HttpPeer]:
    async with http_peer() as running:
        yield running


async def until_told(peer: HttpPeer, count: int) -> list[dict[str, Any]]:
    """The bodies, once there are so many; in time, or the test fails."""
    async with asyncio.timeout(PATIENCE_S):
        while len(peer.requests) < count:  # noqa: ASYNC110 - another process causes it
            await asyncio.sleep(0.01)
    return peer.bodies


async def talk(server: ServerProcess, connect: Connect, texts: list[str]) -> list[Frame]:
    """Alice says this in her group; the results."""
    alice = await connect(server, "alice", f"d-{server.starts}")
    if server.starts == 1:
        await alice.call("create_group", type="Work", name="g", group_id="g")
    return [await alice.call("send_message", group_id="g", body=text(one)) for one in texts]


def said(bodies: list[dict[str, Any]]) -> list[str]:
    return [body["MsgBody"][0]["MsgContent"]["Text"] for body in bodies]


async def test_what_is_said_is_told_with_its_number(
    data_directory: Path, connect: Connect, peer: HttpPeer
) -> None:
    with server_for(data_directory, peer.url) as server:
        results = await talk(server, connect, ["a", "b", "c"])
        bodies = await until_told(peer, 3)
        assert said(bodies) == ["a", "b", "c"]
        assert [body["MsgSeq"] for body in bodies] == [result["seq"] for result in results]
        server.assert_sound()


async def test_a_kill_between_commit_and_delivery_loses_nothing(
    data_directory: Path, connect: Connect
) -> None:
    async with http_peer(None) as silent:
        with server_for(data_directory, silent.url, WEBHOOK_AFTER_MS=60_000) as server:
            await talk(server, connect, ["a", "b", "c"])
            await until_told(silent, 1)
            server.kill()
            port = int(silent.url.rpartition(":")[2].partition("/")[0])
            first_id = silent.requests[0][1]["Muster-Delivery-Id"]
    async with http_peer(port=port) as peer:
        with server_for(data_directory, peer.url) as server:
            assert said(await until_told(peer, 3)) == ["a", "b", "c"]
            assert peer.requests[0][1]["Muster-Delivery-Id"] == first_id
            server.kill()
            server.assert_sound()


async def test_over_many_kills_everything_is_told_in_order(
    data_directory: Path, connect: Connect, peer: HttpPeer
) -> None:
    with server_for(data_directory, peer.url) as server:
        wanted = []
        for round_number in range(4):
            texts = [f"{round_number}-{number}" for number in range(25)]
            await talk(server, connect, texts)
            wanted += texts
            server.kill()
            server.start()
        async with asyncio.timeout(PATIENCE_S):
            while set(said(peer.bodies)) != set(wanted):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        first_times = list(dict.fromkeys(said(peer.bodies)))
        assert first_times == wanted
        assert len({headers["Muster-Delivery-Id"] for _, headers, _ in peer.requests}) == 100


@pytest.mark.parametrize("response", [None, UNAVAILABLE], ids=["hangs", "503"])
async def test_nobody_waits_for_what_is_told(
    data_directory: Path, connect: Connect, response: bytes | None
) -> None:
    async with http_peer(response) as peer:
        with server_for(data_directory, peer.url, WEBHOOK_AFTER_MS=60_000) as server:
            alice, bob = await connect(server, "alice"), await connect(server, "bob")
            members: list[Frame] = [{"user_id": "bob"}]
            await alice.call("create_group", type="Work", name="g", group_id="g", members=members)
            for number in range(200):
                await alice.call("send_message", group_id="g", body=text(str(number)))
            await bob.until(
                lambda: sum(event["event"] == "message" for event in bob.events) == 200 or None,
                "all of it",
            )
            assert len(peer.requests) < 20


async def test_who_is_asked_and_hangs_is_not_waited_for_for_long(
    data_directory: Path, connect: Connect
) -> None:
    async with http_peer(None) as peer:
        asked = "Group.CallbackBeforeSendMsg"
        with server_for(data_directory, peer.url, asked) as server:
            assert len(await talk(server, connect, ["a"])) == 1
            assert [body["CallbackCommand"] for body in peer.bodies] == [asked]


async def test_the_operators_commands(
    data_directory: Path, connect: Connect, peer: HttpPeer
) -> None:
    where = ("--data", str(data_directory))
    peer.response = GONE
    with server_for(data_directory, peer.url) as server:
        await talk(server, connect, ["a", "b"])
        await until_told(peer, 2)
        delivery_id = peer.requests[0][1]["Muster-Delivery-Id"]
        listed = ""
        async with asyncio.timeout(PATIENCE_S):
            while "2 dead" not in listed:
                listed = (await asyncio.to_thread(run_command, "webhooks", "list", *where)).stdout
        assert f"dead    {delivery_id}  {TOLD}  g  " in listed
        assert "1 attempts: HTTP 410" in listed
        peer.response = HTTP_OK
        unknown = run_command("webhooks", "replay", "nothing", *where)
        assert (unknown.returncode, "not dead: nothing" in unknown.stderr) == (2, True)
        assert run_command("webhooks", "replay", delivery_id, *where).returncode == 0
        assert said(await until_told(peer, 3))[2:] == ["a"]
        server.terminate()
        assert await server.ended() == 0
        asked = run_command("webhooks", "replay", "--dead", *where)
        assert asked.stdout.startswith("1 to be told again")
        server.start()
        assert said(await until_told(peer, 4))[3:] == ["b"]
        assert server.trouble() == []


async def test_a_certificate_is_good_for_its_own_name_alone(tmp_path: Path) -> None:
    """It is for 127.0.0.1, and who trusts it is not fooled under another name."""
    cert, key = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    async with http_peer(tls=context) as peer:
        other = peer.url.replace("127.0.0.1", "localhost")
        for url, trusted, status in ((peer.url, True, 0), (other, True, 1), (peer.url, False, 1)):
            env = {"MUSTER_WEBHOOK_URL": url} | ({"SSL_CERT_FILE": str(cert)} if trusted else {})
            done = await asyncio.to_thread(run_command, "webhooks", "test", env=env)
            assert done.returncode == status, (url, done.stdout)
            assert ("certificate" in done.stdout) is (status == 1)
        assert len(peer.requests) == 1


async def test_a_sample(peer: HttpPeer) -> None:
    env = {"MUSTER_WEBHOOK_URL": peer.url, "MUSTER_WEBHOOK_TOKEN": "t"}
    good = await asyncio.to_thread(run_command, "webhooks", "test", env=env)
    assert good.returncode == 0
    assert good.stdout.startswith("HTTP 200 after ")
    assert json.loads(good.stdout.split("\n")[1])["ErrorCode"] == 0
    assert "Sign=" in peer.requests[0][0]
    peer.response = UNAVAILABLE
    bad = await asyncio.to_thread(run_command, "webhooks", "test", env=env)
    assert (bad.returncode, bad.stdout.split()[1]) == (1, "503")
