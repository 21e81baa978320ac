"""The SDK against a scripted server: hello, calls, refusals, retries of calls, closing."""

import asyncio
import inspect
import itertools
import textwrap
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

import protocol.client
from protocol.client import CallTimeout, Client, ClientClosed, Connected, connect
from protocol.client_calls import Call, Calls, new_request_id
from protocol.codec import JSON, MSGPACK, Codec
from protocol.commands import DisbandGroup, GetGroups
from protocol.errors import ConnectionRefused, ErrorCode, Refused
from protocol.frames import Reply, Resume
from protocol.identifiers import is_request_id
from protocol.messages import text_body
from protocol.results import GetGroupsResult, JoinGroupResult, JoinStatus, SendMessageResult
from tests.protocol.client_kit import (
    FakeClock,
    FakeServer,
    Frame,
    Peer,
    client_of,
    connected,
    fake_server,
)

CODECS = pytest.mark.parametrize("codec", [MSGPACK, JSON], ids=["msgpack", "json"])


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with fake_server() as running:
        yield running


async def answer(peer: Peer, result: Frame | None = None, *, cursor: str = "c:0") -> Frame:
    """Read one request, reply to it, and return it."""
    request = await peer.receive()
    await peer.reply(request, result, cursor=cursor)
    return request


@CODECS
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


@CODECS
async def test_a_call_with_a_map_gives_a_map(server: FakeServer, codec: Codec) -> None:
    async with connected(server, codec=codec) as (client, peer):
        calling = asyncio.create_task(client.call("get_time", {"zone": "utc"}))
        request = await peer.receive()
        await peer.reply(request, {"now_ms": 5, "list": [1, None, True]})
        assert await calling == {"now_ms": 5, "list": [1, None, True]}
        assert is_request_id(request.pop("id"))
        assert request == {"type": "request", "method": "get_time", "params": {"zone": "utc"}}


@CODECS
async def test_a_call_with_a_command_gives_its_result(server: FakeServer, codec: Codec) -> None:
    async with connected(server, codec=codec) as (client, peer):
        calling = asyncio.create_task(client.call("get_groups", GetGroups(group_ids=["g-1"])))
        request = await answer(peer, {"groups": [{"group_id": "g-1", "news": 1}], "more": 2})
        result = await calling
        assert request["params"] == {"group_ids": ["g-1"]}
        assert isinstance(result, GetGroupsResult)
        assert result.groups[0].group_id == "g-1"


@CODECS
async def test_a_typed_method_sends_its_command(server: FakeServer, codec: Codec) -> None:
    async with connected(server, codec=codec) as (client, peer):
        calling = asyncio.create_task(
            client.send_message("g-1", text_body("hi"), request_id="mine", as_user_id="bob")
        )
        request = await answer(peer, {"message_id": "m-1", "time_ms": 9, "seq": 3})
        assert await calling == SendMessageResult(message_id="m-1", time_ms=9, seq=3)
        assert (request["id"], request["method"]) == ("mine", "send_message")
        assert request["params"].items() >= {"group_id": "g-1", "as_user_id": "bob"}.items()
        assert request["params"]["body"] == [{"type": "text", "content": {"text": "hi"}}]


async def test_replies_may_come_in_any_order(server: FakeServer) -> None:
    async with connected(server) as (client, peer):
        calls = [asyncio.create_task(client.call(f"m{n}")) for n in range(3)]
        requests = [await peer.receive() for _ in calls]
        assert [request["method"] for request in requests] == ["m0", "m1", "m2"]
        for request in reversed(requests):
            await peer.reply(request, {"of": request["method"]})
        assert await asyncio.gather(*calls) == [{"of": "m0"}, {"of": "m1"}, {"of": "m2"}]


async def test_an_error_reply_raises_refused(server: FakeServer) -> None:
    async with connected(server) as (client, peer):
        calling = asyncio.create_task(client.disband_group("g-1"))
        await peer.refuse(
            await peer.receive(),
            10007,
            "NO_PERMISSION",
            retryable=False,
            detail={"rule": "R1", "code": 5},
        )
        with pytest.raises(Refused, match="NO_PERMISSION") as caught:
            await calling
        assert caught.value.code is ErrorCode.NO_PERMISSION
        assert caught.value.message == "because"
        assert caught.value.detail == {"rule": "R1", "code": 5}


