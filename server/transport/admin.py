"""The admin listener: health and readiness, and what else is given to it."""

import logging
import ssl
from collections.abc import Callable, Sequence

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

log = logging.getLogger(__name__)


class _NoStrangers(logging.Filter):
    """Keeps what a peer sends that is no HTTP out of the log: it is no error of ours."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


log.addFilter(_NoStrangers())


class AdminListener:
    """HTTP for operators and their machines.

    ``is_ready`` is what ``/readyz`` says: 200 while the server takes connections, 503 before
    and while it drains.

    Args:
        parts: each adds its own paths.
    """

    def __init__(self, parts: Sequence[Callable[[web.Application], None]] = ()) -> None:
        self.is_ready = False
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        for part in parts:
            part(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2, logger=log)

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Listen; returns the port, which matters when ``port`` is 0.

        Raises:
            OSError: the address is not free, or not ours.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=tls)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Listen no more."""
        await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        status = "ready" if self.is_ready else "draining"
        return web.json_response({"status": status}, status=200 if self.is_ready else 503)
