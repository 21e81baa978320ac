"""The operator's own service as an address that takes requests: one HTTP POST each."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Final, Protocol

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from server.webhooks.signing import signature, token_sign

_ENDS: Final = "the server ends"
_LOOKUPS_AT_ONCE: Final = 2
_NO_TIMEOUT: Final = aiohttp.ClientTimeout()
"""The time is for all of it, the second try included."""


class NoAnswer(Exception):
    """The receiver could not be reached, or did not answer in time; the message says which."""


class NoConnection(NoAnswer):
    """All or some of the time went by before a connection was free: others are before this one.

    That says nothing about the receiver.
    """


class Answer(msgspec.Struct, frozen=True):
    """An HTTP status and the body, None when it was too long to be read."""

    status: int
    body: bytes | None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request: the callback's name, its JSON, and who caused it in the original's words.

    ``delivery_id`` and ``attempt`` (from 1) are for what is told more than once if need be.
    """

    name: str
    body: bytes
    platform: str = ""
    address: str = ""
    delivery_id: str = ""
    attempt: int = 0


class Receiver(Protocol):
    """Who takes requests."""

    async def post(self, call: Call, timeout_s: float) -> Answer:
        """The answer to a request.

        Raises:
            NoAnswer: there was none within ``timeout_s``.
            NoConnection: so it was, and it would have had less than that.
        """

    async def close(self) -> None:
        """Let go of what is held for it; whoever posts then or waits gets no answer."""


class HttpReceiver:
    """``Receiver`` at a URL.

    The URL is the operator's, so it may be of this machine or an internal network. Redirects are
    not followed, certificates are checked, cookies and proxies of the environment are not used.

    Args:
        secrets: sign the body; none for no signature.
        token: makes the original's ``Sign``; "" for none.
        connections: how many there are at most; who comes later waits within the own time.
        answer_bytes: a longer answer is not read.
        now_s: Unix time as the world has it, by which receivers judge what is signed.
        connector: makes what connects; TCP with a resolver of its own when None.
    """

    def __init__(
        self,
        url: str,
        *,
        sdkappid: int,
        token: str,
        secrets: Sequence[str],
        now_s: Callable[[], int],
        connections: int,
        answer_bytes: int,
        connector: Callable[[], aiohttp.BaseConnector] | None = None,
    ) -> None:
        self._connector = connector
        self._url = URL(url)
        self._sdkappid = sdkappid
        self._token = token
        self._secrets = secrets
        self._now_s = now_s
        self._connections = connections
        self._answer_bytes = answer_bytes
        self._is_closed = False
        self._session: aiohttp.ClientSession | None = None
        self._resolver: _Resolver | None = None

    async def post(self, call: Call, timeout_s: float) -> Answer:
        """See ``Receiver.post``."""
        use = _Use()
        try:
            async with asyncio.timeout(timeout_s):
                try:
                    return await self._post(call, use)
                except (aiohttp.ServerDisconnectedError, ConnectionError):
                    if not use.is_reused:
                        raise
                    # It had lain idle, and was closed before this came.
                    return await self._post(call, use)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._is_closed and task is not None and not task.cancelling():
                # Who waits for a connection is cancelled by the library when all of them end.
                raise NoAnswer(_ENDS) from None
            raise
        except TimeoutError as error:
            if use.has_waited:
                raise NoConnection(f"no connection was free for {timeout_s:g} s") from error
            raise NoAnswer(f"no answer within {timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswer(_reason(error)) from error

    async def _post(self, call: Call, use: "_Use") -> Answer:
        async with self._open().post(
            self._address(call),
            data=call.body,
            headers=self._headers(call),
            allow_redirects=False,
            timeout=_NO_TIMEOUT,
            trace_request_ctx=use,
        ) as response:
            return Answer(response.status, await self._body(response))

    async def close(self) -> None:
        """See ``Receiver.close``."""
        self._is_closed = True
        session, self._session = self._session, None
        resolver, self._resolver = self._resolver, None
        if session is not None:
            await session.close()
        if resolver is not None:
            await resolver.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._is_closed:
            raise NoAnswer(_ENDS)
        if self._session is None:
            traces = aiohttp.TraceConfig()
            traces.on_connection_reuseconn.append(_note_reuse)
            traces.on_connection_queued_start.append(_note_wait)
            self._session = aiohttp.ClientSession(
                connector=self._tcp() if self._connector is None else self._connector(),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                trace_configs=[traces],
            )
        return self._session

    def _tcp(self) -> aiohttp.BaseConnector:
        self._resolver = _Resolver()
        return aiohttp.TCPConnector(limit=self._connections, resolver=self._resolver)

    def _address(self, call: Call) -> URL:
        query = {
            "SdkAppid": str(self._sdkappid),
            "CallbackCommand": call.name,
            "contenttype": "json",
            "ClientIP": call.address,
            "OptPlatform": call.platform or "Unknown",
        }
        if self._token:
            now_s = self._now_s()
            query["Sign"] = token_sign(self._token, now_s)
            query["RequestTime"] = str(now_s)
        return self._url.update_query(query)

    def _headers(self, call: Call) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "muster",
        }
        if call.delivery_id:
            headers["Muster-Delivery-Id"] = call.delivery_id
            headers["Muster-Attempt"] = str(call.attempt)
        if self._secrets:
            headers["Muster-Signature"] = signature(self._secrets, self._now_s(), call.body)
        return headers

    async def _body(self, response: aiohttp.ClientResponse) -> bytes | None:
        """The body, unless it is too long: then the connection ends with it unread."""
        parts: list[bytes] = []
        left = self._answer_bytes
        while part := await response.content.read(left + 1):
            left -= len(part)
            if left < 0:
                response.close()
                return None
            parts.append(part)
        return b"".join(parts)


def _reason(error: Exception) -> str:
    """What went wrong, without the address that was called: it has the original's Sign."""
    name = type(error).__name__
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{name}: what came is no HTTP"
    return f"{name}: {error}"[:200]


class _Use:
    """How a request came to its connection."""

    is_reused = False
    has_waited = False


async def _note_reuse(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _params: object
) -> None:
    use: _Use = context.trace_request_ctx
    use.is_reused = True


async def _note_wait(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _params: object
) -> None:
    use: _Use = context.trace_request_ctx
    use.has_waited = True


class _Resolver(AbstractResolver):
    """Looks names up on few threads: those of a dead name server keep nobody else.

    They are daemons, so that a lookup that hangs does not keep the process from ending.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(_LOOKUPS_AT_ONCE)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        await self._free.acquire()  # the thread gives it back, also when nobody waits any more
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[ResolveResult]] = loop.create_future()

        def tell(found: list[ResolveResult] | None, error: OSError | UnicodeError | None) -> None:
            self._free.release()
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(found or [])

        def look_up() -> None:
            found, failure = None, None
            try:
                found = _looked_up(host, port, family)
            except (OSError, UnicodeError) as error:
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(tell, found, failure)

        threading.Thread(target=look_up, name="muster-lookup", daemon=True).start()
        return await answer

    async def close(self) -> None:
        """Nothing is to be done: what is looked up is told to nobody."""


def _looked_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    return [
        ResolveResult(
            hostname=host,
            host=str(address[0]),
            port=int(address[1]),
            family=kind,
            proto=protocol,
            flags=socket.AI_NUMERICHOST,
        )
        for kind, _type, protocol, _name, address in socket.getaddrinfo(
            host, port, family, socket.SOCK_STREAM
        )
    ]