async def test_an_error_code_from_a_newer_server_comes_as_internal(server: FakeServer) -> None:
    async with connected(server) as (client, peer):
        calling = asyncio.create_task(client.call("m"))
        await peer.refuse(await peer.receive(), 99999, "BRAND_NEW", retryable=False)
        with pytest.raises(Refused, match=r"BRAND_NEW \(99999\): because") as caught:
            await calling
        assert caught.value.code is ErrorCode.INTERNAL


@pytest.mark.parametrize("value", [float("nan"), b"raw", "\ud800", 2**53, 2**70, {"a": -(2**53)}])
async def test_what_the_protocol_cannot_carry_is_refused_here(
    server: FakeServer, value: object
) -> None:
    async with connected(server) as (client, peer):
        with pytest.raises(Refused, match="cannot be sent") as caught:
            await client.call("m", {"value": value})
        assert caught.value.code is ErrorCode.BAD_REQUEST
        assert await peer.has_heard_all()


async def test_a_request_that_would_end_the_connection_is_refused_here(
    server: FakeServer,
) -> None:
    async with connected(server, limits={"frame_bytes": 200}) as (client, peer):
        with pytest.raises(Refused, match="the server takes 200") as caught:
            await client.call("m", {"text": "x" * 200})
        assert caught.value.code is ErrorCode.MESSAGE_TOO_LARGE
        calling = asyncio.create_task(client.call("m", {"text": "x"}))
        assert (await answer(peer))["params"] == {"text": "x"}
        assert await calling == {}


async def test_calls_beyond_the_servers_limit_wait_here(server: FakeServer) -> None:
    async with connected(server, limits={"requests_in_flight": 2}) as (client, peer):
        calls = [asyncio.create_task(client.call(f"m{n}")) for n in range(5)]
        first, second = await peer.receive(), await peer.receive()
        assert await peer.has_heard_all()
        await peer.reply(second)
        third = await peer.receive()
        assert third["method"] == "m2"
        assert await peer.has_heard_all()
        for request in (first, third):
            await peer.reply(request)
        assert [(await answer(peer))["method"] for _ in range(2)] == ["m3", "m4"]
        assert await asyncio.gather(*calls) == [{}] * 5


async def test_a_limit_of_zero_is_none(server: FakeServer) -> None:
    limits = {"requests_in_flight": 0, "frame_bytes": 0}
    async with connected(server, limits=limits) as (client, peer):
        calls = [asyncio.create_task(client.call(f"m{n}")) for n in range(100)]
        requests = [await peer.receive() for _ in calls]
        for request in requests:
            await peer.reply(request)
        assert await asyncio.gather(*calls) == [{}] * 100


async def test_a_call_that_lost_its_caller_still_counts_at_the_server(server: FakeServer) -> None:
    async with connected(server, limits={"requests_in_flight": 1}) as (client, peer):
        forgotten = asyncio.create_task(client.call("m0"))
        request = await peer.receive()
        forgotten.cancel()
        calling = asyncio.create_task(client.call("m1"))
        assert await peer.has_heard_all()
        await peer.reply(request)
        assert (await answer(peer))["method"] == "m1"
        assert await calling == {}
        assert forgotten.cancelled()


async def test_the_timeout_names_the_id_under_which_the_call_can_be_repeated(
    server: FakeServer,
) -> None:
    async with connected(server) as (client, peer):
        with pytest.raises(CallTimeout, match="no answer to join_group") as caught:
            await client.join_group("g-1", timeout_s=0)
        request_id = caught.value.request_id
        calling = asyncio.create_task(client.join_group("g-1", request_id=request_id))
        request = await answer(peer, {"status": "joined"})
        assert request["id"] == request_id
        assert await calling == JoinGroupResult(status=JoinStatus.JOINED)


async def test_a_repeated_call_takes_the_reply_of_the_one_in_flight(server: FakeServer) -> None:
    async with connected(server) as (client, peer):
        forgotten = asyncio.create_task(client.call("m", {"n": 1}, request_id="r-1"))
        request = await peer.receive()
        forgotten.cancel()
        await asyncio.wait([forgotten])
        calling = asyncio.create_task(client.call("m", {"n": 1}, request_id="r-1"))
        assert await peer.has_heard_all()
        with pytest.raises(ValueError, match="'r-1' is in flight"):
            await client.call("m", {"n": 1}, request_id="r-1")
        await peer.reply(request, {"done": True})
        assert await calling == {"done": True}


