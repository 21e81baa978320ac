"""Clients that nobody here wrote go through a group's life, in JSON, with second devices watching.

Each package is used as its manual says, with its defaults: compression offered, its own pings,
no subprotocol named.
"""

import asyncio
import json
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

import aiohttp
import pytest
import websocket
import websockets

from tests.kit.server_process import ServerProcess
from tests.kit.system_device import Frame, text
from tests.system.conftest import Serve

PATIENCE_S = 15.0


class Line(Protocol):
    """A foreign client's connection: text messages out and in."""

    async def send(self, message: str) -> None: ...

    async def receive(self) -> str: ...


Opens = Callable[[str], AbstractAsyncContextManager[Line]]


# The clients.


@asynccontextmanager
async def of_websockets(url: str) -> AsyncIterator[Line]:
    """The ``websockets`` package."""

    class Connected:
        async def send(self, message: str) -> None:
            await connection.send(message)

        async def receive(self) -> str:
            message = await connection.recv()
            assert isinstance(message, str)
            return message

    async with websockets.connect(url, proxy=None) as connection:
        yield Connected()


@asynccontextmanager
async def of_aiohttp(url: str) -> AsyncIterator[Line]:
    """The client of ``aiohttp``."""

    class Connected:
        async def send(self, message: str) -> None:
            await connection.send_str(message)

        async def receive(self) -> str:
            return await connection.receive_str()

    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, heartbeat=5) as connection,
    ):
        yield Connected()


@asynccontextmanager
async def of_websocket_client(url: str) -> AsyncIterator[Line]:
    """The ``websocket-client`` package, which blocks: each call has a thread."""
    connection = await asyncio.to_thread(websocket.create_connection, url, timeout=PATIENCE_S)

    class Connected:
        async def send(self, message: str) -> None:
            await asyncio.to_thread(connection.send, message)

        async def receive(self) -> str:
            message = await asyncio.to_thread(connection.recv)
            assert isinstance(message, str)
            return message

    try:
        yield Connected()
    finally:
        await asyncio.to_thread(connection.close)


BRIDGE = """
const WebSocket = require('ws');
const lines = require('readline').createInterface({ input: process.stdin });
const say = (value) => console.log(JSON.stringify(value));
const socket = new WebSocket(process.argv[2]);
socket.on('open', () => say({ open: true }));
socket.on('message', (data, isBinary) => say({ isBinary, text: data.toString() }));
socket.on('error', (error) => say({ error: String(error) }));
socket.on('close', (code, reason) => { say({ code, reason: reason.toString() }); process.exit(0); });
lines.on('line', (line) => socket.send(line));
lines.on('close', () => socket.close(1000));
"""


