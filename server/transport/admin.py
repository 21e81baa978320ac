"""The admin listener: health and readiness, and what else is given to it."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from typing import Final

from aiohttp import web

from server.transport.admin_connection import AdminConnection, TurnedAway

log = logging.getLogger(__name__)

_MOST_CONNECTIONS: Final = 1_000
_HEAD_S: Final = 10.0
_IDLE_S: Final = 75.0
"""How long a connection may lie between two requests; longer than that of most proxies."""


class AdminListener:
    """HTTP for operators and their machines.

    ``is_ready`` is what ``/readyz`` says: 200 while the server takes connections, 503 before
    and while it drains.

    Args:
        parts: each adds its own paths.
        most_connections: how many may be open; what comes then is closed at once.
        head_s: how long the head of a request may take, the first one from the connection on.
    """

    def __init__(
        self,
        parts: Sequence[Callable[[web.Application], None]] = (),
        *,
        most_connections: int = _MOST_CONNECTIONS,
        head_s: float = _HEAD_S,
    ) -> None:
        self.is_ready = False
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        for part in parts:
            part(app)
        app.on_response_prepare.append(_unsigned)
        self._runner = web.AppRunner(app, shutdown_timeout=2)
        self._most_connections = most_connections
        self._head_s = head_s
        self._listening: asyncio.Server | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Listen; returns the port, which matters when ``port`` is 0.

        Raises:
            OSError: the address is not free, or not ours.
        """
        await self._runner.setup()
        self._listening = await asyncio.get_running_loop().create_server(
            self._connection, host, port, ssl=tls
        )
        return int(self._listening.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Listen no more."""
        if self._listening is not None:
            self._listening.close()
        await self._runner.cleanup()

    def _connection(self) -> asyncio.Protocol:
        server = self._runner.server
        assert server is not None  # it is there from ``setup`` on
        if len(server.connections) >= self._most_connections:
            return TurnedAway()
        return AdminConnection(
            server,
            head_s=self._head_s,
            loop=asyncio.get_running_loop(),
            logger=log,
            access_log=None,
            keepalive_timeout=_IDLE_S,
            auto_decompress=False,
        )

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        status = "ready" if self.is_ready else "draining"
        return web.json_response({"status": status}, status=200 if self.is_ready else 503)


async def _unsigned(_request: web.Request, response: web.StreamResponse) -> None:
    """Without the versions of what this is made of."""
    response.headers.popall("Server", None)
