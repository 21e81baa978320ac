"""The SDK against a scripted server: hello, calls, refusals, close, and what it asks for."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any, get_type_hints

import msgspec
import pytest

from protocol import client_methods
from protocol.client import (
    CallTimeout,
    Client,
    ClientClosed,
    Connected,
    Disconnected,
    connect,
)
from protocol.client_methods import CallOptions, ChangeOptions, Methods
from protocol.codec import JSON, MSGPACK, Codec
from protocol.commands import ChangingCommand, DisbandGroup, GetGroups
from protocol.errors import ErrorCode, Refused
from protocol.frames import Resume
from protocol.identifiers import is_request_id
from protocol.methods import METHODS, Method
from protocol.results import GetGroupsResult, JoinGroupResult, JoinStatus, Nothing
from tests.protocol.client_kit import (
    FakeClock,
    FakeServer,
    client_of,
    connected,
    event,
    fake_server,
    take,
)


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with fake_server() as running:
        yield running


@pytest.mark.parametrize("codec", [MSGPACK, JSON], ids=["msgpack", "json"])
async def test_hello_says_who_where_and_since_when(server: FakeServer, codec: Codec) -> None:
    client = client_of(server, codec=codec, platform="ios", cursor="k:7")
    starting = asyncio.create_task(client.start())
    peer = await server.accept()
    hello = await peer.welcome("k:7", "resumed")
    await starting
    assert peer.connection.subprotocol == codec.subprotocol
    assert hello == {
        "type": "hello",
        "user_id": "alice",
        "user_sig": "sig",
        "device_id": "laptop-1",
        "platform": "ios",
        "client": "muster-py/1.0",
        "cursor": "k:7",
    }
    assert client.is_connected
    assert client.limits == {"requests_in_flight": 64}
    assert await anext(client.events()) == Connected(
        resume=Resume.RESUMED, reason=None, session_id="s-1"
    )
    await client.close()
    assert not client.is_connected


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_token_function_is_asked_at_each_connect(
    server: FakeServer, is_async: bool
) -> None:
    tokens = iter(["first", "second"])

    async def fresh_later() -> str:
        return next(tokens)

    def fresh_now() -> str:
        return next(tokens)

    async with client_of_started(
        server, user_sig=fresh_later if is_async else fresh_now
    ) as starting:
        peer = await server.accept()
        assert (await peer.welcome())["user_sig"] == "first"
        await starting
        peer.drop()
        again = await server.accept()
        assert (await again.welcome("c:0", "resumed"))["user_sig"] == "second"


class client_of_started:
    """A client whose start has begun; closed at the end."""

    def __init__(self, server: FakeServer, **changes: Any) -> None:
        self.client = client_of(server, **changes)

    async def __aenter__(self) -> "asyncio.Task[None]":
        self.starting = asyncio.create_task(self.client.start())
        return self.starting

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
