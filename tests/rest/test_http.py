"""Requests at the edges of HTTP: broken bodies, places that are none, peers that stay silent."""

import asyncio
import gzip
import logging
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import pytest

from server.transport.admin import AdminListener
from tests.kit.devices import ADMIN
from tests.kit.office import Office

CHECK = "/v4/im_open_login_svc/account_check"
BODY = b'{"CheckItem":[{"UserID":"ann"}]}'
_RAW = zlib.compressobj(wbits=-15)
UNPACKED_BOMB = b'{"x":"' + b"a" * 2**21 + b'"}'


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "server.rest.app"]


def is_quiet(caplog: pytest.LogCaptureFixture) -> bool:
    """Nothing is said to be wrong with the server."""
    return all(one.levelno <= logging.INFO and not one.exc_info for one in caplog.records)


@asynccontextmanager
async def connected(
    address: str,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = address.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


def head(office: Office, *headers: str) -> bytes:
    query = urlencode(office.query())
    rest = "".join(f"{line}\r\n" for line in headers)
    return f"POST {CHECK}?{query} HTTP/1.1\r\nHost: x\r\n{rest}\r\n".encode()


@pytest.mark.parametrize(
    ("coding", "body", "code"),
    [
        ("identity", BODY, 0),
        ("gzip", gzip.compress(BODY), 0),
        ("GZip", gzip.compress(BODY), 0),
        ("deflate", zlib.compress(BODY), 0),
        ("deflate", _RAW.compress(BODY) + _RAW.flush(), 0),
        ("gzip", b"xxxxxxxxxx", 60008),
        ("deflate", b"xxxxxxxxxx", 60008),
        ("gzip", gzip.compress(BODY)[:-1], 60008),
        ("gzip", gzip.compress(UNPACKED_BOMB), 60008),
        ("gzip", b"", 60008),
        ("br", b"xxxxxxxxxx", 60008),
        ("zstd", BODY, 60008),
        ("gzip, gzip", gzip.compress(gzip.compress(BODY)), 60008),
        ("gzip", gzip.compress(b"{"), 60003),
    ],
)
async def test_packed_bodies(
    office: Office, coding: str, body: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await office.send(CHECK, body, headers={"Content-Encoding": coding})
    assert answer["ErrorCode"] == code
    assert is_quiet(caplog)


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("Transfer-Encoding: chunked", b"zz\r\nxx"),
        ("Transfer-Encoding: chunked", b"2\r\n{}\r\nx\r\n"),
        ("Transfer-Encoding: chunked", b"2\r\n{}xxxx\r\n0\r\n\r\n"),
    ],
)
async def test_a_broken_chunk_is_noticed_at_once(
    office: Office, header: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The time for a body is ten seconds; the test would be too slow without."""
    async with connected(office.address) as (reader, writer), asyncio.timeout(5):
        writer.write(head(office, header))
        await writer.drain()
        await office.send(CHECK, BODY)  # the head was read by then
        writer.write(body)
        assert b'"ErrorCode":60008' in await reader.readuntil(b"}")
    assert is_quiet(caplog)


async def test_a_peer_that_goes_in_the_middle_of_a_body(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with connected(office.address) as (_, writer):
        writer.write(head(office, "Content-Length: 9") + b"{")
        await writer.drain()
        await office.send(CHECK, BODY)
    for _ in range(100_000):  # turns of the loop; a few are enough
        if len(lines(caplog)) == 2:
            break
        await asyncio.sleep(0)
    assert "60008" in lines(caplog)[1]
    assert is_quiet(caplog)


async def test_the_same_key_twice_is_named(office: Office) -> None:
    answer = await office.send(CHECK, b'{"CheckItem":[],"CheckItem":[]}')
    assert answer["ErrorCode"] == 60003
    assert answer["ErrorInfo"] == "a map has the same key twice"


@pytest.mark.parametrize(
    "path",
    [
        "/v4",
        "/v4/",
        "/v4/group_open_http_svc",
        "/v4/group_open_http_svc/",
        "/v4/group_open_http_svc/create_group/",
        "/v4/group_open_http_svc/create_group/more",
        "/v4//create_group",
        "/v4/no_such_service/create_group",
    ],
)
async def test_a_place_that_is_none_is_answered_as_every_call(office: Office, path: str) -> None:
    for method in ("POST", "GET", "DELETE"):
        assert (await office.send(path, method=method))["ErrorCode"] == 60009


async def test_nothing_of_a_strangers_words_is_in_the_log(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = office.signature()
    for path in (
        "group_open_http_svc/%0aFAKE%20LINE",
        f"group_open_http_svc/{token}",
        f"{token}/x",
    ):
        assert (await office.send(f"/v4/{path}", query={}))["ErrorCode"]
    assert all(" of unknown by nobody from " in line for line in lines(caplog))
    assert len(lines(caplog)) == 3
    assert "FAKE" not in caplog.text
    assert token[:16] not in caplog.text


async def test_the_log_names_who_had_a_good_signature(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for path, code in (
        ("/v4/group_open_http_svc/no_such", 10003),
        ("/v4/openim/modify_group_msg", 10026),
        ("/v4/group_open_http_svc/get_appid_group_list", 0),
        ("/v4/group_open_http_svc/get_appid_group_list", 60007),
        (CHECK, 10004),
    ):
        assert (await office.send(path))["ErrorCode"] == code
        assert f"by {ADMIN} from 127.0.0.1: {code}," in lines(caplog)[-1]


async def test_no_answer_says_what_the_server_is_made_of(office: Office) -> None:
    async with office.http.get(office.address + "/healthz") as response:
        assert "Server" not in response.headers
    async with office.http.get(office.address + "/none") as response:
        assert "Server" not in response.headers
    async with office.http.post(office.address + CHECK) as response:
        assert "Server" not in response.headers
    async with connected(office.address) as (reader, writer):
        writer.write(b"GET\r\n\r\n")
        answer = await reader.read()
    assert b"aiohttp" not in answer
    assert b"Python" not in answer


async def test_an_address_that_is_too_long_is_not_said_again(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    query = urlencode({"usersig": office.signature(), "x": "x" * 10_000})
    async with connected(office.address) as (reader, writer):
        writer.write(f"POST {CHECK}?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.0 400 ")
    assert b"usersig" not in answer
    assert "usersig" not in caplog.text


@asynccontextmanager
async def listening(**bounds: float) -> AsyncIterator[str]:
    listener = AdminListener(**bounds)  # type: ignore[arg-type]  # two kinds of numbers
    port = await listener.start("127.0.0.1", 0, None)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await listener.stop()


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost"])
async def test_a_head_that_does_not_come_ends_the_connection(sent: bytes) -> None:
    async with (
        listening(head_s=0.05) as address,
        connected(address) as (reader, writer),
        asyncio.timeout(5),
    ):
        writer.write(sent)
        assert await reader.read() == b""


async def test_a_second_head_that_does_not_come_ends_the_connection() -> None:
    whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with (
        listening(head_s=0.05) as address,
        connected(address) as (reader, writer),
        asyncio.timeout(5),
    ):
        writer.write(whole)
        assert await reader.readuntil(b"}")
        writer.write(whole[:9])
        assert await reader.read() == b""


async def test_connections_are_counted() -> None:
    whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with listening(most_connections=1) as address, connected(address) as (reader, writer):
        writer.write(whole)
        assert await reader.readuntil(b"}")
        async with connected(address) as (other, _):
            assert await other.read() == b""
        writer.write(whole)
        assert await reader.readuntil(b"}"), "who was there before is not disturbed"