async def test_a_repeated_call_survives_the_end_of_the_first() -> None:
    loop = asyncio.get_running_loop()
    first, second = (
        Call(id="r-1", number=number, data=b"same", reply=loop.create_future())
        for number in range(2)
    )
    calls = Calls()
    calls.add(first)
    assert calls.take_next(0) is first
    calls.answer(Reply(id="r-1", cursor="c:0"))
    calls.add(second)
    calls.abandon(first)
    assert len(calls) == 1
    assert calls.take_next(0) is second


async def test_an_id_in_flight_is_not_used_for_something_else(server: FakeServer) -> None:
    async with connected(server) as (client, peer):
        forgotten = asyncio.create_task(client.call("m", {"n": 1}, request_id="r-1"))
        await peer.receive()
        forgotten.cancel()
        await asyncio.wait([forgotten])
        with pytest.raises(ValueError, match="'r-1' is in flight"):
            await client.call("m", {"n": 2}, request_id="r-1")


@pytest.mark.parametrize("request_id", ["", "x" * 65, "ümlaut", "line\n"])
async def test_a_wrong_request_id_is_refused_here(server: FakeServer, request_id: str) -> None:
    async with connected(server) as (client, _):
        with pytest.raises(ValueError, match="1 to 64 printable"):
            await client.call("m", request_id=request_id)


async def test_a_command_goes_only_to_its_own_method(server: FakeServer) -> None:
    async with connected(server) as (client, _):
        with pytest.raises(ValueError, match="DisbandGroup is the command of disband_group"):
            await client.call("join_group", DisbandGroup(group_id="g-1"))


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (90002, "OUTCOME_UNKNOWN"),
        (90004, "UNAVAILABLE"),
        (10002, "INTERNAL"),
        (10006, "TOO_MANY_REQUESTS"),
    ],
)
async def test_a_retryable_refusal_is_retried_with_the_same_id_and_backoff(
    server: FakeServer, code: int, name: str
) -> None:
    clock = FakeClock()
    async with connected(server, clock=clock) as (client, peer):
        calling = asyncio.create_task(client.call("m", {"n": 1}))
        first = await peer.receive()
        request = first
        for _ in range(8):
            await peer.refuse(request, code, name, retryable=True)
            request = await peer.receive()
            assert request == first
        await peer.reply(request, {"ok": 1})
        assert await calling == {"ok": 1}
        assert clock.short_sleeps == [0.5, 1, 2, 4, 8, 16, 30, 30]


async def test_a_retry_is_never_sooner_than_the_server_asks(server: FakeServer) -> None:
    clock = FakeClock()
    async with connected(server, clock=clock) as (client, peer):
        calling = asyncio.create_task(client.call("m"))
        for retry_after_ms in (7000, 100):
            await peer.refuse(
                await peer.receive(),
                10006,
                "TOO_MANY_REQUESTS",
                retryable=True,
                detail={"retry_after_ms": retry_after_ms},
            )
        await answer(peer)
        assert await calling == {}
        assert clock.short_sleeps == [7.0, 1.0]


@pytest.mark.parametrize(
    ("changes", "detail"),
    [({"retry_rate_limited": False}, {}), ({"timeout_s": 5.0}, {"retry_after_ms": 5000})],
    ids=["switched off", "too late"],
)
async def test_a_rate_limited_call_is_given_up_at_once_when(
    server: FakeServer, changes: Mapping[str, Any], detail: Mapping[str, int]
) -> None:
    clock = FakeClock()
    async with connected(server, clock=clock, **changes) as (client, peer):
        calling = asyncio.create_task(client.call("m"))
        await peer.refuse(
            await peer.receive(), 10006, "TOO_MANY_REQUESTS", retryable=True, detail=detail
        )
        with pytest.raises(Refused, match="TOO_MANY_REQUESTS"):
            await calling
        assert clock.short_sleeps == []


async def test_calls_retried_later_keep_their_place(server: FakeServer) -> None:
    async with connected(server, limits={"requests_in_flight": 1}) as (client, peer):
        calls = [asyncio.create_task(client.call(f"m{n}")) for n in range(3)]
        await peer.refuse(await peer.receive(), 90004, "UNAVAILABLE", retryable=True)
        second = await peer.receive()
        assert second["method"] == "m1"
        assert await peer.has_heard_all()
        await peer.reply(second)
        assert [(await answer(peer))["method"] for _ in range(2)] == ["m0", "m2"]
        assert await asyncio.gather(*calls) == [{}] * 3


