"""The composition root: settings to adapters to a running server. The only importer of adapters."""

import asyncio
import contextlib
import gc
import logging
import secrets
import signal
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from protocol.commands import QuitGroup
from protocol.limits import LIMITS
from server import config
from server.config import Settings
from server.domain.model import Actor
from server.domain.overrides import configured_rulebook
from server.domain.rules import Rulebook
from server.hub.catch_up import CatchUp
from server.hub.hub import Hub
from server.service.dispatcher import Dispatcher
from server.service.executor import Executor
from server.service.housekeeping import Housekeeping
from server.service.ports import Store
from server.service.queries import Queries
from server.storage.refusal import StoreRefused
from server.storage.sqlite import open_sqlite
from server.system import SystemClock, SystemTokens
from server.transport.admin import AdminListener
from server.transport.admission import Authenticator
from server.transport.listener import Listener

log = logging.getLogger(__name__)

SERVER_NAME: Final = "muster/0.1"
SHARD: Final = 0

_SWITCH_INTERVAL_S: Final = 0.0005
"""How long the loop may keep the interpreter from the writer thread, which needs it for little."""


class StartRefused(Exception):
    """The server cannot start on this data; the message says why and what to do."""


class Server:
    """A running server on one store.

    Use ``run``: it starts, prints the ready line, serves until a signal, and drains.
    """

    def __init__(
        self, settings: Settings, rulebook: Rulebook, store: Store, hub: Hub, secret_key: str
    ) -> None:
        self._settings = settings
        self._rulebook = rulebook
        self._clock = SystemClock()
        tokens = SystemTokens()
        self._failed = asyncio.Event()
        self._executor = Executor(
            store=store,
            publisher=hub,
            presence=hub,
            clock=self._clock,
            tokens=tokens,
            rulebook=self._rulebook,
            is_only_writer=True,
            on_fatal=self._failed.set,
            shard=SHARD,
        )
        queries = Queries(store, hub, self._rulebook)
        self._dispatcher = Dispatcher(self._executor, queries, self._clock, rulebook)
        self._catch_up = CatchUp(
            hub=hub,
            store=store,
            clock=self._clock,
            rulebook=self._rulebook,
            server_name=SERVER_NAME,
            welcome_limits=_welcome_limits(settings),
            shard=SHARD,
        )
        self._listener = Listener(
            hub=hub,
            catch_up=self._catch_up,
            dispatcher=self._dispatcher,
            authenticator=Authenticator(
                sdkappid=settings.sdkappid,
                secret_keys=[secret_key],
                admins=settings.admins,
                now_s=lambda: self._clock.now_ms() // 1000,
            ),
            clock=self._clock,
            tokens=tokens,
            rulebook=self._rulebook,
            is_behind_proxy=settings.behind_proxy,
        )
        self._admin = AdminListener()
        self._housekeeping = Housekeeping(
            store=store,
            executor=self._executor,
            rulebook=rulebook,
            clock=self._clock,
            on_trimmed=hub.raise_floor,
            shard=SHARD,
        )
        hub.on_parted = self._part

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT; returns the exit status: 0 after a drain, 1 on failure."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop.set)
        work = [
            asyncio.ensure_future(self._executor.run()),
            asyncio.ensure_future(self._listener.run()),
            asyncio.ensure_future(self._housekeeping.run()),
        ]
        try:
            await self._start()
            await self._until_stopped(stop, work)
            await self._drain()
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await self._catch_up.stop()
            await self._admin.stop()
        return 1 if self._failed.is_set() else 0

    async def _start(self) -> None:
        tls = _tls_context(self._settings)
        listen, admin_listen = self._settings.listen, self._settings.admin_listen
        admin_port = await self._admin.start(admin_listen.host, admin_listen.port, tls)
        port = await self._listener.start(listen.host, listen.port, tls)
        # What is alive now lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        self._admin.is_ready = True
        secure = "s" if tls else ""
        line = {
            "ready": True,
            "ws": f"ws{secure}://{_host(listen.host)}:{port}/ws",
            "admin": f"http{secure}://{_host(admin_listen.host)}:{admin_port}",
        }
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
        sys.stdout.flush()

    async def _until_stopped(
        self, stop: asyncio.Event, work: Sequence["asyncio.Task[None]"]
    ) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in (stop, self._failed)]
        tasks: list[asyncio.Task[Any]] = [*waits, *work]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        for task in work:
            if task in done:  # none of them ends by itself: this is a bug of ours
                log.critical("a worker ended", exc_info=task.exception())
                self._failed.set()
        if self._failed.is_set():
            log.critical("the store's state is unknown: the server stops; start it again")

    async def _drain(self) -> None:
        """Take nothing new, answer what was taken, send everyone away."""
        self._admin.is_ready = False
        await self._listener.stop_accepting()
        log.info("draining %d connections", self._listener.connection_count)
        patience_s = self._settings.limits["DRAIN_MS"] / 1000
        if not self._failed.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._dispatcher.settled(), patience_s)
        await self._listener.say_goodbye()

    def _part(self, user_id: str, group_id: str) -> None:
        """A dropped connection leaves what stores no membership (``groups.md`` section 1)."""
        self._executor.submit(
            QuitGroup(group_id=group_id), Actor(user_id), None, b"", lambda _result, _refused: None
        )


async def serve(settings: Settings) -> int:
    """Open the store, run the server on it, close the store; returns the exit status.

    Raises:
        config.SettingsRefused: the settings cannot be served with.
        StartRefused: the data directory cannot be used.
        OSError: an address cannot be listened on.
    """
    rulebook = _rulebook(settings)
    if "://" in settings.data:
        raise config.SettingsRefused(
            f"data is {settings.data.partition('://')[0]}://...; this version stores in a "
            "directory (SQLite) only"
        )
    try:
        store = await open_sqlite(Path(settings.data))
    except StoreRefused as error:
        raise StartRefused(str(error)) from error
    try:
        if not settings.secret_key and config.make_key(settings, secrets.token_hex(32)):
            log.warning("a new key was made in %s", config.key_file(settings))
        hub = Hub(await store.heads(SHARD), rulebook)
        return await Server(settings, rulebook, store, hub, config.stored_key(settings)).run()
    finally:
        await store.close()


def _rulebook(settings: Settings) -> Rulebook:
    try:
        return configured_rulebook(
            limits=settings.limits,
            types=settings.types,
            group_fields=settings.group_fields,
            member_fields=settings.member_fields,
            requires_known_users=settings.require_known_users,
        )
    except ValueError as error:
        raise config.SettingsRefused(f"the configuration file: {error}") from error


def _welcome_limits(settings: Settings) -> dict[str, int]:
    return {name.lower(): settings.limits[name] for name, spec in LIMITS.items() if spec.in_welcome}


def _tls_context(settings: Settings) -> ssl.SSLContext | None:
    if not settings.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:
        raise config.SettingsRefused(f"tls_cert or tls_key cannot be used: {error}") from error
    return context


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
