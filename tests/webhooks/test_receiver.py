"""One request over HTTP: what is sent, and what may come back."""

import asyncio
import contextlib
import hashlib
import hmac
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs, urlsplit

import pytest

from server.webhooks.receiver import Answer, Call, HttpReceiver, NoAnswer, NoConnection
from server.webhooks.signing import signature, token_sign
from tests.kit.certificates import make_certificate
from tests.kit.fakes import until
from tests.kit.receivers import http_peer

CALL = Call(
    name="Group.CallbackAfterSendMsg",
    body=b'{"CallbackCommand":"Group.CallbackAfterSendMsg"}',
    platform="iOS",
    address="192.0.2.7",
    delivery_id="abc-1",
    attempt=3,
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
ANSWER_BYTES = 1000


@asynccontextmanager
async def receiver_at(
    url: str, *, token: str = "", secrets: tuple[str, ...] = ()
) -> AsyncIterator[HttpReceiver]:
    receiver = HttpReceiver(
        url,
        sdkappid=1400000000,
        token=token,
        secrets=secrets,
        now_s=lambda: 1_669_872_112,
        connections=4,
        answer_bytes=ANSWER_BYTES,
    )
    try:
        yield receiver
    finally:
        await receiver.close()


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[str]:
    """The URL of a peer that does this with each connection; all have ended afterwards."""
    tasks: list[asyncio.Task[None]] = []

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(cast("asyncio.Task[None]", asyncio.current_task()))
        try:
            with contextlib.suppress(asyncio.IncompleteReadError):  # the other side has gone
                await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.gather(*tasks)


async def post(url: str, timeout_s: float = 5) -> Answer:
    async with receiver_at(url) as receiver:
        return await receiver.post(CALL, timeout_s)


class TestRequest:
    async def test_it_has_the_documented_parameters(self) -> None:
        async with http_peer(OK) as peer, receiver_at(peer.url + "?k=v&k=w") as receiver:
            assert await receiver.post(CALL, 5) == Answer(200, b"{}")
            ((first, headers, body),) = peer.requests
            method, target, _ = first.split()
            assert method == "POST"
            assert urlsplit(target).path == "/hook"
            assert parse_qs(urlsplit(target).query) == {
                "k": ["v", "w"],
                "SdkAppid": ["1400000000"],
                "CallbackCommand": ["Group.CallbackAfterSendMsg"],
                "contenttype": ["json"],
                "ClientIP": ["192.0.2.7"],
                "OptPlatform": ["iOS"],
            }
            assert headers["Content-Type"] == "application/json"
            assert headers["Muster-Delivery-Id"] == "abc-1"
            assert headers["Muster-Attempt"] == "3"
            assert "Muster-Signature" not in headers
            assert body == CALL.body

    async def test_the_originals_sign_has_its_documented_value(self) -> None:
        async with http_peer(OK) as peer, receiver_at(peer.url, token="xxxxyyyy") as receiver:
            await receiver.post(CALL, 5)
            query = parse_qs(urlsplit(peer.requests[0][0].split()[1]).query)
            assert query["RequestTime"] == ["1669872112"]
            assert query["Sign"] == [
                "17773bc39a671d7b9aa835458704d2a6db81360a5940292b587d6d760d484061"
            ]

    async def test_the_body_is_signed_with_every_secret(self) -> None:
        async with (
            http_peer(OK) as peer,
            receiver_at(peer.url, secrets=("old", "new")) as receiver,
        ):
            await receiver.post(CALL, 5)
            _, headers, body = peer.requests[0]
            time, *macs = headers["Muster-Signature"].split(",")
            assert time == "t=1669872112"
            content = b"1669872112." + body
            assert macs == [
                "v1=" + hmac.new(secret, content, hashlib.sha256).hexdigest()
                for secret in (b"old", b"new")
            ]

    async def test_connections_are_used_again(self) -> None:
        async with http_peer(OK) as peer, receiver_at(peer.url) as receiver:
            for _ in range(5):
                await receiver.post(CALL, 5)
            await receiver.close()
            assert len(peer.requests) == 5
            with pytest.raises(NoAnswer, match="ends"):
                await receiver.post(CALL, 5)

    async def test_what_waits_when_it_is_closed_has_no_answer(self) -> None:
        """Found by reading: it opened connections anew, which nobody closed."""
        async with http_peer(None) as peer, receiver_at(peer.url) as receiver:
            posts = [asyncio.ensure_future(receiver.post(CALL, 5)) for _ in range(6)]
            await until(lambda: len(peer.requests) == 4)
            await receiver.close()
            answers = await asyncio.gather(*posts, return_exceptions=True)
            assert [type(answer) for answer in answers] == [NoAnswer] * 6


def test_signing_follows_its_definition() -> None:
    assert token_sign("xxxxyyyy", 1669872112).startswith("17773bc39a67")
    mac = hmac.new(b"k", b"5.{}", hashlib.sha256).hexdigest()
    assert signature(["k"], 5, b"{}") == f"t=5,v1={mac}"


class TestAnswers:
    @pytest.mark.parametrize("status", [200, 201, 400, 500, 503])
    async def test_any_status_is_an_answer(self, status: int) -> None:
        response = f"HTTP/1.1 {status} X\r\nContent-Length: 1\r\n\r\nx".encode()
        async with http_peer(response) as peer:
            assert await post(peer.url) == Answer(status, b"x")

    async def test_a_redirect_is_an_answer_and_not_followed(self) -> None:
        async with http_peer(OK) as other:
            response = (
                f"HTTP/1.1 307 X\r\nLocation: {other.url}\r\nContent-Length: 0\r\n\r\n".encode()
            )
            async with http_peer(response) as peer:
                assert await post(peer.url) == Answer(307, b"")
            assert not other.requests

    @pytest.mark.parametrize(
        "head",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n",
        ],
    )
    async def test_a_long_answer_is_not_read(self, head: bytes) -> None:
        async with http_peer(head + b"x" * 1001) as peer:
            assert await post(peer.url) == Answer(200, None)

    async def test_one_of_just_the_limit_is(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        async with http_peer(head + b"x" * 1000) as peer:
            assert await post(peer.url) == Answer(200, b"x" * 1000)

    async def test_a_compressed_answer_stays_as_it_is(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
        async with http_peer(head) as peer:
            assert await post(peer.url) == Answer(200, b"abc")


class TestNoAnswer:
    @pytest.mark.parametrize(
        "response",
        [
            None,
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx",
        ],
        ids=["silence", "half a head", "half a body"],
    )
    async def test_who_hangs_is_given_up_in_time(self, response: bytes | None) -> None:
        async with http_peer(response) as peer:
            with pytest.raises(NoAnswer, match=r"within 0\.05 s"):
                await post(peer.url, timeout_s=0.05)

    @pytest.mark.parametrize(
        "response", [b"garbage\r\n\r\n", b"\x00\xff" * 100, b"HTTP/1.1 abc OK\r\n\r\n"]
    )
    async def test_garbage_is_no_answer(self, response: bytes) -> None:
        async with http_peer(response) as peer:
            async with receiver_at(peer.url, token="secret") as receiver:
                with pytest.raises(NoAnswer) as refused:
                    await receiver.post(CALL, 5)
            assert "Sign" not in str(refused.value)

    @pytest.mark.parametrize(
        "piece", [b"X-A: b\r\n" * 1000, b"x" * 10_000, b"HTTP/1.1 100 Continue\r\n\r\n" * 1000]
    )
    async def test_a_head_without_an_end_is_no_answer(self, piece: bytes) -> None:
        begin = b"" if piece.startswith(b"HTTP") else b"HTTP/1.1 200 OK\r\n"
        async with http_peer(begin + piece * 20) as peer:
            with pytest.raises(NoAnswer):
                await post(peer.url, timeout_s=0.2)

    async def test_who_drips_is_given_up_in_time(self) -> None:
        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                while not writer.is_closing():
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(0.01)

        async with serving(drip) as url:
            with pytest.raises(NoAnswer, match=r"within 0\.1 s"):
                await post(url, timeout_s=0.1)

    @pytest.mark.parametrize("ends", [True, False])
    async def test_a_connection_that_was_closed_while_it_lay_idle_is_replaced(
        self, ends: bool
    ) -> None:
        """Found by reading: a question that came in just that moment had no answer."""
        connections = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            for _ in range(2):
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.split(b"Content-Length: ")[1].split()[0]))
                if (connections > 1 and not ends) or writer.is_closing():
                    break
                writer.write(OK)
                if connections == 1:
                    await reader.readuntil(b"\r\n\r\n")
                    break

        async with serving(serve) as url, receiver_at(url) as receiver:
            assert await receiver.post(CALL, 5) == Answer(200, b"{}")
            if ends:
                assert await receiver.post(CALL, 5) == Answer(200, b"{}")
            else:
                with pytest.raises(NoAnswer, match="Disconnected"):
                    await receiver.post(CALL, 5)
            assert connections == 2, "once, and on a new one"

    async def test_who_waits_for_a_connection_says_so(self) -> None:
        """Found by a reviewer: a receiver that works was taken for one that fails, as the time
        went by in which questions waited for each other."""
        async with http_peer(None) as peer, receiver_at(peer.url) as receiver:
            calls = [receiver.post(CALL, 0.05) for _ in range(4)]
            late = [receiver.post(CALL, timeout_s) for timeout_s in (0.05, 0.5)]
            failures = await asyncio.gather(*calls, *late, return_exceptions=True)
            assert [type(one) for one in failures] == [NoAnswer] * 4 + [NoConnection] * 2
            assert len(peer.requests) == 5, "one of them had one for the rest of its time"
            peer.response = OK
            assert (await receiver.post(CALL, 5)).status == 200

    async def test_nobody_listens(self) -> None:
        with closing(socket.socket()) as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            with pytest.raises(NoAnswer, match="Connect"):
                await post(f"http://127.0.0.1:{port}/")

    async def test_a_name_that_nobody_has(self) -> None:
        with pytest.raises(NoAnswer):
            await post("http://nowhere.invalid/")

    async def test_many_lookups_of_a_dead_name_server_keep_two_threads(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        release = threading.Event()
        asked: list[str] = []

        def hang(host: str, *_: object) -> list[object]:
            asked.append(host)
            release.wait(30)
            return []

        monkeypatch.setattr(socket, "getaddrinfo", hang)
        async with receiver_at("http://hook.example/") as receiver:
            for _ in range(5):
                posts = [receiver.post(CALL, 0.02) for _ in range(3)]
                results = await asyncio.gather(*posts, return_exceptions=True)
                assert all(isinstance(result, NoAnswer) for result in results)
            threads = [one for one in threading.enumerate() if one.name == "muster-lookup"]
            assert len(asked) == len(threads) <= 2
            assert all(one.daemon for one in threads), "they do not keep the process from ending"
            release.set()
            for thread in threads:
                thread.join()

    async def test_a_certificate_that_nobody_vouches_for(self, tmp_path: Path) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*make_certificate(tmp_path))
        async with http_peer(OK, context) as peer:
            with pytest.raises(NoAnswer, match="certificate"):
                await post(peer.url)
            assert not peer.requests