async def test_close_says_goodbye_and_ends_calls_and_events(server: FakeServer) -> None:
    async with connected(server) as (client, peer):
        calling = asyncio.create_task(client.call("m"))
        waiting = asyncio.create_task(anext(client.events()))
        await waiting
        waiting = asyncio.create_task(anext(client.events()))
        await peer.receive()
        await client.close()
        assert await peer.code_from_client() == 1000
        with pytest.raises(ClientClosed):
            await calling
        with pytest.raises(StopAsyncIteration):
            await waiting
        with pytest.raises(ClientClosed):
            await client.call("m")


async def test_close_is_idempotent_and_may_come_from_many(server: FakeServer) -> None:
    async with connected(server) as (client, peer):
        await asyncio.gather(client.close(), client.close())
        await client.close()
        assert await peer.code_from_client() == 1000


async def test_close_ends_a_call_that_waits_for_its_next_attempt(server: FakeServer) -> None:
    clock = FakeClock()
    async with connected(server, clock=clock, timeout_s=1000.0) as (client, peer):
        await clock.long_sleeps.get()  # the heartbeat's
        calling = asyncio.create_task(client.call("m"))
        await peer.refuse(
            await peer.receive(),
            90004,
            "UNAVAILABLE",
            retryable=True,
            detail={"retry_after_ms": 500_000},
        )
        assert await clock.long_sleeps.get() == 500
        await client.close()
        with pytest.raises(ClientClosed):
            await calling


async def test_a_cancelled_wait_for_the_next_attempt_leaves_nothing_behind(
    server: FakeServer,
) -> None:
    clock = FakeClock()
    async with connected(server, clock=clock, timeout_s=1000.0) as (client, peer):
        await clock.long_sleeps.get()  # the heartbeat's
        calling = asyncio.create_task(client.call("m"))
        await peer.refuse(
            await peer.receive(),
            90004,
            "UNAVAILABLE",
            retryable=True,
            detail={"retry_after_ms": 500_000},
        )
        await clock.long_sleeps.get()
        before = len(asyncio.all_tasks())
        calling.cancel()
        await asyncio.wait([calling])
        await asyncio.sleep(0)
        assert calling.cancelled()
        assert len(asyncio.all_tasks()) == before - 2


async def test_a_closed_client_leaves_no_task(server: FakeServer) -> None:
    before = asyncio.all_tasks()
    async with connected(server) as (client, _):
        await client.close()
        names = {task.get_coro() for task in asyncio.all_tasks() - before}
        assert not [coro for coro in names if "protocol.client" in repr(coro)]


async def test_a_client_is_started_once_and_before_calls(server: FakeServer) -> None:
    client = client_of(server)
    with pytest.raises(RuntimeError, match="start the client first"):
        await client.call("m")
    await client.close()
    with pytest.raises(RuntimeError, match="started once"):
        await client.start()
    async with connected(server) as (started, _):
        with pytest.raises(RuntimeError, match="started once"):
            await started.start()


async def test_the_context_manager_starts_and_closes(server: FakeServer) -> None:
    async def use() -> str | None:
        options = {"proxy": None}
        async with connect(
            server.url, "alice", "sig", device_id="d-1", websocket_options=options
        ) as client:
            return (await client.call("m"))["said"]  # type: ignore[return-value]

    using = asyncio.create_task(use())
    peer = await server.accept()
    await peer.welcome()
    await answer(peer, {"said": "yes"})
    assert await using == "yes"
    assert await peer.code_from_client() == 1000


async def test_the_example_in_the_documentation_works(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    documentation = inspect.getdoc(protocol.client) or ""
    example = documentation.partition("\n\n")[2].partition("What the client promises:")[0]
    names: dict[str, Any] = {}
    saved: list[str] = []
    exec(textwrap.dedent(example), names)
    running = asyncio.create_task(names["main"](server.url, "sig", "k:1", saved.append))
    peer = await server.accept()
    assert (await peer.welcome("n:0", "reset", reason="expired"))["cursor"] == "k:1"
    await answer(peer, {"message_id": "m-1", "time_ms": 9, "seq": 3}, cursor="n:0")
    await answer(peer, {"groups": [], "version": "v-1"}, cursor="n:0")
    await peer.events(1, cursor="n:1")
    await peer.bye(4409, "another laptop")
    with pytest.raises(ConnectionRefused, match="another laptop"):
        await running
    assert "v-1" in capsys.readouterr().out
    assert saved == ["n:0", "n:1"]


def test_connect_is_the_client() -> None:
    assert connect is Client


def test_request_ids_are_unique_and_sort_by_age() -> None:
    ids = [new_request_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(len(one) == 26 and is_request_id(one) for one in ids)
    assert all(one[:10] <= other[:10] for one, other in itertools.pairwise(ids))
