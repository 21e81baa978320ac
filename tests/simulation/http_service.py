"""The operator's own service behind the real HTTP client, over a network of its own in memory."""

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

from server.webhooks.receiver import Answer, Call, HttpReceiver, NoAnswer
from tests.simulation.network import Conditions, ListeningName, Network
from tests.simulation.service import Heard, Service, Temper
from tests.simulation.trace import Trace
from tests.simulation.virtual_loop import PROCESS, Process, VirtualLoop

_URL: Final = "http://service:80/hook"
_CONNECTIONS: Final = 4
_ANSWER_BYTES: Final = 2_000


class HttpService(Service):
    """Like ``Service``, but what is on the way is bytes of HTTP, in the real client and back."""

    def __init__(self, loop: VirtualLoop, random: Random, trace: Trace, usual: Temper) -> None:
        super().__init__(random, trace, usual)
        network = loop.network
        self._network = Network(loop, random.randrange(2**31), Trace(loop))
        loop.network = network  # that of everybody else
        self._network.conditions_of = lambda: Conditions(latency_s=self.temper.travel_s / 2)
        self._network.create_server(lambda: _Front(self), sock=ListeningName("service", 80))
        self._clients: dict[Process, HttpReceiver] = {}
        self._on_the_way: dict[str | bytes, Heard] = {}

    async def close(self) -> None:
        """See ``Receiver.close``."""
        process = PROCESS.get()
        client = self._clients.get(process) if process is not None else None
        if client is not None:
            await client.close()

    def end_process(self, process: Process, *, is_told: bool) -> None:
        """A server's process has ended, and its connections with it."""
        self._network.end_process(process, is_told=is_told)

    async def _way(self, call: Call, one: Heard, timeout_s: float) -> Answer:
        process = PROCESS.get()
        assert process is not None
        client = self._clients.get(process)
        if client is None:
            client = self._clients[process] = HttpReceiver(
                _URL,
                sdkappid=1,
                token="t",
                secrets=["s"],
                now_s=lambda: int(asyncio.get_running_loop().time()),
                connections=_CONNECTIONS,
                answer_bytes=_ANSWER_BYTES,
                connector=lambda: _Connector(self._network, process),
            )
        self._on_the_way[call.delivery_id or call.body] = one
        return await client.post(call, timeout_s)

    async def respond(
        self, headers: Mapping[str, str], body: bytes, transport: asyncio.Transport
    ) -> None:
        """Answer a request, or do not."""
        one = self._on_the_way[headers.get("muster-delivery-id") or body]
        one.is_heard = True
        self._trace.note("by HTTP", one.name, one.delivery_id, one.attempt)
        try:
            answer = await self._thought(one)
        except NoAnswer:
            transport.abort()
            return
        text = b"x" * 3 * _ANSWER_BYTES if answer.body is None else answer.body
        head = f"HTTP/1.1 {answer.status} X\r\nContent-Length: {len(text)}\r\n\r\n"
        if not transport.is_closing():
            transport.write(head.encode() + text)


class _Front(asyncio.Protocol):
    """The service's end of a connection."""

    def __init__(self, service: HttpService) -> None:
        self._service = service
        self._data = b""
        self._transport: Any = None
        self._work: list[asyncio.Task[None]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        for task in self._work:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._service.temper.is_down:
            self._transport.abort()
            return
        self._data += data
        head, end, rest = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        lines = head.decode().split("\r\n")[1:]
        headers = {name.lower(): value for name, _, value in (ln.partition(": ") for ln in lines)}
        size = int(headers["content-length"])
        if len(rest) >= size:
            self._data = rest[size:]
            work = self._service.respond(headers, rest[:size], self._transport)
            self._work.append(asyncio.ensure_future(work))


class _Handler(ResponseHandler):
    """The client's end of a connection, whose place in a set does not depend on its address."""

    def __init__(self, number: int) -> None:
        super().__init__(asyncio.get_running_loop())
        self._number = number

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class _Connector(aiohttp.BaseConnector):
    """Connects through the network in memory; ends without a word when its process does."""

    def __init__(self, network: Network, process: Process) -> None:
        super().__init__(limit=_CONNECTIONS)
        self._memory, self._process = network, process

    @property
    def closed(self) -> bool:
        return self._process.is_dead or super().closed

    def __del__(self, _warnings: object = None) -> None:
        """A process that was killed closes nothing."""

    async def _create_connection(
        self, _req: aiohttp.ClientRequest, _traces: object, _timeout: object
    ) -> ResponseHandler:
        try:
            _, protocol = await self._memory.create_connection(
                lambda: _Handler(len(self._memory.links)), "service", 80
            )
        except OSError as error:
            raise aiohttp.ClientConnectionError(str(error)) from error
        assert isinstance(protocol, ResponseHandler)
        return protocol
