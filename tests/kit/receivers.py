"""Receivers of webhooks that do what a test wants, without a network and with one."""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from server.webhooks.receiver import Answer, Call, NoAnswer

HTTP_OK = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 51\r\n\r\n"
    b'{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}\n'
)
OK = Answer(200, b'{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}')
DOWN = NoAnswer("connection refused")


def says(code: int, info: str = "", **fields: object) -> Answer:
    """An answer with this ErrorCode."""
    status = "OK" if code == 0 else "FAIL"
    body = {"ActionStatus": status, "ErrorCode": code, "ErrorInfo": info, **fields}
    return Answer(200, msgspec.json.encode(body))


Reaction = Answer | NoAnswer | Callable[[Call], Awaitable[Answer]]


class ScriptedReceiver:
    """``Receiver`` that answers from a script, and OK when that is over.

    Attributes:
        calls: every call that came, answered or not.
        script: what the next calls get.
        by_name: what calls of a name get, before the script is looked at.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.script: deque[Reaction] = deque()
        self.by_name: dict[str, Reaction] = {}
        self._held: list[tuple[Call, asyncio.Future[Answer]]] = []

    async def post(self, call: Call, timeout_s: float) -> Answer:
        assert timeout_s > 0
        self.calls.append(call)
        reaction = self.by_name.get(call.name)
        if reaction is None:
            reaction = self.script.popleft() if self.script else OK
        if isinstance(reaction, NoAnswer):
            raise reaction
        if isinstance(reaction, Answer):
            return reaction
        return await reaction(call)

    async def close(self) -> None:
        """Nothing is held."""

    async def hold(self, call: Call) -> Answer:
        """A reaction: wait until the test answers."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._held.append((call, future))
        try:
            return await future
        finally:
            self._held = [one for one in self._held if one[1] is not future]

    @property
    def held(self) -> list[str]:
        """What those that are held say, in the order of coming."""
        return [text_of(call) for call, _ in self._held]

    def answer(self, text: str, answer: Answer | NoAnswer = OK) -> None:
        """Answer the one of those that are held which says ``text``."""
        for call, future in self._held:
            if text_of(call) == text and not future.done():
                self._held = [one for one in self._held if one[1] is not future]
                if isinstance(answer, Answer):
                    future.set_result(answer)
                else:
                    future.set_exception(answer)
                return
        raise AssertionError(f"nothing that says {text!r} is held: {self.held}")

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of all calls."""
        return [body_of(call) for call in self.calls]

    def told(self, name: str) -> list[dict[str, Any]]:
        """The bodies of the calls of that name, which is given without what all have."""
        return [body for body in self.bodies if body["CallbackCommand"].endswith(name)]


def body_of(call: Call) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(call.body)
    assert body["CallbackCommand"] == call.name
    return body


def text_of(call: Call) -> str:
    """What the message of a call says; for others the name."""
    body = body_of(call)
    if "MsgBody" in body:
        return str(body["MsgBody"][0]["MsgContent"]["Text"])
    return str(body.get("Name") or call.name)


class HttpPeer:
    """An HTTP server that says what a test wants; ``url`` is where it is, also after its end.

    Attributes:
        requests: every request that came: its first line, headers and body.
        response: what is sent back, None for nothing ever.
    """

    def __init__(self, response: bytes | None) -> None:
        self.response = response
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.closed = 0
        self.url = ""

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of all requests."""
        return [msgspec.json.decode(body) for _, _, body in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines if line)
                body = await reader.readexactly(int(headers["Content-Length"]))
                self.requests.append((first, headers, body))
                if self.response is not None:
                    writer.write(self.response)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed += 1
        finally:
            writer.close()


@asynccontextmanager
async def http_peer(
    response: bytes | None = HTTP_OK, tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[HttpPeer]:
    """A peer that listens; port 0 for a free one."""
    peer = HttpPeer(response)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", port, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    peer.url = f"http{'s' if tls else ''}://127.0.0.1:{port}/hook"
    try:
        yield peer
    finally:
        server.close()
        await server.wait_closed()
