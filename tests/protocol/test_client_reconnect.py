"""The SDK when connections break: coming back, sending again, heartbeats, and when to stop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from functools import partial
from random import Random

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import InvalidURI
from websockets.http11 import Request, Response

from protocol.backoff import backoff_s
from protocol.client import Client, ClientClosed, Connected, Disconnected
from protocol.codec import JSON, MSGPACK, Codec
from protocol.errors import CLOSES, CloseCode, ConnectionRefused
from tests.protocol.client_kit import (
    HEARTBEAT_MS,
    FakeClock,
    FakeServer,
    Frame,
    Highest,
    Peer,
    client_of,
    connected,
    fake_server,
    stands_at,
    take,
    until,
)

HEARTBEAT_S = HEARTBEAT_MS / 1000
RECONNECTS = [code for code, spec in CLOSES.items() if spec.reconnect]
STOPS = [code for code, spec in CLOSES.items() if not spec.reconnect]


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with fake_server() as running:
        yield running


async def until_stuck(client: Client) -> None:
    """Return when the socket takes no more from ``client``, and has not for a while."""
    link = client._session._link
    assert link is not None
    sizes = [0]
    while sizes[-1] == 0 or len(set(sizes[-200:])) > 1:
        await asyncio.sleep(0)
        sizes.append(link._connection.transport.get_write_buffer_size())


async def resumed(server: FakeServer) -> tuple[Peer, Frame]:
    """The next connection, resumed from the cursor in its hello, and the hello."""
    peer = await server.accept()
    hello = await peer.receive()
    peer.unread(hello)
    await peer.welcome(hello["cursor"], "resumed")
    return peer, hello


@pytest.mark.parametrize("codec", [MSGPACK, JSON], ids=["msgpack", "json"])
async def test_it_comes_back_with_the_cursor_of_what_it_received(
    server: FakeServer, codec: Codec
) -> None:
    async with connected(server, codec=codec) as (client, peer):
        await peer.events(1, 2)
        assert await take(client, 2) == ["fresh", 1]
        await peer.events(3)
        await until(lambda: len(client.events()) == 2)
        peer.drop()
        again, hello = await resumed(server)
        await again.events(4)
        assert hello["cursor"] == "c:3"
        assert client.cursor == "c:0"
        assert await take(client, 5) == [2, 3, "lost", "resumed", 4]
        assert client.is_connected


async def test_calls_in_flight_are_sent_again_with_the_same_ids_in_the_same_order(
    server: FakeServer,
) -> None:
    async with connected(server, limits={"requests_in_flight": 3}) as (client, peer):
        calls = [asyncio.create_task(client.call(f"m{n}", {"n": n})) for n in range(5)]
        first = [await peer.receive() for _ in range(3)]
        await peer.reply(first[1], {"n": 1})
        fourth = await peer.receive()
        peer.drop()
        again, _ = await resumed(server)
        second = [await again.receive() for _ in range(4)]
        assert second[:3] == [first[0], first[2], fourth]
        assert second[3]["method"] == "m4"
        for request in reversed(second):
            await again.reply(request, request["params"])
        assert await asyncio.gather(*calls) == [{"n": n} for n in range(5)]


async def test_calls_keep_their_order_on_the_next_connection_after_a_refusal(
    server: FakeServer,
) -> None:
    async with connected(server) as (client, peer):
        calls = [asyncio.create_task(client.call(f"m{n}")) for n in range(2)]
        first = await peer.receive()
        await peer.receive()
        await peer.refuse(first, 90004, "UNAVAILABLE", retryable=True)
        assert await peer.receive() == first
        peer.drop()
        again, _ = await resumed(server)
        requests = [await again.receive() for _ in calls]
        assert [request["method"] for request in requests] == ["m0", "m1"]
        for request in requests:
            await again.reply(request)
        assert await asyncio.gather(*calls) == [{}, {}]


async def test_a_call_made_without_a_connection_waits_for_one(server: FakeServer) -> None:
    async with connected(server) as (client, peer):
        peer.drop()
        await until(lambda: not client.is_connected)
        calling = asyncio.create_task(client.call("m"))
        again, _ = await resumed(server)
        await again.reply(await again.receive(), {"ok": 1})
        assert await calling == {"ok": 1}


async def test_a_call_that_lost_its_caller_is_not_sent_again(server: FakeServer) -> None:
    async with connected(server) as (client, peer):
        forgotten = asyncio.create_task(client.call("m0"))
        await peer.receive()
        forgotten.cancel()
        await asyncio.wait([forgotten])
        peer.drop()
        again, _ = await resumed(server)
        calling = asyncio.create_task(client.call("m1"))
        request = await again.receive()
        assert request["method"] == "m1"
        await again.reply(request)
        assert await calling == {}


async def test_the_waits_grow_with_failures_and_start_again_after_a_useful_connection(
    server: FakeServer,
) -> None:
    clock = FakeClock()
    async with connected(server, clock=clock) as (client, peer):
        peer.drop()
        for _ in range(8):  # welcomed, but nothing comes of it
            again, _ = await resumed(server)
            again.drop()
        useful, _ = await resumed(server)
        await useful.events(1)
        await until(lambda: len(client.events()) > 2)
        useful.drop()
        await resumed(server)
        assert clock.short_sleeps == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 0.5]


def test_the_jitter_is_full() -> None:
    random = Random(5)
    for failures, ceiling_s in ((0, 0.5), (1, 1), (3, 4), (6, 30), (5000, 30)):
        waits = [backoff_s(failures, random) for _ in range(500)]
        assert 0 <= min(waits) < ceiling_s * 0.05
        assert ceiling_s * 0.95 < max(waits) <= ceiling_s
        assert backoff_s(failures, random, 31_000) == 31


@pytest.mark.parametrize("code", RECONNECTS)
async def test_it_comes_back_after_closes_that_allow_it(
    server: FakeServer, code: CloseCode
) -> None:
    clock = FakeClock()
    async with connected(server, clock=clock) as (client, peer):
        await peer.bye(code, "moving on", retry_after_ms=3200)
        await resumed(server)
        stream = client.events()
        items = [await anext(stream) for _ in range(3)]
        assert items[1] == Disconnected(code=code, reason="moving on")
        assert isinstance(items[2], Connected)
        assert clock.short_sleeps == [3.2]


@pytest.mark.parametrize("code", STOPS)
async def test_it_stops_after_closes_that_forbid_coming_back(
    server: FakeServer, code: CloseCode
) -> None:
    clock = FakeClock()
    async with connected(server, clock=clock) as (client, peer):
        calling = asyncio.create_task(client.call("m"))
        await peer.receive()
        await peer.events(1)
        await peer.bye(code, "no more", error_code=70001, retry_after_ms=9)
        with pytest.raises(ConnectionRefused, match="no more") as caught:
            await calling
        assert caught.value.code is code
        assert (caught.value.error_code, caught.value.retry_after_ms) == (70001, 9)
        assert await take(client, 2) == ["fresh", 1]
        for _ in range(2):
            with pytest.raises(ConnectionRefused, match="no more"):
                await anext(client.events())
        with pytest.raises(ConnectionRefused, match="no more"):
            await client.call("m")
        assert clock.short_sleeps == []
        assert not client.is_connected


async def test_the_close_code_counts_when_there_was_no_bye(server: FakeServer) -> None:
    async with connected(server) as (client, peer):
        await peer.connection.close(4409, "replaced")
        await take(client, 1)
        with pytest.raises(ConnectionRefused, match="4409: replaced"):
            await anext(client.events())


async def test_the_bye_counts_when_the_connection_breaks_after_it(server: FakeServer) -> None:
    async with connected(server) as (client, peer):
        await peer.send({"type": "bye", "code": 4403, "reason": "banned"})
        peer.connection.transport.write_eof()  # after the bye, unlike an abort
        await take(client, 1)
        with pytest.raises(ConnectionRefused, match="4403: banned"):
            await anext(client.events())


async def test_a_close_code_that_nobody_knows_is_a_lost_connection(server: FakeServer) -> None:
    async with connected(server) as (client, peer):
        await peer.connection.close(4999, "?")
        await resumed(server)
        assert await take(client, 3) == ["fresh", "lost", "resumed"]


async def test_a_hello_that_is_refused_ends_start(server: FakeServer) -> None:
    client = client_of(server, user_sig=lambda: "always wrong")
    starting = asyncio.create_task(client.start())
    peer = await server.accept()
    await peer.receive()
    await peer.bye(4401, "the signature has expired", error_code=70001)
    with pytest.raises(ConnectionRefused, match="expired"):
        await starting
    await client.close()


@pytest.mark.parametrize("has_function", [True, False])
async def test_a_token_that_ends_on_a_live_connection_is_renewed_if_there_is_a_function(
    server: FakeServer, has_function: bool
) -> None:
    user_sig = (lambda: "fresh") if has_function else "fixed"
    async with connected(server, user_sig=user_sig) as (client, peer):
        await peer.bye(4401, "expired")
        await take(client, 1)
        if has_function:
            await resumed(server)
            assert await take(client, 2) == ["lost", "resumed"]
        else:
            with pytest.raises(ConnectionRefused, match="expired"):
                await anext(client.events())


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_token_function_is_asked_at_each_connect(
    server: FakeServer, is_async: bool
) -> None:
    tokens = iter(["first", "second"])

    def now() -> str:
        return next(tokens)

    async def later() -> str:
        return next(tokens)

    client = client_of(server, user_sig=later if is_async else now)
    starting = asyncio.create_task(client.start())
    peer = await server.accept()
    assert (await peer.welcome())["user_sig"] == "first"
    await starting
    peer.drop()
    _, hello = await resumed(server)
    assert hello["user_sig"] == "second"
    await client.close()


async def test_a_token_function_that_meets_an_oserror_is_asked_again(server: FakeServer) -> None:
    answers: Iterator[OSError | str] = iter([ConnectionResetError("token server"), "late"])

    def user_sig() -> str:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    clock = FakeClock()
    client = client_of(server, user_sig=user_sig, clock=clock)
    starting = asyncio.create_task(client.start())
    peer = await server.accept()
    assert (await peer.welcome())["user_sig"] == "late"
    await starting
    assert clock.short_sleeps == [0.5]
    await client.close()


async def test_a_token_function_that_is_wrong_ends_the_client(server: FakeServer) -> None:
    def user_sig() -> str:
        raise KeyError("no such account")

    client = client_of(server, user_sig=user_sig)
    with pytest.raises(KeyError, match="no such account"):
        await client.start()
    with pytest.raises(KeyError, match="no such account"):
        await anext(client.events())


async def test_a_wrong_address_ends_start_at_once() -> None:
    client = Client("http://127.0.0.1/ws", "alice", "sig", device_id="d-1")
    with pytest.raises(InvalidURI):
        await client.start()


async def test_start_gives_up_in_time_and_says_what_it_met() -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        clock = FakeClock()
        client = Client(
            f"ws://127.0.0.1:{taken.getsockname()[1]}/ws",
            "alice",
            "sig",
            device_id="d-1",
            clock=clock,
            websocket_options={"proxy": None},
        )
        starting = asyncio.create_task(client.start(timeout_s=0.1))
        with pytest.raises(TimeoutError, match="not connected in time; last: cannot connect"):
            await starting
    assert len(clock.short_sleeps) > 1


async def test_a_server_that_does_not_answer_hello_is_left(server: FakeServer) -> None:
    clock = FakeClock()
    client = client_of(server, clock=clock, open_timeout_s=0)
    starting = asyncio.create_task(client.start())
    await until(lambda: len(clock.short_sleeps) == 4)
    assert clock.short_sleeps == [0.5, 1, 2, 4]
    starting.cancel()
    await asyncio.wait([starting])
    assert starting.cancelled()


@pytest.mark.parametrize("answer", [{"type": "pong", "cursor": "c", "server_time_ms": 1}, 5])
async def test_a_server_that_answers_hello_with_something_else_is_left(
    server: FakeServer, answer: object
) -> None:
    client = client_of(server)
    starting = asyncio.create_task(client.start())
    peer = await server.accept()
    await peer.receive()
    await peer.send(answer)
    assert await peer.code_from_client() is None
    again = await server.accept()
    await again.welcome()
    await starting
    await client.close()


@contextlib.asynccontextmanager
async def http_server(*responses: tuple[int, dict[str, str]]) -> AsyncIterator[FakeServer]:
    """A server that answers the first handshakes so, and then talks WebSocket to nobody."""
    left = iter(responses)

    def respond(_: ServerConnection, __: Request) -> Response | None:
        status, headers = next(left, (404, {}))
        return Response(status, "Because", Headers(headers), b"")

    async def never(_: ServerConnection) -> None:
        raise AssertionError("every handshake is refused")

    async with serve(never, "127.0.0.1", 0, process_request=respond) as server:
        yield FakeServer(server, asyncio.Queue())


async def test_http_refusals_that_pass_are_retried_when_they_say() -> None:
    clock = FakeClock()
    async with http_server((503, {"Retry-After": "7"}), (429, {}), (502, {})) as server:
        with pytest.raises(ConnectionRefused, match="HTTP 404"):
            await client_of(server, clock=clock).start()
    assert clock.short_sleeps == [7, 1, 2]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, CloseCode.MALFORMED),
        (401, CloseCode.NOT_AUTHENTICATED),
        (403, CloseCode.FORBIDDEN),
        (404, CloseCode.FORBIDDEN),
    ],
)
async def test_other_http_refusals_are_final(status: int, code: CloseCode) -> None:
    async with http_server((status, {})) as server:
        with pytest.raises(ConnectionRefused, match=f"HTTP {status} Because") as caught:
            await client_of(server).start()
        assert caught.value.code is code


async def test_a_server_of_another_protocol_is_refused() -> None:
    async def handle(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with serve(handle, "127.0.0.1", 0) as other:
        server = FakeServer(other, asyncio.Queue())
        with pytest.raises(ConnectionRefused, match=r"does not speak muster\.v1\.msgpack"):
            await client_of(server).start()


async def test_a_server_that_talks_something_else_is_tried_again() -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-hello\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as other:
        clock = FakeClock()
        client = Client(
            f"ws://127.0.0.1:{other.sockets[0].getsockname()[1]}/ws",
            "alice",
            "sig",
            device_id="d-1",
            clock=clock,
            random=Highest(),
            websocket_options={"proxy": None},
        )
        starting = asyncio.create_task(client.start())
        await until(lambda: len(clock.short_sleeps) == 3)
        assert clock.short_sleeps == [0.5, 1, 2]
        await client.close()
        with pytest.raises(ClientClosed):
            await starting


async def test_it_pings_after_a_silent_heartbeat_and_a_pong_is_a_sign_of_life(
    server: FakeServer,
) -> None:
    clock = FakeClock()
    async with connected(server, clock=clock) as (client, peer):
        await take(client, 1)
        client.acknowledge()
        for number in range(1, 6):
            assert await clock.long_sleeps.get() == HEARTBEAT_S
            clock.advance(HEARTBEAT_S)
            assert await peer.receive() == {"type": "ping"}
            await peer.send({"type": "pong", "cursor": f"p:{number}", "server_time_ms": 1})
            await until(partial(stands_at, client, f"p:{number}"))
        assert client.is_connected


async def test_two_silent_heartbeats_end_the_connection(server: FakeServer) -> None:
    clock = FakeClock()
    async with connected(server, clock=clock) as (client, peer):
        await clock.long_sleeps.get()
        clock.advance(HEARTBEAT_S)
        assert await peer.receive() == {"type": "ping"}
        await clock.long_sleeps.get()
        clock.advance(HEARTBEAT_S)
        await resumed(server)
        stream = client.events()
        assert isinstance(await anext(stream), Connected)
        assert await anext(stream) == Disconnected(
            code=None, reason="the server was silent for two heartbeats"
        )


async def test_a_message_puts_the_ping_off(server: FakeServer) -> None:
    clock = FakeClock()
    async with connected(server, clock=clock) as (client, peer):
        await clock.long_sleeps.get()
        clock.advance(HEARTBEAT_S / 4)
        await peer.events(1)
        await take(client, 2)
        clock.advance(HEARTBEAT_S * 3 / 4)
        assert await clock.long_sleeps.get() == HEARTBEAT_S / 4
        assert await peer.has_heard_all()


async def test_a_client_that_stopped_reading_pings_and_does_not_blame_the_server(
    server: FakeServer,
) -> None:
    clock = FakeClock()
    async with connected(server, clock=clock, max_queued_events=1) as (client, peer):
        await peer.events(1)
        for _ in range(3):
            await clock.long_sleeps.get()
            clock.advance(HEARTBEAT_S)
            assert await peer.receive() == {"type": "ping"}
            await clock.long_sleeps.get()
            clock.advance(HEARTBEAT_S)
        assert await take(client, 2) == ["fresh", 1]
        assert client.is_connected


async def test_a_server_that_takes_nothing_is_left_after_two_heartbeats(
    server: FakeServer,
) -> None:
    clock = FakeClock()
    async with connected(server, clock=clock, limits={"requests_in_flight": 0}) as (client, peer):
        await clock.long_sleeps.get()
        peer.connection.transport.pause_reading()
        text = "x" * 60_000
        calls = [asyncio.create_task(client.call("m", {"text": text})) for _ in range(400)]
        await until_stuck(client)
        clock.advance(HEARTBEAT_S)
        await clock.long_sleeps.get()
        clock.advance(HEARTBEAT_S)
        again, _ = await resumed(server)
        for _ in calls:
            await again.reply(await again.receive())
        assert await asyncio.gather(*calls) == [{}] * 400


@pytest.mark.slow
async def test_close_does_not_wait_for_ever_for_a_server_that_takes_nothing(
    server: FakeServer,
) -> None:
    async with connected(server, limits={"requests_in_flight": 0}) as (client, peer):
        peer.connection.transport.pause_reading()
        text = "x" * 60_000
        calls = [asyncio.create_task(client.call("m", {"text": text})) for _ in range(400)]
        await until_stuck(client)
        await client.close()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(answer) for answer in answers} == {ClientClosed}
        peer.connection.transport.resume_reading()
        assert await peer.code_from_client() is None


async def test_close_while_waiting_to_connect_again_is_at_once(server: FakeServer) -> None:
    clock = FakeClock()
    async with connected(server, clock=clock) as (client, peer):
        await clock.long_sleeps.get()
        await peer.bye(4503, "draining", retry_after_ms=500_000)
        assert await clock.long_sleeps.get() == 500
        await client.close()
        with pytest.raises(StopAsyncIteration):
            await anext(client.events())