@pytest.fixture(scope="session")
def node_bridge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program for Node that joins standard input and output to a connection of ``ws``."""
    if shutil.which("node") is None or (npm := shutil.which("npm")) is None:
        pytest.skip("node and npm are not installed")
    directory = tmp_path_factory.mktemp("node")
    (directory / "package.json").write_text('{"name": "bridge", "private": true}')
    try:
        done = subprocess.run(
            (npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "ws@8"),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm install ws took too long")
    if done.returncode != 0:
        pytest.skip(f"npm could not install ws: {done.stderr.strip()[-200:]}")
    bridge = directory / "bridge.cjs"
    bridge.write_text(BRIDGE)
    return bridge


def of_node(bridge: Path) -> Opens:
    """Node's ``ws`` package."""

    @asynccontextmanager
    async def opened(url: str) -> AsyncIterator[Line]:
        node = shutil.which("node")
        assert node is not None
        process = await asyncio.create_subprocess_exec(
            node,
            str(bridge),
            url,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**20,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        class Connected:
            async def send(self, message: str) -> None:
                stdin.write(message.encode() + b"\n")
                await stdin.drain()

            async def receive(self) -> str:
                said = json.loads(await stdout.readline())
                assert said["isBinary"] is False
                message: str = said["text"]
                return message

        try:
            async with asyncio.timeout(PATIENCE_S):
                assert json.loads(await stdout.readline()) == {"open": True}
            yield Connected()
            stdin.close()
            async with asyncio.timeout(PATIENCE_S):
                rest = [json.loads(line) async for line in stdout]
            assert rest[-1]["code"] == 1000, "it closes in good order"
        finally:
            if process.returncode is None:
                stdin.close()
                try:
                    async with asyncio.timeout(PATIENCE_S):
                        await process.wait()
                except TimeoutError:
                    process.kill()
                    await process.wait()

    return opened


CLIENTS: dict[str, Opens] = {
    "websockets": of_websockets,
    "aiohttp": of_aiohttp,
    "websocket-client": of_websocket_client,
}


@pytest.fixture(params=[*CLIENTS, "node ws"])
def opens(request: pytest.FixtureRequest) -> Opens:
    """How one of the foreign clients opens a connection."""
    name: str = request.param
    if name == "node ws":
        return of_node(request.getfixturevalue("node_bridge"))
    return CLIENTS[name]


class Speaker:
    """A device that speaks the protocol over a foreign client; written out, no code shared."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.events: list[Frame] = []

    async def hello(self, user_id: str, user_sig: str, device_id: str) -> None:
        hello = {"type": "hello", "user_id": user_id, "user_sig": user_sig}
        await self.line.send(json.dumps(hello | {"device_id": device_id, "platform": "web"}))
        welcome = await self._next()
        assert welcome["type"] == "welcome"
        assert welcome["resume"] == "fresh"

    async def call(self, method: str, **params: object) -> Frame:
        """The result of a request; the events that came before it are kept."""
        request_id = str(uuid.uuid4())
        request = {"type": "request", "id": request_id, "method": method, "params": params}
        await self.line.send(json.dumps(request))
        while (frame := await self._next())["type"] != "reply":
            pass
        assert frame["id"] == request_id
        assert "error" not in frame, frame
        result: Frame = frame["result"]
        return result

    async def hear(self, count: int) -> list[Frame]:
        """All events, once there are ``count``."""
        while len(self.events) < count:
            await self._next()
        assert len(self.events) == count
        return self.events

    async def _next(self) -> Frame:
        async with asyncio.timeout(PATIENCE_S):
            frame: Frame = json.loads(await self.line.receive())
        if frame["type"] == "events":
            self.events += frame["events"]
        return frame


def story(events: list[Frame]) -> list[tuple[str, str, str | None, int | None]]:
    """Kind, name, actor and number of each event."""
    return [
        (
            event["kind"],
            event["event"],
            event.get("actor_id", event.get("from_id")),
            event.get("seq", event.get("inbox_seq")),
        )
        for event in events
    ]


@pytest.fixture(scope="module")
def server(serve: Serve) -> ServerProcess:
    return serve()


class Cast:
    """Two users with two devices each, and an operator."""

    def __init__(self, server: ServerProcess, opens: Opens, stack: AsyncExitStack) -> None:
        self._server = server
        self._opens = opens
        self._stack = stack

    async def enter(self, user_id: str, device_id: str) -> Speaker:
        speaker = Speaker(await self._stack.enter_async_context(self._opens(self._server.ws)))
        await speaker.hello(user_id, self._server.token(user_id), device_id)
        return speaker


@pytest.fixture
async def cast(server: ServerProcess, opens: Opens) -> AsyncIterator[Cast]:
    async with AsyncExitStack() as stack:
        yield Cast(server, opens, stack)


async def test_a_public_groups_life(cast: Cast, fresh: Callable[[str], str]) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    phone, laptop = await cast.enter(alice, "phone"), await cast.enter(alice, "laptop")
    bobs, watch = await cast.enter(bob, "phone"), await cast.enter(bob, "watch")

    created = await phone.call(
        "create_group", type="Public", name="Crew 🚢", apply_join_option="FreeAccess"
    )
    group_id = created["group"]["group_id"]
    assert (await bobs.call("join_group", group_id=group_id))["status"] == "joined"
    sent = await bobs.call("send_message", group_id=group_id, body=text("ahoy, Käpt'n ⚓"))
    assert sent["seq"] == 2
    await laptop.call("send_message", group_id=group_id, body=text("aye"))
    removed = await phone.call("remove_members", group_id=group_id, user_ids=[bob], reason="mutiny")
    assert removed["members"] == [{"user_id": bob, "result": "removed"}]
    await phone.call("send_message", group_id=group_id, body=text("alone at sea"))
    await laptop.call("disband_group", group_id=group_id)

    alices_story = [
        ("notice", "group_created", alice, 1),
        ("tip", "member_joined", bob, 1),
        ("message", "message", bob, 2),
        ("message", "message", alice, 3),
        ("tip", "member_kicked", alice, 4),
        ("message", "message", alice, 5),
        ("notice", "group_disbanded", alice, 6),
    ]
    for device in (phone, laptop):
        assert story(await device.hear(7)) == alices_story
    assert phone.events == laptop.events, "both devices see the same"
    bobs_story = [
        ("notice", "joined", bob, 1),
        ("tip", "member_joined", bob, 1),
        ("message", "message", bob, 2),
        ("message", "message", alice, 3),
        ("tip", "member_kicked", alice, 4),
        ("notice", "kicked", alice, 2),
    ]
    for device in (bobs, watch):
        assert story(await device.hear(6)) == bobs_story
    assert bobs.events == watch.events
    assert bobs.events[1:5] == phone.events[1:5], "and what both users see is the same"
    assert phone.events[2]["data"]["body"] == text("ahoy, Käpt'n ⚓")
    assert bobs.events[5]["data"]["reason"] == "mutiny"
    assert [event["op"] for event in bobs.events if "op" in event] == [23, 1, 3, 4]
    # Nothing comes after that.
    for device in (bobs, watch):
        assert (await device.call("list_joined_groups"))["groups"] == []
        await device.hear(6)


async def test_a_work_groups_life(cast: Cast, fresh: Callable[[str], str]) -> None:
    alice, bob, carol = fresh("alice"), fresh("bob"), fresh("carol")
    phone, laptop = await cast.enter(alice, "phone"), await cast.enter(alice, "laptop")
    bobs, watch = await cast.enter(bob, "phone"), await cast.enter(bob, "watch")
    operator = await cast.enter("administrator", fresh("console"))

    created = await phone.call(
        "create_group", type="Work", name="Plans", members=[{"user_id": bob}]
    )
    group_id = created["group"]["group_id"]
    assert created["members"] == [{"user_id": bob, "result": "added"}]
    invited = await bobs.call("invite_members", group_id=group_id, user_ids=[carol, alice])
    assert [row["result"] for row in invited["members"]] == ["added", "already_member"]
    await watch.call("send_message", group_id=group_id, body=text("from my watch"))
    await phone.call("remove_members", group_id=group_id, user_ids=[bob])
    await operator.call("disband_group", group_id=group_id)

    for device in (phone, laptop):
        assert story(await device.hear(5)) == [
            ("notice", "group_created", alice, 1),
            ("tip", "member_invited", bob, 1),
            ("message", "message", bob, 2),
            ("tip", "member_kicked", alice, 3),
            ("notice", "group_disbanded", "administrator", 4),
        ]
    assert phone.events == laptop.events
    for device in (bobs, watch):
        assert story(await device.hear(5)) == [
            ("notice", "invited", alice, 1),
            ("tip", "member_invited", bob, 1),
            ("message", "message", bob, 2),
            ("tip", "member_kicked", alice, 3),
            ("notice", "kicked", alice, 2),
        ]
    assert bobs.events == watch.events
    assert phone.events[1]["data"]["user_ids"] == [carol]
    assert operator.events == [], "an operator is no member"
